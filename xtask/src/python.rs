//! The Python virtual environments for tests and benchmarks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

use crate::process::{self, Failure};
use crate::workspace;

/// A virtual environment: its folder in the build folder, and its requirement files in `benches/`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environment {
    folder: &'static str,
    requirements: &'static [&'static str],
}

/// Only ONNX Runtime: for tests, networks and the benchmark of models.
pub(crate) const REFERENCE: Environment = Environment { folder: "venv", requirements: &["requirements.txt"] };

/// All peers; hundreds of megabytes.
pub(crate) const PEERS: Environment =
    Environment { folder: "venv-peers", requirements: &["requirements.txt", "requirements-peers.txt"] };

/// Creates the virtual environment, unless it exists with the same requirements; returns its interpreter.
pub(crate) fn ensure(environment: Environment) -> Result<PathBuf, Failure> {
    let folder = workspace::target().join(environment.folder);
    let python = folder.join("bin/python");
    let benches = workspace::root().join("benches");
    let files: Vec<_> = environment.requirements.iter().map(|file| benches.join(file)).collect();
    // A copy of the installed requirements is written into it last, so an incomplete environment has none.
    let installed = folder.join("requirements.txt");
    let wanted = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?.concat();
    if python.is_file() && fs::read(&installed).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }

    process::run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).map_err(|failure| Failure::Missing {
        what: "python3 with its venv module".to_owned(),
        remedy: format!("{failure}\non Debian and Ubuntu: sudo apt-get install python3-venv"),
    })?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(files.iter().flat_map(|file| iter::once(Path::new("--requirement")).chain(iter::once(file.as_path()))));
    process::run(&mut pip)?;
    fs::write(&installed, wanted).map_err(|error| Failure::File { path: installed, error })?;
    Ok(python)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::File { path: path.to_path_buf(), error })
}
