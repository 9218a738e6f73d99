//! `GET /api/traffic?limit=&sort=`: what becomes of requests right now, by country, client, route, reason and limit,
//! as rates over the last ten seconds. `riskgate top` shows the same.

mod gather;
mod view;

use async_trait::async_trait;
use http::StatusCode;

use super::{Admin, Answer, Asked, Endpoint};
pub use view::{
    Client, Concurrency, Country, Limit, Process, Ranked, Rates, Reason, Route, Sort, Surge, Totals, View,
};

pub(super) struct Traffic;

/// How many rows of each kind, and which come first.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    limit: usize,
    sort: Sort,
}

/// How many rows of each kind are shown unless asked for another number.
const DEFAULT_LIMIT: usize = 20;
/// The most rows of each kind.
pub const MAX_LIMIT: usize = 1000;

#[async_trait]
impl Endpoint for Traffic {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &'static str {
        "/api/traffic"
    }

    async fn answer(&self, admin: &Admin, asked: Asked) -> Answer {
        match Question::parse(&asked.query) {
            Ok(Question { limit, sort }) => {
                let mut view = gather::view(admin);
                view.sort(sort);
                view.truncate(limit);
                Answer::json(&view)
            }
            Err(detail) => Answer::problem(StatusCode::BAD_REQUEST, &detail),
        }
    }
}

impl Question {
    /// Reads a query; what it does not name is as usual.
    fn parse(query: &str) -> Result<Self, String> {
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
        };
        let limit = match value("limit").map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if limit <= MAX_LIMIT => limit,
            Some(_) => return Err(format!("`limit` must be a whole number up to {MAX_LIMIT}")),
        };
        let sort = value("sort").map_or(Some(Sort::default()), Sort::parse);
        let sort =
            sort.ok_or_else(|| format!("`sort` must be one of {}", Sort::ALL.map(Sort::as_str).join(", ")))?;
        Ok(Self { limit, sort })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_how_many_and_what_first() {
        let asked = |query| Question::parse(query);
        assert_eq!(asked(""), Ok(Question { limit: 20, sort: Sort::Offered }));
        assert_eq!(asked("limit=7&sort=blocked"), Ok(Question { limit: 7, sort: Sort::Blocked }));
        assert_eq!(asked("other=1&limit=1000"), Ok(Question { limit: 1000, sort: Sort::Offered }));
    }

    #[test]
    fn a_question_that_cannot_be_answered_is_told_what_can() {
        for query in ["limit=", "limit=-1", "limit=1001", "limit=x"] {
            assert_eq!(Question::parse(query).unwrap_err(), "`limit` must be a whole number up to 1000");
        }
        let words = "`sort` must be one of offered, allowed, throttled, challenged, blocked, name";
        assert_eq!(Question::parse("sort=size").unwrap_err(), words);
    }
}
