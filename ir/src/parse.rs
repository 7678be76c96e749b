//! Parses the text form that [`print`](crate::print()) writes.
//!
//! The parser infers every type and compares it with the type in the text. It takes layout and quantization from the
//! text. A parsed graph is well-formed, but only the verifier checks that it is valid. The parser never panics. It
//! stops at the first error.

mod attr;
mod contents;
mod cursor;
mod error;
mod node;
mod ty;

use std::collections::HashMap;

use cursor::Cursor;
pub use error::{ParseError, Reason};

use crate::body::Body;
use crate::channel_order::ChannelOrder;
use crate::graph::{Def, Graph};
use crate::id::{QuantId, ValueId};
use crate::types::TensorType;

/// Parses a graph.
///
/// # Errors
/// At the first place where the text is not a graph.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    let mut parser = Parser {
        cursor: Cursor::new(text),
        graph: Graph::new(""),
        values: HashMap::new(),
        quants: HashMap::new(),
        order: 0,
        made: 0,
        depth: 0,
    };
    parser.graph()?;
    Ok(parser.graph)
}

/// The label of a value in the text.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Label {
    Name(String),
    Number(u32),
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Label::Name(name) => write!(f, "%{}", crate::literal::Name(name)),
            Label::Number(number) => write!(f, "%{number}"),
        }
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    graph: Graph,
    values: HashMap<Label, ValueId>,
    quants: HashMap<&'a str, QuantId>,
    order: u32,
    /// The number of bytes so far of constants that the text describes by a few characters (`splat`, `rand`).
    made: usize,
    /// The number of bodies around the items.
    depth: usize,
}

/// The maximum nesting of bodies.
const DEEPEST: usize = 32;

type Result<T, E = ParseError> = std::result::Result<T, E>;

impl<'a> Parser<'a> {
    fn error_at(&self, at: usize, reason: impl Into<Reason>) -> ParseError {
        self.cursor.error_at(at, reason.into())
    }

    /// `graph @name {`, items, `}`.
    fn graph(&mut self) -> Result<()> {
        self.cursor.skip_lines();
        if !self.cursor.eat_word("graph") {
            return Err(self.cursor.expected("\"graph\""));
        }
        self.cursor.expect("@")?;
        self.graph.name = self.name("the graph's name")?;
        self.cursor.expect("{")?;
        self.cursor.end_of_line()?;
        while !self.cursor.eat("}") {
            self.item()?;
        }
        self.cursor.end_of_line()?;
        if self.cursor.is_done() { Ok(()) } else { Err(self.cursor.expected("the end of the text")) }
    }

    /// `name {`, items, `}`: one body after the other, if there are any.
    fn bodies(&mut self) -> Result<Vec<(String, Body)>> {
        let mut bodies = Vec::new();
        loop {
            let (at, mut ahead) = (self.cursor.here(), self.cursor);
            let Some(name) = ahead.word().filter(|_| ahead.eat("{")) else { return Ok(bodies) };
            if self.depth == DEEPEST {
                return Err(self.error_at(at, Reason::Depth { limit: DEEPEST }));
            }
            self.cursor = ahead;
            self.cursor.end_of_line()?;
            let outer = (
                std::mem::replace(&mut self.graph, Graph::new(name)),
                std::mem::take(&mut self.values),
                std::mem::take(&mut self.quants),
                std::mem::take(&mut self.order),
            );
            self.depth += 1;
            while !self.cursor.eat("}") {
                self.item()?;
            }
            self.depth -= 1;
            let inner = std::mem::replace(&mut self.graph, outer.0);
            (self.values, self.quants, self.order) = (outer.1, outer.2, outer.3);
            bodies.push((name.to_owned(), Body::new(inner)));
        }
    }

    fn item(&mut self) -> Result<()> {
        if self.cursor.sees("%") {
            self.node()?;
        } else if self.cursor.eat_word("qparams") {
            self.qparams()?;
        } else if self.cursor.eat_word("input") {
            self.input()?;
        } else if self.cursor.eat_word("const") {
            self.constant()?;
        } else if self.cursor.eat_word("output") {
            self.output()?;
        } else {
            return Err(self.cursor.expected("qparams, input, const, output, a node or \"}\""));
        }
        self.cursor.end_of_line()
    }

    /// `%x: 1x3x8x8xf32 nhwc #0`.
    fn input(&mut self) -> Result<()> {
        let label = self.new_label()?;
        self.cursor.expect(":")?;
        let (ty, order) = (self.ty()?, self.channel_order()?);
        self.define(label, ty, Def::Input, order);
        Ok(())
    }

    /// `%w: 4x3x3x3xi8 #1 = …`.
    fn constant(&mut self) -> Result<()> {
        let label = self.new_label()?;
        self.cursor.expect(":")?;
        let (ty, order) = (self.ty()?, self.channel_order()?);
        self.cursor.expect("=")?;
        let tensor = self.contents(&ty)?;
        self.define(label, ty, Def::Const(tensor), order);
        Ok(())
    }

    /// `%y` or `"name" = %y`.
    fn output(&mut self) -> Result<()> {
        if self.cursor.sees("\"") {
            let name = self.cursor.string()?;
            self.cursor.expect("=")?;
            let value = self.value()?;
            self.graph.add_output(&name, value);
            return Ok(());
        }
        let at = self.cursor.here();
        let value = self.value()?;
        match self.graph.value(value).name.clone() {
            Some(name) => self.graph.add_output(&name, value),
            None => {
                let got = "a value without a name".to_owned();
                return Err(self.error_at(at, Reason::Expected { expected: "\"name\" = before it".to_owned(), got }));
            }
        }
        Ok(())
    }

    /// A word or a string.
    fn name(&mut self, what: &str) -> Result<String> {
        if self.cursor.sees("\"") {
            return self.cursor.string();
        }
        self.cursor.word().map(str::to_owned).ok_or_else(|| self.cursor.expected(what))
    }

    /// `%name`, `%"any name"` or `%0`.
    fn label(&mut self) -> Result<Label> {
        self.cursor.expect("%")?;
        if self.cursor.sees_digit() {
            let at = self.cursor.here();
            let digits = self.cursor.letters();
            let expected = || Reason::Expected { expected: "a number".to_owned(), got: format!("{digits:?}") };
            return digits.parse().map(Label::Number).map_err(|_| self.error_at(at, expected()));
        }
        self.name("a value's name or number").map(Label::Name)
    }

    /// A label that no value has yet.
    fn new_label(&mut self) -> Result<Label> {
        let at = self.cursor.here();
        let label = self.label()?;
        match self.values.contains_key(&label) {
            false => Ok(label),
            true => Err(self.error_at(at, Reason::Redefined { name: label.to_string() })),
        }
    }

    fn define(&mut self, label: Label, ty: TensorType, def: Def, order: Option<ChannelOrder>) {
        let name = match &label {
            Label::Name(name) => Some(name.as_str()),
            Label::Number(_) => None,
        };
        let id = self.graph.define(name, ty, def);
        self.graph.set_channel_order(id, order);
        self.values.insert(label, id);
    }

    /// A value that an earlier line defines.
    fn value(&mut self) -> Result<ValueId> {
        let at = self.cursor.here();
        let label = self.label()?;
        let found = self.values.get(&label).copied();
        found.ok_or_else(|| self.error_at(at, Reason::UnknownValue { name: label.to_string() }))
    }
}
