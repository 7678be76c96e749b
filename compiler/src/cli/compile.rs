//! `eightfold compile`: from a model to an artifact.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use eightfold::provenance::Calibration;
use eightfold::{
    Compiled, Coverage, Error, OptimizeOptions, Optimized, Progress as _, Stage, check_writable, write_bytes,
};
use eightfold_codegen::compile::Listings;
use eightfold_codegen::interface::c_identifier;
use eightfold_codegen::object::Linker;
use eightfold_passes::Precision;
use serde::Serialize;

use super::arguments::{OptimizeArguments, Percentage, ThreadArguments, threads_text};
use super::output::{Format, bytes};
use super::progress::{PassArguments, Terminal};
use super::tuning::{TuningArguments, TuningReport};

/// See the verb's help.
#[derive(Args, Debug)]
#[command(after_help = "\
With one form to emit, -o names its file; with several, each file takes its own extension.

Example:
  eightfold compile model.onnx -o model.so --calibration-data images.npz --require-int8 95%
  eightfold compile model.onnx -o model.so --emit=shared,header --target x86-64-v4-vnni --dim batch=4
  eightfold compile model.onnx -o model.so --threads 2
  eightfold compile model.onnx -o model.so --tune
  eightfold compile model.onnx -o model.so --tuning-file model.tuning")]
pub(crate) struct Arguments {
    /// An ONNX model, or a graph in text form (.ir).
    model: PathBuf,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What to write.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "shared")]
    emit: Vec<Emit>,
    #[command(flatten)]
    optimize: OptimizeArguments,
    #[command(flatten)]
    threads: ThreadArguments,
    #[command(flatten)]
    tuning: TuningArguments,
    /// The C identifier that the exported symbol starts with; by default made of the model's file name.
    #[arg(long, value_name = "SYMBOL")]
    name: Option<String>,
    /// Fail unless this share of the multiply-accumulates is in int8.
    #[arg(long, value_name = "PERCENT")]
    require_int8: Option<Percentage>,
    #[command(flatten)]
    passes: PassArguments,
}

/// A form that a compiled model can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Emit {
    /// A shared library (.so) with the runtime in it.
    Shared,
    /// An object file (.o), complete in itself.
    Object,
    /// The C header (.h).
    Header,
    /// The assembly (.s).
    Asm,
    /// LLVM IR (.ll).
    LlvmIr,
    /// The graph after all passes (.ir).
    Ir,
    /// Which kernels run on which bytes (.program).
    Program,
}

impl Emit {
    fn extension(self) -> &'static str {
        match self {
            Emit::Shared => "so",
            Emit::Object => "o",
            Emit::Header => "h",
            Emit::Asm => "s",
            Emit::LlvmIr => "ll",
            Emit::Ir => "ir",
            Emit::Program => "program",
        }
    }
}

impl Arguments {
    /// Compiles.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let progress = &mut Terminal::new(&self.passes)?;
        check_writable(&self.output)?;
        let options = self.optimize.options(self.passes.pass_limit)?;
        let options = OptimizeOptions { threads: self.threads.count(), ..options };
        let mut optimized = self.optimize.optimize(&self.model, &options, progress)?;
        self.check_int8(&optimized.coverage)?;
        let tuning = self.tuning.apply(&mut optimized, &self.output, progress)?;

        progress.stage(Stage::Compile);
        let symbol = self.name.clone().unwrap_or_else(|| c_identifier(&optimized.name));
        let listings =
            Listings { assembly: self.emit.contains(&Emit::Asm), llvm_ir: self.emit.contains(&Emit::LlvmIr) };
        let compiled = eightfold::compile(&optimized, &symbol, listings)?;

        progress.stage(Stage::Link);
        let outputs = self.write(&optimized, &compiled)?;
        progress.finish(&optimized.reports)?;
        if optimized.precision == Precision::Bf16 && !optimized.target.bf16 {
            let target = optimized.target.name;
            anstream::eprintln!("{target} has no products of bf16: f32 instructions compute them, no faster than f32");
        }
        let report = Report { tuning, ..Report::new(outputs, &optimized, &compiled, progress) };
        format.print(&report, || report.text())
    }

    fn check_int8(&self, coverage: &Coverage) -> Result<(), Error> {
        let Some(Percentage(required)) = self.require_int8 else { return Ok(()) };
        let share = coverage.int8_share();
        if share >= required {
            return Ok(());
        }
        Err(Error::Int8Share { share, required, float_nodes: coverage.float_nodes.clone() })
    }

    /// Writes all forms asked for, each whole or not at all; the shared library first, since linking can fail.
    fn write(&self, optimized: &Optimized, compiled: &Compiled) -> Result<Vec<Output>, Error> {
        let mut forms: Vec<Emit> = Vec::new();
        for &form in &self.emit {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        forms.sort_by_key(|form| *form != Emit::Shared);
        let alone = forms.len() == 1;
        let listing = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
        let mut outputs = Vec::new();
        for form in forms {
            let path = if alone { self.output.clone() } else { self.output.with_extension(form.extension()) };
            match form {
                Emit::Shared => compiled.link(&Linker::from_env(), &path)?,
                Emit::Object => write_bytes(&path, &compiled.object)?,
                Emit::Header => write_bytes(&path, compiled.header()?.as_bytes())?,
                Emit::Asm => write_bytes(&path, &listing(&compiled.assembly))?,
                Emit::LlvmIr => write_bytes(&path, &listing(&compiled.llvm_ir))?,
                Emit::Ir => write_bytes(&path, eightfold_ir::print_full(&optimized.graph).as_bytes())?,
                Emit::Program => write_bytes(&path, compiled.program.to_string().as_bytes())?,
            }
            outputs.push(Output::of(form, &path)?);
        }
        Ok(outputs)
    }
}

/// A file that was written.
#[derive(Serialize)]
struct Output {
    form: &'static str,
    path: String,
    bytes: u64,
}

impl Output {
    fn of(form: Emit, path: &Path) -> Result<Output, Error> {
        let metadata = fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Ok(Output { form: form.extension(), path: path.display().to_string(), bytes: metadata.len() })
    }
}

/// What was compiled.
#[derive(Serialize)]
struct Report {
    outputs: Vec<Output>,
    symbol: String,
    target: &'static str,
    threads: u32,
    #[serde(skip)]
    threads_text: String,
    precision: String,
    calibration: Option<Calibration>,
    /// Whether the weights that were quantized here are small enough for four products to fit 16 bits.
    reduced_range: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tuning: Option<TuningReport>,
    #[serde(flatten)]
    coverage: super::inspect::CoverageReport,
    arena_bytes: u64,
    arena_bound_bytes: u64,
    code_bytes: u64,
    weight_bytes: u64,
    stage_seconds: Vec<(&'static str, f64)>,
    compile_seconds: f64,
}

impl Report {
    fn new(outputs: Vec<Output>, optimized: &Optimized, compiled: &Compiled, progress: &Terminal) -> Report {
        let stages = progress.stages();
        Report {
            outputs,
            symbol: compiled.interface.query_symbol(),
            target: optimized.target.name,
            threads: compiled.interface.variants[0].threads,
            threads_text: threads_text(&compiled.interface.variants[0]),
            precision: optimized.precision.to_string(),
            calibration: compiled.provenance.clone().brief().calibration,
            reduced_range: compiled.provenance.calibration.is_some()
                && compiled.provenance.options.get("reduce_range").is_some_and(|on| on == "true"),
            tuning: None,
            coverage: (&optimized.coverage).into(),
            arena_bytes: compiled.program.arena_size as u64,
            arena_bound_bytes: compiled.provenance.arena_bound_bytes,
            code_bytes: compiled.code_bytes(),
            weight_bytes: compiled.provenance.weight_bytes,
            stage_seconds: stages.iter().map(|(stage, time)| (*stage, time.as_secs_f64())).collect(),
            compile_seconds: stages.iter().map(|(_, time)| time.as_secs_f64()).sum(),
        }
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self.outputs.iter().map(|o| format!("{}  {}", o.path, bytes(o.bytes))).collect();
        let mut line = |name: &str, value: String| lines.push(format!("  {name:<12}{value}"));
        line("target", self.target.to_owned());
        if self.threads > 1 {
            line("threads", self.threads_text.clone());
        }
        line("precision", self.precision.clone());
        line(self.coverage.share_name(), self.coverage.share_text());
        if let Some(Calibration { calibrator, samples, .. }) = &self.calibration {
            line("calibration", format!("{calibrator} on {samples} samples"));
        }
        if self.reduced_range {
            line("range", "of weights reduced: four products fit 16 bits (--reduce-range=never: whole)".to_owned());
        }
        if let Some(tuning) = &self.tuning {
            let mut name = "tuning";
            for text in tuning.text() {
                line(std::mem::take(&mut name), text);
            }
        }
        let (arena, bound) = (bytes(self.arena_bytes), bytes(self.arena_bound_bytes));
        line("arena", format!("{arena}, of which {bound} are needed at once"));
        line("code", bytes(self.code_bytes));
        line("weights", bytes(self.weight_bytes));
        let stages: Vec<String> = self.stage_seconds.iter().map(|(stage, s)| format!("{stage} {s:.2}")).collect();
        line("time", format!("{:.2} s ({})", self.compile_seconds, stages.join(", ")));
        if self.precision != "f32" {
            lines.extend(self.coverage.float_lines());
        }
        lines.join("\n")
    }
}
