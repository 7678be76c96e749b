//! Random graphs: every graph that verifies also compiles, before and after the passes, and computes the evaluator's
//! results.
//!
//! A graph has a few nodes with any operators and steps, any types and small extents ([`draw`]). Each run tests the
//! same graphs. `EIGHTFOLD_RANDOM=2000` tests 2,000 graphs of each kind, `EIGHTFOLD_RANDOM_SEED=7` tests others. A
//! failure prints the seed and the smallest failing graph.

mod draw;
mod onnx_runtime;
mod operators;
mod precision;
mod regions;
mod steps;
mod tape;

use std::collections::BTreeMap;

use eightfold_codegen::choice::Choices;
use eightfold_codegen::interface::Variant;
use eightfold_codegen::llvm::resident::Resident;
use eightfold_codegen::program::check;
use eightfold_codegen::schedule::ScheduleContext;
use eightfold_codegen::schedule::bands::Bands;
use eightfold_codegen::schedule::lower_and_schedule;
use eightfold_codegen::schedule::parallel::Threads;
use eightfold_codegen::target::{TARGETS, Target};
use eightfold_ir::eval::eval_values;
use eightfold_ir::{Bytes, Graph, Op, Precision as Arithmetic, Tensor, eval, parse, print_full, verify};
use eightfold_passes::calibrate::{CalibrationTable, Range};
use eightfold_passes::{
    BF16, F32, INT8, PassOptions, Pipeline, SIMPLIFY, WEIGHT_INT8, WeightScales, quantized_tensors, tensor_name,
};
use eightfold_runtime::status::Status;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use draw::Style;
use precision::Precision;
use tape::Tape;

/// The length of a tape; graphs use about half of it.
const LENGTH: usize = 400;

/// The number of graphs per test: `usual`, unless the environment sets it.
fn count(usual: u32) -> u32 {
    std::env::var("EIGHTFOLD_RANDOM").ok().map_or(usual, |text| text.parse().expect("EIGHTFOLD_RANDOM is a number"))
}

fn seed() -> u64 {
    let text = std::env::var("EIGHTFOLD_RANDOM_SEED").ok();
    text.map_or(8, |text| text.parse().expect("EIGHTFOLD_RANDOM_SEED is a number"))
}

/// Runs `check` on `cases` graphs.
fn try_graphs(style: Style, cases: u32, check: impl Fn(&Tape, &Graph, &[Tensor]) -> Result<(), String>) {
    let config = Config {
        cases,
        max_global_rejects: 20 * cases,
        max_shrink_iters: 2000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed()),
        ..Config::default()
    };
    let tapes = prop::collection::vec(any::<u16>(), 0..LENGTH);
    let result = TestRunner::new(config).run(&tapes, |numbers| {
        let tape = Tape::new(&numbers);
        let Some((graph, inputs)) = draw::graph(&tape, style) else {
            return Err(TestCaseError::reject("the tape has no valid graph"));
        };
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&tape, &graph, &inputs)));
        let checked = checked.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
        });
        checked.map_err(|reason| TestCaseError::fail(format!("{reason}\n{}", print_full(&graph))))
    });
    if let Err(error) = result {
        panic!("EIGHTFOLD_RANDOM_SEED={}: {error}", seed());
    }
}

/// The results of the compiled graph, which must lower.
fn compiled(tape: &Tape, graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let targets: Vec<&'static Target> = TARGETS.iter().filter(|target| target.runs_here()).collect();
    // The newest target is the default.
    let target = targets[targets.len() - 1 - tape.below(targets.len())];
    let threads = if tape.one_in(4) { Threads::eager(2) } else { Threads::new(1) };
    let bands = if tape.one_in(4) { Bands::Always(1) } else { Bands::Never };
    let program = lower_and_schedule(
        verify(graph).expect("verifies"),
        target,
        &ScheduleContext { threads, bands, ..ScheduleContext::of(&Choices::default()) },
    )
    .map_err(|error| format!("has no program: {error}"))?;
    check(&program).map_err(|error| format!("{error}\n{program}"))?;
    let variant = Variant::of(graph, &program);
    let mut resident = Resident::new(program.clone(), &variant).map_err(|error| error.to_string())?;
    let unpacked: Vec<Bytes> = inputs.iter().map(Tensor::unpacked).collect();
    let bytes: Vec<&[u8]> = unpacked.iter().map(|bytes| &**bytes).collect();
    let sizes = variant.outputs.iter().map(|output| output.byte_size().expect("a small output"));
    let mut outputs: Vec<Vec<u8>> = sizes.map(|size| vec![0xa5; size]).collect();
    for _ in 0..2 {
        // The second run starts with an arena that the first has filled.
        match resident.run(&bytes, &mut outputs) {
            Status::OK => {}
            status => return Err(format!("the run ends with {status:?}")),
        }
    }
    let types = graph.outputs().iter().map(|output| graph.ty(output.value));
    types
        .zip(outputs)
        .map(|(ty, bytes)| Tensor::from_unpacked(ty.dtype, ty.shape.clone(), bytes).map_err(|e| e.to_string()))
        .collect()
}

/// Checks that the compiled graph computes the evaluator's results.
fn agrees(tape: &Tape, graph: &Graph, inputs: &[Tensor]) -> Result<(), String> {
    let expected = eval(graph, inputs).map_err(|error| error.to_string())?;
    let got = compiled(tape, graph, inputs)?;
    for (output, (got, expected)) in graph.outputs().iter().zip(got.iter().zip(&expected)) {
        Precision::of(graph, output.value)
            .compare(got, expected)
            .map_err(|reason| format!("compiled, output {}: {reason}", output.name))?;
    }
    Ok(())
}

/// The graph after the passes, which must verify.
fn optimized(graph: &Graph, passes: &[&str], options: &PassOptions) -> Result<Graph, String> {
    let mut graph = graph.clone();
    let pipeline = Pipeline::new(passes).expect("known passes");
    pipeline.run(&mut graph, options, &mut |_, _| {}).map_err(|error| format!("{error:?}"))?;
    verify(&graph).map_err(|errors| format!("after the passes: {errors}"))?;
    Ok(graph)
}

/// Checks that passes preserve the graph's results up to float rounding, and that it compiles.
fn keeps_meaning(tape: &Tape, graph: &Graph, inputs: &[Tensor], passes: &[&str]) -> Result<Graph, String> {
    let after = optimized(graph, passes, &PassOptions::default())?;
    let what = |reason: String| format!("{reason}\nafter the passes:\n{}", print_full(&after));
    let [expected, got] = [graph, &after].map(|graph| eval(graph, inputs).map_err(|error| what(error.to_string())));
    for (output, (got, expected)) in graph.outputs().iter().zip(got?.iter().zip(&expected?)) {
        let precision = Precision::of(graph, output.value).max(Precision::Rounded);
        precision.compare(got, expected).map_err(|reason| what(format!("passes, output {}: {reason}", output.name)))?;
    }
    agrees(tape, &after, inputs).map_err(what)?;
    Ok(after)
}

/// Ranges of the tensors that a simplified graph quantizes, from its values on these inputs.
fn ranges(graph: &Graph, inputs: &[Tensor]) -> Result<Option<CalibrationTable>, String> {
    let simple = optimized(graph, SIMPLIFY, &PassOptions::default())?;
    let wanted = quantized_tensors(&simple, &PassOptions::default());
    let values = eval_values(&simple, inputs, &wanted).map_err(|error| error.to_string())?;
    let mut ranges = BTreeMap::new();
    for (id, tensor) in wanted.iter().zip(&values) {
        let numbers = tensor.to_f32s().ok_or("a quantized tensor that holds no floats")?;
        if numbers.iter().any(|x| !x.is_finite()) {
            return Ok(None);
        }
        let range = numbers
            .iter()
            .fold(Range { min: 0.0, max: 0.0 }, |range, x| Range { min: range.min.min(*x), max: range.max.max(*x) });
        ranges.insert(tensor_name(&simple, *id), range);
    }
    let (model, calibrator) = (graph.name.clone(), "min-max".to_owned());
    Ok(Some(CalibrationTable { model, hash: String::new(), calibrator, samples: 1, ranges, means: BTreeMap::new() }))
}

#[test]
fn every_verified_graph_compiles_and_computes_what_the_evaluator_says() {
    try_graphs(Style::Anything, count(384), agrees);
}

#[test]
fn float_passes_leave_what_compiles_and_computes_the_same() {
    try_graphs(Style::Imported, count(128), |tape, graph, inputs| keeps_meaning(tape, graph, inputs, F32).map(|_| ()));
}

#[test]
fn float_passes_keep_the_meaning_of_any_graph() {
    try_graphs(Style::RowMajor, count(128), |tape, graph, inputs| keeps_meaning(tape, graph, inputs, F32).map(|_| ()));
}

#[test]
fn bf16_passes_leave_what_compiles() {
    try_graphs(Style::Imported, count(64), |tape, graph, inputs| {
        let options = PassOptions { precision: Arithmetic::Bf16, ..PassOptions::default() };
        let after = optimized(graph, BF16, &options)?;
        agrees(tape, &after, inputs).map_err(|reason| format!("{reason}\nin bf16:\n{}", print_full(&after)))
    });
}

#[test]
fn weight_int8_passes_leave_what_compiles() {
    try_graphs(Style::Imported, count(64), |tape, graph, inputs| {
        let weight_scales = tape.pick(&[WeightScales::PerChannel, WeightScales::PerTensor]);
        let options = PassOptions { precision: Arithmetic::WeightInt8, weight_scales, ..PassOptions::default() };
        let after = optimized(graph, WEIGHT_INT8, &options)?;
        agrees(tape, &after, inputs).map_err(|reason| format!("{reason}\nin weight-int8:\n{}", print_full(&after)))
    });
}

#[test]
fn int8_passes_leave_what_compiles() {
    try_graphs(Style::Imported, count(192), |tape, graph, inputs| {
        let Some(table) = ranges(graph, inputs)? else { return Ok(()) };
        let calibration = if tape.one_in(4) { None } else { Some(table) };
        let pair_sums = TARGETS.iter().find_map(eightfold::options::target::pair_sums).filter(|_| tape.one_in(2));
        let precision = Arithmetic::Int8;
        let options = PassOptions {
            precision,
            calibration,
            pair_sums,
            reduce_range: tape.one_in(3),
            activation_storage: tape.pick(&[eightfold_ir::DType::U8, eightfold_ir::DType::I8]),
            ..PassOptions::default()
        };
        let after = optimized(graph, INT8, &options)?;
        agrees(tape, &after, inputs).map_err(|reason| format!("{reason}\nin int8:\n{}", print_full(&after)))
    });
}

/// If a graph with any precisions verifies, the passes can handle it.
#[test]
fn passes_go_by_any_precisions_of_a_graph() {
    try_graphs(Style::Imported, count(128), |tape, graph, inputs| {
        let mut graph = graph.clone();
        for id in graph.topo() {
            let [f32, bf16] = [Some(Arithmetic::F32), Some(Arithmetic::Bf16)];
            let [int8, weight_int8] = [Some(Arithmetic::Int8), Some(Arithmetic::WeightInt8)];
            graph.set_precision(id, tape.pick(&[None, f32, bf16, int8, weight_int8]));
            if verify(&graph).is_err() {
                graph.set_precision(id, None);
            }
        }
        let text = print_full(&graph);
        if parse(&text).map_err(|error| error.to_string())? != graph {
            return Err("the text reads back as another graph".to_owned());
        }
        let (passes, precision) = tape.pick(&[
            (F32, Arithmetic::F32),
            (BF16, Arithmetic::Bf16),
            (INT8, Arithmetic::Int8),
            (WEIGHT_INT8, Arithmetic::WeightInt8),
        ]);
        let calibration = if tape.one_in(4) { None } else { ranges(&graph, inputs)? };
        let after = optimized(&graph, passes, &PassOptions { precision, calibration, ..PassOptions::default() })?;
        let what = |reason| format!("{reason}\nof\n{text}\nin {precision}:\n{}", print_full(&after));
        agrees(tape, &after, inputs).map_err(what)
    });
}

/// The tests above would be useless if the graphs did not cover everything.
#[test]
fn graphs_of_a_run_have_all_operators_and_most_tapes_a_graph() {
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed()), ..Config::default() });
    let tapes = prop::collection::vec(any::<u16>(), 0..LENGTH);
    let (mut graphs, mut nodes) = (0, BTreeMap::<&str, [usize; 2]>::new());
    for _ in 0..2000 {
        let numbers = tapes.new_tree(&mut runner).expect("a tape").current();
        let Some((graph, _)) = draw::graph(&Tape::new(&numbers), Style::Anything) else { continue };
        graphs += 1;
        for node in graph.nodes() {
            nodes.entry(node.op.name()).or_default()[usize::from(!node.epilogue.is_empty())] += 1;
        }
    }
    assert!(graphs >= 1200, "{graphs} of 2000 tapes have a graph");
    for name in Op::NAMES {
        let [bare, with_steps] = nodes.get(name).copied().unwrap_or_default();
        assert!(bare >= 3 && with_steps >= 3, "{name}: {bare} nodes without steps, {with_steps} with some");
    }
}
