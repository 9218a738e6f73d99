//! A surge, to be told: a country or a route that sends far more than is usual for it.

use std::sync::Arc;
use std::time::Duration;

use super::baseline::{Pulse, Turn, lasted};
use crate::facts::place::CountryCode;

/// What may surge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A country.
    Country(CountryCode),
    /// A configured route, by its name.
    Route(Arc<str>),
}

/// How far a surge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was not there before.
    Began,
    /// It goes on.
    Lasts,
    /// A minute was quiet.
    Ended,
    /// It went on for three days: what is usual is learned anew.
    Accepted,
}

/// One surge.
#[derive(Clone, Debug, PartialEq)]
pub struct Surge {
    /// Who surges.
    pub source: Source,
    /// How far it is.
    pub stage: Stage,
    /// How busy it is.
    pub pulse: Pulse,
    /// For how long it has lasted, to ten seconds.
    pub lasted: Duration,
}

impl Surge {
    pub(super) fn new(source: Source, turn: Turn, pulse: Pulse) -> Self {
        let (stage, intervals) = match turn {
            Turn::Began => (Stage::Began, 0),
            Turn::Lasts { intervals } => (Stage::Lasts, intervals),
            Turn::Ended { intervals } => (Stage::Ended, intervals),
            Turn::Accepted { intervals } => (Stage::Accepted, intervals),
        };
        Self { source, stage, pulse, lasted: lasted(intervals) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{at, subject};
    use super::super::{Pulse, RouteKey, Secret, Settings, Shape, Traffic};
    use super::*;
    use crate::facts::time::{Now, Wall};

    fn traffic(routes: &[&str]) -> Traffic {
        let shape = Shape::new(1_024).unwrap();
        let settings = Settings { keys: shape, counter_slots: 1_024, ..Settings::default() };
        Traffic::with_routes(settings, Secret::known(), routes.iter().copied(), at(0.0))
    }

    /// So many requests from Germany, on `*/`, in each step of five seconds.
    fn run(traffic: &Traffic, from: u32, seconds: u32, requests: u32) -> Vec<Surge> {
        let mut told = Vec::new();
        for second in (from + 5..=from + seconds).step_by(5) {
            let tick = at(f64::from(second));
            (0..requests).for_each(|n| traffic.offer(&subject("DE", n), tick));
            traffic.rotate(tick);
            told.extend(traffic.learn(Now { tick, wall: Wall::from_millis(u64::from(second) * 1_000) }));
        }
        told.retain(|surge| surge.stage != Stage::Lasts);
        told
    }

    #[test]
    fn a_surge_is_told_of_the_country_and_of_the_route_from_its_beginning_to_its_end() {
        let traffic = traffic(&["*/", "other"]);
        assert_eq!(run(&traffic, 0, 3_600, 5), []);
        let began = run(&traffic, 3_600, 15, 300);
        let sources: Vec<&Source> = began.iter().map(|surge| &surge.source).collect();
        let country = CountryCode::parse("DE").unwrap();
        assert_eq!(sources, [&Source::Country(country), &Source::Route("*/".into())]);
        assert!(began.iter().all(|surge| surge.stage == Stage::Began && surge.lasted == Duration::ZERO));
        assert_eq!(traffic.surges(at(3_615.0)).len(), 2);
        assert!(traffic.route(RouteKey::named("*/"), at(3_615.0)).anomaly >= 8.0);
        assert_eq!(traffic.route(RouteKey::named("unheard"), at(3_615.0)), Pulse::NONE);
        let ended = run(&traffic, 3_615, 180, 5);
        assert_eq!(ended.len(), 2);
        assert!(
            ended.iter().all(|surge| surge.stage == Stage::Ended && surge.lasted >= Duration::from_secs(60))
        );
        assert_eq!(traffic.surges(at(3_795.0)), []);
    }

    #[test]
    fn what_was_learned_survives_a_restart_and_nonsense_changes_nothing() {
        let before = traffic(&["*/"]);
        run(&before, 0, 3_600, 5);
        let (wall, germany) = (Wall::from_millis(3_600_000), CountryCode::parse("DE").unwrap());
        let memory = before.memory_of_usual(wall);
        assert_eq!(memory.known(), (1, 1));

        let after = traffic(&["new", "*/"]);
        let mut text = serde_json::to_value(&memory).unwrap();
        let forged = text.to_string().replace("\"DE\"", "\"d1\"");
        assert!(after.recall(&serde_json::from_str(&forged).unwrap(), wall).is_err());
        text["routes"]["watched"] = serde_json::json!([]);
        assert!(after.recall(&serde_json::from_value(text).unwrap(), wall).is_err());
        assert_eq!(after.country(germany, at(0.0)).usual, 0.0);

        after.recall(&memory, wall).unwrap();
        assert!((after.country(germany, at(0.0)).usual - 1.0).abs() < 0.05);
        assert!((after.route(RouteKey::named("*/"), at(0.0)).usual - 1.0).abs() < 0.05);
        assert_eq!(after.route(RouteKey::named("new"), at(0.0)).usual, 0.0);
    }
}
