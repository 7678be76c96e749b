//! Plain text in aligned columns.

/// Which side of its column a cell stands at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Align {
    /// Padding after the cell.
    Left,
    /// Padding before the cell.
    Right,
}

/// The rows as lines, each column as wide as its widest cell, two blanks between; no blanks at the end of a line.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]], align: &[Align; N]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).zip(align).map(|((cell, width), align)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["top-1", "99.67%", ""], ["file size", "8", "2.00x"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            columns(&rows, &[Align::Left, Align::Right, Align::Left]),
            "top-1      99.67%\nfile size       8  2.00x"
        );
    }
}
