//! What a request itself says about the server that it wants: a cookie that the gate once set, and a key to be hashed.
//!
//! The cookie names a server by an id that tells nothing: not how many there are, nor where. A client that sends
//! another one, or an old one, is treated as if it had none.

use std::fmt::Write as _;

use http::request::Parts;
use smallvec::SmallVec;

use super::settings::{Balance, HashKey};
use super::{Turn, Upstream};
use crate::facts::client::Pseudonym;
use crate::facts::request::{RequestHead, Scheme};

/// What a request itself says about the server that it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish<'a> {
    /// The id that its cookie names.
    pub sticky: Option<&'a str>,
    /// What it is hashed by; `None` if it has no such thing.
    pub key: Option<SmallVec<[u8; 32]>>,
}

impl Upstream {
    /// What a request says about the server that it wants, as far as this upstream cares.
    pub fn wish<'a>(&self, request: &'a Parts, client: Pseudonym) -> Wish<'a> {
        let settings = self.settings();
        let key = match &settings.balance {
            Balance::RoundRobin | Balance::LeastConnections => None,
            Balance::Hash(HashKey::Header(name)) => request.headers.get(name).map(|value| value.as_bytes()),
            Balance::Hash(HashKey::Cookie(name)) => cookie(request, name).map(str::as_bytes),
            Balance::Hash(HashKey::Client) => {
                let key = Some(SmallVec::from_slice(&client.digits()));
                return Wish {
                    sticky: settings.sticky.as_deref().and_then(|name| cookie(request, name)),
                    key,
                };
            }
        };
        Wish {
            sticky: settings.sticky.as_deref().and_then(|name| cookie(request, name)),
            key: key.filter(|key| !key.is_empty()).map(SmallVec::from_slice),
        }
    }

    /// The cookie that keeps a client at the server of this turn, unless it has it already.
    /// `secure` says whether the client came over TLS.
    pub fn cookie(&self, turn: &Turn, secure: bool) -> Option<String> {
        let name = self.settings().sticky.as_deref()?;
        let server = turn.server().filter(|_| !turn.kept)?;
        let mut cookie = format!("{name}={}; Path=/; HttpOnly; SameSite=Lax", server.id());
        if secure {
            let _ = write!(cookie, "; Secure");
        }
        Some(cookie)
    }
}

fn cookie<'a>(request: &'a Parts, name: &str) -> Option<&'a str> {
    // Its host and path are not looked at.
    let head = RequestHead::read(request, Scheme::Http);
    head.cookies().find(|(known, _)| *known == name).map(|(_, value)| value)
}
