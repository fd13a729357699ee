//! Client authentication (RFC 6749 §2.3): which method a request uses, and whether the client is who it says.
//!
//! The phases are the same for every method, and none can skip one:
//!
//! 1. Find the one method that the request uses.
//! 2. Refuse a source that has failed too often.
//! 3. Load the registration that the request names.
//! 4. Verify the proof, or do the same work for nobody; once more past all that is remembered, where it may be outdated.
//! 5. Judge: the registration stands, the proof is right, its method is registered.
//! 6. Count a failure, and say who was named, also in a refusal.
//!
//! Unknown client, disabled client and wrong secret are one path: every proof is verified, whether or not there is anything
//! to verify it against, and every failure has the same public answer.

mod admission;
pub mod attempts;
mod aws_iam;
mod client_secret_basic;
mod client_secret_post;
pub mod examination;
pub mod method;
mod nobody;
mod private_key_jwt;
mod request;
mod secret;
mod signature;
mod workload_identity;

use std::sync::Arc;

pub use request::ClientRequest;

use super::assertion::AssertionProblem;
use super::client::Client;
use super::client::auth_method::AuthMethod;
use super::client::id::ClientId;
use super::client::metadata::ClientMetadata;
use super::client::secret::ClientSecrets;
use super::error::{ClientAuthFailure, OAuthError, Refused};
use super::params::Params;
use super::ports::{ClientRegistry, ClientUse, Clock, RemoteKeys, ReplayGuard, SecretSource};
use super::realm::{Realm, RealmName};
use super::source::ClientSource;
use super::time::UnixSeconds;
use super::trust::admission::Admission;
use attempts::{Attempt, FailedAttempts};
use method::{Carrier, Circumstances, Look, Method, Presented, Proof, Proven, Stores};
use secret::CLIENT_SECRET;

/// Every method that this server implements, as metadata documents list them.
pub const METHODS: [Method; AuthMethod::ALL.len()] = [
    client_secret_basic::METHOD,
    client_secret_post::METHOD,
    private_key_jwt::METHOD,
    workload_identity::METHOD,
    aws_iam::METHOD,
];

/// What a request presents to authenticate its client, decoded but not verified.
pub struct Credentials {
    method: AuthMethod,
    presented: Presented,
    source: Option<ClientSource>,
}

/// Verifies credentials against the registry and the secrets.
pub struct ClientAuthenticator {
    registry: Arc<dyn ClientRegistry>,
    stores: Stores,
    clock: Arc<dyn Clock>,
    attempts: Option<Arc<FailedAttempts>>,
    uses: Option<Arc<dyn ClientUse>>,
}

/// A client that has proved who it is.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    /// The client.
    pub client: Arc<Client>,
    /// The method that it has used.
    pub method: AuthMethod,
    /// What others have said of it, where that is its proof.
    pub admission: Option<Admission>,
}

/// The names under which the metadata documents of a realm list the methods. Tokens of other issuers have a registered name of their own
/// where they are those of SPIFFE; the others are client assertions like those of `private_key_jwt`, as far as a client's library can see.
pub fn methods_listed_in(realm: &Realm) -> impl Iterator<Item = &'static str> {
    let listed = METHODS.into_iter().filter(|method| method.is_listed).map(|method| method.name.as_str());
    let trusts_spiffe = realm.settings.trusted_issuers.iter().any(|issuer| issuer.issuer.is_spiffe());
    listed.chain(trusts_spiffe.then_some(workload_identity::SPIFFE_METHOD))
}

/// Parameters by which a client identifies itself in the request body.
pub fn parameters() -> impl Iterator<Item = &'static str> {
    let carried = carriers().flat_map(Carrier::parameters).copied();
    std::iter::once("client_id").chain(carried)
}

/// Whether a client of this registration has a secret: one of its methods uses it.
pub fn uses_secret(metadata: &ClientMetadata) -> bool {
    methods_with_secret(metadata).next().is_some()
}

/// The methods by which a client of this registration presents its secret.
pub fn methods_with_secret(metadata: &ClientMetadata) -> impl Iterator<Item = AuthMethod> {
    let registered = &metadata.token_endpoint_auth_methods;
    METHODS
        .into_iter()
        .filter(|method| method.needs.contains(&CLIENT_SECRET) && registered.contains(&method.name))
        .map(|method| method.name)
}

impl Credentials {
    /// Finds the one authentication method of a request, in its Authorization header or its body.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] for two methods at once or two different client ids (RFC 6749 §2.3);
    /// [`OAuthError::InvalidClient`] for none, one that is not implemented, or a credential that does not decode.
    pub fn from_request(request: &ClientRequest<'_>) -> Result<Self, OAuthError> {
        // 1. One carrier is used, and each of its parameters once.
        parameters().try_for_each(|name| request.params.single(name).map(drop))?;
        let mut used = carriers().filter(|carrier| carrier.is_used_by(request));
        let Some(carrier) = used.next() else {
            return Err(OAuthError::InvalidClient(ClientAuthFailure::NoCredentials));
        };
        if used.any(|other| other != carrier) {
            return Err(OAuthError::InvalidRequest("the request uses more than one client authentication method"));
        }

        // The method that reads what it carries.
        for method in METHODS.iter().filter(|method| method.carrier == carrier) {
            if let Some(presented) = (method.find)(request)? {
                let credentials = Self { method: method.name, presented, source: request.source };
                return credentials.of_the_client_in(request.params);
            }
        }
        Err(OAuthError::InvalidClient(ClientAuthFailure::MethodNotSupported))
    }

    /// What a request presents whose grant is the token of another issuer (RFC 7523 §2.1): that is all its client authenticates with.
    ///
    /// # Errors
    /// As [`Self::from_request`]; [`OAuthError::InvalidRequest`] for an authentication beside the grant.
    pub fn from_grant(request: &ClientRequest<'_>) -> Result<Self, OAuthError> {
        parameters().try_for_each(|name| request.params.single(name).map(drop))?;
        if carriers().any(|carrier| carrier.is_used_by(request)) {
            return Err(OAuthError::InvalidRequest(
                "the assertion of the jwt-bearer grant authenticates the client by itself",
            ));
        }
        let presented = workload_identity::presented_as_grant(request)?;
        Ok(Self { method: AuthMethod::WorkloadIdentity, presented, source: request.source })
    }

    /// The client that they name, whether or not there is one. Of credentials that are refused it is nobody.
    pub fn named_in(found: &Result<Self, OAuthError>) -> Option<ClientId> {
        found.as_ref().ok()?.presented.unverified_client_id.parse().ok()
    }

    /// What a client presents that authenticates by `method` with this secret.
    ///
    /// # Errors
    /// [`OAuthError::InvalidClient`] for a secret that no request can carry.
    pub fn of_secret(method: AuthMethod, client_id: &ClientId, secret: &str) -> Result<Self, OAuthError> {
        Ok(Self { method, presented: secret::presented(client_id.as_str(), secret)?, source: None })
    }

    /// A `client_id` beside a credential that has one is the same.
    fn of_the_client_in(self, params: &Params) -> Result<Self, OAuthError> {
        let named = self.presented.unverified_client_id.as_str();
        if params.single("client_id")?.is_some_and(|id| id != named) {
            return Err(OAuthError::InvalidRequest("client_id is not the client that the credentials name"));
        }
        Ok(self)
    }

    fn attempt_in<'a>(&'a self, realm: &'a RealmName) -> Option<Attempt<'a>> {
        let unverified_client_id = self.presented.unverified_client_id.as_str();
        self.source.map(|source| Attempt { realm, unverified_client_id, source })
    }
}

impl ClientAuthenticator {
    /// Verifies against these stores.
    pub fn new(registry: Arc<dyn ClientRegistry>, secrets: Arc<dyn SecretSource>, clock: Arc<dyn Clock>) -> Self {
        let stores = Stores { secrets, replay_guard: None, remote_keys: None };
        Self { registry, stores, clock, attempts: None, uses: None }
    }

    /// With what remembers assertions that have been used. Without it none is accepted.
    #[must_use]
    pub fn guarded_by(mut self, replay_guard: Arc<dyn ReplayGuard>) -> Self {
        self.stores.replay_guard = Some(replay_guard);
        self
    }

    /// With keys that are fetched. Without them no client is authenticated whose keys are at an address.
    #[must_use]
    pub fn fetching(mut self, remote_keys: Arc<dyn RemoteKeys>) -> Self {
        self.stores.remote_keys = Some(remote_keys);
        self
    }

    /// With the use of clients recorded, where their realm wants that.
    #[must_use]
    pub fn noting(self, uses: Arc<dyn ClientUse>) -> Self {
        Self { uses: Some(uses), ..self }
    }

    /// With failures counted, and their sources refused when there are too many.
    #[must_use]
    pub fn limited_by(self, attempts: Option<Arc<FailedAttempts>>) -> Self {
        Self { attempts, ..self }
    }

    /// The client that the credentials belong to.
    ///
    /// # Errors
    /// With the client that they name, as soon as the registry knows it and whether or not they belong to it, since whoever
    /// guesses at a client's secret is to be seen in the log: [`OAuthError::InvalidClient`] where they belong to no active
    /// client; [`OAuthError::TooManyAttempts`] where their source has failed too often to have them looked at;
    /// [`OAuthError::Unavailable`] where a store cannot be asked.
    pub async fn authenticate(&self, realm: &Realm, credentials: &Credentials) -> Result<AuthenticatedClient, Refused> {
        let limited = self.attempts.as_ref().zip(credentials.attempt_in(&realm.name));

        // 2. Before any look-up: a refusal costs nothing, and is the same whether or not there is such a client.
        if let Some((attempts, attempt)) = &limited {
            attempts.admit(attempt, self.clock.as_ref())?;
        }

        // 3. to 5.
        let result = self.verify(realm, credentials).await;

        // 6. Of any number of guesses made at once, those that are too many are refused as such.
        if let Some((attempts, attempt)) = &limited {
            match &result {
                Ok(_) => attempts.succeeded(attempt, self.clock.as_ref()),
                Err(Refused { named, error }) if is_guess(error) => {
                    let counted = attempts.failed(attempt, self.clock.as_ref(), named.as_ref());
                    counted.map_err(|error| Refused { named: named.clone(), error })?;
                }
                Err(_) => {}
            }
        }
        if let (Ok(authenticated), Some(uses)) = (&result, &self.uses)
            && realm.settings.client_use_recorded_since.is_some()
        {
            uses.used(&authenticated.client).await;
        }
        result
    }

    async fn verify(&self, realm: &Realm, credentials: &Credentials) -> Result<AuthenticatedClient, Refused> {
        let Presented { unverified_client_id, proof } = &credentials.presented;
        let circumstances = Circumstances { realm, now: self.clock.now() };

        // 3. What the registry says. A text that is not a client id is an unknown client, without a look-up.
        let named = match unverified_client_id.parse::<ClientId>() {
            Ok(client_id) => self.registry.client(&realm.name, &client_id).await?,
            Err(_) => None,
        };
        let standing = standing(named.as_ref(), proof.as_ref(), circumstances.now);

        // 4. The proof, for which a store is asked only where the client may authenticate.
        let verified = proof.verify(standing.as_deref().ok(), Look::Remembered, &self.stores, circumstances).await;
        if let (Ok(client), Err(OAuthError::InvalidClient(failure))) = (&standing, &verified)
            && proof.admits_another_look(client, failure, &self.stores).await
        {
            return self.verify_anew(client, credentials, circumstances).await;
        }

        // 5. Only now, whether there was a client at all.
        let client = standing.map_err(|failure| Refused { named, error: OAuthError::InvalidClient(failure) })?;
        self.judge(client, verified, credentials, circumstances.now).await
    }

    /// Phases 3 to 5 past all that is remembered: the secret may be newer. The registration is read anew as well, and before the
    /// secrets: an id may have been deleted and registered again, or a right withdrawn before the secret was replaced, and a
    /// new secret must not get what the registration before it had.
    async fn verify_anew(
        &self,
        remembered: &Arc<Client>,
        credentials: &Credentials,
        circumstances: Circumstances<'_>,
    ) -> Result<AuthenticatedClient, Refused> {
        let proof = credentials.presented.proof.as_ref();
        match self.read_anew(remembered, proof, circumstances.now).await {
            Ok(client) => {
                let verified = proof.verify(Some(&client), Look::Anew, &self.stores, circumstances).await;
                self.judge(client, verified, credentials, circumstances.now).await
            }
            Err(refused) => {
                // As much work as for a client; the answer is known.
                let _ = proof.verify(None, Look::Anew, &self.stores, circumstances).await;
                Err(refused)
            }
        }
    }

    /// Whether a client that may authenticate has done so.
    async fn judge(
        &self,
        client: Arc<Client>,
        verified: Result<Proven, OAuthError>,
        credentials: &Credentials,
        now: UnixSeconds,
    ) -> Result<AuthenticatedClient, Refused> {
        admission::tell_of_observed(&client, &verified);
        let (client, admission) = match verified {
            // A proof that is wrong by any method is a guess.
            Err(error) => return Err(Refused::of(&client, error)),
            Ok(Proven::Registration) => (client, None),
            Ok(Proven::Secrets(newer)) => (self.client_since(&newer, &client, credentials, now).await?, None),
            Ok(Proven::Identity { admission, .. }) => (client, Some(admission)),
        };
        let method = credentials.method;
        if client.allows_method(method) {
            Ok(AuthenticatedClient { client, method, admission })
        } else {
            Err(Refused::of(&client, OAuthError::InvalidClient(ClientAuthFailure::MethodNotRegistered)))
        }
    }

    /// The client since there have been the secrets that it has shown one of. Where one of them may be newer than the
    /// registration, that is read again: a right that was withdrawn before the secret was made must not come with it. Only for
    /// who has the secret, so that guessing costs nothing.
    async fn client_since(
        &self,
        secrets: &ClientSecrets,
        older: &Arc<Client>,
        credentials: &Credentials,
        now: UnixSeconds,
    ) -> Result<Arc<Client>, Refused> {
        let client = self.read_anew(older, credentials.presented.proof.as_ref(), now).await?;
        // Registered again meanwhile: it was its predecessor's secret.
        if client.registration_id != older.registration_id {
            return Err(Refused::of(&client, OAuthError::InvalidClient(ClientAuthFailure::WrongSecret)));
        }
        self.stores.secrets.confirm(&client, secrets).await;
        Ok(client)
    }

    /// The client as it is registered now, where it may still authenticate.
    async fn read_anew(
        &self,
        remembered: &Arc<Client>,
        proof: &dyn Proof,
        now: UnixSeconds,
    ) -> Result<Arc<Client>, Refused> {
        let read = self.registry.client_anew(&remembered.realm, &remembered.client_id).await;
        let read = read.map_err(|error| Refused::of(remembered, error))?;
        // Whoever is no longer registered is still the client that was named.
        let named = read.as_ref().unwrap_or(remembered);
        standing(read.as_ref(), proof, now).map_err(|failure| Refused::of(named, OAuthError::InvalidClient(failure)))
    }
}

/// Every place where a request may carry a proof: beside another it is a second method, and in a URL a credential in a log.
fn carriers() -> impl Iterator<Item = Carrier> {
    METHODS.into_iter().map(|method| method.carrier)
}

/// The client, where it may authenticate now.
fn standing(
    client: Option<&Arc<Client>>,
    proof: &dyn Proof,
    now: UnixSeconds,
) -> Result<Arc<Client>, ClientAuthFailure> {
    let client = client.ok_or(ClientAuthFailure::UnknownClient)?;
    if !client.is_active() {
        return Err(ClientAuthFailure::Disabled);
    }
    proof.can_prove(client, now)?;
    Ok(Arc::clone(client))
}

/// Whether a refusal counts as a failed attempt.
fn is_guess(error: &OAuthError) -> bool {
    match error {
        // The secret was right, which only shows who could show it by the registered method, too.
        // An assertion that was used before was the client's, and shows nothing to who repeats it: a client that sends a request
        // twice, or somebody who has seen one of its requests, must not have the client refused.
        OAuthError::InvalidClient(failure) => !matches!(
            failure,
            ClientAuthFailure::MethodNotRegistered | ClientAuthFailure::Assertion(AssertionProblem::Replayed)
        ),
        // A store that is away says nothing about the secret.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::assertion::JWT_BEARER;
    use crate::core::realm::PublicUrl;
    use crate::core::trust::caller::{CallerByAws, CallerProblem};

    #[test]
    fn every_method_has_one_row_in_the_order_of_the_names() {
        let rows: Vec<AuthMethod> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(rows, AuthMethod::ALL);
    }

    #[test]
    fn a_request_that_uses_two_carriers_uses_two_methods() {
        let carriers: Vec<Carrier> = carriers().collect();
        for one in &carriers {
            for other in carriers.iter().filter(|other| *other != one) {
                let found = found_in(&[*one, *other]);
                assert!(matches!(found, Err(OAuthError::InvalidRequest(_))), "{one:?} {other:?}");
            }
            let alone = found_in(&[*one]);
            match one {
                // Which client is meant is a parameter, and no carrier's.
                Carrier::AwsCaller => assert!(matches!(alone, Err(OAuthError::InvalidRequest(_))), "{alone:?}"),
                Carrier::Authorization | Carrier::Parameters(_) => {
                    assert!(matches!(alone, Err(OAuthError::InvalidClient(_))), "{alone:?}");
                }
            }
        }
    }

    /// What a request comes to that uses these carriers, and nothing in them is a credential.
    fn found_in(carriers: &[Carrier]) -> Result<(), OAuthError> {
        let value = |name: &str| if name == "client_assertion_type" { JWT_BEARER } else { "x" };
        let form: Vec<String> = carriers
            .iter()
            .flat_map(|carrier| carrier.parameters())
            .map(|name| format!("{name}={}", value(name)))
            .collect();
        let headers: &[&[u8]] = if carriers.contains(&Carrier::Authorization) { &[b"x"] } else { &[] };
        let caller = CallerByAws(Err(CallerProblem::Missing));
        let (realm, params) = (RealmName::root(), Params::parse(form.join("&").as_bytes()).expect("a form"));
        let issuer = "https://auth.example.com".parse::<PublicUrl>().expect("a URL").issuer("/oauth2");
        let request = ClientRequest {
            authorization: headers,
            aws_caller: carriers.contains(&Carrier::AwsCaller).then_some(&caller),
            ..ClientRequest::new(&realm, &issuer, &params)
        };
        Credentials::from_request(&request).map(drop)
    }
}
