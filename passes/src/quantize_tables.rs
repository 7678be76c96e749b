//! Quantizes large lookup tables, such as embeddings, to 8 bits with one scale per row.
//!
//! Before: `%y = gather(%table, %rows) |> add %p`.
//! After: `%q = gather(%table_quantized, %rows)`, `%s = gather(%table_scales, %rows)`, `%y = map(%q) |> cast f32 |> mul
//! %s |> add %p`, where the quantized table is i8 without -128.
//!
//! This saves three quarters of the table's bytes, but no time, because the table is not multiplied. The magnitudes of
//! rows differ (frequent and rare tokens, for example), so each row has its own scale.
//!
//! Tables of models that are already quantized stay unchanged. `insert_qdq` has already quantized the tables whose
//! reader computes on integers of one scale.
//!
//! Nodes that stay in float get the precision `f32`. Nodes that already have a precision keep it.
//!
//! Exact: no. Each row is rounded to 8 bits.

use std::collections::BTreeMap;

use eightfold_ir::op::gather::Gather;
use eightfold_ir::op::map::Map;
use eightfold_ir::quant::quantize;
use eightfold_ir::{
    Arg, DType, Epilogue, Function, Graph, InferError, Node, Op, Precision, Rewrite, Shape, Step, Tensor, ValueId,
};

use crate::channel::f32_constant;
use crate::pass::{Pass, PassContext, PassError, RemarkKind};
use crate::quant::{is_on_floats, tensor_name};

/// See the module's documentation.
pub(crate) struct QuantizeTables;

const NAME: &str = "quantize_tables";

/// The least number of elements of a table that is quantized. Smaller tables are a small part of any artifact.
const LEAST_ELEMENTS: usize = 1 << 16;

/// The greatest relative error of the rows: root mean square of the error over root mean square of the rows. Normally
/// distributed rows, and the embeddings that we know, have an error of 0.6 to 0.8 %; rounding the 8-bit tensors
/// computed from them adds about as much. A table with a greater error has rows with single large elements, which leave
/// few steps to the others.
const GREATEST_ERROR: f64 = 0.01;

/// The reason for nodes on a quantized table that stay in float.
const REASON: &str = "its table has 8 bits and one scale per row";

impl Pass for QuantizeTables {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "quantize large lookup tables to 8 bits, with one scale per row"
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        let is_wanted = match cx.options.precision {
            Precision::Int8 => cx.options.calibration.is_some(),
            Precision::WeightInt8 => true,
            Precision::F32 | Precision::Bf16 => false,
        };
        if !is_wanted {
            return Ok(());
        }
        // For each float table, its quantized form, or why it stays in float.
        let mut tables: BTreeMap<ValueId, Result<Quantized, String>> = BTreeMap::new();
        for id in graph.topo() {
            let node = graph.node(id).clone();
            let Some((table, tensor)) = large_table(graph, &node) else { continue };
            if cx.options.keeps_float(&node.origin) || node.precision.is_some() {
                continue;
            }
            let name = tensor_name(graph, table);
            let quantized = match tables.entry(table).or_insert_with(|| rows(tensor)) {
                Ok(quantized) => quantized,
                Err(reason) => {
                    cx.remark(RemarkKind::Missed, &node.origin, format!("{name} stays in f32: {reason}"));
                    continue;
                }
            };
            let (rewrite, places) = rewrite(graph, &node, &name, quantized).map_err(|source| PassError::Infer {
                pass: NAME,
                origin: node.origin.to_string(),
                source: source.into(),
            })?;
            let Some(added) = cx.apply(graph, rewrite) else { break };
            quantized.places = Some(places);
            for id in added {
                let on_floats = is_on_floats(graph, graph.node(id));
                graph.set_precision(id, on_floats.then_some(Precision::F32));
            }
            cx.remark(RemarkKind::Float, &node.origin, REASON);
        }
        Ok(())
    }
}

/// A table in 8 bits.
struct Quantized {
    integers: Tensor,
    scales: Tensor,
    /// The two constants in the graph, once they are added.
    places: Option<[ValueId; 2]>,
}

/// If the node looks up rows of a large f32 constant, returns the constant.
pub(crate) fn large_table<'g>(graph: &'g Graph, node: &Node) -> Option<(ValueId, &'g Tensor)> {
    let Op::Gather(Gather { axis: 0 }) = node.op else { return None };
    let table = node.operand(0)?;
    let tensor = f32_constant(graph, table)?;
    (tensor.shape().rank() > 1 && tensor.shape().elements() >= LEAST_ELEMENTS).then_some((table, tensor))
}

/// Quantizes the rows of a table, or returns why the table should stay in float.
fn rows(table: &Tensor) -> Result<Quantized, String> {
    const LIMIT: i32 = 127;
    let (shape, elements) = (table.shape(), table.elements());
    let row = shape.elements() / shape[0];
    let mut integers = Vec::with_capacity(shape.elements());
    let mut scales = Vec::with_capacity(shape[0]);
    let mut errors = 0.0;
    for start in (0..shape.elements()).step_by(row) {
        let numbers = || (start..start + row).map(|index| elements.float(index));
        if !numbers().all(f32::is_finite) {
            return Err("it contains numbers that are not finite".to_owned());
        }
        let greatest = numbers().fold(0.0_f32, |greatest, x| greatest.max(x.abs()));
        // Any scale represents a row of zeros exactly.
        let scale = if greatest < f32::MIN_POSITIVE * LIMIT as f32 { 1.0 } else { greatest / LIMIT as f32 };
        let (mut squares, mut off) = (0.0_f64, 0.0_f64);
        for x in numbers() {
            let stored = quantize(x, scale, 0, -LIMIT, LIMIT);
            squares += f64::from(x).powi(2);
            off += (f64::from(stored as f32 * scale) - f64::from(x)).powi(2);
            integers.push(stored as i8 as u8);
        }
        errors += if squares > 0.0 { off / squares } else { 0.0 };
        scales.push(scale);
    }
    let error = (errors / shape[0] as f64).sqrt();
    if error > GREATEST_ERROR {
        let [error, most] = [error, GREATEST_ERROR].map(|error| error * 100.0);
        return Err(format!("8 bits would change its rows by {error:.1}%, more than {most:.1}%"));
    }
    let integers = Tensor::new(DType::I8, shape.clone(), integers).expect("one for each element");
    let ones = std::iter::repeat_n(1, shape.rank() - 1);
    let column: Shape = std::iter::once(shape[0]).chain(ones).collect();
    Ok(Quantized { integers, scales: Tensor::f32(&column, &scales), places: None })
}

/// Returns a rewrite that looks up rows of the quantized table, and the two constants that it uses.
fn rewrite(graph: &Graph, node: &Node, name: &str, table: &Quantized) -> Result<(Rewrite, [ValueId; 2]), InferError> {
    let mut rewrite = Rewrite::new(graph, NAME);
    let places = table.places.unwrap_or_else(|| {
        [("quantized", &table.integers), ("scales", &table.scales)]
            .map(|(what, tensor)| rewrite.constant(&format!("{name}_{what}"), tensor.clone(), None))
    });
    let mut take = |place: ValueId| {
        let operands = [Some(place), node.operand(1)];
        rewrite.node(graph, &[node.id], Gather { axis: 0 }, &operands, Epilogue::none(), None)
    };
    let (rows, scales) = (take(places[0])?, take(places[1])?);
    let mut steps = vec![Step::Cast(DType::F32), Step::binary(Function::Mul, Arg::Value(scales))];
    steps.extend(node.epilogue.steps.iter().cloned());
    let real = rewrite.node(graph, &[node.id], Map {}, &[Some(rows)], Epilogue::new(steps), None)?;
    rewrite.replace(node.output(), real);
    Ok((rewrite, places))
}
