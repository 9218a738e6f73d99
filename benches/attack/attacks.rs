//! The attacks: what each is called, how many take part, and what they do.

use crate::crowds;
use crate::frames;
use crate::slow;
use crate::target::Target;

/// A way to attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Nobody attacks: how far its ratio is from 1 is how far other ratios may be wrong.
    Nothing,
    /// Heads that drip in, a byte each second.
    Slowloris,
    /// Bodies that drip in, a byte each second.
    SlowBody,
    /// Long answers, of which a byte is read each second.
    SlowRead,
    /// Long answers, of which half is taken as fast as can be, and then nothing.
    HalfRead,
    /// Connections that have sent one request and stay.
    Idle,
    /// Connections that begin and end.
    Churn,
    /// TLS handshakes that are begun and dropped.
    Handshakes,
    /// HTTP/2: requests that are reset at once.
    RapidReset,
    /// HTTP/2: a head that goes on and on.
    Continuation,
    /// HTTP/2: pings.
    Pings,
    /// HTTP/2: settings, which have to be acknowledged.
    Settings,
    /// HTTP/2: long answers that no room is granted for.
    NoRoom,
    /// HTTP/2: long answers with all the room there can be, of which nothing is read.
    Unread,
}

impl Attack {
    /// All of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::Nothing,
        Self::Slowloris,
        Self::SlowBody,
        Self::SlowRead,
        Self::HalfRead,
        Self::Idle,
        Self::Churn,
        Self::Handshakes,
        Self::RapidReset,
        Self::Continuation,
        Self::Pings,
        Self::Settings,
        Self::NoRoom,
        Self::Unread,
    ];

    /// What the table calls it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nobody",
            Self::Slowloris => "slowloris",
            Self::SlowBody => "slow bodies",
            Self::SlowRead => "slow readers",
            Self::HalfRead => "answers half taken",
            Self::Idle => "idle connections",
            Self::Churn => "connection churn",
            Self::Handshakes => "handshakes dropped",
            Self::RapidReset => "h2 rapid reset",
            Self::Continuation => "h2 CONTINUATION flood",
            Self::Pings => "h2 PING flood",
            Self::Settings => "h2 SETTINGS flood",
            Self::NoRoom => "h2 no window",
            Self::Unread => "h2 unread answers",
        }
    }

    /// How many attack at once.
    pub(crate) const fn attackers(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Idle => 10_000,
            Self::Slowloris | Self::SlowBody => 2_000,
            Self::SlowRead | Self::HalfRead => 200,
            Self::Churn => 32,
            Self::Handshakes | Self::NoRoom => 16,
            Self::Unread | Self::RapidReset | Self::Continuation | Self::Pings | Self::Settings => 8,
        }
    }

    /// What one attacker does with one connection, until it is ended.
    pub(crate) async fn once(self, target: &Target, number: usize) -> std::io::Result<()> {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Slowloris => slow::head(target, number).await,
            Self::SlowBody => slow::body(target, number).await,
            Self::SlowRead => slow::reader(target, number).await,
            Self::HalfRead => slow::half(target, number).await,
            Self::Idle => crowds::idle(target, number).await,
            Self::Churn => crowds::churn(target, number).await,
            Self::Handshakes => crowds::handshake(target, number).await,
            Self::RapidReset => frames::rapid_reset(target, number).await,
            Self::Continuation => frames::continuation(target, number).await,
            Self::Pings => frames::pings(target, number).await,
            Self::Settings => frames::settings(target, number).await,
            Self::NoRoom => frames::no_room(target, number).await,
            Self::Unread => frames::unread(target, number).await,
        }
    }
}
