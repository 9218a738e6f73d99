//! Surges in metrics: a gauge for each that there is, and how many there were.
//!
//! Labels are countries and the names of configured routes. A gauge is gone when its surge is.

use prometheus::core::Collector;
use prometheus::{GaugeVec, IntCounterVec, Opts};

use crate::traffic::{Source, Stage, Surge};

pub(super) struct Surges {
    countries: GaugeVec,
    routes: GaugeVec,
    begun: IntCounterVec,
}

impl Surges {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, label: &str| GaugeVec::new(Opts::new(name, help), &[label]);
        let begun = Opts::new("riskgate_surges_total", "Surges that began, of countries and of routes.");
        let surges = Self {
            countries: gauge("riskgate_surge", "Rate over usual rate of a country that surges.", "country")?,
            routes: gauge("riskgate_route_surge", "Rate over usual rate of a route that surges.", "route")?,
            begun: IntCounterVec::new(begun, &["of"])?,
        };
        for of in ["country", "route"] {
            surges.begun.with_label_values(&[of]);
        }
        Ok(surges)
    }

    pub(super) fn told(&self, surge: &Surge) {
        let (gauges, of, label) = match &surge.source {
            Source::Country(country) => (&self.countries, "country", country.as_str()),
            Source::Route(route) => (&self.routes, "route", &**route),
        };
        match surge.stage {
            Stage::Began => {
                self.begun.with_label_values(&[of]).inc();
                gauges.with_label_values(&[label]).set(surge.pulse.surge);
            }
            Stage::Lasts => gauges.with_label_values(&[label]).set(surge.pulse.surge),
            // It is there, unless it began before anybody was told.
            Stage::Ended | Stage::Accepted => drop(gauges.remove_label_values(&[label])),
        }
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 3] {
        [Box::new(self.countries.clone()), Box::new(self.routes.clone()), Box::new(self.begun.clone())]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Metrics;
    use super::*;
    use crate::facts::place::CountryCode;
    use crate::traffic::Pulse;

    fn surge(source: Source, stage: Stage, times: f64) -> Surge {
        let pulse = Pulse { rate: 40.0, usual: 0.2, surge: times, anomaly: 20.0 };
        Surge { source, stage, pulse, lasted: Duration::ZERO }
    }

    #[test]
    fn a_gauge_is_there_as_long_as_its_surge() {
        let metrics = Metrics::new().unwrap();
        let has = |line: &str| metrics.text(0).lines().any(|found| found == line);
        let iceland = || Source::Country(CountryCode::parse("IS").unwrap());
        assert!(has("riskgate_surges_total{of=\"country\"} 0"));
        metrics.surged(&surge(iceland(), Stage::Began, 12.5));
        metrics.surged(&surge(Source::Route("search".into()), Stage::Began, 3.0));
        assert!(has("riskgate_surge{country=\"IS\"} 12.5"));
        metrics.surged(&surge(iceland(), Stage::Lasts, 34.0));
        assert!(has("riskgate_surge{country=\"IS\"} 34") && has("riskgate_route_surge{route=\"search\"} 3"));
        metrics.surged(&surge(iceland(), Stage::Ended, 1.0));
        assert!(
            !metrics.text(0).contains("riskgate_surge{") && metrics.text(0).contains("riskgate_route_surge{")
        );
        assert!(
            has("riskgate_surges_total{of=\"country\"} 1") && has("riskgate_surges_total{of=\"route\"} 1")
        );
        metrics.surged(&surge(Source::Route("search".into()), Stage::Accepted, 1.0));
        assert!(!metrics.text(0).contains("riskgate_route_surge{"));
    }
}
