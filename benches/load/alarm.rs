//! Waking up at a moment, exactly enough for requests that are some microseconds apart.
//!
//! Waiting for events ends at whole milliseconds on Linux, so there a timer is one of the events. Elsewhere the
//! wait itself is short.

use std::io;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

/// Makes a wait for events end in time.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: system::Timer,
    set: Option<Instant>,
}

impl Alarm {
    /// An alarm that is not set. It rings as `token`.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self { timer: system::Timer::new(registry, token)?, set: None })
    }

    /// Rings at `moment`, once; instead of an earlier setting. Returns how long a wait for events may last.
    pub(crate) fn set(&mut self, moment: Instant, now: Instant, longest: Duration) -> io::Result<Duration> {
        let wait = moment.saturating_duration_since(now);
        if wait.is_zero() {
            return Ok(Duration::ZERO);
        }
        let fresh = self.set != Some(moment);
        self.set = Some(moment);
        Ok(self.timer.set(wait, fresh)?.min(longest))
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

    #[derive(Debug)]
    pub(super) struct Timer(TimerFd);

    impl Timer {
        pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let timer =
                TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
            registry.register(&mut SourceFd(&timer.as_fd().as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self(timer))
        }

        pub(super) fn set(&self, wait: Duration, fresh: bool) -> io::Result<Duration> {
            if fresh {
                self.0.set(Expiration::OneShot(wait.into()), TimerSetTimeFlags::empty())?;
            }
            Ok(Duration::MAX)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    #[derive(Debug)]
    pub(super) struct Timer;

    impl Timer {
        pub(super) fn new(_: &Registry, _: Token) -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) fn set(&self, wait: Duration, _: bool) -> io::Result<Duration> {
            Ok(wait)
        }
    }
}
