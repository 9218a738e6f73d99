//! Idle connections to one server: each worker has its own, and takes the one it used last.
//!
//! Taking one and giving it back is a push and a pop, on a lock that nobody else wants but the sweep, once in a while.
//! Pingora's own pool starts a task for each idle connection and wakes it for each use. What a connection is good for
//! is not known here; what cannot be used again is not to be given back.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use pingora::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::unconstrained;

use crate::facts::time::Tick;
use crate::workers::PerWorker;

/// Idle connections to one server.
pub struct Pool {
    idle: PerWorker<Mutex<VecDeque<Idle>>>,
    /// The most of each worker.
    most: usize,
    /// How long one is kept.
    patience: Duration,
}

struct Idle {
    stream: Stream,
    since: Tick,
}

impl Pool {
    /// For so many workers, each with at most so many connections, which idle for no longer than `patience`.
    pub(super) fn new(workers: NonZeroUsize, most: usize, patience: Duration) -> Self {
        Self { idle: PerWorker::new(workers, Mutex::default), most, patience }
    }

    /// The connection that the calling worker gave back last, if the server has not closed it.
    pub(super) fn take(&self, now: Tick) -> Option<Stream> {
        let mut idle = lock(self.idle.own());
        while let Some(mut last) = idle.pop_back() {
            if last.is_usable(now, self.patience) {
                return Some(last.stream);
            }
        }
        None
    }

    /// Keeps a connection whose last answer is complete.
    pub(super) fn give_back(&self, stream: Stream, now: Tick) {
        let mut idle = lock(self.idle.own());
        if idle.len() >= self.most {
            idle.pop_front();
        }
        idle.push_back(Idle { stream, since: now });
    }

    /// Closes connections that nobody has used for too long, or that the server has closed.
    pub fn sweep(&self, now: Tick) {
        for idle in self.idle.iter() {
            lock(idle).retain_mut(|idle| idle.is_usable(now, self.patience));
        }
    }
}

impl Debug for Pool {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pool")
            .field("most", &self.most)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Idle {
    fn is_usable(&mut self, now: Tick, patience: Duration) -> bool {
        now.elapsed().saturating_sub(self.since.elapsed()) < patience && is_quiet(&mut self.stream)
    }
}

/// Whether a connection is open and nothing came on it unasked. Asks the system only if it reported something.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut byte = ReadBuf::new(&mut byte);
    let read = pin!(unconstrained(poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut byte))));
    read.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// A list is whole between any two statements.
fn lock(idle: &Mutex<VecDeque<Idle>>) -> MutexGuard<'_, VecDeque<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn at(seconds: u64) -> Tick {
        Tick::from_elapsed(Duration::from_secs(seconds))
    }

    fn pool(most: usize) -> Pool {
        Pool::new(NonZeroUsize::MIN, most, Duration::from_secs(10))
    }

    fn connection() -> (Stream, DuplexStream) {
        let (near, far) = duplex(64);
        (Box::new(near), far)
    }

    #[tokio::test]
    async fn the_last_one_is_taken_first_and_the_oldest_goes_when_there_are_too_many() {
        let pool = pool(2);
        let mut servers = Vec::new();
        for second in 1..=3 {
            let (stream, server) = connection();
            servers.push(server);
            pool.give_back(stream, at(second));
        }
        assert_eq!(servers[0].read(&mut [0]).await.unwrap(), 0, "closed");
        let mut last = pool.take(at(3)).unwrap();
        last.write_all(b"x").await.unwrap();
        let mut byte = [0];
        servers[2].read_exact(&mut byte).await.unwrap();
        assert!(pool.take(at(3)).is_some());
        assert!(pool.take(at(3)).is_none());
    }

    #[tokio::test]
    async fn what_the_server_closed_or_spoke_on_unasked_is_not_used_again() {
        let pool = pool(8);
        let (open, _server) = connection();
        let (closed, server) = connection();
        let (spoken_on, mut speaker) = connection();
        for stream in [open, closed, spoken_on] {
            pool.give_back(stream, at(1));
        }
        drop(server);
        speaker.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        assert!(pool.take(at(2)).is_some());
        assert!(pool.take(at(2)).is_none());
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_its_time_and_closed_by_the_sweep() {
        let pool = pool(8);
        let (old, mut server) = connection();
        let (young, _server) = connection();
        pool.give_back(old, at(1));
        pool.give_back(young, at(5));
        pool.sweep(at(10));
        assert_eq!(lock(pool.idle.own()).len(), 2);
        pool.sweep(at(11));
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "closed");
        assert_eq!(lock(pool.idle.own()).len(), 1);
        assert!(pool.take(at(15)).is_none());
    }
}
