//! What the protocol needs from outside, each port as narrow as one call. One conformance suite per port runs on every
//! adapter (`tests/it/conformance`).

use std::sync::Arc;

use async_trait::async_trait;

use super::access_token::TokenDigest;
use super::access_token::record::{AccessTokenRecord, Revocation, StoredToken};
use super::admin_log::{Actor, AdminLogLine, LogPage, LogRange, Outcome};
use super::client::Client;
use super::client::id::ClientId;
use super::client::secret::{ClientSecret, ClientSecrets, NewSecret, SecretDates};
use super::keys::SigningAlgorithm;
use super::keys::copy::{KeptKeys, KeyCopy};
use super::keys::jwk_set::JwkSet;
use super::keys::published::VerificationKeys;
use super::keys::remote::JwksUri;
use super::keys::set::{KeySet, Signers};
use super::owner::{Owner, OwnerId};
use super::port_error::PortError;
use super::quota::QuotaPeriod;
use super::realm::{Realm, RealmName};
use super::replay::ReplayKey;
use super::time::{Moment, UnixMillis, UnixSeconds};
use super::trust::issuer::TrustedIssuer;
use super::trust::key_address::KeyAddress;
use super::trust::lookups::Lookups;

/// Reads realms and registrations.
#[async_trait]
pub trait ClientRegistry: Send + Sync {
    /// The registration of `client_id` in `realm`, whatever its status.
    async fn client(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError>;

    /// The realm's own record. The root realm exists even where this is `None`.
    async fn realm(&self, name: &RealmName) -> Result<Option<Arc<Realm>>, PortError>;

    /// [`ClientRegistry::realm`], for who asks for this client of it next. A store that has both in one answer gives both, and what
    /// remembers one remembers the other, so that asking for the client costs nothing more.
    async fn realm_and_client(&self, name: &RealmName, _client_id: &ClientId) -> Result<RealmAndClient, PortError> {
        Ok(RealmAndClient { realm: self.realm(name).await?, client: ClientBeside::NotSaid })
    }

    /// [`ClientRegistry::client`] as the store has it now, past whatever is remembered. For who has been let look again
    /// ([`SecretSource::admits_another_look`]).
    async fn client_anew(&self, realm: &RealmName, client_id: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        self.client(realm, client_id).await
    }
}

/// A realm, and what was said of a client of it in the same answer.
#[derive(Debug)]
pub struct RealmAndClient {
    /// As [`ClientRegistry::realm`] says it.
    pub realm: Option<Arc<Realm>>,
    /// The client.
    pub client: ClientBeside,
}

/// What an answer about a realm says of a client.
#[derive(Debug)]
pub enum ClientBeside {
    /// Nothing: [`ClientRegistry::client`] has to be asked.
    NotSaid,
    /// What [`ClientRegistry::client`] says.
    Said(Option<Arc<Client>>),
}

/// Reads the secrets of registered clients. Only ever asked for a client that the registry has just named: a miss is
/// billed, and Secrets Manager takes ARNs for names.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// Digests of the current and the previous secret; `None` where the client has no secret. A secret belongs to one
    /// registration: `None`, too, where those that are stored belong to another one of the same id.
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError>;

    /// Called when a presented secret matched neither: whether the registration and its secrets may be looked at anew. A
    /// source that caches lets that happen so seldom that guessing costs nothing; one that does not has nothing newer.
    async fn admits_another_look(&self, _client: &Client) -> bool {
        false
    }

    /// [`SecretSource::secrets`] as the store has them now, past whatever is remembered. For who has been let look again,
    /// and has read the registration before: a secret is never newer than the registration that it is compared for.
    async fn secrets_anew(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        self.secrets(client).await
    }

    /// Called once `client`, a registration that was read after `secrets` of it, has been opened by one of them: they need not
    /// be compared with a newer one any more. A source that remembers nothing has nothing to note.
    async fn confirm(&self, _client: &Client, _secrets: &ClientSecrets) {}

    /// Called in place of the first two where there is no client to ask for. Takes as long as they take for a wrong secret
    /// while nothing has to be loaded, so that an answer's time does not say who is registered. Asks nobody else.
    async fn no_secrets(&self) {}
}

/// Keeps access tokens by the digest of the token; the token itself reaches no store.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Stores a token's record until it expires. Returns only once the record is durable against a crash of the process.
    async fn put(&self, digest: &TokenDigest, record: &AccessTokenRecord) -> Result<(), PortError>;

    /// What there is of a token, read consistently with every finished `put` and `revoke`. May return what has expired: the
    /// caller compares `expires_at`.
    async fn get(&self, digest: &TokenDigest) -> Result<StoredToken, PortError>;

    /// Ends a token of `client_id` in `realm`, in one step with the check that it is that client's: a mark takes the place of its record,
    /// until it expires.
    async fn revoke(
        &self,
        digest: &TokenDigest,
        realm: &RealmName,
        client_id: &ClientId,
        now: UnixSeconds,
    ) -> Result<Revocation, PortError>;
}

/// Remembers which self-contained tokens ended before their time. They are stored nowhere, so their end has to be.
#[async_trait]
pub trait Denylist: Send + Sync {
    /// Ends the token of this `jti`. Remembered until `expires_at`, when the token's own time is over.
    async fn deny(&self, jti: &str, expires_at: UnixSeconds) -> Result<(), PortError>;

    /// Whether the token of this `jti` was ended, read consistently with every finished `deny`.
    async fn is_denied(&self, jti: &str) -> Result<bool, PortError>;

    /// Since when no end has been lost. A list that was emptied, or brought back from a backup, no longer knows who ended
    /// before: a token that was issued in that second or earlier may be one of them. Now, where nobody can say since when.
    async fn whole_since(&self) -> Result<UnixSeconds, PortError>;
}

/// Counts the tokens of clients that have a quota, for all processes together. Nobody else is ever counted.
#[async_trait]
pub trait QuotaCounter: Send + Sync {
    /// Counts one token of this registration in `period`, in one step with the check that there are fewer than `at_most`
    /// already, where there is a most. How many there are now; `None` where it was one too many, which counts nothing. What
    /// fails halfway may have been counted.
    async fn count(&self, client: &Client, period: QuotaPeriod, at_most: Option<u32>)
    -> Result<Option<u64>, PortError>;
}

/// Keeps on which day clients were last used, for all processes together.
#[async_trait]
pub trait UseMarks: Send + Sync {
    /// Marks this registration as used on the day that begins at `day`. An earlier day never replaces a later one.
    async fn mark_used(&self, client: &Client, day: UnixSeconds) -> Result<(), PortError>;

    /// The latest day on which each of these registrations was marked, in their order; `None` where it never was, or too long ago.
    async fn last_used(&self, clients: &[Client]) -> Result<Vec<Option<UnixSeconds>>, PortError>;

    /// Since when no mark has been lost.
    async fn kept_since(&self) -> Result<UnixSeconds, PortError>;
}

/// Is told of each client that has authenticated where its realm has that recorded. It never fails, and never waits for a store.
#[async_trait]
pub trait ClientUse: Send + Sync {
    /// Notes it, beside whatever is done next.
    async fn used(&self, client: &Arc<Client>);
}

/// Remembers what has been used that may be used once, for all processes together.
#[async_trait]
pub trait ReplayGuard: Send + Sync {
    /// Whether this is the first use; until `until` it is the only one. One conditional write: of any number at once, one is the
    /// first. What was used until a time that is over at `now` may be used again, whether or not anybody has erased it. Returns
    /// only once the use is as durable as a token.
    ///
    /// A write that is repeated because its answer was lost is one use. An error says nothing of whether it was the first: whoever
    /// asked must not go on.
    async fn first_use(&self, key: &ReplayKey, now: UnixSeconds, until: UnixSeconds) -> Result<bool, PortError>;
}

/// Gives out the public keys at an address that an operator has set, as they were fetched.
#[async_trait]
pub trait RemoteKeys: Send + Sync {
    /// The keys, which may be remembered for as long as their issuer lets them be, and past that while it is away.
    async fn remote_keys(&self, address: &JwksUri) -> Result<Arc<JwkSet>, PortError>;

    /// Called when a signature names a key that is not among them: a source may fetch them again, at most so often that inventing
    /// names costs nobody anything. `None` where there is nothing newer.
    async fn remote_keys_after_mismatch(&self, address: &JwksUri) -> Result<Option<Arc<JwkSet>>, PortError>;

    /// The same of an issuer that a realm trusts, wherever its keys are. One of AWS STS that nobody has registered is looked up, too,
    /// so seldom that inventing issuers costs nobody anything.
    async fn issuer_keys(&self, issuer: &TrustedIssuer) -> Result<Arc<JwkSet>, PortError> {
        Err(PortError::Unavailable { service: "the issuer's keys", detail: issuer.name.to_string() })
    }

    /// [`Self::remote_keys_after_mismatch`] of such an issuer.
    async fn issuer_keys_after_mismatch(&self, issuer: &TrustedIssuer) -> Result<Option<Arc<JwkSet>>, PortError> {
        self.issuer_keys(issuer).await.map(|_same| None)
    }

    /// Called once a token of such an issuer has admitted a client. One of AWS STS that nobody has registered keeps its place from then
    /// on: those that strangers name do not push out its keys, nor wait in front of it. A source that remembers nothing has nothing to note.
    async fn confirm_issuer(&self, _issuer: &TrustedIssuer) {}
}

/// Keeps what was fetched from an address, for all processes together, and says who looks there next.
#[async_trait]
pub trait KeyCopies: Send + Sync {
    /// What is kept of `address`, read consistently with every finished write. May return what is too old to be used.
    async fn kept_keys(&self, address: KeyAddress<'_>) -> Result<KeptKeys, PortError>;

    /// Begins a look at `now`, unless somebody has begun one less than `interval` seconds ago. Of those who ask at once, one may look.
    async fn begin_look(&self, address: KeyAddress<'_>, now: UnixSeconds, interval: u64) -> Result<bool, PortError>;

    /// Keeps `copy`, where it replaces what is kept ([`KeyCopy::replaces`]).
    async fn keep(&self, address: KeyAddress<'_>, copy: &KeyCopy) -> Result<(), PortError>;

    /// Notes that a token of this issuer has admitted a client, for as long as something is kept of it. Where nothing is, nothing happens.
    async fn confirm(&self, address: KeyAddress<'_>) -> Result<(), PortError>;

    /// The look-ups of issuers that nobody has registered, read consistently with every finished write.
    async fn lookups(&self) -> Result<Lookups, PortError>;

    /// Replaces look-ups whose stored revision is one less than `lookups.revision`. Of those who do so at once, one does; `false` for the others.
    async fn replace_lookups(&self, lookups: &Lookups, now: UnixSeconds) -> Result<bool, PortError>;
}

/// Gives out the public keys of realms, for those who verify.
#[async_trait]
pub trait VerificationKeySource: Send + Sync {
    /// The keys that the realm publishes; none where it has never signed anything.
    async fn verification_keys(&self, realm: &RealmName) -> Result<Arc<VerificationKeys>, PortError>;

    /// Called when a token names a key that is not among them: a source that caches may look again, at most so often that
    /// inventing names costs nothing. `None` where there is nothing newer.
    async fn verification_keys_after_mismatch(
        &self,
        _realm: &RealmName,
    ) -> Result<Option<Arc<VerificationKeys>>, PortError> {
        Ok(None)
    }
}

/// Gives out the private keys of realms, for those who sign.
#[async_trait]
pub trait SigningKeySource: Send + Sync {
    /// The keys that sign for the realm, made on first use, then for `alg`. None is given out before it is published.
    async fn signers(&self, realm: &RealmName, alg: SigningAlgorithm) -> Result<Arc<Signers>, PortError>;
}

/// Keeps the private keys of realms, and publishes their public halves.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The keys of a realm as they are stored now.
    async fn read_keys(&self, realm: &RealmName) -> Result<Option<KeySet>, PortError>;

    /// Returns once those of `keys` that sign are published. Before that nothing is signed with them. A store that keeps both
    /// halves in one place has nothing to do.
    async fn ensure_published(&self, _realm: &RealmName, _keys: &KeySet) -> Result<(), PortError> {
        Ok(())
    }

    /// Stores the first keys of a realm: of those who come at once, one. They are published when this returns, unless a later
    /// revision is published already, which `ensure_published` finds out.
    async fn create_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError>;

    /// Replaces keys whose stored revision is one less than `keys.revision`.
    async fn replace_keys(&self, realm: &RealmName, keys: &KeySet) -> Result<(), KeyStoreError>;

    /// Removes the keys of a realm, those that sign first, and says whether there were any. Run again it ends in the same state.
    async fn delete_keys(&self, realm: &RealmName) -> Result<bool, PortError>;
}

/// Why keys were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyStoreError {
    /// There are keys already, or of another revision than the one to replace.
    #[error("somebody else changed the keys in the meantime")]
    Conflict,
    /// The store could not do its work.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Writes realms, registrations and secrets, for an operator's command line. The server itself only reads.
#[async_trait]
pub trait Registrar: Send + Sync {
    /// Adds a client and its first secret, if its authentication methods use one. The registration is stored only where no
    /// client has its id.
    async fn register(&self, client: &Client, secret: Option<&ClientSecret>) -> Result<(), RegistrarError>;

    /// Replaces a registration of the same `registration_id` whose stored revision is one less than `client.revision`.
    async fn replace(&self, client: &Client) -> Result<(), RegistrarError>;

    /// [`Registrar::replace`] of `before`, unless it is the same, by a registration whose secrets are kept where it says afterwards.
    /// Those that are valid stay so, without a moment in which they are not; `fresh` is for a client whose secret cannot be
    /// taken along. What an earlier call has left behind that ended halfway is removed. A registry that has one place for them
    /// has nothing to move.
    async fn move_secrets(
        &self,
        before: &Client,
        client: &Client,
        _fresh: &NewSecret<'_>,
    ) -> Result<MovedSecrets, RegistrarError> {
        if client != before {
            self.replace(client).await?;
        }
        Ok(MovedSecrets::default())
    }

    /// Removes a registration and its secrets.
    async fn delete(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError>;

    /// The same, of a registration that is disabled and still as `client` is; [`RegistrarError::Conflict`] where somebody has changed it since.
    async fn delete_unchanged(&self, client: &Client) -> Result<(), RegistrarError>;

    /// Makes `secret` the current one; what it says stays valid as the previous one, without a moment in which it is not. A client
    /// that has lost its secret gets one; one whose authentication methods use none is refused with [`RegistrarError::NoSecret`].
    async fn rotate_secret(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        secret: &NewSecret<'_>,
    ) -> Result<(), RegistrarError>;

    /// When the client's secrets were made, and until when the previous one is valid. `None` where it has none.
    async fn secret_dates(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
    ) -> Result<Option<SecretDates>, RegistrarError>;

    /// Digests of the secrets of `client` as they are stored now, never from a cache. `None` where it has none.
    async fn stored_secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, RegistrarError>;

    /// Ends the validity of the previous secret, if there is one.
    async fn revoke_previous_secret(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), RegistrarError>;

    /// A registration as it is stored now, never from a cache.
    async fn read(&self, realm: &RealmName, client_id: &ClientId) -> Result<Client, RegistrarError>;

    /// These registrations as they are stored now, never from a cache, in any order. One that does not exist is not among them. For many of
    /// them, wherever they are: a store that can answers several at a time.
    async fn read_many(&self, clients: &[(RealmName, ClientId)]) -> Result<Vec<Client>, RegistrarError>;

    /// Registrations of a realm in ascending order of client id, at most `limit`, those after `after`.
    async fn list(
        &self,
        realm: &RealmName,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Result<ClientPage, RegistrarError>;

    /// Creates a realm (revision 1) or replaces one whose stored revision is one less than `realm.revision`.
    async fn put_realm(&self, realm: &Realm) -> Result<(), RegistrarError>;

    /// A realm's record as it is stored now; `None` where it has none.
    async fn read_realm(&self, name: &RealmName) -> Result<Option<Realm>, RegistrarError>;

    /// Removes the record of a realm whose stored revision is that of `realm`. It is no error that it is gone already. A store that can see
    /// both in one step leaves a realm with clients as it is, with [`RegistrarError::Conflict`].
    async fn delete_realm(&self, realm: &Realm) -> Result<(), RegistrarError>;

    /// Every realm that has a record, in ascending order of name.
    async fn list_realms(&self) -> Result<Vec<Realm>, RegistrarError>;

    /// Creates an owner (revision 1) or replaces one whose stored revision is one less than `owner.revision`.
    async fn put_owner(&self, owner: &Owner) -> Result<(), RegistrarError>;

    /// Removes an owner whose stored revision is still the one of `owner`.
    async fn delete_owner(&self, owner: &Owner) -> Result<(), RegistrarError>;

    /// An owner's record as it is stored now; `None` where there is none.
    async fn read_owner(&self, id: &OwnerId) -> Result<Option<Owner>, RegistrarError>;

    /// Every owner, in ascending order of id.
    async fn list_owners(&self) -> Result<Vec<Owner>, RegistrarError>;
}

/// Keeps the log of what operators change. A line is written ahead of its change, and told afterwards what became of it: so no change
/// is without its line, on a store without transactions too.
#[async_trait]
pub trait AdminLog: Send + Sync {
    /// Stores the line of a change that is about to be made. Returns only once it is as durable as the change will be.
    async fn begin(&self, line: &AdminLogLine) -> Result<(), PortError>;

    /// Says of a line that was begun what became of its change.
    async fn finish(&self, line: &AdminLogLine, outcome: Outcome) -> Result<(), PortError>;

    /// Lines, read consistently with every finished write.
    async fn read_log(&self, range: &LogRange) -> Result<LogPage, PortError>;
}

/// Finds out who works here. The answer is never the caller's own word, but for what says so of itself.
#[async_trait]
pub trait ActorSource: Send + Sync {
    /// Who it is.
    async fn actor(&self) -> Result<Actor, PortError>;
}

/// Where it is known from the start.
#[async_trait]
impl ActorSource for Actor {
    async fn actor(&self) -> Result<Actor, PortError> {
        Ok(self.clone())
    }
}

/// What became of secrets that were moved.
#[derive(Debug, Default)]
pub struct MovedSecrets {
    /// Whether the fresh one is current now, because the one before it could not be taken along in the clear.
    pub fresh_is_current: bool,
    /// Why what they were moved from has not been removed.
    pub left_behind: Option<PortError>,
}

/// One page of registrations.
#[derive(Clone, Debug)]
pub struct ClientPage {
    /// In ascending order of client id.
    pub clients: Vec<Client>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<ClientId>,
}

/// The time, so that expiry can be tested.
pub trait Clock: Send + Sync {
    /// Now, as calendars and tokens have it. Somebody may set it, back too.
    fn now(&self) -> UnixSeconds;

    /// [`Clock::now`] to the millisecond, where the clock knows.
    fn now_in_millis(&self) -> UnixMillis {
        self.now().into()
    }

    /// Now, to measure what has passed since. By default as if nobody ever set the clock.
    fn moment(&self) -> Moment {
        Moment::of(self.now())
    }
}

/// Why whoever acts for owners may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    /// Realms, signing keys and owners are an operator's.
    #[error("only an operator may change realms, signing keys and owners")]
    OperatorsOnly,
    /// The client has other owners, or none.
    #[error("the client belongs to other owners")]
    AnothersClient,
    /// A client that is registered has to have its owners among those that are acted for, and at least one.
    #[error("a client has to be registered for the owner who registers it, and for nobody else")]
    NotOwnersOwn,
    /// Who owns a client is not its owner's to say.
    #[error("only an operator may change who owns a client")]
    OwnersChange,
    /// What an operator has stopped stays so.
    #[error("only an operator may enable a client")]
    Enabling,
    /// It would reach beyond the client's own tokens, or lift a limit.
    #[error("only an operator may change {0} of a client")]
    Member(&'static str),
    /// It would let the client read others' tokens.
    #[error("only an operator may give a client a scope that lets it introspect the tokens of others")]
    IntrospectionScope,
}

/// Why a change to the registry was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrarError {
    /// A client with this id exists in the realm.
    #[error("a client with this id exists already")]
    AlreadyExists,
    /// No client has this id in the realm.
    #[error("no client has this id")]
    NotFound,
    /// None of the client's authentication methods uses a secret.
    #[error("the client has no secret: none of its authentication methods uses one")]
    NoSecret,
    /// A secret that is in use was not made by this server, and is not kept as a digest.
    #[error("a secret that is in use was not generated")]
    SuppliedSecret,
    /// Somebody else changed the record between reading and writing.
    #[error("somebody else changed the record in the meantime; read it again and repeat the change")]
    Conflict,
    /// Whoever works here may not do this.
    #[error(transparent)]
    Denied(#[from] AccessDenied),
    /// The store could not do its work.
    #[error(transparent)]
    Port(#[from] PortError),
}
