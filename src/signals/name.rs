//! What the argument of a signal names, prepared once at load so that reading need not parse it again.

use http::HeaderName;

use super::Argument;

/// The argument of a signal: `user-agent` of `req.header("user-agent")`.
#[derive(Clone, Debug)]
pub struct Name {
    text: Box<str>,
    header: Option<HeaderName>,
}

/// "All there are", for scripts that compute the argument.
const ALL: &str = "*";

impl Name {
    /// Prepares an argument of this kind; `None` is a plain property, whose argument is empty.
    pub fn new(kind: Option<Argument>, text: &str) -> Self {
        let header = match kind {
            Some(Argument::Header) if text != ALL => HeaderName::try_from(text).ok(),
            Some(_) | None => None,
        };
        Self { text: text.into(), header }
    }

    /// As the script has it; a header in lower case.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it stands for all there are.
    pub fn is_all(&self) -> bool {
        &*self.text == ALL
    }

    /// The header it names; `None` if it names something else, or nothing that a header can be called.
    pub fn header(&self) -> Option<&HeaderName> {
        self.header.as_ref()
    }
}
