//! Where the channels of a tensor lay in the model, for tensors whose channels a pass has moved.
//!
//! What is known about a tensor from outside the graph, such as the mean of each channel in a calibration table, is in the
//! model's order. A value that carries this says where to find what belongs to each of its channels. It is a note: operators
//! and the evaluator do not look at it. It goes along with the value's name.
//!
//! In text it stands behind the type: `%h = conv(%x, %w) : 1x4x8x8xf32 ordered axis=1 from=[2, 0, 3, 1]`.

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOrder {
    /// The axis that the channels lie on.
    pub axis: usize,
    /// For each position on the axis, the position that the model had its channel at.
    pub from: Box<[usize]>,
}

impl ChannelOrder {
    /// Whether each position of `extent` is there once.
    pub(crate) fn is_permutation(&self, extent: usize) -> bool {
        let mut sorted = self.from.to_vec();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..extent)
    }
}
