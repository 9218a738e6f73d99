//! What else went on: other programs on our cores, and moments at which a core was not ours at all.
//!
//! The bench cannot make a machine quiet, but it can say that it was not. Both kinds of noise fall on whichever
//! contestant has its turn.

use std::time::{Duration, Instant};

use crate::machine::{Cores, cpu_time};

/// How much of the time a core stood still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalls {
    /// Which part of the time.
    pub(crate) part: f64,
    /// How long at most.
    pub(crate) longest: Duration,
}

/// Watches what others use while our own processes work.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    cores: Option<Cores>,
    ours: &'a [u32],
    begin: Instant,
    used: Option<Used>,
}

/// Clock ticks of the cores, and CPU time of our processes.
#[derive(Clone, Copy, Debug)]
struct Used {
    busy: u64,
    all: u64,
    ours: Duration,
}

/// Shorter moments are no stalls.
const NOTICED: Duration = Duration::from_micros(50);

/// Keeps the core busy for so long and looks for moments at which it did not run us.
pub(crate) fn stalls(length: Duration) -> Stalls {
    let begin = Instant::now();
    let (mut last, mut stalls) = (begin, Stalls { part: 0.0, longest: Duration::ZERO });
    while last - begin < length {
        let now = Instant::now();
        if now - last > NOTICED {
            stalls.part += (now - last).as_secs_f64() / length.as_secs_f64();
            stalls.longest = stalls.longest.max(now - last);
        }
        last = now;
    }
    stalls
}

impl<'a> Watch<'a> {
    /// Begins to watch these cores, or all if they could not be chosen.
    pub(crate) fn begin(cores: Option<Cores>, ours: &'a [u32]) -> Self {
        Self { cores, ours, begin: Instant::now(), used: Used::now(cores, ours) }
    }

    /// Which part of the cores' time others have used since.
    pub(crate) fn others(&self) -> Option<f64> {
        let (before, after) = (self.used?, Used::now(self.cores, self.ours)?);
        let busy = (after.busy - before.busy) as f64 / (after.all - before.all).max(1) as f64;
        let cores = match self.cores {
            Some(_) => 2,
            None => std::thread::available_parallelism().ok()?.get(),
        };
        let ours =
            (after.ours - before.ours).as_secs_f64() / self.begin.elapsed().as_secs_f64() / cores as f64;
        Some((busy - ours).max(0.0))
    }
}

impl Used {
    fn now(cores: Option<Cores>, ours: &[u32]) -> Option<Self> {
        let names = match cores {
            Some(Cores { proxy, load }) => vec![format!("cpu{proxy}"), format!("cpu{load}")],
            None => vec!["cpu".to_owned()],
        };
        let ours = ours.iter().map(|pid| cpu_time(*pid)).sum::<Option<Duration>>()?;
        let mut used = Self { busy: 0, all: 0, ours };
        for line in std::fs::read_to_string("/proc/stat").ok()?.lines() {
            let mut words = line.split_ascii_whitespace();
            if words.next().is_some_and(|name| names.iter().any(|wanted| wanted == name)) {
                // user, nice, system, idle, waiting, interrupts twice, stolen by the host; then parts of these.
                let ticks: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
                let [_, _, _, idle, waiting, ..] = *ticks.as_slice() else { return None };
                let all: u64 = ticks.iter().sum();
                used.all += all;
                used.busy += all - idle - waiting;
            }
        }
        Some(used)
    }
}
