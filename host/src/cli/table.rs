//! Plain tables for people.

use espalier_base::text;

/// Rows under a header, columns aligned: the first to the left, the others to the right.
pub(super) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    // Names come from files and plugins.
    let shown = |row: &Vec<String>| row.iter().map(|cell| text::line(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    lines.push(
        "-".repeat(lines[0].chars().count().max(widths.iter().sum::<usize>() + 2 * (widths.len() - 1))),
    );
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "12345".to_owned()]];
        let table = super::render(&["name", "n"], &rows);
        assert_eq!(table, "name      n\n-----------\na         1\nlong  12345");
    }
}
