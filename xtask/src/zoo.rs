//! `zoo`: makes the virtual environment with ONNX Runtime, and the benchmark networks.
//!
//! Networks are rebuilt from the skeletons of exported models in the shared folder (`EIGHTFOLD_SHARED`). Without these,
//! `benches/networks.py` builds the same layers from scratch. Networks are written to `zoo/` in the build folder;
//! existing ones are kept.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Failure};
use crate::{python, workspace};

/// The convolutional networks, which `benches/networks.py` can build as well. By default all are built except the one
/// that is not a classifier.
pub(crate) const CONVOLUTIONAL: &[&str] = &[
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
    NO_CLASSIFIER,
];

const NO_CLASSIFIER: &str = "unet_256";

/// Runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let python = python::ensure(python::REFERENCE)?;
    let version = "import onnxruntime; print(onnxruntime.__version__)";
    let version = process::capture(Command::new(&python).args(["-c", version]))?;
    println!("{} has ONNX Runtime {}", python.display(), version.trim());
    let built = build(arguments)?;
    println!("{} networks in {}", built.len(), folder().display());
    Ok(())
}

/// The folder of the networks.
pub(crate) fn folder() -> PathBuf {
    workspace::target().join("zoo")
}

/// Builds the named networks that do not exist yet; no name means the classifiers, `all` means every network.
pub(crate) fn build(names: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let skeletons = workspace::shared().join("zoo/make_zoo.py");
    let (script, all) = if skeletons.is_file() {
        let all = skeletons_beside(&skeletons)?;
        (skeletons, all)
    } else {
        (workspace::root().join("benches/networks.py"), CONVOLUTIONAL.iter().map(ToString::to_string).collect())
    };
    let names = match names {
        [] => CONVOLUTIONAL.iter().filter(|name| **name != NO_CLASSIFIER).map(ToString::to_string).collect(),
        [word] if word == "all" => all,
        named => named.to_vec(),
    };
    let file = |name: &String| folder().join(format!("{name}.onnx"));
    let wanted: Vec<&String> = names.iter().filter(|name| !file(name).is_file()).collect();
    if !wanted.is_empty() {
        // Built in another folder first, so that an existing network is always complete.
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
fn skeletons_beside(script: &Path) -> Result<Vec<String>, Failure> {
    let folder = script.with_file_name("");
    let entries = std::fs::read_dir(&folder).map_err(|error| Failure::File { path: folder, error })?;
    let files = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        files.filter_map(|file| file.strip_suffix(".skeleton.onnx.gz").map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}
