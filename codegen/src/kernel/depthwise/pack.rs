//! Packing for depthwise convolutions: weights tap by tap, with adjacent channels.

use super::pairs;
use crate::target::Target;

/// Packs float weights of a depthwise convolution as `[column][row][channels padded to vectors]`. `weight` takes a
/// channel, and a row and column of the window, whose extents are `window`. Returns the weights and the initial values
/// of the accumulators.
pub(crate) fn floats(
    target: &Target,
    weight: &dyn Fn(usize, [usize; 2]) -> f32,
    channels: usize,
    window: [usize; 2],
    sums: &[f32],
) -> (Vec<u8>, Vec<u8>) {
    let [rows, columns] = window;
    let padded = channels.next_multiple_of(target.lanes());
    let at = |c: usize, y: usize, x: usize| if c < channels { weight(c, [y, x]) } else { 0.0 };
    let taps = (0..columns).flat_map(|x| (0..rows).map(move |y| (y, x)));
    let packed = taps.flat_map(|(y, x)| (0..padded).flat_map(move |c| at(c, y, x).to_le_bytes())).collect();
    let sum = |c: usize| sums.get(c).copied().unwrap_or(0.0);
    (packed, (0..padded).flat_map(|c| sum(c).to_le_bytes()).collect())
}

/// The registers of channels that a depthwise convolution of bytes computes together, with the number of such blocks,
/// from the first channel on. Less than one register of channels remains. A register of bytes widens to four. Windows
/// of more than three columns need registers for more pixels, so with 16 registers only two are used.
pub(crate) fn blocks(target: &Target, channels: usize, columns: usize) -> [(usize, usize); 2] {
    let registers = if columns > 3 && target.vector_registers <= 16 { 2 } else { 4 };
    let all = channels / target.lanes();
    [(registers, all / registers), (1, all % registers)]
}

/// The channel of each lane after bytes were widened to `registers` registers by instructions that interleave within
/// 128 bits.
pub(crate) fn interleaved(lanes: usize, registers: usize) -> Vec<usize> {
    let channel = |at: usize| at % lanes / 4 * 4 * registers + at / lanes * 4 + at % 4;
    (0..registers * lanes).map(channel).collect()
}

/// Packs integer weights of a depthwise convolution, with zero points subtracted, as i16:
/// `[pair of taps][channels padded to vectors][2]`. `weight` takes a channel, and a row and column. A single tap is
/// paired with zero. The channels of a block have the order [`interleaved`]. Returns the weights and the initial values
/// of the accumulators.
pub(crate) fn integers(
    target: &Target,
    weight: &dyn Fn(usize, [usize; 2]) -> i32,
    channels: usize,
    window: [usize; 2],
    sums: &[i64],
) -> (Vec<u8>, Vec<u8>) {
    let [_, columns] = window;
    let lanes = target.lanes();
    let mut padded = Vec::new();
    for (registers, count) in blocks(target, channels, columns) {
        let order = interleaved(lanes, registers);
        (0..count).for_each(|_| padded.extend(order.iter().map(|c| c + padded.len()).collect::<Vec<_>>()));
    }
    padded.extend(padded.len()..channels.next_multiple_of(lanes));
    let at = |c: usize, tap: [usize; 2]| if c < channels { weight(c, tap) as i16 } else { 0 };
    let both = |c, [a, b]: [[usize; 2]; 2]| [at(c, a), if a == b { 0 } else { at(c, b) }];
    let pairs = pairs(window);
    let packed = pairs.iter().flat_map(|pair| padded.iter().flat_map(|c| both(*c, *pair))).flat_map(i16::to_le_bytes);
    let sum = |c: &usize| sums.get(*c).copied().unwrap_or(0) as i32;
    (packed.collect(), padded.iter().flat_map(|c| sum(c).to_le_bytes()).collect())
}
