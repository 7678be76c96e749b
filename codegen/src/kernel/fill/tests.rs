//! Fills of every element size and of views with gaps.

use eightfold_ir::DType;

use crate::kernel::{Call, Fill, Producer};
use crate::llvm::trial::{self, BLANK, Trial, view};

fn trial(dtype: DType, number: i64, dims: &[usize], strides: &[isize]) -> Trial {
    let size = dtype.byte_size();
    let output = view(dtype, 0, dims, strides);
    let mut places = vec![0];
    for (dim, stride) in dims.iter().zip(strides) {
        places = places.iter().flat_map(|at| (0..*dim as isize).map(move |i| at + i * stride)).collect();
    }
    let end = places.iter().max().map_or(0, |last| *last as usize + 1);
    let mut expected = vec![BLANK; end * size];
    let element = number.to_le_bytes();
    for place in places {
        expected[place as usize * size..][..size].copy_from_slice(&element[..size]);
    }
    let producer = Producer::Fill(Fill { element });
    let call = Call { producer, operands: vec![], steps: vec![], output, origin: String::new() };
    Trial { call, operands: vec![], expected, name: format!("{dtype} {dims:?} {strides:?}") }
}

#[test]
fn runs_of_any_length_are_filled_and_gaps_are_not() {
    for target in trial::targets() {
        let lengths = [1, 2, 7, 31, 32, 33, 63, 200, 517];
        let mut trials: Vec<_> = lengths.iter().map(|n| trial(DType::U8, 117, &[*n], &[1])).collect();
        trials.extend([
            trial(DType::I8, -3, &[2, 3, 21], &[200, 30, 1]),
            trial(DType::F32, i64::from(0.5_f32.to_bits()), &[3, 9], &[11, 1]),
            trial(DType::I16, -2, &[3, 5], &[1, 7]),
            trial(DType::I64, -4, &[2, 5], &[12, 2]),
            trial(DType::U8, 1, &[2, 0, 3], &[3, 3, 1]),
            trial(DType::U8, 1, &[1, 1], &[3, 1]),
        ]);
        trial::equal(target, &trials);
    }
}
