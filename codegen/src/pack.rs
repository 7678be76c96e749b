//! Packing: constant weights in the order and form in which kernels read them.
//!
//! Integer weights come as numbers less their zero points, -255 to 255. Eight bits hold most of them; what they cannot
//! hold, and what would make a sum of two products saturate ([`DotRule::pair_limit`]), is split off into *extra* groups that multiply the same inputs once
//! more. So sums are exact for all weights on every target, and the inner loop knows nothing of it.
//!
//! On targets with such a limit, two neighbouring groups can be *joined*: their 16-bit sums are added before they
//! become 32 bits, which is five instructions instead of six, if what is left of the weights keeps that sum within 16 bits
//! too. Each product of matrices is packed in the way that takes fewer instructions, extra groups counted.
//!
//! Inputs may be bytes that lie in *words* of 16 bits. These need no extra groups, but a vector holds half as many: see
//! [`words_pay`].

use std::ops::Range;

use eightfold_ir::DType;
use half::bf16;

mod depthwise;
mod winograd;

pub use depthwise::{depthwise_blocks, depthwise_f32, depthwise_int, interleaved};
pub use winograd::winograd_weights;

use crate::program::{Run, Tile};
use crate::target::{DotRule, Target};

/// Packed weights and initial sums of a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// `[block of nr channels][group of kr elements, runs one after the other][nr][kr]`, of the input's type, signed; behind each block its
    /// extra groups, `[vector of channels][extra group][lanes][kr]`.
    pub weights: Vec<u8>,
    /// `[channels rounded up to whole blocks]`, i32 or f32.
    pub sums: Vec<u8>,
    /// For each vector of channels, the input element that each of its extra groups starts at, counted from the pixel's
    /// first. A vector has them to itself: those of a whole block would mostly multiply zeros.
    pub extra: Vec<Vec<isize>>,
    /// Whether neighbouring groups are joined.
    pub joined: bool,
}

impl Packed {
    /// The same for blocks of `to` channels instead of `from`; `n` channels there are, `groups` in all runs of one.
    #[must_use]
    pub fn regrouped(&self, target: &Target, n: usize, groups: usize, from: usize, to: usize) -> Packed {
        let lanes = target.lanes();
        // Each lane has four bytes of a group, whatever the type.
        let piece = 4 * lanes;
        let (from, to) = (from / lanes, to / lanes);
        let extras = |vector: usize| self.extra.get(vector).map_or(0, Vec::len);
        let starts: Vec<usize> = (0..n.div_ceil(from * lanes))
            .scan(0, |start, block| {
                let extra: usize = (block * from..(block + 1) * from).map(extras).sum();
                Some(std::mem::replace(start, *start + (from * groups + extra) * piece))
            })
            .collect();
        let vectors = n.div_ceil(lanes);
        let mut regrouped = Packed {
            weights: Vec::with_capacity(self.weights.len()),
            sums: self.sums.clone(),
            extra: Vec::new(),
            joined: self.joined,
        };
        let take =
            |weights: &mut Vec<u8>, at: usize, count: usize| weights.extend(&self.weights[at..][..count * piece]);
        for block in 0..vectors.div_ceil(to) {
            let members = block * to..(block + 1) * to;
            for group in 0..groups {
                for vector in members.clone() {
                    match vector < vectors {
                        true => take(
                            &mut regrouped.weights,
                            starts[vector / from] + (group * from + vector % from) * piece,
                            1,
                        ),
                        false => regrouped.weights.resize(regrouped.weights.len() + piece, 0),
                    }
                }
            }
            for vector in members.take_while(|vector| *vector < vectors) {
                let before: usize = (vector - vector % from..vector).map(extras).sum();
                take(&mut regrouped.weights, starts[vector / from] + (from * groups + before) * piece, extras(vector));
            }
        }
        let padded = vectors.next_multiple_of(to);
        regrouped.sums.resize(padded * piece, 0);
        if !self.extra.is_empty() {
            regrouped.extra.clone_from(&self.extra);
            regrouped.extra.resize(padded, Vec::new());
        }
        regrouped
    }
}

/// Elements that one 32-bit lane of an integer product takes.
const GROUP: usize = 4;

/// Packs integer weights for inputs of bytes; `weight(channel, run, element)` is one number, `sums` the initial sums.
#[must_use]
pub fn gemm_int(
    target: &Target,
    tile: Tile,
    n: usize,
    runs: &[Run],
    weight: &dyn Fn(usize, usize, usize) -> i32,
    sums: &[i64],
) -> Packed {
    let Bytes { weights, extra, joined, .. } = bytes(target, tile, n, runs, weight);
    Packed { weights, sums: int_sums(tile, n, sums), extra, joined }
}

/// Packs integer weights for inputs of words, two of a run together: 16 bits hold all of them.
#[must_use]
pub fn gemm_words(
    tile: Tile,
    n: usize,
    runs: &[Run],
    weight: &dyn Fn(usize, usize, usize) -> i32,
    sums: &[i64],
) -> Packed {
    let weights = in_groups(tile, n, runs, &|o, r, e| (weight(o, r, e) as i16).to_le_bytes()).into_flattened();
    Packed { weights, sums: int_sums(tile, n, sums), extra: Vec::new(), joined: false }
}

/// Whether a product takes fewer instructions with inputs of words than with inputs of bytes, which have twice the room in
/// a vector, but may want [extra](Packed::extra) groups.
#[must_use]
pub fn words_pay(target: &Target, n: usize, runs: &[Run], weight: &dyn Fn(usize, usize, usize) -> i32) -> bool {
    if target.dot.pair_limit.is_none() {
        return false;
    }
    let tile = Tile { mr: 1, nr: target.lanes(), kr: GROUP };
    // A product and a sum.
    let words: usize = runs.iter().map(|run| 2 * run.length.div_ceil(GROUP / 2)).sum();
    words * n.div_ceil(tile.nr) < bytes(target, tile, n, runs, weight).instructions
}

/// The initial sums of whole blocks.
fn int_sums(tile: Tile, n: usize, sums: &[i64]) -> Vec<u8> {
    let sum = |channel: usize| sums.get(channel).copied().unwrap_or(0) as i32;
    (0..n.next_multiple_of(tile.nr)).flat_map(|channel| sum(channel).to_le_bytes()).collect()
}

/// Weights for inputs of bytes, in the way that takes the fewest instructions.
struct Bytes {
    weights: Vec<u8>,
    extra: Vec<Vec<isize>>,
    joined: bool,
    /// Instructions for all channels of a pixel.
    instructions: usize,
}

fn bytes(target: &Target, tile: Tile, n: usize, runs: &[Run], weight: &dyn Fn(usize, usize, usize) -> i32) -> Bytes {
    let [pairs, singles] = runs.iter().fold([0, 0], |[pairs, singles], run| {
        let groups = run.length.div_ceil(GROUP);
        [pairs + groups / 2, singles + groups % 2]
    });
    let way = |joined: bool| {
        let (weights, extra) = groups_int(target, tile, n, runs, weight, if joined { 2 } else { 1 });
        let pair = if joined { 5 } else { 6 };
        // An extra group is of one vector, which makes a third more of loads and loops.
        let extra_groups: usize = extra.iter().map(Vec::len).sum();
        let instructions = extra.len() * (pair * pairs + 3 * singles) + 4 * extra_groups;
        Bytes { weights, extra, joined, instructions }
    };
    let apart = way(false);
    if target.dot.pair_limit.is_some() && !apart.extra.is_empty() {
        let joined = way(true);
        if joined.instructions < apart.instructions {
            return joined;
        }
    }
    apart
}

/// The groups of all blocks, and the extra groups that each vector of channels has, with `joined` groups of a run, 1 or 2,
/// added in 16 bits.
fn groups_int(
    target: &Target,
    tile: Tile,
    n: usize,
    runs: &[Run],
    weight: &dyn Fn(usize, usize, usize) -> i32,
    joined: usize,
) -> (Vec<u8>, Vec<Vec<isize>>) {
    let blocks = n.div_ceil(tile.nr);
    let lanes = target.lanes();
    let mut weights = Vec::new();
    let mut extra = vec![Vec::new(); blocks * tile.nr / lanes];
    for block in 0..blocks {
        let first_vector = block * tile.nr / lanes;
        let mut extra_bytes = vec![Vec::new(); tile.nr / lanes];
        for (r, run) in runs.iter().enumerate() {
            for first in (0..run.length).step_by(GROUP * joined) {
                let starts: Vec<usize> = (first..run.length).step_by(GROUP).take(joined).collect();
                let mut bytes = vec![Vec::new(); starts.len()];
                for (vector, extra_bytes) in extra_bytes.iter_mut().enumerate() {
                    let channel = block * tile.nr + vector * lanes;
                    let at = |o: usize, e: usize| if o < n && e < run.length { weight(o, r, e) } else { 0 };
                    let group = |first: &usize| {
                        (channel..channel + lanes).map(|o| std::array::from_fn(|e| at(o, first + e))).collect()
                    };
                    let mut rest: Vec<Group> = starts.iter().map(group).collect();
                    let held = hold(target.dot, &mut rest);
                    bytes.iter_mut().zip(held).for_each(|(bytes, held)| bytes.extend(held));
                    for (first, mut rest) in starts.iter().zip(rest) {
                        while rest.iter().flatten().any(|w| *w != 0) {
                            extra[first_vector + vector].push(run.offset + *first as isize);
                            extra_bytes.extend(hold(target.dot, std::slice::from_mut(&mut rest)).concat());
                        }
                    }
                }
                weights.extend(bytes.into_iter().flatten());
            }
        }
        weights.extend(extra_bytes.into_iter().flatten());
    }
    (weights, extra)
}

/// The weights of one group for each lane of a vector.
type Group = Vec<[i32; GROUP]>;

/// Takes from joined groups what one product of the target for each holds, as bytes.
fn hold(dot: DotRule, rest: &mut [Group]) -> Vec<Vec<u8>> {
    let eight_bits = |group: &Group| group.iter().map(|lane| lane.map(|w| w.clamp(-128, 127))).collect();
    let mut held: Vec<Group> = rest.iter().map(eight_bits).collect();
    let limit = dot.pair_limit.unwrap_or(i32::MAX);
    if (0..held[0].len()).any(|lane| excess(&held, lane, limit).is_some()) {
        // If one group can give up all that is too much, the others need no extra group.
        let giver = (0..held.len()).find_map(|giver| {
            let mut held = held.clone();
            (0..held[0].len()).all(|lane| fit(&mut held, lane, limit, giver..giver + 1)).then_some(held)
        });
        held = giver.unwrap_or_else(|| {
            (0..held[0].len())
                .for_each(|lane| assert!(fit(&mut held, lane, limit, 0..rest.len()), "all can be given up"));
            held
        });
    }
    for (rest, held) in rest.iter_mut().flatten().flatten().zip(held.iter().flatten().flatten()) {
        *rest -= held;
    }
    held.iter().map(|group| group.iter().flatten().map(|w| *w as i8 as u8).collect()).collect()
}

/// By how much a lane's weights of one sign exceed the limit: which half of its elements, which sign, and how much.
fn excess(groups: &[Group], lane: usize, limit: i32) -> Option<(Range<usize>, i32, i32)> {
    let sums = [0..2, 2..4].into_iter().flat_map(|half| [(half.clone(), 1), (half, -1)]);
    let mut over = sums.map(|(half, sign)| {
        let weights = groups.iter().flat_map(|group| &group[lane][half.clone()]);
        let sum: i32 = weights.map(|w| (sign * w).max(0)).sum();
        (half, sign, sum - limit)
    });
    over.find(|(.., over)| *over > 0)
}

/// Takes from a lane's weights in these groups, the greatest first, until the limit holds; whether it does.
fn fit(groups: &mut [Group], lane: usize, limit: i32, givers: Range<usize>) -> bool {
    while let Some((half, sign, over)) = excess(groups, lane, limit) {
        let weights = groups[givers.clone()].iter_mut().flat_map(|group| &mut group[lane][half.clone()]);
        match weights.max_by_key(|w| sign * **w) {
            Some(greatest) if sign * *greatest > 0 => *greatest -= sign * over.min(sign * *greatest),
            _ => return false,
        }
    }
    true
}

/// Packs float weights of this type; sums are f32.
#[must_use]
pub fn gemm_float(
    dtype: DType,
    tile: Tile,
    n: usize,
    runs: &[Run],
    weight: &dyn Fn(usize, usize, usize) -> f32,
    sums: &[f32],
) -> Packed {
    let weights = match dtype {
        DType::Bf16 => {
            in_groups(tile, n, runs, &|o, r, e| bf16::from_f32(weight(o, r, e)).to_le_bytes()).into_flattened()
        }
        _ => in_groups(tile, n, runs, &|o, r, e| weight(o, r, e).to_le_bytes()).into_flattened(),
    };
    let sum = |channel: usize| sums.get(channel).copied().unwrap_or(0.0);
    let sums = (0..n.next_multiple_of(tile.nr)).flat_map(|channel| sum(channel).to_le_bytes()).collect();
    Packed { weights, sums, extra: Vec::new(), joined: false }
}

/// The bytes of weights that a lane holds as they are, `tile.kr` of a run together, the last ones of a run with zeros.
fn in_groups<const N: usize>(
    tile: Tile,
    n: usize,
    runs: &[Run],
    weight: &dyn Fn(usize, usize, usize) -> [u8; N],
) -> Vec<[u8; N]> {
    let groups: usize = runs.iter().map(|run| run.length.div_ceil(tile.kr)).sum();
    let mut weights = Vec::with_capacity(n.next_multiple_of(tile.nr) * groups * tile.kr);
    for block in (0..n).step_by(tile.nr) {
        let groups = runs.iter().enumerate().flat_map(|(r, run)| (0..run.length).step_by(tile.kr).map(move |e| (r, e)));
        for (r, first) in groups {
            for channel in block..block + tile.nr {
                let held = |element| channel < n && element < runs[r].length;
                let at = |element| if held(element) { weight(channel, r, element) } else { [0; N] };
                weights.extend((first..first + tile.kr).map(at));
            }
        }
    }
    weights
}

/// The usual tile for rows of `cols` pixels and `n` channels: as many sums as the registers hold.
#[must_use]
pub fn choose_tile(target: &Target, input: DType, cols: usize, n: usize) -> Tile {
    let lanes = target.lanes();
    // As many elements as a lane of 32 bits holds.
    let kr = GROUP / input.byte_size();
    // Accumulators, weights, a broadcast and what the product needs besides must fit the registers.
    let (mr, vectors) = match (target.vector_registers, input) {
        // A lone pixel reads each weight once: what counts is that many loads and sums are under way.
        _ if cols == 1 => (1, 8),
        // Without products of bf16, weights are taken apart into twice as many registers.
        (32, DType::Bf16) if !target.bf16 => (12, 2),
        (32, ..) => (14, 2),
        (_, DType::Bf16) => (4, 2),
        (_, DType::F32 | DType::I16) => (6, 2),
        (registers, _) if 6 * 2 + 2 + 1 + target.dot.temporaries <= registers => (6, 2),
        _ => (4, 2),
    };
    Tile { mr, nr: lanes * vectors.min(n.div_ceil(lanes).max(1)), kr }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of any width hold the same, and whatever way they were reached.
    #[test]
    fn regrouped_is_packed_that_way() {
        let runs = [Run { offset: 0, length: 6 }, Run { offset: 100, length: 5 }];
        let weight = |o: usize, r: usize, e: usize| ((o * 131 + r * 57 + e * 83) % 511) as i32 - 255;
        for target in crate::target::TARGETS {
            let lanes = target.lanes();
            for n in [1, lanes, 2 * lanes + 1, 5 * lanes] {
                let sums = vec![7; n];
                let wide = |vectors: usize| lanes * vectors;
                let int =
                    |vectors| gemm_int(target, Tile { mr: 4, nr: wide(vectors), kr: 4 }, n, &runs, &weight, &sums);
                let float = |vectors| {
                    let weight = |o: usize, r: usize, e: usize| weight(o, r, e) as f32;
                    gemm_float(DType::F32, Tile { mr: 4, nr: wide(vectors), kr: 1 }, n, &runs, &weight, &vec![7.0; n])
                };
                for (from, to) in [(1, 1), (1, 3), (3, 1), (2, 4), (4, 3), (8, 2)] {
                    assert_eq!(int(from).regrouped(target, n, 4, wide(from), wide(to)), int(to), "{n} {from} {to}");
                    assert_eq!(
                        float(from).regrouped(target, n, 11, wide(from), wide(to)),
                        float(to),
                        "{n} {from} {to}"
                    );
                }
            }
        }
    }

    /// Words pay for weights of the whole range, where these take extra groups.
    #[test]
    fn words_are_for_weights_that_bytes_cannot_multiply_at_once() {
        let runs = vec![Run { offset: 0, length: 21 }; 7];
        let below =
            |most: i32| move |o: usize, r: usize, e: usize| (o * 131 + r * 57 + e * 83) as i32 % (2 * most) - most;
        for target in crate::target::TARGETS {
            let pay = |most| words_pay(target, 64, &runs, &below(most));
            assert_eq!([pay(128), pay(30)], [target.dot.pair_limit.is_some(), false], "{}", target.name);
        }
    }

    /// Sums of products over the packed form equal those over the weights, for inputs of 255, and no pair saturates.
    #[test]
    fn extra_groups_hold_what_eight_bits_cannot() {
        let runs = [Run { offset: 0, length: 6 }, Run { offset: 100, length: 5 }];
        let weight = |o: usize, r: usize, e: usize| ((o * 131 + r * 57 + e * 83) % 511) as i32 - 255;
        for (target, joined) in crate::target::TARGETS.iter().flat_map(|target| [(target, 1), (target, 2)]) {
            let tile = Tile { mr: 4, nr: 16, kr: 4 };
            let (weights, extra) = groups_int(target, tile, 20, &runs, &weight, joined);
            let (lanes, vectors) = (target.lanes(), 16 / target.lanes());
            assert_eq!(extra.len(), 2 * vectors);
            let groups: usize = extra.iter().map(Vec::len).sum();
            assert_eq!(weights.len(), 2 * 4 * 16 * 4 + groups * lanes * 4);
            for (o, r) in (0..20).flat_map(|o| [(o, 0), (o, 1)]) {
                // Bytes before the block, before the extra groups of the block and before those of the vector.
                let (block, vector) = (o / 16, o / lanes);
                let extras =
                    |vectors: std::ops::Range<usize>| extra[vectors].iter().map(|e| e.len() * lanes * 4).sum::<usize>();
                let start = block * 4 * 16 * 4 + extras(0..block * vectors);
                let first_extra = start + 4 * 16 * 4 + extras(block * vectors..vector);
                let at = |at: usize| i32::from(weights[at] as i8);
                for e in 0..runs[r].length {
                    let mut sum = at(start + ((r * 2 + e / 4) * 16 + o % 16) * 4 + e % 4);
                    for (x, offset) in extra[vector].iter().enumerate() {
                        if *offset == runs[r].offset + (e / 4 * 4) as isize {
                            sum += at(first_extra + (x * lanes + o % lanes) * 4 + e % 4);
                        }
                    }
                    assert_eq!(sum, weight(o, r, e), "{} channel {o} run {r} element {e}", target.name);
                }
            }
            if target.dot.pair_limit.is_some() {
                for pair in weights.chunks_exact(2) {
                    let (a, b) = (i32::from(pair[0] as i8), i32::from(pair[1] as i8));
                    assert!((255 * (a + b)).abs() <= 32767, "{a} {b}");
                }
            }
            if target.dot.pair_limit.is_some() && joined == 2 {
                // Both groups of each run in the first block.
                for (run, lane, half, sign) in
                    (0..2 * 16 * 4).map(|i| (i / 64, i / 4 % 16, i / 2 % 2, if i % 2 == 0 { 1 } else { -1 }))
                {
                    let four = [0, 1].map(|group| &weights[((run * 2 + group) * 16 + lane) * 4 + 2 * half..][..2]);
                    let sum: i32 = four.concat().iter().map(|w| (sign * i32::from(*w as i8)).max(0)).sum();
                    assert!(255 * sum <= 32767, "run {run} lane {lane} half {half}: {sum}");
                }
            }
        }
    }
}
