//! The schedule of a chain in bands: which rows each call computes in each band, and where these rows lie.
//!
//! A band is a range of rows of the chain's last result. All bands but the last have one height. In each band a call
//! computes the rows that later calls read next, and no row twice. A buffer that only the chain touches becomes a
//! rolling buffer: it holds the rows that are still to be read. If the next rows do not fit behind them, the rows that
//! are still needed move to its start.
//!
//! Invariant: a row that a call reads from a rolling buffer was computed before, or is border, and was not overwritten
//! since.

use std::ops::Range;

use super::super::parallel::cut::part;
use super::plane::{Plane, Users};
use crate::kernel::{Call, Fill, Pointwise};
use crate::program::footprint::{Footprint, writes};
use crate::view::{BufferId, Grid, Storage, View};

/// Consecutive calls that can run in bands.
pub(super) struct Chain<'p> {
    pub(super) calls: &'p [Call],
    /// Positions of its calls, without those that fill borders.
    pub(super) members: Vec<usize>,
    /// The buffers that one of its calls writes and another reads.
    pub(super) links: Vec<Link<'p>>,
}

/// A buffer that calls of a chain write and later ones read.
pub(super) struct Link<'p> {
    pub(super) plane: &'p Plane,
    pub(super) users: &'p Users,
    /// Whether no other call touches it.
    pub(super) is_inside: bool,
}

/// The rows that each call computes in each band, for a range of rows of the chain's last result.
pub(super) struct Schedule {
    /// For each call of the chain, the first row that it computes.
    pub(super) begin: Vec<usize>,
    /// For each band and each call of the chain, the end (exclusive) of the rows computed so far.
    pub(super) made: Vec<Vec<usize>>,
    /// For each link, its rolling buffer; `None` if calls outside the chain touch it.
    pub(super) rolling: Vec<Option<Rolling>>,
}

/// A buffer that holds some rows of a plane at a time.
pub(super) struct Rolling {
    /// Rows that it holds.
    pub(super) rows: usize,
    /// For each band, which rows it holds.
    turns: Vec<Turn>,
}

/// The rows of a rolling buffer during one band.
struct Turn {
    /// The row at its start.
    base: usize,
    /// The first row that this band or a later one reads.
    first: usize,
    /// The end (exclusive) of the rows that the buffer holds when the band ends.
    end: usize,
}

impl Rolling {
    /// The number of rows that move to the start, all bands together.
    pub(super) fn copied(&self) -> usize {
        let kept = |pair: &[Turn]| if pair[1].base == pair[0].base { 0 } else { kept(&pair[0], &pair[1]).len() };
        self.turns.windows(2).map(kept).sum()
    }
}

/// The rows that a band finds in the buffer and that are still to be read.
fn kept(before: &Turn, turn: &Turn) -> Range<usize> {
    turn.first..before.end.max(turn.first)
}

impl Chain<'_> {
    /// Whether a call overwrites the result of an earlier call that the chain does not read. Bands keep no order
    /// between the rows of such results, so the earlier call could write a row after the later one.
    pub(super) fn overwrites(&self) -> bool {
        let is_link = |call: &Call| self.links.iter().any(|link| link.plane.is_in(&call.output));
        let results: Vec<&Call> =
            self.members.iter().map(|member| &self.calls[*member]).filter(|call| !is_link(call)).collect();
        if results.len() < 2 {
            return false;
        }
        let written: Vec<Footprint> = results.into_iter().filter_map(writes).collect();
        (1..written.len()).any(|later| written[..later].iter().any(|earlier| earlier.meets(&written[later])))
    }

    /// Rows of the last result.
    pub(super) fn height(&self) -> usize {
        rows(&self.calls[self.members[self.members.len() - 1]])
    }

    /// The height of bands that gives about this number of them: a multiple of the rows that the last call computes
    /// together.
    pub(super) fn height_of(&self, bands: usize) -> usize {
        let last = &self.calls[self.members[self.members.len() - 1]];
        self.height().div_ceil(bands).next_multiple_of(rows_together(last))
    }

    /// The rows of the last result in at most `count` ranges of nearly equal length.
    pub(super) fn ranges(&self, count: usize) -> Vec<Range<usize>> {
        let unit = rows_together(&self.calls[self.members[self.members.len() - 1]]);
        let units = self.height().div_ceil(unit);
        let start = |index: usize| (index * units / count * unit).min(self.height());
        (0..count).map(|index| start(index)..start(index + 1)).filter(|range| !range.is_empty()).collect()
    }

    /// Schedules a range of rows of the last result in bands of `height` rows. Calls compute all rows that the range
    /// needs, even if another range needs them too. `None` if rows of a rolling buffer would have to move onto
    /// themselves.
    pub(super) fn schedule(&self, range: &Range<usize>, height: usize) -> Option<Schedule> {
        let begin = self.begin(range.start);
        let ends = range.clone().step_by(height).map(|start| (start + height).min(range.end));
        let made = ends.map(|end| {
            let mut made = self.made(end);
            made.iter_mut().zip(&begin).for_each(|(made, begin)| *made = (*made).max(*begin));
            made
        });
        let made: Vec<Vec<usize>> = made.collect();
        let rolling = self.links.iter().map(|link| match link.is_inside {
            true => self.roll(link, &begin, &made).map(Some),
            false => Some(None),
        });
        Some(Schedule { rolling: rolling.collect::<Option<_>>()?, begin, made })
    }

    /// `all * row / height`, rounded up.
    fn proportional(&self, row: usize, all: usize) -> usize {
        (row as u128 * all as u128).div_ceil(self.height() as u128) as usize
    }

    /// For each call, the first row that it computes if the last call begins with `row`.
    fn begin(&self, row: usize) -> Vec<usize> {
        let mut begin = vec![0; self.members.len()];
        if row == 0 {
            return begin;
        }
        for at in (0..self.members.len()).rev() {
            let call = &self.calls[self.members[at]];
            let (all, unit) = (rows(call), rows_together(call));
            begin[at] = match self.links.iter().find(|link| link.plane.is_in(&call.output)) {
                Some(link) => {
                    let Range { start, end } = link.plane.made;
                    let first = self.wanted(link, at + 1, &begin).0.clamp(start, end) - start;
                    first / unit * unit
                }
                None => self.proportional(row, all).next_multiple_of(unit).min(all),
            };
        }
        begin
    }

    /// For each call, the end of the rows that it must compute for the rows of the last result before `row`.
    fn made(&self, row: usize) -> Vec<usize> {
        let mut made = vec![0; self.members.len()];
        for at in (0..self.members.len()).rev() {
            let call = &self.calls[self.members[at]];
            let all = rows(call);
            let link = self.links.iter().find(|link| link.plane.is_in(&call.output));
            let wanted = match link {
                Some(link) => {
                    let (_, end) = self.wanted(link, at + 1, &made);
                    let wanted = end.clamp(link.plane.made.start, link.plane.made.end) - link.plane.made.start;
                    // Calls outside the chain may read rows that the chain does not.
                    if row == self.height() && !link.is_inside { all } else { wanted }
                }
                // The chain does not read the result, so its rows keep pace with those of the last call.
                None => self.proportional(row, all).min(all),
            };
            made[at] = wanted.next_multiple_of(rows_together(call)).min(all);
        }
        made
    }

    /// For the calls from position `first` on, after each has computed its `made` rows: the first row of the link that
    /// they read next, and the end of the rows that they have read.
    fn wanted(&self, link: &Link<'_>, first: usize, made: &[usize]) -> (usize, usize) {
        let (mut start, mut end) = (usize::MAX, 0);
        for (at, made) in made.iter().copied().enumerate().skip(first) {
            let call = &self.calls[self.members[at]];
            for index in (0..call.operands.len()).filter(|index| link.plane.is_in(&call.operands[*index])) {
                if made > 0 {
                    end = end.max(link.plane.read(call, index, 0..made).end);
                }
                if made < rows(call) {
                    start = start.min(link.plane.read(call, index, made..made + 1).start);
                }
            }
        }
        (start, end)
    }

    /// The end of the link's rows that exist after each call has computed its `made` rows. More rows may exist than are
    /// read, as some calls compute several rows together.
    fn written(&self, link: &Link<'_>, made: &[usize]) -> usize {
        self.rows_of_writers(link, made).max().unwrap_or(0)
    }

    /// The first row of the link that is computed if calls begin with these rows.
    fn first_made(&self, link: &Link<'_>, begin: &[usize]) -> usize {
        self.rows_of_writers(link, begin).min().unwrap_or(0)
    }

    /// For each call that writes the link, its entry of `rows` as a row of the link; `rows` has an entry per call of
    /// the chain.
    fn rows_of_writers(&self, link: &Link<'_>, rows: &[usize]) -> impl Iterator<Item = usize> {
        let members = self.members.iter().zip(rows);
        let writers = members.filter(|(member, _)| link.plane.is_in(&self.calls[**member].output));
        writers.map(|(_, row)| link.plane.made.start + row)
    }

    /// The link as a rolling buffer.
    fn roll(&self, link: &Link<'_>, begin: &Vec<usize>, made: &[Vec<usize>]) -> Option<Rolling> {
        let before = std::iter::once(begin).chain(made);
        // The border above the image is part of the first rows.
        let first_made = if begin.iter().all(|row| *row == 0) { 0 } else { self.first_made(link, begin) };
        let mut turns: Vec<Turn> = Vec::with_capacity(made.len());
        for (before, made) in before.zip(made) {
            let end = self.wanted(link, 0, made).1.max(self.written(link, made));
            // Rows that no call reads are computed too.
            let first = self.wanted(link, 0, before).0.min(turns.last().map_or(first_made, |turn| turn.end));
            turns.push(Turn { base: first, first, end });
        }
        let rows = turns.iter().map(|turn| turn.end - turn.first).max()?;
        for at in 1..turns.len() {
            let base = turns[at - 1].base;
            if turns[at].end - base <= rows {
                turns[at].base = base;
                continue;
            }
            let copied = kept(&turns[at - 1], &turns[at]).len();
            if turns[at].first - base < copied {
                return None;
            }
        }
        Some(Rolling { rows, turns })
    }

    /// The calls before the first band: they fill the borders of rolling buffers.
    pub(super) fn prologue(&self, schedule: &Schedule) -> Vec<Call> {
        let mut calls = Vec::new();
        for (link, rolling) in self.rolling(schedule) {
            self.fill_border(link, rolling, &mut calls);
        }
        calls
    }

    /// The calls of each band.
    pub(super) fn bands(&self, schedule: &Schedule) -> Vec<Vec<Call>> {
        let mut bands = Vec::with_capacity(schedule.made.len());
        for (band, made) in schedule.made.iter().enumerate() {
            let before = if band == 0 { &schedule.begin } else { &schedule.made[band - 1] };
            let mut calls = Vec::new();
            let mut ready: Vec<BufferId> = Vec::new();
            for (at, member) in self.members.iter().enumerate() {
                let call = &self.calls[*member];
                let written = self.rolling(schedule).find(|(link, _)| link.plane.is_in(&call.output));
                if let Some((link, rolling)) = written.filter(|(link, _)| !ready.contains(&link.plane.buffer)) {
                    self.turn(link, rolling, band, &mut calls);
                    ready.push(link.plane.buffer);
                }
                if before[at] < made[at] {
                    let mut part = part(call, 2, before[at]..made[at]);
                    for (link, rolling) in self.rolling(schedule) {
                        link.plane.move_to_rolling(&mut part, rolling.turns[band].base, rolling.rows);
                    }
                    calls.push(part);
                }
            }
            bands.push(calls);
        }
        bands
    }

    /// The links that are rolling buffers.
    pub(super) fn rolling<'s>(&'s self, schedule: &'s Schedule) -> impl Iterator<Item = (&'s Link<'s>, &'s Rolling)> {
        self.links.iter().zip(&schedule.rolling).filter_map(|(link, rolling)| Some((link, rolling.as_ref()?)))
    }

    /// Fills the border at the sides of all rows, and the border above them.
    fn fill_border(&self, link: &Link<'_>, rolling: &Rolling, calls: &mut Vec<Call>) {
        let Plane { row, sides, made, .. } = link.plane;
        for side in sides {
            calls.push(self.fill(link, rolling, side.start, [rolling.rows, side.len()]));
        }
        let above = rolling.turns[0].base..made.start.min(rolling.turns[0].end);
        if !above.is_empty() {
            calls.push(self.fill(link, rolling, 0, [1, above.len() * row]));
        }
    }

    /// Makes room for the rows of a band: moves the rows that are still to be read to the start, and fills the border
    /// below the image.
    fn turn(&self, link: &Link<'_>, rolling: &Rolling, band: usize, calls: &mut Vec<Call>) {
        let (plane, turn) = (link.plane, &rolling.turns[band]);
        let mut end = 0;
        if let Some(before) = band.checked_sub(1).map(|before| &rolling.turns[before]) {
            end = before.end;
            let kept = kept(before, turn);
            if before.base != turn.base && !kept.is_empty() {
                let view = |first: usize| View {
                    offset: first * plane.row,
                    ..self.run(link, rolling, 0, [1, kept.len() * plane.row])
                };
                let (from, to) = (view(kept.start - before.base), view(0));
                let origin = "band".to_owned();
                let copy = Call { producer: Pointwise.into(), operands: vec![from], steps: vec![], output: to, origin };
                calls.push(copy);
            }
        }
        let below = plane.made.end.max(end)..turn.end;
        if !below.is_empty() {
            let first = (below.start - turn.base) * plane.row;
            calls.push(self.fill(link, rolling, first, [1, below.len() * plane.row]));
        }
    }

    fn fill(&self, link: &Link<'_>, rolling: &Rolling, offset: usize, extents: [usize; 2]) -> Call {
        let element = link.plane.element.unwrap_or_else(|| unreachable!("a border has an element"));
        let output = self.run(link, rolling, offset, extents);
        Call { producer: Fill { element }.into(), operands: vec![], steps: vec![], output, origin: "border".to_owned() }
    }

    /// A view of `rows` runs of `length` elements, one run a row, in each plane of a rolling buffer.
    fn run(&self, link: &Link<'_>, rolling: &Rolling, offset: usize, [rows, length]: [usize; 2]) -> View {
        let Plane { buffer, row, batch, .. } = *link.plane;
        let dtype = self.calls[link.users.writers[0]].output.dtype;
        let strides = vec![(rolling.rows * row) as isize, row as isize, 1];
        let grid = Grid { dims: vec![batch, rows, length], strides };
        View::new(Storage::Buffer(buffer), dtype, offset, grid)
    }
}

impl Plane {
    /// Moves the views of a part of a call from the plane to a rolling buffer of `rows` rows that begins with row
    /// `base`.
    fn move_to_rolling(&self, call: &mut Call, base: usize, rows: usize) {
        let batch = (rows * self.row) as isize;
        let reads = call.operands.first().is_some_and(|input| self.is_in(input));
        debug_assert!(!reads || call.operands[0].offset >= base * self.row, "rows that are overwritten");
        for view in call.operands.iter_mut().chain([&mut call.output]).filter(|view| self.is_in(view)) {
            view.offset -= base * self.row;
            view.grid.strides[0] = batch;
        }
    }
}

/// Rows of the result that are computed together.
fn rows_together(call: &Call) -> usize {
    call.producer.def().unit(call, 2).unwrap_or(1)
}

/// Rows of the result.
pub(super) fn rows(call: &Call) -> usize {
    call.output.grid.dims[2]
}

impl Link<'_> {
    /// Bytes of the buffer as a rolling buffer.
    pub(super) fn rolling_bytes(&self, rolling: &Rolling) -> usize {
        self.plane.row * rolling.rows * self.plane.batch * self.plane.size
    }

    /// Bytes of an element.
    pub(super) fn size(&self) -> usize {
        self.plane.size
    }

    /// Bytes of the whole buffer.
    pub(super) fn bytes(&self) -> f64 {
        (self.plane.row * self.plane.rows * self.plane.batch * self.plane.size) as f64
    }
}
