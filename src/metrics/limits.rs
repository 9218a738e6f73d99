//! What limits do, in metrics: the share of each client of a country that is over its limit, and requests in flight.
//!
//! Looked up when somebody asks, so that requests pay nothing for it. Labels are countries, and names that the operator
//! chose; a gauge is gone when there is nothing to tell.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::{GaugeVec, IntGaugeVec, Opts};

use crate::traffic::{Claim, Crowded, Whose};

pub(super) struct Limits {
    fair_share: GaugeVec,
    in_flight: IntGaugeVec,
}

impl Limits {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let share =
            "Requests per second that each client of a country may have, of countries over a fair limit.";
        let held = "Requests in flight under a limit of them, of all keys together.";
        Ok(Self {
            fair_share: GaugeVec::new(Opts::new("riskgate_fair_share", share), &["country"])?,
            in_flight: IntGaugeVec::new(Opts::new("riskgate_in_flight", held), &["limit"])?,
        })
    }

    pub(super) fn fair_shares(&self, crowded: &[Crowded]) {
        let mut shares = BTreeMap::new();
        for Crowded { whose, fair_share, .. } in crowded {
            if let Whose::Country(country) = whose {
                let share: &mut f64 = shares.entry(*country).or_insert(*fair_share);
                *share = share.min(*fair_share);
            }
        }
        self.fair_share.reset();
        for (country, share) in shares {
            self.fair_share.with_label_values(&[country.as_str()]).set(share);
        }
    }

    pub(super) fn in_flight<'a>(&self, limits: impl Iterator<Item = Claim<'a>>) {
        self.in_flight.reset();
        for Claim { cap, .. } in limits {
            let held = i64::try_from(cap.held()).unwrap_or(i64::MAX);
            self.in_flight.with_label_values(&[cap.spec().name.as_str()]).set(held);
        }
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 2] {
        [Box::new(self.fair_share.clone()), Box::new(self.in_flight.clone())]
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;
    use crate::facts::place::CountryCode;
    use crate::traffic::Per;

    #[test]
    fn a_throttle_is_counted_by_country_and_a_fair_share_shown_while_a_country_is_crowded() {
        let metrics = Metrics::new().unwrap();
        let kp = CountryCode::parse("KP").unwrap();
        (0..3).for_each(|_| metrics.throttled(kp, Per::Country));
        metrics.throttled(kp, Per::Client);
        let crowded = |fair_share| Crowded {
            limit: "country".into(),
            whose: Whose::Country(kp),
            rate: 5.0,
            admitted: 4.9,
            throttled: 20.0,
            fair_share,
        };
        metrics.fair_shares(&[crowded(1.5), crowded(0.5)]);
        let text = metrics.text(0);
        for line in [
            "riskgate_throttled_total{country=\"KP\",per=\"country\"} 3",
            "riskgate_throttled_total{country=\"KP\",per=\"client\"} 1",
            "riskgate_fair_share{country=\"KP\"} 0.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        metrics.fair_shares(&[]);
        assert!(!metrics.text(0).contains("riskgate_fair_share{"));
    }
}
