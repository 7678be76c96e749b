//! Tests the observers on distributions with known answers, and on unusual inputs.

use eightfold_ir::quant::Symmetry;
use eightfold_passes::calibrate::{
    Activations, CalibrateError, Calibrator, Histogram, OBSERVERS, ObserveError, Observer, Range, observer,
};
use proptest::prelude::*;

use Symmetry::{Affine, Symmetric};

/// Uniform numbers in (0, 1), the same in each run (Knuth's MMIX generator, upper bits).
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

fn uniform(count: usize) -> Vec<f32> {
    let mut random = Uniform(1);
    (0..count).map(|_| (random.next() * 2.0 - 1.0) as f32).collect()
}

/// Standard normal numbers (Box and Muller).
fn gaussian(count: usize) -> Vec<f32> {
    let mut random = Uniform(2);
    let mut draw = || ((-2.0 * random.next().ln()).sqrt() * (std::f64::consts::TAU * random.next()).cos()) as f32;
    (0..count).map(|_| draw()).collect()
}

/// Laplace-distributed numbers with a mean magnitude of 1.
fn laplace(count: usize) -> Vec<f32> {
    let mut random = Uniform(3);
    let mut draw = || -random.next().ln() * if random.next() < 0.5 { -1.0 } else { 1.0 };
    (0..count).map(|_| draw() as f32).collect()
}

fn relu(values: Vec<f32>) -> Vec<f32> {
    values.into_iter().map(|value| value.max(0.0)).collect()
}

fn make(name: &str) -> Box<dyn Observer> {
    observer(name).unwrap().with_default()
}

/// Returns the range after one sample.
fn range_of(name: &str, values: &[f32], symmetry: Symmetry) -> Range {
    let mut observer = make(name);
    observer.observe(values.into()).unwrap();
    observer.range(symmetry).unwrap()
}

#[track_caller]
fn assert_within(range: Range, min: std::ops::RangeInclusive<f32>, max: std::ops::RangeInclusive<f32>) {
    assert!(min.contains(&range.min) && max.contains(&range.max), "{range:?}, expected min in {min:?}, max in {max:?}");
}

/// Returns the mean squared error of the 8-bit quantizer over `range`, computed value by value.
fn squared_error(values: &[f32], range: Range, symmetry: Symmetry) -> f64 {
    let (steps, low) = match symmetry {
        Affine => (255.0, 0.0),
        Symmetric => (254.0, 127.0),
    };
    let scale = f64::from(range.max - range.min) / steps;
    let zero_point = if symmetry == Affine { (f64::from(-range.min) / scale).round_ties_even() } else { low };
    let error = |&value: &f32| {
        let code = (f64::from(value) / scale + zero_point).round_ties_even().clamp(0.0, steps);
        ((code - zero_point) * scale - f64::from(value)).powi(2)
    };
    values.iter().map(error).sum::<f64>() / values.len() as f64
}

#[test]
fn names_are_those_of_the_command_line() {
    let names: Vec<_> = OBSERVERS.iter().map(|row| row.name).collect();
    assert_eq!(names, ["minmax", "moving-average", "percentile", "std-dev", "entropy", "mse"]);
    let error = observer("kl").map(|row| row.name).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no calibrator is called `kl`, expected one of minmax, moving-average, percentile, std-dev, entropy, mse"
    );
}

#[test]
fn minmax_takes_an_outlier_as_it_is() {
    let mut values = gaussian(100_000);
    values[777] = 25.0;
    assert_eq!(range_of("minmax", &values, Affine).max, 25.0);
    assert_eq!(range_of("minmax", &values, Symmetric), Range { min: -25.0, max: 25.0 });
}

#[test]
fn moving_average_weighs_nine_to_one() {
    let mut observer = make("moving-average");
    for values in [[-1.0, 4.0], [-3.0, 14.0], [0.0, 0.0]] {
        observer.observe((&values).into()).unwrap();
    }
    // min: -1, then 0.9 * -1 + 0.1 * -3 = -1.2, then -1.08. max: 4, then 5, then 4.5.
    let range = observer.range(Affine).unwrap();
    assert_within(range, -1.080_001..=-1.079_999, 4.499_999..=4.500_001);
    assert_within(observer.range(Symmetric).unwrap(), -4.500_001..=-4.499_999, 4.499_999..=4.500_001);
}

#[test]
fn percentile_leaves_out_the_outermost_values() {
    // 99.9 % of 0..=9999: the outermost 5 at either end.
    let mut observer = (observer("percentile").unwrap().new)(99.9);
    let values: Vec<f32> = (0..10_000).map(|i| i as f32 - 5_000.0).collect();
    observer.observe((&values).into()).unwrap();
    // Bins are 2 wide.
    assert_within(observer.range(Affine).unwrap(), -4_997.0..=-4_993.0, 4_992.0..=4_996.0);
    assert_within(observer.range(Symmetric).unwrap(), -4_997.0..=-4_993.0, 4_993.0..=4_997.0);
}

#[test]
fn std_dev_ends_k_deviations_from_the_mean() {
    // Mean 5, variance (16 + 1 + 1 + 1 + 0 + 0 + 4 + 25) / 8 = 6, in whatever samples.
    let values = [1.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 10.0];
    let observed = |deviations, cut: usize| {
        let mut made = (observer("std-dev").unwrap().new)(deviations);
        values.chunks(cut).for_each(|sample| made.observe(sample.into()).unwrap());
        made
    };
    for cut in [1, 3, 8] {
        // 5 + 6^0.5 = 7.449490; the lower end would be positive, so it is zero.
        let one = observed(1.0, cut);
        assert_within(one.range(Affine).unwrap(), 0.0..=0.0, 7.449_48..=7.449_50);
        assert_within(one.range(Symmetric).unwrap(), -7.449_50..=-7.449_48, 7.449_48..=7.449_50);
        // 5 + 3 * 2.449490 is above the largest value.
        assert_eq!(observed(3.0, cut).range(Affine), Ok(Range { min: 0.0, max: 10.0 }));
    }
    // A large mean takes nothing from the deviation.
    let mut far = (observer("std-dev").unwrap().new)(0.5);
    far.observe((&[1e6, 1e6 + 2.0]).into()).unwrap();
    assert_eq!(far.range(Affine), Ok(Range { min: 0.0, max: 1e6 + 1.5 }));
}

#[test]
fn std_dev_by_default_ends_where_an_8_bit_relu_of_a_gaussian_should() {
    let relu = relu(gaussian(1_000_000));
    assert_within(range_of("std-dev", &relu, Affine), 0.0..=0.0, 3.85..=3.95);
    let mut values = gaussian(500_000);
    values[777] = 25.0;
    assert_within(range_of("std-dev", &values, Affine), -6.0..=-4.3, 5.95..=6.05);
}

/// The optima for 8 bits: Banner et al., "Post training 4-bit quantization of convolutional networks", 2019, appendix.
#[test]
fn mse_finds_the_optimal_clipping_of_known_distributions() {
    assert_within(range_of("mse", &gaussian(1_000_000), Symmetric), -4.05..=-3.85, 3.85..=4.05);
    // The optimum is flat, and the integer zero point couples the two ends.
    assert_within(range_of("mse", &gaussian(1_000_000), Affine), -4.15..=-3.75, 3.75..=4.15);
    assert_within(range_of("mse", &laplace(1_000_000), Affine), -10.4..=-9.4, 9.4..=10.4);
}

#[test]
fn mse_is_the_least_that_a_brute_search_finds() {
    let skewed: Vec<f32> = gaussian(100_000).into_iter().map(|v| if v < 0.0 { v * 0.3 } else { v }).collect();
    for symmetry in [Affine, Symmetric] {
        let found = squared_error(&skewed, range_of("mse", &skewed, symmetry), symmetry);
        let full = range_of("minmax", &skewed, symmetry);
        let mut least = f64::INFINITY;
        for low in 1..=10 {
            for high in 1..=20 {
                let low = if symmetry == Affine { low as f32 / 10.0 } else { high as f32 / 20.0 };
                let range = Range { min: full.min * low, max: full.max * high as f32 / 20.0 };
                least = least.min(squared_error(&skewed, range, symmetry));
            }
        }
        assert!(found <= least * 1.01, "{symmetry:?}: {found}, a grid search finds {least}");
        assert!(found < 0.95 * squared_error(&skewed, full, symmetry), "{symmetry:?}: no better than the full range");
    }
}

/// In each sample, a tenth of the pixels has ten times the amplitude.
#[test]
fn mse_weighs_positions_by_their_power() {
    let mut values = gaussian(80_000);
    // 8 channels of 10,000 pixels. The first 1,000 pixels are amplified in all channels.
    values.chunks_mut(10_000).for_each(|channel| channel[..1_000].iter_mut().for_each(|x| *x *= 10.0));
    let range = |sample: Activations<'_>| {
        let mut observer = make("mse");
        observer.observe(sample).unwrap();
        observer.range(Symmetric).unwrap().max
    };
    let (alone, with_channels) = (range((&values).into()), range(Activations::with_channels(&values, &[8, 10_000], 0)));
    // The range for the other pixels alone is 4.
    assert!(with_channels < 0.9 * alone && with_channels > 8.0, "{with_channels}, {alone}");
}

/// A sample of ten times the amplitude has a hundred times the squared error at equal relative precision.
#[test]
fn mse_weighs_samples_by_their_power() {
    let mut calibrator = Calibrator::new(observer("mse").unwrap(), None).unwrap();
    let loud: Vec<f32> = gaussian(50_000).into_iter().map(|v| v * 10.0).collect();
    calibrator.observe("x", &loud).unwrap();
    for sample in gaussian(450_000).chunks(50_000) {
        calibrator.observe("x", sample).unwrap();
    }
    // Without weights, the amplified tenth would extend the range to 32. The range for the others alone is 4.
    let Range { min, max } = calibrator.ranges(Symmetric).unwrap()["x"];
    assert!(min == -max && (10.0..28.0).contains(&max), "{max}");
}

#[test]
fn percentile_mse_and_entropy_clip_an_outlier_of_a_gaussian() {
    let mut values = gaussian(500_000);
    values[777] = 25.0;
    // The 99.9995th percentile of a Gaussian is 4.42.
    assert_within(range_of("percentile", &values, Affine), -5.5..=-3.5, 4.2..=5.0);
    // With N values, the outlier at A and a step of (T + 4) / 255, `(A - T)^2 / N + step^2 / 12` is least at T = 13.7.
    // In the symmetric case, with a step of 2 T / 254, it is least at T = 7.0.
    assert_within(range_of("mse", &values, Affine), -4.5..=-3.5, 13.2..=14.4);
    assert_within(range_of("mse", &values, Symmetric), -7.3..=-6.7, 6.7..=7.3);
    assert_within(range_of("entropy", &values, Affine), -5.5..=-3.2, 3.2..=8.0);
    for name in ["percentile", "mse", "entropy"] {
        let Range { min, max } = range_of(name, &values, Symmetric);
        assert!(min == -max && (3.2..=12.0).contains(&max), "{name}: {min}, {max}");
    }
}

#[test]
fn a_uniform_distribution_keeps_nearly_all_of_its_range() {
    let values = uniform(200_000);
    for row in OBSERVERS {
        for symmetry in [Affine, Symmetric] {
            assert_within(range_of(row.name, &values, symmetry), -1.0..=-0.98, 0.98..=1.0);
        }
    }
}

#[test]
fn relu_data_starts_at_exactly_zero() {
    let values = relu(gaussian(300_000));
    for row in OBSERVERS {
        let Range { min, max } = range_of(row.name, &values, Affine);
        assert!(min == 0.0 && min.is_sign_positive(), "{}: {min:?}", row.name);
        assert!((3.2..=5.5).contains(&max), "{}: {max}", row.name);
    }
}

#[test]
fn data_of_one_sign_keeps_zero_at_the_other_end() {
    let values: Vec<f32> = uniform(10_000).into_iter().map(|v| v + 10.0).collect();
    let negative: Vec<f32> = values.iter().map(|v| -v).collect();
    for row in OBSERVERS {
        let (above, below) = (range_of(row.name, &values, Affine), range_of(row.name, &negative, Affine));
        assert!(above.min == 0.0 && (10.7..=11.0).contains(&above.max), "{}: {above:?}", row.name);
        assert_eq!(below, Range { min: -above.max, max: 0.0 }, "{}", row.name);
    }
}

#[test]
fn constant_tensors_keep_their_value() {
    for row in OBSERVERS {
        for symmetry in [Affine, Symmetric] {
            assert_eq!(range_of(row.name, &[0.0, -0.0, 0.0], symmetry), Range { min: 0.0, max: 0.0 }, "{}", row.name);
        }
        for value in [5.0, 1e-40, 3e38, 1.0 / 3.0] {
            for count in [1, 100_000] {
                let values = vec![value; count];
                let negative = vec![-value; count];
                let context = format!("{} {value} x {count}", row.name);
                let magnitude = range_of(row.name, &values, Affine).max;
                // Observers with a cost may choose a code next to the value.
                assert!((value * 0.99..=value).contains(&magnitude), "{context}: {magnitude}");
                if !["mse", "entropy"].contains(&row.name) {
                    assert_eq!(magnitude, value, "{context}");
                }
                assert_eq!(range_of(row.name, &values, Affine).min, 0.0, "{context}");
                assert_eq!(range_of(row.name, &negative, Affine), Range { min: -magnitude, max: 0.0 }, "{context}");
            }
        }
    }
}

/// The known failures of the method: with few values, spikes or quantized data, the range collapses.
#[test]
fn entropy_does_not_collapse() {
    let keeps = |what: &str, values: &[f32], least: f32| {
        for symmetry in [Affine, Symmetric] {
            let Range { max, .. } = range_of("entropy", values, symmetry);
            assert!(max >= least, "{what}, {symmetry:?}: {max}, expected at least {least}");
        }
    };
    // At most a thousandth of the values may be clipped. Of 300 values, that is none.
    keeps("few values", &gaussian(300), range_of("minmax", &gaussian(300), Affine).max);
    keeps("ReLU, few values", &relu(gaussian(2_000)), 2.9);
    keeps("some values", &gaussian(20_000), 3.0);
    // Most values are in a spike. An edge bin there would absorb the other values without a change in the divergence.
    let mut spike = relu(laplace(100_000));
    spike.iter_mut().step_by(10).for_each(|value| *value = 0.4);
    keeps("a spike", &spike, 5.0);
    let steps: Vec<f32> = uniform(50_000).into_iter().map(|v| (v * 8.0).round() * 0.75).collect();
    keeps("steps", &steps, 5.9);
    let relu6: Vec<f32> = gaussian(100_000).into_iter().map(|v| (v * 4.0).clamp(0.0, 6.0)).collect();
    keeps("ReLU6", &relu6, 5.9);
}

#[test]
fn entropy_clips_a_long_tail() {
    let values = laplace(1_000_000);
    let full = range_of("minmax", &values, Affine);
    let Range { min, max } = range_of("entropy", &values, Affine);
    assert!(full.max > 12.0 && (6.0..=11.0).contains(&max) && (-11.0..=-6.0).contains(&min), "{min}, {max}");
}

#[test]
fn values_that_are_not_finite_are_refused_whole() {
    for row in OBSERVERS {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut observer = row.with_default();
            let error = observer.observe((&[1.0, 2.0, value, 3.0]).into()).unwrap_err();
            assert_eq!(error.to_string(), format!("value 2 is {value}, expected a finite number"));
            assert_eq!(observer.range(Affine), Err(ObserveError::Empty), "{}: kept a part", row.name);
            observer.observe((&[1.0]).into()).unwrap();
            assert_eq!(observer.range(Affine).unwrap().min, 0.0);
        }
    }
}

#[test]
fn no_value_is_an_error() {
    for row in OBSERVERS {
        let mut observer = row.with_default();
        observer.observe((&[]).into()).unwrap();
        assert_eq!(observer.range(Symmetric), Err(ObserveError::Empty), "{}", row.name);
    }
}

#[test]
fn a_calibrator_names_the_tensor_and_checks_its_options() {
    let mut calibrator = Calibrator::new(observer("mse").unwrap(), None).unwrap();
    calibrator.observe("a", &[1.0]).unwrap();
    let error = calibrator.observe("b", &[f32::NAN]).unwrap_err();
    let source = ObserveError::NotFinite { index: 0, value: f32::NAN };
    assert_eq!(error.to_string(), "tensor `b`");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), source.to_string());
    assert_eq!(
        calibrator.ranges(Affine),
        Err(CalibrateError::Observe { tensor: "b".into(), source: ObserveError::Empty })
    );

    let made = |name, number| Calibrator::new(observer(name).unwrap(), Some(number)).map(|made| made.observer_name());
    for (name, number) in [
        ("moving-average", 1.0),
        ("moving-average", f64::NAN),
        ("percentile", 0.0),
        ("percentile", 100.1),
        ("std-dev", 0.0),
        ("std-dev", f64::INFINITY),
    ] {
        assert!(matches!(made(name, number), Err(CalibrateError::Setting { .. })), "{name} {number}");
    }
    assert_eq!(made("percentile", 100.0), Ok("percentile"));
    assert_eq!(made("mse", 1.0), Err(CalibrateError::NoSetting { observer: "mse" }));
}

#[test]
fn defaults_are_allowed() {
    let settings = || OBSERVERS.iter().filter_map(|row| row.setting);
    assert!(settings().all(|setting| (setting.accepts)(setting.default)));
    let names: std::collections::BTreeSet<_> = settings().map(|setting| setting.name).collect();
    assert_eq!(names.len(), settings().count(), "names of settings are options of the command line");
}

/// Finite values over the whole range of f32. Many are zero, and many have similar magnitudes.
fn values() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        1 => Just(0.0f32),
        6 => -10.0f32..10.0,
        1 => -1e4f32..1e4,
        1 => any::<f32>().prop_filter("finite", |v| v.is_finite()),
    ];
    prop::collection::vec(value, 1..400)
}

proptest! {
    /// To moving-average and mse, a sample is a unit; std-dev rounds its sums.
    #[test]
    fn ranges_do_not_depend_on_how_the_data_is_cut_or_ordered(values in values(), cut in 1usize..50) {
        for row in OBSERVERS.iter().filter(|row| !["moving-average", "mse", "std-dev"].contains(&row.name)) {
            let mut whole = row.with_default();
            let mut parts = row.with_default();
            whole.observe((&values).into()).unwrap();
            for part in values.chunks(cut).rev() {
                parts.observe(part.into()).unwrap();
            }
            for symmetry in [Affine, Symmetric] {
                prop_assert_eq!(whole.range(symmetry), parts.range(symmetry), "{}", row.name);
            }
        }
    }

    #[test]
    fn ranges_hold_zero_and_stay_within_the_data(values in values()) {
        for row in OBSERVERS {
            for symmetry in [Affine, Symmetric] {
                let (full, range) = (range_of("minmax", &values, symmetry), range_of(row.name, &values, symmetry));
                prop_assert!(full.min <= range.min && range.min <= 0.0, "{}: {range:?} of {full:?}", row.name);
                prop_assert!(0.0 <= range.max && range.max <= full.max, "{}: {range:?} of {full:?}", row.name);
                prop_assert!(range.max > range.min || full.max == full.min, "{}: {range:?} of {full:?}", row.name);
            }
        }
    }

    /// Compared with sorting all values, which needs two passes and memory for all of them.
    #[test]
    fn quantiles_are_exact_to_a_bin(mut values in values(), q in 0.0f64..=1.0) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.observe(&[value]).unwrap());
        prop_assert_eq!(histogram.count(), values.len() as f64);
        let check = |sorted: &[f32], found: f64| {
            // Between two values, any number is the quantile.
            let rank = q * sorted.len() as f64;
            let low = f64::from(sorted[(rank.ceil() as usize).saturating_sub(1).min(sorted.len() - 1)]);
            let high = f64::from(sorted[(rank.floor() as usize).min(sorted.len() - 1)]);
            let width = histogram.width();
            low - width <= found && found <= high + width
        };
        values.sort_by(f32::total_cmp);
        let largest = f64::from(values[0].abs().max(values[values.len() - 1].abs()));
        prop_assert!(largest == 0.0 || histogram.width() <= largest / (Histogram::BINS / 2) as f64);
        prop_assert!(check(&values, histogram.quantile(q).unwrap()));
        values.iter_mut().for_each(|value| *value = value.abs());
        values.sort_by(f32::total_cmp);
        prop_assert!(check(&values, histogram.magnitude_quantile(q).unwrap()));
    }
}
