//! Certificates by ACME (RFC 8555): ordered from an authority when they are missing or end soon, and kept in a folder.
//!
//! [`Issuer`] does all of it beside the requests, one order at a time. What it keeps is a source like any other: it asks
//! for a reload, and a certificate is checked and shown as if somebody had copied it there. Requests and handshakes
//! meet only [`Challenges`], and only while an order waits for one.

mod challenges;
mod failing;
mod order;
mod placeholder;
mod schedule;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::reload::Requests;

pub use challenges::Challenges;
pub use placeholder::placeholder;
pub use store::{Store, Stored};

pub(super) use challenges::ACME_TLS;

use failing::Failing;
use order::OrderError;
use schedule::due;

/// How hosts are proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// By the answer to a request in the clear (RFC 8555, section 8.3).
    Http01,
    /// By the certificate shown in a handshake of its own (RFC 8737).
    TlsAlpn01,
}

/// Who issues certificates, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the authority's directory is.
    pub directory: String,
    /// How the authority reaches the operator.
    pub contact: Vec<String>,
    /// Where the account and the certificates are.
    pub store: Store,
    /// How hosts are proved.
    pub challenge: Challenge,
    /// How long before its end a certificate is ordered anew.
    pub renew_before: Duration,
    /// Who vouches for the directory; `None` if the machine knows.
    pub ca: Option<PathBuf>,
}

/// A certificate that is to be there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// What the operator calls it.
    pub name: String,
    /// Its hosts, in lower case.
    pub hosts: Vec<String>,
}

/// All that is wanted, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// From whom.
    pub settings: Settings,
    /// What.
    pub wanted: Vec<Wanted>,
}

/// Sees to it that all is there that is wanted.
pub struct Issuer {
    /// What is wanted now; told again whenever a reload has come to its end.
    pub orders: watch::Receiver<Arc<Orders>>,
    /// Where authorities are answered.
    pub challenges: Arc<Challenges>,
    /// Where failures are counted.
    pub metrics: Arc<Metrics>,
    /// How what was issued comes into use.
    pub requests: Requests,
    /// The clocks.
    pub clock: Clock,
}

/// How often the ends of certificates are looked at.
const LOOK: Duration = Duration::from_secs(3600);
/// How long one order may take.
const LONGEST: Duration = Duration::from_secs(300);

impl Challenge {
    /// As RFCs call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

impl Issuer {
    /// Orders what is due, for ever. Files are read and written right here: it needs a runtime of its own.
    pub async fn run(mut self) {
        let mut failing = None::<Failing>;
        loop {
            let orders = Arc::clone(&self.orders.borrow_and_update());
            let settings = &orders.settings;
            // What failed by other settings may be tried at once by new ones.
            let known = failing.take().filter(|failing| !failing.is_by_others(settings));
            let mut known = known.unwrap_or_else(|| Failing::recall(settings, self.clock.now()));
            known.retain(&orders.wanted);
            for wanted in &orders.wanted {
                self.see_to(settings, wanted, &mut known).await;
            }
            let wait = known.next(self.clock.tick()).unwrap_or(LOOK).min(LOOK);
            failing = Some(known);
            tokio::select! {
                changed = self.orders.changed() => if changed.is_err() { return },
                () = sleep(wait) => {}
            }
        }
    }

    /// Orders one certificate, if it is due and was not tried too short a time ago.
    async fn see_to(&self, settings: &Settings, wanted: &Wanted, failing: &mut Failing) {
        let now = self.clock.now();
        if !failing.left(wanted, now.tick).is_zero() {
            return;
        }
        let stored = settings.store.look(&wanted.name);
        let Some(why) = due(stored.as_ref(), wanted, settings, now.wall) else {
            failing.settled(wanted, now);
            return;
        };
        let name = wanted.name.as_str();
        info!(name, "a certificate is ordered from {}, since {why}", settings.directory);
        let noted = failing.begin(wanted, now, fastrand::f64());
        let ordered = match noted {
            Ok(()) => timeout(LONGEST, order::issue(settings, wanted, &self.challenges)).await,
            Err(error) => Ok(Err(error.into())),
        };
        match ordered.unwrap_or(Err(OrderError::TookTooLong)) {
            Ok(()) => {
                failing.settled(wanted, self.clock.now());
                info!(name, "a certificate was issued");
                self.requests.reload().await;
            }
            Err(error) => {
                self.metrics.acme_failed(name);
                let wait = failing.failed(wanted, self.clock.now(), fastrand::f64()).as_secs();
                warn!(name, "no certificate for `{name}` was issued, next attempt in {wait} s: {error}");
            }
        }
    }
}
