//! The servers of an upstream at one moment, immutable, and who of them is next.
//!
//! Weights become a schedule in which each server has its share of places, spread as evenly as may be; requests step
//! through it. A ring for consistent hashing is Pingora's own. Servers that are not fit are stepped over; if none is
//! fit, all are asked: what might still answer is better than an outage that the gate itself makes.

use std::collections::HashMap;
use std::net::SocketAddr as InetAddr;
use std::sync::Arc;

use pingora::lb::Backend;
use pingora::lb::selection::{BackendIter, BackendSelection, Consistent};
use pingora::protocols::l4::socket::SocketAddr;

use super::server::Server;
use super::settings::Balance;
use crate::facts::time::Tick;

/// The servers of an upstream at one moment.
pub(super) struct Members {
    list: Vec<Member>,
    /// Indices of `list`.
    schedule: Box<[u16]>,
    ring: Option<Ring>,
}

/// A server and its share.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) server: Arc<Server>,
    pub(super) weight: u16,
}

struct Ring {
    points: Arc<Consistent>,
    members: HashMap<InetAddr, usize>,
}

/// What is asked of [`Members::pick`].
pub(super) struct Pick<'a> {
    pub(super) balance: &'a Balance,
    /// The id that a cookie names.
    pub(super) sticky: Option<&'a str>,
    /// What the request is hashed by.
    pub(super) key: Option<&'a [u8]>,
    /// The number of the request.
    pub(super) number: usize,
    pub(super) most: Option<usize>,
    pub(super) tried: &'a [Arc<Server>],
    pub(super) now: Tick,
}

/// Steps along the ring before somebody else is asked; a server has 160 points for each unit of weight.
const MAX_STEPS: usize = 4_096;

impl Members {
    /// `hashed` if requests are told apart by keys. A weight is 1 to 100.
    pub(super) fn new(list: Vec<Member>, hashed: bool) -> Self {
        let schedule = schedule(&list.iter().map(|member| member.weight).collect::<Vec<_>>());
        let ring = hashed.then(|| Ring::new(&list));
        Self { list, schedule, ring }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.list.iter().map(|member| &member.server)
    }

    /// The server for a request; `None` if all that could be asked are busy or were tried.
    pub(super) fn pick(&self, pick: &Pick<'_>) -> Option<&Arc<Server>> {
        let open = !self.servers().any(|server| server.health.is_up(pick.now));
        let able = |member: &Member| {
            let server = &member.server;
            (open || server.health.is_up(pick.now))
                && server.has_room(pick.most)
                && !pick.tried.iter().any(|tried| Arc::ptr_eq(tried, server))
        };
        let kept = pick.sticky.and_then(|id| self.iter().find(|member| member.server.id() == id));
        if let Some(member) = kept.filter(|member| able(member)) {
            return Some(&member.server);
        }
        let member = match pick.balance {
            Balance::RoundRobin => self.in_turn(pick.number, able),
            Balance::LeastConnections => self.less_busy(able).or_else(|| self.in_turn(pick.number, able)),
            Balance::Hash(_) => {
                let hashed = pick.key.and_then(|key| self.by_key(key, able));
                hashed.or_else(|| self.in_turn(pick.number, able))
            }
        };
        member.map(|member| &member.server)
    }

    /// The next one of the schedule. Beyond as many steps as there are servers, whoever is free.
    fn in_turn(&self, number: usize, able: impl Fn(&Member) -> bool) -> Option<&Member> {
        let start = number.checked_rem(self.schedule.len())?;
        let steps = self.schedule.iter().cycle().skip(start).take(self.list.len());
        let mut next = steps.filter_map(|index| self.list.get(usize::from(*index)));
        next.find(|member| able(member)).or_else(|| self.iter().find(|member| able(member)))
    }

    /// The less busy of two that are drawn, for its weight; `None` if neither is able.
    fn less_busy(&self, able: impl Fn(&Member) -> bool) -> Option<&Member> {
        let draw = || {
            let index = self.schedule.get(fastrand::usize(..self.schedule.len().max(1)))?;
            self.list.get(usize::from(*index)).filter(|member| able(member))
        };
        match (draw(), draw()) {
            (Some(one), Some(other)) => Some(if other.load() < one.load() { other } else { one }),
            (one, other) => one.or(other),
        }
    }

    fn by_key(&self, key: &[u8], able: impl Fn(&Member) -> bool) -> Option<&Member> {
        let ring = self.ring.as_ref()?;
        let mut points = ring.points.iter(key);
        for _ in 0..MAX_STEPS {
            let Some(Backend { addr: SocketAddr::Inet(address), .. }) = points.next() else { return None };
            let member = ring.members.get(address).and_then(|index| self.list.get(*index))?;
            if able(member) {
                return Some(member);
            }
        }
        None
    }
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}

impl Member {
    fn load(&self) -> f64 {
        self.server.in_flight() as f64 / f64::from(self.weight)
    }
}

impl Ring {
    /// A unix socket has no place on it; it is alone anyway.
    fn new(list: &[Member]) -> Self {
        let mut members = HashMap::new();
        let backends = list.iter().enumerate().map(|(index, member)| {
            let addr = member.server.peer._address.clone();
            if let SocketAddr::Inet(address) = addr {
                members.insert(address, index);
            }
            let weight = usize::from(member.weight.max(1));
            Backend { addr, weight, ext: http::Extensions::new() }
        });
        let backends = backends.collect();
        Self { points: Arc::new(Consistent::build(&backends)), members }
    }
}

/// Each server as often as its weight says, in shortest terms, spread evenly: the one that is furthest behind its share
/// is next.
fn schedule(weights: &[u16]) -> Box<[u16]> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let shares: Vec<i64> = weights.iter().map(|weight| i64::from((weight / divisor).max(1))).collect();
    let total: i64 = shares.iter().sum();
    let mut behind = vec![0; shares.len()];
    let place = |_| {
        behind.iter_mut().zip(&shares).for_each(|(behind, share)| *behind += share);
        // The first of equals.
        let next = behind.iter().enumerate().max_by_key(|(index, behind)| (**behind, usize::MAX - index));
        let index = next.map_or(0, |(index, _)| index);
        if let Some(behind) = behind.get_mut(index) {
            *behind -= total;
        }
        u16::try_from(index).unwrap_or(u16::MAX)
    };
    (0..total).map(place).collect()
}

fn greatest_common_divisor(one: u16, other: u16) -> u16 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_gives_each_its_share_and_spreads_it() {
        assert_eq!(*schedule(&[1, 1]), [0, 1]);
        assert_eq!(*schedule(&[10, 10, 10]), [0, 1, 2]);
        assert_eq!(*schedule(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(*schedule(&[30, 10]), [0, 0, 1, 0]);
        assert_eq!(*schedule(&[]), [0u16; 0]);
    }
}
