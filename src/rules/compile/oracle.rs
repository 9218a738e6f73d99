//! The interpreter as oracle: random programs, requests and responses, judged both ways.
//!
//! A program is made of random choices, and so are requests: what fails is shrunk to few choices and shown as text. The
//! slow profile makes many more of them, and other ones in each run.

mod conditions;
mod random;
mod writer;

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::{Value as Json, json};

use crate::decision::{Evaluation, Spoken};
use crate::rules::{Policy, Script, Terms, Way};
use crate::signals::Vocabulary;
use random::{INTS, Random, TEXTS};
use writer::Writer;

const REQUESTS: usize = 4;

#[test]
fn compiled_and_interpreted_scripts_say_the_same() {
    hold_against_each_other(500, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
}

#[test]
#[ignore = "takes minutes; run it with `cargo test --release --lib oracle -- --ignored`"]
fn a_hundred_thousand_random_judgements_are_the_same_both_ways() {
    hold_against_each_other(30_000, TestRng::from_seed(RngAlgorithm::ChaCha, &rand_seed()));
}

/// Another seed each time: what was found once is shown in full, and belongs into a test of its own.
fn rand_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    seed
}

fn hold_against_each_other(programs: u32, rng: TestRng) {
    let config =
        Config { cases: programs, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let strategy = (vec(any::<u16>(), 0..900), vec(vec(any::<u16>(), 0..24), REQUESTS));
    let tally = Tally::default();
    let result = TestRunner::new_with_rng(config, rng)
        .run(&strategy, |(choices, requests)| one_program(choices, requests, &tally));
    match result {
        Ok(()) => {}
        // The choices themselves mean nothing to anybody.
        Err(TestError::Fail(reason, _)) => panic!("{reason}"),
        Err(TestError::Abort(reason)) => panic!("gave up: {reason}"),
    }
    // A test in which nothing is said and nothing fails would prove nothing.
    let programs = u64::from(programs);
    assert!(tally.refused.get() < programs / 10, "{tally:?}");
    assert!(tally.compiled.get() > programs * 2 / 3, "{tally:?}");
    assert!(tally.failed.get() > programs / 20 && tally.said.get() > programs / 3, "{tally:?}");
}

#[derive(Debug, Default)]
struct Tally {
    refused: Cell<u64>,
    compiled: Cell<u64>,
    failed: Cell<u64>,
    said: Cell<u64>,
}

fn add(to: &Cell<u64>, count: usize) {
    to.set(to.get() + count as u64);
}

fn one_program(choices: Vec<u16>, requests: Vec<Vec<u16>>, tally: &Tally) -> Result<(), TestCaseError> {
    let text = Writer::new(Random::new(choices)).program();
    let policy = match load(&text) {
        Ok(policy) => policy,
        // Constants that are no rate or no points are found at load, and rightly so.
        Err(problems) if problems.iter().all(|p| p.contains("is no limit") || p.contains("not a finite")) => {
            add(&tally.refused, 1);
            return Ok(());
        }
        Err(problems) => return Err(TestCaseError::fail(format!("{problems:#?}\n{text}"))),
    };
    let kept: Vec<_> = policy.rule_sets()[0].interpreted().collect();
    let is_slow = |construct: &str| construct.contains("`slow`") || construct.contains("that call it");
    if kept.iter().any(|(function, kept)| *function != "slow(n, t)" && !is_slow(&kept.construct)) {
        return Err(TestCaseError::fail(format!("interpreted: {kept:?}\n{text}")));
    }
    add(&tally.compiled, usize::from(kept.len() < 2));
    for choices in requests {
        let random = &mut Random::new(choices);
        let (request, response) = (request(random), response(random));
        let (context, _) = policy.needs().read_recorded(request.as_object().unwrap());
        let (answer, _) = policy.response_needs.read_recorded(response.as_object().unwrap());
        let judged = [Way::Compiled, Way::Interpreted].map(|way| policy.evaluate_by(way, &context));
        let observed = [Way::Compiled, Way::Interpreted].map(|way| policy.observe_by(way, &context, &answer));
        for [compiled, interpreted] in [&judged, &observed] {
            if !same(compiled, interpreted) {
                return Err(TestCaseError::fail(format!(
                    "they differ\n{text}\nrequest {context:?}\nresponse {answer:?}\n\
                     compiled {compiled:#?}\ninterpreted {interpreted:#?}"
                )));
            }
            add(&tally.failed, compiled.errors().count());
            add(&tally.said, compiled.reasons().count());
        }
    }
    Ok(())
}

/// The same says; or the same error at the same place.
fn same(compiled: &Evaluation, interpreted: &Evaluation) -> bool {
    let (left, right) = (compiled.outcomes(), interpreted.outcomes());
    let as_many = left.len() == right.len() && compiled.asked() == interpreted.asked();
    as_many
        && left.iter().zip(right).all(|(left, right)| match (&left.spoken, &right.spoken) {
            (Spoken::Whole(left), Spoken::Whole(right)) => {
                left == right || format!("{left:?}") == format!("{right:?}")
            }
            (Spoken::Failed(left), Spoken::Failed(right)) => left == right,
            (Spoken::Whole(_), Spoken::Failed(_)) | (Spoken::Failed(_), Spoken::Whole(_)) => false,
        })
}

fn load(text: &str) -> Result<Policy, Vec<String>> {
    let vocabulary = Vocabulary::standard();
    let terms = Terms {
        lists: &["blocklist".to_owned()],
        caps: &["slots".to_owned()],
        counters: &["hits".into(), "login".into(), crate::rules::Declared::distinct("paths")],
        ..Terms::of(&vocabulary)
    };
    let script = Script { path: "oracle.rhai".into(), text: text.to_owned() };
    Policy::load(&[script], &terms).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn request(random: &mut Random) -> Json {
    json!({
        "method": random.pick(&TEXTS), "path": random.pick(&TEXTS), "geo.country": random.pick(&TEXTS),
        "header(user-agent)": random.pick(&TEXTS), "header(accept)": random.pick(&TEXTS),
        "header(*)": { "a": random.pick(&TEXTS), "login": "x" },
        "size": random.pick(&INTS), "geo.weight": random.pick(&INTS), "count(hits)": random.pick(&INTS),
        "time.hour": random.below(24),
        "client.rate": random.below(100) as f64 / 4.0, "geo.rate": random.below(9) as f64,
        "client.listed(blocklist)": random.below(2) == 0, "has_header(accept)": random.below(2) == 0,
    })
}

fn response(random: &mut Random) -> Json {
    json!({
        "status": random.pick(&[0, 200, 401, 503]), "size": random.pick(&INTS),
        "duration": random.below(100) as f64 / 8.0, "from_origin": random.below(2) == 0,
        "header(server)": random.pick(&TEXTS), "header(*)": { "x": random.pick(&TEXTS), "login": "y" },
    })
}
