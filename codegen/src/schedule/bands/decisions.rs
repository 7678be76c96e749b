//! Lists the chains to measure: those that the model runs in bands, and neighbours that it leaves as whole calls.
//!
//! The candidates for each chain are whole calls, bands of the height that the model prefers, and about 2, 3, 4, 8 and
//! 16 bands. If a chain turns out to be faster as whole calls, its calls are free for other chains. So the caller
//! measures and asks again until there are no new chains.

use super::{Bands, Given, Plan, is_shared};
use crate::choice::{Choice, Choices, Fusion};
use crate::decision::{Decision, Way, distinct};
use crate::kernel::Call;
use crate::program::Program;
use crate::view::Storage;

/// Numbers of bands that are measured.
const COUNTS: [usize; 5] = [2, 3, 4, 8, 16];

/// The distinct chains that are worth measuring in a program of one thread without bands; `choices` holds the
/// measurements so far.
#[must_use]
pub fn chains(program: &Program, choices: &Choices) -> Vec<Decision> {
    if is_shared(program) {
        return Vec::new();
    }
    let calls: Vec<Call> = program.calls().into_iter().cloned().collect();
    let given = Given::of(&calls, program, choices, 1);
    let plans = given.choose(Bands::WherePaid);
    let pieces = plans.iter().map(|plan| (given.key(&plan.chain), plan.chain.members.clone(), plan));
    distinct(pieces, |plan| given.ways(plan))
}

impl Given<'_> {
    /// The candidates for the plan's chain. The plan's own candidate comes first.
    fn ways(&self, plan: &Plan<'_>) -> Vec<Way> {
        let mut heights: Vec<usize> =
            COUNTS.iter().map(|count| plan.chain.height_of(*count)).chain([plan.height]).collect();
        heights.sort_unstable();
        heights.dedup();
        let bands = heights.into_iter().filter_map(|height| {
            let (_, schedules) = self.in_bands(&plan.chain, height)?;
            let schedule = &schedules[0];
            let rolling: Vec<_> = plan.chain.rolling(schedule).map(|(link, _)| link.plane.buffer).collect();
            let is_rolling =
                |call: &&Call| rolling.iter().any(|rolling| call.output.storage == Storage::Buffer(*rolling));
            let fills = self.fills(&plan.chain).filter(|call| !is_rolling(call)).cloned();
            let bands = plan.chain.bands(schedule).into_iter().flatten();
            let calls = fills.chain(plan.chain.prologue(schedule)).chain(bands).collect();
            Some(Way::of(Choice::Fusion(Fusion::Bands { height }), vec![calls]))
        });
        let mut ways: Vec<Way> = std::iter::once(self.whole(plan)).chain(bands).collect();
        let model = match plan.schedules {
            Some(_) => Choice::Fusion(Fusion::Bands { height: plan.height }),
            None => Choice::Fusion(Fusion::Whole),
        };
        ways.sort_by_key(|way| way.choice != model);
        ways
    }

    /// The candidate of whole calls, with the calls that fill the borders of the tensors between them.
    fn whole(&self, plan: &Plan<'_>) -> Way {
        let is_border = |call: &&Call| {
            let is_fill = call.producer.def().filled().is_some();
            is_fill && plan.chain.links.iter().any(|link| link.is_inside && link.plane.is_in(&call.output))
        };
        let last = plan.chain.members[plan.chain.members.len() - 1];
        let borders = self.calls[..last].iter().filter(is_border);
        let others = self.fills(&plan.chain).filter(|call| !is_border(call));
        let members = plan.chain.members.iter().map(|member| &self.calls[*member]);
        Way::of(Choice::Fusion(Fusion::Whole), vec![borders.chain(others).chain(members).cloned().collect()])
    }
}
