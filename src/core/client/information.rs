//! The registration's answer (RFC 7591 §3.2.1): what a client was registered with, under the registration's own member names.
//!
//! It is derived from the registration, so that a member is written once, where it is registered.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::core::client::Client;
use crate::core::client::auth_method::AuthMethod;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::secret::ClientSecret;
use crate::core::members::Members;

/// A client as it is shown. Null is what the client leaves to its realm, or does without.
pub struct ClientInformation<'a> {
    members: Members,
    /// Beside the members, so that there is no copy of it that nobody wipes.
    secret: Option<&'a ClientSecret>,
}

impl<'a> ClientInformation<'a> {
    /// A registration as it is, without its secret.
    pub fn of(client: &Client) -> Self {
        let members = registered_members(client).chain([
            ("tokens_valid_after", json!(client.tokens_valid_after)),
            ("managed_by", json!(client.managed_by)),
        ]);
        Self { members: members.collect(), secret: None }
    }

    /// A client just registered, with its secret if it has one: the one answer that has it.
    pub fn created(client: &Client, secret: Option<&'a ClientSecret>) -> Self {
        Self { members: registered_members(client).collect(), secret }
    }

    /// Every member but the secret.
    pub fn members(&self) -> &Members {
        &self.members
    }
}

impl Serialize for ClientInformation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.members.iter() {
            map.serialize_entry(name, value)?;
            if let Some(secret) = self.secret.filter(|_| name == CLIENT_ID) {
                map.serialize_entry("client_secret", secret.expose_client_secret())?;
            }
        }
        map.end()
    }
}

fn registered_members(client: &Client) -> impl Iterator<Item = (&'static str, Value)> {
    let decided = Members::of(&client.metadata).into_iter().flat_map(|member| shown(member, &client.metadata));
    [(CLIENT_ID, json!(client.client_id))].into_iter().chain(decided).chain([
        ("realm", json!(client.realm)),
        ("status", json!(client.status)),
        ("client_id_issued_at", json!(client.client_id_issued_at)),
    ])
}

/// A member as it is shown, where that is not as it is stored.
fn shown((name, stored): (&'static str, Value), metadata: &ClientMetadata) -> Vec<(&'static str, Value)> {
    match name {
        // RFC 7591 knows one method a client; this server allows several.
        "token_endpoint_auth_methods" => {
            let methods: Vec<AuthMethod> = metadata.token_endpoint_auth_methods.iter().copied().collect();
            let several = (methods.len() > 1).then_some((name, stored));
            [("token_endpoint_auth_method", json!(methods.first()))].into_iter().chain(several).collect()
        }
        "token_endpoint_auth_signing_algs" => {
            let algorithms = &metadata.token_endpoint_auth_signing_algs;
            let several = (algorithms.len() > 1).then_some((name, stored));
            let first = ("token_endpoint_auth_signing_alg", json!(algorithms.first()));
            [first].into_iter().chain(several).collect()
        }
        // RFC 7591 knows an address and not how it is reached.
        "jwks_uri" => {
            let address = metadata.jwks_uri.as_ref();
            let private = address.filter(|address| address.allow_private_network);
            let ca = address.and_then(|address| address.ca.as_ref());
            [(name, json!(address.map(|address| &address.uri)))]
                .into_iter()
                .chain(private.map(|_| ("jwks_uri_allow_private_network", json!(true))))
                .chain(ca.map(|ca| ("jwks_uri_ca", json!(ca))))
                .collect()
        }
        // Stored as text, to the letter.
        "access_token_claims" => vec![(name, Value::Object(metadata.access_token_claims.as_object().clone()))],
        _ => vec![(name, stored)],
    }
}

const CLIENT_ID: &str = "client_id";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client::id::RegistrationId;
    use crate::core::realm::{Realm, RealmName};
    use crate::core::time::UnixSeconds;

    fn client(metadata: ClientMetadata) -> Client {
        let (id, realm) = ("myClient".parse().expect("an id"), Realm::new(RealmName::root()));
        Client::register(id, &realm, metadata, RegistrationId::from_text("r"), UnixSeconds(7)).expect("valid")
    }

    fn shown(information: &ClientInformation<'_>) -> Value {
        serde_json::to_value(information).expect("JSON")
    }

    #[test]
    fn what_is_shown_is_what_was_registered_and_none_of_what_the_server_keeps_for_itself() {
        let client = client(ClientMetadata {
            access_token_claims: r#"{"tier":"gold"}"#.parse().expect("claims"),
            ..ClientMetadata::new()
        });
        let shown = shown(&ClientInformation::of(&client));
        assert_eq!(shown["client_name"], Value::Null, "not set");
        assert_eq!((&shown["resources"], &shown["contacts"]), (&json!([]), &json!([])));
        assert_eq!(shown["access_token_claims"], json!({ "tier": "gold" }));
        assert_eq!(shown["tokens_valid_after"], 0);
        assert_eq!(shown.get("managed_by"), Some(&Value::Null), "no file declares it");
        for kept in ["client_secret", "registration_id", "revision", "longer_tokens_until"] {
            assert_eq!(shown.get(kept), None, "{kept}");
        }
    }

    #[test]
    fn several_methods_are_shown_besides_the_one_that_rfc_7591_knows() {
        let methods = [AuthMethod::ClientSecretBasic];
        let basic = client(ClientMetadata { token_endpoint_auth_methods: methods.into(), ..ClientMetadata::new() });
        let one = shown(&ClientInformation::of(&basic));
        assert_eq!(one["token_endpoint_auth_method"], "client_secret_basic");
        assert_eq!(one.get("token_endpoint_auth_methods"), None);
        let both = client(ClientMetadata::new());
        let both = shown(&ClientInformation::of(&both));
        assert_eq!(both["token_endpoint_auth_method"], "client_secret_basic");
        assert_eq!(both["token_endpoint_auth_methods"], json!(["client_secret_basic", "client_secret_post"]));
    }

    #[test]
    fn the_secret_is_in_the_one_answer_that_has_it() {
        let (client, secret) = (client(ClientMetadata::new()), ClientSecret::given("0123456789abcdef", false));
        let secret = secret.expect("strong enough");
        let created = ClientInformation::created(&client, Some(&secret));
        assert_eq!(shown(&created)["client_secret"], "0123456789abcdef");
        assert!(created.members().iter().all(|(_, value)| value != "0123456789abcdef"));
        assert_eq!(shown(&ClientInformation::created(&client, None)).get("client_secret"), None);
    }
}
