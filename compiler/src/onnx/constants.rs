//! Inputs that the user makes constants, so that everything that depends only on them is computed at import.

use std::collections::BTreeMap;
use std::fmt;

use eightfold_ir::{DType, Data, Shape, Tensor};
use sha2::{Digest, Sha256};

use super::error::OnnxError;
use super::model::Declared;
use crate::report::numbers::hex;

/// The value of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// A number or boolean as text, for all elements of the input.
    Literal(String),
    /// An array with all elements.
    Tensor(Tensor),
}

impl fmt::Display for Constant {
    /// The literal, or the shape, type and hash of the tensor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constant::Literal(text) => f.write_str(text),
            Constant::Tensor(tensor) => {
                let hash = hex(&Sha256::digest(tensor.bytes()));
                write!(f, "{}x{} sha256:{hash}", tensor.shape(), tensor.dtype())
            }
        }
    }
}

/// The tensor for an input of this type and shape.
pub(super) fn tensor(input: &str, constant: &Constant, dtype: DType, shape: &Shape) -> Result<Tensor, OnnxError> {
    let error =
        |got: String| OnnxError::Constant { input: input.to_owned(), expected: format!("{shape}x{dtype}"), got };
    match constant {
        Constant::Tensor(tensor) if tensor.dtype() == dtype && tensor.shape() == shape => Ok(tensor.clone()),
        Constant::Tensor(tensor) => Err(error(format!("{}x{}", tensor.shape(), tensor.dtype()))),
        Constant::Literal(text) => {
            let number = number(text, dtype).ok_or_else(|| error(format!("{text:?}")))?;
            let data = match number {
                Number::Float(x) => Data::Float(vec![x; shape.elements()]),
                Number::Int(x) => Data::Int(vec![x; shape.elements()]),
            };
            Ok(Tensor::from_array(dtype, shape.clone(), &data))
        }
    }
}

enum Number {
    Float(f32),
    Int(i64),
}

/// Parses a number of this type.
fn number(text: &str, dtype: DType) -> Option<Number> {
    if dtype.is_float() {
        return text.parse().ok().map(Number::Float);
    }
    let int = match (dtype, text) {
        (DType::Bool, "true") => 1,
        (DType::Bool, "false") => 0,
        _ => text.parse().ok()?,
    };
    let (least, greatest) =
        if dtype == DType::Bool { (0, 1) } else { dtype.integer_range().unwrap_or((i64::MIN, i64::MAX)) };
    (least..=greatest).contains(&int).then_some(Number::Int(int))
}

/// Fails if the model has no input for one of the constants.
pub(super) fn check(inputs: &[&Declared], constants: &BTreeMap<String, Constant>) -> Result<(), OnnxError> {
    let unknown = |name: &&String| inputs.iter().all(|input| input.name != **name);
    match constants.keys().find(unknown) {
        None => Ok(()),
        Some(name) => {
            let known = inputs.iter().map(|input| input.name.clone()).collect();
            Err(OnnxError::UnknownInput { name: name.clone(), known })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_fill_an_input_or_say_what_is_expected() {
        let fill = |text: &str, dtype| tensor("x", &Constant::Literal(text.to_owned()), dtype, &Shape::new(&[2]));
        assert_eq!(fill("16000", DType::I64).unwrap(), Tensor::int(DType::I64, &[2], &[16000, 16000]));
        assert_eq!(fill("-1.5", DType::F32).unwrap(), Tensor::f32(&[2], &[-1.5, -1.5]));
        assert_eq!(fill("true", DType::Bool).unwrap(), Tensor::int(DType::Bool, &[2], &[1, 1]));
        let error = fill("300", DType::U8).unwrap_err().to_string();
        assert_eq!(error, "the constant for input \"x\" must be 2xu8, got \"300\"");
        assert!(fill("1.5", DType::I64).is_err());
        let array = Constant::Tensor(Tensor::f32(&[3], &[0.0; 3]));
        let error = tensor("x", &array, DType::F32, &Shape::new(&[2])).unwrap_err().to_string();
        assert_eq!(error, "the constant for input \"x\" must be 2xf32, got 3xf32");
    }
}
