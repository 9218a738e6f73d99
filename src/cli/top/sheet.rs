//! A list as rows of text: which columns it has, what stands in them, and what deserves attention.
//!
//! The first column is a name, all others are numbers, in the order in which they are kept when there is little room.

use super::state::Pane;
use crate::admin::traffic::{Client, Concurrency, Country, Limit, Ranked, Rates, View};
use crate::cli::layout::grouped;

/// A list.
pub(super) struct Sheet {
    /// The least room for a name.
    pub(super) name: u16,
    /// The columns after the name, the most important first; a name has 9 letters at most.
    pub(super) columns: &'static [&'static str],
    pub(super) lines: Vec<Line>,
}

/// A row.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
    pub(super) mood: Mood,
}

/// What stands in a column.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) mood: Mood,
}

/// What deserves attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing does.
    Calm,
    /// There is nothing here.
    Faint,
    /// Turned away by a limit, or close to it.
    Warm,
    /// Refused.
    Bad,
    /// Far more than usual.
    Surging,
}

const COUNTRIES: &[&str] = &["offered", "allowed", "throttled", "blocked", "surge", "usual", "challenge"];
const CLIENTS: &[&str] = &["offered", "allowed", "throttled", "blocked", "country", "challenge"];
const RANKED: &[&str] = &["offered", "allowed", "throttled", "blocked", "challenge"];
const LIMITS: &[&str] = &["allowed", "throttled", "at most", "share", "window"];

impl Sheet {
    /// A list of a view.
    pub(super) fn of(view: &View, pane: Pane) -> Self {
        match pane {
            Pane::Countries => {
                let lines = view.countries.iter().map(|row| country(row, surges(view, &row.country)));
                Self { name: 8, columns: COUNTRIES, lines: lines.collect() }
            }
            Pane::Clients => {
                Self { name: 18, columns: CLIENTS, lines: view.clients.iter().map(client).collect() }
            }
            Pane::Routes => {
                Self { name: 28, columns: RANKED, lines: view.routes.iter().map(ranked).collect() }
            }
            Pane::Reasons => {
                Self { name: 28, columns: RANKED, lines: view.reasons.iter().map(ranked).collect() }
            }
            Pane::Limits => {
                let lines = view.limits.iter().map(limit).chain(view.concurrency.iter().map(concurrency));
                Self { name: 28, columns: LIMITS, lines: lines.collect() }
            }
        }
    }
}

fn surges(view: &View, country: &str) -> bool {
    view.surges.iter().any(|surge| surge.per == "country" && surge.key == country)
}

fn country(row: &Country, surging: bool) -> Line {
    let times = row.surge.map_or_else(nothing, |surge| calm(format!("{}x", number(surge))));
    let usual = row.usual.map_or_else(nothing, |usual| calm(number(usual)));
    let mood = if surging { Mood::Surging } else { Mood::Calm };
    let [offered, allowed, throttled, challenged, blocked] = rates(&row.rates);
    Line {
        name: row.country.clone(),
        cells: vec![offered, allowed, throttled, blocked, times, usual, challenged],
        mood,
    }
}

fn client(row: &Client) -> Line {
    let [offered, allowed, throttled, challenged, blocked] = rates(&row.rates);
    let cells = vec![offered, allowed, throttled, blocked, calm(row.country.clone()), challenged];
    Line { name: row.client.clone(), cells, mood: Mood::Calm }
}

fn ranked(row: &impl Ranked) -> Line {
    let [offered, allowed, throttled, challenged, blocked] = rates(row.rates());
    let cells = vec![offered, allowed, throttled, blocked, challenged];
    Line { name: row.name().to_owned(), cells, mood: Mood::Calm }
}

fn limit(row: &Limit) -> Line {
    let whose = row.key.as_deref().map_or_else(|| format!("per {}", row.per), str::to_owned);
    let share = row.fair_share.map_or_else(nothing, |share| Cell { text: number(share), mood: Mood::Warm });
    Line {
        name: format!("{} {whose}", row.limit),
        cells: vec![
            calm(number(row.allowed)),
            row.throttled.map_or_else(nothing, |rate| noted(rate, Mood::Warm)),
            row.rate.map_or_else(nothing, |rate| calm(number(rate))),
            share,
            calm(format!("{} s", number(row.window_s))),
        ],
        mood: Mood::Calm,
    }
}

/// How many requests there are in the place of how many a second.
fn concurrency(row: &Concurrency) -> Line {
    let crowded = row.in_flight >= row.most as usize;
    let cells = vec![
        calm(row.in_flight.to_string()),
        nothing(),
        calm(row.most.to_string()),
        nothing(),
        calm("at once".to_owned()),
    ];
    let mood = if crowded { Mood::Warm } else { Mood::Calm };
    Line { name: format!("{} per {}", row.name, row.per), cells, mood }
}

/// Offered, allowed, throttled, challenged, blocked.
pub(super) fn rates(rates: &Rates) -> [Cell; 5] {
    [
        calm(number(rates.offered)),
        noted(rates.allowed, Mood::Calm),
        noted(rates.throttled, Mood::Warm),
        noted(rates.challenged, Mood::Warm),
        noted(rates.blocked, Mood::Bad),
    ]
}

fn noted(rate: f64, mood: Mood) -> Cell {
    Cell { text: number(rate), mood: if rate > 0.0 { mood } else { Mood::Faint } }
}

fn calm(text: String) -> Cell {
    Cell { text, mood: Mood::Calm }
}

fn nothing() -> Cell {
    Cell { text: "-".to_owned(), mood: Mood::Faint }
}

/// A number with as many digits as one wants to read: `0.25`, `8.5`, `1,234`.
pub(super) fn number(value: f64) -> String {
    let whole = value.round();
    if value <= 0.0 || !value.is_finite() {
        "0".to_owned()
    } else if value < 1.0 {
        format!("{value:.2}")
    } else if value < 100.0 && (value - whole).abs() >= 0.05 {
        format!("{value:.1}")
    } else {
        grouped(whole as u64)
    }
}

/// How long, roughly: `42 s`, `7 min`, `3 h`, `12 d`.
pub(super) fn span(seconds: f64) -> String {
    let units = [("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)];
    let unit = units.into_iter().find(|(_, length)| seconds >= 2.0 * length);
    let (name, length) = unit.unwrap_or(("s", 1.0));
    format!("{:.0} {name}", (seconds / length).floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_one_reads() {
        let shown = [0.0, -1.0, f64::NAN, 0.004, 0.25, 1.0, 8.46, 99.96, 123.4, 1_234_567.0].map(number);
        assert_eq!(shown, ["0", "0", "0", "0.00", "0.25", "1", "8.5", "100", "123", "1,234,567"]);
        assert_eq!([5.0, 119.9, 120.0, 7_300.0, 1e6].map(span), ["5 s", "119 s", "2 min", "2 h", "11 d"]);
    }
}
