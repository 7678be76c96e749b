//! Errors as people read them: what, why, and what to do.

use std::error::Error as _;
use std::fmt::Write as _;

use clap::builder::styling::{AnsiColor, Style};
use eightfold::Error;

/// Prints an error to standard error: the message, a line for each cause, and the hint if there is one.
pub(crate) fn print(error: &Error) {
    let (bold, reset) = (Style::new().bold().fg_color(Some(AnsiColor::Red.into())), anstyle_reset());
    anstream::eprintln!("{bold}error{reset}: {}", text(error));
}

fn anstyle_reset() -> clap::builder::styling::Reset {
    clap::builder::styling::Reset
}

/// The message, the causes, the hint. A cause that the line above it already says is left out.
fn text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut said = text.clone();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !said.contains(&message) {
            _ = write!(text, "\n  caused by: {}", indented(&message));
        }
        said = message;
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        _ = write!(text, "\n  hint: {hint}");
    }
    text
}

/// Further lines of a message stand below the first.
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
        assert_eq!(text(&error), "cannot read a.ir\n  caused by: no such file");
        let hint = "\n  hint: give --calibration-data DATA, or compile with --precision f32";
        assert!(text(&Error::NoRanges).ends_with(hint));
    }
}
