//! Interfaces that are refused, and the sizes that interfaces compute.

use eightfold_codegen::interface::{InterfaceError, Quantization, Tensor, c_identifier};
use eightfold_ir::DType;

use crate::plus_one;

fn tensor(dtype: DType, dims: &[usize]) -> Tensor {
    Tensor { name: "t".to_owned(), dtype, dims: dims.to_vec(), quantization: None }
}

#[test]
fn byte_sizes_follow_element_types() {
    let size = |number, dims: &[usize]| tensor(DType::from_onnx(number).unwrap(), dims).byte_size();
    assert_eq!(size(1, &[1, 3, 8, 8]), Some(768));
    assert_eq!(size(1, &[]), Some(4));
    assert_eq!(size(10, &[3]), Some(6));
    assert_eq!(size(22, &[5]), Some(5));
    assert_eq!(size(3, &[0, 7]), Some(0));
    assert_eq!(size(7, &[1 << 32, 1 << 32]), None);
    assert_eq!(tensor(DType::U8, &[2, 3]).to_string(), "2x3xu8");
}

#[test]
fn refuses_what_the_c_interface_cannot_say() {
    let mut good = plus_one::interface();
    assert_eq!(good.check(), Ok(()));
    good.variants.truncate(1);
    let refused = |change: &dyn Fn(&mut eightfold_codegen::interface::Interface)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.check().unwrap_err().to_string()
    };
    for symbol in ["", "3d", "a-b", "é", "_x", "a b"] {
        let error = refused(&|bad| bad.symbol_prefix = symbol.to_owned());
        assert!(error.starts_with(&format!("symbol {symbol:?} is no C identifier")), "{error}");
    }
    assert_eq!(refused(&|bad| bad.variants.clear()), "the model has no variant");
    assert_eq!(
        refused(&|bad| bad.variants[0].outputs[0].name = "a\0b".to_owned()),
        "a tensor's name contains a NUL byte: \"a\\0b\""
    );
    assert_eq!(
        refused(&|bad| bad.variants[0].arena_align = 48),
        "variant no-such-cpu: expected a power of two as the arena's alignment, got 48"
    );
    assert_eq!(refused(&|bad| bad.variants[0].threads = 0), "variant no-such-cpu: expected at least one thread, got 0");
    assert_eq!(
        refused(&|bad| bad.variants[0].workers = 1),
        "variant no-such-cpu: expected fewer than 1 workers, got 1"
    );
    assert_eq!(
        refused(&|bad| bad.variants[0].inputs[0].dims[0] = usize::MAX),
        "tensor \"x\": dims [18446744073709551615, 16] are too large"
    );
    let quantized = |axis, count: usize| {
        let quantization = Quantization { axis, scale: vec![1.0; count], zero_point: vec![0; count] };
        refused(&|bad| bad.variants[0].inputs[0].quantization = Some(quantization.clone()))
    };
    assert_eq!(quantized(Some(2), 1), "tensor \"x\": quantized along axis 2, rank is 2");
    assert_eq!(quantized(Some(1), 3), "tensor \"x\": expected 16 scales and zero points, got 3 and 3");
    assert_eq!(quantized(None, 0), "tensor \"x\": expected 1 scales and zero points, got 0 and 0");
    assert_eq!(
        good.check().map(|()| InterfaceError::NoVariant),
        Ok(InterfaceError::NoVariant),
        "the original is still good"
    );
}

#[test]
fn makes_c_identifiers() {
    for (name, identifier) in [("resnet-50", "resnet_50"), ("7b", "m7b"), ("_x", "x"), ("模型", "model"), ("", "model")]
    {
        assert_eq!(c_identifier(name), identifier);
    }
}
