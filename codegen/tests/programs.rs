//! Programs from text: the results of schedule passes, and the results of regions when they run.
//!
//! Each `.program` file below `testdata/programs` names the passes to run in a line `; run: bands, plan`. Lines `;
//! threads: 2` and `; bands: 4` say how many threads there are and how many rows a band has. The snapshot beside it
//! holds the program after the passes. `INSTA_UPDATE=always cargo test -p eightfold-codegen --test programs` accepts
//! changed snapshots.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use eightfold_codegen::choice::Choices;
use eightfold_codegen::interface::{Tensor, Variant};
use eightfold_codegen::llvm::resident::Resident;
use eightfold_codegen::program::Scheduled;
use eightfold_codegen::program::{Buffer, BufferKind, Program, parse, verify};
use eightfold_codegen::schedule::bands::Bands;
use eightfold_codegen::schedule::parallel::Threads;
use eightfold_codegen::schedule::{SCHEDULE_PASSES, ScheduleContext, SchedulePass};
use eightfold_ir::DType;
use eightfold_runtime::status::Status;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/programs").canonicalize().expect("is there")
}

/// The `.program` files of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "program")).collect();
    files.sort();
    files
}

/// The value of the line `; key: value`.
fn said<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix("; ")?.strip_prefix(key)?.strip_prefix(": "))
}

fn pass(name: &str) -> &'static dyn SchedulePass {
    *SCHEDULE_PASSES.iter().find(|pass| pass.name() == name).unwrap_or_else(|| panic!("no pass is called {name}"))
}

/// Runs the passes that a file names.
fn scheduled(text: &str) -> Program {
    let mut program = parse(text).expect("parses");
    verify(&program).expect("the file's own program");
    let choices = Choices::default();
    let number = |key| said(text, key).map(|value| value.parse::<usize>().expect("a number"));
    let threads = number("threads").map_or(Threads::new(1), Threads::new);
    let bands = number("bands").map_or(Bands::Never, Bands::Always);
    let cx = ScheduleContext { threads, bands, choices: &choices };
    for name in said(text, "run").expect("it names passes").split(", ") {
        pass(name).run(&mut program, &cx);
        verify(&program).unwrap_or_else(|error| panic!("{name}: {error}\n{program}"));
    }
    program
}

/// Packs constants, plans the arena, and checks the result.
fn planned(mut program: Program) -> Scheduled {
    let choices = Choices::default();
    for name in ["choose", "pack", "plan"] {
        pass(name).run(&mut program, &ScheduleContext::of(&choices));
    }
    Scheduled::proven(program.clone()).unwrap_or_else(|error| panic!("{error}\n{program}"))
}

/// The outputs of the program for fixed inputs.
fn outputs(program: &Program) -> Vec<Vec<u8>> {
    let program = planned(program.clone());
    let of = |is_kind: fn(&BufferKind) -> bool| program.buffers.iter().filter(move |buffer| is_kind(&buffer.kind));
    let tensor = |buffer: &Buffer| Tensor {
        name: buffer.name.clone(),
        dtype: buffer.dtype,
        dims: vec![buffer.byte_size / buffer.dtype.byte_size()],
        quantization: None,
    };
    let variant = Variant {
        target: program.target.name.to_owned(),
        features: program.target.feature_set(),
        threads: program.threads as u32,
        workers: program.workers() as u32,
        arena_size: program.arena_size as u64,
        arena_align: Program::ARENA_ALIGN as u32,
        inputs: of(|kind| matches!(kind, BufferKind::Input(_))).map(tensor).collect(),
        outputs: of(|kind| matches!(kind, BufferKind::Output(_))).map(tensor).collect(),
    };
    let inputs: Vec<Vec<u8>> = variant.inputs.iter().map(numbers).collect();
    let mut outputs: Vec<Vec<u8>> =
        variant.outputs.iter().map(|output| vec![0xa5; output.byte_size().expect("small")]).collect();
    let mut resident = Resident::new(program, &variant).expect("compiles");
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    assert_eq!(resident.run(&inputs, &mut outputs), Status::OK);
    outputs
}

/// Test data: floats from -4 to 4, positions below 64 for i64, bytes for all other types.
fn numbers(tensor: &Tensor) -> Vec<u8> {
    let count = tensor.byte_size().expect("small");
    match tensor.dtype {
        DType::I64 => (0..count as i64 / 8).flat_map(|i| (i * 37 % 64).to_le_bytes()).collect(),
        dtype if dtype.is_float() => {
            (0..count / 4).flat_map(|i| ((i * 37 % 65) as f32 / 8.0 - 4.0).to_le_bytes()).collect()
        }
        _ => (0..count).map(|i| (i * 37 % 251) as u8).collect(),
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn schedule_passes_make_what_their_snapshots_say_and_change_no_result() {
    for pass in SCHEDULE_PASSES {
        let folder = testdata().join(pass.name());
        let mut changed = BTreeSet::new();
        for path in files(&folder) {
            let text = fs::read_to_string(&path).expect("readable");
            assert!(said(&text, "run").is_some_and(|run| run.contains(pass.name())), "{}", path.display());
            let (before, after) = (parse(&text).expect("parses"), scheduled(&text));
            let printed = after.to_string();
            // The notes about chains are not part of the program.
            let again = Program { bands: after.bands.clone(), ..parse(&printed).expect("parses") };
            assert_eq!(again.to_string(), printed, "{}", path.display());
            changed.insert(before.to_string() != printed);
            let mut settings = insta::Settings::clone_current();
            settings.set_snapshot_path(&folder);
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
            settings.bind(|| insta::assert_snapshot!(name, printed));
            if before.target.runs_here() {
                assert_eq!(outputs(&before), outputs(&after), "{}", path.display());
            }
        }
        assert!(changed.contains(&true), "testdata/programs/{} lacks a case that changes", pass.name());
    }
}

const REGIONS: &str = "program @regions  target=x86-64-v2 arena=0 align=64 {
  in  %0 f32 96 B  ; x
  in  %1 u8 2 B  ; flags
  out %2 f32 96 B  ; y
  out %3 f32 32 B  ; z
  buf %4 f32 32 B arena+0  ; sum
  0: fill {element=0} f32 %4[8]  ; sum
  for i0 in 0..3 {
    1: pointwise f32 %4[8] <- f32 %4[8], f32 %0+i0*8[8] |> add(_, $1)  ; sum
    for i1 in 0..2 {
      if u8 %1+i1*1[1] {
        2: pointwise f32 %2+i0*8+i1*4[4] <- f32 %4+i1*4[4]  ; y
      } else {
        3: fill {element=0} f32 %2+i0*8+i1*4[4]  ; y
      }
    }
  }
  4: pointwise f32 %3[8] <- f32 %4[8] |> neg(_)  ; z
}
";

/// Running sums, computed in one of two branches by a flag, and the final sums.
#[test]
fn loops_move_views_and_branches_choose_by_what_is_in_memory() {
    let program = parse(REGIONS).expect("parses");
    verify(&program).expect("is right");
    assert_eq!(program.to_string().replace(" live 0..4", ""), REGIONS);
    if !program.target.runs_here() {
        return eprintln!("SKIPPED: x86-64-v2 does not run here");
    }
    // The flags are 0 and 37.
    let x: Vec<f32> = (0..24).map(|i| (i * 37 % 65) as f32 / 8.0 - 4.0).collect();
    let sum = |row: usize, column: usize| -> f32 { (0..=row).map(|row| x[8 * row + column]).sum() };
    let y = (0..24).map(|i| if i % 8 < 4 { 0.0 } else { sum(i / 8, i % 8) }).collect::<Vec<_>>();
    let z = (0..8).map(|column| -sum(2, column)).collect::<Vec<_>>();
    let outputs = outputs(&program);
    assert_eq!((floats(&outputs[0]), floats(&outputs[1])), (y, z));
}

/// Extents in a text can be huge, so the memory of passes must not grow with them.
#[test]
fn passes_take_no_memory_for_the_rows_of_a_huge_tensor() {
    const ROWS: usize = 1 << 32;
    let bytes = ROWS * 64;
    let text = format!(
        "program @huge  target=x86-64-v3 arena=0 align=64 {{
  in  %0 f32 {bytes} B  ; x
  out %1 f32 {bytes} B  ; y
  buf %2 f32 {padded} B arena+0  ; a padded
  0: fill {{element=0}} f32 %2[1x1x16 : {padded_elements},16,1]  ; border
  1: fill {{element=0}} f32 %2+{below}[1x1x16 : {padded_elements},16,1]  ; border
  2: pointwise f32 %2+16[1x4x{ROWS}x4 : {padded_elements},1,16,4] <- f32 %0[1x4x{ROWS}x4 : {elements},1,16,4] |> relu(_)  ; a
  3: pointwise f32 %1[1x4x{ROWS}x4 : {elements},1,16,4] <- f32 %2+16[1x4x{ROWS}x4 : {padded_elements},1,16,4] |> neg(_)  ; b
}}
",
        padded = bytes + 128,
        padded_elements = bytes / 4 + 32,
        below = bytes / 4 + 16,
        elements = bytes / 4,
    );
    for bands in [Bands::WherePaid, Bands::Always(1)] {
        let mut program = parse(&text).expect("parses");
        verify(&program).expect("is right");
        let choices = Choices::default();
        for pass in SCHEDULE_PASSES {
            pass.run(&mut program, &ScheduleContext { threads: Threads::new(1), bands, choices: &choices });
        }
        verify(&program).expect("is right");
        // One band of 32 does not fit a cache, and there are too many rows for bands of one row.
        assert!(program.bands.iter().all(|band| !band.is_used), "{program}");
    }
}

#[test]
fn a_text_that_is_no_program_is_an_error_with_its_line() {
    let error = |from: &str, to: &str| {
        assert!(REGIONS.contains(from), "{from}");
        parse(&REGIONS.replacen(from, to, 1)).expect_err("is wrong").to_string()
    };
    assert_eq!(error("x86-64-v2", "z80"), "line 1: no target is called \"z80\"");
    assert_eq!(error("f32 96 B", "f33 96 B"), "line 2: no type is called \"f33\"");
    assert_eq!(error("%1 u8", "%7 u8"), "line 3: expected %1, got \"%7\"");
    assert_eq!(error("element=0", "elements=0"), "line 7: attribute element is missing");
    assert_eq!(error("{element=0}", "{element=0, axis=1}"), "line 7: unknown attribute axis");
    let unknown = error("0: fill {element=0}", "0: full {element=0}");
    assert!(unknown.starts_with("line 7: no kernel is called \"full\"; there are gemm, "), "{unknown}");
    assert_eq!(error("in 0..3 {", "in 1..3 {"), "line 8: expected `for i0 in 0..4 {`");
    assert_eq!(error("add(_, $1)", "plus(_, $1)"), "line 9: no function is called \"plus\"");
    let view = error("%4+i1*4[4]", "%4+i1*4(4)");
    assert!(view.starts_with("line 12: expected a view such as `u8 %3+64[1x8 : 8,1]`, got "), "{view}");
    assert_eq!(error("} else {", "}"), "line 13: expected \"} else {\", got \"}\"");
    assert_eq!(
        error("  4: pointwise", "  pointwise"),
        "line 18: expected a call or a region, got \"pointwise f32 %3[8] <- f32 %4[8] |> neg(_)  ; z\""
    );
    let with = |contents: &str| {
        let line = format!("  const @0 6 B = {contents}  ; a\n  0: fill");
        parse(&REGIONS.replace("  0: fill", &line)).expect_err("is wrong").to_string()
    };
    assert_eq!(with("rand(i8)"), "line 7: expected contents such as rand(i8, seed=1), got \"rand(i8)\"");
    assert_eq!(with("rand(f32, seed=1)"), "line 7: 6 bytes are not a whole number of f32");
    assert_eq!(
        error("0: fill {element=0}", "0: softmax {axis=9999999999999}"),
        "line 7: attribute axis cannot be \"9999999999999\""
    );
    let large = REGIONS.replace("  0: fill", "  const @0 2147483648 B  ; a\n  const @1 1 B  ; b\n  0: fill");
    assert_eq!(parse(&large).expect_err("too large").to_string(), "line 8: expected at most 0 bytes, got 1");
    let cut = &REGIONS[..REGIONS.len() - 2];
    assert_eq!(parse(cut).expect_err("ends").to_string(), "line 18: the text ends before the program does");
}

#[test]
fn programs_that_break_a_rule_do_not_verify() {
    let error = |from: &str, to: &str| {
        assert!(REGIONS.contains(from), "{from}");
        let program = parse(&REGIONS.replacen(from, to, 1)).expect("parses");
        verify(&program).expect_err("is wrong").to_string()
    };
    assert_eq!(error("%4+i1*4[4]", "%9+i1*4[4]"), "call 2: there is no %9");
    assert_eq!(error("f32 %3[8] <- f32 %4[8]", "f32 %3+i0*1[8] <- f32 %4[8]"), "call 4: no loop i0 is around it");
    assert_eq!(error("add(_, $1)", "add(_, $2)"), "call 1: a step reads operand 2 of 2");
    assert_eq!(error("for i1 in 0..2", "for i0 in 0..2"), "loop i0 is there twice");
    assert_eq!(error("for i1 in 0..2", "for i1 in 0..0"), "loop i1 has no turns");
    assert_eq!(error("for i0 in 0..3", "for i0 in 0..4"), "call 2 reaches byte 112 of y, which has 96");
    assert_eq!(error("if u8 %1+i1*1[1]", "if u8 %1+i1*1[2]"), "a condition is one bool or integer of whole bytes");
    assert_eq!(error("for i0 in 0..3", "for i0 in 0..9999999"), "49999997 calls run, more than 1048576");
    let far = error("f32 %0+i0*8[8]", "f32 %0+i0*8[8 : 9223372036854775807]");
    assert_eq!(far, "call 1 reaches element 64563604257983430665 of %0");
    let many = error("f32 %0+i0*8[8]", "f32 %0+i0*8[4294967296x4294967296 : 0,0]");
    assert_eq!(many, "call 1 reaches element 55340232221128654848 of %0");
    let ranks = "call 1: pointwise: operand 0 must have the rank of the result";
    assert_eq!(error("f32 %4[8] <- f32 %4[8],", "f32 %4[8] <- f32 %4[1x8],"), ranks);
    let none = "call 4: pointwise: expected 1 operands, got 0";
    assert_eq!(error("f32 %3[8] <- f32 %4[8] |>", "f32 %3[8] |>"), none);
    let extents = "call 1: pointwise: operand 1 of a step must have the extents of the result";
    assert_eq!(error("f32 %0+i0*8[8]", "f32 %0+i0*8[4]"), extents);
    let axis = "call 4: softmax: operand 0 must have the rank of the result, and the axis be below it";
    assert_eq!(error("4: pointwise", "4: softmax {axis=1}"), axis);
    let parts = fs::read_to_string(testdata().join("pack/parts.program")).expect("readable");
    let short = |from: &str, to: &str| {
        assert!(parts.contains(from), "{from}");
        verify(&parse(&parts.replacen(from, to, 1)).expect("parses")).expect_err("is wrong").to_string()
    };
    assert_eq!(
        short("const @0 1024 B = rand(f32, seed=1)", "const @0 512 B"),
        "call 0 reaches byte 1024 of w, which has 512"
    );
    assert_eq!(
        short("const @1 64 B = rand(f32, seed=2)", "const @1 63 B"),
        "call 0 reaches byte 64 of b, which has 63"
    );
    let channels = "call 0: gemm: operand 0 and the result must have rank 4, the result n channels";
    assert_eq!(short("f32 %1[1x8x1x10 :", "f32 %1[1x9x1x10 :"), channels);
    let strides = short("strides=1x1", "strides=1x1099511627776");
    assert_eq!(strides, "call 0 reaches element 9895604649999 of %0");
    let square = fs::read_to_string(testdata().join("winograd/square.snap")).expect("readable");
    let tiles = |from: &str, to: &str| {
        let (_, program) = square.split_once("\n---\n").expect("a header");
        assert!(program.contains(from), "{from}");
        verify(&parse(&program.replacen(from, to, 1)).expect("parses")).expect_err("is wrong").to_string()
    };
    assert_eq!(
        tiles("columns=8", "columns=9"),
        "call 2: winograd_input: the result must have 16 columns for each column of tiles"
    );
    assert_eq!(
        tiles("u8 %1[1x64x16x16 :", "u8 %1[1x64x14x16 :"),
        "call 3: winograd: the result must have n channels, and two rows and columns for each tile of operand 0"
    );
    let parallel = "  parallel {\n    thread 0 {\n    }\n  }\n";
    let with_threads = |text: String| verify(&parse(&text).expect("parses")).expect_err("is wrong").to_string();
    let after = |line: &str, more: &str| REGIONS.replacen(line, &format!("{line}{more}"), 1);
    let outermost = after("fill {element=0} f32 %4[8]  ; sum\n", parallel);
    assert!(verify(&parse(&outermost).expect("parses")).is_ok());
    let two = outermost.replace("align=64 {", "align=64 threads=2 {");
    assert_eq!(with_threads(two), "a parallel region has 1 threads, the program 2");
    let inside = after("for i0 in 0..3 {\n", parallel);
    assert_eq!(with_threads(inside), "a parallel region stands in no other region");
}
