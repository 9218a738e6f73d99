//! `GET /api/upstreams`: every server of every upstream, how it fares and what is under way at it.
//!
//! The addresses are the operator's own, as configuration and the name service gave them.

use async_trait::async_trait;
use serde::Serialize;

use super::{Admin, Answer, Asked, Endpoint};
use crate::facts::time::Tick;
use crate::proxy::upstream::fleet::Fleet;
use crate::proxy::upstream::{Fitness, Server, Upstream};
use crate::snapshot::Generation;

pub(super) struct Upstreams;

#[derive(Serialize)]
struct View<'a> {
    generation: Generation,
    upstreams: Vec<Group<'a>>,
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    /// Whether nobody is fit, so that all are asked.
    all_down: bool,
    servers: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    server: String,
    address: String,
    weight: u16,
    /// `up`, `down` or `ejected`.
    state: &'static str,
    /// For how long it will be left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    ejected_s: Option<f64>,
    in_flight: usize,
}

#[async_trait]
impl Endpoint for Upstreams {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &'static str {
        "/api/upstreams"
    }

    async fn answer(&self, admin: &Admin, _: Asked) -> Answer {
        let (snapshot, now) = (admin.live.pin(), admin.clock.tick());
        let upstreams = Fleet::of(&snapshot).map(Fleet::upstreams).unwrap_or_default();
        let upstreams = upstreams.iter().map(|upstream| Group::of(upstream, now)).collect();
        Answer::json(&View { generation: snapshot.generation(), upstreams })
    }
}

impl<'a> Group<'a> {
    fn of(upstream: &'a Upstream, now: Tick) -> Self {
        let servers = upstream.servers();
        let rows =
            servers.iter().zip(upstream.weights()).map(|(server, weight)| Row::of(server, weight, now));
        let all_down = servers.iter().all(|server| server.fitness(now) != Fitness::Up);
        Self { name: upstream.name(), all_down, servers: rows.collect() }
    }
}

impl Row {
    fn of(server: &Server, weight: u16, now: Tick) -> Self {
        let (state, ejected_s) = match server.fitness(now) {
            Fitness::Up => ("up", None),
            Fitness::Down => ("down", None),
            Fitness::Ejected(left) => ("ejected", Some(left.as_secs_f64())),
        };
        Self {
            server: server.name().to_owned(),
            address: server.address(),
            weight,
            state,
            ejected_s,
            in_flight: server.in_flight(),
        }
    }
}
