//! The tuning file: measured choices as a text that people can read, compare and edit.
//!
//! ```text
//! eightfold tuning 3
//! target x86-64-v3
//! cpu "AMD EPYC 7763"
//!
//! gemm input=u8 runs=0:64 n=64 u8[1x64x8x8:0,1,512,64] = u8[1x64x8x8:0,1,512,64] : tile=4x16 rows=8 us=5.5 model_us=6
//! ```
//! Each line is a statement; `#` begins a comment. The line of a choice has the key of the decision, a colon, the
//! choice, and the measured microseconds of this choice and of the cost model's choice. A line that is written by hand
//! may omit the times. The first word of the key is the kind of decision:
//!
//! | first word | decision about | choice |
//! |---|---|---|
//! | `gemm` | a product, as [`Call::key`] writes it | `tile=PIXELSxCHANNELS rows=N`: see below |
//! | `chain` | calls that read each other's results | `height=N`, the rows of a band, or `height=whole` |
//! | `split` | a call on several threads | `axis=N`: the axis of the result that is cut, or `axis=none` |
//!
//! `tile` is the number of pixels and channels of a tile. `rows` is the number of rows of pixels that are computed with
//! one block of weights before the next block. The rows of a band are those of the last result. `height=whole` runs
//! whole calls one after the other.
//!
//! Choices are written in the order of their keys, so equal tunings are equal files, and `parse(print(t)) == t`.
//! Comments are lost when a file is written again.
//!
//! [`Call::key`]: crate::kernel::Call::key

mod read;

use std::collections::BTreeMap;
use std::fmt;

use crate::choice::{Choice, Choices};
use crate::target::Target;

/// The version of the text form. Keys differ between versions, so only this one is read.
const VERSION: u32 = 3;
const TITLE: &str = "eightfold tuning";

/// The measured choices for a target on a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// The target that the kernels were compiled for.
    pub target: &'static Target,
    /// The name of the CPU, for people; empty if it has none.
    pub cpu: String,
    /// The choices by the keys of their decisions.
    pub choices: BTreeMap<String, Tuned>,
}

/// The measured result for one decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuned {
    /// The best choice.
    pub choice: Choice,
    /// Microseconds of this choice and of the cost model's choice; `None` if the choice was written by hand.
    pub times: Option<[f64; 2]>,
}

impl Tuning {
    /// A tuning without choices.
    #[must_use]
    pub fn new(target: &'static Target, cpu: &str) -> Self {
        // The name is written in quotes, so it must not contain quotes or control characters.
        let cpu = cpu.chars().filter(|c| !c.is_control() && *c != '"').collect();
        Tuning { target, cpu, choices: BTreeMap::new() }
    }

    /// The choices, for lowering.
    #[must_use]
    pub fn choices(&self) -> Choices {
        self.choices.iter().map(|(key, tuned)| (key.clone(), tuned.choice)).collect()
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE} {VERSION}\ntarget {}\ncpu \"{}\"\n", self.target.name, self.cpu)?;
        for (key, Tuned { choice, times }) in &self.choices {
            write!(f, "{key} : {choice}")?;
            if let Some([us, model_us]) = times {
                write!(f, " us={us} model_us={model_us}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Why a text is not a tuning file, with the number of the wrong line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TuningError {
    /// A part of a statement is missing or malformed.
    #[error("line {line}: expected {expected}, got `{got}`")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The expected text.
        expected: &'static str,
        /// The text that was found; `end of line` if there is none.
        got: String,
    },
    /// The file has another version, as it was written by another release.
    #[error("line {line}: expected version {VERSION}, got {got}")]
    Version {
        /// The line, from 1.
        line: usize,
        /// The version in the file.
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
    /// A tile that the target's registers cannot hold, or whose channels are not a multiple of a vector.
    #[error(
        "line {line}: expected a tile of at most {registers} accumulator vectors whose channels are a multiple of \
         {lanes}, got {mr}x{nr}"
    )]
    Tile {
        /// The line, from 1.
        line: usize,
        /// Number of channels in a vector.
        lanes: usize,
        /// Number of vector registers of the target.
        registers: usize,
        /// Pixels of the tile.
        mr: usize,
        /// Channels of the tile.
        nr: usize,
    },
    /// A key or a statement of the header occurs twice.
    #[error("line {line}: expected `{what}` once, got it on line {first} too")]
    Duplicate {
        /// The second line.
        line: usize,
        /// The first line.
        first: usize,
        /// The key, or the statement's keyword.
        what: String,
    },
    /// A statement of the header is missing, or comes after a choice.
    #[error("expected a line `{keyword}` before all choices, got none")]
    Missing {
        /// The statement's keyword.
        keyword: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::{Blocking, Choice, Fusion, Split};

    const HEAD: &str = "eightfold tuning 3\ntarget x86-64-v3\ncpu \"a # b\"\n";

    fn error(body: &str) -> String {
        format!("{HEAD}{body}").parse::<Tuning>().expect_err("broken").to_string()
    }

    #[test]
    fn text_reads_back() {
        let mut tuning = Tuning::new(Target::find("x86-64-v4").expect("listed"), "a \"CPU\" # 2\n");
        assert_eq!(tuning.cpu, "a CPU # 2");
        let choice = Choice::Blocking(Blocking { mr: 14, nr: 32, rows: 7 });
        let times = Some([0.1 + 0.2, 1e-7]);
        let mut insert = |key: &str, choice, times| tuning.choices.insert(key.to_owned(), Tuned { choice, times });
        insert("gemm u8 u8 n=64", choice, times);
        insert("gemm f32 f32 n=64 extra", choice, None);
        insert("chain a ; b", Choice::Fusion(Fusion::Bands { height: 7 }), times);
        insert("chain a ; b ; c", Choice::Fusion(Fusion::Whole), times);
        insert("split threads=2 gemm u8", Choice::Split(Split::Axis(2)), times);
        insert("split threads=3 gemm u8", Choice::Split(Split::Whole), None);
        let text = tuning.to_string();
        assert_eq!(text.parse(), Ok(tuning.clone()), "{text}");
        assert!(text.contains("\nchain a ; b : height=7 us=0.3"), "{text}");
        assert!(text.contains("\nsplit threads=3 gemm u8 : axis=none\n"), "{text}");
        let loose = text.replace(" : ", "   :   ").replace("rows=7", "rows=7 # by hand") + "\n# the end";
        let times_gone: Tuning = loose.parse().expect("reads");
        assert_eq!(times_gone.choices(), tuning.choices());
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(
            "".parse::<Tuning>().expect_err("empty").to_string(),
            "expected a line `eightfold tuning` before all choices, got none"
        );
        for version in ["2", "4", "x"] {
            let other = format!("eightfold tuning {version}").parse::<Tuning>().expect_err("new").to_string();
            assert_eq!(other, format!("line 1: expected version 3, got {version}"));
        }
        let other = "\neightfold calibration table 1".parse::<Tuning>().expect_err("other").to_string();
        assert_eq!(other, "line 2: expected `eightfold tuning` and its version, got `eightfold calibration table 1`");
        let other = "eightfold tuning 3\ntarget z80".parse::<Tuning>().expect_err("other").to_string();
        assert_eq!(other, "line 2: no target is called `z80`");
        let other = "eightfold tuning 3\ntarget x86-64-v3".parse::<Tuning>().expect_err("no cpu").to_string();
        assert_eq!(other, "expected a line `cpu` before all choices, got none");
        assert_eq!(error("target x86-64-v3"), "line 4: expected `target` once, got it on line 2 too");
        assert_eq!(
            error("gem u8 : tile=1x8"),
            "line 4: expected `target`, `cpu`, `gemm`, `chain` or `split`, got `gem`"
        );
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
        assert_eq!(error("chain a : height=0"), "line 4: expected `whole` or a number of rows above zero, got `0`");
        assert_eq!(error("chain a : tile=1x8"), "line 4: expected height=N or height=whole, got `tile=1x8`");
        assert_eq!(error("chain a : height=whole x"), "line 4: expected us=MICROSECONDS, got `x`");
        assert_eq!(error("split a : axis=rows"), "line 4: expected `none` or the number of an axis, got `rows`");
        assert_eq!(error("split a : axis=1 rows=1"), "line 4: expected us=MICROSECONDS, got `rows=1`");
        let tile = "line 4: expected a tile of at most 16 accumulator vectors whose channels are a multiple of 8, got ";
        assert_eq!(error("gemm u8 : tile=4x12 rows=1"), format!("{tile}4x12"));
        assert_eq!(error("gemm u8 : tile=9x16 rows=1"), format!("{tile}9x16"));
        let twice = "gemm u8 : tile=1x8 rows=1\n\ngemm  u8 : tile=2x8 rows=1";
        assert_eq!(error(twice), "line 6: expected `gemm u8` once, got it on line 4 too");
    }
}
