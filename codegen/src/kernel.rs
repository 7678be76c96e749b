//! Kernel families: the kinds of calls that a program can have, and their code.
//!
//! A family is one row of `kernels!` and one folder. Its file holds the data of a call and implements `KernelDef`: what
//! the call reads, along which axes it may be cut, what it costs. `emit.rs` beside it emits the code with the verbs of
//! [`crate::vector`]. Code outside the folder never asks which family a call belongs to.
//!
//! Invariant: a kernel reads no byte outside its operands' views and their slack, and writes only the elements of its
//! output's view.

pub(crate) mod attribute;
mod call;
pub(crate) mod cumsum;
pub(crate) mod depthwise;
pub(crate) mod fill;
pub(crate) mod finish;
pub(crate) mod fold;
pub(crate) mod gather;
pub(crate) mod gemm;
pub(crate) mod interpolate;
pub(crate) mod math;
pub(crate) mod matmul;
pub(crate) mod nest;
pub(crate) mod operations;
pub(crate) mod pixels;
pub(crate) mod plain;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod softmax;
pub(crate) mod steps;
pub(crate) mod window;
pub(crate) mod winograd;
pub(crate) mod winograd_input;

use std::fmt::{self, Debug, Display, Formatter};
use std::ops::Range;

use eightfold_ir::DType;

pub(crate) use self::attribute::{Attributes, Fields};
pub use self::call::Call;
pub use self::cumsum::CumSum;
pub use self::depthwise::{Depthwise, pairs};
pub use self::fill::Fill;
pub use self::fold::Fold;
pub use self::gather::{Blocks, Gather};
pub use self::gemm::geometry::Geometry;
pub use self::gemm::{Gemm, Run, Tile};
pub use self::interpolate::Interpolate;
pub use self::matmul::MatMul;
pub use self::plain::Plain;
use self::plain::{Constants, Packed, PackedMatrix};
pub use self::pointwise::Pointwise;
pub use self::pool::Pool;
pub use self::reduce::Reduce;
pub use self::softmax::Softmax;
use self::window::Window;
pub use self::winograd::Winograd;
pub use self::winograd_input::WinogradInput;
use crate::choice::Choices;
use crate::cpu::{Arithmetic, CpuModel};
use crate::target::Target;
use crate::vector::{Emitter, Ptr};
use crate::view::{Const, ConstId, View};

/// A family of kernels.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The first word of its kernels' names.
    pub name: &'static str,
    /// The computation of its kernels, in a line.
    pub summary: &'static str,
}

/// The questions that the rest of code generation asks about a call. The answers depend on the call alone.
///
/// Most questions have a default answer, which is right for a family that reads operand 0 at the coordinates of the
/// result, like `pointwise`.
pub(crate) trait KernelDef: Attributes {
    /// The suffix of the kernel's name in reports: `_u8_4x16c4`.
    fn variant(&self) -> String {
        String::new()
    }

    /// The number of operands that the kernel itself reads. The operands of the steps follow.
    fn operand_count(&self) -> usize {
        1
    }

    /// The rule of the family that the call breaks, if any. The call has at least [`Self::operand_count`] operands.
    fn misfit(&self, call: &Call) -> Option<&'static str> {
        (call.rank(0) != call.rank_of_output()).then_some("operand 0 must have the rank of the result")
    }

    /// Emits the body of the function. `parameters` point to the first elements of the operands, then of the result.
    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]);

    /// The number of leading operands that never overlap the result.
    fn unaliased(&self) -> usize {
        0
    }

    /// Whether operand 0 and the result may lie at the same bytes: the kernel reads each element before it writes the
    /// result at the same place.
    fn may_overwrite_input(&self) -> bool {
        false
    }

    /// The operand with constant weights, if the call has one. The bias follows.
    fn weights(&self) -> Option<usize> {
        None
    }

    /// The call's data besides its [plain constants](plain); `None` if it has no plain constants, or they are packed.
    fn plain(&self) -> Option<Plain> {
        None
    }

    /// All data besides the plain weights that determines their packed form, as text.
    fn packing(&self) -> String {
        unreachable!("only calls with plain constants are packed")
    }

    /// Packs the plain constants.
    fn pack(&self, _constants: &Constants, _target: &Target) -> Packed {
        unreachable!("only calls with plain constants are packed")
    }

    /// The element types of the packed weights and of the initial values of the accumulators.
    fn packed_types(&self) -> [DType; 2] {
        unreachable!("only calls with plain constants are packed")
    }

    /// The bytes of packed weights and of initial accumulators that the call reads.
    fn packed_bytes(&self, _target: &Target) -> [usize; 2] {
        unreachable!("only calls with plain constants are packed")
    }

    /// Restricts operands 1 and 2, the packed constants of all channels, to the part that the call reads.
    fn take_packed(&mut self, _operands: &mut [View], _extra: &[Vec<isize>]) {
        self.forget_plain();
    }

    /// Marks the constants as packed.
    fn forget_plain(&mut self) {
        unreachable!("only calls with plain constants are packed")
    }

    /// Finds the plain weights that one product of the target cannot hold, and records them in the call.
    fn fit(&mut self, _constants: &Constants, _target: &Target) {}

    /// Makes the choices that have several candidates, unless they are made already.
    fn choose(&mut self, _call: &Call, _choices: &Choices, _target: &Target) {}

    /// Whether the call quantizes floats to bytes and can store these as words of 16 bits.
    fn writes_words(&self, _call: &Call) -> bool {
        false
    }

    /// Whether the call would run faster if operand 0 held words of 16 bits instead of bytes.
    fn gains_by_words(&self, _constants: &Constants, _target: &Target) -> bool {
        false
    }

    /// Makes the call read operand 0 as words.
    fn read_words(&mut self) {}

    /// A matrix that the packed weights hold unchanged; `extra` are their extra groups.
    fn packed_matrix(&self, _call: &Call, _extra: &[Vec<isize>]) -> Option<PackedMatrix> {
        None
    }

    /// The call, changed to read the rows of its table from packed weights with the same numbers; `None` if no packed
    /// weights have them.
    fn take_rows(&self, _call: &Call, _packed: &[(ConstId, PackedMatrix)], _consts: &[Const]) -> Option<Call> {
        None
    }

    /// The operand with indices that are known at run time only, and the extent that they must be below.
    fn unchecked_positions<'c>(&self, _call: &'c Call) -> Option<(&'c View, usize)> {
        None
    }

    /// The element, in little-endian order, that the call writes everywhere; `None` if the call computes its results.
    fn filled(&self) -> Option<[u8; 8]> {
        None
    }

    /// The runs of elements of operand 0 that the call reads; `None` if it reads all of operand 0's view.
    fn input_window(&self, _call: &Call) -> Option<Window> {
        None
    }

    /// Whether the call may be part of a chain that runs in bands of rows (axis 2).
    fn runs_in_bands(&self) -> bool {
        false
    }

    /// The rows of operand 0's view that these rows of the result need. Not used if there is a
    /// [window](Self::input_window).
    fn input_rows(&self, _input: &View, rows: Range<usize>) -> Range<usize> {
        rows
    }

    /// The result may be cut along `axis` at multiples of this number; `None` if it may not be cut. A part must compute
    /// each element by the same operations in the same order as the whole call.
    fn unit(&self, call: &Call, axis: usize) -> Option<usize>;

    /// The least number of results along the axis that a part may have.
    fn least_part(&self) -> usize {
        1
    }

    /// Restricts the call to `range` of the result's `axis`. The caller restricts the result and the step operands.
    fn take_part(&mut self, operands: &mut [View], _output: &View, axis: usize, range: &Range<usize>) {
        operands[0].narrow(axis, range);
    }

    /// Multiply-accumulates that the result requires.
    fn macs(&self, _call: &Call) -> usize {
        0
    }

    /// Multiply-accumulates that the kernel executes, including those on padding.
    fn executed_macs(&self, call: &Call, _target: &Target) -> usize {
        self.macs(call)
    }

    /// The arithmetic of the products. bf16 counts as f32 unless the family multiplies bf16 directly.
    fn arithmetic(&self, call: &Call) -> Arithmetic {
        if call.operands.is_empty() || call.input_type().is_float() { Arithmetic::F32 } else { Arithmetic::Int8 }
    }

    /// See [`Work::instructions`](crate::work::Work::instructions).
    fn instructions(&self, _target: &Target) -> f64 {
        1.0
    }

    /// Nanoseconds of the products, and of loops and stores that the cost model of this family includes. The time of
    /// [operations](Self::operations) is added to this.
    fn products_ns(&self, call: &Call, cpu: &CpuModel) -> f64 {
        let executed = self.executed_macs(call, cpu.target) as f64;
        executed * self.instructions(cpu.target) / cpu.macs(self.arithmetic(call))
    }

    /// The type that the steps start from, and the number of operations before the steps, summed over all results.
    fn operations(&self, call: &Call, target: &Target) -> (DType, f64);

    /// The number of distinct bytes that the call reads of an operand.
    fn operand_bytes(&self, call: &Call, index: usize) -> u64 {
        call.operands[index].distinct_bytes()
    }

    /// The extents that determine the time, for reports.
    fn shape(&self, call: &Call) -> String {
        call.output.grid.dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
    }
}

/// Turns each row `Variant(module) "name" "summary";` into a variant of [`Producer`] that holds a `module::Variant`,
/// and into a row of [`KERNELS`].
macro_rules! kernels {
    ($($variant:ident($module:ident) $name:literal $summary:literal;)*) => {
        /// The computation of a call before its steps.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Producer {
            $(
                #[doc = concat!("`", $name, "`: ", $summary, ".")]
                $variant($module::$variant),
            )*
        }

        /// All families.
        pub const KERNELS: &[Family] = &[$(Family { name: $name, summary: $summary }),*];

        impl Producer {
            /// The name of the family in [`KERNELS`].
            #[must_use]
            pub fn family(&self) -> &'static str {
                match self {
                    $(Producer::$variant(_) => $name,)*
                }
            }

            /// The kernel's definition.
            pub(crate) fn def(&self) -> &dyn KernelDef {
                match self {
                    $(Producer::$variant(kernel) => kernel,)*
                }
            }

            /// The same, mutable.
            pub(crate) fn def_mut(&mut self) -> &mut dyn KernelDef {
                match self {
                    $(Producer::$variant(kernel) => kernel,)*
                }
            }
        }

        /// Parses a call's data from the name of its family and its attributes.
        ///
        /// # Errors
        /// Fails if an attribute is missing, unknown or malformed.
        pub(crate) fn parse(family: &str, fields: &mut Fields<'_>) -> Result<Producer, String> {
            match family {
                $($name => Attributes::parse(fields).map(Producer::$variant),)*
                _ => {
                    let names: Vec<&str> = KERNELS.iter().map(|family| family.name).collect();
                    Err(format!("no kernel is called {family:?}; there are {}", names.join(", ")))
                }
            }
        }

        $(impl From<$module::$variant> for Producer {
            fn from(kernel: $module::$variant) -> Producer {
                Producer::$variant(kernel)
            }
        })*
    };
}

kernels! {
    Gemm(gemm) "gemm" "products with constant matrices, convolutions as implicit products; int8, bf16 and f32";
    Depthwise(depthwise) "depthwise" "convolutions channel by channel; int8, bf16 and f32";
    WinogradInput(winograd_input) "winograd_input" "input transform of Winograd's F(2x2, 3x3) to 4 x 4 tiles; int8";
    Winograd(winograd) "winograd" "3 x 3 convolutions of stride 1 on Winograd's tiles; int8";
    Pointwise(pointwise) "pointwise" "elementwise chains, copies, layout changes, broadcasts";
    Pool(pool) "pool" "sums, means and extremes of windows";
    Reduce(reduce) "reduce" "sums, means, extremes and products along axes";
    CumSum(cumsum) "cumsum" "running sums along an axis; f32, i32 and i64";
    Softmax(softmax) "softmax" "softmax along an axis; int8 by a table, and f32";
    Gather(gather) "gather" "elements at positions given by a tensor";
    Interpolate(interpolate) "interpolate" "linear interpolation along an axis";
    MatMul(matmul) "matmul" "products of two matrices, neither of them constant";
    Fill(fill) "fill" "one number everywhere";
}

impl Producer {
    /// The kernel's name: its family, and for products the input type and the tile.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}{}", self.family(), self.def().variant())
    }
}

impl Display for Producer {
    /// `pool {fold=max, kernel=2x2, strides=2x2, dilations=1x1, pads=0x0}`
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.family())?;
        let attributes = self.def().attributes();
        let texts: Vec<String> = attributes.iter().map(|(name, text)| format!("{name}={text}")).collect();
        if texts.is_empty() { Ok(()) } else { write!(f, " {{{}}}", texts.join(", ")) }
    }
}

/// The rule that a call along `axis` breaks, if any: operand 0 and the result must have one rank, and `axis` must
/// exist.
fn along(axis: usize, call: &Call) -> Option<&'static str> {
    let rank = call.rank_of_output();
    (call.rank(0) != rank || axis >= rank)
        .then_some("operand 0 must have the rank of the result, and the axis be below it")
}

/// Whether operand 0 and the result have the axes batch, channels, rows and columns, and the result has `channels`
/// channels.
fn is_of_pixels(call: &Call, channels: usize) -> bool {
    call.rank(0) == 4 && call.rank_of_output() == 4 && call.output.grid.dims[1] == channels
}
