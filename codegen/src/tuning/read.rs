//! Parses the tuning file.

use std::collections::BTreeMap;
use std::str::{FromStr, SplitWhitespace};

use super::{TITLE, Tuned, Tuning, TuningError, VERSION};
use crate::choice::{Blocking, Choice, Fusion, Split};
use crate::target::Target;

/// A line of the file without its comment.
#[derive(Clone, Copy)]
struct Line<'t> {
    number: usize,
    text: &'t str,
}

impl FromStr for Tuning {
    type Err = TuningError;

    fn from_str(text: &str) -> Result<Self, TuningError> {
        let lines = (1..).zip(text.lines()).map(|(number, text)| Line { number, text: uncommented(text) });
        let mut lines = lines.filter(|line| !line.text.is_empty());
        lines.next().ok_or(TuningError::Missing { keyword: TITLE })?.title()?;
        let mut target: Option<(usize, &'static Target)> = None;
        let mut cpu: Option<(usize, String)> = None;
        let mut choices: BTreeMap<String, (usize, Tuned)> = BTreeMap::new();
        for line in lines {
            let number = line.number;
            let (keyword, rest) = line.text.split_once(char::is_whitespace).unwrap_or((line.text, ""));
            let once = |first: Option<usize>| match first {
                Some(first) => Err(TuningError::Duplicate { line: number, first, what: keyword.to_owned() }),
                None => Ok(()),
            };
            match keyword {
                "target" => {
                    once(target.map(|(first, _)| first))?;
                    let got = rest.trim();
                    let found =
                        Target::find(got).ok_or_else(|| TuningError::Target { line: number, got: got.to_owned() })?;
                    target = Some((number, found));
                }
                "cpu" => {
                    once(cpu.as_ref().map(|(first, _)| *first))?;
                    let name = rest.trim().strip_prefix('"').and_then(|name| name.strip_suffix('"'));
                    let name = name.filter(|name| !name.contains('"'));
                    let name = name.ok_or_else(|| line.syntax("the cpu's name in double quotes", rest.trim()))?;
                    cpu = Some((number, name.to_owned()));
                }
                "gemm" | "chain" | "split" => {
                    let (_, target) = target.ok_or(TuningError::Missing { keyword: "target" })?;
                    let (key, tuned) =
                        line.text.rsplit_once(" : ").ok_or_else(|| line.syntax("` : ` and a choice", ""))?;
                    let key = key.split_whitespace().collect::<Vec<_>>().join(" ");
                    let tuned = line.tuned(keyword, tuned, target)?;
                    if let Some((first, _)) = choices.insert(key.clone(), (number, tuned)) {
                        return Err(TuningError::Duplicate { line: number, first, what: key });
                    }
                }
                _ => return Err(line.syntax("`target`, `cpu`, `gemm`, `chain` or `split`", keyword)),
            }
        }
        let (_, target) = target.ok_or(TuningError::Missing { keyword: "target" })?;
        let (_, cpu) = cpu.ok_or(TuningError::Missing { keyword: "cpu" })?;
        Ok(Tuning { target, cpu, choices: choices.into_iter().map(|(key, (_, tuned))| (key, tuned)).collect() })
    }
}

/// The part of a line before its comment. A `#` in quotes begins no comment.
fn uncommented(text: &str) -> &str {
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    text[..end.unwrap_or(text.len())].trim()
}

impl Line<'_> {
    fn syntax(&self, expected: &'static str, got: &str) -> TuningError {
        let got = if got.is_empty() { "end of line" } else { got };
        TuningError::Syntax { line: self.number, expected, got: got.to_owned() }
    }

    fn title(&self) -> Result<(), TuningError> {
        let version = self.text.strip_prefix(TITLE).filter(|version| version.starts_with(' '));
        let version = version.ok_or_else(|| self.syntax("`eightfold tuning` and its version", self.text))?.trim();
        match version.parse() {
            Ok(VERSION) => Ok(()),
            _ => Err(TuningError::Version { line: self.number, got: version.to_owned() }),
        }
    }

    /// A choice of the kind that `keyword` names, and its times: `tile=4x16 rows=9 us=312.5 model_us=330.1`
    fn tuned(&self, keyword: &str, text: &str, target: &Target) -> Result<Tuned, TuningError> {
        let words = &mut text.split_whitespace();
        let choice = match keyword {
            "gemm" => Choice::Blocking(self.blocking(words, target)?),
            "chain" => Choice::Fusion(self.fusion(words)?),
            _ => Choice::Split(self.split(words)?),
        };
        if words.clone().next().is_none() {
            return Ok(Tuned { choice, times: None });
        }
        let us = self.microseconds(words, "us", "us=MICROSECONDS")?;
        let times = [us, self.microseconds(words, "model_us", "model_us=MICROSECONDS")?];
        match words.next() {
            None => Ok(Tuned { choice, times: Some(times) }),
            Some(more) => Err(self.syntax("end of line", more)),
        }
    }

    /// `tile=4x16 rows=9`
    fn blocking(&self, words: &mut SplitWhitespace<'_>, target: &Target) -> Result<Blocking, TuningError> {
        let tile = self.value(words, "tile", "tile=PIXELSxCHANNELS")?;
        let extents = tile.split_once('x').and_then(|(mr, nr)| Some((positive(mr)?, positive(nr)?)));
        let (mr, nr) = extents.ok_or_else(|| self.syntax("PIXELSxCHANNELS, both above zero", tile))?;
        let (lanes, registers) = (target.lanes(), target.vector_registers);
        if !nr.is_multiple_of(lanes) || (nr / lanes).saturating_mul(mr) > registers {
            return Err(TuningError::Tile { line: self.number, lanes, registers, mr, nr });
        }
        let rows = self.value(words, "rows", "rows=N")?;
        let rows = positive(rows).ok_or_else(|| self.syntax("a number of rows above zero", rows))?;
        Ok(Blocking { mr, nr, rows })
    }

    /// `height=8`, `height=whole`
    fn fusion(&self, words: &mut SplitWhitespace<'_>) -> Result<Fusion, TuningError> {
        let height = self.value(words, "height", "height=N or height=whole")?;
        if height == "whole" {
            return Ok(Fusion::Whole);
        }
        let expected = "`whole` or a number of rows above zero";
        let height = positive(height).ok_or_else(|| self.syntax(expected, height))?;
        Ok(Fusion::Bands { height })
    }

    /// `axis=2`, `axis=none`
    fn split(&self, words: &mut SplitWhitespace<'_>) -> Result<Split, TuningError> {
        match self.value(words, "axis", "axis=N or axis=none")? {
            "none" => Ok(Split::Whole),
            axis => {
                let number = axis.parse().map_err(|_| self.syntax("`none` or the number of an axis", axis))?;
                Ok(Split::Axis(number))
            }
        }
    }

    /// The value of the next word, which must be `name=value`.
    fn value<'w>(
        &self,
        words: &mut SplitWhitespace<'w>,
        name: &str,
        expected: &'static str,
    ) -> Result<&'w str, TuningError> {
        let word = words.next().unwrap_or("");
        word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).ok_or_else(|| self.syntax(expected, word))
    }

    /// The time in the next word, which must be `name=TIME` with a time above zero.
    fn microseconds(
        &self,
        words: &mut SplitWhitespace<'_>,
        name: &str,
        expected: &'static str,
    ) -> Result<f64, TuningError> {
        let word = words.next().unwrap_or("");
        let time = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
        let time = time.and_then(|time| time.parse::<f64>().ok()).filter(|time| time.is_finite() && *time > 0.0);
        time.ok_or_else(|| self.syntax(expected, word))
    }
}

fn positive(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number > 0)
}
