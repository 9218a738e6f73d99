//! What a request may be like: how large its head and its body, of which type, and how slow.
//!
//! The head is held against it before anything else happens; a body that declares no length is measured while it is
//! sent on, by `Intake`. Routes may have bounds of their own for bodies.

use std::sync::Arc;
use std::time::Duration;

use super::unserved::Unserved;
use crate::facts::body::Shape;
use crate::facts::media::MediaRange;
use crate::facts::request::RequestHead;
use crate::facts::wire::WireFault;
use crate::routes::Route;

/// What requests may be like. Routes are those of the same generation.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// What heads may be like.
    pub head: HeadBounds,
    /// What bodies may be like where no route serves them.
    pub body: Arc<BodyBounds>,
    /// What bodies may be like, by position of the route.
    pub routes: Vec<Arc<BodyBounds>>,
}

/// What heads may be like.
#[derive(Clone, Copy, Debug)]
pub struct HeadBounds {
    /// Bytes of path and query.
    pub target: usize,
    /// Header lines.
    pub headers: usize,
    /// Bytes of one header's value.
    pub value: usize,
    /// Bytes of all names and values.
    pub bytes: usize,
}

/// What bodies may be like.
#[derive(Clone, Debug)]
pub struct BodyBounds {
    /// The most bytes.
    pub max: u64,
    /// The least bytes per second; 0 is no minimum.
    pub rate: u64,
    /// How long a client may take besides.
    pub grace: Duration,
    /// The media types that are accepted; none: all.
    pub types: Vec<MediaRange>,
    /// What is read before the request is judged, if anything.
    pub inspect: Option<Inspection>,
}

/// A body that is read as JSON before the request is judged.
#[derive(Clone, Copy, Debug)]
pub struct Inspection {
    /// The most bytes; no more than 64 KiB.
    pub bytes: u64,
    /// What it may hold.
    pub shape: Shape,
}

impl Bounds {
    /// What bodies of a route may be like.
    pub(super) fn body(&self, route: Option<&Route>) -> &Arc<BodyBounds> {
        route.and_then(|route| self.routes.get(route.position())).unwrap_or(&self.body)
    }

    /// Whether any body is read before its request is judged.
    pub(super) fn inspects(&self) -> bool {
        self.routes.iter().any(|route| route.inspect.is_some())
    }

    /// What is wrong with a request as far as its head shows it.
    pub(super) fn fault(
        &self,
        head: &RequestHead<'_>,
        has_body: bool,
        route: Option<&Route>,
    ) -> Option<Unserved> {
        if let Some(fault) = WireFault::of(head.headers(), head.raw()) {
            return Some(Unserved::Wire(fault));
        }
        if head.host().is_empty() && head.version() == "1.1" {
            return Some(Unserved::NoHost);
        }
        let fault = self.head.fault(head);
        fault.or_else(|| has_body.then(|| self.body(route).fault(head)).flatten())
    }
}

impl HeadBounds {
    fn fault(&self, head: &RequestHead<'_>) -> Option<Unserved> {
        let (largest, all) = head.header_sizes();
        if head.target_len() > self.target {
            Some(Unserved::LongTarget)
        } else if head.headers().len() > self.headers || largest > self.value || all > self.bytes {
            Some(Unserved::LargeHeaders)
        } else {
            None
        }
    }
}

impl BodyBounds {
    fn fault(&self, head: &RequestHead<'_>) -> Option<Unserved> {
        let max = self.inspect.map_or(self.max, |inspect| inspect.bytes.min(self.max));
        if head.size().is_some_and(|size| size > max) {
            return Some(Unserved::LargeBody);
        }
        let content_type = || head.header(http::header::CONTENT_TYPE);
        let accepted = self.types.is_empty() || self.types.iter().any(|range| range.covers(&content_type()));
        (!accepted).then_some(Unserved::MediaType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::request::Scheme;

    fn bounds() -> Bounds {
        let json = vec![MediaRange::parse("application/json").unwrap()];
        Bounds {
            head: HeadBounds { target: 20, headers: 3, value: 16, bytes: 50 },
            body: Arc::new(BodyBounds {
                max: 100,
                rate: 0,
                grace: Duration::ZERO,
                types: json,
                inspect: None,
            }),
            routes: Vec::new(),
        }
    }

    fn fault(target: &str, headers: &[(&str, &str)], has_body: bool) -> Option<Unserved> {
        let mut request = http::Request::builder().uri(target).header("host", "a");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let head = RequestHead::read(&parts, Scheme::Http);
        bounds().fault(&head, has_body, None)
    }

    #[test]
    fn what_is_at_the_bound_passes_and_what_is_above_does_not() {
        assert_eq!(fault(&format!("/{}", "x".repeat(19)), &[], false), None);
        assert_eq!(fault(&format!("/{}", "x".repeat(20)), &[], false), Some(Unserved::LongTarget));
        assert_eq!(fault("/", &[("a", "0123456789abcdef"), ("b", "")], false), None);
        assert_eq!(
            fault("/", &[("a", "0123456789abcdefg")], false),
            Some(Unserved::LargeHeaders),
            "one value"
        );
        assert_eq!(fault("/", &[("a", ""), ("a", ""), ("a", "")], false), Some(Unserved::LargeHeaders));
        let wide = [("a", "0123456789abcdef"), ("name-of-twenty-bytes", "0123456789abcdef")];
        assert_eq!(fault("/", &wide, false), Some(Unserved::LargeHeaders), "all of them");
    }

    #[test]
    fn a_body_is_looked_at_only_if_there_is_one() {
        let (json, text) = (("content-type", "application/json"), ("content-type", "text/plain"));
        assert_eq!(fault("/", &[text], false), None);
        assert_eq!(fault("/", &[text], true), Some(Unserved::MediaType));
        assert_eq!(fault("/", &[], true), Some(Unserved::MediaType), "no type is none of them");
        assert_eq!(fault("/", &[("content-length", "100"), json], true), None);
        assert_eq!(fault("/", &[("content-length", "101"), json], true), Some(Unserved::LargeBody));
    }

    #[test]
    fn a_head_that_can_be_read_in_two_ways_is_refused_for_that_first() {
        let long = "x".repeat(30);
        let found = fault(&format!("/{long}"), &[("content-length", "1, 1")], true);
        assert_eq!(found, Some(Unserved::Wire(WireFault::RepeatedLength)));
    }
}
