//! Pointwise operators on stored integers.
//!
//! A function of one tensor is a function of 256 integers. It becomes the cheapest form with the same 256 results: no
//! step, a clip of integers, one multiplication, or a table. Functions of several tensors take these forms:
//! - a sum of two tensors takes two fused multiply-adds with the zero points folded into one constant, as ONNX Runtime
//!   computes QLinearAdd: `map(%a) |> cast f32 |> mul_add (s_a / s_y), c |> mul_add %b, (s_b / s_y) |> quantize`;
//! - longer sums, and other steps that commute with a change of scale, run in units of the output's scale: `map(%a) |>
//!   dequantize {s_a / s_y} |> add %b {s_b / s_y} |> … |> quantize`;
//! - a product multiplies integers: `map(%a) |> dequantize {1} |> mul %b {1} |> mul (s_a * s_b / s_y) |> quantize`;
//! - all other functions run on real numbers.

use eightfold_ir::epilogue::run;
use eightfold_ir::{Arg, Array, DType, Data, Epilogue, Function, Graph, Node, Rewrite, Shape, Step, Tensor, ValueId};

use crate::functions::is_function;

use super::units::{bounded, in_real_units, on_integers, rescaled};
use super::{Obstacle, Scalar, Target, replace, stored, stored_operand};

pub(super) fn lower(graph: &Graph, node: &Node) -> Result<Rewrite, Obstacle> {
    let (x, from) = stored_operand(graph, node, 0)?;
    let mut rewrite = Rewrite::new(graph, super::NAME);
    let target = Target::of(graph, node);
    let steps = &node.epilogue.steps;
    let steps = match target.scalar() {
        Some(to) if is_function(node) => requantized(&mut rewrite, from, to, steps, graph)?.steps,
        Some(to) => in_steps(graph, &mut rewrite, from, to, steps).unwrap_or_else(|| {
            let dequantize = Step::Dequantize { scale: from.scale, zero_point: from.zero_point };
            [dequantize].into_iter().chain(in_real_units(graph, steps, Some(to))).collect()
        }),
        None => {
            let dequantize = Step::Dequantize { scale: from.scale, zero_point: from.zero_point };
            [dequantize].into_iter().chain(in_real_units(graph, steps, None)).collect()
        }
    };
    replace(graph, rewrite, node, &target, node.op.clone(), &[Some(x)], steps)
}

/// Returns the steps in units of the output's scale, if all of them commute with the change of scale.
fn in_steps(graph: &Graph, rewrite: &mut Rewrite, from: Scalar, to: Scalar, steps: &[Step]) -> Option<Vec<Step>> {
    let (kept, min, max) = bounded(graph, steps, to);
    let (first, others) = kept.split_first()?;
    if let ([], Some((value, by))) = (others, stored_argument(graph, first, Function::Add)) {
        return Some(sum(from, (value, by), to, (min, max)));
    }
    let mut lowered = match stored_argument(graph, first, Function::Mul) {
        Some((value, by)) => {
            let other = Arg::Dequantized { value, scale: 1.0, zero_point: by.zero_point };
            vec![
                Step::Dequantize { scale: 1.0, zero_point: from.zero_point },
                Step::binary(Function::Mul, other),
                Step::binary(Function::Mul, Arg::Float(from.scale * by.scale / to.scale)),
            ]
        }
        None => vec![
            Step::Dequantize { scale: from.scale / to.scale, zero_point: from.zero_point },
            rescaled(graph, rewrite, first, to.scale)?,
        ],
    };
    for step in others {
        lowered.push(rescaled(graph, rewrite, step, to.scale)?);
    }
    lowered.push(Step::Quantize { dtype: to.storage, scale: 1.0, zero_point: to.zero_point, min, max });
    Some(lowered)
}

/// Returns the steps for the sum of two tensors, in units of the output's scale, output zero point included.
fn sum(a: Scalar, (value, b): (ValueId, Scalar), to: Scalar, (min, max): (i32, i32)) -> Vec<Step> {
    let (a_ratio, b_ratio) = (a.scale / to.scale, b.scale / to.scale);
    let zeros = f64::from(a_ratio) * f64::from(a.zero_point) + f64::from(b_ratio) * f64::from(b.zero_point);
    let shift = (f64::from(to.zero_point) - zeros) as f32;
    let b = Arg::Dequantized { value, scale: 1.0, zero_point: 0 };
    let mul_add = |args: [Arg; 3]| Step::Apply(Function::MulAdd, args.into_iter().collect());
    vec![
        Step::Cast(DType::F32),
        mul_add([Arg::Current, Arg::Float(a_ratio), Arg::Float(shift)]),
        mul_add([b, Arg::Float(b_ratio), Arg::Current]),
        Step::Quantize { dtype: to.storage, scale: 1.0, zero_point: 0, min, max },
    ]
}

/// If the step applies `function` to the current number and a dequantized tensor, returns the tensor's integers.
fn stored_argument(graph: &Graph, step: &Step, function: Function) -> Option<(ValueId, Scalar)> {
    match step {
        Step::Apply(applied, args) if *applied == function => match args.as_slice() {
            [Arg::Current, Arg::Value(value)] | [Arg::Value(value), Arg::Current] => stored(graph, *value),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the cheapest steps on stored integers that equal dequantization, `steps` and quantization for every integer.
/// `steps` read no tensor except their operand.
pub(super) fn requantized(
    rewrite: &mut Rewrite,
    from: Scalar,
    to: Scalar,
    steps: &[Step],
    graph: &Graph,
) -> Result<Epilogue, Obstacle> {
    // Clips stay separate steps here: as bounds of the quantization they would treat NaN differently.
    let mut real = vec![Step::Dequantize { scale: from.scale, zero_point: from.zero_point }];
    real.extend(steps.iter().map(|step| on_integers(graph, step)));
    real.push(Step::quantize(to.storage, to.scale, to.zero_point));
    let table = tabulated(from.storage, Epilogue::new(real))?;
    let (kept, min, max) = bounded(graph, steps, to);
    if from.storage == to.storage {
        let (least, greatest) = (table.iter().min().copied().unwrap_or(0), table.iter().max().copied().unwrap_or(0));
        if inputs(from.storage).zip(&table).all(|(x, y)| x == *y) {
            return Ok(Epilogue::none());
        }
        if inputs(from.storage).zip(&table).all(|(x, y)| x.clamp(least, greatest) == *y) {
            let args = [Arg::Current, Arg::Int(least), Arg::Int(greatest)];
            return Ok(Epilogue::new(vec![Step::Apply(Function::Clip, args.into_iter().collect())]));
        }
    }
    if kept.is_empty() {
        let multiply = Epilogue::new(vec![
            Step::Dequantize { scale: from.scale / to.scale, zero_point: from.zero_point },
            Step::Quantize { dtype: to.storage, scale: 1.0, zero_point: to.zero_point, min, max },
        ]);
        if tabulated(from.storage, multiply.clone())? == table {
            return Ok(multiply);
        }
    }
    // Entry `i` of a table is the result for the integer whose low eight bits are `i`.
    let mut entries = vec![0; 256];
    inputs(from.storage).zip(&table).for_each(|(x, y)| entries[(x & 0xff) as usize] = *y);
    let value = rewrite.constant("", Tensor::int(to.storage, &[256], &entries), None);
    Ok(Epilogue::new(vec![Step::Table(value)]))
}

/// Returns all integers of an 8-bit type.
fn inputs(storage: DType) -> std::ops::RangeInclusive<i64> {
    let (min, max) = storage.integer_range().expect("an 8-bit type");
    min..=max
}

/// Returns the result of the steps for each integer of an 8-bit type, in order.
fn tabulated(storage: DType, steps: Epilogue) -> Result<Vec<i64>, Obstacle> {
    let array = Array { dtype: storage, shape: Shape::new(&[256]), data: Data::Int(inputs(storage).collect()) };
    // The steps may read only their operand.
    let result = run(&steps, array.clone(), &|_| &array).map_err(|e| e.to_string())?;
    Ok(result.ints().into_owned())
}
