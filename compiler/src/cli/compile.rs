//! `eightfold compile`: compiles a model to an artifact.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use eightfold::artifact::provenance::CalibrationRecord;
use eightfold::driver::{Built, Request, build};
use eightfold::host::output_file::is_same_file;
use eightfold::{Compiled, Error, OptimizeOptions, Optimized};
use eightfold_codegen::interface::c_identifier;
use eightfold_codegen::llvm::artifact::Listings;
use eightfold_ir::Precision;

use serde::Serialize;

use super::arguments::{OptimizeArguments, Percentage, ThreadArguments, threads_text};
use super::coverage::CoverageReport;
use super::destination::{Destination, check_extension, known_extension};
use super::output::{Format, arena_text, bytes};
use super::progress::{PassArguments, Terminal};
use super::tuning::{TuningArguments, TuningReport};

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(after_help = "\
The extension of -o selects the output: .so a shared library, .o an object file, .h the C header, .s assembly, .ll \
LLVM IR, .ir the graph, .program the kernel calls; no extension means a shared library. If --emit lists several \
forms, each is written to the name of -o with its own extension.

Example:
  eightfold compile model.onnx -o model.so --calibration-data images.npz --require-int8 95%
  eightfold compile model.onnx -o model.so --emit=shared,header --target x86-64-v4-vnni --dim batch=4
  eightfold compile model.onnx -o - --emit program
  eightfold compile model.onnx -o model.so --threads 2
  eightfold compile model.onnx -o model.so --tune
  eightfold compile model.onnx -o model.so --tuning-file model.tuning
  eightfold compile model.onnx -o model.so --peaks peaks.json")]
pub(crate) struct Arguments {
    /// An ONNX model, or a graph in text form (.ir).
    model: PathBuf,
    /// The file to write; - prints a text form to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Destination,
    /// Forms to write; by default the form of the output's extension.
    #[arg(long, value_enum, value_delimiter = ',')]
    emit: Vec<Emit>,
    #[command(flatten)]
    optimize: OptimizeArguments,
    #[command(flatten)]
    threads: ThreadArguments,
    #[command(flatten)]
    tuning: TuningArguments,
    /// Prefix of the exported C symbol; by default derived from the output's file name.
    #[arg(long, value_name = "SYMBOL")]
    name: Option<String>,
    /// Fail if less than this share of the multiply-accumulates is in int8.
    #[arg(long, value_name = "PERCENT")]
    require_int8: Option<Percentage>,
    #[command(flatten)]
    passes: PassArguments,
}

/// An output form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Emit {
    /// A shared library (.so) that includes the runtime.
    Shared,
    /// A complete object file (.o).
    Object,
    /// The C header (.h).
    Header,
    /// The assembly (.s).
    Asm,
    /// LLVM IR (.ll).
    LlvmIr,
    /// The graph after all passes (.ir).
    Ir,
    /// The program: kernel calls and their memory (.program).
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

    fn is_text(self) -> bool {
        !matches!(self, Emit::Shared | Emit::Object)
    }

    /// The form with this extension.
    fn of_extension(extension: &str) -> Option<Emit> {
        Emit::value_variants().iter().copied().find(|form| form.extension() == extension)
    }
}

impl Arguments {
    /// Compiles.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let progress = &mut Terminal::new(&self.passes)?;
        let outputs = self.outputs()?;
        for (form, destination) in &outputs {
            destination.check(&[form.extension()])?;
        }
        let tuning_file = self.tuning.file(&self.output)?;
        if let (Some(tuning), Destination::File(output)) = (&tuning_file, &self.output)
            && is_same_file(&tuning.path, output)
        {
            return Err(Error::Usage(format!(
                "{}: the output and the tuning file need different names",
                tuning.path.display()
            )));
        }
        let options = self.optimize.options(self.passes.pass_limit)?;
        let options = OptimizeOptions { threads: self.threads.count(), ..options };
        self.threads.check(progress);
        let library = outputs.iter().find(|(form, _)| *form == Emit::Shared);
        let library = library.map(|(_, destination)| destination.file("a shared library")).transpose()?;
        let wants = |form| outputs.iter().any(|(wanted, _)| *wanted == form);
        let request = Request {
            model: self.model.clone(),
            import: self.optimize.import.options()?,
            options,
            keep_float: self.optimize.scheme.keep_float.clone(),
            ranges: self.optimize.calibration.ranges()?,
            required_int8: self.require_int8.map(|Percentage(required)| required),
            peaks: self.optimize.peaks()?,
            tuning: tuning_file,
            symbol: self.name.clone().or_else(|| self.stem().map(|stem| c_identifier(&stem))),
            listings: Listings { assembly: wants(Emit::Asm), llvm_ir: wants(Emit::LlvmIr) },
            library: library.map(Path::to_owned),
            keep_graph: wants(Emit::Ir),
        };
        let Built { optimized, tuned, compiled } = build(&request, progress)?;
        let outputs = write(&outputs, &optimized, &compiled)?;
        progress.finish(&optimized.reports)?;
        if optimized.precision == Precision::Bf16 && !optimized.target.bf16 {
            let target = optimized.target.name;
            anstream::eprintln!("{target} has no products of bf16: f32 instructions compute them, no faster than f32");
        }
        let tuning = tuned.as_ref().map(TuningReport::of);
        let report = Report { tuning, ..Report::new(outputs, &optimized, &compiled, progress) };
        format.print_beside(&self.output, &report, || report.text(format))
    }

    /// The forms to write with their destinations. The shared library comes first because it is linked before the
    /// others are written.
    fn outputs(&self) -> Result<Vec<(Emit, Destination)>, Error> {
        let extension = match &self.output {
            Destination::File(path) => path.extension().and_then(|extension| extension.to_str()),
            Destination::Stdout => None,
        };
        let mut forms: Vec<Emit> = Vec::new();
        for &form in &self.emit {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        if forms.is_empty() {
            forms.push(match (&self.output, extension) {
                (Destination::Stdout, _) => {
                    return Err(Error::Usage(
                        "-o -: choose the form to print with --emit: header, asm, llvm-ir, ir or program".to_owned(),
                    ));
                }
                (_, None) => Emit::Shared,
                (Destination::File(path), Some(extension)) => {
                    Emit::of_extension(extension).ok_or_else(|| unknown_extension(path))?
                }
            });
        }
        forms.sort_by_key(|form| *form != Emit::Shared);
        let path = match &self.output {
            Destination::File(path) => path,
            Destination::Stdout => {
                return match forms[..] {
                    [form] if form.is_text() => Ok(vec![(form, Destination::Stdout)]),
                    [_] => self.output.file("machine code").map(|_| Vec::new()),
                    _ => Err(Error::Usage("-o -: standard output takes one form, --emit names several".to_owned())),
                };
            }
        };
        let known = known_extension(path);
        if forms.len() == 1 {
            return Ok(vec![(forms[0], self.output.clone())]);
        }
        let extensions: Vec<&str> = forms.iter().map(|form| form.extension()).collect();
        check_extension(path, &extensions)?;
        // Only an extension of a known form is replaced: `net_1.0` becomes `net_1.0.so`.
        let stem = if known.is_some() { path.with_extension("") } else { path.clone() };
        let with = |form: Emit| {
            let mut name = stem.clone().into_os_string();
            name.push(format!(".{}", form.extension()));
            (form, Destination::File(name.into()))
        };
        Ok(forms.into_iter().map(with).collect())
    }

    /// The output's file name without its extension.
    fn stem(&self) -> Option<String> {
        let Destination::File(path) = &self.output else { return None };
        let name = if known_extension(path).is_some() { path.file_stem() } else { path.file_name() };
        name.map(|name| name.to_string_lossy().into_owned())
    }
}

/// The error for an unknown extension of the output.
fn unknown_extension(path: &Path) -> Error {
    let forms = Emit::value_variants().iter().map(|form| format!(".{}", form.extension()));
    let forms = forms.collect::<Vec<_>>().join(", ");
    Error::Usage(format!("{}: the extension names no form, expected one of {forms}, or --emit", path.display()))
}

/// Writes all forms but the shared library, which is already linked. Each file appears complete or not at all.
fn write(outputs: &[(Emit, Destination)], optimized: &Optimized, compiled: &Compiled) -> Result<Vec<Output>, Error> {
    let listing = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut written = Vec::new();
    for (form, destination) in outputs {
        let text = match form {
            Emit::Shared => None,
            Emit::Object => {
                compiled.write_object(destination.file("an object file")?)?;
                None
            }
            Emit::Header => Some(compiled.header()?),
            Emit::Asm => Some(listing(&compiled.assembly)),
            Emit::LlvmIr => Some(listing(&compiled.llvm_ir)),
            Emit::Ir => Some(eightfold_ir::print_full(&optimized.graph)),
            Emit::Program => Some(compiled.program.to_string()),
        };
        let bytes = match text {
            Some(text) => {
                destination.write(&text)?;
                text.len() as u64
            }
            None => {
                let path = destination.file("machine code")?;
                fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?.len()
            }
        };
        written.push(Output { form: form.extension(), path: destination.name(), bytes });
    }
    Ok(written)
}

/// A file that was written.
#[derive(Serialize)]
struct Output {
    form: &'static str,
    path: String,
    bytes: u64,
}

/// The result of a compilation.
#[derive(Serialize)]
struct Report {
    outputs: Vec<Output>,
    symbol: String,
    target: &'static str,
    threads: u32,
    #[serde(skip)]
    threads_text: String,
    precision: String,
    calibration: Option<CalibrationRecord>,
    /// Whether weights were quantized with a reduced range, in which the sum of four products fits 16 bits.
    reduced_range: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tuning: Option<TuningReport>,
    #[serde(flatten)]
    coverage: CoverageReport,
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
            coverage: CoverageReport::new(&optimized.coverage, &optimized.precision.to_string()),
            arena_bytes: compiled.program.arena_size as u64,
            arena_bound_bytes: compiled.provenance.arena_bound_bytes,
            code_bytes: compiled.code_bytes(),
            weight_bytes: compiled.provenance.weight_bytes,
            stage_seconds: stages.iter().map(|(stage, time)| (*stage, time.as_secs_f64())).collect(),
            compile_seconds: stages.iter().map(|(_, time)| time.as_secs_f64()).sum(),
        }
    }

    fn text(&self, format: Format) -> String {
        let mut lines: Vec<String> = self.outputs.iter().map(|o| format!("{}  {}", o.path, bytes(o.bytes))).collect();
        let mut line = |name: &str, value: String| lines.push(format!("  {name:<12}{value}"));
        line("symbol", self.symbol.clone());
        line("target", self.target.to_owned());
        if self.threads > 1 {
            line("threads", self.threads_text.clone());
        }
        line("precision", self.precision.clone());
        line(self.coverage.share_name(), self.coverage.share_text());
        if let Some(CalibrationRecord { calibrator, samples, .. }) = &self.calibration {
            line("calibration", format!("{calibrator} on {samples} samples"));
        }
        if self.reduced_range {
            let range = "of weights reduced: sums of four products fit 16 bits (--reduce-range=never: full range)";
            line("range", range.to_owned());
        }
        if let Some(tuning) = &self.tuning {
            let mut name = "tuning";
            for text in tuning.text() {
                line(std::mem::take(&mut name), text);
            }
        }
        line("arena", arena_text(self.arena_bytes, self.arena_bound_bytes));
        line("code", bytes(self.code_bytes));
        line("weights", bytes(self.weight_bytes));
        let stages: Vec<String> = self.stage_seconds.iter().map(|(stage, s)| format!("{stage} {s:.2}")).collect();
        line("time", format!("{:.2} s ({})", self.compile_seconds, stages.join(", ")));
        if self.precision != "f32" {
            lines.extend(self.coverage.float_lines(format));
        }
        lines.join("\n")
    }
}
