//! `[levels]`: from which score on a request is medium, high or critical, and what then happens to it.

use super::kinds::{Number, OneOf};
use super::limits::{FAIR, Limit, PER, Per, RATE, WINDOW, sharing};
use super::reader::{Document, Fallback, Key, Kind, Layout, Section, Value};
use super::source::Span;
use crate::facts::problem::nearest;

/// What each score means; below `medium` it is low, and nothing happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// Worth slowing down.
    pub medium: Level,
    /// Probably unwanted.
    pub high: Level,
    /// Unwanted.
    pub critical: Level,
}

/// One level.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// The lowest score that has it, 1 to 100.
    pub from: u8,
    /// What happens to such a request.
    pub action: LevelAction,
}

/// What a level does to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LevelAction {
    /// Nothing.
    Allow,
    /// It passes while its kin stay under the limit.
    Throttle {
        /// Whose requests count together.
        per: Per,
        /// How many may pass.
        limit: Limit,
    },
    /// It is refused.
    Block,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Allow,
    Throttle,
    Block,
}

/// The words for [`Verb`], with one that this version refuses in words of its own.
struct Action;

pub(super) const LAYOUT: Layout = Layout {
    table: "levels",
    heading: "[levels]",
    doc: "From score to level to action: `medium`, `high` and `critical`, in ascending order. Without them: \
          `medium` from 40 throttles each client to 5 requests per second, `high` from 70 throttles the whole \
          country to 20, `critical` from 90 blocks.",
    keys: &[&FROM, &ACTION, &PER_KEY, &RATE_KEY, &WINDOW, &FAIR],
    reserved: &[],
};

const FROM: Key<Number<u8>> = Key {
    name: "from",
    kind: Number { from: 1, to: 100 },
    fallback: Fallback::Required,
    doc: "The lowest score that has this level.",
};

const ACTION: Key<Action> = Key {
    name: "action",
    kind: Action,
    fallback: Fallback::Required,
    doc: "What happens to such a request, unless a script says something more severe.",
};

const PER_KEY: Key<OneOf<Per>> = Key {
    name: "per",
    kind: PER,
    fallback: Fallback::Absent,
    doc: "For `throttle`: whose requests count together.",
};

const RATE_KEY: Key<super::kinds::PerSecond> =
    Key { name: "rate", kind: RATE, fallback: Fallback::Absent, doc: "For `throttle`: how many may pass." };

const VERBS: OneOf<Verb> =
    OneOf(&[("allow", Verb::Allow), ("throttle", Verb::Throttle), ("block", Verb::Block)]);

const NAMES: [&str; 3] = ["medium", "high", "critical"];

/// Reads `[levels]`.
pub(super) fn read(document: &Document<'_>) -> Option<Levels> {
    let mut found: [Option<(Level, Option<Span>)>; 3] = default_levels().map(|level| Some((level, None)));
    for (name, value) in document.members(&LAYOUT)? {
        let place = found.iter_mut().zip(NAMES).find(|(_, known)| *known == name.text);
        match place {
            Some((level, _)) => *level = read_level(name.text, &value).map(|read| (read, Some(value.span()))),
            None => unknown_level(document, name.text, name.span),
        }
    }
    let [medium, high, critical] = found;
    let (medium, high, critical) = (medium?, high?, critical?);
    let ascending = [(&medium, &high, 0), (&high, &critical, 1)]
        .map(|(lower, upper, at)| is_ascending(document, lower, upper, at));
    let (medium, high, critical) = (medium.0, high.0, critical.0);
    (ascending == [true, true]).then_some(Levels { medium, high, critical })
}

fn default_levels() -> [Level; 3] {
    let throttle =
        |per, rate| LevelAction::Throttle { per, limit: Limit { rate, window: None, sharing: None } };
    [
        Level { from: 40, action: throttle(Per::Client, 5.0) },
        Level { from: 70, action: throttle(Per::Country, 20.0) },
        Level { from: 90, action: LevelAction::Block },
    ]
}

fn read_level(name: &str, value: &Value<'_>) -> Option<Level> {
    let section = value.section(&LAYOUT, format!("[levels] {name}"))?;
    let (from, verb) = (section.read(&FROM), section.read(&ACTION));
    let (per, rate) = (section.optional(&PER_KEY), section.optional(&RATE_KEY));
    let (window, sharing) = (section.optional(&WINDOW), sharing(&section));
    let (verb, per, rate, window, sharing) = (verb?, per?, rate?, window?, sharing?);
    let action = match (verb, per, rate) {
        (Verb::Throttle, Some(Per::Client), Some(_)) if sharing.is_some() => {
            let message =
                format!("level `{name}` counts each client by itself, which leaves nothing to share");
            section.complain(&FAIR, message, "remove `fair`, or count `per` country, asn or route");
            return None;
        }
        (Verb::Throttle, Some(per), Some(rate)) => {
            LevelAction::Throttle { per, limit: Limit { rate, window, sharing } }
        }
        (Verb::Throttle, _, _) => {
            let message = format!("level `{name}` throttles, but does not say how much");
            let hint = "add `per` and `rate`: `per = \"client\", rate = 5`";
            section.complain(&ACTION, message, hint);
            return None;
        }
        (Verb::Allow, ..) => LevelAction::Allow,
        (Verb::Block, ..) => LevelAction::Block,
    };
    if verb != Verb::Throttle && limits(&section) {
        let message = format!("level `{name}` has a limit, but does not throttle");
        section.complain(
            &ACTION,
            message,
            "write `action = \"throttle\"`, or remove `per`, `rate`, `window` and `fair`",
        );
        return None;
    }
    Some(Level { from: from?, action })
}

fn limits(section: &Section<'_>) -> bool {
    section.has(&PER_KEY) || section.has(&RATE_KEY) || section.has(&WINDOW) || section.has(&FAIR)
}

fn is_ascending(
    document: &Document<'_>,
    (lower, lower_at): &(Level, Option<Span>),
    (upper, upper_at): &(Level, Option<Span>),
    at: usize,
) -> bool {
    if lower.from < upper.from {
        return true;
    }
    let [lower_name, upper_name] =
        NAMES.get(at..at + 2).and_then(|pair| pair.try_into().ok()).unwrap_or([""; 2]);
    let default = |span: &Option<Span>| if span.is_some() { "" } else { " (the default)" };
    let message = format!(
        "level `{upper_name}` starts at {}{}, which is not above `{lower_name}` at {}{}",
        upper.from,
        default(upper_at),
        lower.from,
        default(lower_at),
    );
    let hint = format!("let `{upper_name}` start above {}", lower.from);
    document.source.error(upper_at.clone().or_else(|| lower_at.clone()), message, Some(hint));
    false
}

fn unknown_level(document: &Document<'_>, name: &str, span: Span) {
    let (message, hint) = match (name, nearest(name, NAMES)) {
        ("low", _) => {
            ("level `low` is every score below `medium` and cannot be changed".into(), "remove it".into())
        }
        (_, Some(near)) => {
            (format!("unknown level `{}`", name.escape_debug()), format!("did you mean `{near}`?"))
        }
        (_, None) => {
            let hint = "the levels are `medium`, `high` and `critical`".into();
            (format!("unknown level `{}`", name.escape_debug()), hint)
        }
    };
    document.source.error(Some(span), message, Some(hint));
}

impl Kind for Action {
    type Value = Verb;

    fn expects(&self) -> String {
        VERBS.expects()
    }

    fn read(&self, value: &Value<'_>) -> Option<Verb> {
        if value.toml().as_str() == Some("challenge") {
            let hint = "use `throttle` or `block`".to_owned();
            return value.refuse("this version cannot challenge a client yet", Some(hint));
        }
        VERBS.read(value)
    }
}
