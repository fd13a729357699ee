//! Clients: registered, changed, stopped, removed.

use super::hindrance::Hindrance;
use super::managed;
use super::operator::Management;
use super::outcome::{
    Changed, ManagementError, Notice, Subject, again_after_conflict, notices_of_grants, notices_of_scopes,
};
use super::secrets::{self, SecretLifetime};
use super::valid_after::TokensValidAfter;
use crate::core::access_token::settings::AccessTokenFormat;
use crate::core::client::auth_method::AuthMethod;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::client::metadata::{ClientMetadata, InvalidRegistration};
use crate::core::client::secret::{Beside, ClientSecret, NewSecret, SecretDates};
use crate::core::client::{Client, ClientStatus};
use crate::core::client_auth::uses_secret;
use crate::core::declaration::ManagedBy;
use crate::core::keys::jwk_set::JwkSet;
use crate::core::ports::{ClientPage, MovedSecrets, RegistrarError};
use crate::core::realm::{Realm, RealmName};
use crate::core::time::UnixSeconds;
use crate::core::trust::rule::TrustRule;

/// A client to register.
pub struct Registration {
    /// Its id; 128 random bits where absent.
    pub client_id: Option<ClientId>,
    /// What its operator decides.
    pub metadata: ClientMetadata,
    /// How long its secrets work from now on, in place of what `metadata` says.
    pub secret_lifetime: Option<SecretLifetime>,
    /// A secret that the operator brings along; one is generated where absent, if an authentication method uses one.
    pub secret: Option<ClientSecret>,
    /// Whether it may do anything from the beginning.
    pub status: ClientStatus,
    /// The file that declares it.
    pub managed_by: Option<ManagedBy>,
}

/// A client that was registered, and the one answer that has its secret.
#[derive(Debug)]
pub struct Registered {
    /// The registration.
    pub client: Client,
    /// Its secret, which is known to nobody else. None where its authentication methods use none.
    pub secret: Option<ClientSecret>,
    /// What to know about it.
    pub notices: Vec<Notice>,
}

/// A change of a registration. What is not named stays as it is.
pub struct ClientChange<'a> {
    /// What becomes of what the operator decided before.
    pub metadata: &'a (dyn Fn(&mut ClientMetadata) + Sync),
    /// Whether that speaks of signatures, by the form of tokens or by what signs: then there are keys when the change returns.
    pub names_signature: bool,
    /// Whether it says where its secrets are kept. Then they are there when the change returns, and nowhere else.
    pub names_secret_storage: bool,
    /// How long its secrets work from now on.
    pub secret_lifetime: Option<SecretLifetime>,
    /// Which of its tokens count.
    pub tokens_valid_after: TokensValidAfter,
    /// Whether it may do anything; as before where absent.
    pub status: Option<ClientStatus>,
    /// The file that declares it from now on; as before where absent.
    pub managed_by: Option<ManagedBy>,
    /// The revision that this is a change of; any where absent.
    pub only_revision: Option<u64>,
}

impl Management {
    /// Registers a client in `realm`.
    ///
    /// # Errors
    /// [`ManagementError`]; then nothing is registered.
    pub async fn register(&self, realm: &RealmName, registration: Registration) -> Result<Registered, ManagementError> {
        let Registration { client_id, mut metadata, secret_lifetime, secret, status, managed_by } = registration;
        let now = self.clock.now();
        SecretLifetime::apply(secret_lifetime, &mut metadata, now);
        let client_id = self.id_or_generated(client_id)?;
        let realm = self.realm(realm).await?;
        let subject = Subject::client(&realm.name, &client_id);
        // What the realm says now: it is not asked again, or changing it would part clients from their secrets.
        metadata.client_secret_storage = metadata.client_secret_storage.or(realm.settings.client_secret_storage);
        let storage = metadata.client_secret_storage.unwrap_or_default();
        let secret = match secret {
            given if uses_secret(&metadata) => Some(self.secret_for(storage, given, &subject)?),
            Some(_) => return Err(ManagementError::NoSecret(subject)),
            None => None,
        };
        self.refuse_rotation_days(None, &metadata, &subject)?;
        self.require_owners(None, &metadata, managed_by.as_ref()).await?;
        let registration_id = RegistrationId::generate(self.random.as_ref())?;
        let client = Client::register(client_id, &realm, metadata, registration_id, now)?;
        let client = Client { status, managed_by, ..client };
        let published = self.publish_for_new(&client, &realm).await?;
        self.registrar.register(&client, secret.as_ref()).await.map_err(|error| subject.refused(error))?;
        self.withdraw_where_realm_is_gone(&client).await?;

        let mut notices = notices_of(None, &client, &realm);
        notices.extend(secret.as_ref().and_then(secrets::notice_of));
        if secret.is_none() {
            notices.push(Notice::NoSecretMade(Subject::client(&client.realm, &client.client_id)));
        }
        notices.extend(published);
        Ok(Registered { client, secret, notices })
    }

    /// A registration as it is stored now.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn client(&self, realm: &RealmName, client_id: &ClientId) -> Result<Client, ManagementError> {
        self.realm(realm).await?;
        let read = self.registrar.read(realm, client_id).await;
        read.map_err(|error| Subject::client(realm, client_id).refused(error))
    }

    /// What keeps a client, whose secrets are these, from every token; nothing where it can get one.
    pub fn never_gets_token(&self, client: &Client, realm: &Realm, secrets: Option<&SecretDates>) -> Vec<Notice> {
        let why = Hindrance::of(client, realm, secrets, self.clock.now());
        let of = Subject::client(&client.realm, &client.client_id);
        if why.is_empty() { Vec::new() } else { vec![Notice::NeverGetsToken { of, why }] }
    }

    /// Registrations of `realm` in ascending order of client id, those after `cursor`, at most `at_most`; the store is asked for
    /// `page_size` of them at a time.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn clients(
        &self,
        realm: &RealmName,
        cursor: Option<ClientId>,
        at_most: usize,
        page_size: usize,
    ) -> Result<ClientPage, ManagementError> {
        self.realm(realm).await?;
        let mut list = ClientPage { clients: Vec::new(), next: cursor };
        loop {
            let limit = at_most.saturating_sub(list.clients.len()).min(page_size);
            if limit == 0 {
                return Ok(list);
            }
            let page = self.registrar.list(realm, list.next.as_ref(), limit).await;
            let page = page.map_err(|error| Subject::Realm(realm.clone()).refused(error))?;
            list.clients.extend(page.clients);
            list.next = page.next;
            if list.next.is_none() {
                return Ok(list);
            }
        }
    }

    /// Changes a registration. Where somebody else changes it meanwhile, the change is applied to what they have made of it.
    ///
    /// # Errors
    /// [`ManagementError`]; nothing is changed but where it says so.
    pub async fn update(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        change: &ClientChange<'_>,
    ) -> Result<Changed<Client>, ManagementError> {
        again_after_conflict(async || self.update_once(realm, client_id, change).await).await
    }

    async fn update_once(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        change: &ClientChange<'_>,
    ) -> Result<Changed<Client>, ManagementError> {
        let before = self.client(realm, client_id).await?;
        if change.only_revision.is_some_and(|revision| revision != before.revision) {
            return Err(ManagementError::Conflict(Subject::client(realm, client_id)));
        }
        let (now, mut client) = (self.clock.now(), before.clone());
        client.status = change.status.unwrap_or(before.status);
        client.managed_by = change.managed_by.clone().or(client.managed_by);
        (change.metadata)(&mut client.metadata);
        SecretLifetime::apply(change.secret_lifetime, &mut client.metadata, now);
        // Only what is changed answers to the rules: revoking tokens, or a new owner, must work though the realm has meanwhile
        // withdrawn a scope.
        let changed_in = if client.metadata == before.metadata { None } else { Some(self.realm(realm).await?) };
        if let Some(realm) = &changed_in {
            client.metadata.check_change(&before.metadata, realm)?;
            self.refuse_rotation_days(
                Some(&before.metadata),
                &client.metadata,
                &Subject::client(&realm.name, client_id),
            )?;
        }
        self.require_owners(Some(&before.metadata), &client.metadata, change.managed_by.as_ref()).await?;
        client.keep_longer_tokens_of(&before, now);
        let subject = Subject::client(realm, client_id);
        let (valid_after, notice) = change.tokens_valid_after.replaces(before.tokens_valid_after, subject, now)?;
        client.tokens_valid_after = valid_after;
        let published = if change.names_signature {
            self.publish_in_advance(&self.realm(realm).await?, Some(&client)).await?
        } else {
            None
        };
        let (client, moved) = if change.names_secret_storage {
            self.replace_and_move(&before, client).await?
        } else {
            (self.replace(&before, client).await?, Vec::new())
        };

        let of_change = changed_in.iter().flat_map(|realm| notices_of(Some(&before), &client, realm));
        let mut notices: Vec<Notice> = notice.into_iter().chain(of_change).chain(published).chain(moved).collect();
        if change.managed_by.is_none() {
            notices.extend(managed::notice_of(Subject::client(realm, client_id), &before, &client));
        }
        // Where it names what signs, its keys may have been made.
        if client == before && !change.names_signature {
            notices.push(Notice::NothingChanged(Subject::client(realm, client_id)));
        }
        Ok(Changed { record: client, notices })
    }

    /// Registers a public key beside those that the client has.
    ///
    /// # Errors
    /// [`ManagementError`]; then the key is not registered.
    pub async fn add_key(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        key: &JwkSet,
    ) -> Result<Changed<Client>, ManagementError> {
        let add = |before: Option<&JwkSet>| match before {
            Some(before) => Ok(Some(before.with(key).map_err(InvalidRegistration::from)?)),
            None => Ok(Some(key.clone())),
        };
        self.change_keys(realm, client_id, add).await
    }

    /// Takes a public key away from a client: what it has signed with it is not accepted any more.
    ///
    /// # Errors
    /// Those of [`Management::add_key`]; [`ManagementError::NoSuchKey`].
    pub async fn remove_key(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        kid: &str,
    ) -> Result<Changed<Client>, ManagementError> {
        let remove = |before: Option<&JwkSet>| {
            let left = before.and_then(|before| before.without(kid));
            let left = left.ok_or_else(|| ManagementError::NoSuchKey(Subject::client(realm, client_id)))?;
            Ok(left.keys().next().is_some().then(|| left.clone()))
        };
        self.change_keys(realm, client_id, remove).await
    }

    async fn change_keys(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        change: impl Fn(Option<&JwkSet>) -> Result<Option<JwkSet>, ManagementError>,
    ) -> Result<Changed<Client>, ManagementError> {
        let change = async || {
            let before = self.client(realm, client_id).await?;
            if before.metadata.jwks_uri.is_some() {
                return Err(ManagementError::KeysAreFetched(Subject::client(realm, client_id)));
            }
            let mut client = before.clone();
            client.metadata.jwks = change(before.metadata.jwks.as_ref())?;
            let realm = self.realm(realm).await?;
            client.metadata.check_change(&before.metadata, &realm)?;
            let record = self.replace(&before, client).await?;
            let by_hand = managed::notice_of(Subject::client(&realm.name, client_id), &before, &record);
            let notices = notices_of(Some(&before), &record, &realm).into_iter().chain(by_hand).collect();
            Ok(Changed { record, notices })
        };
        again_after_conflict(change).await
    }

    /// Stops a client or lets it work again. Asks the realm for nothing: a client must be stoppable even where the realm no longer
    /// allows what it has.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn set_status(
        &self,
        realm: &RealmName,
        client_id: &ClientId,
        status: ClientStatus,
    ) -> Result<Changed<Client>, ManagementError> {
        let set = async || {
            let before = self.client(realm, client_id).await?;
            let record = self.replace(&before, Client { status, ..before.clone() }).await?;
            let by_hand = managed::notice_of(Subject::client(realm, client_id), &before, &record);
            Ok(Changed { record, notices: by_hand.into_iter().collect() })
        };
        again_after_conflict(set).await
    }

    /// Removes a registration and its secrets. Its tokens end with it.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn delete(&self, realm: &RealmName, client_id: &ClientId) -> Result<(), ManagementError> {
        self.realm(realm).await?;
        let deleted = self.registrar.delete(realm, client_id).await;
        deleted.map_err(|error| Subject::client(realm, client_id).refused(error))
    }

    /// The same, unless somebody else has changed the registration, which is disabled, since it was as `client` is.
    ///
    /// # Errors
    /// [`ManagementError::Conflict`]; [`ManagementError`].
    pub(super) async fn delete_unchanged(&self, client: &Client) -> Result<(), ManagementError> {
        let deleted = self.registrar.delete_unchanged(client).await;
        deleted.map_err(|error| Subject::client(&client.realm, &client.client_id).refused(error))
    }

    /// Writes `client` over `before`, unless somebody else did meanwhile. Writes nothing where nothing changed.
    pub(super) async fn replace(&self, before: &Client, client: Client) -> Result<Client, ManagementError> {
        if client == *before {
            return Ok(client);
        }
        let client = Client { revision: before.revision.saturating_add(1), ..client };
        let replaced = self.registrar.replace(&client).await;
        replaced.map_err(|error| Subject::client(&client.realm, &client.client_id).refused(error))?;
        Ok(client)
    }

    /// [`Self::replace`] with the secrets where the registration says. Also where nothing changed: an earlier change may have ended
    /// halfway.
    async fn replace_and_move(
        &self,
        before: &Client,
        client: Client,
    ) -> Result<(Client, Vec<Notice>), ManagementError> {
        let subject = Subject::client(&client.realm, &client.client_id);
        let changes = u64::from(client != *before);
        let client = Client { revision: before.revision.saturating_add(changes), ..client };
        let secret = ClientSecret::generate(self.random.as_ref())?;
        let beside = Beside::Current(UnixSeconds(0));
        let fresh = NewSecret { secret: &secret, made_at: self.clock.now(), beside };
        let moved = self.registrar.move_secrets(before, &client, &fresh).await;
        let MovedSecrets { fresh_is_current, left_behind } = moved.map_err(|error| subject.clone().refused(error))?;
        let to_read = fresh_is_current.then(|| Notice::NewSecretToRead(subject.clone()));
        let left_behind = left_behind.map(|error| Notice::SecretLeftBehind { of: subject, error });
        Ok((client, to_read.into_iter().chain(left_behind).collect()))
    }

    /// The keys of a client that says of itself how its tokens are made. None are made for one that cannot be registered.
    async fn publish_for_new(&self, client: &Client, realm: &Realm) -> Result<Option<Notice>, ManagementError> {
        let metadata = &client.metadata;
        if metadata.access_token_signing_alg.is_none() && metadata.access_token_format.is_none() {
            return Ok(None);
        }
        let subject = Subject::client(&client.realm, &client.client_id);
        match self.registrar.read(&client.realm, &client.client_id).await {
            Ok(_) => Err(ManagementError::Exists(subject)),
            Err(RegistrarError::NotFound) => self.publish_in_advance(realm, Some(client)).await,
            Err(error) => Err(subject.refused(error)),
        }
    }

    fn id_or_generated(&self, client_id: Option<ClientId>) -> Result<ClientId, ManagementError> {
        Ok(client_id.map_or_else(|| ClientId::generate(self.random.as_ref()), Ok)?)
    }

    /// A rotation that nobody carries out is nothing to rely on. What an earlier build has let in stays.
    fn refuse_rotation_days(
        &self,
        before: Option<&ClientMetadata>,
        metadata: &ClientMetadata,
        subject: &Subject,
    ) -> Result<(), ManagementError> {
        let days = metadata.client_secret_rotation_days;
        let is_new = days != before.and_then(|before| before.client_secret_rotation_days);
        if !self.rotates_secrets && days.is_some() && is_new {
            return Err(ManagementError::NothingRotatesSecrets(subject.clone()));
        }
        Ok(())
    }
}

impl ClientChange<'_> {
    /// A change of nothing.
    pub const NOTHING: ClientChange<'static> = ClientChange {
        metadata: &|_| (),
        names_signature: false,
        names_secret_storage: false,
        secret_lifetime: None,
        tokens_valid_after: TokensValidAfter::Unchanged,
        status: None,
        managed_by: None,
        only_revision: None,
    };
}

/// What the operator should know of what the registration says that it did not say before.
fn notices_of(before: Option<&Client>, client: &Client, realm: &Realm) -> Vec<Notice> {
    let (old, new) = (before.map(|before| &before.metadata), &client.metadata);
    let subject = || Subject::client(&client.realm, &client.client_id);
    let is_new = |grant_type: &&_| old.is_none_or(|old| !old.grant_types.contains(*grant_type));
    let mut notices: Vec<Notice> = notices_of_grants(new.grant_types.iter().filter(is_new)).collect();
    notices.extend(notices_of_scopes(old.map(|old| &old.scope), [&new.scope]));
    let has_idle_keys = |metadata: &ClientMetadata| {
        let has_any = metadata.jwks.is_some()
            || metadata.jwks_uri.is_some()
            || !metadata.token_endpoint_auth_signing_algs.is_empty();
        has_any && !metadata.token_endpoint_auth_methods.contains(&AuthMethod::PrivateKeyJwt)
    };
    let is_as_before = |old: &ClientMetadata| {
        old.jwks == new.jwks && old.token_endpoint_auth_methods == new.token_endpoint_auth_methods
    };
    if has_idle_keys(new) && !old.is_some_and(|old| has_idle_keys(old) && is_as_before(old)) {
        let methods = new.token_endpoint_auth_methods.iter().copied().chain([AuthMethod::PrivateKeyJwt]).collect();
        notices.push(Notice::KeysWithoutMethod { of: subject(), methods });
    }
    notices.extend(notices_of_trust(old, client, realm));
    match old.map(|old| (uses_secret(old), uses_secret(new))) {
        Some((true, false)) => notices.push(Notice::SecretSleeps(subject())),
        Some((false, true)) => notices.push(Notice::SecretWorksAgain(subject())),
        _ => {}
    }
    let is_idle = |client: &Client| client.metadata.token_quota_mode.is_some() && client.token_quota(realm).is_none();
    if is_idle(client) && !before.is_some_and(is_idle) {
        notices.push(Notice::QuotaModeWithoutQuota(subject()));
    }
    let is_opaque = |client: &Client| client.access_token_settings(realm).format == AccessTokenFormat::Opaque;
    let keeps_opaque = |client: &Client| client.metadata.access_token_persistence.is_some() && is_opaque(client);
    if keeps_opaque(client) && !before.is_some_and(keeps_opaque) {
        notices.push(Notice::PersistenceOfOpaqueTokens(subject()));
    }
    let signs_opaque = |client: &Client| client.metadata.access_token_signing_alg.is_some() && is_opaque(client);
    if signs_opaque(client) && !before.is_some_and(signs_opaque) {
        notices.push(Notice::SigningAlgOfOpaqueTokens(subject()));
    }
    let why = Hindrance::of_registration(client, realm);
    if !why.is_empty() && before.is_none_or(|before| Hindrance::of_registration(before, realm) != why) {
        notices.push(Notice::NeverGetsToken { of: subject(), why });
    }
    notices
}

/// What the operator should know of rules and of the methods that look at them, where either is new.
fn notices_of_trust(old: Option<&ClientMetadata>, client: &Client, realm: &Realm) -> Vec<Notice> {
    let new = &client.metadata;
    let of = || Subject::client(&client.realm, &client.client_id);
    let methods = &new.token_endpoint_auth_methods;
    let is_as_before = |old: &ClientMetadata| old.trust == new.trust && old.token_endpoint_auth_methods == *methods;
    if old.is_some_and(is_as_before) {
        return Vec::new();
    }
    let mut notices = Vec::new();
    let looks_at_rules = |method: &&AuthMethod| matches!(method, AuthMethod::AwsIam | AuthMethod::WorkloadIdentity);
    match methods.iter().find(looks_at_rules) {
        None if !new.trust.is_empty() => {
            notices.push(Notice::TrustWithoutMethod { of: of(), methods: methods.iter().copied().collect() });
        }
        Some(method) if new.trust.is_empty() => notices.push(Notice::MethodWithoutTrust { of: of(), method: *method }),
        _ => {}
    }
    let names = |rules: Vec<&TrustRule>| rules.into_iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
    let open = names(new.trust.of_whole_organizations().collect());
    if !open.is_empty() {
        notices.push(Notice::RuleForWholeOrganization { of: of(), rules: open });
    }
    let whole = names(new.trust.of_every_role().collect());
    if !whole.is_empty() {
        notices.push(Notice::RuleForEveryRole { of: of(), rules: whole });
    }
    let (by_door, by_token) = (methods.contains(&AuthMethod::AwsIam), methods.contains(&AuthMethod::WorkloadIdentity));
    let never = match (by_door, by_token) {
        (true, false) => names(new.trust.of_tokens_only().collect()),
        (false, true) => names(new.trust.of_the_door_only().collect()),
        _ => Vec::new(),
    };
    if !never.is_empty() {
        let method = if by_door { AuthMethod::AwsIam } else { AuthMethod::WorkloadIdentity };
        notices.push(Notice::RuleNeverSatisfied { of: of(), rules: never, method });
    }
    let by_account = names(new.trust.of_registered_issuers_of_aws().collect());
    let has_issuer = realm.settings.trusted_issuers.iter().any(|trusted| trusted.issuer.is_sts());
    if by_token && !by_door && !by_account.is_empty() && !has_issuer {
        notices.push(Notice::NoIssuerOfAws { of: of(), rules: by_account });
    }
    notices
}
