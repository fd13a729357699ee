//! Why a client gets no token, however it asks.

use crate::core::client::auth_method::AuthMethod;
use crate::core::client::grant_type::GrantType;
use crate::core::client::secret::SecretDates;
use crate::core::client::{Client, ClientStatus};
use crate::core::client_auth::methods_with_secret;
use crate::core::realm::Realm;
use crate::core::time::UnixSeconds;

/// What stands between a client and every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It is registered for no scope.
    NoScope,
    /// Its realm allows none of its scopes.
    NoScopeAllowed,
    /// Client credentials are not among its grant types.
    NoGrant,
    /// Client credentials are not among the grant types that its realm allows.
    NoGrantAllowed,
    /// It has to authenticate with a key, and has none.
    NoKey,
    /// It is disabled.
    Disabled,
    /// Its secrets have expired.
    SecretsExpired,
    /// It has to authenticate with a secret, and has none.
    NoSecret,
}

impl Hindrance {
    /// What hinders a client by its registration.
    pub(super) fn of_registration(client: &Client, realm: &Realm) -> Vec<Self> {
        // The assertion of the other grant is a token of an issuer.
        let by_assertion = client.allows_method(AuthMethod::WorkloadIdentity).then(GrantType::jwt_bearer);
        let grants = [Some(GrantType::client_credentials()), by_assertion];
        let mut registered =
            grants.iter().flatten().filter(|grant| client.metadata.grant_types.contains(*grant)).peekable();
        let has_grant = registered.peek().is_some();
        let is_allowed = registered.any(|grant| client.allows_grant(grant, realm));
        let methods = &client.metadata.token_endpoint_auth_methods;
        let needs_key = methods.iter().all(|method| *method == AuthMethod::PrivateKeyJwt);
        let hindrances = [
            (client.metadata.scope.is_empty(), Self::NoScope),
            (!client.metadata.scope.is_empty() && client.grantable_scope(realm).is_empty(), Self::NoScopeAllowed),
            (!has_grant, Self::NoGrant),
            (has_grant && !is_allowed, Self::NoGrantAllowed),
            (needs_key && client.metadata.jwks.is_none() && client.metadata.jwks_uri.is_none(), Self::NoKey),
        ];
        hindrances.into_iter().filter_map(|(is_so, hindrance)| is_so.then_some(hindrance)).collect()
    }

    /// What hinders a client at `now`, whose secrets are these.
    pub fn of(client: &Client, realm: &Realm, secrets: Option<&SecretDates>, now: UnixSeconds) -> Vec<Self> {
        // A client that has a key as well needs none.
        let needs_secret =
            client.metadata.token_endpoint_auth_methods.len() == methods_with_secret(&client.metadata).count();
        let others = [
            (client.status == ClientStatus::Disabled, Self::Disabled),
            (needs_secret && client.secret_has_expired(now), Self::SecretsExpired),
            (needs_secret && secrets.is_none(), Self::NoSecret),
        ];
        let others = others.into_iter().filter_map(|(is_so, hindrance)| is_so.then_some(hindrance));
        Self::of_registration(client, realm).into_iter().chain(others).collect()
    }
}
