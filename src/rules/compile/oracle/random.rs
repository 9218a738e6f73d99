//! Random choices, and what programs and requests are made of.

/// Choices made beforehand. After the last one always the first of what there is to choose is taken, which is the
/// simplest, so that fewer and smaller choices make a simpler program.
pub(super) struct Random(std::vec::IntoIter<u16>);

impl Random {
    pub(super) fn new(choices: Vec<u16>) -> Self {
        Self(choices.into_iter())
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        u64::from(self.0.next().unwrap_or(0)) % end
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

pub(super) const TEXTS: [&str; 15] = [
    "",
    "a",
    "GET",
    "POST",
    "/login",
    "/admin/x",
    "curl/8",
    "Mozilla/5.0 ÄÖ",
    "DE",
    "KP",
    "x",
    "login",
    "Mozilla/5.0 (compatible; CURL/8; python-bot7)",
    "/admin/login?next=/admin/xX",
    "python-requests/2 x",
];
/// What texts are searched for: parts of one another, of several texts, of none.
pub(super) const NEEDLES: [&str; 14] =
    ["", "a", "/", "log", "login", "in", "curl", "CURL", "bot", "bot7", "python-", "/admin/", "Ö", "nobody"];
/// Signals that much is asked about in one program.
pub(super) const ASKED: [&str; 3] =
    ["req.path", "req.header(\"user-agent\")", "req.header(\"user-agent\").to_lower()"];
pub(super) const INTS: [i64; 10] = [0, 1, -1, 2, 7, 40, 100, 1 << 20, i64::MAX, i64::MIN + 1];
pub(super) const FLOATS: [&str; 6] = ["0.0", "1.5", "-2.25", "1000.0", "0.1", "3.0"];
