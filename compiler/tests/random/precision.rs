//! How closely a compiled value must agree with the evaluator's.

use eightfold_ir::op::pool::PoolKind;
use eightfold_ir::op::reduce::ReduceKind;
use eightfold_ir::op::resize::ResizeMode;
use eightfold_ir::{DType, Def, Graph, Op, Step, Tensor, ValueId};

/// The allowed difference of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Precision {
    /// None.
    Exact,
    /// Float rounding: reductions have another order, functions are approximated.
    Rounded,
    /// Steps of a coarser type: a rounded value was rounded to it, perhaps to the other side of a tie.
    Coarse,
}

impl Precision {
    /// The precision of a value.
    pub(crate) fn of(graph: &Graph, value: ValueId) -> Precision {
        match graph.value(value).def {
            Def::Node { node, .. } => {
                let node = graph.node(node);
                after(graph, &node.op, &node.operands, &node.epilogue.steps)
            }
            _ => Precision::Exact,
        }
    }

    /// Whether the value is close enough.
    fn allows(self, dtype: DType, got: f64, expected: f64, greatest: f64) -> bool {
        let bound = match self {
            _ if got == expected || got.is_nan() && expected.is_nan() => return true,
            Precision::Exact => return false,
            Precision::Rounded => 1e-4 * greatest.max(1.0),
            Precision::Coarse if dtype.is_float() => 0.05 * greatest.max(1.0),
            Precision::Coarse => 1.0 + 0.05 * greatest,
        };
        (got - expected).abs() <= bound
    }

    /// Describes where `got` differs from `expected`.
    pub(crate) fn compare(self, got: &Tensor, expected: &Tensor) -> Result<(), String> {
        if (got.dtype(), got.shape()) != (expected.dtype(), expected.shape()) {
            let types = [got, expected].map(|tensor| format!("{}x{}", tensor.shape(), tensor.dtype()));
            return Err(format!("type {}, expected {}", types[0], types[1]));
        }
        let (dtype, got, expected) = (got.dtype(), numbers(got), numbers(expected));
        let greatest = expected.iter().filter(|x| x.is_finite()).fold(0.0_f64, |a, b| a.max(b.abs()));
        for (index, (got, wanted)) in got.iter().zip(&expected).enumerate() {
            if !self.allows(dtype, *got, *wanted, greatest) {
                return Err(format!("element {index} is {got}, expected {wanted} ({self:?}, greatest {greatest})"));
            }
        }
        Ok(())
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.data() {
        eightfold_ir::Data::Float(numbers) => numbers.into_iter().map(f64::from).collect(),
        eightfold_ir::Data::Int(numbers) => numbers.into_iter().map(|x| x as f64).collect(),
    }
}

/// The precision of the result of an operator with these operands and steps.
pub(crate) fn after(graph: &Graph, op: &Op, operands: &[Option<ValueId>], steps: &[Step]) -> Precision {
    let half = |id: &ValueId| graph.ty(*id).dtype.is_float() && graph.ty(*id).dtype.bits() == 16;
    let halves = operands.iter().flatten().any(half);
    let precision = operands.iter().flatten().map(|id| Precision::of(graph, *id)).max().unwrap_or(Precision::Exact);
    let operator = if rounds(graph, op, operands) { Precision::Rounded } else { Precision::Exact };
    let mut precision = precision.max(operator);
    if matches!(op, Op::QuantizeLinear(_)) {
        precision = coarse(precision);
    }
    for step in steps {
        precision = step.values().map(|id| Precision::of(graph, id)).fold(precision, Precision::max);
        if !step.is_exact() {
            precision = precision.max(Precision::Rounded);
        }
        if halves || matches!(step, Step::Cast(_) | Step::Quantize { .. }) {
            precision = coarse(precision);
        }
    }
    if halves { coarse(precision) } else { precision }
}

fn coarse(precision: Precision) -> Precision {
    if precision == Precision::Exact { precision } else { Precision::Coarse }
}

/// Whether the operator computes floats that the evaluator and compiled code may round differently.
fn rounds(graph: &Graph, op: &Op, operands: &[Option<ValueId>]) -> bool {
    let Some(Some(x)) = operands.first() else { return false };
    let float = graph.ty(*x).dtype.is_float();
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::MatMul(_) | Op::Softmax(_) => float,
        Op::Pool(pool) => float && pool.kind != PoolKind::Max,
        Op::Reduce(reduce) => float && !matches!(reduce.kind, ReduceKind::Max | ReduceKind::Min),
        Op::Resize(resize) => resize.mode == ResizeMode::Linear,
        _ => false,
    }
}
