//! The two bodies of a refusal: a problem document (RFC 9457) and a small page that works without images,
//! scripts or the network, at any text size, in light and dark, and when read aloud.

use bytes::Bytes;
use serde::Serialize;

use super::{LIMIT_NAME, ProblemType, Refusal, RefusalStatus};

/// The members of RFC 9457, and the one that the rate-limit draft adds.
#[derive(Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    instance: String,
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated_policies: Option<[&'static str; 1]>,
}

/// The problem document.
pub(super) fn problem(refusal: &Refusal) -> Bytes {
    let document = Document {
        kind: refusal.problem.uri(),
        title: title(refusal),
        status: refusal.status.code(),
        detail: detail(refusal.status),
        instance: format!("urn:riskgate:decision:{}", refusal.decision),
        violated_policies: (refusal.problem != ProblemType::Blank).then_some([LIMIT_NAME]),
    };
    // Strings and numbers always serialise; an empty object would still be a valid problem document.
    serde_json::to_vec(&document).map_or(Bytes::from_static(b"{}"), Bytes::from)
}

/// The page. All of its text is ours, a number or an id, so there is nothing to escape.
pub(super) fn page(refusal: &Refusal, retry_after: Option<u64>) -> Bytes {
    let (title, detail) = (title(refusal), detail(refusal.status));
    let (status, decision) = (refusal.status.code(), refusal.decision);
    let wait = match retry_after {
        None => String::new(),
        Some(1) => "<p>Please try again in 1 second.</p>\n".to_owned(),
        Some(seconds) if seconds < 120 => format!("<p>Please try again in {seconds} seconds.</p>\n"),
        Some(seconds) => format!("<p>Please try again in {} minutes.</p>\n", seconds.div_ceil(60)),
    };
    Bytes::from(format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title} ({status})</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.125rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1.5rem }}
code {{ overflow-wrap: anywhere }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{detail}</p>
{wait}<p>If you ask for help, give this number: <code>{decision}</code></p>
</main>
</body>
</html>
"#
    ))
}

impl ProblemType {
    /// The URI as registered, or to be registered, with IANA.
    const fn uri(self) -> &'static str {
        match self {
            Self::Blank => "about:blank",
            Self::AbnormalUsageDetected => {
                "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
            }
            Self::QuotaExceeded => "https://iana.org/assignments/http-problem-types#quota-exceeded",
        }
    }
}

/// `about:blank` wants the status's own words (RFC 9457, section 4.2.1).
fn title(refusal: &Refusal) -> &'static str {
    match refusal.problem {
        ProblemType::Blank => refusal.status.title(),
        ProblemType::AbnormalUsageDetected => "Abnormal Usage Detected",
        ProblemType::QuotaExceeded => "Quota Exceeded",
    }
}

const fn detail(status: RefusalStatus) -> &'static str {
    match status {
        RefusalStatus::BadRequest => "The request could not be understood.",
        RefusalStatus::Forbidden => "This request was not allowed.",
        RefusalStatus::NotFound => "There is nothing at this address.",
        RefusalStatus::TooManyRequests => "Too many requests were made. Slow down and try again later.",
        RefusalStatus::RequestTimeout => "The request took too long to arrive. Try again.",
        RefusalStatus::ContentTooLarge => "The request is too large.",
        RefusalStatus::UnsupportedMediaType => "What was sent is of a type that is not accepted here.",
        RefusalStatus::UriTooLong => "The address is too long.",
        RefusalStatus::HeadersTooLarge => "The headers of the request are too large.",
        RefusalStatus::InternalServerError => "Something went wrong here. It is not your fault.",
        RefusalStatus::BadGateway => "The service behind this address did not answer properly.",
        RefusalStatus::ServiceUnavailable => "The service cannot answer right now. Try again later.",
        RefusalStatus::GatewayTimeout => "The service behind this address took too long to answer.",
    }
}
