//! Whose certificates count when a function calls AWS: Amazon's own roots for Amazon's names, the system's for all others.
//!
//! The system's store has some 140 roots, and reading them was most of a cold start; nobody but Amazon has any business with a
//! certificate of DynamoDB. An endpoint of one's own (`AWS_ENDPOINT_URL`, or a service's variable) is trusted as the system
//! says, whose store is read with the first request to it, and never for plain HTTP.
//!
//! One connector serves all clients of a function, so that they share connections and read the roots once.

use std::sync::OnceLock;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use axum::http::Uri;
use axum::http::uri::Scheme;

/// The HTTP client of a function. The time limits are those of the first call: all its SDK clients have the same.
pub(super) fn http_client() -> SharedHttpClient {
    let shared = OnceLock::new();
    http_client_fn(move |settings, components| {
        shared.get_or_init(|| SharedHttpConnector::new(TrustByHost::new(settings, components))).clone()
    })
}

/// Sends each request over connections that are trusted as its host demands.
#[derive(Debug)]
struct TrustByHost {
    builder: ConnectorBuilder,
    amazon: OnceLock<Option<Connector>>,
    system: OnceLock<Option<Connector>>,
}

/// Whose certificates count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Amazon,
    System,
}

impl TrustByHost {
    fn new(settings: &HttpConnectorSettings, components: &RuntimeComponents) -> Self {
        // What the SDK's own client has, but for the roots.
        let mut builder =
            Connector::builder().proxy_config(ProxyConfig::from_env()).connector_settings(settings.clone());
        builder.set_sleep_impl(components.sleep_impl());
        Self { builder, amazon: OnceLock::new(), system: OnceLock::new() }
    }

    fn connector(&self, trust: Trust) -> Option<&Connector> {
        let connector = match trust {
            Trust::Amazon => &self.amazon,
            Trust::System => &self.system,
        };
        let connect = || {
            let context = TlsContext::builder().with_trust_store(trust.store()).build().ok()?;
            let builder = self.builder.clone().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
            Some(builder.tls_context(context).build())
        };
        connector.get_or_init(connect).as_ref()
    }
}

impl HttpConnector for TrustByHost {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        match self.connector(Trust::in_requests_to(request.uri())) {
            Some(connector) => connector.call(request),
            None => HttpConnectorFuture::ready(Err(ConnectorError::user("no TLS settings".into()))),
        }
    }
}

impl Trust {
    fn in_requests_to(uri: &str) -> Self {
        let uri: Option<Uri> = uri.parse().ok();
        let is_amazons = |host: &str| AMAZON.iter().any(|domain| host.ends_with(domain));
        match uri {
            Some(uri) if uri.scheme() == Some(&Scheme::HTTPS) && !uri.host().is_some_and(is_amazons) => Self::System,
            // Plain HTTP, too: it shows no certificate to anybody, and the system's store stays closed.
            _ => Self::Amazon,
        }
    }

    fn store(self) -> TrustStore {
        match self {
            Self::Amazon => ROOTS.into_iter().fold(TrustStore::empty(), TrustStore::with_pem_certificate),
            Self::System => TrustStore::default(),
        }
    }
}

/// The domains for which Amazon alone gets certificates: of the endpoints, and of those that know IPv6 too. Those in China end in
/// `.amazonaws.com.cn`; whose certificates those show is the system's to judge.
const AMAZON: [&str; 2] = [".amazonaws.com", ".api.aws"];

/// src/aws/roots/README.md says where they are from.
const ROOTS: [&[u8]; 5] = [
    include_bytes!("roots/amazon-root-ca-1.pem"),
    include_bytes!("roots/amazon-root-ca-2.pem"),
    include_bytes!("roots/amazon-root-ca-3.pem"),
    include_bytes!("roots/amazon-root-ca-4.pem"),
    include_bytes!("roots/starfield-services-root-ca-g2.pem"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_roots_count_for_amazons_names_and_nobody_elses() {
        for (uri, trust) in [
            ("https://dynamodb.eu-central-1.amazonaws.com/", Trust::Amazon),
            ("https://123456789012.ddb.us-east-1.amazonaws.com/", Trust::Amazon),
            ("https://secretsmanager-fips.us-gov-west-1.amazonaws.com:443/", Trust::Amazon),
            ("https://dynamodb.eu-central-1.api.aws", Trust::Amazon),
            ("https://vpce-0123-abcd.dynamodb.us-east-1.vpce.amazonaws.com/", Trust::Amazon),
            ("https://dynamodb.cn-north-1.amazonaws.com.cn/", Trust::System),
            ("https://localhost:4566/", Trust::System),
            ("https://127.0.0.1:4566", Trust::System),
            ("https://[::1]:4566", Trust::System),
            ("https://amazonaws.com.example.com/", Trust::System),
            ("https://notamazonaws.com/", Trust::System),
            ("https://example.com/.amazonaws.com", Trust::System),
            ("https://dynamodb.eu-central-1.amazonaws.com@example.com/", Trust::System),
        ] {
            assert_eq!(Trust::in_requests_to(uri), trust, "{uri}");
        }
    }

    #[test]
    fn the_systems_store_stays_closed_without_tls() {
        for uri in ["http://127.0.0.1:4566/", "http://localhost:8000", "", "https://", "no URI at all"] {
            assert_eq!(Trust::in_requests_to(uri), Trust::Amazon, "{uri}");
        }
    }

    #[test]
    fn the_roots_in_this_binary_can_be_read() {
        let context = TlsContext::builder().with_trust_store(Trust::Amazon.store()).build().expect("a context");
        // Panics on a certificate that it cannot read.
        Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build();
    }
}
