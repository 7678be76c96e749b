//! Runs calls and verbs on bytes, for tests: every kernel is tested through this.
//!
//! Targets that this machine runs are run in this process. Those of other architectures run in an emulator, if it and the
//! linker of the architecture are installed.

mod emulated;

use std::sync::LazyLock;

use eightfold_ir::array::Array;
use eightfold_ir::quant::quantize;
use eightfold_ir::{
    Arg as IrArg, DType, Data, Epilogue, Function, Graph, Shape, Step as IrStep, Tensor, TensorType, epilogue,
};

use super::jit::{Jit, entry_name, symbol};
use super::kernel;
use super::machine::MachineError;
use crate::kernel::Call;
use crate::program::Program;
use crate::step::{Arg, Step};
use crate::target::{InstructionSet, TARGETS, Target};
use crate::vector::{Emitter, Ptr};
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

/// The targets to try: those that run here, those that an emulator runs, and all of them by the generic instruction set, so
/// that what the kernels of each do is tested on any machine. Of the last, those of equal `facts` have the same kernels, and
/// are tried once.
pub(crate) fn targets_by<F: PartialEq>(facts: impl Fn(&Target) -> F) -> Vec<&'static Target> {
    static GENERIC: LazyLock<Vec<Target>> = LazyLock::new(generic);
    let first = |index: usize| GENERIC[..index].iter().all(|other| facts(other) != facts(&GENERIC[index]));
    let generic = (0..GENERIC.len()).filter(|index| first(*index)).map(|index| &GENERIC[index]);
    TARGETS.iter().filter(|target| target.runs_here() || emulated::runs(target.arch)).chain(generic).collect()
}

/// All targets of the table, with the generic instruction set and the CPU features of this machine.
fn generic() -> Vec<Target> {
    let here = Target::native().expect("a target runs here");
    let row = |target: &Target| Target {
        name: format!("generic-{}", target.name).leak(),
        arch: here.arch,
        cpu: here.cpu,
        features: here.features,
        instructions: InstructionSet::Generic,
        ..target.clone()
    };
    TARGETS.iter().map(row).collect()
}

/// Runs of functions: for each, its name and the buffers that it gets, with the position of its pointer in each.
type Runs = Vec<(String, Vec<(Vec<u8>, usize)>)>;

/// Compiles the functions that `emit` writes, runs them on buffers, and returns all buffers as they are left.
fn execute(
    target: &'static Target,
    mut runs: Runs,
    emit: impl for<'ctx> FnOnce(&Emitter<'_, 'ctx>) -> Result<(), MachineError>,
) -> Vec<Vec<Vec<u8>>> {
    let jit = Jit::default();
    if !target.runs_here() {
        let object = jit.object(target, emit).expect("compiles");
        return emulated::execute(target.arch, &object, &runs);
    }
    let compiled = jit.compile_with(target, false, emit).expect("compiles");
    let left = runs.iter_mut().map(|(name, buffers)| {
        let pointers: Vec<_> = buffers.iter_mut().map(|(bytes, start)| bytes[*start..].as_mut_ptr()).collect();
        // SAFETY: tests pass buffers as large as what their functions read and write.
        unsafe { compiled.run_named(name, &pointers) };
        std::mem::take(buffers).into_iter().map(|(bytes, _)| bytes).collect()
    });
    left.collect()
}

/// Runs a function whose body `emit` writes, given pointers to these buffers; returns the buffers as it leaves them.
pub(crate) fn run(
    target: &'static Target,
    buffers: &[&[u8]],
    emit: impl for<'ctx> FnOnce(&Emitter<'_, 'ctx>, &[Ptr<'ctx>]),
) -> Vec<Vec<u8>> {
    const NAME: &str = "function";
    let count = buffers.len();
    let buffers = buffers.iter().map(|bytes| (bytes.to_vec(), 0)).collect();
    let mut left = execute(target, vec![(NAME.to_owned(), buffers)], |e| {
        let pointers = e.function(NAME, count, 0);
        emit(e, &pointers);
        e.end();
        Ok(())
    });
    left.pop().expect("one run")
}

/// The bytes of numbers.
pub(crate) fn bytes<const N: usize, T: Copy>(numbers: &[T], to_bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(|number| to_bytes(*number)).collect()
}

/// The f32 numbers that these bytes are.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four"))).collect()
}

/// `a b + c` in a sum of products, as kernels of the target round it.
pub(crate) fn accumulated(target: &Target, a: f32, b: f32, c: f32) -> f32 {
    if target.fma { a.mul_add(b, c) } else { a * b + c }
}

/// Runs all trials for one target in one module; `agree` compares each output.
pub(crate) fn check(target: &'static Target, trials: &[Trial], agree: impl Fn(&Trial, &[u8])) {
    let slack = |bytes: &[u8]| [&[BLANK; Program::SLACK], bytes, &[BLANK; Program::SLACK]].concat();
    let run = |(index, trial): (usize, &Trial)| {
        let blank = vec![BLANK; trial.expected.len()];
        let views = trial.call.operands.iter().chain([&trial.call.output]);
        let start = |view: &View| Program::SLACK + view.offset * view.dtype.byte_size();
        let buffers = trial.operands.iter().chain([&blank]).zip(views).map(|(bytes, view)| (slack(bytes), start(view)));
        (symbol(index), buffers.collect())
    };
    let runs = trials.iter().enumerate().map(run).collect();
    let left = execute(target, runs, |e| {
        for (index, trial) in trials.iter().enumerate() {
            kernel::emit(e, &trial.call, &symbol(index));
        }
        Ok(())
    });
    for (trial, buffers) in trials.iter().zip(left) {
        let output = buffers.last().expect("the output");
        let (before, rest) = output.split_at(Program::SLACK);
        let (bytes, behind) = rest.split_at(trial.expected.len());
        assert!(before.iter().chain(behind).all(|b| *b == BLANK), "{} {}: out of bounds", target.name, trial.name);
        agree(trial, bytes);
    }
}

/// Outputs must be the same bytes, but for the bits of what is not a number: they differ among architectures.
pub(crate) fn equal(target: &'static Target, trials: &[Trial]) {
    check(target, trials, |trial, bytes| {
        let dtype = trial.call.output.dtype;
        let size = dtype.byte_size();
        let is_nan = |element: &[u8]| {
            let element = Tensor::from_unpacked(dtype, Shape::new(&[1]), element.to_vec()).expect("one element");
            matches!(element.data(), Data::Float(numbers) if numbers[0].is_nan())
        };
        let elements = bytes.chunks(size).zip(trial.expected.chunks(size));
        let mut wrong = elements.enumerate().filter(|(_, (got, expected))| got != expected);
        if let Some((at, (got, expected))) = wrong.find(|(_, (got, expected))| !(is_nan(got) && is_nan(expected))) {
            let count = bytes.len() / size;
            panic!("{} {}: element {at} of {count} is {got:?}, not {expected:?}", target.name, trial.name);
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
