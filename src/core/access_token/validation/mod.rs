//! Whether a presented text is an access token that counts now: the one path by which introspection, revocation and the
//! authorizer come to a token.
//!
//! Of a JWT the signature comes first, then its record or the list of those that have ended; then, of every token, its client
//! and its realm as they are now.

use std::sync::Arc;

use super::jwt::UnverifiedJwt;
use super::opaque;
use super::record::{AccessTokenRecord, PresentedToken};
use crate::core::error::OAuthError;
use crate::core::port_error::PortError;
use crate::core::ports::{ClientRegistry, Denylist, TokenStore, VerificationKeySource};
use crate::core::realm::{Realm, RealmName};
use crate::core::realms::Realms;
use crate::core::time::UnixSeconds;

/// Everything that says something about a presented token.
pub struct AccessTokenValidator {
    /// Finds the realm that a token was issued in.
    pub realms: Realms,
    /// Says what became of the client that a token was issued to.
    pub registry: Arc<dyn ClientRegistry>,
    /// Knows the tokens that are stored.
    pub tokens: Arc<dyn TokenStore>,
    /// Knows those that are not and have ended.
    pub denylist: Arc<dyn Denylist>,
    /// Knows what the realms sign with.
    pub keys: Arc<dyn VerificationKeySource>,
}

impl AccessTokenValidator {
    /// The record of a token that was issued and not revoked, and whose time is not over. A JWT is only known if a key of
    /// `realm` has signed it; of opaque tokens the record says the realm.
    ///
    /// # Errors
    /// [`OAuthError::Unavailable`] where a store cannot be asked, [`OAuthError::Server`] for an item that cannot be read.
    pub async fn find(
        &self,
        unverified_token: &str,
        realm: &RealmName,
        now: UnixSeconds,
    ) -> Result<Option<AccessTokenRecord>, OAuthError> {
        Ok(match presented(self.keys.as_ref(), unverified_token, realm, now).await? {
            None => None,
            Some(PresentedToken::Stored(digest)) => {
                self.tokens.get(&digest).await?.filter(|record| !record.has_expired(now))
            }
            Some(PresentedToken::Stateless(record)) => {
                // A stored token ends with its record, whoever loses it. The end of this one may be what was lost.
                let may_have_ended = record.iat <= self.denylist.whole_since().await?;
                let is_denied = may_have_ended || self.denylist.is_denied(&record.jti).await?;
                Some(*record).filter(|_| !is_denied)
            }
        })
    }

    /// The token as far as the client and the realm that it was issued to still stand behind it
    /// ([`AccessTokenRecord::honoured_by`]). `asked_in` is the realm that the caller has found already.
    ///
    /// # Errors
    /// As [`AccessTokenValidator::find`].
    pub async fn honoured(
        &self,
        record: AccessTokenRecord,
        asked_in: &Arc<Realm>,
    ) -> Result<Option<AccessTokenRecord>, OAuthError> {
        let realm = if record.realm == asked_in.name {
            Arc::clone(asked_in)
        } else {
            match self.realms.find(&record.realm).await {
                Ok(realm) => realm,
                Err(OAuthError::UnknownRealm) => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let client = self.registry.client(&record.realm, &record.client_id).await?;
        Ok(client.and_then(|client| record.honoured_by(&client, &realm)))
    }
}

/// What a presented text is; `None` where it is no token of this server. A JWT is one if a key of `realm` has signed it, and a
/// key that is not known may be one that has just been published.
pub(crate) async fn presented(
    source: &dyn VerificationKeySource,
    unverified_token: &str,
    realm: &RealmName,
    now: UnixSeconds,
) -> Result<Option<PresentedToken>, PortError> {
    let Some(jwt) = UnverifiedJwt::parse(unverified_token) else {
        return Ok(opaque::digest_of_presented(unverified_token).map(PresentedToken::Stored));
    };
    let mut keys = source.verification_keys(realm).await?;
    if !keys.know(jwt.kid())
        && let Some(newer) = source.verification_keys_after_mismatch(realm).await?
    {
        keys = newer;
    }
    Ok(jwt.verify(realm, &keys, now))
}

#[cfg(test)]
mod tests;
