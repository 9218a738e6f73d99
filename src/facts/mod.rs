//! Facts: what is true about a request before anybody judges it.
//!
//! The ground floor of the house. Nothing here does IO, reads a clock or knows a rule; every type is parsed
//! once, at the edge, and carries its invariant from there on. Full addresses live in [`client`] alone.

pub mod address_headers;
pub mod body;
pub mod client;
pub mod continent;
pub mod forwarded;
pub mod hello;
pub mod ja4;
pub mod json;
pub mod media;
pub mod order;
pub mod place;
pub mod problem;
pub mod proxy_protocol;
pub mod request;
pub mod time;
pub mod tls;
pub mod wire;
