//! `eightfold bench`: how long one inference takes, call by call if asked for, how much memory, and what the machine could
//! do.

mod machine;
mod profile;
mod tune;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Arg, Args};
use eightfold::artifact::Artifact;
use eightfold::dataset::InputSpec;
use eightfold::measure::machine::{Machine, share_of_peak};
use eightfold::measure::profile::profile;
use eightfold::{Coverage, Error, Executable, OptimizeOptions, Progress as _, Provenance, Stage};
use eightfold_codegen::target::Target;
use eightfold_ir::{Bytes, Tensor};
use serde::Serialize;

use super::arguments::{OptimizeArguments, ThreadArguments, compiled_already, is_artifact, threads_text};
use super::output::{Format, bytes, count, percent};
use super::progress::Terminal;

/// See the verb's help.
#[derive(Args, Debug)]
#[command(
    mut_args(compiling),
    after_help = "\
The inputs are noise, the same each time: what a compiled model does depends on shapes, not on numbers.

A model is compiled into this process as eightfold compile would with the same flags. int8 without ranges takes them from \
noise.

With --profile, each of its kernel calls is timed in its place, and the calls of a layer are added up. `bound` is the least time it could take: the longest of its products at the measured peak of one \
core, its other operations, and its bytes from where they are found; `limit` says which, or overhead where the bound explains \
less than half.

With --tune, what there is to choose from is timed by itself: tiles and order of loops of each product of a model, heights of \
bands of each chain of calls, and with --threads the ways in which threads can share a call. `loss` is how much longer the \
choice of the cost model takes than the best. compile --tune keeps such results.

Example:
  eightfold bench model.so --duration 3
  eightfold bench model.onnx --precision int8 --threads 2
  eightfold bench --machine
  eightfold bench model.onnx --profile --precision int8
  eightfold bench model.onnx --tune --precision int8
  eightfold bench model.onnx --tune --precision int8 --threads 2"
)]
pub(crate) struct Arguments {
    /// A compiled model (.so), or a model (.onnx, .ir), which is compiled first as eightfold compile would.
    #[arg(required_unless_present = "machine", conflicts_with = "machine")]
    model: Option<PathBuf>,
    /// Measure what one core does at most: products of int8, bf16 and f32, epilogues, reading from each level of memory.
    #[arg(long, group = "measured")]
    machine: bool,
    /// Time each kernel call of a model.
    #[arg(long, group = "measured")]
    profile: bool,
    /// With --profile: a row for each kernel call, in the order in which they run, instead of a row for each layer.
    #[arg(long, requires = "profile")]
    calls: bool,
    /// With --profile: the number of layers shown, the slowest first.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "profile", conflicts_with = "calls")]
    top: usize,
    /// Time what there is to choose from for each product of a model, each chain of calls that could run depth first, and
    /// with --threads each call that threads could share, and compare the best with what the cost models choose.
    #[arg(long, group = "measured")]
    tune: bool,
    /// Choose by the measurements in this file, which compile --tune has written.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["machine", "tune"])]
    tuning_file: Option<PathBuf>,
    /// Seconds to measure; one inference is run in any case.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    duration: Duration,
    /// Seconds to run before.
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = seconds)]
    warmup: Duration,
    #[command(flatten)]
    optimize: OptimizeArguments,
    #[command(flatten)]
    threads: ThreadArguments,
}

/// What says how to compile is not for --machine. A profile is that of one thread.
fn compiling(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "model" | "machine" | "profile" | "calls" | "top" | "tune" | "tuning_file" | "duration" | "warmup"
        | "target" => arg,
        "threads" => arg.conflicts_with_all(["machine", "profile"]),
        _ => arg.conflicts_with("machine"),
    }
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
    /// Of the peaks of as many cores as there are threads, measured just after, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_peak: Option<f64>,
    /// Inferences times the leading extent of the first input.
    samples_per_second: f64,
    threads: u32,
    #[serde(skip)]
    threads_text: String,
    target: String,
    arena_bytes: u64,
    /// Absent for a model that was compiled into this process, as the two below.
    #[serde(skip_serializing_if = "Option::is_none")]
    file_bytes: Option<u64>,
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
    p90: f64,
    p99: f64,
}

impl Latency {
    /// The times in any order, at least one.
    fn of(mut times: Vec<Duration>) -> Latency {
        times.sort_unstable();
        let ms = |index: usize| 1e3 * times[index].as_secs_f64();
        let percentile = |percent: usize| ms((times.len() * percent).div_ceil(100) - 1);
        Latency { median: ms(times.len() / 2), min: ms(0), p90: percentile(90), p99: percentile(99) }
    }
}

impl Arguments {
    /// Measures.
    pub(crate) fn run(&self, format: Format, given: &[String]) -> Result<(), Error> {
        match &self.model {
            None => {
                let machine = Machine::measure(self.optimize.options(None)?.target)?;
                format.print(&machine, || machine::text(&machine))
            }
            Some(model) if self.profile => self.profile(model, format),
            Some(model) if self.tune => self.tune(model, format),
            Some(model) => self.latency(model, format, given),
        }
    }

    fn profile(&self, model: &Path, format: Format) -> Result<(), Error> {
        if is_artifact(model)? {
            return Err(Error::NoCalls { path: model.to_owned() });
        }
        let progress = &mut Terminal::plain();
        let options = self.optimize.options(None)?;
        let machine = Machine::measure(options.target)?;
        let mut optimized = self.optimize.optimize_for_time(model, &options, progress)?;
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
        let optimized = self.optimize.optimize_for_time(model, &options, progress)?;
        let (_, measured) = eightfold::measure::tune::tune(&optimized, None, progress)?;
        progress.finish(&[])?;
        let report = tune::Report::of(&optimized, &measured);
        format.print(&report, || report.text())
    }

    /// The compiled model, with what it computes in which precision if that is known.
    fn load(&self, model: &Path, given: &[String]) -> Result<(Executable, Option<Coverage>), Error> {
        if is_artifact(model)? {
            // Global options, and those that say how to measure.
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
        let mut optimized = self.optimize.optimize_for_time(model, &options, progress)?;
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
        // Of a model that was compiled here, most would be the compiler's.
        let peak = memory("VmHWM:").filter(|_| compiled);
        let size = |_| fs::metadata(model).map_err(|source| Error::Read { path: model.to_owned(), source });
        let file = compiled.then_some(()).map(size).transpose()?;
        // Measured last: what measures takes memory, too.
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

/// A line of what the system says about this process's memory, in bytes; `None` where it says nothing.
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
