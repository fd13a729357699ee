//! `grantwell describe`: the tables of the code as JSON, so that what is not Rust (a template, a test of it) reads them from the
//! program instead of from its sources.

use std::iter;
use std::net::Ipv4Addr;

use grantwell::core::endpoint::{Endpoint, Method};
use grantwell::core::error::{ClientAuthFailure, OAuthError};
use grantwell::core::quota::{QuotaMode, TokenQuota};
use grantwell::core::reason::{Kind, Reason};
use grantwell::core::source::ClientSource;
use grantwell::core::time::UnixSeconds;
use grantwell::http::response::Refusal;
use grantwell::http::routes::{ENDPOINTS, paths_of};
use grantwell::observe::metrics::{Metric, Row, Split, Unit};
use serde::Serialize;

use crate::failure::Failure;
use crate::output;

#[derive(Serialize)]
struct Tables {
    routes: Vec<Route>,
    metrics: Vec<MetricRow>,
    /// Why a request is refused or a token is not active, as the log and the metrics have it.
    reasons: Vec<ReasonRow>,
    errors: Vec<ErrorRow>,
}

#[derive(Serialize)]
struct Route {
    endpoint: &'static str,
    method: &'static str,
    parameters: &'static [&'static str],
    paths: Vec<String>,
}

#[derive(Serialize)]
struct MetricRow {
    name: &'static str,
    unit: &'static str,
    /// The sets of dimensions under which CloudWatch has it.
    dimensions: Vec<Vec<&'static str>>,
    /// The name in Prometheus, where a local server counts it.
    prometheus: Option<String>,
    help: &'static str,
}

#[derive(Serialize)]
struct ReasonRow {
    name: &'static str,
    /// Of what.
    kind: &'static str,
    help: &'static str,
}

#[derive(Serialize)]
struct ErrorRow {
    error: &'static str,
    status: u16,
    description: &'static str,
}

/// Writes the tables.
pub(crate) fn run() -> Result<(), Failure> {
    let errors = || iter::successors(next_error(None), |error| next_error(Some(error)));
    let refusals = errors().map(Refusal::from);
    let refusals = refusals.chain(iter::successors(next_refusal(None), |refusal| next_refusal(Some(refusal))));
    output::json(&Tables {
        routes: ENDPOINTS.into_iter().map(Route::of).collect(),
        metrics: Metric::ALL.into_iter().map(|metric| MetricRow::of(metric.row())).collect(),
        reasons: Reason::ALL.into_iter().map(ReasonRow::of).collect(),
        errors: refusals.map(|refusal| ErrorRow::of(&refusal)).collect(),
    })
}

impl Route {
    fn of(endpoint: Endpoint) -> Self {
        let method = match endpoint.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        Self { endpoint: endpoint.name, method, parameters: endpoint.parameters, paths: paths_of(endpoint) }
    }
}

impl MetricRow {
    fn of(row: Row) -> Self {
        let unit = match row.unit {
            Unit::Count => "Count",
            Unit::Milliseconds => "Milliseconds",
        };
        let split = match row.split {
            Split::Nothing => None,
            Split::Realm => Some("Realm"),
            Split::Reason => Some("Reason"),
        };
        let dimensions = iter::once(vec!["FunctionName"]).chain(split.map(|by| vec!["FunctionName", by])).collect();
        Self { name: row.name, unit, dimensions, prometheus: row.prometheus_name(), help: row.help }
    }
}

impl ReasonRow {
    fn of(reason: Reason) -> Self {
        let kind = match reason.kind() {
            Kind::Refusal => "refusal",
            Kind::Function => "function",
            Kind::Inactive => "inactive",
            Kind::Denial => "denial",
        };
        Self { name: reason.as_str(), kind, help: reason.help() }
    }
}

impl ErrorRow {
    fn of(refusal: &Refusal) -> Self {
        Self { error: refusal.code(), status: refusal.status().as_u16(), description: refusal.description() }
    }
}

/// The error after this one, so that each kind is met once: a new kind does not compile until it has its place.
fn next_error(error: Option<&OAuthError>) -> Option<OAuthError> {
    let Some(error) = error else { return Some(OAuthError::InvalidRequest("")) };
    Some(match error {
        OAuthError::InvalidRequest(_) => OAuthError::InvalidClient(ClientAuthFailure::NoCredentials),
        OAuthError::InvalidClient(_) => OAuthError::InvalidGrant(ClientAuthFailure::IssuerNotTrusted),
        OAuthError::InvalidGrant(_) => OAuthError::InvalidScope(""),
        OAuthError::InvalidScope(_) => OAuthError::UnauthorizedClient,
        OAuthError::UnauthorizedClient => OAuthError::UnsupportedGrantType,
        OAuthError::UnsupportedGrantType => OAuthError::InvalidTarget(""),
        OAuthError::InvalidTarget(_) => OAuthError::InvalidAuthorizationDetails,
        OAuthError::InvalidAuthorizationDetails => OAuthError::UnknownRealm,
        OAuthError::UnknownRealm => {
            let from = ClientSource::of(Ipv4Addr::LOCALHOST.into());
            OAuthError::TooManyAttempts { from, retry_after_seconds: 1 }
        }
        OAuthError::TooManyAttempts { .. } => {
            let quota = TokenQuota { limit: "1/hour".parse().ok()?, mode: QuotaMode::Enforce };
            OAuthError::QuotaExceeded(quota.state(1, UnixSeconds(0)))
        }
        OAuthError::QuotaExceeded(_) => OAuthError::Unavailable(String::new()),
        OAuthError::Unavailable(_) => OAuthError::Server(String::new()),
        OAuthError::Server(_) => return None,
    })
}

/// The same of what HTTP itself objects to.
fn next_refusal(refusal: Option<&Refusal>) -> Option<Refusal> {
    let Some(refusal) = refusal else { return Some(Refusal::MethodNotAllowed { allow: "" }) };
    Some(match refusal {
        Refusal::MethodNotAllowed { .. } => Refusal::NotFound,
        Refusal::NotFound => Refusal::PastTheFront,
        Refusal::PastTheFront => Refusal::InvalidHost,
        Refusal::InvalidHost => Refusal::RequestTimeout,
        Refusal::RequestTimeout => Refusal::PayloadTooLarge,
        Refusal::PayloadTooLarge => Refusal::UnsupportedContentEncoding,
        Refusal::UnsupportedContentEncoding => Refusal::UnsupportedTransferCoding,
        Refusal::UnsupportedTransferCoding | Refusal::OAuth(_) => return None,
    })
}
