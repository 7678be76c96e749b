//! The values of one tensor for one sample, as observers read them.

/// The values of one tensor for one sample, and their division into channels.
///
/// A position is a point in space, such as a pixel. It has one value per channel.
#[derive(Debug, Clone, Copy)]
pub struct Activations<'a> {
    values: &'a [f32],
    channels: usize,
    /// The distance between neighbouring channels of a position.
    inner: usize,
}

impl<'a> Activations<'a> {
    /// Creates activations from row-major values with the extents `dims`; the channels lie on `axis`.
    ///
    /// # Panics
    /// If the product of the extents is not the number of values.
    #[must_use]
    pub fn with_channels(values: &'a [f32], dims: &[usize], axis: usize) -> Self {
        assert_eq!(values.len(), dims.iter().product::<usize>(), "extents {dims:?}");
        Activations { values, channels: dims[axis], inner: dims[axis + 1..].iter().product() }
    }

    /// Returns the values, row-major.
    #[must_use]
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Returns the number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the contiguous runs of values of one channel, each with its channel, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = (usize, &'a [f32])> + use<'a> {
        let channels = self.channels;
        // `max(1)`: an empty tensor may have an inner extent of 0, and a chunk must not be empty.
        self.values.chunks_exact(self.inner.max(1)).enumerate().map(move |(run, values)| (run % channels, values))
    }

    /// Returns the position of each value, in order. Positions are below [`Activations::count`].
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> + use<> {
        // Counts instead of dividing: a calibration run reads billions of values.
        let (channels, inner) = (self.channels, self.inner);
        let planes = self.count() / inner.max(1);
        (0..planes).flat_map(move |plane| (0..channels).flat_map(move |_| plane * inner..(plane + 1) * inner))
    }

    /// Returns the number of positions.
    pub(super) fn count(&self) -> usize {
        self.values.len() / self.channels.max(1)
    }
}

/// Values without known channels: a single position.
impl<'a> From<&'a [f32]> for Activations<'a> {
    fn from(values: &'a [f32]) -> Self {
        Activations { values, channels: values.len(), inner: 1 }
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Activations<'a> {
    fn from(values: &'a [f32; N]) -> Self {
        values.as_slice().into()
    }
}

impl<'a> From<&'a Vec<f32>> for Activations<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        values.as_slice().into()
    }
}
