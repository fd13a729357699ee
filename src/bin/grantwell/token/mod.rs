//! `grantwell token`: what a client does, for those who have no library at hand, or want to see whether a registration works.

pub(crate) mod assertion;
mod aws;
mod credential;
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "only a build with AWS signs"))]
mod door;
mod github;
mod http;
mod identity_token;
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
use credential::{Credential, CredentialArguments};
use door::{Door, Service, base_path_of};
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
    /// The client proves who it is by a private key of its own, or by where it runs: an AWS role, a GitHub workflow, a Kubernetes service account, or what any other issuer says that the realm trusts. Then nothing has to be stored.
    #[command(after_help = "Examples:
  grantwell client create --id billing --scope write --auth-method private_key_jwt
  grantwell client key generate billing --out billing.jwk
  grantwell token get --client-id billing --key billing.jwk --scope write

  ISSUER=https://auth.example.com/am/oauth2/realms/root/realms/alpha
  grantwell token get --issuer $ISSUER --client-id orders --aws
  grantwell token get --realm alpha --client-id orders --aws --door https://ID.lambda-url.eu-west-1.on.aws
  grantwell token get --issuer $ISSUER --client-id deploy --github
  grantwell token get --issuer $ISSUER --client-id pod --kubernetes
  printf %s \"$ID_TOKEN\" | grantwell token get --issuer $ISSUER --client-id build --assertion -

The answer is JSON, with the token in access_token. An assertion by --key is good for a minute, once, and the key does not leave this machine. An identity token is for the issuer alone, and goes to no other server. PEM does not have the name of the key: where several keys of the client are of one type, give it with --kid.")]
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
    #[command(flatten)]
    credential: CredentialArguments,
    /// What the key signs with: ES256, ES384, PS256, EdDSA or RS256 [default: what the file says, or the type of key allows]
    #[arg(long, value_name = "ALG", conflicts_with_all = NOT_BY_KEY, help_heading = WITH_KEY)]
    alg: Option<JwsAlgorithm>,
    /// The name of the key in the client's registration [default: what the file says, or none]
    #[arg(long, value_name = "KID", conflicts_with_all = NOT_BY_KEY, help_heading = WITH_KEY)]
    kid: Option<String>,
    /// Where AWS verifies callers for the server, in place of STS: the URL of its IAM door, without the realm's path
    #[arg(long, value_name = "URL", conflicts_with_all = NOT_BY_ROLE, help_heading = WITH_ROLE)]
    door: Option<String>,
    /// The service that verifies the signature there [default: by the host, else execute-api]
    #[arg(long, value_enum, requires = "door", conflicts_with_all = NOT_BY_ROLE, help_heading = WITH_ROLE, hide_possible_values = true, value_name = "lambda|execute-api")]
    service: Option<Service>,
    /// The AWS region of the door, or of STS [default: by the door's host, else this process's own]
    #[arg(long, value_name = "REGION", conflicts_with_all = NOT_BY_ROLE, help_heading = WITH_ROLE)]
    region: Option<String>,
    /// The realm's issuer, as its metadata document says it [default: that of a server on this machine, by --realm]
    #[arg(long, value_name = "URL", conflicts_with = "realm")]
    issuer: Option<String>,
    /// The realm, at --door or on the server that `grantwell serve` starts at http://127.0.0.1:8080 [default: root; env: GRANTWELL_REALM]
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
    // 1. What proves who the client is, before anybody is asked.
    let (region, kid) = (arguments.region.clone(), arguments.kid.as_deref());
    let door = arguments.door.as_deref().map(|url| Door::parse(url, arguments.service, region.clone())).transpose()?;
    let credential = arguments.credential.read(arguments.alg, kid, region)?;

    // 2. Which realm, and what of it.
    let issuer = match &arguments.issuer {
        Some(issuer) => issuer.trim_end_matches('/').to_owned(),
        None => local_issuer(&store::realm_or_of_environment(arguments.realm.clone())?),
    };
    let scope = arguments.scope.as_ref().map(ToString::to_string);
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(scope.as_deref().map(|scope| ("scope", scope)));
    form.extend(arguments.resource.iter().map(|resource| ("resource", resource.as_str())));

    // 3. The token, of whom AWS has verified.
    let client_id = &arguments.client_id;
    if let (Some(door), Credential::Aws(aws)) = (&door, &credential) {
        form.push(("client_id", client_id.as_str()));
        let agent = http::agent(arguments.ca.as_deref())?;
        return output::json(&aws.token_at(door, &base_path_of(&issuer)?, &form, &agent)?);
    }

    // 4. The token, of whom the server verifies.
    let server = Server::discover(&issuer, arguments.ca.as_deref())?;
    let proof = credential.proof(client_id, &issuer)?;
    form.extend(proof.says_no_client_id.then_some(("client_id", client_id.as_str())));
    form.extend([("client_assertion_type", proof.assertion_type), ("client_assertion", proof.assertion.as_str())]);
    output::json(&server.token(&form, credential.refused())?)
}

/// Where `grantwell serve` listens if it is told nothing else.
fn local_issuer(realm: &RealmName) -> String {
    let path = if realm.is_root() { String::new() } else { format!("/realms/{realm}") };
    format!("http://127.0.0.1:8080/am/oauth2/realms/root{path}")
}

/// The ways that have no key to name. Clap does not insist on `requires` where what is required conflicts with something else that is given.
const NOT_BY_KEY: [&str; 4] = ["aws", "github", "kubernetes", "assertion"];
/// The ways that have nothing to do with AWS.
const NOT_BY_ROLE: [&str; 4] = ["key", "github", "kubernetes", "assertion"];
const WITH_KEY: &str = "With --key";
const WITH_ROLE: &str = "With --aws";
