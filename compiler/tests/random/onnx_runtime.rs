//! ONNX Runtime as a second reference: imported graphs are exported as ONNX models and run there, all in one process.

use std::path::Path;
use std::process::Command;

use eightfold::dataset::{read_npz, write_npz};
use eightfold::onnx::{self, ImportOptions};
use eightfold_ir::eval::eval_values;
use eightfold_ir::op::pool::PoolKind;
use eightfold_ir::op::reduce::ReduceKind;
use eightfold_ir::op::resize::ResizeMode;
use eightfold_ir::{Graph, Node, Op, Tensor, ValueId, print_full};
use eightfold_passes::{F32, PassOptions};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::draw::{self, Style};
use crate::precision::Precision;
use crate::tape::Tape;
use crate::{LENGTH, compiled, count, optimized, seed};

/// Runs each model of a folder on its inputs. For a valid model that ONNX Runtime does not support, writes a text
/// instead.
const SCRIPT: &str = r#"
import pathlib, sys
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.log_severity_level = 3
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error):
            raise SystemExit(f"{path.name}: {error}")
        path.with_suffix(".txt").write_text(str(error))
        continue
    arrays = np.load(path.with_suffix(".npz"))
    names = [output.name for output in session.get_outputs()]
    try:
        outputs = session.run(names, {i.name: arrays[i.name] for i in session.get_inputs()})
    except Exception as error:
        path.with_suffix(".txt").write_text(str(error))
        continue
    np.savez(path.with_suffix(".out.npz"), **dict(zip(names, outputs)))
"#;

/// A graph that can be exported to ONNX.
struct Case {
    graph: Graph,
    inputs: Vec<Tensor>,
    tape: Tape,
    model: Vec<u8>,
}

/// Nodes that are not compared: ONNX does not define the mean of no elements, and ONNX Runtime 1.31 hangs on a
/// convolution without input channels.
fn is_left_out(graph: &Graph, node: &Node) -> bool {
    let is_empty = |index: usize| node.operand(index).is_some_and(|id| graph.ty(id).shape.elements() == 0);
    match &node.op {
        Op::Conv(_) | Op::ConvTranspose(_) => is_empty(1),
        Op::Reduce(reduce) => reduce.kind == ReduceKind::Mean && is_empty(0),
        _ => false,
    }
}

fn cases(wanted: usize) -> Vec<Case> {
    let seed = RngSeed::Fixed(seed());
    let mut runner = TestRunner::new(Config { rng_seed: seed, ..Config::default() });
    let tapes = prop::collection::vec(any::<u16>(), 0..LENGTH);
    let case = |numbers: Vec<u16>| {
        let tape = Tape::new(&numbers);
        let (graph, inputs) = draw::graph(&tape, Style::Imported)?;
        if graph.nodes().any(|node| is_left_out(&graph, node)) {
            return None;
        }
        let model = onnx::export(&graph).ok()?;
        Some(Case { graph, inputs, tape, model })
    };
    let drawn = (0..20 * wanted).filter_map(|_| case(tapes.new_tree(&mut runner).expect("a tape").current()));
    drawn.take(wanted).collect()
}

/// Whether ONNX Runtime's results are its own: it ignores some NaN in maxima and minima, and multiplies infinite
/// neighbours of an interpolated element by a weight of 0, which gives NaN, except at the far end of an axis.
fn is_peculiar(graph: &Graph, inputs: &[Tensor]) -> Result<bool, String> {
    let picks = |node: &Node| match &node.op {
        Op::Reduce(reduce) => matches!(reduce.kind, ReduceKind::Max | ReduceKind::Min),
        Op::Pool(pool) => pool.kind == PoolKind::Max,
        _ => false,
    };
    let interpolates = |node: &Node| matches!(&node.op, Op::Resize(resize) if resize.mode == ResizeMode::Linear);
    let reads_any = |reader: &dyn Fn(&Node) -> bool, is_odd: fn(f32) -> bool| {
        let read: Vec<ValueId> = graph.nodes().filter(|node| reader(node)).flat_map(Node::uses).collect();
        let values = eval_values(graph, inputs, &read).map_err(|error| error.to_string())?;
        Ok::<_, String>(values.iter().filter_map(Tensor::to_f32s).flatten().any(is_odd))
    };
    Ok(reads_any(&picks, f32::is_nan)? || reads_any(&interpolates, |x| !x.is_finite())?)
}

/// The difference between the compiled model and ONNX Runtime's results.
fn difference(case: &Case, theirs: &Path) -> Result<(), String> {
    if is_peculiar(&case.graph, &case.inputs)? {
        return Ok(());
    }
    let imported = onnx::from_bytes(&case.model, &ImportOptions::default()).map_err(|error| error.to_string())?;
    let graph = optimized(&imported.graph, F32, &PassOptions::default())?;
    let what = |reason: String| format!("{reason}\n{}compiled:\n{}", print_full(&case.graph), print_full(&graph));
    let got = compiled(&case.tape, &graph, &case.inputs).map_err(what)?;
    let theirs = read_npz(theirs).map_err(|error| error.to_string())?;
    for (output, got) in case.graph.outputs().iter().zip(&got) {
        let precision = Precision::of(&case.graph, output.value).max(Precision::Rounded);
        let compared = precision.compare(got, &theirs[&*output.name]);
        compared.map_err(|reason| what(format!("output {}: {reason}", output.name)))?;
    }
    Ok(())
}

#[test]
fn compiled_graphs_compute_what_onnx_runtime_does() {
    let Some(python) = std::env::var_os("EIGHTFOLD_PYTHON") else {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "SKIPPED: no ONNX Runtime (EIGHTFOLD_PYTHON names the Python that has it)");
        return;
    };
    let wanted = count(192) as usize;
    let cases = cases(wanted);
    assert_eq!(cases.len(), wanted, "most imported graphs have a form in ONNX");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |index: usize, extension: &str| folder.path().join(format!("{index:05}.{extension}"));
    for (index, Case { graph, inputs, model, .. }) in cases.iter().enumerate() {
        let name = |id: &eightfold_ir::ValueId| graph.value(*id).name.as_deref().expect("inputs have names");
        write_npz(&file(index, "npz"), graph.inputs().iter().map(name).zip(inputs)).expect("inputs are written");
        std::fs::write(file(index, "onnx"), model).expect("the model is written");
    }
    let ran = Command::new(python).args(["-c", SCRIPT]).arg(folder.path()).output().expect("Python runs");
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        let last = said.lines().last().unwrap_or_default();
        let index = last.split('.').next().and_then(|number| number.parse().ok());
        let graph = index.and_then(|index: usize| cases.get(index)).map(|case| print_full(&case.graph));
        panic!("ONNX Runtime does not load what is exported: {last}\n{}", graph.unwrap_or_default());
    }
    let (mut compared, mut wrong) = (0, Vec::new());
    for (index, case) in cases.iter().enumerate().filter(|(index, _)| !file(*index, "txt").exists()) {
        compared += 1;
        if let Err(reason) = difference(case, &file(index, "out.npz")) {
            wrong.push(format!("graph {index}: {reason}"));
        }
    }
    assert!(10 * compared >= 9 * wanted, "ONNX Runtime runs {compared} of {wanted}");
    wrong.sort_by_key(String::len);
    let first = wrong.first().map_or("", String::as_str);
    assert!(wrong.is_empty(), "EIGHTFOLD_RANDOM_SEED={}: {} differ, the shortest:\n{first}", seed(), wrong.len());
}
