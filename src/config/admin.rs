//! `[admin]`: health, metrics and the API for operators, and who may use them.
//!
//! The rule that an address other than loopback needs a token is kept here, where both are known. The token
//! itself never shows: not in `Debug`, not in a message, not in a source snippet.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::kinds::{FilePath, Flag, Socket, Text};
use super::reader::{Fallback, Key, Kind, Layout, Section, Value};
pub use crate::admin::Token;

/// Where operators connect, and what they must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address; a loopback one unless there is a token.
    pub address: SocketAddr,
    /// What a caller must present as `Authorization: Bearer`; without it, whoever can connect is trusted.
    pub token: Option<Token>,
}

/// What a configuration may name outside itself.
pub(super) struct Surroundings<'a> {
    pub(super) file: &'a dyn Fn(&Path) -> io::Result<String>,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) cores: usize,
}

/// A token in the file itself.
struct Inline;

pub(super) const LAYOUT: Layout = Layout {
    table: "admin",
    heading: "[admin]",
    doc: "Health, metrics and the API for operators. Without a token it only listens on a loopback address.",
    keys: &[&ENABLED, &ADDRESS, &TOKEN, &TOKEN_FILE, &TOKEN_ENV],
    reserved: &[],
};

const ENABLED: Key<Flag> = Key {
    name: "enabled",
    kind: Flag,
    fallback: Fallback::Is("true"),
    doc: "Whether there is an admin listener.",
};

const ADDRESS: Key<Socket> = Key {
    name: "address",
    kind: Socket,
    fallback: Fallback::Is("\"127.0.0.1:9090\""),
    doc: "Where to listen.",
};

const TOKEN: Key<Inline> = Key {
    name: "token",
    kind: Inline,
    fallback: Fallback::Absent,
    doc: "What a caller must send as `Authorization: Bearer <token>`. At most one of the three token keys.",
};

const TOKEN_FILE: Key<FilePath> = Key {
    name: "token_file",
    kind: FilePath,
    fallback: Fallback::Absent,
    doc: "A file that holds the token, such as a mounted secret.",
};

const TOKEN_ENV: Key<Text> = Key {
    name: "token_env",
    kind: Text,
    fallback: Fallback::Absent,
    doc: "The environment variable that holds the token.",
};

/// Reads `[admin]`; `Some(None)` if it is switched off.
pub(super) fn read(section: &Section<'_>, around: &Surroundings<'_>) -> Option<Option<Admin>> {
    let (enabled, address) = (section.read(&ENABLED), section.read(&ADDRESS));
    let token = token(section, around);
    let (enabled, address, token) = (enabled?, address?, token?);
    if !enabled {
        return Some(None);
    }
    if token.is_none() && !address.ip().to_canonical().is_loopback() {
        let message = format!("the admin address `{address}` is not loopback, and there is no token");
        let hint = format!("set `token_file`, or listen on `127.0.0.1:{}`", address.port());
        section.complain(&ADDRESS, message, hint);
        return None;
    }
    Some(Some(Admin { address, token }))
}

fn token(section: &Section<'_>, around: &Surroundings<'_>) -> Option<Option<Token>> {
    let inline = section.optional(&TOKEN);
    let (file, variable) = (section.optional(&TOKEN_FILE), section.optional(&TOKEN_ENV));
    match (inline?, file?, variable?) {
        (None, None, None) => Some(None),
        (Some(token), None, None) => Some(Some(token)),
        (None, Some(path), None) => match (around.file)(&path) {
            Ok(text) => named(section, &TOKEN_FILE, &format!("the token in `{}`", path.display()), &text),
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", path.display());
                section.complain(&TOKEN_FILE, message, "put the token there, or correct the path");
                None
            }
        },
        (None, None, Some(name)) => match (around.variable)(&name) {
            Some(text) => named(section, &TOKEN_ENV, &format!("the token in `${name}`"), &text),
            None => {
                let message = format!("the environment has no `{}`", name.escape_debug());
                section.complain(&TOKEN_ENV, message, "set it before the gate starts");
                None
            }
        },
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            let message = "`[admin]` names more than one token";
            section.source().error(
                section.span(),
                message,
                Some("keep one of `token`, `token_file` and `token_env`".into()),
            );
            None
        }
    }
}

fn named<K>(section: &Section<'_>, key: &Key<K>, subject: &str, text: &str) -> Option<Option<Token>> {
    match Token::parse(text.trim_end_matches(['\r', '\n'])) {
        Ok(token) => Some(Some(token)),
        Err((why, hint)) => {
            section.complain(key, format!("{subject} {why}"), hint);
            None
        }
    }
}

impl Kind for Inline {
    type Value = Token;

    fn expects(&self) -> String {
        "a text of 16 characters or more".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<Token> {
        match value.toml().as_str().map(Token::parse) {
            Some(Ok(token)) => Some(token),
            Some(Err((why, hint))) => value.refuse_unshown(why, hint),
            None => value.refuse_unshown("must be a text", "write it in quotes"),
        }
    }
}
