//! Bias correction: subtracts from the bias the mean error that rounding the weights adds to each output channel.
//!
//! The error of a rounded weight is constant. If an input's mean is not zero (after a ReLU, for example), the error
//! shifts the output channel by `sum((w_rounded - w) * mean(x))`. Subtracting the shift from the bias costs nothing at
//! run time. Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019,
//! section 4.2. The means here are measured; see [`ChannelMeans`](crate::calibrate::ChannelMeans).
//!
//! Not corrected: the error of rounding and clipping activations. Zero padding is treated as input with the mean value.

use std::collections::BTreeMap;

use eightfold_ir::{Graph, Node, NodeId, QuantRule, Shape, ValueId};

use crate::calibrate::CalibrationTable;
use crate::channel::f32_constant;
use crate::quant::tensor_name;

/// Returns the axis of the input channels in an operand of this rank. `weight_axis` is the axis of the output channels
/// in the weights. [`output_axis`](crate::channel::output_axis) does the same for the result.
fn input_axis(weight_axis: usize, rank: usize) -> usize {
    if weight_axis == 0 { 1 } else { rank.saturating_sub(1) }
}

/// If the node's weights are floats that are yet to be rounded, returns the operand whose channel means correct the
/// bias, and the axis of its channels.
fn corrected_by(graph: &Graph, node: &Node) -> Option<(ValueId, usize)> {
    let QuantRule::Affine { weight, axis, .. } = node.op.quant_rule() else { return None };
    f32_constant(graph, node.operand(weight)?)?;
    let x = node.operand(0)?;
    let channels = input_axis(axis, graph.ty(x).shape.rank());
    (channels < graph.ty(x).shape.rank()).then_some((x, channels))
}

/// Returns the tensors whose channel means correct biases, and the axis of the channels of each.
///
/// Calibration observes them together with [`quantized_tensors`](super::quantized_tensors), on the same graph. A tensor
/// has one list of means. If a convolution and a matrix product read the same tensor, the first node decides the axis.
#[must_use]
pub fn channel_axes(graph: &Graph) -> BTreeMap<ValueId, usize> {
    let mut axes = BTreeMap::new();
    for id in graph.topo() {
        if let Some((x, axis)) = corrected_by(graph, graph.node(id)) {
            axes.entry(x).or_insert(axis);
        }
    }
    axes
}

/// For each node whose bias the table corrects, returns the means of its input channels in their current order.
pub(super) fn means(graph: &Graph, table: &CalibrationTable) -> BTreeMap<NodeId, Vec<f32>> {
    let axes = channel_axes(graph);
    let means = |id: NodeId| {
        let (x, axis) = corrected_by(graph, graph.node(id)).filter(|(x, axis)| axes.get(x) == Some(axis))?;
        let means = table.means.get(&tensor_name(graph, x))?;
        let moved = || match graph.value(x).channel_order.as_ref().filter(|order| order.axis == axis) {
            Some(order) => order.from.iter().map(|from| means[*from]).collect(),
            None => means.clone(),
        };
        (means.len() == graph.ty(x).shape[axis]).then(|| (id, moved()))
    };
    graph.topo().into_iter().filter_map(means).collect()
}

/// Returns the mean error that rounding adds to each output channel; `None` if the shapes do not fit.
///
/// `rounding` is the error of the weight at a row-major position of `shape`. The output channels lie on `weight_axis`.
/// `means` is the mean of each input channel.
pub(super) fn shift(
    rounding: &dyn Fn(usize) -> f32,
    shape: &Shape,
    weight_axis: usize,
    means: &[f32],
) -> Option<Vec<f32>> {
    let outputs = *shape.get(weight_axis)?;
    let mut shift = vec![0.0_f64; outputs];
    if weight_axis == 0 {
        // The axes are: output, input within its group, window.
        let inputs = *shape.get(1)?;
        let window: usize = shape[2..].iter().product();
        if inputs == 0 || !means.len().is_multiple_of(inputs) || !outputs.is_multiple_of(means.len() / inputs) {
            return None;
        }
        let outputs_of_group = outputs / (means.len() / inputs);
        for row in 0..outputs * inputs {
            let (output, input) = (row / inputs, row % inputs);
            let mean = means[output / outputs_of_group * inputs + input];
            let added = (row * window..(row + 1) * window).map(|at| f64::from(rounding(at)));
            shift[output] += added.sum::<f64>() * f64::from(mean);
        }
    } else {
        if shape.elements() != means.len() * outputs {
            return None;
        }
        for (row, mean) in means.iter().enumerate() {
            for (output, sum) in shift.iter_mut().enumerate() {
                *sum += f64::from(rounding(row * outputs + output)) * f64::from(*mean);
            }
        }
    }
    Some(shift.into_iter().map(|x| x as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_sums_its_window_and_its_group() {
        // Two groups with one input and two outputs each; windows of 1 x 2.
        let shape: Shape = [4, 1, 1, 2].into_iter().collect();
        let rounding = [0.5, 0.25, 0.0, -1.0, 1.0, 1.0, 0.0, 0.125];
        assert_eq!(shift(&|at| rounding[at], &shape, 0, &[2.0, 4.0]), Some(vec![1.5, -2.0, 8.0, 0.5]));
        assert_eq!(shift(&|at| rounding[at], &shape, 0, &[1.0, 2.0, 3.0]), None);
    }

    #[test]
    fn a_matrix_product_sums_its_rows() {
        let shape: Shape = [2, 3].into_iter().collect();
        let rounding = [1.0, 0.5, 0.0, 0.25, 0.0, -1.0];
        assert_eq!(shift(&|at| rounding[at], &shape, 1, &[2.0, 4.0]), Some(vec![3.0, 1.0, -4.0]));
        assert_eq!(shift(&|at| rounding[at], &shape, 1, &[2.0]), None);
    }
}
