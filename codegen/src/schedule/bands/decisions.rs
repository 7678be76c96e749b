//! What to measure of chains: those that the model lets run in bands, and neighbours that it would rather not.
//!
//! Each is done as one whole call after the other, in bands of the height that the model holds best, and in about as many
//! bands as [`COUNTS`] says. Chains that run best in bands stay; those that do not make room for others: whoever measures
//! asks again until nothing is new.

use super::{Bands, Given, Plan, straight};
use crate::choice::{Choice, Choices, Decision, Fusion, Way, distinct};
use crate::program::{Call, Program, Storage};

/// Numbers of bands that are tried.
const COUNTS: [usize; 5] = [2, 3, 4, 8, 16];

/// The distinct chains of a program of one thread without bands that are worth measuring, given what is known of some.
#[must_use]
pub fn chains(program: &Program, choices: &Choices) -> Vec<Decision> {
    let Some(calls) = straight(program) else { return Vec::new() };
    let given = Given::of(&calls, program, choices, 1);
    let plans = given.choose(Bands::WherePaid);
    let pieces = plans.iter().map(|plan| (given.key(&plan.chain), plan.chain.members.clone(), plan));
    distinct(pieces, |plan| given.ways(plan))
}

impl Given<'_> {
    /// The ways to run the plan's chain, that of the plan first.
    fn ways(&self, plan: &Plan<'_>) -> Vec<Way> {
        let mut heights: Vec<usize> =
            COUNTS.iter().map(|count| plan.chain.height_of(*count)).chain([plan.height]).collect();
        heights.sort_unstable();
        heights.dedup();
        let bands = heights.into_iter().filter_map(|height| {
            let (_, schedules) = self.in_bands(&plan.chain, height)?;
            let schedule = &schedules[0];
            let rings: Vec<_> = plan.chain.rings(schedule).map(|(link, _)| link.plane.buffer).collect();
            let is_ring = |call: &&Call| rings.iter().any(|ring| call.output.storage == Storage::Buffer(*ring));
            let fills = self.fills(&plan.chain).filter(|call| !is_ring(call)).cloned();
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

    /// One whole call after the other, with all that fills borders of what they hand on.
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
