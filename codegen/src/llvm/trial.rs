//! Runs calls on bytes and compares their results. All tests of kernels use this module.

use std::sync::LazyLock;

use eightfold_ir::array::Array;
use eightfold_ir::quant::quantize;
use eightfold_ir::{
    Arg as IrArg, DType, Data, Epilogue, Function, Graph, Shape, Step as IrStep, Tensor, TensorType, epilogue,
};

use super::jit::Jit;
use crate::kernel::Call;
use crate::program::Program;
use crate::step::{Arg, Step};
use crate::target::{InstructionSet, TARGETS, Target};
use crate::view::{BufferId, Grid, Storage, View};

/// A call with the bytes of its operands, from the start of the storage to the end of each view.
pub(crate) struct Trial {
    pub(crate) call: Call,
    pub(crate) operands: Vec<Vec<u8>>,
    /// The bytes that the output's storage must have, if it was filled with `BLANK` before.
    pub(crate) expected: Vec<u8>,
    /// The name of the case in messages.
    pub(crate) name: String,
}

/// The value of all output bytes before a run.
pub(crate) const BLANK: u8 = 0xa5;

/// The targets to test if kernels depend only on registers and on fused multiply-add; see [`targets_by`].
pub(crate) fn targets() -> Vec<&'static Target> {
    targets_by(|target| (target.vector_bits, target.vector_registers, target.fma))
}

/// The targets to test: those that run here, with their own instructions, and all targets with the generic instruction
/// set, so that the kernels of every target are tested on any machine. Generic targets of equal `facts` have the same
/// kernels, so only the first of them is tested.
pub(crate) fn targets_by<F: PartialEq>(facts: impl Fn(&Target) -> F) -> Vec<&'static Target> {
    static GENERIC: LazyLock<Vec<Target>> = LazyLock::new(generic);
    let first = |index: usize| GENERIC[..index].iter().all(|other| facts(other) != facts(&GENERIC[index]));
    let generic = (0..GENERIC.len()).filter(|index| first(*index)).map(|index| &GENERIC[index]);
    TARGETS.iter().filter(|target| target.runs_here()).chain(generic).collect()
}

/// All targets of the table, with the generic instruction set and the CPU features of this machine.
fn generic() -> Vec<Target> {
    let here = Target::native().expect("a target runs here");
    let row = |target: &Target| Target {
        name: format!("generic-{}", target.name).leak(),
        cpu: here.cpu,
        features: here.features,
        instructions: InstructionSet::Generic,
        ..target.clone()
    };
    TARGETS.iter().map(row).collect()
}

/// `a * b + c`, rounded as in the reductions of the target's kernels.
pub(crate) fn accumulated(target: &Target, a: f32, b: f32, c: f32) -> f32 {
    if target.fma { a.mul_add(b, c) } else { a * b + c }
}

/// Runs all trials for one target in one module; `agree` compares each output.
pub(crate) fn check(target: &'static Target, trials: &[Trial], agree: impl Fn(&Trial, &[u8])) {
    let jit = Jit::default();
    let calls: Vec<Call> = trials.iter().map(|trial| trial.call.clone()).collect();
    let compiled = jit.compile(&calls, target, false).expect("compiles");
    for (index, trial) in trials.iter().enumerate() {
        let slack = |bytes: &[u8]| [&[BLANK; Program::SLACK], bytes, &[BLANK; Program::SLACK]].concat();
        let mut buffers: Vec<Vec<u8>> = trial.operands.iter().map(|bytes| slack(bytes)).collect();
        buffers.push(slack(&vec![BLANK; trial.expected.len()]));
        let views = trial.call.operands.iter().chain([&trial.call.output]);
        let pointers = buffers
            .iter_mut()
            .zip(views)
            .map(|(buffer, view)| buffer[Program::SLACK + view.offset * view.dtype.byte_size()..].as_mut_ptr());
        let pointers: Vec<_> = pointers.collect();
        // SAFETY: the trial has all bytes that the call accesses, with slack on both sides.
        unsafe { compiled.run(index, &pointers) };
        let output = buffers.pop().expect("pushed above");
        let (before, rest) = output.split_at(Program::SLACK);
        let (bytes, behind) = rest.split_at(trial.expected.len());
        assert!(before.iter().chain(behind).all(|b| *b == BLANK), "{} {}: out of bounds", target.name, trial.name);
        agree(trial, bytes);
    }
}

/// Runs all trials; panics unless each output equals the expected bytes.
pub(crate) fn equal(target: &'static Target, trials: &[Trial]) {
    check(target, trials, |trial, bytes| {
        let wrong = bytes.iter().zip(&trial.expected).position(|(got, expected)| got != expected);
        if let Some(at) = wrong {
            let (got, expected) = (bytes[at], trial.expected[at]);
            panic!("{} {}: byte {at} of {} is {got}, not {expected}", target.name, trial.name, bytes.len());
        }
    });
}

/// The byte that the steps of [`requantizing`] make of `real`, an accumulator times its channel's scale.
pub(crate) fn requantized(real: f32, residual: Option<u8>) -> u8 {
    let residual = residual.map_or(0.0, |stored| (f32::from(stored) - 7.0) * 0.25);
    quantize(real + residual, 1.0, 3, 0, 255) as u8
}

/// Steps that requantize: multiply by a scale per channel, add the residual if there is one, and quantize to u8. The
/// operands of the steps are appended to `operands` and `bytes`; the result is like `output`.
pub(crate) fn requantizing(
    scales: impl Iterator<Item = f32>,
    residual: Option<Vec<u8>>,
    output: &View,
    operands: &mut Vec<View>,
    bytes: &mut Vec<Vec<u8>>,
) -> Vec<Step> {
    let Grid { dims, strides } = &output.grid;
    let mut steps =
        vec![Step::Cast(DType::F32), Step::Apply(Function::Mul, vec![Arg::Current, Arg::Operand(operands.len())])];
    operands.push(view(DType::F32, 0, dims, &[0, 1, 0, 0]));
    bytes.push(scales.flat_map(f32::to_le_bytes).collect());
    if let Some(residual) = residual {
        let arg = Arg::Dequantized { operand: operands.len(), scale: 0.25, zero_point: 7 };
        steps.push(Step::Apply(Function::Add, vec![Arg::Current, arg]));
        operands.push(view(DType::U8, 0, dims, strides));
        bytes.push(residual);
    }
    steps.push(Step::Quantize { dtype: DType::U8, scale: 1.0, zero_point: 3, min: 0, max: 255 });
    steps
}

/// Pseudorandom numbers from a fixed seed.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }

    /// A number from `low` to `high`.
    pub(crate) fn between(&mut self, low: i32, high: i32) -> i32 {
        low + (self.next() % (high - low + 1) as usize) as i32
    }
}

/// A view of a buffer.
pub(crate) fn view(dtype: DType, offset: usize, dims: &[usize], strides: &[isize]) -> View {
    let grid = Grid { dims: dims.to_vec(), strides: strides.to_vec() };
    View::new(Storage::Buffer(BufferId(0)), dtype, offset, grid)
}

/// Random bytes for a view, from the start of its storage: integers from their range, within 30 bits; floats from -4 to
/// 4.
pub(crate) fn numbers_for(view: &View, numbers: &mut Numbers) -> Vec<u8> {
    let count = positions(view).max().map_or(view.offset, |last| last + 1);
    let tensor = if view.dtype.is_float() {
        let values = (0..count).map(|_| numbers.between(-4000, 4000) as f32 / 1000.0).collect();
        Tensor::from_array(view.dtype, Shape::new(&[count]), &Data::Float(values))
    } else {
        let (low, high) = view.dtype.integer_range().unwrap_or((i64::MIN, i64::MAX));
        let (low, high) = (low.max(-0x2000_0000) as i32, high.min(0x1fff_ffff) as i32);
        let values: Vec<i64> = (0..count).map(|_| numbers.between(low, high).into()).collect();
        Tensor::int(view.dtype, &[count], &values)
    };
    tensor.bytes().to_vec()
}

/// The elements of a view of `bytes`, in row-major order.
pub(crate) fn elements(view: &View, bytes: &[u8]) -> Array {
    let size = view.dtype.byte_size();
    let picked: Vec<u8> = positions(view).flat_map(|at| bytes[at * size..][..size].iter().copied()).collect();
    Array::from(
        &Tensor::from_unpacked(view.dtype, Shape::new(&view.grid.dims), picked).expect("as many as the view has"),
    )
}

/// The bytes of a call's output storage if its kernel produces `produced`: the interpreter runs the steps.
pub(crate) fn finished(call: &Call, operands: &[Vec<u8>], produced: Array) -> Vec<u8> {
    let mut graph = Graph::new("steps");
    let arrays: Vec<Array> = call.operands.iter().zip(operands).map(|(view, bytes)| elements(view, bytes)).collect();
    let ids: Vec<_> =
        arrays.iter().map(|array| graph.add_input("", TensorType::new(array.dtype, array.shape.clone()))).collect();
    let step = |step: &Step| match step {
        Step::Apply(function, args) => {
            let args = args.iter().map(|arg| match *arg {
                Arg::Current => IrArg::Current,
                Arg::Operand(operand) => IrArg::Value(ids[operand]),
                Arg::Dequantized { operand, scale, zero_point } => {
                    IrArg::Dequantized { value: ids[operand], scale, zero_point }
                }
                Arg::Float(x) => IrArg::Float(x),
                Arg::Int(x) => IrArg::Int(x),
            });
            IrStep::Apply(*function, args.collect())
        }
        Step::Cast(dtype) => IrStep::Cast(*dtype),
        Step::Dequantize { scale, zero_point } => IrStep::Dequantize { scale: *scale, zero_point: *zero_point },
        Step::Quantize { dtype, scale, zero_point, min, max } => {
            IrStep::Quantize { dtype: *dtype, scale: *scale, zero_point: *zero_point, min: *min, max: *max }
        }
        Step::Table { operand, .. } => IrStep::Table(ids[*operand]),
    };
    let steps = call.steps.iter().map(step).chain([IrStep::Cast(call.output.dtype)]);
    let result = epilogue::run(&Epilogue::new(steps.collect()), produced, &|id| &arrays[id.index()]);
    let result = Tensor::from(&result.expect("steps that fit"));
    let size = call.output.dtype.byte_size();
    let count = positions(&call.output).max().map_or(call.output.offset, |last| last + 1);
    let mut bytes = vec![BLANK; count * size];
    for (at, element) in positions(&call.output).zip(result.bytes().chunks_exact(size)) {
        bytes[at * size..][..size].copy_from_slice(element);
    }
    bytes
}

/// Where the elements of a view lie, in row-major order of their indices.
fn positions(view: &View) -> impl Iterator<Item = usize> {
    let Grid { dims, strides } = view.grid.clone();
    (0..view.grid.elements()).map(move |mut index| {
        let mut at = view.offset as isize;
        for (dim, stride) in dims.iter().zip(&strides).rev() {
            at += (index % dim) as isize * stride;
            index /= dim;
        }
        usize::try_from(at).expect("the view lies inside its bytes")
    })
}
