//! From configuration to levels and limits: how scripts are weighed, and every limit that can be demanded.

use crate::config::{
    Config, Level as LevelSetting, LevelAction as LevelActionSetting, Limit as LimitSetting,
};
use crate::decision::{Level, LevelAction, Levels, Rulebook};
use crate::rules::Policy;
use crate::signals::Text;
use crate::traffic::{Interval, LimitSpec, Per, Rate};

/// The limit that counts whole countries, unless one has a window of its own.
const COUNTRY_LIMIT: &str = "country";

/// How scripts are weighed.
pub(super) fn rulebook(config: &Config) -> Rulebook {
    let mut levels = Levels::default();
    let settings = &config.levels;
    for (level, LevelSetting { from, action }) in [
        (Level::Medium, &settings.medium),
        (Level::High, &settings.high),
        (Level::Critical, &settings.critical),
    ] {
        // The configuration was refused if thresholds do not rise.
        let _ = levels.begin(level, *from, level_action(*action));
    }
    let limits = config.countries.iter().filter_map(|(code, country)| {
        let limit = country.limit?;
        let name: Text = match (limit.window, limit.sharing) {
            (None, None) => COUNTRY_LIMIT.into(),
            (Some(_), _) | (_, Some(_)) => format!("{COUNTRY_LIMIT}.{code}").into(),
        };
        Some((*code, name, Rate::new(limit.rate).ok()?))
    });
    Rulebook { levels, on_error: config.policy.on_error, country_limits: limits.collect() }
}

/// Every limit that can be demanded: by scripts, levels and countries. `default` is the window of those that have none
/// of their own.
pub(super) fn specs(
    config: &Config,
    default: Interval,
    policy: &Policy,
    rulebook: &Rulebook,
) -> Vec<LimitSpec> {
    let interval =
        |window: Option<std::time::Duration>| window.map_or(Ok(default), Interval::new).unwrap_or(default);
    let spec = |name: &str, per, limit: Option<LimitSetting>| LimitSpec {
        name: name.to_owned(),
        per,
        window: interval(limit.and_then(|limit| limit.window)),
        sharing: limit.and_then(|limit| limit.sharing).unwrap_or(config.traffic.sharing),
    };
    let scripts = policy.rule_sets().iter().flat_map(crate::rules::RuleSet::throttles);
    let mut specs: Vec<LimitSpec> = scripts.map(|(reason, per)| spec(reason, per, None)).collect();
    let settings = &config.levels;
    for (level, setting) in [
        (Level::Medium, &settings.medium),
        (Level::High, &settings.high),
        (Level::Critical, &settings.critical),
    ] {
        if let LevelActionSetting::Throttle { per, limit } = setting.action {
            specs.push(spec(level.limit_name(), per, Some(limit)));
        }
    }
    for (code, name, _) in &rulebook.country_limits {
        let limit = config.countries.get(code).and_then(|country| country.limit);
        specs.push(spec(name, Per::Country, limit));
    }
    specs.sort_by(|a, b| (&a.name, a.per).cmp(&(&b.name, b.per)));
    specs.dedup();
    specs
}

fn level_action(setting: LevelActionSetting) -> LevelAction {
    match setting {
        LevelActionSetting::Allow => LevelAction::Allow,
        LevelActionSetting::Block => LevelAction::Block,
        // The configuration holds no other rates; should one slip through, refusing is the safe side.
        LevelActionSetting::Throttle { per, limit } => {
            Rate::new(limit.rate).map_or(LevelAction::Block, |rate| LevelAction::Throttle { per, rate })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rules::{Script, Terms};
    use crate::signals::Vocabulary;
    use crate::traffic::Sharing;

    const SMALLEST: &str = "[[listener]]\naddress = \"127.0.0.1:8080\"\n[[route]]\nupstream = \"origin\"\n\
                            [upstream.origin]\nbuiltin = true\n";
    const SCRIPT: &str = "fn assess(req, risk) { risk.throttle(\"a.slow\", \"route\", 5); }";

    /// The name of each limit that clients share, and whether they share it fairly.
    fn shared(text: &str) -> Vec<(String, bool)> {
        let config = Config::parse(Path::new("riskgate.toml"), &format!("{SMALLEST}{text}")).unwrap();
        let vocabulary = Vocabulary::standard();
        let script = Script { path: "t.rhai".into(), text: SCRIPT.into() };
        let policy = Policy::load(&[script], &Terms::of(&vocabulary)).unwrap();
        let specs = specs(&config, Interval::TEN_SECONDS, &policy, &rulebook(&config));
        let shared = specs.into_iter().filter(|spec| spec.per != Per::Client);
        shared.map(|spec| (spec.name, spec.sharing == Sharing::Fair)).collect()
    }

    #[test]
    fn a_limit_is_fair_unless_it_or_all_are_said_not_to_be() {
        let own = |country: &str, level: &str| {
            format!(
                "[countries]\nKP = {{ limit = 5{country} }}\n[levels]\n\
                 high = {{ from = 70, action = \"throttle\", per = \"asn\", rate = 2{level} }}\n"
            )
        };
        let (fair, not, none) = (", fair = true", ", fair = false", "[traffic]\nfair = false\n");
        for (text, expected) in [
            (own("", ""), [("a.slow", true), ("country", true), ("level.high", true)]),
            (own(not, ""), [("a.slow", true), ("country.KP", false), ("level.high", true)]),
            (own("", not), [("a.slow", true), ("country", true), ("level.high", false)]),
            (own("", "") + none, [("a.slow", false), ("country", false), ("level.high", false)]),
            (own(fair, fair) + none, [("a.slow", false), ("country.KP", true), ("level.high", true)]),
        ] {
            assert_eq!(shared(&text), expected.map(|(name, fair)| (name.to_owned(), fair)), "{text}");
        }
    }
}
