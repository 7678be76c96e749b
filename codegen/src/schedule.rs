//! Scheduling: from the program that lowering makes to the one that code is emitted for.
//!
//! Lowering makes a list of kernel calls, one after the other. The schedule passes then decide how they run: which
//! equal copies are merged, which states of loops are computed in place, which bytes are stored as 16-bit words, which
//! convolutions use Winograd's algorithm, which tile each product has, which chains run in bands of rows, which calls
//! threads share, how weights are packed, and where buffers lie. Each pass is a row of [`SCHEDULE_PASSES`], reads and writes nothing but the program, and can run
//! alone on a program's text. No pass changes a result.

pub mod bands;
pub mod choose;
pub mod fit_weights;
pub mod pack;
pub mod parallel;
pub mod plan;
pub mod share_copies;
pub mod update_in_place;
pub mod winograd;
pub mod words;

use eightfold_ir::VerifiedGraph;

use self::bands::Bands;
use self::parallel::Threads;
use crate::choice::Choices;
use crate::lower::{LowerError, lower};
use crate::program::{Program, Scheduled};
use crate::target::Target;

/// Options and measurements that every pass may use.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleContext<'a> {
    /// The threads that an inference runs on, and when they share a call.
    pub threads: Threads,
    /// Which chains run in bands.
    pub bands: Bands,
    /// Measured choices, and the cost model where nothing was measured.
    pub choices: &'a Choices,
}

impl<'a> ScheduleContext<'a> {
    /// A context of one thread without bands, with these choices.
    #[must_use]
    pub fn of(choices: &'a Choices) -> Self {
        ScheduleContext { threads: Threads::new(1), bands: Bands::Never, choices }
    }
}

/// A change to how a program runs.
pub trait SchedulePass: Sync {
    /// Its name, equal to that of its file.
    fn name(&self) -> &'static str;

    /// What it does, in a line.
    fn summary(&self) -> &'static str;

    /// Changes the program.
    fn run(&self, program: &mut Program, cx: &ScheduleContext<'_>);
}

/// All passes, in the order in which they run.
pub const SCHEDULE_PASSES: &[&dyn SchedulePass] = &[
    &share_copies::ShareCopies,
    &update_in_place::UpdateInPlace,
    &words::StoreWords,
    &winograd::MultiplyTiles,
    &fit_weights::FitWeights,
    &choose::ChooseTiles,
    &bands::RunInBands,
    &parallel::ShareAmongThreads,
    &pack::PackConstants,
    &plan::PlanArena,
];

/// Runs the passes before [`choose`]. Their result depends on the weights, the target and the preference (time or
/// size), not on measurements, so tuning starts from it.
pub fn prepare(program: &mut Program, cx: &ScheduleContext<'_>) {
    let choose = choose::ChooseTiles.name();
    SCHEDULE_PASSES.iter().take_while(|pass| pass.name() != choose).for_each(|pass| pass.run(program, cx));
}

/// Runs all passes and calls `after` with the program after each. Builds with debug assertions check the result.
///
/// # Panics
/// In builds with debug assertions if a pass made a program that is not sound.
pub fn schedule(
    mut program: Program,
    cx: &ScheduleContext<'_>,
    after: &mut dyn FnMut(&dyn SchedulePass, &Program),
) -> Scheduled {
    for pass in SCHEDULE_PASSES {
        pass.run(&mut program, cx);
        after(*pass, &program);
    }
    if cfg!(debug_assertions) {
        return Scheduled::proven(program.clone()).unwrap_or_else(|error| panic!("{error}\n{program}"));
    }
    Scheduled::trusted(program)
}

/// The program that code is emitted for: lowered, then scheduled. It computes the same bytes whatever `cx` says.
///
/// # Errors
/// When an operator has no kernel for its types or operands.
pub fn lower_and_schedule(
    graph: VerifiedGraph<'_>,
    target: &'static Target,
    cx: &ScheduleContext<'_>,
) -> Result<Scheduled, LowerError> {
    Ok(schedule(lower(graph, target)?, cx, &mut |_, _| {}))
}
