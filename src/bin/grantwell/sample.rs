//! The realm and the clients that `serve` gives a first visitor and that `demo` walks the flow with.

use grantwell::core::access_token::settings::AccessTokenFormat;
use grantwell::core::client::Client;
use grantwell::core::client::id::RegistrationId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::secret::ClientSecret;
use grantwell::core::ports::Clock as _;
use grantwell::core::realm::Realm;
use grantwell::core::resource::MalformedResource;
use grantwell::core::scope::Scope;
use grantwell::system::{SystemClock, SystemRandom};

use crate::failure::Failure;

/// The realm of the sample clients, and its path under a server's base URL as ForgeRock's clients know it.
pub(crate) const REALM: &str = "alpha";
pub(crate) const REALM_PATH: &str = "/am/oauth2/realms/root/realms/alpha";

/// A client to register with a generated secret.
pub(crate) struct SampleClient {
    pub(crate) client_id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) owner: Option<&'static str>,
    pub(crate) redirect_uri: Option<&'static str>,
    pub(crate) scope: &'static str,
    pub(crate) default_scope: Option<&'static str>,
    pub(crate) access_token_format: Option<AccessTokenFormat>,
    pub(crate) resource: Option<&'static str>,
}

/// The realm of the sample clients, not yet stored.
///
/// # Errors
/// None that can happen: the name is a constant.
pub(crate) fn realm() -> Result<Realm, Failure> {
    let name = REALM.parse().map_err(|error| Failure::new(format!("{REALM}: {error}")))?;
    Ok(Realm { revision: 1, ..Realm::new(name) })
}

impl SampleClient {
    /// The client and its secret, not yet stored. The secret is shown to whoever is watching and stored nowhere.
    ///
    /// # Errors
    /// A [`Failure`] where the random source fails.
    pub(crate) fn create(&self, realm: &Realm) -> Result<(Client, ClientSecret), Failure> {
        let resource = |error: MalformedResource| Failure::new(error.to_string());
        let scope = |text: &str| text.parse::<Scope>().map_err(|error| Failure::new(error.to_string()));
        let metadata = ClientMetadata {
            client_name: Some(self.name.to_owned()),
            contacts: self.owner.into_iter().map(str::to_owned).collect(),
            redirect_uris: self.redirect_uri.into_iter().map(str::parse).collect::<Result<_, _>>()?,
            scope: scope(self.scope)?,
            default_scope: self.default_scope.map(scope).transpose()?,
            access_token_format: self.access_token_format,
            resources: self.resource.into_iter().map(str::parse).collect::<Result<_, _>>().map_err(resource)?,
            ..ClientMetadata::new()
        };
        let registration_id = RegistrationId::generate(&SystemRandom)?;
        let client = Client::register(self.client_id.parse()?, realm, metadata, registration_id, SystemClock.now())?;
        let secret = ClientSecret::generate(&SystemRandom)?;
        Ok((client, secret))
    }
}
