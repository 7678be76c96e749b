//! Phases: what is shared, what stays whole, where threads wait.

use eightfold_ir::DType;

use super::*;
use crate::choice::Choice;
use crate::memory::{PlanError, check, find_live};
use crate::program::{Buffer, BufferKind, Grid, Pointwise, Producer, Program, Storage, View};
use crate::target::TARGETS;

fn view(buffer: usize, elements: usize) -> View {
    let grid = Grid::dense(&[elements / 16, 16]);
    View { storage: Storage::Buffer(BufferId(buffer)), dtype: DType::F32, offset: 0, grid }
}

fn copy(from: usize, to: usize, elements: usize) -> Call {
    let (operands, output) = (vec![view(from, elements)], view(to, elements));
    Call { producer: Producer::Pointwise(Pointwise), operands, steps: vec![], output, origin: String::new() }
}

fn ranges(shared: &Shared) -> Vec<Vec<std::ops::Range<usize>>> {
    shared.phases.iter().map(|phase| phase.threads.clone()).collect()
}

const SMALL: usize = 64;
const LARGE: usize = 1 << 20;

#[test]
fn small_calls_stay_whole_and_go_before_the_next_shared_one() {
    let mut last = copy(4, 5, SMALL);
    last.output.offset = LARGE - SMALL;
    let calls = vec![
        copy(0, 1, LARGE),
        copy(2, 3, SMALL),
        // Reads what the first call wrote, as the one before does not.
        copy(1, 4, LARGE),
        last,
        copy(5, 6, LARGE),
        copy(6, 7, SMALL),
    ];
    let shared = share(calls, &[], &TARGETS[0], Threads::new(2), &Choices::default());
    // The copy from 5 reads what the small one wrote in the other thread's half, so the threads wait in between.
    assert_eq!(ranges(&shared), [[0..1, 1..2], [2..4, 4..5], [5..6, 6..6], [6..7, 7..8], [8..9, 9..9]]);
    assert_eq!(shared.moments, [0, 1, 1, 2, 3, 4]);
    assert_eq!(shared.calls[3].output.grid.dims, [LARGE / 32, 16]);
}

#[test]
fn buffers_that_may_share_their_bytes_are_touched_one_after_the_other() {
    let calls = || vec![copy(1, 2, SMALL), copy(1, 3, LARGE)];
    let shared = share(calls(), &[], &TARGETS[0], Threads::new(3), &Choices::default());
    assert_eq!(ranges(&shared), [[0..2, 2..3, 3..4]]);
    let shared = share(calls(), &[(BufferId(1), BufferId(3))], &TARGETS[0], Threads::new(3), &Choices::default());
    assert_eq!(ranges(&shared), [[0..1, 1..1, 1..1], [1..2, 2..3, 3..4]]);
}

#[test]
fn programs_too_small_to_wake_a_thread_for_are_left_to_the_first() {
    let calls = |elements| vec![copy(0, 1, elements); 3];
    for (elements, threads, workers) in [(1 << 14, 2, false), (LARGE, 1, false), (LARGE, 2, true)] {
        let shared = share(calls(elements), &[], &TARGETS[0], Threads::new(threads), &Choices::default());
        assert_eq!(shared.phases.iter().any(Phase::is_shared), workers, "{elements} on {threads}");
        assert_eq!(shared.phases[0].threads.len(), threads);
    }
    assert!(share(calls(32), &[], &TARGETS[0], Threads::eager(2), &Choices::default()).phases[0].is_shared());
    let nothing = share(vec![], &[], &TARGETS[0], Threads::new(2), &Choices::default());
    assert_eq!(ranges(&nothing), [[0..0, 0..0]]);
}

#[test]
fn what_was_measured_decides_about_a_call() {
    let calls = || vec![copy(0, 1, LARGE), copy(1, 2, LARGE / 2), copy(2, 3, LARGE / 4)];
    let program = |calls: Vec<Call>| {
        let buffer = |n: usize| Buffer {
            name: String::new(),
            kind: BufferKind::Arena { offset: 0 },
            dtype: DType::F32,
            byte_size: n,
            live: (0, 0),
        };
        let buffers = [LARGE, LARGE, LARGE / 2, LARGE / 4].map(|elements| buffer(4 * elements)).to_vec();
        let phases = vec![Phase::alone(0..calls.len(), 1)];
        let (name, target) = (String::new(), &TARGETS[0]);
        Program { name, target, buffers, consts: vec![], calls, phases, arena_size: 0, arena_bound: 0, bands: vec![] }
    };
    let decisions = splits(&program(calls()), 2);
    let found: Vec<(&str, Choice)> = decisions.iter().map(|d| (d.key.as_str(), d.model())).collect();
    let key = |rows: usize| {
        let view = format!("f32[{rows}x16:16,1]");
        format!("split threads=2 pointwise {view} = {view}")
    };
    let rows = Choice::Split(Split::Axis(0));
    assert_eq!(found, [(&*key(LARGE / 16), rows), (&*key(LARGE / 32), rows), (&*key(LARGE / 64), rows)]);
    // The whole call, and both axes: of the second, both halves of a line.
    assert_eq!(decisions[0].ways.len(), 2);
    let choices: Choices = [
        (key(LARGE / 32), Choice::Split(Split::Whole)),
        // There is no such axis: the model decides.
        (key(LARGE / 64), Choice::Split(Split::Axis(7))),
    ]
    .into_iter()
    .collect();
    let shared = share(calls(), &[], &TARGETS[0], Threads::new(2), &choices);
    // The second stays whole, and runs before the first thread's part of the third.
    assert_eq!(ranges(&shared), [[0..1, 1..2], [2..3, 3..3], [3..4, 4..5]]);
}

#[test]
fn the_checker_sees_threads_that_touch_the_same_bytes() {
    let buffer = |kind| Buffer { name: "b".to_owned(), kind, dtype: DType::F32, byte_size: 4 * LARGE, live: (0, 0) };
    let arena = |offset| buffer(BufferKind::Arena { offset });
    let mut buffers = vec![buffer(BufferKind::Input(0)), arena(0), arena(4 * LARGE), buffer(BufferKind::Output(0))];
    let calls = vec![copy(0, 1, LARGE), copy(1, 2, LARGE), copy(2, 3, LARGE)];
    let Shared { calls, phases, .. } = share(calls, &[], &TARGETS[0], Threads::new(2), &Choices::default());
    find_live(&mut buffers, &calls);
    let program = Program {
        name: "p".to_owned(),
        target: &TARGETS[0],
        buffers,
        consts: vec![],
        calls,
        phases,
        arena_size: 8 * LARGE,
        arena_bound: 0,
        bands: vec![],
    };
    assert_eq!(check(&program), Ok(()));
    assert!(program.to_string().contains("threads=2 {\n") && program.to_string().contains("  barrier\n  2 thread 0: "));

    // Without the first barrier each thread still reads its own half alone.
    let mut merged = program.clone();
    merged.phases.splice(..2, [Phase { threads: vec![0..2, 2..4] }]);
    merged.calls.swap(1, 2);
    assert_eq!(check(&merged), Ok(()));
    // Not if halves differ: thread 1 reads what thread 0 writes.
    let mut torn = merged.clone();
    torn.calls[3].operands[0].offset -= 1;
    assert_eq!(check(&torn), Err(PlanError::Race { call: 3, buffer: "b".to_owned(), writer: 0 }));
    // Nor if both write the same bytes.
    let mut torn = merged;
    torn.calls[3].output.offset -= 16;
    assert_eq!(check(&torn), Err(PlanError::Race { call: 3, buffer: "b".to_owned(), writer: 1 }));
}
