//! Sorts the nodes of a body topologically.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::error::OnnxError;
use super::model::{Body, Node};

/// The indices of the nodes that the outputs need, each after its dependencies, otherwise in file order.
///
/// `outer` returns whether a name is defined around the body.
pub(crate) fn order(
    nodes: &[Node],
    given: &BTreeSet<&str>,
    outputs: &[&str],
    outer: impl Fn(&str) -> bool,
) -> Result<Vec<usize>, OnnxError> {
    let mut producer: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for output in node.outputs.iter().filter(|o| !o.is_empty()) {
            if producer.insert(output, index).is_some() || given.contains(output.as_str()) {
                return Err(OnnxError::Duplicate { name: output.clone() });
            }
        }
    }
    let defined = |name: &str| producer.contains_key(name) || given.contains(name) || outer(name);
    let mut inputs: Vec<BTreeSet<usize>> = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let reads = node.reads();
        if let Some(name) = reads.iter().find(|n| !defined(n)) {
            return Err(OnnxError::Undefined {
                name: (*name).to_owned(),
                user: format!("node {:?}", label(nodes, index)),
            });
        }
        inputs.push(reads.iter().filter_map(|n| producer.get(n).copied()).collect());
    }
    if let Some(name) = outputs.iter().find(|n| !defined(n)) {
        return Err(OnnxError::Undefined { name: (*name).to_owned(), user: "the list of outputs".to_owned() });
    }
    let sorted = sort(nodes, &inputs)?;
    let mut needed = vec![false; nodes.len()];
    outputs.iter().filter_map(|o| producer.get(o)).for_each(|i| needed[*i] = true);
    for index in sorted.iter().rev() {
        if needed[*index] {
            inputs[*index].iter().for_each(|i| needed[*i] = true);
        }
    }
    Ok(sorted.into_iter().filter(|i| needed[*i]).collect())
}

/// All nodes, each after its inputs; of the nodes that are ready, the first in the file comes first.
fn sort(nodes: &[Node], inputs: &[BTreeSet<usize>]) -> Result<Vec<usize>, OnnxError> {
    let mut users = vec![Vec::new(); nodes.len()];
    let mut waiting: Vec<usize> = inputs.iter().map(BTreeSet::len).collect();
    for (index, list) in inputs.iter().enumerate() {
        list.iter().for_each(|input| users[*input].push(index));
    }
    let mut ready: BinaryHeap<_> = (0..nodes.len()).filter(|i| waiting[*i] == 0).map(Reverse).collect();
    let mut sorted = Vec::with_capacity(nodes.len());
    while let Some(Reverse(index)) = ready.pop() {
        sorted.push(index);
        for user in &users[index] {
            waiting[*user] -= 1;
            if waiting[*user] == 0 {
                ready.push(Reverse(*user));
            }
        }
    }
    match waiting.iter().position(|w| *w > 0) {
        Some(stuck) => Err(cycle(nodes, inputs, &waiting, stuck)),
        None => Ok(sorted),
    }
}

/// The cycle found by walking from `stuck` through inputs that are stuck, too.
fn cycle(nodes: &[Node], inputs: &[BTreeSet<usize>], waiting: &[usize], stuck: usize) -> OnnxError {
    let mut path = vec![stuck];
    loop {
        let last = path[path.len() - 1];
        let next = inputs[last].iter().copied().find(|i| waiting[*i] > 0);
        let next = next.unwrap_or_else(|| unreachable!("a node that waits has an input that waits"));
        if let Some(start) = path.iter().position(|i| *i == next) {
            // The walk is against the edges; the report is along them.
            let mut cycle: Vec<String> = path[start..].iter().rev().map(|i| label(nodes, *i)).collect();
            cycle.push(cycle[0].clone());
            return OnnxError::Cycle { nodes: cycle };
        }
        path.push(next);
    }
}

/// A node's label: its name, or its operator and index.
pub(crate) fn label(nodes: &[Node], index: usize) -> String {
    let node = &nodes[index];
    if node.name.is_empty() { format!("{}_{index}", node.op_type) } else { node.name.clone() }
}

/// The names that a body starts with: its inputs and initializers.
pub(crate) fn given(body: &Body) -> Result<BTreeSet<&str>, OnnxError> {
    let mut names: BTreeSet<&str> = body.initializers.iter().map(|(name, _)| name.as_str()).collect();
    let mut inputs = BTreeSet::new();
    for input in &body.inputs {
        if !inputs.insert(input.name.as_str()) {
            return Err(OnnxError::Duplicate { name: input.name.clone() });
        }
    }
    // An input that is also an initializer is a constant.
    names.extend(inputs);
    Ok(names)
}
