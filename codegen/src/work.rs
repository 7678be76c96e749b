//! What a call has to do whatever its kernel: products, other operations, bytes.
//!
//! Counted from the call's geometry alone, so that a machine's peaks turn it into a least time before anything runs. Bytes
//! that caches lose within a call are not in it, and products with padding stand apart: they are what a kernel is to be
//! measured by.

use crate::cpu::{Arithmetic, CpuModel};
use crate::kernel::Call;
use crate::kernel::operations::call_operations;
use crate::target::Target;
use crate::view::{Storage, View};

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
    /// of six where groups are joined, four for three where inputs are words, 16 of 36 of those where they
    /// are tiles (`Winograd`).
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

    /// Nanoseconds that the call takes on one core, by the cost model. Arithmetic hides the traffic, or traffic the arithmetic:
    /// what the call touches comes from the cache that has room for all of it.
    #[must_use]
    pub fn cost(&self, cpu: &CpuModel) -> f64 {
        let work = self.work(cpu.target);
        let arithmetic = self.producer.def().products_ns(self, cpu) + cpu.operations_ns(work.operations);
        let bytes = work.bytes() as f64;
        cpu.call_overhead + arithmetic.max(bytes * cpu.wait_ns(bytes))
    }

    /// The bytes of an operand that the call reads, each once.
    pub(crate) fn operand_bytes(&self, index: usize) -> u64 {
        self.producer.def().operand_bytes(self, index)
    }

    /// The bytes of the result.
    pub(crate) fn output_bytes(&self) -> u64 {
        self.output.distinct_bytes()
    }

    /// The kernel's name: its family, and for products its input and tile.
    #[must_use]
    pub fn kernel(&self) -> String {
        self.producer.name()
    }

    /// The extents that decide about the time: `M x K x N` of a product, pixels, taps and channels of a depthwise
    /// convolution, else those of the result.
    #[must_use]
    pub fn shape(&self) -> String {
        self.producer.def().shape(self)
    }
}

#[cfg(test)]
mod tests;
