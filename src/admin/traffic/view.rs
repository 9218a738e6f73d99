//! What `/api/traffic` answers, written by the gate and read by `riskgate top`. Rates are requests per second.
//!
//! Field names are a promise. A reader takes what it does not find as absent, so that an older gate can be looked at.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::decision::Outcome;
use crate::scoreboard::Outcomes;

/// What becomes of requests right now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// When this was looked up, RFC 3339.
    pub time: String,
    /// The snapshot in use.
    pub generation: u64,
    /// How many seconds rates are over: about 10, less just after the start.
    pub window_s: f64,
    /// The gate as a whole.
    pub process: Process,
    /// All requests.
    pub total: Rates,
    /// By country.
    pub countries: Vec<Country>,
    /// The busiest clients.
    pub clients: Vec<Client>,
    /// By route.
    pub routes: Vec<Route>,
    /// By reason.
    pub reasons: Vec<Reason>,
    /// What limits let pass and turned away.
    pub limits: Vec<Limit>,
    /// How many requests are in flight under the limits of that.
    pub concurrency: Vec<Concurrency>,
    /// Who sends far more than usual.
    pub surges: Vec<Surge>,
}

/// The gate as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Seconds since it started.
    pub uptime_s: f64,
    /// Requests that are being served.
    pub in_flight: usize,
    /// Records that are lost.
    pub records_dropped: u64,
    /// Requests since it started.
    pub since_start: Totals,
}

/// Requests since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// All of them.
    pub offered: u64,
    /// Went to an origin.
    pub allowed: u64,
    /// Turned away by a limit.
    pub throttled: u64,
    /// Asked for a proof.
    pub challenged: u64,
    /// Refused.
    pub blocked: u64,
}

/// Requests per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// All of them.
    pub offered: f64,
    /// Went to an origin.
    pub allowed: f64,
    /// Turned away by a limit.
    pub throttled: f64,
    /// Asked for a proof.
    pub challenged: f64,
    /// Refused.
    pub blocked: f64,
}

/// A country.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Country {
    /// Two letters, `ZZ` if unknown.
    pub country: String,
    /// What became of its requests.
    #[serde(flatten)]
    pub rates: Rates,
    /// Its usual rate.
    pub usual: Option<f64>,
    /// How many times the usual rate it is now.
    pub surge: Option<f64>,
}

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Client {
    /// Its pseudonym.
    pub client: String,
    /// Where it was last seen.
    pub country: String,
    /// What became of its requests; never more than there were.
    #[serde(flatten)]
    pub rates: Rates,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Route {
    /// Its name; `null` for requests that no route serves.
    pub route: Option<String>,
    /// What became of its requests.
    #[serde(flatten)]
    pub rates: Rates,
}

/// A reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reason {
    /// Its id.
    pub reason: String,
    /// What became of requests that it was given for.
    #[serde(flatten)]
    pub rates: Rates,
}

/// A limit, as a whole or for one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// Its name.
    pub limit: String,
    /// What it tells apart.
    pub per: String,
    /// Whose it is, such as a country; `null` for all of them together.
    pub key: Option<String>,
    /// The interval that it slides over.
    pub window_s: f64,
    /// How much it lets pass at most; `null` if a script may say.
    pub rate: Option<f64>,
    /// What it let pass.
    pub allowed: f64,
    /// What it turned away; `null` if that is not known for this key.
    pub throttled: Option<f64>,
    /// How much each of those who share it gets, while they ask for more than it lets pass.
    pub fair_share: Option<f64>,
}

/// A limit of requests in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Concurrency {
    /// Its name.
    pub name: String,
    /// What it tells apart.
    pub per: String,
    /// How many may be in flight at once, for each key.
    pub most: u32,
    /// How many are, of all keys together.
    pub in_flight: usize,
}

/// Somebody who sends far more than usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Surge {
    /// What it is that surges: `country` or `route`.
    pub per: String,
    /// Which one.
    pub key: String,
    /// How much it sends.
    pub rate: f64,
    /// How much it usually sends.
    pub usual: f64,
    /// How many times that it is.
    pub surge: f64,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Most requests.
    #[default]
    Offered,
    /// Most that went to an origin.
    Allowed,
    /// Most that limits turned away.
    Throttled,
    /// Most that were asked for a proof.
    Challenged,
    /// Most that were refused.
    Blocked,
    /// In order of the alphabet.
    Name,
}

/// A row that has a name and rates.
pub trait Ranked {
    /// What it is about.
    fn name(&self) -> &str;
    /// What became of its requests.
    fn rates(&self) -> &Rates;
}

impl View {
    /// Puts every list in order; limits are in the order of what they turn away, and then of what they let pass.
    pub fn sort(&mut self, sort: Sort) {
        self.countries.sort_by(|a, b| sort.order(a, b));
        self.clients.sort_by(|a, b| sort.order(a, b));
        self.routes.sort_by(|a, b| sort.order(a, b));
        self.reasons.sort_by(|a, b| sort.order(a, b));
        let busy = |limit: &Limit| (limit.throttled.unwrap_or(0.0), limit.allowed);
        let down = |a: f64, b: f64| b.total_cmp(&a);
        self.concurrency.sort_by(|a, b| b.in_flight.cmp(&a.in_flight).then_with(|| a.name.cmp(&b.name)));
        self.limits.sort_by(|a, b| {
            let ((thrown, passed), (other_thrown, other_passed)) = (busy(a), busy(b));
            let name = || (&a.limit, &a.per, &a.key).cmp(&(&b.limit, &b.per, &b.key));
            down(thrown, other_thrown).then(down(passed, other_passed)).then_with(name)
        });
        self.surges.sort_by(|a, b| down(a.surge, b.surge).then_with(|| a.key.cmp(&b.key)));
    }

    /// Keeps so many rows of each list.
    pub fn truncate(&mut self, rows: usize) {
        self.countries.truncate(rows);
        self.clients.truncate(rows);
        self.routes.truncate(rows);
        self.reasons.truncate(rows);
        self.limits.truncate(rows);
        self.concurrency.truncate(rows);
        self.surges.truncate(rows);
    }
}

impl Rates {
    /// Counts over so many seconds; nothing over no time.
    pub(super) fn of(counts: &Outcomes, seconds: f64) -> Self {
        let rate = |outcome| per_second(f64::from(counts.of(outcome)), seconds);
        Self {
            offered: per_second(counts.offered() as f64, seconds),
            allowed: rate(Outcome::Allowed),
            throttled: rate(Outcome::Throttled),
            challenged: rate(Outcome::Challenged),
            blocked: rate(Outcome::Blocked),
        }
    }
}

impl Sort {
    /// Every one, in the order of the columns.
    pub const ALL: [Self; 6] =
        [Self::Offered, Self::Allowed, Self::Throttled, Self::Challenged, Self::Blocked, Self::Name];

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == name)
    }

    /// How it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Allowed => "allowed",
            Self::Throttled => "throttled",
            Self::Challenged => "challenged",
            Self::Blocked => "blocked",
            Self::Name => "name",
        }
    }

    /// The next one; after the last one, the first.
    pub const fn next(self) -> Self {
        match self {
            Self::Offered => Self::Allowed,
            Self::Allowed => Self::Throttled,
            Self::Throttled => Self::Challenged,
            Self::Challenged => Self::Blocked,
            Self::Blocked => Self::Name,
            Self::Name => Self::Offered,
        }
    }

    /// Which of two rows comes first; those that are alike in what counts go by what they ask for, then by name.
    fn order(self, a: &impl Ranked, b: &impl Ranked) -> Ordering {
        let by = |rates: &Rates| match self {
            Self::Offered => rates.offered,
            Self::Allowed => rates.allowed,
            Self::Throttled => rates.throttled,
            Self::Challenged => rates.challenged,
            Self::Blocked => rates.blocked,
            Self::Name => 0.0,
        };
        let down = |by: &dyn Fn(&Rates) -> f64| by(b.rates()).total_cmp(&by(a.rates()));
        let name = a.name().cmp(b.name());
        match self {
            Self::Name => name,
            Self::Offered | Self::Allowed | Self::Throttled | Self::Challenged | Self::Blocked => {
                down(&by).then_with(|| down(&|rates| rates.offered)).then(name)
            }
        }
    }
}

impl Ranked for Country {
    fn name(&self) -> &str {
        &self.country
    }

    fn rates(&self) -> &Rates {
        &self.rates
    }
}

impl Ranked for Client {
    fn name(&self) -> &str {
        &self.client
    }

    fn rates(&self) -> &Rates {
        &self.rates
    }
}

impl Ranked for Route {
    fn name(&self) -> &str {
        self.route.as_deref().unwrap_or("(none)")
    }

    fn rates(&self) -> &Rates {
        &self.rates
    }
}

impl Ranked for Reason {
    fn name(&self) -> &str {
        &self.reason
    }

    fn rates(&self) -> &Rates {
        &self.rates
    }
}

/// A rate to a thousandth; none over no time.
pub(super) fn per_second(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { rounded(count / seconds) } else { 0.0 }
}

/// To a thousandth.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
