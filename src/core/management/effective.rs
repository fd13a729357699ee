//! What applies to a client or a realm that does not say it itself, and who says it: a client's realm, or the server.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::core::access_token::settings::AccessTokenSettings;
use crate::core::client::Client;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::secret_storage::SecretStorage;
use crate::core::members::{self, Members};
use crate::core::realm::{Realm, RealmSettings};
use crate::core::realms::RealmDefaults;

/// The settings that a record can leave to another, as they apply to it.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectiveSettings(Vec<(&'static str, EffectiveSetting)>);

/// A setting as it applies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EffectiveSetting {
    /// What applies; null for nothing.
    pub value: Value,
    /// Who says so.
    pub from: SettingOrigin,
}

/// Who says what applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SettingOrigin {
    /// The client's own registration.
    Client,
    /// The realm's record.
    Realm,
    /// The server: its settings, or what it does without any.
    Server,
}

impl EffectiveSettings {
    /// What applies to a client of `realm`, on a server with these defaults.
    pub fn of_client(client: &Client, realm: &Realm, defaults: &RealmDefaults, storage: SecretStorage) -> Self {
        let own = Members::of(&client.metadata);
        // Where its secrets are was decided when it was registered: what the realm says now is for others.
        let mut settled = realm.clone();
        settled.settings.client_secret_storage = None;
        // Of a default only what the client can be granted is.
        let default_scope = client.default_grant(&defaults.filled_in(Arc::new(realm.clone())));
        let applies = RealmSettings { default_scope, ..applying(&client.metadata, &settled, defaults, storage) };
        let applies = Members::of(&applies);
        let inherited = Self::of_realm(&settled, defaults, storage).0.into_iter();
        let shared = inherited.filter(|(name, _)| members::names_of::<ClientMetadata>().contains(name));
        Self(
            shared
                .map(|(name, inherited)| (name, set(&applies, name, &own, SettingOrigin::Client, inherited.from)))
                .collect(),
        )
    }

    /// What applies to the clients of a realm that do not say it themselves, on a server with these defaults.
    /// `storage` is where it keeps secrets of whom nobody says anything.
    pub fn of_realm(realm: &Realm, defaults: &RealmDefaults, storage: SecretStorage) -> Self {
        let own = Members::of(&realm.settings);
        let applies = Members::of(&applying(&ClientMetadata::new(), realm, defaults, storage));
        let settings = INHERITED
            .into_iter()
            .map(|name| (name, set(&applies, name, &own, SettingOrigin::Realm, SettingOrigin::Server)));
        Self(settings.collect())
    }

    /// What applies of the member of this name, where it can be left to another.
    pub fn value(&self, name: &str) -> Option<&EffectiveSetting> {
        self.0.iter().find_map(|(found, setting)| (*found == name).then_some(setting))
    }
}

impl Serialize for EffectiveSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, setting)| (name, setting)))
    }
}

/// What applies of a member: from `origin` where that says it, else from whom it is inherited.
fn set(
    applies: &Members,
    name: &str,
    own: &Members,
    origin: SettingOrigin,
    inherited_from: SettingOrigin,
) -> EffectiveSetting {
    let from = if own.value(name).is_null() { inherited_from } else { origin };
    EffectiveSetting { value: applies.value(name).clone(), from }
}

/// What applies to a client that says this, by the rules by which its tokens are issued: what is shown cannot be something else.
fn applying(client: &ClientMetadata, realm: &Realm, defaults: &RealmDefaults, storage: SecretStorage) -> RealmSettings {
    let realm = defaults.filled_in(Arc::new(realm.clone()));
    let AccessTokenSettings { format, persistence, signing_alg } = client.access_token_settings(&realm.settings);
    RealmSettings {
        default_scope: client.default_scope(&realm.settings).cloned(),
        access_token_lifetime: Some(client.access_token_lifetime(&realm.settings, defaults.access_token_lifetime)),
        access_token_format: Some(format),
        access_token_persistence: Some(persistence),
        access_token_signing_alg: Some(signing_alg),
        token_quota: Some(client.token_quota_setting(&realm.settings)),
        token_quota_mode: Some(client.token_quota_mode(&realm.settings)),
        assertion_audience: Some(realm.settings.assertion_audience.unwrap_or_default()),
        assertion_max_lifetime: Some(realm.settings.assertion_max_lifetime.unwrap_or_default()),
        client_secret_storage: client.client_secret_storage.or(realm.settings.client_secret_storage).or(Some(storage)),
        ..RealmSettings::default()
    }
}

/// What a client can leave to its realm, and a realm to the server.
const INHERITED: [&str; 10] = [
    "default_scope",
    "access_token_lifetime",
    "access_token_format",
    "access_token_persistence",
    "access_token_signing_alg",
    "token_quota",
    "token_quota_mode",
    "client_secret_storage",
    "assertion_audience",
    "assertion_max_lifetime",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence, TokenLifetime};
    use crate::core::client::id::RegistrationId;
    use crate::core::keys::SigningAlgorithm;
    use crate::core::quota::QuotaMode;
    use crate::core::realm::RealmName;
    use crate::core::time::UnixSeconds;

    #[test]
    fn what_is_shown_of_a_client_is_what_its_tokens_are_made_by_whoever_says_it() {
        let defaults = RealmDefaults {
            root_default_scope: Some("read".parse().expect("a scope")),
            access_token_lifetime: TokenLifetime::new(7).expect("in range"),
        };
        for (of_client, of_realm) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut realm = Realm::new(RealmName::root());
            let mut metadata =
                ClientMetadata { scope: "read write".parse().expect("a scope"), ..ClientMetadata::new() };
            if of_realm {
                realm.settings = RealmSettings {
                    default_scope: Some("write admin".parse().expect("a scope")),
                    access_token_lifetime: TokenLifetime::new(8).ok(),
                    access_token_format: Some(AccessTokenFormat::Jwt),
                    access_token_persistence: Some(AccessTokenPersistence::Stateless),
                    access_token_signing_alg: Some(SigningAlgorithm::EdDsa),
                    token_quota: Some("8/hour".parse().expect("a quota")),
                    token_quota_mode: Some(QuotaMode::Observe),
                    ..RealmSettings::default()
                };
            }
            if of_client {
                metadata.default_scope = Some("read write".parse().expect("a scope"));
                metadata.access_token_lifetime = TokenLifetime::new(9).ok();
                metadata.access_token_format = Some(AccessTokenFormat::Opaque);
                metadata.access_token_persistence = Some(AccessTokenPersistence::Stored);
                metadata.access_token_signing_alg = Some(SigningAlgorithm::Rs256);
                metadata.token_quota = Some("9/day".parse().expect("a quota"));
                metadata.token_quota_mode = Some(QuotaMode::Enforce);
            }
            let id = "c".parse().expect("an id");
            let client = Client::register(id, &realm, metadata, RegistrationId::from_text("r"), UnixSeconds(7));
            let client = client.expect("valid");
            let found = defaults.filled_in(Arc::new(realm.clone()));
            let made = client.access_token_settings(&found);
            let quota = client.token_quota(&found);
            let shown = EffectiveSettings::of_client(&client, &realm, &defaults, SecretStorage::Digest);
            let shown = |name: &str| shown.value(name).expect("a setting").value.clone();
            assert_eq!(shown("access_token_format"), json!(made.format));
            assert_eq!(shown("access_token_persistence"), json!(made.persistence));
            assert_eq!(shown("access_token_signing_alg"), json!(made.signing_alg));
            assert_eq!(shown("default_scope"), json!(client.default_grant(&found)));
            let lifetime = client.metadata.access_token_lifetime(&found.settings, defaults.access_token_lifetime);
            assert_eq!(shown("access_token_lifetime"), json!(lifetime));
            assert_eq!(shown("token_quota") == "none", quota.is_none());
            if let Some(quota) = quota {
                assert_eq!(
                    (shown("token_quota"), shown("token_quota_mode")),
                    (json!(quota.limit.to_string()), json!(quota.mode))
                );
            }
            let by_whom = [(of_client, 9, "9/day"), (of_realm, 8, "8/hour"), (true, 7, "none")];
            let (_, lifetime, quota) = by_whom.into_iter().find(|(says_it, ..)| *says_it).expect("the server");
            assert_eq!((shown("access_token_lifetime"), shown("token_quota")), (json!(lifetime), json!(quota)));
        }
    }

    #[test]
    fn what_nobody_sets_comes_from_the_server_what_the_realm_sets_from_it_and_the_rest_is_the_clients_own() {
        let mut realm = Realm::new("alpha".parse().expect("a name"));
        realm.settings.access_token_lifetime = TokenLifetime::new(900).ok();
        realm.settings.default_scope = Some("read admin".parse().expect("a scope"));
        realm.settings.client_secret_storage = Some(SecretStorage::Digest);
        let metadata = ClientMetadata {
            scope: "read write".parse().expect("a scope"),
            token_quota: Some("5/hour".parse().expect("a quota")),
            ..ClientMetadata::new()
        };
        let id = "c".parse().expect("an id");
        let client = Client::register(id, &realm, metadata, RegistrationId::from_text("r"), UnixSeconds(7));
        let root_default = Some("root".parse().expect("a scope"));
        let defaults =
            RealmDefaults { root_default_scope: root_default, access_token_lifetime: TokenLifetime::DEFAULT };
        let shown =
            EffectiveSettings::of_client(&client.expect("valid"), &realm, &defaults, SecretStorage::SecretsManager);
        let expected = json!({
            "default_scope": { "value": "read", "from": "realm" },
            "access_token_lifetime": { "value": 900, "from": "realm" },
            "access_token_format": { "value": "opaque", "from": "server" },
            "access_token_persistence": { "value": "stored", "from": "server" },
            "access_token_signing_alg": { "value": "ES256", "from": "server" },
            "token_quota": { "value": "5/hour", "from": "client" },
            "token_quota_mode": { "value": "enforce", "from": "server" },
            "client_secret_storage": { "value": "secrets-manager", "from": "server" },
        });
        assert_eq!(serde_json::to_value(&shown).expect("JSON"), expected);

        let of_realm =
            |name: RealmName| EffectiveSettings::of_realm(&Realm::new(name), &defaults, SecretStorage::Digest);
        let lifetime = EffectiveSetting { value: json!(3600), from: SettingOrigin::Server };
        assert_eq!(of_realm(RealmName::root()).value("access_token_lifetime"), Some(&lifetime));
        let default_scope = |name| of_realm(name).value("default_scope").expect("a setting").value.clone();
        assert_eq!(default_scope(RealmName::root()), "root");
        assert_eq!(default_scope("beta".parse().expect("a name")), Value::Null, "root's alone");
        assert_eq!(of_realm(RealmName::root()).value("allowed_scope"), None, "nothing to inherit");
    }
}
