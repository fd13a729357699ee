//! What an issuer is called, and what it serves.

use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::trust::discovery::jwks_uri;
use grantwell::core::trust::issuer::{IssuerKind, IssuerUrl, TrustedIssuer};

/// An issuer, and below it the document that it serves: its metadata, its keys or the SPIFFE ID of a workload. What is read is what was
/// written, and keys of AWS are on the host of their issuer.
pub fn issuer(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (issuer, document) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(issuer) = issuer.parse::<IssuerUrl>() {
        assert_eq!(issuer.as_str(), text.split('\n').next().unwrap_or_default());
        assert_eq!(issuer.is_sts(), issuer.known_kind() == Some(IssuerKind::Aws));
        assert_eq!(issuer.is_sts(), TrustedIssuer::of_sts(issuer.clone()).is_some());
        if let Ok(uri) = jwks_uri(document, &issuer) {
            assert!(document.contains("issuer") && uri.as_str().starts_with("https://"));
            assert!(!issuer.is_sts() || uri.as_str().starts_with(&format!("{issuer}/")));
        }
    }
    if let Some(trust_domain) = IssuerUrl::of_spiffe_id(document) {
        assert!(document.starts_with(&format!("{trust_domain}/")));
        assert_eq!(trust_domain.as_str().parse(), Ok(trust_domain.clone()));
    }
    let (bundle, set) = (JwkSet::parse_spiffe_bundle(document.as_bytes()), JwkSet::parse_fetched(document.as_bytes()));
    for keys in [bundle, set].into_iter().flatten() {
        assert!(keys.keys().next().is_some());
    }
}
