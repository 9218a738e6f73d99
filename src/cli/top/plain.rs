//! One look as plain text, for a pipe or a log.

use super::sheet::{Mood, Sheet, number, rates, span};
use super::state::Pane;
use crate::admin::traffic::View;
use crate::cli::layout::{Columns, Ink};

/// Every list that has something in it.
pub(super) fn text(view: &View, address: &str, ink: Ink) -> String {
    let mut text = format!(
        "{} {address}, {}, generation {}, up {}\n",
        ink.heading("riskgate"),
        view.time,
        view.generation,
        span(view.process.uptime_s)
    );
    let [offered, allowed, throttled, challenged, blocked] = rates(&view.total).map(|cell| cell.text);
    text.push_str(&format!(
        "requests/s over {} s: offered {offered}, allowed {allowed}, throttled {throttled}, \
         challenged {challenged}, blocked {blocked}; in flight {}\n",
        number(view.window_s),
        view.process.in_flight
    ));
    for surge in &view.surges {
        let (rate, times, usual) = (number(surge.rate), number(surge.surge), number(surge.usual));
        let line = format!("{} {} surges: {rate}/s, {times} times its usual {usual}/s", surge.per, surge.key);
        text.push_str(&format!("{}\n", ink.warn(&line)));
    }
    for pane in Pane::ALL {
        let sheet = Sheet::of(view, pane);
        if !sheet.lines.is_empty() {
            text.push_str(&format!("\n{}\n{}", ink.heading(pane.as_str()), list(&sheet)));
        }
    }
    text
}

fn list(sheet: &Sheet) -> String {
    let mut columns = Columns::default();
    let mut row = |name: &str, cells: &mut dyn Iterator<Item = &str>| {
        let mut next = || cells.next().unwrap_or("");
        columns.row([name, next(), next(), next(), next(), next(), next(), next()]);
    };
    row("", &mut sheet.columns.iter().copied());
    for line in &sheet.lines {
        let mark = if line.mood == Mood::Surging { "! " } else { "" };
        row(&format!("{mark}{}", line.name), &mut line.cells.iter().map(|cell| cell.text.as_str()));
    }
    columns.lines(2)
}
