//! `eightfold bench`: time and memory of an inference, the time of each call, and the peak rates of the machine.

mod machine;
mod profile;
mod tune;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Arg, Args};
use eightfold::artifact::Artifact;
use eightfold::dataset::InputSpec;
use eightfold::measure::machine::{MachinePeaks, share_of_peak};
use eightfold::measure::profile::profile;
use eightfold::{
    Coverage, Error, Executable, OptimizeOptions, Progress as _, Provenance, Stage, check_writable, write_bytes,
};
use eightfold_codegen::target::Target;
use eightfold_ir::{Bytes, Tensor};
use serde::Serialize;

use super::arguments::{OptimizeArguments, ThreadArguments, compiled_already, is_artifact, threads_text};
use super::destination::check_extension;
use super::output::{Format, bytes, count, percent};
use super::progress::Terminal;

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(
    mut_args(compiling),
    after_help = "\
The inputs are the same noise in each run: the time depends on shapes, not on values.

A model (.onnx, .ir) is compiled in memory with the given flags, as eightfold compile would. int8 without ranges is \
calibrated on noise.

--profile times each kernel call where it runs, and sums the calls of each layer. `bound` is the least time of a \
call: the largest of three times, its multiply-accumulates at the measured peak of one core, its other operations, \
and its memory traffic. `limit` names the largest; it says overhead if the bound is less than half of the measured \
time.

--tune times every candidate by itself: tiles and loop orders of each product, band heights of each chain of calls \
and, with --threads, the ways to share a call among threads. `loss` is how much slower the cost model's choice is \
than the fastest candidate. Below each table is the error of the times that the cost model predicts. compile --tune \
stores such results.

Example:
  eightfold bench model.so --duration 3
  eightfold bench model.onnx --precision int8 --threads 2
  eightfold bench --machine -o peaks.json
  eightfold bench model.onnx --profile --precision int8
  eightfold bench model.onnx --tune --precision int8
  eightfold bench model.onnx --tune --precision int8 --threads 2"
)]
pub(crate) struct Arguments {
    /// A compiled model (.so), or a model (.onnx, .ir), which is compiled first.
    #[arg(required_unless_present = "machine", conflicts_with = "machine")]
    model: Option<PathBuf>,
    /// Measure the peak rates of one core: int8, bf16 and f32 multiply-accumulates, epilogues, reads from each cache
    /// level and memory.
    #[arg(long, group = "measured")]
    machine: bool,
    /// With --machine: also write the peaks to this file as JSON, for --peaks.
    #[arg(short, long, value_name = "FILE", requires = "machine")]
    output: Option<PathBuf>,
    /// Time each kernel call of a model.
    #[arg(long, group = "measured")]
    profile: bool,
    /// With --profile: print a row for each kernel call in execution order instead of a row for each layer.
    #[arg(long, requires = "profile")]
    calls: bool,
    /// With --profile: number of layers shown, slowest first.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "profile", conflicts_with = "calls")]
    top: usize,
    /// Time the candidates of each product, of each chain of calls that could run in bands and, with --threads, of each
    /// call that threads could share; compare the best with the choice of the cost models.
    #[arg(long, group = "measured")]
    tune: bool,
    /// Use the measured choices in this file, written by compile --tune.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["machine", "tune"])]
    tuning_file: Option<PathBuf>,
    /// Seconds to measure; at least one inference runs.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    duration: Duration,
    /// Seconds of warm-up before the measurement.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    warmup: Duration,
    #[command(flatten)]
    optimize: OptimizeArguments,
    #[command(flatten)]
    threads: ThreadArguments,
}

/// Compile options conflict with --machine; --profile runs on one thread.
fn compiling(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "model" | "machine" | "output" | "profile" | "calls" | "top" | "tune" | "tuning_file" | "duration"
        | "warmup" | "target" => arg,
        "threads" => arg.conflicts_with_all(["machine", "profile"]),
        _ => arg.conflicts_with("machine"),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    number.ok_or_else(|| "expected a number of seconds".to_owned())
}

/// The measurements.
#[derive(Serialize)]
struct Report {
    latency_ms: Latency,
    runs: usize,
    per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    macs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    macs_per_second: Option<f64>,
    /// Fraction of the peak of as many cores as there are threads; the peak is measured right after the runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_peak: Option<f64>,
    /// Inferences per second times the batch size (first dimension of the first input).
    samples_per_second: f64,
    threads: u32,
    #[serde(skip)]
    threads_text: String,
    target: String,
    arena_bytes: u64,
    /// `None`, like the two fields below, for a model that was compiled in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_bytes: Option<u64>,
    /// Peak resident memory of the process.
    peak_memory_bytes: Option<u64>,
    /// The part of the peak memory that loading and running the model added.
    model_memory_bytes: Option<u64>,
}

/// Percentiles of the time of an inference.
#[derive(Serialize)]
struct Latency {
    median: f64,
    min: f64,
    p90: f64,
    p99: f64,
}

impl Latency {
    /// Computes the percentiles; `times` is not empty.
    fn of(mut times: Vec<Duration>) -> Latency {
        times.sort_unstable();
        let ms = |index: usize| 1e3 * times[index].as_secs_f64();
        let percentile = |percent: usize| ms((times.len() * percent).div_ceil(100) - 1);
        Latency { median: ms(times.len() / 2), min: ms(0), p90: percentile(90), p99: percentile(99) }
    }
}

impl Arguments {
    /// Measures and prints.
    pub(crate) fn run(&self, format: Format, given: &[String]) -> Result<(), Error> {
        match &self.model {
            None => self.machine(format),
            Some(model) if self.profile => self.profile(model, format),
            Some(model) if self.tune => self.tune(model, format),
            Some(model) => self.latency(model, format, given),
        }
    }

    fn machine(&self, format: Format) -> Result<(), Error> {
        if let Some(path) = &self.output {
            check_extension(path, &["json"])?;
            check_writable(path)?;
        }
        let machine = MachinePeaks::measure(self.optimize.options(None)?.target)?;
        if let Some(path) = &self.output {
            write_bytes(path, format!("{}\n", machine.json()).as_bytes())?;
        }
        format.print(&machine, || machine::text(&machine))
    }

    fn profile(&self, model: &Path, format: Format) -> Result<(), Error> {
        if is_artifact(model)? {
            return Err(Error::NoCalls { path: model.to_owned() });
        }
        let progress = &mut Terminal::plain();
        let options = self.optimize.options(None)?;
        let machine = MachinePeaks::measure(options.target)?;
        let mut optimized =
            self.optimize.optimize_for_time(model, &options, self.optimize.peaks()?.as_ref(), progress)?;
        if let Some(file) = &self.tuning_file {
            optimized.tune_by(&eightfold::measure::tuning_file::read(file)?)?;
        }
        progress.finish(&[])?;
        let profile = profile(&optimized, &machine, self.duration)?;
        let report = profile::Report::of(&optimized, &machine, &profile);
        format.print(&report, || if self.calls { report.calls_text() } else { report.layers_text(self.top) })
    }

    fn tune(&self, model: &Path, format: Format) -> Result<(), Error> {
        if is_artifact(model)? {
            return Err(Error::NoCalls { path: model.to_owned() });
        }
        let progress = &mut Terminal::plain();
        let options = OptimizeOptions { threads: self.threads.count(), ..self.optimize.options(None)? };
        let optimized = self.optimize.optimize_for_time(model, &options, self.optimize.peaks()?.as_ref(), progress)?;
        let (_, measured) = eightfold::measure::tune::tune(&optimized, None, progress)?;
        progress.finish(&[])?;
        let report = tune::Report::of(&optimized, &measured);
        format.print(&report, || report.text())
    }

    /// The compiled model, and its coverage if known.
    fn load(&self, model: &Path, given: &[String]) -> Result<(Executable, Option<Coverage>), Error> {
        if is_artifact(model)? {
            // Global options, and options of the measurement itself.
            let measuring = ["--duration", "--warmup", "--format", "--verbose"];
            if let Some(option) = given.iter().find(|option| !measuring.contains(&option.as_str())) {
                return Err(compiled_already(option, model));
            }
            let provenance = Provenance::parse(&Artifact::load(model)?.interface().provenance);
            return Ok((Executable::load(model)?, provenance.map(|provenance| provenance.coverage)));
        }
        let progress = &mut Terminal::plain();
        self.threads.check(progress);
        let options = OptimizeOptions { threads: self.threads.count(), ..self.optimize.options(None)? };
        let mut optimized =
            self.optimize.optimize_for_time(model, &options, self.optimize.peaks()?.as_ref(), progress)?;
        if let Some(file) = &self.tuning_file {
            optimized.tune_by(&eightfold::measure::tuning_file::read(file)?)?;
        }
        progress.stage(Stage::Compile);
        let executable = Executable::of(&optimized)?;
        progress.finish(&[])?;
        Ok((executable, Some(optimized.coverage)))
    }

    fn latency(&self, model: &Path, format: Format, given: &[String]) -> Result<(), Error> {
        let before = memory("VmRSS:");
        let compiled = is_artifact(model)?;
        let (mut executable, coverage) = self.load(model, given)?;
        let batch = executable.inputs().first().and_then(|input| input.shape.first().copied()).unwrap_or(1);
        let inputs: Vec<Tensor> = executable.inputs().iter().map(InputSpec::noise).collect();
        let inputs: Vec<Bytes> = inputs.iter().map(Tensor::unpacked).collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(|bytes| &**bytes).collect();

        let times = measure(|| executable.run_bytes(&inputs).map(|_| ()), self.warmup, self.duration)?;
        let total: Duration = times.iter().sum();
        let (runs, latency_ms) = (times.len(), Latency::of(times));
        let variant = executable.variant();
        let seconds = latency_ms.median / 1e3;
        let macs = coverage.as_ref().map(|coverage| coverage.macs);
        // If the model was compiled here, most of the peak would be the compiler's.
        let peak = memory("VmHWM:").filter(|_| compiled);
        let size = |_| fs::metadata(model).map_err(|source| Error::Read { path: model.to_owned(), source });
        let file = compiled.then_some(()).map(size).transpose()?;
        // Measured last, because the measurement itself takes memory.
        let share_of_peak = coverage.zip(Target::find(&variant.target)).map(|(coverage, target)| {
            let share = share_of_peak(target, &coverage, seconds)?;
            Ok::<_, Error>(share / f64::from(variant.threads))
        });
        let report = Report {
            runs,
            per_second: runs as f64 / total.as_secs_f64(),
            samples_per_second: (runs * batch) as f64 / total.as_secs_f64(),
            macs,
            macs_per_second: macs.map(|macs| macs as f64 / seconds),
            share_of_peak: share_of_peak.transpose()?,
            latency_ms,
            threads: variant.threads,
            threads_text: threads_text(variant),
            target: variant.target.clone(),
            arena_bytes: variant.arena_size,
            file_bytes: file.map(|file| file.len()),
            peak_memory_bytes: peak,
            model_memory_bytes: peak.zip(before).map(|(peak, before)| peak.saturating_sub(before)),
        };
        format.print(&report, || report.text())
    }
}

/// Runs for `warmup`, then for `duration`; returns the times of the runs during `duration`.
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

/// A field of `/proc/self/status` in bytes; `None` if it is missing.
fn memory(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

impl Report {
    fn text(&self) -> String {
        let Latency { median, min, p90, p99 } = self.latency_ms;
        let samples = match self.samples_per_second > self.per_second {
            true => format!(", {:.1} samples a second,", self.samples_per_second),
            false => String::new(),
        };
        let mut lines = vec![
            format!("{median:.4} ms p50, {p90:.4} ms p90, {p99:.4} ms p99, {min:.4} ms least of {} runs", self.runs),
            format!("{:.1} inferences a second{samples} on {}, {}", self.per_second, self.threads_text, self.target),
        ];
        if let (Some(macs), Some(rate)) = (self.macs, self.macs_per_second) {
            let share = self.share_of_peak.map(|share| format!(", {} of the peak", percent(share))).unwrap_or_default();
            lines.push(format!("{:.1} GMAC/s{share} ({} MACs an inference)", rate / 1e9, count(macs)));
        }
        let file = self.file_bytes.map(|size| format!(", {} file", bytes(size))).unwrap_or_default();
        lines.push(format!("{} arena{file}", bytes(self.arena_bytes)));
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
        let Latency { median, min, p90, p99 } = Latency::of(times);
        assert_eq!((median, min, p90, p99), (101.0, 1.0, 180.0, 198.0));
        let Latency { median, min, p90, p99 } = Latency::of(vec![Duration::from_millis(7)]);
        assert_eq!((median, min, p90, p99), (7.0, 7.0, 7.0, 7.0));
    }
}
