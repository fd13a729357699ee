//! What happens in a month, as options say it.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use grantwell::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence};

use crate::count;
use crate::duration::{self, MalformedDuration};

/// What happens in a month.
#[derive(Clone, Copy, Debug, Serialize, clap::Args)]
pub(super) struct Usage {
    /// Tokens issued in a month, such as 1000000 or 1M
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000, value_parser = count::between(0, u32::MAX))]
    pub(super) tokens: u32,
    /// Introspections answered in a month, such as 500k
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000, value_parser = count::between(0, u32::MAX))]
    pub(super) introspections: u32,
    /// Clients that fetch those tokens
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = count::between(1, u32::MAX))]
    pub(super) clients: u32,
    /// Resource servers that introspect, each a client of its own
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = count::between(0, u32::MAX))]
    pub(super) resource_servers: u32,
    /// What the clients get
    #[arg(long, value_name = "FORMAT", default_value = AccessTokenFormat::Opaque.as_str(), value_parser = format())]
    pub(super) format: AccessTokenFormat,
    /// Whether a record of each token is kept; opaque tokens always have one
    #[arg(long, value_name = "PERSISTENCE", default_value = AccessTokenPersistence::Stored.as_str(), value_parser = persistence())]
    pub(super) persistence: AccessTokenPersistence,
    /// The clients have a token quota, enforced or observed, so that each token is counted by a write
    #[arg(long)]
    pub(super) token_quota: bool,
    /// The realm has it recorded when its clients are used, by a write a day for each
    #[arg(long)]
    pub(super) record_use: bool,
    /// Where the secrets of clients and resource servers are kept, or none: they authenticate with keys (`private_key_jwt`), and each
    /// assertion is remembered by a write; or iam: they are roles of AWS (`aws_iam`), at a function URL
    #[arg(long, value_name = "STORAGE", value_enum, default_value_t = KeptSecrets::SecretsManager)]
    pub(super) secret_storage: KeptSecrets,
    /// Memory of each function, in MB
    #[arg(long = "memory", value_name = "MB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(128..=10_240))]
    pub(super) memory_mb: u32,
    /// Time that Lambda bills for a request: milliseconds, or with a unit such as 10ms
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = milliseconds(1))]
    pub(super) duration_ms: u32,
    /// The functions' processor
    #[arg(long, value_name = "ARCHITECTURE", value_enum, default_value_t = Architecture::Arm64)]
    pub(super) architecture: Architecture,
    /// The functions' log level
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub(super) log_level: LogLevel,
    /// The API writes an access log, too (a second number in LogRetentionDays)
    #[arg(long)]
    pub(super) access_log: bool,
    /// Processes of each function that run at a time, each with its own cache
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = count::between(1, u32::MAX))]
    pub(super) sandboxes: u32,
    /// Processes of each function that start in a month, each with an empty cache
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = count::between(0, u32::MAX))]
    pub(super) cold_starts: u32,
    /// Time that Lambda bills for each start: milliseconds, or with a unit such as 1s
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = milliseconds(0))]
    pub(super) init_ms: u32,
}

/// Processor of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Architecture {
    Arm64,
    #[value(name = "x86_64")]
    #[serde(rename = "x86_64")]
    X86_64,
}

/// Where the secrets are that clients authenticate with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum KeptSecrets {
    SecretsManager,
    Digest,
    None,
    Iam,
}

/// Level of the functions' log: with the line of each decision, or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogLevel {
    Info,
    Warn,
}

/// Parses a time in milliseconds, of `least` at the least.
fn milliseconds(least: u32) -> impl Fn(&str) -> Result<u32, MalformedDuration> + Clone + Send + Sync + 'static {
    move |text| {
        let milliseconds = duration::milliseconds(text)?;
        u32::try_from(milliseconds).ok().filter(|time| *time >= least).ok_or(MalformedDuration::Milliseconds)
    }
}

// Only names of the lists get through to the two defaults below.

fn format() -> impl TypedValueParser<Value = AccessTokenFormat> {
    PossibleValuesParser::new(AccessTokenFormat::ALL.map(AccessTokenFormat::as_str))
        .map(|name| AccessTokenFormat::ALL.into_iter().find(|format| format.as_str() == name).unwrap_or_default())
}

fn persistence() -> impl TypedValueParser<Value = AccessTokenPersistence> {
    PossibleValuesParser::new(AccessTokenPersistence::ALL.map(AccessTokenPersistence::as_str)).map(|name| {
        AccessTokenPersistence::ALL.into_iter().find(|persistence| persistence.as_str() == name).unwrap_or_default()
    })
}
