//! `bands`: chains of calls that run depth first, some rows at a time, so that what they hand on stays in the cache.
//!
//! The first rows of the first call, then the rows that the second can make of them, and so on to the last call; then the
//! next rows. A band of a call is a part of it as threads have one, so bands need no kernels of their own, and bands of one
//! height share their functions. Bands that are alike become turns of a loop (`roll`). Buffers that only the chain touches
//! shrink to rolling buffers of some rows.
//!
//! Invariant: each element is computed by the same operations in the same order as without bands. A measured choice decides
//! which chains run in bands, and how high those are, or else the cost model.
//! Programs of several threads cut calls among these instead.

mod cost;
mod decisions;
mod plane;
mod roll;
mod schedule;

use std::collections::BTreeMap;

use cost::{Worth, worth};
pub use decisions::chains;
use plane::{Plane, Users};
use roll::roll;
use schedule::{Chain, Link, Schedule, rows};

use super::{ScheduleContext, SchedulePass};
use crate::choice::{Choices, Fusion, key};
use crate::program::{Band, Buffer, BufferId, BufferKind, Call, Item, Program, Storage};

/// Which chains run in bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Bands {
    /// None.
    Never,
    /// Those that gain by it.
    #[default]
    WherePaid,
    /// All that can, in bands of so many rows: for tests.
    Always(usize),
}

/// Calls of a chain at most.
const LONGEST: usize = 6;

/// What chains that were measured to run best in bands are worth more, for each call: more than any others.
const MEASURED: f64 = 1e9;

/// Bands of a chain at most, so that programs stay short.
const MOST: usize = 32;

/// The pass.
pub struct RunInBands;

impl SchedulePass for RunInBands {
    fn name(&self) -> &'static str {
        "bands"
    }

    fn summary(&self) -> &'static str {
        "lets chains of calls run some rows at a time, so that what they hand on stays in the cache"
    }

    /// Leaves a program alone that has regions already.
    fn run(&self, program: &mut Program, cx: &ScheduleContext<'_>) {
        // Threads share whole calls.
        if cx.bands == Bands::Never || cx.threads.count > 1 {
            return;
        }
        let Some(calls) = straight(program) else { return };
        let given = Given::of(&calls, &program.buffers, cx.choices);
        let plans = given.choose(cx.bands);
        let notes = plans.iter().map(|plan| given.note(plan)).collect();
        let (body, rings) = given.emit(&plans);
        program.body = body;
        program.bands = notes;
        for (BufferId(id), bytes) in rings {
            program.buffers[id].byte_size = bytes;
        }
    }
}

/// The calls of a program without regions.
fn straight(program: &Program) -> Option<Vec<Call>> {
    let call = |item: &Item| match item {
        Item::Call(call) => Some(call.clone()),
        _ => None,
    };
    program.body.iter().map(call).collect()
}

/// A program whose chains are looked at.
struct Given<'p> {
    calls: &'p [Call],
    /// Of each buffer.
    planes: Vec<Option<Plane>>,
    /// Of each buffer.
    users: Vec<Users>,
    buffers: &'p [Buffer],
    choices: &'p Choices,
    /// Positions of the calls that do not fill borders.
    mains: Vec<usize>,
    /// Bytes of the arena that are taken at once without bands, at most: bands do not need more.
    peak: usize,
}

/// A chain, and in bands of how many rows it runs best; `None` where it had better not.
struct Plan<'p> {
    chain: Chain<'p>,
    height: usize,
    schedule: Option<Schedule>,
    worth: Worth,
    /// Nanoseconds that it wins by the model, and [`MEASURED`] for each call.
    won: f64,
    is_measured: bool,
}

/// The chain in bands of this height, and what that is worth by the model; `None` if it cannot run so.
fn scheduled(chain: &Chain<'_>, height: usize) -> Option<(usize, Worth, Schedule)> {
    let schedule = (height < chain.height()).then(|| chain.schedule(height))??;
    Some((height, worth(chain, &schedule), schedule))
}

/// Whether the buffer takes bytes of the arena during any of these calls.
fn is_alive(buffer: &Buffer, users: &Users, first: usize, last: usize) -> bool {
    let all = || users.writers.iter().chain(&users.readers).chain(&users.fills);
    let arena = matches!(buffer.kind, BufferKind::Arena { .. });
    arena && all().any(|user| *user <= last) && all().any(|user| *user >= first)
}

impl<'p> Given<'p> {
    fn of(calls: &'p [Call], buffers: &'p [Buffer], choices: &'p Choices) -> Given<'p> {
        let users = Users::of_each(buffers, calls);
        let is_main = |at: &usize| calls[*at].producer.def().filled().is_none();
        let mains: Vec<usize> = (0..calls.len()).filter(is_main).collect();
        let planes = (0..buffers.len()).map(|id| Plane::of(BufferId(id), &buffers[id], calls, &users[id])).collect();
        let taken = |at: usize| -> usize {
            let alive = buffers.iter().zip(&users).filter(|(buffer, users)| is_alive(buffer, users, at, at));
            alive.map(|(buffer, _)| buffer.byte_size).sum()
        };
        let peak = mains.iter().map(|at| taken(*at)).max().unwrap_or(0);
        Given { calls, planes, users, buffers, choices, mains, peak }
    }
}

impl Given<'_> {
    /// The chains that win most together.
    fn choose(&self, bands: Bands) -> Vec<Plan<'_>> {
        // For each end, what the best way up to there wins, and where its last chain begins.
        let mut best: Vec<(f64, usize)> = vec![(0.0, 0)];
        for end in 1..=self.mains.len() {
            let mut here = (best[end - 1].0, end - 1);
            for start in (end.saturating_sub(LONGEST)..end - 1).rev() {
                let Some(chain) = self.chain(start, end) else { continue };
                let Some(plan) = self.plan(chain, bands) else { continue };
                let won = match (bands, &plan.schedule) {
                    (Bands::Always(_), Some(_)) => best[start].0 + (end - start) as f64,
                    (_, Some(_)) => best[start].0 + plan.won,
                    _ => continue,
                };
                if won > here.0 {
                    here = (won, start);
                }
            }
            best.push(here);
        }
        let mut plans = Vec::new();
        let mut end = self.mains.len();
        while end > 0 {
            let start = best[end].1;
            // Two neighbours that are a chain and do not run in bands are told of.
            let chain = self.chain(if end - start > 1 { start } else { end.saturating_sub(2) }, end);
            let plan = chain.and_then(|chain| self.plan(chain, bands));
            // Of neighbours that stay near anyway there is nothing to tell.
            let told = |plan: &Plan<'_>| match end - start {
                1 => plan.schedule.is_none() && plan.worth.saved > 0.0,
                _ => true,
            };
            plans.extend(plan.filter(told));
            end = start;
        }
        plans.reverse();
        plans
    }

    /// The calls from `start` to `end` as a chain, each but the last handing its result on to one of the others.
    fn chain(&self, start: usize, end: usize) -> Option<Chain<'_>> {
        let members = self.mains[start..end].to_vec();
        let written = |at: usize| match self.calls[at].output.storage {
            Storage::Buffer(BufferId(id)) => Some(id),
            Storage::Const(_) => None,
        };
        let cuts = |at: &usize| {
            let call = &self.calls[*at];
            let kind = call.producer.def().runs_in_bands();
            kind && call.output.grid.dims.len() == 4 && call.output.grid.elements() > 0
        };
        if members.len() < 2 || !members.iter().all(cuts) {
            return None;
        }
        let last = members[members.len() - 1];
        let mut links: Vec<Link<'_>> = Vec::new();
        for (at, member) in members.iter().enumerate() {
            let id = written(*member)?;
            let is_read = members[at + 1..].iter().any(|later| self.users[id].readers.contains(later));
            if !is_read && written(last) != Some(id) {
                return None;
            }
            let is_read_at_all = members.iter().any(|other| self.users[id].readers.contains(other));
            if is_read_at_all && links.iter().all(|link| link.plane.buffer != BufferId(id)) {
                let users = &self.users[id];
                let plane = self.planes[id].as_ref()?;
                let ours = |calls: &[usize]| calls.iter().all(|call| members.contains(call));
                let arena = matches!(self.buffers[id].kind, BufferKind::Arena { .. });
                let is_inside = arena && ours(&users.writers) && ours(&users.readers);
                links.push(Link { plane, users, is_inside });
            }
        }
        Some(Chain { calls: self.calls, members, links })
    }

    /// How the chain runs best; `None` if it cannot run in bands.
    fn plan<'c>(&self, chain: Chain<'c>, bands: Bands) -> Option<Plan<'c>> {
        if let Bands::Always(height) = bands {
            return self.modelled(chain, &[height]).map(|(plan, schedule)| Plan { schedule: Some(schedule), ..plan });
        }
        let measured = self.choices.fusion(|| self.key(&chain));
        if let Some(Fusion::Bands { height }) = measured
            && let Some((worth, schedule)) = self.in_bands(&chain, height)
        {
            let (schedule, won) = (Some(schedule), MEASURED * chain.members.len() as f64 + worth.won());
            return Some(Plan { chain, height, schedule, worth, won, is_measured: true });
        }
        let rows = chain.height();
        let mut heights: Vec<usize> = (2..=MOST.min(rows)).map(|count| chain.height_of(count)).collect();
        heights.dedup();
        let (plan, schedule) = self.modelled(chain, &heights)?;
        let is_measured = measured == Some(Fusion::Whole);
        let wanted = !is_measured && plan.worth.pays() && self.alive(&plan.chain, &schedule) <= self.peak;
        Some(Plan { schedule: wanted.then_some(schedule), is_measured, ..plan })
    }

    /// The plan of that of the `heights` which wins most by the model, and its schedule.
    fn modelled<'c>(&self, chain: Chain<'c>, heights: &[usize]) -> Option<(Plan<'c>, Schedule)> {
        let rows = chain.height();
        // Heights that divide the rows need fewer functions.
        let better = |a: &(usize, Worth, Schedule), b: &(usize, Worth, Schedule)| {
            let even = |height: usize| rows.is_multiple_of(height);
            a.1.won().total_cmp(&b.1.won()).then(even(a.0).cmp(&even(b.0)))
        };
        let (height, worth, schedule) =
            heights.iter().filter_map(|height| scheduled(&chain, *height)).max_by(better)?;
        let won = worth.won();
        Some((Plan { chain, height, schedule: None, worth, won, is_measured: false }, schedule))
    }

    /// The chain in bands of this height, if it can run so and does not take more of the arena than there is.
    fn in_bands(&self, chain: &Chain<'_>, height: usize) -> Option<(Worth, Schedule)> {
        let (_, worth, schedule) = scheduled(chain, height)?;
        (self.alive(chain, &schedule) <= self.peak).then_some((worth, schedule))
    }

    /// The chain as text, by which tuning files know it.
    fn key(&self, chain: &Chain<'_>) -> String {
        let calls: Vec<&Call> = chain.members.iter().map(|member| &self.calls[*member]).collect();
        let is_kept = |call: &Call| chain.links.iter().any(|link| !link.is_inside && link.plane.is_in(&call.output));
        key::of_chain(&calls, is_kept)
    }

    /// Bytes of the arena that are taken while the chain runs in bands.
    fn alive(&self, chain: &Chain<'_>, schedule: &Schedule) -> usize {
        let (first, last) = (chain.members[0], chain.members[chain.members.len() - 1]);
        let ring = |id: usize| {
            let ring = chain.rings(schedule).find(|(link, _)| link.plane.buffer == BufferId(id));
            ring.map(|(link, ring)| link.plane.row * ring.rows * link.plane.batch * link.size())
        };
        let alive = (0..self.buffers.len()).filter(|id| is_alive(&self.buffers[*id], &self.users[*id], first, last));
        alive.map(|id| ring(id).unwrap_or(self.buffers[id].byte_size)).sum()
    }

    /// All calls, those of the chains in bands, and the new sizes of what became rings.
    fn emit(&self, plans: &[Plan<'_>]) -> (Vec<Item>, BTreeMap<BufferId, usize>) {
        let mut rings = BTreeMap::new();
        let mut starts: BTreeMap<usize, (&Plan<'_>, &Schedule)> = BTreeMap::new();
        for plan in plans {
            let Some(schedule) = &plan.schedule else { continue };
            starts.insert(plan.chain.members[0], (plan, schedule));
            for (link, ring) in plan.chain.rings(schedule) {
                rings.insert(link.plane.buffer, link.plane.row * ring.rows * link.plane.batch * link.size());
            }
        }
        let is_ring_border = |call: &Call| match call.output.storage {
            Storage::Buffer(id) => call.producer.def().filled().is_some() && rings.contains_key(&id),
            Storage::Const(_) => false,
        };
        let mut body: Vec<Item> = Vec::new();
        let (mut at, mut loops) = (0, 0);
        while at < self.calls.len() {
            match starts.get(&at) {
                Some((plan, schedule)) => {
                    let fills = self.fills(&plan.chain).filter(|call| !is_ring_border(call)).cloned();
                    body.extend(fills.chain(plan.chain.prologue(schedule)).map(Item::Call));
                    body.extend(roll(plan.chain.bands(schedule), &mut loops));
                    at = plan.chain.members[plan.chain.members.len() - 1] + 1;
                }
                None => {
                    body.extend(Some(&self.calls[at]).filter(|call| !is_ring_border(call)).cloned().map(Item::Call));
                    at += 1;
                }
            }
        }
        (body, rings)
    }

    /// Calls between those of the chain, which fill borders.
    fn fills<'g>(&'g self, chain: &'g Chain<'_>) -> impl Iterator<Item = &'g Call> {
        let (first, last) = (chain.members[0], chain.members[chain.members.len() - 1]);
        (first..last).filter(|at| !chain.members.contains(at)).map(|at| &self.calls[at])
    }

    /// What is said of a chain.
    fn note(&self, plan: &Plan<'_>) -> Band {
        let names = plan.chain.members.iter().map(|member| self.calls[*member].origin.clone());
        let Worth { saved, spent } = plan.worth;
        let count = rows(&self.calls[plan.chain.members[plan.chain.members.len() - 1]]).div_ceil(plan.height);
        let (height, is_used, is_measured) = (plan.height, plan.schedule.is_some(), plan.is_measured);
        Band { chain: names.collect(), height, count, is_used, is_measured, saved, spent }
    }
}
