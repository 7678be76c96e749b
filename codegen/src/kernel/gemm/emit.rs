//! Matrix products with constant weights, including convolutions, without a copy of the input.
//!
//! The accumulators of a tile of `mr` pixels by `nr` channels stay in registers. The innermost loop walks the runs that
//! the pixels read: each turn loads one group of weights for all channels and broadcasts one group of inputs for each
//! pixel. Then the steps run on the registers, and each result is stored once.
//!
//! Order of loops, outermost first: batch, bands of pixels whose inputs fit the second-level cache, blocks of `nr`
//! channels, rows or tiles of the band, runs, groups. Edges have tiles of their own: the last tiles of a row have one
//! pixel less; the last block has fewer registers and a shorter store.

use eightfold_ir::DType;

use crate::kernel::gemm::group_bits;
use crate::kernel::gemm::walk::{Cut, Walk};
use crate::kernel::pixels::{Pixels, Place};
use crate::kernel::{Call, Gemm, Run};
use crate::vector::{Emitter, Int, Kind, Ptr, State, Vector};

/// Groups per turn of the innermost loop.
const UNROLL: usize = 2;

/// Up to this many groups are unrolled completely.
const STRAIGHT: usize = 8;

/// Weights of at least this many bytes are assumed to lie beyond the second-level cache.
const FAR: usize = 1 << 17;

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, gemm: &Gemm, pointers: &[Ptr<'ctx>]) {
    let blocks = gemm.n.div_ceil(gemm.tile().nr);
    emit_within(e, call, gemm, pointers, blocks * gemm.groups() * gemm.group_bytes());
}

/// Emits the kernel as one of several products within another kernel. The weights of all these products are adjacent
/// and take `weight_bytes` in total.
pub(crate) fn emit_within<'ctx>(
    e: &Emitter<'_, 'ctx>,
    call: &Call,
    gemm: &Gemm,
    pointers: &[Ptr<'ctx>],
    weight_bytes: usize,
) {
    let pixels = Pixels::of(call, gemm.strides);
    let (groups, group_bytes) = (gemm.groups(), gemm.group_bytes());
    let kernel = Kernel {
        e,
        gemm,
        columns: call.output.grid.dims[3],
        segments: segments(gemm),
        group_bytes,
        groups,
        block_bytes: groups * group_bytes,
        pixels,
        is_far: weight_bytes >= FAR,
    };
    let place = kernel.pixels.place(pointers);
    kernel.emit(&place, pointers[1], pointers[2]);
}

/// Equally long runs at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    first: isize,
    step: isize,
    count: usize,
    length: usize,
}

/// Merges runs into segments: adjacent runs become one run, and runs of equal lengths and distances become a loop.
fn segments(gemm: &Gemm) -> Vec<Segment> {
    // Joined groups must belong to one run.
    let whole = if gemm.joined { 2 * gemm.kr() } else { gemm.kr() };
    let mut segments: Vec<Segment> = Vec::new();
    for &Run { offset, length } in &gemm.runs {
        if let Some(last) = segments.last_mut() {
            let step = offset - (last.first + last.step * (last.count as isize - 1));
            let adjacent = last.count == 1 && step == last.length as isize && last.length % whole == 0;
            if adjacent {
                last.length += length;
                continue;
            }
            if last.length == length && (last.count == 1 || last.step == step) {
                (last.step, last.count) = (step, last.count + 1);
                continue;
            }
        }
        segments.push(Segment { first: offset, step: 0, count: 1, length });
    }
    segments
}

struct Kernel<'k, 'm, 'ctx> {
    e: &'k Emitter<'m, 'ctx>,
    gemm: &'k Gemm,
    /// Pixels of a row of the result.
    columns: usize,
    pixels: Pixels<'k>,
    segments: Vec<Segment>,
    /// Bytes of one group of a block's weights.
    group_bytes: usize,
    /// Groups of all runs.
    groups: usize,
    /// Bytes of a block's weights without its extra groups.
    block_bytes: usize,
    /// Whether weights are read from beyond the second-level cache.
    is_far: bool,
}

/// A block of channels.
#[derive(Clone, Copy)]
struct Block<'ctx> {
    weights: Ptr<'ctx>,
    /// The weights of the next block.
    next: Ptr<'ctx>,
    sums: Ptr<'ctx>,
    extra: Option<Extra<'ctx>>,
    channels: usize,
}

/// The pixels of a tile.
struct Spots<'ctx> {
    /// Distance of each pixel's inputs from the tile's first input, in bytes.
    pixels: Vec<Int<'ctx>>,
    /// Bytes by which the prefetch address advances per turn.
    ahead: isize,
}

/// The extra groups of a block.
#[derive(Clone, Copy)]
struct Extra<'ctx> {
    /// For each vector of the block, the number of extra groups before it.
    starts: Ptr<'ctx>,
    /// The input offset of each extra group of all blocks, in order.
    offsets: Ptr<'ctx>,
}

impl<'ctx> Extra<'ctx> {
    /// The number of extra groups before a vector of the block, including those of earlier blocks.
    fn start(&self, e: &Emitter<'_, 'ctx>, vector: usize) -> Int<'ctx> {
        e.load_int(at(e, self.starts, 4 * vector), Kind::I32, true)
    }
}

impl<'ctx> Kernel<'_, '_, 'ctx> {
    fn emit(&self, place: &Place<'ctx>, weights: Ptr<'ctx>, sums: Ptr<'ctx>) {
        let e = self.e;
        let [batch, rows, _] = self.pixels.extents;
        let nr = self.gemm.tile().nr;
        let tables = self.extra_tables();
        let walk @ Walk { cut, long, band, .. } = Walk::of(
            self.gemm,
            self.columns,
            self.pixels.extents,
            self.groups,
            self.is_far.then_some(self.block_bytes),
        );
        let units = if long { cut.tiles() } else { rows };
        e.repeat(e.int(batch), |b| {
            let place = self.pixels.step(e, place, 0, b, 1);
            e.repeat(e.int(units.div_ceil(band)), |turn| {
                let first = e.scale(turn, band as isize);
                let count = match units % band {
                    0 => e.int(band.min(units)),
                    _ if units < band => e.int(units),
                    _ => e.lesser(e.int(band), e.minus(e.int(units), first)),
                };
                let work = |block: Block<'ctx>, place: &Place<'ctx>| match long {
                    true => self.tiles(walk, [first, count, e.int(0)], place, block),
                    false => e.repeat(count, |row| {
                        let before = e.scale(row, cut.tiles() as isize);
                        let row = self.pixels.step(e, place, 1, e.plus(first, row), 1);
                        self.tiles(walk, [e.int(0), e.int(cut.tiles()), before], &row, block);
                    }),
                };
                let block = |index: Int<'ctx>, channels: usize| {
                    let extra = tables.map(|(starts, offsets)| {
                        let vectors = (nr / e.lanes()) as isize;
                        Extra { starts: e.offset_by(starts, e.scale(index, 4 * vectors)), offsets }
                    });
                    let mut block_weights = e.offset_by(weights, e.scale(index, self.block_bytes as isize));
                    if let Some(extra) = extra {
                        let before = extra.start(e, 0);
                        block_weights = e.offset_by(block_weights, e.scale(before, self.extra_bytes()));
                    }
                    let sums = e.offset_by(sums, e.scale(index, 4 * nr as isize));
                    let mut next = e.offset(block_weights, self.block_bytes as isize);
                    if let Some(extra) = extra {
                        let own = e.minus(extra.start(e, nr / e.lanes()), extra.start(e, 0));
                        next = e.offset_by(next, e.scale(own, self.extra_bytes()));
                    }
                    let block = Block { weights: block_weights, next, sums, extra, channels };
                    work(block, &self.pixels.channels(e, &place, index, nr));
                };
                let n = self.gemm.n;
                e.repeat(e.int(n / nr), |index| block(index, nr));
                if !n.is_multiple_of(nr) {
                    block(e.int(n / nr), n % nr);
                }
            });
        });
    }

    /// Two tables: where each vector's extra offsets begin, and the extra offsets of all vectors.
    fn extra_tables(&self) -> Option<(Ptr<'ctx>, Ptr<'ctx>)> {
        let extra = &self.gemm.extra;
        if extra.iter().all(Vec::is_empty) {
            return None;
        }
        let bytes = |table: &mut dyn Iterator<Item = isize>| {
            let bytes: Vec<u8> = table.flat_map(|entry| (entry as i32).to_le_bytes()).collect();
            self.e.bytes(&bytes)
        };
        let mut end = 0;
        let ends = extra.iter().map(|offsets| {
            end += offsets.len() as isize;
            end
        });
        let starts = bytes(&mut [0].into_iter().chain(ends));
        Some((starts, bytes(&mut extra.iter().flatten().copied())))
    }

    /// Bytes of the weights of one extra group.
    fn extra_bytes(&self) -> isize {
        (self.e.lanes() * self.gemm.kr()) as isize
    }

    /// Emits `count` tiles from tile `first` on, of the row that begins at `row`, or of all rows if these are cut as
    /// one. `before` tiles of the band precede them.
    fn tiles(&self, walk: Walk, [first, count, before]: [Int<'ctx>; 3], row: &Place<'ctx>, block: Block<'ctx>) {
        let e = self.e;
        let Cut { size, large, small } = walk.cut;
        let some = |size: usize, first: Int<'ctx>, count: Int<'ctx>, before: Int<'ctx>| {
            e.repeat(count, |tile| {
                let pixel = e.plus(first, e.scale(tile, size as isize));
                let place = match walk.wrapped {
                    true => self.pixels.spots(e, row, pixel, size),
                    false => self.pixels.step(e, row, 2, pixel, 1),
                };
                let done = e.plus(before, tile);
                let ahead = walk.slice.map(|slice| e.offset_by(block.next, e.scale(done, slice as isize)));
                let ahead = ahead.zip(walk.slice.map(|slice| (slice * UNROLL).div_ceil(self.groups) as isize));
                self.tile(size, &place, block, ahead);
            });
        };
        let of_large = e.greater(e.int(0), e.lesser(count, e.minus(e.int(large), first)));
        some(size, e.scale(first, size as isize), of_large, before);
        if small > 0 {
            let skipped = e.scale(e.greater(e.int(0), e.minus(first, e.int(large))), size as isize - 1);
            let first = e.plus(e.int(large * size), skipped);
            some(size - 1, first, e.minus(count, of_large), e.plus(before, of_large));
        }
    }

    /// Emits one tile of `mr` pixels. `ahead` is the address to prefetch and its advance per turn.
    fn tile(&self, mr: usize, place: &Place<'ctx>, block: Block<'ctx>, ahead: Option<(Ptr<'ctx>, isize)>) {
        let e = self.e;
        let lanes = e.lanes();
        let registers = block.channels.div_ceil(lanes);
        let kind = if self.gemm.input.is_float() { Kind::F32 } else { Kind::I32 };
        let sums: Vec<_> = (0..registers).map(|v| e.load(at(e, block.sums, v * lanes * 4), kind, lanes)).collect();
        let vectors = (0..mr).flat_map(|_| sums.clone()).collect();
        let pixels: Vec<_> = (0..mr).map(|pixel| Pixels::distance(e, place, pixel, &self.pixels.input)).collect();
        let tile = Spots { pixels, ahead: ahead.map_or(0, |(_, step)| step) };
        self.pixels.fetch(e, place, mr, block.channels);
        let mut state = State { pointers: vec![place.input, block.weights], vectors, ..State::default() };
        state.pointers.extend(ahead.map(|(pointer, _)| pointer));
        for segment in &self.segments {
            self.segment(&tile, *segment, place.input, &mut state);
        }
        if let Some(extra) = block.extra {
            (0..registers).for_each(|vector| self.extra(&tile, vector, extra, place.input, &mut state));
        }
        let sums: Vec<_> = state.vectors.chunks(registers).map(|sums| e.concat(sums)).collect();
        self.pixels.finish(e, place, 0, &sums, block.channels, None);
    }

    /// Adds the products of one vector's extra groups. The state's weight pointer points to them.
    fn extra(&self, tile: &Spots<'ctx>, vector: usize, extra: Extra<'ctx>, input: Ptr<'ctx>, state: &mut State<'ctx>) {
        let e = self.e;
        let first = extra.start(e, vector);
        let offsets = e.offset_by(extra.offsets, e.scale(first, 4));
        let count = e.minus(extra.start(e, vector + 1), first);
        let registers = state.vectors.len() / tile.pixels.len();
        let sums = state.vectors.iter().skip(vector).step_by(registers).copied().collect();
        let one = State { pointers: vec![state.pointers[1]], vectors: sums, ..State::default() };
        let one = e.carry(count, one, |i, state| {
            let offset = e.load_int(e.offset_by(offsets, e.scale(i, 4)), Kind::I32, true);
            let weights = state.pointers[0];
            let elements = self.gemm.kr();
            self.group(tile, 1, elements, e.offset_by(input, offset), weights, &mut state.vectors);
            state.pointers = vec![e.offset(weights, self.extra_bytes())];
        });
        state.pointers[1] = one.pointers[0];
        state.vectors.iter_mut().skip(vector).step_by(registers).zip(one.vectors).for_each(|(sum, new)| *sum = new);
    }

    /// Adds the products of all runs of a segment.
    fn segment(&self, tile: &Spots<'ctx>, segment: Segment, input: Ptr<'ctx>, state: &mut State<'ctx>) {
        let e = self.e;
        let element = self.gemm.input.byte_size() as isize;
        // The bytes after a run may hold NaN, and NaN times a zero weight is NaN: an odd last bf16 is loaded alone.
        let (groups, rest) = match self.gemm.input {
            DType::Bf16 => (segment.length / self.gemm.kr(), segment.length % self.gemm.kr()),
            _ => (segment.length.div_ceil(self.gemm.kr()), 0),
        };
        let first = e.offset(input, segment.first * element);
        let run = |index: Int<'ctx>, state: &mut State<'ctx>| {
            state.pointers[0] = e.offset_by(first, e.scale(index, segment.step * element));
            if groups <= STRAIGHT {
                self.groups(tile, groups, state);
            } else {
                let turns = e.int(groups / UNROLL);
                *state = e.carry(turns, std::mem::take(state), |_, state| {
                    if let Some(ahead) = state.pointers.get(2).copied() {
                        e.prefetch(ahead, 2);
                        state.pointers[2] = e.offset(ahead, tile.ahead);
                    }
                    self.groups(tile, UNROLL, state);
                });
                self.groups(tile, groups % UNROLL, state);
            }
            if rest > 0 {
                let [input, weights] = [state.pointers[0], state.pointers[1]];
                self.group(tile, 1, rest, input, weights, &mut state.vectors);
                state.pointers[1] = at(e, weights, self.group_bytes);
            }
        };
        if segment.count * (groups + rest) <= STRAIGHT {
            (0..segment.count).for_each(|index| run(e.int(index), state));
        } else {
            *state = e.carry(e.int(segment.count), std::mem::take(state), run);
        }
    }

    /// Adds the products of `count` groups, starting at the state's pointers, and advances the pointers.
    fn groups(&self, tile: &Spots<'ctx>, count: usize, state: &mut State<'ctx>) {
        let e = self.e;
        let [input, weights] = [state.pointers[0], state.pointers[1]];
        let joined = if self.gemm.joined { 2 } else { 1 };
        for group in (0..count).step_by(joined) {
            let weights = at(e, weights, group * self.group_bytes);
            let input = at(e, input, group * 4);
            let together = joined.min(count - group);
            self.group(tile, together, self.gemm.kr(), input, weights, &mut state.vectors);
        }
        state.pointers[0] = at(e, input, count * 4);
        state.pointers[1] = at(e, weights, count * self.group_bytes);
    }

    /// Adds the products of `joined` groups to the accumulators of a tile. `elements` inputs per group and pixel are
    /// read.
    fn group(
        &self,
        tile: &Spots<'ctx>,
        joined: usize,
        elements: usize,
        input: Ptr<'ctx>,
        weights: Ptr<'ctx>,
        sums: &mut [Vector<'ctx>],
    ) {
        let e = self.e;
        let (lanes, registers) = (e.lanes(), sums.len() / tile.pixels.len());
        let vector_bytes = lanes * group_bits(self.gemm.format) / 8;
        let (kind, width) = match self.gemm.input {
            DType::F32 => (Kind::F32, lanes),
            DType::Bf16 => (Kind::I32, lanes),
            DType::I16 => (Kind::I16, 2 * lanes),
            _ => (Kind::I8, 4 * lanes),
        };
        let load = |vector: usize| {
            let at = |group| at(e, weights, group * self.group_bytes + vector * vector_bytes);
            let load = |group| match self.gemm.format {
                Some(format) => format.row().load(e, at(group)),
                None => e.load(at(group), kind, width),
            };
            (0..joined).map(load).collect::<Vec<_>>()
        };
        let weights: Vec<_> = (0..registers).map(load).collect();
        for (pixel, sums) in tile.pixels.iter().zip(sums.chunks_mut(registers)) {
            let input = e.offset_by(input, *pixel);
            let inputs: Vec<_> = (0..joined).map(|group| self.broadcast(at(e, input, 4 * group), elements)).collect();
            for (sum, weights) in sums.iter_mut().zip(&weights) {
                let products: Vec<_> = inputs.iter().zip(weights).map(|(x, w)| [*x, *w]).collect();
                *sum = match self.gemm.input {
                    DType::F32 => products.iter().fold(*sum, |sum, [x, w]| e.accumulate(*x, *w, sum)),
                    DType::Bf16 => products.iter().fold(*sum, |sum, [x, w]| e.dot_accumulate_bf16(sum, *x, *w)),
                    DType::I16 => products.iter().fold(*sum, |sum, [x, w]| e.add(sum, e.multiply_pairs(*x, *w))),
                    input => e.dot_accumulate_joined(*sum, &products, e.target().dot.multiplies_signed(input)),
                };
            }
        }
    }

    /// Broadcasts one group of a pixel's inputs to all lanes; reads `elements` of them.
    fn broadcast(&self, input: Ptr<'ctx>, elements: usize) -> Vector<'ctx> {
        let e = self.e;
        let lanes = e.lanes();
        match self.gemm.input {
            DType::F32 => e.broadcast(input, Kind::F32, lanes),
            DType::Bf16 if elements == 1 => e.widen(e.broadcast(input, Kind::I16, lanes), Kind::I32, false),
            DType::Bf16 => e.broadcast(input, Kind::I32, lanes),
            DType::I16 => e.bits_as(e.broadcast(input, Kind::I32, lanes), Kind::I16),
            dtype => {
                let x = e.bits_as(e.broadcast(input, Kind::I32, lanes), Kind::I8);
                // Adds or subtracts 128, half the range: flips the top bit.
                let flip = e.splat_int(-128, Kind::I8, 4 * lanes);
                if e.target().dot.input_offset(dtype) == 0 { x } else { e.xor(x, flip) }
            }
        }
    }
}

fn at<'ctx>(e: &Emitter<'_, 'ctx>, pointer: Ptr<'ctx>, bytes: usize) -> Ptr<'ctx> {
    e.offset(pointer, bytes as isize)
}
