//! Sets of CPU features.

/// A set of CPU features: `features` of `eightfold_variant`. Bit `b` is `self.0[b / 64] >> (b % 64) & 1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct FeatureSet(pub [u64; 4]);

impl FeatureSet {
    /// No features beyond the architecture's baseline.
    pub const EMPTY: FeatureSet = FeatureSet([0; 4]);

    /// Returns the set with the feature `bit` added. Ignores a bit beyond the last word.
    #[must_use]
    pub const fn with(mut self, bit: u32) -> FeatureSet {
        let word = (bit / 64) as usize;
        if word < self.0.len() {
            self.0[word] |= 1 << (bit % 64);
        }
        self
    }

    /// Returns true if `self` has all features of `needed`.
    #[must_use]
    pub fn contains(self, needed: FeatureSet) -> bool {
        self.missing(needed) == FeatureSet::EMPTY
    }

    /// Returns the features of `needed` that `self` lacks.
    #[must_use]
    pub fn missing(self, needed: FeatureSet) -> FeatureSet {
        let [a, b, c, d] = needed.0;
        let [w, x, y, z] = self.0;
        FeatureSet([a & !w, b & !x, c & !y, d & !z])
    }
}
