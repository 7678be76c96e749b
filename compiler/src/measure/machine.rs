//! Peak rates of one core, measured here or read from a file.

use std::fs;
use std::path::Path;

use eightfold_codegen::cpu::{self, CpuModel, Rates};
use eightfold_codegen::llvm::artifact::CompileError;
use eightfold_codegen::llvm::peaks::{self, Peaks};
use eightfold_codegen::target::Target;
use eightfold_ir::DType;
use serde::{Deserialize, Serialize};

use crate::artifact::provenance::PeaksRecord;
use crate::error::Error;
use crate::report::coverage::Coverage;
use crate::stages::optimize::Optimized;

/// Buffer size for measuring memory: several times one core's share of today's caches.
const MEMORY_BYTES: u64 = 128 << 20;

/// Peak rates of one core, with the instructions of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachinePeaks {
    /// The CPU's name according to the system; may be empty.
    pub cpu: String,
    /// The target whose instructions were measured.
    pub target: String,
    /// Multiply-accumulates of 8-bit integers with the target's instruction sequence.
    pub int8_macs_per_second: f64,
    /// Multiply-accumulates of f32.
    pub f32_macs_per_second: f64,
    /// Multiply-accumulates of bf16 into f32; `None` if the target has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bf16_macs_per_second: Option<f64>,
    /// Operations on 32-bit lanes, at the rate of requantization.
    pub operations_per_second: f64,
    /// The caches, nearest first, then memory.
    pub levels: Vec<Level>,
}

/// A cache level, or memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// `L1`, `L2`, …, `memory`.
    pub name: String,
    /// Its size; `None` for memory.
    pub bytes: Option<u64>,
    /// Bytes per second that one core reads from it sequentially.
    pub read_bytes_per_second: f64,
}

impl MachinePeaks {
    /// Measures this machine, in about a second.
    ///
    /// # Errors
    /// [`Error::TargetNotHere`], or LLVM fails.
    pub fn measure(target: &'static Target) -> Result<MachinePeaks, Error> {
        let caches = runs_here(target).map(|()| caches())?;
        // A buffer of half of a private cache surely stays in it; of a cache that cores share, a quarter.
        let within = |cache: &Cache| cache.bytes / if cache.level < 3 { 2 } else { 4 };
        let sets: Vec<usize> = caches.iter().map(within).chain([MEMORY_BYTES]).map(|bytes| bytes as usize).collect();
        let Peaks { int8, f32, bf16, operations, reads } =
            peaks::measure(target, &sets).map_err(|error| Error::Compile(CompileError::Machine(error)))?;
        let names = caches.iter().map(|cache| (format!("L{}", cache.level), Some(cache.bytes)));
        let names = names.chain([("memory".to_owned(), None)]);
        let level = |((name, bytes), rate)| Level { name, bytes, read_bytes_per_second: rate };
        Ok(MachinePeaks {
            cpu: cpu_name().unwrap_or_default(),
            target: target.name.to_owned(),
            int8_macs_per_second: int8,
            f32_macs_per_second: f32,
            bf16_macs_per_second: bf16,
            operations_per_second: operations,
            levels: names.zip(reads).map(level).collect(),
        })
    }

    /// The peaks as JSON, in one line.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("plain data: {error}"))
    }

    /// Reads a file that `eightfold bench --machine` wrote.
    ///
    /// # Errors
    /// If the file cannot be read or is invalid.
    pub fn read(path: &Path) -> Result<MachinePeaks, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let machine: MachinePeaks =
            serde_json::from_str(&text).map_err(|source| Error::Peaks { path: path.to_owned(), source })?;
        let rates = [machine.int8_macs_per_second, machine.f32_macs_per_second, machine.operations_per_second];
        let bandwidths = machine.levels.iter().map(|level| level.read_bytes_per_second);
        let rates = rates.into_iter().chain(machine.bf16_macs_per_second);
        let positive = rates.chain(bandwidths).all(|rate| rate.is_finite() && rate > 0.0);
        match positive && machine.levels.last().is_some_and(|last| last.bytes.is_none()) {
            true => Ok(machine),
            false => Err(Error::ImpossiblePeaks { path: path.to_owned() }),
        }
    }

    /// The machine as the cost models see it.
    ///
    /// # Errors
    /// [`Error::PeaksTarget`] if another target's instructions were measured.
    pub fn model(&self, target: &'static Target) -> Result<CpuModel, Error> {
        if self.target != target.name {
            return Err(Error::PeaksTarget { expected: target.name, got: self.target.clone() });
        }
        const PER_NANOSECOND: f64 = 1e-9;
        let level =
            |level: &Level| cpu::Level { bytes: level.bytes, rate: PER_NANOSECOND * level.read_bytes_per_second };
        let rates = Rates {
            int8: PER_NANOSECOND * self.int8_macs_per_second,
            bf16: self.bf16_macs_per_second.map(|rate| PER_NANOSECOND * rate),
            f32: PER_NANOSECOND * self.f32_macs_per_second,
            operations: PER_NANOSECOND * self.operations_per_second,
            levels: self.levels.iter().map(level).collect(),
        };
        Ok(CpuModel::measured(target, rates))
    }

    /// Lets the cost models go by this machine when they choose how a graph runs.
    ///
    /// # Errors
    /// [`Error::PeaksTarget`] if another target's instructions were measured.
    pub fn choose(&self, optimized: &mut Optimized) -> Result<(), Error> {
        optimized.choose_for(self.model(optimized.target)?, PeaksRecord::of(&self.cpu, self.json()));
        Ok(())
    }
}

/// The fraction of one core's peak that the multiply-accumulates of `coverage` reach in `seconds`, each kind relative
/// to its own peak. bf16 counts as f32 if the target has no bf16 products. Only the needed peaks are measured.
///
/// # Errors
/// [`Error::TargetNotHere`], or LLVM fails.
pub fn share_of_peak(target: &'static Target, coverage: &Coverage, seconds: f64) -> Result<f64, Error> {
    runs_here(target)?;
    let mut at_peak = 0.0;
    let Coverage { macs, int8_macs, bf16_macs, .. } = *coverage;
    let bf16_macs = if target.bf16 { bf16_macs } else { 0 };
    let f32_macs = macs.saturating_sub(int8_macs + bf16_macs);
    for (macs, input) in [(int8_macs, DType::U8), (bf16_macs, DType::Bf16), (f32_macs, DType::F32)] {
        if macs > 0 {
            let peak = peaks::products(target, input).map_err(|error| Error::Compile(CompileError::Machine(error)))?;
            at_peak += macs as f64 / peak;
        }
    }
    Ok(at_peak / seconds)
}

/// Fails if this CPU does not run the target.
pub(crate) fn runs_here(target: &'static Target) -> Result<(), Error> {
    match target.runs_here() {
        true => Ok(()),
        false => Err(Error::TargetNotHere { target: target.name }),
    }
}

/// A data cache.
struct Cache {
    level: u32,
    bytes: u64,
}

/// The data caches of the first CPU, nearest first; empty if the system does not report them.
fn caches() -> Vec<Cache> {
    let cache = |index: usize| {
        let field = |name: &str| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}");
            fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
        };
        Some((field("type")?, field("level")?.parse().ok()?, kibibytes(&field("size")?)?))
    };
    let caches = (0..).map_while(cache).filter(|(kind, ..)| kind != "Instruction");
    let mut caches: Vec<Cache> = caches.map(|(_, level, bytes)| Cache { level, bytes }).collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

/// `512K`
fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix('K')?.parse().ok().map(|number: u64| number << 10)
}

/// The CPU's name according to the system.
pub(crate) fn cpu_name() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
