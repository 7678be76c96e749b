//! Choices: how code goes about what it does, apart from what it computes.
//!
//! There are three kinds: the [`Blocking`] of a product, the [`Fusion`] of a chain of calls, the [`Split`] of a call among
//! threads. What is to be decided has a text, its key, which says all that decides about the time: equal keys, equal choices,
//! whatever the layers are called. Whoever measured says which choice is best, in [`Choices`]; what was not measured, the
//! cost model of that kind decides ([`cost`], `bands/cost.rs`, `share/cost.rs`). A [`Decision`] lists what there is to
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
mod product;

pub(crate) use decision::Way;
pub use decision::{Decision, products};
pub use product::{Blocking, Geometry};

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
        /// Nanoseconds that this takes less than whole calls, by which chains that have calls in common are compared.
        gain: u32,
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

impl Choice {
    /// Whether both are the same way to go; what it gains does not matter.
    #[must_use]
    pub fn is_like(self, other: Choice) -> bool {
        let way = |choice| match choice {
            Choice::Fusion(Fusion::Bands { height, .. }) => Choice::Fusion(Fusion::Bands { height, gain: 0 }),
            other => other,
        };
        way(self) == way(other)
    }
}

impl Display for Choice {
    /// `tile=4x16 rows=9`, `height=8 gain_us=5.3` or `height=whole`, `axis=2` or `axis=none`
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Blocking(blocking) => blocking.fmt(f),
            Choice::Fusion(Fusion::Whole) => write!(f, "height=whole"),
            Choice::Fusion(Fusion::Bands { height, gain: u32::MAX }) => write!(f, "height={height}"),
            Choice::Fusion(Fusion::Bands { height, gain }) => {
                write!(f, "height={height} gain_us={}", f64::from(*gain) / 1e3)
            }
            Choice::Split(Split::Whole) => write!(f, "axis=none"),
            Choice::Split(Split::Axis(axis)) => write!(f, "axis={axis}"),
        }
    }
}

/// Measured choices, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices(BTreeMap<String, Choice>);

impl Choices {
    /// The choice for a product: the measured one, or else the model's.
    #[must_use]
    pub fn product(&self, geometry: &Geometry<'_>, target: &Target) -> Blocking {
        match self.0.get(&geometry.key()) {
            Some(Choice::Blocking(blocking)) => *blocking,
            _ => geometry.blocking(target),
        }
    }
}

impl FromIterator<(String, Choice)> for Choices {
    fn from_iter<I: IntoIterator<Item = (String, Choice)>>(choices: I) -> Self {
        Choices(choices.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::product::tests::geometry;
    use super::*;
    use crate::program::Run;

    #[test]
    fn keys_hold_what_decides_about_the_time() {
        let rows: Vec<Run> = (0..3).map(|y| Run { offset: y * 3712, length: 192 }).collect();
        let key = "gemm u8 u8 pixels=1x56x56 from=0,3712,64 to=0,14336,256 runs=3x192+3712 n=256";
        assert_eq!(geometry(&rows).key(), format!("{key} extra"));
        assert_eq!(Geometry { extra: 0, ..geometry(&rows) }.key(), key);
        let taps: Vec<Run> =
            [0, 64, 128, 3712, 3776, 3840, 9000].map(|offset| Run { offset, length: 60 }).into_iter().collect();
        assert!(geometry(&taps).key().contains("runs=3x60+64,3712:3x60+64,5288:1x60 n"), "{}", geometry(&taps).key());
        assert!(geometry(&taps[..1]).key().contains("runs=1x60 n"));
    }

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
