//! Regions: calls in loops, in branches and on several threads.
//!
//! A program's body is a list of items that run one after the other. An item is a call, or a region with bodies of its
//! own. Analyses walk this tree and need not know why a loop is there: bands of a chain, time steps of a recurrent layer.

use crate::kernel::Call;
use crate::view::{LoopId, View};

/// A part of a program's body.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// One kernel call.
    Call(Call),
    /// A body that runs several times.
    For(For),
    /// One of two bodies.
    If(If),
    /// Bodies that run at the same time.
    Parallel(Parallel),
}

/// A body that runs `count` times, at least once. Views in it move with each turn by their [`View::loops`].
#[derive(Clone, Debug, PartialEq)]
pub struct For {
    /// The loop's number.
    pub id: LoopId,
    /// Turns.
    pub count: usize,
    /// What runs in each turn.
    pub body: Vec<Item>,
}

/// `then` where the condition is not 0, else `otherwise`.
#[derive(Clone, Debug, PartialEq)]
pub struct If {
    /// One element of type bool or of an integer type.
    pub condition: View,
    /// What runs if it is not 0.
    pub then: Vec<Item>,
    /// What runs if it is 0.
    pub otherwise: Vec<Item>,
}

/// Bodies that run at the same time, the first on the first thread, and so on. All threads wait for each other before and
/// after. It stands in no other region.
#[derive(Clone, Debug, PartialEq)]
pub struct Parallel {
    /// One body for each thread of the program; some may be empty.
    pub threads: Vec<Vec<Item>>,
}

impl Item {
    /// The bodies of a region, none of a call.
    #[must_use]
    pub fn bodies(&self) -> Vec<&[Item]> {
        match self {
            Item::Call(_) => Vec::new(),
            Item::For(each) => vec![&each.body],
            Item::If(branch) => vec![&branch.then, &branch.otherwise],
            Item::Parallel(parallel) => parallel.threads.iter().map(Vec::as_slice).collect(),
        }
    }

    /// The same, to be changed.
    pub fn bodies_mut(&mut self) -> Vec<&mut Vec<Item>> {
        match self {
            Item::Call(_) => Vec::new(),
            Item::For(each) => vec![&mut each.body],
            Item::If(branch) => vec![&mut branch.then, &mut branch.otherwise],
            Item::Parallel(parallel) => parallel.threads.iter_mut().collect(),
        }
    }

    /// The views of the item itself, without those of what is in its bodies.
    fn views(&self) -> Vec<&View> {
        match self {
            Item::Call(call) => call.views().collect(),
            Item::If(branch) => vec![&branch.condition],
            Item::For(_) | Item::Parallel(_) => Vec::new(),
        }
    }
}

/// All calls below these items, in the order of the text. A call's place in this order is its number.
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

/// All views below these items.
#[must_use]
pub fn views(items: &[Item]) -> Vec<&View> {
    let mut found = Vec::new();
    walk(items, &mut |item| found.extend(item.views()));
    found
}

/// Visits items and all that is in their bodies, in the order of the text.
pub fn walk<'i>(items: &'i [Item], visit: &mut impl FnMut(&'i Item)) {
    for item in items {
        visit(item);
        for body in item.bodies() {
            walk(body, visit);
        }
    }
}

/// Changes all calls below these items.
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

/// One run of a call: what it does in one turn of the loops around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// The call's number.
    pub number: usize,
    /// The call, whose views no loop moves any more.
    pub call: Call,
}

/// All that runs when these items run, in the order in which one thread may run it. Both bodies of a branch are taken to
/// run.
#[must_use]
pub fn executions(items: &[Item]) -> Vec<Execution> {
    let mut unroll = Unroll { turns: Vec::new(), executions: Vec::new() };
    unroll.items(items, 0);
    unroll.executions
}

struct Unroll {
    /// The turn that each loop around is in.
    turns: Vec<(LoopId, usize)>,
    executions: Vec<Execution>,
}

impl Unroll {
    /// Unrolls items, the first call of which has this number; returns the number after the last.
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
    /// The view in these turns of the loops around it.
    fn fix(&mut self, turns: &[(LoopId, usize)]) {
        for (id, step) in std::mem::take(&mut self.loops) {
            let turn = turns.iter().find(|(own, _)| *own == id).map_or(0, |(_, turn)| *turn);
            self.offset = self.offset.wrapping_add_signed(turn as isize * step);
        }
    }
}
