//! `grantwell client`: registers clients, changes them, and rotates their secrets.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;

use clap::ArgGroup;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use grantwell::core::access_token::claims::CustomClaims;
use grantwell::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence, TokenLifetime};
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::grant_type::GrantType;
use grantwell::core::client::id::{ClientId, RegistrationId};
use grantwell::core::client::metadata::{
    ClientMetadata, InvalidRegistration, InvalidSecretRotationDays, SecretRotationDays,
};
use grantwell::core::client::redirect_uri::{InvalidRedirectUri, RedirectUri};
use grantwell::core::client::secret::{ClientSecret, WeakSecret};
use grantwell::core::client::{Client, ClientStatus};
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::ports::{Clock as _, RegistrarError};
use grantwell::core::quota::{QuotaMode, QuotaSetting};
use grantwell::core::realm::RealmName;
use grantwell::core::resource::{MalformedResource, ResourceUri};
use grantwell::core::scope::Scope;
use grantwell::core::time::UnixSeconds;
use grantwell::system::{SystemClock, SystemRandom};

use crate::access_token::{AccessTokenArguments, text_or};
use crate::failure::Failure;
use crate::key;
use crate::output::{self, JsonOutputArguments, OutputArguments};
use crate::quota::QuotaArguments;
use crate::realm::{GrantTypeValue, grant_type, grant_types, grant_types_text, scope, token_lifetime, union};
use crate::store::{IfAbsent, Place, Store, realm_option};
use crate::valid_after::ValidAfterArguments;

/// `grantwell client …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell client create --id myClient --scope write --default-scope write")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Registers a client and prints its secret, which is shown this once
    ///
    /// Prints one JSON object with the members of RFC 7591, the secret among them. Keep it: afterwards only its digest is
    /// known (with --store aws, it stays in Secrets Manager). A running server knows the client within a minute.
    ///
    /// A resource server that may introspect every token of its realm has the scope am-introspect-all-tokens.
    #[command(after_help = "Examples:
  grantwell client create --id myClient --name 'My client' --owner alice@example.com \\
      --scope write --default-scope write --redirect-uri https://www.example.com:443/callback
  grantwell client create --id reports --scope read --access-token-format jwt --resource https://api.example.com/reports")]
    Create(Box<Create>),
    /// Lists the realm's clients in the order of their ids
    #[command(after_help = "Example:
  grantwell client list --output json --max-items 100")]
    List(List),
    /// Shows a client's registration; never its secret
    #[command(after_help = "Example:
  grantwell client show myClient")]
    Show(Show),
    /// Changes what is named of a client's registration
    ///
    /// What is not named stays as it is. A list replaces the list before it, and an empty value ('') removes what was
    /// set. A running server follows within a minute.
    #[command(
        override_usage = "grantwell client update [OPTIONS] <ID|--id <ID>> <WHAT TO CHANGE>...",
        after_help = "Examples:
  grantwell client update myClient --scope 'read write' --token-lifetime 900
  grantwell client update myClient --token-quota 1000/hour --token-quota-mode observe
  grantwell client update myClient --default-scope '' --revoke-tokens",
        group = ArgGroup::new("changes").required(true).multiple(true).args([
            "name", "owner", "scope", "default_scope", "redirect_uri", "grant_type", "token_lifetime", "auth_method",
            "secret_lifetime", "secret_rotation_days", "access_token_format", "access_token_persistence", "signing_alg", "resource", "claims",
            "token_quota", "token_quota_mode", "inherit_token_lifetime", "revoke_tokens", "tokens_valid_after",
        ])
    )]
    Update(Box<Update>),
    /// Gives a client a new secret; the one before it stays valid until the next rotation
    ///
    /// Prints one JSON object with the new secret, which is shown this once. The old one works beside it, so that the
    /// client can change over without an interruption. When it has, end the old one with --revoke-previous, which makes
    /// no new secret.
    #[command(after_help = "Examples:
  grantwell client rotate-secret myClient
  grantwell client rotate-secret myClient --revoke-previous")]
    RotateSecret(RotateSecret),
    /// Stops a client: it fails to authenticate, and its tokens are inactive
    #[command(after_help = "Example:
  grantwell client disable myClient")]
    Disable(Show),
    /// Lets a disabled client work again, with the tokens it still has
    #[command(after_help = "Example:
  grantwell client enable myClient")]
    Enable(Show),
    /// Removes a client and its secrets at once, without asking; its tokens become inactive
    #[command(after_help = "Example:
  grantwell client delete myClient")]
    Delete(Show),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The client's id: 1 to 128 of A-Z a-z 0-9 . _ @ - [default: 128 random bits]
    #[arg(long, value_name = "ID")]
    id: Option<ClientId>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    secret: SecretArguments,
    #[command(flatten)]
    output: JsonOutputArguments,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Clients fetched from the store at a time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    page_size: u32,
    /// Goes on where an earlier list with --max-items stopped
    #[arg(long, value_name = "TOKEN")]
    starting_token: Option<ClientId>,
    /// Stops after so many clients and prints how to go on [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_items: Option<u32>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Update {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    settings: Settings,
    /// Takes the token lifetime back: the realm's applies again
    #[arg(long, conflicts_with = "token_lifetime")]
    inherit_token_lifetime: bool,
    #[command(flatten)]
    valid_after: ValidAfterArguments,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct RotateSecret {
    #[command(flatten)]
    client: WhichClient,
    #[command(flatten)]
    secret: SecretArguments,
    /// Seconds from now until the secrets stop working; 0 for never [default: the time set before]
    #[arg(long, value_name = "SECONDS", value_parser = secret_lifetime())]
    secret_lifetime: Option<u64>,
    /// Makes no new secret: ends the validity of the one before the current
    #[arg(long, conflicts_with_all = ["secret_stdin", "allow_weak_secret", "secret_lifetime"])]
    revoke_previous: bool,
    #[command(flatten)]
    output: JsonOutputArguments,
}

/// The client that a command is about, by position or by `--id`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct WhichClient {
    /// The client's id
    #[arg(value_name = "ID")]
    positional_id: Option<ClientId>,
    /// The client's id, said with its name
    #[arg(long, value_name = "ID")]
    id: Option<ClientId>,
}

/// What an operator decides about a client. An empty value removes what was set.
#[derive(Debug, clap::Args)]
struct Settings {
    /// Human-readable name
    #[arg(long)]
    name: Option<String>,
    /// A person responsible for the client. Repeatable
    #[arg(long)]
    owner: Vec<String>,
    /// What the client can be granted. Repeatable, or separated by spaces
    #[arg(long, value_parser = scope)]
    scope: Vec<Scope>,
    /// What it is granted where a request names no scope. Repeatable, or separated by spaces
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    default_scope: Vec<Scope>,
    /// A sign-in URL. Repeatable
    #[arg(long, value_name = "URL", value_parser = redirect_uri)]
    redirect_uri: Vec<RedirectUriValue>,
    /// A grant type the client may use, or none. Repeatable [new clients: `client_credentials`]
    #[arg(long, value_parser = grant_type)]
    grant_type: Vec<GrantTypeValue>,
    /// Seconds the client's access tokens live [new clients: as the realm says]
    #[arg(long, value_name = "SECONDS", value_parser = token_lifetime)]
    token_lifetime: Option<TokenLifetime>,
    /// How the client may authenticate. Repeatable [new clients: `client_secret_basic`]
    #[arg(long, value_name = "METHOD", value_parser = auth_method())]
    auth_method: Vec<AuthMethod>,
    /// Seconds from now until the client's secrets stop working; 0 for never [new clients: 0]
    #[arg(long, value_name = "SECONDS", value_parser = secret_lifetime())]
    secret_lifetime: Option<u64>,
    /// Days after which a deployed stack replaces the client's secret by itself; 0 for never [new clients: 0]
    ///
    /// The application must read its secret from Secrets Manager, before each use or after a 401. One that was handed its secret
    /// once is locked out at the second rotation.
    #[arg(long, value_name = "DAYS", value_parser = secret_rotation_days)]
    secret_rotation_days: Option<SecretRotationValue>,
    #[command(flatten)]
    access_token: AccessTokenArguments,
    #[command(flatten)]
    quota: QuotaArguments,
    /// A resource server the client may ask for tokens for (RFC 8707); the first is the default. Repeatable
    #[arg(long, value_name = "URI", value_parser = resource)]
    resource: Vec<ResourceValue>,
    /// Claims that every token of the client has besides: one JSON object, such as '{"tier":"gold"}'
    #[arg(long, value_name = "JSON")]
    claims: Option<CustomClaims>,
}

/// Where a secret comes from. Never from an argument: those are in the process list and the shell's history.
#[derive(Debug, clap::Args)]
struct SecretArguments {
    /// Takes the secret from the first line of standard input instead of generating one
    #[arg(long)]
    secret_stdin: bool,
    /// Accepts a secret of fewer than 16 characters
    #[arg(long, requires = "secret_stdin")]
    allow_weak_secret: bool,
}

/// A value of `--redirect-uri`; an empty one is `None`.
#[derive(Clone, Debug)]
struct RedirectUriValue(Option<RedirectUri>);

/// A value of `--secret-rotation-days`; an empty one and 0 are `None`.
#[derive(Clone, Copy, Debug)]
struct SecretRotationValue(Option<SecretRotationDays>);

/// A value of `--resource`; an empty one is `None`.
#[derive(Clone, Debug)]
struct ResourceValue(Option<ResourceUri>);

/// A client as it is shown, under the names of RFC 7591. `null` is what the client leaves to its realm, or does without.
#[derive(Serialize)]
pub(crate) struct ClientView<'a> {
    client_id: &'a ClientId,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    client_secret_expires_at: UnixSeconds,
    client_secret_rotation_days: Option<SecretRotationDays>,
    client_name: Option<&'a str>,
    contacts: &'a [String],
    scope: &'a Scope,
    default_scope: Option<&'a Scope>,
    grant_types: Vec<&'a GrantType>,
    token_endpoint_auth_method: Option<AuthMethod>,
    /// RFC 7591 knows one method a client; this server allows several.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint_auth_methods: Option<Vec<AuthMethod>>,
    redirect_uris: &'a [RedirectUri],
    access_token_lifetime: Option<TokenLifetime>,
    access_token_format: Option<AccessTokenFormat>,
    access_token_persistence: Option<AccessTokenPersistence>,
    access_token_signing_alg: Option<SigningAlgorithm>,
    token_quota: Option<QuotaSetting>,
    token_quota_mode: Option<QuotaMode>,
    resources: &'a [ResourceUri],
    access_token_claims: &'a Map<String, Value>,
    realm: &'a RealmName,
    status: ClientStatus,
    client_id_issued_at: UnixSeconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_valid_after: Option<UnixSeconds>,
}

#[derive(Serialize)]
struct ClientList<'a> {
    clients: Vec<ClientView<'a>>,
    next_page_token: Option<ClientId>,
}

#[derive(Serialize)]
struct RotatedSecret<'a> {
    client_id: &'a ClientId,
    client_secret: &'a str,
    client_secret_expires_at: UnixSeconds,
    realm: &'a RealmName,
    previous_secret_valid: bool,
}

#[derive(Serialize)]
struct PreviousSecretEnded<'a> {
    client_id: &'a ClientId,
    realm: &'a RealmName,
    previous_secret_valid: bool,
}

#[derive(Serialize)]
struct Removal<'a> {
    client_id: &'a ClientId,
    realm: &'a RealmName,
    deleted: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command, place } = arguments;
    match command {
        Command::Create(create) => create.run(&place).await,
        Command::List(list) => list.run(&place).await,
        Command::Show(show) => show.run(&place).await,
        Command::Update(update) => update.run(&place).await,
        Command::RotateSecret(rotate) => rotate.run(&place).await,
        Command::Disable(which) => which.set_status(&place, ClientStatus::Disabled).await,
        Command::Enable(which) => which.set_status(&place, ClientStatus::Active).await,
        Command::Delete(which) => which.delete(&place).await,
    }
}

impl Create {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let now = SystemClock.now();
        let mut metadata = ClientMetadata::new();
        let names_signing_alg = self.settings.access_token.name_signing_alg();
        let names_rotation = self.settings.names_secret_rotation();
        self.settings.apply(&mut metadata, now)?;
        let secret = self.secret.obtain()?;
        let client_id = self.id.map_or_else(|| ClientId::generate(&SystemRandom), Ok)?;

        let store = place.store.open(IfAbsent::Create).await?;
        let realm = store.realm(&place.realm).await?;
        let client = Client::register(client_id, &realm, metadata, RegistrationId::generate(&SystemRandom)?, now)?;
        store
            .registrar()
            .register(&client, Some(&secret))
            .await
            .map_err(|error| place.failure(error, &client.client_id))?;

        // Before anything else can fail: nobody else has the secret.
        output::json(&ClientView::created(&client, &secret))
            .map_err(|failure| secret_not_delivered(failure, &client))?;
        if names_rotation {
            place.warn_of_no_schedule(&client);
        }
        if names_signing_alg {
            key::publish_in_advance(&store, &realm, Some(&client)).await?;
        }
        Ok(())
    }
}

impl List {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let (mut clients, mut next) = (Vec::new(), self.starting_token);
        loop {
            let room = self.max_items.map_or(usize::MAX, |most| (most as usize).saturating_sub(clients.len()));
            let limit = room.min(self.page_size as usize);
            if limit == 0 {
                break;
            }
            let page = store.registrar().list(&place.realm, next.as_ref(), limit).await.map_err(list_failure)?;
            clients.extend(page.clients);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        let list = ClientList { clients: clients.iter().map(ClientView::of).collect(), next_page_token: next };
        self.output.print(&list, |list| list.table(&place.realm))
    }
}

impl Show {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let client = place.read(&place.open_existing().await?, self.client.id()?).await?;
        self.print(&client)
    }

    /// Asks the realm for nothing: a client must be stoppable even where the realm no longer allows what it has.
    async fn set_status(self, place: &Place, status: ClientStatus) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let before = place.read(&store, self.client.id()?).await?;
        let client = Client { status, ..before.clone() };
        self.print(&place.replace(&store, &before, client).await?)
    }

    async fn delete(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let client_id = self.client.id()?;
        store.registrar().delete(&place.realm, client_id).await.map_err(|error| place.failure(error, client_id))?;
        let removal = Removal { client_id, realm: &place.realm, deleted: true };
        self.output.print(&removal, |removal| {
            format!("deleted client {} of realm {} and its secrets", removal.client_id, removal.realm)
        })
    }

    fn print(&self, client: &Client) -> Result<(), Failure> {
        self.output.print(&ClientView::of(client), ClientView::table)
    }
}

impl Update {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let before = place.read(&store, self.client.id()?).await?;
        let mut client = before.clone();
        let names_signing_alg = self.settings.access_token.name_signing_alg();
        let names_rotation = self.settings.names_secret_rotation();
        self.settings.apply(&mut client.metadata, SystemClock.now())?;
        if self.inherit_token_lifetime {
            client.metadata.access_token_lifetime = None;
        }
        // Only a changed registration answers to the rules: revoking tokens must work though the realm has meanwhile
        // withdrawn a scope.
        if client.metadata != before.metadata {
            client.metadata.check(&store.realm(&place.realm).await?)?;
        }
        client.keep_longer_tokens_of(&before, SystemClock.now());
        let (whose, change) = (format!("client '{}'", client.client_id), format!("update {}", client.client_id));
        client.tokens_valid_after =
            self.valid_after.apply(client.tokens_valid_after, &whose, &command(&change, &place.realm))?;
        let client = place.replace(&store, &before, client).await?;
        if names_rotation {
            place.warn_of_no_schedule(&client);
        }
        if names_signing_alg {
            key::publish_in_advance(&store, &store.realm(&place.realm).await?, Some(&client)).await?;
        }
        self.valid_after.wait_until_over(client.tokens_valid_after).await;
        self.output.print(&ClientView::of(&client), ClientView::table)
    }
}

impl RotateSecret {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        if self.revoke_previous { self.revoke_previous(place).await } else { self.rotate(place).await }
    }

    async fn rotate(self, place: &Place) -> Result<(), Failure> {
        let client_id = self.client.id()?;
        let secret = self.secret.obtain()?;
        let store = place.open_existing().await?;
        let before = place.read(&store, client_id).await?;
        let now = SystemClock.now();
        let had_expired = before.secret_has_expired(now);
        match self.secret_lifetime {
            None if had_expired => {
                return Err(Failure::new(format!(
                    "the secrets of client '{client_id}' expired at {}, and a new one would not work either; give it a \
                     lifetime with --secret-lifetime SECONDS (0 for never)",
                    output::utc(before.metadata.client_secret_expires_at)
                )));
            }
            None if before.metadata.client_secret_expires_at != UnixSeconds(0) => output::warn(&format!(
                "the new secret stops working at {}, as the one before it; --secret-lifetime SECONDS changes that",
                output::utc(before.metadata.client_secret_expires_at)
            )),
            None | Some(_) => {}
        }

        let failed = |error| place.failure(error, client_id);
        store.registrar().rotate_secret(&place.realm, client_id, &secret).await.map_err(failed)?;
        let (client, trouble) = match self.extend(place, &store, &before, had_expired, now).await {
            Ok(client) => (client, None),
            Err(failure) => (before, Some(failure)),
        };
        let answer = RotatedSecret {
            client_id,
            client_secret: secret.expose_client_secret(),
            client_secret_expires_at: client.metadata.client_secret_expires_at,
            realm: &place.realm,
            previous_secret_valid: !had_expired,
        };
        // The secret is current whatever came after it, so it is shown in every case.
        output::json(&answer).map_err(|failure| secret_not_delivered(failure, &client))?;
        trouble.map_or(Ok(()), |failure| match failure {
            Failure::Sentence(sentence) => Err(Failure::new(format!(
                "the secret printed is current, but its lifetime could not be set: {sentence}; then set it with: {}",
                command(&format!("update {client_id} --secret-lifetime SECONDS"), &place.realm)
            ))),
            closed @ Failure::OutputClosed => Err(closed),
        })
    }

    /// Gives the secrets the lifetime asked for. One that had expired is ended first: whoever found it must not see it
    /// come back to life with the new one.
    async fn extend(
        &self,
        place: &Place,
        store: &Store,
        before: &Client,
        had_expired: bool,
        now: UnixSeconds,
    ) -> Result<Client, Failure> {
        if had_expired {
            let ended = store.registrar().revoke_previous_secret(&place.realm, &before.client_id).await;
            ended.map_err(|error| place.failure(error, &before.client_id))?;
        }
        let mut client = before.clone();
        if let Some(seconds) = self.secret_lifetime {
            client.metadata.client_secret_expires_at = expires_at(seconds, now);
        }
        place.replace(store, before, client).await
    }

    async fn revoke_previous(self, place: &Place) -> Result<(), Failure> {
        let client_id = self.client.id()?;
        let store = place.open_existing().await?;
        let ended = store.registrar().revoke_previous_secret(&place.realm, client_id).await;
        ended.map_err(|error| place.failure(error, client_id))?;
        output::note(&format!(
            "NO NEW SECRET WAS MADE: the current secret of client '{client_id}' stays as it is, the one before it no longer \
             works (a local server follows within seconds, a deployed stack within 5 minutes)"
        ));
        output::json(&PreviousSecretEnded { client_id, realm: &place.realm, previous_secret_valid: false })
    }
}

impl Place {
    async fn read(&self, store: &Store, client_id: &ClientId) -> Result<Client, Failure> {
        store.registrar().read(&self.realm, client_id).await.map_err(|error| self.failure(error, client_id))
    }

    /// Writes `client` over `before`, unless somebody else did meanwhile. Writes nothing where nothing changed.
    async fn replace(&self, store: &Store, before: &Client, client: Client) -> Result<Client, Failure> {
        if client == *before {
            return Ok(client);
        }
        let client = Client { revision: before.revision.saturating_add(1), ..client };
        store.registrar().replace(&client).await.map_err(|error| self.failure(error, &client.client_id))?;
        Ok(client)
    }

    /// A rotation that nobody carries out is no mistake, but nothing to rely on either.
    fn warn_of_no_schedule(&self, client: &Client) {
        if !self.store.is_deployed() {
            output::warn(&format!(
                "only a deployed stack rotates secrets by schedule; the days are recorded, and the secret stays until you run: {}",
                command(&format!("rotate-secret {}", client.client_id), &self.realm)
            ));
        }
    }

    fn failure(&self, error: RegistrarError, client_id: &ClientId) -> Failure {
        let realm = &self.realm;
        Failure::new(match error {
            RegistrarError::AlreadyExists => format!(
                "realm '{realm}' has a client '{client_id}' already, which stays as it is; change that with `{}`, or choose \
                 another --id",
                command(&format!("update {client_id}"), realm)
            ),
            RegistrarError::NotFound => format!(
                "realm '{realm}' has no client '{client_id}'; see those it has with: {}",
                command("list", realm)
            ),
            RegistrarError::NoSecret => format!(
                "client '{client_id}' has no secret: none of its authentication methods uses one; see them with: {}",
                command(&format!("show {client_id}"), realm)
            ),
            RegistrarError::Conflict => format!(
                "client '{client_id}' was changed by somebody else meanwhile, and nothing was written; look at it with `{}` \
                 and repeat the command",
                command(&format!("show {client_id}"), realm)
            ),
            RegistrarError::Port(error) => return error.into(),
        })
    }
}

impl WhichClient {
    fn id(&self) -> Result<&ClientId, Failure> {
        // clap has made sure that one of the two is there.
        self.positional_id.as_ref().or(self.id.as_ref()).ok_or_else(|| Failure::new("name the client: --id ID"))
    }
}

impl Settings {
    fn names_secret_rotation(&self) -> bool {
        self.secret_rotation_days.is_some_and(|value| value.0.is_some())
    }

    fn apply(self, metadata: &mut ClientMetadata, now: UnixSeconds) -> Result<(), Failure> {
        if let Some(name) = self.name {
            metadata.client_name = Some(name).filter(|name| !name.is_empty());
        }
        if !self.owner.is_empty() {
            metadata.contacts = if self.owner == [""] { Vec::new() } else { self.owner };
        }
        if let Some(scope) = union(&self.scope) {
            metadata.scope = scope;
        }
        if let Some(scope) = union(&self.default_scope) {
            metadata.default_scope = Some(scope).filter(|scope| !scope.is_empty());
        }
        if !self.redirect_uri.is_empty() {
            metadata.redirect_uris = self.redirect_uri.into_iter().filter_map(|value| value.0).collect();
        }
        if !self.grant_type.is_empty() {
            metadata.grant_types = grant_types(&self.grant_type)?;
        }
        if self.token_lifetime.is_some() {
            metadata.access_token_lifetime = self.token_lifetime;
        }
        if !self.auth_method.is_empty() {
            metadata.token_endpoint_auth_methods = self.auth_method.into_iter().collect();
        }
        if let Some(seconds) = self.secret_lifetime {
            metadata.client_secret_expires_at = expires_at(seconds, now);
        }
        if let Some(SecretRotationValue(days)) = self.secret_rotation_days {
            metadata.client_secret_rotation_days = days;
        }
        self.access_token.apply(
            &mut metadata.access_token_format,
            &mut metadata.access_token_persistence,
            &mut metadata.access_token_signing_alg,
        );
        self.quota.apply(&mut metadata.token_quota, &mut metadata.token_quota_mode);
        if !self.resource.is_empty() {
            metadata.resources = self.resource.into_iter().filter_map(|value| value.0).collect();
        }
        if let Some(claims) = self.claims {
            metadata.access_token_claims = claims;
        }
        Ok(())
    }
}

impl SecretArguments {
    fn obtain(&self) -> Result<ClientSecret, Failure> {
        if !self.secret_stdin {
            return Ok(ClientSecret::generate(&SystemRandom)?);
        }
        let line = read_secret_line()?;
        let secret = std::str::from_utf8(&line).map_err(|_| WeakSecret::NotVschar)?;
        let secret = ClientSecret::given(secret, self.allow_weak_secret)?;
        if !secret.survives_form_encoding() {
            output::warn(
                "the secret has characters other than A-Z a-z 0-9 - _ . and works only with clients that form-encode it \
                 in HTTP Basic (RFC 6749 appendix B); a generated one works with all",
            );
        }
        Ok(secret)
    }
}

impl<'a> ClientView<'a> {
    /// A client just registered, with its secret: the one answer that has it.
    pub(crate) fn created(client: &'a Client, secret: &'a ClientSecret) -> Self {
        Self { client_secret: Some(secret.expose_client_secret()), tokens_valid_after: None, ..Self::of(client) }
    }

    fn of(client: &'a Client) -> Self {
        let metadata = &client.metadata;
        let methods: Vec<AuthMethod> = metadata.token_endpoint_auth_methods.iter().copied().collect();
        Self {
            client_id: &client.client_id,
            client_secret: None,
            client_secret_expires_at: metadata.client_secret_expires_at,
            client_secret_rotation_days: metadata.client_secret_rotation_days,
            client_name: metadata.client_name.as_deref(),
            contacts: &metadata.contacts,
            scope: &metadata.scope,
            default_scope: metadata.default_scope.as_ref(),
            grant_types: metadata.grant_types.iter().collect(),
            token_endpoint_auth_method: methods.first().copied(),
            token_endpoint_auth_methods: Some(methods).filter(|methods| methods.len() > 1),
            redirect_uris: &metadata.redirect_uris,
            access_token_lifetime: metadata.access_token_lifetime,
            access_token_format: metadata.access_token_format,
            access_token_persistence: metadata.access_token_persistence,
            access_token_signing_alg: metadata.access_token_signing_alg,
            token_quota: metadata.token_quota,
            token_quota_mode: metadata.token_quota_mode,
            resources: &metadata.resources,
            access_token_claims: metadata.access_token_claims.as_object(),
            realm: &client.realm,
            status: client.status,
            client_id_issued_at: client.client_id_issued_at,
            tokens_valid_after: Some(client.tokens_valid_after),
        }
    }

    fn table(&self) -> String {
        let methods = self.token_endpoint_auth_methods.clone();
        let methods = methods.unwrap_or_else(|| self.token_endpoint_auth_method.into_iter().collect());
        let expires_at = self.client_secret_expires_at;
        output::members([
            ("client_id", self.client_id.to_string()),
            ("realm", self.realm.to_string()),
            ("status", self.status.as_str().to_owned()),
            ("client_name", self.client_name.unwrap_or_default().to_owned()),
            ("contacts", self.contacts.join("\n")),
            ("scope", self.scope.to_string()),
            ("default_scope", self.default_scope.map_or_else(|| "the realm's".into(), Scope::to_string)),
            ("grant_types", grant_types_text(&self.grant_types.iter().copied().cloned().collect())),
            ("token_endpoint_auth_method", methods.into_iter().map(AuthMethod::as_str).collect::<Vec<_>>().join("\n")),
            ("redirect_uris", self.redirect_uris.iter().map(RedirectUri::as_str).collect::<Vec<_>>().join("\n")),
            ("access_token_lifetime", self.lifetime_text()),
            ("access_token_format", text_or(self.access_token_format.map(AccessTokenFormat::as_str), "the realm's")),
            (
                "access_token_persistence",
                text_or(self.access_token_persistence.map(AccessTokenPersistence::as_str), "the realm's"),
            ),
            ("access_token_signing_alg", text_or(self.access_token_signing_alg, "the realm's")),
            ("token_quota", text_or(self.token_quota, "the realm's")),
            ("token_quota_mode", text_or(self.token_quota_mode.map(QuotaMode::as_str), "the realm's")),
            ("resources", self.resources.iter().map(ResourceUri::as_str).collect::<Vec<_>>().join("\n")),
            ("access_token_claims", self.claims_text()),
            (
                "client_secret_expires_at",
                if expires_at == UnixSeconds(0) { "never".into() } else { output::utc(expires_at) },
            ),
            (
                "client_secret_rotation_days",
                self.client_secret_rotation_days
                    .map_or_else(|| "never".into(), |every| format!("{} days", every.days())),
            ),
            ("client_id_issued_at", output::utc(self.client_id_issued_at)),
            ("tokens_valid_after", self.tokens_valid_after.map(output::utc_or_not_set).unwrap_or_default()),
        ])
    }

    fn claims_text(&self) -> String {
        let claims = self.access_token_claims;
        claims.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
    }

    fn lifetime_text(&self) -> String {
        self.access_token_lifetime.map_or_else(|| "the realm's".into(), |lifetime| format!("{} s", lifetime.seconds()))
    }
}

impl ClientList<'_> {
    fn table(&self, realm: &RealmName) -> String {
        if self.clients.is_empty() {
            return format!("realm {realm} has no clients here; register one with: {}", command("create", realm));
        }
        let row = |client: &ClientView<'_>| {
            vec![
                client.client_id.to_string(),
                client.client_name.unwrap_or_default().to_owned(),
                client.status.as_str().to_owned(),
                client.scope.to_string(),
                client.lifetime_text(),
            ]
        };
        let rows: Vec<_> = self.clients.iter().map(row).collect();
        // A generated id has 22 characters.
        let table = output::table(&["client_id", "name", "status", "scope", "lifetime"], 22, &rows);
        match &self.next_page_token {
            Some(token) => format!("{table}\nThere are more; go on with: --starting-token {token}"),
            None => table,
        }
    }
}

/// The first line of standard input without its end. Reads from the descriptor itself, because the buffer of
/// [`io::stdin`] is wiped by nobody.
fn read_secret_line() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("the secret could not be read from standard input: {error}"));
    if io::stdin().is_terminal() {
        output::note("type the secret and press Enter; it is visible while you type");
    }
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let mut line = Zeroizing::new(Vec::with_capacity(ClientSecret::MAX_LENGTH + 2));
    let mut byte = Zeroizing::new([0]);
    // Longer than any secret is as far as reading goes: what is too long is refused below whatever comes after it.
    while line.len() <= ClientSecret::MAX_LENGTH + 1 {
        match stdin.read(&mut *byte) {
            Ok(0) => break,
            Ok(_) if *byte == [b'\n'] => {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                break;
            }
            Ok(_) => line.extend_from_slice(&*byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(line)
}

/// The registration is stored and nobody has its secret.
fn secret_not_delivered(failure: Failure, client: &Client) -> Failure {
    let reason = match failure {
        Failure::Sentence(sentence) => sentence,
        Failure::OutputClosed => "standard output was closed".into(),
    };
    let id = &client.client_id;
    Failure::new(format!(
        "client '{id}' has its secret, but you do not: {reason}; make a new one with: {}",
        command(&format!("rotate-secret {id}"), &client.realm)
    ))
}

/// A command to suggest, which names the realm where the default is another.
fn command(rest: &str, realm: &RealmName) -> String {
    format!("grantwell client {rest}{}", realm_option(realm))
}

fn list_failure(error: RegistrarError) -> Failure {
    match error {
        RegistrarError::Port(error) => error.into(),
        other => Failure::new(other.to_string()),
    }
}

/// RFC 7591 §3.2.1: 0 is never.
fn expires_at(lifetime_seconds: u64, now: UnixSeconds) -> UnixSeconds {
    if lifetime_seconds == 0 { UnixSeconds(0) } else { now.plus(lifetime_seconds) }
}

fn redirect_uri(text: &str) -> Result<RedirectUriValue, InvalidRedirectUri> {
    if text.is_empty() { Ok(RedirectUriValue(None)) } else { text.parse().map(|uri| RedirectUriValue(Some(uri))) }
}

fn resource(text: &str) -> Result<ResourceValue, MalformedResource> {
    if text.is_empty() { Ok(ResourceValue(None)) } else { text.parse().map(|uri| ResourceValue(Some(uri))) }
}

fn secret_rotation_days(text: &str) -> Result<SecretRotationValue, InvalidSecretRotationDays> {
    if matches!(text, "" | "0") {
        return Ok(SecretRotationValue(None));
    }
    let days = text.parse().map_err(|_| InvalidSecretRotationDays)?;
    SecretRotationDays::new(days).map(|days| SecretRotationValue(Some(days)))
}

fn auth_method() -> impl clap::builder::TypedValueParser<Value = AuthMethod> {
    PossibleValuesParser::new(AuthMethod::ALL.map(AuthMethod::as_str)).try_map(|name| {
        AuthMethod::ALL.into_iter().find(|method| method.as_str() == name).ok_or(InvalidRegistration::NoAuthMethod)
    })
}

/// Up to a hundred years.
fn secret_lifetime() -> impl clap::builder::TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(0..=100 * 365 * 24 * 3600)
}
