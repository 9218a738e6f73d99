//! Random numbers that depend on a seed alone, and what programs and requests are made of.

/// A small generator whose numbers depend on the seed alone.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
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
