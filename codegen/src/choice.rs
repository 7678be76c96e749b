//! Choices: how code computes a result, never which result.
//!
//! There are three kinds: the [`Blocking`] of a product, the [`Fusion`] of a chain of calls, and the [`Split`] of a
//! call among threads. Each decision has a key: a text of everything that determines its time. Decisions with equal
//! keys have equal choices, even if their layers have different names. [`Choices`] holds the measured choices by key.
//! Without a measurement, the cost model ([`CpuModel`]) decides. A [`Decision`](crate::decision::Decision) lists the
//! candidates for tuning.
//!
//! Invariant: no choice changes a result, not even of floats. With any tile, an output is accumulated in one register
//! in the order of the runs, and a part of a call computes each element as the whole call does.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use crate::cpu::CpuModel;
use crate::target::Target;

/// A choice of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// How a product is cut into tiles, and the order of its loops.
    Blocking(Blocking),
    /// How a chain of calls runs.
    Fusion(Fusion),
    /// How a call is shared among threads.
    Split(Split),
}

/// The tile and the loop order of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blocking {
    /// Pixels of a tile.
    pub mr: usize,
    /// Channels of a tile, a multiple of the target's lanes.
    pub nr: usize,
    /// Rows of pixels that are computed with one block of weights before the next block.
    pub rows: usize,
}

impl Display for Blocking {
    /// `tile=4x16 rows=9`
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "tile={}x{} rows={}", self.mr, self.nr, self.rows)
    }
}

/// How a chain of calls runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// As whole calls, one after the other.
    Whole,
    /// In bands, depth first.
    Bands {
        /// Rows of the last result that one band computes.
        height: usize,
    },
}

/// How a call is shared among threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The call is not shared: the first thread runs all of it.
    Whole,
    /// Each thread computes a part of the result along this axis.
    Axis(usize),
}

impl Display for Choice {
    /// `tile=4x16 rows=9`, `height=8` or `height=whole`, `axis=2` or `axis=none`
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Blocking(blocking) => blocking.fmt(f),
            Choice::Fusion(Fusion::Whole) => write!(f, "height=whole"),
            Choice::Fusion(Fusion::Bands { height }) => write!(f, "height={height}"),
            Choice::Split(Split::Whole) => write!(f, "axis=none"),
            Choice::Split(Split::Axis(axis)) => write!(f, "axis={axis}"),
        }
    }
}

/// The preference if code cannot be both fast and small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// A short inference time.
    #[default]
    Speed,
    /// Few bytes of weights: no weights are stored in a larger form, as Winograd's algorithm needs it.
    Size,
}

/// Measured choices by key, the preference, and the CPU model for all other choices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    measured: BTreeMap<String, Choice>,
    prefer: Prefer,
    cpu: Option<CpuModel>,
}

impl Choices {
    /// The same choices with this CPU model; `None` stands for the target's row.
    #[must_use]
    pub fn on(self, cpu: Option<CpuModel>) -> Self {
        Choices { cpu, ..self }
    }

    /// These measurements, with the preference and the CPU of `self`.
    #[must_use]
    pub fn with_measured(&self, measured: Choices) -> Self {
        Choices { measured: measured.measured, ..self.clone() }
    }

    /// The CPU model.
    #[must_use]
    pub fn cpu(&self, target: &Target) -> &CpuModel {
        let own = self.cpu.as_ref().filter(|cpu| cpu.target == target);
        own.unwrap_or_else(|| CpuModel::of(target))
    }

    /// The same choices with this preference.
    #[must_use]
    pub fn preferring(self, prefer: Prefer) -> Self {
        Choices { prefer, ..self }
    }

    /// The preference.
    pub(crate) fn prefer(&self) -> Prefer {
        self.prefer
    }

    /// The measured choice for a product.
    pub(crate) fn blocking(&self, key: impl FnOnce() -> String) -> Option<Blocking> {
        match self.get(key)? {
            Choice::Blocking(blocking) => Some(blocking),
            _ => None,
        }
    }

    /// The measured choice for a chain of calls.
    pub(crate) fn fusion(&self, key: impl FnOnce() -> String) -> Option<Fusion> {
        match self.get(key)? {
            Choice::Fusion(fusion) => Some(fusion),
            _ => None,
        }
    }

    /// The measured choice for a call on several threads.
    pub(crate) fn split(&self, key: impl FnOnce() -> String) -> Option<Split> {
        match self.get(key)? {
            Choice::Split(split) => Some(split),
            _ => None,
        }
    }

    /// The measured choice. The key is computed only if there are measurements.
    fn get(&self, key: impl FnOnce() -> String) -> Option<Choice> {
        if self.measured.is_empty() { None } else { self.measured.get(&key()).copied() }
    }
}

impl FromIterator<(String, Choice)> for Choices {
    fn from_iter<I: IntoIterator<Item = (String, Choice)>>(choices: I) -> Self {
        Choices { measured: choices.into_iter().collect(), ..Choices::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_chosen_and_nothing_else() {
        let odd = Blocking { mr: 3, nr: 24, rows: 5 };
        let choices: Choices = [("gemm a".to_owned(), Choice::Blocking(odd))].into_iter().collect();
        assert_eq!(choices.blocking(|| "gemm a".to_owned()), Some(odd));
        assert_eq!(choices.blocking(|| "gemm b".to_owned()), None);
        assert_eq!(choices.fusion(|| "gemm a".to_owned()), None);
    }
}
