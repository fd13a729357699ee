//! JWT access tokens (RFC 9068): the facts of a record as signed claims, under the media type `application/at+jwt`.
//!
//! A token that the server keeps nothing of says so in its `jti`, which also names the registration it was issued to. So both
//! are signed, and a change of settings changes nothing about tokens that are out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::record::AccessTokenRecord;
use super::{AccessToken, AccessTokenPersistence, TokenDigest};
use crate::core::client::{ClientId, RegistrationId, random_name};
use crate::core::jose::{self, UnverifiedJws};
use crate::core::keys::KeyError;
use crate::core::keys::set::{Signer, VerificationKeys};
use crate::core::ports::{PortError, Random, UnixSeconds};
use crate::core::realm::{Issuer, RealmName};
use crate::core::resource::Audience;
use crate::core::scope::Scope;

/// The media type in the header, without `application/` (RFC 9068 §2.1).
pub const TYP: &str = "at+jwt";
/// The longest token that is issued, in characters. API Gateway takes 10,240 bytes of request line and headers together.
pub const MAX_LENGTH: usize = 7 * 1024;

/// A text with the header of an access token; nobody has looked at its signature yet.
pub struct UnverifiedJwt<'a> {
    text: &'a str,
    jws: UnverifiedJws<'a>,
}

/// A JWT that a key of the realm has signed.
#[derive(Debug)]
pub enum SignedToken {
    /// The server has a record of it, or it has ended.
    Stored(TokenDigest),
    /// The server has no record: these are the facts.
    Stateless(Box<AccessTokenRecord>),
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
    #[serde(flatten)]
    custom: Map<String, Value>,
}

#[derive(Deserialize)]
struct RealmClaim {
    realm: String,
}

/// The `jti` of a JWT: 128 random bits, and for a token that is stored nowhere what its record would have told.
///
/// # Errors
/// [`PortError::Unavailable`] where the random source fails.
pub(crate) fn new_jti(
    persistence: AccessTokenPersistence,
    registration_id: &RegistrationId,
    random: &dyn Random,
) -> Result<String, PortError> {
    let name = random_name(random)?;
    Ok(match persistence {
        AccessTokenPersistence::Stored => name,
        AccessTokenPersistence::Stateless => format!("{STATELESS}{}.{name}", registration_id.as_str()),
    })
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
    pub fn verify(&self, realm: &RealmName, keys: &VerificationKeys, now: UnixSeconds) -> Option<SignedToken> {
        let payload = self.jws.verify(keys, now)?;
        let claims: VerifiedClaims = serde_json::from_slice(&payload).ok()?;
        let is_own = claims.realm == realm.path() && claims.sub == claims.client_id && claims.exp > now;
        if !is_own {
            return None;
        }
        let Some(rest) = claims.jti.strip_prefix(STATELESS) else {
            return Some(SignedToken::Stored(TokenDigest::of(self.text)));
        };
        let (registration_id, _random) = rest.split_once('.')?;
        let registration_id = RegistrationId::from_text(registration_id);
        let aud = if claims.aud.names(&claims.iss) == [claims.iss.as_str()] { Audience::Issuer } else { claims.aud };
        Some(SignedToken::Stateless(Box::new(AccessTokenRecord {
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
            claims: claims.custom.try_into().ok()?,
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
