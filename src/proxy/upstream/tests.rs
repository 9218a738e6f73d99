//! Which servers requests are told, over whole upstreams.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::facts::client::Pseudonym;

const NOW: Tick = Tick::from_elapsed(Duration::from_secs(100));

fn ids() -> Arc<Ids> {
    Arc::new(Ids::new(&[7; 32]))
}

fn specs(servers: &[(&str, u16)]) -> Vec<ServerSpec> {
    servers
        .iter()
        .map(|(address, weight)| ServerSpec { weight: *weight, ..ServerSpec::new(*address) })
        .collect()
}

fn upstream(servers: &[(&str, u16)], settings: Settings) -> Upstream {
    Upstream::resolve("origin", specs(servers), settings, None, &ids()).unwrap()
}

fn chosen(upstream: &Upstream, turn: &mut Turn, wish: &Wish<'_>) -> String {
    upstream.choose(turn, wish, NOW).unwrap().name().to_owned()
}

/// What so many requests are told, each of them over at once.
fn told(upstream: &Upstream, requests: usize) -> Vec<String> {
    (0..requests).map(|_| chosen(upstream, &mut Turn::default(), &Wish::default())).collect()
}

fn counted(told: Vec<String>) -> BTreeMap<String, usize> {
    told.into_iter().fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name).or_default() += 1;
        counts
    })
}

const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";
const C: &str = "10.0.0.3:80";

#[test]
fn requests_take_the_servers_in_turn_by_weight() {
    let upstream = upstream(&[(A, 3), (B, 1)], Settings::default());
    assert_eq!(told(&upstream, 5), [A, A, B, A, A]);
}

#[test]
fn of_two_the_less_busy_one_is_taken_for_its_weight() {
    let settings = Settings { balance: Balance::LeastConnections, ..Settings::default() };
    let upstream = upstream(&[(A, 2), (B, 1)], settings);
    let mut turns = Vec::new();
    for _ in 0..300 {
        let mut turn = Turn::default();
        chosen(&upstream, &mut turn, &Wish::default());
        turns.push(turn);
    }
    let busy: Vec<_> = upstream.servers().iter().map(|server| server.in_flight()).collect();
    assert!((180..=220).contains(&busy[0]) && busy[0] + busy[1] == 300, "{busy:?}");
    drop(turns);
    assert!(upstream.servers().iter().all(|server| server.in_flight() == 0));
}

#[test]
fn a_key_goes_to_the_same_server_and_few_move_when_one_is_gone() {
    let settings = || Settings { balance: Balance::Hash(HashKey::Client), ..Settings::default() };
    let (three, two) =
        (upstream(&[(A, 1), (B, 1), (C, 1)], settings()), upstream(&[(A, 1), (C, 1)], settings()));
    let place = |upstream: &Upstream, client: u64| {
        let parts = http::Request::new(()).into_parts().0;
        let wish = upstream.wish(&parts, Pseudonym::parse(&format!("{client:016x}")).unwrap());
        chosen(upstream, &mut Turn::default(), &wish)
    };
    let clients = 0..600;
    let before: Vec<_> = clients.clone().map(|client| place(&three, client)).collect();
    let spread = counted(before.clone());
    assert!(spread.len() == 3 && spread.values().all(|count| *count > 100), "{spread:?}");
    for client in clients {
        let (then, now) = (&before[client as usize], place(&two, client));
        assert!(*then == B || *then == now, "{client} moved from {then} to {now}");
    }
}

#[test]
fn a_request_without_the_key_goes_to_whoever_is_next() {
    let balance = Balance::Hash(HashKey::Header(http::HeaderName::from_static("x-tenant")));
    let upstream = upstream(&[(A, 1), (B, 1)], Settings { balance, ..Settings::default() });
    let parts = http::Request::builder().header("x-tenant", "").body(()).unwrap().into_parts().0;
    assert_eq!(upstream.wish(&parts, Pseudonym::parse("0000000000000000").unwrap()), Wish::default());
    assert_eq!(told(&upstream, 3), [A, B, A]);
}

#[test]
fn a_request_tries_each_server_once_and_no_more_than_its_retries_allow() {
    for (retries, servers, attempts) in [(2, 1, 1), (2, 2, 2), (2, 5, 3), (0, 3, 1), (4, 9, 5)] {
        let names: Vec<_> = (0..servers).map(|n| format!("10.0.0.{n}:80")).collect();
        let written: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let upstream = upstream(&written, Settings { retries, ..Settings::default() });
        let (mut turn, wish) = (Turn::default(), Wish::default());
        let mut used = vec![chosen(&upstream, &mut turn, &wish)];
        while upstream.move_on(&mut turn, &wish, NOW) {
            used.push(chosen(&upstream, &mut turn, &wish));
        }
        used.sort();
        used.dedup();
        assert_eq!(used.len(), attempts, "{retries} retries, {servers} servers");
    }
}

#[test]
fn who_is_ejected_is_stepped_over_and_when_nobody_is_left_all_are_asked() {
    let ejection = Ejection { failures: 1, ..Ejection::default() };
    let upstream = upstream(&[(A, 1), (B, 1)], Settings { ejection, ..Settings::default() });
    let fail = || {
        let mut turn = Turn::default();
        let name = chosen(&upstream, &mut turn, &Wish::default());
        upstream.failed(&turn, NOW);
        assert!(is_ejected(&upstream, &name));
    };
    fail();
    assert_eq!(told(&upstream, 3), [B, B, B]);
    fail();
    assert_eq!(counted(told(&upstream, 4)).len(), 2);
}

fn is_ejected(upstream: &Upstream, name: &str) -> bool {
    let servers = upstream.servers();
    let server = servers.iter().find(|server| server.name() == name).unwrap();
    matches!(server.fitness(NOW), Fitness::Ejected(_))
}

/// The head of an answer.
fn head(status: u16, fields: &[(&str, &str)]) -> http::response::Parts {
    let response = fields.iter().fold(
        http::Response::builder().status(status).version(http::Version::HTTP_2),
        |response, (name, value)| response.header(*name, *value),
    );
    response.body(()).unwrap().into_parts().0
}

/// Whether a server is ejected that answered like this; two failures in a row are too many.
fn is_ejected_after(statuses: &[u16], failures: impl IntoIterator<Item = u16>) -> bool {
    let ejection = Ejection { failures: 2, statuses: failures.into_iter().collect(), ..Ejection::default() };
    let upstream = upstream(&[(A, 1)], Settings { ejection, ..Settings::default() });
    for status in statuses {
        let mut turn = Turn::default();
        chosen(&upstream, &mut turn, &Wish::default());
        upstream.answered(&mut turn, &head(*status, &[]), NOW);
    }
    is_ejected(&upstream, A)
}

#[test]
fn answers_of_some_statuses_are_failures() {
    let usual = || [502, 503, 504];
    assert!(is_ejected_after(&[502, 503], usual()) && is_ejected_after(&[504, 504], usual()));
    assert!(!is_ejected_after(&[503, 200, 503], usual()), "not in a row");
    assert!(!is_ejected_after(&[503, 101, 503], usual()), "another protocol is an answer");
    assert!(is_ejected_after(&[503, 100, 103, 503], usual()), "what another answer follows says nothing");
    assert!(!is_ejected_after(&[500, 501, 505, 429, 404], usual()));
    assert!(is_ejected_after(&[599, 500], [500, 599]));
    assert!(!is_ejected_after(&[502, 503, 504, 500], []));
    let default = Ejection::default().statuses;
    assert!((0..1000).filter(|status| default.contains(*status)).eq(usual()));
}

/// Whether a server is ejected that answered calls of gRPC with these codes in trailers; two failures in a row are too many.
fn is_ejected_after_calls(codes: &[&'static str]) -> bool {
    let ejection = Ejection { failures: 2, ..Ejection::default() };
    let upstream = upstream(&[(A, 1)], Settings { ejection, ..Settings::default() });
    for code in codes {
        let mut turn = Turn::default();
        chosen(&upstream, &mut turn, &Wish::default());
        upstream.answered(&mut turn, &head(200, &[("content-type", "application/grpc")]), NOW);
        upstream.ended(&mut turn, &head(200, &[("grpc-status", code)]).headers, NOW);
    }
    is_ejected(&upstream, A)
}

#[test]
fn calls_that_end_unavailable_are_failures_and_their_heads_are_no_answers() {
    assert!(is_ejected_after_calls(&["14", "14"]));
    assert!(!is_ejected_after_calls(&["14", "0", "14"]), "not in a row");
    assert!(!is_ejected_after_calls(&["14", "5", "14"]), "what was not found was looked for");
    assert!(!is_ejected_after_calls(&["13", "4", "2", "8"]));
}

#[test]
fn trailers_of_other_answers_say_nothing() {
    let ejection = Ejection { failures: 1, ..Ejection::default() };
    let upstream = upstream(&[(A, 1)], Settings { ejection, ..Settings::default() });
    let mut turn = Turn::default();
    chosen(&upstream, &mut turn, &Wish::default());
    upstream.answered(&mut turn, &head(200, &[("content-type", "text/plain")]), NOW);
    upstream.ended(&mut turn, &head(200, &[("grpc-status", "14")]).headers, NOW);
    assert!(!is_ejected(&upstream, A));
}

#[test]
fn who_is_busy_is_stepped_over_and_when_all_are_it_is_said() {
    let upstream = upstream(&[(A, 1), (B, 1)], Settings { max_connections: Some(2), ..Settings::default() });
    let mut turns: Vec<_> = (0..4).map(|_| Turn::default()).collect();
    turns.iter_mut().for_each(|turn| drop(chosen(&upstream, turn, &Wish::default())));
    assert_eq!(upstream.choose(&mut Turn::default(), &Wish::default(), NOW).err(), Some(Busy));
    turns.pop();
    assert!(upstream.choose(&mut Turn::default(), &Wish::default(), NOW).is_ok());
}

#[test]
fn a_cookie_keeps_a_client_at_its_server_until_that_is_gone() {
    let settings = Settings { sticky: Some("at".into()), ..Settings::default() };
    let origin = upstream(&[(A, 1), (B, 1)], settings.clone());
    let mut turn = Turn::default();
    let first = chosen(&origin, &mut turn, &Wish::default());
    let cookie = origin.cookie(&turn, true).unwrap();
    let (pair, rest) = cookie.split_once("; ").unwrap();
    assert_eq!(rest, "Path=/; HttpOnly; SameSite=Lax; Secure");
    assert!(!cookie.contains("10.0.0"));
    let parts =
        http::Request::builder().header("cookie", format!("x=y; {pair}")).body(()).unwrap().into_parts().0;
    let nobody = Pseudonym::parse("0000000000000000").unwrap();
    for _ in 0..4 {
        let mut turn = Turn::default();
        assert_eq!(chosen(&origin, &mut turn, &origin.wish(&parts, nobody)), first);
        assert_eq!(origin.cookie(&turn, true), None, "it has it already");
    }
    let other = upstream(&[(B, 1)], settings);
    let mut turn = Turn::default();
    assert_eq!(chosen(&other, &mut turn, &other.wish(&parts, nobody)), B);
    assert!(other.cookie(&turn, false).unwrap().ends_with("; SameSite=Lax"));
}

#[test]
fn a_server_that_is_reached_as_before_is_the_same_server() {
    let origin = upstream(&[(A, 1), (B, 1)], Settings::default());
    let again = |servers: &[(&str, u16)], settings| {
        Upstream::resolve("origin", specs(servers), settings, Some(&origin), &ids()).unwrap().servers()
    };
    let weighed = again(&[(C, 1), (B, 9)], Settings { retries: 0, ..Settings::default() });
    assert!(Arc::ptr_eq(&weighed[1], &origin.servers()[1]) && weighed[0].name() == C);
    let timeouts = Timeouts { read: Duration::from_secs(1), ..Timeouts::default() };
    let hurried = again(&[(A, 1)], Settings { timeouts, ..Settings::default() });
    assert!(!Arc::ptr_eq(&hurried[0], &origin.servers()[0]));
}

#[test]
fn a_server_that_is_no_longer_checked_is_not_down_for_ever() {
    let origin = upstream(&[(A, 1), (B, 1)], Settings::default());
    origin.servers()[0].health.checked(false, 1);
    assert_eq!(told(&origin, 2), [B, B]);
    let servers = specs(&[(A, 1), (B, 1), (C, 1)]);
    let again = Upstream::resolve("origin", servers, Settings::default(), Some(&origin), &ids()).unwrap();
    assert_eq!(told(&again, 3), [A, B, C]);
}

#[test]
fn every_mistake_is_reported() {
    let wrong = specs(&[("10.0.0.1", 1), (A, 1), ("nowhere.invalid:80", 1)]);
    let errors = Upstream::resolve("origin", wrong, Settings::default(), None, &ids()).unwrap_err();
    assert_eq!(errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2]);
    let none = Upstream::resolve("origin", Vec::new(), Settings::default(), None, &ids()).unwrap_err();
    assert!(matches!(none[..], [(0, UpstreamError::NoServers(_))]));
}

#[test]
fn a_peer_waits_only_as_long_as_configured() {
    let upstream = upstream(&[("127.0.0.1:80", 1)], Settings::default());
    let (server, timeouts) = (&upstream.servers()[0], Timeouts::default());
    let options = &server.peer.options;
    assert_eq!(options.connection_timeout, Some(timeouts.connect));
    assert_eq!(options.read_timeout, Some(timeouts.read));
    assert_eq!(options.write_timeout, Some(timeouts.write));
    assert_eq!(options.idle_timeout, Some(timeouts.idle));
}

#[test]
fn a_name_gains_and_loses_addresses_and_keeps_the_last_good_ones() {
    let upstream = upstream(&[("localhost:80", 1), (C, 1)], Settings::default());
    let moved = |to: &'static [&'static str]| {
        upstream.refresh_by(|name| {
            assert_eq!(name, "localhost:80", "an address is not looked up");
            Ok(to.iter().map(|to| to.parse::<std::net::SocketAddr>().unwrap().into()).collect())
        });
        upstream.servers()
    };
    let addresses =
        |servers: &[Arc<Server>]| servers.iter().map(|server| server.address()).collect::<Vec<_>>();
    let one = moved(&[A]);
    assert_eq!(addresses(&one), [A, C]);
    let both = moved(&[A, B]);
    assert_eq!(addresses(&both), [A, B, C]);
    assert!(Arc::ptr_eq(&one[0], &both[0]) && Arc::ptr_eq(&one[1], &both[2]));
    assert_eq!(
        counted((0..3).map(|_| chosen(&upstream, &mut Turn::default(), &Wish::default())).collect())["localhost:80"],
        2
    );
    upstream.refresh_by(|name| {
        Err(UpstreamError::Resolve { server: name.into(), source: std::io::Error::other("down") })
    });
    assert_eq!(addresses(&upstream.servers()), [A, B, C]);
    assert_eq!(addresses(&moved(&[B])), [B, C]);
}

#[test]
fn names_are_looked_up_again_after_their_time_and_addresses_never() {
    let at = |seconds| Tick::from_elapsed(Duration::from_secs(seconds));
    let named = upstream(&[("localhost:80", 1)], Settings::default());
    assert_eq!(
        [1, 30, 31, 32, 60, 61].map(|now| named.is_stale(at(now))),
        [false, false, true, false, false, true]
    );
    let plain = upstream(&[(A, 1)], Settings::default());
    assert_eq!([1, 100].map(|now| plain.is_stale(at(now))), [false, false]);
}
