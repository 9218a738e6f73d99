//! `[[route]]`: which requests go to which upstream.
//!
//! Host and path are checked against what a normalised request can look like, so that no route is silently
//! out of reach. Which of several matching routes wins is not decided here.

use std::collections::BTreeMap;

use super::inspection::{InspectJson, Inspection};
use super::kinds::{ListOf, Size, Text};
use super::reader::{Fallback, Key, Kind, Layout, Section, Value, Word};
use super::request;
use super::source::{Source, Span};
use crate::facts::media::MediaRange;
use crate::facts::problem::nearest;
use crate::facts::request::{RequestHead, Scheme};

/// Which requests go to which upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name in records, metrics and limits; no two routes share one.
    pub name: String,
    /// The hosts it is for.
    pub host: Host,
    /// The paths it is for: this one and all below it.
    pub path: String,
    /// The name of an upstream that exists.
    pub upstream: String,
    /// The most bytes of a body, if not those of `[request]`.
    pub max_body: Option<u64>,
    /// The least bytes per second of a body, if not those of `[request]`.
    pub min_body_rate: Option<u64>,
    /// The media types of bodies that are accepted; `None`: all.
    pub content_types: Option<Vec<MediaRange>>,
    /// What is read of bodies before a request is judged; `None`: nothing.
    pub inspect_json: Option<Inspection>,
}

/// The hosts a route is for, in lower case, without port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// Every host, and none.
    Any,
    /// This one.
    Exact(String),
    /// Every host below this domain, not the domain itself.
    Below(String),
}

struct HostPattern;
struct PathPrefix;
struct RouteName;
struct MediaType;

pub(super) const LAYOUT: Layout = Layout {
    table: "route",
    heading: "[[route]]",
    doc: "Which requests go to which upstream. The most specific host wins, then the longest path.",
    keys: &[&HOST, &PATH, &UPSTREAM, &NAME, &MAX_BODY, &MIN_BODY_RATE, &CONTENT_TYPES, &INSPECT_JSON],
    reserved: &[],
};

const HOST: Key<HostPattern> = Key {
    name: "host",
    kind: HostPattern,
    fallback: Fallback::Is("\"*\""),
    doc: "`*` is any host, `api.example.com` this one, `*.example.com` every one below a domain.",
};

const PATH: Key<PathPrefix> = Key {
    name: "path",
    kind: PathPrefix,
    fallback: Fallback::Is("\"/\""),
    doc: "`/api` is `/api` and all below it such as `/api/x`, but not `/apix`.",
};

const UPSTREAM: Key<Text> = Key {
    name: "upstream",
    kind: Text,
    fallback: Fallback::Required,
    doc: "The name of an `[upstream.NAME]`.",
};

const NAME: Key<RouteName> = Key {
    name: "name",
    kind: RouteName,
    fallback: Fallback::Absent,
    doc: "What records, metrics and limits call it; made from host and path if absent.",
};

const MAX_BODY: Key<Size> = Key {
    name: "max_body",
    kind: request::MOST,
    fallback: Fallback::Absent,
    doc: "The most bytes of a body; those of `[request]` if absent.",
};

const MIN_BODY_RATE: Key<Size> = Key {
    name: "min_body_rate",
    kind: request::RATE,
    fallback: Fallback::Absent,
    doc: "The least bytes of a body each second; those of `[request]` if absent.",
};

const CONTENT_TYPES: Key<ListOf<MediaType>> = Key {
    name: "content_types",
    kind: ListOf(MediaType),
    fallback: Fallback::Absent,
    doc: "The media types of bodies that are accepted; others, and none, are answered with 415. All if absent.",
};

const INSPECT_JSON: Key<InspectJson> = Key {
    name: "inspect_json",
    kind: InspectJson,
    fallback: Fallback::Absent,
    doc: "Bodies are read as JSON before a request is judged, for `req.body`, within these bounds, at most 64 KiB; they \
          are streamed if absent.",
};

/// Reads every `[[route]]`; `upstreams` are the names of all upstreams.
pub(super) fn read(
    sections: &[Section<'_>],
    source: &Source<'_>,
    upstreams: Option<&[Word<'_>]>,
) -> Option<Vec<Route>> {
    if sections.is_empty() {
        let hint = "add `[[route]]` with `upstream = \"...\"`".to_owned();
        source.error(None, "there is no `[[route]]`, so no request could go anywhere", Some(hint));
        return None;
    }
    let read: Vec<_> = sections.iter().map(|section| read_one(section, upstreams)).collect();
    let unique = report_duplicates(sections, &read);
    let routes: Option<Vec<Route>> = read.into_iter().collect();
    routes.filter(|_| unique)
}

fn read_one(section: &Section<'_>, upstreams: Option<&[Word<'_>]>) -> Option<Route> {
    let (host, path) = (section.read(&HOST), section.read(&PATH));
    let (upstream, name) = (section.read(&UPSTREAM), section.optional(&NAME));
    let known = upstream.as_ref().is_none_or(|upstream| is_known(section, upstream, upstreams));
    let (max_body, min_body_rate) = (section.optional(&MAX_BODY), section.optional(&MIN_BODY_RATE));
    let (content_types, inspect_json) = (section.optional(&CONTENT_TYPES), section.optional(&INSPECT_JSON));
    let (host, path) = (host?, path?);
    let name = name?.unwrap_or_else(|| derived_name(&host, &path));
    let upstream = upstream.filter(|_| known)?;
    let (max_body, min_body_rate, content_types) = (max_body?, min_body_rate?, content_types?);
    let inspect_json = inspect_json?;
    Some(Route { name, host, path, upstream, max_body, min_body_rate, content_types, inspect_json })
}

/// Whether there is such an upstream, or it cannot be said; reports it if not.
fn is_known(section: &Section<'_>, upstream: &str, upstreams: Option<&[Word<'_>]>) -> bool {
    let Some(upstreams) = upstreams else {
        return true;
    };
    let known: Vec<&str> = upstreams.iter().map(|word| word.text).collect();
    if known.contains(&upstream) {
        return true;
    }
    let shown = upstream.escape_debug();
    let hint = match nearest(upstream, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("add `[upstream.{shown}]`"),
        None => format!("the upstreams are `{}`", known.join("`, `")),
    };
    section.complain(&UPSTREAM, format!("unknown upstream `{shown}`"), hint);
    false
}

/// Reports each route that is for the same requests as an earlier one, or has its name.
fn report_duplicates(sections: &[Section<'_>], routes: &[Option<Route>]) -> bool {
    let mut places: BTreeMap<(&Host, &str), Option<Span>> = BTreeMap::new();
    let mut names: BTreeMap<&str, Option<Span>> = BTreeMap::new();
    let mut unique = true;
    for (section, route) in sections.iter().zip(routes) {
        let Some(route) = route else {
            continue;
        };
        let line = |span: &Option<Span>| span.as_ref().map_or(0, |span| section.source().position(span).line);
        if let Some(first) = places.get(&(&route.host, route.path.as_str())) {
            let message = format!("this route is for the same requests as the one at line {}", line(first));
            section.source().error(section.span(), message, Some("remove one of them".into()));
            unique = false;
        } else if let Some(first) = names.get(route.name.as_str()) {
            let message = format!("the route at line {} is called `{}` too", line(first), route.name);
            section.complain(&NAME, message, "give one of them a `name` of its own");
            unique = false;
        }
        places.entry((&route.host, &route.path)).or_insert_with(|| section.span());
        names.entry(&route.name).or_insert_with(|| section.span());
    }
    unique
}

/// `default`, `api-v1`, `api.example.com` or `any.example.com-v1`.
fn derived_name(host: &Host, path: &str) -> String {
    let path = path.trim_matches('/');
    let text = match (host, path) {
        (Host::Any, "") => "default".to_owned(),
        (Host::Any, path) => path.to_owned(),
        (Host::Exact(host), "") => host.clone(),
        (Host::Exact(host), path) => format!("{host}-{path}"),
        (Host::Below(domain), "") => format!("any.{domain}"),
        (Host::Below(domain), path) => format!("any.{domain}-{path}"),
    };
    let plain = |letter: char| if is_name_letter(letter) { letter } else { '-' };
    text.to_ascii_lowercase().chars().map(plain).take(MAX_NAME).collect()
}

const MAX_NAME: usize = 64;

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '_' | '.')
}

impl Kind for HostPattern {
    type Value = Host;

    fn expects(&self) -> String {
        "`\"*\"`, a host, or `\"*.\"` and a domain".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<Host> {
        let text = value.text(self)?;
        if text == "*" {
            return Some(Host::Any);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, text),
        };
        if is_host(name) {
            return Some(if below { Host::Below(name.to_owned()) } else { Host::Exact(name.to_owned()) });
        }
        let hint = if let Some((scheme, _)) = text.split_once("://") {
            Some(format!("leave out `{scheme}://`"))
        } else if name.contains('*') {
            Some("`*` stands for whole names in front: `\"*.example.com\"`".into())
        } else if is_host(&name.to_ascii_lowercase()) {
            Some("write it in lower case".into())
        } else {
            match name.rsplit_once(':') {
                Some((host, _)) if is_host(host) => {
                    Some("leave out the port: routes are for any port".into())
                }
                Some(_) | None => None,
            }
        };
        value.mismatch(self, hint)
    }
}

fn is_host(name: &str) -> bool {
    if let Some(inner) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.to_string() == inner);
    }
    let is_label = |label: &str| {
        let mut letters = label.chars();
        !label.is_empty() && letters.all(is_name_letter)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

impl Kind for PathPrefix {
    type Value = String;

    fn expects(&self) -> String {
        "a path that starts with `/`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        if !text.starts_with('/') {
            let hint = format!("write `\"/{}\"`", text.escape_debug());
            return value.mismatch(self, Some(hint));
        }
        let hint = if text.contains(['?', '#']) {
            "a route ends before `?`; leave the query to a script: `req.param(name)`".to_owned()
        } else if text.contains('*') {
            "leave `*` out: a path is for all below it anyway".to_owned()
        } else {
            match normalised(text) {
                Some(normal) if normal == text => return Some(normal),
                Some(normal) => format!("write it as requests are compared: `\"{normal}\"`"),
                None => "write other characters than letters and digits percent-encoded".to_owned(),
            }
        };
        value.refuse(format!("no request has the path `{}`", text.escape_debug()), Some(hint))
    }
}

/// The path as that of a request would be compared with.
fn normalised(path: &str) -> Option<String> {
    let (parts, ()) = http::Request::builder().uri(path).body(()).ok()?.into_parts();
    path.is_ascii().then(|| RequestHead::read(&parts, Scheme::Http).path().to_owned())
}

impl Kind for MediaType {
    type Value = MediaRange;

    fn expects(&self) -> String {
        "a media type such as `\"application/json\"` or `\"image/*\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<MediaRange> {
        let text = value.text(self)?;
        let hint = if text.contains(';') {
            Some("leave out the parameters: only the type is compared".to_owned())
        } else if text == "*/*" || text == "*" {
            Some("leave `content_types` out: all types are accepted then".to_owned())
        } else {
            None
        };
        MediaRange::parse(text).or_else(|| value.mismatch(self, hint))
    }
}

impl Kind for RouteName {
    type Value = String;

    fn expects(&self) -> String {
        format!("1 to {MAX_NAME} lower-case letters, digits, `-`, `_` or `.`")
    }

    fn read(&self, value: &Value<'_>) -> Option<String> {
        let text = value.text(self)?;
        if !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(is_name_letter) {
            return Some(text.to_owned());
        }
        value.mismatch(self, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_without_a_name_is_called_after_what_it_is_for() {
        let example = || "example.com".to_owned();
        for (host, path, name) in [
            (Host::Any, "/", "default"),
            (Host::Any, "/Api/v1/", "api-v1"),
            (Host::Exact(example()), "/", "example.com"),
            (Host::Exact("[::1]".into()), "/a%20b", "---1--a-20b"),
            (Host::Below(example()), "/x", "any.example.com-x"),
        ] {
            assert_eq!(derived_name(&host, path), name);
        }
    }
}
