//! riskgate
pub mod facts;
pub mod geoip;
pub mod ip_list;
pub mod traffic;
pub mod signals;
pub mod actions;
pub mod decision;
pub mod rules;
pub mod record;
pub mod config;
pub mod cli;
