//! What becomes of an operator's request: the record as it is then, what to know about it, or why nothing was done.

use std::fmt;

use super::hindrance::Hindrance;
use super::issuer_rules::InvalidIssuer;
use crate::core::client::auth_method::AuthMethod;
use crate::core::client::grant_type::GrantType;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::InvalidRegistration;
use crate::core::client::secret_storage::SecretStorage;
use crate::core::declaration::DeclarationName;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::keyring::KeyChangeError;
use crate::core::owner::OwnerId;
use crate::core::port_error::PortError;
use crate::core::ports::{AccessDenied, RegistrarError};
use crate::core::realm::RealmName;
use crate::core::scope::{INTROSPECT_ALL_TOKENS, INTROSPECT_ALL_TOKENS_ANY_REALM, Scope};
use crate::core::time::UnixSeconds;
use crate::core::trust::issuer::IssuerName;
use crate::core::trust::rule::RuleName;

/// A record as it is stored after a change, and what to know about it.
#[derive(Debug)]
pub struct Changed<T> {
    /// As it is stored now.
    pub record: T,
    /// What the change brings with it.
    pub notices: Vec<Notice>,
}

/// Whose record a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A realm.
    Realm(RealmName),
    /// A client.
    Client {
        /// The realm that owns it.
        realm: RealmName,
        /// Its id.
        client_id: ClientId,
    },
    /// An issuer that a realm trusts.
    Issuer {
        /// The realm.
        realm: RealmName,
        /// Its name.
        name: IssuerName,
    },
    /// An owner.
    Owner(OwnerId),
}

/// What stops nothing and is worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This server does not implement the grant type: it is recorded, and no client gets a token by it.
    GrantTypeNotImplemented(GrantType),
    /// The secret works only with clients that form-encode it in HTTP Basic (RFC 6749 Appendix B).
    SecretNeedsFormEncoding,
    /// No request of the client can be answered with a token.
    NeverGetsToken {
        /// The client.
        of: Subject,
        /// Why.
        why: Vec<Hindrance>,
    },
    /// A scope looks like one that lets introspect, and is not.
    UnknownIntrospectionScope(String),
    /// A scope has a comma in it, which separates nothing.
    CommaInScope(String),
    /// The client has keys, or algorithms for them, and is not registered for the method that uses them.
    KeysWithoutMethod {
        /// The client.
        of: Subject,
        /// Its methods, and the one that it lacks.
        methods: Vec<AuthMethod>,
    },
    /// The client has trust rules, and is not registered for a method that looks at them.
    TrustWithoutMethod {
        /// The client.
        of: Subject,
        /// Its methods.
        methods: Vec<AuthMethod>,
    },
    /// The client is registered for a method that looks at trust rules, and has none.
    MethodWithoutTrust {
        /// The client.
        of: Subject,
        /// The method.
        method: AuthMethod,
    },
    /// A rule names neither an account nor an organizational unit of AWS.
    RuleForWholeOrganization {
        /// The client.
        of: Subject,
        /// The rules.
        rules: Vec<RuleName>,
    },
    /// Every role of an account or of an organizational unit of AWS satisfies a rule.
    RuleForEveryRole {
        /// The client.
        of: Subject,
        /// The rules.
        rules: Vec<RuleName>,
    },
    /// Rules demand what is never known of whoever comes by the one method of the client that looks at them.
    RuleNeverSatisfied {
        /// The client.
        of: Subject,
        /// The rules.
        rules: Vec<RuleName>,
        /// The method.
        method: AuthMethod,
    },
    /// Rules name an account of AWS, and the realm trusts no issuer of AWS whose tokens could satisfy them.
    NoIssuerOfAws {
        /// The client.
        of: Subject,
        /// The rules.
        rules: Vec<RuleName>,
    },
    /// No method of the client uses its secret any more; it is still there.
    SecretSleeps(Subject),
    /// A method of the client uses its secret again, which it had before.
    SecretWorksAgain(Subject),
    /// The client authenticates with its key alone, so no secret was made.
    NoSecretMade(Subject),
    /// What becomes of tokens beyond a quota is set, and there is no quota.
    QuotaModeWithoutQuota(Subject),
    /// Whether JWTs are stored is set, and the tokens are opaque.
    PersistenceOfOpaqueTokens(Subject),
    /// What signs the client's JWTs is set, and its tokens are opaque.
    SigningAlgOfOpaqueTokens(Subject),
    /// Clients can no longer be granted a scope that they could be granted before.
    ScopesWithdrawn {
        /// Their realm.
        realm: RealmName,
        /// How many there are.
        count: usize,
        /// The first of them.
        first: Vec<ClientId>,
    },
    /// The realm's grant types leave none that this server implements.
    NoGrantInRealm(RealmName),
    /// The secret that the application may still use ended, because the one after it was made only these seconds before.
    RotatedTwice {
        /// The client.
        of: Subject,
        /// How long ago the last rotation was.
        seconds: u64,
    },
    /// The secret that was given is the current one already, so nothing was written.
    SecretIsCurrent(Subject),
    /// There was no previous secret to keep, so the one that was to be replaced stays valid as the previous one.
    NoPreviousSecretToKeep(Subject),
    /// The new secret ends when the one before it would have ended.
    NewSecretEndsAt(UnixSeconds),
    /// Tokens that did not count do again.
    TokensCountAgain {
        /// Whose.
        of: Subject,
        /// Those that are dated from this time on; 0 for all.
        from: UnixSeconds,
    },
    /// A key of this algorithm has to be known everywhere before it signs; until then the key before it does.
    SignsOncePublished(SigningAlgorithm),
    /// The client has a new secret in Secrets Manager, because the one before it, which stays valid, was known as a digest only.
    NewSecretToRead(Subject),
    /// The secrets are kept elsewhere now, and what they were moved from is still there.
    SecretLeftBehind {
        /// The client.
        of: Subject,
        /// Why.
        error: PortError,
    },
    /// Clients that there are keep their secrets elsewhere than their realm says for new ones.
    SecretsStay {
        /// Their realm.
        realm: RealmName,
        /// Where new ones keep theirs.
        storage: SecretStorage,
        /// How many there are.
        count: usize,
        /// The first of them.
        first: Vec<ClientId>,
    },
    /// There was no key to rotate; the realm has its first ones now.
    FirstKeysMade(RealmName),
    /// The record had all the values that were named, so nothing was written.
    NothingChanged(Subject),
    /// What was changed by hand, a file declares otherwise.
    SetBackByFile {
        /// The record.
        of: Subject,
        /// The name of the file.
        file: DeclarationName,
        /// Those of the changed members that it sets.
        members: Vec<&'static str>,
    },
    /// What was removed by hand, a file declares.
    MadeAgainByFile {
        /// The record.
        of: Subject,
        /// The name of the file.
        file: DeclarationName,
    },
}

/// Why a request was refused, or not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagementError {
    /// There is no such realm, client or owner.
    #[error("{0} does not exist")]
    Unknown(Subject),
    /// There is one of this name already, and it stays as it is.
    #[error("{0} exists already")]
    Exists(Subject),
    /// Somebody else changed the record between reading and writing, and nothing was written.
    #[error("{0} was changed by somebody else in the meantime")]
    Conflict(Subject),
    /// None of the client's authentication methods uses a secret, so it has none.
    #[error("{0} has no secret")]
    NoSecret(Subject),
    /// The client has its keys at an address, where nobody here can add one.
    #[error("the keys of {0} are fetched from its jwks_uri")]
    KeysAreFetched(Subject),
    /// The client has no key of this name.
    #[error("{0} has no key of this kid")]
    NoSuchKey(Subject),
    /// Whoever works here may not do this.
    #[error(transparent)]
    Denied(#[from] AccessDenied),
    /// A client was to have an owner that does not exist.
    #[error("there is no owner '{0}'")]
    NoSuchOwner(OwnerId),
    /// A client was to have an owner that is disabled.
    #[error("owner '{0}' is disabled")]
    DisabledOwner(OwnerId),
    /// An owner was to be deleted that still has clients.
    #[error("owner '{owner}' still owns clients")]
    StillOwns {
        /// The owner.
        owner: OwnerId,
        /// How many clients it has.
        count: usize,
        /// The first of them, each with its realm.
        first: Vec<(RealmName, ClientId)>,
    },
    /// More principals act for an owner than may.
    #[error("an owner has at most {max} AWS principals", max = crate::core::owner::Owner::MAX_PRINCIPALS)]
    TooManyPrincipals,
    /// The root realm is always there.
    #[error("the root realm cannot be deleted")]
    RootStays,
    /// The realm was to be deleted, and not its clients.
    #[error("realm '{realm}' has clients")]
    RealmHasClients {
        /// The realm.
        realm: RealmName,
        /// How many there are.
        count: usize,
        /// The first of them.
        first: Vec<ClientId>,
    },
    /// The registration breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidRegistration),
    /// A realm's default scope is not among the scopes that it allows.
    #[error("the default scope '{scope}' is not among the realm's allowed scopes '{allowed}'")]
    DefaultScopeOutsideRealm {
        /// The first scope token outside.
        scope: String,
        /// What the realm allows.
        allowed: Scope,
    },
    /// An issuer cannot be trusted so.
    #[error(transparent)]
    InvalidIssuer(#[from] InvalidIssuer),
    /// Rules of clients name the issuer that was to be removed.
    #[error("rules of clients of realm '{realm}' need the issuer '{issuer}'")]
    IssuerIsUsed {
        /// Their realm.
        realm: RealmName,
        /// The issuer.
        issuer: IssuerName,
        /// How many there are.
        count: usize,
        /// The first of them.
        first: Vec<ClientId>,
    },
    /// The client's secret was to be rotated by schedule, and nothing does that in this registry.
    #[error("nothing rotates the secret of {0} by schedule")]
    NothingRotatesSecrets(Subject),
    /// A secret was brought along that is to be kept as a digest, and nobody can say how easily it is guessed.
    #[error("the secret brought along for {0} is not one that this server has generated")]
    SuppliedSecret(Subject),
    /// The same of a secret that is in use.
    #[error("a secret of {0} is not one that this server has generated")]
    SuppliedSecretInUse(Subject),
    /// New clients of a realm were to keep digests, and some of those that there are have their secrets rotated by schedule.
    #[error("secrets of clients of realm '{realm}' are rotated on a schedule")]
    SecretsAreRotated {
        /// The realm.
        realm: RealmName,
        /// How many there are.
        count: usize,
        /// The first of them.
        first: Vec<ClientId>,
    },
    /// The secret that was given is the current one already, and more was asked for than to make it so.
    #[error("the secret that was given is the current one of {0}")]
    SecretIsCurrent(Subject),
    /// The secret that was given is the previous one, which was to stay so beside it.
    #[error("the secret that was given is the previous one of {0}")]
    SecretIsPrevious(Subject),
    /// The client's secrets have expired, and a new one would not work either.
    #[error("the secrets of {of} have expired")]
    SecretsExpired {
        /// The client.
        of: Subject,
        /// When they did.
        at: UnixSeconds,
    },
    /// The time from which on tokens are to count has not come yet.
    #[error("tokens are to count from {wanted} on, which is {seconds} s ahead of the clock")]
    ValidAfterIsAhead {
        /// The time that was named.
        wanted: UnixSeconds,
        /// By how much it is ahead.
        seconds: u64,
        /// What the clock says.
        now: UnixSeconds,
    },
    /// The time from which on tokens count is far ahead of the clock already, so no token can be issued before it.
    #[error("tokens of {of} count from {stored} on, which is {seconds} s ahead of the clock")]
    StoredValidAfterIsAhead {
        /// Whose.
        of: Subject,
        /// What is stored.
        stored: UnixSeconds,
        /// By how much it is ahead.
        seconds: u64,
        /// What the clock says.
        now: UnixSeconds,
    },
    /// The secret is current, but its end could not be set.
    #[error("the new secret of {of} is current, but its lifetime could not be set: {error}")]
    LifetimeNotSet {
        /// The client.
        of: Subject,
        /// Why.
        error: Box<Self>,
    },
    /// There is no key for what was to be set, and none could be made. Nothing was stored.
    #[error("the signing keys of realm '{realm}' could not be made, so nothing was changed: {error}")]
    KeysNotMade {
        /// The realm that would sign.
        realm: RealmName,
        /// Why.
        error: KeyChangeError,
    },
    /// The realm's keys were not changed.
    #[error("the keys of realm '{realm}' were not changed: {error}")]
    Keys {
        /// The realm.
        realm: RealmName,
        /// Why.
        error: KeyChangeError,
    },
    /// The store could not do its work.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Subject {
    pub(super) fn client(realm: &RealmName, client_id: &ClientId) -> Self {
        Self::Client { realm: realm.clone(), client_id: client_id.clone() }
    }

    pub(super) fn issuer(realm: &RealmName, name: &IssuerName) -> Self {
        Self::Issuer { realm: realm.clone(), name: name.clone() }
    }

    /// Why the registry did not do what was asked for.
    pub(super) fn refused(self, error: RegistrarError) -> ManagementError {
        match error {
            RegistrarError::AlreadyExists => ManagementError::Exists(self),
            RegistrarError::NotFound => ManagementError::Unknown(self),
            RegistrarError::Conflict => ManagementError::Conflict(self),
            RegistrarError::NoSecret => ManagementError::NoSecret(self),
            RegistrarError::SuppliedSecret => ManagementError::SuppliedSecretInUse(self),
            RegistrarError::Denied(denied) => ManagementError::Denied(denied),
            RegistrarError::Port(error) => ManagementError::Port(error),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realm(name) => write!(formatter, "realm '{name}'"),
            Self::Client { client_id, .. } => write!(formatter, "client '{client_id}'"),
            Self::Issuer { name, .. } => write!(formatter, "issuer '{name}'"),
            Self::Owner(id) => write!(formatter, "owner '{id}'"),
        }
    }
}

/// Makes a change once more where somebody else was quicker: it is applied to what is stored by then. A second conflict is
/// left to the operator, who may want to know what is going on there.
pub(super) async fn again_after_conflict<T>(
    change: impl AsyncFn() -> Result<T, ManagementError>,
) -> Result<T, ManagementError> {
    match change().await {
        Err(ManagementError::Conflict(_)) => change().await,
        ended => ended,
    }
}

/// What to know of the scopes that a change brings.
pub(super) fn notices_of_scopes<'a>(
    before: impl IntoIterator<Item = &'a Scope>,
    now: impl IntoIterator<Item = &'a Scope>,
) -> Vec<Notice> {
    let union = |all: Scope, more: &Scope| all.union(more);
    let before = before.into_iter().fold(Scope::empty(), union);
    let now = now.into_iter().fold(Scope::empty(), union);
    let notices = now.tokens().filter(|token| !before.contains(token)).flat_map(|token| {
        let looks_alike = token.starts_with("am-introspect")
            && !matches!(token, INTROSPECT_ALL_TOKENS | INTROSPECT_ALL_TOKENS_ANY_REALM);
        let unknown = looks_alike.then(|| Notice::UnknownIntrospectionScope(token.to_owned()));
        let comma = token.contains(',').then(|| Notice::CommaInScope(token.to_owned()));
        unknown.into_iter().chain(comma)
    });
    notices.collect()
}

/// Of the grant types that a change brings, those that no client gets a token by.
pub(super) fn notices_of_grants<'a>(
    grant_types: impl IntoIterator<Item = &'a GrantType>,
) -> impl Iterator<Item = Notice> {
    let others = grant_types.into_iter().filter(|grant_type| !grant_type.is_implemented());
    others.cloned().map(Notice::GrantTypeNotImplemented)
}
