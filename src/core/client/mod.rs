//! Client: a registration and its invariants (RFC 6749 §2). What its operator decides is [`metadata`].

pub mod auth_method;
pub mod grant_type;
pub mod id;
pub mod information;
mod inherited;
pub mod metadata;
pub mod redirect_uri;
pub mod registered_secrets;
pub mod secret;
pub mod secret_storage;

use serde::{Deserialize, Serialize};

use super::access_token::settings::AccessTokenSettings;
use super::declaration::ManagedBy;
use super::quota::{QuotaSetting, TokenQuota};
use super::realm::{Realm, RealmName};
use super::scope::Scope;
use super::time::UnixSeconds;
use auth_method::AuthMethod;
use grant_type::GrantType;
use id::{ClientId, RegistrationId};
use metadata::{ClientMetadata, InvalidRegistration};
use registered_secrets::RegisteredSecrets;
use secret_storage::SecretStorage;

/// A confidential client's registration. Never holds the secret, but its digest where nothing else keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Unique in its realm.
    pub client_id: ClientId,
    /// The realm that owns it.
    pub realm: RealmName,
    /// What its operator decided.
    #[serde(flatten)]
    pub metadata: ClientMetadata,
    /// Whether it may do anything at all.
    pub status: ClientStatus,
    /// Tells this registration from an earlier one of the same id. A token carries it, so that the tokens of a deleted
    /// client do not come back to life with its successor, however fast the one follows the other.
    pub registration_id: RegistrationId,
    /// When it was registered.
    pub client_id_issued_at: UnixSeconds,
    /// Its tokens issued before this time are inactive. A record that has lost it cannot be read: 0 would bring them back.
    pub tokens_valid_after: UnixSeconds,
    /// Until when tokens may live that it was issued while its own lifetime was longer. Absent: it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longer_tokens_until: Option<UnixSeconds>,
    /// Digests of its secrets, where a deployed stack keeps them here. Never shown.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "client_secret_digests")]
    pub secret_digests: Option<RegisteredSecrets>,
    /// The file that declares it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ManagedBy>,
    /// Counts the changes; a write that names an older one is refused. 0 while its secret is not stored yet ([`Self::is_incomplete`]).
    pub revision: u64,
}

/// Whether a client may do anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientStatus {
    /// Authenticates, gets tokens, and its tokens are active.
    Active,
    /// Fails to authenticate like an unknown client; its tokens are inactive.
    Disabled,
}

impl Client {
    /// A new, active registration (revision 1) in `realm`.
    ///
    /// # Errors
    /// [`InvalidRegistration`] as [`ClientMetadata::check`] says.
    pub fn register(
        client_id: ClientId,
        realm: &Realm,
        metadata: ClientMetadata,
        registration_id: RegistrationId,
        now: UnixSeconds,
    ) -> Result<Self, InvalidRegistration> {
        metadata.check(realm)?;
        Ok(Self {
            client_id,
            realm: realm.name.clone(),
            metadata,
            status: ClientStatus::Active,
            registration_id,
            client_id_issued_at: now,
            tokens_valid_after: UnixSeconds(0),
            longer_tokens_until: None,
            secret_digests: None,
            managed_by: None,
            revision: 1,
        })
    }

    /// The same, as a store keeps it that writes a secret apart from its registration, until the secret is there.
    #[must_use]
    pub fn begun(&self) -> Self {
        Self { status: ClientStatus::Disabled, revision: 0, ..self.clone() }
    }

    /// Whether its registration was begun and has not ended: an interruption in between leaves it so, disabled, with a secret that nobody
    /// has seen or with none. Whoever registers it again may do as if it were not there.
    pub fn is_incomplete(&self) -> bool {
        self.revision == 0
    }

    /// Whether the client is active.
    pub fn is_active(&self) -> bool {
        self.status == ClientStatus::Active
    }

    /// Whether the client is registered for `method`.
    pub fn allows_method(&self, method: AuthMethod) -> bool {
        self.metadata.token_endpoint_auth_methods.contains(&method)
    }

    /// The digests that its registration keeps in place of secrets elsewhere: none where its secrets are elsewhere, whatever is there.
    pub fn kept_digests(&self) -> Option<&RegisteredSecrets> {
        self.secret_digests.as_ref().filter(|_| self.secret_storage() == SecretStorage::Digest)
    }

    /// Whether both the client and its realm allow `grant_type`.
    pub fn allows_grant(&self, grant_type: &GrantType, realm: &Realm) -> bool {
        self.metadata.grant_types.contains(grant_type)
            && realm.settings.grant_types.as_ref().is_none_or(|allowed| allowed.contains(grant_type))
    }

    /// The form, the persistence and the signature of the client's access tokens: its own settings, else the realm's, else
    /// the defaults.
    pub fn access_token_settings(&self, realm: &Realm) -> AccessTokenSettings {
        self.metadata.access_token_settings(&realm.settings)
    }

    /// How many tokens the client may be issued, its own settings before the realm's; `None` for any number.
    pub fn token_quota(&self, realm: &Realm) -> Option<TokenQuota> {
        match self.metadata.token_quota_setting(&realm.settings) {
            QuotaSetting::Unlimited => None,
            QuotaSetting::Limited(limit) => {
                Some(TokenQuota { limit, mode: self.metadata.token_quota_mode(&realm.settings) })
            }
        }
    }

    /// What the client is granted that asks for no scope: its default, else the realm's, as far as it can be granted that. `None` where
    /// nothing is left.
    pub fn default_grant(&self, realm: &Realm) -> Option<Scope> {
        let default = self.metadata.default_scope(&realm.settings)?.intersection(&self.grantable_scope(realm));
        Some(default).filter(|scope| !scope.is_empty())
    }

    /// Whether the client can be granted this scope token now: it is its own, and the realm (still) allows it.
    pub fn can_be_granted(&self, scope_token: &str, realm: &Realm) -> bool {
        let allowed = realm.settings.allowed_scope.as_ref();
        self.metadata.scope.contains(scope_token) && allowed.is_none_or(|allowed| allowed.contains(scope_token))
    }

    /// Every scope token the client can be granted now: its own, as far as the realm (still) allows them.
    pub fn grantable_scope(&self, realm: &Realm) -> Scope {
        match &realm.settings.allowed_scope {
            Some(allowed) => self.metadata.scope.intersection(allowed),
            None => self.metadata.scope.clone(),
        }
    }

    /// Where a deployed stack keeps the client's secrets. What its realm says counts while it is registered, and not later.
    pub fn secret_storage(&self) -> SecretStorage {
        self.metadata.client_secret_storage.unwrap_or_default()
    }

    /// Whether the secret has expired.
    pub fn secret_has_expired(&self, now: UnixSeconds) -> bool {
        let expires_at = self.metadata.client_secret_expires_at;
        expires_at != UnixSeconds(0) && expires_at <= now
    }

    /// Whether a schedule has to replace a secret that was made at `made_at`: the operator wants it, and the client could use
    /// another one.
    pub fn secret_rotation_is_due(&self, made_at: UnixSeconds, now: UnixSeconds) -> bool {
        self.is_active()
            && self.secret_storage() == SecretStorage::SecretsManager
            && !self.secret_has_expired(now)
            && self.metadata.client_secret_rotation_days.is_some_and(|days| now.since(made_at) >= days.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client::auth_method::AuthMethod;
    use crate::core::client::metadata::SecretRotationDays;
    use crate::core::quota::QuotaMode;
    use crate::core::realm::RealmName;

    fn metadata() -> ClientMetadata {
        ClientMetadata {
            client_name: Some("My client".into()),
            contacts: vec!["owner@example.com".into()],
            redirect_uris: vec!["https://www.example.com:443/callback".parse().expect("absolute")],
            scope: "read write".parse().expect("well formed"),
            default_scope: Some("write".parse().expect("well formed")),
            grant_types: [GrantType::client_credentials()].into(),
            token_endpoint_auth_methods: [AuthMethod::ClientSecretBasic].into(),
            ..ClientMetadata::new()
        }
    }

    fn registration_id() -> RegistrationId {
        RegistrationId::from_text("registration")
    }

    fn realm() -> Realm {
        Realm::new(RealmName::root())
    }

    #[test]
    fn a_registration_survives_storage() {
        let client = Client::register(
            "myClient".parse().expect("an id"),
            &realm(),
            metadata(),
            registration_id(),
            UnixSeconds(7),
        )
        .expect("valid");
        let stored = serde_json::to_string(&client).expect("serializes");
        assert!(stored.contains(r#""scope":"read write""#) && stored.contains(r#""client_id":"myClient""#), "{stored}");
        assert_eq!(serde_json::from_str::<Client>(&stored).expect("reads back"), client);
    }

    #[test]
    fn a_realm_can_limit_scopes_and_takes_them_back_later() {
        let mut narrow = realm();
        narrow.settings.allowed_scope = Some("write".parse().expect("well formed"));
        assert!(matches!(metadata().check(&narrow), Err(InvalidRegistration::ScopeOutsideRealm { .. })));

        let client =
            Client::register("c".parse().expect("an id"), &realm(), metadata(), registration_id(), UnixSeconds(7))
                .expect("valid");
        assert_eq!(client.grantable_scope(&narrow).to_string(), "write");
    }

    #[test]
    fn a_clients_quota_is_its_own_before_its_realms_and_either_part_of_it() {
        let quota = |own: Option<&str>, own_mode, realms: Option<&str>, realm_mode| {
            let (mut client, mut realm) = (metadata(), realm());
            let parsed = |text: &str| text.parse().expect("a quota");
            (client.token_quota, client.token_quota_mode) = (own.map(parsed), own_mode);
            (realm.settings.token_quota, realm.settings.token_quota_mode) = (realms.map(parsed), realm_mode);
            let id = "c".parse().expect("an id");
            let client = Client::register(id, &realm, client, registration_id(), UnixSeconds(7)).expect("valid");
            client.token_quota(&realm).map(|quota| (quota.limit.to_string(), quota.mode))
        };
        let (enforce, observe) = (QuotaMode::Enforce, QuotaMode::Observe);
        let of = |limit: &str, mode| Some((limit.to_owned(), mode));
        assert_eq!(quota(None, None, None, None), None);
        assert_eq!(quota(None, Some(observe), None, Some(enforce)), None, "a mode alone is no quota");
        assert_eq!(quota(None, None, Some("9/day"), None), of("9/day", enforce));
        assert_eq!(quota(None, None, Some("9/day"), Some(observe)), of("9/day", observe));
        assert_eq!(quota(Some("5/hour"), None, Some("9/day"), Some(observe)), of("5/hour", observe));
        assert_eq!(quota(Some("5/hour"), Some(enforce), Some("9/day"), Some(observe)), of("5/hour", enforce));
        assert_eq!(quota(None, Some(observe), Some("9/day"), None), of("9/day", observe));
        assert_eq!(quota(Some("none"), None, Some("9/day"), None), None, "exempt");
        assert_eq!(quota(Some("5/hour"), None, Some("none"), None), of("5/hour", enforce));
    }

    #[test]
    fn a_secret_expires_at_its_second() {
        let mut client =
            Client::register("c".parse().expect("an id"), &realm(), metadata(), registration_id(), UnixSeconds(7))
                .expect("valid");
        assert!(!client.secret_has_expired(UnixSeconds(u64::MAX)));
        client.metadata.client_secret_expires_at = UnixSeconds(10);
        assert!(!client.secret_has_expired(UnixSeconds(9)) && client.secret_has_expired(UnixSeconds(10)));
    }

    #[test]
    fn a_secret_is_due_from_its_second_on_where_its_client_wants_it_and_can_use_another() {
        let mut client =
            Client::register("c".parse().expect("an id"), &realm(), metadata(), registration_id(), UnixSeconds(7))
                .expect("valid");
        let (made_at, due_at) = (UnixSeconds(100), UnixSeconds(100 + 86_400));
        let is_due = |client: &Client, now| client.secret_rotation_is_due(made_at, now);
        assert!(!is_due(&client, UnixSeconds(u64::MAX)), "nobody has asked for it");
        client.metadata.client_secret_rotation_days = SecretRotationDays::new(1).ok();
        assert!(is_due(&client, due_at) && !is_due(&client, UnixSeconds(due_at.0 - 1)));
        assert!(!is_due(&client, UnixSeconds(0)), "a clock that was set back");
        client.metadata.client_secret_expires_at = due_at;
        assert!(!is_due(&client, due_at), "another secret would not work either");
        client.metadata.client_secret_expires_at = due_at.plus(1);
        assert!(is_due(&client, due_at));
        client.status = ClientStatus::Disabled;
        assert!(!is_due(&client, due_at));
    }
}
