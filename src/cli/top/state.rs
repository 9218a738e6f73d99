//! What `top` shows, and what keys do to it. Pure: time is handed in, and nothing here draws or asks.

use std::ops::RangeInclusive;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::admin::traffic::{Sort, View};
use crate::facts::time::Tick;

/// Everything on the screen.
pub(super) struct State {
    /// Where the gate is.
    pub(super) address: String,
    /// Which list has the attention.
    pub(super) pane: Pane,
    /// What comes first in it.
    pub(super) sort: Sort,
    /// How often to look.
    pub(super) interval: Duration,
    pub(super) flow: Flow,
    pub(super) overlay: Overlay,
    /// How many rows of the pane are above the screen.
    pub(super) above: usize,
    /// What was seen last, and when.
    pub(super) seen: Option<(View, Tick)>,
    /// Why nothing was seen since.
    pub(super) trouble: Option<String>,
}

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Countries,
    Clients,
    Routes,
    Reasons,
    Limits,
}

/// Whether the screen moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Running,
    Paused,
}

/// What lies over the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlay {
    Nothing,
    Help,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    On,
    Quit,
}

/// How often one may look.
pub(super) const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// What `+` and `-` choose among, in milliseconds.
const STEPS: [u64; 9] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];
/// How many rows a page has.
const PAGE: usize = 10;

impl State {
    pub(super) fn new(address: String, sort: Sort, interval: Duration) -> Self {
        Self {
            address,
            pane: Pane::Countries,
            sort,
            interval,
            flow: Flow::Running,
            overlay: Overlay::Nothing,
            above: 0,
            seen: None,
            trouble: None,
        }
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent) -> Step {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Step::Quit,
            KeyCode::Char('?' | 'h') => self.overlay = self.overlay.other(),
            // What lies over the lists goes first.
            KeyCode::Esc if self.overlay == Overlay::Help => self.overlay = Overlay::Nothing,
            KeyCode::Char('q') | KeyCode::Esc => return Step::Quit,
            KeyCode::Tab | KeyCode::Right => self.turn_to(self.pane.next()),
            KeyCode::BackTab | KeyCode::Left => self.turn_to(self.pane.previous()),
            KeyCode::Char('s') => self.sort_by(self.sort.next()),
            KeyCode::Char('p' | ' ') => self.flow = self.flow.other(),
            KeyCode::Char('+' | '=') => self.interval = longer(self.interval),
            KeyCode::Char('-') => self.interval = shorter(self.interval),
            KeyCode::Down | KeyCode::Char('j') => self.above = self.above.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.above = self.above.saturating_sub(1),
            KeyCode::PageDown => self.above = self.above.saturating_add(PAGE),
            KeyCode::PageUp => self.above = self.above.saturating_sub(PAGE),
            KeyCode::Home => self.above = 0,
            _ => {}
        }
        self.above = self.above.min(self.rows().saturating_sub(1));
        Step::On
    }

    /// Takes in what was seen, or why nothing was. What was seen before stays.
    pub(super) fn saw(&mut self, seen: Result<View, String>, now: Tick) {
        match seen {
            Ok(mut view) => {
                view.sort(self.sort);
                (self.seen, self.trouble) = (Some((view, now)), None);
                self.above = self.above.min(self.rows().saturating_sub(1));
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    /// How long ago what is shown was seen.
    pub(super) fn age(&self, now: Tick) -> Option<Duration> {
        self.seen.as_ref().map(|(_, at)| now.elapsed().saturating_sub(at.elapsed()))
    }

    /// What was seen last.
    pub(super) fn view(&self) -> Option<&View> {
        self.seen.as_ref().map(|(view, _)| view)
    }

    fn turn_to(&mut self, pane: Pane) {
        (self.pane, self.above) = (pane, 0);
    }

    fn sort_by(&mut self, sort: Sort) {
        (self.sort, self.above) = (sort, 0);
        if let Some((view, _)) = &mut self.seen {
            view.sort(sort);
        }
    }

    /// How many rows the pane has.
    fn rows(&self) -> usize {
        self.view().map_or(0, |view| match self.pane {
            Pane::Countries => view.countries.len(),
            Pane::Clients => view.clients.len(),
            Pane::Routes => view.routes.len(),
            Pane::Reasons => view.reasons.len(),
            Pane::Limits => view.limits.len() + view.concurrency.len(),
        })
    }
}

impl Pane {
    /// Every one, in order.
    pub(super) const ALL: [Self; 5] =
        [Self::Countries, Self::Clients, Self::Routes, Self::Reasons, Self::Limits];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Countries => "countries",
            Self::Clients => "clients",
            Self::Routes => "routes",
            Self::Reasons => "reasons",
            Self::Limits => "limits",
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Countries => Self::Clients,
            Self::Clients => Self::Routes,
            Self::Routes => Self::Reasons,
            Self::Reasons => Self::Limits,
            Self::Limits => Self::Countries,
        }
    }

    const fn previous(self) -> Self {
        match self {
            Self::Countries => Self::Limits,
            Self::Clients => Self::Countries,
            Self::Routes => Self::Clients,
            Self::Reasons => Self::Routes,
            Self::Limits => Self::Reasons,
        }
    }
}

impl Flow {
    const fn other(self) -> Self {
        match self {
            Self::Running => Self::Paused,
            Self::Paused => Self::Running,
        }
    }
}

impl Overlay {
    const fn other(self) -> Self {
        match self {
            Self::Nothing => Self::Help,
            Self::Help => Self::Nothing,
        }
    }
}

fn longer(interval: Duration) -> Duration {
    STEPS.map(Duration::from_millis).into_iter().find(|step| *step > interval).unwrap_or(*INTERVALS.end())
}

fn shorter(interval: Duration) -> Duration {
    let steps = STEPS.map(Duration::from_millis).into_iter().rev();
    steps.into_iter().find(|step| *step < interval).unwrap_or(*INTERVALS.start())
}
