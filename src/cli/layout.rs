//! How results look: headings, columns, numbers, colours.
//!
//! Text is laid out first and coloured last, so that a terminal and a pipe show the same words in the same
//! places. Nothing here knows what is shown.

use std::io::IsTerminal;

use super::diagnostics::Style;
pub(super) use super::diagnostics::one_line;

/// Colours, where somebody is looking who wants them.
#[derive(Clone, Copy)]
pub(super) struct Ink {
    colours: bool,
}

/// Rows of cells, each column as wide as its widest cell. The last column may be of any width.
#[derive(Default)]
pub(super) struct Columns(Vec<Vec<String>>);

/// How wide a list may get before it goes on in the next line.
const WIDTH: usize = 100;

impl Ink {
    /// What fits a stream.
    pub(super) fn of(stream: &impl IsTerminal) -> Self {
        Self { colours: Style::of(stream) == Style::Colours }
    }

    pub(super) fn heading(self, text: &str) -> String {
        self.coloured("1", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.coloured("1;32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.coloured("1;31", text)
    }

    pub(super) fn warn(self, text: &str) -> String {
        self.coloured("1;33", text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.coloured("2", text)
    }

    fn coloured(self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

impl Columns {
    pub(super) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.0.push(cells.map(one_line).to_vec());
    }

    /// One line for each row, indented by so many spaces.
    pub(super) fn lines(&self, indent: usize) -> String {
        let width =
            |column: usize| self.0.iter().filter_map(move |row| row.get(column)).map(|cell| wide(cell));
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| width(column).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.0 {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(&format!("{:indent$}{}\n", "", line.trim_end()));
        }
        text
    }
}

/// `a, b, c`, with as many lines as it takes; all but the first are indented by so many spaces.
pub(super) fn list(items: impl IntoIterator<Item = String>, indent: usize) -> String {
    let mut text = String::new();
    let mut line = indent;
    for item in items {
        let item = one_line(&item);
        if !text.is_empty() {
            text.push(',');
            let breaks = line + wide(&item) + 2 > WIDTH;
            text.push_str(&if breaks { format!("\n{:indent$}", "") } else { " ".to_owned() });
            line = if breaks { indent } else { line + 2 };
        }
        line += wide(&item);
        text.push_str(&item);
    }
    text
}

/// `1 script`, `3 scripts`.
pub(super) fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{} {stem}ies", grouped(number as u64)),
        (_, None) => format!("{} {what}s", grouped(number as u64)),
    }
}

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes in the unit that makes it short.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

fn wide(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut columns = Columns::default();
        columns.row(["a", "long cell", "x"]);
        columns.row(["long", "b", ""]);
        assert_eq!(columns.lines(2), "  a     long cell  x\n  long  b\n");
    }

    #[test]
    fn a_long_list_goes_on_in_the_next_line() {
        let shown = list((0..30).map(|number| format!("name-{number}")), 10);
        assert!(shown.lines().count() > 1 && shown.lines().all(|line| line.len() <= WIDTH), "{shown}");
        assert!(shown.lines().skip(1).all(|line| line.starts_with("          name-")), "{shown}");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([size(912), size(6 << 20), size(5 << 40)], ["912 B", "6.0 MiB", "5120.0 GiB"]);
        assert_eq!(
            [count(1, "entry"), count(0, "entry"), count(2, "script")],
            ["1 entry", "0 entries", "2 scripts"]
        );
    }

    #[test]
    fn without_colours_text_is_text() {
        assert_eq!(Ink { colours: false }.bad("x"), "x");
        assert_eq!(Ink { colours: true }.bad("x"), "\u{1b}[1;31mx\u{1b}[0m");
    }
}
