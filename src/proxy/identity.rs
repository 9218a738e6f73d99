//! Who is calling: from the connection's peer and one believed header to a [`Client`], under the current keys.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;
use pingora::proxy::Session;

use super::door::Connection;
use crate::facts::client::{
    Client, ClientIp, Forward, Keyring, PeerAddr, Prefix, Truncation, TrustedProxies,
};
use crate::facts::forwarded::{ForwardHeader, Tell};
use crate::facts::request::{RequestHead, Scheme};
use crate::facts::tls::TlsSession;
use crate::signals::Secrets;
use crate::signals::secrets::Names;

/// How clients are identified. Shared by all requests; only the keys change.
pub struct Identity {
    settings: Settings,
    names: Arc<Names>,
    keys: ArcSwap<Keys>,
}

/// What the operator chose about identity.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose header is believed.
    pub trusted: TrustedProxies,
    /// Which header is believed, and written toward the origin.
    pub header: ForwardHeader,
    /// What the origin is told about the client.
    pub forward: Forward,
    /// What the origin is told about the judgement.
    pub verdict: Vec<Tell>,
    /// How much of an address is kept.
    pub truncation: Truncation,
}

/// One keyring, and the secrets that are named under it.
struct Keys {
    ring: Arc<Keyring>,
    secrets: Arc<Secrets>,
}

/// Who is calling, as one request knows it. The keys are pinned with it.
pub struct Caller {
    /// For lists, and for the origin if the operator says so.
    pub ip: ClientIp,
    /// For all else.
    pub client: Client,
    /// Which values are secret, under the pinned keys.
    pub secrets: Arc<Secrets>,
    ring: Arc<Keyring>,
    connection: Option<Arc<Connection>>,
}

impl Identity {
    /// Identifies clients under a first keyring.
    pub fn new(settings: Settings, names: Names, ring: Keyring) -> Self {
        let names = Arc::new(names);
        let keys = ArcSwap::from_pointee(Keys::new(&names, ring));
        Self { settings, names, keys }
    }

    /// Names all clients anew. The old keys are destroyed when the last request that pinned them ends.
    pub fn rotate(&self, ring: Keyring) {
        self.keys.store(Arc::new(Keys::new(&self.names, ring)));
    }

    /// Who sent this request.
    pub fn identify(&self, session: &Session, head: &RequestHead<'_>) -> Caller {
        let connection = Connection::of(session).cloned();
        let socket = || session.client_addr().and_then(|address| address.as_inet()).copied();
        let peer = connection.as_ref().map_or_else(|| PeerAddr::new(socket()), |connection| connection.peer);
        Caller { connection, ..self.identify_peer(peer, head) }
    }

    /// Who is at the other end of a connection, when nothing else is known.
    pub(super) fn identify_other_end(&self, peer: PeerAddr) -> Client {
        let ip = self.settings.trusted.client_of(peer, self.settings.header, std::iter::empty());
        ip.identify(self.settings.truncation, &self.keys.load().ring)
    }

    /// Whose requests are bounded together with those of the other end of a connection; nobody's, if it speaks for many.
    pub(super) fn network(&self, peer: PeerAddr) -> Option<Prefix> {
        let Settings { trusted, truncation, .. } = &self.settings;
        (!trusted.trust(peer)).then(|| peer.prefix(*truncation))
    }

    fn identify_peer(&self, peer: PeerAddr, head: &RequestHead<'_>) -> Caller {
        let Settings { trusted, header, truncation, .. } = &self.settings;
        let lines = head.headers().get_all(header.header_name()).iter().map(|line| line.as_bytes());
        let ip = trusted.client_of(peer, *header, lines);
        let keys = self.keys.load();
        let client = ip.identify(*truncation, &keys.ring);
        let (secrets, ring) = (Arc::clone(&keys.secrets), Arc::clone(&keys.ring));
        Caller { ip, client, secrets, ring, connection: None }
    }

    /// The header toward the origin.
    pub fn header(&self) -> ForwardHeader {
        self.settings.header
    }

    /// What the origin is told about the judgement.
    pub fn verdict(&self) -> &[Tell] {
        &self.settings.verdict
    }

    /// What the origin is told about the client's address; `None` if there is none.
    pub fn node(&self, caller: &Caller) -> Option<String> {
        caller.ip.forwarded(self.settings.forward, &caller.client, &caller.ring)
    }
}

impl Caller {
    /// The TLS session, if there is one.
    pub fn tls(&self) -> Option<&TlsSession> {
        self.connection.as_ref()?.tls.as_ref()
    }

    /// For how long clients are told to come by HTTPS only, as a header has it.
    pub fn hsts(&self) -> Option<HeaderValue> {
        self.connection.as_ref()?.manner.hsts.clone()
    }

    /// How the client names what it speaks.
    pub fn scheme(&self) -> Scheme {
        self.connection.as_ref().map_or(Scheme::Http, |connection| connection.scheme())
    }
}

impl Keys {
    fn new(names: &Arc<Names>, ring: Keyring) -> Self {
        let ring = Arc::new(ring);
        let secrets = Arc::new(Secrets::new(Arc::clone(names), Arc::clone(&ring)));
        Self { ring, secrets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn identity() -> Identity {
        let settings = Settings {
            trusted: TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]),
            header: ForwardHeader::XForwardedFor,
            forward: Forward::Truncated,
            verdict: Vec::new(),
            truncation: Truncation::default(),
        };
        Identity::new(settings, Names::default(), Keyring::new(&Zeroizing::new([1; 32])))
    }

    fn caller(identity: &Identity, lines: &[&str]) -> Caller {
        let mut request = http::Request::builder().uri("/");
        for line in lines {
            request = request.header("x-forwarded-for", *line);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let peer = PeerAddr::new(Some("10.0.0.1:80".parse().unwrap()));
        identity.identify_peer(peer, &RequestHead::read(&parts, Scheme::Http))
    }

    #[test]
    fn all_header_lines_are_joined_and_the_origin_learns_the_prefix() {
        let identity = identity();
        let caller = caller(&identity, &["1.1.1.1, 203.0.113.77", "10.9.9.9"]);
        assert_eq!(caller.client.prefix().to_string(), "203.0.113.0/24");
        assert_eq!(identity.node(&caller).as_deref(), Some("203.0.113.0"));
    }

    #[test]
    fn a_request_keeps_the_keys_it_began_with() {
        let identity = identity();
        let before = caller(&identity, &["203.0.113.77"]);
        identity.rotate(Keyring::new(&Zeroizing::new([2; 32])));
        let after = caller(&identity, &["203.0.113.77"]);
        assert_ne!(before.client.pseudonym(), after.client.pseudonym());
        assert_eq!(before.client.prefix(), after.client.prefix());
    }
}
