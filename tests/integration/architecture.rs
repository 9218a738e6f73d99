//! The house keeps its floors: a file imports lower floors or its own folder, and what only one place may do is
//! done in one place. Read from the sources themselves; tests within them may do as they like.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every module of the crate, by floor.
const FLOORS: &[(u8, &[&str])] = &[
    (6, &["app", "cli", "config", "lib", "main"]),
    (5, &["admin", "clock", "metrics", "proxy", "record", "reload", "scoreboard", "state"]),
    (4, &["cases", "explain", "pipeline", "snapshot"]),
    (3, &["decision", "rules"]),
    (2, &["actions", "signals"]),
    (1, &["fingerprints", "geoip", "ip_list", "routes", "traffic"]),
    (0, &["facts", "workers"]),
];

/// What may be named only in some places: a word, the files or folders that may name it, and why.
const OWNED: &[(&str, &[&str], &str)] = &[
    ("rhai", &["rules/", "signals/value.rs"], "another implementation of the language can take its place"),
    ("ppp", &["facts/proxy_protocol.rs"], "what a proxy says first is read in one place"),
    ("pingora_limits", &["traffic/"], "counting has one owner"),
    ("maxminddb", &["geoip/"], "reading databases has one owner"),
    ("ratatui", &["cli/top/"], "only one command has a screen"),
    ("instant_acme", &["proxy/acme/"], "authorities are asked in one place"),
    ("rcgen", &["proxy/acme/"], "only what is ordered or stands in for it is made here"),
    ("ureq", &["cli/"], "only commands ask a gate from outside, and wait for the answer"),
    ("notify", &["reload/"], "watching files has one owner"),
    ("prometheus", &["metrics.rs", "metrics/"], "metrics have one home"),
    ("pingora", &["proxy/", "admin/", "app/", "app.rs"], "below the edge nothing knows the proxy"),
    ("tokio", &["proxy/", "reload/", "admin/", "record/", "app/", "app.rs"], "below the edge nothing waits"),
    (
        "Instant::now",
        &["clock.rs", "reload/watch/", "app/services.rs"],
        "time is handed down; timers of their own have \
      the watch over files and the rotation of keys",
    ),
    ("SystemTime::now", &["clock.rs"], "time is handed down"),
    ("Timestamp::now", &[], "time is handed down"),
    ("Zoned::now", &[], "time is handed down"),
    (
        "write_response_header",
        &["proxy/enforce.rs", "proxy/origin.rs"],
        "one place answers clients; the built-in origin \
      is a server of its own",
    ),
    ("respond_error", &[], "it closes the connection, and says what Pingora likes"),
    ("respond_error_with_body", &[], "it closes the connection, and says what Pingora likes"),
    ("fastrand", &["proxy/"], "randomness is at the edge"),
    ("getrandom", &["app/", "app.rs"], "keys are made where everything is assembled"),
    ("LazyLock", &[], "nothing is shared behind the back of a caller"),
    (
        "thread_local",
        &["rules/sandbox.rs", "rules/compile/mod.rs", "workers.rs"],
        "nothing is shared behind the back of a caller; a worker knows its own number, a program's texts are given back after each call, and the sandbox counts what \
      closures do, which the engine shows no other way",
    ),
];

const MAX_LINES: usize = 400;

/// A file of `src/`.
struct Source {
    /// Below `src/`.
    path: String,
    /// Without comments, without what is between quotes, and without tests.
    code: String,
    lines: usize,
}

impl Source {
    /// The top-level module that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or("");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many `super` lead to the root of the crate.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count();
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }

    /// The top-level modules that its code names, each with its line.
    fn imports(&self) -> Vec<(usize, String)> {
        let root = "super::".repeat(self.depth());
        let mut found = Vec::new();
        for start in ["crate::", root.as_str()] {
            for at in words(&self.code, start) {
                let line = self.code[..at].matches('\n').count() + 1;
                let rest = &self.code[at + start.len()..];
                let names = match rest.trim_start().strip_prefix('{') {
                    Some(group) => heads(group),
                    None => vec![word(rest)],
                };
                found.extend(names.into_iter().map(|name| (line, name)));
            }
        }
        found
    }
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, modules)| modules.contains(&module)).map(|(floor, _)| *floor)
}

/// Moving windows on sweeps whole tables: nothing that a request runs through may do it.
#[test]
fn windows_are_moved_on_in_the_background_alone() {
    let mut callers = Vec::new();
    for source in sources() {
        let calls: &[&str] =
            if source.module() == "traffic" { &[".rotate(", ".sweep("] } else { &["traffic.rotate("] };
        for (at, _) in calls.iter().flat_map(|call| source.code.match_indices(call)) {
            let before = &source.code[..at];
            let function = before.rfind("fn ").map_or("", |at| &before[at + "fn ".len()..]);
            callers.push(format!("{} {}", source.path, word(function)));
        }
    }
    let by_request = |caller: &&String| !caller.ends_with(" rotate") && !caller.ends_with(" sweep");
    let others: Vec<_> = callers.iter().filter(by_request).collect();
    // A counter is moved on once more when the gate starts, to where what was kept belongs.
    assert_eq!(others, ["app/services.rs rotate_windows", "traffic/counter.rs recall"], "{callers:?}");
}

#[test]
fn no_file_imports_a_higher_floor() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = floor(source.module()) else {
            wrong.push(format!(
                "src/{}: `{}` has no floor yet; add it to the list",
                source.path,
                source.module()
            ));
            continue;
        };
        for (line, import) in source.imports() {
            // What `lib.rs` itself holds belongs to the top.
            let above = floor(&import).unwrap_or(6);
            if above > own {
                let path = &source.path;
                wrong.push(format!("src/{path}:{line}: floor {own} imports `{import}` of floor {above}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_has_one_owner_is_named_nowhere_else() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, owners, why) in OWNED {
            if owners.iter().any(|owner| source.path.starts_with(owner)) {
                continue;
            }
            for at in words(&source.code, name) {
                let line = source.code[..at].matches('\n').count() + 1;
                wrong.push(format!("src/{}:{line} names `{name}`: {why}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_reader_keeps_in_mind() {
    let long = sources().into_iter().filter(|source| source.lines > MAX_LINES);
    let long: Vec<_> = long.map(|source| format!("src/{}: {} lines", source.path, source.lines)).collect();
    assert!(long.is_empty(), "split by concept, or move the tests to a file of their own: {long:?}");
}

#[test]
fn every_file_opens_with_what_it_is() {
    let root = root();
    let mute = files(&root).into_iter().filter(|path| !fs::read_to_string(path).unwrap().starts_with("//! "));
    let mute: Vec<_> = mute.map(|path| below(&root, &path)).collect();
    assert!(mute.is_empty(), "no `//!` at the top of {mute:?}");
}

/// Filters that do nothing which could panic, or that come when there is nobody left to be answered: a panic in them ends the
/// connection, which every task survives.
const UNGUARDED: &[&str] = &[
    "new_ctx",
    "init_downstream_modules",
    "fail_to_proxy",
    "logging",
    "suppress_error_log",
    "suppress_proxy_warn_log",
];

#[test]
fn every_filter_of_the_gate_catches_panics() {
    let text = fs::read_to_string(root().join("proxy/mod.rs")).unwrap();
    let (_, filters) = text.split_once("impl ProxyHttp for Gate {").unwrap();
    let (filters, _) = filters.split_once("\n}\n").unwrap();
    let mut guarded = 0;
    for filter in filters.split("    fn ").flat_map(|part| part.split("    async fn ")).skip(1) {
        let name = filter.split('(').next().unwrap();
        let catches = filter.contains("self.unharmed(") || filter.contains("panics::caught(");
        assert!(catches != UNGUARDED.contains(&name), "`{name}`: {filter}");
        guarded += usize::from(catches);
    }
    assert_eq!(guarded, 8);
}

#[test]
fn the_test_itself_sees_imports_of_every_kind() {
    let source = |path: &str, text: &str| Source { path: path.into(), code: code(text), lines: 0 };
    let named = |path: &str, text: &str| -> Vec<String> {
        source(path, text).imports().into_iter().map(|(_, name)| name).collect()
    };
    assert_eq!(named("a/b.rs", "use crate::{x::{y, z}, w};\nuse super::super::v::u;"), ["x", "w", "v"]);
    assert_eq!(named("a/mod.rs", "fn f() { super::v(crate::w::x) }"), ["w", "v"]);
    assert_eq!(named("a.rs", "// crate::x\n\"crate::y\" 'c' /* crate::z */ r#\"crate::w\"#"), [""; 0]);
    assert_eq!(named("a.rs", "#[cfg(test)]\nmod tests { use crate::x; }\nuse crate::y;"), ["y"]);
    assert_eq!(
        named("a.rs", "#[cfg(test)]\n#[path = \"x\"]\nmod x;\nfn f<'a>(x: &'a str) { crate::y }"),
        ["y"]
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_string_lossy().into_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All files that are not tests.
fn sources() -> Vec<Source> {
    let root = root();
    let texts: BTreeMap<String, String> =
        files(&root).iter().map(|path| (below(&root, path), fs::read_to_string(path).unwrap())).collect();
    let tests: Vec<String> = texts.iter().flat_map(|(path, text)| test_files(path, text)).collect();
    let source = |(path, text): (String, String)| {
        let lines = text.lines().count();
        Source { code: code(&text), lines, path }
    };
    texts
        .into_iter()
        .filter(|(path, _)| !tests.iter().any(|test| path.starts_with(test.as_str())))
        .map(source)
        .collect()
}

/// The files that `#[cfg(test)] mod name;` in `path` stands for.
fn test_files(path: &str, text: &str) -> Vec<String> {
    let folder = match path.strip_suffix("mod.rs") {
        Some(folder) => folder.to_owned(),
        None if !path.contains('/') && matches!(path, "lib.rs" | "main.rs") => String::new(),
        None => format!("{}/", path.strip_suffix(".rs").unwrap_or(path)),
    };
    let bare = bare(text);
    let declared = bare.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let rest = rest.trim_start();
        let rest =
            rest.strip_prefix("pub(crate)").or_else(|| rest.strip_prefix("pub(super)")).unwrap_or(rest);
        let (name, _) = rest.trim_start().strip_prefix("mod ")?.split_once(';')?;
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then(|| name.to_owned())
    });
    declared.flat_map(|name| [format!("{folder}{name}.rs"), format!("{folder}{name}/")]).collect()
}

/// A text without comments, quotes and tests. Lines stay lines.
fn code(text: &str) -> String {
    let mut rest = bare(text);
    let mut kept = String::new();
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let length = item_length(&rest[at..]);
        kept.push_str(&"\n".repeat(rest[at..at + length].matches('\n').count()));
        rest = rest.split_off(at + length);
    }
    kept + rest.as_str()
}

/// How long an item is, with its attributes: to its `;`, or to the end of its block.
fn item_length(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b']' | b')' => depth -= 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A text without comments and without what is between quotes. Lines stay lines.
fn bare(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#") => raw_length(rest).unwrap_or(1),
            '"' => quoted_length(rest, '"'),
            // A lifetime has no second quote where a character would have it.
            '\'' if rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'') => {
                quoted_length(rest, '\'')
            }
            _ => 0,
        };
        let (gone, after) = rest.split_at(length);
        kept.push_str(&"\n".repeat(gone.matches('\n').count()));
        rest = after;
        if length == 0 {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    kept
}

fn raw_length(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let start = 2 + hashes;
    if text.as_bytes().get(start - 1) != Some(&b'"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[start..].find(&end).map(|at| start + at + end.len())
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where `name` stands as words of its own.
fn words(code: &str, name: &str) -> Vec<usize> {
    let part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let alone = |at: &usize| {
        let (bytes, end) = (code.as_bytes(), at + name.len());
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let path = code[..*at].ends_with("::");
        !part(before) && !path && (name.ends_with(':') || !part(bytes.get(end)))
    };
    code.match_indices(name).map(|(at, _)| at).filter(alone).collect()
}

/// The word that a text begins with.
fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
}

/// The first words of the members of a `use` group.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut member, mut found) = (0_usize, String::new(), Vec::new());
    for char in group.chars() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(std::mem::take(&mut member)),
            _ => {}
        }
        if depth == 0 && char != ',' {
            member.push(char);
        }
    }
    found.push(member);
    found.iter().map(|member| word(member)).filter(|name| !name.is_empty()).collect()
}
