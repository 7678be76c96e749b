//! Plain text in aligned columns.

/// The alignment of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Align {
    /// Padding after the cell.
    Left,
    /// Padding before the cell.
    Right,
}

/// The rows as lines: each column as wide as its widest cell, two spaces between columns, no trailing spaces.
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

/// A Markdown table whose source is aligned, too; cells must not contain `|`. The first column is aligned left, the
/// others right.
pub(crate) fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let length = |cell: &str| cell.chars().count();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| length(&row[column]));
        cells.chain([length(header[column]), 3]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths
        .iter()
        .enumerate()
        .map(|(column, &width)| if column == 0 { "-".repeat(width) } else { format!("{}:", "-".repeat(width - 1)) });
    let rule = format!("| {} |", rule.collect::<Vec<_>>().join(" | "));
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    [line(header.to_vec()), rule].into_iter().chain(body).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_lines_up() {
        let rows = [vec!["resnet50".to_owned(), "0.92".to_owned()], vec!["vgg".to_owned(), "1".to_owned()]];
        assert_eq!(
            markdown(&["model", "x"], &rows),
            "| model    |    x |\n| -------- | ---: |\n| resnet50 | 0.92 |\n| vgg      |    1 |"
        );
    }

    #[test]
    fn columns_line_up() {
        let rows = [["top-1", "99.67%", ""], ["file size", "8", "2.00x"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            columns(&rows, &[Align::Left, Align::Right, Align::Left]),
            "top-1      99.67%\nfile size       8  2.00x"
        );
    }
}
