//! Orders that failed, and how long each of them is left alone: in memory, and in the store, since authorities count
//! failures of a gate that starts again and again as well.
//!
//! An order counts as failed in the store from its beginning, until it has come to something: a process that ends in between
//! has asked the authority, too. What the store says holds for the settings that it was written under.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::schedule::Backoff;
use super::store::StoreError;
use super::{Settings, Wanted};
use crate::facts::time::{Now, Tick, Wall};

/// Orders that failed by some settings.
pub(super) struct Failing {
    settings: Settings,
    orders: HashMap<Wanted, Backoff>,
}

/// As the store keeps it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Record {
    /// Of the settings.
    settings: String,
    orders: Vec<Order>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Order {
    name: String,
    hosts: Vec<String>,
    failures: u32,
    not_before: String,
}

impl Failing {
    /// Those that failed by these settings before the process started, as far as the store knows.
    pub(super) fn recall(settings: &Settings, now: Now) -> Self {
        let mut failing = Self { settings: settings.clone(), orders: HashMap::new() };
        match settings.store.failures() {
            Ok(record) if record.settings == fingerprint(settings) => {
                failing.orders = record.orders.into_iter().map(|order| order.recalled(now)).collect();
            }
            Ok(_) => {}
            Err(error) => warn!("it is not known which orders of certificates failed before: {error}"),
        }
        for (Wanted { name, .. }, backoff) in &failing.orders {
            let wait = backoff.left(now.tick).as_secs();
            info!(name, "no certificate for `{name}` was issued before the start, next attempt in {wait} s");
        }
        failing
    }

    /// Whether what failed may be tried at once, since it would be by other settings.
    pub(super) fn is_by_others(&self, settings: &Settings) -> bool {
        self.settings != *settings
    }

    /// Forgets what nobody wants any more.
    pub(super) fn retain(&mut self, wanted: &[Wanted]) {
        self.orders.retain(|order, _| wanted.contains(order));
    }

    /// How long this one is to be left alone.
    pub(super) fn left(&self, wanted: &Wanted, now: Tick) -> Duration {
        self.orders.get(wanted).map_or(Duration::ZERO, |backoff| backoff.left(now))
    }

    /// How long until the next one may be tried; `None` if none has failed.
    pub(super) fn next(&self, now: Tick) -> Option<Duration> {
        self.orders.values().map(|backoff| backoff.left(now)).min()
    }

    /// An order begins. The error is that it could not be noted; nothing that is issued could be kept then either.
    pub(super) fn begin(&self, wanted: &Wanted, now: Now, jitter: f64) -> Result<(), StoreError> {
        let mut orders = self.orders.clone();
        orders.entry(wanted.clone()).or_default().failed(now.tick, jitter);
        self.keep(&orders, now)
    }

    /// It has come to nothing; for how long it is left alone now.
    pub(super) fn failed(&mut self, wanted: &Wanted, now: Now, jitter: f64) -> Duration {
        self.orders.entry(wanted.clone()).or_default().failed(now.tick, jitter);
        self.tell_store(now);
        self.left(wanted, now.tick)
    }

    /// It has come to something, or nothing is to be ordered.
    pub(super) fn settled(&mut self, wanted: &Wanted, now: Now) {
        self.orders.remove(wanted);
        self.tell_store(now);
    }

    fn tell_store(&self, now: Now) {
        if let Err(error) = self.keep(&self.orders, now) {
            warn!("after a restart it will not be known which orders of certificates failed: {error}");
        }
    }

    fn keep(&self, orders: &HashMap<Wanted, Backoff>, now: Now) -> Result<(), StoreError> {
        let mut orders: Vec<_> =
            orders.iter().map(|(wanted, backoff)| Order::of(wanted, *backoff, now)).collect();
        orders.sort_by(|one, other| one.name.cmp(&other.name));
        self.settings.store.keep_failures(&Record { settings: fingerprint(&self.settings), orders })
    }
}

impl Record {
    /// Whether there is nothing to be kept.
    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }
}

impl Order {
    fn of(wanted: &Wanted, backoff: Backoff, now: Now) -> Self {
        let left = u64::try_from(backoff.left(now.tick).as_millis()).unwrap_or(u64::MAX);
        let until = i64::try_from(now.wall.as_millis().saturating_add(left)).unwrap_or(i64::MAX);
        let not_before = Timestamp::from_millisecond(until).unwrap_or(Timestamp::MAX).to_string();
        let Wanted { name, hosts } = wanted.clone();
        Self { name, hosts, failures: backoff.failures(), not_before }
    }

    /// What cannot be read is as long ago as can be; the number of failures still counts.
    fn recalled(self, now: Now) -> (Wanted, Backoff) {
        let Self { name, hosts, failures, not_before } = self;
        let until = not_before.parse().map_or(0, Timestamp::as_millisecond);
        let until = Wall::from_millis(u64::try_from(until).unwrap_or_default());
        (Wanted { name, hosts }, Backoff::recalled(failures, until, now))
    }
}

/// Tells settings apart by which an order may go another way. When certificates are renewed is none of them.
fn fingerprint(settings: &Settings) -> String {
    let Settings { directory, contact, challenge, ca, store: _, renew_before: _ } = settings;
    let said = format!("{directory:?} {contact:?} {} {ca:?}", challenge.as_str());
    blake3::hash(said.as_bytes()).to_hex().get(..16).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::super::{Challenge, Store};
    use super::*;

    fn settings(folder: &Path) -> Settings {
        Settings {
            directory: "https://a.example/".to_owned(),
            contact: Vec::new(),
            store: Store::new(folder.join("acme")),
            challenge: Challenge::Http01,
            renew_before: Duration::from_secs(30 * 24 * 3600),
            ca: None,
        }
    }

    fn api() -> Wanted {
        Wanted { name: "api".to_owned(), hosts: vec!["a.example".to_owned()] }
    }

    /// Seconds on the wall, and since the process started.
    fn at(wall: u64, tick: u64) -> Now {
        Now { wall: Wall::from_millis(wall * 1000), tick: Tick::from_elapsed(Duration::from_secs(tick)) }
    }

    fn seconds(failing: &Failing, now: Now) -> u64 {
        failing.left(&api(), now.tick).as_secs()
    }

    const BEGIN: u64 = 1_767_225_600;

    #[test]
    fn a_failure_is_remembered_by_the_next_process_and_its_waits_go_on_to_double() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let mut failing = Failing::recall(&settings, at(BEGIN, 5000));
        assert_eq!((seconds(&failing, at(BEGIN, 5000)), failing.next(at(BEGIN, 5000).tick)), (0, None));
        let waits =
            [0, 100].map(|after| failing.failed(&api(), at(BEGIN + after, 5000 + after), 0.0).as_secs());
        assert_eq!(waits, [60, 120]);

        // 20 s later another process starts, whose ticks begin anew.
        let mut next = Failing::recall(&settings, at(BEGIN + 120, 3));
        assert_eq!(seconds(&next, at(BEGIN + 120, 3)), 100);
        assert_eq!(next.next(at(BEGIN + 120, 103).tick), Some(Duration::ZERO));
        assert_eq!(next.failed(&api(), at(BEGIN + 300, 183), 0.0).as_secs(), 240, "the third in a row");
    }

    #[test]
    fn an_order_counts_from_its_beginning_until_it_has_come_to_something() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        // A gate that ends in each order, at once after it was begun.
        for (start, wait) in [(0, 60), (1000, 120), (2000, 240)] {
            let begun = Failing::recall(&settings, at(BEGIN + start, 1));
            begun.begin(&api(), at(BEGIN + start, 1), 0.0).unwrap();
            let next = Failing::recall(&settings, at(BEGIN + start + 1, 1));
            assert_eq!(seconds(&next, at(BEGIN + start + 1, 1)), wait - 1);
        }
        let mut last = Failing::recall(&settings, at(BEGIN + 3000, 1));
        last.begin(&api(), at(BEGIN + 3000, 1), 0.0).unwrap();
        last.settled(&api(), at(BEGIN + 3010, 11));
        assert_eq!(seconds(&Failing::recall(&settings, at(BEGIN + 3011, 1)), at(BEGIN + 3011, 1)), 0);
    }

    #[test]
    fn other_settings_other_hosts_and_a_file_that_cannot_be_read_hold_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        Failing::recall(&settings, at(BEGIN, 1)).failed(&api(), at(BEGIN, 1), 0.0);
        let other = Settings { challenge: Challenge::TlsAlpn01, ..settings.clone() };
        assert_eq!(seconds(&Failing::recall(&other, at(BEGIN, 1)), at(BEGIN, 1)), 0);
        let hosts = Wanted { hosts: vec!["b.example".to_owned()], ..api() };
        assert_eq!(Failing::recall(&settings, at(BEGIN, 1)).left(&hosts, at(BEGIN, 1).tick), Duration::ZERO);
        let path = folder.path().join("acme/failed-orders.json");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "half of it").unwrap();
        let mut failing = Failing::recall(&settings, at(BEGIN, 1));
        assert_eq!(seconds(&failing, at(BEGIN, 1)), 0);
        failing.failed(&api(), at(BEGIN, 1), 0.0);
        assert_eq!(
            seconds(&Failing::recall(&settings, at(BEGIN, 1)), at(BEGIN, 1)),
            60,
            "it is written anew"
        );
    }

    #[test]
    fn a_wall_clock_that_was_wrong_holds_an_order_up_no_longer_than_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let year = 365 * 24 * 3600;
        Failing::recall(&settings, at(BEGIN + year, 1)).failed(&api(), at(BEGIN + year, 1), 0.0);
        assert_eq!(seconds(&Failing::recall(&settings, at(BEGIN, 1)), at(BEGIN, 1)), 60);
        Failing::recall(&settings, at(BEGIN, 1)).failed(&api(), at(BEGIN, 1), 0.0);
        assert_eq!(seconds(&Failing::recall(&settings, at(BEGIN + year, 1)), at(BEGIN + year, 1)), 0);
    }

    #[test]
    fn nothing_is_kept_where_nothing_failed() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let mut failing = Failing::recall(&settings, at(BEGIN, 1));
        failing.settled(&api(), at(BEGIN, 1));
        assert!(!folder.path().join("acme").exists());
        failing.failed(&api(), at(BEGIN, 1), 0.0);
        failing.settled(&api(), at(BEGIN, 1));
        assert_eq!(std::fs::read_dir(folder.path().join("acme")).unwrap().count(), 0);
    }
}
