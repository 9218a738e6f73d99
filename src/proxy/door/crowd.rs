//! How many connections there may be: in all, and from each client. Whoever finds no room is turned away at once,
//! before a handshake or a byte is read. There are as many entries as networks with connections, so the bound on
//! connections bounds them too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ending::Endings;
use crate::facts::client::Prefix;

/// Everybody who is connected. Locked when a connection begins or ends, never while it is served.
#[derive(Debug)]
pub struct Crowd {
    bounds: Bounds,
    here: AtomicUsize,
    turned_away: [AtomicU64; Full::ALL.len()],
    endings: Endings,
    clients: Mutex<HashMap<Prefix, u32>>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections in all.
    pub most: usize,
    /// Connections of each client's network.
    pub per_client: u32,
}

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are as many as there may be.
    All,
    /// There are as many from that network as there may be.
    Client,
    /// No proxy that may do so introduced it, where one has to.
    Unintroduced,
    /// Too many from that network came to nothing.
    Wasted,
}

/// A place for one connection. It is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    client: Option<Prefix>,
}

impl Full {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::All, Self::Client, Self::Unintroduced, Self::Wasted];

    /// What metrics call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "connections",
            Self::Client => "client",
            Self::Unintroduced => "proxy_protocol",
            Self::Wasted => "wasted",
        }
    }
}

impl Crowd {
    /// Nobody is there yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            here: AtomicUsize::new(0),
            turned_away: Default::default(),
            endings: Endings::default(),
            clients: Mutex::default(),
        }
    }

    /// A place for a connection from `client`; `None` is somebody whose connections are not bounded by themselves,
    /// such as a trusted proxy.
    pub fn enter(self: &Arc<Self>, client: Option<Prefix>) -> Result<Place, Full> {
        if self.here.fetch_add(1, Ordering::Relaxed) >= self.bounds.most {
            self.here.fetch_sub(1, Ordering::Relaxed);
            return Err(self.turn_away(Full::All));
        }
        // From here on the place gives back what it has, whatever happens.
        let mut place = Place { crowd: Arc::clone(self), client: None };
        place.belongs_to(client).map(|()| place)
    }

    /// How many connections there are.
    pub fn here(&self) -> usize {
        self.here.load(Ordering::Relaxed)
    }

    /// How many were turned away for that reason.
    pub fn turned_away(&self, why: Full) -> u64 {
        self.tally(why).load(Ordering::Relaxed)
    }

    /// How many connections were ended, and why.
    pub fn endings(&self) -> &Endings {
        &self.endings
    }

    /// Counts somebody who cannot come in; says why.
    pub(super) fn turn_away(&self, why: Full) -> Full {
        self.tally(why).fetch_add(1, Ordering::Relaxed);
        why
    }

    fn tally(&self, why: Full) -> &AtomicU64 {
        let [all, client, unintroduced, wasted] = &self.turned_away;
        match why {
            Full::All => all,
            Full::Client => client,
            Full::Unintroduced => unintroduced,
            Full::Wasted => wasted,
        }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Prefix, u32>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts the place, which was nobody's so far, as one of this client's.
    pub fn belongs_to(&mut self, client: Option<Prefix>) -> Result<(), Full> {
        let Some(client) = client else { return Ok(()) };
        let mut clients = self.crowd.clients();
        let count = clients.entry(client).or_default();
        if *count >= self.crowd.bounds.per_client {
            drop(clients);
            return Err(self.crowd.turn_away(Full::Client));
        }
        *count += 1;
        drop(clients);
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.here.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client {
            let mut clients = self.crowd.clients();
            if let Some(count) = clients.get_mut(&client) {
                *count -= 1;
                if *count == 0 {
                    clients.remove(&client);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::client::{PeerAddr, Truncation};

    fn client(address: &str) -> Option<Prefix> {
        Some(PeerAddr::new(Some(address.parse().unwrap())).prefix(Truncation::default()))
    }

    #[test]
    fn each_network_has_so_many_places_and_gives_them_back() {
        let crowd = Arc::new(Crowd::new(Bounds { most: 10, per_client: 2 }));
        let first = crowd.enter(client("192.0.2.1:1")).unwrap();
        let second = crowd.enter(client("192.0.2.200:2")).unwrap();
        assert_eq!(crowd.enter(client("192.0.2.3:3")).unwrap_err(), Full::Client);
        assert!(crowd.enter(client("198.51.100.1:1")).is_ok());
        drop(first);
        assert!(crowd.enter(client("192.0.2.3:3")).is_ok());
        drop(second);
        assert_eq!((crowd.here(), crowd.turned_away(Full::Client)), (0, 1));
        assert!(crowd.clients().is_empty());
    }

    #[test]
    fn all_together_have_so_many_places() {
        let crowd = Arc::new(Crowd::new(Bounds { most: 2, per_client: 10 }));
        let places = [crowd.enter(None).unwrap(), crowd.enter(client("192.0.2.1:1")).unwrap()];
        assert_eq!(crowd.enter(None).unwrap_err(), Full::All);
        assert_eq!((crowd.here(), crowd.turned_away(Full::All)), (2, 1));
        drop(places);
        assert!(crowd.enter(None).is_ok());
    }
}
