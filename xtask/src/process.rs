//! Runs other programs: prints each command before it runs, and names the command in errors.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

/// Why a task failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The task was called with wrong arguments; holds the message.
    Usage(String),
    /// A program could not be started.
    Start { command: String, error: io::Error },
    /// A program ran and failed.
    Exit { command: String, status: ExitStatus },
    /// A program's output has an unexpected form.
    Output { command: String, problem: String },
    /// A file could not be read or written.
    File { path: PathBuf, error: io::Error },
    /// Something is not installed, and the task could not install it.
    Missing { what: String, remedy: String },
    /// The figures do not meet the task's requirement.
    Requirement(String),
}

impl Failure {
    /// The exit code: that of the failed program if there is one.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Exit { status, .. } => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                ExitCode::from(code.filter(|&code| code != 0).unwrap_or(1))
            }
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) | Failure::Requirement(message) => f.write_str(message),
            Failure::Start { command, error } => write!(f, "cannot start `{command}`: {error}"),
            Failure::Exit { command, status } => write!(f, "`{command}` failed: {status}"),
            Failure::Output { command, problem } => write!(f, "output of `{command}`: {problem}"),
            Failure::File { path, error } => write!(f, "{}: {error}", path.display()),
            Failure::Missing { what, remedy } => write!(f, "missing: {what}\n{remedy}"),
        }
    }
}

/// The command as a user would type it; arguments with spaces are quoted.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains(char::is_whitespace) { format!("'{word}'") } else { word.into_owned() }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Prints the command, runs it with this process's streams, and waits for it.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    eprintln!("$ {}", line(command));
    let status = command.status().map_err(|error| Failure::Start { command: line(command), error })?;
    if status.success() { Ok(()) } else { Err(Failure::Exit { command: line(command), status }) }
}

/// Prints the command, runs it, and returns its standard output; its standard error is not captured.
pub(crate) fn capture(command: &mut Command) -> Result<String, Failure> {
    eprintln!("$ {}", line(command));
    let output = command.stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|error| Failure::Start { command: line(command), error })?;
    if !output.status.success() {
        return Err(Failure::Exit { command: line(command), status: output.status });
    }
    let not_text = |_| Failure::Output { command: line(command), problem: "not UTF-8".to_owned() };
    String::from_utf8(output.stdout).map_err(not_text)
}

/// Runs a program without printing the command; returns its trimmed standard output, or `None` if it is missing or
/// fails.
pub(crate) fn probe(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The first file of this name in the folders of `PATH`.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_quotes_arguments_with_blanks() {
        let mut command = Command::new("cc");
        command.args(["-o", "a b", "", "c.c"]);
        assert_eq!(line(&command), "cc -o 'a b' '' c.c");
    }

    #[test]
    fn the_exit_code_of_a_failed_command_passes_through() {
        let failure = run(Command::new("sh").args(["-c", "exit 101"])).unwrap_err();
        assert_eq!(format!("{:?}", failure.exit_code()), format!("{:?}", ExitCode::from(101)));
        assert!(failure.to_string().contains("exit 101"), "{failure}");
    }

    #[test]
    fn a_command_that_is_not_there_is_named() {
        let failure = capture(&mut Command::new("eightfold-no-such-program")).unwrap_err();
        assert!(failure.to_string().starts_with("cannot start `eightfold-no-such-program`"), "{failure}");
        assert_eq!(probe(&mut Command::new("eightfold-no-such-program")), None);
    }
}
