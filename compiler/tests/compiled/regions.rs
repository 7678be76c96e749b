//! Branches and loops: the graphs of `testdata/programs`, and those whose numbers were worked out by hand.

use std::fs;
use std::path::Path;

use eightfold_ir::{DType, Graph, Shape, Tensor, eval, parse};

use super::{Choices, Stream, TARGETS, Threads, compare, run};

fn graph(path: &str) -> Graph {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata");
    let text = fs::read_to_string(folder.join(path)).expect("readable");
    parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a graph with these bools and integers, on all targets, and compares with the evaluator.
fn check(graph: &Graph, bits: usize, integer: i64) {
    let mut stream = Stream(7);
    let mut input = |id| {
        let ty = graph.ty(id);
        match ty.dtype {
            DType::Bool => {
                let bools = (0..ty.shape.elements()).map(|at| (bits >> at & 1) as i64).collect::<Vec<_>>();
                Tensor::int(DType::Bool, &ty.shape, &bools)
            }
            DType::I64 => {
                let numbers = (0..ty.shape.elements() as i64).map(|at| integer + at).collect::<Vec<_>>();
                Tensor::int(DType::I64, &ty.shape, &numbers)
            }
            dtype => stream.tensor(dtype, &ty.shape),
        }
    };
    let inputs: Vec<Tensor> = graph.inputs().iter().map(|id| input(*id)).collect();
    let expected = eval(graph, &inputs).expect("evaluates");
    for target in TARGETS.iter().filter(|target| target.runs_here()) {
        for threads in [Threads::new(1), Threads::eager(2)] {
            let got = run(graph, target, threads, &Choices::default(), &inputs);
            for (position, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let what = format!("{} output {position} on {} with {bits} and {integer}", graph.name, target.name);
                compare(&what, got, expected, 1e-5);
            }
        }
    }
}

#[test]
fn scans_read_and_write_slices_in_each_direction() {
    check(&graph("programs/scan.ir"), 0, 0);
    check(&graph("ops/scan.ir"), 0, 0);
}

#[test]
fn loops_end_by_their_trip_count_their_condition_or_their_bound() {
    let looped = graph("programs/loop.ir");
    for (bits, integer) in [(1, 4), (0, 4), (1, 0), (1, -3), (1, 99)] {
        check(&looped, bits, integer);
    }
    check(&graph("ops/loop.ir"), 0, 0);
}

#[test]
fn branches_are_chosen_in_each_run_and_in_each_turn() {
    let branch = graph("programs/if.ir");
    for bits in [0, 1, 6] {
        check(&branch, bits, 0);
    }
    check(&graph("ops/if.ir"), 0, 0);
}

/// The states change all at once, though one is the other and its own transpose enters the next turn.
#[test]
fn states_that_are_views_of_states_change_at_once() {
    let text = "graph @exchange {
  input %a: 2x2xf32
  input %b: 2x2xf32
  %c, %d, %all = scan(%a, %b) {count=3, states=2, output_axes=[1]} body {
    input %a: 2x2xf32
    input %b: 2x2xf32
    %t = transpose(%a) {perm=[1, 0]} : 2x2xf32
    output %b
    output %t
    output \"all\" = %a
  } : 2x2xf32, 2x2xf32, 2x3x2xf32
  output %c
  output %d
  output %all
}
";
    check(&parse(text).expect("parses"), 0, 0);
}

#[test]
fn an_operator_with_bodies_reads_and_writes_parts_of_tensors() {
    let text = "graph @parts {
  input %x: 1x4x6x6xf32
  input %on: bool
  const %w: 4x4x3x3xf32 = rand(seed=3, std=0.2)
  %y = if(%on, %x) then {
    input %x: 1x4x6x6xf32
    %y = map(%x) |> relu : 1x4x6x6xf32 nhwc
    output %y
  } otherwise {
    input %x: 1x4x6x6xf32
    output %x
  } : 1x4x6x6xf32 nhwc
  %conv = conv(%y, %w) {pads=[1, 1, 1, 1]} : 1x4x6x6xf32 nhwc
  %half = slice(%conv) {starts=[0, 1, 0, 0], sizes=[1, 2, 6, 6]} : 1x2x6x6xf32
  %rows = scan(%half) {count=6, axes=[3], reverse=[1], output_axes=[2]} body {
    input %row: 1x2x6xf32
    %next = map(%row) |> mul 2.0 : 1x2x6xf32
    output %next
  } : 1x2x6x6xf32
  %joined = concat(%half, %rows) {axis=1} : 1x4x6x6xf32
  %again = conv(%joined, %w) {pads=[1, 1, 1, 1]} : 1x4x6x6xf32
  output %again
}
";
    let graph = parse(text).expect("parses");
    check(&graph, 0, 0);
    check(&graph, 1, 0);
    assert_eq!(graph.ty(graph.outputs()[0].value).shape, Shape::new(&[1, 4, 6, 6]));
}
