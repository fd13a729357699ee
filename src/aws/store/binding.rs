//! Binds the secrets of an existing stack, for an operator's command line: tags them with the registry and the registration
//! that they belong to, and has their values say the same. What belongs to somebody else already stays as it is.
//!
//! Each step leaves the secret usable, and what a command that ended halfway has left is completed by the next: the tags come
//! first, then the values, and the secret before the current one keeps its place.

use std::sync::Arc;

use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use serde::Serialize;
use zeroize::Zeroizing;

use super::described::{Secret, describe, tags, take_label};
use super::keys::{DynamoPublishedKeys, REPLACEMENT, key_set_text, read_unclaimed_key_set, registry_of};
use super::registrar::AwsRegistrar;
use super::registry_id::{RegistryId, RegistryIdentity};
use super::secrets::{
    CURRENT, PENDING, PREVIOUS, bound_secret_string, label_has_moved, read_stored_secret, secret_name,
    signing_keys_name,
};
use crate::aws::sdk::{SECRETS_MANAGER, unavailable};
use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::port_error::PortError;
use crate::core::ports::{Registrar as _, RegistrarError};
use crate::core::random::Random;
use crate::core::realm::RealmName;

/// Binds the secrets of one stack to its registry.
pub struct SecretBinding {
    secrets_manager: SecretsManager,
    prefix: String,
    registrar: AwsRegistrar,
    published: DynamoPublishedKeys,
    identity: RegistryIdentity,
}

/// What became of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BoundSecret {
    /// Its name in Secrets Manager.
    pub secret: String,
    /// The realm.
    pub realm: RealmName,
    /// The client whose secret it is; absent where it is the realm's signing keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// What was done, or would be.
    pub outcome: Outcome,
    /// Why it was left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// What was done about a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It says whose it is from now on.
    Bound,
    /// It did before.
    BoundAlready,
    /// Nothing was changed: somebody has to decide.
    LeftAlone,
}

/// Why a secret is not bound.
#[derive(Clone, Copy)]
struct LeftAlone(&'static str);

/// A version's name in Secrets Manager, and what it holds.
struct Version {
    id: String,
    text: Zeroizing<String>,
}

/// What a client's secret lacks.
struct Missing {
    tags: bool,
    /// The current version, where it says nothing of its registration.
    current: Option<Version>,
    /// The one before it, where it says nothing either, or would lose its place.
    previous: Option<Version>,
    /// A version that takes the place of the one before, as a command that ended halfway has left it.
    replacement: Option<Version>,
}

impl SecretBinding {
    /// Binds the secrets whose names start with `prefix`, which has no slash at its end, to the registry in this table.
    pub fn new(
        dynamodb: &DynamoDb,
        secrets_manager: SecretsManager,
        registry_table: &str,
        prefix: impl Into<String>,
        random: &Arc<dyn Random>,
    ) -> Self {
        let prefix = prefix.into();
        let registrar = AwsRegistrar::new(
            dynamodb.clone(),
            secrets_manager.clone(),
            registry_table,
            prefix.clone(),
            Arc::clone(random),
        );
        Self {
            secrets_manager,
            prefix,
            registrar,
            published: DynamoPublishedKeys::new(dynamodb.clone(), registry_table),
            identity: RegistryIdentity::new(dynamodb.clone(), registry_table).made_of(Arc::clone(random)),
        }
    }

    /// The registry that the secrets are bound to; `None` where it has no id yet, which [`SecretBinding::bind`] makes.
    ///
    /// # Errors
    /// [`PortError`].
    pub async fn registry_id(&self) -> Result<Option<RegistryId>, PortError> {
        self.identity.find().await
    }

    /// Binds the signing keys and the clients' secrets of every realm, or says what would be done. Those that there are not are
    /// not named.
    ///
    /// # Errors
    /// [`RegistrarError`]. What was bound until then stays so.
    pub async fn bind(&self, dry_run: bool) -> Result<Vec<BoundSecret>, RegistrarError> {
        const PAGE: usize = 100;
        let registry = if dry_run { self.identity.find().await? } else { Some(self.identity.require().await?) };
        let mut realms: Vec<RealmName> =
            self.registrar.list_realms().await?.into_iter().map(|realm| realm.name).collect();
        if !realms.iter().any(RealmName::is_root) {
            realms.push(RealmName::root());
        }
        let mut secrets = Vec::new();
        for realm in realms {
            let name = signing_keys_name(&self.prefix, &realm);
            if let Some(described) = describe(&self.secrets_manager, &name).await? {
                let outcome = self.bind_signing_keys(&described, registry.as_ref(), &realm, dry_run).await?;
                secrets.push(BoundSecret::of(name, &realm, None, outcome));
            }
            let mut next = None;
            loop {
                let page = self.registrar.list(&realm, next.as_ref(), PAGE).await?;
                for client in page.clients {
                    let name = secret_name(&self.prefix, &realm, &client.client_id);
                    let Some(described) = describe(&self.secrets_manager, &name).await? else { continue };
                    let outcome = self.bind_client_secret(&described, registry.as_ref(), &client, dry_run).await?;
                    secrets.push(BoundSecret::of(name, &realm, Some(client.client_id), outcome));
                }
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
        }
        Ok(secrets)
    }

    async fn bind_client_secret(
        &self,
        secret: &Secret,
        registry: Option<&RegistryId>,
        client: &Client,
        dry_run: bool,
    ) -> Result<Result<Outcome, LeftAlone>, PortError> {
        let missing = match self.missing(secret, registry, client).await? {
            Ok(missing) => missing,
            Err(reason) => return Ok(Err(reason)),
        };
        if missing.is_nothing() {
            return Ok(Ok(Outcome::BoundAlready));
        }
        let (false, Some(registry)) = (dry_run, registry) else { return Ok(Ok(Outcome::Bound)) };
        if missing.tags {
            self.tag(secret, registry, Some(&client.registration_id)).await?;
        }
        self.bind_versions(secret, client, missing).await?;
        Ok(Ok(Outcome::Bound))
    }

    /// What the secret lacks, if it is this registration's or nobody's.
    async fn missing(
        &self,
        secret: &Secret,
        registry: Option<&RegistryId>,
        client: &Client,
    ) -> Result<Result<Missing, LeftAlone>, PortError> {
        // 1. Whose it says it is: by its tags, and by its value.
        if let Err(reason) = claimable(secret, registry) {
            return Ok(Err(reason));
        }
        let registration = client.registration_id.as_str();
        if secret.registration().is_some_and(|tag| tag != registration) {
            return Ok(Err(LeftAlone("it has the tag of another registration of the client's id")));
        }
        let Some(current) = self.version(secret, CURRENT).await? else { return Ok(Err(LeftAlone(NO_VALUE))) };
        let Ok(stored) = read_stored_secret(&current.text, &client.client_id) else {
            return Ok(Err(LeftAlone("its value is not a secret of this client")));
        };
        if stored.registration_id.as_deref().is_some_and(|id| id != registration) {
            return Ok(Err(LeftAlone("its value is another registration's")));
        }

        // 2. What says nothing. A previous version that cannot be read, or is another's, is not accepted anyway; one that is the
        //    client's has to keep its place beside a new current version.
        let is_bound = stored.registration_id.is_some();
        let keeps_its_place = |version: &Version| match read_stored_secret(&version.text, &client.client_id) {
            Ok(stored) if stored.registration_id.as_deref() == Some(registration) => !is_bound,
            Ok(stored) => stored.registration_id.is_none(),
            Err(_) => false,
        };
        let replacement = self.version(secret, REPLACEMENT).await?;
        let previous = self.version(secret, PREVIOUS).await?.filter(keeps_its_place);
        Ok(Ok(Missing {
            tags: secret.registry().is_none() || secret.registration().is_none(),
            current: Some(current).filter(|_| !is_bound),
            // It is in the replacement already.
            previous: previous.filter(|_| replacement.is_none()),
            replacement,
        }))
    }

    /// Stores what the versions hold once more, with their registration in it. First the previous one, under a label of its own,
    /// because Secrets Manager forgets a version without a label as soon as there is a new current one.
    async fn bind_versions(&self, secret: &Secret, client: &Client, missing: Missing) -> Result<(), PortError> {
        let mut replacement = missing.replacement.map(|version| version.id);
        if let Some(previous) = missing.previous {
            let text = bound_secret_string(&previous.text, client)?;
            replacement = self.put(secret, &text, Some(REPLACEMENT)).await?;
        }
        if let Some(current) = missing.current {
            let text = bound_secret_string(&current.text, client)?;
            // What was begun before would end what is bound now.
            for pending in secret.versions_at(PENDING) {
                take_label(&self.secrets_manager, secret.id(), PENDING, pending).await?;
            }
            self.put(secret, &text, None).await?;
            if replacement.is_none() {
                // What was current is the previous one now, and says nothing.
                return take_label(&self.secrets_manager, secret.id(), PREVIOUS, &current.id).await;
            }
        }
        let Some(replacement) = replacement else { return Ok(()) };
        let now = describe(&self.secrets_manager, secret.id()).await?;
        let from = now.as_ref().and_then(|now| now.version_at(PREVIOUS)).filter(|from| *from != replacement);
        self.move_label(secret, PREVIOUS, &replacement, from).await?;
        take_label(&self.secrets_manager, secret.id(), REPLACEMENT, &replacement).await
    }

    async fn bind_signing_keys(
        &self,
        secret: &Secret,
        registry: Option<&RegistryId>,
        realm: &RealmName,
        dry_run: bool,
    ) -> Result<Result<Outcome, LeftAlone>, PortError> {
        // 1. Whose they say they are.
        if let Err(reason) = claimable(secret, registry) {
            return Ok(Err(reason));
        }
        let Some(current) = self.version(secret, CURRENT).await? else { return Ok(Err(LeftAlone(NO_VALUE))) };
        let Ok(keys) = read_unclaimed_key_set(&current.text) else {
            return Ok(Err(LeftAlone("its value is not a set of signing keys of this server")));
        };
        let claimed = registry_of(&current.text)?;
        if claimed.is_some() && claimed.as_deref() != registry.map(RegistryId::as_str) {
            return Ok(Err(LeftAlone("its value is another registry's")));
        }
        if secret.registry().is_some() && claimed.is_some() {
            return Ok(Ok(Outcome::BoundAlready));
        }

        // 2. Whether they are this registry's: it has published them.
        if !self.published.read(realm).await?.include_signers_of(&keys) {
            return Ok(Err(LeftAlone("the registry does not publish its keys, so they are somebody else's")));
        }
        let (false, Some(registry)) = (dry_run, registry) else { return Ok(Ok(Outcome::Bound)) };

        // 3. The same keys, of the same revision.
        self.tag(secret, registry, None).await?;
        if claimed.is_none() {
            for pending in secret.versions_at(PENDING) {
                take_label(&self.secrets_manager, secret.id(), PENDING, pending).await?;
            }
            let text = key_set_text(&keys, registry)?;
            if let Some(bound) = self.put(secret, &text, Some(REPLACEMENT)).await? {
                self.move_label(secret, CURRENT, &bound, Some(&current.id)).await?;
                take_label(&self.secrets_manager, secret.id(), REPLACEMENT, &bound).await?;
            }
        }
        Ok(Ok(Outcome::Bound))
    }

    /// The version of this label; `None` where there is none, it has no value yet, or the secret is scheduled for deletion.
    async fn version(&self, secret: &Secret, label: &str) -> Result<Option<Version>, PortError> {
        if secret.version_at(label).is_none() {
            return Ok(None);
        }
        let request = self.secrets_manager.get_secret_value().secret_id(secret.id()).version_stage(label);
        match request.send().await {
            Ok(mut answer) => {
                let text = answer.secret_string.take().map(Zeroizing::new);
                Ok(text.zip(answer.version_id).map(|(text, id)| Version { id, text }))
            }
            Err(error) => match error.as_service_error() {
                Some(
                    GetSecretValueError::ResourceNotFoundException(_) | GetSecretValueError::InvalidRequestException(_),
                ) => Ok(None),
                _ => Err(unavailable(SECRETS_MANAGER, "GetSecretValue", &error)),
            },
        }
    }

    async fn tag(
        &self,
        secret: &Secret,
        registry: &RegistryId,
        registration: Option<&RegistrationId>,
    ) -> Result<(), PortError> {
        let request = self.secrets_manager.tag_resource().secret_id(secret.id());
        let tagged = request.set_tags(Some(tags(registry, registration))).send().await;
        tagged.map(drop).map_err(|error| unavailable(SECRETS_MANAGER, "TagResource", &error))
    }

    /// Adds a version under a label, or as the current one. Its id.
    async fn put(&self, secret: &Secret, text: &str, label: Option<&str>) -> Result<Option<String>, PortError> {
        let request = self.secrets_manager.put_secret_value().secret_id(secret.id()).secret_string(text);
        let stored = request.set_version_stages(label.map(|label| vec![label.to_owned()])).send().await;
        let stored = stored.map_err(|error| unavailable(SECRETS_MANAGER, "PutSecretValue", &error))?;
        Ok(stored.version_id)
    }

    async fn move_label(
        &self,
        secret: &Secret,
        label: &str,
        version: &str,
        from: Option<&str>,
    ) -> Result<(), PortError> {
        let request = self.secrets_manager.update_secret_version_stage().secret_id(secret.id()).version_stage(label);
        let request = request.move_to_version_id(version).set_remove_from_version_id(from.map(str::to_owned));
        match request.send().await {
            Ok(_) => Ok(()),
            // Somebody else replaced the version meanwhile, with one that says whose it is.
            Err(error) if label_has_moved(error.as_service_error()) => Ok(()),
            Err(error) => Err(unavailable(SECRETS_MANAGER, "UpdateSecretVersionStage", &error)),
        }
    }
}

impl BoundSecret {
    fn of(secret: String, realm: &RealmName, client_id: Option<ClientId>, outcome: Result<Outcome, LeftAlone>) -> Self {
        let (outcome, reason) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(LeftAlone(reason)) => (Outcome::LeftAlone, Some(reason)),
        };
        Self { secret, realm: realm.clone(), client_id, outcome, reason }
    }
}

impl Outcome {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::BoundAlready => "bound already",
            Self::LeftAlone => "left alone",
        }
    }
}

impl Missing {
    fn is_nothing(&self) -> bool {
        !self.tags && self.current.is_none() && self.previous.is_none() && self.replacement.is_none()
    }
}

/// Whether nobody else's tag is on it.
fn claimable(secret: &Secret, registry: Option<&RegistryId>) -> Result<(), LeftAlone> {
    match secret.registry() {
        Some(tag) if Some(tag) != registry.map(RegistryId::as_str) => {
            Err(LeftAlone("it has the tag of another registry"))
        }
        _ => Ok(()),
    }
}

const NO_VALUE: &str = "it has no current value, or is scheduled for deletion";
