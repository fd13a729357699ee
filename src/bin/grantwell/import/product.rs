//! Whose export a file is.

use serde_json::{Map, Value};

/// A product whose export is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Product {
    /// Ory Hydra: `hydra list oauth2-clients --format json`, or GET /admin/clients
    Hydra,
    /// Keycloak: `kc.sh export`, a partial export, or clients of the Admin REST API
    Keycloak,
    /// ForgeRock and PingAM: GET realm-config/agents/OAuth2Client?_queryFilter=true, frodo, Amster
    Forgerock,
    /// Auth0: GET /api/v2/clients, with clientGrants and resourceServers beside
    Auth0,
}

impl Product {
    pub(super) const ALL: [Self; 4] = [Self::Hydra, Self::Keycloak, Self::Forgerock, Self::Auth0];

    /// Its value of `--from`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Hydra => "hydra",
            Self::Keycloak => "keycloak",
            Self::Forgerock => "forgerock",
            Self::Auth0 => "auth0",
        }
    }

    /// Its name.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Hydra => "Ory Hydra",
            Self::Keycloak => "Keycloak",
            Self::Forgerock => "ForgeRock or PingAM",
            Self::Auth0 => "Auth0",
        }
    }

    /// What its export is, for somebody who has brought something else.
    pub(super) fn forms(self) -> &'static str {
        match self {
            Self::Hydra => {
                "an array of clients as GET /admin/clients has them, an object with items as hydra list oauth2-clients --format json \
                 prints it, or one client"
            }
            Self::Keycloak => {
                "a realm with clients as kc.sh export writes it, a list of realms or of clients, or one client with a clientId"
            }
            Self::Forgerock => {
                "an object with a result as AM answers GET realm-config/agents/OAuth2Client?_queryFilter=true, an application as frodo \
                 exports it, or one client with a coreOAuth2ClientConfig"
            }
            Self::Auth0 => {
                "an array of clients as GET /api/v2/clients has them, or an object with clients, and clientGrants and resourceServers \
                 beside them"
            }
        }
    }

    /// Another product whose export this looks like more.
    pub(super) fn mistaken_for(self, export: &Value) -> Option<Self> {
        let objects = candidates(export);
        let score = |product: Self| {
            let scores =
                objects.iter().map(|object| product.names().iter().filter(|name| is_there(object, name)).count());
            scores.max().unwrap_or(0)
        };
        let ours = score(self);
        let others = Self::ALL.into_iter().filter(|product| *product != self);
        others
            .map(|product| (score(product), product))
            .filter(|(score, _)| *score > ours)
            .max_by_key(|(score, _)| *score)
            .map(|(_, product)| product)
    }

    /// Names of members that no other of the products uses.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Hydra => &[
                "access_token_strategy",
                "client_credentials_grant_access_token_lifespan",
                "client_name",
                "post_logout_redirect_uris",
                "redirect_uris",
                "response_types",
                "scope",
                "skip_consent",
                "subject_type",
                "userinfo_signed_response_alg",
            ],
            Self::Keycloak => &[
                "accessTokenLifespan",
                "bearerOnly",
                "clientAuthenticatorType",
                "clientId",
                "clientScopes",
                "defaultClientScopes",
                "directAccessGrantsEnabled",
                "protocolMappers",
                "publicClient",
                "redirectUris",
                "serviceAccountsEnabled",
                "standardFlowEnabled",
            ],
            Self::Forgerock => &[
                "advancedOAuth2ClientConfig",
                "coreOAuth2ClientConfig",
                "coreOpenIDClientConfig",
                "coreUmaClientConfig",
                "overrideOAuth2ClientConfig",
                "signEncOAuth2ClientConfig",
            ],
            Self::Auth0 => &[
                "app_type",
                "callbacks",
                "clientGrants",
                "client_authentication_methods",
                "client_grants",
                "cross_origin_auth",
                "cross_origin_authentication",
                "custom_login_page_on",
                "is_first_party",
                "is_token_endpoint_ip_header_trusted",
                "jwt_configuration",
                "oidc_conformant",
                "resourceServers",
                "resource_servers",
                "sso_disabled",
            ],
        }
    }
}

/// Whether an object has a member. Grants of Auth0 have a scope, too, but it is a list.
fn is_there(object: &Map<String, Value>, name: &str) -> bool {
    object.get(name).is_some_and(|value| name != "scope" || value.is_string())
}

/// The objects that may be clients, or have them: a few are enough to see whose they are.
fn candidates(export: &Value) -> Vec<&Map<String, Value>> {
    let mut objects = Vec::new();
    objects_of(export, &mut objects);
    for object in objects.clone() {
        for name in ["clients", "items", "result", "application", "client", "data"] {
            if let Some(value) = object.get(name) {
                objects_of(value, &mut objects);
                // frodo has its clients by their names.
                if let Value::Object(by_name) = value {
                    objects.extend(by_name.values().filter_map(Value::as_object).take(ENOUGH));
                }
            }
        }
    }
    objects
}

fn objects_of<'a>(value: &'a Value, objects: &mut Vec<&'a Map<String, Value>>) {
    match value {
        Value::Object(object) => objects.push(object),
        Value::Array(values) => objects.extend(values.iter().filter_map(Value::as_object).take(ENOUGH)),
        _ => {}
    }
}

const ENOUGH: usize = 20;
