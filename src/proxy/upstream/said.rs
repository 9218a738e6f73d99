//! What an answer says of the server that gave it: that it is well, that it failed, or nothing yet.
//!
//! A status may be a failure. An answer to a call of gRPC is 200 whatever became of the call: that is told by its trailers,
//! or by its head if that is all there is. Nothing is noted here.

use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};

use super::settings::Ejection;
use crate::proxy::refusal::grpc;

/// What an answer says of the server that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It answers.
    Well,
    /// It failed, though it answered.
    Failed,
    /// Nothing: another answer follows.
    Nothing,
    /// Nothing yet: the trailers tell.
    Later,
}

impl Ejection {
    /// What the head of an answer says.
    pub(super) fn said_by_head(&self, head: &Parts) -> Said {
        let is_final = !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS;
        if self.statuses.contains(head.status.as_u16()) {
            Said::Failed
        } else if !is_final {
            Said::Nothing
        } else if is_call(head) {
            self.said_of_call(&head.headers)
        } else {
            Said::Well
        }
    }

    /// What the trailers of an answer to a call of gRPC say, or its head.
    pub(super) fn said_of_call(&self, fields: &HeaderMap) -> Said {
        match fields.get(grpc::STATUS) {
            None => Said::Later,
            Some(code) if self.codes.contains(grpc::code_of(code.as_bytes())) => Said::Failed,
            Some(_) => Said::Well,
        }
    }
}

/// Whether it answers a call of gRPC, which there are over HTTP/2 only.
fn is_call(head: &Parts) -> bool {
    head.version == Version::HTTP_2
        && head.headers.get(CONTENT_TYPE).is_some_and(|kind| grpc::is_grpc(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, fields: &[(&str, &str)]) -> Said {
        let mut response = http::Response::builder().status(status).version(Version::HTTP_2);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        Ejection::default().said_by_head(&response.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_call_is_judged_by_its_own_status_wherever_that_comes() {
        let call = ("content-type", "application/grpc");
        assert_eq!(said(200, &[call]), Said::Later);
        assert_eq!(said(200, &[call, ("grpc-status", "14")]), Said::Failed);
        for code in ["0", "5", "7", "8", "13", "16", "17", "140", "x", ""] {
            assert_eq!(said(200, &[call, ("grpc-status", code)]), Said::Well, "{code:?}");
        }
        assert_eq!(said(503, &[call]), Said::Failed, "a gateway that knows no gRPC");
        let mut trailers = HeaderMap::new();
        assert_eq!(Ejection::default().said_of_call(&trailers), Said::Later);
        trailers.insert("grpc-status", "14".parse().unwrap());
        assert_eq!(Ejection::default().said_of_call(&trailers), Said::Failed);
    }

    #[test]
    fn only_calls_of_grpc_have_such_a_status() {
        let unavailable = ("grpc-status", "14");
        assert_eq!(said(200, &[unavailable]), Said::Well);
        for (kind, expected) in [
            ("application/grpc+proto", Said::Failed),
            ("Application/gRPC; v=1", Said::Failed),
            ("application/grpc-web", Said::Well),
            ("application/json", Said::Well),
        ] {
            assert_eq!(said(200, &[("content-type", kind), unavailable]), expected, "{kind}");
        }
        let mut old = http::Response::new(()).into_parts().0;
        old.headers.extend([("content-type", "application/grpc"), ("grpc-status", "14")].map(
            |(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)),
        ));
        assert_eq!(Ejection::default().said_by_head(&old), Said::Well, "over HTTP/1.1");
        assert_eq!(said(103, &[("content-type", "application/grpc"), unavailable]), Said::Nothing);
    }

    #[test]
    fn without_codes_no_call_is_a_failure() {
        let none = Ejection { codes: [].into_iter().collect(), ..Ejection::default() };
        for code in 0..20 {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", code.into());
            assert_eq!(none.said_of_call(&trailers), Said::Well, "{code}");
        }
    }
}
