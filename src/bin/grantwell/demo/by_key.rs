//! A client of the demo that proves who it is by a key (RFC 7523 §2.2).

use serde_json::{Value, json};
use ureq::Agent;
use zeroize::Zeroizing;

use grantwell::core::assertion::JWT_BEARER;
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::jwk::{PublicJwk, SigningKeyPair};
use grantwell::core::keys::jwk_set::JwkSet;
use grantwell::core::realm::Realm;

use super::exchange::Exchange;
use crate::failure::Failure;
use crate::sample::SampleClient;
use crate::token::assertion::{self, SignedWith};

/// A client and its key.
pub(super) struct KeyClient {
    pub(super) client: Client,
    public: PublicJwk,
    pair: SigningKeyPair,
}

impl KeyClient {
    /// A client with a new key, not yet stored.
    ///
    /// # Errors
    /// A [`Failure`] where the library makes no key.
    pub(super) fn create(sample: &SampleClient, realm: &Realm) -> Result<Self, Failure> {
        let pair =
            SigningKeyPair::generate(SigningAlgorithm::Es256).map_err(|error| Failure::new(error.to_string()))?;
        let public = pair.public_jwk().map_err(|error| Failure::new(error.to_string()))?;
        // A secret is made with it, and belongs to nobody.
        let (mut client, _secret) = sample.create(realm)?;
        client.metadata.token_endpoint_auth_methods = [AuthMethod::PrivateKeyJwt].into();
        let mut made = Self { client, public, pair };
        let jwks = JwkSet::parse(made.jwks()?.as_bytes()).map_err(|error| Failure::new(error.to_string()))?;
        made.client.metadata.jwks = Some(jwks);
        Ok(made)
    }

    /// The public half, as a JWK Set.
    pub(super) fn jwks(&self) -> Result<String, Failure> {
        let keys: Value = json!({ "keys": [self.public] });
        serde_json::to_string_pretty(&keys).map_err(|error| Failure::new(error.to_string()))
    }

    /// A new assertion for the realm of this issuer.
    pub(super) fn assertion(&self, issuer: &str) -> Result<Zeroizing<String>, Failure> {
        let sign = |message: &[u8]| self.pair.sign(message).map_err(|error| Failure::new(error.to_string()));
        let signed_with = SignedWith { alg: self.public.alg.as_str(), kid: Some(self.public.kid.as_str()) };
        assertion::sign(&signed_with, sign, &self.client.client_id, issuer)
    }
}

/// Asks for a token.
pub(super) fn ask_by(agent: &Agent, url: &str, assertion: &str) -> Result<Exchange, Failure> {
    let form =
        [("grant_type", "client_credentials"), ("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    let parameters: String = form.iter().flat_map(|(name, value)| [" -d ", name, "=", value]).collect();
    Exchange::of(format!("curl -s{parameters} {url}"), agent.post(url).send_form(form.iter().copied()))
}
