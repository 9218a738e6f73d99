//! Which continent a country lies on.
//!
//! One table from country codes to the seven continents as GeoNames divides them (Russia and Cyprus in Europe,
//! Turkey and Kazakhstan in Asia, Central America and the Caribbean in North America). A code without a country
//! lies nowhere: [`Continent::Unknown`].

use std::fmt;

use super::place::CountryCode;

/// A continent; shown as the two letters that scripts compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Continent {
    /// `AF`
    Africa,
    /// `AN`
    Antarctica,
    /// `AS`
    Asia,
    /// `EU`
    Europe,
    /// `NA`
    NorthAmerica,
    /// `OC`
    Oceania,
    /// `SA`
    SouthAmerica,
    /// `ZZ`: the country is unknown, or its code belongs to no country.
    #[default]
    Unknown,
}

const AFRICA: &str = "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG \
    ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW";
const ANTARCTICA: &str = "AQ BV GS HM TF";
const ASIA: &str = "AE AF AM AZ BD BH BN BT CC CN CX GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM \
    MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE";
const EUROPE: &str = "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI \
    LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK";
const NORTH_AMERICA: &str = "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS \
    MX NI PA PM PR SV SX TC TT US VC VG VI";
const OCEANIA: &str = "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS";
const SOUTH_AMERICA: &str = "AR BO BR CL CO EC FK GF GY PE PY SR UY VE";

/// By [`CountryCode::index`].
const TABLE: [Continent; CountryCode::COUNT] = table();

impl CountryCode {
    /// The continent that the country lies on.
    pub fn continent(self) -> Continent {
        TABLE.get(self.index()).copied().unwrap_or_default()
    }
}

impl Continent {
    /// The two letters: `AF`, `AN`, `AS`, `EU`, `NA`, `OC`, `SA`, or `ZZ`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Africa => "AF",
            Self::Antarctica => "AN",
            Self::Asia => "AS",
            Self::Europe => "EU",
            Self::NorthAmerica => "NA",
            Self::Oceania => "OC",
            Self::SouthAmerica => "SA",
            Self::Unknown => "ZZ",
        }
    }
}

impl fmt::Display for Continent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const fn table() -> [Continent; CountryCode::COUNT] {
    let table = [Continent::Unknown; CountryCode::COUNT];
    let table = place(table, AFRICA, Continent::Africa);
    let table = place(table, ANTARCTICA, Continent::Antarctica);
    let table = place(table, ASIA, Continent::Asia);
    let table = place(table, EUROPE, Continent::Europe);
    let table = place(table, NORTH_AMERICA, Continent::NorthAmerica);
    let table = place(table, OCEANIA, Continent::Oceania);
    place(table, SOUTH_AMERICA, Continent::SouthAmerica)
}

#[expect(
    clippy::indexing_slicing,
    reason = "runs while compiling only: an index out of bounds does not build"
)]
const fn place(
    mut table: [Continent; CountryCode::COUNT],
    codes: &str,
    continent: Continent,
) -> [Continent; CountryCode::COUNT] {
    let mut rest = codes.as_bytes();
    while let [a, b, after @ ..] = rest {
        table[(*a - b'A') as usize * 26 + (*b - b'A') as usize] = continent;
        rest = match after {
            [b' ', next @ ..] => next,
            end => end,
        };
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn continent(code: &str) -> &'static str {
        CountryCode::parse(code).unwrap().continent().as_str()
    }

    #[test]
    fn every_continent_has_its_countries() {
        let found = ["ZA", "AQ", "JP", "DE", "US", "NZ", "BR"].map(continent);
        assert_eq!(found, ["AF", "AN", "AS", "EU", "NA", "OC", "SA"]);
        assert_eq!(
            ["NA", "AS", "SA", "KP", "XK", "GL", "RU", "TR"].map(continent).join(" "),
            "AF OC AS AS EU NA EU AS"
        );
    }

    #[test]
    fn an_unknown_country_lies_nowhere() {
        assert_eq!(["ZZ", "XX", "EU"].map(continent), ["ZZ"; 3]);
        assert_eq!(CountryCode::UNKNOWN.continent(), Continent::Unknown);
    }

    #[test]
    fn every_country_is_in_one_list_only() {
        let lists = [AFRICA, ANTARCTICA, ASIA, EUROPE, NORTH_AMERICA, OCEANIA, SOUTH_AMERICA];
        let mut codes: Vec<&str> = lists.iter().flat_map(|list| list.split(' ')).collect();
        let listed = codes.len();
        codes.sort_unstable();
        codes.dedup();
        // The 249 countries of ISO 3166-1, and Kosovo.
        assert_eq!((listed, codes.len()), (250, 250));
        let placed = CountryCode::all().filter(|code| code.continent() != Continent::Unknown).count();
        assert_eq!(placed, 250);
    }
}
