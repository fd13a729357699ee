//! The option that says who is the client as others vouch for it.

use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::trust::rule::TrustRules;

use crate::access_token::Setting;
use crate::trust::file::{self, UnreadableTrust};

/// A client's trust rules.
#[derive(Debug, clap::Args)]
pub(super) struct TrustArguments {
    /// Who is the client without a secret, by aws_iam or workload_identity: trust rules, as JSON or YAML in a file, or on standard
    /// input with - (trust). They replace the rules before them; '' removes them
    ///
    /// The file has one rule, a list of rules, or an object with the list as its member "trust". An issuer that a rule names has to be
    /// registered in the realm (grantwell issuer add). `grantwell trust suggest` writes a rule for a caller, and `grantwell trust
    /// explain` says why a caller is the client or is not.
    #[arg(long, value_name = "FILE", value_parser = trust)]
    trust: Option<Setting<TrustRules>>,
}

impl TrustArguments {
    /// Sets what is named.
    pub(super) fn apply(&self, metadata: &mut ClientMetadata) {
        if let Some(Setting(rules)) = &self.trust {
            metadata.trust = rules.clone().unwrap_or_default();
        }
    }
}

fn trust(path: &str) -> Result<Setting<TrustRules>, UnreadableTrust> {
    if path.is_empty() { Ok(Setting(None)) } else { file::read(path).map(|rules| Setting(Some(rules))) }
}
