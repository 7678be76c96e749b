//! Random operators with bodies. Bodies compute little; what varies is what they read and write.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::r#if::If;
use eightfold_ir::op::r#loop::Loop;
use eightfold_ir::op::map::Map;
use eightfold_ir::op::scan::Scan;
use eightfold_ir::{Arg, Body, DType, Epilogue, Function, Graph, Op, Origin, Shape, Step, Tensor, TensorType, ValueId};

use crate::draw::{Draw, Style};
use crate::operators::Drawn;

/// The type of `x` as it enters a body; `None` for quantized numbers, which stay outside, and for imported graphs, which
/// are exported.
fn entering(draw: &Draw<'_>, x: ValueId) -> Option<TensorType> {
    let ty = draw.graph.ty(x);
    let enters = draw.style != Style::Imported && ty.quant.is_none() && ty.shape.elements() < 2000;
    enters.then(|| TensorType::new(ty.dtype, ty.shape.clone()))
}

/// Adds a result with the name: the value itself, or with a step that suits its type.
fn returned(graph: &mut Graph, name: &str, x: ValueId, changes: bool) {
    let is_float = graph.ty(x).dtype == DType::F32;
    let steps = if is_float && changes { vec![Step::unary(Function::Neg)] } else { Vec::new() };
    let y = match changes {
        true => graph.add_node("", Map {}, &[Some(x)], Epilogue::new(steps), None, Origin::of(name)).expect("suits"),
        false => x,
    };
    graph.add_output(name, y);
}

pub(crate) fn if_(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let ty = entering(draw, x)?;
    let branch = |changes| {
        let mut graph = Graph::new("branch");
        let x = graph.add_input("x", ty.clone());
        returned(&mut graph, "y", x, changes);
        Body::new(graph)
    };
    let op = If { then: branch(true), otherwise: branch(false) };
    let condition = match draw.tape.one_in(3) {
        true => draw.constant(DType::Bool, &[]),
        false => draw.input_of(Tensor::int(DType::Bool, &[1], &[i64::from(draw.tape.one_in(2))]), None),
    };
    Some((op.into(), vec![Some(condition), Some(x)]))
}

pub(crate) fn loop_(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let ty = entering(draw, x)?;
    let mut graph = Graph::new("turn");
    graph.add_input("i", TensorType::new(DType::I64, Shape::scalar()));
    let on = graph.add_input("on", TensorType::new(DType::Bool, Shape::scalar()));
    let x_in = graph.add_input("x", ty);
    graph.add_output("on", on);
    returned(&mut graph, "x", x_in, true);
    if draw.tape.one_in(2) {
        returned(&mut graph, "slice", x_in, draw.tape.one_in(2));
    }
    let trip = draw.input_of(Tensor::int(DType::I64, &[], &[draw.tape.below(5) as i64]), None);
    let op = Loop { max_trip: 3, states: 1, body: Body::new(graph) };
    Some((op.into(), vec![Some(trip).filter(|_| !draw.tape.one_in(4)), None, Some(x)]))
}

pub(crate) fn scan(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let ty = entering(draw, x)?;
    let axis = draw.tape.below(ty.shape.rank().max(1));
    let mut extents = ty.shape.to_vec();
    let count = *extents.get(axis)?;
    extents.remove(axis);
    let mut graph = Graph::new("turn");
    let slice_type = TensorType::new(ty.dtype, Shape::new(&extents));
    let has_state = draw.tape.one_in(2);
    let state = has_state.then(|| graph.add_input("state", slice_type.clone()));
    let slice = graph.add_input("slice", slice_type);
    if let Some(state) = state {
        let adds = ty.dtype == DType::F32;
        let steps = if adds { vec![Step::binary(Function::Max, Arg::Value(slice))] } else { Vec::new() };
        let next = graph.add_node("", Map {}, &[Some(state)], Epilogue::new(steps), None, Origin::of("next"));
        graph.add_output("state", next.expect("suits"));
    }
    returned(&mut graph, "row", slice, draw.tape.one_in(2));
    let flag = |is_set: bool| if is_set { Sizes::from_elem(1, 1) } else { Sizes::new() };
    let op = Scan {
        count,
        states: usize::from(has_state),
        axes: Sizes::from_elem(axis, 1),
        reverse: flag(draw.tape.one_in(2)),
        output_axes: Sizes::from_elem(draw.tape.below(extents.len() + 1), 1),
        output_reverse: flag(draw.tape.one_in(2)),
        body: Body::new(graph),
    };
    let state = has_state.then(|| draw.constant(ty.dtype, &extents));
    Some((Op::from(op), state.into_iter().chain([x]).map(Some).collect()))
}
