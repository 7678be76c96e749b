//! Parses attributes: `name=value` in braces.

use super::{ParseError, Parser, Reason, Result};
use crate::attr::Attr;
use crate::literal::parse_float;

impl Parser<'_> {
    /// Parses `name=value, …` up to `close`. Each name occurs once.
    pub(super) fn fields(&mut self, close: &str) -> Result<Vec<(String, Attr)>> {
        let mut fields: Vec<(String, Attr)> = Vec::new();
        while !self.cursor.eat(close) {
            if !fields.is_empty() {
                self.cursor.expect(",")?;
            }
            let at = self.cursor.here();
            let name = self.cursor.word().ok_or_else(|| self.cursor.expected("an attribute's name"))?;
            if fields.iter().any(|(n, _)| n == name) {
                return Err(self.error_at(at, Reason::Redefined { name: name.to_owned() }));
            }
            self.cursor.expect("=")?;
            fields.push((name.to_owned(), self.attr()?));
        }
        Ok(fields)
    }

    /// Parses a number, a truth value, a word, or a list of numbers.
    pub(super) fn attr(&mut self) -> Result<Attr> {
        if self.cursor.eat("[") {
            return self.list();
        }
        if let Some(number) = self.number()? {
            return Ok(number);
        }
        match self.cursor.word() {
            Some("true") => Ok(Attr::Bool(true)),
            Some("false") => Ok(Attr::Bool(false)),
            Some(word) => Ok(Attr::Word(word.to_owned())),
            None => Err(self.cursor.expected("a number, a word or a list")),
        }
    }

    /// Parses numbers up to `]`. The list has floats if one of the numbers is a float.
    fn list(&mut self) -> Result<Attr> {
        let mut numbers = Vec::new();
        while !self.cursor.eat("]") {
            if !numbers.is_empty() {
                self.cursor.expect(",")?;
            }
            numbers.push(self.number()?.ok_or_else(|| self.cursor.expected("a number"))?);
        }
        let int = |attr: &Attr| match attr {
            Attr::Int(x) => Some(*x),
            _ => None,
        };
        let float = |attr: &Attr| match attr {
            Attr::Float(x) => *x,
            Attr::Int(x) => *x as f32,
            _ => unreachable!("a number is one of the two"),
        };
        let ints = numbers.iter().map(int).collect::<Option<_>>();
        Ok(ints.map_or_else(|| Attr::Floats(numbers.iter().map(float).collect()), Attr::Ints))
    }

    /// Parses a number: an integer if it has neither point nor exponent, otherwise an f32.
    pub(super) fn number(&mut self) -> Result<Option<Attr>, ParseError> {
        let mut before = self.cursor;
        let Some(text) = self.cursor.number() else { return Ok(None) };
        let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let number = match digits {
            true => text.parse().ok().map(Attr::Int),
            false => parse_float(text).map(Attr::Float),
        };
        number.map(Some).ok_or_else(|| before.expected("a number, integers of at most 64 bits"))
    }
}
