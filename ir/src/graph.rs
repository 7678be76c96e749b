//! The graph: values, nodes, and the readers of each value.
//!
//! A node holds its operands. An index of readers (`Uses`) answers which nodes read a value without a search over all
//! nodes. Only this module changes the index, so it always agrees with the operands.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::channel_order::ChannelOrder;
use crate::epilogue::{self, Epilogue};
use crate::id::{NodeId, QuantId, ValueId};
use crate::op::{InferError, InferOperand, Op, QuantRule, Types};
use crate::origin::Origin;
use crate::precision::Precision;
use crate::quant::QuantParams;
use crate::tensor::Tensor;
use crate::types::{Layout, TensorType};
use crate::uses::Uses;

/// The definition of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Def {
    /// An input of the graph.
    Input,
    /// A constant.
    Const(Tensor),
    /// An output of a node.
    Node {
        /// The node that computes the value.
        node: NodeId,
        /// The index of the output.
        output: usize,
    },
    /// Undefined: the producer was removed.
    Dead,
}

/// A tensor of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The name, if it has one; unique in the graph.
    pub name: Option<Arc<str>>,
    /// Its type.
    pub ty: TensorType,
    /// Its definition.
    pub def: Def,
    /// The original order of its channels, if a pass has moved them.
    pub channel_order: Option<ChannelOrder>,
}

/// An operator with its operands and epilogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The node's own number.
    pub id: NodeId,
    /// The operator.
    pub op: Op,
    /// The operator's operands; `None` for an optional operand that is absent. The epilogue has its own list.
    pub operands: SmallVec<[Option<ValueId>; 4]>,
    /// The steps that run on each element of output 0.
    pub epilogue: Epilogue,
    /// The values that the node computes.
    pub outputs: SmallVec<[ValueId; 1]>,
    /// The precision in which the node is computed. `None` if no pass has decided, or if there is nothing to decide.
    pub precision: Option<Precision>,
    /// The ONNX nodes that the node comes from.
    pub origin: Origin,
    /// The position in the model, which breaks ties in the topological order.
    pub order: u32,
}

impl Node {
    /// Returns all tensors that the node reads: operands, then those of the epilogue, with repetitions.
    pub fn uses(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.operands.iter().flatten().copied().chain(self.epilogue.values())
    }

    /// Returns the operand at `index`, if present.
    #[must_use]
    pub fn operand(&self, index: usize) -> Option<ValueId> {
        self.operands.get(index).copied().flatten()
    }

    /// Returns the first output. Most operators have only one.
    #[must_use]
    pub fn output(&self) -> ValueId {
        self.outputs[0]
    }
}

/// An output of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The name that users know.
    pub name: Arc<str>,
    /// The value.
    pub value: ValueId,
}

/// A dataflow graph.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The model's name.
    pub name: String,
    /// The nodes by number; `None` for removed nodes.
    nodes: Vec<Option<Node>>,
    values: Vec<Value>,
    uses: Uses,
    /// For each value, the number of outputs that return it.
    shown: Vec<usize>,
    names: HashMap<Arc<str>, ValueId>,
    qparams: Vec<QuantParams>,
    inputs: Vec<ValueId>,
    outputs: Vec<Output>,
    next_order: u32,
}

impl Graph {
    /// A graph without nodes.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Graph {
            name: name.into(),
            nodes: Vec::new(),
            values: Vec::new(),
            uses: Uses::default(),
            shown: Vec::new(),
            names: HashMap::new(),
            qparams: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            next_order: 0,
        }
    }

    /// Adds an input.
    pub fn add_input(&mut self, name: &str, ty: TensorType) -> ValueId {
        self.define(Some(name), ty, Def::Input)
    }

    /// Adds a constant. `name` may be empty.
    pub fn add_const(&mut self, name: &str, tensor: Tensor, quant: Option<QuantId>) -> ValueId {
        let ty = TensorType::new(tensor.dtype(), tensor.shape().clone()).with_quant(quant);
        self.define((!name.is_empty()).then_some(name), ty, Def::Const(tensor))
    }

    /// Returns the id of these parameters. Adds them if no equal ones exist.
    pub fn add_qparams(&mut self, params: QuantParams) -> QuantId {
        let found = self.qparams.iter().position(|q| *q == params);
        let index = found.unwrap_or_else(|| {
            self.qparams.push(params);
            self.qparams.len() - 1
        });
        QuantId::new(index)
    }

    /// Adds a node with an empty epilogue. Its only output gets the name `name`, or none if `name` is empty.
    ///
    /// # Errors
    /// If the operator is not defined for the operands.
    pub fn add(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
        origin: Origin,
    ) -> Result<ValueId, InferError> {
        self.add_node(name, op, operands, Epilogue::none(), None, origin)
    }

    /// Adds a node. Its outputs get the inferred types. Output 0 gets the quantization `quant`, if given, and the name
    /// `name`, unless empty.
    ///
    /// # Errors
    /// If the operator or a step is not defined for its operands.
    pub fn add_node(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
        epilogue: Epilogue,
        quant: Option<QuantId>,
        origin: Origin,
    ) -> Result<ValueId, InferError> {
        let op = op.into();
        let mut types = self.infer(&op, operands, &epilogue)?;
        if quant.is_some() {
            types[0].quant = quant;
        }
        let order = self.next_order;
        let node = self.insert(op, operands.iter().copied().collect(), epilogue, types, origin, order);
        let output = self.node(node).output();
        if !name.is_empty() {
            self.set_name(output, name);
        }
        Ok(output)
    }

    /// Makes `value` an output with the name `name`.
    pub fn add_output(&mut self, name: &str, value: ValueId) {
        self.outputs.push(Output { name: Arc::from(name), value });
        self.shown[value.index()] += 1;
    }

    /// Returns the inputs, in order.
    #[must_use]
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Replaces the list of inputs by some of them, in another order. Nothing reads the others, which are removed.
    pub fn keep_inputs(&mut self, inputs: &[ValueId]) {
        for id in std::mem::replace(&mut self.inputs, inputs.to_vec()) {
            if !inputs.contains(&id) {
                assert_eq!(self.use_count(id), 0, "an input that is removed is not read");
                self.kill(id);
            }
        }
    }

    /// Returns the outputs, in order.
    #[must_use]
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Replaces the list of outputs, for example to return intermediate values.
    pub fn set_outputs(&mut self, outputs: Vec<Output>) {
        self.shown.fill(0);
        outputs.iter().for_each(|output| self.shown[output.value.index()] += 1);
        self.outputs = outputs;
    }

    /// Returns true if the value is an output.
    #[must_use]
    pub fn is_output(&self, id: ValueId) -> bool {
        self.shown[id.index()] > 0
    }

    /// Returns the value with this id.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Returns the type of a value.
    #[must_use]
    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.value(id).ty
    }

    /// Returns the quantization of a value.
    #[must_use]
    pub fn quant(&self, id: ValueId) -> Option<&QuantParams> {
        self.ty(id).quant.map(|q| self.qparams(q))
    }

    /// Returns the weights of a convolution or matrix product that multiplies floats by stored integers (weight-only
    /// quantization); `None` for any other node.
    #[must_use]
    pub fn stored_weights(&self, node: &Node) -> Option<ValueId> {
        let QuantRule::Affine { weight, .. } = node.op.quant_rule() else { return None };
        let is_float = |id: &ValueId| self.ty(*id).dtype.is_float();
        node.operand(0).filter(is_float)?;
        node.operand(weight).filter(|id| !is_float(id))
    }

    /// Returns the parameters with this id.
    #[must_use]
    pub fn qparams(&self, id: QuantId) -> &QuantParams {
        &self.qparams[id.index()]
    }

    /// Returns the value with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// Returns all values that are not dead, in order of creation.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().filter(|(_, v)| v.def != Def::Dead).map(|(i, v)| (ValueId::new(i), v))
    }

    /// Returns the number of values ever created, which is the length of a table indexed by value.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// Returns the tensor if the value is a constant.
    #[must_use]
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        match &self.value(id).def {
            Def::Const(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Returns the node that computes a value.
    #[must_use]
    pub fn producer(&self, id: ValueId) -> Option<&Node> {
        self.producer_id(id).map(|node| self.node(node))
    }

    /// Returns the node with this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        self.get(id).expect("the node is in the graph")
    }

    /// Returns the node with this id, unless it was removed.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.index()).and_then(Option::as_ref)
    }

    /// Returns the number of nodes.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.iter().flatten().count()
    }

    /// Returns the nodes that read a value, without repetitions, ordered by position.
    #[must_use]
    pub fn users(&self, id: ValueId) -> Vec<NodeId> {
        let mut users: Vec<NodeId> = self.uses.readers(id).map(|(user, _)| user).collect();
        users.sort_unstable_by_key(|user| (self.node(*user).order, *user));
        users
    }

    /// Returns the number of reads of a value. Uses as an output count.
    #[must_use]
    pub fn use_count(&self, id: ValueId) -> usize {
        self.uses.readers(id).map(|(_, reads)| reads).sum::<usize>() + self.shown[id.index()]
    }

    /// Returns the only reader of a value, if the value is read exactly once and is not an output.
    #[must_use]
    pub fn single_user(&self, id: ValueId) -> Option<&Node> {
        if self.use_count(id) != 1 {
            return None;
        }
        self.uses.readers(id).next().map(|(user, _)| self.node(user))
    }

    /// Returns the nodes in topological order. Ties are broken by position, then by number.
    ///
    /// Nodes on a cycle are left out. Graphs built by this crate have no cycles.
    #[must_use]
    pub fn topo(&self) -> Vec<NodeId> {
        let mut waiting = vec![0_usize; self.nodes.len()];
        let outputs = self.nodes_unordered().flat_map(|node| &node.outputs);
        for (user, uses) in outputs.flat_map(|output| self.uses.readers(*output)) {
            waiting[user.index()] += uses;
        }
        let free = self.nodes_unordered().filter(|node| waiting[node.id.index()] == 0);
        let mut ready: BinaryHeap<_> = free.map(|node| Reverse((node.order, node.id))).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(Reverse((_, id))) = ready.pop() {
            order.push(id);
            for (user, uses) in self.node(id).outputs.iter().flat_map(|output| self.uses.readers(*output)) {
                let left = &mut waiting[user.index()];
                *left -= uses;
                if *left == 0 {
                    ready.push(Reverse((self.node(user).order, user)));
                }
            }
        }
        order
    }

    /// Returns all nodes in order of creation, including nodes on a cycle.
    pub(crate) fn nodes_unordered(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// For each value, the nodes that read it according to the index, with the number of reads.
    pub(crate) fn indexed_users(&self) -> Vec<BTreeMap<NodeId, usize>> {
        (0..self.values.len()).map(|index| self.uses.readers(ValueId::new(index)).collect()).collect()
    }

    /// For each value, the nodes that read it according to the nodes' operands, with the number of reads.
    pub(crate) fn actual_users(&self) -> Vec<BTreeMap<NodeId, usize>> {
        let mut users = vec![BTreeMap::new(); self.values.len()];
        for node in self.nodes_unordered() {
            node.uses().for_each(|used| *users[used.index()].entry(node.id).or_default() += 1);
        }
        users
    }

    /// Breaks the index of readers, for tests.
    #[cfg(test)]
    pub(crate) fn forget_uses(&mut self) {
        self.uses = Uses::default();
    }

    /// Returns the nodes in topological order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.topo().into_iter().map(|id| self.node(id))
    }

    /// Infers the output types of an operator with these operands and steps.
    ///
    /// # Errors
    /// If the operator or a step is not defined for its operands.
    pub fn infer(&self, op: &Op, operands: &[Option<ValueId>], epilogue: &Epilogue) -> Result<Types, InferError> {
        infer(op, operands, epilogue, &|id| self.ty(id), &|id| self.qparams(id))
    }

    /// Returns the operator of a node, to have its bodies changed.
    pub(crate) fn op_mut(&mut self, node: NodeId) -> &mut Op {
        &mut self.nodes[node.index()].as_mut().expect("the node is in the graph").op
    }

    /// Sets the memory layout of a value.
    pub fn set_layout(&mut self, id: ValueId, layout: Layout) {
        self.values[id.index()].ty.layout = layout;
    }

    /// Sets or clears the precision of a node.
    pub fn set_precision(&mut self, id: NodeId, precision: Option<Precision>) {
        self.nodes[id.index()].as_mut().expect("the node is in the graph").precision = precision;
    }

    /// Sets the original order of the channels of a value.
    pub fn set_channel_order(&mut self, id: ValueId, order: Option<ChannelOrder>) {
        self.values[id.index()].channel_order = order;
    }

    /// Sets the name of a value. Appends a number if the name is taken.
    pub fn set_name(&mut self, id: ValueId, name: &str) {
        if let Some(old) = self.values[id.index()].name.take() {
            self.names.remove(&old);
        }
        let mut unique: Arc<str> = Arc::from(name);
        let mut suffix = 1;
        while self.names.contains_key(&unique) {
            unique = Arc::from(format!("{name}.{suffix}"));
            suffix += 1;
        }
        self.names.insert(Arc::clone(&unique), id);
        self.values[id.index()].name = Some(unique);
    }

    /// Moves the name and the channel order of `from` to `to`. Does nothing if `from` has no name.
    pub fn move_name(&mut self, from: ValueId, to: ValueId) {
        if let Some(name) = self.values[from.index()].name.take() {
            self.names.remove(&name);
            self.set_name(to, &name);
            self.values[to.index()].channel_order = self.values[from.index()].channel_order.take();
        }
    }

    /// Adds a value. An input is appended to the inputs.
    pub(crate) fn define(&mut self, name: Option<&str>, ty: TensorType, def: Def) -> ValueId {
        let id = ValueId::new(self.values.len());
        if def == Def::Input {
            self.inputs.push(id);
        }
        self.values.push(Value { name: None, ty, def, channel_order: None });
        self.uses.define(id, self.producer_id(id));
        self.shown.push(0);
        if let Some(name) = name {
            self.set_name(id, name);
        }
        id
    }

    /// Adds a node with known types.
    pub(crate) fn insert(
        &mut self,
        op: Op,
        operands: SmallVec<[Option<ValueId>; 4]>,
        epilogue: Epilogue,
        types: Types,
        origin: Origin,
        order: u32,
    ) -> NodeId {
        let id = NodeId::new(self.nodes.len());
        self.next_order = self.next_order.max(order + 1);
        let define = |(output, ty)| self.define(None, ty, Def::Node { node: id, output });
        let outputs = types.into_iter().enumerate().map(define).collect();
        let node = Node { id, op, operands, epilogue, outputs, precision: None, origin, order };
        node.uses().for_each(|used| self.uses.connect(used, id, 1));
        self.nodes.push(Some(node));
        id
    }

    /// Returns the id of the node that computes a value.
    fn producer_id(&self, id: ValueId) -> Option<NodeId> {
        match self.value(id).def {
            Def::Node { node, .. } => Some(node),
            _ => None,
        }
    }

    /// Replaces every use of `old`, except those by the nodes `keep`, by a use of `new`, outputs included. Moves the
    /// name too.
    pub(crate) fn replace_uses_but(&mut self, old: ValueId, new: ValueId, keep: &[NodeId]) {
        for (user, reads) in self.uses.readers(old).collect::<Vec<_>>() {
            if !keep.contains(&user) {
                self.uses.disconnect(old, user);
                self.uses.connect(new, user, reads);
                let node = self.nodes[user.index()].as_mut().expect("a user is in the graph");
                let swap = |v: ValueId| if v == old { new } else { v };
                node.operands.iter_mut().flatten().for_each(|v| *v = swap(*v));
                node.epilogue.steps.iter_mut().for_each(|s| s.map_values(swap));
            }
        }
        if self.is_output(old) {
            self.outputs.iter_mut().filter(|o| o.value == old).for_each(|o| o.value = new);
            self.shown[new.index()] += std::mem::take(&mut self.shown[old.index()]);
        }
        // An input keeps its name, which is part of the graph's interface.
        if self.values[new.index()].name.is_none()
            && self.values[old.index()].def != Def::Input
            && let Some(name) = self.values[old.index()].name.take()
        {
            self.names.insert(Arc::clone(&name), new);
            self.values[new.index()].name = Some(name);
            self.values[new.index()].channel_order = self.values[old.index()].channel_order.take();
        }
    }

    /// Removes `node` if nothing reads it, and then each producer that nothing reads any more.
    pub(crate) fn remove_if_dead(&mut self, node: NodeId) {
        let mut work = vec![node];
        while let Some(id) = work.pop() {
            let Some(node) = self.get(id) else { continue };
            if node.outputs.iter().any(|v| self.use_count(*v) > 0) {
                continue;
            }
            let node = self.nodes[id.index()].take().expect("a node of the graph");
            for output in &node.outputs {
                self.kill(*output);
            }
            self.uses.remove(id);
            work.extend(node.uses().filter_map(|used| self.producer_id(used)));
        }
    }

    fn kill(&mut self, id: ValueId) {
        let value = &mut self.values[id.index()];
        value.def = Def::Dead;
        if let Some(name) = value.name.take() {
            self.names.remove(&name);
        }
    }

    /// Removes nodes that no output depends on and constants that nothing reads. Returns the number of removed nodes.
    pub fn eliminate_dead(&mut self) -> usize {
        let before = self.node_count();
        for id in self.topo().into_iter().rev() {
            self.remove_if_dead(id);
        }
        for index in 0..self.values.len() {
            let id = ValueId::new(index);
            if self.use_count(id) == 0 && matches!(self.values[index].def, Def::Const(_)) {
                self.kill(id);
            }
        }
        before - self.node_count()
    }
}

/// Like [`Graph::infer`], for types from any source, so that a rewrite can ask about values that do not exist yet.
pub(crate) fn infer<'a>(
    op: &Op,
    operands: &[Option<ValueId>],
    epilogue: &Epilogue,
    ty: &impl Fn(ValueId) -> &'a TensorType,
    qparams: &impl Fn(QuantId) -> &'a QuantParams,
) -> Result<Types, InferError> {
    let operand = |id: ValueId| InferOperand { ty: ty(id), quant: ty(id).quant.map(qparams) };
    let list: SmallVec<[Option<InferOperand<'_>>; 4]> = operands.iter().map(|o| o.map(operand)).collect();
    let mut types = op.infer(&list)?;
    let fits = |ty: &TensorType| match ty.is_addressable() {
        true => Ok(()),
        false => Err(InferError::TooLarge { op: op.name(), got: Box::new(ty.clone()) }),
    };
    types.iter().try_for_each(fits)?;
    let types_of = |id: ValueId| (ty(id).dtype, ty(id).shape.clone());
    for (index, step) in epilogue.steps.iter().enumerate() {
        let current = (types[0].dtype, types[0].shape.clone());
        let (dtype, shape) =
            epilogue::infer(step, current, &types_of).map_err(|source| InferError::Step { index, source })?;
        types[0] = TensorType { dtype, shape, layout: types[0].layout, quant: None };
    }
    fits(&types[0])?;
    Ok(types)
}
