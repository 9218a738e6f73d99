//! When to order: whether a certificate is due, and how long to leave an authority alone that has just refused.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::{Settings, Stored, Wanted};
use crate::facts::time::{Now, Tick, Wall};

/// Why a certificate is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// There is none that can be used.
    Missing,
    /// Its hosts are not those that are wanted.
    OtherHosts,
    /// It is from another authority.
    OtherAuthority,
    /// It ends soon, or has ended.
    Ends,
}

/// How long to wait after failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
    until: Tick,
}

/// After the first failure.
const SHORTEST: Duration = Duration::from_secs(60);
/// After many; authorities count failures per hour and per week.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Waits are up to this part shorter, so that many gates do not come at once.
const JITTER: f64 = 0.2;

/// Why what is stored does not do, if it does not.
pub(super) fn due(stored: Option<&Stored>, wanted: &Wanted, settings: &Settings, now: Wall) -> Option<Due> {
    let Some(Stored { certificate, directory }) = stored else { return Some(Due::Missing) };
    let set = |hosts: &[String]| hosts.iter().cloned().collect::<BTreeSet<_>>();
    if set(certificate.hosts()) != set(&wanted.hosts) {
        return Some(Due::OtherHosts);
    }
    if *directory != settings.directory {
        return Some(Due::OtherAuthority);
    }
    let (from, until) = (certificate.from(), certificate.until());
    // One that lives shorter than `renew_before` must not be ordered without end.
    let third = (until - from) / 3;
    let before = i64::try_from(settings.renew_before.as_secs()).unwrap_or(i64::MAX).min(third);
    let now = i64::try_from(now.as_millis() / 1000).unwrap_or(i64::MAX);
    (now >= until.saturating_sub(before)).then_some(Due::Ends)
}

impl Backoff {
    /// That of an order that has failed so often, and is to be left alone until then. However the wall clock was set
    /// meanwhile, no longer than after its last failure.
    pub(super) fn recalled(failures: u32, until: Wall, now: Now) -> Self {
        let left = until.as_millis().saturating_sub(now.wall.as_millis());
        let left = Duration::from_millis(left).min(wait_after(failures.saturating_sub(1)));
        Self { failures, until: Tick::from_elapsed(now.tick.elapsed() + left) }
    }

    /// How many failures there were in a row.
    pub(super) fn failures(self) -> u32 {
        self.failures
    }

    /// Counts a failure; `jitter` is a random number from 0 to 1.
    pub(super) fn failed(&mut self, now: Tick, jitter: f64) {
        let wait = wait_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.until = Tick::from_elapsed(now.elapsed() + wait.mul_f64(1.0 - JITTER * jitter.clamp(0.0, 1.0)));
    }

    /// How long there is to wait still.
    pub(super) fn left(self, now: Tick) -> Duration {
        self.until.elapsed().saturating_sub(now.elapsed())
    }
}

/// How long to wait after a failure, if there were so many before it.
fn wait_after(before: u32) -> Duration {
    SHORTEST.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX)).min(LONGEST)
}

impl Display for Due {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is none",
            Self::OtherHosts => "it is to be for other hosts",
            Self::OtherAuthority => "it is from another authority",
            Self::Ends => "it ends soon",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};

    use super::super::{Challenge, Store};
    use super::*;
    use crate::proxy::door::certificate::{Certificate, PemFile};
    use crate::proxy::door::tls::provider;

    const DAY: u64 = 24 * 3600;

    /// Seconds since 1970 of 2026-01-01 and some days.
    fn day(days: u64) -> u64 {
        1_767_225_600 + days * DAY
    }

    fn stored(hosts: &[&str], days: u64) -> Stored {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = params.not_before + std::time::Duration::from_secs(days * DAY);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem() + key.serialize_pem().as_str();
        let file = PemFile { path: Path::new("api.pem"), bytes: pem.as_bytes() };
        let certificate = Certificate::read("api", file, file, &provider()).unwrap();
        Stored { certificate, directory: "https://a.example/".to_owned() }
    }

    fn why(stored: Option<&Stored>, hosts: &[&str], directory: &str, seconds: u64) -> Option<Due> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let settings = Settings {
            directory: directory.to_owned(),
            contact: Vec::new(),
            store: Store::new("store"),
            challenge: Challenge::Http01,
            renew_before: Duration::from_secs(30 * DAY),
            ca: None,
        };
        due(stored, &Wanted { name: "api".into(), hosts }, &settings, Wall::from_millis(seconds * 1000))
    }

    #[test]
    fn a_certificate_is_due_when_it_is_missing_or_another_is_wanted() {
        let good = stored(&["a.example", "b.example"], 90);
        let here = "https://a.example/";
        assert_eq!(why(None, &["a.example"], here, day(1)), Some(Due::Missing));
        assert_eq!(why(Some(&good), &["b.example", "a.example"], here, day(1)), None);
        assert_eq!(why(Some(&good), &["a.example"], here, day(1)), Some(Due::OtherHosts));
        let there = "https://b.example/";
        assert_eq!(why(Some(&good), &["a.example", "b.example"], there, day(1)), Some(Due::OtherAuthority));
    }

    #[test]
    fn it_is_due_before_its_end_but_not_all_its_life() {
        let ask = |stored: &Stored, seconds| why(Some(stored), &["a.example"], "https://a.example/", seconds);
        let long = stored(&["a.example"], 90);
        assert_eq!(ask(&long, day(60) - 1), None);
        assert_eq!(ask(&long, day(60)), Some(Due::Ends));
        assert_eq!(ask(&long, day(400)), Some(Due::Ends));
        let short = stored(&["a.example"], 6);
        assert_eq!(ask(&short, day(4) - 1), None);
        assert_eq!(ask(&short, day(4)), Some(Due::Ends));
    }

    #[test]
    fn waits_double_up_to_a_bound_and_jitter_makes_them_shorter() {
        let mut backoff = Backoff::default();
        let mut now = Tick::from_elapsed(Duration::from_secs(1000));
        assert_eq!(backoff.left(now), Duration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..40 {
            backoff.failed(now, 0.0);
            waits.push(backoff.left(now).as_secs());
            now = backoff.until;
        }
        assert_eq!(waits.get(..11).unwrap(), [60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 30720, 43200]);
        assert!(waits.iter().skip(11).all(|wait| *wait == 43200));
        let mut backoff = Backoff::default();
        backoff.failed(now, 1.0);
        assert_eq!(backoff.left(now), Duration::from_secs(48));
    }
}
