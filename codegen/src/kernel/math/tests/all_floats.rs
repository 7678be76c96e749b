//! The audit: every scalar function of one argument on all 2^32 bit patterns of f32.
//!
//! Compiled code is a pointwise call with one step, for the target of this machine. The evaluator runs on the same
//! numbers. Approximated functions are compared with f64, whose own error is below 2^-28 ulp of f32. The other
//! functions are compared with the evaluator, which computes them by IEEE operations.
//! `benches/notes/scalar-functions.md` has the table of results.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use eightfold_ir::scalar::{Accuracy, Meaning};
use eightfold_ir::{DType, Function};

use super::{ALPHA, ROWS, bound, distance, evaluator_bound};
use crate::kernel::{Call, Pointwise, Producer};
use crate::llvm::jit::{Entry, Jit};
use crate::llvm::trial::view;
use crate::step::{Arg, Step};
use crate::target::Target;

/// Numbers per run of a kernel; a power of two.
const CHUNK: u32 = 1 << 14;

/// The third argument of functions that take one; the second is `ALPHA`.
const BETA: f32 = 0.5;

/// Functions of one argument that also take parameters of the model.
const WITH_PARAMETERS: [Function; 3] = [Function::Elu, Function::HardSigmoid, Function::LeakyRelu];

/// Differences from the exact results, rounded to f32.
#[derive(Clone, Copy, Default)]
struct Differences {
    /// The largest error, in the unit of the function's accuracy, and its argument.
    worst: (f64, f32),
    /// Results that are not the nearest float.
    numbers: u64,
    /// Results where only one side is NaN.
    nan: u64,
    /// Results where only one side is infinite.
    infinite: u64,
    /// Zeros with different signs.
    zeros: u64,
}

impl Differences {
    fn add(&mut self, function: Function, x: f32, got: f32, exact: f64) {
        let nearest = exact as f32;
        let is_nan = got.is_nan() || nearest.is_nan();
        if got.to_bits() == nearest.to_bits() || got.is_nan() && nearest.is_nan() {
            return;
        }
        if got == nearest {
            self.zeros += 1;
            return;
        }
        self.nan += u64::from(is_nan);
        self.infinite += u64::from(!is_nan && got.is_infinite() != nearest.is_infinite());
        self.numbers += 1;
        let error = distance(function.accuracy(), got, x, exact);
        if error > self.worst.0 {
            self.worst = (error, x);
        }
    }

    fn joined(self, other: Differences) -> Differences {
        Differences {
            worst: if other.worst.0 > self.worst.0 { other.worst } else { self.worst },
            numbers: self.numbers + other.numbers,
            nan: self.nan + other.nan,
            infinite: self.infinite + other.infinite,
            zeros: self.zeros + other.zeros,
        }
    }
}

/// Compares compiled code and evaluator with the exact results.
struct Audit<'c> {
    function: Function,
    kernel: Entry<'c>,
    evaluator: fn(f32, f32, f32) -> f32,
    /// `None` if the evaluator is exact.
    exact: Option<fn(f64) -> f64>,
}

impl Audit<'_> {
    /// Audits the numbers whose upper bits are `chunk`.
    fn chunk(&self, chunk: u32, numbers: &mut [f32], results: &mut [f32]) -> [Differences; 2] {
        for (low, number) in (0..CHUNK).zip(numbers.iter_mut()) {
            *number = f32::from_bits(chunk * CHUNK + low);
        }
        // SAFETY: both buffers hold a chunk of numbers; the kernel reads the first and writes the second.
        unsafe { self.kernel.run(&[numbers.as_mut_ptr().cast(), results.as_mut_ptr().cast()]) };
        let mut found = [Differences::default(); 2];
        for (x, compiled) in numbers.iter().zip(results) {
            let evaluated = (self.evaluator)(*x, ALPHA, BETA);
            let exact = self.exact.map_or(f64::from(evaluated), |exact| exact(f64::from(*x)));
            found[0].add(self.function, *x, *compiled, exact);
            found[1].add(self.function, *x, evaluated, exact);
        }
        found
    }

    /// Audits all numbers, on all cores.
    fn all(&self) -> [Differences; 2] {
        let next = AtomicU32::new(0);
        let work = || {
            let (mut numbers, mut results) = (vec![0.0; CHUNK as usize], vec![0.0; CHUNK as usize]);
            let mut found = [Differences::default(); 2];
            loop {
                let chunk = next.fetch_add(1, Ordering::Relaxed);
                if chunk > u32::MAX / CHUNK {
                    return found;
                }
                let [compiled, evaluated] = self.chunk(chunk, &mut numbers, &mut results);
                found = [found[0].joined(compiled), found[1].joined(evaluated)];
            }
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let found = threads.into_iter().map(|thread| thread.join().expect("a worker that ends"));
            found.reduce(|a, b| [a[0].joined(b[0]), a[1].joined(b[1])]).expect("a worker")
        })
    }
}

/// A call that applies `function` to a chunk of numbers.
fn call(function: Function) -> Call {
    let numbers = view(DType::F32, 0, &[CHUNK as usize], &[1]);
    let arguments = [Arg::Current, Arg::Float(ALPHA), Arg::Float(BETA)];
    Call {
        producer: Producer::Pointwise(Pointwise),
        operands: vec![numbers.clone()],
        steps: vec![Step::Apply(function, arguments[..function.arity()].to_vec())],
        output: numbers,
        origin: String::new(),
    }
}

/// Run with `cargo test -p eightfold-codegen --lib all_floats -- --ignored --nocapture`. `EIGHTFOLD_FUNCTIONS=exp,tanh`
/// limits it to these functions.
#[test]
#[ignore = "2^32 numbers for each function: about an hour on one core"]
fn functions_are_as_accurate_as_they_state_on_all_floats() {
    let target = Target::native().expect("a target runs here");
    let chosen = std::env::var("EIGHTFOLD_FUNCTIONS").ok();
    let is_chosen = |f: &Function| chosen.as_ref().is_none_or(|names| names.split(',').any(|name| name == f.name()));
    let mut wrong = Vec::new();
    println!(
        "| function | stated | compiled, at most | at | not nearest | NaN, infinities, zeros | evaluator, not nearest |"
    );
    println!("|---|---|---|---|---|---|---|");
    for function in Function::ALL.iter().copied().filter(is_chosen) {
        let Meaning::Arithmetic { float: evaluator, accuracy, .. } = function.meaning() else { continue };
        if function.arity() > 1 && !WITH_PARAMETERS.contains(&function) {
            continue;
        }
        let jit = Jit::default();
        let compiled = jit.compile(&[call(function)], target, false).expect("compiles");
        let exact = ROWS.iter().find(|row| row.function == function).map(|row| row.exact);
        assert_eq!(exact.is_none(), accuracy == Accuracy::SameBits, "{} has an exact form", function.name());
        let [ours, evaluated] = Audit { function, kernel: compiled.entry(0), evaluator, exact }.all();
        println!(
            "| {} | {accuracy} | {:.4} | {:e} | {} | {}, {}, {} | {} |",
            function.name(),
            ours.worst.0,
            ours.worst.1,
            ours.numbers,
            ours.nan,
            ours.infinite,
            ours.zeros,
            evaluated.numbers
        );
        if ours.nan > 0 || ours.worst.0 > bound(accuracy) || evaluated.worst.0 > evaluator_bound(accuracy) {
            wrong.push(function.name());
        }
    }
    assert!(wrong.is_empty(), "less accurate than stated: {wrong:?}");
}
