//! From configuration to the bounds of requests, for the routes of a generation to come.

use std::sync::Arc;

use crate::config::Config;
use crate::proxy::bounds::{BodyBounds, Bounds, HeadBounds, Inspection};

/// What requests may be like, routes in their order.
pub(super) fn bounds(config: &Config) -> Bounds {
    let request = &config.request;
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let head = HeadBounds {
        target: bytes(request.max_uri),
        headers: request.max_headers,
        value: bytes(request.max_header),
        bytes: bytes(request.max_header_bytes),
    };
    let (max, rate, grace) = (request.max_body, request.min_body_rate, request.body_grace);
    let body = BodyBounds { max, rate, grace, types: Vec::new(), inspect: None };
    let routes = config.routes.iter().map(|route| {
        let (max, rate) = (route.max_body.unwrap_or(max), route.min_body_rate.unwrap_or(rate));
        let types = route.content_types.clone().unwrap_or_default();
        let inspect =
            route.inspect_json.as_ref().map(|it| Inspection { bytes: it.max_bytes, shape: it.shape });
        Arc::new(BodyBounds { max, rate, grace, types, inspect })
    });
    let routes = routes.collect();
    Bounds { head, body: Arc::new(body), routes }
}
