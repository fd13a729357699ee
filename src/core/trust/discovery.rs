//! An issuer's metadata document (OpenID Connect Discovery 1.0 §3), of which two members count here.

use serde_json::Value;

use crate::core::json::unambiguous_object;
use crate::core::keys::remote::JwksUrl;
use crate::core::trust::issuer::IssuerUrl;

/// Why a metadata document says nothing. Repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedMetadata {
    /// Not the JSON of §4.2.
    #[error("the issuer's metadata document is not a JSON object, or has a member twice")]
    NotAnObject,
    /// Somebody else's (§4.3).
    #[error(
        "the issuer's metadata document is of another issuer: its member issuer has to be the issuer to the letter"
    )]
    OtherIssuer,
    /// It does not say where keys are.
    #[error("the issuer's metadata document has no jwks_uri that is an https URL")]
    NoJwksUri,
    /// Keys of AWS are AWS's to publish.
    #[error("the jwks_uri of an issuer of AWS STS is on another host")]
    OtherHost,
}

/// Where the keys of `issuer` are, by its metadata document.
///
/// Google's and Microsoft's keys are on other hosts than their issuers, so whoever runs an issuer may name any host that keys can be
/// fetched from. That gives it nothing that it does not have: it says which keys are its own. An issuer of AWS STS that nobody has
/// registered is named by a caller, and its keys are on its own host.
///
/// # Errors
/// [`RefusedMetadata`].
pub fn jwks_uri(document: &str, issuer: &IssuerUrl) -> Result<JwksUrl, RefusedMetadata> {
    let members = unambiguous_object(document.as_bytes()).ok_or(RefusedMetadata::NotAnObject)?;
    // By code points: a document that is served under one name and speaks of another is what §4.3 is about.
    if members.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
        return Err(RefusedMetadata::OtherIssuer);
    }
    let uri = members.get("jwks_uri").and_then(Value::as_str).ok_or(RefusedMetadata::NoJwksUri)?;
    let uri: JwksUrl = uri.parse().map_err(|_| RefusedMetadata::NoJwksUri)?;
    let is_below = |uri: &str| uri.strip_prefix(issuer.as_str()).is_some_and(|path| path.starts_with('/'));
    if issuer.is_sts() && !is_below(uri.as_str()) {
        return Err(RefusedMetadata::OtherHost);
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STS: &str = "https://a1d2b0fd-1177-4468-9351-2f0a9b7c7230.tokens.sts.global.api.aws";

    fn keys_of(issuer: &str, document: &Value) -> Result<String, RefusedMetadata> {
        jwks_uri(&document.to_string(), &issuer.parse().expect("an issuer")).map(String::from)
    }

    #[test]
    fn a_document_says_where_the_keys_of_exactly_this_issuer_are() {
        for (issuer, uri) in [
            ("https://accounts.google.com", "https://www.googleapis.com/oauth2/v3/certs"),
            ("https://kubernetes.default.svc", "https://10.0.0.1:6443/openid/v1/jwks"),
            ("https://a.example/", "https://a.example/jwks"),
            (STS, &format!("{STS}/.well-known/jwks.json")),
        ] {
            assert_eq!(keys_of(issuer, &json!({ "issuer": issuer, "jwks_uri": uri })).as_deref(), Ok(uri));
        }
        for other in [
            json!("https://a.example/"),
            json!("https://A.example"),
            json!("https://a.example:443"),
            json!("https://b.example"),
            json!(["https://a.example"]),
            json!(null),
        ] {
            let document = json!({ "issuer": other, "jwks_uri": "https://a.example/jwks" });
            assert_eq!(keys_of("https://a.example", &document), Err(RefusedMetadata::OtherIssuer), "{other}");
        }
        let document = json!({ "jwks_uri": "https://a.example/jwks" });
        assert_eq!(keys_of("https://a.example", &document), Err(RefusedMetadata::OtherIssuer));
    }

    #[test]
    fn keys_are_at_an_https_url() {
        for uri in [
            json!("http://a.example/jwks"),
            json!("file:///etc/passwd"),
            json!("https://user@a.example/jwks"),
            json!("https://a.example/jwks#k"),
            json!("/jwks"),
            json!(""),
            json!(null),
            json!(["https://a.example/jwks"]),
        ] {
            let document = json!({ "issuer": "https://a.example", "jwks_uri": uri });
            assert_eq!(keys_of("https://a.example", &document), Err(RefusedMetadata::NoJwksUri), "{uri}");
        }
        assert_eq!(
            keys_of("https://a.example", &json!({ "issuer": "https://a.example" })),
            Err(RefusedMetadata::NoJwksUri)
        );
    }

    #[test]
    fn keys_of_aws_are_on_the_host_of_their_issuer() {
        for uri in [
            "https://a.example/jwks".to_owned(),
            format!("{STS}.example.com/jwks"),
            format!("{STS}:8443/jwks"),
            STS.to_owned(),
            format!("{STS}?jwks"),
            STS.replace("a1d2", "b1d2") + "/.well-known/jwks.json",
        ] {
            assert_eq!(
                keys_of(STS, &json!({ "issuer": STS, "jwks_uri": uri })),
                Err(RefusedMetadata::OtherHost),
                "{uri}"
            );
        }
    }

    #[test]
    fn a_document_that_can_be_read_in_two_ways_is_not_read() {
        let issuer: IssuerUrl = "https://a.example".parse().expect("an issuer");
        for document in [
            "",
            "[]",
            "null",
            "{",
            r#"{"issuer":"https://b.example","issuer":"https://a.example","jwks_uri":"https://a.example/k"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/k","jwks_uri":"https://b.example/k"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/k"} x"#,
        ] {
            assert_eq!(jwks_uri(document, &issuer), Err(RefusedMetadata::NotAnObject), "{document}");
        }
    }
}
