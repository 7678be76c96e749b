//! What bands save and what they cost, in nanoseconds of a thread: enough to tell chains that gain from others.
//!
//! What calls hand on is written and read where all that was touched in between still fits. In bands that is the rings,
//! the chain's weights, and a band of what goes in and out; without them, all that producer and consumer touch. Against
//! that stand weights that are read once a band, rows that are moved, and calls. Sizes and rates are those of no machine
//! in particular: programs do not depend on the machine that compiles.

use super::super::parallel::cost::nanoseconds;
use super::schedule::{Chain, Schedule, rows};
use crate::program::{Call, Storage, View};
use crate::target::Target;

/// Bytes that stay in the nearest cache, and in the one behind it; half of what they hold.
const NEAR: f64 = 24.0 * 1024.0;
const SECOND: f64 = 256.0 * 1024.0;

/// Nanoseconds a byte that is found in the second cache or in the third, beyond what arithmetic hides.
const FROM_SECOND: f64 = 0.01;
const FROM_THIRD: f64 = 0.04;

/// Nanoseconds that a call takes besides: ends of loops that are predicted wrong, edges of tiles.
const CALL: f64 = 60.0;

/// What bands make of a chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worth {
    /// Nanoseconds less, for bytes that stay near.
    pub(super) saved: f64,
    /// Nanoseconds more.
    pub(super) spent: f64,
}

impl Worth {
    /// Whether so much is saved that it is sure to be worth it: figures are rough.
    pub(super) fn pays(self) -> bool {
        self.saved > 2.0 * self.spent
    }

    /// Nanoseconds that are won.
    pub(super) fn won(self) -> f64 {
        self.saved - self.spent
    }
}

/// Nanoseconds a byte when so many were touched since.
fn found(distance: f64) -> f64 {
    match distance {
        near if near <= NEAR => 0.0,
        second if second <= SECOND => FROM_SECOND,
        _ => FROM_THIRD,
    }
}

/// What it is worth to run the chain by these schedules, one a thread.
pub(super) fn worth(chain: &Chain<'_>, schedules: &[Schedule], target: &Target) -> Worth {
    let threads = schedules.len() as f64;
    // Threads have equal shares.
    let schedule = &schedules[0];
    let bands = schedule.made.len() as f64;
    let members = || chain.members.iter().map(|member| &chain.calls[*member]);
    let is_link = |view: &View| chain.links.iter().any(|link| link.plane.is_in(view));
    let weights: f64 = members().map(|call| bytes(call, &|view| matches!(view.storage, Storage::Const(_)))).sum();
    let outside = |view: &View| !matches!(view.storage, Storage::Const(_)) && !is_link(view);
    let outside: f64 = members().map(|call| bytes(call, &outside)).sum::<f64>() / threads;
    let mut rings = 0.0;
    let mut copied = 0.0;
    for (link, ring) in chain.rings(schedule) {
        let row = (link.plane.row * link.plane.batch * link.size()) as f64;
        rings += row * ring.rows as f64;
        copied += 2.0 * row * ring.copied() as f64;
    }
    let kept: f64 = chain.links.iter().filter(|link| !link.is_inside).map(|link| link.bytes() / bands).sum();
    let after = found(rings + kept + weights + outside / bands);
    let mut saved = 0.0;
    for link in &chain.links {
        for reader in chain.members.iter().filter(|member| link.users.readers.contains(member)) {
            let writer = link.users.writers.iter().copied().filter(|writer| writer < reader).max().unwrap_or(0);
            let between = chain.members.iter().filter(|member| (writer..=*reader).contains(member));
            let distance: f64 = between.map(|member| bytes(&chain.calls[*member], &|_| true)).sum();
            let before = found(distance - link.bytes());
            let times = if link.is_inside { 2.0 } else { 1.0 };
            saved += times * link.bytes() * (before - after) / threads;
        }
    }
    // What is moved is read and written though the arithmetic behind it waits.
    let spent = (weights * (bands - 1.0)) * after + copied * (after + FROM_SECOND);
    let again = rows_made_again(chain, schedules, target) / threads;
    Worth { saved, spent: spent + again + CALL * (bands - 1.0) * chain.members.len() as f64 }
}

/// Nanoseconds of rows that several threads compute because windows of both reach them.
fn rows_made_again(chain: &Chain<'_>, schedules: &[Schedule], target: &Target) -> f64 {
    let again = |(at, member): (usize, &usize)| {
        let call = &chain.calls[*member];
        let made = schedules.iter().filter_map(|own| Some(own.made.last()?[at] - own.begin[at])).sum::<usize>();
        let all = rows(call);
        nanoseconds(call, target) * made.saturating_sub(all) as f64 / all.max(1) as f64
    };
    chain.members.iter().enumerate().map(again).sum()
}

/// Bytes of the operands and the result that are wanted.
fn bytes(call: &Call, wanted: &dyn Fn(&View) -> bool) -> f64 {
    let operands = (0..call.operands.len()).filter(|index| wanted(&call.operands[*index]));
    let result = if wanted(&call.output) { call.output_bytes() } else { 0 };
    (operands.map(|index| call.operand_bytes(index)).sum::<u64>() + result) as f64
}
