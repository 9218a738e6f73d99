//! Delay instead of refusal: how long a limit may let requests wait, and who waits behind whom.
//!
//! Waiting itself is for the edge; here is only what it needs to know of a limit.

use std::time::Duration;

use super::limit::{Limit, Tally};
use super::subject::{Key, Subject};

/// What a limit may delay, instead of refusing it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How long a request may wait, at all its limits together.
    pub longest: Duration,
    /// How many requests may wait at once.
    pub most: usize,
}

/// Whose requests wait behind each other at one limit: those that share a count. Where clients share it fairly, each
/// has a lane of its own, or who asks for little would wait for who asks for much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane(Key);

impl Limit {
    /// The lane of this request.
    pub fn lane(&self, subject: &Subject) -> Lane {
        let key = self.key(subject);
        Lane(match self.tally() {
            Tally::Window(_) | Tally::Line(..) => key,
            Tally::Fair(_) => subject.member(self.spec().per, key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{first_come, limit, subject, traffic};
    use super::super::{Per, Subject};
    use super::*;

    #[test]
    fn who_shares_a_count_shares_a_lane() {
        let traffic = traffic();
        let (one, other) = (subject("KP", 1), subject("KP", 2));
        let client = limit(&traffic, "a.slow", Per::Client, 10);
        assert_eq!(client.lane(&one), client.lane(&Subject { country: subject("DE", 1).country, ..one }));
        assert_ne!(client.lane(&one), client.lane(&other));
        let country = first_come(&traffic, "country", Per::Country, 10);
        assert_eq!(country.lane(&one), country.lane(&other));
        assert_ne!(country.lane(&one), country.lane(&subject("DE", 1)));
    }

    #[test]
    fn clients_of_a_fair_limit_do_not_wait_for_each_other() {
        let traffic = traffic();
        for per in [Per::Country, Per::Asn, Per::Route] {
            let limit = limit(&traffic, "shared", per, 10);
            assert_eq!(limit.lane(&subject("KP", 1)), limit.lane(&subject("KP", 1)));
            assert_ne!(limit.lane(&subject("KP", 1)), limit.lane(&subject("KP", 2)), "{per:?}");
        }
    }

    #[test]
    fn no_two_limits_share_a_lane() {
        let (traffic, from) = (traffic(), subject("KP", 1));
        let mut limits = vec![limit(&traffic, "a", Per::Client, 10), limit(&traffic, "b", Per::Client, 10)];
        limits.extend(["c", "d"].map(|name| first_come(&traffic, name, Per::Country, 10)));
        limits.extend(["e", "f"].map(|name| limit(&traffic, name, Per::Country, 10)));
        let lanes: std::collections::HashSet<Lane> = limits.iter().map(|limit| limit.lane(&from)).collect();
        assert_eq!(lanes.len(), limits.len());
    }
}
