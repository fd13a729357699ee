//! `grantwell token inspect`: what a JWT says, read on this machine and sent nowhere.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use grantwell::core::ports::Clock as _;
use grantwell::core::time::UnixSeconds;
use grantwell::system::SystemClock;

use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::terminal;

/// `grantwell token inspect`
#[derive(Debug, clap::Args)]
pub(super) struct InspectArguments {
    /// A file with the token, or with the answer that has it [default: standard input]
    // Never the token itself: arguments are in the process list and in the shell's history.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
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
    let InspectArguments { file, output } = arguments;
    let inspected = Inspected::of(&read(file).await?)?;
    output::note(
        "the token was read on this machine and sent to nobody; its signature was not verified, so anybody may have written what it says",
    );
    output.print(&inspected, Inspected::table)
}

impl Inspected {
    fn of(text: &str) -> Result<Self, Failure> {
        let token = text.trim();
        let answer: Option<Map<String, Value>> = serde_json::from_str(token).ok();
        let token = match &answer {
            Some(answer) => answer.get("access_token").and_then(Value::as_str).ok_or_else(no_token)?,
            None => token.strip_prefix("Bearer ").unwrap_or(token),
        };
        let parts: Vec<&str> = token.split('.').collect();
        let (header, claims) = match parts.as_slice() {
            [header, claims, _signature] => (object(header)?, object(claims)?),
            [_, _, _, _, _] => {
                return Err(Failure::new("the token is an encrypted JWT (JWE), which only its reader can open"));
            }
            [""] => return Err(no_token()),
            [_opaque] => {
                return Err(Failure::new(
                    "the token is not a JWT: an opaque token says nothing by itself; only its server knows what it stands for (introspection, RFC \
                     7662)",
                ));
            }
            _ => return Err(not_a_jwt()),
        };
        let expires_at = claims.get("exp").and_then(Value::as_f64);
        #[expect(clippy::cast_precision_loss, reason = "seconds of this millennium are exact")]
        let now = SystemClock.now().0 as f64;
        let expired = expires_at.map(|expires_at| expires_at <= now);
        Ok(Self { header, claims, expired, signature_verified: false, sent_to: [] })
    }

    fn table(&self) -> String {
        let row = |(name, value): (&String, &Value)| vec![name.clone(), text(name, value)];
        let mut rows: Vec<Vec<String>> = self.header.iter().map(row).collect();
        rows.extend(self.claims.iter().map(row));
        let expired = match self.expired {
            Some(true) => "yes",
            Some(false) => "no",
            None => "it has no exp",
        };
        rows.push(vec!["expired".to_owned(), expired.to_owned()]);
        output::table(&["member", "value"], usize::MAX, &rows)
    }
}

/// A member for people: of a time also the date.
fn text(name: &str, value: &Value) -> String {
    let printable = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    match value {
        Value::String(text) => printable(text),
        Value::Number(number) if ["exp", "iat", "nbf", "auth_time"].contains(&name) => {
            let date = number.as_u64().map(|seconds| output::utc(UnixSeconds(seconds)));
            date.map_or_else(|| number.to_string(), |date| format!("{number} ({date})"))
        }
        other => printable(&other.to_string()),
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| not_a_jwt())?;
    serde_json::from_slice(&bytes).map_err(|_| not_a_jwt())
}

async fn read(file: Option<PathBuf>) -> Result<Zeroizing<String>, Failure> {
    let Some(path) = file.filter(|path| path.as_os_str() != "-") else { return read_stdin().await };
    let failed = |error: io::Error| {
        let looks_like_one = path.to_string_lossy().matches('.').count() == 2 && path.to_string_lossy().len() > SHORT;
        if looks_like_one {
            return Failure::new(
                "what was given is not a file, and looks like the token itself; give it on standard input, because arguments are in the \
                 process list and in the shell's history",
            );
        }
        Failure::new(format!("{} cannot be read: {error}", path.display()))
    };
    let file = File::open(&path).map_err(failed)?;
    all_of(file).map_err(failed)
}

async fn read_stdin() -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("the token could not be read from standard input: {error}"));
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    if !stdin.is_terminal() {
        return all_of(File::from(stdin)).map_err(failed);
    }
    output::note("paste the token and press Enter; it is not shown");
    terminal::read_unseen(stdin, first_line).await.map_err(failed)
}

fn all_of(input: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    input.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// A terminal has no end but the line's.
fn first_line(mut input: File) -> io::Result<Zeroizing<String>> {
    let (mut line, mut byte) = (Zeroizing::new(Vec::new()), [0]);
    while (line.len() as u64) < MOST && input.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    String::from_utf8(line.to_vec()).map(Zeroizing::new).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn no_token() -> Failure {
    Failure::new(
        "there is no token in what was given; give the token itself, or the answer that has it as access_token",
    )
}

fn not_a_jwt() -> Failure {
    Failure::new(
        "what was given is not a JWT: it has three parts, separated by dots, of which the first two are JSON in base64url",
    )
}

/// More than any token has.
const MOST: u64 = 64 * 1024;
/// The name of a file is shorter than any JWT.
const SHORT: usize = 60;
