//! A tape of numbers that encodes a graph. When the test framework shortens the tape or reduces its numbers, the graph
//! becomes simpler.

use std::cell::Cell;

use eightfold_ir::{DType, Data, Shape, Tensor};

/// A list of numbers, read once. After its end, every choice is the first one.
pub(crate) struct Tape {
    numbers: Vec<u16>,
    at: Cell<usize>,
}

impl Tape {
    pub(crate) fn new(numbers: &[u16]) -> Tape {
        Tape { numbers: numbers.to_vec(), at: Cell::new(0) }
    }

    /// A number below `count`.
    pub(crate) fn below(&self, count: usize) -> usize {
        let at = self.at.replace(self.at.get() + 1);
        usize::from(self.numbers.get(at).copied().unwrap_or(0)) % count
    }

    /// An element of a list.
    pub(crate) fn pick<T: Clone>(&self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// True once in `count` times; false is the simpler choice.
    pub(crate) fn one_in(&self, count: usize) -> bool {
        self.below(count) + 1 == count
    }

    /// Elements of a tensor; the rest of the tape does not depend on them. Floats are multiples of 1/8, so that ties
    /// occur and most sums are exact; wide integers are small.
    pub(crate) fn tensor(&self, dtype: DType, shape: &[usize]) -> Tensor {
        let mut state = self.below(1 << 16) as u64;
        let mut word = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let count: usize = shape.iter().product();
        if dtype.is_float() {
            let numbers = (0..count).map(|_| (word() % 65) as f32 / 8.0 - 4.0).collect();
            return Tensor::from_array(dtype, Shape::new(shape), &Data::Float(numbers));
        }
        let (least, greatest) = dtype.integer_range().unwrap_or((-9, 9));
        let (least, greatest) = if dtype.bits() > 8 { (least.max(-9), 9) } else { (least, greatest) };
        let span = (greatest - least + 1) as u64;
        let numbers: Vec<i64> = (0..count).map(|_| least + (word() % span) as i64).collect();
        Tensor::int(dtype, shape, &numbers)
    }
}
