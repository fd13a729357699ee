//! Which realm a request addresses, with the defaults of the server filled in.

use std::sync::Arc;

use super::access_token::settings::TokenLifetime;
use super::client::id::ClientId;
use super::error::OAuthError;
use super::keys::SigningAlgorithm;
use super::ports::ClientRegistry;
use super::realm::{Realm, RealmName};
use super::scope::Scope;

/// Finds realms, and gives the root realm, which always exists, its configured defaults.
pub struct Realms {
    registry: Arc<dyn ClientRegistry>,
    defaults: RealmDefaults,
}

/// What the server's configuration says for realms that do not say it themselves.
#[derive(Clone, Debug)]
pub struct RealmDefaults {
    /// Default scope of the root realm while it has no record of its own.
    pub root_default_scope: Option<Scope>,
    /// Seconds an access token lives where neither client nor realm say.
    pub access_token_lifetime: TokenLifetime,
}

impl RealmDefaults {
    /// The realm with what it does not say and a realm can have.
    pub fn filled_in(&self, realm: Arc<Realm>) -> Arc<Realm> {
        if !realm.name.is_root() || realm.settings.default_scope.is_some() || self.root_default_scope.is_none() {
            return realm;
        }
        let mut root = Realm::clone(&realm);
        root.settings.default_scope.clone_from(&self.root_default_scope);
        Arc::new(root)
    }
}

impl Realms {
    /// Looks realms up in `registry`.
    pub fn new(registry: Arc<dyn ClientRegistry>, defaults: RealmDefaults) -> Self {
        Self { registry, defaults }
    }

    /// The realm of this name with every default filled in that a realm has.
    ///
    /// # Errors
    /// [`OAuthError::UnknownRealm`], or [`OAuthError::Unavailable`] where the registry cannot be asked.
    pub async fn find(&self, name: &RealmName) -> Result<Arc<Realm>, OAuthError> {
        self.filled_in(name, self.registry.realm(name).await?)
    }

    /// [`Realms::find`], for who asks for this client of it next: in a process that remembers neither, one read brings both. It
    /// decides nothing about the client.
    ///
    /// # Errors
    /// Those of [`Realms::find`].
    pub async fn find_with(&self, name: &RealmName, client_id: Option<&ClientId>) -> Result<Arc<Realm>, OAuthError> {
        match client_id {
            Some(client_id) => self.filled_in(name, self.registry.realm_and_client(name, client_id).await?.realm),
            None => self.find(name).await,
        }
    }

    /// What the server's configuration says for realms that do not.
    pub fn defaults(&self) -> &RealmDefaults {
        &self.defaults
    }

    /// What signs for the realm where no client is concerned.
    pub fn signing_alg(realm: &Realm) -> SigningAlgorithm {
        realm.settings.access_token_signing_alg.unwrap_or_default()
    }

    fn filled_in(&self, name: &RealmName, found: Option<Arc<Realm>>) -> Result<Arc<Realm>, OAuthError> {
        let realm = match found {
            Some(realm) => realm,
            None if name.is_root() => Arc::new(Realm::new(RealmName::root())),
            None => return Err(OAuthError::UnknownRealm),
        };
        Ok(self.defaults.filled_in(realm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_default_scope_is_for_the_root_realm_that_has_none_of_its_own() {
        let scope = |text: &str| Some(text.parse::<Scope>().expect("a scope"));
        for (name, own, servers, expected) in [
            ("root", None, None, None),
            ("root", None, scope("read"), scope("read")),
            ("root", scope("write"), None, scope("write")),
            ("root", scope("write"), scope("read"), scope("write")),
            ("alpha", None, scope("read"), None),
            ("alpha", scope("write"), scope("read"), scope("write")),
        ] {
            let access_token_lifetime = TokenLifetime::DEFAULT;
            let defaults = RealmDefaults { root_default_scope: servers.clone(), access_token_lifetime };
            let mut realm = Realm::new(name.parse().expect("a name"));
            realm.settings.default_scope.clone_from(&own);
            let found = defaults.filled_in(Arc::new(realm)).settings.default_scope.clone();
            assert_eq!(found, expected, "{name}, its own {own:?}, the server's {servers:?}");
        }
    }
}
