//! Runs artifacts for other architectures in an emulator, by the program `run.c`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use eightfold_codegen::object::has_runtime;
use eightfold_codegen::target::{Arch, Emulator, TARGETS, Target};

/// The targets that this machine runs, and those that an emulator runs.
pub(crate) fn targets() -> impl Iterator<Item = &'static Target> {
    TARGETS.iter().filter(|target| target.runs_here() || !target.arch.is_host() && runner(target.arch).is_some())
}

/// The program that runs artifacts of an architecture. `None`, aloud, if a tool is missing.
fn runner(arch: &'static Arch) -> Option<PathBuf> {
    static RUNNERS: LazyLock<Mutex<BTreeMap<&str, Option<PathBuf>>>> = LazyLock::new(Mutex::default);
    RUNNERS.lock().expect("no test panics with it").entry(arch.name).or_insert_with(|| build(arch)).clone()
}

fn build(arch: &'static Arch) -> Option<PathBuf> {
    let Emulator { program, package, .. } = arch.emulator?;
    let starts = |name: &str| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    let missing = [
        (starts(program), format!("{program} (package {package})")),
        (starts(arch.linker), format!("{} (package {})", arch.linker, arch.linker_package)),
        (has_runtime(arch), format!("the runtime (rustup target add {})", arch.triple)),
    ];
    let missing: Vec<_> = missing.into_iter().filter(|(found, _)| !found).map(|(_, name)| name).collect();
    if !missing.is_empty() {
        eprintln!("skipped: {}: no {}", arch.name, missing.join(", no "));
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // A name of its own for each test program: they may run at the same time.
    let runner = folder.join(format!("run-{}-{}", arch.name, std::process::id()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let compiled = Command::new(arch.linker)
        .args(["-O1", "-Wall", "-Werror", "-I"])
        .arg(root.join("../runtime/include"))
        .arg("-o")
        .arg(&runner)
        .arg(root.join("tests/emulated/run.c"))
        .args(["-ldl", "-lpthread"])
        .output()
        .expect("it starts");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    Some(runner)
}

/// Runs the library at `path`, and returns the bytes of all outputs, one after the other.
///
/// # Panics
/// If the program fails.
pub(crate) fn run(arch: &'static Arch, path: &Path, query_symbol: &str, inputs: &[&[u8]]) -> Vec<u8> {
    let runner = runner(arch).expect("asked before");
    let Emulator { program, sysroot, .. } = arch.emulator.expect("asked before");
    let input = path.with_extension("inputs");
    fs::write(&input, inputs.concat()).expect("written");
    let ran = Command::new(program)
        .args(["-L", sysroot])
        .args([&runner, path])
        .arg(query_symbol)
        .stdin(Stdio::from(File::open(&input).expect("written above")))
        .output()
        .expect("the emulator starts");
    assert!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}
