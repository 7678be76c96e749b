//! `update_in_place`: the next state of a loop is computed where the last one was.
//!
//! Lowering computes the next state in a buffer of its own, and copies it to the buffer of the state at the end of the turn.
//! If nothing reads the last state after the first call that writes the next one, both can be one buffer, and the copy goes.
//! That call itself may read the last state, if it reads each element where it writes.
//!
//! Invariant: nothing outside the list of items that has the copy touches the buffer that goes.

use std::collections::BTreeMap;

use super::plan::overwritable;
use super::{ScheduleContext, SchedulePass};
use crate::kernel::Call;
use crate::program::{Buffer, BufferKind, For, Item, Program, views};
use crate::view::{BufferId, Storage, View};

/// The pass.
pub struct UpdateInPlace;

impl SchedulePass for UpdateInPlace {
    fn name(&self) -> &'static str {
        "update_in_place"
    }

    fn summary(&self) -> &'static str {
        "computes the next state of a loop where the last one was"
    }

    fn run(&self, program: &mut Program, _cx: &ScheduleContext<'_>) {
        while let Some((path, copy, next, state)) = found(program) {
            let list = path.iter().fold(&mut program.body, |list, (item, body)| {
                list[*item].bodies_mut().into_iter().nth(*body).unwrap_or_else(|| unreachable!("the path was walked"))
            });
            list.remove(copy);
            program.replace_buffers(&BTreeMap::from([(next, state)]));
        }
    }
}

/// The way to a list of items: of each region around it the position, and which of its bodies.
type Path = Vec<(usize, usize)>;

/// A copy in a turn that is not needed: the way to its list, its position, and the buffers from and to which it
/// copies.
type Found = (Path, usize, BufferId, BufferId);

/// The first copy that is not needed.
fn found(program: &Program) -> Option<Found> {
    let mut touches = vec![0; program.buffers.len()];
    views(&program.body).into_iter().filter_map(buffer).for_each(|BufferId(id)| touches[id] += 1);
    search(&program.body, false, &mut Path::new(), &program.buffers, &touches)
}

fn search(items: &[Item], is_repeated: bool, path: &mut Path, buffers: &[Buffer], touches: &[usize]) -> Option<Found> {
    if is_repeated {
        let copies = items.iter().enumerate().filter_map(|(at, item)| Some((at, copied(item, buffers)?)));
        for (at, (next, state)) in copies {
            if is_free(items, at, next, state, buffers, touches) {
                return Some((path.clone(), at, next, state));
            }
        }
    }
    for (at, item) in items.iter().enumerate() {
        for (number, body) in item.bodies().into_iter().enumerate() {
            path.push((at, number));
            let inside = search(body, is_repeated || matches!(item, Item::For(For { .. })), path, buffers, touches);
            if inside.is_some() {
                return inside;
            }
            path.pop();
        }
    }
    None
}

/// The buffers of a call that copies all of one to all of the other.
fn copied(item: &Item, buffers: &[Buffer]) -> Option<(BufferId, BufferId)> {
    let Item::Call(call) = item else { return None };
    let (from, to) = overwritable(call, buffers)?;
    let whole = |view: &View, id: BufferId| {
        let bytes = view.grid.elements() * view.dtype.byte_size();
        view.offset == 0 && view.loops.is_empty() && view.grid.is_dense() && bytes == buffers[id.0].byte_size
    };
    let read = call.operands.first()?;
    let is_copy = call.operands.len() == 1 && call.steps.is_empty() && read.dtype == call.output.dtype;
    (is_copy && whole(read, from) && whole(&call.output, to)).then_some((from, to))
}

/// Whether the state may be computed in place, so that the copy at position `copy` of `items` is not needed.
fn is_free(
    items: &[Item],
    copy: usize,
    next: BufferId,
    state: BufferId,
    buffers: &[Buffer],
    touches: &[usize],
) -> bool {
    let others = || items.iter().enumerate().filter(|(at, _)| *at != copy);
    let touched = |item: &Item, id: BufferId| {
        views(std::slice::from_ref(item)).into_iter().filter(|view| buffer(view) == Some(id)).count()
    };
    let inside: usize = items.iter().map(|item| touched(item, next)).sum();
    let Some((first, item)) = others().find(|(_, item)| touched(item, next) > 0) else { return false };
    let last = others().filter(|(_, item)| touched(item, state) > 0).map(|(at, _)| at).next_back();
    let overwrites = |call: &Call| overwritable(call, buffers) == Some((state, next));
    let begins = match item {
        Item::Call(call) => {
            let is_written = buffer(&call.output) == Some(next) && touched(item, next) == 1;
            is_written && last.is_none_or(|last| last < first || last == first && overwrites(call))
        }
        _ => last.is_none_or(|last| last < first),
    };
    let is_arena = |BufferId(id): BufferId| matches!(buffers[id].kind, BufferKind::Arena { .. });
    begins && inside == touches[next.0] && is_arena(next) && is_arena(state)
}

/// The buffer that a view lies in.
fn buffer(view: &View) -> Option<BufferId> {
    match view.storage {
        Storage::Buffer(id) => Some(id),
        Storage::Const(_) => None,
    }
}
