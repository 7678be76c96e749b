//! What an observer sees of a tensor at a time.

/// The values of one tensor for one sample, and which of them are channels of the same position.
///
/// A position is a place in space, as a pixel: it has one value in each channel.
#[derive(Debug, Clone, Copy)]
pub struct Activations<'a> {
    values: &'a [f32],
    channels: usize,
    /// Neighbouring channels of a position are this far apart.
    inner: usize,
}

impl<'a> Activations<'a> {
    /// Row-major values of extents `dims` whose channels lie on `axis`.
    ///
    /// # Panics
    /// If the extents are not those of the values.
    #[must_use]
    pub fn with_channels(values: &'a [f32], dims: &[usize], axis: usize) -> Self {
        assert_eq!(values.len(), dims.iter().product::<usize>(), "extents {dims:?}");
        Activations { values, channels: dims[axis], inner: dims[axis + 1..].iter().product() }
    }

    /// The values, row-major.
    #[must_use]
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// The number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The values that are neighbours within one channel, and the channel, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = (usize, &'a [f32])> + use<'a> {
        let channels = self.channels;
        // No values, no runs; and a run of none does not exist.
        self.values.chunks_exact(self.inner.max(1)).enumerate().map(move |(run, values)| (run % channels, values))
    }

    /// The position of each value in order, below [`Activations::count`].
    pub(super) fn positions(&self) -> impl Iterator<Item = usize> + use<> {
        // Counting, not dividing: a calibration run looks at billions of values.
        let (channels, inner) = (self.channels, self.inner);
        let planes = self.count() / inner.max(1);
        (0..planes).flat_map(move |plane| (0..channels).flat_map(move |_| plane * inner..(plane + 1) * inner))
    }

    /// The number of positions.
    pub(super) fn count(&self) -> usize {
        self.values.len() / self.channels.max(1)
    }
}

/// Values of which nothing else is known: one position.
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
