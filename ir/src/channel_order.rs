//! The original order of the channels of a tensor, for tensors whose channels a pass has moved.
//!
//! Data about a tensor from outside the graph, such as the channel means in a calibration table, is in the model's
//! order. A value with a channel order says where the data of each of its channels is. Operators and the evaluator
//! ignore it. It moves with the value's name.
//!
//! In the text form it follows the type: `%h = conv(%x, %w) : 1x4x8x8xf32 ordered axis=1 from=[2, 0, 3, 1]`.

/// The original order of a tensor's channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOrder {
    /// The axis of the channels.
    pub axis: usize,
    /// For each position on the axis, the position of its channel in the model.
    pub from: Box<[usize]>,
}

impl ChannelOrder {
    /// Returns true if each position below `extent` occurs exactly once.
    pub(crate) fn is_permutation(&self, extent: usize) -> bool {
        let mut sorted = self.from.to_vec();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..extent)
    }
}
