//! How improbable is it that so many requests come by chance?
//!
//! Requests are taken to be Poisson around a rate that is itself uncertain (a gamma distribution), which makes
//! their number negative binomial. The answer is Chernoff's bound of its upper tail, not the tail: two logarithms,
//! no special functions, and never more alarming than the truth.

/// The most that [`anomaly`] answers: 1 in 10^20.
pub(super) const MOST: f64 = 20.0;

/// The `a` for which a count of at least `count` has a probability of at most 10^-a, from 0 to [`MOST`], when `mean`
/// is expected. `shape` says how well the mean is known: its own standard deviation is `mean / sqrt(shape)`.
pub(super) fn anomaly(count: u64, mean: f64, shape: f64) -> f64 {
    let count = count as f64;
    if count <= mean {
        return 0.0;
    }
    let nats = count * (count / mean).ln() - (count + shape) * ((count + shape) / (mean + shape)).ln();
    (nats / std::f64::consts::LN_10).clamp(0.0, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The upper tail of the negative binomial distribution, summed up.
    fn tail(count: u64, mean: f64, shape: f64) -> f64 {
        let p = mean / (mean + shape);
        let mut term = (1.0 - p).powf(shape);
        let mut below = 0.0;
        for k in 0..count {
            below += term;
            term *= (k as f64 + shape) / (k as f64 + 1.0) * p;
        }
        1.0 - below
    }

    #[test]
    fn it_is_never_more_improbable_than_said_and_not_much_less() {
        for shape in [4.0, 16.0] {
            for mean in [1.0, 12.0, 60.0, 300.0] {
                for times in [1.2, 1.5, 2.0, 2.5] {
                    let count = (mean * times) as u64 + 1;
                    let (said, truth) = (anomaly(count, mean, shape), -tail(count, mean, shape).log10());
                    assert!(said <= truth && truth < said + 1.6, "{shape} {mean} {count}: {said} {truth}");
                }
            }
        }
    }

    #[test]
    fn it_has_bounds_whatever_is_counted() {
        for mean in [10.0, 1e3, 1e10] {
            let said: Vec<f64> =
                [0, 9, 11, 100, 10_000, u64::MAX].map(|count| anomaly(count, mean, 16.0)).into();
            assert!(said.iter().all(|a| (0.0..=MOST).contains(a)), "{mean} {said:?}");
            assert!(said.is_sorted());
        }
        assert_eq!(anomaly(10, 10.0, 16.0), 0.0);
        assert_eq!(anomaly(u64::MAX, 10.0, 16.0), MOST);
    }
}
