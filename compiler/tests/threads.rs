//! Models on several threads: repeated runs, many sessions, and C programs with their own threads.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use eightfold::artifact::Artifact;
use eightfold_codegen::choice::Choices;
use eightfold_codegen::header::c_header;
use eightfold_codegen::interface::{Interface, Variant};
use eightfold_codegen::llvm::artifact::{Listings, compile};
use eightfold_codegen::llvm::resident::Resident;
use eightfold_codegen::object::Linker;
use eightfold_codegen::program::check;
use eightfold_codegen::schedule::ScheduleContext;
use eightfold_codegen::schedule::lower_and_schedule;
use eightfold_codegen::schedule::parallel::Threads;
use eightfold_codegen::target::{TARGETS, Target, X86_64};
use eightfold_ir::op::conv::{Conv, canonical};
use eightfold_ir::op::gather::Gather;
use eightfold_ir::op::map::Map;
use eightfold_ir::{DType, Epilogue, Function, Graph, Layout, Origin, Shape, Step, Tensor, TensorType, eval};
use eightfold_runtime::status::Status;
use tempfile::TempDir;

const CHANNELS: usize = 24;
const SIZE: usize = 9;

fn target() -> &'static Target {
    TARGETS.iter().rfind(|target| target.runs_here()).expect("a target that runs here")
}

/// Three padded convolutions in sequence: each needs rows that other threads have written.
fn graph() -> Graph {
    let mut graph = Graph::new("rows");
    let dims = [1, CHANNELS, SIZE, SIZE];
    let mut value = graph.add_input("x", TensorType::new(DType::F32, Shape::new(&dims)));
    for layer in 0..3 {
        let count = CHANNELS * CHANNELS * 9;
        let numbers: Vec<f32> = (0..count).map(|i| ((i * 7 + layer) % 23) as f32 / 100.0 - 0.11).collect();
        let weights = graph.add_const("", Tensor::f32(&[CHANNELS, CHANNELS, 3, 3], &numbers), None);
        let conv = Conv {
            pads: canonical(&[1; 4], 0),
            strides: canonical(&[1; 2], 1),
            dilations: canonical(&[1; 2], 1),
            group: 1,
        };
        let steps = Epilogue::new(vec![Step::unary(Function::Relu)]);
        let operands = [Some(value), Some(weights)];
        value = graph.add_node("", conv, &operands, steps, None, Origin::of("case")).expect("a well-formed case");
        graph.set_layout(value, Layout::Nhwc);
    }
    graph.add_output("y", value);
    graph
}

/// Makes this many threads share every call that can be split.
fn eager(threads: usize) -> ScheduleContext<'static> {
    static CHOICES: LazyLock<Choices> = LazyLock::new(Choices::default);
    ScheduleContext { threads: Threads::eager(threads), ..ScheduleContext::of(&CHOICES) }
}

/// Compiles the graph into a folder, as `rows.so`, `rows.o` and `rows.h`.
fn compiled(threads: usize) -> TempDir {
    let graph = graph();
    let program =
        lower_and_schedule(eightfold_ir::verify(&graph).expect("verifies"), target(), &eager(threads)).expect("lowers");
    check(&program).unwrap_or_else(|error| panic!("{error}\n{program}"));
    assert_eq!(program.workers(), threads - 1, "{program}");
    let interface = Interface {
        name: "rows".to_owned(),
        symbol_prefix: "rows".to_owned(),
        provenance: String::new(),
        variants: vec![Variant::of(&graph, &program)],
    };
    let folder = tempfile::tempdir().unwrap();
    let compiled = compile(&[program], &interface, Listings::default()).expect("compiles");
    let library = folder.path().join("rows.so");
    Linker::from_env(&X86_64).link_shared(&compiled.object, &interface.query_symbol(), &library).expect("links");
    fs::write(folder.path().join("rows.o"), compiled.object.to_vec()).unwrap();
    fs::write(folder.path().join("rows.h"), c_header(&interface).unwrap()).unwrap();
    folder
}

fn input(seed: usize) -> Vec<u8> {
    let numbers = (0..CHANNELS * SIZE * SIZE).map(|i| ((i * 31 + seed * 17) % 101) as f32 / 50.0 - 1.0);
    numbers.flat_map(f32::to_le_bytes).collect()
}

#[test]
fn runs_and_sessions_come_and_go() {
    let artifacts = [1, 2, 3, 5].map(|threads| {
        let folder = compiled(threads);
        Artifact::load(&folder.path().join("rows.so")).unwrap()
    });
    let mut one = artifacts[0].session().unwrap();
    let inputs: Vec<Vec<u8>> = (0..7).map(input).collect();
    let expected: Vec<Vec<Vec<u8>>> = inputs
        .iter()
        .map(|input| {
            let mut outputs = one.output_buffers();
            one.run(&[input], &mut outputs).unwrap();
            outputs
        })
        .collect();
    for artifact in &artifacts[1..] {
        for round in 0..20 {
            // Concurrent sessions, each with its own workers, more of them than cores.
            let mut sessions = [artifact.session().unwrap(), artifact.session().unwrap()];
            std::thread::scope(|scope| {
                for session in &mut sessions {
                    let (inputs, expected) = (&inputs, &expected);
                    scope.spawn(move || {
                        let mut outputs = session.output_buffers();
                        for run in 0..30 {
                            let index = (run + round) % inputs.len();
                            session.run(&[&inputs[index]], &mut outputs).unwrap();
                            assert!(outputs == expected[index], "{} threads", session.variant().threads);
                        }
                    });
                }
            });
        }
    }
}

#[test]
fn c_programs_run_it_in_sessions_and_by_threads_of_their_own() {
    let folder = compiled(2);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/threads/program.c");
    fs::copy(source, folder.path().join("program.c")).unwrap();
    let flags =
        ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "program.c", "./rows.so", "-o", "program"];
    match Command::new("cc").args(flags).current_dir(folder.path()).output() {
        Err(error) => return eprintln!("skipped: no C compiler: {error}"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
    }
    let ran = Command::new("./program").current_dir(folder.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{}: {printed}{}", ran.status, String::from_utf8_lossy(&ran.stderr));
    let expected = "\
threads 2 workers 1
without a host 4
no room for a stack 7: the threads that the variant needs could not be created
sessions 0 differ 0
own threads 0 differ 0
";
    assert_eq!(printed, expected);
}

/// Rows of a table, looked up and scaled; the row indices are an input.
fn looking_up() -> Graph {
    let mut graph = Graph::new("look_up");
    let table = graph.add_input("table", TensorType::new(DType::F32, Shape::new(&[16, 64])));
    let rows = graph.add_input("rows", TensorType::new(DType::I64, Shape::new(&[8])));
    let gathered = graph
        .add_node("", Gather { axis: 0 }, &[Some(table), Some(rows)], Epilogue::default(), None, Origin::of("look_up"))
        .expect("a well-formed case");
    let steps = Epilogue::new(vec![Step::unary(Function::Tanh)]);
    let y = graph.add_node("", Map {}, &[Some(gathered)], steps, None, Origin::of("tanh")).expect("a well-formed case");
    graph.add_output("y", y);
    graph
}

#[test]
fn an_index_out_of_range_is_a_status_of_that_run_whatever_the_threads() {
    let graph = looking_up();
    let table = Tensor::f32(&[16, 64], &(0..1024).map(|i| i as f32 / 1024.0).collect::<Vec<_>>());
    for threads in [1, 2, 5] {
        let program = lower_and_schedule(eightfold_ir::verify(&graph).expect("verifies"), target(), &eager(threads))
            .expect("lowers");
        check(&program).unwrap_or_else(|error| panic!("{error}\n{program}"));
        let variant = Variant::of(&graph, &program);
        let mut resident = Resident::new(program, &variant).expect("compiles");
        let mut run = |last: i64| {
            let rows = Tensor::int(DType::I64, &[8], &[0, 15, -16, 3, 2, 1, 0, last]);
            let mut y = vec![vec![0u8; 8 * 64 * 4]];
            let status = resident.run(&[table.bytes(), rows.bytes()], &mut y);
            (status, y, eval(&graph, &[table.clone(), rows]))
        };
        for inside in [-16, 15] {
            let (status, y, expected) = run(inside);
            assert_eq!(status, Status::OK, "{threads} threads, index {inside}");
            let numbers: Vec<f32> = y[0].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let expected = expected.expect("evaluates")[0].to_f32s().expect("floats");
            assert!(numbers.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
            for outside in [16, -17, i64::MAX, i64::MIN] {
                let (status, _, error) = run(outside);
                assert_eq!(status, Status::INDEX_OUT_OF_RANGE, "{threads} threads, index {outside}");
                let text = error.expect_err("no value").to_string();
                assert_eq!(text, format!("\"look_up\": index {outside} is outside an axis of extent 16"));
            }
        }
    }
}
