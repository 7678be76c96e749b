//! `share_copies`: merges buffers that calls fill with the same contents.
//!
//! Lowering copies a tensor for each reader that needs it in another form: with a border, or in another order. Readers
//! that need the same form get equal copies, as the three products of an attention layer do. This pass keeps the first
//! copy and makes all readers read it, unless that makes the arena larger.
//!
//! Invariant: the calls that fill both buffers are equal, their inputs do not change from the first of these calls to
//! the last, and the first buffer is complete before the second one's calls begin.

use std::collections::BTreeMap;

use super::plan::arena_bound;
use super::{ScheduleContext, SchedulePass};
use crate::kernel::Call;
use crate::program::{BufferKind, Item, Program};
use crate::view::{BufferId, Storage};

/// The pass.
pub struct ShareCopies;

impl SchedulePass for ShareCopies {
    fn name(&self) -> &'static str {
        "share_copies"
    }

    fn summary(&self) -> &'static str {
        "merges buffers that calls fill with the same contents"
    }

    /// Leaves a program alone that has regions already.
    fn run(&self, program: &mut Program, _cx: &ScheduleContext<'_>) {
        if program.body.iter().any(|item| !matches!(item, Item::Call(_))) {
            return;
        }
        let shared = shared(program);
        if shared.is_empty() {
            return;
        }
        let mut fewer = program.clone();
        share(&mut fewer, &shared);
        // A copy that is read later lives longer, so the arena may grow.
        if arena_bound(&fewer) <= arena_bound(program) {
            *program = fewer;
        }
    }
}

/// Makes calls read the first of equal buffers, and removes the others with the calls that fill them.
fn share(program: &mut Program, shared: &BTreeMap<BufferId, BufferId>) {
    program.body.retain(|item| match item {
        Item::Call(call) => !written(call).is_some_and(|id| shared.contains_key(&id)),
        _ => true,
    });
    program.replace_buffers(shared);
}

/// The buffer that a call writes.
fn written(call: &Call) -> Option<BufferId> {
    match call.output.storage {
        Storage::Buffer(id) => Some(id),
        Storage::Const(_) => None,
    }
}

/// For each buffer that equals an earlier one, the earlier one.
fn shared(program: &Program) -> BTreeMap<BufferId, BufferId> {
    let calls = program.calls();
    let mut writers: BTreeMap<BufferId, Vec<usize>> = BTreeMap::new();
    for (at, call) in calls.iter().enumerate() {
        written(call).into_iter().for_each(|id| writers.entry(id).or_default().push(at));
    }
    // Buffers by the text of their first call, so that each is compared with few others.
    let mut kept: BTreeMap<String, Vec<BufferId>> = BTreeMap::new();
    let mut shared = BTreeMap::new();
    for (id, own) in in_order(&writers) {
        if !matches!(program.buffers[id.0].kind, BufferKind::Arena { .. }) {
            continue;
        }
        let alike = kept.entry(calls[own[0]].key()).or_default();
        let equal = |other: &&BufferId| is_same(program, &calls, &writers, (**other, &writers[*other]), (id, own));
        match alike.iter().find(equal) {
            Some(other) => _ = shared.insert(id, *other),
            None => alike.push(id),
        }
    }
    shared
}

/// Buffers in the order of their first calls.
fn in_order(writers: &BTreeMap<BufferId, Vec<usize>>) -> Vec<(BufferId, &[usize])> {
    let mut order: Vec<(BufferId, &[usize])> = writers.iter().map(|(id, own)| (*id, &own[..])).collect();
    order.sort_by_key(|(_, own)| own[0]);
    order
}

/// A buffer and the positions of the calls that write it.
type Filled<'w> = (BufferId, &'w [usize]);

/// Whether the calls of two buffers fill them with the same contents.
fn is_same(
    program: &Program,
    calls: &[&Call],
    writers: &BTreeMap<BufferId, Vec<usize>>,
    (first, first_writers): Filled<'_>,
    (second, second_writers): Filled<'_>,
) -> bool {
    let [a, b] = [first, second].map(|id| &program.buffers[id.0]);
    if (a.dtype, a.byte_size) != (b.dtype, b.byte_size) || first_writers.len() != second_writers.len() {
        return false;
    }
    let (begin, complete) = (first_writers[0], first_writers[first_writers.len() - 1]);
    // Completely written before, or never written: an input of the model, or a constant.
    let is_settled = |storage: Storage| match storage {
        Storage::Buffer(id) => writers.get(&id).is_none_or(|own| own.iter().all(|at| *at < begin)),
        Storage::Const(_) => true,
    };
    let same = |a: &Call, b: &Call| {
        let mut moved = b.clone();
        moved.output.storage = a.output.storage;
        moved.origin.clone_from(&a.origin);
        moved == *a && a.operands.iter().all(|view| is_settled(view.storage))
    };
    complete < second_writers[0] && first_writers.iter().zip(second_writers).all(|(a, b)| same(calls[*a], calls[*b]))
}
