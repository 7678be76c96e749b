//! Operators with bodies: branches and loops of the program.
//!
//! A body is lowered like a graph, with the views of its inputs given. Slices of scanned operands and rows of stacked
//! results are views that move with the loop. Each state has a buffer. The body reads the state there, and copies the
//! next one there at the end of the turn; `update_in_place` removes that copy where it can.

use eightfold_ir::op::r#if::If as IfOp;
use eightfold_ir::op::r#loop::{FIRST_STATE, Loop};
use eightfold_ir::op::scan::Scan;
use eightfold_ir::{DType, Function, Graph, Layout, Node, ValueId};

use super::placement::Placement;
use super::{LowerError, Lowering, origin};
use crate::kernel::{Fill, Pointwise, Producer};
use crate::program::{For, If, Item};
use crate::step::{Arg, Step};
use crate::view::{Grid, LoopId, Storage, View};

impl<'g> Lowering<'g> {
    pub(super) fn branch(&mut self, node: &'g Node, op: &'g IfOp) -> Result<(), LowerError> {
        self.check_all_dtypes(node)?;
        let operands = self.operand_views(node);
        let places: Vec<Option<View>> =
            (0..node.outputs.len()).map(|index| Some(self.result_place(node, index))).collect();
        let [then, otherwise] = [&op.then, &op.otherwise].map(|body| body.graph());
        match self.known_bool(&operands[0]) {
            Some(holds) => {
                let body = if holds { then } else { otherwise };
                let (mut items, _) = self.body(body, operands[1..].to_vec(), places.clone())?;
                self.items.append(&mut items);
            }
            None => {
                let condition = self.in_buffer(&operands[0], &origin(&node.origin));
                let (then, _) = self.body(then, operands[1..].to_vec(), places.clone())?;
                let (otherwise, _) = self.body(otherwise, operands[1..].to_vec(), places.clone())?;
                self.items.push(Item::If(If { condition, then, otherwise }));
            }
        }
        self.run_steps(node, places[0].clone())
    }

    pub(super) fn scan(&mut self, node: &'g Node, op: &'g Scan) -> Result<(), LowerError> {
        self.check_all_dtypes(node)?;
        let mut operands = self.operand_views(node);
        let captures = operands.split_off(op.states + op.axes.len());
        let scanned = operands.split_off(op.states);
        let stacked: Vec<View> = (op.states..node.outputs.len()).map(|index| self.result_place(node, index)).collect();
        let states = self.initial_states(node, operands);
        if op.count > 0 {
            let id = self.new_loop();
            let slices = scanned.iter().enumerate();
            let slices = slices.map(|(index, view)| moving(view, op.axes[index], id, op.is_reversed(index)));
            let inputs = states.iter().cloned().chain(slices).chain(captures).collect();
            let rows = stacked.iter().enumerate();
            let rows = rows.map(|(index, view)| moving(view, op.output_axis(index), id, op.is_output_reversed(index)));
            let places = vec![None; op.states].into_iter().chain(rows.map(Some)).collect();
            let (items, outputs) = self.body(op.body.graph(), inputs, places)?;
            let body = self.with_updates(items, &outputs[..op.states], &states, &origin(&node.origin));
            self.items.push(Item::For(For { id, count: op.count, body }));
        }
        self.finish_loop(node, &states, &stacked)
    }

    pub(super) fn repeat(&mut self, node: &'g Node, op: &'g Loop) -> Result<(), LowerError> {
        self.check_all_dtypes(node)?;
        let name = origin(&node.origin);
        let mut operands = self.operand_views_from(node, FIRST_STATE);
        let captures = operands.split_off(op.states);
        let [trip, condition] = [0, 1].map(|index| node.operand(index).map(|id| self.view(id)));
        let stacked: Vec<View> = (op.states..node.outputs.len()).map(|index| self.result_place(node, index)).collect();
        for place in &stacked {
            self.fill(place.clone(), [0; 8], &name);
        }
        let [number, holds] = [("number", DType::I64), ("holds", DType::Bool)]
            .map(|(what, dtype)| self.arena(&format!("{name} {what}"), dtype, &[], Layout::Nchw, [0; 4]));
        self.fill(number.clone(), [0; 8], &name);
        match condition {
            Some(condition) => self.copy(as_scalar(condition), holds.clone(), &name),
            None => self.fill(holds.clone(), 1_i64.to_le_bytes(), &name),
        }
        let states = self.initial_states(node, operands);
        if op.max_trip > 0 {
            let id = self.new_loop();
            let inputs = [number.clone(), holds.clone()].into_iter().chain(states.iter().cloned()).chain(captures);
            let rows = stacked.iter().map(|view| Some(moving(view, 0, id, false)));
            let places = vec![None; 1 + op.states].into_iter().chain(rows).collect();
            let (items, outputs) = self.body(op.body.graph(), inputs.collect(), places)?;
            let mut next = outputs[..=op.states].to_vec();
            next[0] = as_scalar(next[0].clone());
            let own: Vec<View> = [holds.clone()].into_iter().chain(states.iter().cloned()).collect();
            let items = self.with_updates(items, &next, &own, &name);
            let then = self.within(items, |this| {
                let steps = vec![Step::Apply(Function::Add, [Arg::Current, Arg::Int(1)].into_iter().collect())];
                this.call(Producer::Pointwise(Pointwise), vec![number.clone()], steps, number.clone(), &name);
            });
            let body = self.within(Vec::new(), |this| {
                let condition = match trip {
                    None => holds,
                    Some(trip) => this.below(number, as_scalar(trip), holds, &name),
                };
                this.items.push(Item::If(If { condition, then, otherwise: Vec::new() }));
            });
            self.items.push(Item::For(For { id, count: op.max_trip, body }));
        }
        self.finish_loop(node, &states, &stacked)
    }

    /// Whether a turn runs: its number is below the trip count, and the condition holds.
    fn below(&mut self, number: View, trip: View, holds: View, name: &str) -> View {
        let runs = self.arena(&format!("{name} runs"), DType::Bool, &[], Layout::Nchw, [0; 4]);
        let step =
            |function, operand| Step::Apply(function, [Arg::Current, Arg::Operand(operand)].into_iter().collect());
        let steps = vec![step(Function::Less, 1), step(Function::And, 2)];
        self.call(Producer::Pointwise(Pointwise), vec![number, trip, holds], steps, runs.clone(), name);
        runs
    }

    /// Lowers a body. Returns its items, and where its outputs are.
    fn body(
        &mut self,
        graph: &'g Graph,
        inputs: Vec<View>,
        results: Vec<Option<View>>,
    ) -> Result<(Vec<Item>, Vec<View>), LowerError> {
        let count = graph.value_count();
        let mut views = vec![None; count];
        for (id, view) in graph.inputs().iter().zip(inputs) {
            views[id.index()] = Some(view);
        }
        let outer = (
            std::mem::replace(&mut self.graph, graph),
            std::mem::replace(&mut self.placement, Placement::of(graph)),
            std::mem::replace(&mut self.views, views),
            std::mem::replace(&mut self.borders, vec![[0; 4]; count]),
            std::mem::replace(&mut self.results, results),
            std::mem::take(&mut self.items),
        );
        let lowered = self.nodes();
        let outputs: Vec<View> = match &lowered {
            Ok(()) => graph.outputs().iter().map(|output| self.view(output.value)).collect(),
            Err(_) => Vec::new(),
        };
        let items = std::mem::replace(&mut self.items, outer.5);
        (self.graph, self.placement, self.views, self.borders, self.results) =
            (outer.0, outer.1, outer.2, outer.3, outer.4);
        lowered.map(|()| (items, outputs))
    }

    /// Appends what `add` adds to `items`.
    fn within(&mut self, items: Vec<Item>, add: impl FnOnce(&mut Self)) -> Vec<Item> {
        let outer = std::mem::replace(&mut self.items, items);
        add(self);
        std::mem::replace(&mut self.items, outer)
    }

    /// Appends to the items of a turn the copies of the next states to the states' buffers. All states change at once: what
    /// is read from the buffer of a state is copied elsewhere first.
    fn with_updates(&mut self, items: Vec<Item>, next: &[View], states: &[View], name: &str) -> Vec<Item> {
        self.within(items, |this| {
            let mut copies = Vec::new();
            for (from, to) in next.iter().zip(states).filter(|(from, to)| from != to) {
                let is_state = states.iter().any(|state| state.storage == from.storage);
                let from = if is_state { this.copied(from, name) } else { from.clone() };
                copies.push((from, to.clone()));
            }
            copies.into_iter().for_each(|(from, to)| this.copy(from, to, name));
        })
    }

    /// A buffer for each state, which holds its initial value.
    fn initial_states(&mut self, node: &Node, initial: Vec<View>) -> Vec<View> {
        let name = origin(&node.origin);
        initial.iter().map(|view| self.copied(view, &name)).collect()
    }

    /// A copy in a buffer of its own.
    fn copied(&mut self, view: &View, name: &str) -> View {
        let state = self.arena(&format!("{name} state"), view.dtype, &view.grid.dims, Layout::Nchw, [0; 4]);
        self.copy(view.clone(), state.clone(), name);
        state
    }

    /// The final states are where the last turn left them, unless they have a place.
    fn finish_loop(&mut self, node: &Node, states: &[View], stacked: &[View]) -> Result<(), LowerError> {
        for (index, state) in states.iter().enumerate() {
            let y = node.outputs[index];
            let has_steps = index == 0 && !node.epilogue.is_empty();
            if has_steps {
                continue;
            }
            if self.placement.is_free(y) {
                self.views[y.index()] = Some(state.clone());
            } else {
                let place = self.place(y);
                self.copy(state.clone(), place, &origin(&node.origin));
            }
        }
        self.run_steps(node, states.iter().chain(stacked).next().cloned())
    }

    /// Runs the node's steps, if it has any, on output 0, which lies at `from`.
    fn run_steps(&mut self, node: &Node, from: Option<View>) -> Result<(), LowerError> {
        match from {
            Some(from) => self.finish_move(node, from),
            None => Ok(()),
        }
    }

    /// The place of a result: before the steps, if it has any.
    fn result_place(&mut self, node: &Node, index: usize) -> View {
        if index == 0 { self.moved_place(node) } else { self.place(node.outputs[index]) }
    }

    fn operand_views(&mut self, node: &Node) -> Vec<View> {
        self.operand_views_from(node, 0)
    }

    fn operand_views_from(&mut self, node: &Node, first: usize) -> Vec<View> {
        let ids: Vec<ValueId> = node.operands[first..].iter().map(|id| id.expect("verified")).collect();
        ids.into_iter().map(|id| self.view(id)).collect()
    }

    /// The truth value at a place that never changes.
    fn known_bool(&self, view: &View) -> Option<bool> {
        match view.storage {
            Storage::Const(id) if view.loops.is_empty() => Some(self.consts[id.0].bytes[view.offset] != 0),
            _ => None,
        }
    }

    /// The view, or a copy of a constant: conditions lie in buffers.
    fn in_buffer(&mut self, view: &View, name: &str) -> View {
        match view.storage {
            Storage::Buffer(_) => view.clone(),
            Storage::Const(_) => self.copied(view, name),
        }
    }

    fn fill(&mut self, place: View, element: [u8; 8], name: &str) {
        self.call(Producer::Fill(Fill { element }), vec![], vec![], place, name);
    }

    fn new_loop(&mut self) -> LoopId {
        self.loops += 1;
        LoopId(self.loops - 1)
    }

    /// Checks that what enters and leaves the bodies can be copied.
    fn check_all_dtypes(&self, node: &Node) -> Result<(), LowerError> {
        let dtypes = node.uses().chain(node.outputs.iter().copied()).map(|id| self.graph.ty(id).dtype);
        match dtypes.into_iter().find(|dtype| *dtype == DType::F64) {
            Some(dtype) => Err(LowerError::DType { op: node.op.name(), origin: origin(&node.origin), dtype }),
            None => Ok(()),
        }
    }
}

/// The slice of a view at the position on `axis` that belongs to the turn of the loop; turns begin at the end if `reverse`.
fn moving(view: &View, axis: usize, id: LoopId, reverse: bool) -> View {
    let Grid { mut dims, mut strides } = view.grid.clone();
    let (count, stride) = (dims.remove(axis), strides.remove(axis));
    let first = if reverse { (count as isize - 1) * stride } else { 0 };
    let step = if reverse { -stride } else { stride };
    let mut loops = view.loops.clone();
    loops.extend((step != 0).then_some((id, step)));
    View { offset: view.offset.wrapping_add_signed(first), loops, grid: Grid { dims, strides }, ..view.clone() }
}

/// A view of one element, without axes.
fn as_scalar(view: View) -> View {
    View { grid: Grid::dense(&[]), ..view }
}
