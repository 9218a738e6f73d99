//! Which limits there are: found again by identity at each load, forgotten when nobody holds them.
//!
//! Snapshots hold the handles, the registry only remembers them weakly, so that counts survive a reload that keeps
//! a limit and go with the last snapshot that knew it. Its lock is taken at load and by the rotating task, never
//! for a request.

mod purpose;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use self::purpose::Purpose;
use super::Part;
use super::fair::{Fair, Members};
use super::kept::{Kept, Lapse};
use super::limit::{Limit, LimitSpec, Tally};
use super::promise::Promises;
use super::secret::{Secret, short};
use super::settings::{Interval, Settings, Shape, TrafficError};
use super::subject::Per;
use super::window::Window;
use crate::facts::time::Tick;

/// How many different windows one set of limits may use; each takes a sketch of its own.
pub const MAX_INTERVALS: usize = 8;

/// Limits that are remembered although nobody holds them any more, if there are as many others.
const MOST_KNOWN: usize = 4_096;

/// Remembers limits while they are in use.
#[derive(Default)]
pub(super) struct Registry {
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    limits: Vec<Known>,
    windows: Vec<Named>,
    members: Vec<(Interval, Weak<Members>)>,
}

/// A limit that was made.
struct Known {
    limit: Weak<Limit>,
    tag: u32,
    window: Interval,
    /// When it was found that nobody holds it.
    gone: Option<Tick>,
}

/// What somebody holds.
struct InUse {
    windows: Vec<(Purpose, Arc<Window>)>,
    members: Vec<Arc<Members>>,
    limits: Vec<Arc<Limit>>,
}

/// A window and what it is for.
struct Named {
    purpose: Purpose,
    window: Weak<Window>,
}

/// What is needed to make a limit.
#[derive(Clone, Copy)]
struct Make<'a> {
    shape: Shape,
    secret: &'a Secret,
    now: Tick,
}

impl Registry {
    /// A handle for each of `specs`, in their order.
    pub(super) fn limits(
        &self,
        specs: &[LimitSpec],
        settings: &Settings,
        secret: &Secret,
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
        Ok(specs.iter().map(|spec| shelves.limit(spec, Make { shape: settings.keys, secret, now })).collect())
    }

    /// Rotates every window in use.
    pub(super) fn rotate(&self, now: Tick) {
        self.shelves().forget_unused(now);
        let InUse { windows, members, limits } = self.in_use();
        windows.iter().for_each(|(_, window)| window.rotate(now));
        members.iter().for_each(|members| members.rotate(now));
        limits.iter().filter_map(|limit| limit.fair()).for_each(|fair| fair.rotate(now));
    }

    /// Hands on what every limit in use has counted.
    pub(super) fn keep<E>(&self, now: Tick, sink: &mut dyn FnMut(&Kept) -> Result<(), E>) -> Result<(), E> {
        let InUse { windows, members, limits } = self.in_use();
        windows.iter().try_for_each(|(purpose, window)| window.keep(&purpose.to_string(), now, sink))?;
        members.iter().try_for_each(|members| members.keep(now, sink))?;
        let mut fair = limits.iter().filter_map(|limit| Some((limit.spec().to_string(), limit.fair()?)));
        fair.try_for_each(|(of, fair)| fair.keep(&of, now, sink))
    }

    /// Counts once more what was kept of a limit; how many keys that is.
    pub(super) fn recall(&self, kept: &Kept, lapse: Lapse) -> usize {
        let (InUse { windows, members, limits }, Kept { of, rows }) = (self.in_use(), kept);
        if let Some((_, window)) = windows.iter().find(|(purpose, _)| purpose.to_string() == *of) {
            return window.recall(rows, lapse);
        }
        let fair = limits.iter().find(|limit| limit.spec().to_string() == *of);
        if let Some(fair) = fair.and_then(|limit| limit.fair()) {
            return fair.recall(rows, lapse);
        }
        members.iter().map(|members| members.recall(kept, lapse)).sum()
    }

    /// Every limit in use.
    pub(super) fn limits_in_use(&self) -> Vec<Arc<Limit>> {
        self.in_use().limits
    }

    /// What every window and every fair limit in use takes.
    pub(super) fn memory(&self) -> Vec<Part> {
        let InUse { windows, members, limits } = self.in_use();
        let part = |what: String, bytes| Part { what, bytes };
        let windows = windows.iter().map(|(purpose, window)| part(purpose.describe(), window.bytes()));
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
        let shelves = self.shelves();
        let named = |named: &Named| Some((named.purpose.clone(), named.window.upgrade()?));
        InUse {
            windows: shelves.windows.iter().filter_map(named).collect(),
            members: shelves.members.iter().filter_map(|(_, members)| members.upgrade()).collect(),
            limits: shelves.limits.iter().filter_map(|known| known.limit.upgrade()).collect(),
        }
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        // Shelves are consistent between any two statements, so a panic elsewhere does not spoil them.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn limit(&mut self, spec: &LimitSpec, make: Make<'_>) -> Arc<Limit> {
        let mut known = self.limits.iter().filter_map(|known| known.limit.upgrade());
        if let Some(known) = known.find(|limit| limit.spec() == spec) {
            return known;
        }
        let tally = if spec.is_fair() {
            let members = self.members(spec.window, make);
            Tally::Fair(Box::new(Fair::new(spec.per, members)))
        } else if spec.is_exact() {
            let window = Arc::new(Window::of_countries(spec.window, make.now));
            self.remember(Purpose::Countries(spec.name.clone(), spec.window), &window);
            Tally::Line(window, Promises::new())
        } else if spec.per == Per::Client {
            Tally::Window(self.shared(spec.window, make))
        } else {
            Tally::Line(self.shared(spec.window, make), Promises::new())
        };
        let tag = self.tag(spec, make.now);
        let limit = Arc::new(Limit::new(spec.clone(), tally, tag));
        self.limits.push(Known { limit: Arc::downgrade(&limit), tag, window: spec.window, gone: None });
        limit
    }

    /// What tells this limit's keys from those of others: the same in every process, so that they can be kept.
    fn tag(&mut self, spec: &LimitSpec, now: Tick) -> u32 {
        self.forget_unused(now);
        // All zeros: no secret is needed to tell limits apart.
        let mut tag = short(&[0; 32], spec.to_string().as_bytes()) as u32;
        // What a limit has counted that is gone would else be that of one which comes after it.
        while self.limits.iter().any(|known| known.tag == tag) {
            tag = tag.wrapping_add(1);
        }
        tag
    }

    fn shared(&mut self, interval: Interval, make: Make<'_>) -> Arc<Window> {
        let purpose = Purpose::Shared(interval);
        let known = self.windows.iter().find(|named| named.purpose == purpose && named.is_used());
        if let Some(window) = known.and_then(|named| named.window.upgrade()) {
            return window;
        }
        let hashing = make.secret.hashing(&purpose.to_string());
        let window = Arc::new(Window::of_limited_keys(interval, make.shape, hashing, make.now));
        self.remember(purpose, &window);
        window
    }

    /// The members of all fair limits over this interval.
    fn members(&mut self, interval: Interval, make: Make<'_>) -> Arc<Members> {
        let known =
            self.members.iter().find(|(known, members)| *known == interval && members.strong_count() > 0);
        if let Some(members) = known.and_then(|(_, members)| members.upgrade()) {
            return members;
        }
        let members = Arc::new(Members::new(interval, make.shape, make.secret));
        self.members.push((interval, Arc::downgrade(&members)));
        members
    }

    fn remember(&mut self, purpose: Purpose, window: &Arc<Window>) {
        self.windows.push(Named { purpose, window: Arc::downgrade(window) });
    }

    /// Forgets what nobody holds; of limits, once nothing that they counted is in a window any more.
    fn forget_unused(&mut self, now: Tick) {
        for known in self.limits.iter_mut().filter(|known| known.limit.strong_count() == 0) {
            known.gone.get_or_insert(now);
        }
        let counts = |known: &Known| {
            let since = known.gone.map(|gone| now.elapsed().saturating_sub(gone.elapsed()));
            since.is_none_or(|since| since < 2 * known.window.duration())
        };
        self.limits.retain(counts);
        let excess = self.limits.len().saturating_sub(MOST_KNOWN);
        let mut gone = 0..excess;
        self.limits.retain(|known| known.gone.is_none() || gone.next().is_none());
        self.windows.retain(Named::is_used);
        self.members.retain(|(_, members)| members.strong_count() > 0);
    }
}

impl Named {
    fn is_used(&self) -> bool {
        self.window.strong_count() > 0
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
        traffic.rotate(at(30.0));
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
