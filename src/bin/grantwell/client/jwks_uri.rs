//! The options that say where a client publishes its keys, and how they may be fetched.

use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::keys::remote::{CaCertificates, InvalidJwksUrl, JwksUri, JwksUrl};
use grantwell::core::ports::Clock as _;
use grantwell::remote::fetcher::{FetchError, Fetcher};
use grantwell::remote::keys::{NoKeys, try_fetching};
use grantwell::system::SystemClock;

use crate::access_token::Setting;
use crate::ca_file;
use crate::failure::Failure;
use crate::output;

/// Where the keys are fetched.
#[derive(Debug, clap::Args)]
pub(super) struct JwksUriArguments {
    /// Where the server fetches the client's public keys, a JWK Set, for private_key_jwt: an https URL (jwks_uri). It replaces
    /// --jwks; '' removes it
    ///
    /// Only public addresses are connected to, and redirects are not followed. An answer that has more than 64 KiB, or takes more than
    /// two seconds, does not count. The keys are fetched once now, to tell you if that does not work.
    #[arg(long, value_name = "URL", conflicts_with = "jwks", value_parser = jwks_uri)]
    jwks_uri: Option<Setting<JwksUrl>>,
    /// Lets the address of --jwks-uri be on a private network: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7
    /// or this machine
    #[arg(long)]
    allow_private_network: bool,
    /// The certificates of the authority that the server at --jwks-uri is trusted by, as PEM, in place of those that the system
    /// trusts
    #[arg(long, value_name = "FILE", value_parser = ca_file::read)]
    ca: Option<CaCertificates>,
}

impl JwksUriArguments {
    /// Sets what is named. A client has its keys in one place.
    pub(super) fn apply(&self, metadata: &mut ClientMetadata) {
        match &self.jwks_uri {
            Some(Setting(Some(uri))) => {
                // What is allowed of an address is not withdrawn by naming it again.
                let before = metadata.jwks_uri.take().filter(|before| before.uri == *uri);
                let before = before.unwrap_or_else(|| JwksUri::public(uri.clone()));
                metadata.jwks = None;
                metadata.jwks_uri = Some(JwksUri {
                    uri: uri.clone(),
                    allow_private_network: self.allow_private_network || before.allow_private_network,
                    ca: self.ca.clone().or(before.ca),
                });
            }
            Some(Setting(None)) => metadata.jwks_uri = None,
            None => {}
        }
    }

    /// Refuses what belongs to an address and comes without one.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if (self.allow_private_network || self.ca.is_some()) && !self.names_address() {
            let sentence =
                "--allow-private-network and --ca belong to an address: name it with them, by --jwks-uri URL";
            return Err(Failure::Misuse(sentence.to_owned()));
        }
        Ok(())
    }

    /// Whether an address is set.
    fn names_address(&self) -> bool {
        matches!(self.jwks_uri, Some(Setting(Some(_))))
    }

    /// Warns where the keys cannot be fetched now. That is no reason to refuse: the server may reach what this machine does not, and
    /// an application may be registered before it runs.
    pub(super) async fn warn_unless_fetched(&self, metadata: &ClientMetadata) {
        let Some(address) = metadata.jwks_uri.as_ref().filter(|_| self.names_address()) else { return };
        if let Err(error) = try_fetching(&Fetcher::default(), address.into(), SystemClock.now()).await {
            let advice = match error {
                NoKeys::Fetch(FetchError::NotPublic(_)) => "; allow it with --allow-private-network",
                NoKeys::Fetch(FetchError::Tls(_)) => "; name a private authority with --ca",
                _ => "",
            };
            output::warn(&format!(
                "no keys could be fetched from {address}: {error}{advice}. The client is registered, and can authenticate with a key once \
                 the server can fetch it"
            ));
        }
    }
}

fn jwks_uri(text: &str) -> Result<Setting<JwksUrl>, InvalidJwksUrl> {
    if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|url| Setting(Some(url))) }
}
