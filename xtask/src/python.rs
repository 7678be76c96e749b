//! The virtual environment with ONNX Runtime, which tests and benchmarks compare with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Failure};
use crate::workspace;

/// Makes the virtual environment unless it is there with the same requirements; returns its interpreter.
pub(crate) fn ensure() -> Result<PathBuf, Failure> {
    let folder = workspace::target().join("venv");
    let python = folder.join("bin/python");
    let requirements = workspace::root().join("benches/requirements.txt");
    // The requirements that were installed are kept inside, written last: a half-made environment has none.
    let installed = folder.join("requirements.txt");
    let wanted = read(&requirements)?;
    if python.is_file() && fs::read(&installed).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }

    process::run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).map_err(|failure| Failure::Missing {
        what: "python3 with its venv module".to_owned(),
        remedy: format!("{failure}\non Debian and Ubuntu: sudo apt-get install python3-venv"),
    })?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&requirements);
    process::run(&mut pip)?;
    fs::write(&installed, wanted).map_err(|error| Failure::File { path: installed, error })?;
    Ok(python)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::File { path: path.to_path_buf(), error })
}
