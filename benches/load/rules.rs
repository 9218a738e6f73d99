//! Two hundred rules of the kinds that policies have, in twenty scripts, one of which changes.
//!
//! They are looked at for every request of the mix, and none of them matches.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::contestant::Seat;
use crate::error::LoadError;

const SCRIPTS: usize = 20;
const RULES: usize = 10;

/// Writes them into a seat's folder.
pub(crate) fn write(seat: &Seat<'_>) -> Result<Option<PathBuf>, LoadError> {
    let folder = folder(seat.folder);
    fs::create_dir(&folder).map_err(LoadError::io("make a folder of scripts"))?;
    for number in 0..SCRIPTS {
        fs::write(path(&folder, number), script(number, 1)).map_err(LoadError::io("write a script"))?;
    }
    Ok(Some(folder))
}

/// Changes one of them for the `number`th time, as editors do: a new file in the place of the old one.
pub(crate) fn change(seat: &Path, number: usize) -> std::io::Result<()> {
    let (script_number, draft) = (number % SCRIPTS, seat.join("draft"));
    // Never what it was before.
    fs::write(&draft, script(script_number, 2 + number / SCRIPTS % 48))?;
    fs::rename(draft, path(&folder(seat), script_number))
}

fn folder(seat: &Path) -> PathBuf {
    seat.join("scripts")
}

fn path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number:02}-area.rhai"))
}

fn script(number: usize, points: usize) -> String {
    let mut text = format!("const POINTS = {points};\n\nfn assess(req, risk) {{\n");
    for rule in 0..RULES {
        let (kind, condition) = match rule % 5 {
            0 => (
                "path",
                format!("req.path.starts_with(\"/area{number}/part{rule}\") && req.method == \"POST\""),
            ),
            1 => ("flag", format!("req.header(\"x-flag-{rule}\") == \"on\"")),
            2 => {
                ("rate", format!("req.client.rate > 1_000.0 * {rule} && req.geo.country in [\"AA\", \"BB\"]"))
            }
            3 => ("size", format!("req.size > {rule}_000_000")),
            _ => (
                "query",
                format!("req.query.contains(\"part{rule}=\") || req.host.ends_with(\".area{number}\")"),
            ),
        };
        // Writing into a string does not fail.
        let _ = writeln!(text, "    if {condition} {{ risk.add(\"area{number}.{kind}{rule}\", POINTS); }}");
    }
    text.push_str("}\n");
    text
}
