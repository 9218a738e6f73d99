//! Behaviour of the configuration as a whole: the shipped file, the folders of good and bad files, and hostile
//! input.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::reference::{LAYOUTS, LIVE};
use super::*;
use crate::traffic::{Counted, Dimension};

const SMALLEST: &str = "[[listener]]\naddress = \"127.0.0.1:8080\"\n[[route]]\nupstream = \"origin\"\n\
                        [upstream.origin]\nbuiltin = true\n";

/// A world with one token file, one variable and three cores.
fn parse(text: &str) -> Result<Config, Problems> {
    let around = Surroundings {
        file: &|path| match path.to_str() {
            Some("secret.txt") => Ok("0123456789abcdef-file\n".to_owned()),
            Some("short.txt") => Ok("guessme\n".to_owned()),
            Some(_) | None => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
        },
        variable: &|name| (name == "RISKGATE_TOKEN").then(|| "0123456789abcdef-env".to_owned()),
        cores: 3,
    };
    Config::parse_in(&around, Path::new("riskgate.toml"), text)
}

fn with(section: &str) -> Config {
    parse(&format!("{SMALLEST}{section}")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn good_files_are_good() {
    for path in files("good") {
        if let Err(problems) = parse(&fs::read_to_string(&path).unwrap()) {
            panic!("{}:\n{problems}", path.display());
        }
    }
}

/// Each bad file has its complaints beside it; `RISKGATE_BLESS=1` writes them anew, to be read before commit.
#[test]
fn bad_files_are_refused_with_the_words_beside_them() {
    for path in files("bad") {
        let problems = parse(&fs::read_to_string(&path).unwrap()).expect_err(&path.display().to_string());
        let said = format!("{problems}\n");
        let expected = path.with_extension("expected");
        if std::env::var_os("RISKGATE_BLESS").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(said, wanted, "{}", path.display());
    }
}

#[test]
fn the_shipped_file_is_good_and_spells_out_the_defaults() {
    let shipped = parse(Config::default_text()).unwrap_or_else(|problems| panic!("{problems}"));
    let smallest = with("");
    assert_eq!(shipped.warnings, []);
    assert_eq!(smallest.differences(&shipped), <[&str; 0]>::default());
    assert_eq!(smallest.policy, shipped.policy);
    assert_eq!(smallest.levels, shipped.levels);
    assert_eq!(shipped.countries.len(), 6);
    assert_eq!(
        shipped.counters["login_failed"],
        Counter { per: Dimension::Client.into(), kind: Counted::Events, window: Duration::from_secs(600) }
    );
    assert!(shipped.lists.values().all(|list| !list.block));
}

#[test]
fn the_shipped_file_shows_every_key() {
    for layout in LAYOUTS {
        for entry in layout.keys {
            let written = format!("{} = ", entry.name());
            assert!(Config::default_text().contains(&written), "{} {}", layout.heading, entry.name());
        }
    }
}

/// That a reader asks for no key outside its layout is asserted where it asks.
#[test]
fn every_key_of_a_layout_is_read() {
    for layout in LAYOUTS {
        for entry in layout.keys {
            let member = match layout.table {
                "countries" => "DE".to_owned(),
                "levels" => "high".to_owned(),
                "lists" | "counters" | "concurrency" | "limits" | "upstream" => "name".to_owned(),
                _ => String::new(),
            };
            let heading = match (member.as_str(), layout.heading.starts_with("[[")) {
                ("", true) => format!("[[{}]]", layout.table),
                ("", false) => format!("[{}]", layout.table),
                (member, _) => format!("[{}.{member}]", layout.table),
            };
            let text = format!("{heading}\n{} = 1979-05-27\n", entry.name());
            let said = parse(&text).expect_err("a date is nowhere right").to_string();
            let complaint =
                said.lines().find(|line| line.starts_with("riskgate.toml:2:") || line.contains("line 2"));
            let complaint = complaint.unwrap_or_else(|| panic!("`{}` is not read: {said}", entry.name()));
            assert!(complaint.contains("must be"), "{complaint}");
        }
    }
}

#[test]
fn every_section_that_needs_a_restart_is_compared() {
    let changes = [
        "[server]\nthreads = 7\n",
        "[[listener]]\naddress = \"127.0.0.1:8081\"\n",
        "[admin]\nenabled = false\n",
        "[client]\nforward = \"full\"\n",
        "[privacy]\nipv4_prefix = 16\n",
        "[decisions]\nqueue = 100\n",
        "[reload]\nwatch = false\n",
        "[traffic]\nslots = 2048\n",
        "[log]\nlevel = \"debug\"\n",
    ];
    let seen: Vec<_> = changes.iter().flat_map(|change| with("").differences(&with(change))).collect();
    let restart = LAYOUTS.iter().map(|layout| layout.table).filter(|table| !LIVE.contains(table));
    assert!(restart.eq([
        "server",
        "listener",
        "admin",
        "client",
        "privacy",
        "decisions",
        "reload",
        "traffic",
        "log"
    ]));
    assert_eq!(
        seen,
        ["server", "listener", "admin", "client", "privacy", "decisions", "reload", "traffic", "log"]
    );
    let live = "[[route]]\npath = \"/x\"\nupstream = \"second\"\n[upstream.second]\nbuiltin = true\n\
                [levels]\nmedium = { from = 10, action = \"allow\" }\n[countries]\nDE = { weight = 1 }\n";
    assert_eq!(with("").differences(&with(live)), <[&str; 0]>::default());
}

#[test]
fn the_manual_names_every_key_and_no_default_is_wrong() {
    let manual = reference_markdown();
    for layout in LAYOUTS {
        assert!(manual.contains(&format!("## `{}`", layout.heading)));
        for entry in layout.keys {
            assert!(manual.contains(&format!("| `{}` |", entry.name())) && !entry.doc().contains('|'));
        }
    }
    assert!(
        manual.contains("| `grace_period` | a duration from `\"0s\"` to `\"10m\"` | `\"10s\"` |"),
        "{manual}"
    );
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = "[servr]\n[server]\nthread = 4\ngrace_period = 10\n[client]\nforward = \"ful\"\n\
                [[route]]\nupstream = \"orgin\"\n[upstream.origin]\nbuiltin = true\n";
    let said = parse(text).unwrap_err();
    let places: Vec<_> =
        said.iter().map(|problem| problem.position().map(|place| (place.line, place.column))).collect();
    assert_eq!(places, [Some((1, 2)), Some((3, 1)), Some((4, 16)), Some((6, 11)), Some((8, 12)), None]);
}

#[test]
fn tokens_come_from_the_file_itself_another_file_or_the_environment() {
    for (key, token) in [
        ("token = \"0123456789abcdef-here\"", "0123456789abcdef-here"),
        ("token_file = \"secret.txt\"", "0123456789abcdef-file"),
        ("token_env = \"RISKGATE_TOKEN\"", "0123456789abcdef-env"),
    ] {
        let admin = with(&format!("[admin]\naddress = \"0.0.0.0:9090\"\n{key}\n")).admin.unwrap();
        let shown = format!("Bearer {token}");
        assert!(admin.token.as_ref().unwrap().is_shown_by(Some(shown.as_bytes())));
        assert!(!format!("{admin:?}").contains("0123456789"));
    }
}

#[test]
fn a_token_is_never_shown_in_a_complaint() {
    for written in ["\"hunter2\"", "\"hunter2 with spaces\"", "[\"hunter2\"]"] {
        let said = parse(&format!("{SMALLEST}[admin]\ntoken = {written}\n")).unwrap_err();
        assert!(said.to_string().contains("line 8"), "{said}");
        assert!(!said.to_string().contains("hunter2"), "{said}");
        assert!(said.iter().all(|problem| problem.position().is_none()), "a snippet would show it");
    }
}

#[test]
fn defaults_hold_where_nothing_is_written() {
    let config = with("");
    assert_eq!((config.server.threads, config.server.grace_period), (3, Duration::from_secs(10)));
    assert_eq!(config.admin.unwrap().address.to_string(), "127.0.0.1:9090");
    assert_eq!(config.privacy.truncation, crate::facts::client::Truncation::default());
    assert!(config.privacy.secret_headers.contains("authorization"));
    assert_eq!(config.geoip, Geoip { country: None, asn: None });
    assert_eq!(config.routes[0].name, "default");
    assert_eq!(config.upstreams["origin"].settings.timeouts.connect, Duration::from_secs(5));
}

#[test]
fn secrets_are_added_to_the_built_in_ones() {
    let privacy = with("[privacy]\nsecret_headers = [\"X-Mine\"]\nsecret_params = [\"PIN\"]\n").privacy;
    assert!(privacy.secret_headers.contains("x-mine") && privacy.secret_headers.contains("cookie"));
    assert!(privacy.secret_params.contains("pin") && privacy.secret_params.contains("token"));
}

#[test]
fn what_is_allowed_but_odd_is_a_warning() {
    let odd = "[upstream.spare]\nbuiltin = true\n[client]\ntrusted_proxies = [\"0.0.0.0/0\"]\n";
    let said: Vec<_> = with(odd).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("no route uses `spare`") && said[1].contains("everybody"), "{said:?}");
}

#[test]
fn a_challenge_that_no_listener_takes_is_a_warning() {
    let wanted = |challenge: &str| {
        let config = with(&format!(
            "[certificates.api]\nacme = [\"a.example\"]\n[acme]\nterms_agreed = true\nchallenge = \"{challenge}\"\n"
        ));
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(wanted("http-01"), [""; 0]);
    let [warning] = &wanted("tls-alpn-01")[..] else { panic!("one warning") };
    assert!(
        warning.contains("no listener takes what `tls-alpn-01` asks; add a `[[listener]]` with"),
        "{warning}"
    );
}

#[test]
fn a_file_from_another_system_is_read_and_its_places_are_right() {
    let text = format!("\u{feff}{SMALLEST}[server]\nthread = 1\n").replace('\n', "\r\n");
    let said = parse(&text).unwrap_err();
    assert_eq!(said.as_slice().len(), 1, "{said}");
    assert!(said.to_string().starts_with("riskgate.toml:8:1: "), "{said}");
}

#[test]
fn a_missing_file_says_how_to_name_one() {
    let said = Config::load(Path::new("/nowhere/riskgate.toml")).unwrap_err().to_string();
    assert!(said.contains("cannot be read") && said.contains("--config"), "{said}");
}

fn mutated(text: &str, edits: &[(usize, u8, String)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (at, kind, insert) in edits {
        let at = at % (letters.len() + 1);
        let end = (at + usize::from(*kind)).min(letters.len());
        letters.splice(at..end, insert.chars());
    }
    letters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_change_to_the_shipped_file_is_read_or_refused_with_places_inside_it(
        edits in prop::collection::vec((any::<usize>(), 0u8..40, "[\\[\\]{}=.,\"'#\n a-z0-9-]{0,6}|\\PC{0,3}"), 1..6),
    ) {
        let text = mutated(Config::default_text(), &edits);
        if let Err(problems) = parse(&text) {
            prop_assert!(problems.iter().any(Problem::is_error));
            for place in problems.iter().filter_map(Problem::position) {
                prop_assert!(place.line <= text.lines().count() + 1, "{:?}", place);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_value_for_any_key_is_read_or_refused_without_panic(
        section in 0usize..LAYOUTS.len(), key in any::<prop::sample::Index>(),
        value in "-?[0-9]{1,20}|true|\"[ -!#-\\[\\]-~]{0,12}\"|\\[[0-9, ]{0,6}\\]|\\{\\}|0x[0-9a-f]{1,20}|-?inf|nan|[0-9]e[0-9]{1,3}",
    ) {
        let layout = LAYOUTS[section];
        let name = layout.keys[key.index(layout.keys.len())].name();
        for heading in [format!("[{}]", layout.table), format!("[[{}]]", layout.table), format!("[{}.high]", layout.table)] {
            let _ = parse(&format!("{heading}\n{name} = {value}\n"));
        }
    }
}
