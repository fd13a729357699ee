//! The schemas of single values, by their types.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::core::access_token::claims::CustomClaims;
use crate::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence, TokenLifetime};
use crate::core::aws_principal::AwsPrincipal;
use crate::core::client::ClientStatus;
use crate::core::client::auth_method::AuthMethod;
use crate::core::client::grant_type::GrantType;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::SecretRotationDays;
use crate::core::client::redirect_uri::RedirectUri;
use crate::core::client::secret_storage::SecretStorage;
use crate::core::declaration::DeclarationName;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::jwk_set::JwkSet;
use crate::core::keys::jws_algorithm::JwsAlgorithm;
use crate::core::keys::remote::CaCertificates;
use crate::core::management::plan::declaration::UNTIL_EXP;
use crate::core::owner::{EmailAddress, OwnerId, OwnerName, OwnerStatus};
use crate::core::quota::{QuotaMode, QuotaSetting};
use crate::core::realm::{AssertionAudience, AssertionLifetime, RealmName};
use crate::core::resource::ResourceUri;
use crate::core::scope::Scope;
use crate::core::time::UnixSeconds;
use crate::core::trust::issuer::{IssuerKind, IssuerName, IssuerUrl, TrustedIssuer};

/// Public keys that a client registers.
pub(super) struct ClientKeys;
/// Public keys that an issuer publishes.
pub(super) struct PublishedKeys;
/// Where public keys are fetched.
pub(super) struct KeyAddress;
/// Where the keys of an issuer are.
pub(super) struct IssuerKeys;
/// How old a token may be.
pub(super) struct TokenAge;

/// The schema of each type, which stands where the type is used.
macro_rules! schemas {
    ($($type:ty: $schema:expr;)+) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )+};
}

schemas! {
    RealmName: text(r"^[A-Za-z0-9_-]{1,64}$");
    DeclarationName: text(r"^[A-Za-z0-9_.-]{1,64}$");
    IssuerName: text(r"^[A-Za-z0-9_.-]{1,64}$");
    ClientId: text(r"^(?!signing-keys)[A-Za-z0-9._@][A-Za-z0-9._@-]{0,127}$");
    OwnerId: text(r"^[A-Za-z0-9._@][A-Za-z0-9._@-]{0,127}$");
    OwnerName: json_schema!({
        "type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
    });
    EmailAddress: json_schema!({ "type": "string", "maxLength": 254, "pattern": r"^\S+@[^\s@]+$" });
    AwsPrincipal: text(
        r"^arn:aws[a-z-]*:(iam::[0-9]{12}:(role|user)/([!-)+->@-~]*/)?|sts::[0-9]{12}:assumed-role/[A-Za-z0-9_+=,.@-]+/)[A-Za-z0-9_+=,.@-]+$"
    );
    Scope: text(r"^([!#-\[\]-~]+( [!#-\[\]-~]+)*)?$");
    GrantType: json_schema!({
        "type": "string",
        "anyOf": [
            { "enum": ["client_credentials", "authorization_code", "implicit", "password", "refresh_token"] },
            { "pattern": "^urn:ietf:params:oauth:grant-type:[!-~]{1,64}$" }
        ]
    });
    AuthMethod: one_of(AuthMethod::ALL.map(AuthMethod::as_str));
    JwsAlgorithm: one_of(JwsAlgorithm::NAMES);
    SigningAlgorithm: one_of(SigningAlgorithm::ALL.map(SigningAlgorithm::as_str));
    AccessTokenFormat: one_of(AccessTokenFormat::ALL.map(AccessTokenFormat::as_str));
    AccessTokenPersistence: one_of(AccessTokenPersistence::ALL.map(AccessTokenPersistence::as_str));
    SecretStorage: one_of(SecretStorage::ALL.map(SecretStorage::as_str));
    AssertionAudience: one_of(AssertionAudience::ALL.map(AssertionAudience::as_str));
    QuotaMode: one_of(QuotaMode::ALL.map(QuotaMode::as_str));
    IssuerKind: one_of(IssuerKind::ALL.map(IssuerKind::as_str));
    ClientStatus: one_of([ClientStatus::Active, ClientStatus::Disabled].map(written));
    OwnerStatus: one_of([OwnerStatus::Active, OwnerStatus::Disabled].map(written));
    QuotaSetting: text(r"^(none|[1-9][0-9]{0,9}/(hour|day))$");
    TokenLifetime: json_schema!({ "type": "integer", "minimum": 1, "maximum": TokenLifetime::MAX });
    AssertionLifetime: json_schema!({ "type": "integer", "minimum": 1, "maximum": AssertionLifetime::MAX });
    SecretRotationDays: json_schema!({ "type": "integer", "minimum": 1, "maximum": SecretRotationDays::MAX });
    UnixSeconds: json_schema!({ "type": "integer", "minimum": 0 });
    RedirectUri: json_schema!({
        "type": "string", "maxLength": 2048,
        "pattern": r#"^([Hh][Tt][Tt][Pp][Ss]?|[A-Za-z][A-Za-z0-9+-]*\.[A-Za-z0-9+.-]*):[!"$-~]+$"#
    });
    ResourceUri: json_schema!({
        "type": "string", "maxLength": ResourceUri::MAX_LENGTH, "pattern": r"^[A-Za-z][A-Za-z0-9+.-]*:[!$-\[\]-~]+$"
    });
    IssuerUrl: json_schema!({
        "type": "string", "maxLength": 2048,
        "pattern": r#"^(https://[!"$&-.0->A-\[\]-~]+(/[!"$->@-\[\]-~]*)?|spiffe://[a-z0-9._-]{1,255})$"#
    });
    CustomClaims: json_schema!({
        "type": "object",
        "propertyNames": { "minLength": 1, "maxLength": 64, "not": { "enum": CustomClaims::RESERVED } },
        "additionalProperties": {
            "if": { "type": "object", "required": ["from"], "maxProperties": 1 },
            "then": {
                "description": "A claim that is taken from what is verified of the caller: the names on the way to it.",
                "properties": {
                    "from": { "type": "array", "minItems": 1, "maxItems": 8, "items": { "type": "string", "minLength": 1 } }
                }
            }
        }
    });
    TokenAge: json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": TrustedIssuer::LONGEST_AGE },
            { "const": UNTIL_EXP }
        ]
    });
    ClientKeys: json_schema!({
        "type": "object",
        "anyOf": [
            {
                "required": ["keys"],
                "properties": { "keys": { "type": "array", "minItems": 1, "maxItems": JwkSet::MAX_KEYS, "items": public_key() } }
            },
            { "not": { "required": ["keys"] }, "allOf": [public_key()] }
        ]
    });
    PublishedKeys: published_keys();
    KeyAddress: key_address();
    IssuerKeys: json_schema!({
        "anyOf": [
            { "const": "discovery" },
            { "type": "object", "required": ["jwks"], "additionalProperties": false, "properties": { "jwks": published_keys() } },
            { "type": "object", "required": ["jwks_uri"], "additionalProperties": false, "properties": { "jwks_uri": key_address() } },
            {
                "type": "object",
                "required": ["discovery"],
                "additionalProperties": false,
                "properties": {
                    "discovery": {
                        "type": ["object", "null"],
                        "additionalProperties": false,
                        "properties": { "allow_private_network": allow_private_network(), "ca": certificates() }
                    }
                }
            }
        ]
    });
}

fn text(pattern: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": pattern })
}

fn one_of<const N: usize>(names: [&str; N]) -> Schema {
    json_schema!({ "type": "string", "enum": names.to_vec() })
}

fn written(status: impl serde::Serialize) -> &'static str {
    let written = serde_json::to_value(status).expect("JSON");
    ["active", "disabled"].into_iter().find(|name| written == *name).expect("a status")
}

fn public_key() -> Schema {
    json_schema!({
        "type": "object",
        "required": ["kty"],
        "properties": { "kty": { "enum": ["EC", "OKP", "RSA"] } },
        "not": { "anyOf": each_required(&["d", "p", "q", "dp", "dq", "qi", "oth", "k"]) }
    })
}

fn each_required(members: &[&str]) -> Vec<Value> {
    members.iter().map(|member| json!({ "required": [member] })).collect()
}

fn published_keys() -> Schema {
    json_schema!({
        "type": "object",
        "required": ["keys"],
        "properties": { "keys": { "type": "array", "minItems": 1, "maxItems": JwkSet::MAX_FETCHED_KEYS, "items": {
            "type": "object",
            "not": { "anyOf": each_required(&["d", "k"]) }
        } } }
    })
}

fn key_address() -> Schema {
    let uri = json!({
        "type": "string", "maxLength": 2048, "pattern": r#"^https://[!"$-.0->A-\[\]-~]+([/?][!"$-\[\]-~]*)?$"#
    });
    json_schema!({
        "anyOf": [
            uri,
            {
                "type": "object",
                "required": ["uri"],
                "additionalProperties": false,
                "properties": { "uri": uri, "allow_private_network": allow_private_network(), "ca": certificates() }
            }
        ]
    })
}

fn allow_private_network() -> Schema {
    json_schema!({ "description": "Whether it may be an address of a private network.", "type": "boolean" })
}

fn certificates() -> Schema {
    json_schema!({
        "description": "The authorities that its certificate is checked by, in PEM. Without it: those that the system trusts.",
        "type": ["string", "null"],
        "maxLength": CaCertificates::MAX_BYTES,
        "pattern": "-----BEGIN CERTIFICATE-----"
    })
}
