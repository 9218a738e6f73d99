//! The interpreter as oracle: random programs and random requests, judged both ways.
//!
//! `RISKGATE_ORACLE_PROGRAMS` sets how many programs are made; each is asked about several requests.

mod random;
mod writer;

use serde_json::{Value as Json, json};

use crate::decision::{Evaluation, Spoken};
use crate::rules::sandbox::Bounds;
use crate::rules::{Policy, Script, Terms, Way};
use crate::signals::Vocabulary;
use random::{INTS, Random, TEXTS};
use writer::Writer;

/// Programs in a normal test run.
const PROGRAMS: u64 = 1_500;
const REQUESTS: u64 = 4;

#[test]
fn compiled_and_interpreted_scripts_say_the_same() {
    let programs = std::env::var("RISKGATE_ORACLE_PROGRAMS").ok().and_then(|text| text.parse().ok());
    let programs = programs.unwrap_or(PROGRAMS);
    let (mut refused, mut failed, mut said) = (0, 0, 0);
    for seed in 0..programs {
        let text = Writer::new(seed).program();
        let policy = match load(&text) {
            Ok(policy) => policy,
            // Constants that are no rate or no points are found at load, and rightly so.
            Err(problems)
                if problems.iter().all(|p| p.contains("is no limit") || p.contains("not a finite")) =>
            {
                refused += 1;
                continue;
            }
            Err(problems) => panic!("seed {seed}: {problems:#?}\n{text}"),
        };
        assert_eq!(policy.rule_sets()[0].kept(), None, "seed {seed}\n{text}");
        for request in 0..REQUESTS {
            let signals = signals(&mut Random(seed.wrapping_mul(31) + request));
            let (context, _) = policy.needs().read_recorded(signals.as_object().unwrap());
            let compiled = policy.evaluate_by(Way::Compiled, &context);
            let interpreted = policy.evaluate_by(Way::Interpreted, &context);
            assert!(
                same(&compiled, &interpreted),
                "seed {seed}\n{text}\n{context:?}\n{compiled:#?}\n{interpreted:#?}"
            );
            failed += compiled.errors().count() as u64;
            said += compiled.reasons().count() as u64;
        }
    }
    // A test in which nothing is said and nothing fails would prove nothing.
    let enough = refused < programs / 10 && failed > programs / 20 && said > programs / 3;
    assert!(enough, "{refused} refused, {failed} failures, {said} reasons");
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
    let terms = Terms {
        vocabulary: &Vocabulary::standard(),
        lists: &["blocklist".to_owned()],
        counters: &["hits".to_owned()],
        observe_only: &[],
        always: &[],
        bounds: Bounds::default(),
    };
    let script = Script { path: "oracle.rhai".into(), text: text.to_owned() };
    Policy::load(&[script], &terms).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn signals(random: &mut Random) -> Json {
    json!({
        "method": random.pick(&TEXTS), "path": random.pick(&TEXTS), "geo.country": random.pick(&TEXTS),
        "header(user-agent)": random.pick(&TEXTS), "header(accept)": random.pick(&TEXTS),
        "size": random.pick(&INTS), "geo.weight": random.pick(&INTS), "count(hits)": random.pick(&INTS),
        "time.hour": random.below(24),
        "client.rate": random.below(100) as f64 / 4.0, "geo.rate": random.below(9) as f64,
        "client.listed(blocklist)": random.below(2) == 0, "has_header(accept)": random.below(2) == 0,
    })
}
