//! `resize`: interpolation to another extent (ONNX Resize, Upsample).

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::attr::{Floats, Sizes, attr_enum};
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

attr_enum! {
    /// How elements between grid points come about.
    pub enum ResizeMode {
        /// The nearest one.
        Nearest = "nearest",
        /// Linear between the two nearest along each axis.
        Linear = "linear",
    }
}

attr_enum! {
    /// How an output coordinate becomes an input coordinate (ONNX `coordinate_transformation_mode`).
    pub enum Coordinates {
        /// `(i + 0.5) / scale - 0.5`
        HalfPixel = "half_pixel",
        /// Half pixel, but 0 for an output of extent 1.
        PytorchHalfPixel = "pytorch_half_pixel",
        /// `i / scale`
        Asymmetric = "asymmetric",
        /// `i * (input - 1) / (output - 1)`
        AlignCorners = "align_corners",
    }
}

attr_enum! {
    /// Which neighbour is nearest (ONNX `nearest_mode`).
    pub enum NearestMode {
        /// The nearer one, the lower at a tie.
        RoundPreferFloor = "round_prefer_floor",
        /// The nearer one, the upper at a tie.
        RoundPreferCeil = "round_prefer_ceil",
        /// The lower.
        Floor = "floor",
        /// The upper.
        Ceil = "ceil",
    }
}

op! {
    /// Interpolates to `sizes`.
    ///
    /// Operand: `x`; `linear` wants floats.
    pub struct Resize = "resize" {
        /// How elements between grid points come about.
        mode: ResizeMode = ResizeMode::Nearest,
        /// How an output coordinate becomes an input coordinate.
        coordinates: Coordinates = Coordinates::HalfPixel,
        /// Which neighbour is nearest.
        nearest: NearestMode = NearestMode::RoundPreferFloor,
        /// Output extents, one an axis.
        sizes: Sizes,
        /// Output per input extent where the model states it; the quotient of the extents if empty.
        scales: Floats = Floats::new(),
    }
}

impl Resize {
    /// Whether `axis` of `input` elements stays as it is. An axis of equal size is still resampled if its scale is not 1.
    #[must_use]
    pub fn keeps(&self, axis: usize, input: usize) -> bool {
        self.sizes[axis] == input && self.scales.get(axis).is_none_or(|scale| *scale == 1.0)
    }

    /// The scale along `axis` as the quotient of two extents, for an operand of extents `input`; `None` where it is none.
    ///
    /// A stated scale is a quotient rounded to f32 where it is that of some axis: a common ratio is the quotient of one axis.
    fn quotient(&self, axis: usize, input: &[usize]) -> Option<(usize, usize)> {
        let Some(scale) = self.scales.get(axis) else { return Some((self.sizes[axis], input[axis])) };
        let axes = std::iter::once(axis).chain(0..input.len());
        axes.map(|i| (self.sizes[i], input[i])).find(|(to, from)| *to as f32 / *from as f32 == *scale)
    }

    /// The coordinate along `axis` of the operand, of extents `input`, that output coordinate `at` stands for.
    ///
    /// Each quotient of integers is rounded once, to f64, so that integers and halves come out exactly.
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

    /// The elements along `axis` of the operand, of extents `input`, that output coordinate `at` mixes: `(index, weight)`
    /// of two neighbours; in `nearest` mode the second weighs nothing.
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
            return Err(operands.attr_error("sizes", format!("sizes and scales want {rank} entries")));
        }
        if x.shape.contains(&0) || self.scales.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err(operands.attr_error("scales", "wants positive numbers and a non-empty tensor"));
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
    /// `x` interpolated along `axis`; `extents` are those of the operand before all axes.
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
                (f64::from(v[i]) * f64::from(a) + f64::from(v[j]) * f64::from(b)) as f32
            };
            crate::tensor::Data::Float((0..n).map(mix).collect())
        };
        Array { dtype: x.dtype, shape, data }
    }
}
