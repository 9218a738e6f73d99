//! The gate as its users meet it: real sockets, real files, a real origin behind it.
//!
//! One binary holds all of it; each test starts what it needs on free ports, so all run at once and none sleeps.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod acme;
mod admin;
mod architecture;
mod bounds;
mod buffers;
mod canary;
mod cli;
mod connections;
mod counting;
mod crowds;
mod delays;
mod endings;
mod enforcement;
mod failures;
mod fingerprints;
mod floods;
mod http2;
mod identity;
mod inflight;
mod inspection;
mod open_files;
mod order;
mod panics;
mod policy;
mod privileges;
mod process;
mod proxying;
mod readiness;
mod records;
mod reload;
mod restarts;
mod short_way;
mod smuggling;
mod sockets;
mod stopping;
mod streams;
mod support;
mod surges;
mod systemd;
mod tls;
mod told;
mod top;
mod traffic;
mod upgrade;
mod upstreams;

#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/directory.rs"]
mod directory;
#[path = "../support/mmdb.rs"]
mod mmdb;
#[path = "../support/net.rs"]
mod net;
