//! Which limits there are: found again by identity at each load, forgotten when nobody holds them.
//!
//! Snapshots hold the handles, the registry only remembers them weakly, so that counts survive a reload that keeps
//! a limit and go with the last snapshot that knew it. Its lock is taken at load and by the rotating task, never
//! for a request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Part;
use super::fair::{Fair, Members};
use super::limit::{Limit, LimitSpec, Tally};
use super::promise::Promises;
use super::settings::{Interval, Settings, Shape, TrafficError};
use super::subject::Per;
use super::window::Window;
use crate::facts::time::Tick;

/// How many different windows one set of limits may use; each takes a sketch of its own.
pub const MAX_INTERVALS: usize = 8;

/// Remembers limits while they are in use.
#[derive(Default)]
pub(super) struct Registry {
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    limits: Vec<Weak<Limit>>,
    windows: Vec<Named>,
    members: Vec<(Interval, Weak<Members>)>,
    /// The number of the last limit that was made.
    next_tag: u32,
}

/// What somebody holds.
struct InUse {
    windows: Vec<(String, Arc<Window>)>,
    members: Vec<Arc<Members>>,
    limits: Vec<Arc<Limit>>,
}

/// A window and what it is for.
struct Named {
    purpose: Purpose,
    window: Weak<Window>,
}

#[derive(PartialEq, Eq)]
enum Purpose {
    /// All limits over this interval that are neither fair nor per country.
    Shared(Interval),
    /// One limit per country.
    Countries(String),
}

impl Registry {
    /// A handle for each of `specs`, in their order.
    pub(super) fn limits(
        &self,
        specs: &[LimitSpec],
        settings: &Settings,
        now: Tick,
    ) -> Result<Vec<Arc<Limit>>, TrafficError> {
        let mut intervals: Vec<Interval> =
            specs.iter().filter(|spec| !spec.is_exact()).map(|spec| spec.window).collect();
        intervals.sort_unstable();
        intervals.dedup();
        if intervals.len() > MAX_INTERVALS {
            return Err(TrafficError::Intervals(intervals.len()));
        }
        let mut shelves = self.shelves();
        Ok(specs.iter().map(|spec| shelves.limit(spec, settings.keys, now)).collect())
    }

    /// Rotates every window in use.
    pub(super) fn rotate(&self, now: Tick) {
        let InUse { windows, members, limits } = self.in_use();
        windows.iter().for_each(|(_, window)| window.rotate(now));
        members.iter().for_each(|members| members.rotate(now));
        limits.iter().filter_map(|limit| limit.fair()).for_each(|fair| fair.rotate(now));
    }

    /// Every limit in use.
    pub(super) fn limits_in_use(&self) -> Vec<Arc<Limit>> {
        self.in_use().limits
    }

    /// What every window and every fair limit in use takes.
    pub(super) fn memory(&self) -> Vec<Part> {
        let InUse { windows, members, limits } = self.in_use();
        let part = |what: String, bytes| Part { what, bytes };
        let windows = windows.into_iter().map(|(what, window)| part(what, window.bytes()));
        let members = members.iter().map(|members| {
            part(format!("clients of fair limits over {}", members.interval()), members.bytes())
        });
        let pools = limits.iter().filter_map(|limit| {
            Some(part(format!("shares of limit `{}`", limit.spec().name), limit.fair()?.bytes()))
        });
        let promises = limits.iter().filter_map(|limit| {
            Some(part(format!("promises of limit `{}`", limit.spec().name), limit.promises()?.bytes()))
        });
        windows.chain(members).chain(pools).chain(promises).collect()
    }

    /// What is in use; the lock is not held while it is worked on.
    fn in_use(&self) -> InUse {
        let mut shelves = self.shelves();
        shelves.forget_unused();
        let named = |named: &Named| Some((named.purpose.describe(), named.window.upgrade()?));
        InUse {
            windows: shelves.windows.iter().filter_map(named).collect(),
            members: shelves.members.iter().filter_map(|(_, members)| members.upgrade()).collect(),
            limits: shelves.limits.iter().filter_map(Weak::upgrade).collect(),
        }
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        // Shelves are consistent between any two statements, so a panic elsewhere does not spoil them.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn limit(&mut self, spec: &LimitSpec, shape: Shape, now: Tick) -> Arc<Limit> {
        if let Some(known) = self.limits.iter().filter_map(Weak::upgrade).find(|limit| limit.spec() == spec) {
            return known;
        }
        self.next_tag = self.next_tag.wrapping_add(1);
        let tally = if spec.is_fair() {
            let members = self.members(spec.window, shape);
            Tally::Fair(Box::new(Fair::new(spec.per, members)))
        } else if spec.is_exact() {
            let window = Arc::new(Window::of_countries(spec.window, now));
            self.remember(Purpose::Countries(spec.name.clone()), &window);
            Tally::Line(window, Promises::new())
        } else if spec.per == Per::Client {
            Tally::Window(self.shared(spec.window, shape, now))
        } else {
            Tally::Line(self.shared(spec.window, shape, now), Promises::new())
        };
        let limit = Arc::new(Limit::new(spec.clone(), tally, self.next_tag));
        self.limits.push(Arc::downgrade(&limit));
        limit
    }

    fn shared(&mut self, interval: Interval, shape: Shape, now: Tick) -> Arc<Window> {
        let purpose = Purpose::Shared(interval);
        let known = self.windows.iter().find(|named| named.purpose == purpose && named.is_used());
        if let Some(window) = known.and_then(|named| named.window.upgrade()) {
            return window;
        }
        let window = Arc::new(Window::of_limited_keys(interval, shape, now));
        self.remember(purpose, &window);
        window
    }

    /// The members of all fair limits over this interval.
    fn members(&mut self, interval: Interval, shape: Shape) -> Arc<Members> {
        let known =
            self.members.iter().find(|(known, members)| *known == interval && members.strong_count() > 0);
        if let Some(members) = known.and_then(|(_, members)| members.upgrade()) {
            return members;
        }
        let members = Arc::new(Members::new(interval, shape));
        self.members.push((interval, Arc::downgrade(&members)));
        members
    }

    fn remember(&mut self, purpose: Purpose, window: &Arc<Window>) {
        self.windows.push(Named { purpose, window: Arc::downgrade(window) });
    }

    fn forget_unused(&mut self) {
        self.limits.retain(|limit| limit.strong_count() > 0);
        self.windows.retain(Named::is_used);
        self.members.retain(|(_, members)| members.strong_count() > 0);
    }
}

impl Named {
    fn is_used(&self) -> bool {
        self.window.strong_count() > 0
    }
}

impl Purpose {
    fn describe(&self) -> String {
        match self {
            Self::Shared(interval) => format!("limits over {interval}"),
            Self::Countries(name) => format!("countries of limit `{name}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{at, interval, rate, subject, traffic};
    use super::super::{Admission, Check, Per, Sharing, Traffic};
    use super::*;

    fn spec(name: &str, per: Per, seconds: u64) -> LimitSpec {
        LimitSpec { name: name.to_owned(), per, window: interval(seconds), sharing: Sharing::Fair }
    }

    fn plain(name: &str, per: Per, seconds: u64) -> LimitSpec {
        LimitSpec { sharing: Sharing::FirstCome, ..spec(name, per, seconds) }
    }

    fn admits(traffic: &Traffic, limit: &Limit) -> bool {
        traffic.admit(&subject("DE", 1), &[Check { limit, rate: rate(0.1) }], at(0.0)) == Admission::Admit
    }

    fn shared_bytes(traffic: &Traffic) -> usize {
        traffic.settings().keys.window_bytes()
    }

    #[test]
    fn a_limit_keeps_its_counts_over_a_reload_that_keeps_it() {
        let traffic = traffic();
        let specs = [spec("login", Per::Client, 10), spec("country", Per::Country, 10)];
        let before = traffic.limits(&specs, at(0.0)).unwrap();
        assert!(before.iter().all(|limit| admits(&traffic, limit)));
        let mut reordered = specs.to_vec();
        reordered.insert(0, spec("new", Per::Client, 10));
        let after = traffic.limits(&reordered, at(0.0)).unwrap();
        drop(before);
        assert!(admits(&traffic, &after[0]));
        assert!(!admits(&traffic, &after[1]) && !admits(&traffic, &after[2]));
    }

    #[test]
    fn another_name_kind_or_window_is_another_limit() {
        let traffic = traffic();
        let specs =
            [("a", Per::Client, 10), ("b", Per::Client, 10), ("a", Per::Route, 10), ("a", Per::Client, 20)];
        let specs = specs.map(|(name, per, seconds)| spec(name, per, seconds));
        let limits = traffic.limits(&specs, at(0.0)).unwrap();
        assert!(limits.iter().all(|limit| admits(&traffic, limit)));
        let twice = traffic.limits(&[specs[0].clone(), specs[0].clone()], at(0.0)).unwrap();
        assert!(Arc::ptr_eq(&twice[0], &twice[1]) && Arc::ptr_eq(&twice[0], &limits[0]));
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let traffic = traffic();
        let empty = traffic.memory();
        let specs = [spec("a", Per::Client, 10), plain("b", Per::Country, 10), spec("c", Per::Country, 10)];
        let limits = traffic.limits(&specs, at(0.0)).unwrap();
        assert!(limits.iter().all(|limit| admits(&traffic, limit)));
        assert_eq!(traffic.memory().len(), empty.len() + 6);
        drop(limits);
        traffic.rotate(at(0.0));
        assert_eq!(traffic.memory(), empty);
        let shelves = traffic.registry.shelves();
        assert!(shelves.limits.is_empty() && shelves.members.is_empty());
        drop(shelves);
        // What comes back under the same name begins at zero.
        let limits = traffic.limits(&specs, at(0.0)).unwrap();
        assert!(limits.iter().all(|limit| admits(&traffic, limit)));
    }

    #[test]
    fn memory_grows_with_intervals_and_countries_only() {
        let traffic = traffic();
        let empty = traffic.memory_bytes();
        let many: Vec<LimitSpec> = (0..100).map(|n| spec(&format!("l{n}"), Per::Client, 10)).collect();
        let _limits = traffic.limits(&many, at(0.0)).unwrap();
        assert_eq!(traffic.memory_bytes(), empty + shared_bytes(&traffic));
        let more = [plain("k", Per::Country, 10), plain("l", Per::Asn, 11)];
        let _more = traffic.limits(&more, at(0.0)).unwrap();
        let (shared, exact, promises) = (shared_bytes(&traffic), 676 * (8 + 128), Promises::new().bytes());
        assert_eq!(traffic.memory_bytes(), empty + 2 * shared + exact + 2 * promises);
        assert!((128 << 10..140 << 10).contains(&promises), "{promises}");
        // Fair limits share their members, and have promises of their own, and a line for each country, or 4,104 for whatever there is.
        let fair = [spec("k", Per::Country, 10), spec("l", Per::Asn, 10), spec("m", Per::Country, 10)];
        let _fair = traffic.limits(&fair, at(0.0)).unwrap();
        let members = traffic.settings().keys.slots() * 16 * 9 / 8;
        let all = empty + 2 * shared + exact + members + (2 * 676 + 4_104) * 64 + 5 * promises;
        assert_eq!(traffic.memory_bytes(), all);
        for n in 0..1_000 {
            traffic.offer(&subject("DE", n), at(0.0));
        }
        assert_eq!(traffic.memory_bytes(), all);
    }

    #[test]
    fn too_many_intervals_are_refused() {
        let traffic = traffic();
        let specs = |count: u64| (1..=count).map(|n| spec("x", Per::Client, n)).collect::<Vec<_>>();
        assert!(traffic.limits(&specs(8), at(0.0)).is_ok());
        assert_eq!(traffic.limits(&specs(9), at(0.0)).unwrap_err(), TrafficError::Intervals(9));
    }

    #[test]
    fn a_part_says_what_it_is_for() {
        let traffic = traffic();
        let limits =
            [spec("a", Per::Client, 10), plain("country", Per::Country, 1), spec("country", Per::Country, 1)];
        let _limits = traffic.limits(&limits, at(0.0)).unwrap();
        let parts: Vec<String> = traffic.memory().into_iter().map(|part| part.what).collect();
        assert_eq!(
            parts,
            [
                "client rates",
                "country rates",
                "usual country rates",
                "limits over 10s",
                "countries of limit `country`",
                "clients of fair limits over 1s",
                "shares of limit `country`",
                "promises of limit `country`",
                "promises of limit `country`",
                "what threads count in advance",
            ]
        );
    }
}
