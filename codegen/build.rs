//! Builds the runtime's object file, which the compiler embeds and links into shared libraries.
//!
//! Cargo cannot do it: a `no_std` crate is either a library or has a panic handler. So this calls the Rust compiler on
//! `runtime/src/standalone.rs`, with fixed flags: what the user sets for the compiler itself (a CPU, a sanitizer) must
//! not get into artifacts, whose runtime runs before the CPU is known.
//!
//! One object and no archive: an archive carries all of `core` (7 MB), of which the runtime needs nothing.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let var = |name| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let sources = PathBuf::from(var("CARGO_MANIFEST_DIR")).join("../runtime/src");
    let target = var("TARGET");
    let object = PathBuf::from(var("OUT_DIR")).join("eightfold_runtime.o");

    let mut remap = sources.clone().into_os_string();
    remap.push("=runtime/src");
    let status = Command::new(var("RUSTC"))
        .args(["--crate-name", "eightfold_runtime", "--edition", "2024"])
        .args(["--crate-type", "staticlib", "--emit", "obj", "--cap-lints", "allow"])
        .args(["-C", "panic=abort", "-C", "relocation-model=pic", "-C", "opt-level=2"])
        .args(["-C", "codegen-units=1", "-C", "debuginfo=0"])
        .arg("--remap-path-prefix")
        .arg(remap)
        .arg("--target")
        .arg(&target)
        .arg("-o")
        .arg(&object)
        .arg(sources.join("standalone.rs"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("building the runtime's object file failed: {status}"),
        Err(error) => panic!("the rust compiler could not be started: {error}"),
    }

    println!("cargo::rerun-if-changed={}", sources.display());
    println!("cargo::rustc-env=EIGHTFOLD_RUNTIME_OBJECT={}", object.display());
    println!("cargo::rustc-env=EIGHTFOLD_RUNTIME_TARGET={}", target.display());
}
