//! What a client leaves to its realm, and a realm to the server: the rules by which tokens are issued, and by which is shown what applies.

use super::metadata::ClientMetadata;
use crate::core::access_token::settings::{AccessTokenSettings, TokenLifetime};
use crate::core::quota::{QuotaMode, QuotaSetting};
use crate::core::realm::RealmSettings;
use crate::core::scope::Scope;

impl ClientMetadata {
    pub(in crate::core) fn access_token_settings(&self, realm: &RealmSettings) -> AccessTokenSettings {
        AccessTokenSettings {
            format: self.access_token_format.or(realm.access_token_format).unwrap_or_default(),
            persistence: self.access_token_persistence.or(realm.access_token_persistence).unwrap_or_default(),
            signing_alg: self.access_token_signing_alg.or(realm.access_token_signing_alg).unwrap_or_default(),
        }
    }

    pub(in crate::core) fn access_token_lifetime(&self, realm: &RealmSettings, server: TokenLifetime) -> TokenLifetime {
        self.access_token_lifetime.or(realm.access_token_lifetime).unwrap_or(server)
    }

    pub(in crate::core) fn token_quota_setting(&self, realm: &RealmSettings) -> QuotaSetting {
        self.token_quota.or(realm.token_quota).unwrap_or(QuotaSetting::Unlimited)
    }

    pub(in crate::core) fn token_quota_mode(&self, realm: &RealmSettings) -> QuotaMode {
        self.token_quota_mode.or(realm.token_quota_mode).unwrap_or_default()
    }

    pub(in crate::core) fn default_scope<'a>(&'a self, realm: &'a RealmSettings) -> Option<&'a Scope> {
        self.default_scope.as_ref().or(realm.default_scope.as_ref())
    }
}
