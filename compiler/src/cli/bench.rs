//! `eightfold bench`: how long one inference takes, and how much memory.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use eightfold::artifact::Artifact;
use eightfold::dataset::InputSpec;
use eightfold::{Error, Executable, Provenance};
use eightfold_ir::DType;
use serde::Serialize;

use super::output::{Format, bytes, count};

/// See the verb's help.
#[derive(Args, Debug)]
#[command(after_help = "\
The inputs are noise, the same each time: what a compiled model does depends on shapes, not on numbers.

Example:
  eightfold bench model.so --duration 3")]
pub(crate) struct Arguments {
    /// A compiled model (.so).
    model: PathBuf,
    /// Seconds to measure; one inference is run in any case.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    duration: Duration,
    /// Seconds to run before.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    warmup: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    number.ok_or_else(|| "expected a number of seconds".to_owned())
}

/// What was measured.
#[derive(Serialize)]
struct Report {
    latency_ms: Latency,
    runs: usize,
    per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    macs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    macs_per_second: Option<f64>,
    threads: u32,
    target: String,
    arena_bytes: u64,
    file_bytes: u64,
    /// The most memory that the process ever held.
    peak_memory_bytes: Option<u64>,
    /// Of it, what loading and running the model added.
    model_memory_bytes: Option<u64>,
}

/// Times of single inferences.
#[derive(Serialize)]
struct Latency {
    median: f64,
    min: f64,
    p99: f64,
}

impl Latency {
    /// The times in any order, at least one.
    fn of(mut times: Vec<Duration>) -> Latency {
        times.sort_unstable();
        let ms = |index: usize| 1e3 * times[index].as_secs_f64();
        let p99 = (times.len() * 99).div_ceil(100) - 1;
        Latency { median: ms(times.len() / 2), min: ms(0), p99: ms(p99) }
    }
}

impl Arguments {
    /// Measures.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let before = memory("VmRSS:");
        let provenance = Provenance::parse(&Artifact::load(&self.model)?.interface().provenance);
        let mut executable = Executable::load(&self.model)?;
        let inputs: Vec<Vec<u8>> = executable.inputs().iter().map(noise).collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();

        let times = measure(|| executable.run_bytes(&inputs).map(|_| ()), self.warmup, self.duration)?;
        let total: Duration = times.iter().sum();
        let (runs, latency_ms) = (times.len(), Latency::of(times));
        let variant = executable.variant();
        let macs = provenance.map(|provenance| provenance.coverage.macs);
        let peak = memory("VmHWM:");
        let report = Report {
            runs,
            per_second: runs as f64 / total.as_secs_f64(),
            macs,
            macs_per_second: macs.map(|macs| macs as f64 / (latency_ms.median / 1e3)),
            latency_ms,
            threads: variant.threads,
            target: variant.target.clone(),
            arena_bytes: variant.arena_size,
            file_bytes: fs::metadata(&self.model)
                .map_err(|source| Error::Read { path: self.model.clone(), source })?
                .len(),
            peak_memory_bytes: peak,
            model_memory_bytes: peak.zip(before).map(|(peak, before)| peak.saturating_sub(before)),
        };
        format.print(&report, || report.text())
    }
}

/// Runs for `warmup` without and for `duration` with a look at the clock; the time of each run.
fn measure(
    mut run: impl FnMut() -> Result<(), Error>,
    warmup: Duration,
    duration: Duration,
) -> Result<Vec<Duration>, Error> {
    let begin = Instant::now();
    while begin.elapsed() < warmup {
        run()?;
    }
    let mut times = Vec::new();
    let begin = Instant::now();
    let mut last = begin;
    loop {
        run()?;
        let now = Instant::now();
        times.push(now - last);
        last = now;
        if now - begin >= duration {
            return Ok(times);
        }
    }
}

/// Numbers without a pattern: floats from 0 to 1, integers over the range of a byte, zeros where they may be positions.
fn noise(input: &InputSpec) -> Vec<u8> {
    let elements = input.shape.elements();
    let mut state = 1_u32;
    let mut next = move || {
        // Numerical Recipes' generator; the high bits are good enough here.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let mut unit = || next() as f32 / (1 << 24) as f32;
    match input.dtype {
        DType::F32 => (0..elements).flat_map(|_| unit().to_le_bytes()).collect(),
        DType::F64 => (0..elements).flat_map(|_| f64::from(unit()).to_le_bytes()).collect(),
        DType::F16 => (0..elements).flat_map(|_| half::f16::from_f32(unit()).to_le_bytes()).collect(),
        DType::Bf16 => (0..elements).flat_map(|_| half::bf16::from_f32(unit()).to_le_bytes()).collect(),
        DType::I8 | DType::U8 => (0..elements).map(|_| (256.0 * unit()) as u8).collect(),
        _ => vec![0; elements * input.dtype.byte_size()],
    }
}

/// A line of what the system says about this process's memory, in bytes; `None` where it says nothing.
fn memory(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

impl Report {
    fn text(&self) -> String {
        let Latency { median, min, p99 } = self.latency_ms;
        let mut lines = vec![
            format!("{median:.4} ms median, {min:.4} ms least, {p99:.4} ms 99th percentile of {} runs", self.runs),
            format!("{:.1} inferences a second on {} thread, {}", self.per_second, self.threads, self.target),
        ];
        if let (Some(macs), Some(rate)) = (self.macs, self.macs_per_second) {
            lines.push(format!("{:.1} GMAC/s ({} MACs an inference)", rate / 1e9, count(macs)));
        }
        lines.push(format!("{} arena, {} file", bytes(self.arena_bytes), bytes(self.file_bytes)));
        if let (Some(peak), Some(model)) = (self.peak_memory_bytes, self.model_memory_bytes) {
            lines.push(format!("{} peak memory of the process, {} of it for the model", bytes(peak), bytes(model)));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_taken_from_the_sorted_times() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let Latency { median, min, p99 } = Latency::of(times);
        assert_eq!((median, min, p99), (101.0, 1.0, 198.0));
        let Latency { median, min, p99 } = Latency::of(vec![Duration::from_millis(7)]);
        assert_eq!((median, min, p99), (7.0, 7.0, 7.0));
    }

    #[test]
    fn noise_fits_the_input_and_varies() {
        let bytes = noise(&InputSpec::new("x", DType::F32, &[2, 3]));
        let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(values.len(), 6);
        assert!(values.iter().all(|x| (0.0..1.0).contains(x)) && values[0] != values[1]);
        assert_eq!(noise(&InputSpec::new("x", DType::I64, &[2])), [0; 16]);
    }
}
