//! `[countries]`: points for a country, and how many requests may come from all of it.

use std::collections::BTreeMap;

use super::kinds::{Number, PerSecond};
use super::limits::{FAIR, Limit, RATE, WINDOW, sharing};
use super::reader::{Document, Fallback, Key, Layout, Value};
use crate::facts::place::CountryCode;

/// What is said about one country.
#[derive(Clone, Debug, PartialEq)]
pub struct Country {
    /// Points, 0 to 100, that scripts read as `req.geo.weight`.
    pub weight: u8,
    /// How many requests may come from all of it.
    pub limit: Option<Limit>,
}

pub(super) const LAYOUT: Layout = Layout {
    table: "countries",
    heading: "[countries]",
    doc: "Two capital letters (ISO 3166-1, `ZZ` is unknown) to a weight and a limit: \
          `KP = { weight = 60, limit = 5 }`.",
    keys: &[&WEIGHT, &LIMIT, &WINDOW, &FAIR],
    reserved: &[],
};

const WEIGHT: Key<Number<u8>> = Key {
    name: "weight",
    kind: Number { from: 0, to: 100 },
    fallback: Fallback::Is("0"),
    doc: "Points, which scripts read as `req.geo.weight`.",
};

const LIMIT: Key<PerSecond> = Key {
    name: "limit",
    kind: RATE,
    fallback: Fallback::Absent,
    doc: "How many requests may come from the whole country.",
};

/// Reads `[countries]`.
pub(super) fn read(document: &Document<'_>) -> Option<BTreeMap<CountryCode, Country>> {
    let read = document.members(&LAYOUT)?.into_iter().map(|(name, value)| {
        let country = read_country(name.text, &value);
        let code = CountryCode::parse(name.text);
        match code.filter(|code| code.as_str() == name.text) {
            Some(code) => Some((code, country?)),
            None => {
                let hint = match code {
                    Some(code) => format!("write `{code}`"),
                    None => "use the two capital letters of ISO 3166-1, such as `DE`".into(),
                };
                let message = format!("`{}` is not a country code", name.text.escape_debug());
                document.source.error(Some(name.span), message, Some(hint));
                None
            }
        }
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn read_country(name: &str, value: &Value<'_>) -> Option<Country> {
    if value.toml().is_integer() {
        let hint = format!("write `{0} = {{ weight = ... }}`", name.escape_debug());
        return value.refuse(format!("{} must be a table", value.subject()), Some(hint));
    }
    let section = value.section(&LAYOUT, format!("[countries] {}", name.escape_debug()))?;
    let (weight, rate) = (section.read(&WEIGHT), section.optional(&LIMIT));
    let (window, sharing) = (section.optional(&WINDOW), sharing(&section));
    let (rate, window, sharing) = (rate?, window?, sharing?);
    let aimless = |name: &str| {
        let message = format!("`{name}` without `limit` has no meaning");
        (message, format!("add `limit`, or remove `{name}`"))
    };
    match (rate, window, sharing) {
        (Some(rate), window, sharing) => {
            Some(Country { weight: weight?, limit: Some(Limit { rate, window, sharing }) })
        }
        (None, None, None) => Some(Country { weight: weight?, limit: None }),
        (None, Some(_), _) => {
            let (message, hint) = aimless("window");
            section.complain(&WINDOW, message, hint);
            None
        }
        (None, None, Some(_)) => {
            let (message, hint) = aimless("fair");
            section.complain(&FAIR, message, hint);
            None
        }
    }
}
