//! Splits off functions that int8 computes by table lookup, so that each is a node of its own.
//!
//! Before: `%y = conv(%x, %w) |> silu |> add %r`.
//! After: `%y_unactivated = conv(%x, %w)`, `%y_activated = map(%y_unactivated) |> silu`, `%y = map(%y_activated) |> add
//! %r`.
//!
//! On 8-bit integers, any unary function is a table of 256 entries. The table's input must be quantized, so it must be
//! a tensor that calibration can observe. Functions that are a few exact operations (ReLU, hard swish) stay in the
//! epilogue: they cost less than a table and are exact. A `map` that computes one function and reads its operand
//! several times becomes one table. After quantization, `fuse` joins the nodes again.
//!
//! Two kinds of nodes stay whole: nodes that are already quantized, because the model defines their roundings, and
//! nodes whose new tensors have no range in the calibration table. Without a range, the function runs in float before
//! the result is rounded.
//!
//! Exact: yes, the same steps run on the same numbers.

use eightfold_ir::op::map::Map;
use eightfold_ir::{DType, Epilogue, Graph, InferError, Node, Op, QuantRule, Rewrite, Step, ValueId};

use crate::functions::{is_function, is_tabular, is_unary, is_wide};
use crate::pass::{Pass, PassContext, PassError, RemarkKind};
use crate::quant::{dequantized, tensor_name};

/// See the module's documentation.
pub(crate) struct SeparateActivations;

const NAME: &str = "separate_activations";

impl Pass for SeparateActivations {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "split off functions that int8 computes by table lookup"
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        let table = cx.options.calibration.as_ref();
        for id in graph.topo() {
            let node = graph.node(id).clone();
            let parts = parts(&node);
            if parts.len() < 2 || !is_float(graph, &node) {
                continue;
            }
            let origin = node.origin.to_string();
            let (rewrite, values) = separated(graph, &node, &parts).map_err(|source| PassError::Infer {
                pass: NAME,
                origin,
                source: source.into(),
            })?;
            let name = tensor_name(graph, node.output());
            let names: Vec<String> = parts[1..].iter().zip(&parts).map(|(_, part)| between(&name, part)).collect();
            let unknown = |name: &&String| table.is_some_and(|table| !table.ranges.contains_key(*name));
            if let Some(unknown) = names.iter().find(unknown) {
                cx.remark(
                    RemarkKind::Missed,
                    &node.origin,
                    format!("the calibration table has no range for {unknown}"),
                );
                continue;
            }
            if cx.apply(graph, rewrite).is_none() {
                break;
            }
            values.into_iter().zip(&names).for_each(|(value, name)| graph.set_name(value, name));
        }
        Ok(())
    }
}

/// Returns the name of the tensor that a part computes; `name` is the name of the whole node's result.
fn between(name: &str, part: &[Step]) -> String {
    let what = if is_tabular(part) { "activated" } else { "unactivated" };
    format!("{name}_{what}")
}

/// Splits the node's steps into one part per new node, in order. The operator keeps the first part. The first part is
/// empty if a table reads the operator's result directly.
fn parts(node: &Node) -> Vec<&[Step]> {
    let steps = node.epilogue.steps.as_slice();
    if is_function(node) && !steps.iter().any(is_wide) {
        return vec![steps];
    }
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    for run in steps.chunk_by(|a, b| is_unary(a) == is_unary(b)) {
        let end = at + run.len();
        if is_tabular(run) {
            let first = parts.is_empty() && !matches!(node.op, Op::Map(_));
            parts.extend((begin < at || first).then(|| &steps[begin..at]));
            parts.push(run);
            begin = end;
        }
        at = end;
    }
    parts.extend((begin < at).then(|| &steps[begin..at]));
    parts
}

/// Returns true if the node computes in f32, carries no quantization, and its operator has an integer form.
fn is_float(graph: &Graph, node: &Node) -> bool {
    let float = |id: ValueId| graph.ty(id).dtype == DType::F32;
    let quantizes = |user| matches!(graph.node(user).op, Op::QuantizeLinear(_));
    node.op.quant_rule() != QuantRule::FloatOnly
        && node.outputs.len() == 1
        && float(node.output())
        && node.operand(0).is_some_and(float)
        && node.uses().all(|id| dequantized(graph, id).is_none())
        && !graph.users(node.output()).into_iter().any(quantizes)
}

/// Builds one node with the first part, followed by a chain of `map` nodes with the other parts. Also returns the
/// tensors between these nodes.
fn separated(graph: &Graph, node: &Node, parts: &[&[Step]]) -> Result<(Rewrite, Vec<ValueId>), InferError> {
    let mut rewrite = Rewrite::new(graph, NAME);
    let steps = |part: &[Step]| Epilogue::new(part.to_vec());
    let mut last = rewrite.node(graph, &[node.id], node.op.clone(), &node.operands, steps(parts[0]), None)?;
    let mut between = Vec::new();
    for part in &parts[1..] {
        between.push(last);
        last = rewrite.node(graph, &[node.id], Map {}, &[Some(last)], steps(part), None)?;
    }
    rewrite.replace(node.output(), last);
    Ok((rewrite, between))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_cut_off_from_what_computes_and_from_what_reads_tensors() {
        let cut = |text: &str| {
            let text = format!(
                "graph @g {{\n input %x: 1x2x2x2xf32\n input %r: 1x2x2x2xf32\n \
                 const %w: 2x2x1x1xf32 = rand(seed=1)\n %y = {text} : 1x2x2x2xf32\n output %y\n}}"
            );
            let graph = eightfold_ir::parse(&text).expect("a graph");
            parts(graph.nodes().next().expect("a node")).iter().map(|part| part.len()).collect::<Vec<_>>()
        };
        assert_eq!(cut("conv(%x, %w) |> silu"), [0, 1]);
        assert_eq!(cut("conv(%x, %w) |> relu |> silu |> mul 2.0 |> add %r"), [0, 3, 1]);
        assert_eq!(cut("conv(%x, %w) |> add %r |> tanh"), [1, 1]);
        assert_eq!(cut("map(%x) |> sigmoid |> add %r |> relu |> add %r |> tanh"), [1, 3, 1]);
        assert_eq!(cut("map(%x) |> relu |> sigmoid"), [2]);
        assert_eq!(cut("map(%x) |> mul %x |> add 1.0 |> tanh |> mul %x"), [4]);
        assert_eq!(cut("map(%x) |> mul %x |> tanh |> mul %r"), [1, 1, 1]);
        assert_eq!(cut("conv(%x, %w) |> exp |> add %r"), [2]);
        assert_eq!(cut("conv(%x, %w) |> hard_swish |> add %r"), [2]);
    }
}
