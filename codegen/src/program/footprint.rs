//! Footprints: the bytes of its buffers that a call touches.
//!
//! Invariant: a footprint contains every byte that the call writes or that its result depends on. It may contain more
//! if the pieces are too many to list. Bytes that kernels read without using them, after the ends of operands and runs,
//! are not in it: other calls may write them meanwhile.

#![expect(clippy::single_range_in_vec_init, reason = "lists of ranges, some of one")]

use std::ops::Range;

use crate::kernel::Call;
use crate::view::{BufferId, Grid, Storage, View};

/// Footprints with more pieces than this become one range.
const PIECES: usize = 1 << 16;

/// Bytes of one buffer: sorted ranges, relative to the buffer's first byte, that do not touch each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) buffer: BufferId,
    pub(crate) bytes: Vec<Range<usize>>,
}

/// The bytes of buffers that the call reads, without the offsets of loops around it.
pub(crate) fn reads(call: &Call) -> Vec<Footprint> {
    let window = call.producer.def().input_window(call);
    let views = call.operands.iter().enumerate().flat_map(|(index, operand)| match &window {
        Some(window) if index == 0 => window.views(operand),
        _ => vec![operand.clone()],
    });
    views.filter_map(|view| of_view(&view)).collect()
}

/// The bytes that the call writes; `None` if its result is a constant.
pub(crate) fn writes(call: &Call) -> Option<Footprint> {
    of_view(&call.output)
}

impl Footprint {
    /// Whether both contain a common byte.
    pub(crate) fn meets(&self, other: &Footprint) -> bool {
        let (mut mine, mut others) = (self.bytes.iter().peekable(), other.bytes.iter().peekable());
        if self.buffer != other.buffer {
            return false;
        }
        while let (Some(a), Some(b)) = (mine.peek(), others.peek()) {
            if a.start < b.end && b.start < a.end {
                return true;
            }
            _ = if a.end <= b.end { mine.next() } else { others.next() };
        }
        false
    }
}

fn of_view(view: &View) -> Option<Footprint> {
    let Storage::Buffer(buffer) = view.storage else { return None };
    let Grid { dims, strides } = &view.grid;
    let mut bytes = Vec::new();
    if view.grid.elements() > 0 {
        let mut axes: Vec<(usize, usize)> = Vec::with_capacity(dims.len());
        let mut start = view.offset as isize;
        for (&extent, &stride) in dims.iter().zip(strides) {
            // A negative stride starts at the other end.
            start += if stride < 0 { (extent as isize - 1) * stride } else { 0 };
            axes.push((extent, stride.unsigned_abs()));
        }
        axes.sort_by_key(|(_, stride)| *stride);
        let mut ranges = vec![0..1];
        for (extent, stride) in axes {
            let end = ranges[ranges.len() - 1].end + (extent - 1) * stride;
            ranges = match ranges.len() {
                // Adjacent or overlapping copies.
                1 if stride <= ranges[0].end => vec![0..end],
                count if count * extent > PIECES => vec![0..end],
                _ => joined(&ranges, extent, stride),
            };
        }
        let size = view.dtype.byte_size();
        let start = start as usize;
        bytes = ranges.into_iter().map(|range| (start + range.start) * size..(start + range.end) * size).collect();
    }
    Some(Footprint { buffer, bytes })
}

/// `ranges` repeated `extent` times at a distance of `stride`, sorted; adjacent ranges are merged.
fn joined(ranges: &[Range<usize>], extent: usize, stride: usize) -> Vec<Range<usize>> {
    let copies = (0..extent).flat_map(|i| ranges.iter().map(move |r| r.start + i * stride..r.end + i * stride));
    let mut copies: Vec<_> = copies.collect();
    copies.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(copies.len());
    for range in copies {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use eightfold_ir::DType;

    use super::*;
    use crate::kernel::{Gemm, Run, Tile};

    fn view(offset: usize, dims: &[usize], strides: &[isize]) -> View {
        let grid = Grid { dims: dims.to_vec(), strides: strides.to_vec() };
        View::new(Storage::Buffer(BufferId(0)), DType::F32, offset, grid)
    }

    fn bytes(view: &View) -> Vec<Range<usize>> {
        of_view(view).expect("a buffer").bytes
    }

    #[test]
    fn neighbours_are_one_range_and_gaps_stay_out() {
        assert_eq!(bytes(&view(2, &[2, 3, 4], &[12, 4, 1])), [8..104]);
        assert_eq!(bytes(&view(0, &[2, 3], &[5, 1])), [0..12, 20..32]);
        // A broadcast, a reversed view, a transposed view, and one interleaved with another view.
        assert_eq!(bytes(&view(1, &[7, 2], &[0, 1])), [4..12]);
        assert_eq!(bytes(&view(5, &[3], &[-2])), [4..8, 12..16, 20..24]);
        assert_eq!(bytes(&view(0, &[4, 2, 3], &[1, 12, 4])), [0..96]);
        assert_eq!(bytes(&view(0, &[0, 2], &[2, 1])), []);
    }

    #[test]
    fn footprints_meet_where_they_share_a_byte() {
        let of = |view: &View| of_view(view).expect("a buffer");
        let even = of(&view(0, &[4], &[2]));
        assert!(!even.meets(&of(&view(1, &[4], &[2]))));
        assert!(even.meets(&of(&view(6, &[1], &[1]))) && !even.meets(&of(&view(7, &[9], &[1]))));
        let other = View { storage: Storage::Buffer(BufferId(1)), ..view(0, &[4], &[2]) };
        assert!(!even.meets(&of(&other)));
    }

    #[test]
    fn a_products_input_is_what_lies_under_its_windows() {
        // 2 x 2 pixels of a 3 x 1 window over 8 of 10 channels.
        let gemm = Gemm {
            input: DType::F32,
            format: None,
            strides: [1; 2],
            runs: (0..3).map(|row| Run { offset: 40 * row, length: 8 }).collect(),
            n: 1,
            tile: Some(Tile { mr: 1, nr: 8, kr: 1 }),
            extra: vec![],
            joined: false,
            row_block: 1,
            plain: None,
        };
        let call = Call {
            producer: gemm.into(),
            operands: vec![view(1, &[1, 8, 4, 4], &[160, 1, 40, 10])],
            steps: vec![],
            output: view(0, &[1, 1, 2, 2], &[4, 1, 2, 1]),
            origin: String::new(),
        };
        let pixel = |at: usize| 4 * at..4 * (at + 8);
        let read: Vec<_> = reads(&call).into_iter().map(|footprint| footprint.bytes).collect();
        let row = |row: usize| [1, 11, 41, 51].map(|at| pixel(40 * row + at)).to_vec();
        assert_eq!(read, [row(0), row(1), row(2)]);
        // Another call may write the bytes between the channels.
        let other = View { offset: 9, ..view(0, &[4, 4, 2], &[40, 10, 1]) };
        assert!(!reads(&call).iter().any(|read| read.meets(&of_view(&other).expect("a buffer"))));
        assert_eq!(writes(&call).expect("a buffer").bytes, [0..16]);
    }
}
