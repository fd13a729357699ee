//! The published JSON Schema of a file is what the types say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::members_of;
use super::values::{ClientKeys, IssuerKeys, KeyAddress, PublishedKeys, TokenAge};
use crate::core::access_token::claims::CustomClaims;
use crate::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence, TokenLifetime};
use crate::core::aws_principal::AwsPrincipal;
use crate::core::client::ClientStatus;
use crate::core::client::auth_method::AuthMethod;
use crate::core::client::grant_type::GrantType;
use crate::core::client::id::ClientId;
use crate::core::client::metadata::{ClientMetadata, SecretRotationDays};
use crate::core::client::redirect_uri::RedirectUri;
use crate::core::client::secret_storage::SecretStorage;
use crate::core::declaration::DeclarationName;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::jws_algorithm::JwsAlgorithm;
use crate::core::owner::{EmailAddress, Owner, OwnerId, OwnerName, OwnerStatus};
use crate::core::quota::{QuotaMode, QuotaSetting};
use crate::core::realm::{AssertionAudience, AssertionLifetime, RealmName};
use crate::core::resource::ResourceUri;
use crate::core::scope::Scope;
use crate::core::time::UnixSeconds;
use crate::core::trust::issuer::{IssuerKind, IssuerName, IssuerUrl};
use crate::core::trust::limits;
use crate::core::trust::written::WrittenRule;

#[test]
fn the_published_schema_is_that_of_the_types() {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    let written = format!("{:#}\n", schema.as_value());
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/declaration.schema.json");
    if fs::read_to_string(&published).unwrap_or_default() != written {
        let new = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/declaration.schema.json");
        fs::write(&new, written).expect("target can be written");
        panic!("{} is outdated: copy {} over it", published.display(), new.display());
    }
}

#[test]
fn the_published_schema_has_every_member_and_no_other() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../../../../docs/schemas/declaration.schema.json")).expect("JSON");
    let names =
        |of: &Value| of["properties"].as_object().expect("members").keys().cloned().collect::<BTreeSet<String>>();
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(names(&schema), expected(&["$schema", "name", "realms", "owners", "issuers", "clients"]));
    for (list, entry) in [("realms", "realm"), ("owners", "owner"), ("issuers", "issuer"), ("clients", "client")] {
        let entry = &schema["$defs"][entry];
        assert_eq!(names(entry), expected(&members_of(list).into_iter().collect::<Vec<_>>()), "{list}");
        assert_eq!(entry["additionalProperties"], false, "{list}");
        let undescribed = |(_, member): &(&String, &Value)| member["description"].as_str().is_none_or(str::is_empty);
        let undescribed: Vec<_> =
            entry["properties"].as_object().expect("members").iter().filter(undescribed).collect();
        assert!(undescribed.is_empty(), "{undescribed:?}");
    }
}

/// What `grantwell apply` makes of a registry. Only what is mentioned is set. Null is the default of a member.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "declaration")]
#[expect(dead_code, reason = "its form is all that is wanted")]
struct File {
    /// Where the schema of this file is. Editors complete by it.
    #[serde(rename = "$schema")]
    schema: Option<String>,
    /// The name that keeps the records of this file from those of others. What `--prune` deletes has it.
    name: DeclarationName,
    /// The realms, and their settings.
    realms: Option<Vec<DeclaredRealm>>,
    /// Who is responsible for clients.
    owners: Option<Vec<DeclaredOwner>>,
    /// The issuers whose tokens realms trust.
    issuers: Option<Vec<DeclaredIssuer>>,
    /// The clients.
    clients: Option<Vec<DeclaredClient>>,
}

/// A realm.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "realm")]
#[expect(dead_code, reason = "its form is all that is wanted")]
struct DeclaredRealm {
    /// Its name.
    realm: RealmName,
    /// The scopes that are granted where a request names none and the client has no default of its own.
    default_scope: Option<Scope>,
    /// The only scopes that its clients can have. Without it: whatever each client has.
    allowed_scope: Option<Scope>,
    /// How many seconds an access token lives.
    access_token_lifetime: Option<TokenLifetime>,
    /// The only grant types that its clients can use. Without it: whatever each client has.
    grant_types: Option<Vec<GrantType>>,
    /// The form of access tokens: a random reference, or a JWT.
    access_token_format: Option<AccessTokenFormat>,
    /// Whether a record of each JWT is kept.
    access_token_persistence: Option<AccessTokenPersistence>,
    /// The algorithm that signs JWTs.
    access_token_signing_alg: Option<SigningAlgorithm>,
    /// How many tokens each client may be issued: `none`, or a number by the hour or the day.
    token_quota: Option<QuotaSetting>,
    /// Whether requests beyond the quota are refused, or only recorded.
    token_quota_mode: Option<QuotaMode>,
    /// What the assertions of clients have to be for: the issuer, or with `compatible` also the token endpoint.
    assertion_audience: Option<AssertionAudience>,
    /// The most seconds that an assertion may be valid for.
    assertion_max_lifetime: Option<AssertionLifetime>,
    /// Where a deployed stack keeps the secrets of clients that are registered from now on.
    client_secret_storage: Option<SecretStorage>,
    /// Since when the day of each client's last use is recorded, in seconds since 1970. Without it, it is not recorded.
    client_use_recorded_since: Option<UnixSeconds>,
}

/// An owner of clients.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "owner")]
#[expect(dead_code, reason = "its form is all that is wanted")]
struct DeclaredOwner {
    /// Its id, by which clients name it.
    owner: OwnerId,
    /// A name for people.
    name: Option<OwnerName>,
    /// Where it can be written to. Nothing is sent there.
    email: Option<EmailAddress>,
    /// Whether its principals may change its clients, and whether it can be given others.
    status: Option<OwnerStatus>,
    /// The roles and users of AWS that may manage its clients, by ARN.
    #[schemars(length(max = Owner::MAX_PRINCIPALS))]
    aws_principals: Option<Vec<AwsPrincipal>>,
}

/// An issuer that a realm trusts. Its URL, or a kind that tells it (`github`, `gitlab`), is required.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "issuer", extend(
    "anyOf" = [
        {"required": ["issuer"], "properties": {"issuer": {"type": "string"}}},
        {"required": ["kind"], "properties": {"kind": {"enum": ["github", "gitlab"]}}},
        {"required": ["preset"], "properties": {"preset": {"enum": ["github", "gitlab"]}}}
    ],
    "allOf" = [
        {"not": {"required": ["kind", "preset"]}},
        {"not": {"required": ["keys", "jwks"]}},
        {"not": {"required": ["keys", "jwks_uri"]}},
        {"not": {"required": ["jwks", "jwks_uri"]}}
    ]
))]
#[expect(dead_code, reason = "its form is all that is wanted")]
struct DeclaredIssuer {
    /// The realm that trusts it: root where it is left out.
    #[serde(default = "RealmName::root")]
    realm: RealmName,
    /// What operators call it.
    name: IssuerName,
    /// What its tokens have in `iss`, to the letter. For SPIFFE: the trust domain.
    issuer: Option<IssuerUrl>,
    /// What is known of its tokens: what rules have to pin, and the defaults of `algs`, `max_age` and `single_use`.
    kind: Option<IssuerKind>,
    /// The same as `kind`.
    preset: Option<IssuerKind>,
    /// Where its public keys are: `discovery`, a `jwks`, or a `jwks_uri`.
    keys: Option<IssuerKeys>,
    /// Its public keys. Nothing is fetched.
    jwks: Option<PublishedKeys>,
    /// The address of its public keys.
    jwks_uri: Option<KeyAddress>,
    /// The algorithms that its tokens may be signed with. Without it: as each key allows.
    algs: Option<Vec<JwsAlgorithm>>,
    /// How many seconds old a token may be, or `until exp`.
    max_age: Option<TokenAge>,
    /// Whether each token is good once.
    single_use: Option<bool>,
}

/// A client.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "client", extend("allOf" = [
    {"not": {"required": ["token_endpoint_auth_methods", "token_endpoint_auth_method"]}},
    {"not": {"required": ["token_endpoint_auth_signing_algs", "token_endpoint_auth_signing_alg"]}},
    {"not": {
        "required": ["jwks", "jwks_uri"],
        "properties": {"jwks": {"type": "object"}, "jwks_uri": {"type": ["object", "string"]}}
    }}
]))]
#[expect(dead_code, reason = "its form is all that is wanted")]
struct DeclaredClient {
    /// Its realm: root where it is left out.
    #[serde(default = "RealmName::root")]
    realm: RealmName,
    /// Its id.
    client_id: ClientId,
    /// When its secrets stop working, in seconds since 1970. 0 is never.
    client_secret_expires_at: Option<UnixSeconds>,
    /// After how many days a deployed stack replaces its secret. The application has to read it from Secrets Manager.
    client_secret_rotation_days: Option<SecretRotationDays>,
    /// Where a deployed stack keeps its secrets.
    client_secret_storage: Option<SecretStorage>,
    /// A name for people.
    #[schemars(length(min = 1, max = 256), regex(pattern = NO_CONTROLS))]
    client_name: Option<String>,
    /// Who owns it, by their ids.
    #[schemars(length(max = ClientMetadata::MAX_VALUES))]
    owners: Option<Vec<OwnerId>>,
    /// People responsible for it, as free text.
    #[schemars(length(max = ClientMetadata::MAX_VALUES), inner(length(min = 1, max = 256), regex(pattern = NO_CONTROLS)))]
    contacts: Option<Vec<String>>,
    /// Every scope that it can be granted, separated by spaces.
    scope: Option<Scope>,
    /// The scopes that are granted where a request names none. Each has to be in `scope`.
    default_scope: Option<Scope>,
    /// The grants that it may use.
    #[schemars(length(max = ClientMetadata::MAX_VALUES))]
    grant_types: Option<Vec<GrantType>>,
    /// How it may authenticate. Without it: by its secret, in the header or in the body.
    #[schemars(length(min = 1))]
    token_endpoint_auth_methods: Option<Vec<AuthMethod>>,
    /// `token_endpoint_auth_methods` where there is one.
    token_endpoint_auth_method: Option<AuthMethod>,
    /// The public keys of `private_key_jwt`: a JWK Set, or one key.
    jwks: Option<ClientKeys>,
    /// The address of those keys, in place of `jwks`.
    jwks_uri: Option<KeyAddress>,
    /// The algorithms that it may sign its assertions with. Without it: as each key allows.
    token_endpoint_auth_signing_algs: Option<Vec<JwsAlgorithm>>,
    /// `token_endpoint_auth_signing_algs` where there is one.
    token_endpoint_auth_signing_alg: Option<JwsAlgorithm>,
    /// Who is the client without a secret, by `aws_iam` or `workload_identity`.
    #[schemars(length(max = limits::RULES))]
    trust: Option<Vec<WrittenRule>>,
    /// Sign-in URLs, kept for other servers.
    #[schemars(length(max = ClientMetadata::MAX_VALUES))]
    redirect_uris: Option<Vec<RedirectUri>>,
    /// How many seconds its access tokens live. Without it: as its realm has it.
    access_token_lifetime: Option<TokenLifetime>,
    /// The form of its access tokens: a random reference, or a JWT. Without it: as its realm has it.
    access_token_format: Option<AccessTokenFormat>,
    /// Whether a record of each JWT is kept.
    access_token_persistence: Option<AccessTokenPersistence>,
    /// The algorithm that signs its JWTs. Without it: as its realm has it.
    access_token_signing_alg: Option<SigningAlgorithm>,
    /// How many tokens it may be issued: `none`, or a number by the hour or the day. Without it: as its realm has it.
    token_quota: Option<QuotaSetting>,
    /// Whether requests beyond the quota are refused, or only recorded.
    token_quota_mode: Option<QuotaMode>,
    /// The protected resources that it may ask for tokens for. The first is the default.
    #[schemars(length(max = ClientMetadata::MAX_RESOURCES))]
    resources: Option<Vec<ResourceUri>>,
    /// Claims that each of its tokens carries.
    access_token_claims: Option<CustomClaims>,
    /// Whether it may authenticate.
    status: Option<ClientStatus>,
    /// Whether a secret is made for it. With false, it has to authenticate in another way.
    #[schemars(extend("default" = true))]
    generate: Option<bool>,
}

const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
