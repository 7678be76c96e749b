//! A convolution or matrix product that reads channels, and the growth of its scales: scale of the reduced range /
//! scale of the full range.

use std::collections::BTreeMap;

use eightfold_ir::{Graph, Node, NodeId, QuantRule, ValueId};

use crate::channel::{f32_constant, summed_axis, weight_axis};
use crate::insert_qdq::weight_scales::{INPUTS_PER_VECTOR, SUM_STEPS, of_one_sign, places, sum_of, sums};
use crate::order::Channels;

/// A convolution or matrix product that reads channels.
pub(super) struct Reader {
    pub(super) node: NodeId,
    pub(super) weights: ValueId,
    /// The axis of the input channels in the weights.
    pub(super) axis: usize,
    outputs: usize,
    taps: usize,
    /// The original position of each channel on the axis.
    places: BTreeMap<u32, usize>,
    /// For each position on the axis, the original position of the input that is now there. Positions at the end, which
    /// complete the last sums, hold an input of zeros.
    order: Vec<usize>,
    /// `[input][tap][output]`: the weights, each divided by the greatest magnitude of its output; then an input of
    /// zeros.
    columns: Vec<f32>,
    /// `[output][sum]`: the growth that a sum of four weights requires of the output's scale.
    growth: Vec<f32>,
    /// For each output, the sum that requires the greatest growth.
    worst: Vec<usize>,
}

impl Reader {
    /// Reads the node, if it is a convolution or matrix product with constant weights.
    pub(super) fn of(graph: &Graph, node: &Node, channels: &Channels) -> Option<Self> {
        let rule = node.op.quant_rule();
        let QuantRule::Affine { weight, .. } = rule else { return None };
        let weights = node.operand(weight)?;
        let tensor = f32_constant(graph, weights)?;
        let shape = tensor.shape();
        let output_axis = weight_axis(rule, shape)?;
        let axis = summed_axis(output_axis);
        let (inputs, outputs) = (*shape.get(axis)?, shape[output_axis]);
        if inputs < INPUTS_PER_VECTOR || shape.elements() == 0 {
            return None;
        }
        let numbers = tensor.elements();
        let (taps, strides) = (shape.elements() / inputs / outputs, shape.strides());
        let at = |input, tap, output| input * strides[axis] + output * strides[output_axis] + tap;
        let mut greatest = vec![f32::MIN_POSITIVE; outputs];
        let mut columns = Vec::with_capacity(shape.elements() + shape.elements() / inputs);
        for (input, tap) in (0..inputs).flat_map(|input| (0..taps).map(move |tap| (input, tap))) {
            columns.extend((0..outputs).map(|output| numbers.float(at(input, tap, output))));
            for (output, greatest) in greatest.iter_mut().enumerate() {
                *greatest = greatest.max(numbers.float(at(input, tap, output)).abs());
            }
        }
        columns.chunks_exact_mut(outputs).flat_map(|row| row.iter_mut().zip(&greatest)).for_each(|(w, g)| *w /= g);
        columns.resize(columns.len() + taps * outputs, 0.0);
        let mut order = channels.order(weights, axis);
        order.resize(inputs.next_multiple_of(INPUTS_PER_VECTOR), inputs);
        let sums = sums(inputs);
        let mut reader = Reader {
            node: node.id,
            weights,
            axis,
            outputs,
            taps,
            places: channels.on(weights, axis).into_iter().zip(0..).collect(),
            order,
            columns,
            growth: vec![0.0; outputs * sums],
            worst: vec![0; outputs],
        };
        (0..sums).for_each(|sum| reader.measure(sum));
        (0..outputs).for_each(|output| reader.find_worst(output));
        Some(reader)
    }

    /// Frees the weights if no input will move. The growth stays known.
    pub(super) fn settle(&mut self) {
        self.columns = Vec::new();
    }

    /// Returns true if the channel is an input.
    pub(super) fn reads(&self, channel: u32) -> bool {
        self.places.contains_key(&channel)
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the number of weights that one exchange reads.
    pub(super) fn work(&self) -> usize {
        2 * places(0).len() * self.taps * self.outputs
    }

    /// Returns the original position of a channel.
    pub(super) fn place(&self, channel: u32) -> usize {
        self.places[&channel]
    }

    /// Returns the mean growth of the scales over all outputs.
    pub(super) fn growth(&self) -> f32 {
        let growth = |output| self.scale(output);
        (0..self.outputs).map(growth).sum::<f32>() / self.outputs as f32
    }

    /// Returns the growth of an output's scale.
    pub(super) fn scale(&self, output: usize) -> f32 {
        self.growth_of(output)[self.worst[output]].max(1.0)
    }

    /// Returns the sum that determines the growth of an output's scale.
    pub(super) fn worst(&self, output: usize) -> usize {
        self.worst[output]
    }

    /// Returns the change of the mean squared growth if the inputs at two positions are exchanged. The power of the
    /// rounding error is proportional to the squared scale.
    pub(super) fn change(&self, a: usize, b: usize, room: &mut [Vec<f32>; 2]) -> f32 {
        let changed = [sum_of(a), sum_of(b)];
        if changed[0] == changed[1] {
            return 0.0;
        }
        let order = |place: usize| match place {
            _ if place == a => self.order[b],
            _ if place == b => self.order[a],
            _ => self.order[place],
        };
        for (sum, room) in changed.iter().zip(&mut *room) {
            room.clear();
            room.resize(self.outputs, 0.0);
            self.sums(*sum, order, room);
        }
        let mut change = 0.0;
        for (output, (x, y)) in room[0].iter().zip(&room[1]).enumerate() {
            let growth = self.growth_of(output);
            let worst = self.worst[output];
            let before = growth[worst].max(1.0);
            let others = if changed.contains(&worst) {
                let kept = growth.iter().enumerate().filter(|(sum, _)| !changed.contains(sum));
                kept.fold(1.0, |a, (_, b)| b.max(a))
            } else {
                before
            };
            let after = others.max(*x).max(*y);
            change += after * after - before * before;
        }
        change / self.outputs as f32
    }

    /// Exchanges the inputs at two positions.
    pub(super) fn exchange(&mut self, a: usize, b: usize) {
        self.order.swap(a, b);
        self.measure(sum_of(a));
        self.measure(sum_of(b));
        (0..self.outputs).for_each(|output| self.find_worst(output));
    }

    /// Returns the growth that each sum requires of an output's scale.
    fn growth_of(&self, output: usize) -> &[f32] {
        let sums = sums(self.order.len());
        &self.growth[output * sums..][..sums]
    }

    fn measure(&mut self, sum: usize) {
        let mut room = vec![0.0; self.outputs];
        self.sums(sum, |place| self.order[place], &mut room);
        let sums = sums(self.order.len());
        self.growth.chunks_exact_mut(sums).zip(room).for_each(|(of_output, growth)| of_output[sum] = growth);
    }

    fn find_worst(&mut self, output: usize) {
        let growth = self.growth_of(output);
        let worst = (0..growth.len()).max_by(|a, b| growth[*a].total_cmp(&growth[*b]));
        self.worst[output] = worst.unwrap_or(0);
    }

    /// Computes the growth that a sum requires of each output's scale, with the inputs in this order.
    fn sums(&self, sum: usize, order: impl Fn(usize) -> usize, growth: &mut [f32]) {
        let column = |place| &self.columns[order(place) * self.taps * self.outputs..][..self.taps * self.outputs];
        let columns = places(sum).map(column);
        for tap in 0..self.taps {
            let [a, b, c, d] = columns.map(|column| &column[tap * self.outputs..][..self.outputs]);
            for (at, growth) in growth.iter_mut().enumerate() {
                *growth = growth.max(of_one_sign([a[at], b[at], c[at], d[at]]));
            }
        }
        growth.iter_mut().for_each(|growth| *growth *= 127.0 / SUM_STEPS);
    }
}
