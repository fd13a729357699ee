//! Whom everything is told that a process does.

use std::sync::Arc;
use std::time::Duration;

use super::event::{self, Event, Sinks, audit};
use super::metrics::{Counter, Metrics};
use super::request::InvocationIds;
use crate::core::audit::{AuditEvent, AuditSink};

/// Writes the line of every event, and counts it where metrics are on.
#[derive(Debug, Default)]
pub struct Observer {
    /// Written at the end of each invocation.
    metrics: Option<Metrics>,
    /// Fetched by whoever wants to know.
    counter: Option<Arc<dyn Counter>>,
}

impl Observer {
    /// Logs, and counts in `metrics`. [`Observer::default`] only logs.
    pub fn counting(metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), counter: None }
    }

    /// Logs, and counts in `counter`.
    pub fn counting_in(counter: Arc<dyn Counter>) -> Self {
        Self { metrics: None, counter: Some(counter) }
    }

    /// Whether anything is counted.
    pub fn counts(&self) -> bool {
        self.metrics.is_some() || self.counter.is_some()
    }

    /// Tells of what happened.
    pub fn tell(&self, event: Event<'_>) {
        event::tell(event, self.sinks(true));
    }

    /// Writes what was counted during an invocation, which ends with it.
    pub fn end_invocation(&self, ids: &InvocationIds, latency: Duration) {
        if let Some(metrics) = &self.metrics {
            metrics.write_line(ids, latency);
        }
    }

    /// Counts a decision whose line is left out.
    pub(super) fn count(&self, event: &AuditEvent<'_>) {
        audit::tell(event, self.sinks(false));
    }

    fn sinks(&self, is_logged: bool) -> Sinks<'_> {
        let metrics = self.metrics.as_ref().map(|metrics| metrics as &dyn Counter);
        Sinks { is_logged, metrics: metrics.or(self.counter.as_deref()) }
    }
}

impl AuditSink for Observer {
    fn record(&self, event: &AuditEvent<'_>) {
        audit::tell(event, self.sinks(true));
    }
}

#[cfg(test)]
impl Observer {
    /// The line of the metrics of an invocation.
    pub(crate) fn metrics_line(&self) -> serde_json::Value {
        self.metrics.as_ref().expect("metrics").line()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::access_token::settings::AccessTokenFormat;
    use crate::core::error::{ClientAuthFailure, OAuthError};

    fn observer() -> Observer {
        Observer::counting(Metrics::in_tests())
    }

    #[test]
    fn an_issued_token_counts_in_its_realm() {
        let observer = observer();
        let (realm, client_id) = ("alpha".parse().expect("a realm"), "myClient".parse().expect("an id"));
        observer.record(&AuditEvent::TokenIssued {
            realm: &realm,
            client_id: &client_id,
            scope: &"read".parse().expect("a scope"),
            expires_in: 3600,
            format: AccessTokenFormat::Opaque,
            admission: None,
            audit_tracking_id: "a9ab2e1e-6a5a-4d8f-8e0d-4c1d5e0f2a3b",
        });
        let line = observer.metrics_line();
        assert_eq!((&line["TokensIssued"], &line["Realm"]), (&json!(1), &json!("alpha")));
        assert!(!line.to_string().contains("myClient"), "{line}");
    }

    #[test]
    fn a_refusal_counts_under_its_reason_and_names_neither_the_client_nor_the_realm() {
        let observer = observer();
        let (realm, client_id) = ("invented".parse().expect("a realm"), "myClient".parse().expect("an id"));
        let error = OAuthError::InvalidClient(ClientAuthFailure::WrongSecret);
        observer.record(&AuditEvent::Refused {
            endpoint: "token",
            realm: &realm,
            client_id: Some(&client_id),
            source: None,
            unverified_scope: None,
            error: &error,
        });
        let line = observer.metrics_line();
        assert_eq!((&line["Reason"], &line["RequestsRefused"]), (&json!("wrong_secret"), &json!(1)));
        assert!(!line.to_string().contains("myClient") && !line.to_string().contains("invented"), "{line}");
    }

    #[test]
    fn an_answer_counts_by_its_status() {
        let observer = observer();
        for status in [200, 400, 429, 500, 502, 503] {
            observer.tell(Event::Answered { status, endpoint: None });
        }
        let line = observer.metrics_line();
        assert_eq!((&line["AnswersUnavailable"], &line["AnswersFailed"]), (&json!(1), &json!(2)));
    }
}
