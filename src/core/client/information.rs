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
        let members = registered_members(client).chain([("tokens_valid_after", json!(client.tokens_valid_after))]);
        Self { members: members.collect(), secret: None }
    }

    /// A client just registered, with its secret: the one answer that has it.
    pub fn created(client: &Client, secret: &'a ClientSecret) -> Self {
        Self { members: registered_members(client).collect(), secret: Some(secret) }
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
        // Stored as text, to the letter.
        "access_token_claims" => vec![(name, Value::Object(metadata.access_token_claims.as_object().clone()))],
        _ => vec![(name, stored)],
    }
}

const CLIENT_ID: &str = "client_id";
