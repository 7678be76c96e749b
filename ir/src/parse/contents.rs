//! Parses the contents of constants: a list, one element for all, random numbers, or bytes.

use super::{ParseError, Parser, Reason, Result};
use crate::attr::Attr;
use crate::declare::{AttrError, read_attr};
use crate::literal::{Bytes, parse_element};
use crate::random::{Distribution, random};
use crate::tensor::{SizeMismatch, Tensor};
use crate::types::{DType, TensorType};

/// The most bytes of constants that a text may define in short form, such as `splat(0)` or `rand(seed=1)`.
const MOST_BYTES: usize = 1 << 30;

impl Parser<'_> {
    /// `[1, 2]`, `splat(0)`, `rand(seed=1)` or `hex("00ff")`; `blob(…)` is an error.
    pub(super) fn contents(&mut self, ty: &TensorType) -> Result<Tensor> {
        let at = self.cursor.here();
        let count = ty.shape.elements();
        let start = self.cursor;
        let mismatch = |wrong: SizeMismatch| {
            let (expected, got) = (wrong.expected, wrong.got);
            start.error_at(at, Reason::Count { of: "bytes", expected, got })
        };
        let unpacked = if self.cursor.eat("[") {
            self.elements(ty.dtype, count)?
        } else {
            let kind = self.cursor.word();
            if !matches!(kind, Some("splat" | "rand" | "hex" | "blob")) {
                self.cursor.at = at;
                return Err(self.cursor.expected("a list, splat(…), rand(…) or hex(…)"));
            }
            let made = matches!(kind, Some("splat" | "rand"));
            self.made = self.made.saturating_add(if made { ty.byte_size() } else { 0 });
            if self.made > MOST_BYTES {
                return Err(self.error_at(at, Reason::TooLarge { ty: Box::new(ty.clone()) }));
            }
            self.cursor.expect("(")?;
            match kind {
                Some("splat") => {
                    let element = self.element(ty.dtype)?;
                    self.cursor.expect(")")?;
                    element.repeat(count)
                }
                Some("rand") => self.rand(ty.dtype, count, at)?,
                Some("hex") => {
                    let bytes = self.hex()?;
                    self.cursor.expect(")")?;
                    return Tensor::new(ty.dtype, ty.shape.clone(), bytes).map_err(mismatch);
                }
                _ => return Err(self.error_at(at, Reason::Blob)),
            }
        };
        Tensor::from_unpacked(ty.dtype, ty.shape.clone(), unpacked).map_err(mismatch)
    }

    /// Parses elements up to `]`.
    fn elements(&mut self, dtype: DType, expected: usize) -> Result<Vec<u8>> {
        let at = self.cursor.here();
        let (mut bytes, mut got) = (Vec::new(), 0);
        while !self.cursor.eat("]") {
            if got > 0 {
                self.cursor.expect(",")?;
            }
            bytes.extend_from_slice(&self.element(dtype)?);
            got += 1;
        }
        if got == expected {
            Ok(bytes)
        } else {
            Err(self.error_at(at, Reason::Count { of: "elements", expected, got }))
        }
    }

    fn element(&mut self, dtype: DType) -> Result<Bytes> {
        let at = self.cursor.here();
        let text = match self.cursor.number() {
            Some(number) => number,
            None => self.cursor.word().ok_or_else(|| self.cursor.expected("an element"))?,
        };
        let element = parse_element(dtype, text);
        element.ok_or_else(|| self.error_at(at, Reason::Element { dtype, text: text.to_owned() }))
    }

    /// `seed=1)`, with `std` or `min` and `max` for floats, and `min` and `max` for integers.
    fn rand(&mut self, dtype: DType, count: usize, at: usize) -> Result<Vec<u8>> {
        let fields = self.fields(")")?;
        let (seed, distribution) = distribution(dtype, &fields).map_err(|error| self.error_at(at, error))?;
        Ok(random(dtype, count, seed as u64, distribution))
    }

    /// Parses pairs of hexadecimal digits in quotes.
    fn hex(&mut self) -> Result<Vec<u8>, ParseError> {
        let mut before = self.cursor;
        let text = self.cursor.string()?;
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => Ok(digits.chunks_exact(2).map(|d| d[0] << 4 | d[1]).collect()),
            _ => Err(before.expected("pairs of hexadecimal digits")),
        }
    }
}

fn distribution(dtype: DType, fields: &[(String, Attr)]) -> Result<(i64, Distribution), AttrError> {
    let known: &[&str] = if dtype.is_float() { &["seed", "std", "min", "max"] } else { &["seed", "min", "max"] };
    if let Some((name, _)) = fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(AttrError::Unknown { op: "rand", name: name.clone(), known: known.join(", ") });
    }
    let seed = read_attr("rand", "seed", fields, None)?;
    let has = |name: &str| fields.iter().any(|(n, _)| n == name);
    let kind = |name, expected| AttrError::Kind { op: "rand", name, expected };
    let distribution = match Distribution::of(dtype) {
        Distribution::Integers { low, high } => {
            let all = if dtype == DType::Bool { (0, 1) } else { (i64::MIN, i64::MAX) };
            let (min, max) = dtype.integer_range().unwrap_or(all);
            let low = read_attr("rand", "min", fields, Some(low))?;
            let high = read_attr("rand", "max", fields, Some(high))?;
            if !(min <= low && low <= high && high <= max) {
                return Err(kind(
                    "min",
                    "at least the type's least integer, and at most max, which is at most its greatest",
                ));
            }
            Distribution::Integers { low, high }
        }
        _ if has("std") && (has("min") || has("max")) => return Err(kind("std", "given without min and max")),
        _ if has("min") || has("max") => {
            let (low, high): (f32, f32) =
                (read_attr("rand", "min", fields, None)?, read_attr("rand", "max", fields, None)?);
            if !(low.is_finite() && high.is_finite() && low <= high) {
                return Err(kind("min", "finite and at most max"));
            }
            Distribution::Between { low, high }
        }
        _ => Distribution::Normal { std: read_attr("rand", "std", fields, Some(1.0))? },
    };
    Ok((seed, distribution))
}
