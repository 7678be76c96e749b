//! `setup`: makes a bare machine able to build the workspace.
//!
//! It needs LLVM 19 (headers, library) and a C compiler with the C++ library that LLVM links; the compiler also links
//! the artifacts that Eightfold emits. What is there is left alone; what is missing is installed by the system's
//! package manager, each command printed first. Where that cannot be done, the failure names the packages.

use std::path::Path;
use std::process::Command;

use crate::llvm::{self, Installation};
use crate::package_manager::{self, Need, PACKAGE_MANAGERS};
use crate::process::{self, Failure};

/// The task.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some(argument) = arguments.first() {
        return Err(Failure::Usage(format!("setup takes no arguments, got `{argument}`")));
    }
    ensure().map(drop)
}

/// Checks the machine, installs what is missing, and returns the LLVM to build with.
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
        return Ok(report(llvm, &compiler));
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
    Ok(report(llvm, &compiler))
}

/// The C compiler, if it is there and can link the C++ library.
///
/// Rust links with `cc` by default. `llvm-sys` links `stdc++`, whose link-time file comes with a C++ compiler only.
fn compiler() -> Option<String> {
    let program = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let version = process::probe(Command::new(&program).arg("--version"))?;
    if cfg!(target_os = "linux") {
        // Prints the bare name when there is no such file.
        let library = process::probe(Command::new(&program).arg("-print-file-name=libstdc++.so"))?;
        Path::new(&library).is_absolute().then_some(())?;
    }
    version.lines().next().map(str::to_owned)
}

fn report(llvm: Installation, compiler: &str) -> Installation {
    eprintln!("setup: LLVM {} ({}), {compiler}", llvm.version, llvm.config.display());
    if let Some(prefix) = &llvm.prefix_to_set {
        eprintln!("setup: for plain cargo: export {}={}", llvm::PREFIX_VARIABLE, prefix.display());
    }
    llvm
}

fn describe(needs: &[Need]) -> String {
    let words = needs.iter().map(|need| match need {
        Need::Llvm => "LLVM 19",
        Need::Compiler => "a C compiler with the C++ library",
    });
    words.collect::<Vec<_>>().join(" and ")
}

/// What to install with each package manager, one a line.
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
    fn needs_are_described_in_words() {
        assert_eq!(describe(&[Need::Llvm, Need::Compiler]), "LLVM 19 and a C compiler with the C++ library");
    }
}
