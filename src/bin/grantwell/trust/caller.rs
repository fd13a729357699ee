//! The caller that a command is about: a token of another issuer, or what AWS says of a role in the context of its request.

use std::fs::File;
use std::io::{self, Read as _};

use serde_json::Value;
use zeroize::Zeroizing;

use grantwell::core::client_auth::examination::{Check, ExaminedToken, Outcome};
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::ports::Clock as _;
use grantwell::core::realm::Realm;
use grantwell::core::trust::aws::AwsCaller;
use grantwell::core::trust::caller::{CallerFacts, CallerProblem};
use grantwell::core::trust::identity::Identity;
use grantwell::core::trust::issuer::IssuerKeys;
use grantwell::core::trust::key_address::KeyAddress;
use grantwell::remote::fetcher::Fetcher;
use grantwell::remote::keys::try_fetching;
use grantwell::system::SystemClock;

use crate::failure::Failure;

/// What is known of the caller.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct CallerArguments {
    /// The caller's token: a file that has the JWT and nothing else, or - for standard input
    #[arg(long, value_name = "FILE")]
    token: Option<String>,
    /// The event of a request through the IAM door, or its requestContext, as JSON in a file; - for standard input
    #[arg(long, value_name = "FILE")]
    context: Option<String>,
}

/// A caller, and what of it holds before any rule is looked at.
pub(super) struct KnownCaller {
    pub(super) facts: Facts,
    pub(super) checks: Vec<Check>,
    /// Why its signature was not checked, where it was not.
    pub(super) no_keys: Option<String>,
}

/// Who vouches for it.
pub(super) enum Facts {
    Token(Box<ExaminedToken>),
    Aws(AwsCaller),
}

impl CallerArguments {
    /// Reads the caller, and checks what a server checks. Keys are fetched where the realm says, and nowhere else.
    pub(super) async fn read(&self, realm: &Realm, audience: Option<&str>) -> Result<KnownCaller, Failure> {
        match (&self.token, &self.context) {
            (Some(path), _) => examine(path, realm, audience).await,
            (None, Some(path)) => {
                let caller = caller_of(&read_text(path, "context", MOST_OF_CONTEXT)?)?;
                Ok(KnownCaller { facts: Facts::Aws(caller), checks: Vec::new(), no_keys: None })
            }
            // clap has made sure that one of the two is there.
            (None, None) => Err(Failure::new("name the caller: --token FILE or --context FILE")),
        }
    }
}

impl Facts {
    pub(super) fn identity(&self) -> Identity<'_> {
        match self {
            Self::Token(token) => token.identity(),
            Self::Aws(caller) => Identity::AwsCaller(caller),
        }
    }
}

impl KnownCaller {
    /// Whether a server would refuse it, whatever the rules say.
    pub(super) fn is_refused(&self) -> bool {
        self.checks.iter().any(|check| check.outcome.is_refused())
    }
}

async fn examine(path: &str, realm: &Realm, audience: Option<&str>) -> Result<KnownCaller, Failure> {
    let now = SystemClock.now();
    let text = read_text(path, "token", ExaminedToken::MAX_BYTES)?;
    let token = ExaminedToken::read(text.trim(), realm, now).map_err(|error| Failure::new(error.to_string()))?;
    let (keys, no_keys) = match keys_of(&token).await {
        Ok(keys) => (Some(keys), None),
        Err(why) => (None, Some(why)),
    };
    let checks = token.checks(audience, keys.as_ref(), now);
    let no_keys =
        no_keys.filter(|_| checks.iter().any(|check| (check.of, check.outcome) == ("signature", Outcome::NotChecked)));
    Ok(KnownCaller { facts: Facts::Token(Box::new(token)), checks, no_keys })
}

async fn keys_of(token: &ExaminedToken) -> Result<JwkSet, String> {
    if !token.may_be_verified() {
        return Err("the realm does not trust the issuer, so nobody looks for its keys".to_owned());
    }
    let issuer = token.issuer();
    if let IssuerKeys::Jwks(keys) = &issuer.keys {
        return Ok(keys.clone());
    }
    let address = KeyAddress::of_issuer(issuer).ok_or_else(|| "the issuer has no keys".to_owned())?;
    let fetched = try_fetching(&Fetcher::default(), address, SystemClock.now()).await;
    fetched.map_err(|error| format!("no keys could be fetched from {}: {error}", address.url()))
}

fn read_text(path: &str, what: &str, most: usize) -> Result<Zeroizing<String>, Failure> {
    let unreadable = |error: io::Error| {
        // Whoever gives the token itself must not find it in a log.
        let named = if path.starts_with("eyJ") { "what was given, which is a token and not a file" } else { path };
        Failure::new(format!("the {what} cannot be read from '{named}': {error}; give a file, or - for standard input"))
    };
    let mut text = Zeroizing::new(String::with_capacity(most));
    let at_most = most as u64 + 1;
    if path == "-" {
        io::stdin().lock().take(at_most).read_to_string(&mut text).map_err(unreadable)?;
    } else {
        File::open(path).map_err(unreadable)?.take(at_most).read_to_string(&mut text).map_err(unreadable)?;
    }
    if text.len() > most {
        return Err(Failure::new(format!("the {what} has more than {most} characters")));
    }
    Ok(text)
}

/// The role whose session has called, by an event, by its `requestContext`, or by the part of that which is about the caller.
fn caller_of(context: &str) -> Result<AwsCaller, Failure> {
    let event: Value =
        serde_json::from_str(context).map_err(|error| Failure::new(format!("the context is not JSON: {error}")))?;
    let context = event.get("requestContext").unwrap_or(&event);
    let iam = context.pointer("/authorizer/iam").or_else(|| context.get("identity")).unwrap_or(context);
    let text = |name: &str| iam.get(name).and_then(Value::as_str);
    let ids = [text("callerId").or_else(|| text("caller")), text("userId").or_else(|| text("user"))];
    let caller = match (text("userArn"), text("accountId"), ids) {
        (Some(arn), Some(account), [Some(first), Some(second)]) => AwsCaller::of_session(&CallerFacts {
            arn,
            account,
            ids: [first, second],
            organization: text("principalOrgId"),
        }),
        _ => Err(CallerProblem::Missing),
    };
    caller.map_err(|problem| {
        Failure::new(match problem {
            CallerProblem::Missing => {
                "the context names no caller: it needs userArn, accountId, callerId and userId under authorizer.iam (a function URL or an \
                 HTTP API), or userArn, accountId, caller and user under identity (a REST API)"
            }
            CallerProblem::NotARole => {
                "the caller is not a role of AWS: a user, an account's root, a federated user or an identity of Cognito is never a client"
            }
            CallerProblem::Malformed => "what the context says of the caller contradicts itself, or is not of the form that AWS writes",
        })
    })
}

/// Of an event, which has the request's headers and body.
const MOST_OF_CONTEXT: usize = 1024 * 1024;
