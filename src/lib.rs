//! riskgate: a programmable, privacy-first edge proxy for risk-based API access.
//!
//! It stands in front of APIs, judges every request with the operator's Rhai scripts, and lets it pass, slows it down
//! or refuses it. This page is the map of the house; the `docs` folder beside `src` tells the rest. Read
//! [`proxy`], then [`pipeline`], and you have followed a request.
//!
//! # The life of a request
//!
//! ```text
//!  accept -> identify -> enrich -> evaluate -> decide -> plan -> enforce -> (proxy) -> observe -> record
//!  RequestHead  Caller    Context  Evaluation  Decision  Plan   Sentence              counts     DecisionRecord
//! ```
//!
//! | step | where | what it makes |
//! |---|---|---|
//! | accept | [`Door`](proxy::door::Door) | a [`Connection`](proxy::door::Connection): peer, TLS session, fingerprint |
//! | read | [`RequestHead::read`](facts::request::RequestHead::read) | the head, borrowed and normalised |
//! | pin | [`Live::pin`](reload::Live::pin) | the one [`Snapshot`](snapshot::Snapshot) that this request sees |
//! | identify | [`Identity::identify`](proxy::Identity::identify) | a [`Caller`](proxy::Caller): the address for lists, a truncated [`Client`](facts::client::Client) for all else |
//! | enrich | [`pipeline::enrich`] | a [`RequestContext`](signals::RequestContext): the signals that the policy names, read once |
//! | evaluate | [`Policy::evaluate`](rules::Policy::evaluate) | an [`Evaluation`](decision::Evaluation): what every script said, and every error |
//! | decide | [`Rulebook::decide`](decision::Rulebook::decide) | a [`Decision`](decision::Decision): score, level, action, limits to pass |
//! | count | [`pipeline::count`] | first effect: statistics and the counters that scripts named |
//! | plan | [`pipeline::plan`] | a [`Plan`](pipeline::Plan): which limits, or a refusal |
//! | enforce | [`enforce::enforce`](proxy::enforce::enforce) | second effect: a [`Permit`](proxy::enforce::Permit), or an answer |
//! | observe | [`pipeline::observe`] | what scripts count once there is a response |
//! | record | [`Recorder::record`](record::Recorder::record) | third effect: a [`DecisionRecord`](record::DecisionRecord) |
//!
//! Evaluate and decide together are [`pipeline::judge`], which is pure: same snapshot and same context, same judgement.
//! Policy cases, `explain`, benches and a recorded log all judge with that very function.
//!
//! # The floors
//!
//! A file imports from lower floors or its own folder, never upward; a test checks it.
//!
//! | floor | modules | may use |
//! |---|---|---|
//! | 6 assembly | [`config`] [`cli`] [`app`] | anything |
//! | 5 edge: all IO | [`clock`] [`metrics`] [`record`] [`reload`] [`proxy`] [`admin`] [`scoreboard`] [`state`] | pingora, tokio, notify |
//! | 4 brain | [`snapshot`] [`pipeline`] [`cases`] [`explain`] | |
//! | 3 judgement | [`decision`] [`rules`] (sole owner of the scripting engine) | rhai |
//! | 2 vocabulary | [`signals`] (what scripts read) [`actions`] (what scripts say) | rhai's string type |
//! | 1 knowledge | [`geoip`] [`ip_list`] [`fingerprints`] [`traffic`] [`routes`] | maxminddb, prefix-trie, pingora-limits |
//! | 0 facts | [`facts`] [`workers`] (what a thread has for itself) | http, ipnet, serde, blake3, ring, ppp |
//!
//! # Where do I add ...
//!
//! | ... | write | and one line in |
//! |---|---|---|
//! | a signal | a constant in `signals/<family>.rs` | that file's `SIGNALS`; for a new family, [`Vocabulary::standard`](signals::Vocabulary::standard) |
//! | a signal of your own program | a [`Signal`](signals::Signal), as in `examples/embed.rs` | [`Vocabulary::with`](signals::Vocabulary::with) |
//! | a verb | `actions/<verb>.rs` | [`VERBS`](actions::VERBS); a new [`Say`](actions::Say) is weighed in `decision/decide.rs` |
//! | a function that scripts may call | | the tables of [`rules::functions`] |
//! | a rule | `scripts/<name>.rhai`, its cases in `scripts/cases` | |
//! | a configuration key | a constant in `config/<section>.rs` | that file's `LAYOUT`, `conf/riskgate.toml` |
//! | a configuration section | `config/<section>.rs` | `LAYOUTS` in `config/reference.rs`, [`Config`](config::Config) |
//! | an admin endpoint | `admin/<name>.rs` | `ENDPOINTS` in `admin/mod.rs` |
//! | a command | `cli/<name>.rs` | `Command` in `cli/mod.rs` |
//! | a metric | a field of [`Metrics`](metrics::Metrics) | its `collectors` |
//! | a field of the record | a field of [`DecisionRecord`](record::DecisionRecord) | its `write_json`, and the oracle in its tests |
//! | an answer's status | [`RefusalStatus`](proxy::refusal::RefusalStatus) | `proxy/enforce.rs`, which alone sends it |
//!
//! # Words
//!
//! *peer*: the other end of the TCP connection. *client*: who we believe it is. *signal*: a fact that a script may read.
//! *rule set*: one script. *reason*: one rule's say, with points. *evaluation*: all reasons and errors. *level*: low,
//! medium, high or critical. *action*: what policy wants. *plan*: what that means on the wire. *outcome*: what happened.
//! *record*: what we keep. *snapshot*: everything loaded, immutable. *generation*: its number. *counter*: events of one
//! kind for each key in a window. Actions are imperative (`Block`), outcomes past tense (`Blocked`).

// Floor 0, facts: what is true about a request.
pub mod facts;

// Floor 1, knowledge: what is known about addresses, hosts and the past.
pub mod fingerprints;
pub mod geoip;
pub mod ip_list;
pub mod routes;
pub mod traffic;

// Floor 2, vocabulary: what scripts read, and what they say.
pub mod actions;
pub mod signals;

// Floor 3, judgement: scripts, and what follows from what they said.
pub mod decision;
pub mod rules;

// Floor 4, brain: everything loaded, and the pure middle of a request's life.
pub mod cases;
pub mod explain;
pub mod pipeline;
pub mod snapshot;

// Floor 5, edge: all IO, and the only clock.
pub mod admin;
pub mod clock;
pub mod metrics;
pub mod proxy;
pub mod record;
pub mod reload;
pub mod scoreboard;
pub mod state;
pub mod workers;

// Floor 6, assembly: makes everything and joins it.
pub mod app;
pub mod cli;
pub mod config;
