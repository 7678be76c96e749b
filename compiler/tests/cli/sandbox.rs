//! A temporary folder for a test, and the program that runs in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use eightfold::dataset::write_npz;
use eightfold_ir::Tensor;
use serde_json::Value;
use tempfile::TempDir;

/// A folder that the program runs in, so that messages name files as the test does.
pub(crate) struct Sandbox(TempDir);

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Sandbox {
    /// A folder with the digits model and its data.
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox(tempfile::tempdir().expect("a temporary folder"));
        for file in ["digits.onnx", "digits_calibration.npz", "digits_test.npz"] {
            fs::copy(digits().join(file), sandbox.path(file)).expect("digits are copied");
        }
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file is written");
    }

    pub(crate) fn write_npz(&self, name: &str, arrays: &[(&str, Tensor)]) {
        write_npz(&self.path(name), arrays.iter().map(|(name, tensor)| (*name, tensor))).expect("arrays are written");
    }

    /// Runs the program in this folder, with arguments separated by spaces.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eightfold"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Ended {
        self.command(arguments).output().expect("the program starts").into()
    }

    /// The output of a run that must succeed.
    pub(crate) fn stdout(&self, arguments: &str) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "eightfold {arguments}: {ended:?}");
        ended.stdout
    }

    /// The JSON output of a run that must succeed.
    pub(crate) fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.stdout(&format!("{arguments} --format json"))).expect("one JSON value")
    }

    /// A run that must fail with this exit code, print nothing to standard output, and end with this error.
    #[track_caller]
    pub(crate) fn fails(&self, arguments: &str, code: i32, error: &str) {
        assert_failed(&self.run(arguments), arguments, code, error);
    }

    /// The files that the program or the test has added to the sandbox.
    pub(crate) fn new_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("the folder is there");
        let name =
            |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let mut names: Vec<String> = entries.map(name).filter(|name| !name.starts_with("digits")).collect();
        names.sort();
        names
    }
}

/// Asserts the exit code, an empty standard output, and the last lines of standard error.
#[track_caller]
pub(crate) fn assert_failed(ended: &Ended, arguments: &str, code: i32, error: &str) {
    assert_eq!(ended.code, Some(code), "eightfold {arguments}: {ended:?}");
    assert_eq!(ended.stdout, "", "eightfold {arguments}");
    let at = ended.stderr.find("error: ").unwrap_or_else(|| panic!("eightfold {arguments}: {ended:?}"));
    assert_eq!(ended.stderr[at..].trim_end(), format!("error: {error}"), "eightfold {arguments}");
}

/// The folder of the model in the repository.
pub(crate) fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/models/digits")
}
