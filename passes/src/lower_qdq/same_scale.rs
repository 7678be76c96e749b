//! Operators that move or select numbers: they work on the stored integers.
//!
//! Operands with different scales are requantized to the result's scale before the operator. If all operands share a
//! scale that is not the result's, the result is requantized after the operator. A node with steps is split into the
//! movement and a `map` with the steps. If a reader needs floats, the dequantization moves after the operator.
//!
//! An operator may insert a number of its own, such as the border of a pad. The number is quantized like the elements
//! beside it. If their quantization represents it exactly, nothing else changes. Otherwise, if the result is quantized,
//! the operands are requantized before the operator, and the number is quantized with the result's parameters.

use eightfold_ir::op::dequantize_linear::DequantizeLinear;
use eightfold_ir::op::map::Map;
use eightfold_ir::{Epilogue, Graph, Node, QuantId, Rewrite, ValueId};

use super::pointwise::requantized;
use super::{Lowered, Obstacle, Scalar, Target, stored, text};

pub(super) fn lower(graph: &Graph, node: &Node) -> Result<Lowered, Obstacle> {
    let mut rewrite = Rewrite::new(graph, super::NAME);
    let float = |id: &ValueId| graph.ty(*id).dtype.is_float();
    let moved: Vec<ValueId> = node.operands.iter().flatten().copied().filter(float).collect();
    let mut sources: Vec<(ValueId, ValueId, QuantId, Scalar)> = Vec::new();
    for id in &moved {
        let (value, scalar) = stored(graph, *id).ok_or("an operand is not dequantized from 8 bits per tensor")?;
        sources.push((*id, value, graph.ty(value).quant.ok_or("an operand is not quantized")?, scalar));
    }
    let (_, _, first, own) = *sources.first().ok_or("it reads no floats")?;
    let target = Target::of(graph, node);
    let agree = sources.iter().all(|(_, _, quant, _)| *quant == first);
    let filled = node.operand(0).and_then(|x| node.op.fill_value(&graph.ty(x).shape));
    let unheld = filled.filter(|number| !own.holds(*number));
    let (quant, scalar) = match (agree, unheld, &target) {
        (true, None, _) => (first, own),
        (_, _, Target::Stored(_, quant, scalar)) if node.epilogue.is_empty() => (*quant, *scalar),
        (true, Some(number), _) => {
            let Scalar { storage, scale, zero_point } = own;
            return Err(format!(
                "it inserts {number:?}, which {storage} with scale {scale:?} and zero point {zero_point} cannot hold"
            ));
        }
        (false, ..) => return Err("its operands have different scales, and its result is not quantized".to_owned()),
    };
    let mut operands = node.operands.clone();
    for (id, value, own, from) in &sources {
        let integers = match *own == quant {
            true => *value,
            false => {
                let steps = requantized(&mut rewrite, *from, scalar, &[], graph)?;
                rewrite.node(graph, &[node.id], Map {}, &[Some(*value)], steps, Some(quant)).map_err(text)?
            }
        };
        operands.iter_mut().filter(|o| **o == Some(*id)).for_each(|o| *o = Some(integers));
    }
    let y = rewrite.node(graph, &[node.id], node.op.clone(), &operands, Epilogue::none(), Some(quant)).map_err(text)?;
    match (&target, node.epilogue.is_empty()) {
        (Target::Stored(old, wanted, _), true) if *wanted == quant => rewrite.replace(*old, y),
        (Target::Stored(old, wanted, to), true) => {
            let steps = requantized(&mut rewrite, scalar, *to, &[], graph)?;
            let z = rewrite.node(graph, &[node.id], Map {}, &[Some(y)], steps, Some(*wanted)).map_err(text)?;
            rewrite.replace(*old, z);
        }
        (Target::Float(old), true) => {
            let d = rewrite
                .node(graph, &[node.id], DequantizeLinear {}, &[Some(y)], Epilogue::none(), None)
                .map_err(text)?;
            rewrite.replace(*old, d);
        }
        (_, false) => {
            let d = rewrite
                .node(graph, &[node.id], DequantizeLinear {}, &[Some(y)], Epilogue::none(), None)
                .map_err(text)?;
            let z = rewrite.node(graph, &[node.id], Map {}, &[Some(d)], node.epilogue.clone(), None).map_err(text)?;
            rewrite.replace(node.output(), z);
            return Ok(Lowered { rewrite, rest: true });
        }
    }
    Ok(rewrite.into())
}
