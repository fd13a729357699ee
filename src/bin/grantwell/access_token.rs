//! The options that say how access tokens are made. A client and its realm have them in common.

use grantwell::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence};
use grantwell::core::keys::SigningAlgorithm;

/// How access tokens are made.
#[derive(Debug, clap::Args)]
pub(crate) struct AccessTokenArguments {
    /// References, or JWTs that resource servers can validate (RFC 9068); '' removes the setting (access_token_format)
    /// [default: the realm's, or opaque]
    #[arg(long, value_name = "opaque|jwt", value_parser = format)]
    access_token_format: Option<Setting<AccessTokenFormat>>,
    /// Whether the server keeps a record of each JWT; '' removes the setting (access_token_persistence) [default: the realm's,
    /// or stored]
    #[arg(long, value_name = "stored|stateless", value_parser = persistence)]
    access_token_persistence: Option<Setting<AccessTokenPersistence>>,
    /// What signs JWTs: ES256, EdDSA, PS256 or RS256; '' removes the setting (access_token_signing_alg) [default: the realm's,
    /// or ES256]
    #[arg(long, value_name = "ALG", value_parser = signing_alg)]
    signing_alg: Option<Setting<SigningAlgorithm>>,
}

/// A value of an option that an empty value removes; then it is `None`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<T>(pub(crate) Option<T>);

/// The text is not one of an option's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum UnknownValue {
    #[error("a format is opaque or jwt; '' removes the setting")]
    Format,
    #[error("a persistence is stored or stateless; '' removes the setting")]
    Persistence,
    #[error("a signing algorithm is ES256, EdDSA, PS256 or RS256; '' removes the setting")]
    SigningAlgorithm,
}

impl AccessTokenArguments {
    /// Whether signatures are among what is to be set: the form of tokens, or what signs.
    pub(crate) fn name_signature(&self) -> bool {
        self.access_token_format.is_some() || self.signing_alg.is_some()
    }

    /// Sets what is named in the three fields that a client and a realm both have.
    pub(crate) fn apply(
        &self,
        format: &mut Option<AccessTokenFormat>,
        persistence: &mut Option<AccessTokenPersistence>,
        signing_alg: &mut Option<SigningAlgorithm>,
    ) {
        apply(self.access_token_format, format);
        apply(self.access_token_persistence, persistence);
        apply(self.signing_alg, signing_alg);
    }
}

fn format(text: &str) -> Result<Setting<AccessTokenFormat>, UnknownValue> {
    let named = AccessTokenFormat::ALL.into_iter().find(|format| format.as_str() == text);
    setting(text, named, UnknownValue::Format)
}

fn persistence(text: &str) -> Result<Setting<AccessTokenPersistence>, UnknownValue> {
    let named = AccessTokenPersistence::ALL.into_iter().find(|persistence| persistence.as_str() == text);
    setting(text, named, UnknownValue::Persistence)
}

fn signing_alg(text: &str) -> Result<Setting<SigningAlgorithm>, UnknownValue> {
    setting(text, text.parse().ok(), UnknownValue::SigningAlgorithm)
}

/// Sets a field to what was named, or to nothing where it was removed; leaves it where its option was not given.
pub(crate) fn apply<T>(given: Option<Setting<T>>, field: &mut Option<T>) {
    if let Some(Setting(value)) = given {
        *field = value;
    }
}

/// The setting that a text names or removes.
pub(crate) fn setting<T, E>(text: &str, named: Option<T>, unknown: E) -> Result<Setting<T>, E> {
    if named.is_some() || text.is_empty() { Ok(Setting(named)) } else { Err(unknown) }
}
