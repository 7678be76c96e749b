//! Treats buffers as planes of rows, and says which rows of a buffer a call reads to compute given rows of its result.
//!
//! A buffer is a plane if rows are its outermost axis after the batch, and no access crosses from one row into the
//! next. Row 0 begins at the buffer's first byte; rows of the border are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::kernel::Call;
use crate::kernel::window::Window;
use crate::program::Buffer;
use crate::program::footprint::writes;
use crate::view::{BufferId, Storage, View};

/// A buffer as rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plane {
    pub(super) buffer: BufferId,
    /// Bytes of an element.
    pub(super) size: usize,
    /// Elements from one row to the next.
    pub(super) row: usize,
    /// Number of planes in the buffer.
    pub(super) batch: usize,
    /// Rows of one plane.
    pub(super) rows: usize,
    /// The rows that calls compute. The rows before and after are border.
    pub(super) made: Range<usize>,
    /// The elements of the border in each row that calls compute.
    pub(super) sides: Vec<Range<usize>>,
    /// The element that the border holds; `None` if there is no border.
    pub(super) element: Option<[u8; 8]>,
}

impl Plane {
    /// The buffer as a plane, if all calls that touch it access it by rows.
    pub(super) fn of(id: BufferId, buffer: &Buffer, calls: &[Call], users: &Users) -> Option<Plane> {
        let first = &calls[*users.writers.first()?].output;
        let (batch, row) = (*first.grid.dims.first()?, usize::try_from(*first.grid.strides.get(2)?).ok()?);
        let elements = buffer.byte_size / buffer.dtype.byte_size();
        if first.grid.elements() == 0 || row == 0 || !elements.is_multiple_of(row * batch) {
            return None;
        }
        let top = first.offset / row;
        let made = top..top + first.grid.dims[2];
        if made.end > elements / row / batch {
            return None;
        }
        let (size, rows) = (buffer.dtype.byte_size(), elements / row / batch);
        let mut plane = Plane { buffer: id, size, row, batch, rows, made, sides: vec![], element: None };
        let writes_rows = |call: &usize| {
            let view = &calls[*call].output;
            let start = view.offset / row;
            plane.walks(view)
                && view.grid.strides[2] == row as isize
                && plane.made == (start..start + view.grid.dims[2])
        };
        let reads_rows = |call: &usize| {
            let call = &calls[*call];
            let mut read = (0..call.operands.len()).filter(|index| plane.is_in(&call.operands[*index]));
            read.all(|index| plane.walked(call, index) && plane.is_within(call, index))
        };
        if !users.writers.iter().all(writes_rows) || !users.readers.iter().all(reads_rows) {
            return None;
        }
        plane.border(users.fills.iter().map(|fill| &calls[*fill]))?;
        Some(plane)
    }

    /// Whether the view lies in this buffer.
    pub(super) fn is_in(&self, view: &View) -> bool {
        view.storage == Storage::Buffer(self.buffer)
    }

    /// Whether axis 2 of a view of rank 4 goes from row to row, and its other axes stay inside a row.
    fn walks(&self, view: &View) -> bool {
        let (&[n, c, h, w], &[batch, channel, row, column]) = (&view.grid.dims[..], &view.grid.strides[..]) else {
            return false;
        };
        let inside = (view.offset % self.row) as isize + (c as isize - 1) * channel + (w as isize - 1) * column;
        let forward = channel >= 0 && column >= 0 && row >= 0;
        let rows = h == 1 || row % self.row as isize == 0;
        forward && rows && inside < self.row as isize && (n == 1 || batch == (self.rows * self.row) as isize)
    }

    /// Whether the call accesses this operand by rows.
    fn walked(&self, call: &Call, index: usize) -> bool {
        let view = &call.operands[index];
        let Some(Window { pixels, strides, runs }) = window(call, index) else {
            return self.walks(view);
        };
        let row = self.row as isize;
        let last_column = (view.offset % self.row) as isize + (pixels[2] as isize - 1) * strides[2];
        let inside =
            |(offset, length): &(isize, usize)| *offset >= 0 && offset % row + last_column + *length as isize <= row;
        let batch = pixels[0] == 1 || strides[0] == (self.rows * self.row) as isize;
        strides[1] >= 0 && strides[2] >= 0 && strides[1] % row == 0 && batch && runs.iter().all(inside)
    }

    /// Whether the call's row numbers are those of the first image. A view of the second image alone, or of all images
    /// as one tall image, has other row numbers.
    fn is_within(&self, call: &Call, index: usize) -> bool {
        let height = call.output.grid.dims.get(2).copied().unwrap_or(0);
        height == 0 || self.read(call, index, 0..height).end <= self.rows
    }

    /// Sets the border from the calls that fill it; `None` unless it consists of whole rows above and below, and of
    /// equal sides of all other rows.
    fn border<'c>(&mut self, fills: impl Iterator<Item = &'c Call>) -> Option<()> {
        let mut filled = Filled::default();
        for fill in fills {
            let element = fill.producer.def().filled()?;
            if self.element.is_some_and(|other| other != element) {
                return None;
            }
            self.element = Some(element);
            let size = fill.output.dtype.byte_size();
            for Range { start, end } in writes(fill)?.bytes {
                filled.add(start / size..(end / size).min(self.rows * self.row), self.row);
            }
        }
        let (above, below) = (0..self.made.start, self.made.end..self.rows);
        self.sides = filled.sides(&self.made, self.row)?;
        (filled.is_whole(&above) && filled.is_whole(&below)).then_some(())
    }

    /// The rows of this plane that the call reads through operand `index` to compute these rows of its result.
    pub(super) fn read(&self, call: &Call, index: usize, rows: Range<usize>) -> Range<usize> {
        let view = &call.operands[index];
        let start = view.offset / self.row;
        if let Some(Window { strides, runs, .. }) = window(call, index) {
            let step = strides[1] as usize / self.row;
            let reach = runs.iter().map(|(offset, _)| *offset as usize / self.row).max().unwrap_or(0);
            return start + step * rows.start..start + step * (rows.end - 1) + reach + 1;
        }
        let rows = if index == 0 { call.producer.def().input_rows(view, rows) } else { rows };
        let step = view.grid.strides[2] as usize / self.row;
        let end = if rows.is_empty() { rows.start * step } else { (rows.end - 1) * step + 1 };
        start + step * rows.start..start + end
    }
}

/// The elements that fills write. Time and memory grow with the number of fills, not of rows: a plane can have
/// billions.
#[derive(Default)]
struct Filled {
    /// Ranges of rows that are filled from end to end.
    whole: Vec<Range<usize>>,
    /// For each row that is filled in part, the start and end of each part.
    parts: BTreeMap<usize, BTreeSet<(usize, usize)>>,
}

impl Filled {
    /// Adds elements of the buffer, in rows of `row` elements.
    fn add(&mut self, elements: Range<usize>, row: usize) {
        let Range { mut start, end } = elements;
        while start < end {
            let at = start / row;
            let rows = at..end / row;
            if start.is_multiple_of(row) && !rows.is_empty() {
                start = rows.end * row;
                self.whole.push(rows);
            } else {
                let stop = end.min((at + 1) * row);
                self.parts.entry(at).or_default().insert((start - at * row, stop - at * row));
                start = stop;
            }
        }
    }

    /// Whether all of these rows are filled from end to end, and none also in part.
    fn is_whole(&self, rows: &Range<usize>) -> bool {
        let mut next = rows.start;
        let mut ranges: Vec<&Range<usize>> = self.whole.iter().filter(|range| range.end > rows.start).collect();
        ranges.sort_by_key(|range| range.start);
        for range in ranges.into_iter().filter(|range| range.start < rows.end) {
            if range.start > next {
                return false;
            }
            next = next.max(range.end);
        }
        next >= rows.end && self.parts.range(rows.clone()).next().is_none()
    }

    /// The parts of a row that are filled, if they are the same in all of these rows.
    fn sides(&self, rows: &Range<usize>, row: usize) -> Option<Vec<Range<usize>>> {
        if self.is_whole(rows) {
            return Some(std::iter::once(0..row).collect());
        }
        let is_outside = |range: &Range<usize>| range.end <= rows.start || rows.end <= range.start;
        let mut parts = self.parts.range(rows.clone()).map(|(_, parts)| parts);
        let first = parts.next();
        let is_same = first.is_none() || 1 + parts.filter(|other| Some(*other) == first).count() == rows.len();
        let sides = first.into_iter().flatten().map(|(start, end)| *start..*end).collect();
        (is_same && self.whole.iter().all(is_outside)).then_some(sides)
    }
}

/// The calls that touch a buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Users {
    pub(super) writers: Vec<usize>,
    pub(super) readers: Vec<usize>,
    /// The calls that fill its border.
    pub(super) fills: Vec<usize>,
}

impl Users {
    /// The calls that touch each buffer, in order.
    pub(super) fn of_each(buffers: &[Buffer], calls: &[Call]) -> Vec<Users> {
        let mut users = vec![Users::default(); buffers.len()];
        for (at, call) in calls.iter().enumerate() {
            if let Storage::Buffer(BufferId(id)) = call.output.storage {
                match call.producer.def().filled() {
                    Some(_) => users[id].fills.push(at),
                    None => users[id].writers.push(at),
                }
            }
            for view in &call.operands {
                let Storage::Buffer(BufferId(id)) = view.storage else { continue };
                if users[id].readers.last() != Some(&at) {
                    users[id].readers.push(at);
                }
            }
        }
        users
    }
}

/// The window through which the call reads this operand; `None` if it reads the operand's view.
fn window(call: &Call, index: usize) -> Option<Window> {
    call.producer.def().input_window(call).filter(|_| index == 0)
}
