//! Chooses the order of one group of channels.
//!
//! Joins channels to pairs, pairs to groups of [`GROUP`] inputs, and these to vectors of outputs. Each time it joins
//! the two units that cost the fewest extra groups. Nodes that read the channels count while units are at most a group.
//! Nodes that compute the channels count while units are at most a vector.

use std::collections::BTreeMap;

use super::matching::{Costs, pairs};
use super::places::Places;
use super::products::{GROUP, Product};
use crate::order::Channels;

/// The greatest number of channels. Time and memory are quadratic in it.
const MOST: usize = 4096;

/// Reorders the channels of `group` if that reduces the number of extra groups.
pub(crate) fn arrange(group: &[u32], products: &[Product], channels: &mut Channels) {
    if group.len() > MOST {
        return;
    }
    let (mut reads, mut makes) = (Vec::new(), Vec::new());
    for product in products {
        let on = |axis| channels.on(product.weights, axis).contains(&group[0]);
        reads.extend(on(product.input_axis).then_some(product));
        makes.extend(on(product.output_axis).then_some(product));
    }
    // Blocks are aligned to the axis of the most expensive node.
    let stake = |product: &&&Product| product.pixels * product.groups() as u64;
    let home = match (reads.iter().max_by_key(stake), makes.iter().max_by_key(stake)) {
        (Some(product), _) => channels.on(product.weights, product.input_axis),
        (None, Some(product)) => channels.on(product.weights, product.output_axis),
        (None, None) => return,
    };
    let lanes = products[0].sums.lanes;
    let places = Places::of(group, &home, GROUP.max(lanes));
    let before = channels.placed(group);
    let cost = |channels: &Channels| -> u64 {
        reads.iter().chain(&makes).map(|product| product.pixels * product.extra_groups(channels) as u64).sum()
    };
    let cost_before = cost(channels);
    if cost_before == 0 {
        return;
    }
    let units = join(group, &places, &Read::all(&reads, channels), &Made::all(&makes, channels), lanes);
    channels.place(&places.fill(units));
    if cost(channels) >= cost_before {
        channels.place(&before);
    }
}

/// Channels that stay together, and a bit set of the extra groups that they cause. The bits of each product follow each
/// other.
struct Unit {
    channels: Vec<u32>,
    read: Vec<u64>,
    made: Vec<u64>,
}

/// Joins the channels to units of 1, 2, 4, … channels: as many of each size as there are blocks of that size.
fn join(group: &[u32], places: &Places, reads: &[Read<'_>], makes: &[Made<'_>], lanes: usize) -> Vec<Vec<Vec<u32>>> {
    let single = |channel: &u32| {
        let made = makes.iter().flat_map(|product| product.cells(*channel)).collect();
        Unit { channels: vec![*channel], read: Vec::new(), made }
    };
    let mut units: Vec<Unit> = group.iter().map(single).collect();
    let read_words: Vec<(usize, u64)> = reads.iter().map(|read| (read.words(), read.product.pixels)).collect();
    let made_words: Vec<(usize, u64)> = makes.iter().map(|made| (made.words(), made.product.pixels)).collect();
    let mut alone = Vec::new();
    for level in 0..places.levels() {
        let size = 2 << level;
        let mut costs = Costs::new(units.len());
        if size == 2 {
            reads.iter().for_each(|read| read.add_costs(group, &mut costs));
        } else if size <= GROUP {
            save_shared(&mut costs, &units, &read_words, |unit| &unit.read);
        }
        if size <= lanes {
            save_shared(&mut costs, &units, &made_words, |unit| &unit.made);
        }
        let (joined, rest) = pairs(&costs, places.joined(level));
        alone.push(rest.iter().map(|unit| units[*unit].channels.clone()).collect());
        let both = |[a, b]: [usize; 2]| {
            let (a, b) = (&units[a], &units[b]);
            let channels = [a.channels.clone(), b.channels.clone()].concat();
            let either = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(a, b)| a | b).collect::<Vec<u64>>();
            let read = match *channels {
                [a, b] => reads.iter().flat_map(|read| read.cells(a, b)).collect(),
                _ => either(&a.read, &b.read),
            };
            Unit { channels, read, made: either(&a.made, &b.made) }
        };
        units = joined.into_iter().map(both).collect();
    }
    alone.push(units.into_iter().map(|unit| unit.channels).collect());
    alone
}

/// Joining two units saves the extra groups that both cause. For each product, `words` is its number of words of bits
/// and the cost of a bit.
fn save_shared(costs: &mut Costs, units: &[Unit], words: &[(usize, u64)], bits: impl Fn(&Unit) -> &Vec<u64>) {
    for (b, second) in units.iter().enumerate() {
        for (a, first) in units[..b].iter().enumerate() {
            let (mut at, mut shared) = (0, 0);
            for (words, weight) in words {
                let end = at + words;
                let both = bits(first)[at..end].iter().zip(&bits(second)[at..end]);
                shared += u64::from(both.map(|(a, b)| (a & b).count_ones()).sum::<u32>()) * weight;
                at = end;
            }
            if shared > 0 {
                costs.add(a, b, -(shared as i64));
            }
        }
    }
}

/// Returns the original position of each channel on an axis of the weights.
fn indices(product: &Product, axis: usize, channels: &Channels) -> BTreeMap<u32, usize> {
    channels.on(product.weights, axis).into_iter().zip(0..).collect()
}

fn set(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

/// A product that reads channels of the group.
struct Read<'a> {
    product: &'a Product,
    input: BTreeMap<u32, usize>,
    /// The outputs in their current order.
    outputs: Vec<usize>,
}

impl<'a> Read<'a> {
    fn all(products: &[&'a Product], channels: &Channels) -> Vec<Self> {
        let read = |product: &&'a Product| Read {
            product,
            input: indices(product, product.input_axis, channels),
            outputs: channels.order(product.weights, product.output_axis),
        };
        products.iter().map(read).collect()
    }

    fn words(&self) -> usize {
        (self.outputs.len().div_ceil(self.product.sums.lanes) * self.product.taps).div_ceil(64)
    }

    /// Returns the weights of each vector of outputs at each tap, with a running number.
    fn vectors(&self) -> impl Iterator<Item = (usize, Vec<&'a [i16]>)> {
        let product = self.product;
        let vectors = self.outputs.chunks(product.sums.lanes);
        let taps = vectors.flat_map(move |vector| (0..product.taps).map(move |tap| (vector, tap)));
        taps.map(move |(vector, tap)| vector.iter().map(|output| product.row(*output, tap)).collect()).enumerate()
    }

    /// Returns the set of extra groups that a pair of channels causes.
    fn cells(&self, a: u32, b: u32) -> Vec<u64> {
        let mut bits = vec![0; self.words()];
        let (a, b) = (self.input[&a], self.input[&b]);
        for (at, rows) in self.vectors() {
            if rows.iter().any(|row| self.product.overflows(row[a], row[b])) {
                set(&mut bits, at);
            }
        }
        bits
    }

    /// Adds for each pair of channels the number of extra groups that it causes.
    fn add_costs(&self, group: &[u32], costs: &mut Costs) {
        let (inputs, count) = (group.iter().map(|channel| self.input[channel]).collect::<Vec<_>>(), group.len());
        // For each pair of channels: the number of vectors in which it overflows, and the last such vector, which must
        // count once.
        let mut over = vec![(0_u32, 0_u32); count * count];
        let mut alike: Vec<(i32, usize)> = Vec::with_capacity(count);
        for (at, rows) in self.vectors() {
            for (row, sign) in rows.iter().flat_map(|row| [(row, 1), (row, -1)]) {
                alike.clear();
                alike.extend(inputs.iter().map(|input| i32::from(row[*input]) * sign).zip(0..));
                alike.retain(|(weight, _)| *weight > 0);
                // In descending order, the loop below can stop at the first pair that fits.
                alike.sort_unstable_by(|a, b| b.cmp(a));
                for (first, &(larger, a)) in alike.iter().enumerate() {
                    for &(smaller, b) in &alike[first + 1..] {
                        if larger + smaller <= self.product.sums.limit {
                            break;
                        }
                        let (last, times) = &mut over[a.min(b) * count + a.max(b)];
                        *times += u32::from(*last != at as u32 + 1);
                        *last = at as u32 + 1;
                    }
                }
            }
        }
        for (a, over) in over.chunks_exact(count).enumerate() {
            for (b, (_, times)) in over.iter().enumerate().filter(|(_, (_, times))| *times > 0) {
                costs.add(a, b, i64::from(*times) * self.product.pixels as i64);
            }
        }
    }
}

/// A product that computes channels of the group.
struct Made<'a> {
    product: &'a Product,
    output: BTreeMap<u32, usize>,
    /// The positions of the weights of a run, in their current order.
    inputs: Vec<usize>,
}

impl<'a> Made<'a> {
    fn all(products: &[&'a Product], channels: &Channels) -> Vec<Self> {
        let made = |product: &&'a Product| Made {
            product,
            output: indices(product, product.output_axis, channels),
            inputs: product.run_order(channels),
        };
        products.iter().map(made).collect()
    }

    fn words(&self) -> usize {
        (self.inputs.len().div_ceil(GROUP) * self.product.runs).div_ceil(64)
    }

    /// Returns the set of extra groups that a channel causes.
    fn cells(&self, channel: u32) -> Vec<u64> {
        let mut bits = vec![0; self.words()];
        let groups = self.inputs.len().div_ceil(GROUP);
        for run in 0..self.product.runs {
            let weights = self.product.run(self.output[&channel], run);
            for (at, group) in self.inputs.chunks(GROUP).enumerate() {
                if self.product.group_overflows(weights, group) {
                    set(&mut bits, run * groups + at);
                }
            }
        }
        bits
    }
}
