//! The least time of each call of a program on a machine, computed without running it.
//!
//! After Williams, Waterman and Patterson, *Roofline* (2009), with a third roof for the operations of the epilogue,
//! which use the same execution units as multiply-accumulates. The roofs are independent: a call takes at least the
//! largest of the three times, and a program at least the sum of its calls.

use eightfold_codegen::cpu::CpuModel;
use eightfold_codegen::kernel::Call;
use eightfold_codegen::program::Reach;
use eightfold_codegen::program::{Execution, Program};
use eightfold_codegen::work::Work;
use serde::Serialize;

use super::machine::MachinePeaks;
use crate::error::Error;
use crate::stages::optimize::Optimized;

/// What limits the time of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Multiply-accumulates.
    Compute,
    /// Other operations: steps, stores, and overhead inside kernels.
    Epilogue,
    /// Memory traffic.
    Memory,
    /// Multiply-accumulates including padding: rounding up to whole lanes, and extra weights where the target's
    /// products would overflow. The three bounds explain less than half of the measured time, and padding explains the
    /// rest.
    Padding,
    /// Something else: the bounds and padding explain less than half of the measured time.
    Overhead,
}

impl Limit {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Limit::Compute => "compute",
            Limit::Epilogue => "epilogue",
            Limit::Memory => "memory",
            Limit::Padding => "padding",
            Limit::Overhead => "overhead",
        }
    }
}

/// A call and its bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// The ONNX nodes that it came from, separated by commas.
    pub name: String,
    /// The kernel that runs it.
    pub kernel: String,
    /// The extents that determine its time, see [`Call::shape`].
    pub shape: String,
    /// Type of its multiply-accumulates; `None` if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<&'static str>,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Multiply-accumulates that the kernel executes, including padding.
    pub executed_macs: u64,
    /// Other operations, on 32-bit lanes.
    pub operations: f64,
    /// Bytes of operands, each counted once.
    pub input_bytes: u64,
    /// Bytes of constants, each counted once.
    pub weight_bytes: u64,
    /// Bytes of the result.
    pub output_bytes: u64,
    /// Multiply-accumulates per byte of input, weights and output.
    pub macs_per_byte: f64,
    /// Milliseconds for the multiply-accumulates at the machine's peak.
    pub compute_ms: f64,
    /// Milliseconds for the other operations.
    pub epilogue_ms: f64,
    /// Milliseconds for the memory traffic.
    pub memory_ms: f64,
}

impl Bound {
    fn of(call: &Call, work: &Work, traffic: &[Reach], cpu: &CpuModel) -> Bound {
        const MS: f64 = 1e-6;
        Bound {
            name: call.origin.clone(),
            kernel: call.kernel(),
            shape: call.shape(),
            arithmetic: (work.macs > 0).then(|| work.arithmetic.name()),
            macs: work.macs,
            executed_macs: work.executed_macs,
            operations: work.operations,
            input_bytes: work.input_bytes,
            weight_bytes: work.weight_bytes,
            output_bytes: work.output_bytes,
            macs_per_byte: work.intensity(),
            compute_ms: MS * work.instructions * work.macs as f64 / cpu.macs(work.arithmetic),
            epilogue_ms: MS * work.operations / cpu.operations,
            memory_ms: MS * traffic.iter().map(|reach| cpu.read_ns(reach.bytes, reach.distance)).sum::<f64>(),
        }
    }

    /// Bytes of input, weights and output.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.input_bytes + self.weight_bytes + self.output_bytes
    }

    /// The bound: the largest of the three times, in milliseconds.
    #[must_use]
    pub fn ms(&self) -> f64 {
        self.compute_ms.max(self.epilogue_ms).max(self.memory_ms)
    }

    /// The largest of the three.
    #[must_use]
    pub fn limit(&self) -> Limit {
        match self.ms() {
            ms if ms == self.compute_ms => Limit::Compute,
            ms if ms == self.epilogue_ms => Limit::Epilogue,
            _ => Limit::Memory,
        }
    }

    /// Executed multiply-accumulates over necessary ones, at least 1.
    #[must_use]
    pub fn padding(&self) -> f64 {
        if self.macs == 0 { 1.0 } else { self.executed_macs as f64 / self.macs as f64 }
    }

    /// What limits a call that takes `ms` milliseconds.
    #[must_use]
    pub fn limit_of(&self, ms: f64) -> Limit {
        let executed_ms = self.compute_ms * self.padding();
        match 0.5 * ms {
            half if self.ms() >= half => self.limit(),
            half if executed_ms >= half => Limit::Padding,
            _ => Limit::Overhead,
        }
    }
}

/// The bounds of an optimized graph's calls, in execution order.
///
/// # Errors
/// If an operator has no kernel, or the machine's peaks are for another target.
pub fn roofline(optimized: &Optimized, machine: &MachinePeaks) -> Result<Vec<Bound>, Error> {
    let program = optimized.program(1)?;
    bounds(&program, machine)
}

/// The bounds of a program's calls, in execution order.
pub(crate) fn bounds(program: &Program, machine: &MachinePeaks) -> Result<Vec<Bound>, Error> {
    let cpu = machine.model(program.target)?;
    let bound =
        |(run, traffic): (Execution, Vec<Reach>)| Bound::of(&run.call, &run.call.work(cpu.target), &traffic, &cpu);
    Ok(program.executions().into_iter().zip(program.traffic()).map(bound).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_three_binds_unless_it_explains_less_than_half() {
        let bound = |compute_ms, epilogue_ms, memory_ms| Bound {
            name: String::new(),
            kernel: String::new(),
            shape: String::new(),
            arithmetic: None,
            macs: 0,
            executed_macs: 0,
            operations: 0.0,
            input_bytes: 0,
            weight_bytes: 0,
            output_bytes: 0,
            macs_per_byte: 0.0,
            compute_ms,
            epilogue_ms,
            memory_ms,
        };
        assert_eq!((bound(3.0, 2.0, 1.0).ms(), bound(3.0, 2.0, 1.0).limit()), (3.0, Limit::Compute));
        assert_eq!((bound(1.0, 2.0, 1.5).ms(), bound(1.0, 2.0, 1.5).limit()), (2.0, Limit::Epilogue));
        assert_eq!((bound(1.0, 2.0, 2.5).ms(), bound(1.0, 2.0, 2.5).limit()), (2.5, Limit::Memory));
        assert_eq!(bound(1.0, 2.0, 2.5).limit_of(5.0), Limit::Memory);
        assert_eq!(bound(1.0, 2.0, 2.5).limit_of(5.1), Limit::Overhead);
        let padded = Bound { macs: 10, executed_macs: 19, ..bound(2.5, 1.0, 1.0) };
        assert_eq!([5.0, 5.1, 9.5, 9.6].map(|ms| padded.limit_of(ms)), {
            [Limit::Compute, Limit::Padding, Limit::Padding, Limit::Overhead]
        });
    }
}
