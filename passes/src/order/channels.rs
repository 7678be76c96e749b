//! Finds which positions on the axes of tensors are the same channel, and which channels may be exchanged, and tracks
//! exchanges.
//!
//! A *channel* is a set of positions that nodes tie to each other. Channels are exchanged on all their axes at once, so
//! that every tie (an addition, a concatenation, a depthwise convolution) still holds. Two channels can therefore be
//! exchanged only if they lie on the same axes. A *group* is a set of such channels.

use std::collections::BTreeMap;
use std::ops::Range;

use eightfold_ir::{Granularity, Graph, ValueId};

/// The channels of a graph; see the module's documentation.
pub(crate) struct Channels {
    /// For each value, the index of the first position of each axis, and the end of the last axis.
    starts: Vec<Vec<usize>>,
    /// A union-find over positions. The root is the number of the channel.
    parent: Vec<u32>,
    /// For channels that must stay in place, why.
    pins: BTreeMap<u32, String>,
    /// For each channel, the channel that now has its positions.
    now: Vec<u32>,
}

impl Channels {
    /// Makes each position of each axis a channel of its own. Fixes the channels of the graph's inputs and outputs, and
    /// of activations with several scales.
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
                    channels.pin(id, axis, "an activation with per-channel scales");
                }
                Some(Granularity::Blocked { .. }) => {
                    (0..value.ty.shape.rank())
                        .for_each(|axis| channels.pin(id, axis, "a tensor with per-block scales"));
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

    /// Returns the channels of an axis in their original order.
    pub(crate) fn on(&self, value: ValueId, axis: usize) -> Vec<u32> {
        self.positions(value, axis).map(|position| self.channel(position)).collect()
    }

    /// Makes position `i` of one axis and position `j` of another axis the same channel.
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
        // Path compression: all positions on the path now point to the root.
        for position in [a, b] {
            self.parent[position as usize] = first;
        }
        if let Some(reason) = self.pins.remove(&second) {
            self.pins.entry(first).or_insert(reason);
        }
    }

    /// Fixes the channels of an axis.
    pub(crate) fn pin(&mut self, value: ValueId, axis: usize, reason: &str) {
        for channel in self.on(value, axis) {
            self.pins.entry(channel).or_insert_with(|| reason.to_owned());
        }
    }

    /// Returns why channels of this axis are fixed: the reason of the first fixed channel.
    pub(crate) fn pinned(&self, value: ValueId, axis: usize) -> Option<&str> {
        self.on(value, axis).iter().find_map(|channel| self.pins.get(channel)).map(String::as_str)
    }

    /// Returns the groups of at least two channels that may be exchanged with each other.
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
                        // A channel that occurs twice on an axis has no single new position.
                        self.pins.entry(channel).or_insert_with(|| "a channel that occurs twice".to_owned());
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

    /// For each pair, moves the second channel to the original positions of the first.
    pub(crate) fn place(&mut self, places: &[(u32, u32)]) {
        for (place, channel) in places {
            self.now[*place as usize] = *channel;
        }
    }

    /// For each of these channels, returns the channel that now has its positions.
    pub(crate) fn placed(&self, group: &[u32]) -> Vec<(u32, u32)> {
        group.iter().map(|place| (*place, self.now[*place as usize])).collect()
    }

    /// For each position of an axis, returns the original position of the channel that is now there.
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
