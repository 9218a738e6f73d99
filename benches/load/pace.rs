//! When requests start: as soon as a connection is free (closed loop), or by the clock (open loop).
//!
//! By the clock, each request has a moment at which it is meant to start, whatever became of those before it.
//! Latency counts from that moment, so a contestant that stalls is charged for every request that had to wait (no
//! coordinated omission).

use std::time::{Duration, Instant};

/// The rhythm of one phase.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Whenever a connection is free.
    Closed {
        /// No request starts after this.
        until: Instant,
        /// How many more may start.
        left: u64,
    },
    /// At a constant rate.
    Open {
        /// When the first request is meant to start.
        begin: Instant,
        /// Time between two requests.
        interval: Duration,
        /// How many started.
        started: u32,
        /// How many there will be.
        total: u32,
    },
}

/// No phase has more requests.
const MOST: u32 = 4_000_000;

impl Pace {
    /// As fast as the contestant answers, for so long.
    pub(crate) fn closed(begin: Instant, length: Duration) -> Self {
        Self::Closed { until: begin + length, left: MOST.into() }
    }

    /// So many requests per second, for so long.
    pub(crate) fn open(begin: Instant, length: Duration, rate: f64) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate.max(1.0));
        let total = (length.as_secs_f64() / interval.as_secs_f64()) as u32;
        Self::Open { begin, interval, started: 0, total: total.clamp(1, MOST) }
    }

    /// When the request that may start now was meant to; `None` if none may.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        match self {
            Self::Closed { until, left } => {
                let more = now < *until && *left > 0;
                *left -= u64::from(more);
                more.then_some(now)
            }
            Self::Open { begin, interval, started, total } => {
                let meant = *begin + *interval * *started;
                let due = *started < *total && meant <= now;
                *started += u32::from(due);
                due.then_some(meant)
            }
        }
    }

    /// When to ask again, if nothing else happens.
    pub(crate) fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { begin, interval, started, total } => {
                (started < total).then(|| *begin + *interval * *started)
            }
        }
    }

    /// Whether no more requests will start.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Closed { until, left } => now >= *until || *left == 0,
            Self::Open { started, total, .. } => started >= total,
        }
    }
}
