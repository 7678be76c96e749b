//! The part of a range on which a table's function is not constant.
//!
//! Functions such as SiLU and sigmoid are nearly constant at the ends of their input range: SiLU is close to 0 below
//! -6. A function is also constant where its result is clamped to the range of the result. Integer codes spent on such
//! inputs would be lost, so the input's range leaves them out.

use eightfold_ir::epilogue::run;
use eightfold_ir::{Array, DType, Data, Epilogue, QuantParams, Shape};

use crate::calibrate::Range;

/// The number of intervals in which the function is sampled.
const GRID: usize = 4096;

/// Returns the smallest part of `range`, zero included, outside of which the function `steps` differs by less than half
/// a quantization step from its value at the nearer end. `result` are the parameters of the function's result.
pub(super) fn effective_range(steps: &Epilogue, range: Range, result: &QuantParams) -> Range {
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

/// Returns the last position up to which all results lie within `tolerance` of each other.
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
                effective_range(&Epilogue::new(vec![Step::unary(function)]), Range { min, max }, &result);
            (min, max)
        };
        let near = |got: (f32, f32), min: f32, max: f32| {
            assert!((got.0 - min).abs() < 0.1 && (got.1 - max).abs() < 0.1, "{got:?}, not {min} to {max}");
        };
        // SiLU(-6) is -0.0148; half a quantization step is 0.015.
        near(of(Function::Silu, -20.0, 6.0, 0.03, 10), -6.0, 6.0);
        // The result is clamped at 225 * 0.01.
        near(of(Function::Silu, -1.0, 6.0, 0.01, 30), -1.0, 2.44);
        near(of(Function::Sigmoid, -20.0, 20.0, 1.0 / 255.0, 0), -6.2, 6.2);
        near(of(Function::Tanh, -0.5, 0.25, 0.01, 128), -0.5, 0.25);
        // The range is empty.
        near(of(Function::Sigmoid, 0.0, 0.0, 1.0, 0), 0.0, 0.0);
    }
}
