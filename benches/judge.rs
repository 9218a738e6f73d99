//! What one judgement costs: the pure middle alone, and with everything around it from the parsed head to the
//! plan, for the shipped policy and the reference policy. Times and allocations per call.
//!
//! `cargo bench --bench judge`; with `-- --test` every bench runs once, as a check that it works.

#![expect(clippy::expect_used, clippy::panic, reason = "a bench that cannot begin has nobody else to tell")]

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use divan::{AllocProfiler, Bencher, black_box};
use mimalloc::MiMalloc;
use riskgate::app::{self, build::Builder};
use riskgate::cases::Setting;
use riskgate::clock::Clock;
use riskgate::decision::{Evaluation, Outcome};
use riskgate::facts::client::{Keyring, PeerAddr, Pseudonym, Truncation, TrustedProxies};
use riskgate::facts::forwarded::ForwardHeader;
use riskgate::facts::place::Place;
use riskgate::facts::request::{RequestHead, Scheme};
use riskgate::facts::time::{Now, Tick};
use riskgate::metrics::Metrics;
use riskgate::pipeline::{self, Enquiry, Located};
use riskgate::record::{self, DecisionRecord, Recorder, Writer};
use riskgate::reload::sources::Sources;
use riskgate::reload::{Build, Built};
use riskgate::rules::sandbox::Bounds;
use riskgate::rules::{Policy, Script, Terms, Way};
use riskgate::scoreboard::{Event, Scoreboard};
use riskgate::signals::Vocabulary;
use riskgate::snapshot::Snapshot;
use riskgate::traffic::{RouteKey, Traffic};
use uuid::Uuid;
use zeroize::Zeroizing;

#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

const POLICIES: [&str; 2] = ["shipped", "reference"];
const RULES: [usize; 5] = [1, 10, 50, 200, 1000];
const WAYS: [&str; 2] = ["compiled", "interpreted"];
const REQUESTS: [&str; 3] = ["browser", "login", "tool"];

fn main() {
    divan::main();
}

/// The pure middle: from a context that was read to a decision.
#[divan::bench(args = POLICIES)]
fn judge(bencher: Bencher<'_, '_>, policy: &str) {
    let gate = Gate::with(policy);
    let request = parts("browser");
    gate.located(&request, |located| {
        let context = pipeline::enrich(located);
        bencher.bench(|| pipeline::judge(&gate.snapshot, black_box(&context)));
    });
}

/// From the parsed head to the plan: identify, enrich, judge, plan, count.
#[divan::bench(args = REQUESTS, sample_size = 100)]
fn whole_shipped(bencher: Bencher<'_, '_>, request: &str) {
    whole(bencher, "shipped", request);
}

/// The same for the reference policy.
#[divan::bench(args = REQUESTS, sample_size = 100)]
fn whole_reference(bencher: Bencher<'_, '_>, request: &str) {
    whole(bencher, "reference", request);
}

fn whole(bencher: Bencher<'_, '_>, policy: &str, request: &str) {
    let gate = Gate::with(policy);
    let request = parts(request);
    bencher.bench(|| {
        gate.located_at(black_box(&request), gate.clock.now(), |located, now| {
            let context = pipeline::enrich(located);
            let judgement = pipeline::judge(&gate.snapshot, &context);
            black_box(pipeline::plan(&gate.snapshot, &judgement.decision));
            pipeline::count(&gate.snapshot, located.subject(), &judgement.decision, &gate.traffic, now);
        });
    });
}

/// The worker's part of the decision log: one line of the reference policy into its buffer.
#[divan::bench(args = REQUESTS, sample_size = PER_STEP)]
fn record(bencher: Bencher<'_, '_>, request: &str) {
    let kept = Kept::of(request);
    let (recorder, writer) = log();
    let (writer, count) = (RefCell::new(writer), Cell::new(0));
    let empty_now_and_then = || {
        if count.replace(count.get() + 1) % PER_STEP == 0 {
            writer.borrow_mut().step(kept.gate.clock.now());
        }
    };
    let record = kept.record();
    bencher.with_inputs(empty_now_and_then).bench_local_values(|()| recorder.record(black_box(&record)));
    assert_eq!(recorder.dropped(), 0);
}

/// The writer's part: so many such lines, of one worker or of several whose lines must be merged, to a file that
/// forgets them.
#[divan::bench(args = [1, 2])]
fn record_write(bencher: Bencher<'_, '_>, workers: u32) {
    let kept = Kept::of("browser");
    let (recorder, mut writer) = log();
    let fill = |worker: u32| {
        for n in (worker..PER_STEP).step_by(workers as usize) {
            recorder.record(&DecisionRecord {
                ended: Tick::from_elapsed(Duration::from_micros(n.into())),
                ..kept.record()
            });
        }
    };
    let fill = || {
        std::thread::scope(|scope| (0..workers).for_each(|worker| drop(scope.spawn(move || fill(worker)))))
    };
    bencher
        .counter(divan::counter::ItemsCount::new(PER_STEP))
        .with_inputs(fill)
        .bench_local_values(|()| writer.step(kept.gate.clock.now()));
}

/// What is counted of it for operators.
#[divan::bench(args = REQUESTS, sample_size = 1000)]
fn metrics(bencher: Bencher<'_, '_>, request: &str) {
    let kept = Kept::of(request);
    let metrics = Metrics::new().expect("metrics");
    metrics.know(&kept.gate.snapshot);
    let record = kept.record();
    bencher.bench(|| {
        let record = black_box(&record);
        let (country, level) = (record.place.country, record.decision.level());
        metrics.decided(country, record.outcome, level, record.judge, record.total);
        metrics.reasoned(record.decision.reasons());
        metrics.failed(record.evaluation);
        metrics.failed(record.observed);
    });
}

/// What operators who look on see of it; the client comes again and again.
#[divan::bench(args = REQUESTS, sample_size = 1000)]
fn scoreboard(bencher: Bencher<'_, '_>, request: &str) {
    seen_by_operators(bencher, request, |client| client);
}

/// The same, when every client comes once.
#[divan::bench(args = REQUESTS, sample_size = 1000)]
fn scoreboard_crowd(bencher: Bencher<'_, '_>, request: &str) {
    // As even as the hashes that pseudonyms are.
    seen_by_operators(bencher, request, |client| {
        Pseudonym::from_bits(
            client.bits().wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f),
        )
    });
}

fn seen_by_operators(bencher: Bencher<'_, '_>, request: &str, next: impl Fn(Pseudonym) -> Pseudonym) {
    let kept = Kept::of(request);
    let now = kept.gate.clock.now().tick;
    let workers = NonZeroUsize::new(2).expect("two");
    let scoreboard = Scoreboard::new(workers, 1, &kept.gate.snapshot, now);
    let record = kept.record();
    let mut client = record.client;
    bencher.bench_local(|| {
        client = next(client);
        let (country, decision, outcome) = (record.place.country, record.decision, record.outcome);
        scoreboard.count(black_box(&Event {
            country,
            route: Some(0),
            client,
            decision,
            outcome,
            refused_by: None,
        }));
    });
}

const PER_STEP: u32 = 1000;

fn log() -> (Recorder, Writer) {
    Recorder::new(record::Settings { path: "/dev/null".into(), ..record::Settings::default() })
}

/// A request that was judged, and is about to be recorded.
struct Kept {
    gate: Gate,
    request: http::request::Parts,
    place: Place,
    judgement: pipeline::Judgement,
    signals: Vec<u8>,
    observed: Evaluation,
}

impl Kept {
    fn of(request: &str) -> Self {
        let (gate, request) = (Gate::with("reference"), parts(request));
        let (mut signals, mut judged) = (Vec::new(), None);
        gate.located(&request, |located| {
            let context = pipeline::enrich(located);
            context.write_json(&mut signals);
            judged = Some((located.subject().place(), pipeline::judge(&gate.snapshot, &context)));
        });
        let (place, judgement) = judged.expect("a request that was judged");
        Self { gate, request, place, judgement, signals, observed: Evaluation::default() }
    }

    fn record(&self) -> DecisionRecord<'_> {
        DecisionRecord {
            id: Uuid::from_u128(0x019a_bcde_f012_7345_8899_aabb_ccdd_eeff),
            time: self.gate.clock.now().wall,
            generation: self.gate.snapshot.generation(),
            route: Some("default"),
            method: self.request.method.as_str(),
            path: self.request.uri.path(),
            host: "api.example.com",
            status: 200,
            place: self.place,
            client: Pseudonym::parse("0123456789abcdef").expect("a pseudonym"),
            decision: &self.judgement.decision,
            evaluation: &self.judgement.evaluation,
            observed: &self.observed,
            signals: &self.signals,
            outcome: Outcome::Allowed,
            limit: None,
            fault: None,
            refused_for: None,
            judge: Duration::from_micros(3),
            waited: Duration::ZERO,
            total: Duration::from_micros(345),
            ended: self.gate.clock.now().tick,
        }
    }
}

/// Rules as policies have them, `n` of them in one script, asked by the compiled program.
#[divan::bench(args = RULES, sample_size = 100)]
fn rules_compiled(bencher: Bencher<'_, '_>, n: usize) {
    rules(bencher, n, Way::Compiled);
}

/// Fifty rules, one in ten of which hits.
#[divan::bench(args = WAYS, sample_size = 100)]
fn rules_one_in_ten_hits(bencher: Bencher<'_, '_>, way: &str) {
    let policy = load(generated(50, |i| i % 10 == 4));
    let (context, _) = policy.needs().read_recorded(&sample());
    assert_eq!(policy.evaluate(&context).reasons().count(), 5, "one in ten hits");
    bencher.bench(|| policy.evaluate_by(way_of(way), black_box(&context)));
}

/// The script of the reference policy.
#[divan::bench(args = WAYS, sample_size = 100)]
fn reference_script(bencher: Bencher<'_, '_>, way: &str) {
    let gate = Gate::with("reference");
    gate.located(&parts("browser"), |located| {
        let context = pipeline::enrich(located);
        bencher.bench(|| gate.snapshot.policy().evaluate_by(way_of(way), black_box(&context)));
    });
}

fn way_of(name: &str) -> Way {
    match name {
        "compiled" => Way::Compiled,
        _ => Way::Interpreted,
    }
}

/// The same rules, asked by the interpreter.
#[divan::bench(args = RULES)]
fn rules_interpreted(bencher: Bencher<'_, '_>, n: usize) {
    rules(bencher, n, Way::Interpreted);
}

fn rules(bencher: Bencher<'_, '_>, n: usize, way: Way) {
    let policy = load(generated(n, |_| false));
    let (context, _) = policy.needs().read_recorded(&sample());
    bencher.bench(|| policy.evaluate_by(way, black_box(&context)));
}

/// The same rules as somebody would write them in Rust, about plain fields.
#[divan::bench(args = RULES, sample_size = 100)]
fn rules_by_hand(bencher: Bencher<'_, '_>, n: usize) {
    let request = Fields {
        method: "GET".to_owned(),
        path: "/api/v1/orders/42".to_owned(),
        agent: "Mozilla/5.0 (X11; Linux x86_64)".to_owned(),
        country: "DE".to_owned(),
        size: 120,
        rate: 1.5,
    };
    let names: Vec<(String, String)> = (0..n).map(|i| (format!("/admin{i}"), format!("bot{i}"))).collect();
    bencher.bench(|| by_hand(black_box(&request), black_box(&names)));
}

struct Fields {
    method: String,
    path: String,
    agent: String,
    country: String,
    size: i64,
    rate: f64,
}

fn by_hand(request: &Fields, names: &[(String, String)]) -> i64 {
    let mut score = 0;
    for (i, (path, agent)) in names.iter().enumerate() {
        let i = i as i64;
        let hit = match i % 5 {
            0 => request.path.starts_with(path.as_str()) && request.method == "POST",
            1 => request.agent.contains(agent.as_str()),
            2 => matches!(request.country.as_str(), "KP" | "IR" | "RU") && request.size > i,
            3 => request.rate > 100.0 + i as f64,
            _ => request.size > 1_000_000 + i,
        };
        score += i64::from(hit);
    }
    score
}

/// The source of `n` rules; those that hit compare with something small.
fn generated(n: usize, hits: impl Fn(usize) -> bool) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("fn assess(req, risk) {\n    let agent = req.header(\"user-agent\");\n");
    for i in 0..n {
        let _ = match i % 5 {
            0 => writeln!(
                text,
                "if req.path.starts_with(\"/admin{i}\") && req.method == \"POST\" {{ risk.add(\"a.r{i}\", 1); }}"
            ),
            1 => writeln!(text, "if agent.contains(\"bot{i}\") {{ risk.add(\"a.r{i}\", 1); }}"),
            2 => writeln!(
                text,
                "if req.geo.country in [\"KP\", \"IR\", \"RU\"] && req.size > {i} {{ risk.add(\"a.r{i}\", 1); }}"
            ),
            3 => writeln!(text, "if req.client.rate > {}.0 {{ risk.add(\"a.r{i}\", 1); }}", 100 + i),
            _ => {
                let limit = if hits(i) { 10 } else { 1_000_000 };
                writeln!(text, "if req.size > {} {{ risk.add(\"a.r{i}\", 1); }}", limit + i)
            }
        };
    }
    text.push_str("}\n");
    text
}

fn load(text: String) -> Policy {
    let vocabulary = Vocabulary::standard();
    let terms =
        Terms { bounds: Bounds { operations: 100_000_000, ..Bounds::default() }, ..Terms::of(&vocabulary) };
    let policy = Policy::load(&[Script { path: "generated.rhai".into(), text }], &terms);
    let policy = policy.unwrap_or_else(|problems| fail(&problems));
    assert!(
        policy.rule_sets().iter().all(|rule_set| rule_set.interpreted().next().is_none()),
        "it is compiled"
    );
    policy
}

fn sample() -> serde_json::Map<String, serde_json::Value> {
    let sample = serde_json::json!({
        "method": "GET", "path": "/api/v1/orders/42", "header(user-agent)": "Mozilla/5.0 (X11; Linux x86_64)",
        "geo.country": "DE", "size": 120, "client.rate": 1.5,
    });
    sample.as_object().cloned().unwrap_or_default()
}

/// Everything but the sockets.
struct Gate {
    snapshot: Snapshot,
    traffic: Arc<Traffic>,
    setting: Setting,
    keys: Keyring,
    trusted: TrustedProxies,
    clock: Clock,
    route: RouteKey,
}

impl Gate {
    fn with(policy: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::env::set_current_dir(root).expect("the package's folder exists");
        let config = match policy {
            "shipped" => root.join("conf/riskgate.toml"),
            other => root.join("benches/load").join(other).join("riskgate.toml"),
        };
        let mut loaded =
            app::load(&config, Vocabulary::standard()).unwrap_or_else(|problems| fail(&problems));
        let snapshot = snapshot(&mut loaded.builder, loaded.clock);
        Self {
            snapshot,
            traffic: loaded.traffic,
            setting: loaded.setting,
            keys: Keyring::new(&Zeroizing::new([7; 32])),
            trusted: TrustedProxies::new(vec!["127.0.0.0/8".parse().expect("a network")]),
            clock: loaded.clock,
            route: RouteKey::named("default"),
        }
    }

    fn located(&self, parts: &http::request::Parts, then: impl FnOnce(&Located<'_>)) {
        self.located_at(parts, self.clock.now(), |located, _| then(located));
    }

    fn located_at(&self, parts: &http::request::Parts, now: Now, then: impl FnOnce(&Located<'_>, Now)) {
        let head = RequestHead::read(parts, Scheme::Http);
        let peer = PeerAddr::new(Some(([127, 0, 0, 1], 4711).into()));
        let lines = head.headers().get_all("x-forwarded-for").iter().map(|line| line.as_bytes());
        let ip = self.trusted.client_of(peer, ForwardHeader::XForwardedFor, lines);
        let client = ip.identify(Truncation::default(), &self.keys);
        let (route, secrets) = (self.route, &self.setting.secrets);
        let enquiry = Enquiry { head: &head, ip: &ip, client: &client, route, now, secrets, tls: None };
        then(&pipeline::locate(&self.snapshot, &self.traffic, enquiry), now);
    }
}

fn snapshot(builder: &mut Builder, clock: Clock) -> Snapshot {
    let sources = Sources::read(&builder.paths(), None, &|| clock.now().wall, &mut || ());
    let sources = sources.unwrap_or_else(|problems| fail(&problems));
    match builder.build(&sources).unwrap_or_else(|problems| fail(&problems)) {
        Built::Candidate(snapshot, _) => *snapshot,
        Built::ReadAgain => panic!("the configuration changed while it was read"),
    }
}

fn fail<T>(problems: &[impl std::fmt::Display]) -> T {
    panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn parts(kind: &str) -> http::request::Parts {
    let (method, uri, agent, address) = match kind {
        "browser" => ("GET", "/api/v1/orders/42?expand=lines", "Mozilla/5.0 (X11; Linux x86_64)", "8.8.8.8"),
        "login" => ("POST", "/login", "Mozilla/5.0 (X11; Linux x86_64)", "91.198.174.192"),
        _ => ("GET", "/admin/users", "sqlmap/1.7", "175.45.176.1"),
    };
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "api.example.com")
        .header("user-agent", agent)
        .header("accept", "application/json")
        .header("accept-language", "en")
        .header("authorization", "Bearer 3f1c2a")
        .header("x-forwarded-for", address);
    request.body(()).expect("a request").into_parts().0
}
