//! Searches for an order of channels that reduces the scales of the nodes that read them, by repeated exchanges.
//!
//! Each round draws an output with a large scale and a channel of the sum that causes it. It exchanges this channel
//! with the one at the best of several drawn positions, if that reduces the scales of all readers together. The random
//! generator has a fixed seed.

use super::reader::Reader;
use crate::insert_qdq::weight_scales::sum_of;

/// The limit of numbers read per group of channels: some tenths of a second.
const WORK: usize = 100_000_000;
/// The number of exchanges tried, and the number of failures in a row after which the search ends.
const DRAWS: usize = 3000;
const PATIENCE: usize = 250;
/// The number of outputs drawn, of which the one with the largest scale is taken, and the number of positions tried.
const OUTPUTS: usize = 4;
const PLACES: usize = 6;

/// Reorders the channels of a group and the inputs of the readers. Returns pairs of a channel and the channel that
/// takes its position.
pub(super) fn spread(group: &[u32], readers: &mut [&mut Reader]) -> Vec<(u32, u32)> {
    let mut now = group.to_vec();
    let work: usize = readers.iter().map(|reader| PLACES * reader.work()).sum();
    if work == 0 {
        return Vec::new();
    }
    // For each reader, the positions of the group's channels among its inputs.
    let places_of: Vec<Vec<usize>> =
        readers.iter().map(|reader| group.iter().map(|channel| reader.place(*channel)).collect()).collect();
    let (mut draw, mut room) = (Draw(0), [Vec::new(), Vec::new()]);
    let mut idle = 0;
    for _ in 0..DRAWS.min(WORK / work) {
        if idle > PATIENCE {
            break;
        }
        idle += 1;
        let drawn = draw.below(readers.len());
        let reader = &readers[drawn];
        let outputs = (0..OUTPUTS).map(|_| draw.below(reader.outputs()));
        let Some(output) = outputs.max_by(|a, b| reader.scale(*a).total_cmp(&reader.scale(*b))) else { continue };
        let sum = reader.worst(output);
        let from: Vec<usize> = (0..group.len()).filter(|at| sum_of(places_of[drawn][*at]) == sum).collect();
        if reader.scale(output) == 1.0 || from.is_empty() {
            continue;
        }
        let from = from[draw.below(from.len())];
        let mut best = (0.0, from);
        for _ in 0..PLACES {
            let to = draw.below(group.len());
            let change: f32 = readers
                .iter()
                .zip(&places_of)
                .map(|(reader, places)| reader.change(places[from], places[to], &mut room))
                .sum();
            if change < best.0 {
                best = (change, to);
            }
        }
        let (change, to) = best;
        if change < -1e-6 {
            idle = 0;
            now.swap(from, to);
            for (reader, places) in readers.iter_mut().zip(&places_of) {
                reader.exchange(places[from], places[to]);
            }
        }
    }
    group.iter().copied().zip(now).collect()
}

/// A linear congruential generator (Knuth, MMIX).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0) * end as u128) >> 64) as usize
    }
}
