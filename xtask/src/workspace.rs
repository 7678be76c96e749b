//! The locations of the workspace, of its build folder, and of the shared models and data outside the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::llvm;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// Cargo's arguments for the whole workspace, including the feature that is off by default: the oracle tract.
pub(crate) const EVERYTHING: [&str; 3] = ["--workspace", "--features", "eightfold-compiler/oracle"];

/// Cargo's build folder: `CARGO_TARGET_DIR`, or `target` in the workspace.
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target)
}

/// The folder of shared models, data and network skeletons: `EIGHTFOLD_SHARED`, or `../shared`.
pub(crate) fn shared() -> PathBuf {
    match std::env::var_os("EIGHTFOLD_SHARED") {
        Some(folder) => folder.into(),
        None => root().parent().unwrap_or(Path::new("..")).join("shared"),
    }
}

/// `cargo` in the workspace, with the LLVM prefix set if `llvm-sys` would not find this installation.
pub(crate) fn cargo(llvm: &llvm::Installation) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    if let Some(prefix) = &llvm.prefix_to_set {
        command.env(llvm::PREFIX_VARIABLE, prefix);
    }
    command
}
