//! Each ONNX operator, imported alone and evaluated, against tract, which shares only the model file with us: random
//! shapes, attributes and operands.
//!
//! The importer's tests compare whole models; these tests check that every operator has ONNX's meaning.

mod drawn;
mod elementwise;
mod movement;
mod node;
mod normalization;
mod products;
mod windows;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// The number of nodes of each kind. They are the same in every run, as tract's approximations have no stated bounds.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, rng_seed: RngSeed::Fixed(8), ..ProptestConfig::default() }
}

/// Operators that tract does not support, or that disappear in the import, each with the place of its tests.
const ELSEWHERE: &[(&str, &str)] = &[
    ("Constant", "its tensor is a constant after import"),
    ("ConstantOfShape", "its tensor is a constant after import"),
    ("CastLike", "is Cast to the type of its second operand"),
    ("CumSum", "ONNX's examples in compiler/tests/onnx/cumsum.rs, and testdata/ops/cumsum.ir"),
    ("GatherElements", "its tensor is a constant after import: compiler/tests/onnx/indexed.rs"),
    ("GatherND", "its tensor is a constant after import: compiler/tests/onnx/indexed.rs"),
    ("If", "compiler/tests/onnx/regions.rs, with ONNX Runtime"),
    ("Loop", "compiler/tests/onnx/regions.rs, with ONNX Runtime"),
    ("Scan", "compiler/tests/onnx/regions.rs, with ONNX Runtime"),
    ("QuantizeLinear", "testdata/ops/quantize_linear.ir; tract multiplies by the inverse of the scale"),
    ("DequantizeLinear", "testdata/ops/dequantize_linear.ir"),
    ("QLinearConv", "testdata/ops/conv.ir, and models with ONNX Runtime"),
    ("QLinearMatMul", "testdata/ops/matmul.ir, and models with ONNX Runtime"),
    ("Range", "its tensor is a constant after import"),
    ("ScatterElements", "its tensor is a constant after import: compiler/tests/onnx/indexed.rs"),
    ("ScatterND", "its tensor is a constant after import: compiler/tests/onnx/indexed.rs"),
    ("Shape", "its tensor is a constant after import"),
    ("Size", "its tensor is a constant after import"),
    ("Swish", "tract has no opset 24"),
    ("Upsample", "is Resize with asymmetric coordinates"),
];

#[test]
fn every_operator_is_compared_or_tested_elsewhere() {
    let sources = [
        include_str!("elementwise.rs"),
        include_str!("movement.rs"),
        include_str!("normalization.rs"),
        include_str!("products.rs"),
        include_str!("windows.rs"),
    ];
    let compared = |name: &str| sources.iter().any(|source| source.contains(&format!("\"{name}\"")));
    let elsewhere = |name: &str| ELSEWHERE.iter().any(|(other, _)| *other == name);
    let operators = eightfold::onnx::operators();
    let onnx = operators.iter().filter(|(domain, _)| domain.is_empty()).map(|(_, name)| *name);
    let (both, neither): (Vec<_>, Vec<_>) =
        onnx.filter(|name| compared(name) == elsewhere(name)).partition(|name| compared(name));
    assert!(neither.is_empty() && both.is_empty(), "compared nowhere: {neither:?}, twice: {both:?}");
}
