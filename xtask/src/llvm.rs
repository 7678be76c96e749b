//! Finds LLVM 19 where the `llvm-sys` crate will find it, and detects if that crate would choose another version.
//!
//! `llvm-sys` tries `llvm-config` under several names in `PATH` and takes the first whose version is 19.1 *or newer*;
//! if `LLVM_SYS_191_PREFIX` is set, it looks only there. So a machine whose plain `llvm-config` is LLVM 20 links the
//! wrong library, and on some systems LLVM 19 is in a folder outside `PATH`. In both cases the variable must be set.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Failure};

/// The LLVM major version that the code generator requires.
pub(crate) const MAJOR: u32 = 19;
/// The variable that tells `llvm-sys` the prefix of an LLVM installation.
pub(crate) const PREFIX_VARIABLE: &str = "LLVM_SYS_191_PREFIX";

/// The names of `llvm-config` that `llvm-sys` tries, in its order.
const CONFIG_NAMES: &[&str] =
    &["llvm-config", "llvm-config-19", "llvm-config19", "llvm19-config", "llvm-config-19.1", "llvm-config191"];

/// Where package managers install LLVM 19 if it is not in `PATH`: Debian, Fedora, Arch, Homebrew.
const PREFIXES: &[&str] = &[
    "/usr/lib/llvm-19",
    "/usr/lib64/llvm19",
    "/usr/lib/llvm19",
    "/opt/homebrew/opt/llvm@19",
    "/usr/local/opt/llvm@19",
    "/home/linuxbrew/.linuxbrew/opt/llvm@19",
];

/// An LLVM 19 installation that the workspace can be built with.
#[derive(Debug)]
pub(crate) struct Installation {
    /// Its `llvm-config`.
    pub(crate) config: PathBuf,
    /// The full version, such as `19.1.7`.
    pub(crate) version: String,
    /// The prefix to set; `None` if `llvm-sys` finds this installation by itself.
    pub(crate) prefix_to_set: Option<PathBuf>,
}

/// Finds LLVM 19 including headers and library; `None` if it is not installed.
///
/// Fails if `LLVM_SYS_191_PREFIX` is set to a folder without LLVM 19, because installing LLVM elsewhere would not help.
pub(crate) fn find() -> Result<Option<Installation>, Failure> {
    if let Some(prefix) = std::env::var_os(PREFIX_VARIABLE) {
        let folder = Path::new(&prefix).join("bin");
        let candidates = CONFIG_NAMES.iter().map(|name| folder.join(name));
        let found = candidates.filter_map(usable).next();
        return found.map(Some).ok_or_else(|| Failure::Missing {
            what: format!("LLVM {MAJOR} in {}", Path::new(&prefix).display()),
            remedy: format!("{PREFIX_VARIABLE} names that folder; unset it, or let it name an LLVM {MAJOR}"),
        });
    }
    let in_path: Vec<PathBuf> = CONFIG_NAMES.iter().filter_map(|name| process::which(name)).collect();
    let chosen = in_path.iter().find(|config| version(config).is_some_and(|v| llvm_sys_takes(&v))).cloned();
    let elsewhere = PREFIXES.iter().map(|prefix| Path::new(prefix).join("bin/llvm-config"));
    let Some(mut found) = in_path.into_iter().chain(elsewhere).filter_map(usable).next() else {
        return Ok(None);
    };
    if chosen.as_ref() != Some(&found.config) {
        found.prefix_to_set = ask(&found.config, &["--prefix"]).map(PathBuf::from);
    }
    Ok(Some(found))
}

/// The installation of this `llvm-config`, if it is LLVM 19 with its C headers and a library to link.
fn usable(config: PathBuf) -> Option<Installation> {
    let version = version(&config).filter(|version| major(version) == Some(MAJOR))?;
    let headers = ask(&config, &["--includedir"])?;
    if !Path::new(&headers).join("llvm-c/Target.h").is_file() {
        return None;
    }
    // Fails if a library is missing. The shared one is preferred; without it, `llvm-sys` links the static ones.
    ask(&config, &["--libfiles", "--link-shared"]).or_else(|| ask(&config, &["--libfiles", "--link-static"]))?;
    Some(Installation { config, version, prefix_to_set: None })
}

fn ask(config: &Path, arguments: &[&str]) -> Option<String> {
    process::probe(Command::new(config).args(arguments))
}

fn version(config: &Path) -> Option<String> {
    ask(config, &["--version"])
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// Whether `llvm-sys` 191 accepts a version: 19.1 or newer, including newer major versions.
fn llvm_sys_takes(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (MAJOR, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_sys_takes_newer_majors_too() {
        let taken = ["14.0.6", "19.0.0", "19.1.7", "19.1.7git", "20.1.2", "svn"].map(llvm_sys_takes);
        assert_eq!(taken, [false, false, true, true, true, false]);
    }

    #[test]
    fn the_major_version_is_read_from_development_builds() {
        assert_eq!(["19.1.7", "20.0.0git", "svn"].map(major), [Some(19), Some(20), None]);
    }
}
