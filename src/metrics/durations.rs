//! A histogram of durations that workers fill without meeting each other.
//!
//! Each worker counts in cells of its own, two additions for each duration; they are summed when somebody asks. All
//! that was counted by then is there: only of a duration that is being counted at that very moment may the sum lack
//! what its bucket has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus::core::{Collector, Desc, Describer};
use prometheus::{Opts, proto};

use crate::workers::{self, PerWorker};

/// How often durations fell between bounds. Clones share what they count.
#[derive(Clone)]
pub(super) struct Durations(Arc<Shared>);

struct Shared {
    desc: Desc,
    /// In nanoseconds, rising.
    bounds: Vec<u64>,
    cells: PerWorker<Cells>,
}

#[derive(Default)]
struct Cells {
    /// One for each bound, and one for what is above them all.
    counts: [AtomicU64; MAX_BOUNDS + 1],
    /// The sum of all durations, enough for centuries.
    nanos: AtomicU64,
}

/// With this many bounds, the cells of a worker fill two cache lines.
const MAX_BOUNDS: usize = 14;

impl Durations {
    /// A histogram with these upper bounds, of which there may be [`MAX_BOUNDS`].
    pub(super) fn new(name: &str, help: &str, bounds: &[Duration]) -> Result<Self, prometheus::Error> {
        if bounds.len() > MAX_BOUNDS {
            return Err(prometheus::Error::Msg(format!("`{name}` has more than {MAX_BOUNDS} bounds")));
        }
        let bounds: Vec<u64> = bounds.iter().map(|bound| nanos(*bound)).collect();
        let cells = PerWorker::new(workers::usual(), Cells::default);
        Ok(Self(Arc::new(Shared { desc: Opts::new(name, help).describe()?, bounds, cells })))
    }

    /// Counts a duration.
    pub(super) fn observe(&self, duration: Duration) {
        let (cells, nanos) = (self.0.cells.own(), nanos(duration));
        let bounds = &self.0.bounds;
        let bucket = bounds.iter().position(|bound| nanos <= *bound).unwrap_or(bounds.len());
        if let Some(count) = cells.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
            cells.nanos.fetch_add(nanos, Relaxed);
        }
    }

    fn histogram(&self) -> proto::Histogram {
        let all = || self.0.cells.iter();
        let count = |at: usize| -> u64 {
            all().filter_map(|cells| cells.counts.get(at)).map(|count| count.load(Relaxed)).sum()
        };
        let mut cumulative = 0;
        let bucket = |(at, bound): (usize, &u64)| {
            cumulative += count(at);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(seconds(*bound));
            bucket.set_cumulative_count(cumulative);
            bucket
        };
        let buckets = self.0.bounds.iter().enumerate().map(bucket).collect();
        let sum: u64 = all().map(|cells| cells.nanos.load(Relaxed)).sum();
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(cumulative + count(self.0.bounds.len()));
        histogram.set_sample_sum(seconds(sum));
        histogram
    }
}

impl Collector for Durations {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut metric = proto::Metric::default();
        metric.set_histogram(self.histogram());
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use prometheus::{Histogram, HistogramOpts, Registry, TextEncoder};
    use proptest::prelude::*;

    use super::*;

    fn text(collector: Box<dyn Collector>) -> String {
        let registry = Registry::new();
        registry.register(collector).unwrap();
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    proptest! {
        #[test]
        fn it_says_what_the_usual_histogram_says(millis in prop::collection::vec(0..100_u64, 0..50)) {
            let bounds = [1, 4, 16, 64];
            let durations = Durations::new("x_seconds", "X.", &bounds.map(Duration::from_millis)).unwrap();
            let opts = HistogramOpts::new("x_seconds", "X.").buckets(bounds.map(|bound| bound as f64 / 1e3).into());
            let usual = Histogram::with_opts(opts).unwrap();
            for millis in millis {
                durations.observe(Duration::from_millis(millis));
                usual.observe(millis as f64 / 1e3);
            }
            // Whole numbers add up exactly, fractions do not.
            let sums = |text: &str| -> (String, f64) {
                let (sum, rest) = text.lines().partition::<Vec<_>, _>(|line| line.starts_with("x_seconds_sum"));
                (rest.join("\n"), sum[0].split_once(' ').unwrap().1.parse().unwrap())
            };
            let ((ours, our_sum), (theirs, their_sum)) =
                (sums(&text(Box::new(durations))), sums(&text(Box::new(usual))));
            prop_assert_eq!(ours, theirs);
            prop_assert!((our_sum - their_sum).abs() < 1e-9);
        }
    }

    #[test]
    fn what_many_threads_count_is_all_there() {
        let durations = Durations::new("x", "X.", &[Duration::from_millis(1)]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|n| durations.observe(Duration::from_millis(n % 3))));
            }
        });
        let histogram = durations.histogram();
        assert_eq!(histogram.get_sample_count(), 8000);
        assert_eq!(histogram.get_bucket()[0].cumulative_count(), 8 * (334 + 333));
        assert_eq!(histogram.get_sample_sum(), 8.0 * 0.999);
    }
}
