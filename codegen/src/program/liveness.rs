//! Live ranges of buffers, computed on the tree of regions.
//!
//! Time is counted in *moments*. Items that run in sequence have different moments. All buffers touched in a loop, or
//! in a parallel region with loops, are live from its first moment to its last, because a turn may read what the
//! previous turn has written. Calls that threads run at the same time share one moment.

use super::{Item, Program, views, walk};
use crate::view::{BufferId, Storage, View};

/// The live range: the first and the last moment at which something is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Span {
    /// Whether both contain a common moment.
    pub(crate) fn meets(self, other: Span) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn joined(self, other: Span) -> Span {
        Span { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// The live range of each buffer of the program; `None` if nothing touches it.
pub(crate) fn liveness(program: &Program) -> Vec<Option<Span>> {
    let mut spans = vec![None; program.buffers.len()];
    items(&program.body, 0, &mut spans);
    spans
}

/// For each buffer the numbers of the first and the last call that touch it, for dumps.
pub(crate) fn users(program: &Program) -> Vec<Option<Span>> {
    let mut spans = vec![None; program.buffers.len()];
    for (number, call) in program.calls().into_iter().enumerate() {
        call.views().for_each(|view| touch(&mut spans, view, Span { first: number, last: number }));
    }
    spans
}

/// Records the live ranges of items that start at moment `first`; returns the moment after the last.
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
