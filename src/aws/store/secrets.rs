//! Secret source of the functions. A registration that keeps digests has its secrets itself; of the others, in Secrets Manager,
//! `<prefix>/<realm>/clients/<client_id>` holds
//! `{"client_id","client_secret","registration_id"}`, so that IAM can let an application read its own secret. The versions
//! staged `AWSCURRENT` and `AWSPREVIOUS` are both accepted, so that a rotation needs no downtime.
//!
//! Each version says itself which registration it belongs to. A process that remembers a deleted client's registration, or
//! another stack with the same prefix, finds no secret where its successor's is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_sdk_secretsmanager::operation::update_secret_version_stage::UpdateSecretVersionStageError;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use zeroize::{Zeroize as _, Zeroizing};

use super::registry_id::BIND;
use crate::aws::sdk::{LazySecretsManager, SECRETS_MANAGER, corrupt, foreign, unavailable};
use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::client::registered_secrets::RegisteredSecrets;
use crate::core::client::secret::{ClientSecret, ClientSecrets, SecretDigest};
use crate::core::client::secret_storage::SecretStorage;
use crate::core::client_auth;
use crate::core::port_error::PortError;
use crate::core::ports::{ClientRegistry, SecretSource};
use crate::core::realm::RealmName;
use crate::core::time::UnixSeconds;

/// Reads the clients' secrets for the functions. Those that a registration keeps itself are read with it.
pub struct AwsSecrets {
    secrets_manager: LazySecretsManager,
    prefix: String,
    registry: Arc<dyn ClientRegistry>,
}

/// A version of a secret, its name in Secrets Manager and its labels.
struct Version {
    id: String,
    digest: SecretDigest,
    labels: Vec<String>,
}

impl AwsSecrets {
    /// Reads the secrets whose names start with `prefix`, which has no slash at its end, of clients of this registry.
    pub fn new(
        secrets_manager: impl Into<LazySecretsManager>,
        prefix: impl Into<String>,
        registry: Arc<dyn ClientRegistry>,
    ) -> Self {
        Self { secrets_manager: secrets_manager.into(), prefix: prefix.into(), registry }
    }

    /// The secrets of a client that have been moved to its registration since that was read, which somebody has remembered.
    async fn moved(&self, older: &Client) -> Result<Option<ClientSecrets>, PortError> {
        let client = self.registry.client_anew(&older.realm, &older.client_id).await?;
        let is_it = |client: &Arc<Client>| client.registration_id == older.registration_id;
        let digests = client.filter(is_it).and_then(|client| client.kept_digests().cloned());
        // For the registration as it was: a right may have been withdrawn from it since.
        Ok(digests.map(|digests| ClientSecrets { may_be_newer: true, ..digests.accepted() }))
    }

    /// One version; `None` where the secret has no version of this stage, is gone, or belongs to another registration.
    async fn version(&self, name: &str, stage: &'static str, client: &Client) -> Result<Option<Version>, PortError> {
        let answer = self.secrets_manager.get_secret_value().secret_id(name).version_stage(stage).send().await;
        match answer {
            Ok(mut answer) => {
                // The SDK's own buffers are beyond reach; this copy, at least, does not stay behind.
                let text = Zeroizing::new(answer.secret_string.take().unwrap_or_default());
                let digest = read_secret(&text, client)?;
                let (id, labels) = (answer.version_id.unwrap_or_default(), answer.version_stages.unwrap_or_default());
                Ok(digest.map(|digest| Version { id, digest, labels }))
            }
            Err(error) => match error.as_service_error() {
                // The second is what a secret answers that an operator has scheduled for deletion.
                Some(
                    GetSecretValueError::ResourceNotFoundException(_) | GetSecretValueError::InvalidRequestException(_),
                ) => Ok(None),
                _ => Err(unavailable(SECRETS_MANAGER, "GetSecretValue", &error)),
            },
        }
    }
}

#[async_trait]
impl SecretSource for AwsSecrets {
    async fn secrets(&self, client: &Client) -> Result<Option<ClientSecrets>, PortError> {
        // A miss is billed, and whoever guesses at a client that has no secret must not be able to cause one.
        if !client_auth::uses_secret(&client.metadata) {
            return Ok(None);
        }
        if client.secret_storage() == SecretStorage::Digest {
            return Ok(client.kept_digests().map(RegisteredSecrets::accepted));
        }
        let Client { realm, client_id, .. } = client;
        let name = secret_name(&self.prefix, realm, client_id);
        // One after the other, in this order: a rotation that moves both labels between the two reads makes the same version
        // current and previous here, which shows, and is never a reason to refuse the one that was current until then.
        let Some(current) = self.version(&name, CURRENT, client).await? else { return self.moved(client).await };
        let previous = match self.version(&name, PREVIOUS, client).await {
            // A broken current version is corrected by storing a good one, which makes the broken one the previous: that must
            // not lock the client out. It is not accepted, so nothing is guessed.
            Err(PortError::Corrupt { detail, .. } | PortError::Foreign { detail, .. }) => {
                tracing::warn!(%realm, %client_id, detail, "the previous secret cannot be read and is not accepted");
                None
            }
            other => other?,
        };
        let was_moved = previous.as_ref().is_some_and(|previous| previous.id == current.id);
        let newer = if was_moved { self.version(&name, CURRENT, client).await? } else { None };
        let current = newer.unwrap_or(current);
        let ends_at = previous.as_ref().map(|previous| end_of(&previous.id, &current.labels));
        let secrets = ClientSecrets::read(current.digest, previous.map(|version| version.digest));
        Ok(Some(secrets.with_previous_until(ends_at.unwrap_or(UnixSeconds(0)))))
    }
}

/// The label that says on a current version when the version before it ends. It names that one, so that it says nothing of another that
/// becomes the previous one in whatever way; and it comes with the current one, so that there is no moment without it.
pub(super) fn end_label(previous: &str, ends_at: UnixSeconds) -> String {
    format!("{END}{}:{previous}", ends_at.0)
}

/// Whether a label says when a version ends.
pub(super) fn is_end_label(label: &str) -> bool {
    label.starts_with(END)
}

/// When the version `previous` ends by what the labels of the current one say; 0 where they say nothing of it.
pub(super) fn end_of(previous: &str, labels: &[String]) -> UnixSeconds {
    let end = |label: &String| {
        let (ends_at, version) = label.strip_prefix(END)?.split_once(':')?;
        ends_at.parse().ok().filter(|_| version == previous).map(UnixSeconds)
    };
    labels.iter().find_map(end).unwrap_or(UnixSeconds(0))
}

/// The name of a client's secret. Realm names and client ids have no slash, so two clients never share one.
pub(in crate::aws) fn secret_name(prefix: &str, realm: &RealmName, client_id: &ClientId) -> String {
    format!("{prefix}/{realm}/clients/{client_id}")
}

/// What is stored under that name.
pub(super) fn secret_string(client: &Client, secret: &ClientSecret) -> Result<Zeroizing<String>, PortError> {
    #[derive(Serialize)]
    struct Stored<'a> {
        client_id: &'a ClientId,
        client_secret: &'a str,
        registration_id: &'a RegistrationId,
    }

    let Client { client_id, registration_id, .. } = client;
    serde_json::to_string(&Stored { client_id, client_secret: secret.expose_client_secret(), registration_id })
        .map(Zeroizing::new)
        .map_err(|_| corrupt(SECRETS_MANAGER, "a client secret that cannot be written"))
}

/// What is stored of a secret that is known as a digest only. It can be the previous version of another, and is read by nobody
/// else.
pub(super) fn digest_string(client: &Client, digest: &SecretDigest) -> Result<String, PortError> {
    #[derive(Serialize)]
    struct Stored<'a> {
        client_id: &'a ClientId,
        client_secret_sha256: String,
        registration_id: &'a RegistrationId,
    }

    let Client { client_id, registration_id, .. } = client;
    let client_secret_sha256 = digest.to_text();
    serde_json::to_string(&Stored { client_id, client_secret_sha256, registration_id })
        .map_err(|_| corrupt(SECRETS_MANAGER, "a client secret that cannot be written"))
}

/// `stored` with another client secret in it. What else an application keeps in its secret stays as it is, to the letter.
pub(in crate::aws) fn replaced_secret_string(
    stored: &str,
    client: &Client,
    secret: &ClientSecret,
) -> Result<Zeroizing<String>, PortError> {
    read_stored_secret(stored, &client.client_id)?;
    with_member(stored, "client_secret", secret.expose_client_secret())
}

/// `stored`, which says whose it is from now on.
pub(super) fn bound_secret_string(stored: &str, client: &Client) -> Result<Zeroizing<String>, PortError> {
    read_stored_secret(stored, &client.client_id)?;
    with_member(stored, "registration_id", client.registration_id.as_str())
}

fn with_member(stored: &str, name: &str, value: &str) -> Result<Zeroizing<String>, PortError> {
    let unwritable = |_| corrupt(SECRETS_MANAGER, "a client secret that cannot be written");
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(stored).map_err(unwritable)?;
    members.insert(name.to_owned(), to_raw_value(value).map_err(unwritable)?);
    serde_json::to_string(&members).map(Zeroizing::new).map_err(unwritable)
}

/// The name of a realm's private keys.
pub(in crate::aws) fn signing_keys_name(prefix: &str, realm: &RealmName) -> String {
    format!("{prefix}/{realm}/signing-keys")
}

/// Whether a label was not moved because the version that it was to be taken from no longer has it.
pub(in crate::aws) fn label_has_moved(error: Option<&UpdateSecretVersionStageError>) -> bool {
    matches!(
        error,
        Some(
            UpdateSecretVersionStageError::InvalidParameterException(_)
                | UpdateSecretVersionStageError::InvalidRequestException(_)
        )
    )
}

/// The digest of a stored secret; `None` where it is another registration's.
fn read_secret(text: &str, client: &Client) -> Result<Option<SecretDigest>, PortError> {
    let stored = read_stored_secret(text, &client.client_id)?;
    Ok(if stored.belongs_to(client)? { Some(stored.digest()?) } else { None })
}

/// What a stored text says of this client.
pub(in crate::aws) fn read_stored_secret(text: &str, client_id: &ClientId) -> Result<StoredSecret, PortError> {
    // serde's message may repeat a part of the secret.
    let stored: StoredSecret = serde_json::from_str(text)
        .map_err(|_| corrupt(SECRETS_MANAGER, "a client secret that is not {\"client_id\",\"client_secret\"}"))?;
    if stored.client_id != client_id.as_str() {
        return Err(corrupt(SECRETS_MANAGER, "a client secret whose client_id is not the one of its name"));
    }
    stored.digest()?;
    Ok(stored)
}

/// The form in Secrets Manager. Other members are ignored.
#[derive(Deserialize)]
pub(in crate::aws) struct StoredSecret {
    client_id: String,
    #[serde(default)]
    client_secret: String,
    /// In its place where nobody knows the secret any more.
    #[serde(default)]
    client_secret_sha256: Option<String>,
    /// Absent in what an earlier version stored, or somebody by hand.
    pub(in crate::aws) registration_id: Option<String>,
}

impl StoredSecret {
    /// The secret in the clear.
    ///
    /// # Errors
    /// [`PortError::Corrupt`] where there is only its digest.
    pub(in crate::aws) fn client_secret(&self) -> Result<&str, PortError> {
        if self.client_secret.is_empty() {
            return Err(corrupt(SECRETS_MANAGER, "a client secret that is empty"));
        }
        Ok(&self.client_secret)
    }

    /// What a secret that is presented is compared with.
    ///
    /// # Errors
    /// [`PortError::Corrupt`] where there is nothing to compare with.
    pub(in crate::aws) fn digest(&self) -> Result<SecretDigest, PortError> {
        let Some(text) = &self.client_secret_sha256 else { return self.client_secret().map(SecretDigest::of) };
        let digest = SecretDigest::from_text(text).filter(|_| self.client_secret.is_empty());
        digest.ok_or_else(|| corrupt(SECRETS_MANAGER, "the digest of a client secret that is not one"))
    }

    /// Whether the secret is one that this server has made. Only of such ones there are digests without a secret.
    pub(in crate::aws) fn is_generated(&self) -> bool {
        self.client_secret_sha256.is_some()
            || ClientSecret::given(&self.client_secret, true).is_ok_and(|secret| secret.is_generated())
    }

    /// Whether it is this registration's.
    ///
    /// # Errors
    /// [`PortError::Foreign`] where it does not say.
    pub(in crate::aws) fn belongs_to(&self, client: &Client) -> Result<bool, PortError> {
        match &self.registration_id {
            Some(id) => Ok(id == client.registration_id.as_str()),
            None => Err(foreign(
                SECRETS_MANAGER,
                format!(
                    "the secret of client {id} of realm {realm} has no registration_id, so nothing says whose it is; if it is this \
                     registry's, bind it with: {BIND}; else store another with `grantwell client rotate-secret {id} --realm {realm}`",
                    id = client.client_id,
                    realm = client.realm
                ),
            )),
        }
    }
}

impl Drop for StoredSecret {
    fn drop(&mut self) {
        self.client_secret.zeroize();
    }
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StoredSecret([REDACTED])")
    }
}

/// How a label begins that says when a version ends.
const END: &str = "grantwell:previous-expires-at:";
/// The stage of the newest version.
pub(in crate::aws) const CURRENT: &str = "AWSCURRENT";
/// The stage of the version before it.
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";
/// The stage of a version that a rotation is making current.
pub(in crate::aws) const PENDING: &str = "AWSPENDING";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client::metadata::ClientMetadata;
    use crate::core::realm::Realm;

    #[test]
    fn a_label_says_when_the_version_ends_that_it_names() {
        let labels = [CURRENT.to_owned(), end_label("one", UnixSeconds(70))];
        assert_eq!(end_of("one", &labels), UnixSeconds(70));
        assert_eq!((end_of("two", &labels), end_of("one", &[])), (UnixSeconds(0), UnixSeconds(0)));
        assert!(labels.iter().filter(|label| is_end_label(label)).eq([&labels[1]]));
    }

    fn client() -> Client {
        let (id, realm) = ("myClient".parse().expect("an id"), Realm::new(RealmName::root()));
        let registration = RegistrationId::from_text("registration");
        Client::register(id, &realm, ClientMetadata::new(), registration, UnixSeconds(7)).expect("valid")
    }

    fn digest(text: &str) -> [u8; 32] {
        *read_secret(text, &client()).expect("readable").expect("this registration's").as_bytes()
    }

    #[test]
    fn what_is_written_reads_back() {
        let secret = ClientSecret::given(r#"quotes " and \ slashes"#, false).expect("long enough");
        let text = secret_string(&client(), &secret).expect("text");
        assert_eq!(digest(&text), *secret.digest().as_bytes());
    }

    #[test]
    fn a_secret_that_cannot_be_read_reaches_no_error() {
        for text in [
            "",
            "canary",
            r#""canary""#,
            r#"{"client_id":"myClient","registration_id":"registration"}"#,
            r#"{"client_id":"myClient","client_secret":["canary"],"registration_id":"registration"}"#,
            r#"{"client_id":"canary","client_secret":"canary","registration_id":"registration"}"#,
            r#"{"client_id":"myClient","client_secret":"","registration_id":"registration"}"#,
            r#"{"client_id":"myClient","client_secret":"canary","registration_id":["canary"]}"#,
        ] {
            let error = read_secret(text, &client()).expect_err(text);
            assert!(matches!(error, PortError::Corrupt { .. }) && !error.to_string().contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_secret_of_another_registration_is_none_and_one_of_nobody_says_what_to_do() {
        let text = r#"{"client_id":"myClient","client_secret":"canary","registration_id":"another"}"#;
        assert!(read_secret(text, &client()).expect("readable").is_none());
        for text in [
            r#"{"client_id":"myClient","client_secret":"canary"}"#,
            r#"{"client_id":"myClient","client_secret":"canary","registration_id":null}"#,
        ] {
            let error = read_secret(text, &client()).expect_err("nobody's");
            assert!(matches!(error, PortError::Foreign { .. }) && !error.to_string().contains("canary"), "{error}");
            assert!(error.to_string().contains("grantwell secrets bind --store aws"), "{error}");
            assert_eq!(
                digest(&bound_secret_string(text, &client()).expect("text")),
                *SecretDigest::of("canary").as_bytes()
            );
        }
    }

    #[test]
    fn an_application_may_keep_more_in_its_secret() {
        let text =
            r#"{"client_id":"myClient","client_secret":"s","registration_id":"registration","token_url":"https://a"}"#;
        assert_eq!(digest(text), *SecretDigest::of("s").as_bytes());
    }

    #[test]
    fn a_replaced_secret_keeps_what_the_application_keeps_there_to_the_letter() {
        let stored = r#"{"token_url":"https://auth.example.com","limit":18446744073709551616.50,"client_secret":"old",
            "client_id":"myClient","registration_id":"registration","nested":{"b":[1, null],"a":"\u00e9"}}"#;
        let secret = ClientSecret::given(r#"quotes " and \ slashes"#, false).expect("long enough");
        let text = replaced_secret_string(stored, &client(), &secret).expect("text");
        assert_eq!(digest(&text), *secret.digest().as_bytes());
        for kept in
            [r#""limit":18446744073709551616.50"#, r#""nested":{"b":[1, null],"a":"\u00e9"}"#, "auth.example.com"]
        {
            assert!(text.contains(kept), "{kept}");
        }
        assert!(!text.contains("old"));
        for broken in ["", "[]", r#"{"client_id":"other","client_secret":"s"}"#, r#"{"client_id":"myClient"}"#] {
            assert!(replaced_secret_string(broken, &client(), &secret).is_err(), "{broken}");
        }
    }
}
