//! The package managers that `setup` supports, and their names for what it installs.

use std::io::IsTerminal;
use std::process::Command;

use crate::process::{self, Failure};

/// A package manager: its commands, and its package names.
#[derive(Debug)]
pub(crate) struct PackageManager {
    /// The program to run.
    pub(crate) program: &'static str,
    /// Arguments that update the package lists, if that is a separate step.
    refresh: Option<&'static [&'static str]>,
    /// Arguments of an installation, before the package names.
    install: &'static [&'static str],
    /// Whether it must run as root.
    as_root: bool,
    /// LLVM 19 with headers, and the libraries that its static libraries link (for a release build that contains LLVM).
    llvm: &'static [&'static str],
    /// A C compiler with the C++ library, which LLVM needs.
    compiler: &'static [&'static str],
    /// An emulator of other architectures, and their C compilers and libraries; empty if the system does not have them all.
    emulation: &'static [&'static str],
}

/// In order of preference if a machine has several.
pub(crate) const PACKAGE_MANAGERS: &[PackageManager] = &[
    PackageManager {
        program: "apt-get",
        refresh: Some(&["update"]),
        install: &["install", "-y", "--no-install-recommends"],
        as_root: true,
        llvm: &["llvm-19-dev", "libpolly-19-dev", "libzstd-dev", "zlib1g-dev"],
        compiler: &["g++"],
        emulation: &["qemu-user", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
    },
    PackageManager {
        program: "dnf",
        refresh: None,
        install: &["install", "-y"],
        as_root: true,
        llvm: &["llvm19-devel", "libzstd-devel", "zlib-devel"],
        compiler: &["gcc-c++"],
        emulation: &[],
    },
    PackageManager {
        program: "pacman",
        refresh: None,
        install: &["-S", "--needed", "--noconfirm"],
        as_root: true,
        llvm: &["llvm19", "zstd", "zlib"],
        compiler: &["gcc"],
        emulation: &[],
    },
    PackageManager {
        program: "brew",
        refresh: None,
        install: &["install"],
        as_root: false,
        llvm: &["llvm@19", "zstd"],
        compiler: &["gcc"],
        emulation: &[],
    },
];

/// A requirement of the build, or of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Need {
    /// LLVM 19 with headers.
    Llvm,
    /// A C compiler and the C++ library.
    Compiler,
    /// An emulator of other architectures, and their C compilers.
    Emulation,
}

/// How this process can become root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Privilege {
    /// It is root.
    Root,
    /// With `sudo`, without a password or with a user who can type one.
    Sudo,
    /// It cannot.
    None,
}

impl PackageManager {
    /// The packages for these needs, in the order of the table.
    pub(crate) fn packages(&self, needs: &[Need]) -> Vec<&'static str> {
        let names = needs.iter().flat_map(|need| match need {
            Need::Llvm => self.llvm,
            Need::Compiler => self.compiler,
            Need::Emulation => self.emulation,
        });
        names.copied().collect()
    }

    /// The manager's program with the necessary rights; `None` if it cannot get them.
    fn program(&self, privilege: Privilege) -> Option<Command> {
        match privilege {
            Privilege::Sudo if self.as_root => {
                let mut sudo = Command::new("sudo");
                sudo.arg(self.program);
                Some(sudo)
            }
            Privilege::None if self.as_root => None,
            _ => Some(Command::new(self.program)),
        }
    }

    /// The commands that install these needs, in order; `None` if they need root and this process cannot become root.
    fn commands(&self, needs: &[Need], privilege: Privilege) -> Option<Vec<Command>> {
        let mut commands = Vec::new();
        if let Some(refresh) = self.refresh {
            let mut command = self.program(privilege)?;
            command.args(refresh);
            commands.push(command);
        }
        let mut command = self.program(privilege)?;
        command.args(self.install).args(self.packages(needs));
        command.env("DEBIAN_FRONTEND", "noninteractive");
        commands.push(command);
        Some(commands)
    }

    /// The command line that a user would type to install these needs.
    pub(crate) fn install_line(&self, needs: &[Need]) -> String {
        let sudo = if self.as_root { "sudo " } else { "" };
        format!("{sudo}{} {} {}", self.program, self.install.join(" "), self.packages(needs).join(" "))
    }

    /// Installs these needs; prints each command first.
    pub(crate) fn install(&self, needs: &[Need], privilege: Privilege) -> Result<(), Failure> {
        let commands = self.commands(needs, privilege).ok_or_else(|| Failure::Missing {
            what: "the right to install packages (neither root nor sudo)".to_owned(),
            remedy: format!("ask somebody who has it for:\n  {}", self.install_line(needs)),
        })?;
        let mut result = Ok(());
        for mut command in commands {
            // Only the last command decides: one broken package source makes a refresh fail, although the others may
            // suffice.
            if let Err(failure) = &result {
                eprintln!("setup: {failure}; going on");
            }
            result = process::run(&mut command);
        }
        result
    }
}

/// The first package manager of the table for which `is_there` returns true.
pub(crate) fn choose(is_there: impl Fn(&str) -> bool) -> Option<&'static PackageManager> {
    PACKAGE_MANAGERS.iter().find(|manager| is_there(manager.program))
}

/// How this process can become root.
pub(crate) fn privilege() -> Privilege {
    if process::probe(Command::new("id").arg("-u")).as_deref() == Some("0") {
        Privilege::Root
    } else if process::which("sudo").is_some()
        && (std::io::stdin().is_terminal() || process::probe(Command::new("sudo").args(["-n", "true"])).is_some())
    {
        Privilege::Sudo
    } else {
        Privilege::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_manager_of_the_table_that_is_there_is_chosen() {
        let on = |there: &'static [&'static str]| choose(|name| there.contains(&name)).map(|manager| manager.program);
        assert_eq!(on(&["apt-get"]), Some("apt-get"));
        assert_eq!(on(&["brew", "dnf"]), Some("dnf"));
        assert_eq!(on(&["pacman"]), Some("pacman"));
        assert_eq!(on(&["emerge"]), None);
    }

    fn apt(needs: &[Need], privilege: Privilege) -> Option<Vec<String>> {
        let commands = PACKAGE_MANAGERS[0].commands(needs, privilege)?;
        Some(commands.iter().map(process::line).collect())
    }

    #[test]
    fn apt_refreshes_its_lists_and_installs_only_what_is_needed() {
        let install = "apt-get install -y --no-install-recommends";
        assert_eq!(
            apt(&[Need::Llvm], Privilege::Root).unwrap(),
            ["apt-get update".to_owned(), format!("{install} llvm-19-dev libpolly-19-dev libzstd-dev zlib1g-dev")]
        );
        assert_eq!(
            apt(&[Need::Compiler], Privilege::Sudo).unwrap(),
            ["sudo apt-get update".to_owned(), format!("sudo {install} g++")]
        );
        assert_eq!(apt(&[Need::Compiler], Privilege::None), None);
    }

    #[test]
    fn without_root_the_failure_names_the_packages() {
        let failure = PACKAGE_MANAGERS[0].install(&[Need::Llvm, Need::Compiler], Privilege::None).unwrap_err();
        assert!(failure.to_string().contains("llvm-19-dev libpolly-19-dev libzstd-dev zlib1g-dev g++"), "{failure}");
    }

    #[test]
    fn homebrew_needs_no_root() {
        let brew = PACKAGE_MANAGERS.iter().find(|manager| manager.program == "brew").unwrap();
        assert_eq!(brew.commands(&[Need::Llvm], Privilege::None).unwrap().len(), 1);
        assert_eq!(brew.install_line(&[Need::Llvm]), "brew install llvm@19 zstd");
    }
}
