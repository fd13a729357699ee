//! Bearer tokens at a protected resource (RFC 6750): whether a request may pass, and how it is told that it may not. What the
//! authorizer of API Gateway and the demo's resource server both decide by.

use std::sync::Arc;

use async_trait::async_trait;

use super::access_token::facts::TokenFacts;
use super::access_token::record::AccessTokenRecord;
use super::access_token::validation::AccessTokenValidator;
use super::authorization;
use super::error::OAuthError;
use super::ports::Clock;
use super::realm::{Issuer, RealmName};
use super::reason::Reason;
use super::scope::Scope;

/// Answers whether a token is active here: for this resource, from its authorization server.
#[async_trait]
pub trait TokenIntrospection: Send + Sync {
    /// The facts of an active token, or why it is not one.
    ///
    /// # Errors
    /// [`OAuthError::Unavailable`] or [`OAuthError::Server`] where nobody can say. Never taken for a yes.
    async fn introspect(&self, unverified_token: &str) -> Result<Result<TokenFacts, Reason>, OAuthError>;
}

/// Whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow(TokenFacts),
    /// It may not.
    Deny(Denial),
}

/// Why a request may not pass (RFC 6750 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No bearer token was sent: 401, and no error code (§3.1: the client may not know that it needs one).
    NoCredentials,
    /// The token is malformed, unknown, expired, revoked or for somebody else: 401. Which of them is for the log only.
    InvalidToken(Reason),
    /// The token is good and allows less than this: 403.
    InsufficientScope {
        /// What it would have to allow.
        required: Scope,
        /// What the token says: it is good for something else.
        token: TokenFacts,
    },
}

/// The tokens of one realm, asked at the stores themselves: for a resource server in the same account.
pub struct RealmTokens {
    /// Knows the tokens.
    pub tokens: AccessTokenValidator,
    /// Tells whether a token has expired.
    pub clock: Arc<dyn Clock>,
    /// The realm whose tokens are accepted.
    pub realm: RealmName,
    /// The issuers whose tokens are accepted: the realm under each of its names (RFC 9068 §4).
    pub issuers: Vec<Issuer>,
    /// Names of this resource, one of which a token must be for. Empty: the token must be for the issuer, as tokens of clients
    /// without a registered resource are.
    pub audiences: Vec<String>,
}

/// Decides by the Authorization headers of a request. Tokens anywhere else (§2.2, §2.3) are not looked for.
///
/// # Errors
/// As [`TokenIntrospection::introspect`]: a request that nobody can decide about must not pass.
pub async fn decide(
    authorization: &[&[u8]],
    required: &Scope,
    tokens: &dyn TokenIntrospection,
) -> Result<Decision, OAuthError> {
    // 1. The token (§2.1).
    let token = match presented_token(authorization) {
        Ok(token) => token,
        Err(denial) => return Ok(Decision::Deny(denial)),
    };

    // 2. Whether it is active here.
    let facts = match tokens.introspect(token).await? {
        Ok(facts) => facts,
        Err(reason) => return Ok(Decision::Deny(Denial::InvalidToken(reason))),
    };

    // 3. Whether it allows this.
    if !required.is_subset(&facts.scope) {
        return Ok(Decision::Deny(Denial::InsufficientScope { required: required.clone(), token: facts }));
    }
    Ok(Decision::Allow(facts))
}

/// §2.1: one header, the scheme in any case, and a `b64token` (RFC 9110 §11.4 allows several spaces between them).
fn presented_token<'a>(headers: &[&'a [u8]]) -> Result<&'a str, Denial> {
    let mut values = authorization::spoken(headers);
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Denial::NoCredentials),
        (Some(value), None) => value,
        // Which of them counts is not for this server to guess.
        _ => return Err(MALFORMED),
    };
    let (scheme, token) = authorization::split(value);
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(Denial::NoCredentials);
    }
    let token = token.and_then(|token| std::str::from_utf8(token).ok());
    token.filter(|token| is_b64token(token)).ok_or(MALFORMED)
}

impl Denial {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoCredentials | Self::InvalidToken(_) => 401,
            Self::InsufficientScope { .. } => 403,
        }
    }

    /// What the log calls it: the error code of RFC 6750 §3.1, where it has one.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoCredentials => Reason::NoCredentials,
            Self::InvalidToken(_) => Reason::InvalidToken,
            Self::InsufficientScope { .. } => Reason::InsufficientScope,
        }
    }

    /// The value of the answer's WWW-Authenticate header (RFC 6750 §3).
    pub fn challenge(&self) -> String {
        match self {
            Self::NoCredentials => "Bearer".to_owned(),
            Self::InvalidToken(_) => r#"Bearer error="invalid_token""#.to_owned(),
            Self::InsufficientScope { required, .. } => {
                format!(r#"Bearer error="insufficient_scope", scope="{required}""#)
            }
        }
    }
}

#[async_trait]
impl TokenIntrospection for RealmTokens {
    async fn introspect(&self, unverified_token: &str) -> Result<Result<TokenFacts, Reason>, OAuthError> {
        let now = self.clock.now();
        let record = match self.tokens.find(unverified_token, &self.realm, now).await? {
            Ok(record) => record,
            Err(inactive) => return Ok(Err(inactive.reason)),
        };
        if !self.is_of_here(&record) {
            return Ok(Err(Reason::OtherIssuer));
        }
        let realm = match self.tokens.realms.find(&self.realm).await {
            Ok(realm) => realm,
            Err(OAuthError::UnknownRealm) => return Ok(Err(Reason::UnknownRealm)),
            Err(error) => return Err(error),
        };
        let record = match self.tokens.honoured(record, &realm).await? {
            Ok(record) => record,
            Err(inactive) => return Ok(Err(inactive.reason)),
        };
        if !self.is_meant_for_here(&record) {
            return Ok(Err(Reason::OtherAudience));
        }
        Ok(Ok(TokenFacts {
            client_id: record.client_id.to_string(),
            sub: record.client_id.to_string(),
            scope: record.scope,
            audit_tracking_id: Some(record.audit_tracking_id),
        }))
    }
}

impl RealmTokens {
    /// RFC 9068 §4, for opaque tokens too: the issuer.
    fn is_of_here(&self, record: &AccessTokenRecord) -> bool {
        record.realm == self.realm && self.issuers.contains(&record.iss)
    }

    /// The same section: the audience, of which a resource may have been withdrawn since the token was issued.
    fn is_meant_for_here(&self, record: &AccessTokenRecord) -> bool {
        if self.audiences.is_empty() {
            return record.aud.is_issuer();
        }
        let names = record.aud.names(&record.iss);
        self.audiences.iter().any(|audience| names.contains(&audience.as_str()))
    }
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750 §2.1)
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

const MALFORMED: Denial = Denial::InvalidToken(Reason::MalformedCredentials);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_after_the_scheme_in_any_case() {
        for value in
            ["Bearer gwt_a", "bearer gwt_a", "BEARER gwt_a", "Bearer  gwt_a", "bearer    gwt_a ", " Bearer gwt_a"]
        {
            assert_eq!(presented_token(&[value.as_bytes()]), Ok("gwt_a"), "{value}");
        }
        for value in ["Basic Zm9vOmJhcg==", "DPoP gwt_a", "", "gwt_a", "Bearers gwt_a"] {
            assert_eq!(presented_token(&[value.as_bytes()]), Err(Denial::NoCredentials), "{value}");
        }
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer   ",
            "Bearer \tgwt_a",
            "Bearer  a b",
            "Bearer a,Bearer b",
            "Bearer =",
            "Bearer é",
        ] {
            assert_eq!(presented_token(&[value.as_bytes()]), Err(MALFORMED), "{value}");
        }
        assert_eq!(presented_token(&[]), Err(Denial::NoCredentials));
        assert_eq!(presented_token(&[b"Bearer a", b"Bearer a"]), Err(MALFORMED));
        assert_eq!(
            (presented_token(&[b""]), presented_token(&[b"", b"Bearer a"])),
            (Err(Denial::NoCredentials), Ok("a"))
        );
    }

    #[test]
    fn a_challenge_says_what_is_missing() {
        let required = "read write".parse().expect("well formed");
        let token = TokenFacts {
            client_id: "myClient".into(),
            sub: "myClient".into(),
            scope: Scope::empty(),
            audit_tracking_id: None,
        };
        for (denial, status, challenge) in [
            (Denial::NoCredentials, 401, "Bearer"),
            (Denial::InvalidToken(Reason::Expired), 401, r#"Bearer error="invalid_token""#),
            (
                Denial::InsufficientScope { required, token },
                403,
                r#"Bearer error="insufficient_scope", scope="read write""#,
            ),
        ] {
            assert_eq!((denial.status(), denial.challenge().as_str()), (status, challenge));
        }
    }
}
