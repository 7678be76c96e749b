//! Noise as input where only time matters: the time of a compiled model depends on shapes, not on values.

use eightfold_ir::{DType, Tensor};

use super::{InputSpec, Sample};

impl InputSpec {
    /// Pseudo-random values, the same each time: floats from 0 to 1, integers over the range of a byte, zeros for
    /// integers that may be indices.
    #[must_use]
    pub fn noise(&self) -> Tensor {
        let elements = self.shape.elements();
        let mut state = 1_u32;
        let mut next = move || {
            // The linear congruential generator of Numerical Recipes; its high bits are random enough here.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let mut unit = || next() as f32 / (1 << 24) as f32;
        let bytes: Vec<u8> = match self.dtype {
            DType::F32 => (0..elements).flat_map(|_| unit().to_le_bytes()).collect(),
            DType::F64 => (0..elements).flat_map(|_| f64::from(unit()).to_le_bytes()).collect(),
            DType::F16 => (0..elements).flat_map(|_| half::f16::from_f32(unit()).to_le_bytes()).collect(),
            DType::Bf16 => (0..elements).flat_map(|_| half::bf16::from_f32(unit()).to_le_bytes()).collect(),
            DType::I8 | DType::U8 => (0..elements).map(|_| (256.0 * unit()) as u8).collect(),
            _ => vec![0; elements * self.dtype.byte_size()],
        };
        let tensor = Tensor::from_unpacked(self.dtype, self.shape.clone(), bytes);
        tensor.unwrap_or_else(|error| unreachable!("as many bytes as the input has: {error}"))
    }
}

impl Sample {
    /// A sample of noise without labels.
    #[must_use]
    pub fn noise(inputs: &[InputSpec]) -> Sample {
        Sample { inputs: inputs.iter().map(InputSpec::noise).collect(), labels: Vec::new(), rows: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_fits_the_input_and_varies() {
        let noise = InputSpec::new("x", DType::F32, &[2, 3]).noise();
        let values = noise.to_f32s().expect("floats");
        assert_eq!(values.len(), 6);
        assert!(values.iter().all(|x| (0.0..1.0).contains(x)) && values[0] != values[1]);
        assert_eq!(InputSpec::new("x", DType::I64, &[2]).noise().bytes(), [0; 16]);
    }
}
