//! Builds the runtime's object file, which the compiler embeds and links into shared libraries.
//!
//! Cargo cannot do it: a `no_std` crate is either a library or has a panic handler. So this calls the Rust compiler on
//! `runtime/src/standalone.rs`, with fixed flags: what the user sets for the compiler itself (a CPU, a sanitizer) must
//! not get into artifacts, whose runtime runs before the CPU is known.
//!
//! One object and no archive: an archive carries all of `core` (7 MB), of which the runtime needs nothing.
//!
//! Before that it looks for LLVM. The crate `llvm-sys` does so too, but its error names neither the version wanted nor the
//! command that installs it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    require_llvm();
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

/// Stops the build where `llvm-sys` finds no LLVM, with a message that says what to do.
fn require_llvm() {
    const VARIABLE: &str = "LLVM_SYS_191_PREFIX";
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let folder = env::var_os(VARIABLE).map(|prefix| PathBuf::from(prefix).join("bin")).unwrap_or_default();
    let names = ["llvm-config", "llvm-config-19", "llvm-config19", "llvm19-config", "llvm-config-19.1"];
    let runs = |name: &&str| Command::new(folder.join(name)).arg("--version").output().is_ok();
    if !names.iter().any(runs) {
        println!("cargo::error=no LLVM 19 is found in PATH, or in the folder that {VARIABLE} names");
        println!("cargo::error=`cargo xtask setup` installs it, or says which packages or which folder to name");
        std::process::exit(1);
    }
}
