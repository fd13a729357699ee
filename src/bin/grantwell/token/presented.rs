//! The access token that a command is about. It is read from a file or from standard input, never from an argument: those are in the process
//! list and in the shell's history.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output;
use crate::terminal;

/// Where the token is.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArguments {
    /// A file with the token, or with the answer that has it [default: standard input]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// An access token, of whatever form. Without `Debug`: whoever has it may use it.
pub(super) struct PresentedToken(Zeroizing<String>);

/// What a JWT says. Nobody has verified it.
pub(super) struct UnverifiedJwt {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
}

/// The text is not a JWT that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAJwt {
    #[error(
        "the token is not a JWT: an opaque token says nothing by itself; only its server knows what it stands for; ask with `grantwell token \
         introspect`"
    )]
    Opaque,
    #[error("the token is an encrypted JWT (JWE), which only its reader can open")]
    Encrypted,
    #[error(
        "what was given is not a JWT: it has three parts, separated by dots, of which the first two are JSON in base64url"
    )]
    Malformed,
}

impl TokenArguments {
    /// Whether the token comes from standard input, which then has nothing else.
    pub(super) fn are_standard_input(&self) -> bool {
        self.file.as_ref().is_none_or(|path| path.as_os_str() == "-")
    }

    /// Reads the token.
    ///
    /// # Errors
    /// A [`Failure`] that says what to do, and nothing of the token.
    pub(super) async fn read(&self) -> Result<PresentedToken, Failure> {
        let text = match &self.file {
            Some(path) if !self.are_standard_input() => read_file(path)?,
            _ => read_stdin().await?,
        };
        PresentedToken::find_in(&text)
    }
}

impl PresentedToken {
    /// The token in a text: it alone, as a header has it, or as the answer of a token endpoint has it.
    fn find_in(text: &str) -> Result<Self, Failure> {
        if text.len() as u64 > MOST {
            return Err(Failure::new("what was given is longer than 64 KiB, which no token is"));
        }
        let text = text.trim();
        let json: Option<Value> = serde_json::from_str(text).ok();
        let token = match &json {
            Some(Value::Object(answer)) => answer.get("access_token").and_then(Value::as_str).unwrap_or_default(),
            // As jq prints it without --raw-output.
            Some(Value::String(token)) => token,
            _ => without(without(text, "Authorization:"), "Bearer "),
        };
        if token.is_empty() {
            return Err(Failure::new(
                "there is no token in what was given; give the token itself, or the answer that has it as access_token",
            ));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::new(
                "what was given has spaces or other characters that are in no token; give the token and nothing else",
            ));
        }
        Ok(Self(Zeroizing::new(token.to_owned())))
    }

    /// The text. It is not to be printed.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// What it says, if it is a JWT.
    pub(super) fn unverified_jwt(&self) -> Result<UnverifiedJwt, NotAJwt> {
        let parts: Vec<&str> = self.0.split('.').collect();
        match parts.as_slice() {
            [header, claims, _signature] => Ok(UnverifiedJwt { header: object(header)?, claims: object(claims)? }),
            [_, _, _, _, _] => Err(NotAJwt::Encrypted),
            [_opaque] => Err(NotAJwt::Opaque),
            _ => Err(NotAJwt::Malformed),
        }
    }
}

/// A text without a beginning, in whatever case.
fn without<'a>(text: &'a str, beginning: &str) -> &'a str {
    let (head, rest) = text.split_at_checked(beginning.len()).unwrap_or(("", text));
    if head.eq_ignore_ascii_case(beginning) { rest.trim_start() } else { text }
}

fn object(part: &str) -> Result<Map<String, Value>, NotAJwt> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| NotAJwt::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| NotAJwt::Malformed)
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| {
        // What is not a file may be the token itself, which must not be repeated.
        if fs::symlink_metadata(path).is_err() {
            return Failure::new(
                "there is no file of the name that was given; if it is the token itself, give it on standard input, because arguments are in \
                 the process list and in the shell's history",
            );
        }
        Failure::new(format!("{} cannot be read: {error}", path.display()))
    };
    let file = File::open(path).map_err(failed)?;
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

/// And a little of what is too long, so that it is known for it.
fn all_of(input: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(8 * 1024));
    input.take(MOST + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// A terminal has no end but the line's.
fn first_line(mut input: File) -> io::Result<Zeroizing<String>> {
    let (mut line, mut byte) = (Zeroizing::new(Vec::new()), [0]);
    while (line.len() as u64) <= MOST && input.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    String::from_utf8(line.to_vec()).map(Zeroizing::new).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Bytes. More than any token has.
const MOST: u64 = 64 * 1024;
