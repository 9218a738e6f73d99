//! Puts a [`View`] together: what the scoreboard counted, and what limits and baselines know of it.

use std::time::Duration;

use super::super::Admin;
use super::view::{
    Client, Concurrency, Country, Limit, Process, Rates, Reason, Route, Surge, Totals, View, per_second,
    rounded,
};
use crate::decision::Outcome;
use crate::facts::client::Prefix;
use crate::facts::place::{Asn, CountryCode};
use crate::facts::time::{Now, Tick};
use crate::record::rfc3339;
use crate::scoreboard::{Outcomes, Standings};
use crate::snapshot::Snapshot;
use crate::traffic::{self, Claim, Crowded, Per, RouteKey, Source, Subject, Weight, Whose};

/// Everything, in no order.
pub(super) fn view(admin: &Admin) -> View {
    let (now, snapshot) = (admin.clock.now(), admin.live.pin());
    let standings = admin.scoreboard.standings();
    let mut view = counted(admin, &standings, now);
    view.generation = snapshot.generation().0;
    join(&mut view, admin, &snapshot, &standings, now.tick);
    view
}

/// What the scoreboard counted.
fn counted(admin: &Admin, standings: &Standings, now: Now) -> View {
    let seconds = standings.took.as_secs_f64();
    let rates = |outcomes: &Outcomes| Rates::of(outcomes, seconds);
    let country = |(code, outcomes): (&CountryCode, &Outcomes)| Country {
        country: code.to_string(),
        rates: rates(outcomes),
        ..Country::default()
    };
    let routes = admin.routes.names();
    let route = |(number, outcomes): (&Option<usize>, &Outcomes)| Route {
        route: number.and_then(|number| routes.get(number).cloned()),
        rates: rates(outcomes),
    };
    let clients = standings.clients.iter().map(|(client, busy)| Client {
        client: client.to_string(),
        country: busy.country.to_string(),
        rates: rates(&busy.outcomes),
    });
    let reasons = standings.reasons.iter();
    View {
        time: rfc3339(now.wall),
        window_s: rounded(seconds),
        process: process(admin, standings, admin.clock.age()),
        total: rates(&standings.total()),
        countries: standings.countries.iter().map(country).collect(),
        clients: clients.collect(),
        routes: standings.routes.iter().map(route).collect(),
        reasons: reasons.map(|(id, row)| Reason { reason: id.to_string(), rates: rates(row) }).collect(),
        ..View::default()
    }
}

fn process(admin: &Admin, standings: &Standings, uptime: Duration) -> Process {
    let [allowed, throttled, challenged, blocked] = standings.since_start;
    let offered = allowed + throttled + challenged + blocked;
    Process {
        uptime_s: rounded(uptime.as_secs_f64()),
        in_flight: admin.drain.in_flight(),
        records_dropped: admin.recorder.dropped(),
        since_start: Totals { offered, allowed, throttled, challenged, blocked },
    }
}

/// Joins what others know: limits and their fair shares, what is usual, and who surges. The one place for it.
fn join(view: &mut View, admin: &Admin, snapshot: &Snapshot, standings: &Standings, now: Tick) {
    let traffic = &admin.traffic;
    for row in &mut view.countries {
        let Some(country) = CountryCode::parse(&row.country) else { continue };
        let pulse = traffic.country(country, now);
        (row.usual, row.surge) = (Some(rounded(pulse.usual)), Some(rounded(pulse.surge)));
    }
    view.surges = traffic.surges(now).iter().map(surge).collect();
    let configured = country_limits(snapshot, now);
    view.limits = whole_limits(snapshot, standings).chain(configured).collect();
    let routes = admin.routes.names();
    for crowded in traffic.crowded(now) {
        let (per, key) = whose(&crowded.whose, &routes);
        let limit = snapshot.limit(&crowded.limit.as_str().into(), per);
        let window = limit.map_or(0.0, |limit| limit.spec().window.duration().as_secs_f64());
        show_share(&mut view.limits, &crowded, per, key, window);
    }
    view.concurrency = snapshot.claims().map(concurrency).collect();
}

/// Who shares a limit, in words.
fn whose(whose: &Whose, routes: &[String]) -> (Per, String) {
    match whose {
        Whose::Country(country) => (Per::Country, country.to_string()),
        Whose::Asn(asn) => (Per::Asn, format!("AS{}", asn.number())),
        Whose::Route(key) => {
            let name = routes.iter().find(|name| RouteKey::named(name) == *key);
            (Per::Route, name.cloned().unwrap_or_default())
        }
    }
}

/// Says of a key that is over its limit what each of its clients may have.
fn show_share(limits: &mut Vec<Limit>, crowded: &Crowded, per: Per, key: String, window_s: f64) {
    let found = |row: &&mut Limit| {
        row.limit == crowded.limit && row.per == per.as_str() && row.key.as_ref() == Some(&key)
    };
    // Just after it filled up, no share is worked out yet.
    let fair_share = (crowded.fair_share > 0.0).then(|| rounded(crowded.fair_share));
    if let Some(row) = limits.iter_mut().find(found) {
        row.fair_share = fair_share;
        row.throttled = Some(rounded(crowded.throttled));
        return;
    }
    limits.push(Limit {
        limit: crowded.limit.clone(),
        per: per.as_str().to_owned(),
        key: Some(key),
        window_s,
        rate: (crowded.rate > 0.0).then(|| rounded(crowded.rate)),
        allowed: rounded(crowded.admitted),
        throttled: Some(rounded(crowded.throttled)),
        fair_share,
    });
}

fn concurrency(claim: Claim<'_>) -> Concurrency {
    let spec = claim.cap.spec();
    Concurrency {
        name: spec.name.clone(),
        per: spec.per.as_str().to_owned(),
        most: claim.most.get(),
        in_flight: claim.cap.held(),
    }
}

fn surge(surge: &traffic::Surge) -> Surge {
    let (per, key) = match &surge.source {
        Source::Country(country) => (Per::Country, country.as_str().to_owned()),
        Source::Route(route) => (Per::Route, route.to_string()),
    };
    let pulse = surge.pulse;
    Surge {
        per: per.as_str().to_owned(),
        key,
        rate: rounded(pulse.rate),
        usual: rounded(pulse.usual),
        surge: rounded(pulse.surge),
    }
}

/// Every limit there is, for all of its keys together.
fn whole_limits<'a>(
    snapshot: &'a Snapshot,
    standings: &'a Standings,
) -> impl Iterator<Item = Limit> + use<'a> {
    let seconds = standings.took.as_secs_f64();
    snapshot.limits().map(move |limit| {
        let spec = limit.spec();
        let counted = standings.limits.get(&(spec.name.as_str().into(), spec.per));
        let counted = counted.copied().unwrap_or_default();
        let rate = |outcome| per_second(f64::from(counted.of(outcome)), seconds);
        Limit {
            limit: spec.name.clone(),
            per: spec.per.as_str().to_owned(),
            window_s: spec.window.duration().as_secs_f64(),
            allowed: rate(Outcome::Allowed),
            throttled: Some(rate(Outcome::Throttled)),
            ..Limit::default()
        }
    })
}

/// The limits of `[countries]`, each with what it lets pass.
fn country_limits(snapshot: &Snapshot, now: Tick) -> impl Iterator<Item = Limit> {
    let limits = &snapshot.rulebook().country_limits;
    limits.iter().filter_map(move |(country, name, rate)| {
        let limit = snapshot.limit(name, Per::Country)?;
        let subject = Subject {
            client: Prefix::UNKNOWN,
            country: *country,
            asn: Asn::UNKNOWN,
            token: None,
            weight: Weight::default(),
            route: RouteKey::default(),
        };
        Some(Limit {
            limit: name.to_string(),
            per: Per::Country.as_str().to_owned(),
            key: Some(country.to_string()),
            window_s: limit.spec().window.duration().as_secs_f64(),
            rate: Some(rate.per_second()),
            allowed: rounded(limit.admitted_rate(&subject, now)),
            ..Limit::default()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowded(whose: Whose, fair_share: f64) -> Crowded {
        Crowded { limit: "country".into(), whose, rate: 5.0, admitted: 4.9, throttled: 20.0, fair_share }
    }

    #[test]
    fn a_crowded_key_has_its_share_in_its_row_or_a_row_of_its_own() {
        let routes = ["files".to_owned()];
        let kp = Whose::Country(CountryCode::parse("KP").unwrap());
        let configured = Limit {
            limit: "country".into(),
            per: "country".into(),
            key: Some("KP".into()),
            ..Limit::default()
        };
        let mut limits = vec![configured];
        for (who, share) in
            [(kp, 0.5), (Whose::Asn(Asn::new(64_500)), 0.0), (Whose::Route(RouteKey::named("files")), 2.0)]
        {
            let (per, key) = whose(&who, &routes);
            show_share(&mut limits, &crowded(who, share), per, key, 10.0);
        }
        let rows: Vec<_> = limits.iter().map(|row| (row.key.as_deref().unwrap(), row.fair_share)).collect();
        assert_eq!(rows, [("KP", Some(0.5)), ("AS64500", None), ("files", Some(2.0))]);
        assert_eq!((limits[0].throttled, limits[2].rate, limits[2].window_s), (Some(20.0), Some(5.0), 10.0));
    }
}
