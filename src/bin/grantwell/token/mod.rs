//! `grantwell token`: what a client does, for those who have no library at hand, or want to see whether a registration works.

pub(crate) mod assertion;
mod inspect;
mod key_file;
mod server;

use std::path::PathBuf;

use grantwell::core::client::id::ClientId;
use grantwell::core::keys::jws_algorithm::JwsAlgorithm;
use grantwell::core::realm::RealmName;
use grantwell::core::resource::ResourceUri;
use grantwell::core::scope::Scope;

use crate::failure::Failure;
use crate::output;
use crate::store;
use assertion::SignedWith;
use key_file::KeyFile;
use server::Server;

/// Gets access tokens as a client does
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Gets an access token from a server and prints its answer
    ///
    /// The client proves who it is by its private key (private_key_jwt): with an assertion that is good for a minute, once. The key does not leave this machine.
    #[command(after_help = "Examples:
  grantwell client create --id billing --scope write --auth-method private_key_jwt
  grantwell client key generate billing --out billing.jwk
  grantwell token get --client-id billing --key billing.jwk --scope write
  grantwell token get --issuer https://auth.example.com/am/oauth2/realms/root/realms/alpha \\
    --client-id billing --key billing.pem

The answer is JSON, with the token in access_token. PEM does not have the name of the key: where several keys of the client are of one type, give
it with --kid.")]
    Get(GetArguments),
    /// Shows what a JWT says, without sending it anywhere
    ///
    /// The token is read from a file or from standard input, never from the command line, which other users of the machine can see. Its
    /// signature is not verified: whether the token is active its server says (introspection).
    #[command(after_help = "Examples:
  grantwell token inspect token.txt
  grantwell token get --client-id billing --key billing.jwk > answer
  grantwell token inspect answer")]
    Inspect(inspect::InspectArguments),
}

#[derive(Debug, clap::Args)]
struct GetArguments {
    /// The client's id
    #[arg(long, value_name = "ID")]
    client_id: ClientId,
    /// The client's private key: a JWK, or PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the key signs with: ES256, ES384, PS256, EdDSA or RS256 [default: what the file says, or the type of key allows]
    #[arg(long, value_name = "ALG")]
    alg: Option<JwsAlgorithm>,
    /// The name of the key in the client's registration [default: what the file says, or none]
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    /// The realm's issuer, as its metadata document says it [default: that of a server on this machine, by --realm]
    #[arg(long, value_name = "URL", conflicts_with = "realm")]
    issuer: Option<String>,
    /// The realm, on the server that `grantwell serve` starts at http://127.0.0.1:8080 [default: root; env: GRANTWELL_REALM]
    #[arg(long, value_name = "NAME")]
    realm: Option<RealmName>,
    /// The scopes to ask for, separated by spaces [default: the client's default scopes]
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,
    /// The protected resource that the token is for; may be repeated [default: the client's first]
    #[arg(long, value_name = "URI")]
    resource: Vec<ResourceUri>,
    /// A file with the certificates (PEM) of those who may vouch for the server [default: whom this system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Runs one command.
///
/// # Errors
/// A [`Failure`] that says what to do.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let arguments = match arguments.command {
        Command::Get(arguments) => arguments,
        Command::Inspect(arguments) => return inspect::run(arguments).await,
    };
    // The client in it is a blocking one.
    tokio::task::spawn_blocking(move || get(&arguments))
        .await
        .unwrap_or_else(|_panic| Err(Failure::new("the request ended early")))
}

fn get(arguments: &GetArguments) -> Result<(), Failure> {
    // 1. The key, before anybody is asked.
    let key = KeyFile::read(&arguments.key, arguments.alg)?;

    // 2. Where the token endpoint is, and the audience of the assertion.
    let issuer = match &arguments.issuer {
        Some(issuer) => issuer.trim_end_matches('/').to_owned(),
        None => local_issuer(&store::realm_or_of_environment(arguments.realm.clone())?),
    };
    let server = Server::discover(&issuer, arguments.ca.as_deref())?;

    // 3. The token.
    let kid = arguments.kid.as_deref().or(key.kid.as_deref());
    let signed_with = SignedWith { alg: key.alg.as_str(), kid };
    let assertion = assertion::sign(&signed_with, |message| key.sign(message), &arguments.client_id, &issuer)?;
    let scope = arguments.scope.as_ref().map(ToString::to_string);
    let resources = arguments.resource.iter().map(|resource| ("resource", resource.as_str()));
    let form: Vec<(&str, &str)> = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", assertion::TYPE),
        ("client_assertion", assertion.as_str()),
    ]
    .into_iter()
    .chain(scope.as_deref().map(|scope| ("scope", scope)))
    .chain(resources)
    .collect();
    output::json(&server.token(&form)?)
}

/// Where `grantwell serve` listens if it is told nothing else.
fn local_issuer(realm: &RealmName) -> String {
    let path = if realm.is_root() { String::new() } else { format!("/realms/{realm}") };
    format!("http://127.0.0.1:8080/am/oauth2/realms/root{path}")
}
