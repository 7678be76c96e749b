//! Packing of products: constant weights in the order and form in which the kernel reads them.
//!
//! Integer weights have their zero points subtracted already and range from -255 to 255. Eight bits hold most of them.
//! The rest, and weights whose pairs of products would saturate ([`DotRule::pair_limit`]), are split: the remainder
//! goes into *extra* groups, which multiply the same inputs once more. So accumulators are exact for all weights on
//! every target, and the inner loop needs no special case.
//!
//! On targets with a pair limit, two neighbouring groups can be *joined*: their products are added in 16 bits before they
//! are widened to 32 bits, which takes fewer instructions. Joining needs smaller weights, so it may need more extra
//! groups. Each product is packed in the way that takes fewer instructions, including extra groups.
//!
//! Inputs may be bytes stored as *words* of 16 bits. Words need no extra groups, but a vector holds half as many: see
//! [`words_pay`].

use std::ops::Range;

use eightfold_ir::DType;
use half::bf16;

use super::format::Format;
use super::{Run, Tile};
use crate::kernel::plain::Packed;
use crate::target::{DotRule, InputSigns, Target};

/// Elements that one 32-bit lane of an integer product takes.
const GROUP: usize = 4;

/// Packs integer weights for inputs of bytes. `weight(channel, run, element)` returns one weight; `sums` are the
/// initial values of the accumulators; `joined` is the result of [`fit`].
pub(crate) fn integers(
    target: &Target,
    tile: Tile,
    n: usize,
    runs: &[Run],
    weight: &dyn Fn(usize, usize, usize) -> i32,
    sums: &[i64],
    joined: bool,
) -> Packed {
    let (weights, extra) = groups_int(target, tile, n, runs, weight, if joined { 2 } else { 1 });
    Packed { weights, sums: int_sums(tile, n, sums), extra }
}

/// Packs integer weights for inputs of words, two elements of a run per lane: 16 bits hold every weight.
pub(crate) fn words(
    tile: Tile,
    n: usize,
    runs: &[Run],
    weight: &dyn Fn(usize, usize, usize) -> i32,
    sums: &[i64],
) -> Packed {
    let weights = in_groups(tile, n, runs, &|o, r, e| (weight(o, r, e) as i16).to_le_bytes()).into_flattened();
    Packed { weights, sums: int_sums(tile, n, sums), extra: Vec::new() }
}

/// Whether a product takes fewer instructions with inputs of words than with inputs of bytes. A vector holds twice as
/// many bytes, but bytes may need [extra](Packed::extra) groups.
pub(crate) fn words_pay(target: &Target, n: usize, runs: &[Run], weight: &dyn Fn(usize, usize, usize) -> i32) -> bool {
    if target.dot.pair_limit.is_none() {
        return false;
    }
    let words: usize = runs.iter().map(|run| target.dot.words * run.length.div_ceil(GROUP / 2)).sum();
    words * n.div_ceil(target.lanes()) < Way::best(target, n, runs, weight).instructions
}

/// The initial accumulators, padded to whole blocks.
fn int_sums(tile: Tile, n: usize, sums: &[i64]) -> Vec<u8> {
    let sum = |channel: usize| sums.get(channel).copied().unwrap_or(0) as i32;
    (0..n.next_multiple_of(tile.nr)).flat_map(|channel| sum(channel).to_le_bytes()).collect()
}

/// The extra groups of each vector of channels, and whether neighbouring groups are joined, for the way that takes the
/// fewest instructions.
pub(crate) fn fit(
    target: &Target,
    n: usize,
    runs: &[Run],
    weight: &dyn Fn(usize, usize, usize) -> i32,
) -> (Vec<Vec<isize>>, bool) {
    let Way { extra, joined, .. } = Way::best(target, n, runs, weight);
    (extra, joined)
}

/// A way to multiply inputs of bytes, with its cost.
struct Way {
    extra: Vec<Vec<isize>>,
    joined: bool,
    /// Instructions per pixel, for all channels.
    instructions: usize,
}

impl Way {
    /// The way with or without joined groups; `most` is the largest magnitude of a weight.
    fn of(
        target: &Target,
        n: usize,
        runs: &[Run],
        weight: &dyn Fn(usize, usize, usize) -> i32,
        most: i32,
        joined: bool,
    ) -> Way {
        let [pairs, singles] = runs.iter().fold([0, 0], |[pairs, singles], run| {
            let groups = run.length.div_ceil(GROUP);
            [pairs + groups / 2, singles + groups % 2]
        });
        let together = if joined { 2 } else { 1 };
        // If even the largest weights cannot exceed the limit, no group needs to be examined.
        let all_fit = most <= 127 && target.dot.pair_limit.is_none_or(|limit| 2 * together * most <= limit);
        let tile = Tile { mr: 1, nr: target.lanes(), kr: GROUP };
        let extra = match all_fit {
            true => vec![Vec::new(); n.div_ceil(tile.nr)],
            false => groups_int(target, tile, n, runs, weight, together as usize).1,
        };
        let single = target.dot.instructions(1);
        let pair = if joined { target.dot.instructions(2) } else { 2 * single };
        // An extra group serves one vector only: loads and loops take about one instruction more.
        let extra_groups: usize = extra.iter().map(Vec::len).sum();
        let instructions = extra.len() * (pair * pairs + single * singles) + (single + 1) * extra_groups;
        Way { extra, joined, instructions }
    }

    fn best(target: &Target, n: usize, runs: &[Run], weight: &dyn Fn(usize, usize, usize) -> i32) -> Way {
        let elements = || runs.iter().enumerate().flat_map(|(r, run)| (0..run.length).map(move |e| (r, e)));
        let most = (0..n).flat_map(|o| elements().map(move |(r, e)| weight(o, r, e).abs())).max().unwrap_or(0);
        let way = |joined: bool| Way::of(target, n, runs, weight, most, joined);
        let apart = way(false);
        if target.dot.pair_limit.is_none() {
            return apart;
        }
        let joined = way(true);
        if joined.instructions < apart.instructions { joined } else { apart }
    }
}

/// Packs the groups of all blocks; returns the weights and the extra groups of each vector. `joined`, 1 or 2, is the
/// number of groups of a run that are added in 16 bits.
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

/// Splits off from joined groups the weights that one product per group can hold, as bytes. `rest` keeps the remainder.
fn hold(dot: DotRule, rest: &mut [Group]) -> Vec<Vec<u8>> {
    let eight_bits = |group: &Group| group.iter().map(|lane| lane.map(|w| w.clamp(-128, 127))).collect();
    let mut held: Vec<Group> = rest.iter().map(eight_bits).collect();
    if (0..held[0].len()).any(|lane| excess(dot, &held, lane).is_some()) {
        // If one group alone can absorb the excess, the others need no extra group.
        let giver = (0..held.len()).find_map(|giver| {
            let mut held = held.clone();
            (0..held[0].len()).all(|lane| give_up(dot, &mut held, lane, giver..giver + 1)).then_some(held)
        });
        held = giver.unwrap_or_else(|| {
            (0..held[0].len())
                .for_each(|lane| assert!(give_up(dot, &mut held, lane, 0..rest.len()), "all can be given up"));
            held
        });
    }
    for (rest, held) in rest.iter_mut().flatten().flatten().zip(held.iter().flatten().flatten()) {
        *rest -= held;
    }
    held.iter().map(|group| group.iter().flatten().map(|w| *w as i8 as u8).collect()).collect()
}

/// The weights whose sum the pair limit bounds.
#[derive(Clone, Copy)]
enum Signs {
    Positive,
    Negative,
    All,
}

impl Signs {
    /// The sums that inputs of the rule can reach: unsigned ones add weights of one sign, signed ones all magnitudes.
    fn of(dot: DotRule) -> &'static [Signs] {
        match dot.inputs {
            InputSigns::Unsigned => &[Signs::Positive, Signs::Negative],
            InputSigns::Signed | InputSigns::Both => &[Signs::All],
        }
    }

    /// The magnitude of a weight of these signs; 0 for others.
    fn magnitude(self, weight: i32) -> i32 {
        match self {
            Signs::Positive => weight.max(0),
            Signs::Negative => (-weight).max(0),
            Signs::All => weight.abs(),
        }
    }
}

/// The first excess of a lane's weights over the limit: the half of its elements, the signs, and the amount.
fn excess(dot: DotRule, groups: &[Group], lane: usize) -> Option<(Range<usize>, Signs, i32)> {
    let limit = dot.pair_limit?;
    let sums = [0..2, 2..4].into_iter().flat_map(|half| Signs::of(dot).iter().map(move |signs| (half.clone(), *signs)));
    let mut over = sums.map(|(half, signs)| {
        let weights = groups.iter().flat_map(|group| &group[lane][half.clone()]);
        let sum: i32 = weights.map(|w| signs.magnitude(*w)).sum();
        (half, signs, sum - limit)
    });
    over.find(|(.., over)| *over > 0)
}

/// Reduces the lane's weights in the groups `givers`, largest first, until the limit holds. Returns whether it does.
fn give_up(dot: DotRule, groups: &mut [Group], lane: usize, givers: Range<usize>) -> bool {
    while let Some((half, signs, over)) = excess(dot, groups, lane) {
        let weights = groups[givers.clone()].iter_mut().flat_map(|group| &mut group[lane][half.clone()]);
        match weights.max_by_key(|w| signs.magnitude(**w)) {
            Some(greatest) if signs.magnitude(*greatest) > 0 => {
                *greatest -= greatest.signum() * over.min(signs.magnitude(*greatest));
            }
            _ => return false,
        }
    }
    true
}

/// Packs float weights of this type; accumulators are f32.
pub(crate) fn floats(
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
    Packed { weights, sums: float_sums(tile, n, sums), extra: Vec::new() }
}

/// The initial accumulators, padded to whole blocks.
fn float_sums(tile: Tile, n: usize, sums: &[f32]) -> Vec<u8> {
    let sum = |channel: usize| sums.get(channel).copied().unwrap_or(0.0);
    (0..n.next_multiple_of(tile.nr)).flat_map(|channel| sum(channel).to_le_bytes()).collect()
}

/// Packs integer weights in this format, a vector of `lanes` channels at a time, for products with f32; accumulators
/// are f32.
pub(crate) fn formatted(
    format: Format,
    lanes: usize,
    tile: Tile,
    n: usize,
    runs: &[Run],
    weight: &dyn Fn(usize, usize, usize) -> i32,
    sums: &[f32],
) -> Packed {
    let mut weights = Vec::new();
    for block in (0..n).step_by(tile.nr) {
        for (r, element) in runs.iter().enumerate().flat_map(|(r, run)| (0..run.length).map(move |e| (r, e))) {
            for first in (block..block + tile.nr).step_by(lanes) {
                let channel = |o: usize| if o < n { weight(o, r, element) } else { 0 };
                let vector: Vec<i32> = (first..first + lanes).map(channel).collect();
                format.row().pack(&vector, &mut weights);
            }
        }
    }
    Packed { weights, sums: float_sums(tile, n, sums), extra: Vec::new() }
}

/// Packs unchanged weights, `tile.kr` elements of a run per lane. The end of a run is padded with zeros.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Small weights fit without an examination of each group.
    #[test]
    fn weights_that_fit_side_by_side_need_no_extra_groups() {
        let runs = [Run { offset: 0, length: 21 }, Run { offset: 64, length: 8 }];
        for target in crate::target::TARGETS {
            for most in [16, 31, 32, 33, 63, 64, 65, 127, 128] {
                let weight = |o: usize, r: usize, e: usize| if (o + r + e).is_multiple_of(3) { -most } else { most };
                for joined in [1, 2] {
                    let tile = Tile { mr: 1, nr: target.lanes(), kr: GROUP };
                    let (_, looked_at) = groups_int(target, tile, 20, &runs, &weight, joined);
                    let way = Way::of(target, 20, &runs, &weight, most, joined == 2);
                    assert_eq!(way.extra, looked_at, "{} {most} {joined}", target.name);
                }
            }
        }
    }

    /// Words pay for weights of the whole range, because bytes would take extra groups.
    #[test]
    fn words_are_for_weights_that_bytes_cannot_multiply_at_once() {
        let runs = vec![Run { offset: 0, length: 21 }; 7];
        let below =
            |most: i32| move |o: usize, r: usize, e: usize| (o * 131 + r * 57 + e * 83) as i32 % (2 * most) - most;
        for target in crate::target::TARGETS {
            let pay = |most| words_pay(target, 64, &runs, &below(most));
            let gains = target.dot == DotRule::PMADDUBSW;
            assert_eq!([pay(128), pay(30)], [gains, false], "{}", target.name);
        }
    }

    /// Reductions over packed weights equal those over plain weights, for inputs of 255, and no pair saturates.
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
                // Bytes before the block, before its extra groups, and before the vector's extra groups.
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
            // The greatest magnitude that a sum of products reaches, for inputs of the rule.
            let greatest = |weights: &[u8]| {
                let of = |signs: Signs| weights.iter().map(|w| signs.magnitude(i32::from(*w as i8))).sum::<i32>();
                let input = if target.dot.inputs == InputSigns::Unsigned { 255 } else { 128 };
                input * Signs::of(target.dot).iter().map(|signs| of(*signs)).max().expect("some signs")
            };
            if target.dot.pair_limit.is_some() {
                for pair in weights.chunks_exact(2) {
                    assert!(greatest(pair) <= 32767, "{} {pair:?}", target.name);
                }
            }
            if target.dot.pair_limit.is_some() && joined == 2 {
                // Checks both groups of each run of the first block.
                for (run, lane, half) in (0..2 * 16 * 2).map(|i| (i / 32, i / 2 % 16, i % 2)) {
                    let four = [0, 1].map(|group| &weights[((run * 2 + group) * 16 + lane) * 4 + 2 * half..][..2]);
                    assert!(greatest(&four.concat()) <= 32767, "{} run {run} lane {lane} half {half}", target.name);
                }
            }
        }
    }
}
