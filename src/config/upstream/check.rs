//! How servers are checked, as configuration says it: `check` and what goes with it.

use std::time::Duration;

use super::super::kinds::{Number, Period};
use super::super::reader::{Fallback, Key, Kind, Section, Value};
use crate::proxy::upstream::{Check, Get};

pub(super) struct Way;

/// What is checked; the path is empty if connecting is enough.
pub(super) struct Asked(Option<String>);

pub(super) const CHECK: Key<Way> = Key {
    name: "check",
    kind: Way,
    fallback: Fallback::Absent,
    doc: "Checks every server: `tcp` connects to it; a path, such as `/healthz`, is asked for and has to be answered with \
          `check_status`. Servers are up until a check says otherwise.",
};

pub(super) const CHECK_STATUS: Key<Number<u16>> = Key {
    name: "check_status",
    kind: Number { from: 200, to: 599 },
    fallback: Fallback::Is("200"),
    doc: "The status that a server has to answer a check with.",
};

pub(super) const CHECK_INTERVAL: Key<Period> = Key {
    name: "check_interval",
    kind: Period { from: Duration::from_millis(100), to: Duration::from_secs(3600) },
    fallback: Fallback::Is("\"5s\""),
    doc: "How long from one check of a server to the next.",
};

pub(super) const CHECK_TIMEOUT: Key<Period> = Key {
    name: "check_timeout",
    kind: Period { from: Duration::from_millis(10), to: Duration::from_secs(60) },
    fallback: Fallback::Is("\"2s\""),
    doc: "How long a check may take.",
};

pub(super) const CHECK_FAILURES: Key<Number<u32>> = Key {
    name: "check_failures",
    kind: Number { from: 1, to: 100 },
    fallback: Fallback::Is("3"),
    doc: "A server is down after so many failed checks in a row.",
};

pub(super) const CHECK_PASSES: Key<Number<u32>> = Key {
    name: "check_passes",
    kind: Number { from: 1, to: 100 },
    fallback: Fallback::Is("2"),
    doc: "A server that was down is up again after so many passed checks in a row.",
};

/// Reads them all; `Some(None)` if servers are not checked.
pub(super) fn read(section: &Section<'_>) -> Option<Option<Check>> {
    let (way, status) = (section.optional(&CHECK), section.read(&CHECK_STATUS));
    let (interval, timeout) = (section.read(&CHECK_INTERVAL), section.read(&CHECK_TIMEOUT));
    let (failures, passes) = (section.read(&CHECK_FAILURES), section.read(&CHECK_PASSES));
    let (way, status, interval, timeout) = (way?, status?, interval?, timeout?);
    let (failures, passes) = (failures?, passes?);
    let check = way.map(|Asked(path)| Check {
        get: path.map(|path| Get { path, status }),
        interval,
        timeout,
        failures,
        passes,
    });
    Some(check)
}

impl Kind for Way {
    type Value = Asked;

    fn expects(&self) -> String {
        "`\"tcp\"`, or a path such as `\"/healthz\"`".into()
    }

    fn read(&self, value: &Value<'_>) -> Option<Asked> {
        let text = value.text(self)?;
        let plain = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        match text {
            "tcp" => Some(Asked(None)),
            _ if plain => Some(Asked(Some(text.to_owned()))),
            _ => value.mismatch(self, None),
        }
    }
}
