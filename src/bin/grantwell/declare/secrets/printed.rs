//! Secrets on standard output, where JSON is one document with everything else that the command answers.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use grantwell::core::client::id::ClientId;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::realm::RealmName;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output::{self, Format};

/// The beginning of an answer.
pub(crate) struct Printed {
    format: Format,
    /// How many are in it.
    count: Mutex<usize>,
}

#[derive(Serialize)]
struct Secret<'a> {
    realm: &'a RealmName,
    client_id: &'a ClientId,
    client_secret: &'a str,
}

impl Printed {
    pub(super) fn new(format: Format) -> Self {
        Self { format, count: Mutex::new(0) }
    }

    /// Prints a secret at once: what comes later may fail.
    pub(super) fn keep(&self, realm: &RealmName, client_id: &ClientId, secret: &ClientSecret) -> Result<(), String> {
        // Clients are registered side by side, and each line is whole.
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
        match self.format {
            Format::Json => {
                text.extend_from_slice(if *count == 0 { FIRST } else { NEXT });
                let secret = Secret { realm, client_id, client_secret: secret.expose_client_secret() };
                serde_json::to_writer(&mut *text, &secret).map_err(|error| error.to_string())?;
            }
            Format::Table => {
                // On the terminal's line may stand how far it is.
                if io::stderr().is_terminal() {
                    let _nobody_to_tell = io::stderr().write_all(b"\r\x1b[K");
                }
                let of = format!("client '{client_id}' of realm '{realm}', its secret, shown only now: ");
                text.extend_from_slice(of.as_bytes());
                text.extend_from_slice(secret.expose_client_secret().as_bytes());
                text.push(b'\n');
            }
        }
        output::bytes(&text).map_err(|_failure| "standard output cannot be written to".to_owned())?;
        *count += 1;
        Ok(())
    }

    /// Prints the rest of the answer, an object, after the secrets that are printed already.
    pub(crate) fn end<T: Serialize>(&self, answer: &T) -> Result<(), Failure> {
        let rest = output::indented(answer, 0)?;
        let rest = rest.trim_start_matches(['{', '\n']);
        let count = *self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let end = if count == 0 { "{\n  \"secrets\": [],\n" } else { "\n  ],\n" };
        output::text(&format!("{end}{rest}"))
    }
}

const FIRST: &[u8] = b"{\n  \"secrets\": [\n    ";
const NEXT: &[u8] = b",\n    ";
/// So that a buffer with a secret does not grow, which would leave a copy behind.
const ROOM: usize = 2048;
