//! The text form of a graph: one line for each parameter set, input, constant, node and output.
//!
//! The bodies of a node are blocks of such lines. Names and numbers in a block have nothing to do with those outside.
//!
//! The text contains the whole graph, in the order and with the numbers of [`Numbering`]. Defaults are left out, as is
//! the precision of an undecided node. [`parse`](crate::parse()) reads the text back. Large constants print as a hash
//! of their bytes, unless [`print_full`] is used.
//!
//! ```text
//! graph @conv_relu {
//! qparams #0 = u8 per_tensor scale=0.0186584 zero_point=114
//! input %x: 1x3x8x8xf32
//! const %w: 4x3x3x3xf32 = blob(89a3f1c2bb6e7c01)
//! const %b: 4xf32 = splat(0.0)
//! %y = conv(%x, %w, %b) {pads=[1, 1, 1, 1]} in f32 |> relu : 1x4x8x8xf32 ; "/Conv", "/Relu"
//! %q = map(%y) |> quantize u8 {scale=0.0186584, zero_point=114} : 1x4x8x8xu8 #0
//! output %q
//! }
//! ```
//!
//! A node with a body:
//!
//! ```text
//! %sum, %sums = scan(%zero, %x) {count=3, states=1, axes=[0]} body {
//!   input %s: 4xf32
//!   input %x: 4xf32
//!   %next = map(%s) |> add %x : 4xf32
//!   output %next
//!   output "all" = %next
//! } : 4xf32, 3x4xf32
//! ```

use std::fmt::{self, Write};

use crate::attr::Attr;
use crate::channel_order::ChannelOrder;
use crate::epilogue::{Arg, Epilogue, Step};
use crate::graph::{Graph, Node};
use crate::id::{NodeId, ValueId};
use crate::literal::{Name, element, float, parse_element};
use crate::numbering::Numbering;
use crate::quant::{Granularity, QuantParams};
use crate::tensor::Tensor;

/// Options of the text form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrintOptions {
    /// Whether constants of more than 16 elements are printed in full, so that the text defines the graph.
    pub full: bool,
}

/// Prints a graph. Large constants print as hashes.
#[must_use]
pub fn print(graph: &Graph) -> String {
    print_with(graph, PrintOptions::default())
}

/// Prints a graph with all constants in full: `parse(&print_full(g))` equals `g`.
#[must_use]
pub fn print_full(graph: &Graph) -> String {
    print_with(graph, PrintOptions { full: true })
}

/// Prints a graph with these options.
#[must_use]
pub fn print_with(graph: &Graph, options: PrintOptions) -> String {
    let printer = Printer { graph, numbering: &Numbering::new(graph), options, depth: 1 };
    let mut text = String::new();
    printer.graph(&mut text).expect("writing to a string does not fail");
    text
}

/// Prints one node, as in the text of the graph.
#[must_use]
pub fn print_node(graph: &Graph, numbering: &Numbering<'_>, id: NodeId) -> String {
    let printer = Printer { graph, numbering, options: PrintOptions::default(), depth: 1 };
    let mut text = String::new();
    printer.node(&mut text, graph.node(id)).expect("writing to a string does not fail");
    text
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}

impl PartialEq for Graph {
    /// Two graphs are equal if their texts and all their constants are.
    fn eq(&self, other: &Self) -> bool {
        same_constants(self, other) && print(self) == print(other)
    }
}

/// Whether two graphs have the same constants in the same order, those in bodies included.
fn same_constants(a: &Graph, b: &Graph) -> bool {
    let (mine, theirs) = (Numbering::new(a), Numbering::new(b));
    let same = |(x, y): (&ValueId, &ValueId)| a.constant(*x) == b.constant(*y);
    let same_bodies = |(x, y): (&NodeId, &NodeId)| {
        let (x, y) = (a.node(*x).op.bodies(), b.node(*y).op.bodies());
        x.len() == y.len() && x.iter().zip(&y).all(|(x, y)| same_constants(x.1.graph(), y.1.graph()))
    };
    (mine.consts().len(), mine.nodes().len()) == (theirs.consts().len(), theirs.nodes().len())
        && mine.consts().iter().zip(theirs.consts()).all(same)
        && mine.nodes().iter().zip(theirs.nodes()).all(same_bodies)
}

struct Printer<'g> {
    graph: &'g Graph,
    numbering: &'g Numbering<'g>,
    options: PrintOptions,
    /// How deep the items are inside of blocks, at least 1.
    depth: usize,
}

/// Joins the items with commas.
fn list<T>(items: impl IntoIterator<Item = T>, text: impl Fn(T) -> String) -> String {
    items.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

impl Printer<'_> {
    fn graph(&self, f: &mut String) -> fmt::Result {
        writeln!(f, "graph @{} {{", Name(&self.graph.name))?;
        self.items(f)?;
        f.push_str("}\n");
        Ok(())
    }

    fn items(&self, f: &mut String) -> fmt::Result {
        let (graph, numbering, indent) = (self.graph, self.numbering, "  ".repeat(self.depth));
        for (number, id) in numbering.qparams().iter().enumerate() {
            writeln!(f, "{indent}qparams #{number} = {}", qparams(graph.qparams(*id)))?;
        }
        for id in graph.inputs() {
            writeln!(f, "{indent}input {}: {}", self.value(*id), self.ty(*id))?;
        }
        for id in numbering.consts() {
            let contents = graph.constant(*id).map_or_else(String::new, |tensor| self.contents(tensor));
            writeln!(f, "{indent}const {}: {} = {contents}", self.value(*id), self.ty(*id))?;
        }
        for id in numbering.nodes() {
            f.push_str(&indent);
            self.node(f, graph.node(*id))?;
            f.push('\n');
        }
        for output in graph.outputs() {
            let value = self.value(output.value);
            match value == format!("%{}", Name(&output.name)) {
                true => writeln!(f, "{indent}output {value}")?,
                false => writeln!(f, "{indent}output {} = {value}", crate::literal::Quoted(&output.name))?,
            }
        }
        Ok(())
    }

    fn node(&self, f: &mut String, node: &Node) -> fmt::Result {
        let operand = |o: &Option<ValueId>| o.map_or_else(|| "_".to_owned(), |id| self.value(id));
        let outputs = list(&node.outputs, |id| self.value(*id));
        write!(f, "{outputs} = {}({})", node.op.name(), list(&node.operands, operand))?;
        let attrs = node.op.to_attrs();
        if !attrs.is_empty() {
            write!(f, " {{{}}}", list(attrs, |(name, value)| format!("{name}={}", attr(&value))))?;
        }
        for (name, body) in node.op.bodies() {
            let (graph, options) = (body.graph(), self.options);
            writeln!(f, " {name} {{")?;
            Printer { graph, numbering: &Numbering::new(graph), options, depth: self.depth + 1 }.items(f)?;
            write!(f, "{}}}", "  ".repeat(self.depth))?;
        }
        if let Some(precision) = node.precision {
            write!(f, " in {precision}")?;
        }
        self.epilogue(f, &node.epilogue)?;
        write!(f, " : {}", list(&node.outputs, |id| self.ty(*id)))?;
        if !node.origin.is_empty() {
            write!(f, " ; {}", node.origin)?;
        }
        Ok(())
    }

    fn value(&self, id: ValueId) -> String {
        self.numbering.value(id)
    }

    fn ty(&self, id: ValueId) -> String {
        let ty = self.graph.ty(id);
        let mut text = ty.to_string();
        if let Some(number) = ty.quant.and_then(|q| self.numbering.quant(q)) {
            text += &format!(" #{number}");
        }
        if let Some(ChannelOrder { axis, from }) = &self.graph.value(id).channel_order {
            text += &format!(" ordered axis={axis} from=[{}]", list(from, usize::to_string));
        }
        text
    }

    fn epilogue(&self, f: &mut String, epilogue: &Epilogue) -> fmt::Result {
        for step in &epilogue.steps {
            f.push_str(" |> ");
            match step {
                Step::Apply(function, args) => match args.split_first() {
                    Some((Arg::Current, [])) => f.push_str(function.name()),
                    Some((Arg::Current, rest)) if !rest.contains(&Arg::Current) => {
                        write!(f, "{} {}", function.name(), list(rest, |arg| self.arg(arg)))?;
                    }
                    _ => write!(f, "{}({})", function.name(), list(args, |arg| self.arg(arg)))?,
                },
                Step::Cast(dtype) => write!(f, "cast {dtype}")?,
                Step::Dequantize { scale, zero_point } => write!(f, "dequantize {}", linear(*scale, *zero_point))?,
                Step::Quantize { dtype, scale, zero_point, min, max } => {
                    let (low, high) = dtype.storage_range().unzip();
                    let fields = [
                        (*scale != 1.0).then(|| format!("scale={}", float(*scale))),
                        (*zero_point != 0).then(|| format!("zero_point={zero_point}")),
                        (Some(*min) != low).then(|| format!("min={min}")),
                        (Some(*max) != high).then(|| format!("max={max}")),
                    ];
                    let fields: Vec<String> = fields.into_iter().flatten().collect();
                    write!(f, "quantize {dtype}")?;
                    if !fields.is_empty() {
                        write!(f, " {{{}}}", fields.join(", "))?;
                    }
                }
                Step::Table(value) => write!(f, "table {}", self.value(*value))?,
            }
        }
        Ok(())
    }

    fn arg(&self, arg: &Arg) -> String {
        match arg {
            Arg::Current => "_".to_owned(),
            Arg::Value(value) => self.value(*value),
            Arg::Dequantized { value, scale, zero_point } => {
                format!("{}{}", self.value(*value), linear(*scale, *zero_point))
            }
            Arg::Float(x) => float(*x),
            Arg::Int(x) => x.to_string(),
        }
    }

    /// Prints the elements if there are few or if all are equal, and if they read back to the same bytes. Otherwise
    /// prints all bytes or their hash.
    fn contents(&self, tensor: &Tensor) -> String {
        let dtype = tensor.dtype();
        let exact = |bytes: &[u8]| {
            let text = element(dtype, bytes);
            parse_element(dtype, &text).is_some_and(|read| read.as_slice() == bytes).then_some(text)
        };
        let unpacked = tensor.unpacked();
        let elements = || unpacked.chunks_exact(dtype.byte_size());
        let splat = tensor.splat().and_then(|bytes| exact(&bytes)).filter(|_| elements().len() > 1);
        if let Some(text) = splat {
            return format!("splat({text})");
        }
        if elements().len() <= 16
            && let Some(texts) = elements().map(exact).collect::<Option<Vec<_>>>()
        {
            return format!("[{}]", texts.join(", "));
        }
        if self.options.full {
            let mut hex = String::with_capacity(2 * tensor.bytes().len() + 8);
            hex.push_str("hex(\"");
            for byte in tensor.bytes() {
                hex.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
            }
            return hex + "\")";
        }
        format!("blob({:016x})", tensor.content_hash())
    }
}

fn linear(scale: f32, zero_point: i32) -> String {
    match zero_point {
        0 => format!("{{scale={}}}", float(scale)),
        _ => format!("{{scale={}, zero_point={zero_point}}}", float(scale)),
    }
}

fn attr(attr: &Attr) -> String {
    match attr {
        Attr::Int(x) => x.to_string(),
        Attr::Float(x) => float(*x),
        Attr::Bool(x) => x.to_string(),
        Attr::Ints(xs) => format!("[{}]", list(xs, i64::to_string)),
        Attr::Floats(xs) => format!("[{}]", list(xs, |x| float(*x))),
        Attr::Word(word) => word.clone(),
    }
}

fn qparams(q: &QuantParams) -> String {
    let granularity = match q.granularity {
        Granularity::PerTensor => "per_tensor".to_owned(),
        Granularity::PerChannel { axis } => format!("per_channel axis={axis}"),
        Granularity::Blocked { axis, block } => format!("blocked axis={axis} block={block}"),
    };
    let scale = match &*q.scale {
        [scale] => float(*scale),
        scales => format!("[{}]", list(scales, |x| float(*x))),
    };
    // One number, if all zero points are equal.
    let zero_point = match &*q.zero_point {
        [first, rest @ ..] if q.zero_point.len() == q.scale.len() && rest.iter().all(|z| z == first) => {
            first.to_string()
        }
        zero_points => format!("[{}]", list(zero_points, i32::to_string)),
    };
    format!("{} {granularity} scale={scale} zero_point={zero_point}", q.storage)
}
