//! Which positions on the axes of tensors are one and the same channel, which channels may change places, and where they
//! have gone.
//!
//! A *channel* is what nodes carry along from axis to axis: all positions that are tied. If channels change places, they do so
//! on all axes at once, and whatever ties positions (an addition, a concatenation, a depthwise convolution) holds as before.
//! That needs one thing: two channels that change places lie on the same axes. Channels that do are a *group*.

use std::collections::BTreeMap;
use std::ops::Range;

use eightfold_ir::{Granularity, Graph, ValueId};

/// See the module's documentation.
pub(crate) struct Channels {
    /// For each value, where the positions of its axes start, and where they end.
    starts: Vec<Vec<usize>>,
    /// For each position, one that it is tied to, or itself: the channel's number.
    parent: Vec<u32>,
    /// For channels that stay where they are, why.
    pins: BTreeMap<u32, String>,
    /// For each channel, the one that has come to its places.
    now: Vec<u32>,
}

impl Channels {
    /// Each position of each axis a channel of its own; those of the graph's inputs and outputs, and those along which an
    /// activation has several scales, stay where they are.
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut starts = vec![Vec::new(); graph.value_count()];
        let mut end = 0;
        for (id, value) in graph.values() {
            starts[id.index()].push(end);
            for extent in value.ty.shape.iter() {
                end += extent;
                starts[id.index()].push(end);
            }
        }
        let identity: Vec<u32> = (0..end as u32).collect();
        let mut channels = Channels { starts, parent: identity.clone(), pins: BTreeMap::new(), now: identity };
        for id in graph.inputs() {
            channels.pin_all(graph, *id, "an input of the graph");
        }
        for output in graph.outputs() {
            channels.pin_all(graph, output.value, "an output of the graph");
        }
        for (id, value) in graph.values() {
            match graph.quant(id).map(|q| q.granularity) {
                Some(Granularity::PerChannel { axis }) if graph.constant(id).is_none() => {
                    channels.pin(id, axis, "a scale for each channel of an activation");
                }
                Some(Granularity::Blocked { .. }) => {
                    (0..value.ty.shape.rank()).for_each(|axis| channels.pin(id, axis, "a scale for each block"));
                }
                _ => {}
            }
        }
        channels
    }

    fn pin_all(&mut self, graph: &Graph, id: ValueId, reason: &str) {
        (0..graph.ty(id).shape.rank()).for_each(|axis| self.pin(id, axis, reason));
    }

    fn positions(&self, value: ValueId, axis: usize) -> Range<usize> {
        let starts = &self.starts[value.index()];
        starts[axis]..starts[axis + 1]
    }

    fn channel(&self, position: usize) -> u32 {
        let mut at = position as u32;
        while self.parent[at as usize] != at {
            at = self.parent[at as usize];
        }
        at
    }

    /// The channels of an axis in the order that the graph had them in.
    pub(crate) fn on(&self, value: ValueId, axis: usize) -> Vec<u32> {
        self.positions(value, axis).map(|position| self.channel(position)).collect()
    }

    /// Makes the position `i` of one axis and the position `j` of another the same channel.
    pub(crate) fn tie(
        &mut self,
        (value, axis): (ValueId, usize),
        i: usize,
        (other, along): (ValueId, usize),
        j: usize,
    ) {
        let (a, b) = (self.positions(value, axis).start + i, self.positions(other, along).start + j);
        let (a, b) = (self.channel(a), self.channel(b));
        let (first, second) = (a.min(b), a.max(b));
        // Paths stay short: all that was passed on the way now leads to the first.
        for position in [a, b] {
            self.parent[position as usize] = first;
        }
        if let Some(reason) = self.pins.remove(&second) {
            self.pins.entry(first).or_insert(reason);
        }
    }

    /// Keeps the channels of an axis where they are.
    pub(crate) fn pin(&mut self, value: ValueId, axis: usize, reason: &str) {
        for channel in self.on(value, axis) {
            self.pins.entry(channel).or_insert_with(|| reason.to_owned());
        }
    }

    /// Why the first of the channels of an axis that stay where they are do.
    pub(crate) fn pinned(&self, value: ValueId, axis: usize) -> Option<&str> {
        self.on(value, axis).iter().find_map(|channel| self.pins.get(channel)).map(String::as_str)
    }

    /// The channels that may change places with each other, two of them or more.
    pub(crate) fn groups(&mut self) -> Vec<Vec<u32>> {
        let mut axes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut number = 0;
        for value in 0..self.starts.len() {
            for axis in 1..self.starts[value].len() {
                number += 1;
                for position in self.starts[value][axis - 1]..self.starts[value][axis] {
                    let channel = self.channel(position);
                    self.parent[position] = channel;
                    let axes = axes.entry(channel).or_default();
                    if axes.last() == Some(&number) {
                        // Which of two places on an axis it would go to is not said.
                        self.pins.entry(channel).or_insert_with(|| "a channel that is there twice".to_owned());
                    }
                    axes.push(number);
                }
            }
        }
        let mut groups: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
        for (channel, axes) in axes {
            if !self.pins.contains_key(&channel) {
                groups.entry(axes).or_default().push(channel);
            }
        }
        let mut groups: Vec<_> = groups.into_values().filter(|group| group.len() > 1).collect();
        groups.sort_unstable();
        groups
    }

    /// Puts each second channel where the first one was in the graph.
    pub(crate) fn place(&mut self, places: &[(u32, u32)]) {
        for (place, channel) in places {
            self.now[*place as usize] = *channel;
        }
    }

    /// For each of these channels, the one that is in its place.
    pub(crate) fn placed(&self, group: &[u32]) -> Vec<(u32, u32)> {
        group.iter().map(|place| (*place, self.now[*place as usize])).collect()
    }

    /// For each position of an axis, where on the axis the graph had the channel that is there now.
    pub(crate) fn order(&self, value: ValueId, axis: usize) -> Vec<usize> {
        let channels = self.on(value, axis);
        if channels.iter().all(|channel| self.now[*channel as usize] == *channel) {
            return (0..channels.len()).collect();
        }
        let was: BTreeMap<u32, usize> = channels.iter().enumerate().map(|(at, channel)| (*channel, at)).collect();
        channels
            .iter()
            .enumerate()
            .map(|(at, channel)| match self.now[*channel as usize] {
                now if now == *channel => at,
                now => was[&now],
            })
            .collect()
    }
}
