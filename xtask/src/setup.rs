//! `setup`: prepares a machine for building the workspace.
//!
//! The build needs LLVM 19 (headers, library) and a C compiler with the C++ library that LLVM links; the compiler also
//! links the artifacts that Eightfold emits. The system's package manager installs what is missing; each command is
//! printed first. If that is impossible, the error names the packages.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::llvm::{self, Installation};
use crate::package_manager::{self, Need, PACKAGE_MANAGERS};
use crate::process::{self, Failure};
use crate::workspace;

/// Runs the task.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some(argument) = arguments.first() {
        return Err(Failure::Usage(format!("setup takes no arguments, got `{argument}`")));
    }
    ensure().map(drop)
}

/// Checks the machine, installs what is missing, and returns the LLVM installation to use.
pub(crate) fn ensure() -> Result<Installation, Failure> {
    let (llvm, compiler) = (llvm::find()?, compiler());
    let mut needs = Vec::new();
    if llvm.is_none() {
        needs.push(Need::Llvm);
    }
    if compiler.is_none() {
        needs.push(Need::Compiler);
    }
    if let (Some(llvm), Some(compiler)) = (llvm, compiler) {
        return report(llvm, &compiler);
    }

    let manager = package_manager::choose(|name| process::which(name).is_some()).ok_or_else(|| Failure::Missing {
        what: describe(&needs),
        remedy: format!(
            "none of the package managers known here is on this machine; the packages are\n{}",
            names(&needs)
        ),
    })?;
    eprintln!("setup: {} missing; installing with {}", describe(&needs), manager.program);
    manager.install(&needs, package_manager::privilege()).map_err(|failure| match failure {
        Failure::Missing { .. } => failure,
        other => Failure::Missing {
            what: describe(&needs),
            remedy: format!(
                "{other}\nThis system's release may not carry LLVM {}; from another source, set {} to its folder.\n\
                 The packages are\n{}",
                llvm::MAJOR,
                llvm::PREFIX_VARIABLE,
                names(&needs)
            ),
        },
    })?;

    let still = |what: &str| Failure::Missing {
        what: what.to_owned(),
        remedy: format!("{} said that it installed {}", manager.program, manager.packages(&needs).join(" ")),
    };
    let llvm = llvm::find()?.ok_or_else(|| still("LLVM 19"))?;
    let compiler = self::compiler().ok_or_else(|| still("a C compiler"))?;
    report(llvm, &compiler)
}

/// The C compiler, if it exists and can link the C++ library.
///
/// Rust links with `cc` by default. `llvm-sys` links `stdc++`, whose development files come only with a C++ compiler.
fn compiler() -> Option<String> {
    let program = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let version = process::probe(Command::new(&program).arg("--version"))?;
    if cfg!(target_os = "linux") {
        // Prints only the name if there is no such file.
        let library = process::probe(Command::new(&program).arg("-print-file-name=libstdc++.so"))?;
        Path::new(&library).is_absolute().then_some(())?;
    }
    version.lines().next().map(str::to_owned)
}

fn report(llvm: Installation, compiler: &str) -> Result<Installation, Failure> {
    forget_failed_search(&workspace::target())?;
    eprintln!("setup: LLVM {} ({}), {compiler}", llvm.version, llvm.config.display());
    if let Some(prefix) = &llvm.prefix_to_set {
        eprintln!("setup: for plain cargo: export {}={}", llvm::PREFIX_VARIABLE, prefix.display());
    }
    Ok(llvm)
}

/// Makes cargo run the build script of `llvm-sys` again, if an earlier build found no LLVM.
///
/// Cargo stores the output of a build script and runs it again only if certain variables change. Without this, a build
/// that failed because LLVM was missing would fail forever.
fn forget_failed_search(target: &Path) -> Result<(), Failure> {
    if !["debug", "release"].iter().any(|profile| search_failed(&target.join(profile).join("build"))) {
        return Ok(());
    }
    eprintln!("setup: an earlier build found no LLVM; it is forgotten (cargo clean --package llvm-sys)");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    process::run(cargo.current_dir(workspace::root()).args(["clean", "--package", "llvm-sys"]))?;
    // Without `--release`, cargo cleans only the debug profile.
    process::run(cargo.arg("--release"))
}

/// Whether the build script of `llvm-sys` found no LLVM, according to its output in this folder.
fn search_failed(build: &Path) -> bool {
    let entries = fs::read_dir(build).into_iter().flatten().flatten();
    let of_llvm = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-sys-"));
    let mut printed = of_llvm.filter_map(|entry| fs::read_to_string(entry.path().join("output")).ok());
    printed.any(|text| text.contains("LLVM_SYS_NOT_FOUND"))
}

fn describe(needs: &[Need]) -> String {
    let words = needs.iter().map(|need| match need {
        Need::Llvm => "LLVM 19",
        Need::Compiler => "a C compiler with the C++ library",
        Need::Emulation => "an emulator of other architectures",
    });
    words.collect::<Vec<_>>().join(" and ")
}

/// The packages to install with each package manager, one line each.
fn names(needs: &[Need]) -> String {
    let lines = PACKAGE_MANAGERS.iter().map(|manager| format!("  {}", manager.install_line(needs)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_of_every_manager_are_named() {
        let names = names(&[Need::Llvm, Need::Compiler]);
        assert_eq!(names.lines().count(), PACKAGE_MANAGERS.len());
        assert!(names.contains("sudo dnf install -y llvm19-devel libzstd-devel zlib-devel gcc-c++"), "{names}");
    }

    #[test]
    fn a_build_that_found_no_llvm_is_noticed() {
        let folder = std::env::temp_dir().join(format!("eightfold-setup-{}", std::process::id()));
        let script = folder.join("llvm-sys-0123456789abcdef");
        fs::create_dir_all(&script).unwrap();
        assert!(!search_failed(&folder));
        for (printed, failed) in
            [("cargo:rustc-link-lib=dylib=LLVM-19", false), ("cargo:rustc-cfg=LLVM_SYS_NOT_FOUND", true)]
        {
            fs::write(script.join("output"), printed).unwrap();
            assert_eq!(search_failed(&folder), failed, "{printed}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn needs_are_described_in_words() {
        assert_eq!(describe(&[Need::Llvm, Need::Compiler]), "LLVM 19 and a C compiler with the C++ library");
    }
}
