//! Similarity of two tensors: signal-to-noise ratio, cosine, largest difference, same top-1.

use eightfold_ir::Data;

/// Accumulated statistics of pairs of numbers; memory does not grow with the data.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Similarity {
    signal: f64,
    noise: f64,
    product: f64,
    power: f64,
    max_abs: f64,
    samples: u64,
    same_winner: u64,
    finite_sqnr: f64,
    exact_samples: u64,
}

impl Similarity {
    /// Adds one sample: expected and actual numbers, of equal length.
    pub fn add(&mut self, reference: &[f32], got: &[f32]) {
        debug_assert_eq!(reference.len(), got.len());
        let (mut signal, mut noise) = (0.0, 0.0);
        for (&a, &b) in reference.iter().zip(got) {
            let (a, b) = (f64::from(a), f64::from(b));
            signal += a * a;
            noise += (a - b) * (a - b);
            self.product += a * b;
            self.power += b * b;
            // `max` would ignore a NaN.
            let difference = (a - b).abs();
            if difference.is_nan() || difference > self.max_abs {
                self.max_abs = difference;
            }
        }
        self.signal += signal;
        self.noise += noise;
        self.samples += 1;
        self.same_winner += u64::from(winner(reference) == winner(got));
        if noise == 0.0 {
            self.exact_samples += 1;
        } else {
            self.finite_sqnr += decibels(signal, noise);
        }
    }

    /// Signal-to-quantization-noise ratio over all numbers, in dB; infinite if there is no difference.
    #[must_use]
    pub fn sqnr_db(&self) -> f64 {
        if self.noise == 0.0 { f64::INFINITY } else { decibels(self.signal, self.noise) }
    }

    /// Mean of the samples' ratios, in dB. A sample without a difference counts as 150 dB, about the best of f32.
    #[must_use]
    pub fn mean_sqnr_db(&self) -> f64 {
        (self.finite_sqnr + 150.0 * self.exact_samples as f64) / self.samples.max(1) as f64
    }

    /// The cosine of the angle between the two vectors of all numbers; 1 if both are zero.
    #[must_use]
    pub fn cosine(&self) -> f64 {
        if self.signal == 0.0 && self.power == 0.0 {
            return 1.0;
        }
        let norm = (self.signal * self.power).sqrt();
        if norm == 0.0 { 0.0 } else { self.product / norm }
    }

    /// The largest absolute difference.
    #[must_use]
    pub fn max_abs(&self) -> f64 {
        self.max_abs
    }

    /// The fraction of samples with the same top-1.
    #[must_use]
    pub fn same_winner(&self) -> f64 {
        self.same_winner as f64 / self.samples.max(1) as f64
    }

    /// The number of samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }
}

fn decibels(signal: f64, noise: f64) -> f64 {
    10.0 * (signal / noise).log10()
}

fn winner(values: &[f32]) -> Option<usize> {
    top(values, 1).first().copied()
}

/// The indices of the `k` largest numbers, largest first; among equal ones the first comes first; NaN comes last.
#[must_use]
pub fn top(values: &[f32], k: usize) -> Vec<usize> {
    let key = |index: usize| if values[index].is_nan() { f32::NEG_INFINITY } else { values[index] };
    let mut best: Vec<usize> = Vec::with_capacity(k + 1);
    for index in 0..values.len() {
        let at = best.partition_point(|&other| key(other) >= key(index));
        if at < k {
            best.insert(at, index);
            best.truncate(k);
        }
    }
    best
}

/// The elements of a tensor, converted to f32.
#[must_use]
pub fn to_f32(data: Data) -> Vec<f32> {
    match data {
        Data::Float(values) => values,
        Data::Int(values) => values.into_iter().map(|value| value as f32).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_a_known_difference() {
        let mut similarity = Similarity::default();
        similarity.add(&[3.0, 4.0], &[3.0, 4.5]);
        // 25 / 0.25 = 100
        assert!((similarity.sqnr_db() - 20.0).abs() < 1e-12);
        assert!((similarity.mean_sqnr_db() - 20.0).abs() < 1e-12);
        assert_eq!(similarity.max_abs(), 0.5);
        assert!((similarity.cosine() - 27.0 / (25.0_f64 * 29.25).sqrt()).abs() < 1e-12);
        assert_eq!(similarity.same_winner(), 1.0);
        similarity.add(&[3.0, 4.0], &[4.0, 3.0]);
        assert_eq!((similarity.same_winner(), similarity.samples()), (0.5, 2));
    }

    #[test]
    fn equal_tensors_are_infinitely_alike_and_nan_is_not_lost() {
        let mut similarity = Similarity::default();
        similarity.add(&[0.0, 1.0], &[0.0, 1.0]);
        assert_eq!((similarity.sqnr_db(), similarity.cosine(), similarity.max_abs()), (f64::INFINITY, 1.0, 0.0));
        similarity.add(&[0.0], &[f32::NAN]);
        assert!(similarity.max_abs().is_nan());
        assert!(similarity.sqnr_db().is_nan());
    }

    #[test]
    fn top_takes_the_greatest_first_and_of_equal_ones_the_first() {
        assert_eq!(top(&[1.0, 5.0, f32::NAN, 5.0, 2.0], 3), [1, 3, 4]);
        assert_eq!(top(&[1.0], 5), [0]);
        assert_eq!(top(&[], 5), Vec::<usize>::new());
    }
}
