//! Reorders channels so that a reduced weight range costs less precision.
//!
//! A reduced range increases the scale of an output channel until certain sums of four weights fit a byte
//! ([`weight_scales`](crate::insert_qdq::weight_scales)). The increase depends on the order of the input channels,
//! which is free inside a graph ([`order`]). If large weights of the same sign are in different sums, a sum is little
//! more than its largest weight.
//!
//! Before, after: the same nodes; the elements of constants are permuted. The channel means in the calibration table
//! keep the model's order. So each tensor with means in the table records the original position of its channels
//! ([`ChannelOrder`](eightfold_ir::ChannelOrder)), and `insert_qdq` finds the mean of each channel.
//!
//! Exact: yes, except for the order of float sums that `insert_qdq` will quantize.

mod reader;
mod search;

use std::collections::BTreeSet;

use eightfold_ir::{Graph, Node, NodeId, Precision};

use crate::insert_qdq::{channel_axes, quantized_nodes};
use crate::order::{self, Channels};
use crate::pass::{Pass, PassContext, PassError, RemarkKind};
use crate::quant::tensor_name;
use reader::Reader;

/// See the module's documentation.
pub(crate) struct SpreadChannels;

impl Pass for SpreadChannels {
    fn name(&self) -> &'static str {
        "spread_channels"
    }

    fn summary(&self) -> &'static str {
        "order channels so that a reduced range of the weights loses little precision"
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        let (true, Precision::Int8, Some(table)) =
            (cx.options.reduce_range, cx.options.precision, &cx.options.calibration)
        else {
            return Ok(());
        };
        let quantized: BTreeSet<NodeId> = quantized_nodes(graph, cx.options, table).into_iter().collect();
        let mut channels = order::channels(graph, &|node: &Node| quantized.contains(&node.id));
        let groups: Vec<_> =
            channels.groups().into_iter().filter(|_| cx.spend(|| "a group of channels".to_owned())).collect();
        let readers = |channels: &Channels| -> Vec<Reader> {
            let nodes = graph.nodes().filter(|node| quantized.contains(&node.id));
            let moves = |reader: &Reader| groups.iter().any(|group| reader.reads(group[0]));
            let reader = |node: &Node| {
                let mut reader = Reader::of(graph, node, channels)?;
                if !moves(&reader) {
                    reader.settle();
                }
                Some(reader)
            };
            nodes.filter_map(reader).collect()
        };
        let mut after = readers(&channels);
        let before: Vec<f32> = after.iter().map(Reader::growth).collect();
        for group in &groups {
            let mut reading: Vec<_> = after.iter_mut().filter(|reader| reader.reads(group[0])).collect();
            channels.place(&search::spread(group, &mut reading));
        }
        for (reader, before) in after.iter().zip(before) {
            tell(graph, cx, reader, &channels, before);
        }
        let mut axes = channel_axes(graph);
        axes.retain(|value, _| table.means.contains_key(&tensor_name(graph, *value)));
        order::permute(graph, &channels, axes, self.name());
        Ok(())
    }
}

/// Leaves a remark about the scales of a convolution or matrix product: that they decreased, or why they did not.
fn tell(graph: &Graph, cx: &mut PassContext<'_>, reader: &Reader, channels: &Channels, before: f32) {
    let after = reader.growth();
    let origin = &graph.node(reader.node).origin;
    match channels.pinned(reader.weights, reader.axis) {
        _ if after < before => {
            let message = format!("a reduced range makes scales {after:.2} times as large, down from {before:.2}");
            cx.remark(RemarkKind::Fired, origin, message);
        }
        Some(reason) if after > 1.0 => {
            let message = format!(
                "a reduced range makes scales {after:.2} times as large: {reason} fixes the order of its inputs"
            );
            cx.remark(RemarkKind::Missed, origin, message);
        }
        _ => {}
    }
}
