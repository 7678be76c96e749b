//! The calibration table: a text file that a person can read, compare and edit.
//!
//! ```text
//! eightfold calibration table 1
//! model "squeezenet 1.1.onnx"
//! hash d4bccbe6f0df
//! calibrator mse
//! samples 128
//!
//! # tensor  min  max
//! tensor data -2.117904 2.64
//! tensor "odd \"name\"" 0.0 6.25
//!
//! # tensor  mean of each channel
//! mean data 0.0372 0.12 -0.25
//! ```
//! Each line is one statement. `#` starts a comment. A word may be bare if it is ASCII without spaces, quotes, `#` and
//! `\`. Otherwise it is quoted, with the escapes `\"`, `\\`, `\n`, `\r`, `\t` and `\u{hex}`.
//!
//! Ranges are printed before means, both sorted by tensor name. Numbers have the shortest form that reads back as the
//! same f32. So `parse(print(t)) == t`, and equal tables give equal files. Comments are not kept.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use eightfold_ir::quant::Symmetry;

use super::{CalibrateError, Calibrator, Range};

/// The version of the text format that this module reads and writes.
const VERSION: u32 = 1;
const TITLE: &str = "eightfold calibration table";

/// The range of each tensor of a model, and how the ranges were measured.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationTable {
    /// The model's name, for information only.
    pub model: String,
    /// A hexadecimal hash of the model file, which the caller computes and compares to find whether the table belongs
    /// to the model.
    pub hash: String,
    /// The name of the observer, from [`OBSERVERS`](super::OBSERVERS). A table written by hand may have any name.
    pub calibrator: String,
    /// The number of samples.
    pub samples: u64,
    /// The range of each tensor, by name.
    pub ranges: BTreeMap<String, Range>,
    /// The mean of each channel, by tensor name, for the tensors that bias correction needs.
    pub means: BTreeMap<String, Vec<f32>>,
}

impl CalibrationTable {
    /// Creates the table of `calibrator` after `samples` samples of a model, without channel means.
    ///
    /// # Errors
    /// The errors of [`Calibrator::ranges`].
    pub fn new(
        model: &str,
        hash: &str,
        samples: u64,
        calibrator: &Calibrator,
        symmetry: Symmetry,
    ) -> Result<Self, CalibrateError> {
        Ok(CalibrationTable {
            model: model.to_owned(),
            hash: hash.to_owned(),
            calibrator: calibrator.observer_name().to_owned(),
            samples,
            ranges: calibrator.ranges(symmetry)?,
            means: BTreeMap::new(),
        })
    }
}

impl fmt::Display for CalibrationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE} {VERSION}")?;
        writeln!(f, "model {}", Word(&self.model))?;
        writeln!(f, "hash {}", Word(&self.hash))?;
        writeln!(f, "calibrator {}", Word(&self.calibrator))?;
        writeln!(f, "samples {}", self.samples)?;
        writeln!(f, "\n# tensor  min  max")?;
        for (name, Range { min, max }) in &self.ranges {
            writeln!(f, "tensor {} {min:?} {max:?}", Word(name))?;
        }
        if !self.means.is_empty() {
            writeln!(f, "\n# tensor  mean of each channel")?;
        }
        for (name, means) in &self.means {
            write!(f, "mean {}", Word(name))?;
            means.iter().try_for_each(|mean| write!(f, " {mean:?}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Prints a word of the text format: bare if possible, otherwise quoted.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '#' | '\\');
        if !self.0.is_empty() && self.0.chars().all(bare) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // Line separators and direction marks are escaped, because they would be displayed as something else.
                c if c.is_control()
                    || (c.is_whitespace() && c != ' ')
                    || matches!(c, '\u{200b}'..='\u{206f}' | '\u{feff}') =>
                {
                    write!(f, "\\u{{{:x}}}", c as u32)?;
                }
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Why a text is not a calibration table, with the line number.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A syntax error: the line has something else than expected.
    #[error("line {line}: expected {expected}, got `{got}`")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What may stand there.
        expected: &'static str,
        /// What the line has instead; `end of line` if nothing is left.
        got: String,
    },
    /// The table has another version: another release wrote it.
    #[error("line {line}: expected version {VERSION}, got {got}")]
    Version {
        /// The line, from 1.
        line: usize,
        /// The version in the text.
        got: String,
    },
    /// A range is reversed, or does not contain zero.
    #[error("line {line}: tensor `{tensor}`: expected min <= 0 <= max, got min {min:?} and max {max:?}")]
    Range {
        /// The line, from 1.
        line: usize,
        /// The tensor's name.
        tensor: String,
        /// The lower end.
        min: f32,
        /// The upper end.
        max: f32,
    },
    /// A statement or a tensor name occurs twice.
    #[error("line {line}: expected `{what}` once, got it on line {first} too")]
    Duplicate {
        /// The line of the second occurrence.
        line: usize,
        /// The line of the first occurrence.
        first: usize,
        /// The statement's keyword, or the tensor's name.
        what: String,
    },
    /// A statement of the header is missing.
    #[error("expected a line `{keyword}`, got none")]
    Missing {
        /// The statement's keyword.
        keyword: &'static str,
    },
}

impl FromStr for CalibrationTable {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Self, TableError> {
        let mut lines = (1..).zip(text.lines()).filter_map(|(line, text)| Line::new(line, text).transpose());
        lines.next().ok_or(TableError::Missing { keyword: TITLE })??.title()?;
        let mut header: BTreeMap<&'static str, (usize, String)> = BTreeMap::new();
        let (mut ranges, mut means) = (BTreeMap::new(), BTreeMap::new());
        let mut tensor_lines: BTreeMap<(&str, String), usize> = BTreeMap::new();
        for line in lines {
            let mut line = line?;
            let keyword = line.keyword()?;
            let of_tensor = matches!(keyword, "tensor" | "mean");
            let name = line.word(if of_tensor { "a tensor name" } else { "a value" })?;
            let number = line.number;
            if of_tensor && let Some(first) = tensor_lines.insert((keyword, name.clone()), number) {
                return Err(TableError::Duplicate { line: number, first, what: name });
            }
            if keyword == "tensor" {
                let (min, max) = (line.float("the range's lower end")?, line.float("the range's upper end")?);
                line.end()?;
                if !(min <= 0.0 && max >= 0.0) {
                    return Err(TableError::Range { line: number, tensor: name, min, max });
                }
                ranges.insert(name, Range { min, max });
            } else if keyword == "mean" {
                let mut channels = vec![line.float("the mean of a channel")?];
                while line.words.len() > 0 {
                    channels.push(line.float("the mean of a channel")?);
                }
                means.insert(name, channels);
            } else {
                line.end()?;
                if let Some((first, _)) = header.insert(keyword, (number, name)) {
                    return Err(TableError::Duplicate { line: number, first, what: keyword.to_owned() });
                }
            }
        }
        let mut take = |keyword| header.remove(keyword).ok_or(TableError::Missing { keyword });
        let (model, hash, calibrator) = (take("model")?.1, take("hash")?.1, take("calibrator")?.1);
        let (line, samples) = take("samples")?;
        let samples = samples.parse().map_err(|_| TableError::Syntax {
            line,
            expected: "the number of samples",
            got: samples.clone(),
        })?;
        Ok(CalibrationTable { model, hash, calibrator, samples, ranges, means })
    }
}

/// The words of one line that have not been read yet.
struct Line {
    number: usize,
    words: std::vec::IntoIter<String>,
}

impl Line {
    /// Splits a line into words; `None` if the line is empty apart from a comment.
    fn new(number: usize, text: &str) -> Result<Option<Self>, TableError> {
        let mut words = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, after) = match rest.strip_prefix('"') {
                Some(quoted) => unquote(quoted).map_err(|expected| TableError::Syntax {
                    line: number,
                    expected,
                    got: rest.to_owned(),
                })?,
                None => {
                    let end = rest.find(|c: char| c.is_whitespace() || c == '#').unwrap_or(rest.len());
                    (rest[..end].to_owned(), &rest[end..])
                }
            };
            words.push(word);
            rest = after.trim_start();
        }
        Ok((!words.is_empty()).then(|| Line { number, words: words.into_iter() }))
    }

    fn syntax(&self, expected: &'static str, got: String) -> TableError {
        TableError::Syntax { line: self.number, expected, got }
    }

    fn word(&mut self, expected: &'static str) -> Result<String, TableError> {
        self.words.next().ok_or_else(|| self.syntax(expected, "end of line".to_owned()))
    }

    fn title(mut self) -> Result<(), TableError> {
        let expected = "`eightfold calibration table` and its version";
        for word in TITLE.split(' ') {
            let got = self.word(expected)?;
            if got != word {
                return Err(self.syntax(expected, got));
            }
        }
        let got = self.word(expected)?;
        if got != VERSION.to_string() {
            return Err(TableError::Version { line: self.number, got });
        }
        self.end()
    }

    fn keyword(&mut self) -> Result<&'static str, TableError> {
        let expected = "`model`, `hash`, `calibrator`, `samples`, `tensor` or `mean`";
        let got = self.word(expected)?;
        let keyword =
            ["model", "hash", "calibrator", "samples", "tensor", "mean"].into_iter().find(|&keyword| keyword == got);
        keyword.ok_or_else(|| self.syntax(expected, got))
    }

    /// Reads a finite number. A negative zero becomes zero.
    fn float(&mut self, expected: &'static str) -> Result<f32, TableError> {
        let got = self.word(expected)?;
        match got.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value + 0.0),
            _ => Err(self.syntax("a finite number", got)),
        }
    }

    fn end(&mut self) -> Result<(), TableError> {
        match self.words.next() {
            None => Ok(()),
            Some(got) => Err(self.syntax("end of line", got)),
        }
    }
}

/// Reads a word up to its closing quote. Returns the word and the rest of the text; on failure, what was expected.
fn unquote(quoted: &str) -> Result<(String, &str), &'static str> {
    const ESCAPE: &str = r#"one of \" \\ \n \r \t \u{hex}"#;
    let mut word = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next().ok_or("a closing quote")? {
            '"' => return Ok((word, chars.as_str())),
            '\\' => word.push(match chars.next().ok_or("a closing quote")? {
                c @ ('"' | '\\') => c,
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let (hex, after) =
                        chars.as_str().strip_prefix('{').and_then(|s| s.split_once('}')).ok_or(ESCAPE)?;
                    chars = after.chars();
                    u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).ok_or(ESCAPE)?
                }
                _ => return Err(ESCAPE),
            }),
            c => word.push(c),
        }
    }
}
