//! `[[listener]]`: where clients connect.

use std::net::SocketAddr;

use super::kinds::Socket;
use super::reader::{Fallback, Key, Layout, Section};
use super::source::Source;

/// One address where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address; port 0 is any free one.
    pub address: SocketAddr,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "listener",
    heading: "[[listener]]",
    doc: "Where clients connect; at least one.",
    keys: &[&ADDRESS],
    reserved: &[(
        "tls",
        "TLS listeners are not available in this version",
        "remove `tls` and end TLS in front of the gate",
    )],
};

const ADDRESS: Key<Socket> = Key {
    name: "address",
    kind: Socket,
    fallback: Fallback::Required,
    doc: "Where to listen. `0.0.0.0` and `[::]` are all addresses of the machine.",
};

/// Reads every `[[listener]]`.
pub(super) fn read(sections: &[Section<'_>], source: &Source<'_>) -> Option<Vec<Listener>> {
    if sections.is_empty() {
        let hint = "add `[[listener]]` with `address = \"127.0.0.1:8080\"`".to_owned();
        source.error(None, "there is no `[[listener]]`, so no client could connect", Some(hint));
        return None;
    }
    let mut listeners: Vec<Listener> = Vec::new();
    let mut complete = true;
    for section in sections {
        match section.read(&ADDRESS) {
            Some(address) if address.port() != 0 && listeners.contains(&Listener { address }) => {
                complete = false;
                section.complain(&ADDRESS, format!("two listeners share `{address}`"), "remove one of them");
            }
            Some(address) => listeners.push(Listener { address }),
            None => complete = false,
        }
    }
    complete.then_some(listeners)
}
