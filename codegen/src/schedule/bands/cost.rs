//! The time that bands save and the time that they cost, in nanoseconds of one thread. The estimate need only be good
//! enough to find the chains that are faster in bands.
//!
//! A tensor between two calls stays in the nearest cache that holds all bytes touched between its write and its read.
//! With bands these are the rolling buffers, the chain's weights, and one band of its inputs and outputs. Without bands
//! they are all bytes of both calls. Bands also cost time: weights are read again in each band, rows of rolling buffers
//! move, there are more calls, and two threads compute the rows of a halo twice. The [`CpuModel`] gives cache sizes and
//! rates.

use super::schedule::{Chain, Schedule, rows};
use crate::cpu::CpuModel;
use crate::kernel::Call;
use crate::view::{Storage, View};

/// How bands change the time of a chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worth {
    /// Nanoseconds saved because bytes stay in a nearer cache.
    pub(super) saved: f64,
    /// Nanoseconds added.
    pub(super) spent: f64,
}

impl Worth {
    /// Whether bands are clearly faster. The factor covers the errors of the estimate.
    pub(super) fn pays(self) -> bool {
        self.saved > 2.0 * self.spent
    }

    /// `saved - spent`.
    pub(super) fn won(self) -> f64 {
        self.saved - self.spent
    }
}

/// The time saved and spent if the chain runs by these schedules, one for each thread.
pub(super) fn worth(chain: &Chain<'_>, schedules: &[Schedule], cpu: &CpuModel) -> Worth {
    let threads = schedules.len() as f64;
    // All threads have nearly equal shares, so the first stands for all.
    let schedule = &schedules[0];
    let bands = schedule.made.len() as f64;
    let members = || chain.members.iter().map(|member| &chain.calls[*member]);
    let is_link = |view: &View| chain.links.iter().any(|link| link.plane.is_in(view));
    let weights: f64 = members().map(|call| bytes(call, &|view| matches!(view.storage, Storage::Const(_)))).sum();
    let outside = |view: &View| !matches!(view.storage, Storage::Const(_)) && !is_link(view);
    let outside: f64 = members().map(|call| bytes(call, &outside)).sum::<f64>() / threads;
    let mut held = 0.0;
    let mut copied = 0.0;
    for (link, rolling) in chain.rolling(schedule) {
        let row = (link.plane.row * link.plane.batch * link.size()) as f64;
        held += row * rolling.rows as f64;
        copied += 2.0 * row * rolling.copied() as f64;
    }
    let kept: f64 = chain.links.iter().filter(|link| !link.is_inside).map(|link| link.bytes() / bands).sum();
    let after = cpu.wait_ns(held + kept + weights + outside / bands);
    let mut saved = 0.0;
    for link in &chain.links {
        for reader in chain.members.iter().filter(|member| link.users.readers.contains(member)) {
            let writer = link.users.writers.iter().copied().filter(|writer| writer < reader).max().unwrap_or(0);
            let between = chain.members.iter().filter(|member| (writer..=*reader).contains(member));
            let distance: f64 = between.map(|member| bytes(&chain.calls[*member], &|_| true)).sum();
            let before = cpu.wait_ns(distance - link.bytes());
            let times = if link.is_inside { 2.0 } else { 1.0 };
            saved += times * link.bytes() * (before - after) / threads;
        }
    }
    // The arithmetic waits while rows are moved, which reads and writes them.
    let spent = (weights * (bands - 1.0)) * after + copied * (after + 1.0 / cpu.second_level_rate());
    let again = rows_made_again(chain, schedules, cpu) / threads;
    Worth { saved, spent: spent + again + cpu.call_overhead * (bands - 1.0) * chain.members.len() as f64 }
}

/// Nanoseconds of the rows that more than one thread computes.
fn rows_made_again(chain: &Chain<'_>, schedules: &[Schedule], cpu: &CpuModel) -> f64 {
    let again = |(at, member): (usize, &usize)| {
        let call = &chain.calls[*member];
        let made = schedules.iter().filter_map(|own| Some(own.made.last()?[at] - own.begin[at])).sum::<usize>();
        let all = rows(call);
        call.cost(cpu) * made.saturating_sub(all) as f64 / all.max(1) as f64
    };
    chain.members.iter().enumerate().map(again).sum()
}

/// Bytes of those operands and results that `wanted` accepts.
fn bytes(call: &Call, wanted: &dyn Fn(&View) -> bool) -> f64 {
    let operands = (0..call.operands.len()).filter(|index| wanted(&call.operands[*index]));
    let result = if wanted(&call.output) { call.output_bytes() } else { 0 };
    (operands.map(|index| call.operand_bytes(index)).sum::<u64>() + result) as f64
}
