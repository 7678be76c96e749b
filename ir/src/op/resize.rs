//! `resize`: interpolates a tensor to other extents (ONNX Resize, Upsample).

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::attr::{Floats, Sizes, attr_enum};
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

attr_enum! {
    /// The interpolation between elements.
    pub enum ResizeMode {
        /// The nearest element.
        Nearest = "nearest",
        /// Linear interpolation of the two nearest elements along each axis.
        Linear = "linear",
    }
}

attr_enum! {
    /// The mapping from output to input coordinates (ONNX `coordinate_transformation_mode`).
    pub enum Coordinates {
        /// `(i + 0.5) / scale - 0.5`
        HalfPixel = "half_pixel",
        /// Like `half_pixel`, but 0 for an output of extent 1.
        PytorchHalfPixel = "pytorch_half_pixel",
        /// `i / scale`
        Asymmetric = "asymmetric",
        /// `i * (input - 1) / (output - 1)`
        AlignCorners = "align_corners",
    }
}

attr_enum! {
    /// The rounding of a coordinate to the nearest element (ONNX `nearest_mode`).
    pub enum NearestMode {
        /// To the nearer element, to the lower one at a tie.
        RoundPreferFloor = "round_prefer_floor",
        /// To the nearer element, to the upper one at a tie.
        RoundPreferCeil = "round_prefer_ceil",
        /// To the lower element.
        Floor = "floor",
        /// To the upper element.
        Ceil = "ceil",
    }
}

op! {
    /// Interpolates the operand to the extents `sizes`.
    ///
    /// Operand: `x`; floats in `linear` mode. A coordinate that lies on an element takes that element alone, even if its
    /// neighbour is infinite or NaN.
    pub struct Resize = "resize" {
        /// The interpolation between elements.
        mode: ResizeMode = ResizeMode::Nearest,
        /// The mapping from output to input coordinates.
        coordinates: Coordinates = Coordinates::HalfPixel,
        /// The rounding to the nearest element.
        nearest: NearestMode = NearestMode::RoundPreferFloor,
        /// Output extents, one per axis.
        sizes: Sizes,
        /// Output extent / input extent, if the model gives it. If empty, the quotient of the extents.
        scales: Floats = Floats::new(),
    }
}

impl Resize {
    /// Returns true if `axis`, with `input` elements, does not change. An axis of the same size is still resampled if
    /// its scale is not 1.
    #[must_use]
    pub fn keeps(&self, axis: usize, input: usize) -> bool {
        self.sizes[axis] == input && self.scales.get(axis).is_none_or(|scale| *scale == 1.0)
    }

    /// Returns the scale along `axis` as a quotient of two extents, for an operand of extents `input`; `None` if it is
    /// not one.
    ///
    /// A given scale counts as the quotient of an axis if it equals that quotient, rounded to f32. All axes may share
    /// the ratio of one axis.
    fn quotient(&self, axis: usize, input: &[usize]) -> Option<(usize, usize)> {
        let Some(scale) = self.scales.get(axis) else { return Some((self.sizes[axis], input[axis])) };
        let axes = std::iter::once(axis).chain(0..input.len());
        axes.map(|i| (self.sizes[i], input[i])).find(|(to, from)| *to as f32 / *from as f32 == *scale)
    }

    /// Returns the coordinate in the operand, of extents `input`, for the output coordinate `at` along `axis`.
    ///
    /// Each quotient of integers is rounded once, to f64, so that integers and halves are exact.
    fn coordinate(&self, axis: usize, at: usize, input: &[usize]) -> f64 {
        let output = self.sizes[axis];
        let f = |n: usize| n as f64;
        match (self.coordinates, self.quotient(axis, input)) {
            (Coordinates::AlignCorners | Coordinates::PytorchHalfPixel, _) if output == 1 => 0.0,
            (Coordinates::AlignCorners, _) => f(at) * f(input[axis] - 1) / f(output - 1),
            (Coordinates::Asymmetric, Some((to, from))) => f(at) * f(from) / f(to),
            (Coordinates::Asymmetric, None) => f64::from(at as f32 / self.scales[axis]),
            (Coordinates::HalfPixel | Coordinates::PytorchHalfPixel, Some((to, from))) => {
                (f(2 * at + 1) * f(from) - f(to)) / f(2 * to)
            }
            (Coordinates::HalfPixel | Coordinates::PytorchHalfPixel, None) => {
                f64::from((at as f32 + 0.5) / self.scales[axis] - 0.5)
            }
        }
    }

    /// Returns the two elements that the output coordinate `at` along `axis` mixes, as `(index, weight)`, for an
    /// operand of extents `input`. A second element of weight 0 does not count; in `nearest` mode it never does.
    #[must_use]
    pub fn neighbours(&self, axis: usize, at: usize, input: &[usize]) -> [(usize, f32); 2] {
        let x = self.coordinate(axis, at, input);
        let inside = |i: f64| (i.max(0.0) as usize).min(input[axis] - 1);
        match self.mode {
            ResizeMode::Nearest => {
                let i = match self.nearest {
                    NearestMode::RoundPreferFloor => (x - 0.5).ceil(),
                    NearestMode::RoundPreferCeil => (x + 0.5).floor(),
                    NearestMode::Floor => x.floor(),
                    NearestMode::Ceil => x.ceil(),
                };
                [(inside(i), 1.0), (0, 0.0)]
            }
            ResizeMode::Linear => {
                let x = x.clamp(0.0, (input[axis] - 1) as f64);
                let low = x.floor();
                [(inside(low), (1.0 - (x - low)) as f32), (inside(low + 1.0), (x - low) as f32)]
            }
        }
    }
}

impl OpDef for Resize {
    const NAME: &'static str = "resize";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?.ty;
        let rank = x.shape.rank();
        if self.sizes.len() != rank || !(self.scales.is_empty() || self.scales.len() == rank) {
            return Err(operands.attr_error("sizes", format!("sizes and scales expect {rank} entries")));
        }
        if x.shape.contains(&0) || self.scales.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err(operands.attr_error("scales", "expects positive numbers and a non-empty tensor"));
        }
        if self.mode == ResizeMode::Linear && !x.dtype.is_float() {
            return Err(operands.dtype_error(0, "a float", x.dtype));
        }
        Ok(smallvec![TensorType::moved(x, Shape::new(&self.sizes))])
    }

    fn quant_rule(&self) -> QuantRule {
        if self.mode == ResizeMode::Nearest { QuantRule::SameScale } else { QuantRule::FloatOnly }
    }

    fn keeps_axis(&self, x: &Shape, axis: usize) -> bool {
        self.keeps(axis, x[axis])
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let mut x = operands[0].expect("inferred").array.clone();
        let input = x.shape.clone();
        // Axis by axis: the interpolation is separable.
        for axis in (0..input.rank()).filter(|axis| !self.keeps(*axis, input[*axis])) {
            x = self.along(axis, &x, &input);
        }
        smallvec![x.rounded()]
    }
}

impl Resize {
    /// Interpolates `x` along `axis`. `extents` are the extents of the operand before any axis was interpolated.
    fn along(&self, axis: usize, x: &Array, extents: &[usize]) -> Array {
        let (input, inner) = (x.shape[axis], x.shape.strides()[axis]);
        let mut shape = x.shape.clone();
        shape[axis] = self.sizes[axis];
        let taps: Vec<_> = (0..shape[axis]).map(|at| self.neighbours(axis, at, extents)).collect();
        let position = |at: usize, neighbour: usize| {
            let (outer, rest) = (at / (shape[axis] * inner), at % (shape[axis] * inner));
            let (index, weight) = taps[rest / inner][neighbour];
            (outer * input * inner + index * inner + rest % inner, weight)
        };
        let n = shape.elements();
        let data = if self.mode == ResizeMode::Nearest {
            x.data.gather((0..n).map(|at| position(at, 0).0))
        } else {
            let v = x.floats();
            let mix = |at| {
                let ((i, a), (j, b)) = (position(at, 0), position(at, 1));
                let first = f64::from(v[i]) * f64::from(a);
                if b == 0.0 { first as f32 } else { (first + f64::from(v[j]) * f64::from(b)) as f32 }
            };
            crate::tensor::Data::Float((0..n).map(mix).collect())
        };
        Array { dtype: x.dtype, shape, data }
    }
}
