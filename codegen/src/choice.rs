//! Choices: how code goes about what it does, apart from what it computes.
//!
//! There are three kinds: the [`Blocking`] of a product, the [`Fusion`] of a chain of calls, the [`Split`] of a call among
//! threads. What is to be decided has a text, its key, which says all that decides about the time: equal keys, equal choices,
//! whatever the layers are called. Whoever measured says which choice is best, in [`Choices`]; what was not measured, the
//! cost model of that kind decides (`cost`, `bands/cost.rs`, `parallel/cost.rs`). A [`Decision`] lists what there is to
//! choose from, for those who measure.
//!
//! Invariant: no choice changes a result, not even of floats: whatever the tile, an output is summed in one register, in
//! the order of the runs, and parts of calls compute each element as the whole call does.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use crate::target::Target;

pub(crate) mod candidates;
pub(crate) mod cost;
mod decision;
pub(crate) mod key;

pub use crate::kernel::gemm::geometry::{Blocking, Geometry};
pub use decision::{Decision, products};
pub(crate) use decision::{Way, distinct};

/// What was chosen, of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// How a product is cut into tiles.
    Blocking(Blocking),
    /// How a chain of calls runs.
    Fusion(Fusion),
    /// How a call is shared among threads.
    Split(Split),
}

/// How a chain of calls runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// One whole call after the other.
    Whole,
    /// Depth first, in bands.
    Bands {
        /// Rows of the last result in a band.
        height: usize,
    },
}

/// How a call is shared among threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The first thread runs all of it.
    Whole,
    /// Each thread has a part of the result along this axis.
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

/// What a program is to be best in, where it cannot be both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// The time of an inference.
    #[default]
    Speed,
    /// Bytes of weights: none are stored in a form that is larger, such as those of Winograd's tiles.
    Size,
}

/// Measured choices, by key, and what the program is to be best in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    measured: BTreeMap<String, Choice>,
    prefer: Prefer,
}

impl Choices {
    /// The same choices for a program that is to be best in this.
    #[must_use]
    pub fn preferring(self, prefer: Prefer) -> Self {
        Choices { prefer, ..self }
    }

    /// What the program is to be best in.
    pub(crate) fn prefer(&self) -> Prefer {
        self.prefer
    }

    /// The choice for a product: the measured one, or else the model's.
    #[must_use]
    pub fn product(&self, geometry: &Geometry<'_>, target: &Target) -> Blocking {
        match self.get(|| geometry.key()) {
            Some(Choice::Blocking(blocking)) => blocking,
            _ => geometry.blocking(target),
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

    /// Without choices, keys need not be made.
    fn get(&self, key: impl FnOnce() -> String) -> Option<Choice> {
        if self.measured.is_empty() { None } else { self.measured.get(&key()).copied() }
    }
}

impl FromIterator<(String, Choice)> for Choices {
    fn from_iter<I: IntoIterator<Item = (String, Choice)>>(choices: I) -> Self {
        Choices { measured: choices.into_iter().collect(), prefer: Prefer::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::gemm::geometry::tests::geometry;
    use crate::program::Run;

    #[test]
    fn what_was_measured_is_chosen_and_nothing_else() {
        let target = Target::find("x86-64-v3").expect("listed");
        let runs = [Run { offset: 0, length: 64 }];
        let (measured, other) = (geometry(&runs), Geometry { n: 255, ..geometry(&runs) });
        let odd = Blocking { mr: 3, nr: 24, rows: 5 };
        let choices: Choices = [(measured.key(), Choice::Blocking(odd))].into_iter().collect();
        assert_eq!(choices.product(&measured, target), odd);
        assert_eq!(choices.product(&other, target), other.blocking(target));
    }
}
