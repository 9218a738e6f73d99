//! A table of text, for people who look at a terminal and for pages in Markdown.

use std::fmt::Write;

/// Rows under a head; the first column is on the left, all others on the right.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Columns in line.
    Aligned,
    /// For a page.
    Markdown,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned).to_vec()] }
    }

    /// Adds a row. Cells that it lacks are empty.
    pub(crate) fn add(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Writes it.
    pub(crate) fn write(&self, form: Form) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column| self.rows.iter().map(|row| cell(row, column).chars().count()).max();
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = widths.iter().enumerate().map(|(column, width)| {
                let (text, width) = (cell(row, column), *width);
                if column == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
            });
            let cells: Vec<String> = cells.collect();
            // Writing into a string does not fail.
            let _ = match form {
                Form::Aligned => writeln!(text, "{}", cells.join("  ").trim_end()),
                Form::Markdown => writeln!(text, "| {} |", cells.join(" | ")),
            };
            if number == 0 {
                let _ = match form {
                    Form::Aligned => {
                        writeln!(text, "{}", "-".repeat(widths.iter().sum::<usize>() + 2 * columns))
                    }
                    Form::Markdown => writeln!(text, "|---|{}", "--:|".repeat(columns.saturating_sub(1))),
                };
            }
        }
        text
    }
}

fn cell(row: &[String], column: usize) -> &str {
    row.get(column).map_or("", String::as_str)
}
