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
