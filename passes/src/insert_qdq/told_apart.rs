//! The numbers that a table can tell apart.
//!
//! SiLU of -6 and of all numbers below is zero within half a step of most results; sigmoid is flat at both ends, and what
//! a result's range cuts off is flat, too. Integers spent on such numbers before the table would be lost on the others.

use eightfold_ir::epilogue::run;
use eightfold_ir::{Array, DType, Data, Epilogue, QuantParams, Shape};

use crate::calibrate::Range;

/// Points at which a function is looked at.
const GRID: usize = 4096;

/// The part of `range` (with zero in it) outside of which `steps`, a function of one number, stays within half a step of
/// what it is at the ends, its result being quantized with `result`.
pub(super) fn told_apart(steps: &Epilogue, range: Range, result: &QuantParams) -> Range {
    let at = |index: usize| range.min + (range.max - range.min) * (index as f32 / GRID as f32);
    let reals =
        Array { dtype: DType::F32, shape: Shape::new(&[GRID + 1]), data: Data::Float((0..=GRID).map(at).collect()) };
    let Ok(results) = run(steps, reals, &|_| unreachable!("a function of one number reads no tensor")) else {
        return range;
    };
    let Some((scale, zero_point)) = result.as_per_tensor() else { return range };
    let Some((least, greatest)) = result.storage.integer_range() else { return range };
    let real = |stored: i64| (stored - i64::from(zero_point)) as f32 * scale;
    let results: Vec<f32> = results.floats().iter().map(|x| x.clamp(real(least), real(greatest))).collect();
    let (low, high) = (flat(results.iter(), scale / 2.0), GRID - flat(results.iter().rev(), scale / 2.0));
    Range { min: at(low).min(0.0), max: at(high).max(0.0) }
}

/// The last position whose result stands for all before it within `tolerance`.
fn flat<'r>(results: impl Iterator<Item = &'r f32>, tolerance: f32) -> usize {
    let (mut least, mut greatest) = (f32::INFINITY, f32::NEG_INFINITY);
    let stands = |result: &&'r f32| {
        (least, greatest) = (least.min(**result), greatest.max(**result));
        (*result - least).max(greatest - *result) <= tolerance
    };
    results.take_while(stands).count().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use eightfold_ir::{Function, Step};

    use super::*;

    #[test]
    fn flat_ends_and_what_the_result_cuts_off_are_left_out() {
        let of = |function, min, max, scale: f32, zero_point| {
            let result = QuantParams::per_tensor(DType::U8, scale, zero_point);
            let Range { min, max } =
                told_apart(&Epilogue::new(vec![Step::unary(function)]), Range { min, max }, &result);
            (min, max)
        };
        let near = |got: (f32, f32), min: f32, max: f32| {
            assert!((got.0 - min).abs() < 0.1 && (got.1 - max).abs() < 0.1, "{got:?}, not {min} to {max}");
        };
        // SiLU is -0.0148 at -6; half a step is 0.015.
        near(of(Function::Silu, -20.0, 6.0, 0.03, 10), -6.0, 6.0);
        // The result ends at 225 x 0.01.
        near(of(Function::Silu, -1.0, 6.0, 0.01, 30), -1.0, 2.44);
        near(of(Function::Sigmoid, -20.0, 20.0, 1.0 / 255.0, 0), -6.2, 6.2);
        near(of(Function::Tanh, -0.5, 0.25, 0.01, 128), -0.5, 0.25);
        // Nothing to tell apart.
        near(of(Function::Sigmoid, 0.0, 0.0, 1.0, 0), 0.0, 0.0);
    }
}
