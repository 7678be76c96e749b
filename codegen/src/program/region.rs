//! Regions: calls in loops, in branches and on several threads.
//!
//! A program's body is a list of items that run one after the other. An item is a call or a region with bodies of its
//! own. Analyses walk this tree and need not know the purpose of a loop: bands of a chain, or time steps of a recurrent
//! layer.

use crate::kernel::Call;
use crate::view::{LoopId, View};

/// A part of a program's body.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A kernel call.
    Call(Call),
    /// A loop.
    For(For),
    /// A branch.
    If(If),
    /// Bodies on several threads.
    Parallel(Parallel),
}

/// A body that runs `count` times, at least once. In each turn, its views move by their [`View::loops`].
#[derive(Clone, Debug, PartialEq)]
pub struct For {
    /// The loop's number.
    pub id: LoopId,
    /// Number of turns.
    pub count: usize,
    /// The items of one turn.
    pub body: Vec<Item>,
}

/// A branch: `then` if the condition is not 0, else `otherwise`.
#[derive(Clone, Debug, PartialEq)]
pub struct If {
    /// One element of type bool or of an integer type.
    pub condition: View,
    /// The items if it is not 0.
    pub then: Vec<Item>,
    /// The items if it is 0.
    pub otherwise: Vec<Item>,
}

/// Bodies that run at the same time, one per thread. All threads wait for each other before and after. A parallel
/// region must not be inside another region.
#[derive(Clone, Debug, PartialEq)]
pub struct Parallel {
    /// One body per thread of the program; some may be empty.
    pub threads: Vec<Vec<Item>>,
}

impl Item {
    /// The bodies of a region; none for a call.
    #[must_use]
    pub fn bodies(&self) -> Vec<&[Item]> {
        match self {
            Item::Call(_) => Vec::new(),
            Item::For(each) => vec![&each.body],
            Item::If(branch) => vec![&branch.then, &branch.otherwise],
            Item::Parallel(parallel) => parallel.threads.iter().map(Vec::as_slice).collect(),
        }
    }

    /// The same, mutable.
    pub fn bodies_mut(&mut self) -> Vec<&mut Vec<Item>> {
        match self {
            Item::Call(_) => Vec::new(),
            Item::For(each) => vec![&mut each.body],
            Item::If(branch) => vec![&mut branch.then, &mut branch.otherwise],
            Item::Parallel(parallel) => parallel.threads.iter_mut().collect(),
        }
    }

    /// The views of the item itself, without those in its bodies.
    fn views(&self) -> Vec<&View> {
        match self {
            Item::Call(call) => call.views().collect(),
            Item::If(branch) => vec![&branch.condition],
            Item::For(_) | Item::Parallel(_) => Vec::new(),
        }
    }
}

/// All calls in these items, in the order of the text. The position of a call in this order is its number.
#[must_use]
pub fn calls(items: &[Item]) -> Vec<&Call> {
    let mut found = Vec::new();
    walk(items, &mut |item| {
        if let Item::Call(call) = item {
            found.push(call);
        }
    });
    found
}

/// All views in these items.
#[must_use]
pub fn views(items: &[Item]) -> Vec<&View> {
    let mut found = Vec::new();
    walk(items, &mut |item| found.extend(item.views()));
    found
}

/// Visits items and everything in their bodies, in the order of the text.
pub fn walk<'i>(items: &'i [Item], visit: &mut impl FnMut(&'i Item)) {
    for item in items {
        visit(item);
        for body in item.bodies() {
            walk(body, visit);
        }
    }
}

/// Changes all calls in these items.
pub fn for_each_call(items: &mut [Item], change: &mut impl FnMut(&mut Call)) {
    for item in items {
        if let Item::Call(call) = item {
            change(call);
        }
        for body in item.bodies_mut() {
            for_each_call(body, change);
        }
    }
}

/// Changes all views in these items, those of conditions included.
pub fn for_each_view(items: &mut [Item], change: &mut impl FnMut(&mut View)) {
    for item in items {
        match item {
            Item::Call(call) => call.views_mut().for_each(&mut *change),
            Item::If(branch) => change(&mut branch.condition),
            Item::For(_) | Item::Parallel(_) => {}
        }
        for body in item.bodies_mut() {
            for_each_view(body, change);
        }
    }
}

/// One execution of a call: in one turn of each loop around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// The call's number.
    pub number: usize,
    /// The call. Its views have the offsets of this turn and no loops.
    pub call: Call,
}

/// All executions of these items, in an order that is valid for one thread. Both bodies of a branch are included.
#[must_use]
pub fn executions(items: &[Item]) -> Vec<Execution> {
    let mut unroll = Unroll { turns: Vec::new(), executions: Vec::new() };
    unroll.items(items, 0);
    unroll.executions
}

struct Unroll {
    /// The current turn of each loop around the item.
    turns: Vec<(LoopId, usize)>,
    executions: Vec<Execution>,
}

impl Unroll {
    /// Unrolls items whose first call has the number `first`; returns the number after the last call.
    fn items(&mut self, items: &[Item], first: usize) -> usize {
        items.iter().fold(first, |number, item| match item {
            Item::Call(call) => {
                let mut call = call.clone();
                call.views_mut().for_each(|view| view.fix(&self.turns));
                self.executions.push(Execution { number, call });
                number + 1
            }
            Item::For(each) => {
                let mut after = number;
                for turn in 0..each.count {
                    self.turns.push((each.id, turn));
                    after = self.items(&each.body, number);
                    self.turns.pop();
                }
                after
            }
            _ => item.bodies().into_iter().fold(number, |number, body| self.items(body, number)),
        })
    }
}

impl View {
    /// Adds to the view's offset the distance that these turns of its loops move it.
    fn fix(&mut self, turns: &[(LoopId, usize)]) {
        for (id, step) in std::mem::take(&mut self.loops) {
            let turn = turns.iter().find(|(own, _)| *own == id).map_or(0, |(_, turn)| *turn);
            self.offset = self.offset.wrapping_add_signed(turn as isize * step);
        }
    }
}
