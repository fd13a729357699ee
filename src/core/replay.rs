//! What may be used once: an assertion, by the `jti` of who made it (RFC 7523 §3).

use sha2::{Digest as _, Sha256};

use super::client::id::RegistrationId;
use super::encoding::base64url;
use super::realm::RealmName;
use super::trust::issuer::IssuerUrl;

/// The name under which a use is remembered: a digest, so that it is of one length and says nothing of who used what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplayKey([u8; 32]);

impl ReplayKey {
    /// The `jti` of an assertion that a client made for itself. Of the same `jti` of another registration, even one of the same
    /// client id, this says nothing.
    pub fn of_client(realm: &RealmName, registration_id: &RegistrationId, jti: &str) -> Self {
        Self::of("client", &[realm.as_str(), registration_id.as_str()], jti)
    }

    /// The `jti` of a token that an issuer made, whoever shows it: a token that is good once is good for one client.
    pub fn of_issuer(realm: &RealmName, issuer: &IssuerUrl, jti: &str) -> Self {
        Self::of("issuer", &[realm.as_str(), issuer.as_str()], jti)
    }

    fn of(kind: &str, whose: &[&str], jti: &str) -> Self {
        let mut name = Sha256::new();
        for part in [kind].iter().chain(whose) {
            // Each with its length, so that no two lists of parts are one text.
            name.update((part.len() as u64).to_be_bytes());
            name.update(part.as_bytes());
        }
        name.update(Sha256::digest(jti.as_bytes()));
        Self(name.finalize().into())
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The name as text.
    pub fn to_text(&self) -> String {
        base64url(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_use_is_of_one_realm_one_registration_and_one_jti() {
        let realms = [RealmName::root(), "alpha".parse().expect("a name")];
        let mut keys = HashSet::new();
        for realm in &realms {
            for registration in ["a", "ab", ""] {
                for jti in ["bc", "c", "abc"] {
                    let key = ReplayKey::of_client(realm, &RegistrationId::from_text(registration), jti);
                    assert_eq!(key, ReplayKey::of_client(realm, &RegistrationId::from_text(registration), jti));
                    assert!(keys.insert(key.to_text()), "{realm} {registration} {jti}");
                }
            }
            for issuer in ["https://a.example", "https://a.example/"] {
                let key = ReplayKey::of_issuer(realm, &issuer.parse().expect("an issuer"), "abc");
                assert!(keys.insert(key.to_text()), "{realm} {issuer}");
            }
        }
    }
}
