//! Client authentication (RFC 6749 §2.3): which method a request uses, and whether the client is who it says.
//!
//! Unknown client, disabled client and wrong secret are one path: every presented secret is digested and compared,
//! whether or not there is anything to compare it with, and every failure has the same public answer.

pub mod attempts;
pub mod secret;

use std::sync::Arc;

use zeroize::Zeroizing;

use super::audit::{AuditEvent, AuditSink};
use super::client::Client;
use super::client::auth_method::AuthMethod;
use super::client::id::ClientId;
use super::client::secret::ClientSecrets;
use super::error::{ClientAuthFailure, OAuthError};
use super::params::Params;
use super::port_error::PortError;
use super::ports::{ClientRegistry, Clock, SecretSource};
use super::realm::{Realm, RealmName};
use super::source::ClientSource;
use super::time::UnixSeconds;
use attempts::{Attempt, FailedAttempts};
use secret::{IdAndSecret, PresentedSecret, decode_basic};

/// Parameters by which a client identifies itself in the request body.
pub const PARAMETERS: [&str; 4] = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// A request of a client as HTTP delivered it.
pub struct ClientRequest<'a> {
    /// The realm in the path.
    pub realm: &'a RealmName,
    /// The values of every Authorization header.
    pub authorization: &'a [&'a [u8]],
    /// The body's parameters.
    pub params: &'a Params,
    /// Where it came from, as whoever took the connection says; `None` where nobody can say.
    pub source: Option<ClientSource>,
}

/// What a request presents to authenticate its client, decoded but not verified.
pub struct Credentials {
    method: AuthMethod,
    /// Not yet known to be well formed: a registered id is, so anything else is an unknown client.
    unverified_client_id: Zeroizing<String>,
    secret: PresentedSecret,
    source: Option<ClientSource>,
}

/// Verifies credentials against the registry and the secrets.
pub struct ClientAuthenticator {
    registry: Arc<dyn ClientRegistry>,
    secrets: Arc<dyn SecretSource>,
    clock: Arc<dyn Clock>,
    attempts: Option<Arc<FailedAttempts>>,
}

impl ClientRequest<'_> {
    /// Records why `endpoint` refused the request, if it did, with the client that was named if the registry knows it.
    pub(super) fn record_refusal<T>(
        &self,
        sink: &dyn AuditSink,
        endpoint: &'static str,
        known: Option<&Client>,
        result: &Result<T, OAuthError>,
    ) {
        if let Err(error) = result {
            let (realm, source, client_id) = (self.realm, self.source, known.map(|client| &client.client_id));
            sink.record(&AuditEvent::Refused { endpoint, realm, client_id, source, error });
        }
    }
}

impl Credentials {
    /// Finds the one authentication method of a request, in its Authorization header or its body.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] for two methods at once or two different client ids (RFC 6749 §2.3);
    /// [`OAuthError::InvalidClient`] for none, one that is not implemented, or a credential that does not decode.
    pub fn from_request(request: &ClientRequest<'_>) -> Result<Self, OAuthError> {
        let credentials = Self::by_method(request)?;
        Ok(Self { source: request.source, ..credentials })
    }

    fn by_method(request: &ClientRequest<'_>) -> Result<Self, OAuthError> {
        let ClientRequest { authorization, params, .. } = *request;
        let body_id = params.single("client_id")?;
        let body_secret = params.single("client_secret")?;
        let assertion = params.single("client_assertion")?.or(params.single("client_assertion_type")?);

        let methods = [!authorization.is_empty(), body_secret.is_some(), assertion.is_some()];
        if methods.iter().filter(|used| **used).count() > 1 {
            return Err(OAuthError::InvalidRequest("the request uses more than one client authentication method"));
        }
        if assertion.is_some() {
            return Err(OAuthError::InvalidClient(ClientAuthFailure::MethodNotSupported));
        }
        match (authorization, body_id, body_secret) {
            ([value], body_id, None) => {
                let credentials = decode_basic(value)?;
                if body_id.is_some_and(|id| id != credentials.unverified_client_id.as_str()) {
                    return Err(OAuthError::InvalidRequest(
                        "client_id differs from the one in the Authorization header",
                    ));
                }
                Ok(Self::of(AuthMethod::ClientSecretBasic, credentials))
            }
            // HTTP API joins repeated headers with a comma, which no Basic credential has: malformed there, so here too.
            ([_, _, ..], _, _) => Err(OAuthError::InvalidClient(ClientAuthFailure::Malformed)),
            ([], Some(id), Some(presented)) => {
                IdAndSecret::new(id, presented).map(|credentials| Self::of(AuthMethod::ClientSecretPost, credentials))
            }
            ([], _, _) | ([_], _, Some(_)) => Err(OAuthError::InvalidClient(ClientAuthFailure::NoCredentials)),
        }
    }

    fn of(method: AuthMethod, credentials: IdAndSecret) -> Self {
        let IdAndSecret { unverified_client_id, secret } = credentials;
        Self { method, unverified_client_id, secret, source: None }
    }

    fn attempt_in<'a>(&'a self, realm: &'a RealmName) -> Option<Attempt<'a>> {
        let unverified_client_id = self.unverified_client_id.as_str();
        self.source.map(|source| Attempt { realm, unverified_client_id, source })
    }
}

impl ClientAuthenticator {
    /// Verifies against these stores.
    pub fn new(registry: Arc<dyn ClientRegistry>, secrets: Arc<dyn SecretSource>, clock: Arc<dyn Clock>) -> Self {
        Self { registry, secrets, clock, attempts: None }
    }

    /// With failures counted, and their sources refused when there are too many.
    #[must_use]
    pub fn limited_by(self, attempts: Option<Arc<FailedAttempts>>) -> Self {
        Self { attempts, ..self }
    }

    /// The client that the credentials belong to. `known` becomes the client that they name, as soon as the registry knows
    /// it and whether or not they belong to it: whoever guesses at a client's secret is to be seen in the log.
    ///
    /// # Errors
    /// [`OAuthError::InvalidClient`] where they belong to no active client; [`OAuthError::TooManyAttempts`] where their
    /// source has failed too often to have them looked at; [`OAuthError::Unavailable`] where a store cannot be asked.
    pub async fn authenticate(
        &self,
        realm: &Realm,
        credentials: &Credentials,
        known: &mut Option<Arc<Client>>,
    ) -> Result<Arc<Client>, OAuthError> {
        let now = self.clock.now();
        let Some((attempts, attempt)) = self.attempts.as_ref().zip(credentials.attempt_in(&realm.name)) else {
            return self.verify(realm, credentials, known, now).await;
        };

        // Before any look-up: a refusal costs nothing, and is the same whether or not there is such a client.
        attempts.admit(&attempt, self.clock.as_ref(), known)?;
        let result = self.verify(realm, credentials, known, now).await;
        match &result {
            Ok(_) => attempts.succeeded(&attempt, self.clock.as_ref()),
            // The secret was right, which only shows who could show it by the registered method, too: no guess.
            Err(OAuthError::InvalidClient(ClientAuthFailure::MethodNotRegistered)) => {}
            Err(OAuthError::InvalidClient(_)) => attempts.failed(&attempt, self.clock.as_ref(), known.as_ref())?,
            // A store that is away says nothing about the secret.
            Err(_) => {}
        }
        result
    }

    async fn verify(
        &self,
        realm: &Realm,
        credentials: &Credentials,
        known: &mut Option<Arc<Client>>,
        now: UnixSeconds,
    ) -> Result<Arc<Client>, OAuthError> {
        // 1. What the registry says. A text that is no client id is an unknown client, without a look-up.
        let client = match credentials.unverified_client_id.parse::<ClientId>() {
            Ok(client_id) => self.registry.client(&realm.name, &client_id).await?,
            Err(_) => None,
        };
        known.clone_from(&client);
        let standing = standing(client, now);

        // 2. What the secret store says, asked only for a client that may authenticate.
        let secrets = if let Ok(client) = &standing {
            self.secrets.secrets(client).await?
        } else {
            self.secrets.no_secrets().await;
            None
        };

        // 3. One comparison for everybody, known or not.
        let verified = ClientSecrets::verify(secrets.as_ref(), &credentials.secret);
        if !verified
            && let Ok(client) = &standing
            && self.secrets.admits_another_look(client).await
        {
            return self.verify_anew(client, credentials, known, now).await;
        }

        // 4. Only now, whether there was a client at all, and one that is registered for the method.
        let standing = self.standing_since(secrets.as_ref().filter(|_| verified), standing, known, now).await?;
        verdict(standing, verified, credentials.method)
    }

    /// The same past all that is remembered: the secret may be newer. The registration is read anew as well, and before the
    /// secrets: an id may have been deleted and registered again, or a right withdrawn before the secret was replaced, and a
    /// new secret must not get what the registration before it had.
    async fn verify_anew(
        &self,
        remembered: &Client,
        credentials: &Credentials,
        known: &mut Option<Arc<Client>>,
        now: UnixSeconds,
    ) -> Result<Arc<Client>, OAuthError> {
        let standing = self.read_anew(remembered, known, now).await?;
        let secrets = match &standing {
            Ok(client) => self.secrets.secrets_anew(client).await?,
            Err(_) => None,
        };
        let verified = ClientSecrets::verify(secrets.as_ref(), &credentials.secret);
        let standing = self.standing_since(secrets.as_ref().filter(|_| verified), standing, known, now).await?;
        verdict(standing, verified, credentials.method)
    }

    /// The client's standing since there have been the secrets that it has shown one of. Where one of them may be newer than
    /// the registration, that is read again: a right that was withdrawn before the secret was made must not come with it.
    /// Only for who has the secret, so that guessing costs nothing.
    async fn standing_since(
        &self,
        shown: Option<&ClientSecrets>,
        standing: Result<Arc<Client>, ClientAuthFailure>,
        known: &mut Option<Arc<Client>>,
        now: UnixSeconds,
    ) -> Result<Result<Arc<Client>, ClientAuthFailure>, PortError> {
        let (Ok(older), Some(secrets)) = (&standing, shown.filter(|secrets| secrets.may_be_newer)) else {
            return Ok(standing);
        };
        let newer = self.read_anew(older, known, now).await?;
        Ok(match newer {
            Ok(client) if client.registration_id == older.registration_id => {
                self.secrets.confirm(&client, secrets).await;
                Ok(client)
            }
            // Registered again meanwhile: it was its predecessor's secret.
            Ok(_) => Err(ClientAuthFailure::WrongSecret),
            failure => failure,
        })
    }

    async fn read_anew(
        &self,
        remembered: &Client,
        known: &mut Option<Arc<Client>>,
        now: UnixSeconds,
    ) -> Result<Result<Arc<Client>, ClientAuthFailure>, PortError> {
        let client = self.registry.client_anew(&remembered.realm, &remembered.client_id).await?;
        // Whoever is no longer registered is still the client that was named.
        if client.is_some() {
            known.clone_from(&client);
        }
        Ok(standing(client, now))
    }
}

/// A secret that is wrong by any method is a guess.
fn verdict(
    standing: Result<Arc<Client>, ClientAuthFailure>,
    verified: bool,
    method: AuthMethod,
) -> Result<Arc<Client>, OAuthError> {
    match standing {
        Ok(_) if !verified => Err(OAuthError::InvalidClient(ClientAuthFailure::WrongSecret)),
        Ok(client) if client.allows_method(method) => Ok(client),
        Ok(_) => Err(OAuthError::InvalidClient(ClientAuthFailure::MethodNotRegistered)),
        Err(failure) => Err(OAuthError::InvalidClient(failure)),
    }
}

/// The client, where it may authenticate now.
fn standing(client: Option<Arc<Client>>, now: UnixSeconds) -> Result<Arc<Client>, ClientAuthFailure> {
    let client = client.ok_or(ClientAuthFailure::UnknownClient)?;
    if !client.is_active() {
        return Err(ClientAuthFailure::Disabled);
    }
    if client.secret_has_expired(now) {
        return Err(ClientAuthFailure::SecretExpired);
    }
    Ok(client)
}
