//! What values can be: flags, numbers, durations, sizes, choices, addresses, names, and lists of these.
//!
//! Each kind knows its bounds, says them in words, and reads a value or reports it with a hint. A kind that
//! only one section has lives with that section.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use toml::de::DeValue;

use super::reader::{Kind, Value};
use super::units;
use crate::facts::problem::{Position, nearest};

/// `true` or `false`.
pub(super) struct Flag;

/// A whole number within bounds, both included.
pub(super) struct Number<T> {
    pub(super) from: T,
    pub(super) to: T,
}

/// Requests per second: more than none.
pub(super) struct PerSecond;

/// A duration within bounds, both included.
pub(super) struct Period {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

/// A number of bytes within bounds, both included.
pub(super) struct Size {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Any text but none.
pub(super) struct Text;

/// A path, relative to the folder where the gate is started.
pub(super) struct FilePath;

/// An IP address with a port.
pub(super) struct Socket;

/// An IP address or a network in CIDR notation.
pub(super) struct Network;

/// The name of a header, kept in lower case.
pub(super) struct HeaderName;

/// One of a few words.
pub(super) struct OneOf<T: 'static>(pub(super) &'static [(&'static str, T)]);

/// A list.
pub(super) struct ListOf<K>(pub(super) K);

/// Something whose place in the file is kept, for a check that happens later.
pub(super) struct Placed<K>(pub(super) K);

/// A value and where it is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// The value.
    pub value: T,
    /// Where it is, for a [`Problem`](crate::facts::problem::Problem).
    pub position: Position,
}

/// The longest name of a list, a counter or an upstream.
const MAX_NAME: usize = 40;

/// Whether `text` can name a list, a counter or an upstream: a lower-case identifier.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// What to do about a name that is none.
pub(super) fn name_hint(text: &str) -> String {
    let close = text.to_ascii_lowercase().replace(['-', '.', ' '], "_");
    if is_name(&close) {
        format!("write `{close}`")
    } else {
        format!("names start with a letter, have up to {MAX_NAME} lower-case letters, digits and `_`")
    }
}

impl Kind for Flag {
    type Value = bool;

    fn expects(&self) -> String {
        "`true` or `false`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<bool> {
        let hint = match value.toml().as_str() {
            Some("true" | "false") => Some("write it without quotes".to_owned()),
            Some(_) | None => None,
        };
        value.toml().as_bool().or_else(|| value.mismatch(self, hint))
    }
}

impl<T: TryFrom<i128> + PartialOrd + Display + Copy> Kind for Number<T> {
    type Value = T;

    fn expects(&self) -> String {
        format!("a whole number from {} to {}", self.from, self.to)
    }

    fn read(&self, value: &Value<'_>) -> Option<T> {
        let number = value.toml().as_integer();
        number
            .and_then(|number| i128::from_str_radix(number.as_str(), number.radix()).ok())
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| *number >= self.from && *number <= self.to)
            .or_else(|| value.mismatch(self, None))
    }
}

impl Kind for PerSecond {
    type Value = f64;

    fn expects(&self) -> String {
        "a number of requests per second from 0.000001 to 1000000000".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<f64> {
        let number = match value.toml() {
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number as f64)
            }
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        number.filter(|rate| *rate >= 1e-6 && *rate <= 1e9).or_else(|| value.mismatch(self, None))
    }
}

impl Kind for Period {
    type Value = Duration;

    fn expects(&self) -> String {
        let (from, to) = (units::show_duration(self.from), units::show_duration(self.to));
        format!("a duration from `\"{from}\"` to `\"{to}\"`")
    }

    fn read(&self, value: &Value<'_>) -> Option<Duration> {
        let duration = value.toml().as_str().and_then(units::duration);
        let hint = match duration {
            Some(_) => None,
            None => {
                Some("write a whole number and one of `ms`, `s`, `m`, `h`, `d` in quotes: `\"10s\"`".into())
            }
        };
        duration.filter(|time| (self.from..=self.to).contains(time)).or_else(|| value.mismatch(self, hint))
    }
}

impl Kind for Size {
    type Value = u64;

    fn expects(&self) -> String {
        let (from, to) = (units::show_size(self.from), units::show_size(self.to));
        format!("a size from `\"{from}\"` to `\"{to}\"`")
    }

    fn read(&self, value: &Value<'_>) -> Option<u64> {
        let size = value.toml().as_str().and_then(units::size);
        let hint = match size {
            Some(_) => None,
            None => {
                Some("write a whole number and one of `B`, `KiB`, `MiB`, `GiB` in quotes: `\"64KiB\"`".into())
            }
        };
        size.filter(|size| (self.from..=self.to).contains(size)).or_else(|| value.mismatch(self, hint))
    }
}

impl Kind for Text {
    type Value = String;

    fn expects(&self) -> String {
        "a text in quotes".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        if text.is_empty() { value.mismatch(self, None) } else { Some(text.to_owned()) }
    }
}

impl Kind for FilePath {
    type Value = PathBuf;

    fn expects(&self) -> String {
        "a path in quotes".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<PathBuf> {
        let text = value.text(self)?;
        if text.is_empty() || text.contains('\0') {
            value.mismatch(self, None)
        } else {
            Some(PathBuf::from(text))
        }
    }
}

impl Kind for Socket {
    type Value = SocketAddr;

    fn expects(&self) -> String {
        "an IP address with a port, such as `\"127.0.0.1:8080\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<SocketAddr> {
        let text = value.text(self)?;
        text.parse().ok().or_else(|| {
            let hint = if let Ok(address) = text.parse::<IpAddr>() {
                let example = SocketAddr::new(address, 8080);
                Some(format!("add a port: `\"{example}\"`"))
            } else if let Some(port) = text.strip_prefix(':') {
                Some(format!("for all addresses, write `\"0.0.0.0:{port}\"` or `\"[::]:{port}\"`"))
            } else {
                text.strip_prefix("localhost:").map(|port| format!("write `\"127.0.0.1:{port}\"`"))
            };
            value.mismatch(self, hint)
        })
    }
}

impl Kind for Network {
    type Value = IpNet;

    fn expects(&self) -> String {
        "an IP address or a network such as `\"10.0.0.0/8\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<IpNet> {
        let text = value.text(self)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(IpNet::from(address.to_canonical()));
        }
        let Ok(net) = text.parse::<IpNet>() else {
            return value.mismatch(self, None);
        };
        if net.trunc() != net {
            let hint =
                format!("write `{}` for the network, or `{}` for one address", net.trunc(), net.addr());
            return value.refuse(format!("`{net}` has bits after its prefix"), Some(hint));
        }
        if net.prefix_len() == 0 {
            let message =
                format!("{} is everybody: any client can then choose its own address", value.subject());
            let hint = "name the networks of your own proxies".to_owned();
            value.source().warning(Some(value.span()), message, Some(hint));
        }
        Some(unmapped(net))
    }
}

/// IPv4 written inside IPv6 is IPv4.
fn unmapped(net: IpNet) -> IpNet {
    match (net, net.network().to_canonical()) {
        (IpNet::V6(v6), IpAddr::V4(v4)) => {
            v6.prefix_len().checked_sub(96).and_then(|len| Ipv4Net::new(v4, len).ok()).map_or(net, IpNet::V4)
        }
        (IpNet::V4(_), IpAddr::V4(_)) | (_, IpAddr::V6(_)) => net,
    }
}

impl Kind for HeaderName {
    type Value = String;

    fn expects(&self) -> String {
        "the name of a header".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let name = value.text(self)?.to_ascii_lowercase();
        match http::HeaderName::from_bytes(name.as_bytes()) {
            Ok(_) => Some(name),
            Err(_) => value.mismatch(self, None),
        }
    }
}

impl<T: Copy> Kind for OneOf<T> {
    type Value = T;

    fn expects(&self) -> String {
        let mut text = String::new();
        for (at, (word, _)) in self.0.iter().enumerate() {
            let before = if at == 0 {
                ""
            } else if at + 1 == self.0.len() {
                " or "
            } else {
                ", "
            };
            text.push_str(&format!("{before}`\"{word}\"`"));
        }
        text
    }

    fn read(&self, value: &Value<'_>) -> Option<T> {
        let text = value.text(self)?;
        if let Some((_, meaning)) = self.0.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let meant = nearest(&text.to_ascii_lowercase(), self.0.iter().map(|(word, _)| *word));
        value.mismatch(self, meant.map(|word| format!("did you mean `{word}`?")))
    }
}

impl<K: Kind> Kind for ListOf<K> {
    type Value = Vec<K::Value>;

    fn expects(&self) -> String {
        format!("a list, each entry {}", self.0.expects())
    }

    fn read(&self, value: &Value<'_>) -> Option<Self::Value> {
        let Some(elements) = value.elements() else {
            return value
                .mismatch(self, value.toml().as_str().map(|_| "put it in brackets: `[\"...\"]`".into()));
        };
        let read: Vec<_> = elements.iter().map(|element| self.0.read(element)).collect();
        read.into_iter().collect()
    }
}

impl<K: Kind> Kind for Placed<K> {
    type Value = Written<K::Value>;

    fn expects(&self) -> String {
        self.0.expects()
    }

    fn read(&self, value: &Value<'_>) -> Option<Self::Value> {
        let position = value.source().position(&value.span());
        self.0.read(value).map(|read| Written { value: read, position })
    }
}
