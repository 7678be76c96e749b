//! The mean of each channel of a tensor over all samples and positions, for bias correction.

use std::collections::BTreeMap;

use super::{Activations, CalibrateError, ObserveError};

/// The running sums of the channels of several tensors. Memory does not grow with the number of samples.
#[derive(Clone, Debug, Default)]
pub struct ChannelMeans {
    tensors: BTreeMap<String, Sums>,
}

#[derive(Clone, Debug)]
struct Sums {
    sums: Vec<f64>,
    /// The number of values in each sum.
    count: u64,
}

impl ChannelMeans {
    /// Adds the values of `tensor` for one sample.
    ///
    /// # Errors
    /// [`CalibrateError::Observe`] if a value is not finite.
    ///
    /// # Panics
    /// If the number of channels differs from an earlier sample.
    pub fn observe(&mut self, tensor: &str, sample: Activations<'_>) -> Result<(), CalibrateError> {
        let (values, channels) = (sample.values(), sample.channels());
        let zeros = || Sums { sums: vec![0.0; channels], count: 0 };
        let Sums { sums, count } = self.tensors.entry(tensor.to_owned()).or_insert_with(zeros);
        assert_eq!(sums.len(), channels, "channels of `{tensor}`");
        if values.is_empty() {
            return Ok(());
        }
        for (channel, values) in sample.runs() {
            sums[channel] += values.iter().map(|x| f64::from(*x)).sum::<f64>();
        }
        *count += (values.len() / channels) as u64;
        // A sum of finite f32 values is finite in f64, so this check finds NaN and infinity without testing each value.
        if sums.iter().any(|sum| !sum.is_finite())
            && let Some(index) = values.iter().position(|value| !value.is_finite())
        {
            let source = ObserveError::NotFinite { index, value: values[index] };
            return Err(CalibrateError::Observe { tensor: tensor.to_owned(), source });
        }
        Ok(())
    }

    /// Returns the mean of each channel, by tensor. Tensors without values are left out.
    #[must_use]
    pub fn means(&self) -> BTreeMap<String, Vec<f32>> {
        let mean = |Sums { sums, count }: &Sums| sums.iter().map(|sum| (sum / *count as f64) as f32 + 0.0).collect();
        self.tensors.iter().filter(|(_, s)| s.count > 0).map(|(name, s)| (name.clone(), mean(s))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_run_over_samples_and_positions() {
        let mut means = ChannelMeans::default();
        means.observe("x", Activations::with_channels(&[1.0, 3.0, 10.0, 20.0], &[1, 2, 2], 1)).unwrap();
        means.observe("x", Activations::with_channels(&[5.0, 7.0, 30.0, 40.0], &[1, 2, 2], 1)).unwrap();
        means.observe("rows", Activations::with_channels(&[1.0, 2.0, 3.0, 6.0], &[2, 2], 1)).unwrap();
        assert_eq!(means.means(), [("rows".into(), vec![2.0, 4.0]), ("x".into(), vec![4.0, 25.0])].into());
        let error =
            means.observe("x", Activations::with_channels(&[0.0, 0.0, f32::NAN, 0.0], &[1, 2, 2], 1)).unwrap_err();
        assert!(
            matches!(error, CalibrateError::Observe { tensor, source: ObserveError::NotFinite { index: 2, .. } } if tensor == "x")
        );
    }
}
