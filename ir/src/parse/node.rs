//! Parses nodes: outputs, operator, operands, attributes, steps, types, origins.

use smallvec::SmallVec;

use super::{Label, ParseError, Parser, Reason, Result};
use crate::attr::Attr;
use crate::channel_order::ChannelOrder;
use crate::declare::{AttrError, read_attr};
use crate::epilogue::{Arg, Epilogue, Step};
use crate::graph::Def;
use crate::id::ValueId;
use crate::op::{InferError, Op, Types};
use crate::origin::Origin;
use crate::precision::Precision;
use crate::scalar::Function;

impl Parser<'_> {
    /// `%y = conv(%x, %w, _) {group=2} in f32 |> relu : 1x4x8x8xf32 ; "/Conv", "/Relu"`.
    pub(super) fn node(&mut self) -> Result<()> {
        let mut labels = Vec::new();
        loop {
            let at = self.cursor.here();
            let label = self.new_label()?;
            if labels.contains(&label) {
                return Err(self.error_at(at, Reason::Redefined { name: label.to_string() }));
            }
            labels.push(label);
            if !self.cursor.eat(",") {
                break;
            }
        }
        self.cursor.expect("=")?;
        let at = self.cursor.here();
        let name = self.cursor.word().ok_or_else(|| self.cursor.expected("an operator"))?;
        let operands = self.operands()?;
        let attrs = if self.cursor.eat("{") { self.fields("}")? } else { Vec::new() };
        let bodies = self.bodies()?;
        let op = match Op::from_attrs(name, &attrs, &bodies) {
            Some(op) => op.map_err(|error| self.error_at(at, error))?,
            None => return Err(self.error_at(at, Reason::UnknownOp { name: name.to_owned() })),
        };
        let precision = self.precision()?;
        let (epilogue, steps_at) = self.epilogue()?;
        let types = self.graph.infer(&op, &operands, &epilogue).map_err(|error| match error {
            InferError::Step { index, source } => self.error_at(steps_at[index], source),
            error => self.error_at(at, error),
        })?;
        let (types, orders) = self.types(&labels, types)?;
        let origin = self.origin()?;
        let node = self.graph.insert(op, operands, epilogue, types, origin, self.order);
        self.graph.set_precision(node, precision);
        self.order += 1;
        let outputs = self.graph.node(node).outputs.clone();
        for ((label, order), value) in labels.into_iter().zip(orders).zip(outputs) {
            self.graph.set_channel_order(value, order);
            debug_assert!(matches!(self.graph.value(value).def, Def::Node { .. }));
            if let Label::Name(name) = &label {
                self.graph.set_name(value, name);
            }
            self.values.insert(label, value);
        }
        Ok(())
    }

    /// `(%x, _, %b)`.
    fn operands(&mut self) -> Result<SmallVec<[Option<ValueId>; 4]>> {
        let mut operands = SmallVec::new();
        self.cursor.expect("(")?;
        while !self.cursor.eat(")") {
            if !operands.is_empty() {
                self.cursor.expect(",")?;
            }
            operands.push(if self.cursor.eat_word("_") { None } else { Some(self.value()?) });
        }
        Ok(operands)
    }

    /// `in int8`, or nothing.
    fn precision(&mut self) -> Result<Option<Precision>> {
        if !self.cursor.eat_word("in") {
            return Ok(None);
        }
        let mut ahead = self.cursor;
        let Some(precision) = ahead.dashed_word().and_then(Precision::from_name) else {
            return Err(self.cursor.expected("f32, bf16, int8 or weight-int8"));
        };
        self.cursor = ahead;
        Ok(Some(precision))
    }

    /// `: type, …`. Element type and shape must be the inferred ones. Layout and quantization come from the text.
    fn types(&mut self, labels: &[Label], inferred: Types) -> Result<(Types, Vec<Option<ChannelOrder>>)> {
        let count = |of, expected, got| Reason::Count { of, expected, got };
        let at = self.cursor.here();
        if labels.len() != inferred.len() {
            return Err(self.error_at(at, count("results", inferred.len(), labels.len())));
        }
        self.cursor.expect(":")?;
        let (mut types, mut orders) = (Types::new(), Vec::new());
        for (index, mut expected) in inferred.into_iter().enumerate() {
            if index > 0 {
                self.cursor.expect(",")?;
            }
            let at = self.cursor.here();
            let got = self.ty()?;
            (expected.layout, expected.quant) = (got.layout, got.quant);
            if expected != got {
                let (expected, got) = (Box::new(expected), Box::new(got));
                return Err(self.error_at(at, Reason::Type { expected, got }));
            }
            types.push(got);
            orders.push(self.channel_order()?);
        }
        Ok((types, orders))
    }

    /// `; "name", …`. Any other comment is skipped with the end of the line.
    fn origin(&mut self) -> Result<Origin> {
        let mut origin = Origin::default();
        let mut ahead = self.cursor;
        if ahead.eat(";") && ahead.sees("\"") {
            self.cursor = ahead;
            loop {
                origin.unite(&Origin::of(&self.cursor.string()?));
                if !self.cursor.eat(",") {
                    break;
                }
            }
        }
        Ok(origin)
    }

    /// `|> step …`. Also returns the position of each step.
    fn epilogue(&mut self) -> Result<(Epilogue, Vec<usize>)> {
        let (mut steps, mut starts) = (Vec::new(), Vec::new());
        while self.cursor.eat("|>") {
            starts.push(self.cursor.here());
            steps.push(self.step()?);
        }
        Ok((Epilogue::new(steps), starts))
    }

    fn step(&mut self) -> Result<Step> {
        let at = self.cursor.here();
        let name = self.cursor.word().ok_or_else(|| self.cursor.expected("a step"))?;
        match name {
            "cast" => self.dtype().map(Step::Cast),
            "table" => self.value().map(Step::Table),
            "dequantize" => {
                let (scale, zero_point) = self.linear("dequantize")?;
                Ok(Step::Dequantize { scale, zero_point })
            }
            "quantize" => {
                let dtype = self.dtype()?;
                let fields = if self.cursor.eat("{") { self.fields("}")? } else { Vec::new() };
                let (low, high) = dtype.storage_range().unzip();
                let read = || -> Result<_, AttrError> {
                    known("quantize", &["scale", "zero_point", "min", "max"], &fields)?;
                    let scale = read_attr("quantize", "scale", &fields, Some(1.0))?;
                    let zero_point = read_attr("quantize", "zero_point", &fields, Some(0))?;
                    let min = read_attr("quantize", "min", &fields, low)?;
                    let max = read_attr("quantize", "max", &fields, high)?;
                    Ok(Step::Quantize { dtype, scale, zero_point, min, max })
                };
                read().map_err(|error| self.error_at(at, error))
            }
            name => {
                let unknown = || Reason::UnknownStep { name: name.to_owned() };
                let function = Function::from_name(name).ok_or_else(|| self.error_at(at, unknown()))?;
                self.args().map(|args| Step::Apply(function, args))
            }
        }
    }

    /// Parses all arguments in parentheses, or, without parentheses, those after the current number.
    fn args(&mut self) -> Result<SmallVec<[Arg; 3]>> {
        let mut args = SmallVec::new();
        if self.cursor.eat("(") {
            while !self.cursor.eat(")") {
                if !args.is_empty() {
                    self.cursor.expect(",")?;
                }
                args.push(self.arg()?);
            }
            return Ok(args);
        }
        args.push(Arg::Current);
        if self.cursor.sees("|>") || self.cursor.sees(":") {
            return Ok(args);
        }
        args.push(self.arg()?);
        while self.cursor.eat(",") {
            args.push(self.arg()?);
        }
        Ok(args)
    }

    /// `_`, `%m`, `%r {scale=0.5, zero_point=3}`, `1.0` or `1`.
    fn arg(&mut self) -> Result<Arg> {
        if self.cursor.eat_word("_") {
            return Ok(Arg::Current);
        }
        if self.cursor.sees("%") {
            let value = self.value()?;
            if !self.cursor.sees("{") {
                return Ok(Arg::Value(value));
            }
            let (scale, zero_point) = self.linear("dequantized operand")?;
            return Ok(Arg::Dequantized { value, scale, zero_point });
        }
        match self.number()? {
            Some(Attr::Int(x)) => Ok(Arg::Int(x)),
            Some(Attr::Float(x)) => Ok(Arg::Float(x)),
            _ => Err(self.cursor.expected("an argument: _, a value or a number")),
        }
    }

    /// `{scale=0.5, zero_point=3}`.
    fn linear(&mut self, step: &'static str) -> Result<(f32, i32), ParseError> {
        let at = self.cursor.here();
        self.cursor.expect("{")?;
        let fields = self.fields("}")?;
        let read = || -> Result<_, AttrError> {
            known(step, &["scale", "zero_point"], &fields)?;
            Ok((read_attr(step, "scale", &fields, None)?, read_attr(step, "zero_point", &fields, Some(0))?))
        };
        read().map_err(|error| self.error_at(at, error))
    }
}

/// Rejects fields that a step does not have.
fn known(step: &'static str, known: &[&str], fields: &[(String, Attr)]) -> Result<(), AttrError> {
    match fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(AttrError::Unknown { op: step, name: name.clone(), known: known.join(", ") }),
        None => Ok(()),
    }
}
