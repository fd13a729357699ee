//! What a protected resource is told of a token.

use crate::core::scope::Scope;

/// What a resource learns of the token that let a request pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// The client that the token was issued to.
    pub client_id: String,
    /// Its subject: with client credentials, the client.
    pub sub: String,
    /// What it allows.
    pub scope: Scope,
    /// Ties the log lines of the token together; `None` where the authorization server does not say.
    pub audit_tracking_id: Option<String>,
}
