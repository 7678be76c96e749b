//! Writes output files, and links an object file and the runtime into a shared library.
//!
//! Invariants: a file appears complete or not at all (it is written next to its destination, then renamed); the same
//! object gives the same library, byte for byte; the library exports one symbol and needs no other library.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::{env, fs};

use tempfile::Builder;
use thiserror::Error;

pub use self::file::ObjectFile;
use crate::target::Arch;

pub(crate) mod file;

/// The runtime's object files by the names of architectures. `build.rs` makes those for which it finds Rust's `core`.
static RUNTIMES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/runtimes.rs"));

/// Whether this compiler has the runtime of an architecture, so that it can link shared libraries for it.
#[must_use]
pub fn has_runtime(arch: &Arch) -> bool {
    runtime(arch).is_some()
}

fn runtime(arch: &Arch) -> Option<&'static [u8]> {
    RUNTIMES.iter().find(|(name, _)| *name == arch.name).map(|(_, object)| *object)
}

/// Why a file could not be written or linked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The machine has no C compiler of that name.
    #[error("no linker: {linker:?} is not installed")]
    LinkerNotFound {
        /// The name of the C compiler.
        linker: String,
        /// The environment variable that names another one.
        variable: String,
        /// Debian's package with the program, if the linker is for another architecture than this machine's.
        package: Option<&'static str>,
    },
    /// The C compiler is installed but does not start.
    #[error("the linker {linker:?} could not be started")]
    LinkerStart {
        /// The program.
        linker: String,
        /// What the system says.
        source: io::Error,
    },
    /// The C compiler failed: a broken installation, or an object file for another machine.
    #[error("the linker {linker:?} failed ({status}):\n{stderr}")]
    LinkFailed {
        /// The program.
        linker: String,
        /// Its exit status.
        status: ExitStatus,
        /// Its standard error.
        stderr: String,
    },
    /// The object was made for another architecture than the one that is linked for.
    #[error("the object file is not for {arch}")]
    OtherMachine {
        /// The architecture.
        arch: &'static str,
    },
    /// This compiler was built without the runtime of the architecture.
    #[error("this compiler was built without the runtime for {arch}, so it makes no shared libraries for it")]
    NoRuntime {
        /// The architecture.
        arch: &'static str,
        /// The Rust target whose `core` the build needs.
        triple: &'static str,
    },
    /// The destination cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The destination.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Writes `bytes` to `path`, completely or not at all.
///
/// # Errors
/// [`ObjectError::Write`].
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ObjectError> {
    place(path, |work, name| {
        let write_error = |source| ObjectError::Write { path: path.to_owned(), source };
        fs::write(work.join(name), bytes).map_err(write_error)
    })
}

/// Makes a folder next to `path`, lets `make` write a file in it by the name that `make` gets, and moves the file to
/// `path`.
///
/// There is a folder instead of a temporary file because the linker creates the file itself, and because the file then
/// gets its mode from the user's umask.
fn place(path: &Path, make: impl FnOnce(&Path, &str) -> Result<(), ObjectError>) -> Result<(), ObjectError> {
    const NAME: &str = "output";
    let write_error = |source| ObjectError::Write { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Err(write_error(io::ErrorKind::IsADirectory.into())),
    };
    let work = Builder::new().prefix(".eightfold-").tempdir_in(folder).map_err(write_error)?;
    make(work.path(), NAME)?;
    fs::rename(work.path().join(NAME), path).map_err(write_error)
}

/// A C compiler, used as a linker for one architecture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Linker {
    arch: &'static Arch,
    program: String,
    args: Vec<String>,
    variable: String,
}

impl Linker {
    /// The linker that an environment variable names, else the usual one: for this machine's architecture CC and `cc`; for
    /// others, for example, `CC_aarch64_unknown_linux_gnu` and `aarch64-linux-gnu-gcc`.
    #[must_use]
    pub fn from_env(arch: &'static Arch) -> Linker {
        let variable = Linker::variable(arch);
        Linker::new(arch, &env::var(variable).unwrap_or_default())
    }

    /// The linker of a command: a program and options, separated by spaces. An empty command is the usual one.
    #[must_use]
    pub fn new(arch: &'static Arch, command: &str) -> Linker {
        let usual = if arch.is_host() { "cc" } else { arch.linker };
        let mut words = command.split_whitespace().map(str::to_owned);
        let program = words.next().unwrap_or_else(|| usual.to_owned());
        Linker { arch, program, args: words.collect(), variable: Linker::variable(arch) }
    }

    fn variable(arch: &Arch) -> String {
        match arch.is_host() {
            true => "CC".to_owned(),
            false => format!("CC_{}", arch.triple.replace('-', "_")),
        }
    }

    /// Links `object` and the runtime to the shared library `output`, which exports `query_symbol` alone.
    ///
    /// # Errors
    /// Every [`ObjectError`].
    pub fn link_shared(&self, object: &ObjectFile, query_symbol: &str, output: &Path) -> Result<(), ObjectError> {
        let Arch { name: arch, triple, elf_machine, .. } = *self.arch;
        let code = object.code();
        let is_other = |machine: &[u8]| machine != elf_machine.to_le_bytes();
        if code.starts_with(b"\x7fELF") && code.get(18..20).is_none_or(is_other) {
            return Err(ObjectError::OtherMachine { arch });
        }
        let runtime = runtime(self.arch).ok_or(ObjectError::NoRuntime { arch, triple })?;
        place(output, |work, name| {
            let exports = format!("{{ global: {query_symbol}; local: *; }};\n");
            let model = || {
                let mut file = BufWriter::new(File::create(work.join("model.o"))?);
                object.write_to(&mut file)?;
                file.flush()
            };
            let written = model()
                .and_then(|()| fs::write(work.join("runtime.o"), runtime))
                .and_then(|()| fs::write(work.join("exports"), exports));
            written.map_err(|source| ObjectError::Write { path: output.to_owned(), source })?;
            self.run(work, name)
        })
    }

    /// Links `output` in the folder `work`. All names are relative to it, so that no path gets into the library, and no
    /// comma of a path is read as a separator of `-Wl`.
    fn run(&self, work: &Path, output: &str) -> Result<(), ObjectError> {
        // A linker with a folder in its name is relative to the user's folder, not to `work`.
        let program = if self.program.contains('/') {
            std::path::absolute(&self.program).unwrap_or_else(|_| PathBuf::from(&self.program))
        } else {
            PathBuf::from(&self.program)
        };
        let output = Command::new(program)
            .args(&self.args)
            .args(["-shared", "-nostdlib", "-o", output, "model.o", "runtime.o"])
            .args(["-Wl,--version-script=exports", "-Wl,--gc-sections", "-Wl,--strip-all"])
            .args(["-Wl,--build-id=none", "-Wl,--hash-style=gnu"])
            .args(["-Wl,-z,noexecstack", "-Wl,-z,relro", "-Wl,-z,now"])
            .current_dir(work)
            .env("LC_ALL", "C")
            // The linker would write this variable into the library.
            .env_remove("LD_RUN_PATH")
            .stdin(Stdio::null())
            .output();
        let linker = self.program.clone();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(ObjectError::LinkFailed { linker, status: output.status, stderr })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let package = (linker == self.arch.linker).then_some(self.arch.linker_package);
                Err(ObjectError::LinkerNotFound { linker, variable: self.variable.clone(), package })
            }
            Err(source) => Err(ObjectError::LinkerStart { linker, source }),
        }
    }
}
