//! The load: keep-alive connections, one thread, one loop, whatever the pace.
//!
//! It shares its core with the origin and must not be what is measured: requests are ready-made bytes and
//! answers are hardly looked at. But every answer is counted, and one that is not the origin's is told apart.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use crate::alarm::Alarm;
use crate::connection::{Answer, Connection};
use crate::error::LoadError;
use crate::origin;
use crate::pace::Pace;
use crate::requests::Mix;

/// Connections to one contestant.
pub(crate) struct Generator {
    poll: Poll,
    alarm: Alarm,
    name: String,
    address: SocketAddr,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    mix: Mix,
    request: Vec<u8>,
}

/// What came of one phase.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How long it took, to the last answer.
    pub(crate) took: Duration,
    /// Nanoseconds from when a request was meant to start to the end of its answer.
    pub(crate) latencies: Histogram<u64>,
    /// How many answers had which status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// How many 200s did not have the origin's body.
    pub(crate) foreign: u64,
    /// How many requests got no answer, or something that is none.
    pub(crate) broken: u64,
}

/// The connections' tokens are their indices.
const ALARM: Token = Token(usize::MAX >> 1);
/// How long to wait for late answers at the end of a phase.
const PATIENCE: Duration = Duration::from_secs(5);
/// No wait for events is longer.
const LOOK: Duration = Duration::from_millis(50);
/// The longest latency that a histogram tells apart, in nanoseconds; the lowest is 1.
const SLOWEST: u64 = 60_000_000_000;

impl Generator {
    /// Opens the connections, for the usual mix.
    pub(crate) fn connect(name: &str, address: SocketAddr, connections: usize) -> Result<Self, LoadError> {
        Self::with_mix(name, address, connections, Mix::for_server(address))
    }

    /// Opens the connections.
    pub(crate) fn with_mix(
        name: &str,
        address: SocketAddr,
        connections: usize,
        mix: Mix,
    ) -> Result<Self, LoadError> {
        let connect = || -> io::Result<Self> {
            let poll = Poll::new()?;
            let open = |index| Connection::open(address, poll.registry(), Token(index));
            Ok(Self {
                connections: (0..connections).map(open).collect::<io::Result<_>>()?,
                alarm: Alarm::new(poll.registry(), ALARM)?,
                poll,
                name: name.to_owned(),
                address,
                free: (0..connections).collect(),
                mix,
                request: Vec::with_capacity(1024),
            })
        };
        connect().map_err(LoadError::io(format!("connect to `{name}`")))
    }

    /// As many requests as the contestant can answer.
    pub(crate) fn as_fast_as_possible(&mut self, length: Duration) -> Result<Outcome, LoadError> {
        let begin = Instant::now();
        self.phase(begin, Pace::closed(begin, length), length + PATIENCE)
    }

    /// So many requests, as fast as the contestant can answer them.
    pub(crate) fn requests(&mut self, count: u64) -> Result<Outcome, LoadError> {
        let (begin, longest) = (Instant::now(), Duration::from_secs(600));
        self.phase(begin, Pace::Closed { until: begin + longest, left: count }, longest + PATIENCE)
    }

    /// A request at each tick. A contestant that is too slow has as long again to catch up.
    pub(crate) fn at_rate(&mut self, rate: f64, length: Duration) -> Result<Outcome, LoadError> {
        let begin = Instant::now();
        self.phase(begin, Pace::open(begin, length, rate), length * 2 + PATIENCE)
    }

    fn phase(&mut self, begin: Instant, pace: Pace, longest: Duration) -> Result<Outcome, LoadError> {
        let failed = LoadError::io(format!("talk to `{}`", self.name));
        self.run(begin, pace, longest).map_err(failed)
    }

    fn run(&mut self, begin: Instant, mut pace: Pace, longest: Duration) -> io::Result<Outcome> {
        let mut outcome = Outcome::nothing()?;
        let mut events = Events::with_capacity(256);
        loop {
            let now = Instant::now();
            let busy = self.start_due(&mut pace, now, &mut outcome)?;
            let late = now > begin + longest;
            if pace.is_over(now) && !busy || late {
                outcome.took = now - begin;
                self.give_up(&mut pace, now, &mut outcome)?;
                return Ok(outcome);
            }
            let wait = match pace.next() {
                Some(moment) if !self.free.is_empty() => self.alarm.set(moment, now, LOOK)?,
                Some(_) | None => LOOK,
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                self.receive(event.token(), &mut outcome)?;
                self.start_due(&mut pace, Instant::now(), &mut outcome)?;
            }
        }
    }

    /// Starts what may start, as far as connections are free. Returns whether any is busy.
    fn start_due(&mut self, pace: &mut Pace, now: Instant, outcome: &mut Outcome) -> io::Result<bool> {
        while let Some(index) = self.free.front().copied()
            && let Some(meant) = pace.take(now)
        {
            self.free.pop_front();
            self.mix.write_next(&mut self.request);
            if let Some(connection) = self.connections.get_mut(index)
                && connection.send(&self.request, meant).is_err()
            {
                outcome.broken += 1;
                self.replace(index)?;
            }
        }
        Ok(self.free.len() < self.connections.len())
    }

    fn receive(&mut self, token: Token, outcome: &mut Outcome) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(token.0) else {
            return Ok(());
        };
        match connection.receive() {
            Ok(Some(answer)) => {
                outcome.count(answer, Instant::now());
                self.free.push_back(token.0);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(_) if connection.is_busy() => {
                outcome.broken += 1;
                self.replace(token.0)
            }
            // Closed between two requests, which a server may do.
            Err(_) => {
                self.free.retain(|index| *index != token.0);
                self.replace(token.0)
            }
        }
    }

    /// A new connection in the place of a broken one; it is free.
    fn replace(&mut self, index: usize) -> io::Result<()> {
        if let Some(connection) = self.connections.get_mut(index) {
            *connection = Connection::open(self.address, self.poll.registry(), connection.token())?;
        }
        self.free.push_back(index);
        Ok(())
    }

    /// Charges whatever has not been answered or not even been sent.
    fn give_up(&mut self, pace: &mut Pace, now: Instant, outcome: &mut Outcome) -> io::Result<()> {
        while let Some(meant) = pace.take(now).filter(|meant| *meant < now) {
            outcome.charge(now - meant);
        }
        let busy = self.connections.iter().filter(|connection| connection.is_busy());
        for Token(index) in busy.map(Connection::token).collect::<Vec<_>>() {
            outcome.broken += 1;
            self.replace(index)?;
        }
        Ok(())
    }
}

impl Outcome {
    fn nothing() -> io::Result<Self> {
        let latencies = Histogram::new_with_bounds(1, SLOWEST, 3).map_err(io::Error::other)?;
        Ok(Self { took: Duration::ZERO, latencies, statuses: BTreeMap::new(), foreign: 0, broken: 0 })
    }

    /// How many answers there were.
    pub(crate) fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Microseconds that this part of all requests stayed below.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        self.latencies.value_at_quantile(part) as f64 / 1e3
    }

    fn count(&mut self, answer: Answer, now: Instant) {
        self.charge(now - answer.meant);
        *self.statuses.entry(answer.status).or_default() += 1;
        self.foreign += u64::from(answer.status == 200 && answer.body != origin::BODY.len());
    }

    fn charge(&mut self, latency: Duration) {
        self.latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(SLOWEST));
    }
}
