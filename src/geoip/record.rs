//! What a record of a database says: the shapes that vendors use, read into the one fact we want.
//!
//! Records are read leniently (a field of another type or an unknown field says nothing) but must be well
//! formed: a record that cannot be decoded refuses the whole file.

use std::fmt;
use std::hash::Hash;

use maxminddb::{LookupResult, MaxMindDbError};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::facts::place::{Asn, CountryCode};

/// A fact that a database holds about networks.
pub(super) trait Fact: Copy + Eq + Hash + fmt::Debug {
    /// What is said of a network that the database does not know.
    const UNKNOWN: Self;
    /// What the operator calls it.
    const NAME: &'static str;
    /// What to do about a database without it.
    const HINT: &'static str;

    /// The fact in one record; `UNKNOWN` if the record does not say.
    fn of(record: &LookupResult<'_, Vec<u8>>) -> Result<Self, MaxMindDbError>;
}

impl Fact for CountryCode {
    const UNKNOWN: Self = CountryCode::UNKNOWN;
    const NAME: &'static str = "country";
    const HINT: &'static str = "records need `country.iso_code` or `country_code`; \
        a database of networks belongs under `asn` in `[geoip]`";

    fn of(record: &LookupResult<'_, Vec<u8>>) -> Result<Self, MaxMindDbError> {
        let record: CountryRecord<'_> = record.decode()?.unwrap_or_default();
        Ok([record.country, record.country_code, record.registered_country]
            .iter()
            .find_map(Field::country)
            .unwrap_or(CountryCode::UNKNOWN))
    }
}

impl Fact for Asn {
    const UNKNOWN: Self = Asn::UNKNOWN;
    const NAME: &'static str = "autonomous system";
    const HINT: &'static str = "records need `autonomous_system_number`, `as_number` or `asn`; \
        a database of countries belongs under `country` in `[geoip]`";

    fn of(record: &LookupResult<'_, Vec<u8>>) -> Result<Self, MaxMindDbError> {
        let record: AsnRecord<'_> = record.decode()?.unwrap_or_default();
        Ok([record.autonomous_system_number, record.as_number, record.asn]
            .iter()
            .find_map(Field::asn)
            .unwrap_or(Asn::UNKNOWN))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CountryRecord<'a> {
    #[serde(borrow)]
    country: Field<'a>,
    #[serde(borrow)]
    country_code: Field<'a>,
    #[serde(borrow)]
    registered_country: Field<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AsnRecord<'a> {
    #[serde(borrow)]
    autonomous_system_number: Field<'a>,
    #[serde(borrow)]
    as_number: Field<'a>,
    #[serde(borrow)]
    asn: Field<'a>,
}

/// A field of a record, whatever type a vendor gave it.
#[derive(Clone, Copy, Default)]
enum Field<'a> {
    /// A text, or the `iso_code` of a map.
    Text(&'a str),
    Number(u64),
    #[default]
    Silent,
}

impl Field<'_> {
    fn country(&self) -> Option<CountryCode> {
        match self {
            Self::Text(text) => CountryCode::parse(text),
            Self::Number(_) | Self::Silent => None,
        }
    }

    fn asn(&self) -> Option<Asn> {
        match self {
            Self::Number(number) => u32::try_from(*number).ok(),
            Self::Text(text) => {
                let digits = text.strip_prefix("AS").or(text.strip_prefix("as")).unwrap_or(text);
                digits.parse().ok()
            }
            Self::Silent => None,
        }
        .map(Asn::new)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a map with `iso_code`")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Field::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(Field::Silent, Field::Number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(Field::Silent, Field::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field::Silent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Silent)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
        Ok(Field::Silent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Silent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut field = Field::Silent;
        while let Some(key) = entries.next_key::<&str>()? {
            if key == "iso_code" {
                field = Field::Text(entries.next_value()?);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(field)
    }
}
