//! Why a bench ends without figures. A wrong answer is such a reason: figures of failed requests mean nothing.

use std::io;
use std::time::Duration;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A process was started in a way it does not understand.
    #[error("`{0}` is not how the bench starts this process")]
    Role(String),
    /// The configuration of a gate cannot be adapted.
    #[error("the configuration `{path}` cannot be adapted: {why}")]
    Configuration {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The country database cannot be given to others.
    #[error("the database `{path}` cannot be read: {why}")]
    Database {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A contestant does not do what the others do, so it cannot be compared with them.
    #[error(
        "`{name}` does not do the work of the reference policy; {probe}: it must be {wanted}, and is {got}"
    )]
    OtherWork {
        /// The contestant.
        name: String,
        /// The request.
        probe: String,
        /// What had to become of it.
        wanted: String,
        /// What became of it.
        got: String,
    },
    /// A process ended when it should have served.
    #[error("`{name}` ended ({status}); it said:\n{said}")]
    Ended {
        /// The contestant.
        name: String,
        /// How it ended.
        status: String,
        /// The end of its output.
        said: String,
    },
    /// A process did not answer in time.
    #[error("`{name}` did not answer within {waited:?}; it said:\n{said}")]
    Silent {
        /// The contestant.
        name: String,
        /// How long it had.
        waited: Duration,
        /// The end of its output.
        said: String,
    },
    /// A process was asked to end and went on.
    #[error("`{name}` did not end within {waited:?}; it said:\n{said}")]
    Lingers {
        /// The contestant.
        name: String,
        /// How long it had.
        waited: Duration,
        /// The end of its output.
        said: String,
    },
    /// Some answers were not what they had to be.
    #[error("`{name}` gave wrong answers: {what}")]
    Wrong {
        /// The contestant.
        name: String,
        /// How many, of which kind.
        what: String,
    },
}

impl LoadError {
    /// Says what was being done when the system refused.
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source: source.into() }
    }
}
