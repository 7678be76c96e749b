//! A chain in bands: which rows each call makes in each band, and where rows then lie.
//!
//! Bands are ranges of rows of the chain's last result, of one height but for the last. In each band every call makes as
//! many rows as the calls behind it want next, none of them twice. A buffer that only the chain touches is a ring: it
//! holds the rows that are still wanted, from its start on. Where the next ones have no room behind them, the calls
//! behind are done with the first, and the rest is copied to the start.
//!
//! Invariant: what a call reads of a ring was made, or is border, and has not been moved over since.

use std::ops::Range;

use super::super::parallel::cut::part;
use super::plane::{Plane, Users};
use crate::program::{BufferId, Call, Fill, Grid, Pointwise, Storage, View};

/// Consecutive calls that can run band by band.
pub(super) struct Chain<'p> {
    pub(super) calls: &'p [Call],
    /// Positions of its calls, those that fill borders left out.
    pub(super) members: Vec<usize>,
    /// What its calls hand on to each other.
    pub(super) links: Vec<Link<'p>>,
}

/// A buffer that calls of a chain write and later ones read.
pub(super) struct Link<'p> {
    pub(super) plane: &'p Plane,
    pub(super) users: &'p Users,
    /// Whether no other call touches it.
    pub(super) is_inside: bool,
}

/// Which rows each call makes up to the end of each band, for a range of rows of the chain's last result.
pub(super) struct Schedule {
    /// By member of the chain, the first row that it makes.
    pub(super) begin: Vec<usize>,
    /// By band, then by member of the chain, the end of the rows that it has made.
    pub(super) made: Vec<Vec<usize>>,
    /// What becomes of each link that only the chain touches.
    pub(super) rings: Vec<Option<Ring>>,
}

/// A buffer of some rows at a time.
pub(super) struct Ring {
    /// Rows that it holds.
    pub(super) rows: usize,
    /// In each band, the row at its start, the rows of the plane wanted up to then, and the first that is wanted still.
    turns: Vec<Turn>,
}

struct Turn {
    base: usize,
    first: usize,
    end: usize,
}

impl Ring {
    /// Rows that are copied to the start, all bands together.
    pub(super) fn copied(&self) -> usize {
        let kept = |pair: &[Turn]| if pair[1].base == pair[0].base { 0 } else { kept(&pair[0], &pair[1]).len() };
        self.turns.windows(2).map(kept).sum()
    }
}

/// The rows that are there already when a band begins, and wanted still.
fn kept(before: &Turn, turn: &Turn) -> Range<usize> {
    turn.first..before.end.max(turn.first)
}

impl Chain<'_> {
    /// Rows of the last result.
    pub(super) fn height(&self) -> usize {
        rows(&self.calls[self.members[self.members.len() - 1]])
    }

    /// The height of about so many bands, of whole rows of what the last call computes together.
    pub(super) fn height_of(&self, bands: usize) -> usize {
        let last = &self.calls[self.members[self.members.len() - 1]];
        self.height().div_ceil(bands).next_multiple_of(rows_together(last))
    }

    /// The rows of the last result in at most `count` ranges of nearly one length.
    pub(super) fn ranges(&self, count: usize) -> Vec<Range<usize>> {
        let unit = rows_together(&self.calls[self.members[self.members.len() - 1]]);
        let units = self.height().div_ceil(unit);
        let start = |index: usize| (index * units / count * unit).min(self.height());
        (0..count).map(|index| start(index)..start(index + 1)).filter(|range| !range.is_empty()).collect()
    }

    /// A range of rows of the last result in bands of `height` rows; `None` if a ring would have to be copied over itself.
    /// Calls make the rows that the range needs, also those that another range needs too.
    pub(super) fn schedule(&self, range: &Range<usize>, height: usize) -> Option<Schedule> {
        let begin = self.begin(range.start);
        let ends = range.clone().step_by(height).map(|start| (start + height).min(range.end));
        let made = ends.map(|end| {
            let mut made = self.made(end);
            made.iter_mut().zip(&begin).for_each(|(made, begin)| *made = (*made).max(*begin));
            made
        });
        let made: Vec<Vec<usize>> = made.collect();
        let rings = self.links.iter().map(|link| match link.is_inside {
            true => self.ring(link, &begin, &made).map(Some),
            false => Some(None),
        });
        Some(Schedule { rings: rings.collect::<Option<_>>()?, begin, made })
    }

    /// The first row that each member makes for the rows of the last result from `row` on.
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
                None => (row * all).div_ceil(self.height()).next_multiple_of(unit).min(all),
            };
        }
        begin
    }

    /// The end of the rows that each member has made for those of the last result before `row`.
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
                    // Others may want rows that the chain does not.
                    if row == self.height() && !link.is_inside { all } else { wanted }
                }
                // As far as the last call.
                None => (row * all).div_ceil(self.height()).min(all),
            };
            made[at] = wanted.next_multiple_of(rows_together(call)).min(all);
        }
        made
    }

    /// The first row of the link that members from `first` on read when they have made so many rows and go on, and the
    /// end of those that they have read.
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

    /// The end of the rows of the link that are there when members have made so many: more than are wanted where a call makes
    /// several at once.
    fn written(&self, link: &Link<'_>, made: &[usize]) -> usize {
        let writers =
            self.members.iter().zip(made).filter(|(member, _)| link.plane.is_in(&self.calls[**member].output));
        writers.map(|(_, made)| link.plane.made.start + made).max().unwrap_or(0)
    }

    /// The first row of the link that is made when members begin with these.
    fn first_made(&self, link: &Link<'_>, begin: &[usize]) -> usize {
        let members = self.members.iter().zip(begin);
        let writers = members.filter(|(member, _)| link.plane.is_in(&self.calls[**member].output));
        writers.map(|(_, row)| link.plane.made.start + row).min().unwrap_or(0)
    }

    /// The link as a ring.
    fn ring(&self, link: &Link<'_>, begin: &Vec<usize>, made: &[Vec<usize>]) -> Option<Ring> {
        let before = std::iter::once(begin).chain(made);
        // The first rows of all have the border before them.
        let first_made = if begin.iter().all(|row| *row == 0) { 0 } else { self.first_made(link, begin) };
        let mut turns: Vec<Turn> = Vec::with_capacity(made.len());
        for (before, made) in before.zip(made) {
            let end = self.wanted(link, 0, made).1.max(self.written(link, made));
            // Rows that nobody wants are made too.
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
        Some(Ring { rows, turns })
    }

    /// The calls that come before the first band: those that fill borders of rings.
    pub(super) fn prologue(&self, schedule: &Schedule) -> Vec<Call> {
        let mut calls = Vec::new();
        for (link, ring) in self.rings(schedule) {
            self.fill_ring(link, ring, &mut calls);
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
                let written = self.rings(schedule).find(|(link, _)| link.plane.is_in(&call.output));
                if let Some((link, ring)) = written.filter(|(link, _)| !ready.contains(&link.plane.buffer)) {
                    self.turn(link, ring, band, &mut calls);
                    ready.push(link.plane.buffer);
                }
                if before[at] < made[at] {
                    let mut part = part(call, 2, before[at]..made[at]);
                    for (link, ring) in self.rings(schedule) {
                        link.plane.move_to_ring(&mut part, ring.turns[band].base, ring.rows);
                    }
                    calls.push(part);
                }
            }
            bands.push(calls);
        }
        bands
    }

    /// The links that are rings.
    pub(super) fn rings<'s>(&'s self, schedule: &'s Schedule) -> impl Iterator<Item = (&'s Link<'s>, &'s Ring)> {
        self.links.iter().zip(&schedule.rings).filter_map(|(link, ring)| Some((link, ring.as_ref()?)))
    }

    /// Fills the sides of all rows, and the border before them.
    fn fill_ring(&self, link: &Link<'_>, ring: &Ring, calls: &mut Vec<Call>) {
        let Plane { row, sides, made, .. } = link.plane;
        for side in sides {
            calls.push(self.fill(link, ring, side.start, [ring.rows, side.len()]));
        }
        let above = ring.turns[0].base..made.start.min(ring.turns[0].end);
        if !above.is_empty() {
            calls.push(self.fill(link, ring, 0, [1, above.len() * row]));
        }
    }

    /// Makes room for what a band wants: moves the rows that are wanted still, and fills the border after them.
    fn turn(&self, link: &Link<'_>, ring: &Ring, band: usize, calls: &mut Vec<Call>) {
        let (plane, turn) = (link.plane, &ring.turns[band]);
        let mut end = 0;
        if let Some(before) = band.checked_sub(1).map(|before| &ring.turns[before]) {
            end = before.end;
            let kept = kept(before, turn);
            if before.base != turn.base && !kept.is_empty() {
                let view = |first: usize| View {
                    offset: first * plane.row,
                    ..self.run(link, ring, 0, [1, kept.len() * plane.row])
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
            calls.push(self.fill(link, ring, first, [1, below.len() * plane.row]));
        }
    }

    fn fill(&self, link: &Link<'_>, ring: &Ring, offset: usize, extents: [usize; 2]) -> Call {
        let element = link.plane.element.unwrap_or_else(|| unreachable!("borders are filled with something"));
        let output = self.run(link, ring, offset, extents);
        Call { producer: Fill { element }.into(), operands: vec![], steps: vec![], output, origin: "border".to_owned() }
    }

    /// So many rows of so many elements of each plane of a ring.
    fn run(&self, link: &Link<'_>, ring: &Ring, offset: usize, [rows, length]: [usize; 2]) -> View {
        let Plane { buffer, row, batch, .. } = *link.plane;
        let dtype = self.calls[link.users.writers[0]].output.dtype;
        let strides = vec![(ring.rows * row) as isize, row as isize, 1];
        let grid = Grid { dims: vec![batch, rows, length], strides };
        View::new(Storage::Buffer(buffer), dtype, offset, grid)
    }
}

impl Plane {
    /// Moves what a part of a call touches of the plane to a ring of `rows` rows that begins with row `base`.
    fn move_to_ring(&self, call: &mut Call, base: usize, rows: usize) {
        let batch = (rows * self.row) as isize;
        let reads = call.operands.first().is_some_and(|input| self.is_in(input));
        debug_assert!(!reads || call.operands[0].offset >= base * self.row, "rows that are gone");
        let writes = self.is_in(&call.output);
        call.producer.def_mut().set_batch_strides(reads.then_some(batch), writes.then_some(batch));
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
    /// Bytes of the buffer as a ring.
    pub(super) fn ring_bytes(&self, ring: &Ring) -> usize {
        self.plane.row * ring.rows * self.plane.batch * self.plane.size
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
