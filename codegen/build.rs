//! Builds the runtime's object files, one for each architecture, which the compiler embeds and links into shared libraries.
//! An architecture other than this machine's needs the Rust compiler's `core` for it; without it, the compiler is built
//! without its runtime, and makes no shared libraries for it.
//!
//! Cargo cannot do it: a `no_std` crate is either a library or has a panic handler. So this calls the Rust compiler on
//! `runtime/src/standalone.rs`, with fixed flags: what the user sets for the compiler itself (a CPU, a sanitizer) must
//! not get into artifacts, whose runtime runs before the CPU is known.
//!
//! One object and no archive: an archive carries all of `core` (7 MB), of which the runtime needs nothing.
//!
//! Before that it looks for LLVM. The crate `llvm-sys` does so too, but its error names neither the version wanted nor the
//! command that installs it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// For each architecture, as `std::env::consts::ARCH` names it: the Rust target, and further flags.
const RUNTIMES: &[(&str, &str, &[&str])] = &[
    ("x86_64", "x86_64-unknown-linux-gnu", &[]),
    // Atomic operations as instructions, not as calls of a library that picks them at run time.
    ("aarch64", "aarch64-unknown-linux-gnu", &["-C", "target-feature=-outline-atomics"]),
];

fn main() {
    require_llvm();
    let sources = PathBuf::from(var("CARGO_MANIFEST_DIR")).join("../runtime/src");
    let folder = PathBuf::from(var("OUT_DIR"));
    let host = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let mut rows = String::new();
    for (arch, target, flags) in RUNTIMES {
        if *arch != host && !has_core(target) {
            continue;
        }
        // Where the compiler runs on another system, the runtime is still for its own.
        let target = if *arch == host { var("TARGET") } else { target.into() };
        let object = folder.join(format!("eightfold_runtime_{arch}.o"));
        build(&sources, &target, flags, &object);
        rows += &format!("    ({arch:?}, include_bytes!({object:?})),\n");
    }
    let table = format!("&[\n{rows}]\n");
    fs::write(folder.join("runtimes.rs"), table).expect("the output folder is writable");
    println!("cargo::rerun-if-changed={}", sources.display());
}

fn var(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}

/// Whether the Rust compiler has `core` for a target.
fn has_core(target: &str) -> bool {
    let output = Command::new(var("RUSTC")).args(["--print", "target-libdir", "--target", target]).output();
    let folder = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo::rerun-if-changed={}", folder.trim());
    PathBuf::from(folder.trim()).is_dir()
}

/// Builds the runtime for a target.
fn build(sources: &Path, target: &OsStr, flags: &[&str], object: &Path) {
    let mut remap = sources.as_os_str().to_owned();
    remap.push("=runtime/src");
    let status = Command::new(var("RUSTC"))
        .args(["--crate-name", "eightfold_runtime", "--edition", "2024"])
        .args(["--crate-type", "staticlib", "--emit", "obj", "--cap-lints", "allow"])
        .args(["-C", "panic=abort", "-C", "relocation-model=pic", "-C", "opt-level=2"])
        .args(["-C", "codegen-units=1", "-C", "debuginfo=0"])
        .args(flags)
        .arg("--remap-path-prefix")
        .arg(remap)
        .arg("--target")
        .arg(target)
        .arg("-o")
        .arg(object)
        .arg(sources.join("standalone.rs"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("building the runtime's object file failed: {status}"),
        Err(error) => panic!("the rust compiler could not be started: {error}"),
    }
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
