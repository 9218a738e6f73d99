//! Values of several rounds, and what is said of them: the median, and from where to where they go.

/// Lowest, middle and highest of some values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// The lowest.
    pub(crate) low: f64,
    /// Half are below, half above.
    pub(crate) median: f64,
    /// The highest.
    pub(crate) high: f64,
}

/// What stands where there is no value.
pub(crate) const ABSENT: &str = "n/a";

impl Spread {
    /// `None` if any round has no value.
    pub(crate) fn of(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect::<Option<_>>()?;
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) { *values.get(middle.checked_sub(1)?)? } else { upper };
        Some(Self { low: *values.first()?, median: (lower + upper) / 2.0, high: *values.last()? })
    }
}

/// The median.
pub(crate) fn plain(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or(ABSENT.into(), |spread| format!("{:.digits$}", spread.median))
}

/// The median and the span.
pub(crate) fn with_span(spread: Option<Spread>, digits: usize) -> String {
    let span =
        |Spread { low, median, high }| format!("{median:.digits$} [{low:.digits$} to {high:.digits$}]");
    spread.map_or(ABSENT.into(), span)
}
