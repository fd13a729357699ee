//! The options that say with which keys a client signs what it authenticates with.

use std::fs::File;
use std::io::{self, Read as _};

use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::keys::jwk_set::{InvalidJwks, JwkSet};
use grantwell::core::keys::jws_algorithm::{JwsAlgorithm, UnknownJwsAlgorithm};

use crate::access_token::Setting;

/// A client's public keys, and how it may use them.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArguments {
    /// The client's public keys for private_key_jwt: a JWK Set or one JWK in a file, or on standard input with - (jwks). It
    /// replaces the keys before it; '' removes them
    ///
    /// To rotate a key, register the old and the new one together, let the application change over, and then remove the old one with
    /// `client key remove`.
    #[arg(long, value_name = "FILE", value_parser = jwks)]
    jwks: Option<Setting<JwkSet>>,
    /// An algorithm the client may sign with: ES256, ES384, PS256, EdDSA or RS256 (token_endpoint_auth_signing_algs). Repeatable
    /// [default: as each key allows]
    #[arg(long, value_name = "ALG", value_parser = assertion_alg)]
    assertion_alg: Vec<Setting<JwsAlgorithm>>,
}

/// Why there are no keys in a file.
#[derive(Debug, thiserror::Error)]
enum UnreadableJwks {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is PEM; give the public keys as a JWK Set, or have a pair made with `grantwell client key generate`")]
    Pem,
    #[error(transparent)]
    Invalid(#[from] InvalidJwks),
}

impl KeyArguments {
    /// Sets what is named.
    pub(super) fn apply(&self, metadata: &mut ClientMetadata) {
        if let Some(Setting(jwks)) = &self.jwks {
            if jwks.is_some() {
                // A client has its keys in one place, and this one counts from now on.
                metadata.jwks_uri = None;
            }
            metadata.jwks.clone_from(jwks);
        }
        if !self.assertion_alg.is_empty() {
            metadata.token_endpoint_auth_signing_algs =
                self.assertion_alg.iter().filter_map(|Setting(algorithm)| *algorithm).collect();
        }
    }
}

fn jwks(path: &str) -> Result<Setting<JwkSet>, UnreadableJwks> {
    if path.is_empty() {
        return Ok(Setting(None));
    }
    // A little more than there may be, so that what is too large is known for it, and a device has no end.
    let at_most = JwkSet::MAX_BYTES as u64 + 1;
    let mut text = Vec::new();
    if path == "-" {
        io::stdin().lock().take(at_most).read_to_end(&mut text)?;
    } else {
        File::open(path)?.take(at_most).read_to_end(&mut text)?;
    }
    if text.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err(UnreadableJwks::Pem);
    }
    Ok(Setting(Some(JwkSet::parse(&text)?)))
}

fn assertion_alg(text: &str) -> Result<Setting<JwsAlgorithm>, UnknownJwsAlgorithm> {
    if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|algorithm| Setting(Some(algorithm))) }
}
