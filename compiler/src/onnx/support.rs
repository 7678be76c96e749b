//! Supported element types and limits of each operator, for lists. Tests compile operators with each type.

use eightfold_ir::Function;
use eightfold_ir::scalar::Meaning;

use super::adapt::operators;

/// The support for an ONNX operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// Its domain; empty for the default one.
    pub domain: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Element types of its data.
    pub types: &'static str,
    /// Forms that are not supported, or conditions; empty if there are none.
    pub limits: &'static str,
}

/// The support for all operators that can be imported, by domain and name.
#[must_use]
pub fn support() -> Vec<Support> {
    let find = |rows: &[(&'static str, &str)], name: &str| {
        let listed = |row: &&(&'static str, &str)| row.1.split_whitespace().any(|listed| listed == name);
        rows.iter().find(listed).map_or("", |row| row.0)
    };
    let types = |name: &str| Function::from_onnx(name).map_or_else(|| find(TYPES, name), types_of);
    let row = |(domain, name)| Support { domain, name, types: types(name), limits: find(LIMITS, name) };
    operators().into_iter().map(row).collect()
}

const ANY: &str = "all but i4 u4";
const NUMBERS: &str = "f32 f16 bf16, integers";
const FLOATS: &str = "f32 f16 bf16";
const COMPARED: &str = "f32 f16 bf16, integers, bool";
const PRODUCTS: &str = "f32 bf16 i8 u8";
const QUANTIZED: &str = "i8 u8";

/// Element types of an operator that is a scalar function.
fn types_of(function: Function) -> &'static str {
    match function.meaning() {
        Meaning::Arithmetic { int: Some(_), .. } => NUMBERS,
        Meaning::Arithmetic { int: None, .. } => FLOATS,
        Meaning::Comparison { .. } | Meaning::Select => COMPARED,
        Meaning::Logic(_) => "bool",
    }
}

/// Element types, and the operators that support them, without scalar functions. Operators on floats also support int8 by
/// quantization.
const TYPES: &[(&str, &str)] = &[
    (
        ANY,
        "Cast CastLike Concat Constant ConstantOfShape DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND Identity If Loop Pad Reshape Scan ScatterElements ScatterND Shape Size Slice \
         SpaceToDepth Split Squeeze Tile Transpose Unsqueeze",
    ),
    (
        NUMBERS,
        "Clip GlobalMaxPool Max Min Mod Pow ReduceL1 ReduceMax ReduceMin ReduceProd ReduceSum ReduceSumSquare Sum",
    ),
    (
        FLOATS,
        "BatchNormalization Celu Elu Gelu GlobalAveragePool HardSigmoid InstanceNormalization LayerNormalization \
         LeakyRelu LogSoftmax Mean Mish QuantizeLinear ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean Selu Swish",
    ),
    (PRODUCTS, "Conv ConvTranspose Gemm MatMul"),
    ("f32 f16 bf16 f64", "AveragePool"),
    ("f32 f16 bf16 f64, integers", "MaxPool"),
    ("all by nearest, f32 f16 bf16 f64 by linear", "Resize Upsample"),
    ("f32; int8 by quantization", "Softmax"),
    ("f32", "ThresholdedRelu"),
    ("f32 i32 i64", "CumSum"),
    ("integers, floats", "Range"),
    ("i8 u8 i16 u16 i32", "DequantizeLinear"),
    (
        QUANTIZED,
        "QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMatMul \
         QLinearMul QLinearSigmoid QLinearSoftmax",
    ),
];

/// Limits, and the operators that have them.
const LIMITS: &[(&str, &str)] = &[
    ("without training mode", "BatchNormalization Dropout"),
    ("branches of equal shapes", "If"),
    ("constant trip count, or --max-trip", "Loop"),
    ("without sequence_lens", "Scan"),
    ("constant axis", "CumSum"),
    ("of constants only", "GatherElements GatherND ScatterElements ScatterND"),
    ("constant operands", "Range ConstantOfShape"),
    ("constant shapes, axes and sizes", "Expand Pad Reshape Slice Split Squeeze Tile Unsqueeze"),
    (
        "constant axes",
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare",
    ),
    ("without the output Indices", "MaxPool"),
    ("floats with fmod, integers without", "Mod"),
    ("without the outputs Mean and InvStdDev", "LayerNormalization"),
    ("without cubic, antialias when it shrinks, and tf_crop_and_resize; constant sizes", "Resize"),
    ("constant scales", "Upsample"),
    ("constant scales and zero points; blocks and i4 u4 of constants only", "DequantizeLinear QuantizeLinear"),
    (
        "constant scales and zero points",
        "QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMatMul \
         QLinearMul QLinearSigmoid QLinearSoftmax",
    ),
    ("int8 by quantization and bf16 by --precision with constant weights only", "Conv ConvTranspose Gemm MatMul"),
    ("not to or from f64", "Cast CastLike"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_has_one_row_and_every_row_an_operator() {
        let operators = operators();
        for (_, name) in &operators {
            let rows = TYPES.iter().flat_map(|row| row.1.split_whitespace()).filter(|listed| listed == name).count();
            let expected = usize::from(Function::from_onnx(name).is_none());
            assert_eq!(rows, expected, "types of {name}");
        }
        for rows in [TYPES, LIMITS] {
            for listed in rows.iter().flat_map(|row| row.1.split_whitespace()) {
                assert!(operators.iter().any(|(_, name)| *name == listed), "{listed} is not imported");
                let count = rows.iter().flat_map(|row| row.1.split_whitespace()).filter(|name| *name == listed).count();
                assert!(count == 1, "{listed} has {count} rows");
            }
        }
    }
}
