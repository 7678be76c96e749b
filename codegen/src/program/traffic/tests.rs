//! Reuse distances in a program of three calls.

use eightfold_ir::DType;

use super::{LINE, Reach};
use crate::kernel::{Call, Pointwise, Producer};
use crate::program::{Buffer, BufferKind, Item, Program, for_each_call};
use crate::target::TARGETS;
use crate::view::{BufferId, Const, ConstId, Grid, Storage, View};

const BUFFER: usize = 8 << 10;
const WEIGHTS: usize = 64 << 10;

fn buffer(kind: BufferKind) -> Buffer {
    Buffer { name: String::new(), kind, dtype: DType::U8, byte_size: BUFFER }
}

fn view(storage: Storage, bytes: usize) -> View {
    View::new(storage, DType::U8, 0, Grid::dense(&[bytes]))
}

fn call(operands: Vec<View>, output: View) -> Call {
    Call { producer: Producer::Pointwise(Pointwise), operands, steps: vec![], output, origin: String::new() }
}

/// Three calls: input -> a; a, weights -> b; b -> output.
fn chain() -> Program {
    let [input, output, a, b] = [0, 1, 2, 3].map(|id| view(Storage::Buffer(BufferId(id)), BUFFER));
    let weights = view(Storage::Const(ConstId(0)), WEIGHTS);
    let calls = [call(vec![input], a.clone()), call(vec![a, weights], b.clone()), call(vec![b], output)];
    Program {
        buffers: vec![
            buffer(BufferKind::Input(0)),
            buffer(BufferKind::Output(0)),
            buffer(BufferKind::Arena { offset: 0 }),
            buffer(BufferKind::Arena { offset: BUFFER }),
        ],
        consts: vec![Const { name: String::new(), bytes: vec![0; WEIGHTS].into() }],
        body: calls.map(Item::Call).to_vec(),
        arena_size: 2 * BUFFER,
        ..Program::new("", &TARGETS[0])
    }
}

#[test]
fn bytes_are_as_far_as_what_was_touched_since() {
    let traffic = chain().traffic();
    let (buffer, weights) = (BUFFER as u64, WEIGHTS as u64);
    let all = 4 * buffer + weights;
    let reach = |distance: u64, bytes: u64| Reach { distance, bytes: bytes as f64 };
    assert!(BUFFER.is_multiple_of(LINE) && WEIGHTS.is_multiple_of(LINE));
    // The input was touched a whole run ago; a was touched last by the second call of the run before.
    assert_eq!(traffic[0], [reach(all - buffer, buffer), reach(all, buffer)]);
    // a was just written; b was read by the last call of the run before, the weights a whole run ago.
    assert_eq!(traffic[1], [reach(2 * buffer, buffer), reach(4 * buffer, buffer), reach(all, weights)]);
    // b was just written by a call that also read the weights; the output was touched a whole run ago.
    assert_eq!(traffic[2], [reach(2 * buffer + weights, buffer), reach(all, buffer)]);
}

#[test]
fn elements_far_apart_bring_their_own_bytes_only() {
    let mut program = chain();
    // Every fourth element of the input.
    let first =
        |program: &mut Program, change: fn(&mut Call)| for_each_call(&mut program.body[..1], &mut |call| change(call));
    first(&mut program, |call| call.operands[0].grid = Grid { dims: vec![BUFFER / 4], strides: vec![4] });
    let bytes = |call: usize| -> f64 { program.traffic()[call].iter().map(|reach| reach.bytes).sum() };
    assert_eq!(bytes(0), (BUFFER + BUFFER / 4) as f64);
    // A call without elements moves nothing.
    first(&mut program, |call| {
        call.operands[0].grid = Grid::dense(&[0]);
        call.output.grid = Grid::dense(&[0]);
    });
    assert!(program.traffic()[0].is_empty());
}
