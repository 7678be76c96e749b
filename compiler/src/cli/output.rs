//! Output of a verb: text, or one JSON value.

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table};
use eightfold::Error;
pub(crate) use eightfold::report::numbers::bytes;
use eightfold_ir::misleads;
use serde::Serialize;

use super::destination::{self, Destination};

/// The output format.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Format {
    /// Format of results and errors.
    #[arg(long, global = true, value_enum, default_value_t = Form::Human)]
    format: Form,
    /// List every node where reports and errors would group nodes.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// An output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Text for people.
    #[default]
    Human,
    /// One JSON value; fields are added, never renamed. An error is the last line of standard error.
    Json,
}

impl Format {
    /// Whether JSON is requested.
    pub(crate) fn is_json(self) -> bool {
        self.format == Form::Json
    }

    /// Prints a result.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn print(self, report: &impl Serialize, human: impl FnOnce() -> String) -> Result<(), Error> {
        destination::print(&self.text(report, human))
    }

    /// Prints a report about a result that goes to `destination`. If the result goes to standard output, the report
    /// goes to standard error.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn print_beside(
        self,
        destination: &Destination,
        report: &impl Serialize,
        human: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        if !destination.is_stdout() {
            return self.print(report, human);
        }
        anstream::eprint!("{}", self.text(report, human));
        Ok(())
    }

    fn text(self, report: &impl Serialize, human: impl FnOnce() -> String) -> String {
        let mut text = match self.format {
            Form::Human => human(),
            Form::Json => serde_json::to_string_pretty(report)
                .unwrap_or_else(|error| unreachable!("reports are plain data: {error}")),
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if !text.contains(is_unsafe) {
            return text;
        }
        match self.format {
            Form::Human => escaped(&text),
            Form::Json => escaped_json(&text),
        }
    }
}

/// Whether a terminal might interpret the character as a command. Line breaks are safe: this program writes them
/// itself.
fn is_unsafe(c: char) -> bool {
    misleads(c) && !matches!(c, '\n' | '\t')
}

/// Escapes control characters, which names in a model may contain.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { c.escape_unicode().to_string() } else { c.into() }).collect()
}

/// Escapes control characters for JSON, where they occur only in strings.
pub(crate) fn escaped_json(text: &str) -> String {
    let escape = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    text.chars().map(|c| if is_unsafe(c) { escape(c) } else { String::from(c) }).collect()
}

/// A name as one line.
pub(crate) fn one_line(name: &str) -> String {
    name.chars().map(|c| if misleads(c) { c.escape_default().to_string() } else { c.into() }).collect()
}

/// A table with a header and without frames; `right` lists the right-aligned columns.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    right: &[usize],
) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| one_line(&cell))));
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// The size of an arena, and its lower bound if that is less.
pub(crate) fn arena_text(arena: u64, bound: u64) -> String {
    match bound < arena {
        true => format!("{}, no plan takes less than {}", bytes(arena), bytes(bound)),
        false => bytes(arena),
    }
}

/// A large number with a decimal prefix: `1.24 M`.
pub(crate) fn count(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{:.2} K", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} M", number as f64 / 1e6),
        _ => format!("{:.2} G", number as f64 / 1e9),
    }
}

/// A fraction in percent: `99.50%`.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2}%", 100.0 * fraction)
}

/// Milliseconds as microseconds: `12.3`.
pub(crate) fn us(ms: f64) -> String {
    format!("{:.1}", 1e3 * ms)
}

/// `x 1.23`: multiply-accumulates that a kernel computes over those of the operator; empty if the ratio is 1.
pub(crate) fn padding(times: f64) -> String {
    if times < 1.005 { String::new() } else { format!("x {times:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_units() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(3 << 30)], ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]);
        assert_eq!([count(999), count(1_236_096), count(4_100_000_000)], ["999", "1.24 M", "4.10 G"]);
        assert_eq!(percent(0.995), "99.50%");
        assert_eq!((us(0.0123), padding(1.0), padding(1.5)), ("12.3".to_owned(), String::new(), "x 1.50".to_owned()));
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        let name = "a\u{1b}[2J\u{202e}b\nc";
        assert_eq!(escaped(name), "a\\u{1b}[2J\\u{202e}b\nc");
        assert_eq!(one_line(name), "a\\u{1b}[2J\\u{202e}b\\nc");
        assert_eq!(escaped_json("\u{202e}"), "\\u202e");
        let rows = [[name.to_owned(), "1".to_owned()]];
        assert_eq!(table(["x", "count"], rows, &[1]).lines().count(), 2);
    }

    #[test]
    fn tables_are_plain_columns() {
        let rows = [["a".to_owned(), "1".to_owned()], ["bb".to_owned(), "22".to_owned()]];
        assert_eq!(table(["x", "count"], rows, &[1]), " x   count\n a       1\n bb     22");
    }
}
