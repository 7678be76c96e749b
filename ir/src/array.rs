//! Tensors as the evaluator uses them, and iteration over their coordinates.

use std::borrow::Cow;

use half::{bf16, f16};

use crate::tensor::{Data, Tensor};
use crate::types::{DType, Shape};

/// A tensor with one unpacked number per element, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
    /// One number per element of the shape.
    pub data: Data,
}

impl Array {
    /// Returns the numbers as floats. Converts integers.
    #[must_use]
    pub fn floats(&self) -> Cow<'_, [f32]> {
        match &self.data {
            Data::Float(v) => Cow::Borrowed(v),
            Data::Int(v) => Cow::Owned(v.iter().map(|x| *x as f32).collect()),
        }
    }

    /// Returns the numbers as integers. Truncates floats towards zero.
    #[must_use]
    pub fn ints(&self) -> Cow<'_, [i64]> {
        match &self.data {
            Data::Int(v) => Cow::Borrowed(v),
            Data::Float(v) => Cow::Owned(v.iter().map(|x| *x as i64).collect()),
        }
    }

    /// Returns the elements at position `index` of `axis`, without this axis.
    #[must_use]
    pub fn at(&self, axis: usize, index: usize) -> Array {
        let mut shape = self.shape.to_vec();
        let extent = shape.remove(axis);
        let inner: usize = self.shape[axis + 1..].iter().product();
        let position = |i: usize| (i / inner * extent + index) * inner + i % inner;
        let count: usize = shape.iter().product();
        let data = self.data.gather((0..count).map(position));
        Array { dtype: self.dtype, shape: Shape::new(&shape), data }
    }

    /// Writes `slice` at position `index` of `axis`.
    pub fn set(&mut self, axis: usize, index: usize, slice: &Array) {
        fn write<T: Copy>(to: &mut [T], from: &[T], (extent, inner, index): (usize, usize, usize)) {
            for (block, run) in from.chunks_exact(inner.max(1)).enumerate() {
                to[(block * extent + index) * inner..][..inner].copy_from_slice(run);
            }
        }
        let place = (self.shape[axis], self.shape[axis + 1..].iter().product(), index);
        match (&mut self.data, &slice.data) {
            (Data::Float(to), Data::Float(from)) => write(to, from, place),
            (Data::Int(to), Data::Int(from)) => write(to, from, place),
            _ => unreachable!("both have the same element type"),
        }
    }

    /// Returns an array of zeros.
    #[must_use]
    pub fn zeros(dtype: DType, shape: Shape) -> Array {
        let count = shape.elements();
        let data = if dtype.is_float() { Data::Float(vec![0.0; count]) } else { Data::Int(vec![0; count]) };
        Array { dtype, shape, data }
    }

    /// Rounds or wraps each number to the element type.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        match (&mut self.data, self.dtype) {
            (Data::Float(v), DType::F16) => v.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32()),
            (Data::Float(v), DType::Bf16) => v.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32()),
            (Data::Int(v), dtype) if dtype.bits() < 64 => v.iter_mut().for_each(|x| *x = dtype.wrap(*x)),
            _ => {}
        }
        self
    }
}

impl From<&Tensor> for Array {
    fn from(tensor: &Tensor) -> Self {
        Array { dtype: tensor.dtype(), shape: tensor.shape().clone(), data: tensor.data() }
    }
}

impl From<&Array> for Tensor {
    fn from(array: &Array) -> Self {
        Tensor::from_array(array.dtype, array.shape.clone(), &array.data)
    }
}

/// For each element of `to` in row-major order, yields the row-major position of the element of `from` that is
/// broadcast to it.
pub fn index_map<'a>(from: &Shape, to: &'a Shape) -> impl Iterator<Item = usize> + 'a {
    let own = from.strides();
    let missing = to.rank() - from.rank();
    let strides: Vec<usize> = (0..to.rank())
        .map(|axis| match axis.checked_sub(missing) {
            Some(a) if from[a] != 1 => own[a],
            _ => 0,
        })
        .collect();
    strided(to, 0, strides)
}

/// Yields `offset + sum(index[axis] * strides[axis])` for all indices of `shape` in row-major order. The arithmetic
/// wraps, so a negative stride can be passed as a cast `usize`.
pub fn strided(shape: &Shape, offset: usize, strides: Vec<usize>) -> impl Iterator<Item = usize> + '_ {
    let mut index = vec![0_usize; shape.rank()];
    let mut position = offset;
    let count = shape.elements();
    (0..count).map(move |_| {
        let here = position;
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            position = position.wrapping_add(strides[axis]);
            if index[axis] < shape[axis] {
                break;
            }
            position = position.wrapping_sub(strides[axis].wrapping_mul(shape[axis]));
            index[axis] = 0;
        }
        here
    })
}
