//! `grantwell token`: what a client does, for those who have no library at hand, or want to see whether a registration works.

pub(crate) mod assertion;
mod aws;
mod caller;
mod claims;
mod credential;
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "only a build with AWS signs"))]
mod door;
mod github;
mod http;
mod identity_token;
mod inspect;
mod introspect;
mod key_file;
mod presented;
mod proof;
mod revoke;
mod secret_file;
mod server;

use grantwell::core::resource::ResourceUri;
use grantwell::core::scope::Scope;

use crate::failure::Failure;
use crate::output;
use caller::{CallerArguments, waiting};
use server::Endpoint;

/// Gets access tokens as a client does, and asks what becomes of them
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Gets an access token from a server and prints its answer
    ///
    /// The client proves who it is by a private key of its own, by a secret, or by where it runs: an AWS role, a GitHub workflow, a
    /// Kubernetes service account, or what any other issuer says that the realm trusts. In the last cases nothing has to be stored.
    #[command(
        override_usage = "grantwell token get --client-id <ID> <PROOF> [OPTIONS]",
        after_help = "Examples:
  grantwell client create --id billing --scope write \\
      --auth-method private_key_jwt
  grantwell client key generate billing --out billing.jwk
  grantwell token get --client-id billing --key billing.jwk --scope write

  ISSUER=https://auth.example.com/am/oauth2/realms/root/realms/alpha
  grantwell token get --issuer $ISSUER --client-id orders --aws
  grantwell token get --realm alpha --client-id orders --aws \\
      --door https://ID.lambda-url.eu-west-1.on.aws
  grantwell token get --issuer $ISSUER --client-id deploy --github
  grantwell token get --issuer $ISSUER --client-id pod --kubernetes
  printf %s \"$ID_TOKEN\" | grantwell token get --issuer $ISSUER \\
      --client-id build --assertion -

The answer is JSON, with the token in access_token. An assertion by --key is good for a minute, once, and the key does not leave this machine. An identity token is for the issuer alone, and goes to no other server. PEM does not have the name of the key: where several keys of the client are of one type, give it with --kid."
    )]
    Get(GetArguments),
    /// Shows what a JWT says, without sending it anywhere
    ///
    /// The token is read from a file or from standard input, never from the command line, which other users of the machine can see. Its
    /// signature is not verified, and only its server knows whether the token is active (`grantwell token introspect`).
    #[command(after_help = "Examples:
  grantwell token inspect token.txt
  grantwell token get --client-id billing --key billing.jwk > answer
  grantwell token inspect answer")]
    Inspect(inspect::InspectArguments),
    /// Asks a server whether a token is active, and what it stands for (RFC 7662)
    ///
    /// The token is read from a file or from standard input, never from the command line, which other users of the machine can see. It may
    /// be of any form, and the answer of `token get` is taken, too. A client may ask for its own tokens, and a resource server, which is a
    /// client with the scope am-introspect-all-tokens, for those of its realm.
    ///
    /// The exit status is 0 where the token is active, 3 where the server says that it is not, and 1 where there is no such answer.
    #[command(
        override_usage = "grantwell token introspect [FILE] --client-id <ID> <PROOF> [OPTIONS]",
        after_help = "Examples:
  grantwell token get --client-id billing --key billing.jwk > answer
  grantwell token introspect answer --client-id billing --key billing.jwk

  ISSUER=https://auth.example.com/am/oauth2/realms/root/realms/alpha
  grantwell token introspect token.txt --issuer $ISSUER \\
      --client-id support --secret-file support.secret"
    )]
    Introspect(introspect::IntrospectArguments),
    /// Has a server end a token of the client (RFC 7009)
    ///
    /// The token is read from a file or from standard input, never from the command line, which other users of the machine can see. Only
    /// the client that a token was issued to can end it so. A server answers the same for a token that it does not know, so the answer is
    /// not a proof that there was one.
    ///
    /// An operator ends all tokens of a client, whosever they are, by `grantwell client update ID --revoke-tokens`.
    #[command(
        override_usage = "grantwell token revoke [FILE] --client-id <ID> <PROOF> [OPTIONS]",
        after_help = "Example:
  grantwell token get --client-id billing --key billing.jwk > answer
  grantwell token revoke answer --client-id billing --key billing.jwk"
    )]
    Revoke(revoke::RevokeArguments),
}

#[derive(Debug, clap::Args)]
struct GetArguments {
    #[command(flatten)]
    caller: CallerArguments,
    /// The scopes to ask for, separated by spaces [default: the client's default scopes]
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Scope>,
    /// The protected resource that the token is for; may be repeated [default: the client's first]
    #[arg(long, value_name = "URI")]
    resource: Vec<ResourceUri>,
}

/// Runs one command.
///
/// # Errors
/// A [`Failure`] that says what to do.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Get(arguments) => waiting(move || get(&arguments)).await,
        Command::Inspect(arguments) => inspect::run(arguments).await,
        Command::Introspect(arguments) => introspect::run(arguments).await,
        Command::Revoke(arguments) => revoke::run(arguments).await,
    }
}

fn get(arguments: &GetArguments) -> Result<(), Failure> {
    let scope = arguments.scope.as_ref().map(ToString::to_string);
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(scope.as_deref().map(|scope| ("scope", scope)));
    form.extend(arguments.resource.iter().map(|resource| ("resource", resource.as_str())));
    let answer = arguments.caller.post(Endpoint::Token, &form, &[], |_status| None)?;
    output::json(&http::object(&answer.url, &answer.body)?)
}
