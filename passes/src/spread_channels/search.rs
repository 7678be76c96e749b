//! Exchanges of channels, one after another, while they make the scales of those who read them smaller.
//!
//! An output whose scale is among the largest is drawn, and a channel of the sum that makes it so; of some other places
//! drawn, it goes where the scales of all outputs of all readers gain most. Drawn by a generator that always starts alike.

use super::reader::Reader;
use crate::insert_qdq::weight_scales::sum_of;

/// Numbers looked at for one group of channels, which keeps it to some tenths of a second.
const WORK: usize = 100_000_000;
/// Exchanges tried, and how often in a row nothing is gained before the search ends.
const DRAWS: usize = 3000;
const PATIENCE: usize = 250;
/// Outputs of which the one with the largest scale is taken, and places that a channel may go to.
const OUTPUTS: usize = 4;
const PLACES: usize = 6;

/// Orders the channels of a group, and the readers' inputs with them: each place with the channel that comes there.
pub(super) fn spread(group: &[u32], readers: &mut [&mut Reader]) -> Vec<(u32, u32)> {
    let mut now = group.to_vec();
    let work: usize = readers.iter().map(|reader| PLACES * reader.work()).sum();
    if work == 0 {
        return Vec::new();
    }
    // Where each reader has the places of the group, and which of these its places are.
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
