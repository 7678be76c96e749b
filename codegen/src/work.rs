//! Counts the work of a call: products, other operations, bytes.
//!
//! The counts depend only on the call's geometry. With a machine's peak rates they give the least time of the call
//! before anything runs. Bytes are counted once, as if caches lost nothing within a call. Products on padding are
//! counted apart from the products of the result.

use crate::cpu::{Arithmetic, CpuModel};
use crate::kernel::Call;
use crate::kernel::operations::call_operations;
use crate::target::Target;
use crate::view::{Storage, View};

/// The work of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Multiply-accumulates that the result requires.
    pub macs: u64,
    /// Multiply-accumulates that the kernel executes: with padding of runs and channels to whole vectors, and with
    /// extra groups.
    pub executed_macs: u64,
    /// The type of the factors.
    pub arithmetic: Arithmetic,
    /// Instructions per product, relative to the target's dot sequence, whose rate is the measured peak: 5/6 if groups
    /// are joined, 4/3 if inputs are words, 16/36 of that for Winograd's tiles.
    pub instructions: f64,
    /// Operations on 32-bit lanes besides products: the steps of the epilogue, the stores, and all other instructions
    /// of the kernel. An instruction on several bytes of a lane counts as a fraction for each byte.
    pub operations: f64,
    /// Bytes of the operands in buffers, each counted once.
    pub input_bytes: u64,
    /// Bytes of the constant operands, each counted once.
    pub weight_bytes: u64,
    /// Bytes of the result.
    pub output_bytes: u64,
}

impl Work {
    /// All bytes that are read or written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.input_bytes + self.weight_bytes + self.output_bytes
    }

    /// Products per byte that is read or written; 0 if there are no products.
    #[must_use]
    pub fn intensity(&self) -> f64 {
        self.macs as f64 / self.bytes().max(1) as f64
    }
}

impl Call {
    /// The work of the call on a target.
    #[must_use]
    pub fn work(&self, target: &Target) -> Work {
        let bytes_in = |constant: bool| {
            let is_wanted = |view: &View| matches!(view.storage, Storage::Const(_)) == constant;
            let operands = self.operands.iter().enumerate().filter(|(_, view)| is_wanted(view));
            operands.map(|(index, _)| self.operand_bytes(index)).sum()
        };
        let kernel = self.producer.def();
        Work {
            macs: kernel.macs(self) as u64,
            executed_macs: kernel.executed_macs(self, target) as u64,
            arithmetic: kernel.arithmetic(self),
            instructions: kernel.instructions(target),
            operations: call_operations(self, target),
            input_bytes: bytes_in(false),
            weight_bytes: bytes_in(true),
            output_bytes: self.output_bytes(),
        }
    }

    /// Nanoseconds that the call takes on one core by the cost model: the longer of its arithmetic and its memory
    /// traffic, plus an overhead. All bytes of the call come from the nearest cache that has room for all of them.
    #[must_use]
    pub fn cost(&self, cpu: &CpuModel) -> f64 {
        let work = self.work(cpu.target);
        let arithmetic = self.producer.def().products_ns(self, cpu) + cpu.operations_ns(work.operations);
        let bytes = work.bytes() as f64;
        cpu.call_overhead + arithmetic.max(bytes * cpu.wait_ns(bytes))
    }

    /// The distinct bytes of an operand that the call reads.
    pub(crate) fn operand_bytes(&self, index: usize) -> u64 {
        self.producer.def().operand_bytes(self, index)
    }

    /// The distinct bytes of the result.
    pub(crate) fn output_bytes(&self) -> u64 {
        self.output.distinct_bytes()
    }

    /// The kernel's name: its family, and for products the input type and the tile.
    #[must_use]
    pub fn kernel(&self) -> String {
        self.producer.name()
    }

    /// The extents that determine the time: `M x K x N` of a product; rows, columns, channels and window of a depthwise
    /// convolution; for other calls the extents of the result.
    #[must_use]
    pub fn shape(&self) -> String {
        self.producer.def().shape(self)
    }
}

#[cfg(test)]
mod tests;
