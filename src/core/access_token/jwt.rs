//! JWT access tokens (RFC 9068): the facts of a record as signed claims, under the media type `application/at+jwt`.
//!
//! A token that the server keeps nothing of says so in its `jti`, which also names the registration it was issued to. So both
//! are signed, and a change of settings changes nothing about tokens that are out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::claims::Members;
use super::inactive::Inactive;
use super::record::{AccessTokenRecord, PresentedToken};
use super::settings::AccessTokenPersistence;
use super::{AccessToken, TokenDigest};
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::encoding::base64url;
use crate::core::jose::{self, UnverifiedJws};
use crate::core::keys::KeyError;
use crate::core::keys::published::VerificationKeys;
use crate::core::keys::set::Signer;
use crate::core::realm::{Issuer, RealmName};
use crate::core::reason::Reason;
use crate::core::resource::Audience;
use crate::core::scope::Scope;
use crate::core::time::UnixSeconds;
use crate::core::trust::rule::RuleName;

/// The media type in the header, without `application/` (RFC 9068 §2.1).
pub const TYP: &str = "at+jwt";
/// The longest token that is issued, in characters. API Gateway takes 10,240 bytes of request line and headers together.
pub const MAX_LENGTH: usize = 7 * 1024;

/// A text with the header of an access token; nobody has looked at its signature yet.
pub struct UnverifiedJwt<'a> {
    text: &'a str,
    jws: UnverifiedJws<'a>,
}

/// The claims of RFC 9068 §2.2, and this server's own. No `nbf`: a token is valid from its issue, and a resource server whose
/// clock is behind must not refuse it.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a ClientId,
    aud: AudienceClaim<'a>,
    client_id: &'a ClientId,
    iat: UnixSeconds,
    exp: UnixSeconds,
    jti: &'a str,
    scope: &'a Scope,
    realm: String,
    #[serde(rename = "auditTrackingId")]
    audit_tracking_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_rule: Option<&'a RuleName>,
    #[serde(flatten)]
    custom: &'a Map<String, Value>,
}

/// RFC 7519 §4.1.3: one name, or a list.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum AudienceClaim<'a> {
    One(&'a str),
    Several(Vec<&'a str>),
}

#[derive(Deserialize)]
struct VerifiedClaims {
    iss: Issuer,
    sub: ClientId,
    aud: Audience,
    client_id: ClientId,
    iat: UnixSeconds,
    exp: UnixSeconds,
    jti: String,
    scope: Scope,
    realm: String,
    #[serde(rename = "auditTrackingId")]
    audit_tracking_id: String,
    #[serde(default)]
    trust_rule: Option<RuleName>,
    #[serde(flatten)]
    custom: Members,
}

#[derive(Deserialize)]
struct RealmClaim {
    realm: String,
}

/// The `jti` of a JWT: 128 random bits, and for a token that is stored nowhere what its record would have told.
pub(crate) fn new_jti(
    persistence: AccessTokenPersistence,
    registration_id: &RegistrationId,
    random_bits: &[u8; 16],
) -> String {
    let name = base64url(random_bits);
    match persistence {
        AccessTokenPersistence::Stored => name,
        AccessTokenPersistence::Stateless => format!("{STATELESS}{}.{name}", registration_id.as_str()),
    }
}

/// A token of any claims at all, signed by a key of the realm: what is behind the signature, for the fuzz targets.
#[cfg(fuzzing)]
pub fn sign_claims(signer: &Signer, claims: &Value) -> Option<String> {
    jose::sign(signer, TYP, claims).ok()
}

/// The token that says what `record` says.
///
/// # Errors
/// [`KeyError::Signing`].
pub(crate) fn sign(record: &AccessTokenRecord, signer: &Signer) -> Result<AccessToken, KeyError> {
    let claims = Claims {
        iss: record.iss.as_str(),
        sub: &record.client_id,
        aud: AudienceClaim::of(&record.aud, &record.iss),
        client_id: &record.client_id,
        iat: record.iat,
        exp: record.expires_at,
        jti: &record.jti,
        scope: &record.scope,
        realm: record.realm.path(),
        audit_tracking_id: &record.audit_tracking_id,
        trust_rule: record.trust_rule.as_ref(),
        custom: record.claims.as_object(),
    };
    Ok(AccessToken(Zeroizing::new(jose::sign(signer, TYP, &claims)?)))
}

impl<'a> UnverifiedJwt<'a> {
    /// `None` where the text is no access token in JWT form, whoever issued it.
    pub fn parse(unverified_token: &'a str) -> Option<Self> {
        UnverifiedJws::parse(unverified_token, TYP).map(|jws| Self { text: unverified_token, jws })
    }

    /// The name of the key it claims to be signed with.
    pub fn kid(&self) -> &str {
        self.jws.kid()
    }

    /// The realm it claims to be of, which decides nothing but whose keys to verify it with.
    pub fn unverified_realm(&self) -> Option<RealmName> {
        let claims: RealmClaim = serde_json::from_slice(&self.jws.unverified_payload()?).ok()?;
        RealmName::from_path(&claims.realm)
    }

    /// The token, if one of `keys` of `realm` signed it and its time is not over.
    ///
    /// # Errors
    /// [`Inactive`] for any other.
    pub fn verify(
        &self,
        realm: &RealmName,
        keys: &VerificationKeys,
        now: UnixSeconds,
    ) -> Result<PresentedToken, Inactive> {
        let payload = self.jws.verify(keys, now).ok_or(Reason::UnknownToken)?;
        let claims: VerifiedClaims = serde_json::from_slice(&payload).map_err(|_| Reason::UnknownToken)?;
        if claims.realm != realm.path() || claims.sub != claims.client_id {
            return Err(Reason::UnknownToken.into());
        }
        if claims.exp <= now {
            let audit_tracking_id = Some(claims.audit_tracking_id);
            return Err(Inactive { reason: Reason::Expired, audit_tracking_id });
        }
        let Some(rest) = claims.jti.strip_prefix(STATELESS) else {
            return Ok(PresentedToken::Stored(TokenDigest::of(self.text)));
        };
        let (registration_id, _random) = rest.split_once('.').ok_or(Reason::UnknownToken)?;
        let registration_id = RegistrationId::from_text(registration_id);
        let aud = if claims.aud.names(&claims.iss) == [claims.iss.as_str()] { Audience::Issuer } else { claims.aud };
        Ok(PresentedToken::Stateless(Box::new(AccessTokenRecord {
            realm: realm.clone(),
            client_id: claims.client_id,
            registration_id,
            scope: claims.scope,
            iss: claims.iss,
            aud,
            iat: claims.iat,
            expires_at: claims.exp,
            jti: claims.jti,
            audit_tracking_id: claims.audit_tracking_id,
            claims: claims.custom.0.try_into().map_err(|_| Reason::UnknownToken)?,
            trust_rule: claims.trust_rule,
        })))
    }
}

impl<'a> AudienceClaim<'a> {
    pub(crate) fn of(audience: &'a Audience, issuer: &'a Issuer) -> Self {
        let names = audience.names(issuer);
        match names.as_slice() {
            [one] => Self::One(one),
            _ => Self::Several(names),
        }
    }
}

/// How the `jti` of a token begins that is stored nowhere; the registration's id and 128 random bits follow.
const STATELESS: &str = "stateless.";

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::core::keys::SigningAlgorithm;
    use crate::core::keys::set::KeySet;
    use crate::core::realm::PublicUrl;
    use crate::core::resource::ResourceUri;

    const NOW: UnixSeconds = UnixSeconds(1_795_415_820);

    fn record() -> AccessTokenRecord {
        let public: PublicUrl = "https://auth.example.com".parse().expect("a URL");
        AccessTokenRecord {
            realm: "alpha".parse().expect("a name"),
            client_id: "myClient".parse().expect("an id"),
            registration_id: RegistrationId::from_text("AAECAwQFBgcICQoLDA0ODw"),
            scope: "read write".parse().expect("well formed"),
            iss: public.issuer("/oauth2/realms/root/realms/alpha"),
            aud: Audience::Issuer,
            iat: NOW,
            expires_at: NOW.plus(3600),
            jti: "stateless.AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHw".to_owned(),
            audit_tracking_id: "00010203-0405-4607-8809-0a0b0c0d0e0f".to_owned(),
            claims: r#"{"tier":"gold","limits":{"rate":1.0,"regions":["eu"]}}"#.parse().expect("claims"),
            trust_rule: Some("orders".parse().expect("a name")),
        }
    }

    fn resources(names: &[&str]) -> Vec<ResourceUri> {
        names.iter().map(|name| name.parse().expect("absolute")).collect()
    }

    fn part(token: &str, number: usize) -> Value {
        let part = token.split('.').nth(number).expect("a part");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
    }

    #[test]
    fn at_01_at_02_at_04_a_token_says_what_its_record_says_and_nothing_else() {
        let keys = KeySet::create(&[SigningAlgorithm::Es256], NOW).expect("keys");
        let signers = keys.signers().expect("signers");
        let signer = signers.choose(SigningAlgorithm::Es256, NOW).expect("a signer");
        for (aud, claim) in [
            (Audience::Issuer, json!("https://auth.example.com/oauth2/realms/root/realms/alpha")),
            (Audience::of(&resources(&["https://a.example"])), json!("https://a.example")),
            (Audience::of(&resources(&["https://b.example/", "urn:a"])), json!(["https://b.example/", "urn:a"])),
        ] {
            let token = sign(&AccessTokenRecord { aud, ..record() }, signer).expect("signed");
            let token = token.expose_token();
            assert_eq!(part(token, 0), json!({"typ": "at+jwt", "alg": "ES256", "kid": signer.kid.as_str()}));
            assert_eq!(
                part(token, 1),
                json!({
                    "iss": "https://auth.example.com/oauth2/realms/root/realms/alpha",
                    "sub": "myClient",
                    "aud": claim,
                    "client_id": "myClient",
                    "iat": 1_795_415_820,
                    "exp": 1_795_419_420,
                    "jti": "stateless.AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHw",
                    "scope": "read write",
                    "realm": "/alpha",
                    "auditTrackingId": "00010203-0405-4607-8809-0a0b0c0d0e0f",
                    "tier": "gold",
                    "trust_rule": "orders",
                    "limits": {"rate": 1.0, "regions": ["eu"]},
                })
            );
        }
    }

    #[test]
    fn a_token_that_is_stored_nowhere_brings_its_record_with_it() {
        for alg in SigningAlgorithm::ALL {
            let keys = KeySet::create(&[alg], NOW).expect("keys");
            let signers = keys.signers().expect("signers");
            let verifiers = keys.published().verification_keys().expect("keys");
            for aud in [
                Audience::Issuer,
                Audience::of(&resources(&["https://a.example"])),
                Audience::of(&resources(&["https://b.example/", "urn:a"])),
            ] {
                let record = AccessTokenRecord { aud, ..record() };
                let token = sign(&record, signers.choose(alg, NOW).expect("a signer")).expect("signed");
                let jwt = UnverifiedJwt::parse(token.expose_token()).expect("a token");
                assert_eq!(jwt.unverified_realm().as_ref(), Some(&record.realm));
                let verify = |now| jwt.verify(&record.realm, &verifiers, now);
                let last_second = UnixSeconds(record.expires_at.0 - 1);
                let Ok(PresentedToken::Stateless(read)) = verify(last_second) else { panic!("{alg}: active") };
                assert_eq!(*read, record, "{alg}");
                let expired =
                    Inactive { reason: Reason::Expired, audit_tracking_id: Some(record.audit_tracking_id.clone()) };
                assert_eq!(verify(record.expires_at).err(), Some(expired), "{alg}: expired at its second");
            }
        }
    }

    #[test]
    fn whether_a_token_is_stored_is_signed() {
        let registration_id = RegistrationId::from_text("AAECAwQFBgcICQoLDA0ODw");
        let jti = |persistence, random| new_jti(persistence, &registration_id, &[random; 16]);
        let (stored, stateless) = (jti(AccessTokenPersistence::Stored, 1), jti(AccessTokenPersistence::Stateless, 2));
        // A random name has no dot, so that neither can be taken for the other.
        assert!(stored.len() == 22 && !stored.contains('.'), "{stored}");
        assert!(stateless.starts_with("stateless.AAECAwQFBgcICQoLDA0ODw.") && stateless.len() == 55, "{stateless}");
        assert_ne!(jti(AccessTokenPersistence::Stateless, 3), stateless);
    }

    proptest! {
        #[test]
        fn a_text_of_any_kind_is_parsed_or_refused(text in ".*", realm in "[a-z/]*") {
            if let Some(jwt) = UnverifiedJwt::parse(&text) {
                let _ = (jwt.kid(), jwt.unverified_realm());
            }
            let _ = RealmName::from_path(&realm);
        }

        #[test]
        fn three_parts_of_any_bytes_are_parsed_or_refused_and_never_verified(
            header in proptest::collection::vec(any::<u8>(), 0..200),
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            signature in proptest::collection::vec(any::<u8>(), 0..80),
            kid in "[A-Za-z0-9_-]{0,43}",
            has_own_header in any::<bool>(),
        ) {
            let keys = KeySet::create(&[SigningAlgorithm::EdDsa], NOW).expect("keys");
            let verifiers = keys.published().verification_keys().expect("keys");
            let signer = keys.published().keys[0].jwk.kid.to_string();
            let own = format!(r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"{}"}}"#, if kid.len() < 20 { &signer } else { &kid });
            let header = if has_own_header { own.into_bytes() } else { header };
            let text = [header, payload, signature].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
            let jwt = UnverifiedJwt::parse(&text);
            prop_assert_eq!(jwt.is_some(), has_own_header);
            if let Some(jwt) = jwt {
                let _ = jwt.unverified_realm();
                prop_assert!(jwt.verify(&record().realm, &verifiers, NOW).is_err());
            }
        }

        #[test]
        fn a_token_of_which_one_character_is_another_is_no_token(
            position in any::<proptest::sample::Index>(),
            replacement in "[A-Za-z0-9_.=+/ -]",
        ) {
            let keys = KeySet::create(&[SigningAlgorithm::EdDsa], NOW).expect("keys");
            let verifiers = keys.published().verification_keys().expect("keys");
            let signers = keys.signers().expect("signers");
            let token = sign(&record(), signers.choose(SigningAlgorithm::EdDsa, NOW).expect("a signer")).expect("signed");
            let position = position.index(token.expose_token().len());
            let mut changed = token.expose_token().to_owned();
            changed.replace_range(position..=position, &replacement);
            let is_active = UnverifiedJwt::parse(&changed)
                .and_then(|jwt| jwt.verify(&record().realm, &verifiers, NOW).ok())
                .is_some();
            prop_assert_eq!(is_active, changed == token.expose_token());
        }
    }
}
