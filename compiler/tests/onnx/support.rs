//! Compares the element types that `list ops` prints with what compiles.

use std::collections::BTreeSet;

use eightfold::onnx::{ImportOptions, support};
use eightfold::{OptimizeOptions, load, optimize};
use eightfold_codegen::target::Target;
use eightfold_ir::DType;

use crate::making::{bytes, declared, model, node};

/// Whether a model of one node with `x` as every operand compiles.
fn compiles(operator: &str, reads: usize, dtype: DType, folder: &std::path::Path) -> bool {
    let mut made = model(vec![node(operator, &vec!["x"; reads].join(" "), "y")], Vec::new());
    made.opset_import[0].version = 24;
    made.graph.as_mut().unwrap().input = vec![declared("x", dtype.onnx(), &[1, 2, 4, 4])];
    let path = folder.join("model.onnx");
    std::fs::write(&path, bytes(&made)).unwrap();
    let Ok(model) = load(&path, &ImportOptions::default()) else { return false };
    let options = OptimizeOptions::new(Target::find("x86-64-v3").unwrap());
    let optimized = optimize(&model, None, &options, &mut ());
    optimized.is_ok_and(|optimized| eightfold::compile(&optimized, "model", Default::default()).is_ok())
}

/// The types in a row: single names, `all`, and `integers`.
fn claims(types: &str, dtype: DType) -> bool {
    let words: BTreeSet<&str> = types.split([' ', ',', ';']).collect();
    words.contains("all") || words.contains(dtype.name()) || words.contains("integers") && dtype.is_integer()
}

#[test]
fn operators_compile_for_the_types_that_are_listed_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let (mut checked, mut wrong) = (0, Vec::new());
    // Clip without bounds, which are operands, changes nothing, so it accepts all types.
    for row in support().iter().filter(|row| row.domain.is_empty() && row.name != "Clip") {
        // Operators that need more than operands are tested by whole models.
        let first = DType::ALL.iter().copied().find(|dtype| claims(row.types, *dtype)).expect("a type");
        let Some(reads) = [2, 1, 3].into_iter().find(|reads| compiles(row.name, *reads, first, folder.path())) else {
            continue;
        };
        checked += 1;
        for dtype in [DType::F32, DType::F16, DType::Bf16, DType::F64, DType::I8, DType::I32, DType::I64, DType::Bool] {
            let (claimed, compiled) = (claims(row.types, dtype), compiles(row.name, reads, dtype, folder.path()));
            if claimed != compiled {
                wrong.push(format!("{} of {dtype}: listed {claimed}, compiles {compiled}", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked >= 60, "{checked} operators were checked");
}
