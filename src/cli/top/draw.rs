//! Lays the state out on a screen of any size: all lists at once where there is room, else the chosen one.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table};

use super::sheet::{self, Mood, Sheet, number, span};
use super::state::{Flow, Overlay, Pane, State};
use crate::admin::traffic::View;
use crate::config::units::show_duration;
use crate::facts::time::Tick;

/// From this size on all lists are shown at once.
const ROOMY: (u16, u16) = (120, 30);
/// The width of a number.
const COLUMN: u16 = 10;
/// What was seen longer ago than this, and than two intervals, is called old.
const OLD: Duration = Duration::from_secs(3);

const HELP: [(&str, &str); 9] = [
    ("q Esc Ctrl-C", "quit"),
    ("Tab, arrows", "next list, previous list"),
    ("up, down", "scroll; PgUp, PgDn, Home too"),
    ("s", "sort by the next column"),
    ("p", "pause, go on"),
    ("+ -", "look less often, more often"),
    ("?", "this help"),
    ("", ""),
    ("rates", "requests/s over the last 10 s; surging rows are marked with !"),
];

/// Draws one frame.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: Tick) {
    let rows = [Constraint::Length(3), Constraint::Min(0), Constraint::Length(1)];
    let [head, body, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(heading(state, now)), head);
    match state.view() {
        Some(view) if body.width >= ROOMY.0 && frame.area().height >= ROOMY.1 => {
            grid(frame, body, state, view)
        }
        Some(view) => one(frame, body, state, view),
        None => {
            let waiting = if state.trouble.is_none() { "waiting for the first answer" } else { "" };
            frame.render_widget(Paragraph::new(waiting).alignment(Alignment::Center), body);
        }
    }
    frame.render_widget(Paragraph::new(keys(state)), foot);
    if state.overlay == Overlay::Help {
        help(frame);
    }
}

/// Who is looked at, what becomes of all requests, and what is wrong or unusual.
fn heading(state: &State, now: Tick) -> Vec<Line<'static>> {
    let mut first =
        vec![styled("riskgate top", Mood::Calm).bold(), Span::raw(format!("  {}", state.address))];
    let mut total = Line::default();
    if let Some(view) = state.view() {
        let up = span(view.process.uptime_s);
        first.push(Span::raw(format!("  generation {}  up {up}", view.generation)));
        total = totals(view);
    }
    if state.flow == Flow::Paused {
        first.push(styled("  PAUSED", Mood::Warm).bold());
    }
    if let Some(age) = state.age(now).filter(|age| *age > OLD.max(2 * state.interval)) {
        first.push(styled(format!("  seen {} ago", span(age.as_secs_f64())), Mood::Warm));
    }
    vec![Line::from(first), total, notice(state)]
}

fn totals(view: &View) -> Line<'static> {
    let mut spans = Vec::new();
    let names = ["offered", "allowed", "throttled", "challenged", "blocked"];
    for (name, cell) in names.into_iter().zip(sheet::rates(&view.total)) {
        if name == "challenged" && view.total.challenged <= 0.0 {
            continue;
        }
        spans.push(Span::raw(format!("{name} ")));
        spans.push(styled(format!("{}/s  ", cell.text), cell.mood).bold());
    }
    spans.push(Span::raw(format!("in flight {}", view.process.in_flight)));
    if view.process.records_dropped > 0 {
        spans.push(styled(format!("  records lost {}", view.process.records_dropped), Mood::Bad));
    }
    Line::from(spans)
}

fn notice(state: &State) -> Line<'static> {
    if let Some(trouble) = &state.trouble {
        return Line::from(styled(format!("trying again: {trouble}"), Mood::Bad));
    }
    let surges = state.view().map(|view| view.surges.as_slice()).unwrap_or_default();
    let told = surges.iter().map(|surge| {
        let (rate, times) = (number(surge.rate), number(surge.surge));
        format!("! {} {} {rate}/s, {times} times its usual {}/s", surge.per, surge.key, number(surge.usual))
    });
    Line::from(styled(told.collect::<Vec<_>>().join("   "), Mood::Surging))
}

/// The four lists of requests, and the limits below them.
fn grid(frame: &mut Frame<'_>, area: Rect, state: &State, view: &View) {
    let limits = u16::try_from(view.limits.len() + view.concurrency.len())
        .unwrap_or(u16::MAX)
        .saturating_add(3)
        .min(area.height / 4);
    let rows = [Constraint::Fill(3), Constraint::Fill(2), Constraint::Length(limits.max(4))];
    let [upper, lower, bottom] = Layout::vertical(rows).areas(area);
    let halves = |area| Layout::horizontal([Constraint::Fill(1); 2]).areas::<2>(area);
    let ([first, second], [third, fourth]) = (halves(upper), halves(lower));
    let areas = [first, second, third, fourth, bottom];
    for (pane, area) in Pane::ALL.into_iter().zip(areas) {
        list(frame, area, state, view, pane);
    }
}

/// The chosen list, below the names of all.
fn one(frame: &mut Frame<'_>, area: Rect, state: &State, view: &View) {
    let [tabs, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let names = Pane::ALL.into_iter().flat_map(|pane| {
        let style = if pane == state.pane { Style::new().reversed() } else { Style::new() };
        [Span::styled(pane.as_str(), style), Span::raw("  ")]
    });
    frame.render_widget(Paragraph::new(Line::from(names.collect::<Vec<_>>())), tabs);
    list(frame, body, state, view, state.pane);
}

fn list(frame: &mut Frame<'_>, area: Rect, state: &State, view: &View, pane: Pane) {
    let sheet = Sheet::of(view, pane);
    let chosen = pane == state.pane;
    let above = if chosen { state.above.min(sheet.lines.len().saturating_sub(1)) } else { 0 };
    let block = Block::bordered().title(title(pane, above, sheet.lines.len()));
    let block = if chosen { block.border_style(Style::new().fg(Color::Cyan)) } else { block };
    let inner = block.inner(area);
    let room = usize::from(inner.width.saturating_sub(sheet.name) / COLUMN).min(sheet.columns.len());
    let name = inner.width.saturating_sub(COLUMN * u16::try_from(room).unwrap_or(0));
    let shown = sheet.columns.iter().take(room);
    let names = shown.map(|name| Line::from(*name).alignment(Alignment::Right));
    let header = std::iter::once(Line::default()).chain(names);
    let lines = sheet.lines.iter().skip(above).map(|line| row(line, room, usize::from(name)));
    let widths = std::iter::once(name).chain(std::iter::repeat_n(COLUMN, room));
    let table = Table::new(lines, widths.map(Constraint::Length))
        .column_spacing(0)
        .header(Row::new(header).style(Modifier::DIM))
        .block(block);
    frame.render_widget(table, area);
}

fn title(pane: Pane, above: usize, rows: usize) -> String {
    match (above, rows) {
        (_, 0) => format!(" {}: none ", pane.as_str()),
        (0, _) => format!(" {} ", pane.as_str()),
        (above, rows) => format!(" {}, from {} of {rows} ", pane.as_str(), above + 1),
    }
}

fn row(line: &sheet::Line, room: usize, width: usize) -> Row<'static> {
    let mark = if line.mood == Mood::Surging { "! " } else { "" };
    let name = shortened(&format!("{mark}{}", line.name), width);
    let cells = line.cells.iter().take(room).map(|cell| {
        // A row that deserves attention has it as a whole.
        let mood = if line.mood == Mood::Calm { cell.mood } else { line.mood };
        Line::from(styled(cell.text.clone(), mood)).alignment(Alignment::Right)
    });
    Row::new(std::iter::once(Line::from(styled(name, line.mood))).chain(cells))
}

fn keys(state: &State) -> Line<'static> {
    let text = format!(
        "q quit  Tab list  s sort: {}  p {}  +/- every {}  ? help",
        state.sort.as_str(),
        if state.flow == Flow::Paused { "go on" } else { "pause" },
        show_duration(state.interval),
    );
    Line::from(styled(text, Mood::Faint))
}

fn help(frame: &mut Frame<'_>) {
    let all = frame.area();
    let lines = HELP.map(|(key, what)| Line::from(format!(" {key:<14}{what}")));
    let width = lines.iter().map(Line::width).max().unwrap_or(0) + 3;
    let (width, height) =
        (u16::try_from(width).unwrap_or(u16::MAX), u16::try_from(HELP.len() + 2).unwrap_or(0));
    let (width, height) = (width.min(all.width), height.min(all.height));
    let area = Rect::new((all.width - width) / 2, (all.height - height) / 2, width, height);
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines.to_vec()).block(Block::bordered().title(" help ")), area);
}

/// A name that fits, with a space after it.
fn shortened(name: &str, width: usize) -> String {
    let room = width.saturating_sub(1);
    if Span::raw(name).width() <= room {
        return name.to_owned();
    }
    let mut short = String::new();
    for letter in name.chars() {
        short.push(letter);
        if Span::raw(&short).width() + 1 > room {
            short.pop();
            break;
        }
    }
    short + "\u{2026}"
}

fn styled(text: impl Into<String>, mood: Mood) -> Span<'static> {
    let style = match mood {
        Mood::Calm => Style::new(),
        Mood::Faint => Style::new().add_modifier(Modifier::DIM),
        Mood::Warm => Style::new().fg(Color::Yellow),
        Mood::Bad => Style::new().fg(Color::Red),
        Mood::Surging => Style::new().fg(Color::Magenta).add_modifier(Modifier::BOLD),
    };
    Span::styled(text.into(), style)
}
