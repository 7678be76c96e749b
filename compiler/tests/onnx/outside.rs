//! Resources outside the repository: shared models, benchmark networks, and ONNX Runtime as the reference.
//!
//! Each is located by an environment variable that `cargo xtask test` sets. A test reports missing resources and ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use eightfold::dataset::{read_npz, write_npz};
use eightfold_ir::{DType, Graph, Tensor, parse};

/// The workspace's folder.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The digits model in the repository.
pub(crate) fn digits() -> PathBuf {
    workspace().join("testdata/models/digits/digits.onnx")
}

/// A file in the folder of shared models and data.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("EIGHTFOLD_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    present(folder.join(path), "EIGHTFOLD_SHARED")
}

/// A benchmark network by its name.
pub(crate) fn zoo(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("EIGHTFOLD_ZOO").map_or_else(|| workspace().join("target/zoo"), PathBuf::from);
    present(folder.join(format!("{name}.onnx")), "EIGHTFOLD_ZOO")
}

fn present(path: PathBuf, variable: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("no {} ({variable} names the folder)", path.display()));
    None
}

/// Reports that a test is skipped; visible without `--nocapture`, too.
pub(crate) fn skipped(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}

/// Random inputs for a graph, the same for the same seed: normally distributed floats, integers over their full range.
pub(crate) fn random_inputs(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let of_input = |(index, id): (usize, &eightfold_ir::ValueId)| {
        let ty = graph.ty(*id);
        // Wider integers are mostly indices.
        let bounds = if ty.dtype.is_integer() && ty.dtype.bits() > 8 { ", min=0, max=3" } else { "" };
        let seed = seed * 1000 + index as u64;
        let dims: String = ty.shape.iter().map(|dim| format!("{dim}x")).collect();
        let text = format!("graph @inputs {{\n const %x: {dims}{} = rand(seed={seed}{bounds})\n}}", ty.dtype);
        let drawn = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        drawn.constant(drawn.find("x").expect("just written")).expect("a constant").clone()
    };
    graph.inputs().iter().enumerate().map(of_input).collect()
}

/// The graph's inputs by name.
pub(crate) fn named<'a>(graph: &'a Graph, inputs: &'a [Tensor]) -> Vec<(&'a str, &'a Tensor)> {
    let name = |id: &eightfold_ir::ValueId| graph.value(*id).name.as_deref().unwrap_or_default();
    graph.inputs().iter().map(name).zip(inputs).collect()
}

/// The Python interpreter with ONNX Runtime.
pub(crate) fn python() -> Option<PathBuf> {
    let python = std::env::var_os("EIGHTFOLD_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skipped("no ONNX Runtime (EIGHTFOLD_PYTHON names the Python that has it)");
    }
    python
}

/// ONNX Runtime's outputs for these inputs; `None` without ONNX Runtime.
pub(crate) fn onnxruntime(
    model: &Path,
    inputs: &[(&str, &Tensor)],
    arguments: &[&str],
) -> Option<BTreeMap<String, Tensor>> {
    let python = python()?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (from, to) = (folder.path().join("inputs.npz"), folder.path().join("outputs.npz"));
    write_npz(&from, inputs.iter().copied()).expect("inputs are written");
    let mut command = Command::new(python);
    command.arg(workspace().join("benches/reference.py")).arg(model).args(["--batch", "0"]).args(arguments);
    let ran = command.arg("--inputs").arg(&from).arg("--outputs").arg(&to).output().expect("Python runs");
    assert!(ran.status.success(), "{}: {}", model.display(), String::from_utf8_lossy(&ran.stderr));
    Some(read_npz(&to).expect("outputs are read"))
}

/// `max|a - b| / max|b|`; NaN in both counts as equal.
pub(crate) fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
    let numbers = |t: &Tensor| -> Vec<f64> {
        match t.dtype() {
            d if d.is_float() => t.to_f32s().expect("floats").iter().map(|x| f64::from(*x)).collect(),
            DType::Bool => t.bytes().iter().map(|x| f64::from(*x)).collect(),
            _ => t.to_ints().expect("integers").iter().map(|x| *x as f64).collect(),
        }
    };
    let (a, b) = (numbers(a), numbers(b));
    let scale = b.iter().filter(|x| x.is_finite()).fold(0.0_f64, |m, x| m.max(x.abs()));
    let far = |(a, b): (&f64, &f64)| match a == b || a.is_nan() && b.is_nan() {
        true => 0.0,
        // A number against NaN is the largest difference.
        false if a.is_nan() || b.is_nan() => f64::INFINITY,
        false => (a - b).abs(),
    };
    a.iter().zip(&b).map(far).fold(0.0, f64::max) / scale.max(f64::MIN_POSITIVE)
}
