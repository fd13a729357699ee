//! What `client_secret_basic` and `client_secret_post` have in common: the secret that a request presents, and how it is
//! compared. Comparison is over digests of fixed length and in constant time.

use async_trait::async_trait;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::method::{Circumstances, Look, Presented, Proof, Proven, Stores};
use crate::core::client::Client;
use crate::core::client::secret::{ClientSecrets, SecretDigest};
use crate::core::encoding::is_vschar;
use crate::core::error::{ClientAuthFailure, OAuthError};
use crate::core::time::UnixSeconds;

/// The digest of the secret that a request presents.
struct PresentedSecret(SecretDigest);

impl ClientSecrets {
    /// Whether the presented secret is the current or the previous one. Always compares twice, so that an unknown
    /// client, a client without a previous secret and one with both cost the same.
    fn verify(secrets: Option<&Self>, presented: &PresentedSecret, now: UnixSeconds) -> bool {
        let current = compare(secrets.map(|secrets| &secrets.current), presented);
        let previous = compare(secrets.and_then(|secrets| secrets.valid_previous(now)), presented);
        (current | previous).into()
    }
}

#[async_trait]
impl Proof for PresentedSecret {
    fn can_prove(&self, client: &Client, now: UnixSeconds) -> Result<(), ClientAuthFailure> {
        if client.secret_has_expired(now) { Err(ClientAuthFailure::SecretExpired) } else { Ok(()) }
    }

    async fn verify(
        &self,
        client: Option<&Client>,
        look: Look,
        stores: &Stores,
        circumstances: Circumstances<'_>,
    ) -> Result<Proven, OAuthError> {
        let secrets = match (client, look) {
            (Some(client), Look::Remembered) => stores.secrets.secrets(client).await?,
            (Some(client), Look::Anew) => stores.secrets.secrets_anew(client).await?,
            (None, Look::Remembered) => {
                stores.secrets.no_secrets().await;
                None
            }
            (None, Look::Anew) => None,
        };
        // One comparison for everybody, known or not.
        if ClientSecrets::verify(secrets.as_ref(), self, circumstances.now) {
            let newer = secrets.filter(|secrets| secrets.may_be_newer);
            Ok(newer.map_or(Proven::Registration, Proven::Secrets))
        } else {
            Err(OAuthError::InvalidClient(ClientAuthFailure::WrongSecret))
        }
    }

    async fn admits_another_look(&self, client: &Client, _failure: &ClientAuthFailure, stores: &Stores) -> bool {
        stores.secrets.admits_another_look(client).await
    }
}

impl PresentedSecret {
    fn new(secret: &str) -> Self {
        Self(SecretDigest::of(secret))
    }
}

/// What a request presents whose method carries an id and a secret.
///
/// # Errors
/// [`OAuthError::InvalidClient`] for an id or a secret that is empty or not VSCHAR (RFC 6749 Appendix A.1, A.2).
pub(super) fn presented(client_id: &str, secret: &str) -> Result<Presented, OAuthError> {
    if !is_vschar(client_id) || !is_vschar(secret) {
        return Err(OAuthError::InvalidClient(ClientAuthFailure::Malformed));
    }
    let unverified_client_id = Zeroizing::new(client_id.to_owned());
    Ok(Presented { unverified_client_id, proof: Box::new(PresentedSecret::new(secret)) })
}

fn compare(stored: Option<&SecretDigest>, presented: &PresentedSecret) -> Choice {
    let mut reference = stored.map_or([0; 32], |digest| *digest.as_bytes());
    let equal = reference.ct_eq(presented.0.as_bytes()) & Choice::from(u8::from(stored.is_some()));
    reference.zeroize();
    equal
}

/// A secret's name in a registration and in the body of a request.
pub(super) const CLIENT_SECRET: &str = "client_secret";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_secrets_of_a_rotation_verify_and_nothing_else() {
        let secrets = ClientSecrets::read(SecretDigest::of("new"), Some(SecretDigest::of("old")));
        for (text, expected) in [("new", true), ("old", true), ("older", false), ("", false), ("ne", false)] {
            assert_eq!(
                ClientSecrets::verify(Some(&secrets), &PresentedSecret::new(text), UnixSeconds(9)),
                expected,
                "{text}"
            );
        }
        assert!(!ClientSecrets::verify(None, &PresentedSecret::new("new"), UnixSeconds(9)));
        // Somebody may have stored one secret twice.
        let twice = ClientSecrets::read(SecretDigest::of("new"), Some(SecretDigest::of("new")));
        assert!(ClientSecrets::verify(Some(&twice), &PresentedSecret::new("new"), UnixSeconds(9)));
    }

    #[test]
    fn a_previous_secret_with_an_end_of_its_own_verifies_until_then() {
        let secrets = ClientSecrets::read(SecretDigest::of("new"), Some(SecretDigest::of("old")));
        let secrets = secrets.with_previous_until(UnixSeconds(10));
        for (now, expected) in [(9, true), (10, false), (11, false)] {
            let verifies = |text| ClientSecrets::verify(Some(&secrets), &PresentedSecret::new(text), UnixSeconds(now));
            assert_eq!((verifies("new"), verifies("old")), (true, expected), "{now}");
        }
    }

    #[test]
    fn an_absent_secret_equals_nothing_not_even_its_placeholder() {
        assert!(compare(None, &PresentedSecret(SecretDigest::from_bytes([0; 32]))).unwrap_u8() == 0);
    }
}
