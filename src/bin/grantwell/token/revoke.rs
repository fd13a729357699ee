//! `grantwell token revoke`: the end of a token (RFC 7009).

use serde::Serialize;
use ureq::http::StatusCode;

use grantwell::core::client::id::ClientId;

use super::caller::{CallerArguments, waiting};
use super::presented::TokenArguments;
use super::server::Endpoint;
use crate::failure::Failure;
use crate::output::{self, OutputArguments};

/// `grantwell token revoke`
#[derive(Debug, clap::Args)]
pub(super) struct RevokeArguments {
    #[command(flatten)]
    token: TokenArguments,
    #[command(flatten)]
    caller: CallerArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// What is known after the server has answered.
#[derive(Serialize)]
struct Revoked {
    client_id: ClientId,
    issuer: String,
    /// The protocol does not tell the two (RFC 7009 §2.2).
    outcome: &'static str,
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`] that says what to do, and nothing of the token.
pub(super) async fn run(arguments: RevokeArguments) -> Result<(), Failure> {
    let RevokeArguments { token, caller, output } = arguments;
    caller.check_beside(&token)?;
    let token = token.read().await?;
    let is_jwt = token.unverified_jwt().is_ok();
    let revoked = waiting(move || {
        caller.post(Endpoint::Revocation, &[("token", token.expose())], &[token.expose()], advice)?;
        let issuer = caller.issuer()?;
        Ok(Revoked { client_id: caller.client_id, issuer, outcome: "revoked_or_unknown" })
    })
    .await?;
    output.print(&revoked, |_revoked| DONE.to_owned())?;
    if is_jwt {
        output::note(
            "the token is a JWT: a resource server that verifies JWTs itself, and does not ask the server, takes it until it expires",
        );
    }
    Ok(())
}

fn advice(status: StatusCode) -> Option<&'static str> {
    (status == StatusCode::BAD_REQUEST).then_some(NOT_REVOKED)
}

const DONE: &str = "The server answers that this token is not, or no longer, active there. It
answers the same for a token that it does not know, such as another realm's.";
const NOT_REVOKED: &str = "the token was not ended here. Only the client that it was issued to ends it so; an operator ends all tokens of a client by `grantwell client update ID --revoke-tokens`";
