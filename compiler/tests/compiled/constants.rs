//! Constants are in the object file once, in one section, and in the listings.

use std::fs;
use std::process::Command;

use eightfold_codegen::llvm::artifact::{CompileError, Compiled};
use eightfold_codegen::program::Scheduled;
use eightfold_codegen::schedule::ScheduleContext;
use object::ObjectSection as _;

use super::*;

/// Extents of the weights, which are most of the file.
const K: usize = 256;
const N: usize = 512;
const WEIGHT_BYTES: usize = K * N * 4;

/// A matrix product with constant weights, compiled for the oldest target, which every test machine runs.
fn product() -> Compiled {
    let mut case = Case::new("constants");
    let x = case.input("x", DType::F32, &[4, K], None);
    let w = case.random(DType::F32, &[K, N], None);
    let y = case.node(MatMul {}, &[x, w], vec![], None);
    case.output(y);
    let target = TARGETS.iter().find(|target| target.runs_here()).expect("a target runs here");
    let program = lower_and_schedule(
        eightfold_ir::verify(&case.graph).expect("verifies"),
        target,
        &ScheduleContext::of(&Choices::default()),
    )
    .expect("lowers");
    let listings = Listings { assembly: true, llvm_ir: true };
    let compiled = compile(std::slice::from_ref(&program), &interface(&case.graph, &program), listings);
    compiled.expect("compiles")
}

fn interface(graph: &Graph, program: &eightfold_codegen::program::Program) -> Interface {
    Interface {
        name: graph.name.clone(),
        symbol_prefix: "model".to_owned(),
        provenance: String::new(),
        variants: vec![Variant::of(graph, program)],
    }
}

/// The output of a linked object for fixed inputs.
fn outputs(object: &ObjectFile) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.so");
    Linker::from_env(&X86_64).link_shared(object, "model_query", &path).expect("links");
    let mut session = Artifact::load(&path).expect("loads").session().expect("a session");
    let mut outputs = session.output_buffers();
    let x = Stream(1).tensor(DType::F32, &[4, K]);
    session.run(&[x.bytes()], &mut outputs).expect("runs");
    outputs
}

#[test]
fn constants_do_not_go_through_llvm_and_lie_in_one_section_of_the_object() {
    let compiled = product();
    let code = compiled.object.code();
    assert!(code.len() < WEIGHT_BYTES / 8, "LLVM's part takes {} bytes", code.len());
    let bytes = compiled.object.to_vec();
    assert!((WEIGHT_BYTES..WEIGHT_BYTES + WEIGHT_BYTES / 8).contains(&bytes.len()), "{} bytes", bytes.len());
    let file = object::File::parse(&*bytes).expect("an object file");
    let section = file.section_by_name(".rodata.eightfold").expect("a section");
    assert_eq!(section.align(), 64);
    let contents = section.data().expect("within the file");
    assert!(contents.len() >= WEIGHT_BYTES);
    assert_eq!(bytes[bytes.len() - contents.len()..], *contents);
    // Its names cannot clash with those of another model in the same program.
    let global = file.symbols().filter(|symbol| symbol.is_global() && symbol.is_definition());
    assert_eq!(global.map(|symbol| symbol.name().expect("a name")).collect::<Vec<_>>(), ["model_query"]);
}

/// Nothing is copied unless it is needed: the pages of these weights have never been touched.
#[test]
fn weights_out_of_reach_are_an_error() {
    let mut case = Case::new("large");
    let x = case.input("x", DType::F32, &[4, K], None);
    let w = case.random(DType::F32, &[K, N], None);
    let y = case.node(MatMul {}, &[x, w], vec![], None);
    case.output(y);
    let target = &TARGETS[0];
    let lowered = lower_and_schedule(
        eightfold_ir::verify(&case.graph).expect("verifies"),
        target,
        &ScheduleContext::of(&Choices::default()),
    );
    let mut program = lowered.expect("lowers").into_program();
    program.consts[0].bytes = vec![0; CompileError::REACH].into();
    let program = Scheduled::proven(program).expect("is as sound as before");
    let error = compile(std::slice::from_ref(&program), &interface(&case.graph, &program), Listings::default());
    let error = error.expect_err("too large").to_string();
    assert!(error.starts_with("the weights take 21"), "{error}");
    assert!(error.ends_with(" bytes; code can address at most 2130706432 bytes"), "{error}");
}

#[test]
fn listings_are_complete() {
    let compiled = product();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (source, object) = (folder.path().join("model.s"), folder.path().join("model.o"));
    fs::write(&source, compiled.assembly.expect("asked for")).expect("written");
    let assembled = Command::new("cc").arg("-c").arg(&source).arg("-o").arg(&object).status().expect("a C compiler");
    assert!(assembled.success());
    let assembled = ObjectFile::from(fs::read(object).expect("assembled"));
    assert!(assembled.code().len() > WEIGHT_BYTES);
    assert_eq!(outputs(&assembled), outputs(&compiled.object));
    let llvm_ir = compiled.llvm_ir.expect("asked for");
    assert!(llvm_ir.contains("@eightfold_constants = private constant ["));
    assert!(!llvm_ir.contains("module asm"));
}

/// A lookup table, and a product with the same numbers, transposed; with `off`, one number differs.
fn tied(dtype: DType, k: usize, off: bool) -> Case {
    const ROWS: usize = 300;
    let mut case = Case::new("tied");
    let table = match dtype {
        // So small that two products fit 16 bits on every target.
        DType::I8 => {
            let values: Vec<i64> = (0..ROWS * k).map(|_| (case.stream.next() % 121) as i64 - 60).collect();
            Tensor::int(dtype, &[ROWS, k], &values)
        }
        _ => case.stream.tensor(dtype, &[ROWS, k]),
    };
    let positions = (0..k).flat_map(|column| (0..ROWS).map(move |row| row * k + column));
    let mut transposed = Tensor::from_array(dtype, Shape::new(&[k, ROWS]), &table.data().gather(positions));
    if off {
        let mut bytes = transposed.bytes().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        transposed = Tensor::new(dtype, Shape::new(&[k, ROWS]), bytes).expect("as many bytes");
    }
    let (x_type, x_quant, w_quant) = match dtype {
        DType::I8 => (DType::U8, case.q(DType::U8, 0.02, 12), case.q(dtype, 0.01, 0)),
        _ => (dtype, None, None),
    };
    let tokens = case.input("tokens", DType::U8, &[7], None);
    let tokens = case.node(Map {}, &[tokens], vec![Step::Cast(DType::I64)], None);
    let table = case.graph.add_const("table", table, None);
    let rows = case.node(Gather { axis: 0 }, &[table, tokens], vec![], None);
    case.output(rows);
    let x = case.input("x", x_type, &[5, k], x_quant);
    let w = case.graph.add_const("w", transposed, w_quant);
    let steps = if dtype == DType::I8 { vec![Step::Cast(DType::F32)] } else { vec![] };
    let y = case.node(MatMul {}, &[x, w], steps, None);
    case.output(y);
    case
}

/// The constants of a program that are as large as a table of `size` bytes.
fn as_large(graph: &Graph, target: &'static Target, bytes: usize) -> usize {
    let program = lower_and_schedule(
        eightfold_ir::verify(graph).expect("verifies"),
        target,
        &ScheduleContext::of(&Choices::default()),
    )
    .expect("lowers");
    check(&program).unwrap_or_else(|error| panic!("{error}\n{program}"));
    program.consts.iter().filter(|constant| constant.bytes.len() >= bytes).count()
}

#[test]
fn a_table_that_is_the_weights_of_a_product_is_stored_once() {
    for (dtype, k, bound) in [(DType::F32, 12, 1e-5), (DType::F32, 7, 1e-5), (DType::I8, 12, 0.0)] {
        let case = tied(dtype, k, false);
        for target in TARGETS {
            let bytes = 300 * k * dtype.byte_size();
            assert_eq!(as_large(&case.graph, target, bytes), 1, "{dtype} on {}", target.name);
        }
        case.check(bound);
    }
}

#[test]
fn a_table_that_differs_is_stored_beside_the_weights() {
    // Rows of 7 integers are padded to groups of four, so the table's rows are not contiguous in the packed weights.
    for (dtype, k, off, bound) in [(DType::F32, 12, true, 1e-5), (DType::I8, 12, true, 0.0), (DType::I8, 7, false, 0.0)]
    {
        let case = tied(dtype, k, off);
        let target = TARGETS.iter().find(|target| target.runs_here()).expect("a target runs here");
        assert_eq!(as_large(&case.graph, target, 300 * k * dtype.byte_size()), 2, "{dtype}, {k} columns");
        case.check(bound);
    }
}
