//! Merges equal nodes (same operator, operands, steps and precision) and equal constants.
//!
//! Exact: yes. The first of two equal nodes stays and gets the origins of both. Known problems: `add %a, %b` and `add
//! %b, %a` count as different, as do all operators with bodies.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use eightfold_ir::{Graph, Rewrite, Tensor, ValueId};

use crate::pass::{Pass, PassContext, PassError};

/// See the module's documentation.
pub(crate) struct CommonSubexpressions;

impl Pass for CommonSubexpressions {
    fn name(&self) -> &'static str {
        "common_subexpressions"
    }

    fn summary(&self) -> &'static str {
        "merge equal nodes and equal constants"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        if !share_constants(graph, cx) {
            return Ok(());
        }
        // Two nodes are equal if their texts are. The text prints floats so that they round-trip exactly.
        let mut seen: BTreeMap<String, ValueId> = BTreeMap::new();
        for id in graph.topo() {
            let node = graph.node(id);
            if node.outputs.len() != 1 || !node.op.bodies().is_empty() {
                continue;
            }
            let output = node.output();
            let (op, operands, epilogue, precision) = (&node.op, &node.operands, &node.epilogue, node.precision);
            let key = format!("{op:?}{operands:?}{epilogue:?}{precision:?}{:?}", graph.ty(output));
            let Some(&first) = seen.get(&key) else {
                seen.insert(key, output);
                continue;
            };
            let mut rewrite = Rewrite::new(graph, "common_subexpressions");
            rewrite.replace(output, first);
            if cx.apply(graph, rewrite).is_none() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Merges constants with equal contents and quantization. Returns false if the limit of rewrites is reached.
fn share_constants(graph: &mut Graph, cx: &mut PassContext<'_>) -> bool {
    let mut buckets: BTreeMap<u64, Vec<ValueId>> = BTreeMap::new();
    let mut equal = Vec::new();
    for (id, value) in graph.values() {
        let Some(tensor) = graph.constant(id) else { continue };
        let bucket = buckets.entry(fingerprint(tensor)).or_default();
        let same = |other: &&ValueId| graph.constant(**other) == Some(tensor) && graph.ty(**other) == &value.ty;
        match bucket.iter().find(same) {
            Some(first) => equal.push((id, *first)),
            None => bucket.push(id),
        }
    }
    for (old, new) in equal {
        let mut rewrite = Rewrite::new(graph, "common_subexpressions");
        rewrite.replace(old, new);
        if cx.apply(graph, rewrite).is_none() {
            return false;
        }
    }
    true
}

fn fingerprint(tensor: &Tensor) -> u64 {
    let mut hasher = DefaultHasher::new();
    tensor.bytes().hash(&mut hasher);
    tensor.dtype().hash(&mut hasher);
    hasher.finish()
}
