//! `bands`: chains of calls that run depth first, some rows at a time, so that the tensors between them stay in the
//! cache.
//!
//! A band is some rows of the chain's last result. For each band the first call computes the rows that the second
//! needs, the second those that the third needs, and so on. Calls are cut for bands as they are cut for threads, so
//! bands need no kernels of their own, and bands of one height share their functions. Equal bands become turns of a
//! loop (`roll`). Buffers that only the chain touches shrink to rolling buffers.
//!
//! Invariant: each element is computed by the same operations in the same order as without bands. A measured choice
//! decides which chains run in bands and how high the bands are; without one, the cost model decides (`cost`).
//!
//! With several threads, each computes a range of rows of the chain's last result, with rolling buffers of its own.
//! Rows that two threads need (the halo) are computed by both, so threads wait for each other only before and after the
//! chain.

mod cost;
mod decisions;
mod plane;
mod roll;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use cost::{Worth, worth};
pub use decisions::chains;
use plane::{Plane, Users};
use roll::roll;
use schedule::{Chain, Link, Schedule};

use super::parallel::{all_parts, worth_waking};
use super::{ScheduleContext, SchedulePass};
use crate::choice::{Choices, Fusion};
use crate::decision::key;
use crate::kernel::Call;
use crate::program::{Band, Buffer, BufferKind, Item, Parallel, Program, calls, for_each_call, views};
use crate::target::Target;
use crate::view::{BufferId, Storage};

/// Which chains run in bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Bands {
    /// No chain.
    Never,
    /// The chains that are faster in bands, as measured or by the cost model.
    #[default]
    WherePaid,
    /// All that can, in bands of this many rows. For tests.
    Always(usize),
}

/// The most calls that a chain may have.
const LONGEST: usize = 6;

/// Nanoseconds added per call to what a chain saves if bands were measured to be its fastest candidate. The value is
/// larger than any chain can save, so measured chains win over modelled ones.
const MEASURED: f64 = 1e9;

/// The most bands that a chain may have.
const MOST: usize = 32;

/// The most bands that [`Bands::Always`] may ask for. Each band is a list of calls, so more would take too much memory.
const TOO_MANY: usize = 1 << 16;

/// The pass.
pub struct RunInBands;

impl SchedulePass for RunInBands {
    fn name(&self) -> &'static str {
        "bands"
    }

    fn summary(&self) -> &'static str {
        "runs chains of calls some rows at a time, so that the tensors between them stay in the cache"
    }

    /// Leaves the calls in regions alone, and a program whose calls threads share already.
    fn run(&self, program: &mut Program, cx: &ScheduleContext<'_>) {
        if cx.bands == Bands::Never || is_shared(program) {
            return;
        }
        let calls: Vec<Call> = program.calls().into_iter().cloned().collect();
        let threads = if worth_waking(program, &all_parts(program, cx), cx) { cx.threads.count } else { 1 };
        let given = Given::of(&calls, program, cx.choices, threads);
        let plans = given.choose(cx.bands);
        let notes = plans.iter().map(|plan| given.note(plan)).collect();
        let Emitted { body, sizes, buffers } = given.emit(&plans);
        program.threads = program.threads.max(threads);
        program.body = body;
        program.bands = notes;
        for (BufferId(id), bytes) in sizes {
            program.buffers[id].byte_size = bytes;
        }
        program.buffers.extend(buffers);
    }
}

/// Whether threads share calls of the program.
fn is_shared(program: &Program) -> bool {
    program.body.iter().any(|item| matches!(item, Item::Parallel(_)))
}

/// A region of the program, and the numbers of the calls in it.
struct Region<'p> {
    calls: Range<usize>,
    item: &'p Item,
}

/// The outermost regions, in order.
fn regions(program: &Program) -> Vec<Region<'_>> {
    let mut first = 0;
    let region = |item| {
        let range = first..first + calls(std::slice::from_ref(item)).len();
        first = range.end;
        (!matches!(item, Item::Call(_))).then_some(Region { calls: range, item })
    };
    program.body.iter().filter_map(region).collect()
}

/// A program, with the facts about it that the choice of chains needs.
struct Given<'p> {
    /// All calls, those in regions included.
    calls: &'p [Call],
    /// The regions, whose calls are in no chain.
    regions: Vec<Region<'p>>,
    /// The first number that no loop has.
    next_loop: usize,
    /// Each buffer as a plane of rows, if it is one, and no region touches it.
    planes: Vec<Option<Plane>>,
    /// The calls that touch each buffer.
    users: Vec<Users>,
    buffers: &'p [Buffer],
    choices: &'p Choices,
    target: &'static Target,
    /// Threads that share a chain.
    threads: usize,
    /// Positions of the calls outside regions that do not fill borders.
    mains: Vec<usize>,
    /// The most bytes of the arena that are in use at once without bands. Bands must not need more.
    peak: usize,
}

/// A chain and its best height of bands.
struct Plan<'p> {
    chain: Chain<'p>,
    height: usize,
    /// One for each thread that runs a part of the chain; `None` if the chain is faster as whole calls.
    schedules: Option<Vec<Schedule>>,
    worth: Worth,
    /// Nanoseconds that bands save according to the model, plus [`MEASURED`] per call if bands were measured to be
    /// faster.
    won: f64,
    is_measured: bool,
}

/// The height of the bands, what they save and cost according to the model, and the schedule of each thread.
type Candidate = (usize, Worth, Vec<Schedule>);

/// A scheduled program under construction.
struct Emitted {
    body: Vec<Item>,
    /// New sizes of the buffers that became rolling buffers.
    sizes: BTreeMap<BufferId, usize>,
    /// Rolling buffers of threads besides the first.
    buffers: Vec<Buffer>,
}

/// Whether the buffer takes bytes of the arena during any of these calls.
fn is_alive(buffer: &Buffer, users: &Users, first: usize, last: usize) -> bool {
    let all = || users.writers.iter().chain(&users.readers).chain(&users.fills);
    let arena = matches!(buffer.kind, BufferKind::Arena { .. });
    arena && all().any(|user| *user <= last) && all().any(|user| *user >= first)
}

impl<'p> Given<'p> {
    fn of(calls: &'p [Call], program: &'p Program, choices: &'p Choices, threads: usize) -> Given<'p> {
        let (buffers, target) = (&program.buffers[..], program.target);
        let users = Users::of_each(buffers, calls);
        let regions = regions(program);
        let is_outside = |at: usize| regions.iter().all(|region| !region.calls.contains(&at));
        let is_main = |at: &usize| is_outside(*at) && calls[*at].producer.def().filled().is_none();
        let mains: Vec<usize> = (0..calls.len()).filter(is_main).collect();
        let inside: BTreeSet<Storage> = regions
            .iter()
            .flat_map(|region| views(std::slice::from_ref(region.item)))
            .map(|view| view.storage)
            .collect();
        let plane = |id: usize| {
            let is_free = !inside.contains(&Storage::Buffer(BufferId(id)));
            is_free.then(|| Plane::of(BufferId(id), &buffers[id], calls, &users[id])).flatten()
        };
        let planes = (0..buffers.len()).map(plane).collect();
        let taken = |at: usize| -> usize {
            let alive = buffers.iter().zip(&users).filter(|(buffer, users)| is_alive(buffer, users, at, at));
            alive.map(|(buffer, _)| buffer.byte_size).sum()
        };
        let peak = mains.iter().map(|at| taken(*at)).max().unwrap_or(0);
        let next_loop = program.next_loop();
        Given { calls, regions, next_loop, planes, users, buffers, choices, target, threads, mains, peak }
    }
}

impl Given<'_> {
    /// The set of chains, without common calls, that saves the most: dynamic programming over the end of the last
    /// chain.
    fn choose(&self, bands: Bands) -> Vec<Plan<'_>> {
        // For each end: the nanoseconds that the best chains before it save, and where the last of them begins.
        let mut best: Vec<(f64, usize)> = vec![(0.0, 0)];
        for end in 1..=self.mains.len() {
            let mut here = (best[end - 1].0, end - 1);
            for start in (end.saturating_sub(LONGEST)..end - 1).rev() {
                let Some(chain) = self.chain(start, end) else { continue };
                let Some(plan) = self.plan(chain, bands) else { continue };
                let won = match (bands, &plan.schedules) {
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
            // The program's text also reports two neighbours that could run in bands but do not.
            let chain = self.chain(if end - start > 1 { start } else { end.saturating_sub(2) }, end);
            let plan = chain.and_then(|chain| self.plan(chain, bands));
            // There is nothing to report if the tensor between them stays in the cache anyway.
            let told = |plan: &Plan<'_>| match end - start {
                1 => plan.schedules.is_none() && plan.worth.saved > 0.0,
                _ => true,
            };
            plans.extend(plan.filter(told));
            end = start;
        }
        plans.reverse();
        plans
    }

    /// The calls from `start` to `end` as a chain; `None` if one of them cannot be cut by rows, or if no later call of
    /// the chain reads its result.
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
        let divides = |region: &Region<'_>| members[0] < region.calls.start && region.calls.start <= last;
        if self.regions.iter().any(divides) {
            return None;
        }
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
        let chain = Chain { calls: self.calls, members, links };
        (!chain.overwrites()).then_some(chain)
    }

    /// The best plan for the chain; `None` if it cannot run in bands.
    fn plan<'c>(&self, chain: Chain<'c>, bands: Bands) -> Option<Plan<'c>> {
        if let Bands::Always(height) = bands {
            return self.modelled(chain, &[height]).map(|(plan, own)| Plan { schedules: Some(own), ..plan });
        }
        let measured = self.choices.fusion(|| self.key(&chain));
        if let Some(Fusion::Bands { height }) = measured
            && let Some((worth, schedules)) = self.in_bands(&chain, height)
        {
            let (schedules, won) = (Some(schedules), MEASURED * chain.members.len() as f64 + worth.won());
            return Some(Plan { chain, height, schedules, worth, won, is_measured: true });
        }
        let rows = chain.height();
        let mut heights: Vec<usize> = (2..=MOST.min(rows)).map(|count| chain.height_of(count)).collect();
        heights.dedup();
        let (plan, schedules) = self.modelled(chain, &heights)?;
        let is_measured = measured == Some(Fusion::Whole);
        let wanted = !is_measured && plan.worth.pays() && self.alive(&plan.chain, &schedules) <= self.peak;
        Some(Plan { schedules: wanted.then_some(schedules), is_measured, ..plan })
    }

    /// The chain in bands of this height; `None` if this is impossible.
    fn candidate(&self, chain: &Chain<'_>, height: usize) -> Option<Candidate> {
        let ranges = chain.ranges(self.threads);
        let is_cut = height < chain.height() || ranges.len() > 1;
        // Calls outside the chain read its buffers that are not inside. Two threads must not write the same row of
        // these.
        let shares = self.threads == 1 || ranges.len() > 1 && chain.links.iter().all(|link| link.is_inside);
        if !is_cut || !shares || chain.height() / height > TOO_MANY {
            return None;
        }
        let schedules = ranges.iter().map(|range| chain.schedule(range, height)).collect::<Option<Vec<_>>>()?;
        Some((height, worth(chain, &schedules, self.choices.cpu(self.target)), schedules))
    }

    /// The plan with the best of `heights` according to the model, and its schedules.
    fn modelled<'c>(&self, chain: Chain<'c>, heights: &[usize]) -> Option<(Plan<'c>, Vec<Schedule>)> {
        let rows = chain.height();
        // Heights that divide the rows need fewer functions.
        let better = |a: &Candidate, b: &Candidate| {
            let even = |height: usize| rows.is_multiple_of(height);
            a.1.won().total_cmp(&b.1.won()).then(even(a.0).cmp(&even(b.0)))
        };
        let (height, worth, schedules) =
            heights.iter().filter_map(|height| self.candidate(&chain, *height)).max_by(better)?;
        let won = worth.won();
        Some((Plan { chain, height, schedules: None, worth, won, is_measured: false }, schedules))
    }

    /// The chain in bands of this height; `None` if this is impossible or needs a larger arena than the program without
    /// bands.
    fn in_bands(&self, chain: &Chain<'_>, height: usize) -> Option<(Worth, Vec<Schedule>)> {
        let (_, worth, schedules) = self.candidate(chain, height)?;
        (self.alive(chain, &schedules) <= self.peak).then_some((worth, schedules))
    }

    /// The key of the chain in tuning files.
    fn key(&self, chain: &Chain<'_>) -> String {
        let calls: Vec<&Call> = chain.members.iter().map(|member| &self.calls[*member]).collect();
        let is_kept = |call: &Call| chain.links.iter().any(|link| !link.is_inside && link.plane.is_in(&call.output));
        key::of_chain(&calls, is_kept)
    }

    /// Bytes of the arena that are in use while the chain runs in bands.
    fn alive(&self, chain: &Chain<'_>, schedules: &[Schedule]) -> usize {
        let (first, last) = (chain.members[0], chain.members[chain.members.len() - 1]);
        let rolling = |id: usize| {
            let rolling = schedules.iter().flat_map(|own| chain.rolling(own));
            let own = rolling.filter(|(link, _)| link.plane.buffer == BufferId(id));
            own.map(|(link, rolling)| link.rolling_bytes(rolling)).reduce(|all, one| all + one)
        };
        let alive = (0..self.buffers.len()).filter(|id| is_alive(&self.buffers[*id], &self.users[*id], first, last));
        alive.map(|id| rolling(id).unwrap_or(self.buffers[id].byte_size)).sum()
    }

    /// The program's items: the planned chains in bands, all other calls unchanged.
    fn emit(&self, plans: &[Plan<'_>]) -> Emitted {
        let mut emitted = Emitted { body: Vec::new(), sizes: BTreeMap::new(), buffers: Vec::new() };
        let mut starts: BTreeMap<usize, (&Plan<'_>, &[Schedule])> = BTreeMap::new();
        for plan in plans {
            let Some(schedules) = &plan.schedules else { continue };
            starts.insert(plan.chain.members[0], (plan, schedules));
            for (link, rolling) in plan.chain.rolling(&schedules[0]) {
                emitted.sizes.insert(link.plane.buffer, link.rolling_bytes(rolling));
            }
        }
        let is_rolling_border = |call: &Call, emitted: &Emitted| match call.output.storage {
            Storage::Buffer(id) => call.producer.def().filled().is_some() && emitted.sizes.contains_key(&id),
            Storage::Const(_) => false,
        };
        let (mut at, mut loops) = (0, self.next_loop);
        let mut regions = self.regions.iter().peekable();
        loop {
            while let Some(region) = regions.next_if(|region| region.calls.start == at) {
                emitted.body.push(region.item.clone());
                at = region.calls.end;
            }
            if at == self.calls.len() {
                break;
            }
            match starts.get(&at) {
                Some((plan, schedules)) => {
                    let fills: Vec<Call> =
                        self.fills(&plan.chain).filter(|call| !is_rolling_border(call, &emitted)).cloned().collect();
                    emitted.body.extend(fills.into_iter().map(Item::Call));
                    self.emit_chain(&plan.chain, schedules, &mut loops, &mut emitted);
                    at = plan.chain.members[plan.chain.members.len() - 1] + 1;
                }
                None => {
                    let call = Some(&self.calls[at]).filter(|call| !is_rolling_border(call, &emitted));
                    emitted.body.extend(call.cloned().map(Item::Call));
                    at += 1;
                }
            }
        }
        emitted
    }

    /// A chain in bands: in place for one thread, in a parallel region for several.
    fn emit_chain(&self, chain: &Chain<'_>, schedules: &[Schedule], loops: &mut usize, emitted: &mut Emitted) {
        let mut threads: Vec<Vec<Item>> = Vec::with_capacity(self.threads);
        for (thread, schedule) in schedules.iter().enumerate() {
            let mut own: BTreeMap<BufferId, BufferId> = BTreeMap::new();
            for (link, rolling) in chain.rolling(schedule).filter(|_| thread > 0) {
                let BufferId(id) = link.plane.buffer;
                own.insert(link.plane.buffer, BufferId(self.buffers.len() + emitted.buffers.len()));
                let name = format!("{} of thread {thread}", self.buffers[id].name);
                let byte_size = link.rolling_bytes(rolling);
                emitted.buffers.push(Buffer { name, byte_size, ..self.buffers[id].clone() });
            }
            let before = chain.prologue(schedule).into_iter().map(Item::Call);
            let mut items: Vec<Item> = before.chain(roll(chain.bands(schedule), loops)).collect();
            for_each_call(&mut items, &mut |call| {
                for view in call.views_mut() {
                    if let Storage::Buffer(id) = &mut view.storage {
                        *id = own.get(id).copied().unwrap_or(*id);
                    }
                }
            });
            threads.push(items);
        }
        if self.threads == 1 {
            emitted.body.extend(threads.into_iter().flatten());
        } else {
            threads.resize(self.threads, Vec::new());
            emitted.body.push(Item::Parallel(Parallel { threads }));
        }
    }

    /// The calls between those of the chain. All of them fill borders.
    fn fills<'g>(&'g self, chain: &'g Chain<'_>) -> impl Iterator<Item = &'g Call> {
        let (first, last) = (chain.members[0], chain.members[chain.members.len() - 1]);
        (first..last).filter(|at| !chain.members.contains(at)).map(|at| &self.calls[at])
    }

    /// The line of the program's text that reports a chain.
    fn note(&self, plan: &Plan<'_>) -> Band {
        let names = plan.chain.members.iter().map(|member| self.calls[*member].origin.clone());
        let Worth { saved, spent } = plan.worth;
        let count = plan.chain.ranges(self.threads).iter().map(|range| range.len().div_ceil(plan.height)).sum();
        let (height, is_used, is_measured) = (plan.height, plan.schedules.is_some(), plan.is_measured);
        Band { chain: names.collect(), height, count, is_used, is_measured, saved, spent }
    }
}
