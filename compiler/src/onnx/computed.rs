//! Evaluates operands that are computed from constants alone, for example dequantized axes or indices of a lookup. The
//! operators stay in the graph, where the passes see them.

use std::collections::{BTreeMap, BTreeSet};

use eightfold_ir::eval::eval_node;
use eightfold_ir::{Array, QuantRule, Tensor, ValueId};

use super::adapt::{Adapt, AdaptError, broken, unsupported};
use super::importer::Operand;

impl Adapt<'_, '_> {
    /// The value of the operand at `index`, if given; it must be constant or computed from constants.
    pub(crate) fn optional_constant(&mut self, index: usize, name: &str) -> Result<Option<Tensor>, AdaptError> {
        let Some(operand) = self.optional(index) else { return Ok(None) };
        let tensor = self.known(&operand)?.ok_or_else(|| unsupported(format!("operand {name} is not constant")))?;
        Ok(Some(tensor))
    }

    /// The value of the operand at `index`, which must be given, and be constant or computed from constants.
    pub(crate) fn constant(&mut self, index: usize, name: &str) -> Result<Tensor, AdaptError> {
        let operand = self.operand(index)?;
        self.known(&operand)?.ok_or_else(|| unsupported(format!("operand {name} is not constant")))
    }

    /// The value of an operand, if it is computed from constants alone, without convolutions or matrix products.
    pub(crate) fn known(&mut self, operand: &Operand) -> Result<Option<Tensor>, AdaptError> {
        let root = match operand {
            Operand::Const { tensor, .. } => return Ok(Some(tensor.clone())),
            Operand::Value(value) => *value,
        };
        let graph = &self.importer.graph;
        let (mut reached, mut waiting, mut bytes) = (BTreeSet::new(), vec![root], 0_usize);
        while let Some(at) = waiting.pop() {
            if !reached.insert(at) || graph.constant(at).is_some() {
                continue;
            }
            let Some(node) = graph.producer(at) else { return Ok(None) };
            if matches!(node.op.quant_rule(), QuantRule::Affine { .. }) {
                return Ok(None);
            }
            bytes = bytes.saturating_add(graph.ty(at).byte_size());
            waiting.extend(node.uses());
        }
        self.afford(bytes)?;
        let graph = &self.importer.graph;
        let mut arrays: BTreeMap<ValueId, Array> = BTreeMap::new();
        // Values are numbered in the order in which they were added, so operands come first.
        for at in reached {
            let outputs = match (graph.constant(at), graph.producer(at)) {
                (Some(tensor), _) => vec![(at, Array::from(tensor))],
                (None, Some(node)) => {
                    let outputs = eval_node(graph, node, &|id| &arrays[&id]).map_err(|e| broken(e.to_string()))?;
                    node.outputs.iter().copied().zip(outputs).collect()
                }
                (None, None) => unreachable!("all that was reached is constant or has a producer"),
            };
            arrays.extend(outputs);
        }
        Ok(arrays.get(&root).map(Tensor::from))
    }
}
