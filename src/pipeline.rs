//! The middle of a request's life: enrich, evaluate, decide, plan.
//!
//! [`locate`] finds where a request comes from, [`enrich`] reads what is true right now into a [`RequestContext`];
//! from there on all is pure: [`judge`] depends on the snapshot and that context alone, so tests, `explain` and a
//! recorded decision give the very same answer. [`plan`] says what a judgement means on the wire; carrying it out is
//! for the edge.

use smallvec::SmallVec;

use crate::decision::{Count, Decision, Demand, Evaluation};
use crate::facts::client::{Client, ClientIp};
use crate::facts::ja4::Ja4;
use crate::facts::place::Place;
use crate::facts::request::RequestHead;
use crate::facts::time::Now;
use crate::facts::tls::TlsSession;
use crate::rules::Policy;
use crate::signals::{Facts, Readings, RequestContext, Response, Secrets};
use crate::snapshot::Snapshot;
use crate::traffic::{Check, Claim, Pulse, RouteKey, Subject, Traffic};

/// A request before it is judged.
pub struct Enquiry<'a> {
    /// The head as parsed.
    pub head: &'a RequestHead<'a>,
    /// Who is calling, for lists only.
    pub ip: &'a ClientIp,
    /// Who is calling, for all else.
    pub client: &'a Client,
    /// The route it will take.
    pub route: RouteKey,
    /// When it arrived.
    pub now: Now,
    /// Which values are secret.
    pub secrets: &'a Secrets,
    /// The TLS session that it came by, if any.
    pub tls: Option<&'a TlsSession>,
}

/// A request of which it is known where it comes from and whom it counts for; it can be measured.
pub struct Located<'a> {
    enquiry: Enquiry<'a>,
    snapshot: &'a Snapshot,
    traffic: &'a Traffic,
    subject: Subject,
}

/// What was said and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// All reasons and errors.
    pub evaluation: Evaluation,
    /// What the gate wants to do.
    pub decision: Decision,
}

/// What a decision means on the wire.
pub enum Plan<'s> {
    /// Pass it on, if every one of these limits admits it. There may be none.
    Admit(SmallVec<[(&'s Demand, Check<'s>); 2]>),
    /// Refuse it.
    Block,
}

/// Finds out where a request comes from.
pub fn locate<'a>(snapshot: &'a Snapshot, traffic: &'a Traffic, enquiry: Enquiry<'a>) -> Located<'a> {
    let client = *enquiry.client.prefix();
    let Place { country, asn } = snapshot.place(&client);
    let credential = || enquiry.secrets.credential(enquiry.head);
    let credential =
        (snapshot.counts_credentials() || traffic.weighs_credentials()).then(credential).flatten();
    let weight = traffic.weight(credential.is_some());
    let counted = credential.filter(|_| snapshot.counts_credentials());
    let token = counted.map(|credential| traffic.token(credential.as_bytes()));
    let subject = Subject { client, country, asn, route: enquiry.route, token, weight };
    Located { enquiry, snapshot, traffic, subject }
}

/// Reads the signals that the policy needs, once.
pub fn enrich<'a>(located: &'a Located<'a>) -> RequestContext<'a> {
    let Enquiry { head, client, now, secrets, tls, .. } = located.enquiry;
    let place = located.subject.place();
    located.snapshot.policy().needs().read(&Facts {
        head,
        client,
        place,
        wall: now.wall,
        secrets,
        tls,
        readings: located,
        response: None,
    })
}

/// Evaluates and decides. Same snapshot, same context, same judgement.
pub fn judge(snapshot: &Snapshot, context: &RequestContext<'_>) -> Judgement {
    let evaluation = snapshot.policy().evaluate(context);
    let (country, hard_list) = (snapshot.country_of(context), snapshot.hard_list_of(context));
    let decision = snapshot.rulebook().decide(&evaluation, country, hard_list);
    Judgement { evaluation, decision }
}

/// Finds the limits that a decision demands. A demand without a limit cannot be: all are made at load; should it
/// happen all the same, the request is refused rather than let through unlimited.
pub fn plan<'s>(snapshot: &'s Snapshot, decision: &'s Decision) -> Plan<'s> {
    use crate::decision::Action;
    match decision.action() {
        Action::Block | Action::Challenge => Plan::Block,
        Action::Allow | Action::Tag | Action::Throttle => {
            let check = |demand: &'s Demand| {
                let limit = snapshot.limit(&demand.limit, demand.per)?;
                Some((demand, Check { limit, rate: demand.rate }))
            };
            let checks: Option<SmallVec<_>> = decision.demands().iter().map(check).collect();
            checks.map_or(Plan::Block, Plan::Admit)
        }
    }
}

/// The places among the requests in flight that a decision demands. `None` cannot be, like a demand without a limit.
pub fn claims<'s>(snapshot: &'s Snapshot, decision: &Decision) -> Option<Vec<Claim<'s>>> {
    decision.caps().iter().map(|name| snapshot.claim(name)).collect()
}

/// Counts a judged request: once as offered, and once in each counter that scripts named, whatever becomes of it.
pub fn count(snapshot: &Snapshot, subject: &Subject, decision: &Decision, traffic: &Traffic, now: Now) {
    traffic.offer(subject, now.tick);
    decision.counts().iter().for_each(|count| count_once(snapshot, subject, count, now));
}

/// What is needed to show a response to the policy.
pub struct Observation<'a> {
    /// The head as parsed.
    pub head: &'a RequestHead<'a>,
    /// Who was calling.
    pub client: &'a Client,
    /// What came back.
    pub response: &'a Response<'a>,
    /// When the response ended.
    pub now: Now,
    /// Which values are secret.
    pub secrets: &'a Secrets,
    /// The TLS session that it came by, if any.
    pub tls: Option<&'a TlsSession>,
}

/// Shows the response to the scripts that observe, and counts what they say. The evaluation is returned for its
/// errors.
pub fn observe(
    snapshot: &Snapshot,
    subject: &Subject,
    context: &RequestContext<'_>,
    observation: &Observation<'_>,
) -> Evaluation {
    use crate::decision::Mode;
    let facts = Facts {
        head: observation.head,
        client: observation.client,
        place: subject.place(),
        wall: observation.now.wall,
        secrets: observation.secrets,
        tls: observation.tls,
        readings: &Nothing,
        response: Some(observation.response),
    };
    let evaluation = snapshot.policy().observe(context, &facts);
    for count in evaluation.said(Mode::Enforce).filter_map(|(_, say)| Count::of(say)) {
        count_once(snapshot, subject, &count, observation.now);
    }
    evaluation
}

fn count_once(snapshot: &Snapshot, subject: &Subject, count: &Count, now: Now) {
    let Some(counter) = snapshot.counter(&count.counter) else { return };
    match &count.item {
        None => counter.count(subject, now.tick),
        Some(item) => counter.count_value(subject, item, now.tick),
    }
}

impl Located<'_> {
    /// Who judges it.
    pub fn policy(&self) -> &Policy {
        self.snapshot.policy()
    }

    /// Whom it counts for.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

/// Live measurements.
impl Readings for Located<'_> {
    fn client_rate(&self) -> f64 {
        self.traffic.client_rate(&self.subject.client, self.enquiry.now.tick)
    }

    fn country(&self) -> Pulse {
        self.traffic.country(self.subject.country, self.enquiry.now.tick)
    }

    fn route(&self) -> Pulse {
        self.traffic.route(self.subject.route, self.enquiry.now.tick)
    }

    fn country_weight(&self) -> i64 {
        i64::from(self.snapshot.weight(self.subject.country))
    }

    fn count(&self, counter: &str) -> i64 {
        let counter = self.snapshot.counter(counter);
        counter.map_or(0, |counter| {
            i64::try_from(counter.value(&self.subject, self.enquiry.now.tick)).unwrap_or(i64::MAX)
        })
    }

    fn class(&self, ja4: &Ja4) -> &str {
        self.snapshot.fingerprints().class(ja4)
    }

    fn listed(&self, list: &str) -> bool {
        self.snapshot.listed(self.enquiry.ip, list)
    }
}

/// After the response only `res` is read; `req` keeps what was read before.
struct Nothing;

impl Readings for Nothing {
    fn client_rate(&self) -> f64 {
        0.0
    }

    fn country(&self) -> Pulse {
        Pulse::NONE
    }

    fn route(&self) -> Pulse {
        Pulse::NONE
    }

    fn country_weight(&self) -> i64 {
        0
    }

    fn count(&self, _: &str) -> i64 {
        0
    }

    fn class(&self, _: &Ja4) -> &str {
        ""
    }

    fn listed(&self, _: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::*;
    use crate::facts::client::{ClientIp, Keyring, PeerAddr, Truncation, TrustedProxies};
    use crate::facts::forwarded::ForwardHeader;
    use crate::facts::request::Scheme;
    use crate::facts::time::{Tick, Wall};
    use crate::rules::Terms;
    use crate::signals::secrets::Names;
    use crate::signals::{Credential, Vocabulary};
    use crate::snapshot::Contents;
    use crate::traffic::{Settings, Weight};

    const START: Now = Now { wall: Wall::from_millis(0), tick: Tick::from_elapsed(Duration::ZERO) };

    /// A snapshot that knows and counts nothing.
    fn empty() -> Snapshot {
        let vocabulary = Vocabulary::standard();
        let terms = Terms::of(&vocabulary);
        Snapshot::new(Contents::of(Policy::load(&[], &terms).unwrap()))
    }

    fn client(keys: &Keyring) -> (ClientIp, Client) {
        let peer = PeerAddr::new(Some("192.0.2.1:9".parse().unwrap()));
        let ip = TrustedProxies::default().client_of(peer, ForwardHeader::XForwardedFor, std::iter::empty());
        (ip, ip.identify(Truncation::default(), keys))
    }

    fn shares(weight: u16, header: (&str, &str)) -> u16 {
        let keys = Arc::new(Keyring::new(&Zeroizing::new([1; 32])));
        let names = Names { credentials: vec![Credential::Authorization], ..Names::default() };
        let secrets = Secrets::new(Arc::new(names), Arc::clone(&keys));
        let settings = Settings { credential_weight: Weight::new(weight).unwrap(), ..Settings::default() };
        let (snapshot, traffic) = (empty(), Traffic::new(settings, START.tick));
        let request = http::Request::builder().uri("/").header(header.0, header.1).body(()).unwrap();
        let parts = request.into_parts().0;
        let head = RequestHead::read(&parts, Scheme::Http);
        let (ip, client) = client(&keys);
        let (route, now) = (RouteKey::default(), START);
        let enquiry =
            Enquiry { head: &head, ip: &ip, client: &client, route, now, secrets: &secrets, tls: None };
        locate(&snapshot, &traffic, enquiry).subject().weight.shares()
    }

    #[test]
    fn a_credential_has_the_weight_that_configuration_gives_it() {
        let (signed, plain) = (("authorization", "Bearer x"), ("accept", "*/*"));
        assert_eq!([shares(4, signed), shares(4, plain), shares(1, signed)], [4, 1, 1]);
    }
}
