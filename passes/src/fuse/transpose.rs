//! `transposes`, `reshapes`, `sink_transpose`: remove movements of elements.
//!
//! ## What it does
//! `transposes` merges two consecutive transposes into one, or removes both if they cancel. `reshapes` merges two
//! consecutive reshapes. `sink_transpose` moves a transpose after the pointwise operator that is its only reader, or
//! after per-tensor quantization and dequantization, where it may meet the next transpose. Constants in the steps are
//! transposed instead.
//!
//! ## Before, after
//! `%t = transpose(%c) {perm=[0, 2, 3, 1]}`, `%r = map(%t) |> relu`, `%u = transpose(%r) {perm=[0, 3, 1, 2]}` become
//! `%u = map(%c) |> relu`.
//!
//! ## Exact?
//! Yes.
//!
//! ## Known problems
//! A transpose moves after a pointwise operator on two tensors only if both are transposed in the same way.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::map::Map;
use eightfold_ir::op::transpose::Transpose;
use eightfold_ir::{Array, Epilogue, Graph, Node, Op, Rewrite, Tensor, ValueId};

use super::{Fusion, Miss, require};

pub(super) const COMPOSE_TRANSPOSES: Fusion = Fusion {
    name: "transposes",
    summary: "two transposes in a row become one or none",
    not_with: &[],
    try_at: compose_transposes,
};

pub(super) const COMPOSE_RESHAPES: Fusion =
    Fusion { name: "reshapes", summary: "two reshapes in a row become one", not_with: &[], try_at: compose_reshapes };

pub(super) const SINK_TRANSPOSE: Fusion = Fusion {
    name: "sink_transpose",
    summary: "a transpose moves behind the pointwise operator that reads it",
    not_with: &[],
    try_at: sink_transpose,
};

/// Returns the producer of operand 0 of `root`, if it has no steps.
fn bare_producer<'g>(graph: &'g Graph, root: &Node) -> Result<&'g Node, Miss> {
    let producer = root.operand(0).and_then(|x| graph.producer(x)).ok_or(Miss::Unrelated)?;
    require(producer.epilogue.is_empty())?;
    Ok(producer)
}

fn compose_transposes(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    let Op::Transpose(outer) = &root.op else { return Err(Miss::Unrelated) };
    let producer = bare_producer(graph, root)?;
    let Op::Transpose(inner) = &producer.op else { return Err(Miss::Unrelated) };
    let perm: Sizes = outer.perm.iter().map(|axis| inner.perm[*axis]).collect();
    let op: Op = match perm.iter().copied().eq(0..perm.len()) {
        true => Map {}.into(),
        false => Transpose { perm }.into(),
    };
    skip(graph, root, producer, op, COMPOSE_TRANSPOSES.name)
}

fn compose_reshapes(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    let producer = bare_producer(graph, root)?;
    require(matches!((&root.op, &producer.op), (Op::Reshape(_), Op::Reshape(_))))?;
    skip(graph, root, producer, root.op.clone(), COMPOSE_RESHAPES.name)
}

/// Returns a rewrite that replaces `root` by `op` on the operand of `producer`, with the steps of `root`.
fn skip(graph: &Graph, root: &Node, producer: &Node, op: Op, label: &'static str) -> Result<Rewrite, Miss> {
    let x = producer.operand(0).ok_or(Miss::Unrelated)?;
    let mut rewrite = Rewrite::new(graph, label);
    let alias = matches!(op, Op::Map(_)) && root.epilogue.is_empty() && graph.producer(x).is_some();
    let y = match alias {
        true => x,
        false => {
            let quant = graph.ty(root.output()).quant;
            rewrite.node(graph, &[producer.id, root.id], op, &[Some(x)], root.epilogue.clone(), quant)?
        }
    };
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

fn sink_transpose(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    require(matches!(root.op, Op::Map(_) | Op::QuantizeLinear(_) | Op::DequantizeLinear(_)))?;
    let producer = bare_producer(graph, root)?;
    let Op::Transpose(transpose) = &producer.op else { return Err(Miss::Unrelated) };
    let (x, t) = (producer.operand(0).ok_or(Miss::Unrelated)?, producer.output());
    let root_alone = graph.users(t) == [root.id] && !graph.is_output(t);
    require(root_alone && graph.ty(t).shape == graph.ty(root.output()).shape)?;
    let quant = graph.ty(root.output()).quant;
    require(quant.is_none_or(|q| graph.qparams(q).is_per_tensor()))?;
    let mut rewrite = Rewrite::new(graph, SINK_TRANSPOSE.name);
    let mut epilogue = root.epilogue.clone();
    let mut fits = true;
    for step in &mut epilogue.steps {
        // A table is indexed by the number, not by its coordinates.
        if matches!(step, eightfold_ir::Step::Table(_)) {
            continue;
        }
        step.map_values(|v| {
            untransposed(graph, &mut rewrite, v, &transpose.perm).unwrap_or_else(|| {
                fits = false;
                v
            })
        });
    }
    require(fits)?;
    let from = [producer.id, root.id];
    let inner = rewrite.node(graph, &from, root.op.clone(), &[Some(x)], epilogue, quant)?;
    let outer = rewrite.node(graph, &from, transpose.clone(), &[Some(inner)], Epilogue::none(), quant)?;
    rewrite.replace(root.output(), outer);
    Ok(rewrite)
}

/// Returns the value that a step must read when the transpose runs after the step.
fn untransposed(graph: &Graph, rewrite: &mut Rewrite, value: ValueId, perm: &Sizes) -> Option<ValueId> {
    if let Some(tensor) = graph.constant(value) {
        let (rank, own) = (perm.len(), tensor.shape().rank());
        if own > rank {
            return None;
        }
        if tensor.shape().elements() == 1 {
            return Some(value);
        }
        let padded = tensor
            .reshaped((0..rank).map(|a| if a + own < rank { 1 } else { tensor.shape()[a + own - rank] }).collect());
        let inverse: Sizes =
            (0..rank).map(|axis| perm.iter().position(|p| *p == axis).expect("a permutation")).collect();
        let array = Array::from(&padded);
        let operand = eightfold_ir::op::EvalOperand { array: &array, quant: None };
        let moved = Op::from(Transpose { perm: inverse }).eval(&[Some(operand)]);
        return Some(rewrite.constant("", Tensor::from(&moved[0]), graph.ty(value).quant));
    }
    let producer = graph.producer(value)?;
    let alike = matches!(&producer.op, Op::Transpose(t) if t.perm == *perm) && producer.epilogue.is_empty();
    if alike { producer.operand(0) } else { None }
}
