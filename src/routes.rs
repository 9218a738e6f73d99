//! Routes: which upstream serves a host and a path.
//!
//! The most specific route wins: an exact host before the longest `*.suffix` before `*`, then the longest path
//! prefix that ends at a segment boundary. A host without a matching path falls back to the next less
//! specific host. Looking up allocates nothing and costs a hash for each label of the host and a binary search
//! over the paths, so thousands of routes are fine. Parsing what a person wrote happens once, in
//! [`Routes::new`], which reports every mistake.

use std::collections::HashMap;
use std::sync::Arc;

use crate::traffic::RouteKey;

/// A route as a person wrote it.
#[derive(Clone, Copy, Debug)]
pub struct RouteSpec<'a> {
    /// The route's name, for records and messages.
    pub name: &'a str,
    /// `*`, an exact host, or `*.example.com` for every host below `example.com`.
    pub host: &'a str,
    /// A path prefix of whole segments: `/api` is `/api`, `/api/` and `/api/x`, not `/apix`.
    pub path: &'a str,
    /// Which upstream, as an index into the caller's list.
    pub upstream: usize,
    /// What statistics call it; the caller's own.
    pub number: usize,
}

/// Every route, ready to be searched.
#[derive(Debug, Default)]
pub struct Routes {
    exact: HashMap<Box<str>, Paths>,
    /// By what follows the `*.`.
    below: HashMap<Box<str>, Paths>,
    any: Paths,
    len: usize,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    name: Arc<str>,
    key: RouteKey,
    number: usize,
    position: usize,
    upstream: usize,
}

/// Why a route cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The host is neither `*`, nor a name, nor `*.` and a name.
    #[error("`{0}` is not a host; write `*`, `api.example.com` or `*.example.com`, without a port")]
    Host(String),
    /// The path is not a plain prefix.
    #[error("`{0}` is not a path prefix; write `/` or `/some/segments`, without `//`, `.`, `?` or `#`")]
    Path(String),
    /// Another route has the same host and path.
    #[error("route `{0}` already serves this host and path; remove one of them")]
    Duplicate(String),
}

/// No host name is longer (RFC 1035); anything longer can only match `*`.
const MAX_HOST: usize = 255;

impl Routes {
    /// Builds the table; on failure, every mistake with the index of its route.
    pub fn new<'a>(specs: impl IntoIterator<Item = RouteSpec<'a>>) -> Result<Self, Vec<(usize, RouteError)>> {
        let (mut routes, mut errors) = (Self::default(), Vec::new());
        for (index, spec) in specs.into_iter().enumerate() {
            match routes.add(spec) {
                Ok(()) => routes.len += 1,
                Err(error) => errors.push((index, error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        routes.exact.values_mut().chain(routes.below.values_mut()).for_each(Paths::link);
        routes.any.link();
        Ok(routes)
    }

    /// The route for a host (lower case, without port) and a normalised path; `None` if nothing matches.
    pub fn find(&self, host: &str, path: &str) -> Option<&Route> {
        let host = if host.len() > MAX_HOST { "" } else { host };
        let exact = self.exact.get(host).and_then(|paths| paths.find(path));
        exact.or_else(|| self.find_below(host, path)).or_else(|| self.any.find(path))
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no route at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn find_below(&self, host: &str, path: &str) -> Option<&Route> {
        if self.below.is_empty() {
            return None;
        }
        let suffixes = host.match_indices('.').filter_map(|(dot, _)| host.get(dot + 1..));
        suffixes.filter_map(|suffix| self.below.get(suffix)).find_map(|paths| paths.find(path))
    }

    fn add(&mut self, spec: RouteSpec<'_>) -> Result<(), RouteError> {
        let prefix = parse_path(spec.path).ok_or_else(|| RouteError::Path(spec.path.into()))?;
        let paths = match HostPattern::parse(spec.host).ok_or_else(|| RouteError::Host(spec.host.into()))? {
            HostPattern::Any => &mut self.any,
            HostPattern::Below(suffix) => self.below.entry(suffix).or_default(),
            HostPattern::Exact(host) => self.exact.entry(host).or_default(),
        };
        if let Some(other) = paths.0.iter().find(|entry| &*entry.prefix == prefix) {
            return Err(RouteError::Duplicate(other.route.name.to_string()));
        }
        let (name, key) = (spec.name.into(), RouteKey::named(spec.name));
        let (number, position, upstream) = (spec.number, self.len, spec.upstream);
        let route = Route { name, key, number, position, upstream };
        paths.0.push(Entry { prefix: prefix.into(), parent: None, route });
        Ok(())
    }
}

impl Route {
    /// The route's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its identity in limits and counters.
    pub fn key(&self) -> RouteKey {
        self.key
    }

    /// What statistics call it.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Its place in the order in which the routes were given, from 0.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Which upstream, as an index into the list that the routes were built from.
    pub fn upstream(&self) -> usize {
        self.upstream
    }
}

/// The path prefixes of one host pattern, sorted once [`Paths::link`] was called.
#[derive(Debug, Default)]
struct Paths(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    /// Without a trailing slash, so that the root is empty.
    prefix: Box<str>,
    /// The longest other entry that this one starts with.
    parent: Option<usize>,
    route: Route,
}

impl Paths {
    /// Sorts, and points each entry at the longest one that it starts with. In sorted order that is the
    /// neighbour above or one of the neighbour's own parents.
    fn link(&mut self) {
        self.0.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix));
        let mut open: Vec<(usize, Box<str>)> = Vec::new();
        for (index, entry) in self.0.iter_mut().enumerate() {
            while open.pop_if(|(_, above)| !entry.prefix.starts_with(&**above)).is_some() {}
            entry.parent = open.last().map(|(above, _)| *above);
            open.push((index, entry.prefix.clone()));
        }
    }

    /// Every prefix of `path` is the last entry that is not greater than it, or a parent of that entry.
    fn find(&self, path: &str) -> Option<&Route> {
        let not_greater = self.0.partition_point(|entry| &*entry.prefix <= path);
        let mut next = not_greater.checked_sub(1);
        while let Some(entry) = next.and_then(|index| self.0.get(index)) {
            if entry.covers(path) {
                return Some(&entry.route);
            }
            next = entry.parent;
        }
        None
    }
}

impl Entry {
    fn covers(&self, path: &str) -> bool {
        let whole_segments = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.prefix.is_empty() || path.strip_prefix(&*self.prefix).is_some_and(whole_segments)
    }
}

enum HostPattern {
    Any,
    Below(Box<str>),
    Exact(Box<str>),
}

impl HostPattern {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(suffix) => parse_host(suffix).map(Self::Below),
            None => parse_host(text).map(Self::Exact),
        }
    }
}

/// A host in the form in which requests are asked about: lower case, no port, no final dot.
fn parse_host(text: &str) -> Option<Box<str>> {
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let ipv6 = host.starts_with('[') && host.ends_with(']');
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let named = host.bytes().all(letters) && !host.split('.').any(str::is_empty);
    (host.len() <= MAX_HOST && (ipv6 || named)).then(|| host.into())
}

fn parse_path(text: &str) -> Option<&str> {
    let prefix = text.strip_suffix('/').unwrap_or(text);
    let mut segments = prefix.split('/').skip(1);
    let plain = segments.all(|segment| !matches!(segment, "" | "." | ".."));
    (text.starts_with('/') && plain && !text.contains(['?', '#'])).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn routes(specs: &[(&str, &str)]) -> Result<Routes, Vec<(usize, RouteError)>> {
        Routes::new(specs.iter().enumerate().map(|(upstream, (host, path))| RouteSpec {
            name: "r",
            host,
            path,
            upstream,
            number: upstream,
        }))
    }

    fn found(routes: &Routes, host: &str, path: &str) -> Option<usize> {
        routes.find(host, path).map(Route::upstream)
    }

    #[test]
    fn an_exact_host_beats_a_long_suffix_beats_a_short_one_beats_any() {
        let hosts = ["*", "*.example.com", "*.api.example.com", "v1.api.example.com"];
        let routes = routes(&hosts.map(|host| (host, "/"))).unwrap();
        for (host, upstream) in [
            ("v1.api.example.com", 3),
            ("v2.api.example.com", 2),
            ("a.b.api.example.com", 2),
            ("api.example.com", 1),
            ("example.com", 0),
            ("notexample.com", 0),
            ("", 0),
        ] {
            assert_eq!(found(&routes, host, "/"), Some(upstream), "{host}");
        }
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let paths = ["/", "/api", "/api/v1/", "/api/v1/users", "/apix"];
        let routes = routes(&paths.map(|path| ("*", path))).unwrap();
        for (path, upstream) in [
            ("/", 0),
            ("/ap", 0),
            ("/api", 1),
            ("/api/", 1),
            ("/api-docs", 0),
            ("/api/v1", 2),
            ("/api/v10", 1),
            ("/api/v1/user", 2),
            ("/api/v1/users/7", 3),
            ("/apix/y", 4),
            ("*", 0),
        ] {
            assert_eq!(found(&routes, "h", path), Some(upstream), "{path}");
        }
    }

    #[test]
    fn a_host_without_a_matching_path_falls_back_to_a_less_specific_host() {
        let routes = routes(&[("api.example.com", "/v1"), ("*.example.com", "/v2")]).unwrap();
        assert_eq!(found(&routes, "api.example.com", "/v2/x"), Some(1));
        assert_eq!(found(&routes, "api.example.com", "/v3"), None);
    }

    #[test]
    fn hosts_are_read_without_case_and_final_dot() {
        let routes = routes(&[("Api.Example.COM.", "/"), ("[2001:DB8::1]", "/")]).unwrap();
        assert_eq!(found(&routes, "api.example.com", "/"), Some(0));
        assert_eq!(found(&routes, "[2001:db8::1]", "/"), Some(1));
    }

    #[test]
    fn every_mistake_is_reported_with_its_route() {
        let wrong = [
            ("*", "api"),
            ("a.com:80", "/"),
            ("*.*.com", "/"),
            ("", "/"),
            ("*", "/a//b"),
            ("*", "/x"),
            ("*", "/x/"),
        ];
        let errors = routes(&wrong).unwrap_err();
        assert_eq!(errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 6]);
        assert_eq!(errors[5].1, RouteError::Duplicate("r".into()));
        assert!(errors[1].1.to_string().contains("`a.com:80`"));
    }

    #[test]
    fn a_host_of_a_thousand_labels_is_only_any_host() {
        let routes = routes(&[("*", "/"), ("*.a", "/")]).unwrap();
        assert_eq!(found(&routes, &"a.".repeat(1000), "/"), Some(0));
        assert_eq!(found(&routes, "a.a", "/"), Some(1));
    }

    /// The rules of the module documentation, written down without any cleverness.
    fn naive(specs: &[(String, String)], host: &str, path: &str) -> Option<usize> {
        let rank = |pattern: &str| match pattern.strip_prefix('*') {
            Some("") => Some(0),
            Some(suffix) => (host.ends_with(suffix) && host.len() >= suffix.len()).then_some(suffix.len()),
            None => (pattern == host).then_some(usize::MAX),
        };
        let covers = |prefix: &str| {
            let prefix = prefix.trim_end_matches('/');
            path == prefix || path.starts_with(&format!("{prefix}/"))
        };
        let matching = specs.iter().enumerate().filter(|(_, (_, prefix))| covers(prefix));
        let ranked = matching.filter_map(|(index, (host, path))| Some((rank(host)?, path.len(), index)));
        ranked.max().map(|(_, _, index)| index)
    }

    fn host_pattern() -> impl Strategy<Value = String> {
        prop_oneof![Just("*".to_owned()), "([*]\\.)?[ab](\\.[ab]){0,2}"]
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_the_rules(
            specs in prop::collection::hash_set((host_pattern(), "(/[ab]{1,2}){0,3}"), 0..40),
            host in "[ab](\\.[ab]){0,3}",
            path in "(/[ab]{1,2}){1,4}/?",
        ) {
            let rooted = |path: String| if path.is_empty() { "/".to_owned() } else { path };
            let specs: Vec<_> = specs.into_iter().map(|(host, path)| (host, rooted(path))).collect();
            let borrowed: Vec<_> = specs.iter().map(|(host, path)| (host.as_str(), path.as_str())).collect();
            let routes = routes(&borrowed).unwrap();
            prop_assert_eq!(found(&routes, &host, &path), naive(&specs, &host, &path));
        }
    }
}
