//! What a call has to do whatever its kernel: products, other operations, bytes.
//!
//! Counted from the call's geometry alone, so that a machine's peaks turn it into a least time before anything runs. Bytes
//! that caches lose within a call are not in it, and products with padding stand apart: they are what a kernel is to be
//! measured by.

use eightfold_ir::DType;

use crate::program::{Call, Depthwise, Gemm, Producer, Storage, View, Winograd};
use crate::target::{Dot, Target};

pub(crate) mod operations;

/// The numbers that products are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arithmetic {
    /// 8-bit integers, summed in 32 bits.
    Int8,
    /// bf16 numbers, summed in single precision.
    Bf16,
    /// Single-precision floats.
    F32,
}

impl Arithmetic {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Int8 => "int8",
            Arithmetic::Bf16 => "bf16",
            Arithmetic::F32 => "f32",
        }
    }
}

/// What one call has to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Products that are summed up.
    pub macs: u64,
    /// Products that the kernel does for them: with runs and channels rounded up to whole lanes, and extra entries of
    /// weights that the target's products cannot hold.
    pub executed_macs: u64,
    /// What they are products of.
    pub arithmetic: Arithmetic,
    /// Instructions of the products, as a share of those of the target's sequence, at whose rate peaks are measured: five
    /// of six where groups are joined, four for three where inputs are words ([`crate::pack`]), 16 of 36 of those where they
    /// are tiles ([`Winograd`]).
    pub instructions: f64,
    /// Operations on lanes of 32 bits besides: the steps of the epilogue and the stores, and what the producer does on the
    /// way that is no product of the target's dot sequence. Those that do several bytes at once count in parts.
    pub operations: f64,
    /// Bytes of the operands in buffers, each once.
    pub input_bytes: u64,
    /// Bytes of the constant operands, each once.
    pub weight_bytes: u64,
    /// Bytes of the result.
    pub output_bytes: u64,
}

impl Work {
    /// All bytes that go in and out.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.input_bytes + self.weight_bytes + self.output_bytes
    }

    /// Products for each byte that goes in or out; 0 without any.
    #[must_use]
    pub fn intensity(&self) -> f64 {
        self.macs as f64 / self.bytes().max(1) as f64
    }
}

impl Call {
    /// What the call has to do on a target.
    #[must_use]
    pub fn work(&self, target: &Target) -> Work {
        let bytes_in = |constant: bool| {
            let is_wanted = |view: &View| matches!(view.storage, Storage::Const(_)) == constant;
            let operands = self.operands.iter().enumerate().filter(|(_, view)| is_wanted(view));
            operands.map(|(index, _)| self.operand_bytes(index)).sum()
        };
        let arithmetic = match (&self.producer, self.operands.first().map(|view| view.dtype)) {
            // The other families take numbers of bf16 as f32.
            (Producer::Gemm(_), Some(DType::Bf16)) => Arithmetic::Bf16,
            (_, Some(dtype)) if !dtype.is_float() => Arithmetic::Int8,
            _ => Arithmetic::F32,
        };
        Work {
            macs: self.macs(),
            executed_macs: self.executed_macs(target),
            arithmetic,
            instructions: self.instructions(target),
            operations: operations::call_operations(self, target),
            input_bytes: bytes_in(false),
            weight_bytes: bytes_in(true),
            output_bytes: self.output_bytes(),
        }
    }

    /// See [`Work::instructions`].
    fn instructions(&self, target: &Target) -> f64 {
        let words = match target.dot {
            Dot::Maddubs => 4.0 / 3.0,
            Dot::Vpdpbusd => 4.0,
        };
        match &self.producer {
            Producer::Gemm(gemm) if gemm.joined => 5.0 / 6.0,
            Producer::Gemm(gemm) if gemm.input == DType::I16 => words,
            Producer::Winograd(_) => words * Winograd::POSITIONS as f64 / WINDOWS as f64,
            _ => 1.0,
        }
    }

    /// Products that the call sums up, those with padding among them; of a Winograd those of the convolution.
    fn macs(&self) -> u64 {
        let macs = match &self.producer {
            Producer::Gemm(gemm) => gemm.pixels.iter().product::<usize>() * depth(gemm) * gemm.n,
            Producer::Depthwise(Depthwise { pixels, taps, channels, .. }) => {
                pixels.iter().product::<usize>() * taps.len() * channels
            }
            Producer::Winograd(Winograd { tiles, depth, n, .. }) => {
                tiles.iter().product::<usize>() * WINDOWS * depth * n
            }
            Producer::MatMul { .. } => self.operands[0].grid.dims.last().map_or(0, |k| k * self.output.grid.elements()),
            _ => 0,
        };
        macs as u64
    }

    /// Products that the kernel does, those with zeros of its own among them.
    fn executed_macs(&self, target: &Target) -> u64 {
        let lanes = target.lanes();
        let executed = match &self.producer {
            Producer::Gemm(gemm) => {
                let vectors = gemm.n.div_ceil(lanes);
                let extra: usize = gemm.extra.iter().take(vectors).map(Vec::len).sum();
                gemm.pixels.iter().product::<usize>() * (vectors * gemm.groups() + extra) * gemm.tile.kr * lanes
            }
            Producer::Depthwise(depthwise) => {
                let Depthwise { input, pixels, taps, channels, .. } = depthwise;
                let products = if input.is_float() { taps.len() } else { 2 * depthwise.pairs().len() };
                pixels.iter().product::<usize>() * products * channels.next_multiple_of(lanes)
            }
            Producer::Winograd(Winograd { tiles, depth, n, tile, .. }) => {
                let depth = depth.next_multiple_of(tile.kr);
                tiles.iter().product::<usize>() * WINDOWS * depth * n.next_multiple_of(lanes)
            }
            _ => return self.macs(),
        };
        executed as u64
    }

    /// The bytes of an operand that the call reads, each once.
    pub(crate) fn operand_bytes(&self, index: usize) -> u64 {
        let bytes = distinct_bytes(&self.operands[index]);
        match &self.producer {
            // A stride may pass over pixels.
            Producer::Gemm(gemm) if index == 0 => {
                let read = gemm.pixels.iter().product::<usize>() * depth(gemm) * gemm.input.byte_size();
                bytes.min(read as u64)
            }
            _ => bytes,
        }
    }

    /// The bytes of the result.
    pub(crate) fn output_bytes(&self) -> u64 {
        distinct_bytes(&self.output)
    }

    /// The kernel's name: its family, and for products its input and tile.
    #[must_use]
    pub fn kernel(&self) -> String {
        let text = self.producer.to_string();
        text.split(' ').next().unwrap_or_default().to_owned()
    }

    /// The extents that decide about the time: `M x K x N` of a product, pixels, taps and channels of a depthwise
    /// convolution, else those of the result.
    #[must_use]
    pub fn shape(&self) -> String {
        match &self.producer {
            Producer::Gemm(gemm) => format!("{}x{}x{}", gemm.pixels.iter().product::<usize>(), depth(gemm), gemm.n),
            Producer::Depthwise(Depthwise { pixels: [batch, rows, cols], taps, columns, channels, .. }) => {
                let window = format!("{}x{columns}", taps.len() / (*columns).max(1));
                format!("{}x{cols}x{channels} {window}", batch * rows)
            }
            Producer::Winograd(Winograd { tiles, depth, n, .. }) => {
                let pixels = tiles.iter().product::<usize>() * Winograd::YIELD * Winograd::YIELD;
                format!("{pixels}x{}x{n}", depth * WINDOWS / (Winograd::YIELD * Winograd::YIELD))
            }
            _ => self.output.grid.dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x"),
        }
    }
}

/// Products of a 3 x 3 convolution for the pixels that a tile of a [`Winograd`] yields, for each input and output channel.
const WINDOWS: usize = 9 * Winograd::YIELD * Winograd::YIELD;

/// Products for each result.
fn depth(gemm: &Gemm) -> usize {
    gemm.runs.iter().map(|run| run.length).sum()
}

/// Bytes of a view's elements, repeated ones once.
fn distinct_bytes(view: &View) -> u64 {
    let walked = view.grid.dims.iter().zip(&view.grid.strides).map(|(dim, stride)| match stride {
        0 => (*dim).min(1),
        _ => *dim,
    });
    (walked.product::<usize>() * view.dtype.byte_size()) as u64
}

#[cfg(test)]
mod tests;
