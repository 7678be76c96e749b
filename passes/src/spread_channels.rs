//! Orders channels so that a reduced range of the weights costs as little precision as it can.
//!
//! What it does: a reduced range makes the scale of an output channel so large that certain sums of four inputs' weights
//! stay within a byte ([`weight_scales`](crate::insert_qdq::weight_scales)). How large is up to the order of the inputs,
//! which is free inside a graph ([`order`]): spread over the sums, large weights of one sign add up to little more than
//! the largest alone.
//!
//! Before, after: the same nodes; constants with their elements in another order. Means of channels in the calibration
//! table keep the model's order: tensors that the table has means of say where their channels lay ([`ChannelOrder`](eightfold_ir::ChannelOrder)), so
//! that `insert_qdq` finds what belongs to each.
//!
//! Exact: yes, but for the order of the float sums that `insert_qdq` is about to quantize.

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
        "order channels so that a reduced range of the weights costs little precision"
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

/// What became of the scales of a product, or why they are as large as they are.
fn tell(graph: &Graph, cx: &mut PassContext<'_>, reader: &Reader, channels: &Channels, before: f32) {
    let after = reader.growth();
    let origin = &graph.node(reader.node).origin;
    match channels.pinned(reader.weights, reader.axis) {
        _ if after < before => {
            let message = format!("scales of a reduced range {after:.2} times the full one's instead of {before:.2}");
            cx.remark(RemarkKind::Fired, origin, message);
        }
        Some(reason) if after > 1.0 => {
            let message = format!(
                "scales of a reduced range {after:.2} times the full one's, as {reason} keeps the order of its inputs"
            );
            cx.remark(RemarkKind::Missed, origin, message);
        }
        _ => {}
    }
}
