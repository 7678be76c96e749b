//! Prints errors: the message, its causes and a hint.

use std::error::Error as _;
use std::fmt::Write as _;

use clap::builder::styling::{AnsiColor, Style};
use eightfold::Error;
use serde::Serialize;

use super::output::{Format, escaped, escaped_json};

/// Prints an error to standard error: the message, its causes, the omitted nodes with `--verbose`, and the hint. As
/// JSON the error is one line.
pub(crate) fn print(error: &Error, format: Format) {
    if format.is_json() {
        return print_json(error, format.verbose);
    }
    let (bold, reset) = (Style::new().bold().fg_color(Some(AnsiColor::Red.into())), anstyle_reset());
    anstream::eprintln!("{bold}error{reset}: {}", escaped(&text(error, format.verbose)));
}

/// An error as JSON.
#[derive(Serialize)]
struct Report {
    message: String,
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    fault: &'static str,
    exit_code: u8,
}

/// Prints an error as one line of JSON, the last line of standard error.
pub(crate) fn print_json(error: &Error, verbose: bool) {
    let fault = error.fault();
    let report = Report {
        message: error.to_string(),
        causes: causes(error),
        nodes: error.details().filter(|_| verbose),
        hint: error.hint(),
        fault: fault.name(),
        exit_code: fault.exit_code(),
    };
    let text = serde_json::json!({ "error": report }).to_string();
    anstream::eprintln!("{}", escaped_json(&text));
}

fn anstyle_reset() -> clap::builder::styling::Reset {
    clap::builder::styling::Reset
}

/// The causes, without those that the message before them already includes.
fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !said.contains(&message) {
            causes.push(message.clone());
        }
        said = message;
        source = cause.source();
    }
    causes
}

/// The message, the causes, all nodes if `verbose`, and the hint.
fn text(error: &Error, verbose: bool) -> String {
    let mut text = error.to_string();
    for cause in causes(error) {
        _ = write!(text, "\n  caused by: {}", indented(&cause));
    }
    match error.details() {
        Some(nodes) if verbose => nodes.iter().for_each(|node| _ = write!(text, "\n  {node}")),
        Some(nodes) => _ = write!(text, "\n  --verbose lists all {} nodes", nodes.len()),
        None => {}
    }
    if let Some(hint) = error.hint() {
        _ = write!(text, "\n  hint: {hint}");
    }
    text
}

/// Indents the second and later lines of a message.
fn indented(message: &str) -> String {
    message.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_shows_its_causes_and_a_hint() {
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = Error::Read { path: "a.ir".into(), source };
        assert_eq!(text(&error, false), "cannot read a.ir\n  caused by: no such file");
        let hint = "\n  hint: give --calibration-data DATA, or compile with --precision f32";
        assert!(text(&Error::NoRanges, false).ends_with(hint));
    }
}
