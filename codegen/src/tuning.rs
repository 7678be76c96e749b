//! The tuning file: measured choices in a text that a person can read, compare and edit.
//!
//! ```text
//! eightfold tuning 1
//! target x86-64-v3
//! cpu "AMD EPYC 7763"
//!
//! gemm u8 u8 pixels=1x56x56 from=0,3712,64 to=0,14336,256 runs=1x64 n=256 extra : tile=4x16 rows=9 us=312.5 model_us=330.1
//! ```
//! One statement a line; what follows `#` is a comment. A line of a product is its geometry, as [`Geometry::key`] writes it,
//! a colon, the choice, and the least microseconds that were measured of it and of what the cost model chooses; whoever
//! writes a line by hand may leave the times out. Products are written in the order of their texts, so `parse(print(t)) ==
//! t`, and equal results are equal files. Comments are not kept.
//!
//! [`Geometry::key`]: crate::choice::Geometry::key

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::choice::{Choice, Choices};
use crate::target::Target;

/// The version of the text form that this module reads and writes.
const VERSION: u32 = 1;
const TITLE: &str = "eightfold tuning";

/// What was measured, of which target, on which machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// What the kernels were compiled for.
    pub target: &'static Target,
    /// The CPU's name, for people; empty if it has none.
    pub cpu: String,
    /// By the text of the geometry.
    pub products: BTreeMap<String, Tuned>,
}

/// What was measured of a product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuned {
    /// The best choice.
    pub choice: Choice,
    /// Microseconds of it and of the cost model's choice; `None` where nobody measured.
    pub times: Option<[f64; 2]>,
}

impl Tuning {
    /// A tuning without products.
    #[must_use]
    pub fn new(target: &'static Target, cpu: &str) -> Self {
        // What a quoted word cannot hold is of no use to people either.
        let cpu = cpu.chars().filter(|c| !c.is_control() && *c != '"').collect();
        Tuning { target, cpu, products: BTreeMap::new() }
    }

    /// The choices, for lowering.
    #[must_use]
    pub fn choices(&self) -> Choices {
        self.products.iter().map(|(key, tuned)| (key.clone(), tuned.choice)).collect()
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE} {VERSION}\ntarget {}\ncpu \"{}\"\n", self.target.name, self.cpu)?;
        for (key, Tuned { choice, times }) in &self.products {
            write!(f, "{key} : {choice}")?;
            if let Some([us, model_us]) = times {
                write!(f, " us={us} model_us={model_us}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Why a text is no tuning file, with the line, from 1, where it fails.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TuningError {
    /// Something else stands where a part of a statement is expected.
    #[error("line {line}: expected {expected}, got `{got}`")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What may stand there.
        expected: &'static str,
        /// What stands there; `end of line` for nothing.
        got: String,
    },
    /// The file is of another version: written by another release.
    #[error("line {line}: expected version {VERSION}, got {got}")]
    Version {
        /// The line, from 1.
        line: usize,
        /// The version named.
        got: String,
    },
    /// No target has this name.
    #[error("line {line}: no target is called `{got}`")]
    Target {
        /// The line, from 1.
        line: usize,
        /// The name.
        got: String,
    },
    /// A tile that the target's registers cannot hold, or whose channels are no whole vectors.
    #[error(
        "line {line}: expected a tile whose channels are a multiple of {lanes}, and of at most {registers} vectors of sums, got {mr}x{nr}"
    )]
    Tile {
        /// The line, from 1.
        line: usize,
        /// Channels of a vector.
        lanes: usize,
        /// Vector registers of the target.
        registers: usize,
        /// Pixels.
        mr: usize,
        /// Channels.
        nr: usize,
    },
    /// A product or a statement of the head stands twice.
    #[error("line {line}: expected `{what}` once, got it on line {first} too")]
    Duplicate {
        /// The second line.
        line: usize,
        /// The first line.
        first: usize,
        /// The product's geometry, or the statement's keyword.
        what: String,
    },
    /// A statement of the head is missing, or comes after a product.
    #[error("expected a line `{keyword}` before all products, got none")]
    Missing {
        /// The statement's keyword.
        keyword: &'static str,
    },
}

/// A line without its comment.
#[derive(Clone, Copy)]
struct Line<'t> {
    number: usize,
    text: &'t str,
}

impl FromStr for Tuning {
    type Err = TuningError;

    fn from_str(text: &str) -> Result<Self, TuningError> {
        let bare =
            |text: &'static str, line| TuningError::Syntax { line, expected: text, got: "end of line".to_owned() };
        let lines = (1..).zip(text.lines()).map(|(number, text)| Line { number, text: uncommented(text) });
        let mut lines = lines.filter(|line| !line.text.is_empty());
        lines.next().ok_or(TuningError::Missing { keyword: TITLE })?.title()?;
        let mut target: Option<(usize, &'static Target)> = None;
        let mut cpu: Option<(usize, String)> = None;
        let mut products: BTreeMap<String, (usize, Tuned)> = BTreeMap::new();
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
                "gemm" => {
                    let (_, target) = target.ok_or(TuningError::Missing { keyword: "target" })?;
                    let (key, choice) =
                        line.text.rsplit_once(" : ").ok_or_else(|| bare("` : ` and a choice", number))?;
                    let key = key.split_whitespace().collect::<Vec<_>>().join(" ");
                    let tuned = line.tuned(choice, target)?;
                    if let Some((first, _)) = products.insert(key.clone(), (number, tuned)) {
                        return Err(TuningError::Duplicate { line: number, first, what: key });
                    }
                }
                _ => return Err(line.syntax("`target`, `cpu` or `gemm`", keyword)),
            }
        }
        let (_, target) = target.ok_or(TuningError::Missing { keyword: "target" })?;
        let (_, cpu) = cpu.ok_or(TuningError::Missing { keyword: "cpu" })?;
        Ok(Tuning { target, cpu, products: products.into_iter().map(|(key, (_, tuned))| (key, tuned)).collect() })
    }
}

/// The part of a line before `#`, unless that stands in quotes.
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
        match version == VERSION.to_string() {
            true => Ok(()),
            false => Err(TuningError::Version { line: self.number, got: version.to_owned() }),
        }
    }

    /// `tile=4x16 rows=9 us=312.5 model_us=330.1`
    fn tuned(&self, text: &str, target: &Target) -> Result<Tuned, TuningError> {
        let mut words = text.split_whitespace();
        let mut value = |name: &'static str, expected: &'static str| {
            let word = words.next().unwrap_or("");
            word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).ok_or_else(|| self.syntax(expected, word))
        };
        let tile = value("tile", "tile=PIXELSxCHANNELS")?;
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0);
        let extents = tile.split_once('x').and_then(|(mr, nr)| Some((number(mr)?, number(nr)?)));
        let (mr, nr) = extents.ok_or_else(|| self.syntax("PIXELSxCHANNELS, both above zero", tile))?;
        let (lanes, registers) = (target.lanes(), target.vector_registers);
        if !nr.is_multiple_of(lanes) || (nr / lanes).saturating_mul(mr) > registers {
            return Err(TuningError::Tile { line: self.number, lanes, registers, mr, nr });
        }
        let rows = value("rows", "rows=N")?;
        let rows = number(rows).ok_or_else(|| self.syntax("a number of rows above zero", rows))?;
        let choice = Choice { mr, nr, rows };
        if words.clone().next().is_none() {
            return Ok(Tuned { choice, times: None });
        }
        let mut time = |name, expected| {
            let word = words.next().unwrap_or("");
            let time = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
            let time = time.and_then(|time| time.parse::<f64>().ok()).filter(|time| time.is_finite() && *time > 0.0);
            time.ok_or_else(|| self.syntax(expected, word))
        };
        let times = [time("us", "us=MICROSECONDS")?, time("model_us", "model_us=MICROSECONDS")?];
        match words.next() {
            None => Ok(Tuned { choice, times: Some(times) }),
            Some(more) => Err(self.syntax("end of line", more)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "eightfold tuning 1\ntarget x86-64-v3\ncpu \"a # b\"\n";

    fn error(body: &str) -> String {
        format!("{HEAD}{body}").parse::<Tuning>().expect_err("broken").to_string()
    }

    #[test]
    fn text_reads_back() {
        let mut tuning = Tuning::new(Target::find("x86-64-v4").expect("listed"), "a \"CPU\" # 2\n");
        assert_eq!(tuning.cpu, "a CPU # 2");
        let choice = Choice { mr: 14, nr: 32, rows: 7 };
        let times = Some([0.1 + 0.2, 1e-7]);
        tuning.products.insert("gemm u8 u8 n=64".to_owned(), Tuned { choice, times });
        tuning.products.insert("gemm f32 f32 n=64 extra".to_owned(), Tuned { choice, times: None });
        let text = tuning.to_string();
        assert_eq!(text.parse(), Ok(tuning.clone()), "{text}");
        let loose = text.replace(" : ", "   :   ").replace("rows=7", "rows=7 # by hand") + "\n# the end";
        let times_gone: Tuning = loose.parse().expect("reads");
        assert_eq!(times_gone.choices(), tuning.choices());
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(
            "".parse::<Tuning>().expect_err("empty").to_string(),
            "expected a line `eightfold tuning` before all products, got none"
        );
        let other = "eightfold tuning 2".parse::<Tuning>().expect_err("new").to_string();
        assert_eq!(other, "line 1: expected version 1, got 2");
        let other = "\neightfold calibration table 1".parse::<Tuning>().expect_err("other").to_string();
        assert_eq!(other, "line 2: expected `eightfold tuning` and its version, got `eightfold calibration table 1`");
        let other = "eightfold tuning 1\ntarget z80".parse::<Tuning>().expect_err("other").to_string();
        assert_eq!(other, "line 2: no target is called `z80`");
        let other = "eightfold tuning 1\ntarget x86-64-v3".parse::<Tuning>().expect_err("no cpu").to_string();
        assert_eq!(other, "expected a line `cpu` before all products, got none");
        assert_eq!(error("target x86-64-v3"), "line 4: expected `target` once, got it on line 2 too");
        assert_eq!(error("gem u8 : tile=1x8"), "line 4: expected `target`, `cpu` or `gemm`, got `gem`");
        assert_eq!(error("gemm u8"), "line 4: expected ` : ` and a choice, got `end of line`");
        assert_eq!(error("gemm u8 : tile=1"), "line 4: expected PIXELSxCHANNELS, both above zero, got `1`");
        assert_eq!(error("gemm u8 : tile=0x8"), "line 4: expected PIXELSxCHANNELS, both above zero, got `0x8`");
        assert_eq!(error("gemm u8 : tile=1x8"), "line 4: expected rows=N, got `end of line`");
        assert_eq!(error("gemm u8 : tile=1x8 rows=0"), "line 4: expected a number of rows above zero, got `0`");
        assert_eq!(error("gemm u8 : tile=1x8 rows=1 us=-1"), "line 4: expected us=MICROSECONDS, got `us=-1`");
        assert_eq!(
            error("gemm u8 : tile=1x8 rows=1 us=1"),
            "line 4: expected model_us=MICROSECONDS, got `end of line`"
        );
        assert_eq!(error("gemm u8 : tile=1x8 rows=1 us=1 model_us=1 x"), "line 4: expected end of line, got `x`");
        let tile =
            "line 4: expected a tile whose channels are a multiple of 8, and of at most 16 vectors of sums, got ";
        assert_eq!(error("gemm u8 : tile=4x12 rows=1"), format!("{tile}4x12"));
        assert_eq!(error("gemm u8 : tile=9x16 rows=1"), format!("{tile}9x16"));
        let twice = "gemm u8 : tile=1x8 rows=1\n\ngemm  u8 : tile=2x8 rows=1";
        assert_eq!(error(twice), "line 6: expected `gemm u8` once, got it on line 4 too");
    }
}
