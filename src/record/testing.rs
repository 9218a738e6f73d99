//! What the tests of this folder share: a small record, a clock to set, and an ear for warnings.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata, Subscriber, span};
use uuid::{Builder, Uuid};

use super::{Entry, Recorder, Settings};
use crate::facts::time::{Now, Tick, Wall};

/// A record for tests.
pub(super) struct Note {
    id: Uuid,
    text: Option<String>,
}

impl Note {
    pub(super) fn numbered(number: usize) -> Self {
        Self::at(moment(0).wall, number)
    }

    /// A record that was made at this time.
    pub(super) fn at(wall: Wall, number: usize) -> Self {
        let mut tail = [0; 10];
        tail[2..].copy_from_slice(&(number as u64).to_be_bytes());
        let id = Builder::from_unix_timestamp_millis(wall.as_millis(), &tail).into_uuid();
        Self { id, text: Some(format!("{{\"id\":\"{id}\",\"number\":{number}}}")) }
    }

    /// A record that writes just this.
    pub(super) fn saying(text: &str) -> Self {
        Self { id: Uuid::nil(), text: Some(text.to_owned()) }
    }

    /// A record that cannot be written.
    pub(super) fn panicking() -> Self {
        Self { id: Uuid::nil(), text: None }
    }

    pub(super) fn line(&self) -> String {
        format!("{}\n", self.text.as_deref().unwrap())
    }
}

impl Entry for Note {
    fn id(&self) -> Uuid {
        self.id
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        // A record that panics does so half-way.
        out.extend_from_slice(b"{\"half");
        let text = self.text.as_deref().unwrap();
        out.truncate(out.len() - 6);
        out.extend_from_slice(text.as_bytes());
    }
}

/// 2026-11-23T17:56:30Z and so many seconds.
pub(super) fn moment(seconds: u64) -> Now {
    let wall = Wall::from_millis(1_795_456_590_000 + seconds * 1000);
    Now { wall, tick: Tick::from_elapsed(Duration::from_secs(seconds)) }
}

pub(super) fn settings(folder: &TempDir) -> Settings {
    Settings { path: folder.path().join("d.jsonl"), ..Settings::default() }
}

pub(super) fn small_queue(folder: &TempDir, queue: usize) -> Settings {
    Settings { queue: queue.try_into().unwrap(), ..settings(folder) }
}

/// Records notes with these numbers.
pub(super) fn record(recorder: &Recorder, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| recorder.record(&Note::numbered(number)));
}

/// So many threads record so many notes each, all different.
pub(super) fn from_threads(threads: usize, each: usize, recorder: &Recorder) {
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || (0..each).for_each(|n| recorder.record(&Note::numbered(thread * each + n))));
        }
    });
}

/// The numbers of the notes in a log; fails if a line is not a whole note.
pub(super) fn numbers_in(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    let number = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["number"].as_u64().unwrap();
    text.lines().map(number).collect()
}

/// How many different records a log holds; fails if a line is not a whole record.
pub(super) fn whole_lines(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let ids: std::collections::HashSet<Uuid> =
        text.lines().map(|line| super::find::line_id(line.as_bytes()).unwrap()).collect();
    assert_eq!(ids.len(), text.lines().count());
    ids.len()
}

/// The names in a folder, sorted.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| name(entry.unwrap().path())).collect();
    names.sort();
    names
}

/// The warnings that are given, on this thread, while `action` runs.
pub(super) fn warnings_of(action: impl FnOnce()) -> Vec<String> {
    let ear = Ear::default();
    let heard = ear.0.clone();
    tracing::subscriber::with_default(ear, action);
    std::mem::take(&mut heard.lock().unwrap())
}

#[derive(Default)]
struct Ear(Arc<Mutex<Vec<String>>>);

struct Message(String);

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}
