//! Convolutions and matrix products of bytes with constant weights, and the groups of inputs that they multiply twice.

use eightfold_ir::{Graph, NodeId, QuantRule, ValueId};

use crate::channel::{summed_axis, weight_axis};
use crate::insert_qdq::weight_scales::{INPUTS_PER_VECTOR, of_one_sign, places, sums};
use crate::order::Channels;
use crate::pass::PairSums;

/// The number of inputs in a group, which one instruction multiplies for each output: two pairs.
pub(crate) const GROUP: usize = 4;

/// A convolution or matrix product of bytes with constant weights.
pub(crate) struct Product {
    pub(crate) node: NodeId,
    pub(crate) weights: ValueId,
    /// The axis of the input channels in the weights.
    pub(crate) input_axis: usize,
    pub(crate) output_axis: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// The number of positions in the window.
    pub(crate) taps: usize,
    /// The number of rows of the window. A kernel reads a row (all its columns and inputs) contiguously.
    pub(crate) runs: usize,
    /// The number of positions in the result: the weights are multiplied once for each.
    pub(crate) pixels: u64,
    pub(crate) sums: PairSums,
    /// `[output][tap][input]`: the weights minus their zero points.
    numbers: Vec<i16>,
}

impl Product {
    /// Returns the products of a graph, in order.
    pub(crate) fn all(graph: &Graph, sums: PairSums) -> Vec<Product> {
        graph.nodes().filter_map(|node| Product::of(graph, node, sums)).collect()
    }

    fn of(graph: &Graph, node: &eightfold_ir::Node, sums: PairSums) -> Option<Product> {
        let rule = node.op.quant_rule();
        let QuantRule::Affine { weight, .. } = rule else { return None };
        let bytes = |id: &ValueId| graph.ty(*id).dtype.is_integer() && graph.ty(*id).dtype.bits() == 8;
        node.operand(0).filter(bytes)?;
        let weights = node.operand(weight).filter(bytes)?;
        let tensor = graph.constant(weights)?;
        let shape = tensor.shape();
        let output_axis = weight_axis(rule, shape)?;
        let input_axis = summed_axis(output_axis);
        let (inputs, outputs) = (shape[input_axis], shape[output_axis]);
        if inputs < 2 || shape.elements() == 0 {
            return None;
        }
        let zero_points = graph.quant(weights).map_or(&[0][..], |params| &params.zero_point);
        let strides = shape.strides();
        let taps = shape.elements() / inputs / outputs;
        let stored = tensor.to_ints()?;
        let mut numbers = Vec::with_capacity(stored.len());
        for output in 0..outputs {
            let zero = i64::from(if zero_points.len() == 1 { zero_points[0] } else { zero_points[output] });
            for tap in 0..taps {
                let at = |input| output * strides[output_axis] + input * strides[input_axis] + tap;
                numbers.extend((0..inputs).map(|input| (stored[at(input)] - zero) as i16));
            }
        }
        let runs = if output_axis == 0 { shape[2] } else { 1 };
        let pixels = (graph.ty(node.output()).shape.elements() / outputs) as u64;
        let node = node.id;
        Some(Product { node, weights, input_axis, output_axis, inputs, outputs, taps, runs, pixels, sums, numbers })
    }

    /// Returns the weights of an output at one position of the window, one per input.
    pub(crate) fn row(&self, output: usize, tap: usize) -> &[i16] {
        &self.numbers[(output * self.taps + tap) * self.inputs..][..self.inputs]
    }

    /// Returns the weights of an output in one row of the window: one per input, column after column.
    pub(crate) fn run(&self, output: usize, run: usize) -> &[i16] {
        let length = self.taps / self.runs * self.inputs;
        &self.numbers[(output * self.runs + run) * length..][..length]
    }

    /// Returns the order in which the weights of a row are multiplied.
    pub(crate) fn run_order(&self, channels: &Channels) -> Vec<usize> {
        let inputs = channels.order(self.weights, self.input_axis);
        let column = |column| inputs.iter().map(move |input| column * self.inputs + input);
        (0..self.taps / self.runs).flat_map(column).collect()
    }

    /// Returns true if the weights have a reduced range ([`weight_scales`](crate::insert_qdq::weight_scales)): the sums
    /// of four weights of the same sign fit. Weights with few inputs keep the full range.
    pub(crate) fn is_of_reduced_range(&self) -> bool {
        let weight = |row: &[i16], place: usize| row.get(place).map_or(0.0, |w| f32::from(*w));
        let fits = |row: &[i16]| {
            (0..sums(self.inputs))
                .all(|sum| of_one_sign(places(sum).map(|at| weight(row, at))) <= self.sums.limit as f32)
        };
        self.inputs < INPUTS_PER_VECTOR || self.numbers.chunks_exact(self.inputs).all(fits)
    }

    /// Returns true if the greatest sum of two products with these weights does not fit 16 bits.
    pub(crate) fn overflows(&self, a: i16, b: i16) -> bool {
        (a < 0) == (b < 0) && a != 0 && b != 0 && i32::from(a).abs() + i32::from(b).abs() > self.sums.limit
    }

    /// Returns true if a pair of these inputs overflows.
    pub(crate) fn group_overflows(&self, row: &[i16], inputs: &[usize]) -> bool {
        inputs.chunks_exact(2).any(|pair| self.overflows(row[pair[0]], row[pair[1]]))
    }

    /// Returns the number of groups of inputs over all vectors of outputs.
    pub(crate) fn groups(&self) -> usize {
        let run = self.taps / self.runs * self.inputs;
        self.outputs.div_ceil(self.sums.lanes) * self.runs * run.div_ceil(GROUP)
    }

    /// Returns the number of these groups that are multiplied twice.
    pub(crate) fn extra_groups(&self, channels: &Channels) -> usize {
        let order = self.run_order(channels);
        let outputs = channels.order(self.weights, self.output_axis);
        let of_vector = |vector: &[usize], run: usize| {
            let rows: Vec<&[i16]> = vector.iter().map(|output| self.run(*output, run)).collect();
            order.chunks(GROUP).filter(|group| rows.iter().any(|row| self.group_overflows(row, group))).count()
        };
        let vectors = outputs.chunks(self.sums.lanes);
        vectors.map(|vector| (0..self.runs).map(|run| of_vector(vector, run)).sum::<usize>()).sum()
    }
}
