//! First come, first served: a limit whose keys are shared by clients, with places that are kept for those who come back.
//!
//! Without these, all who are refused would come back at the same time, and nearly all in vain. Whoever was
//! refused has a turn; others get in while that leaves room.

use std::time::Duration;

use super::cell::Moment;
use super::fair::Wait;
use super::promise::{Outlook, Promise, Promises, Visit, kept};
use super::subject::Key;
use super::window::{self, Window};
use crate::facts::time::Tick;

/// A request that was looked at and is not counted yet.
pub(super) struct Glance<'a> {
    glance: window::Glance<'a>,
    quota: u64,
    moment: Moment,
    visit: Visit<'a>,
    /// Whether places are kept for anybody.
    quiet: bool,
    /// The place that is kept for this client.
    promise: Option<Promise<'a>>,
}

/// Who finds no turn is told to come after so many windows.
const LONGEST: u32 = 16;

impl<'a> Glance<'a> {
    pub(super) fn new(
        window: &'a Window,
        promises: &'a Promises,
        key: Key,
        member: Key,
        quota: u64,
        now: Tick,
    ) -> Self {
        let (glance, moment) = (window.glance(key, now), window.moment(now));
        let visit = promises.visit(key.number(), promises.hash(member), moment);
        let quiet = promises.is_quiet(key.number(), moment);
        let promise = if quiet { None } else { visit.promise() };
        Self { glance, quota, moment, visit, quiet, promise }
    }

    /// Why the request has to wait, if it has to.
    pub(super) fn refusal(&self) -> Option<Wait> {
        let full = self.glance.refusal(self.quota);
        let is_due = self.promise.is_some_and(|promise| promise.is_due(self.moment));
        match (full, if is_due { Some(Duration::ZERO) } else { self.free() }) {
            (None, Some(Duration::ZERO)) => None,
            (full, free) => Some(self.wait(full.unwrap_or_default(), free)),
        }
    }

    /// When there is a place that is kept for nobody; `None` if not within a window.
    fn free(&self) -> Option<Duration> {
        if self.quiet {
            return Some(Duration::ZERO);
        }
        let outlook = self.visit.outlook(self.promise.as_ref());
        if outlook == Outlook::EMPTY {
            return Some(Duration::ZERO);
        }
        outlook.free(self.moment.interval.duration(), |windows| self.glance.room_after(self.quota, windows))
    }

    /// Counts the request, if it still fits.
    pub(super) fn take(&self) -> Result<(), Wait> {
        self.glance.take(self.quota).map_err(|time| Wait::alone(time, self.quota))?;
        if let Some(promise) = &self.promise {
            self.visit.redeem(promise);
        }
        Ok(())
    }

    /// Uncounts what was taken.
    pub(super) fn give_back(&self) {
        self.glance.give_back(self.quota);
    }

    #[cold]
    fn wait(&self, full: Duration, free: Option<Duration>) -> Wait {
        let window = self.moment.interval.duration();
        let told = |time, kept| Wait { time, share: self.quota, kept };
        if let Some(promise) = &self.promise {
            if !promise.is_due(self.moment) {
                return told(promise.wait(self.moment), kept(self.moment));
            }
            self.visit.take_back(promise);
        }
        // Who was told a time has had a turn.
        let places = self.promise.is_none().then_some(self.quota);
        match self.visit.make(Duration::ZERO, full.max(free.unwrap_or(window)), places) {
            Some(time) => told(time, kept(self.moment)),
            None => told(full.max(window * LONGEST), Duration::ZERO),
        }
    }
}
