//! What is stored of an access token, under the digest of the token.

use serde::{Deserialize, Serialize};

use super::TokenDigest;
use super::claims::CustomClaims;
use super::inactive::Inactive;
use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::realm::{Issuer, Realm, RealmName};
use crate::core::reason::Reason;
use crate::core::resource::{Audience, spoken_audience};
use crate::core::scope::Scope;
use crate::core::time::UnixSeconds;
use crate::core::trust::rule::RuleName;

/// The facts of an access token that introspection reports (RFC 7662 §2.2). Holds no part of the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenRecord {
    /// The realm that issued it.
    pub realm: RealmName,
    /// The client it was issued to, which is also its subject (RFC 6749 §4.4).
    pub client_id: ClientId,
    /// The registration of that client: one of the same id that comes after it inherits no tokens.
    pub registration_id: RegistrationId,
    /// What was granted.
    pub scope: Scope,
    /// The issuer as the client addressed it.
    pub iss: Issuer,
    /// Whom it is for. Where a store has lost it, nobody but the issuer, which is for no resource server.
    #[serde(default, skip_serializing_if = "Audience::is_issuer", deserialize_with = "spoken_audience")]
    pub aud: Audience,
    /// When it was issued.
    pub iat: UnixSeconds,
    /// When it stops being active; also the store's TTL attribute.
    pub expires_at: UnixSeconds,
    /// Its identifier, which is no secret.
    pub jti: String,
    /// Ties the log lines of this token together.
    pub audit_tracking_id: String,
    /// What the client's registration adds, of its own or from what was verified of its caller. Where a store has lost it, nothing.
    #[serde(default, skip_serializing_if = "CustomClaims::is_empty")]
    pub claims: CustomClaims,
    /// The rule by which its caller was the client, where others have vouched for the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_rule: Option<RuleName>,
}

/// A presented text that has the form of a token of this server and, where it is a JWT, the signature: where its facts are.
#[derive(Debug)]
pub enum PresentedToken {
    /// In the record of this digest. Where there is none, it is not active.
    Stored(TokenDigest),
    /// In the token itself: the server has no record.
    Stateless(Box<AccessTokenRecord>),
}

/// What a store has of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredToken {
    /// Its record: nobody has revoked it. It may have expired.
    Live(Box<AccessTokenRecord>),
    /// The mark that its revocation has left in place of its record.
    Revoked(RevokedToken),
    /// Nothing: it has expired and been erased, its record was lost, or it never was.
    Absent,
}

/// What stays of a revoked token until its time is over: enough to say so, and nothing that it could be used by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedToken {
    /// When the token would have expired; also the store's TTL attribute.
    pub expires_at: UnixSeconds,
    /// Ties the log lines of this token together.
    pub audit_tracking_id: String,
}

/// What became of a request to revoke a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token was active and is no longer.
    Revoked {
        /// The token's, for the log.
        audit_tracking_id: String,
    },
    /// No such token, or it has expired or been revoked already: there is nothing to revoke.
    NotFound,
    /// The token is another client's and stays as it is.
    NotOwner,
}

impl AccessTokenRecord {
    /// The form of a stored record, which each store keeps beside it. A member that may be left out needs no other: a build that does not
    /// know it passes over it. One that must not be passed over does, and a record of a form that a build does not know is corrupt to it.
    pub const VERSION: u8 = 1;

    /// Whether the token's time is over. Compared on every read, because DynamoDB deletes expired items days late.
    pub fn has_expired(&self, now: UnixSeconds) -> bool {
        self.expires_at <= now
    }

    /// The token as far as it still counts, given its client and realm as they are now. What has been withdrawn is withdrawn from it.
    ///
    /// # Errors
    /// [`Inactive`] where it does not count: one of them is gone, the client is not active, the tokens of either have been revoked
    /// all at once since, or nothing of what it was granted, or of whom it is for, is the client's any more.
    pub fn honoured_by(mut self, client: &Client, realm: &Realm) -> Result<Self, Inactive> {
        if let Some(reason) = self.why_not_backed_by(client, realm) {
            return Err(self.inactive(reason));
        }
        // One that was issued without a scope had none to lose.
        if !self.scope.is_empty() {
            self.scope.retain(|token| client.can_be_granted(token, realm));
            if self.scope.is_empty() {
                return Err(self.inactive(Reason::ScopeWithdrawn));
            }
        }
        let Some(aud) = self.aud.within(&client.metadata.resources) else {
            let audit_tracking_id = Some(self.audit_tracking_id);
            return Err(Inactive { reason: Reason::ResourceWithdrawn, audit_tracking_id });
        };
        self.aud = aud;
        self.claims.retain_those_of(&client.metadata.access_token_claims, self.trust_rule.is_some());
        Ok(self)
    }

    /// That this token is not active, and why.
    pub(in crate::core) fn inactive(self, reason: Reason) -> Inactive {
        Inactive { reason, audit_tracking_id: Some(self.audit_tracking_id) }
    }

    fn why_not_backed_by(&self, client: &Client, realm: &Realm) -> Option<Reason> {
        let is_its_client = client.realm == self.realm && client.client_id == self.client_id;
        if !is_its_client {
            Some(Reason::UnknownClient)
        } else if client.registration_id != self.registration_id {
            Some(Reason::OtherRegistration)
        } else if !client.is_active() {
            Some(Reason::ClientDisabled)
        } else if self.iat < client.tokens_valid_after {
            Some(Reason::ClientTokensRevoked)
        } else if self.iat < realm.settings.tokens_valid_after {
            Some(Reason::RealmTokensRevoked)
        } else {
            None
        }
    }
}

impl RevokedToken {
    /// The form of a stored mark, kept where that of a record is ([`AccessTokenRecord::VERSION`]): to a build that does not know marks, it
    /// is a record of a form that it does not know, and corrupt. Never the form of a record.
    pub const VERSION: u8 = 2;

    /// The mark of the token of this record.
    pub fn of(record: &AccessTokenRecord) -> Self {
        Self { expires_at: record.expires_at, audit_tracking_id: record.audit_tracking_id.clone() }
    }

    /// Whether the token's time is over.
    pub fn has_expired(&self, now: UnixSeconds) -> bool {
        self.expires_at <= now
    }

    /// Why the token is not active: once its time is over as for any other, however long a store keeps the mark.
    pub(in crate::core) fn inactive(self, now: UnixSeconds) -> Inactive {
        let reason = if self.has_expired(now) { Reason::Expired } else { Reason::Revoked };
        Inactive { reason, audit_tracking_id: Some(self.audit_tracking_id) }
    }
}

impl Revocation {
    /// What revoking this token means for the client that asks. One that is revoked is nobody's any more.
    pub fn of(token: &StoredToken, realm: &RealmName, client_id: &ClientId, now: UnixSeconds) -> Self {
        match token {
            StoredToken::Live(record) => Self::of_live(record, realm, client_id, now),
            StoredToken::Revoked(_) | StoredToken::Absent => Self::NotFound,
        }
    }

    /// [`Revocation::of`] a token of this record that nobody has revoked.
    pub fn of_live(record: &AccessTokenRecord, realm: &RealmName, client_id: &ClientId, now: UnixSeconds) -> Self {
        if record.has_expired(now) {
            Self::NotFound
        } else if record.realm == *realm && record.client_id == *client_id {
            Self::Revoked { audit_tracking_id: record.audit_tracking_id.clone() }
        } else {
            Self::NotOwner
        }
    }
}
