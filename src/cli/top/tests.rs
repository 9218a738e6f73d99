//! What stands on the screen, and what keys do to it.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::state::{Flow, Overlay, Pane, Step};
use super::*;
use crate::admin::traffic::{
    Client, Concurrency, Country, Limit, Process, Rates, Reason, Route, Surge, View,
};
use crate::facts::time::Tick;

fn at(seconds: u64) -> Tick {
    Tick::from_elapsed(Duration::from_secs(seconds))
}

fn rates(allowed: f64, throttled: f64, blocked: f64) -> Rates {
    Rates { offered: allowed + throttled + blocked, allowed, throttled, challenged: 0.0, blocked }
}

/// A gate with something of everything.
fn view() -> View {
    let country = |country: &str, rates, usual, surge| Country {
        country: country.into(),
        rates,
        usual: Some(usual),
        surge: Some(surge),
    };
    let surge = Surge { per: "country".into(), key: "KP".into(), rate: 40.0, usual: 0.25, surge: 32.8 };
    let limit = |key: Option<&str>, rate, throttled, fair_share| Limit {
        limit: "country".into(),
        per: "country".into(),
        key: key.map(str::to_owned),
        window_s: 10.0,
        rate,
        allowed: 5.0,
        throttled,
        fair_share,
    };
    View {
        time: "2026-11-24T00:00:00.000Z".into(),
        generation: 3,
        window_s: 10.0,
        process: Process { uptime_s: 7_200.0, in_flight: 4, ..Process::default() },
        total: rates(105.0, 35.0, 2.5),
        countries: vec![
            country("DE", rates(100.0, 0.0, 2.5), 99.0, 1.0),
            country("KP", rates(5.0, 35.0, 0.0), 0.25, 32.8),
        ],
        clients: vec![Client {
            client: "0123456789abcdef".into(),
            country: "KP".into(),
            rates: rates(0.5, 30.0, 0.0),
        }],
        routes: vec![
            Route { route: Some("api.example.com/v1".into()), rates: rates(105.0, 35.0, 0.0) },
            Route { route: None, rates: rates(0.0, 0.0, 2.5) },
        ],
        reasons: vec![Reason { reason: "geo.weight".into(), rates: rates(5.0, 35.0, 0.0) }],
        limits: vec![limit(None, None, Some(35.0), None), limit(Some("KP"), Some(5.0), None, Some(0.75))],
        concurrency: vec![Concurrency {
            name: "exports".into(),
            per: "client".into(),
            most: 2,
            in_flight: 3,
        }],
        surges: vec![surge],
    }
}

fn state() -> State {
    State::new("http://127.0.0.1:9090".into(), Sort::Offered, Duration::from_secs(1))
}

fn seeing(view: View) -> State {
    let mut state = state();
    state.saw(Ok(view), at(0));
    state
}

fn screen(state: &State, width: u16, height: u16, now: Tick) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, state, now)).unwrap();
    terminal
}

/// The lines of a screen, without the spaces at their ends.
fn lines(state: &State, width: u16, height: u16) -> Vec<String> {
    let terminal = screen(state, width, height, at(0));
    let cells = terminal.backend().buffer().content().chunks(usize::from(width));
    cells.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()).collect()
}

/// The first line that has all of these words, its spaces squeezed.
fn line(lines: &[String], words: &[&str]) -> String {
    let found = lines.iter().find(|line| words.iter().all(|word| line.contains(word)));
    let found = found.unwrap_or_else(|| panic!("{words:?} in\n{}", lines.join("\n")));
    found.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn press(state: &mut State, keys: &[KeyCode]) -> Step {
    keys.iter().map(|key| state.press(KeyEvent::from(*key))).last().unwrap()
}

#[test]
fn a_large_screen_shows_every_list_at_once() {
    let lines = lines(&seeing(view()), 140, 40);
    assert_eq!(lines[0], "riskgate top  http://127.0.0.1:9090  generation 3  up 2 h");
    assert_eq!(lines[1], "offered 143/s  allowed 105/s  throttled 35/s  blocked 2.5/s  in flight 4");
    assert_eq!(lines[2], "! country KP 40/s, 32.8 times its usual 0.25/s");
    assert!(lines[3].contains(" countries ") && lines[3].contains(" clients "), "{}", lines[3]);
    let header = line(&lines, &["offered", "surge", "country"]);
    assert_eq!(
        header,
        "│ offered allowed throttled blocked surge usual││ offered allowed throttled blocked country│"
    );
    let kp = line(&lines, &["! KP"]);
    assert!(kp.starts_with("│! KP 40 5 35 0 32.8x 0.25││"), "{kp}");
    assert!(line(&lines, &["DE", "0123456789abcdef"]).ends_with("│0123456789abcdef 30.5 0.50 30 0 KP│"));
    assert!(line(&lines, &["api.example.com/v1"]).contains("││geo.weight 40 5 35 0│"));
    assert!(line(&lines, &["(none)"]).contains("(none) 2.5 0 0 2.5"));
    assert_eq!(line(&lines, &["country per country"]), "│country per country 5 35 - - 10 s│");
    assert_eq!(line(&lines, &["country KP", "0.75"]), "│country KP 5 - 5 0.75 10 s│");
    assert_eq!(lines[39], "q quit  Tab list  s sort: offered  p pause  +/- every 1s  ? help");
}

#[test]
fn a_usual_screen_shows_one_list_and_tab_the_next() {
    let mut state = seeing(view());
    for (pane, words) in
        Pane::ALL.into_iter().zip(["! KP", "0123456789abcdef", "api.example.com", "geo.weight", "country KP"])
    {
        assert_eq!(state.pane, pane);
        let lines = lines(&state, 80, 24);
        assert!(lines[4].starts_with(&format!("┌ {} ", pane.as_str())), "{}", lines[4]);
        assert!(lines.iter().any(|line| line.contains(words)), "{words} in\n{}", lines.join("\n"));
        press(&mut state, &[KeyCode::Tab]);
    }
    assert_eq!(state.pane, Pane::Countries);
    press(&mut state, &[KeyCode::BackTab]);
    assert_eq!(state.pane, Pane::Limits);
}

#[test]
fn a_row_that_surges_and_what_is_refused_stand_out() {
    let terminal = screen(&seeing(view()), 80, 24, at(0));
    let buffer = terminal.backend().buffer();
    let of = |text: &str| {
        let width = usize::from(buffer.area.width);
        let rows: Vec<String> = buffer
            .content()
            .chunks(width)
            .map(|row| row.iter().map(|cell| cell.symbol()).collect())
            .collect();
        let (y, x) = rows.iter().enumerate().find_map(|(y, row)| Some((y, row.find(text)?))).unwrap();
        let x = rows[y][..x].chars().count();
        buffer.content()[y * width + x].clone()
    };
    assert_eq!((of("! KP").fg, of("32.8x").fg), (Color::Magenta, Color::Magenta));
    assert!(of("! KP").modifier.contains(Modifier::BOLD));
    assert_eq!((of("DE").fg, of("2.5").fg), (Color::Reset, Color::Red));
}

#[test]
fn no_size_is_too_small_and_no_name_too_long() {
    let mut long = view();
    long.reasons[0].reason = format!("area.{}", "long".repeat(60));
    long.routes[0].route = Some("路".repeat(80));
    long.countries[0].country = "\u{1b}[31m\n".into();
    for pane in Pane::ALL {
        for overlay in [Overlay::Nothing, Overlay::Help] {
            let state = State { pane, overlay, above: 1, ..seeing(long.clone()) };
            for (width, height) in
                [(1, 1), (3, 2), (20, 5), (40, 10), (80, 24), (119, 29), (120, 30), (400, 100)]
            {
                let lines = lines(&state, width, height);
                assert!(!lines.join("").contains('\u{1b}'));
            }
        }
    }
    let state = State { pane: Pane::Reasons, ..seeing(long) };
    let row = line(&lines(&state, 80, 24), &["area."]);
    assert_eq!(row, "│area.longlonglonglonglongl… 40 5 35 0 0│");
}

#[test]
fn a_gate_that_serves_nobody_has_empty_lists() {
    let lines = lines(&seeing(View::default()), 140, 40);
    for name in ["countries", "clients", "routes", "reasons", "limits"] {
        line(&lines, &[&format!("{name}: none")]);
    }
    assert!(line(&lines, &["offered 0/s"]).contains("allowed 0/s"));
}

#[test]
fn before_the_first_answer_there_is_a_word_about_it() {
    line(&lines(&state(), 80, 24), &["waiting for the first answer"]);
}

#[test]
fn a_lost_gate_is_told_and_what_was_seen_stays() {
    let mut state = seeing(view());
    state.saw(Err("no answer from `http://127.0.0.1:9090`".into()), at(1));
    let terminal = screen(&state, 80, 24, at(7));
    let shown = terminal.backend().to_string();
    assert!(shown.contains("trying again: no answer from `http://127.0.0.1:9090`"), "{shown}");
    assert!(shown.contains("seen 7 s ago") && shown.contains("! KP"), "{shown}");
    state.saw(Ok(view()), at(8));
    let shown = screen(&state, 80, 24, at(8)).backend().to_string();
    assert!(!shown.contains("trying again") && !shown.contains(" ago"), "{shown}");
}

#[test]
fn the_interval_goes_up_and_down_and_stays_within_bounds() {
    let mut state = state();
    press(&mut state, &[KeyCode::Char('+')]);
    assert_eq!(state.interval, Duration::from_secs(2));
    press(&mut state, &[KeyCode::Char('-'); 20]);
    assert_eq!(state.interval, Duration::from_millis(100));
    press(&mut state, &[KeyCode::Char('+'); 20]);
    assert_eq!(state.interval, Duration::from_secs(60));
    assert_eq!([interval("1s"), interval("1m")], [Ok(Duration::from_secs(1)), Ok(Duration::from_secs(60))]);
    assert!(["0s", "99ms", "2m", "1", ""].iter().all(|text| interval(text).is_err()));
}

#[test]
fn sorting_moves_rows_at_once() {
    let mut state = seeing(view());
    press(&mut state, &[KeyCode::Char('s'), KeyCode::Char('s')]);
    assert_eq!((state.sort, state.view().unwrap().countries[0].country.as_str()), (Sort::Throttled, "KP"));
    line(&lines(&state, 80, 24), &["s sort: throttled"]);
}

#[test]
fn pausing_is_shown() {
    let mut state = seeing(view());
    press(&mut state, &[KeyCode::Char('p')]);
    assert_eq!(state.flow, Flow::Paused);
    let lines = lines(&state, 80, 24);
    assert!(lines[0].ends_with("PAUSED") && lines[23].contains("p go on"), "{}", lines.join("\n"));
    press(&mut state, &[KeyCode::Char('p')]);
    assert_eq!(state.flow, Flow::Running);
}

#[test]
fn help_is_closed_before_the_program_is() {
    let mut state = state();
    assert_eq!(press(&mut state, &[KeyCode::Char('?')]), Step::On);
    line(&lines(&state, 80, 24), &["Ctrl-C", "quit"]);
    assert_eq!(press(&mut state, &[KeyCode::Esc]), Step::On);
    assert_eq!(press(&mut state, &[KeyCode::Esc]), Step::Quit);
    assert_eq!(press(&mut state, &[KeyCode::Char('q')]), Step::Quit);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!((state.press(control_c), press(&mut state, &[KeyCode::Char('c')])), (Step::Quit, Step::On));
}

#[test]
fn scrolling_ends_at_the_last_row() {
    let mut many = view();
    many.countries = (0..30)
        .map(|n| Country {
            country: format!("C{n:02}"),
            rates: rates(f64::from(99 - n), 0.0, 0.0),
            ..Country::default()
        })
        .collect();
    let mut state = seeing(many);
    press(&mut state, &[KeyCode::PageDown, KeyCode::Down]);
    let lines = lines(&state, 80, 24);
    line(&lines, &["countries, from 12 of 30"]);
    assert!(lines[6].starts_with("│C11 "), "{}", lines[6]);
    press(&mut state, &[KeyCode::PageDown; 9]);
    assert_eq!(state.above, 29);
    state.saw(Ok(view()), at(1));
    assert_eq!(state.above, 1);
    press(&mut state, &[KeyCode::Home, KeyCode::Up]);
    assert_eq!(state.above, 0);
}

#[test]
fn a_look_as_text_has_everything_and_no_colours() {
    let text =
        plain::text(&view(), "http://127.0.0.1:9090", Ink::of(&std::fs::File::open("/dev/null").unwrap()));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(
        lines[..3],
        [
            "riskgate http://127.0.0.1:9090, 2026-11-24T00:00:00.000Z, generation 3, up 2 h",
            "requests/s over 10 s: offered 143, allowed 105, throttled 35, challenged 0, blocked 2.5; in flight 4",
            "country KP surges: 40/s, 32.8 times its usual 0.25/s",
        ]
    );
    assert_eq!(
        line(&lines, &["offered", "surge"]),
        "offered allowed throttled blocked surge usual challenge"
    );
    assert_eq!(line(&lines, &["! KP"]), "! KP 40 5 35 0 32.8x 0.25 0");
    assert_eq!(line(&lines, &["0123456789abcdef"]), "0123456789abcdef 30.5 0.50 30 0 KP 0");
    assert_eq!(line(&lines, &["country KP", "0.75"]), "country KP 5 - 5 0.75 10 s");
    assert!(!text.contains('\u{1b}'));
}
