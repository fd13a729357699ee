//! Whether a presented text is an access token that counts now: the one path by which introspection, revocation and the
//! authorizer come to a token.
//!
//! Of a JWT the signature comes first, then its record or the list of those that have ended; then, of every token, its client
//! and its realm as they are now.

use std::sync::Arc;

use super::jwt::{SignedToken, UnverifiedJwt};
use super::opaque;
use super::record::AccessTokenRecord;
use crate::core::error::OAuthError;
use crate::core::ports::{ClientRegistry, Denylist, PortError, TokenStore, UnixSeconds, VerificationKeySource};
use crate::core::realm::{Realm, RealmName, Realms};

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
        let digest = match UnverifiedJwt::parse(unverified_token) {
            None => opaque::digest_of_presented(unverified_token),
            Some(jwt) => match signed_token(self.keys.as_ref(), &jwt, realm, now).await? {
                None => None,
                Some(SignedToken::Stored(digest)) => Some(digest),
                Some(SignedToken::Stateless(record)) => {
                    let is_denied = self.denylist.is_denied(&record.jti).await?;
                    return Ok(Some(*record).filter(|_| !is_denied));
                }
            },
        };
        let Some(digest) = digest else { return Ok(None) };
        Ok(self.tokens.get(&digest).await?.filter(|record| !record.has_expired(now)))
    }

    /// Whether the client and the realm that the token was issued to still stand behind it. `asked_in` is the realm that the
    /// caller has found already.
    ///
    /// # Errors
    /// As [`AccessTokenValidator::find`].
    pub async fn is_honoured(&self, record: &AccessTokenRecord, asked_in: &Arc<Realm>) -> Result<bool, OAuthError> {
        let realm = if record.realm == asked_in.name {
            Arc::clone(asked_in)
        } else {
            match self.realms.find(&record.realm).await {
                Ok(realm) => realm,
                Err(OAuthError::UnknownRealm) => return Ok(false),
                Err(error) => return Err(error),
            }
        };
        let client = self.registry.client(&record.realm, &record.client_id).await?;
        Ok(client.is_some_and(|client| record.is_honoured_by(&client, &realm)))
    }
}

/// The JWT, if a key of `realm` has signed it. A key that is not known may be one that has just been published.
pub(crate) async fn signed_token(
    source: &dyn VerificationKeySource,
    jwt: &UnverifiedJwt<'_>,
    realm: &RealmName,
    now: UnixSeconds,
) -> Result<Option<SignedToken>, PortError> {
    let mut keys = source.verification_keys(realm).await?;
    if !keys.know(jwt.kid())
        && let Some(newer) = source.verification_keys_after_mismatch(realm).await
    {
        keys = newer;
    }
    Ok(jwt.verify(realm, &keys, now))
}
