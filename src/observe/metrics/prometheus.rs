//! The metrics of the local server, for Prometheus to fetch: the rows of the table that one machine has, when the process began and
//! what it uses, and whether its stores work. A label has few values, all of them ours or an operator's: no client, no address.

use std::fmt;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Error, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::counter::{Counter, Label};
use super::table::{Metric, Split, Unit};
use crate::core::reason::{Kind, Reason};

/// What the process has counted since it began.
pub struct Prometheus {
    registry: Registry,
    series: Vec<Option<Series>>,
    stores: IntGaugeVec,
}

/// A row of the table.
enum Series {
    Count(IntCounterVec),
    Time(HistogramVec),
}

impl Prometheus {
    /// Nothing is counted yet. What can be known beforehand is there all the same, as 0: a rise from nothing is none to Prometheus.
    ///
    /// # Errors
    /// [`Error`] for two metrics of one name, which a test would find.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let series = Metric::ALL.into_iter().map(|metric| Series::of(metric, &registry)).collect::<Result<_, _>>()?;
        let build =
            IntGaugeVec::new(Opts::new("grantwell_build_info", "1, with the version of this build."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registered(&registry, &build)?;
        let stores = Opts::new("grantwell_store_up", "1 where the store can be read and written, 0 where it cannot.");
        let stores = registered(&registry, &IntGaugeVec::new(stores, &["store"])?)?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { registry, series, stores })
    }

    /// Notes whether a store works.
    pub fn set_store(&self, store: &'static str, is_up: bool) {
        self.stores.with_label_values(&[store]).set(i64::from(is_up));
    }

    /// Everything, in Prometheus's text format.
    ///
    /// # Errors
    /// [`Error`].
    pub fn text(&self) -> Result<String, Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// The media type of the text.
    pub fn media_type() -> String {
        TextEncoder::new().format_type().to_owned()
    }

    fn series(&self, metric: Metric) -> Option<&Series> {
        self.series.get(metric as usize)?.as_ref()
    }
}

impl Counter for Prometheus {
    fn add(&self, metric: Metric, number: usize, label: Label<'_>) {
        let Some(Series::Count(counts)) = self.series(metric) else { return };
        let count = match label {
            Label::Nothing => counts.get_metric_with_label_values::<&str>(&[]),
            Label::Realm(realm) => counts.get_metric_with_label_values(&[realm.as_str()]),
            Label::Reason(reason) => counts.get_metric_with_label_values(&[reason.as_str()]),
            Label::Answer { .. } => return,
        };
        if let Ok(count) = count {
            count.inc_by(number.try_into().unwrap_or(u64::MAX));
        }
    }

    fn time(&self, metric: Metric, took: Duration, label: Label<'_>) {
        if let (Some(Series::Time(times)), Label::Answer { endpoint, status }) = (self.series(metric), label)
            && let Ok(times) = times.get_metric_with_label_values(&[endpoint, &status.to_string()])
        {
            times.observe(took.as_secs_f64());
        }
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Prometheus").finish_non_exhaustive()
    }
}

impl Series {
    fn of(metric: Metric, registry: &Registry) -> Result<Option<Self>, Error> {
        let row = metric.row();
        let Some(name) = row.prometheus_name() else { return Ok(None) };
        if row.unit == Unit::Milliseconds {
            let options = HistogramOpts::new(name, row.help).buckets(SECONDS.to_vec());
            let times = HistogramVec::new(options, &["endpoint", "status"])?;
            return Ok(Some(Self::Time(registered(registry, &times)?)));
        }
        let labels: &[&str] = match row.split {
            Split::Nothing => &[],
            Split::Realm => &["realm"],
            Split::Reason => &["reason"],
        };
        let counts = registered(registry, &IntCounterVec::new(Opts::new(name, row.help), labels)?)?;
        match row.split {
            Split::Nothing => drop(counts.get_metric_with_label_values::<&str>(&[])?),
            Split::Realm => {}
            Split::Reason => {
                for reason in Reason::ALL.into_iter().filter(|reason| reason.kind() == Kind::Refusal) {
                    counts.get_metric_with_label_values(&[reason.as_str()])?;
                }
            }
        }
        Ok(Some(Self::Count(counts)))
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: &C) -> Result<C, Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric.clone())
}

/// A warm answer takes less than a millisecond; what takes longer than 30 seconds is cut off.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, series: &str) -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn every_row_of_one_machine_is_there_before_anything_is_counted_and_counts_under_its_own_name() {
        let metrics = Prometheus::new().expect("every name is one metric's");
        let before = metrics.text().expect("text");
        let realm = "alpha".parse().expect("a realm");
        for metric in Metric::ALL {
            let row = metric.row();
            let Some(name) = row.prometheus_name() else { continue };
            let (label, series) = match (row.unit, row.split) {
                (Unit::Milliseconds, _) => {
                    metrics.time(metric, Duration::from_millis(3), Label::Answer { endpoint: "token", status: 200 });
                    let after = metrics.text().expect("text");
                    let of = |rest: &str| value(&after, &format!("{name}_{rest}"));
                    assert_eq!(of(r#"count{endpoint="token",status="200"}"#), Some(1.0), "{after}");
                    assert_eq!(of(r#"bucket{endpoint="token",status="200",le="0.0025"}"#), Some(0.0), "{after}");
                    assert_eq!(of(r#"bucket{endpoint="token",status="200",le="0.005"}"#), Some(1.0), "{after}");
                    continue;
                }
                (Unit::Count, Split::Nothing) => (Label::Nothing, name.clone()),
                (Unit::Count, Split::Realm) => (Label::Realm(&realm), format!(r#"{name}{{realm="alpha"}}"#)),
                (Unit::Count, Split::Reason) => {
                    (Label::Reason(Reason::WrongSecret), format!(r#"{name}{{reason="wrong_secret"}}"#))
                }
            };
            assert_eq!(value(&before, &series), (row.split != Split::Realm).then_some(0.0), "{series}");
            metrics.add(metric, 2, label);
            let after = metrics.text().expect("text");
            assert_eq!(value(&after, &series), Some(2.0), "{after}");
            assert!(after.contains(&format!("# TYPE {name} counter")), "{after}");
            assert!(after.contains(&format!("# HELP {name} {}", row.help)), "{after}");
        }
    }

    #[test]
    fn a_store_is_up_or_not() {
        let metrics = Prometheus::new().expect("every name is one metric's");
        for (is_up, shown) in [(true, 1.0), (false, 0.0)] {
            metrics.set_store("tokens", is_up);
            assert_eq!(value(&metrics.text().expect("text"), r#"grantwell_store_up{store="tokens"}"#), Some(shown));
        }
    }
}
