//! `demo`: compiles the classifier in the repository in f32 and in int8, and compares the two.
//!
//! Builds the release binary, compiles `testdata/models/digits`, and reads the figures from the JSON output of
//! `eightfold eval`, `bench` and `inspect`. Fails if int8 loses more than [`MAX_TOP1_LOSS`] of top-1.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{self, Failure};
use crate::table::{self, Align};
use crate::{setup, workspace};

/// The maximum loss of top-1 of int8 against f32, as a fraction of the images.
const MAX_TOP1_LOSS: f64 = 0.005;
/// Number of alternating benchmark rounds. The best median counts, so that a disturbance of one round has no effect.
const BENCH_ROUNDS: usize = 3;
const BENCH_SECONDS: &str = "1";

/// The figures of one compiled artifact.
#[derive(Clone, Debug, Default, PartialEq)]
struct Figures {
    /// Fraction of the samples that are classified correctly.
    top1: f64,
    samples: u64,
    /// Median time of an inference on one thread.
    latency_ms: f64,
    /// Size of the shared library.
    file_bytes: u64,
    /// Peak memory of the process that ran it: the command-line tool, including LLVM.
    peak_memory_bytes: u64,
    /// Working memory: all memory that the model needs besides its file, inputs and outputs.
    arena_bytes: u64,
    /// Fraction of the multiply-accumulates in int8.
    int8_mac_share: f64,
    /// Names of the nodes that compute in float.
    float_nodes: Vec<String>,
}

/// Runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some(argument) = arguments.first() {
        return Err(Failure::Usage(format!("demo takes no arguments, got `{argument}`")));
    }
    let llvm = setup::ensure()?;
    process::run(workspace::cargo(&llvm).args(["build", "--release", "--package", "eightfold-compiler"]))?;

    let tool = Tool { program: workspace::target().join("release/eightfold") };
    let digits = workspace::root().join("testdata/models/digits");
    let folder = workspace::target().join("demo");
    std::fs::create_dir_all(&folder).map_err(|error| Failure::File { path: folder.clone(), error })?;

    let artifacts = [folder.join("digits_f32.so"), folder.join("digits_int8.so")];
    let [f32_artifact, int8_artifact] = &artifacts;
    tool.compile(&digits, f32_artifact, &["--precision", "f32"])?;
    let calibration = digits.join("digits_calibration.npz");
    tool.compile(&digits, int8_artifact, &["--calibration-data", &calibration.to_string_lossy()])?;

    let mut figures = [Figures::default(), Figures::default()];
    for (figures, artifact) in figures.iter_mut().zip(&artifacts) {
        tool.evaluate(figures, artifact, &digits.join("digits_test.npz"))?;
        tool.inspect(figures, artifact)?;
        figures.latency_ms = f64::INFINITY;
    }
    for _ in 0..BENCH_ROUNDS {
        for (figures, artifact) in figures.iter_mut().zip(&artifacts) {
            tool.bench(figures, artifact)?;
        }
    }

    let [float, int8] = &figures;
    println!("\n{}", comparison(float, int8));
    check(float, int8)
}

/// The built command line tool.
struct Tool {
    program: PathBuf,
}

impl Tool {
    fn compile(&self, digits: &Path, artifact: &Path, options: &[&str]) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        command.arg("compile").arg(digits.join("digits.onnx")).args(options).arg("-o").arg(artifact);
        process::run(&mut command)
    }

    fn evaluate(&self, figures: &mut Figures, artifact: &Path, data: &Path) -> Result<(), Failure> {
        let mut command = self.verb("eval", artifact);
        command.arg("--data").arg(data).args(["--metric", "top1"]);
        let report = Report::of(command)?;
        figures.top1 = report.fraction("/top1")?;
        figures.samples = report.count("/samples")?;
        Ok(())
    }

    fn bench(&self, figures: &mut Figures, artifact: &Path) -> Result<(), Failure> {
        let mut command = self.verb("bench", artifact);
        command.args(["--duration", BENCH_SECONDS]);
        let report = Report::of(command)?;
        figures.latency_ms = figures.latency_ms.min(report.number("/latency_ms/median")?);
        figures.peak_memory_bytes = report.count("/peak_memory_bytes")?;
        figures.arena_bytes = report.count("/arena_bytes")?;
        Ok(())
    }

    fn inspect(&self, figures: &mut Figures, artifact: &Path) -> Result<(), Failure> {
        let report = Report::of(self.verb("inspect", artifact))?;
        figures.int8_mac_share = report.fraction("/int8_mac_share")?;
        figures.float_nodes = report.names("/float_nodes")?;
        let file =
            std::fs::metadata(artifact).map_err(|error| Failure::File { path: artifact.to_path_buf(), error })?;
        figures.file_bytes = file.len();
        Ok(())
    }

    fn verb(&self, verb: &str, artifact: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(verb).arg(artifact).args(["--format", "json"]);
        command
    }
}

/// The output of a verb with `--format json`, and the command, for errors.
struct Report {
    command: String,
    json: Value,
}

impl Report {
    fn of(mut command: Command) -> Result<Report, Failure> {
        let text = process::capture(&mut command)?;
        Report::parse(process::line(&command), &text)
    }

    fn parse(command: String, text: &str) -> Result<Report, Failure> {
        match serde_json::from_str(text) {
            Ok(json) => Ok(Report { command, json }),
            Err(error) => Err(Failure::Output { command, problem: format!("not JSON: {error}") }),
        }
    }

    /// The value at a JSON pointer, read by `read`.
    fn field<T>(&self, pointer: &str, kind: &str, read: impl Fn(&Value) -> Option<T>) -> Result<T, Failure> {
        self.json.pointer(pointer).and_then(read).ok_or_else(|| Failure::Output {
            command: self.command.clone(),
            problem: format!(
                "expected {kind} at {pointer}, got {}",
                self.json.pointer(pointer).unwrap_or(&Value::Null)
            ),
        })
    }

    fn number(&self, pointer: &str) -> Result<f64, Failure> {
        self.field(pointer, "a number", Value::as_f64)
    }

    fn fraction(&self, pointer: &str) -> Result<f64, Failure> {
        let in_range = |value: &Value| value.as_f64().filter(|number| (0.0..=1.0).contains(number));
        self.field(pointer, "a number from 0 to 1", in_range)
    }

    fn count(&self, pointer: &str) -> Result<u64, Failure> {
        self.field(pointer, "a whole number", Value::as_u64)
    }

    fn names(&self, pointer: &str) -> Result<Vec<String>, Failure> {
        let names = |value: &Value| value.as_array()?.iter().map(|name| Some(name.as_str()?.to_owned())).collect();
        self.field(pointer, "an array of names", names)
    }
}

/// The table, followed by the float nodes of the int8 artifact.
fn comparison(float: &Figures, int8: &Figures) -> String {
    let percent = |fraction: f64| format!("{:.2}%", 100.0 * fraction);
    let times = |float: f64, int8: f64, word: &str| format!("{:.2}x {word}", float / int8);
    let rows = [
        ["digits".to_owned(), "f32".to_owned(), "int8".to_owned(), String::new()],
        [
            format!("top-1 of {} images", float.samples),
            percent(float.top1),
            percent(int8.top1),
            format!("{:+.2} points", 100.0 * (int8.top1 - float.top1)),
        ],
        [
            "latency, one thread".to_owned(),
            microseconds(float.latency_ms),
            microseconds(int8.latency_ms),
            times(float.latency_ms, int8.latency_ms, "faster"),
        ],
        [
            "file size".to_owned(),
            kibibytes(float.file_bytes),
            kibibytes(int8.file_bytes),
            times(float.file_bytes as f64, int8.file_bytes as f64, "smaller"),
        ],
        [
            "working memory".to_owned(),
            kibibytes(float.arena_bytes),
            kibibytes(int8.arena_bytes),
            times(float.arena_bytes as f64, int8.arena_bytes as f64, "less"),
        ],
        [
            "peak memory, tool and model".to_owned(),
            kibibytes(float.peak_memory_bytes),
            kibibytes(int8.peak_memory_bytes),
            times(float.peak_memory_bytes as f64, int8.peak_memory_bytes as f64, "less"),
        ],
        ["MACs in int8".to_owned(), percent(float.int8_mac_share), percent(int8.int8_mac_share), String::new()],
    ];
    let nodes = match int8.float_nodes.as_slice() {
        [] => "no node of the int8 artifact computes in float".to_owned(),
        nodes => format!("nodes of the int8 artifact that compute in float: {}", nodes.join(", ")),
    };
    format!("{}\n\n{nodes}", table::columns(&rows, &[Align::Left, Align::Right, Align::Right, Align::Left]))
}

fn microseconds(ms: f64) -> String {
    format!("{:.1} us", 1000.0 * ms)
}

fn kibibytes(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

/// Fails if int8 loses too much accuracy.
fn check(float: &Figures, int8: &Figures) -> Result<(), Failure> {
    let loss = float.top1 - int8.top1;
    // Compared as a number of images, so that half a point of 600 is exactly three.
    let lost = (loss * float.samples as f64).round();
    if lost > MAX_TOP1_LOSS * float.samples as f64 {
        return Err(Failure::Requirement(format!(
            "int8 loses {:.2} points of top-1 against f32; at most {:.1} are allowed",
            100.0 * loss,
            100.0 * MAX_TOP1_LOSS
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(top1: f64) -> Figures {
        Figures {
            top1,
            samples: 600,
            latency_ms: 0.04,
            file_bytes: 102_400,
            peak_memory_bytes: 4 << 20,
            arena_bytes: 34_816,
            int8_mac_share: 0.0,
            float_nodes: Vec::new(),
        }
    }

    #[test]
    fn the_table_compares_and_names_the_float_nodes() {
        let int8 = Figures {
            latency_ms: 0.016,
            file_bytes: 40_960,
            arena_bytes: 8_704,
            int8_mac_share: 0.9948,
            float_nodes: vec!["head/linear".to_owned()],
            ..figures(597.0 / 600.0)
        };
        let expected = "\
digits                              f32        int8
top-1 of 600 images              99.67%      99.50%  -0.17 points
latency, one thread             40.0 us     16.0 us  2.50x faster
file size                     100.0 KiB    40.0 KiB  2.50x smaller
working memory                 34.0 KiB     8.5 KiB  4.00x less
peak memory, tool and model  4096.0 KiB  4096.0 KiB  1.00x less
MACs in int8                      0.00%      99.48%

nodes of the int8 artifact that compute in float: head/linear";
        assert_eq!(comparison(&figures(598.0 / 600.0), &int8), expected);
    }

    #[test]
    fn more_than_half_a_point_lost_is_a_failure() {
        let float = figures(598.0 / 600.0);
        assert!(check(&float, &figures(1.0)).is_ok());
        assert!(check(&float, &figures(595.0 / 600.0)).is_ok());
        let failure = check(&float, &figures(594.0 / 600.0)).unwrap_err();
        assert!(failure.to_string().starts_with("int8 loses 0.67 points"), "{failure}");
    }

    #[test]
    fn a_field_that_is_missing_or_of_another_kind_is_named() {
        let text = r#"{"top1": 99.5, "latency_ms": {"median": 0.25}, "float_nodes": ["a", "b"], "samples": 600}"#;
        let report = Report::parse("eightfold eval".to_owned(), text).unwrap();
        assert_eq!(report.number("/latency_ms/median").unwrap(), 0.25);
        assert_eq!(report.names("/float_nodes").unwrap(), ["a", "b"]);
        assert_eq!(report.count("/samples").unwrap(), 600);
        let problem = |result: Result<f64, Failure>| result.unwrap_err().to_string();
        assert_eq!(
            problem(report.fraction("/top1")),
            "output of `eightfold eval`: expected a number from 0 to 1 at /top1, got 99.5"
        );
        assert_eq!(
            problem(report.number("/latency_ms/p99")),
            "output of `eightfold eval`: expected a number at /latency_ms/p99, got null"
        );
        assert!(Report::parse("eightfold eval".to_owned(), "top1 0.9").is_err());
    }
}
