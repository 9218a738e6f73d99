//! The one admission function: a request passes all of its limits or is counted by none.
//!
//! First all limits are only read, so that hammering a closed door takes nothing from anybody. Then each counts the
//! request and looks at what its own increment returned, so that threads racing for the last place cannot all get it;
//! if one refuses now, those before it give the request back, in the interval in which they had counted it.

use std::iter::successors;
use std::time::Duration;

use super::fair::{self, Wait};
use super::lease::{Draw, Leases, Lessee, Of, Renewal, Spare};
use super::limit::{Limit, Rate, Tally};
use super::line;
use super::settings::Interval;
use super::subject::Subject;
use super::window;
use crate::facts::place::Asn;
use crate::facts::time::Tick;

/// One limit that a request has to pass, at the rate that applies to it. A limit that is listed twice counts twice.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// Its rate for this request.
    pub rate: Rate,
}

/// Whether a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It may, and all its limits have counted it.
    Admit,
    /// It may not, and none of its limits has counted it.
    Reject(Rejection),
}

/// Why a request may not pass. Nothing remains of the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which of the checks refused; of several, the one that will refuse longest.
    pub check: usize,
    /// When a retry would pass: at a limit that clients share a place is kept then, or else it is when one is likely;
    /// at any other if nothing else was admitted until then. Above zero.
    pub retry_after: Duration,
    /// How many requests this client may have per window: what that limit admits, or the client's fair share of it.
    pub quota: u64,
    /// That limit's window.
    pub window: Interval,
    /// For how long a place is kept after that time; zero if none is.
    pub kept: Duration,
}

/// What limits would still let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Requests that would pass now if nobody else sent any.
    pub remaining: u64,
    /// When there are more again.
    pub reset: Duration,
}

/// A check that does not refuse, as far as it was looked at; the checks before it are linked on the stack.
struct Passing<'a> {
    index: usize,
    check: &'a Check<'a>,
    glance: &'a Glance<'a>,
    before: Option<&'a Passing<'a>>,
}

/// What a limit says of a request that it has not counted yet.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one call; a box would be an allocation"
)]
enum Glance<'a> {
    /// A place of this thread's lease: it is counted already.
    Counted(Spare<'a>),
    Plain {
        glance: window::Glance<'a>,
        quota: u64,
        ahead: Option<(&'a Leases, Renewal<'a>)>,
    },
    Line(line::Glance<'a>),
    Fair(fair::Entry<'a>),
}

/// Who asks, and when.
#[derive(Clone, Copy)]
struct Asked<'a> {
    subject: &'a Subject,
    now: Tick,
    /// Those of the thread, if places may be counted in advance.
    leases: Option<&'a Leases>,
    /// Whether the client came lately.
    returns: bool,
}

/// Counts the request under all `checks`, or under none. No checks: it passes.
pub(super) fn admit(
    subject: &Subject,
    checks: &[Check<'_>],
    now: Tick,
    leases: Option<&Leases>,
) -> Admission {
    let returns = leases.is_some_and(|leases| leases.knows(&subject.client));
    match look(Asked { subject, now, leases, returns }, checks, None) {
        Ok(()) => Admission::Admit,
        Err(refused) => Admission::Reject(refused),
    }
}

/// What the tightest of `checks` would still let through: of a limit that is shared, to all who share it.
pub(super) fn left(subject: &Subject, checks: &[Check<'_>], now: Tick) -> Option<Left> {
    let left = |check: &Check<'_>| {
        let quota = check.rate.quota(check.limit.spec().window);
        check.limit.left(subject, quota, now)
    };
    checks.iter().map(left).min_by_key(|left| (left.remaining, std::cmp::Reverse(left.reset)))
}

/// Looks at one check after the other; when none is left, counts.
fn look(asked: Asked<'_>, checks: &[Check<'_>], before: Option<&Passing<'_>>) -> Result<(), Rejection> {
    let Some((check, rest)) = checks.split_first() else {
        return count(before);
    };
    let index = before.map_or(0, |passing| passing.index + 1);
    let glance = check.glance(asked);
    if let Some(wait) = glance.refusal() {
        glance.refuse();
        successors(before, |passing| passing.before).for_each(|passing| passing.glance.leave());
        return Err(longest(check.rejection(index, wait), asked, rest));
    }
    look(asked, rest, Some(&Passing { index, check, glance: &glance, before }))
}

/// Counts under all that passed, or under none.
fn count(last: Option<&Passing<'_>>) -> Result<(), Rejection> {
    let all = || successors(last, |passing| passing.before);
    for (taken, passing) in all().enumerate() {
        if let Err(wait) = passing.glance.take() {
            passing.glance.refuse();
            all().take(taken).for_each(|passing| passing.glance.give_back());
            all().skip(taken + 1).for_each(|passing| passing.glance.leave());
            return Err(passing.check.rejection(passing.index, wait));
        }
    }
    Ok(())
}

/// Of `refused` and the checks after it, the rejection that lasts longest: a retry has to pass them all.
#[cold]
fn longest(refused: Rejection, asked: Asked<'_>, rest: &[Check<'_>]) -> Rejection {
    let (mut longest, asked) = (refused, Asked { leases: None, ..asked });
    for (index, check) in (refused.check + 1..).zip(rest) {
        match check.glance(asked).refusal() {
            Some(wait) if wait.time > longest.retry_after => longest = check.rejection(index, wait),
            Some(_) | None => {}
        }
    }
    longest
}

impl Check<'_> {
    fn glance<'a>(&'a self, asked: Asked<'a>) -> Glance<'a> {
        let Asked { subject, now, leases, returns } = asked;
        let (key, quota) = (self.limit.key(subject), self.rate.quota(self.limit.spec().window));
        let leases = leases.filter(|leases| leases.suit(quota));
        let draw = |leases| match self.limit.tally() {
            Tally::Line(..) => Draw::Nothing,
            Tally::Window(_) | Tally::Fair(_) if !returns => Draw::Nothing,
            Tally::Window(_) => Leases::draw(leases, &Lessee::new(Of::Client, key, quota, Asn::UNKNOWN), now),
            Tally::Fair(fair) => fair.draw(key, subject, quota, now, leases),
        };
        let ahead = match leases.map(|leases| (leases, draw(leases))) {
            Some((_, Draw::Spare(spare))) => return Glance::Counted(spare),
            Some((leases, Draw::Renewal(renewal))) => Some((leases, Some(renewal))),
            Some((leases, Draw::Nothing)) => Some((leases, None)),
            None => None,
        };
        match (self.limit.tally(), ahead) {
            (Tally::Window(window), ahead) => {
                let ahead = ahead.and_then(|(leases, renewal)| Some((leases, renewal?)));
                Glance::Plain { glance: window.glance(key, now), quota, ahead }
            }
            (Tally::Line(window, promises), _) => {
                let member = subject.member(self.limit.spec().per, key);
                Glance::Line(line::Glance::new(window, promises, key, member, quota, now))
            }
            (Tally::Fair(fair), Some(ahead)) => Glance::Fair(fair.enter(key, subject, quota, now, ahead)),
            (Tally::Fair(fair), None) => {
                Glance::Fair(fair::Entry::Looked(fair.glance(key, subject, quota, now), None))
            }
        }
    }

    fn rejection(&self, check: usize, wait: Wait) -> Rejection {
        let Wait { time, share, kept } = wait;
        Rejection { check, retry_after: time, quota: share, window: self.limit.spec().window, kept }
    }
}

impl Glance<'_> {
    /// Why the request has to wait, if it has to.
    fn refusal(&self) -> Option<Wait> {
        match self {
            Self::Counted(_) => None,
            Self::Plain { glance, quota, .. } => glance.refusal(*quota).map(|time| Wait::alone(time, *quota)),
            Self::Line(glance) => glance.refusal(),
            Self::Fair(entry) => entry.refusal(),
        }
    }

    /// Counts the request, if it still fits.
    fn take(&self) -> Result<(), Wait> {
        match self {
            Self::Counted(_) => Ok(()),
            Self::Plain { glance, quota, ahead } => {
                let taken = match ahead {
                    Some((leases, renewal)) => glance.take_ahead(*quota, leases, renewal),
                    None => glance.take(*quota),
                };
                taken.map_err(|time| Wait::alone(time, *quota))
            }
            Self::Line(glance) => glance.take(),
            Self::Fair(entry) => entry.take(),
        }
    }

    /// Uncounts the request.
    fn give_back(&self) {
        match self {
            Self::Counted(spare) => spare.put_back(),
            Self::Plain { glance, quota, .. } => glance.give_back(*quota),
            Self::Line(glance) => glance.give_back(),
            Self::Fair(entry) => entry.give_back(),
        }
    }

    /// Leaves to others what was counted before, since the request will not take it.
    fn leave(&self) {
        match self {
            Self::Counted(spare) => spare.put_back(),
            Self::Plain { .. } | Self::Line(_) => {}
            Self::Fair(entry) => entry.leave(),
        }
    }

    /// Notes that it was refused here.
    fn refuse(&self) {
        match self {
            Self::Counted(_) | Self::Plain { .. } | Self::Line(_) => {}
            Self::Fair(entry) => entry.refuse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{at, first_come, limit, rate, subject, traffic};
    use super::super::{Per, Traffic};
    use super::*;

    /// How many of `tries` requests pass.
    fn pass(traffic: &Traffic, from: &Subject, checks: &[Check<'_>], tries: usize, now: Tick) -> usize {
        (0..tries).filter(|_| traffic.admit(from, checks, now) == Admission::Admit).count()
    }

    fn refusal(traffic: &Traffic, from: &Subject, checks: &[Check<'_>], now: Tick) -> Rejection {
        match traffic.admit(from, checks, now) {
            Admission::Reject(refused) => refused,
            Admission::Admit => panic!("was admitted"),
        }
    }

    #[test]
    fn without_limits_everything_passes() {
        assert_eq!(traffic().admit(&subject("DE", 1), &[], at(0.0)), Admission::Admit);
    }

    #[test]
    fn a_request_counts_under_all_of_its_limits_or_under_none() {
        let traffic = traffic();
        let (client, country) =
            (limit(&traffic, "c", Per::Client, 10), first_come(&traffic, "k", Per::Country, 10));
        let checks = [Check { limit: &client, rate: rate(1.0) }, Check { limit: &country, rate: rate(1.5) }];
        let (first, second) = (subject("DE", 1), subject("DE", 2));
        assert_eq!(pass(&traffic, &first, &checks, 50, at(0.0)), 10);
        assert_eq!(refusal(&traffic, &first, &checks, at(0.0)).check, 0);
        assert_eq!(pass(&traffic, &second, &checks, 50, at(0.0)), 5);
        assert_eq!(refusal(&traffic, &second, &checks, at(0.0)).check, 1);
        // The country refused 45 requests of the second client, whose own limit has counted none of them.
        assert_eq!(client.admitted_rate(&second, at(0.0)), 0.5);
        assert_eq!(pass(&traffic, &second, &checks[..1], 50, at(0.0)), 5);
    }

    #[test]
    fn whoever_loses_the_race_for_one_limit_is_counted_by_none() {
        let traffic = traffic();
        let limits = ["a", "b", "c"].map(|name| limit(&traffic, name, Per::Client, 10));
        let (who, full) = (subject("DE", 1), rate(1.0));
        let checks = [0, 1, 2].map(|n| Check { limit: &limits[n], rate: full });
        let asked = Asked { subject: &who, now: at(0.0), leases: None, returns: false };
        let glances = checks.each_ref().map(|check| check.glance(asked));
        let seen =
            |index: usize, before| Passing { index, check: &checks[index], glance: &glances[index], before };
        let first = seen(0, None);
        let second = seen(1, Some(&first));
        let third = seen(2, Some(&second));
        // Between looking and counting, others fill the second limit.
        assert_eq!(pass(&traffic, &who, &checks[1..2], 50, at(0.0)), 10);
        assert_eq!(count(Some(&third)).unwrap_err().check, 1);
        let admitted = limits.each_ref().map(|limit| limit.admitted_rate(&who, at(0.0)));
        assert_eq!(admitted, [0.0, 1.0, 0.0]);
    }

    #[test]
    fn a_limit_counts_only_what_it_admitted_itself() {
        let traffic = traffic();
        let (login, other) =
            (limit(&traffic, "login", Per::Client, 10), limit(&traffic, "other", Per::Client, 10));
        let who = subject("DE", 1);
        assert_eq!(pass(&traffic, &who, &[Check { limit: &other, rate: rate(9.0) }], 100, at(1.0)), 90);
        assert_eq!(pass(&traffic, &who, &[Check { limit: &login, rate: rate(0.5) }], 100, at(1.0)), 5);
    }

    #[test]
    fn the_unknown_is_limited_like_anybody() {
        let traffic = traffic();
        let nobody = Subject { client: crate::facts::client::Prefix::UNKNOWN, ..subject("ZZ", 0) };
        for per in Per::ALL {
            let limit = limit(&traffic, "x", per, 10);
            assert_eq!(pass(&traffic, &nobody, &[Check { limit: &limit, rate: rate(1.0) }], 50, at(0.0)), 10);
        }
    }

    #[test]
    fn a_retry_passes_when_it_was_said_to_and_not_before() {
        let traffic = traffic();
        let (client, country) =
            (limit(&traffic, "c", Per::Client, 1), limit(&traffic, "k", Per::Country, 10));
        let checks = [Check { limit: &client, rate: rate(3.0) }, Check { limit: &country, rate: rate(2.0) }];
        let who = subject("KP", 1);
        let mut now = at(100.2);
        traffic.rotate(now);
        for _ in 0..500 {
            pass(&traffic, &who, &checks, 50, now);
            let wait = refusal(&traffic, &who, &checks, now).retry_after;
            assert!(wait > Duration::ZERO);
            let retry = Tick::from_elapsed(now.elapsed() + wait);
            let early = Tick::from_elapsed(retry.elapsed() - Duration::from_nanos(1));
            traffic.rotate(early);
            assert_ne!(traffic.admit(&who, &checks, early), Admission::Admit, "at {early:?}");
            traffic.rotate(retry);
            assert_eq!(traffic.admit(&who, &checks, retry), Admission::Admit, "at {retry:?}");
            now = retry;
        }
        // 500 retries of one request each, right on time, keep to the limit.
        let seconds = now.elapsed().as_secs_f64() - 100.2;
        assert!((500.0 / seconds - 2.0).abs() < 0.1, "{}", 500.0 / seconds);
    }

    #[test]
    fn a_rejection_names_the_limit_that_lasts_longest() {
        let traffic = traffic();
        let (short, long) = (limit(&traffic, "s", Per::Client, 1), limit(&traffic, "l", Per::Client, 60));
        let checks = [Check { limit: &short, rate: rate(1.0) }, Check { limit: &long, rate: rate(0.1) }];
        let who = subject("DE", 1);
        for limited in [&checks[..1], &checks[1..]] {
            pass(&traffic, &who, limited, 10, at(0.0));
        }
        let refused = refusal(&traffic, &who, &checks, at(0.0));
        assert_eq!((refused.check, refused.quota), (1, 6));
        assert_eq!(refused.window.duration(), Duration::from_secs(60));
    }

    #[test]
    fn a_rate_that_falls_is_felt_at_once() {
        let traffic = traffic();
        let limit = limit(&traffic, "x", Per::Route, 10);
        let who = subject("DE", 1);
        assert_eq!(pass(&traffic, &who, &[Check { limit: &limit, rate: rate(10.0) }], 80, at(0.0)), 80);
        let slower = [Check { limit: &limit, rate: rate(1.0) }];
        let wait = refusal(&traffic, &who, &slower, at(0.0)).retry_after;
        // 80 have faded to 9.5 when 8.8125 s of the next interval have gone by.
        assert_eq!(wait, Duration::from_millis(18_813).saturating_sub(Duration::from_micros(500)));
    }
}
