//! What tests of other architectures need: an emulator, C compilers, and Rust's `core`, of which the runtime is built.

use std::process::Command;

use crate::package_manager::{self, Need, PACKAGE_MANAGERS};
use crate::process::{self, Failure};

/// The programs that tests call.
const PROGRAMS: &[&str] = &["qemu-aarch64", "aarch64-linux-gnu-gcc"];

/// The Rust targets of the runtime.
const TARGETS: &[&str] = &["aarch64-unknown-linux-gnu"];

/// Installs what is missing, before the compiler is built: its build script looks which targets Rust has.
///
/// # Errors
/// If something is missing that cannot be installed. Tests that need it skip themselves.
pub(crate) fn ensure() -> Result<(), Failure> {
    for target in TARGETS.iter().filter(|target| !has_core(target)) {
        process::run(Command::new("rustup").args(["target", "add", target]))?;
    }
    let missing: Vec<&str> = PROGRAMS.iter().copied().filter(|program| process::which(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let none = || Failure::Missing {
        what: missing.join(", "),
        remedy: "only Debian's packages are known to `cargo xtask`".to_owned(),
    };
    let manager = PACKAGE_MANAGERS.iter().find(|manager| !manager.packages(&[Need::Emulation]).is_empty());
    let manager = manager.filter(|manager| process::which(manager.program).is_some()).ok_or_else(none)?;
    manager.install(&[Need::Emulation], package_manager::privilege())
}

/// Whether the Rust compiler has `core` for a target.
fn has_core(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder = process::probe(Command::new(rustc).args(["--print", "target-libdir", "--target", target]));
    folder.is_some_and(|folder| std::path::Path::new(&folder).is_dir())
}
