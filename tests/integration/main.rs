//! The gate as its users meet it: real sockets, real files, a real origin behind it.
//!
//! One binary holds all of it; each test starts what it needs on free ports, so all run at once and none sleeps.

mod admin;
mod architecture;
mod cli;
mod reload;
mod smoke;
mod support;

#[path = "../support/mmdb.rs"]
mod mmdb;
#[path = "../support/net.rs"]
mod net;
