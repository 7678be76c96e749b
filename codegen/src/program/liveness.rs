//! When buffers are live, on the tree of regions.
//!
//! Time is counted in *moments*. Items that run one after the other have moments of their own. All that is in a loop, or in
//! a parallel region with loops, is live from its first moment to its last: what a turn leaves may be read in the next.
//! Calls that threads run at the same time share one moment.

use super::{Item, Program, views, walk};
use crate::view::{BufferId, Storage, View};

/// From the first moment at which something is touched to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Span {
    /// Whether both have a moment in common.
    pub(crate) fn meets(self, other: Span) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn joined(self, other: Span) -> Span {
        Span { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// For each buffer of the program when it is live; `None` if nothing touches it.
pub(crate) fn liveness(program: &Program) -> Vec<Option<Span>> {
    let mut spans = vec![None; program.buffers.len()];
    items(&program.body, 0, &mut spans);
    spans
}

/// For each buffer the numbers of the first and the last call that touch it, for people to read.
pub(crate) fn users(program: &Program) -> Vec<Option<Span>> {
    let mut spans = vec![None; program.buffers.len()];
    for (number, call) in program.calls().into_iter().enumerate() {
        call.views().for_each(|view| touch(&mut spans, view, Span { first: number, last: number }));
    }
    spans
}

/// Follows items from this moment on; returns the moment after the last.
fn items(body: &[Item], first: usize, spans: &mut [Option<Span>]) -> usize {
    body.iter().fold(first, |moment, item| {
        let mut all = |last: usize| {
            let one = std::slice::from_ref(item);
            views(one).into_iter().for_each(|view| touch(spans, view, Span { first: moment, last }));
            last + 1
        };
        match item {
            Item::Call(_) => all(moment),
            Item::For(_) => all(moment + 1),
            Item::Parallel(_) => all(moment + usize::from(has_loop(item))),
            Item::If(branch) => {
                touch(spans, &branch.condition, Span { first: moment, last: moment });
                item.bodies().into_iter().fold(moment + 1, |moment, body| items(body, moment, spans))
            }
        }
    })
}

fn has_loop(item: &Item) -> bool {
    let mut found = false;
    walk(std::slice::from_ref(item), &mut |item| found |= matches!(item, Item::For(_)));
    found
}

fn touch(spans: &mut [Option<Span>], view: &View, span: Span) {
    if let Storage::Buffer(BufferId(id)) = view.storage {
        spans[id] = Some(spans[id].map_or(span, |own| own.joined(span)));
    }
}
