//! Runs calls on bytes, for tests: every kernel is tested through this.

use eightfold_ir::DType;

use super::jit::Jit;
use crate::program::{BufferId, Call, Grid, Program, Storage, View};
use crate::target::{TARGETS, Target};

/// A call with the bytes of its operands, each as large as its view, offset and all, wants.
pub(crate) struct Trial {
    pub(crate) call: Call,
    pub(crate) operands: Vec<Vec<u8>>,
    /// What the bytes of the output's storage must be, from a storage of `BLANK`.
    pub(crate) expected: Vec<u8>,
    /// What is tried, for messages.
    pub(crate) name: String,
}

/// What output bytes are before a run.
pub(crate) const BLANK: u8 = 0xa5;

/// The targets to try, and whether portably: each by its own instructions where this machine has them.
pub(crate) fn targets() -> Vec<(&'static Target, bool)> {
    let native = TARGETS.iter().filter(|t| t.runs_here()).map(|t| (t, false));
    let portable = TARGETS.iter().filter(|t| !t.runs_here() && TARGETS[0].runs_here()).map(|t| (t, true));
    native.chain(portable).collect()
}

/// Runs all trials for one target, compiled into one module, and checks their outputs; `agree` compares.
pub(crate) fn check(target: &'static Target, portable: bool, trials: &[Trial], agree: impl Fn(&Trial, &[u8])) {
    let jit = Jit::default();
    let calls: Vec<Call> = trials.iter().map(|trial| trial.call.clone()).collect();
    let compiled = jit.compile(&calls, target, portable, false).expect("compiles");
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
        // SAFETY: the trial's bytes are as large as the call wants, with slack on both sides.
        unsafe { compiled.run(index, &pointers) };
        let output = buffers.pop().expect("pushed above");
        let (before, rest) = output.split_at(Program::SLACK);
        let (bytes, behind) = rest.split_at(trial.expected.len());
        assert!(before.iter().chain(behind).all(|b| *b == BLANK), "{} {}: out of bounds", target.name, trial.name);
        agree(trial, bytes);
    }
}

/// Outputs must be the same bytes.
pub(crate) fn equal(target: &'static Target, portable: bool, trials: &[Trial]) {
    check(target, portable, trials, |trial, bytes| {
        let wrong = bytes.iter().zip(&trial.expected).position(|(got, expected)| got != expected);
        if let Some(at) = wrong {
            let (got, expected) = (bytes[at], trial.expected[at]);
            panic!("{} {}: byte {at} of {} is {got}, not {expected}", target.name, trial.name, bytes.len());
        }
    });
}

/// Numbers that look random and are the same every time.
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
    View { storage: Storage::Buffer(BufferId(0)), dtype, offset, grid }
}
