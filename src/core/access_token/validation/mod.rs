//! Whether a presented text is an access token that counts now: the one path by which introspection, revocation and the
//! authorizer come to a token.
//!
//! Of a JWT the signature comes first, then its record or the list of those that have ended; then, of every token, its client
//! and its realm as they are now.

use std::sync::Arc;

use super::inactive::Inactive;
use super::jwt::UnverifiedJwt;
use super::opaque;
use super::record::{AccessTokenRecord, PresentedToken, StoredToken};
use crate::core::error::OAuthError;
use crate::core::port_error::PortError;
use crate::core::ports::{ClientRegistry, Denylist, TokenStore, VerificationKeySource};
use crate::core::realm::{Realm, RealmName};
use crate::core::realms::Realms;
use crate::core::reason::Reason;
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
    /// The record of a token that was issued and not revoked, and whose time is not over, or why there is none. A JWT is only known
    /// if a key of `realm` has signed it; of opaque tokens the record says the realm.
    ///
    /// # Errors
    /// [`OAuthError::Unavailable`] where a store cannot be asked, [`OAuthError::Server`] for an item that cannot be read.
    pub async fn find(
        &self,
        unverified_token: &str,
        realm: &RealmName,
        now: UnixSeconds,
    ) -> Result<Result<AccessTokenRecord, Inactive>, OAuthError> {
        Ok(match presented(self.keys.as_ref(), unverified_token, realm, now).await? {
            Err(inactive) => Err(inactive),
            Ok(PresentedToken::Stored(digest)) => match self.tokens.get(&digest).await? {
                StoredToken::Live(record) if record.has_expired(now) => Err(record.inactive(Reason::Expired)),
                StoredToken::Live(record) => Ok(*record),
                StoredToken::Revoked(mark) => Err(mark.inactive(now)),
                StoredToken::Absent => Err(Reason::NoRecord.into()),
            },
            Ok(PresentedToken::Stateless(record)) => {
                // A stored token ends with its record, whoever loses it. The end of this one may be what was lost.
                if record.iat <= self.denylist.whole_since().await? {
                    Err(record.inactive(Reason::RevocationsLost))
                } else if self.denylist.is_denied(&record.jti).await? {
                    Err(record.inactive(Reason::Revoked))
                } else {
                    Ok(*record)
                }
            }
        })
    }

    /// The token as far as the client and the realm that it was issued to still stand behind it, or why they do not
    /// ([`AccessTokenRecord::honoured_by`]). `asked_in` is the realm that the caller has found already.
    ///
    /// # Errors
    /// As [`AccessTokenValidator::find`].
    pub async fn honoured(
        &self,
        record: AccessTokenRecord,
        asked_in: &Arc<Realm>,
    ) -> Result<Result<AccessTokenRecord, Inactive>, OAuthError> {
        let realm = if record.realm == asked_in.name {
            Arc::clone(asked_in)
        } else {
            match self.realms.find(&record.realm).await {
                Ok(realm) => realm,
                Err(OAuthError::UnknownRealm) => return Ok(Err(record.inactive(Reason::UnknownRealm))),
                Err(error) => return Err(error),
            }
        };
        Ok(match self.registry.client(&record.realm, &record.client_id).await? {
            Some(client) => record.honoured_by(&client, &realm),
            None => Err(record.inactive(Reason::UnknownClient)),
        })
    }
}

/// What a presented text is, or why it is no token of this server. A JWT is one if a key of `realm` has signed it, and a
/// key that is not known may be one that has just been published.
pub(crate) async fn presented(
    source: &dyn VerificationKeySource,
    unverified_token: &str,
    realm: &RealmName,
    now: UnixSeconds,
) -> Result<Result<PresentedToken, Inactive>, PortError> {
    let Some(jwt) = UnverifiedJwt::parse(unverified_token) else {
        let digest = opaque::digest_of_presented(unverified_token);
        return Ok(digest.map(PresentedToken::Stored).ok_or(Reason::UnknownToken.into()));
    };
    let mut keys = source.verification_keys(realm).await?;
    if !keys.know(jwt.kid())
        && let Some(newer) = source.verification_keys_after_mismatch(realm).await?
    {
        keys = newer;
    }
    Ok(jwt.verify(realm, &keys, now).map_err(|inactive| match jwt.unverified_realm() {
        // Its own word, which nobody has to believe: who asks in the wrong realm is helped by it.
        Some(named) if inactive.reason == Reason::UnknownToken && named != *realm => Reason::OtherRealm.into(),
        _ => inactive,
    }))
}

#[cfg(test)]
mod tests;
