//! The terminal while `top` runs: one thread reads keys, one asks the gate, one hears signals; this one draws what
//! they tell. However it ends, the terminal is put back as it was: at the end of [`run`], while a panic unwinds, and
//! by the hook that a panic in any thread runs first.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::draw;
use super::gate::Gate;
use super::state::{Flow, State, Step};
use crate::admin::traffic::{Sort, View};
use crate::clock::Clock;
use crate::facts::time::Tick;

/// What threads tell.
enum News {
    /// A key was pressed.
    Pressed(KeyEvent),
    /// The screen has another size, or so.
    Changed,
    /// The gate answered, or did not.
    Seen(Box<Result<View, String>>),
    /// Somebody wants the program to end, or a thread did.
    Over,
}

/// Tells that a thread is over, however it ended.
struct Telling(Sender<News>);

/// A terminal in which every key counts. Dropping it puts it back as it was.
struct Stage(DefaultTerminal);

/// When the gate was asked, and whether it has answered.
struct Asking {
    ask: Sender<Sort>,
    waiting: bool,
    /// When it was asked last.
    asked: Option<Duration>,
}

/// How many rows of each list are asked for.
const ROWS: usize = 200;
/// The screen is drawn at least this often, for the ages on it.
const TICK: Duration = Duration::from_secs(1);

/// Shows a gate until somebody has seen enough.
pub(super) fn run(gate: Gate, mut state: State) -> io::Result<()> {
    let clock = Clock::start();
    let (tell, told) = mpsc::channel();
    hear_signals(tell.clone())?;
    let mut asking = Asking { ask: asker(gate, tell.clone()), waiting: false, asked: None };
    let mut stage = Stage::open()?;
    read_keys(tell);
    loop {
        let now = clock.now().tick;
        if state.flow == Flow::Running {
            asking.ask_if_due(&state, now);
        }
        stage.0.draw(|frame| draw::draw(frame, &state, now))?;
        match wait(&told, asking.wait(&state, now)) {
            Some(News::Pressed(key)) if state.press(key) == Step::Quit => return Ok(()),
            Some(News::Over) => return Ok(()),
            Some(News::Seen(seen)) => {
                asking.waiting = false;
                state.saw(*seen, clock.now().tick);
            }
            Some(News::Pressed(_) | News::Changed) | None => {}
        }
    }
}

fn wait(told: &Receiver<News>, at_most: Duration) -> Option<News> {
    match told.recv_timeout(at_most) {
        Ok(news) => Some(news),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(News::Over),
    }
}

impl Asking {
    fn ask_if_due(&mut self, state: &State, now: Tick) {
        if !self.waiting && self.left(state, now).is_zero() {
            // If nobody hears it, that thread is over and has told so.
            self.waiting = self.ask.send(state.sort).is_ok();
            self.asked = Some(now.elapsed());
        }
    }

    /// How long nothing happens by itself.
    fn wait(&self, state: &State, now: Tick) -> Duration {
        if self.waiting || state.flow == Flow::Paused {
            return TICK;
        }
        self.left(state, now).min(TICK)
    }

    /// How long until it is time to ask again.
    fn left(&self, state: &State, now: Tick) -> Duration {
        let due = self.asked.map_or(Duration::ZERO, |asked| asked + state.interval);
        due.saturating_sub(now.elapsed())
    }
}

/// Asks the gate whenever it is told to.
fn asker(gate: Gate, tell: Sender<News>) -> Sender<Sort> {
    let (ask, asked) = mpsc::channel();
    thread::spawn(move || {
        let telling = Telling(tell);
        for sort in asked {
            let seen = gate.look(ROWS, sort).map_err(|error| error.to_string());
            if telling.0.send(News::Seen(Box::new(seen))).is_err() {
                break;
            }
        }
    });
    ask
}

/// Tells of keys until there are none any more, such as when the terminal is gone.
fn read_keys(tell: Sender<News>) {
    thread::spawn(move || {
        let telling = Telling(tell);
        while let Ok(event) = event::read() {
            let news = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => News::Pressed(key),
                _ => News::Changed,
            };
            if telling.0.send(news).is_err() {
                break;
            }
        }
    });
}

/// Ends the program in its own way when a signal asks for it.
fn hear_signals(tell: Sender<News>) -> io::Result<()> {
    let (mut hear, signal) = UnixStream::pair()?;
    for number in [SIGTERM, SIGINT, SIGQUIT, SIGHUP] {
        signal_hook::low_level::pipe::register(number, signal.try_clone()?)?;
    }
    thread::spawn(move || {
        let _telling = Telling(tell);
        // Signals keep the other end open, so that this returns for a signal only.
        let _ = hear.read_exact(&mut [0]);
    });
    Ok(())
}

impl Stage {
    fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| ratatui::restore())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // If the terminal is gone there is nothing to put back.
        let _ = (self.0.show_cursor(), ratatui::try_restore());
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let _ = self.0.send(News::Over);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use nix::sys::termios::tcgetattr;

    use super::*;

    #[test]
    #[ignore = "it is run by the test below, in a terminal of its own"]
    fn breaks_off() {
        let mut stage = Stage::open().unwrap();
        stage.0.draw(|frame| frame.render_widget("on stage", frame.area())).unwrap();
        panic!("broken off");
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was_and_can_be_read() {
        let (mut pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(24, 80)).unwrap();
        let before = tcgetattr(&pty).unwrap();
        let name = format!("{}::breaks_off", module_path!().split_once("::").unwrap().1);
        let command = pty_process::blocking::Command::new(std::env::current_exe().unwrap());
        let command = command.args(["--ignored", "--nocapture", "--exact", &name]).env("RUST_BACKTRACE", "0");
        let mut child = command.spawn(pts).unwrap();
        let [rows, columns] = [24, 80].map(|size| NonZeroU16::new(size).unwrap());
        let (mut parser, mut bytes, mut staged) = (vt100::Parser::new(rows, columns, 0), [0], false);
        // The end of a terminal is an error.
        while pty.read(&mut bytes).is_ok_and(|count| count > 0) {
            parser.process(&bytes);
            staged |= parser.screen().alternate_screen() && parser.screen().contents().contains("on stage");
        }
        assert!(staged && !child.wait().unwrap().success());
        assert_eq!(tcgetattr(&pty).unwrap(), before);
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert!(screen.contents().contains("broken off"), "{}", screen.contents());
    }
}
