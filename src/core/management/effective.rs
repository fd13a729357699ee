//! What applies to a client or a realm that does not say it itself, and who says it: a client's realm, or the server.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence};
use crate::core::client::Client;
use crate::core::client::metadata::ClientMetadata;
use crate::core::keys::SigningAlgorithm;
use crate::core::members::{self, Members};
use crate::core::quota::{QuotaMode, QuotaSetting};
use crate::core::realm::{AssertionAudience, AssertionLifetime, Realm, RealmSettings};
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
    pub fn of_client(client: &Client, realm: &Realm, defaults: &RealmDefaults) -> Self {
        let own = Members::of(&client.metadata);
        let inherited = Self::of_realm(realm, defaults).0.into_iter();
        let shared = inherited.filter(|(name, _)| members::names_of::<ClientMetadata>().contains(name));
        let mut settings = Self(
            shared.map(|(name, inherited)| (name, or(own.value(name), SettingOrigin::Client, inherited))).collect(),
        );
        // Of a default only what the client can be granted is.
        let grantable = client.grantable_scope(realm);
        if let Some((_, setting)) = settings.0.iter_mut().find(|(name, _)| *name == "default_scope") {
            let default = client.metadata.default_scope.as_ref().or(realm.settings.default_scope.as_ref());
            let default = default.or(server_settings(realm, defaults).default_scope.as_ref()).cloned();
            let granted = default.map(|scope| scope.intersection(&grantable)).filter(|scope| !scope.is_empty());
            setting.value = json!(granted);
        }
        settings
    }

    /// What applies to the clients of a realm that do not say it themselves, on a server with these defaults.
    pub fn of_realm(realm: &Realm, defaults: &RealmDefaults) -> Self {
        let (own, server) = (Members::of(&realm.settings), Members::of(&server_settings(realm, defaults)));
        let settings = INHERITED.into_iter().map(|name| {
            let inherited = EffectiveSetting { value: server.value(name).clone(), from: SettingOrigin::Server };
            (name, or(own.value(name), SettingOrigin::Realm, inherited))
        });
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

fn or(own: &Value, origin: SettingOrigin, inherited: EffectiveSetting) -> EffectiveSetting {
    if own.is_null() { inherited } else { EffectiveSetting { value: own.clone(), from: origin } }
}

/// What the server says where nobody else does.
fn server_settings(realm: &Realm, defaults: &RealmDefaults) -> RealmSettings {
    RealmSettings {
        default_scope: defaults.root_default_scope.clone().filter(|_| realm.name.is_root()),
        access_token_lifetime: Some(defaults.access_token_lifetime),
        access_token_format: Some(AccessTokenFormat::default()),
        access_token_persistence: Some(AccessTokenPersistence::default()),
        access_token_signing_alg: Some(SigningAlgorithm::default()),
        token_quota: Some(QuotaSetting::Unlimited),
        token_quota_mode: Some(QuotaMode::default()),
        assertion_audience: Some(AssertionAudience::default()),
        assertion_max_lifetime: Some(AssertionLifetime::default()),
        ..RealmSettings::default()
    }
}

/// What a client can leave to its realm, and a realm to the server.
const INHERITED: [&str; 9] = [
    "default_scope",
    "access_token_lifetime",
    "access_token_format",
    "access_token_persistence",
    "access_token_signing_alg",
    "token_quota",
    "token_quota_mode",
    "assertion_audience",
    "assertion_max_lifetime",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access_token::settings::TokenLifetime;
    use crate::core::client::id::RegistrationId;
    use crate::core::realm::RealmName;
    use crate::core::time::UnixSeconds;

    #[test]
    fn what_nobody_sets_comes_from_the_server_what_the_realm_sets_from_it_and_the_rest_is_the_clients_own() {
        let mut realm = Realm::new("alpha".parse().expect("a name"));
        realm.settings.access_token_lifetime = TokenLifetime::new(900).ok();
        realm.settings.default_scope = Some("read admin".parse().expect("a scope"));
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
        let shown = EffectiveSettings::of_client(&client.expect("valid"), &realm, &defaults);
        let expected = json!({
            "default_scope": { "value": "read", "from": "realm" },
            "access_token_lifetime": { "value": 900, "from": "realm" },
            "access_token_format": { "value": "opaque", "from": "server" },
            "access_token_persistence": { "value": "stored", "from": "server" },
            "access_token_signing_alg": { "value": "ES256", "from": "server" },
            "token_quota": { "value": "5/hour", "from": "client" },
            "token_quota_mode": { "value": "enforce", "from": "server" },
        });
        assert_eq!(serde_json::to_value(&shown).expect("JSON"), expected);

        let of_realm = |name: RealmName| EffectiveSettings::of_realm(&Realm::new(name), &defaults);
        let lifetime = EffectiveSetting { value: json!(3600), from: SettingOrigin::Server };
        assert_eq!(of_realm(RealmName::root()).value("access_token_lifetime"), Some(&lifetime));
        let default_scope = |name| of_realm(name).value("default_scope").expect("a setting").value.clone();
        assert_eq!(default_scope(RealmName::root()), "root");
        assert_eq!(default_scope("beta".parse().expect("a name")), Value::Null, "root's alone");
        assert_eq!(of_realm(RealmName::root()).value("allowed_scope"), None, "nothing to inherit");
    }
}
