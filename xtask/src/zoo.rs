//! `zoo`: the virtual environment with ONNX Runtime, and the benchmark networks rebuilt from their skeletons.
//!
//! The skeletons lie in the shared folder beside the workspace (`EIGHTFOLD_SHARED`), which a plain clone does not
//! have. Networks are written to `zoo/` in the build folder; those that are there already are kept.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{self, Failure};
use crate::{python, workspace};

/// The networks built when none is named: the classifiers that the tests and the benchmark use.
const CLASSIFIERS: &[&str] = &[
    "densenet121",
    "efficientnet_b0",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "resnet18",
    "resnet18_bn_dynbatch",
    "resnet50",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
];

/// The task.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let python = python::ensure(python::REFERENCE)?;
    let version = "import onnxruntime; print(onnxruntime.__version__)";
    let version = process::capture(Command::new(&python).args(["-c", version]))?;
    println!("{} has ONNX Runtime {}", python.display(), version.trim());
    let built = build(arguments)?;
    println!("{} networks in {}", built.len(), folder().display());
    Ok(())
}

/// Where the networks are written.
pub(crate) fn folder() -> PathBuf {
    workspace::target().join("zoo")
}

/// Builds the named networks (none: the classifiers; `all`: every skeleton) that are not there yet.
pub(crate) fn build(names: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let script = workspace::shared().join("zoo/make_zoo.py");
    if !script.is_file() {
        return Err(Failure::Missing {
            what: script.display().to_string(),
            remedy: "EIGHTFOLD_SHARED names the folder that holds zoo/, models/ and data/".to_owned(),
        });
    }
    let names = match names {
        [] => CLASSIFIERS.iter().map(|&name| name.to_owned()).collect(),
        [all] if all == "all" => skeletons(&script)?,
        named => named.to_vec(),
    };
    let file = |name: &String| folder().join(format!("{name}.onnx"));
    let wanted: Vec<&String> = names.iter().filter(|name| !file(name).is_file()).collect();
    if !wanted.is_empty() {
        // Into a folder of its own first, so that a network that is there is a whole one.
        let partial = folder().join("partial");
        process::run(Command::new(python::ensure(python::REFERENCE)?).arg(&script).arg(&partial).args(&wanted))?;
        for name in wanted {
            let built = partial.join(format!("{name}.onnx"));
            std::fs::rename(&built, file(name)).map_err(|error| Failure::File { path: built, error })?;
        }
    }
    Ok(names.iter().map(file).collect())
}

/// The names of all skeletons beside the script, sorted.
fn skeletons(script: &std::path::Path) -> Result<Vec<String>, Failure> {
    let folder = script.with_file_name("");
    let entries = std::fs::read_dir(&folder).map_err(|error| Failure::File { path: folder, error })?;
    let files = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        files.filter_map(|file| file.strip_suffix(".skeleton.onnx.gz").map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}
