//! Everything that was loaded, immutable and numbered: scripts, places, lists, levels, weights and the handles of
//! limits and counters.
//!
//! A request pins one snapshot from its first filter to its last, so no judgement mixes two generations. What
//! is counted is not in it: counts outlive reloads, and a snapshot only holds on to them.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::decision::Rulebook;
use crate::facts::client::{ClientIp, Prefix};
use crate::facts::place::{CountryCode, Place};
use crate::fingerprints::Fingerprints;
use crate::geoip::Geo;
use crate::ip_list::IpList;
use crate::rules::Policy;
use crate::signals::{Key, RequestContext, Root, Text, Value, Vocabulary};
use crate::traffic::{Cap, Claim, Counter, Delay, Dimension, Limit, Most, Per};

/// The number of a snapshot; each published one has a higher number than the one before. 0 was never published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// Everything loaded.
pub struct Snapshot {
    generation: Generation,
    contents: Contents,
    country_signal: usize,
    list_signal: usize,
    /// Points by [`CountryCode::index`].
    weights: Box<[u8]>,
    counts_credentials: bool,
}

/// What a snapshot is made of.
pub struct Contents {
    /// The scripts.
    pub policy: Policy,
    /// The databases.
    pub geo: Geo,
    /// The lists, in order of their names.
    pub lists: Vec<NamedList>,
    /// What clients with a certain fingerprint are called.
    pub fingerprints: Arc<Fingerprints>,
    /// How scripts are weighed.
    pub rulebook: Rulebook,
    /// Points by country; what is not here weighs nothing.
    pub weights: HashMap<CountryCode, u8>,
    /// Every limit that scripts, levels and countries can demand.
    pub limits: HashMap<(Text, Per), Arc<Limit>, foldhash::fast::FixedState>,
    /// What limits may delay, by their name; what is not here is refused at once.
    pub delays: HashMap<Text, Delay, foldhash::fast::FixedState>,
    /// Every declared counter.
    pub counters: Vec<Arc<Counter>>,
    /// Every declared limit of requests in flight.
    pub caps: Vec<(Arc<Cap>, Most)>,
    /// What the edge keeps with this generation and nobody here knows: the upstreams, and what leads to them.
    pub attachment: Option<Arc<dyn Any + Send + Sync>>,
}

impl Contents {
    /// Scripts and nothing else: no places, lists or limits.
    pub fn of(policy: Policy) -> Self {
        Self {
            policy,
            geo: Geo::default(),
            lists: Vec::new(),
            fingerprints: Arc::default(),
            rulebook: Rulebook::default(),
            weights: HashMap::new(),
            limits: HashMap::default(),
            delays: HashMap::default(),
            counters: Vec::new(),
            caps: Vec::new(),
            attachment: None,
        }
    }
}

/// An address list with its name.
pub struct NamedList {
    /// The name in `[lists]`.
    pub name: String,
    /// The addresses. Shared with earlier generations when the file did not change.
    pub addresses: Arc<IpList>,
    /// Whether its clients are refused whatever scripts say.
    pub hard: bool,
}

impl Snapshot {
    /// A snapshot that is not yet published.
    pub fn new(contents: Contents) -> Self {
        let needs = contents.policy.needs();
        let (country_signal, list_signal) = (needs.position("geo.country"), needs.position("client.listed"));
        let weight = |country| contents.weights.get(&country).copied().unwrap_or(0);
        let weights = CountryCode::all().map(weight).collect();
        let mut counters = contents.counters.iter();
        let counts_credentials = counters.any(|counter| counter.spec().per.has(Dimension::Token));
        let generation = Generation::default();
        Self { generation, contents, country_signal, list_signal, weights, counts_credentials }
    }

    /// Numbers it, when it is published.
    pub fn numbered(self, generation: Generation) -> Self {
        Self { generation, ..self }
    }

    /// Its number.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The scripts.
    pub fn policy(&self) -> &Policy {
        &self.contents.policy
    }

    /// What the edge keeps with this generation.
    pub fn attachment(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.contents.attachment.as_ref()
    }

    /// How scripts are weighed.
    pub fn rulebook(&self) -> &Rulebook {
        &self.contents.rulebook
    }

    /// The databases.
    pub fn geo(&self) -> &Geo {
        &self.contents.geo
    }

    /// The lists.
    pub fn lists(&self) -> &[NamedList] {
        &self.contents.lists
    }

    /// What clients with a certain fingerprint are called.
    pub fn fingerprints(&self) -> &Fingerprints {
        &self.contents.fingerprints
    }

    /// Where a truncated address belongs.
    pub fn place(&self, prefix: &Prefix) -> Place {
        self.contents.geo.place(prefix)
    }

    /// The points of a country, 0 to 100.
    pub fn weight(&self, country: CountryCode) -> u8 {
        self.weights.get(country.index()).copied().unwrap_or(0)
    }

    /// Whether the full address is on the list of that name; nobody is on a list that nobody declared.
    pub fn listed(&self, ip: &ClientIp, list: &str) -> bool {
        self.contents.lists.iter().any(|known| known.name == list && known.addresses.contains(ip))
    }

    /// The names of the hard lists.
    pub fn hard_lists(&self) -> impl Iterator<Item = &str> {
        self.contents.lists.iter().filter(|list| list.hard).map(|list| list.name.as_str())
    }

    /// The country that a judgement's inputs name.
    pub fn country_of(&self, context: &RequestContext<'_>) -> CountryCode {
        match context.value(self.country_signal, "") {
            Some(Value::Text(code)) => CountryCode::parse(&code).unwrap_or_default(),
            Some(Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Table(_)) | None => {
                CountryCode::UNKNOWN
            }
        }
    }

    /// The first hard list that a judgement's inputs name.
    pub fn hard_list_of(&self, context: &RequestContext<'_>) -> Option<&str> {
        self.hard_lists().find(|list| context.value(self.list_signal, list) == Some(Value::Bool(true)))
    }

    /// The limit of that name. Every limit that can be demanded is known at load.
    pub fn limit(&self, name: &Text, per: Per) -> Option<&Arc<Limit>> {
        self.contents.limits.get(&(name.clone(), per))
    }

    /// The limits, for display.
    pub fn limits(&self) -> impl Iterator<Item = &Arc<Limit>> {
        self.contents.limits.values()
    }

    /// What the limit of that name may delay.
    pub fn delay(&self, limit: &Text) -> Option<Delay> {
        self.contents.delays.get(limit).copied()
    }

    /// What a request that needs a place under the declared limit of that name has to claim.
    pub fn claim(&self, name: &str) -> Option<Claim<'_>> {
        self.claims().find(|claim| claim.cap.spec().name == name)
    }

    /// The declared limits of requests in flight.
    pub fn claims(&self) -> impl Iterator<Item = Claim<'_>> {
        self.contents.caps.iter().map(|(cap, most)| Claim { cap, most: *most })
    }

    /// The declared counter of that name.
    pub fn counter(&self, name: &str) -> Option<&Arc<Counter>> {
        self.contents.counters.iter().find(|counter| counter.spec().name == name)
    }

    /// Whether anything is counted per credential.
    pub fn counts_credentials(&self) -> bool {
        self.counts_credentials
    }

    /// The declared counters.
    pub fn counters(&self) -> &[Arc<Counter>] {
        &self.contents.counters
    }
}

/// The signals that are read whether or not a script names them, since the decision itself depends on them: the
/// country, and whether the client is on a hard list.
pub fn always<'l>(vocabulary: &Vocabulary, hard_lists: impl Iterator<Item = &'l str>) -> Vec<Key> {
    let at = |name| vocabulary.find(Root::Request, name).map(|(index, _)| index);
    let country = at("geo.country").map(|signal| Key::new(signal, ""));
    let listed = hard_lists.filter_map(|list| Some(Key::new(at("client.listed")?, list)));
    country.into_iter().chain(listed).collect()
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("generation", &self.generation).finish_non_exhaustive()
    }
}
