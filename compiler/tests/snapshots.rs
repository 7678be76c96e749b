//! Snapshot tests of passes: each `.ir` file below `testdata` with a line `; run: …` is run and compared with the
//! snapshot beside it. The snapshot has the resulting graph, the error of its outputs, all remarks and, if there is a
//! target, the program.
//!
//! [`Recipe`] lists the lines `; key: value` that can be before the graph.
//!
//! `INSTA_UPDATE=always cargo test -p eightfold-compiler --test snapshots` accepts the results; review the changed
//! `.snap` files like code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use eightfold::options::recipe::Recipe;
use eightfold_codegen::choice::{Choice, Choices, Fusion, Split};
use eightfold_codegen::interface::Variant;
use eightfold_codegen::llvm::resident::Resident;
use eightfold_codegen::lower::lower;
use eightfold_codegen::program::{self, check};
use eightfold_codegen::schedule::bands::{Bands, chains};
use eightfold_codegen::schedule::choose::ChooseTiles;
use eightfold_codegen::schedule::lower_and_schedule;
use eightfold_codegen::schedule::parallel::{Threads, splits};
use eightfold_codegen::schedule::plan::arena_bound;
use eightfold_codegen::schedule::{ScheduleContext, SchedulePass, prepare};
use eightfold_codegen::target::Target;
use eightfold_ir::{Bytes, Data, Graph, Tensor, eval, parse, print, print_full, verify};
use eightfold_passes::fuse::FUSIONS;
use eightfold_passes::{PASSES, PassOptions, Pipeline, Remark, RemarkKind};

/// A file that names the passes to run on its graph.
struct Case {
    graph: Graph,
    passes: Vec<String>,
    options: PassOptions,
    target: Option<&'static Target>,
}

/// The result of a case.
struct Ran {
    graph: Graph,
    remarks: Vec<Remark>,
    /// For each pass: its name, its rewrites, and whether it changed the text of the graph.
    passes: Vec<(&'static str, usize, bool)>,
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").canonicalize().unwrap()
}

/// The files below `folder` that name passes, sorted.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "ir") {
            let text = fs::read_to_string(&path).unwrap();
            if text.lines().any(|line| line.starts_with("; run:")) {
                found.push((path, text));
            }
        }
    }
    found
}

/// The case in a text, or an error.
fn case(text: &str) -> Result<Case, String> {
    let graph = parse(text).map_err(|e| e.to_string())?;
    let recipe = Recipe::read(text, &graph.name)?.ok_or("it does not say what to run")?;
    let Recipe { passes, options, target } = recipe;
    Ok(Case { graph, passes, options, target })
}

fn run(case: &Case) -> Ran {
    verify(&case.graph).unwrap_or_else(|errors| panic!("the file's own graph: {errors}"));
    let (mut graph, mut passes, mut before) = (case.graph.clone(), Vec::new(), print_full(&case.graph));
    let names: Vec<&str> = case.passes.iter().map(String::as_str).collect();
    let mut after = |report: &eightfold_passes::PassReport, graph: &Graph| {
        let text = print_full(graph);
        passes.push((report.pass, report.rewrites, text != before));
        before = text;
    };
    let outcome = Pipeline::new(&names).unwrap().run(&mut graph, &case.options, &mut after);
    let outcome = outcome.unwrap_or_else(|error| panic!("{error:#?}"));
    Ran { graph, remarks: outcome.remarks, passes }
}

impl Ran {
    /// Whether a pass or fusion did what it is for.
    fn fired(&self, name: &str) -> bool {
        if FUSIONS.iter().any(|fusion| fusion.name == name) {
            return self.remarks.iter().any(|r| r.kind == RemarkKind::Fired && r.message == name);
        }
        self.passes.iter().any(|(pass, _, changed)| *pass == name && *changed)
    }
}

/// Inputs that never change: the values of `rand(seed=…)` in the text form.
fn inputs(graph: &Graph, seed: usize) -> Vec<Tensor> {
    let tensor = |(index, id): (usize, &eightfold_ir::ValueId)| {
        let ty = graph.ty(*id);
        let (shape, dtype) = (&ty.shape, ty.dtype);
        let ty = if shape.rank() == 0 { dtype.to_string() } else { format!("{shape}x{dtype}") };
        let text = format!("graph @inputs {{\n  const %x: {ty} = rand(seed={})\n}}\n", seed * 100 + index);
        let graph = parse(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        graph.constant(graph.find("x").unwrap()).unwrap().clone()
    };
    graph.inputs().iter().enumerate().map(tensor).collect()
}

/// The difference of two graphs' outputs on these inputs.
fn difference(before: &Graph, after: &Graph) -> String {
    let numbers = |t: &Tensor| match t.data() {
        Data::Float(numbers) => numbers,
        Data::Int(numbers) => numbers.into_iter().map(|x| x as f32).collect(),
    };
    let (mut worst, mut greatest, mut equal) = (0.0_f32, 0.0_f32, true);
    for seed in 1..4 {
        let inputs = inputs(before, seed);
        for (a, b) in eval(before, &inputs).unwrap().iter().zip(&eval(after, &inputs).unwrap()) {
            assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()), "an output has another type");
            equal &= a.bytes() == b.bytes();
            let (a, b) = (numbers(a), numbers(b));
            greatest = a.iter().fold(greatest, |m, x| m.max(x.abs()));
            worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(worst, f32::max);
        }
    }
    if equal { "the same bits".to_owned() } else { format!("within {worst:.1e} of {greatest:.1e}") }
}

fn snapshot(case: &Case, ran: &Ran) -> String {
    assert_eq!(&parse(&print_full(&ran.graph)).unwrap(), &ran.graph, "the text reads back as another graph");
    let mut text = print(&ran.graph);
    let rewrites: Vec<String> = ran.passes.iter().map(|(pass, count, _)| format!("{pass} {count}")).collect();
    writeln!(text, "rewrites: {}", rewrites.join(", ")).unwrap();
    writeln!(text, "outputs: {}", difference(&case.graph, &ran.graph)).unwrap();
    ran.remarks.iter().for_each(|remark| writeln!(text, "{remark}").unwrap());
    if let Some(target) = case.target {
        let program = lower_and_schedule(
            verify(&ran.graph).expect("verifies"),
            target,
            &ScheduleContext { bands: Bands::default(), ..ScheduleContext::of(&Choices::default()) },
        )
        .unwrap();
        check(&program).unwrap();
        write!(text, "{program}").unwrap();
        // The text parses back to the same program, except for the bytes of constants and the notes about chains.
        let mut blank = program.into_program();
        blank.consts.iter_mut().for_each(|constant| constant.bytes = vec![0; constant.bytes.len()].into());
        blank.bands.clear();
        assert_eq!(program::parse(&blank.to_string()).unwrap(), blank);
    }
    text
}

#[test]
fn graphs_become_what_their_snapshots_say() {
    let mut wrong = Vec::new();
    for (path, text) in files(&testdata()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let settings = {
            let mut settings = insta::Settings::clone_current();
            settings.set_snapshot_path(path.parent().unwrap());
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings
        };
        let checked = catch_unwind(AssertUnwindSafe(|| {
            let case = case(&text).unwrap_or_else(|error| panic!("{error}"));
            let (ran, again) = (run(&case), run(&case));
            assert_eq!(snapshot(&case, &ran), snapshot(&case, &again), "not the same twice");
            settings.bind(|| insta::assert_snapshot!(name, snapshot(&case, &ran)));
        }));
        if checked.is_err() {
            wrong.push(path.strip_prefix(testdata()).unwrap().display().to_string());
        }
    }
    assert!(wrong.is_empty(), "not as their snapshots say: {wrong:?}");
}

/// A pipeline does the same as its passes in sequence, each on the text of the previous result: the text contains
/// everything that a pass must know of another.
#[test]
fn passes_tell_each_other_nothing_but_the_text() {
    let mut wrong = Vec::new();
    for (path, text) in files(&testdata()) {
        let case = case(&text).unwrap();
        // A limit counts the rewrites of all passes together.
        if case.options.limit.is_some() {
            continue;
        }
        let at_once = run(&case);
        let (mut text, mut remarks) = (print_full(&case.graph), BTreeSet::new());
        for pass in &case.passes {
            let graph = parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let alone = run(&Case { graph, passes: vec![pass.clone()], options: case.options.clone(), target: None });
            text = print_full(&alone.graph);
            remarks.extend(alone.remarks);
        }
        if text != print_full(&at_once.graph) || remarks != at_once.remarks.into_iter().collect() {
            wrong.push(path.strip_prefix(testdata()).unwrap().display().to_string());
        }
    }
    assert!(wrong.is_empty(), "another graph or other remarks if passes run alone: {wrong:?}");
}

#[test]
fn programs_compute_the_same_bytes_on_any_number_of_threads_and_in_any_bands() {
    let (mut shared, mut banded) = (0, 0);
    let threads = (1..=3).map(|count| (Threads::eager(count), Bands::Never));
    let bands = [1, 2, 3, 5].map(|height| (Threads::new(1), Bands::Always(height)));
    let both = [(2, 1), (2, 5), (3, 2)].map(|(count, height)| (Threads::eager(count), Bands::Always(height)));
    let ways = threads.chain(bands).chain(both).chain([(Threads::eager(2), Bands::default())]);
    let ways: Vec<(Threads, Bands)> = ways.collect();
    let mut measured = 0;
    for (path, text) in files(&testdata()) {
        let case = case(&text).unwrap();
        let Some(target) = case.target else { continue };
        let graph = run(&case).graph;
        let inputs = inputs(&graph, 7);
        let unpacked: Vec<Bytes> = inputs.iter().map(Tensor::unpacked).collect();
        let bytes: Vec<&[u8]> = unpacked.iter().map(|bytes| &**bytes).collect();
        let mut expected: Option<Vec<Vec<u8>>> = None;
        let usual = ways.iter().map(|(threads, bands)| (*threads, *bands, Choices::default()));
        let odd = (0..3).flat_map(|seed| odd_choices(&graph, target, seed));
        for (threads, bands, choices) in usual.chain(odd) {
            let program = lower_and_schedule(
                verify(&graph).expect("verifies"),
                target,
                &ScheduleContext { threads, bands, ..ScheduleContext::of(&choices) },
            )
            .unwrap();
            check(&program).unwrap_or_else(|error| panic!("{}: {error}\n{program}", path.display()));
            assert!(threads == Threads::new(program.threads) || threads == Threads::eager(program.threads));
            assert!(arena_bound(&program) <= program.arena_size && program.arena_size <= 2 * arena_bound(&program));
            shared += program.workers();
            banded += program.bands.iter().filter(|band| band.is_used).count();
            measured += program.bands.iter().filter(|band| band.is_used && band.is_measured).count();
            if !target.runs_here() {
                continue;
            }
            let variant = Variant::of(&graph, &program);
            let mut resident = Resident::new(program.clone(), &variant).unwrap();
            let mut outputs: Vec<Vec<u8>> =
                variant.outputs.iter().map(|output| vec![0xa5; output.byte_size().unwrap()]).collect();
            for _ in 0..20 {
                outputs.iter_mut().for_each(|output| output.fill(0xa5));
                assert_eq!(resident.run(&bytes, &mut outputs), eightfold_runtime::status::Status::OK);
                let expected = expected.get_or_insert_with(|| outputs.clone());
                assert!(
                    *expected == outputs,
                    "{}: {threads:?} in {bands:?} by {choices:?} compute other bytes",
                    path.display()
                );
            }
        }
    }
    // One worker of two threads and two of three, for nearly every program.
    assert!(shared >= 3 * 8, "{shared}");
    assert!(banded >= 4 * 4, "{banded}");
    assert!(measured >= 4, "{measured}");
}

/// Chains in bands, and calls on several threads, as no cost model would choose; different for each seed.
fn odd_choices(graph: &Graph, target: &'static Target, seed: usize) -> [(Threads, Bands, Choices); 2] {
    let lower = |choices: &Choices| {
        let mut program = lower(verify(graph).expect("verifies"), target).expect("lowers");
        let cx = ScheduleContext::of(choices);
        prepare(&mut program, &cx);
        ChooseTiles.run(&mut program, &cx);
        program
    };
    let odd = [Fusion::Bands { height: 1 }, Fusion::Whole, Fusion::Bands { height: 3 }];
    let mut fusions: Vec<(String, Choice)> = Vec::new();
    for _ in 0..4 {
        let choices: Choices = fusions.iter().cloned().collect();
        let keys = chains(&lower(&choices), &choices).into_iter().map(|chain| chain.key);
        let new: Vec<String> = keys.filter(|key| fusions.iter().all(|(known, _)| known != key)).collect();
        let odd = odd.iter().cycle().skip(seed).map(|fusion| Choice::Fusion(*fusion));
        fusions.extend(new.into_iter().zip(odd));
    }
    let splits = splits(&lower(&Choices::default()), 3, &Choices::default()).into_iter().map(|call| call.key);
    let odd = [Split::Axis(1), Split::Axis(3), Split::Whole, Split::Axis(2)].into_iter().cycle().skip(seed);
    let splits = splits.zip(odd.map(Choice::Split)).collect();
    [(Threads::new(1), Bands::default(), fusions.into_iter().collect()), (Threads::new(3), Bands::default(), splits)]
}

#[test]
fn each_pass_and_fusion_has_a_file_where_it_fires_and_one_where_it_does_not() {
    let mut missing = Vec::new();
    for name in PASSES.iter().map(|p| p.name()).chain(FUSIONS.iter().map(|f| f.name)) {
        let folder = testdata().join("passes").join(name);
        let files = if folder.is_dir() { files(&folder) } else { Vec::new() };
        let fired: BTreeSet<bool> = files.iter().map(|(_, text)| run(&case(text).unwrap()).fired(name)).collect();
        missing.extend([true, false].iter().filter(|f| !fired.contains(f)).map(|f| format!("{name}: fires {f}")));
    }
    assert!(missing.is_empty(), "testdata/passes lacks {missing:#?}");
}

#[test]
fn each_snapshot_has_its_graph() {
    let mut folders = vec![testdata()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "snap") {
                let is_case = ["ir", "program"].iter().any(|case| path.with_extension(case).is_file());
                assert!(is_case, "{} is left over", path.display());
            }
        }
    }
}
