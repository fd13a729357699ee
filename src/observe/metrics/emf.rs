//! CloudWatch's embedded metric format: a line of the log of which CloudWatch makes metrics by itself.
//!
//! The format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::time::Duration;

use serde::ser::{SerializeMap as _, SerializeStruct as _};
use serde::{Serialize, Serializer};
use tracing_subscriber::filter::LevelFilter;

use super::invocation::Pending;
use super::table::{Metric, Split, Unit};
use crate::core::time::UnixSeconds;
use crate::observe::log::LogLevel;
use crate::observe::request::InvocationIds;

/// What an invocation did. Written straight into its text, since it is part of what an invocation costs.
pub(super) struct Line<'a> {
    pub(super) function_name: &'a str,
    pub(super) level: &'static str,
    pub(super) ids: &'a InvocationIds,
    pub(super) now: UnixSeconds,
    pub(super) written_at: &'a str,
    pub(super) pending: &'a Pending,
}

/// Lambda filters the lines of a function whose log format is JSON by their member `level`, and takes one without a valid
/// `level` and an RFC 3339 `timestamp` for INFO, which a stack with a `LogLevel` of warn or error never sees
/// (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>). So a line of metrics has the very
/// level that is the least to pass, whatever it is.
pub(super) fn level_of_lines(least: LogLevel) -> &'static str {
    LevelFilter::from(least).into_level().map_or("ERROR", |level| level.as_str())
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { function_name, level, ids, now, written_at, pending } = self;
        let mut line = serializer.serialize_map(None)?;

        // 1. What leads to the other lines of the invocation, and the dimensions.
        line.serialize_entry("timestamp", written_at)?;
        line.serialize_entry("level", level)?;
        line.serialize_entry("request_id", &ids.request_id)?;
        if let Some(trace_id) = &ids.trace_id {
            line.serialize_entry("trace_id", trace_id)?;
        }
        line.serialize_entry(FUNCTION_NAME, function_name)?;
        if let Some(realm) = &pending.realm {
            line.serialize_entry(REALM, realm.as_str())?;
        }
        if let Some(reason) = &pending.reason {
            line.serialize_entry(REASON, reason.as_str())?;
        }

        // 2. The values.
        for (metric, value) in pending.recorded() {
            let name = metric.row().name;
            if metric == Metric::Latency {
                line.serialize_entry(name, &milliseconds(pending.latency))?;
            } else {
                line.serialize_entry(name, &value)?;
            }
        }

        // 3. What CloudWatch is to make of them.
        let timestamp = now.0.saturating_mul(1000);
        let directives = SPLITS.into_iter().map(|split| Directive { split, pending });
        let directives = Sequence(directives.filter(|directive| directive.metrics().next().is_some()));
        line.serialize_entry("_aws", &Instructions { timestamp, directives })?;
        line.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Instructions<D> {
    timestamp: u64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: D,
}

/// The metrics that are split up alike.
#[derive(Clone, Copy)]
struct Directive<'a> {
    split: Split,
    pending: &'a Pending,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDefinition {
    name: &'static str,
    unit: &'static str,
}

impl<'a> Directive<'a> {
    fn metrics(self) -> impl Iterator<Item = MetricDefinition> + Clone + use<'a> {
        let rows = self.pending.recorded().map(|(metric, _)| metric.row());
        let rows = rows.filter(move |row| row.split == self.split);
        rows.map(|row| MetricDefinition { name: row.name, unit: unit(row.unit) })
    }
}

impl Serialize for Directive<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut directive = serializer.serialize_struct("Directive", 3)?;
        directive.serialize_field("Namespace", NAMESPACE)?;
        directive.serialize_field("Dimensions", dimensions(self.split))?;
        directive.serialize_field("Metrics", &Sequence(self.metrics()))?;
        directive.end()
    }
}

/// A JSON array of what an iterator yields.
struct Sequence<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Sequence<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "Count",
        Unit::Milliseconds => "Milliseconds",
    }
}

/// The sets of dimensions under which the values are added up.
fn dimensions(split: Split) -> &'static [&'static [&'static str]] {
    match split {
        Split::Nothing => &[&[FUNCTION_NAME]],
        Split::Realm => &[&[FUNCTION_NAME], &[FUNCTION_NAME, REALM]],
        Split::Reason => &[&[FUNCTION_NAME], &[FUNCTION_NAME, REASON]],
    }
}

/// To a microsecond: a warm answer without a call takes less than one millisecond.
fn milliseconds(time: Duration) -> f64 {
    Duration::from_micros(time.as_micros().try_into().unwrap_or(u64::MAX)).as_secs_f64() * 1000.0
}

/// Under which all metrics are found.
const NAMESPACE: &str = "Grantwell";
const FUNCTION_NAME: &str = "FunctionName";
const REALM: &str = "Realm";
const REASON: &str = "Reason";
const SPLITS: [Split; 3] = [Split::Nothing, Split::Realm, Split::Reason];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::core::reason::Reason;
    use crate::observe::metrics::{Counter as _, Label, Metrics};

    #[test]
    fn an_invocation_is_one_line() {
        let metrics = Metrics::in_tests();
        metrics.add(Metric::DynamoDbCalls, 2, Label::Nothing);
        metrics.add(Metric::TokensIssued, 1, Label::Realm(&"alpha".parse().expect("a realm")));
        let mut line = metrics.line();
        let (timestamp, written_at) = (line["_aws"]["Timestamp"].take(), line["timestamp"].take());
        assert!(timestamp.as_u64().expect("a number") > 1_700_000_000_000, "{timestamp}");
        assert!(written_at.as_str().expect("a text").ends_with('Z'), "{written_at}");
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": null, "CloudWatchMetrics": [
                    {"Namespace": "Grantwell", "Dimensions": [["FunctionName"]], "Metrics": [
                        {"Name": "ColdStarts", "Unit": "Count"},
                        {"Name": "Latency", "Unit": "Milliseconds"},
                        {"Name": "DynamoDbCalls", "Unit": "Count"},
                    ]},
                    {"Namespace": "Grantwell", "Dimensions": [["FunctionName"], ["FunctionName", "Realm"]],
                        "Metrics": [{"Name": "TokensIssued", "Unit": "Count"}]},
                ]},
                "timestamp": null, "level": "INFO",
                "request_id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd", "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
                "FunctionName": "stack-token", "Realm": "alpha",
                "ColdStarts": 1, "Latency": 1.234, "DynamoDbCalls": 2, "TokensIssued": 1,
            })
        );
        assert!(!line.to_string().contains('\n'));
        assert!(metrics.line().get("ColdStarts").is_none(), "only the first line of a process has one: {line}");
    }

    #[test]
    fn a_line_has_the_least_level_that_lambda_lets_pass() {
        for (level, expected) in [(LogLevel::Error, "ERROR"), (LogLevel::Warn, "WARN"), (LogLevel::Trace, "TRACE")] {
            assert_eq!(level_of_lines(level), expected);
        }
    }

    #[test]
    fn a_line_declares_exactly_the_metrics_and_the_dimensions_that_it_has() {
        let metrics = Metrics::in_tests();
        let realm = "alpha".parse().expect("a realm");
        for metric in Metric::ALL {
            let label = match metric.row().split {
                Split::Nothing => Label::Nothing,
                Split::Realm => Label::Realm(&realm),
                Split::Reason => Label::Reason(Reason::WrongSecret),
            };
            metrics.add(metric, 1, label);
        }
        let line = metrics.line();
        let mut named = vec!["timestamp", "level", "request_id", "trace_id", "_aws"];
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().expect("a list") {
            for metric in directive["Metrics"].as_array().expect("a list") {
                let name = metric["Name"].as_str().expect("text");
                assert!(line[name].is_number(), "{name}");
                named.push(name);
            }
            for dimension in
                directive["Dimensions"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten()
            {
                let name = dimension.as_str().expect("text");
                assert!(line[name].is_string(), "{name}");
                named.push(name);
            }
        }
        for member in line.as_object().expect("an object").keys() {
            assert!(named.contains(&member.as_str()), "{member} is nowhere declared");
        }
    }
}
