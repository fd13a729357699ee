//! `grantwell token inspect`: what a JWT says, read on this machine and sent nowhere.

use serde::Serialize;
use serde_json::{Map, Value};

use grantwell::core::ports::Clock as _;
use grantwell::system::SystemClock;

use super::claims;
use super::presented::{TokenArguments, UnverifiedJwt};
use crate::failure::Failure;
use crate::output::{self, OutputArguments};

/// `grantwell token inspect`
#[derive(Debug, clap::Args)]
pub(super) struct InspectArguments {
    #[command(flatten)]
    token: TokenArguments,
    #[command(flatten)]
    output: OutputArguments,
}

/// What a token says.
#[derive(Serialize)]
struct Inspected {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// By this machine's clock; null where it does not say until when it lives.
    expired: Option<bool>,
    signature_verified: bool,
    sent_to: [&'static str; 0],
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`] that says what to do, and nothing of the token.
pub(super) async fn run(arguments: InspectArguments) -> Result<(), Failure> {
    let token = arguments.token.read().await?;
    let jwt = token.unverified_jwt().map_err(|why| Failure::new(why.to_string()))?;
    output::note(
        "the token was read on this machine and sent to nobody; its signature was not verified, so anybody may have written what it says",
    );
    arguments.output.print(&Inspected::of(jwt), Inspected::table)
}

impl Inspected {
    fn of(UnverifiedJwt { header, claims }: UnverifiedJwt) -> Self {
        let expired = claims.get("exp").and_then(claims::seconds_of).map(|expires_at| expires_at <= SystemClock.now());
        Self { header, claims, expired, signature_verified: false, sent_to: [] }
    }

    fn table(&self) -> String {
        let members = self.header.iter().chain(&self.claims);
        let mut rows: Vec<_> = members.map(|(name, value)| claims::row(name, value)).collect();
        let expired = match self.expired {
            Some(true) => "yes",
            Some(false) => "no",
            None => "it has no exp",
        };
        rows.push(vec!["expired".to_owned(), expired.to_owned()]);
        claims::table(&rows)
    }
}
