//! `client_secret_basic` (RFC 6749 §2.3.1): HTTP Basic (RFC 7617), with the id and the secret form-encoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::method::{Carrier, Method, Presented};
use super::request::ClientRequest;
use super::secret::{CLIENT_SECRET, presented};
use crate::core::authorization;
use crate::core::client::auth_method::AuthMethod;
use crate::core::encoding::decode_form;
use crate::core::error::{ClientAuthFailure, OAuthError};

pub(super) const METHOD: Method = Method {
    name: AuthMethod::ClientSecretBasic,
    carrier: Carrier::Authorization,
    needs: &[CLIENT_SECRET],
    is_listed: true,
    find,
};

/// What a credential consists of.
struct IdAndSecret {
    id: Zeroizing<String>,
    secret: Zeroizing<String>,
}

fn find(request: &ClientRequest<'_>) -> Result<Option<Presented>, OAuthError> {
    // HTTP API joins repeated headers with a comma, which no Basic credential has: malformed there, so here too.
    let mut values = authorization::spoken(request.authorization);
    let (Some(value), None) = (values.next(), values.next()) else { return Err(MALFORMED) };
    decode_basic(value)?.map(|IdAndSecret { id, secret }| presented(&id, &secret)).transpose()
}

/// Decodes the value of an Authorization header; `None` for another scheme.
///
/// # Errors
/// [`OAuthError::InvalidClient`] for whatever does not decode exactly.
fn decode_basic(value: &[u8]) -> Result<Option<IdAndSecret>, OAuthError> {
    let (scheme, encoded) = authorization::split(value);
    let encoded = encoded.ok_or(MALFORMED)?;
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return Ok(None);
    }
    // The engine is strict: no white space, canonical padding, no stray bits at the end.
    let pair = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| MALFORMED)?);
    let colon = pair.iter().position(|byte| *byte == b':').ok_or(MALFORMED)?;
    let (id, secret) = pair.split_at(colon);
    // A colon was found, so the second half starts with it.
    let secret = secret.get(1..).ok_or(MALFORMED)?;
    Ok(Some(IdAndSecret { id: decode_form(id).ok_or(MALFORMED)?, secret: decode_form(secret).ok_or(MALFORMED)? }))
}

const MALFORMED: OAuthError = OAuthError::InvalidClient(ClientAuthFailure::Malformed);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::params::Params;
    use crate::core::realm::{PublicUrl, RealmName};

    fn basic(pair: &[u8]) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(pair)).into_bytes()
    }

    fn decoded(value: &[u8]) -> (String, String) {
        let pair = decode_basic(value).ok().flatten();
        let IdAndSecret { id, secret } = pair.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(value)));
        (id.to_string(), secret.to_string())
    }

    fn is_malformed(value: &[u8]) -> bool {
        let (realm, params) = (RealmName::root(), Params::parse(b"").expect("nothing"));
        let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL").issuer("/oauth2");
        let request = ClientRequest { authorization: &[value], ..ClientRequest::new(&realm, &issuer, &params) };
        matches!(find(&request), Err(OAuthError::InvalidClient(ClientAuthFailure::Malformed)))
    }

    #[test]
    fn an_encoded_and_a_plain_credential_are_the_same() {
        for (scheme, pair) in [
            ("Basic", "my-client:s_1"),
            ("bAsIc", "my%2Dclient:s%5F1"),
            ("Basic ", "my-client:s_1"),
            ("basic   ", "my-client:s_1"),
        ] {
            let value = format!("{scheme} {}", STANDARD.encode(pair));
            assert_eq!(decoded(value.as_bytes()), ("my-client".to_owned(), "s_1".to_owned()), "{value}");
        }
    }

    #[test]
    fn everything_after_the_first_colon_is_the_secret() {
        assert_eq!(decoded(&basic(b"id:a%3Ab+%26:c")), ("id".to_owned(), "a:b &:c".to_owned()));
    }

    #[test]
    fn whatever_does_not_decode_exactly_is_malformed() {
        let cases: [&[u8]; 12] = [
            b"Basic",
            b"Basic ",
            b"Basic \tZm9vOmJhcg==",
            b"Basic Zm9vOmJhcg== x",
            b"Basic !!!",
            b"Basic Zm9vOmJhcg==!",
            b"Basic Zm9vOmJhcg",
            b"Basic Zm9vOmJhch==",
            b"Basic Zm9v",
            b"Basic Zm9vOmJhcg==, Basic Zm9vOmJhcg==",
            b"Basic \xff",
            b"Basic Zm9vOm-_-_",
        ];
        for value in cases {
            assert!(is_malformed(value), "{}", String::from_utf8_lossy(value));
        }
        for pair in [&b"foo%zz:bar"[..], b"id:\xff\xfe", b"id:", b":secret", b"id:a%00", "id:é".as_bytes(), b"i\td:x"]
        {
            assert!(is_malformed(&basic(pair)), "{}", String::from_utf8_lossy(pair));
        }
    }

    #[test]
    fn another_scheme_is_another_methods() {
        assert!(decode_basic(b"Bearer Zm9vOmJhcg==").is_ok_and(|pair| pair.is_none()));
    }
}
