//! Parallel regions: what is shared, what stays whole, where threads wait.

use eightfold_ir::DType;

use super::*;
use crate::choice::{Choice, Choices};
use crate::kernel::{Pointwise, Producer};
use crate::program::{Buffer, BufferKind, PlanError, Program, calls, check};
use crate::target::TARGETS;
use crate::view::{Grid, Storage, View};

fn view(buffer: usize, elements: usize) -> View {
    let grid = Grid::dense(&[elements / 16, 16]);
    View::new(Storage::Buffer(BufferId(buffer)), DType::F32, 0, grid)
}

fn copy(from: usize, to: usize, elements: usize) -> Call {
    let (operands, output) = (vec![view(from, elements)], view(to, elements));
    Call { producer: Producer::Pointwise(Pointwise), operands, steps: vec![], output, origin: String::new() }
}

fn buffers(count: usize) -> Vec<Buffer> {
    let kind = BufferKind::Arena { offset: 0 };
    vec![Buffer { name: "b".to_owned(), kind, dtype: DType::F32, byte_size: 4 * LARGE }; count]
}

fn shared(calls: Vec<Call>, threads: Threads, choices: &Choices) -> Program {
    let (buffers, body) = (buffers(8), calls.into_iter().map(Item::Call).collect());
    let mut program = Program { buffers, body, ..Program::new("p", &TARGETS[0]) };
    ShareAmongThreads.run(&mut program, &ScheduleContext { threads, ..ScheduleContext::of(choices) });
    program
}

/// The number of calls of each thread, phase by phase; a phase of one number runs on the first thread alone.
fn shape(program: &Program) -> Vec<Vec<usize>> {
    let mut shape: Vec<Vec<usize>> = Vec::new();
    for item in &program.body {
        match (item, shape.last_mut()) {
            (Item::Parallel(parallel), _) => {
                shape.push(parallel.threads.iter().map(|body| calls(body).len()).collect())
            }
            (_, Some(alone)) if alone.len() == 1 => alone[0] += 1,
            _ => shape.push(vec![1]),
        }
    }
    shape
}

const SMALL: usize = 64;
const LARGE: usize = 1 << 20;

#[test]
fn small_calls_stay_whole_and_go_before_the_next_shared_one() {
    let mut last = copy(4, 5, SMALL);
    last.output.offset = LARGE - SMALL;
    let all = vec![
        copy(0, 1, LARGE),
        copy(2, 3, SMALL),
        // Reads the result of the first call; the call before does not.
        copy(1, 4, LARGE),
        last,
        copy(5, 6, LARGE),
        copy(6, 7, SMALL),
    ];
    let program = shared(all, Threads::new(2), &Choices::default());
    // The copy from 5 reads, in the other thread's half, what the small call wrote, so there is a barrier in between.
    assert_eq!(shape(&program), [vec![1, 1], vec![2, 1], vec![1], vec![1, 1], vec![1]]);
    assert_eq!(program.calls()[3].output.grid.dims, [LARGE / 32, 16]);
}

#[test]
fn buffers_that_may_share_their_bytes_are_touched_one_after_the_other() {
    let small = |to: usize| {
        let mut small = copy(1, to, SMALL);
        small.operands[0].offset = 16;
        small
    };
    let program = shared(vec![small(2), copy(1, 3, LARGE)], Threads::new(3), &Choices::default());
    // The copy of all of buffer 1 may overwrite it in place, so other readers of buffer 1 come before.
    assert_eq!(shape(&program), [vec![1], vec![1, 1, 1]]);
    let mut elsewhere = copy(1, 3, LARGE);
    elsewhere.operands[0].offset = 16;
    elsewhere.operands[0].grid.dims[0] -= 1;
    elsewhere.output.grid.dims[0] -= 1;
    let program = shared(vec![small(2), elsewhere], Threads::new(3), &Choices::default());
    assert_eq!(shape(&program), [[2, 1, 1]]);
}

#[test]
fn programs_too_small_to_wake_a_thread_for_are_left_to_the_first() {
    let all = |elements| vec![copy(0, 1, elements); 3];
    for (elements, threads, workers) in [(1 << 14, 2, 0), (LARGE, 1, 0), (LARGE, 2, 1)] {
        let program = shared(all(elements), Threads::new(threads), &Choices::default());
        assert_eq!((program.workers(), program.threads), (workers, threads), "{elements}");
    }
    assert_eq!(shared(all(32), Threads::eager(2), &Choices::default()).workers(), 1);
    assert_eq!(shape(&shared(vec![], Threads::new(2), &Choices::default())), Vec::<Vec<usize>>::new());
}

#[test]
fn what_was_measured_decides_about_a_call() {
    let all = || vec![copy(0, 1, LARGE), copy(1, 2, LARGE / 2), copy(2, 3, LARGE / 4)];
    let decisions = splits(&shared(all(), Threads::new(1), &Choices::default()), 2, &Choices::default());
    let found: Vec<(&str, Choice)> = decisions.iter().map(|d| (d.key.as_str(), d.model())).collect();
    let key = |rows: usize| {
        let view = format!("f32[{rows}x16:16,1]");
        format!("split threads=2 pointwise {view} = {view}")
    };
    let rows = Choice::Split(Split::Axis(0));
    assert_eq!(found, [(&*key(LARGE / 16), rows), (&*key(LARGE / 32), rows), (&*key(LARGE / 64), rows)]);
    // The whole call and a cut by rows. A row has 16 elements, one cache line, so it is not cut.
    assert_eq!(decisions[0].ways.len(), 2);
    let choices: Choices = [
        (key(LARGE / 32), Choice::Split(Split::Whole)),
        // The result has no axis 7, so the model decides.
        (key(LARGE / 64), Choice::Split(Split::Axis(7))),
    ]
    .into_iter()
    .collect();
    let program = shared(all(), Threads::new(2), &choices);
    // The second call stays whole; the third reads its result.
    assert_eq!(shape(&program), [vec![1, 1], vec![1], vec![1, 1]]);
}

#[test]
fn the_checker_sees_threads_that_touch_the_same_bytes() {
    let mut program = shared(vec![copy(0, 1, LARGE), copy(1, 2, LARGE)], Threads::new(2), &Choices::default());
    program.buffers[0].kind = BufferKind::Input(0);
    program.buffers[2].kind = BufferKind::Arena { offset: 4 * LARGE };
    program.arena_size = 8 * LARGE;
    assert_eq!(check(&program), Ok(()));

    // Without the barrier between the calls, each thread still reads only the half that it wrote.
    let Some(Item::Parallel(second)) = program.body.pop() else { panic!("{program}") };
    let Item::Parallel(first) = &mut program.body[0] else { panic!("a parallel region") };
    first.threads.iter_mut().zip(second.threads).for_each(|(body, more)| body.extend(more));
    assert_eq!(check(&program), Ok(()));
    let torn = |change: fn(&mut Call)| {
        let mut torn = program.clone();
        let Item::Parallel(region) = &mut torn.body[0] else { panic!("a parallel region") };
        let Item::Call(last) = &mut region.threads[1][1] else { panic!("a call") };
        change(last);
        check(&torn)
    };
    // If the halves differ, thread 1 reads bytes that thread 0 writes.
    let race = |writer| Err(PlanError::Race { call: 3, buffer: "b".to_owned(), writer });
    assert_eq!(torn(|call| call.operands[0].offset -= 1), race(0));
    // Both threads write the same bytes.
    assert_eq!(torn(|call| call.output.offset -= 16), race(1));
}
