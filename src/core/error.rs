//! The one table of protocol errors (RFC 6749 §5.2). Each has a public face (code and description, never an echo of the
//! input) and, where there is one, a private reason for the log.

use std::fmt;
use std::sync::Arc;

use super::assertion::AssertionProblem;
use super::client::Client;
use super::keys::KeyError;
use super::port_error::PortError;
use super::quota::QuotaState;
use super::reason::Reason;
use super::source::ClientSource;
use super::trust::caller::CallerProblem;
use super::trust::shortfalls::NotAdmitted;

/// Why a request was refused. Closed: a new variant does not compile until [`OAuthError::status`] has its row.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// A parameter is missing, repeated or malformed. The text is the public description.
    #[error("invalid_request: {0}")]
    InvalidRequest(&'static str),
    /// Client authentication failed. Every reason has the same public answer.
    #[error("invalid_client: {0}")]
    InvalidClient(ClientAuthFailure),
    /// The grant proves nothing (RFC 6749 §5.2, RFC 7521 §4.1.1). Every reason has the same public answer.
    #[error("invalid_grant: {0}")]
    InvalidGrant(ClientAuthFailure),
    /// The requested scope is malformed, unknown or beyond what the client registered.
    #[error("invalid_scope: {0}")]
    InvalidScope(&'static str),
    /// The client is not registered for this grant type.
    #[error("unauthorized_client")]
    UnauthorizedClient,
    /// The grant type is not one this server implements.
    #[error("unsupported_grant_type")]
    UnsupportedGrantType,
    /// The request names a resource (RFC 8707 §2) that is malformed or not the client's.
    #[error("invalid_target: {0}")]
    InvalidTarget(&'static str),
    /// The request asks for authorization details (RFC 9396 §5), of which this server knows no type.
    #[error("invalid_authorization_details")]
    InvalidAuthorizationDetails,
    /// No realm has this name.
    #[error("no such realm")]
    UnknownRealm,
    /// The source of the request has failed too often to authenticate as this client (RFC 6749 §2.3.1).
    #[error("too many failed attempts from {from}")]
    TooManyAttempts {
        /// For the log only.
        from: ClientSource,
        /// Seconds until the next attempt is looked at.
        retry_after_seconds: u64,
    },
    /// The client has been issued as many tokens as its quota allows.
    #[error("token quota exceeded")]
    QuotaExceeded(QuotaState),
    /// A store could not be reached or is throttled; the request may be sent again.
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
    /// A stored item cannot be read, or the random source failed: an operator has to look.
    #[error("server error: {0}")]
    Server(String),
}

/// The private reason of an `invalid_client`: for the audit log only. The answer is the same for all of them, so that a
/// caller cannot learn which client ids exist (RFC 6749 §10.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthFailure {
    /// Neither an Authorization header nor credentials in the body.
    NoCredentials,
    /// The Authorization header is no Basic credential, or the credential does not decode.
    Malformed,
    /// The method is one this server does not implement.
    MethodNotSupported,
    /// No client of the realm has this id.
    UnknownClient,
    /// The client is disabled.
    Disabled,
    /// The secret is right, and the client registered for another authentication method (a downgrade attempt, a wrong
    /// setting, or a client library that tries one after the other).
    MethodNotRegistered,
    /// The client is not registered for the method, and nobody has looked whether the proof is right.
    MethodNotTried,
    /// The client's secret has expired.
    SecretExpired,
    /// The secret is neither the current nor the previous one.
    WrongSecret,
    /// The assertion proves nothing.
    Assertion(AssertionProblem),
    /// The realm does not trust the issuer of the token, or no rule of the client names it.
    IssuerNotTrusted,
    /// What others say of the caller is verified, and satisfies no rule of the client: what each rule lacks.
    NoTrustRule(NotAdmitted),
    /// AWS says of the caller nothing that makes it a role.
    AwsCaller(CallerProblem),
}

/// A refusal of a client's request, and whose name it came in.
#[derive(Debug)]
pub struct Refused {
    /// The client that was named, where the registry knows it; it need not be the one that asked. For the log only.
    pub named: Option<Arc<Client>>,
    /// Why.
    pub error: OAuthError,
}

impl Refused {
    /// The refusal of a request in this client's name.
    pub fn of(named: &Arc<Client>, error: impl Into<OAuthError>) -> Self {
        Self { named: Some(Arc::clone(named)), error: error.into() }
    }
}

/// Before anybody is named.
impl<E: Into<OAuthError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self { named: None, error: error.into() }
    }
}

impl OAuthError {
    /// The `error` member (RFC 6749 §5.2, RFC 6749 §4.1.2.1 for the server's own failures and for what has to wait).
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::InvalidScope(_) => "invalid_scope",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidTarget(_) => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::UnknownRealm => "not_found",
            Self::TooManyAttempts { .. } | Self::QuotaExceeded(_) | Self::Unavailable(_) => "temporarily_unavailable",
            Self::Server(_) => "server_error",
        }
    }

    /// The `error_description` member: a sentence for the client's developer, without anything from the request.
    pub fn description(&self) -> &'static str {
        match self {
            Self::InvalidRequest(description) | Self::InvalidScope(description) | Self::InvalidTarget(description) => {
                description
            }
            Self::InvalidClient(_) => "client authentication failed",
            Self::InvalidGrant(_) => "the assertion does not prove that the caller is the client",
            Self::UnauthorizedClient => "the client is not registered for this grant type",
            Self::UnsupportedGrantType => "this server implements the client_credentials and jwt-bearer grants",
            Self::InvalidAuthorizationDetails => "this server does not support authorization details",
            Self::UnknownRealm => "no such realm",
            Self::TooManyAttempts { .. } => "too many failed attempts to authenticate as this client, try again later",
            Self::QuotaExceeded(_) => "the client has been issued as many tokens as its quota allows, try again later",
            Self::Unavailable(_) => "the server cannot answer now, try again",
            Self::Server(_) => "the server could not complete the request",
        }
    }

    /// The status of the answer: the table of RFC 6749 §5.2.
    pub fn status(&self) -> u16 {
        match self {
            Self::InvalidRequest(_)
            | Self::InvalidGrant(_)
            | Self::InvalidScope(_)
            | Self::UnauthorizedClient
            | Self::InvalidTarget(_)
            | Self::InvalidAuthorizationDetails
            | Self::UnsupportedGrantType => 400,
            Self::InvalidClient(_) => 401,
            Self::UnknownRealm => 404,
            // RFC 6585 §4.
            Self::TooManyAttempts { .. } | Self::QuotaExceeded(_) => 429,
            Self::Unavailable(_) => 503,
            Self::Server(_) => 500,
        }
    }

    /// What the log and the metrics call this refusal: more than the caller is told.
    pub fn reason(&self) -> Reason {
        match self {
            Self::InvalidRequest(_) => Reason::InvalidRequest,
            Self::InvalidClient(failure) | Self::InvalidGrant(failure) => failure.reason(),
            Self::InvalidScope(_) => Reason::InvalidScope,
            Self::UnauthorizedClient => Reason::UnauthorizedClient,
            Self::UnsupportedGrantType => Reason::UnsupportedGrantType,
            Self::InvalidTarget(_) => Reason::InvalidTarget,
            Self::InvalidAuthorizationDetails => Reason::InvalidAuthorizationDetails,
            Self::UnknownRealm => Reason::UnknownRealm,
            Self::TooManyAttempts { .. } => Reason::TooManyFailedAttempts,
            Self::QuotaExceeded(_) => Reason::TokenQuotaExceeded,
            Self::Unavailable(_) => Reason::TemporarilyUnavailable,
            Self::Server(_) => Reason::ServerError,
        }
    }
}

impl ClientAuthFailure {
    /// What the log and the metrics call it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NoCredentials => Reason::NoCredentials,
            Self::Malformed => Reason::MalformedCredentials,
            Self::MethodNotSupported => Reason::AuthMethodNotSupported,
            Self::UnknownClient => Reason::UnknownClient,
            Self::Disabled => Reason::ClientDisabled,
            Self::MethodNotRegistered | Self::MethodNotTried => Reason::AuthMethodNotRegistered,
            Self::SecretExpired => Reason::ClientSecretExpired,
            Self::WrongSecret => Reason::WrongSecret,
            Self::Assertion(problem) => problem.reason(),
            Self::IssuerNotTrusted => Reason::IssuerNotTrusted,
            Self::NoTrustRule(_) => Reason::NoTrustRule,
            Self::AwsCaller(problem) => problem.reason(),
        }
    }
}

impl fmt::Display for ClientAuthFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(formatter)
    }
}

impl From<KeyError> for OAuthError {
    fn from(error: KeyError) -> Self {
        PortError::from(error).into()
    }
}

impl From<PortError> for OAuthError {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            PortError::Corrupt { .. } | PortError::Foreign { .. } => Self::Server(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::quota::{QuotaMode, TokenQuota};
    use crate::core::time::UnixSeconds;

    #[test]
    fn public_text_stays_within_the_characters_of_appendix_a() {
        let quota = TokenQuota { limit: "1/hour".parse().expect("a limit"), mode: QuotaMode::Enforce };
        let errors = [
            OAuthError::InvalidClient(ClientAuthFailure::WrongSecret),
            OAuthError::InvalidGrant(ClientAuthFailure::IssuerNotTrusted),
            OAuthError::UnauthorizedClient,
            OAuthError::UnsupportedGrantType,
            OAuthError::InvalidTarget("a resource"),
            OAuthError::InvalidAuthorizationDetails,
            OAuthError::UnknownRealm,
            OAuthError::TooManyAttempts { from: ClientSource::of([192, 0, 2, 1].into()), retry_after_seconds: 1 },
            OAuthError::QuotaExceeded(quota.state(1, UnixSeconds(0))),
            OAuthError::Unavailable("canary".into()),
            OAuthError::Server("canary".into()),
        ];
        for error in errors {
            for text in [error.code(), error.description()] {
                assert!(text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{text}");
            }
            assert!(!error.description().contains("canary"));
        }
    }
}
