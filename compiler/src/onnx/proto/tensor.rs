//! The contents of a TensorProto: raw bytes, or numbers in the field of their type.

use eightfold_ir::{DType, Shape, Tensor};

use super::messages::TensorProto;
use crate::onnx::error::OnnxError;

/// A tensor of type `dtype` whose contents are in the message itself.
pub(super) fn typed(mut tensor: TensorProto, dtype: DType) -> Result<Tensor, OnnxError> {
    let raw_data = std::mem::take(&mut tensor.raw_data);
    let TensorProto { name, dims, .. } = &tensor;
    if tensor.segment.is_some() {
        return Err(OnnxError::Tensor { tensor: name.clone(), reason: "is one segment of several".to_owned() });
    }
    if !raw_data.is_empty() {
        return raw(name, dims, dtype, raw_data);
    }
    fn bytes<T: Copy, const N: usize>(list: &[T], f: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        list.iter().flat_map(|x| f(*x)).collect()
    }
    let ints = &tensor.int32_data;
    let bytes = match dtype {
        DType::F32 => bytes(&tensor.float_data, f32::to_le_bytes),
        DType::F64 => bytes(&tensor.double_data, f64::to_le_bytes),
        DType::I64 => bytes(&tensor.int64_data, i64::to_le_bytes),
        DType::U64 => bytes(&tensor.uint64_data, u64::to_le_bytes),
        DType::U32 => bytes(&tensor.uint64_data, |x| (x as u32).to_le_bytes()),
        DType::I32 => bytes(ints, i32::to_le_bytes),
        // Half-precision numbers are stored as their bits.
        DType::F16 | DType::Bf16 | DType::I16 | DType::U16 => bytes(ints, |x| (x as u16).to_le_bytes()),
        DType::I8 | DType::U8 | DType::Bool | DType::I4 | DType::U4 => bytes(ints, |x| [x as u8]),
    };
    raw(name, dims, dtype, bytes)
}

/// A tensor of raw bytes in ONNX's layout, which differs from the IR's only for booleans.
pub(super) fn raw(name: &str, dims: &[i64], dtype: DType, bytes: Vec<u8>) -> Result<Tensor, OnnxError> {
    let error = |reason: String| OnnxError::Tensor { tensor: name.to_owned(), reason };
    let shape: Option<Vec<usize>> = dims.iter().map(|d| usize::try_from(*d).ok()).collect();
    let shape = shape.ok_or_else(|| error(format!("has a negative extent in {dims:?}")))?;
    let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= usize::MAX >> 8);
    let elements = elements.ok_or_else(|| error(format!("is too large: {dims:?}")))?;
    let expected = dtype.packed_size(elements);
    if bytes.len() != expected {
        return Err(error(format!("{dims:?} of {dtype} takes {expected} bytes, got {}", bytes.len())));
    }
    let bytes: Vec<u8> = match dtype {
        DType::Bool => bytes.iter().map(|x| u8::from(*x != 0)).collect(),
        _ => bytes,
    };
    Ok(Tensor::new(dtype, Shape::new(&shape), bytes).expect("the number of bytes has been checked"))
}
