//! `depthwise`: convolutions in which each channel has its own input channel.

mod emit;
pub(crate) mod pack;
#[cfg(test)]
mod tests;

use std::ops::Range;

use eightfold_ir::DType;

use super::attribute::attributes;
use super::gemm::pixel_count;
use super::plain::{self, Constants, Packed, Plain};
use super::window::{self, Window, distances};
use super::{KernelDef, is_of_pixels};
use crate::cpu::CpuModel;
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};
use crate::view::View;

/// A depthwise convolution.
///
/// Operands: the input; the weights and the bias, [plain](Plain) before packing. The input's channels are adjacent, its
/// offset is the input element of output pixel (0, 0, 0), and whole vectors are readable beyond its last channel.
/// Packed weights are taps (of integers: pairs of taps) x channels, padded to whole vectors. The initial values of the
/// accumulators are padded likewise.
#[derive(Clone, Debug, PartialEq)]
pub struct Depthwise {
    /// Type of the input's elements: u8, i8 or f32.
    pub input: DType,
    /// Distance of neighbouring output pixels, in rows and columns of the input.
    pub strides: [usize; 2],
    /// Distance in elements of each tap from the pixel's first input element, row by row of the window.
    pub taps: Vec<isize>,
    /// Columns of the window: the number of `taps` per row.
    pub columns: usize,
    /// Channels.
    pub channels: usize,
    /// The data that packing needs besides the constants; `None` once they are packed.
    pub plain: Option<Plain>,
}

impl Depthwise {
    /// Rows and columns of the window.
    #[must_use]
    pub fn window(&self) -> [usize; 2] {
        [self.taps.len() / self.columns.max(1), self.columns]
    }

    /// The pairs of taps, as row and column, by which integers are multiplied two at a time: see [`pairs`].
    #[must_use]
    pub fn pairs(&self) -> Vec<[[usize; 2]; 2]> {
        pairs(self.window())
    }
}

/// Pairs of neighbouring rows in each column of a window. In an odd last row, columns are paired. A single remaining
/// tap is paired with itself.
#[must_use]
pub fn pairs([rows, columns]: [usize; 2]) -> Vec<[[usize; 2]; 2]> {
    let down = (0..columns).flat_map(|x| (1..rows).step_by(2).map(move |y| [[y - 1, x], [y, x]]));
    let last = (0..columns).step_by(2).map(|x| [[rows - 1, x], [rows - 1, (x + 1).min(columns - 1)]]);
    down.chain(last.filter(|_| rows % 2 == 1)).collect()
}

impl Depthwise {
    /// The input elements that the pixels read.
    fn under(&self, call: &Call) -> Window {
        Window::of(call, self.strides, self.taps.iter().map(|tap| (*tap, self.channels)).collect())
    }

    /// Bytes of a channel's packed weights.
    fn weights_of_a_channel(&self) -> usize {
        4 * if self.input.is_float() { self.taps.len() } else { self.pairs().len() }
    }
}

attributes! { Depthwise { input, strides, taps, columns, channels, plain }, not in keys { plain } }

impl KernelDef for Depthwise {
    fn operand_count(&self) -> usize {
        3
    }

    fn misfit(&self, call: &Call) -> Option<&'static str> {
        if !is_of_pixels(call, self.channels) {
            return Some("operand 0 and the result must have rank 4, the result as many channels");
        }
        let is_window = self.columns > 0 && !self.taps.is_empty() && self.taps.len().is_multiple_of(self.columns);
        if !is_window {
            return Some("the taps must be whole rows of columns");
        }
        let plain = self.plain?;
        let [rows, columns] = self.window();
        let wrong = plain::misfit(plain, call, self.channels);
        let covers = || call.operands[1].grid.dims[1..] == [rows, columns, 1];
        wrong.or_else(|| (!covers()).then_some("plain weights must have the rows and columns of the window"))
    }

    fn variant(&self) -> String {
        format!("_{}", self.input)
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self, parameters);
    }

    fn unaliased(&self) -> usize {
        3
    }

    fn weights(&self) -> Option<usize> {
        Some(1)
    }

    fn input_window(&self, call: &Call) -> Option<Window> {
        Some(self.under(call))
    }

    fn runs_in_bands(&self) -> bool {
        true
    }

    /// The axes of the result are batch, channels, rows, columns.
    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        matches!(axis, 0 | 2).then_some(1)
    }

    fn take_part(&mut self, operands: &mut [View], _output: &View, axis: usize, range: &Range<usize>) {
        let reach = self.taps.iter().copied().max().unwrap_or(0);
        window::narrow(&mut operands[0], self.strides, reach, axis, range);
    }

    fn plain(&self) -> Option<Plain> {
        self.plain
    }

    fn packing(&self) -> String {
        self.input.to_string()
    }

    fn pack(&self, constants: &Constants, target: &Target) -> Packed {
        let (channels, window) = (self.channels, self.window());
        let (weights, sums) = if self.input.is_float() {
            let float = constants.float();
            let weight = |c: usize, [y, x]: [usize; 2]| float([c, y, x, 0]);
            pack::floats(target, &weight, channels, window, &constants.float_bias())
        } else {
            let int = constants.int();
            let weight = |c: usize, [y, x]: [usize; 2]| int([c, y, x, 0]);
            let zero_point = self.plain.map_or(0, |plain| i64::from(plain.zero_point));
            let taps = || (0..window[0]).flat_map(|y| (0..window[1]).map(move |x| [y, x]));
            let sum = |c: usize| taps().map(|tap| i64::from(weight(c, tap))).sum::<i64>();
            let sums =
                constants.int_bias().iter().enumerate().map(|(c, b)| b - zero_point * sum(c)).collect::<Vec<_>>();
            pack::integers(target, &weight, channels, window, &sums)
        };
        Packed { weights, sums, extra: Vec::new() }
    }

    fn packed_types(&self) -> [DType; 2] {
        [DType::I8, if self.input.is_float() { DType::F32 } else { DType::I32 }]
    }

    fn packed_bytes(&self, target: &Target) -> [usize; 2] {
        let channels = self.channels.next_multiple_of(target.lanes());
        [self.weights_of_a_channel() * channels, 4 * channels]
    }

    fn forget_plain(&mut self) {
        self.plain = None;
    }

    fn operand_bytes(&self, call: &Call, index: usize) -> u64 {
        match (index, self.plain) {
            (1, Some(_)) => (self.weights_of_a_channel() * self.channels) as u64,
            _ => call.operands[index].distinct_bytes(),
        }
    }

    fn macs(&self, call: &Call) -> usize {
        pixel_count(call) * self.taps.len() * self.channels
    }

    fn executed_macs(&self, call: &Call, target: &Target) -> usize {
        let products = if self.input.is_float() { self.taps.len() } else { 2 * self.pairs().len() };
        pixel_count(call) * products * self.channels.next_multiple_of(target.lanes())
    }

    /// Products of integers are counted as [operations](Self::operations).
    fn products_ns(&self, call: &Call, cpu: &CpuModel) -> f64 {
        let executed = self.executed_macs(call, cpu.target) as f64;
        if self.input.is_float() { executed / cpu.f32 } else { 0.0 }
    }

    /// Products of floats are counted by [`Self::products_ns`].
    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        if self.input.is_float() {
            return (DType::F32, 0.0);
        }
        let columns = self.columns.max(1);
        let rows = (self.taps.len() / columns).div_ceil(2);
        // A loaded column serves all pixels whose windows contain it.
        let step = match self.taps.get(1) {
            Some(tap) if columns > 1 => {
                (distances(&call.operands[0], self.strides)[2] / (tap - self.taps[0]).max(1)).unsigned_abs()
            }
            _ => 1,
        };
        // Each pair is interleaved and widened, then multiplied and added.
        let each = rows * 2 * step.clamp(1, columns) + 2 * self.pairs().len();
        (DType::I32, call.results() * each as f64)
    }

    fn shape(&self, call: &Call) -> String {
        let Depthwise { taps, columns, channels, .. } = self;
        let [batch, rows, cols] = call.output.grid.pixels();
        let window = format!("{}x{columns}", taps.len() / (*columns).max(1));
        format!("{}x{cols}x{channels} {window}", batch * rows)
    }
}
