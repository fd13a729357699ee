//! Realms: made, changed, read.

use super::operator::Management;
use super::outcome::{
    Changed, ManagementError, Notice, Subject, again_after_conflict, notices_of_grants, notices_of_scopes,
};
use super::valid_after::TokensValidAfter;
use crate::core::access_token::settings::AccessTokenFormat;
use crate::core::client::Client;
use crate::core::client::grant_type::GrantType;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::secret_storage::SecretStorage;
use crate::core::client_auth::uses_secret;
use crate::core::declaration::ManagedBy;
use crate::core::quota::QuotaSetting;
use crate::core::realm::{Realm, RealmName, RealmSettings};

/// A change of a realm. What is not named stays as it is.
pub struct RealmChange<'a> {
    /// What becomes of its settings.
    pub settings: &'a (dyn Fn(&mut RealmSettings) + Sync),
    /// Whether that speaks of signatures, by the form of tokens or by what signs: then there are keys when the change returns.
    pub names_signature: bool,
    /// Which of its tokens count.
    pub tokens_valid_after: TokensValidAfter,
    /// The file that declares it from now on; as before where absent.
    pub managed_by: Option<ManagedBy>,
    /// The revision that this is a change of, 0 for none; any where absent.
    pub only_revision: Option<u64>,
}

impl Management {
    /// The realm's record. The root realm always exists.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn realm(&self, name: &RealmName) -> Result<Realm, ManagementError> {
        self.find_realm(name).await?.ok_or_else(|| ManagementError::Unknown(Subject::Realm(name.clone())))
    }

    /// Every realm: root first, as the parent of the others, which follow in the order of their names.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn realms(&self) -> Result<Vec<Realm>, ManagementError> {
        let listed = self.registrar.list_realms().await;
        let mut realms = listed.map_err(|error| Subject::Realm(RealmName::root()).refused(error))?;
        if !realms.iter().any(|realm| realm.name.is_root()) {
            realms.push(Realm::new(RealmName::root()));
        }
        realms.sort_by_key(|realm| !realm.name.is_root());
        Ok(realms)
    }

    /// Changes a realm, or makes it. Where somebody else does meanwhile, the change is applied to what they have made of it.
    ///
    /// # Errors
    /// [`ManagementError`]; nothing is changed but where it says so.
    pub async fn set_realm(
        &self,
        name: &RealmName,
        change: &RealmChange<'_>,
    ) -> Result<Changed<Realm>, ManagementError> {
        again_after_conflict(async || self.set_realm_once(name, change).await).await
    }

    async fn set_realm_once(
        &self,
        name: &RealmName,
        change: &RealmChange<'_>,
    ) -> Result<Changed<Realm>, ManagementError> {
        let before = self.find_realm(name).await?.unwrap_or_else(|| Realm::new(name.clone()));
        if change.only_revision.is_some_and(|revision| revision != before.revision) {
            return Err(ManagementError::Conflict(Subject::Realm(name.clone())));
        }
        let (now, mut realm) = (self.clock.now(), before.clone());
        realm.managed_by = change.managed_by.clone().or(realm.managed_by);
        (change.settings)(&mut realm.settings);
        check(&realm.settings)?;
        let (subject, stored) = (Subject::Realm(name.clone()), before.settings.tokens_valid_after);
        let (valid_after, notice) = change.tokens_valid_after.replaces(stored, subject, now)?;
        realm.settings.tokens_valid_after = valid_after;
        realm.keep_longer_tokens_of(&before, now);
        let is_new = before.revision == 0 && !name.is_root();
        if is_new {
            self.require_operator(name).await?;
            self.remove_keys_left_behind(name).await?;
        }
        let published = if change.names_signature { self.publish_in_advance(&realm, None).await? } else { None };

        let withdrawn = self.scopes_withdrawn(&before, &realm).await?;
        let stay = self.secrets_stay(&before, &realm).await?;

        // Revision 0 is a realm without a record: writing one is what makes it, even where nothing is set.
        let is_written = realm != before || before.revision == 0;
        if is_written {
            realm.revision = before.revision.saturating_add(1);
            let written = self.registrar.put_realm(&realm).await;
            written.map_err(|error| match Subject::Realm(name.clone()).refused(error) {
                // Whoever has made the realm meanwhile was quicker, like whoever has changed it.
                ManagementError::Exists(realm) => ManagementError::Conflict(realm),
                other => other,
            })?;
        }
        let of_change = notices_of(&before.settings, &realm);
        let mut notices: Vec<Notice> =
            notice.into_iter().chain(withdrawn).chain(stay).chain(of_change).chain(published).collect();
        // Where it names what signs, its keys may have been made.
        if !is_written && !change.names_signature {
            notices.push(Notice::NothingChanged(Subject::Realm(name.clone())));
        }
        Ok(Changed { record: realm, notices })
    }

    /// The clients from which a change takes scopes that they could be granted. Every client is looked at only where the realm allows
    /// less than before.
    async fn scopes_withdrawn(&self, before: &Realm, realm: &Realm) -> Result<Option<Notice>, ManagementError> {
        let Some(allowed) = &realm.settings.allowed_scope else { return Ok(None) };
        if before.settings.allowed_scope.as_ref().is_some_and(|before| before.is_subset(allowed))
            || before.revision == 0 && !before.name.is_root()
        {
            return Ok(None);
        }
        let loses = |client: &Client| !client.grantable_scope(before).is_subset(&client.grantable_scope(realm));
        let (count, first) = self.count_clients(&realm.name, loses).await?;
        Ok((count > 0).then(|| Notice::ScopesWithdrawn { realm: realm.name.clone(), count, first }))
    }

    /// The clients whose secrets stay where they are while the realm says another place for those of new ones. A realm does not come to
    /// say digests while it has clients whose secrets are rotated by schedule and that do not say themselves where theirs are
    /// kept: whoever sets that means them too, and they would never follow.
    async fn secrets_stay(&self, before: &Realm, realm: &Realm) -> Result<Option<Notice>, ManagementError> {
        let set = |realm: &Realm| realm.settings.client_secret_storage;
        let storage = set(realm).unwrap_or_default();
        if set(realm) == set(before) || before.revision == 0 && !before.name.is_root() {
            return Ok(None);
        }
        if storage == SecretStorage::Digest {
            let is_rotated = |client: &Client| {
                let ClientMetadata { client_secret_rotation_days, client_secret_storage, .. } = &client.metadata;
                client_secret_rotation_days.is_some() && client_secret_storage.is_none()
            };
            let (count, first) = self.count_clients(&realm.name, is_rotated).await?;
            if count > 0 {
                return Err(ManagementError::SecretsAreRotated { realm: realm.name.clone(), count, first });
            }
        }
        // On a local server there is nowhere to move them.
        if !self.rotates_secrets {
            return Ok(None);
        }
        let stays = |client: &Client| uses_secret(&client.metadata) && client.secret_storage() != storage;
        let (count, first) = self.count_clients(&realm.name, stays).await?;
        Ok((count > 0).then(|| Notice::SecretsStay { realm: realm.name.clone(), storage, count, first }))
    }

    /// How many clients of the realm are such, and the first of them.
    pub(super) async fn count_clients(
        &self,
        realm: &RealmName,
        is_such: impl Fn(&Client) -> bool,
    ) -> Result<(usize, Vec<ClientId>), ManagementError> {
        let (mut count, mut first, mut cursor) = (0, Vec::new(), None);
        loop {
            let page = self.registrar.list(realm, cursor.as_ref(), PAGE).await;
            let page = page.map_err(|error| Subject::Realm(realm.clone()).refused(error))?;
            for client in page.clients.into_iter().filter(&is_such) {
                count += 1;
                if first.len() < NAMED {
                    first.push(client.client_id);
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok((count, first));
            }
        }
    }

    pub(super) async fn find_realm(&self, name: &RealmName) -> Result<Option<Realm>, ManagementError> {
        let stored = self.registrar.read_realm(name).await;
        let stored = stored.map_err(|error| Subject::Realm(name.clone()).refused(error))?;
        Ok(stored.or_else(|| name.is_root().then(|| Realm::new(RealmName::root()))))
    }
}

impl RealmChange<'_> {
    /// A change of nothing, which makes a realm that is not there yet.
    pub const NOTHING: RealmChange<'static> = RealmChange {
        settings: &|_| (),
        names_signature: false,
        tokens_valid_after: TokensValidAfter::Unchanged,
        managed_by: None,
        only_revision: None,
    };
}

/// A default that the realm itself does not allow would turn every request without a scope into `invalid_scope`.
fn check(settings: &RealmSettings) -> Result<(), ManagementError> {
    if let (Some(default), Some(allowed)) = (&settings.default_scope, &settings.allowed_scope)
        && let Some(outside) = default.tokens().find(|token| !allowed.contains(token))
    {
        return Err(ManagementError::DefaultScopeOutsideRealm { scope: outside.to_owned(), allowed: allowed.clone() });
    }
    Ok(())
}

fn notices_of(before: &RealmSettings, realm: &Realm) -> Vec<Notice> {
    let settings = &realm.settings;
    let is_new = |grant_type: &&_| before.grant_types.as_ref().is_none_or(|before| !before.contains(*grant_type));
    let mut notices: Vec<Notice> = notices_of_grants(settings.grant_types.iter().flatten().filter(is_new)).collect();
    let stops_all = |settings: &RealmSettings| {
        let named = settings.grant_types.as_ref();
        named.is_some_and(|named| !named.iter().any(GrantType::is_implemented))
    };
    // A grant type that is not implemented has been spoken of.
    if notices.is_empty() && stops_all(settings) && !stops_all(before) {
        notices.push(Notice::NoGrantInRealm(realm.name.clone()));
    }
    let scopes = |settings: &RealmSettings| [settings.default_scope.clone(), settings.allowed_scope.clone()];
    let (old, new) = (scopes(before), scopes(settings));
    notices.extend(notices_of_scopes(old.iter().flatten(), new.iter().flatten()));
    let is_idle = |settings: &RealmSettings| {
        settings.token_quota_mode.is_some() && matches!(settings.token_quota, None | Some(QuotaSetting::Unlimited))
    };
    if is_idle(settings) && !is_idle(before) {
        notices.push(Notice::QuotaModeWithoutQuota(Subject::Realm(realm.name.clone())));
    }
    let keeps_opaque = |settings: &RealmSettings| {
        settings.access_token_persistence.is_some()
            && settings.access_token_format.unwrap_or_default() == AccessTokenFormat::Opaque
    };
    if keeps_opaque(settings) && !keeps_opaque(before) {
        notices.push(Notice::PersistenceOfOpaqueTokens(Subject::Realm(realm.name.clone())));
    }
    notices
}

/// How many clients are read at a time.
const PAGE: usize = 500;
/// How many clients are named.
const NAMED: usize = 3;
