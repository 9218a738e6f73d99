//! The manual of the configuration, made from the layouts that the readers use, so that it cannot drift.

use super::reader::{Fallback, Layout};
use super::{
    acme, admin, certificates, client, concurrency, counters, countries, decisions, delays, fingerprints,
    geoip, levels, listener, lists, log, policy, privacy, reload, request, route, server, traffic, upstream,
};

/// Every section that a configuration can have, in the order of the manual.
pub(super) const LAYOUTS: [&Layout; 23] = [
    &server::LAYOUT,
    &listener::LAYOUT,
    &certificates::LAYOUT,
    &acme::LAYOUT,
    &admin::LAYOUT,
    &client::LAYOUT,
    &privacy::LAYOUT,
    &geoip::LAYOUT,
    &lists::LAYOUT,
    &fingerprints::LAYOUT,
    &policy::LAYOUT,
    &counters::LAYOUT,
    &concurrency::LAYOUT,
    &delays::LAYOUT,
    &levels::LAYOUT,
    &countries::LAYOUT,
    &decisions::LAYOUT,
    &reload::LAYOUT,
    &traffic::LAYOUT,
    &request::LAYOUT,
    &route::LAYOUT,
    &upstream::LAYOUT,
    &log::LAYOUT,
];

/// The sections that take effect without a restart.
pub(super) const LIVE: [&str; 14] = [
    "certificates",
    "acme",
    "geoip",
    "lists",
    "fingerprints",
    "policy",
    "counters",
    "concurrency",
    "limits",
    "levels",
    "countries",
    "request",
    "route",
    "upstream",
];

/// Every section and key, as Markdown: a heading, a paragraph and a table each.
pub fn reference_markdown() -> String {
    let mut text = String::new();
    for layout in LAYOUTS {
        let restart = if LIVE.contains(&layout.table) { "" } else { " Changes need a restart." };
        text.push_str(&format!("## `{}`\n\n{}{restart}\n\n", layout.heading, layout.doc));
        text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        for entry in layout.keys {
            let fallback = match entry.fallback() {
                Fallback::Required => "required".to_owned(),
                Fallback::Absent => "none".to_owned(),
                Fallback::Is(value) => format!("`{value}`"),
            };
            text.push_str(&format!(
                "| `{}` | {} | {fallback} | {} |\n",
                entry.name(),
                entry.expects(),
                entry.doc()
            ));
        }
        text.push('\n');
        if layout.table == privacy::LAYOUT.table {
            for (what, names) in privacy::built_in_secrets() {
                text.push_str(&format!("Built-in secret {what}: `{}`.\n\n", names.join("`, `")));
            }
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
