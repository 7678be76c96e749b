//! `peers`: compares Eightfold with ONNX Runtime and OpenVINO in one alternating run, and checks the goals.
//!
//! `benches/peers.py` measures and writes JSON; this module prints it as tables. The compiler is built without
//! optimization, because it emits the same code. The result of a complete run that is not quick is stored in
//! `benches/results`, others in the build folder.

mod goals;
mod report;
mod run;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::goals::{GOALS, Goal};
use self::run::{Cpu, Run};
use crate::process::{self, Failure};
use crate::{python, setup, workspace, zoo};

/// The options of the task.
#[derive(Debug, PartialEq)]
struct Options {
    /// The models; all of [`GOALS`] if empty.
    models: Vec<String>,
    /// A short run, which is not stored.
    quick: bool,
    seconds: String,
    threads: String,
}

impl Options {
    fn of(arguments: &[String]) -> Result<Options, Failure> {
        let mut options =
            Options { models: Vec::new(), quick: false, seconds: "2".to_owned(), threads: "1,2".to_owned() };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next().cloned();
                value.ok_or_else(|| Failure::Usage(format!("{word} needs a value")))
            };
            match word.as_str() {
                "--seconds" => options.seconds = value()?,
                "--threads" => options.threads = value()?,
                "--quick" => {
                    options.quick = true;
                    (options.seconds, options.threads) = ("0.3".to_owned(), "1".to_owned());
                }
                name if GOALS.iter().any(|goal| goal.model == name) => options.models.push(name.to_owned()),
                other => {
                    let names: Vec<_> = GOALS.iter().map(|goal| goal.model).collect();
                    let models = names.join(", ");
                    return Err(Failure::Usage(format!("no model or option `{other}`; the models are: {models}")));
                }
            }
        }
        options
            .seconds
            .parse::<f64>()
            .ok()
            .filter(|&seconds| seconds > 0.0)
            .ok_or_else(|| Failure::Usage(format!("--seconds needs a number above 0, got `{}`", options.seconds)))?;
        if !options.threads.split(',').all(|word| word.parse().is_ok_and(|threads: usize| threads > 0)) {
            return Err(Failure::Usage(format!("--threads needs counts such as 1,2, got `{}`", options.threads)));
        }
        Ok(options)
    }

    fn wants(&self, goal: &Goal) -> bool {
        self.models.is_empty() || self.models.iter().any(|name| name == goal.model)
    }
}

/// Runs the task: measures, or shows an earlier run.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let [option, file] = arguments
        && option == "--show"
    {
        println!("{}", report::report(&read(Path::new(file))?.1));
        return Ok(());
    }
    let options = Options::of(arguments)?;
    let llvm = setup::ensure()?;
    let python = python::ensure(python::PEERS)?;
    let models = models(&options);
    if models.is_empty() {
        return Err(Failure::Requirement("none of the models is there".to_owned()));
    }
    process::run(workspace::cargo(&llvm).args(["build", "--package", "eightfold-compiler"]))?;
    process::run(workspace::cargo(&llvm).args(["build", "--package", "eightfold-codegen", "--example", "gemm_rates"]))?;

    let folder = workspace::target().join("peers");
    create(&folder)?;
    let json = folder.join("run.json");
    let mut measure = Command::new(python);
    measure.arg(workspace::root().join("benches/peers.py"));
    measure.arg("--eightfold").arg(workspace::target().join("debug/eightfold"));
    measure.arg("--rates").arg(workspace::target().join("debug/examples/gemm_rates"));
    measure.arg("--forms").arg(&folder).arg("--output").arg(&json);
    measure.args(["--seconds", &options.seconds, "--threads", &options.threads]).args(&models);
    process::run(&mut measure)?;

    let (text, run) = read(&json)?;
    let report = report::report(&run);
    println!("\n{report}");
    let kept = options.models.is_empty() && !options.quick;
    let results = if kept { workspace::root().join("benches/results") } else { folder.join("results") };
    create(&results)?;
    let stem = format!("{}-{}", run.date, slug(&run.cpu));
    for (extension, content) in [("json", &text), ("md", &report)] {
        let path = results.join(format!("{stem}.{extension}"));
        fs::write(&path, content).map_err(|error| Failure::File { path: path.clone(), error })?;
        eprintln!("peers: wrote {}", path.display());
    }
    Ok(())
}

/// The output of `benches/peers.py`, as text and parsed.
fn read(json: &Path) -> Result<(String, Run), Failure> {
    let text = fs::read_to_string(json).map_err(|error| Failure::File { path: json.to_path_buf(), error })?;
    let run = serde_json::from_str(&text).map_err(|error| Failure::Output {
        command: "benches/peers.py".to_owned(),
        problem: format!("{}: {error}", json.display()),
    })?;
    Ok((text, run))
}

/// The files of the requested models. Missing files are reported and skipped.
fn models(options: &Options) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for goal in GOALS.iter().filter(|goal| options.wants(goal)) {
        let file = if goal.network {
            zoo::build(&[goal.model.to_owned()]).map(|built| built.into_iter().collect())
        } else {
            Ok(vec![workspace::shared().join("models").join(format!("{}.onnx", goal.model))])
        };
        match file {
            Ok(file) => {
                let (there, missing): (Vec<_>, Vec<_>) = file.into_iter().partition(|file: &PathBuf| file.is_file());
                for file in missing {
                    eprintln!("peers: {} is SKIPPED: no {}", goal.model, file.display());
                }
                files.extend(there);
            }
            Err(failure) => eprintln!("peers: {} is SKIPPED: {failure}", goal.model),
        }
    }
    files
}

fn create(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::File { path: folder.to_path_buf(), error })
}

/// The CPU as part of a file name.
fn slug(cpu: &Cpu) -> String {
    let name = format!("{} {} {}", cpu.name, cpu.family, cpu.model).to_lowercase();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<Options, String> {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        Options::of(&words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn models_are_named_and_options_read() {
        let options = options(&["resnet18", "--seconds", "0.5", "--threads", "2", "yolox_nano"]).expect("right");
        assert_eq!((options.models.join(" ").as_str(), options.seconds.as_str()), ("resnet18 yolox_nano", "0.5"));
        assert_eq!(GOALS.iter().filter(|goal| options.wants(goal)).count(), 2);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, named) in [
            (&["resnet5"][..], "no model or option `resnet5`; the models are: resnet50, resnet18,"),
            (&["--seconds"], "--seconds needs a value"),
            (&["--seconds", "0"], "got `0`"),
            (&["--threads", "1,x"], "got `1,x`"),
        ] {
            let failure = options(words).expect_err("usage");
            assert!(failure.contains(named), "{failure}");
        }
    }

    #[test]
    fn a_file_is_named_by_its_cpu() {
        let cpu = Cpu { name: "AMD EPYC (R)".to_owned(), family: 25, model: 1, count: 2, features: Vec::new() };
        assert_eq!(slug(&cpu), "amd-epyc-r-25-1");
    }
}
