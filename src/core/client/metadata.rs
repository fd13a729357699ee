//! What an operator decides about a client (member names of RFC 7591 §2), and what of it fits together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::auth_method::AuthMethod;
use super::grant_type::GrantType;
use super::redirect_uri::RedirectUri;
use super::secret_storage::SecretStorage;
use crate::core::access_token::claims::{CustomClaims, InvalidClaims};
use crate::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence, TokenLifetime};
use crate::core::conversions::number_conversions;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::jwk_set::{InvalidJwks, JwkSet, VerifyingKey};
use crate::core::keys::jws_algorithm::JwsAlgorithm;
use crate::core::keys::remote::JwksUri;
use crate::core::owner::OwnerId;
use crate::core::quota::{QuotaMode, QuotaSetting};
use crate::core::realm::{Realm, RealmName};
use crate::core::resource::{MalformedResource, ResourceUri};
use crate::core::scope::Scope;
use crate::core::time::UnixSeconds;
use crate::core::trust::rule::{InvalidTrust, TrustRules};

/// What an operator decides about a client; everything else about a [`Client`] follows or is counted. It is shown in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientMetadata {
    /// When the secret stops working (RFC 7591 §3.2.1); 0 means never, which a record has to say.
    pub client_secret_expires_at: UnixSeconds,
    /// How long a secret is in use before a schedule replaces it; never where absent. A client that was handed its secret once
    /// must not have it: the second rotation would lock it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_rotation_days: Option<SecretRotationDays>,
    /// Where a deployed stack keeps the secrets. Absent: in Secrets Manager, and nobody has asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_storage: Option<SecretStorage>,
    /// Human-readable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// Who owns the client, by their ids.
    #[serde(default)]
    pub owners: BTreeSet<OwnerId>,
    /// People responsible for the application, as free text.
    #[serde(default)]
    pub contacts: Vec<String>,
    /// Every scope the client can be granted.
    #[serde(default)]
    pub scope: Scope,
    /// Granted where a request names no scope; always a subset of `scope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<Scope>,
    /// Grant types the client may use.
    #[serde(default)]
    pub grant_types: BTreeSet<GrantType>,
    /// Authentication methods the client may use; never empty.
    pub token_endpoint_auth_methods: BTreeSet<AuthMethod>,
    /// The public keys of assertions that the client signs (RFC 7591 §2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwkSet>,
    /// Where they are fetched instead; never both (RFC 7591 §2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<JwksUri>,
    /// The algorithms of those assertions; as each key allows where there are none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub token_endpoint_auth_signing_algs: BTreeSet<JwsAlgorithm>,
    /// Who else is the client, as others vouch for it.
    #[serde(default, skip_serializing_if = "TrustRules::is_empty")]
    pub trust: TrustRules,
    /// Sign-in URLs.
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    /// Seconds the client's access tokens live; the realm's setting where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime: Option<TokenLifetime>,
    /// The form of the client's access tokens; the realm's setting where absent, as for the two below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_format: Option<AccessTokenFormat>,
    /// What is kept of those that are JWTs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_persistence: Option<AccessTokenPersistence>,
    /// What those are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_signing_alg: Option<SigningAlgorithm>,
    /// How many tokens the client may be issued; the realm's setting where absent, as for the one below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_quota: Option<QuotaSetting>,
    /// What becomes of requests beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_quota_mode: Option<QuotaMode>,
    /// The protected resources that the client may ask for tokens for (RFC 8707); the first is the default.
    #[serde(default)]
    pub resources: Vec<ResourceUri>,
    /// What every token of the client says besides.
    #[serde(default, skip_serializing_if = "CustomClaims::is_empty")]
    pub access_token_claims: CustomClaims,
}

/// Days after which a deployed stack replaces a client's secret by itself: 1 to [`SecretRotationDays::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct SecretRotationDays(u64);

/// Why a registration was refused. The texts say what to do and never repeat a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegistration {
    /// A default scope is not among the client's scopes.
    #[error("the default scope '{0}' is not among the client's scopes")]
    DefaultScope(String),
    /// The realm does not allow a scope of the client.
    #[error("realm {realm} does not allow the scope '{scope}'; its allowed scopes are '{allowed}'")]
    ScopeOutsideRealm {
        /// The realm.
        realm: RealmName,
        /// The first scope token that the realm does not allow.
        scope: String,
        /// What it allows.
        allowed: Scope,
    },
    /// A protected resource is no resource indicator.
    #[error(transparent)]
    Resource(#[from] MalformedResource),
    /// The claims are no claims, or not the operator's to set.
    #[error(transparent)]
    Claims(#[from] InvalidClaims),
    /// No authentication method is left.
    #[error("a client needs at least one authentication method: {}", AuthMethod::names())]
    NoAuthMethod,
    /// The keys are no keys of a client.
    #[error(transparent)]
    Jwks(#[from] InvalidJwks),
    /// The trust rules admit nobody, or too many.
    #[error(transparent)]
    Trust(#[from] InvalidTrust),
    /// Keys in two places.
    #[error("a client has its keys in the registration (jwks) or at an address (jwks_uri), not both")]
    TwoSourcesOfKeys,
    /// No key can be used with any of the algorithms.
    #[error("none of the client's keys can be used with {0}; register another algorithm, or a key for one of them")]
    NoKeyForAlgorithm(String),
    /// A schedule would replace the secret, and the application could not learn the new one.
    #[error(
        "a secret that is kept as a digest is not rotated on a schedule, because its application could not read the new one anywhere"
    )]
    RotatedDigest,
    /// A name or contact is empty, too long or has control characters.
    #[error("the {0} is empty, longer than 256 characters, or has control characters")]
    Text(&'static str),
    /// Values that are too long together.
    #[error("the client's {what} have more than {max} characters together")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// The most it may have.
        max: usize,
    },
    /// More protected resources than a token could name.
    #[error("a client has at most {max} resources", max = ClientMetadata::MAX_RESOURCES)]
    TooManyResources,
    /// More values of one kind than a registration may hold.
    #[error("a client has at most {max} {what}", max = ClientMetadata::MAX_VALUES)]
    TooMany {
        /// What there are too many of.
        what: &'static str,
    },
}

/// The days between two rotations of the secret are out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secrets are rotated on a schedule every 1 to {max} days", max = SecretRotationDays::MAX)]
pub struct InvalidSecretRotationDays;

impl ClientMetadata {
    /// A client of the client credentials grant that authenticates by its secret, in HTTP Basic or in the body, and nothing more
    /// yet. Either, as in AM: what a client sends is its library's choice, and the secret is the same.
    pub fn new() -> Self {
        Self {
            client_name: None,
            owners: BTreeSet::new(),
            contacts: Vec::new(),
            redirect_uris: Vec::new(),
            scope: Scope::empty(),
            default_scope: None,
            grant_types: [GrantType::client_credentials()].into(),
            token_endpoint_auth_methods: [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost].into(),
            jwks: None,
            jwks_uri: None,
            token_endpoint_auth_signing_algs: BTreeSet::new(),
            trust: TrustRules::default(),
            access_token_lifetime: None,
            client_secret_expires_at: UnixSeconds(0),
            client_secret_rotation_days: None,
            client_secret_storage: None,
            access_token_format: None,
            access_token_persistence: None,
            access_token_signing_alg: None,
            token_quota: None,
            token_quota_mode: None,
            resources: Vec::new(),
            access_token_claims: CustomClaims::default(),
        }
    }

    /// The most owners, contacts, sign-in URLs, scope tokens or grant types of one client.
    pub const MAX_VALUES: usize = 200;
    /// The most bytes of all of them together; DynamoDB's items end at 400 KB.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// The most bytes of all scopes together: every token's record has them, and is billed by the kilobyte.
    pub const MAX_SCOPE_BYTES: usize = 8 * 1024;

    /// The most resources of one client: a token may be for all of them.
    pub const MAX_RESOURCES: usize = 16;

    /// Checks what one member says against the others and against the realm.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self, realm: &Realm) -> Result<(), InvalidRegistration> {
        self.check_change(&Self::new(), realm)
    }

    /// [`Self::check`] of what `before` becomes. A scope that the client has had all along may have been withdrawn by the realm
    /// meanwhile: that is no reason to refuse it another owner.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check_change(&self, before: &Self, realm: &Realm) -> Result<(), InvalidRegistration> {
        for (what, count) in [
            ("owners", self.owners.len()),
            ("contacts", self.contacts.len()),
            ("sign-in URLs", self.redirect_uris.len()),
            ("scopes", self.scope.tokens().count()),
            ("grant types", self.grant_types.len()),
        ] {
            if count > Self::MAX_VALUES {
                return Err(InvalidRegistration::TooMany { what });
            }
        }
        if self.resources.len() > Self::MAX_RESOURCES {
            return Err(InvalidRegistration::TooManyResources);
        }
        if self.scope.to_string().len() > Self::MAX_SCOPE_BYTES {
            return Err(InvalidRegistration::TooLarge { what: "scopes", max: Self::MAX_SCOPE_BYTES });
        }
        if serde_json::to_vec(self).is_ok_and(|json| json.len() > Self::MAX_BYTES) {
            return Err(InvalidRegistration::TooLarge { what: "values", max: Self::MAX_BYTES });
        }
        if let Some(name) = &self.client_name {
            check_text("name", name)?;
        }
        for contact in &self.contacts {
            check_text("contact", contact)?;
        }
        if self.token_endpoint_auth_methods.is_empty() {
            return Err(InvalidRegistration::NoAuthMethod);
        }
        self.check_keys()?;
        if self.trust != before.trust {
            self.trust.check(&realm.settings.trusted_issuers)?;
        }
        if self.client_secret_storage == Some(SecretStorage::Digest) && self.client_secret_rotation_days.is_some() {
            return Err(InvalidRegistration::RotatedDigest);
        }
        if let Some(outside) =
            self.default_scope.iter().flat_map(Scope::tokens).find(|token| !self.scope.contains(token))
        {
            return Err(InvalidRegistration::DefaultScope(outside.to_owned()));
        }
        let had = |before: Option<&Scope>, token: &str| before.is_some_and(|before| before.contains(token));
        let new_scope = self.scope.tokens().filter(|token| !had(Some(&before.scope), token));
        let new_default = self.default_scope.iter().flat_map(Scope::tokens);
        let new_default = new_default.filter(|token| !had(before.default_scope.as_ref(), token));
        if let Some(allowed) = &realm.settings.allowed_scope
            && let Some(outside) = new_scope.chain(new_default).find(|token| !allowed.contains(token))
        {
            return Err(InvalidRegistration::ScopeOutsideRealm {
                realm: realm.name.clone(),
                scope: outside.to_owned(),
                allowed: allowed.clone(),
            });
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), InvalidRegistration> {
        if self.jwks.is_some() && self.jwks_uri.is_some() {
            return Err(InvalidRegistration::TwoSourcesOfKeys);
        }
        let registered = &self.token_endpoint_auth_signing_algs;
        if let Some(jwks) = &self.jwks
            && !registered.is_empty()
            && !jwks.keys().flat_map(VerifyingKey::algorithms).any(|algorithm| registered.contains(&algorithm))
        {
            let names: Vec<&str> = registered.iter().map(|algorithm| algorithm.as_str()).collect();
            return Err(InvalidRegistration::NoKeyForAlgorithm(names.join(" or ")));
        }
        Ok(())
    }
}

impl Default for ClientMetadata {
    fn default() -> Self {
        Self::new()
    }
}

impl SecretRotationDays {
    /// A year.
    pub const MAX: u64 = 365;

    /// A rotation every `days`.
    ///
    /// # Errors
    /// [`InvalidSecretRotationDays`] outside 1 to [`Self::MAX`].
    pub fn new(days: u64) -> Result<Self, InvalidSecretRotationDays> {
        if (1..=Self::MAX).contains(&days) { Ok(Self(days)) } else { Err(InvalidSecretRotationDays) }
    }

    /// The days.
    pub fn days(self) -> u64 {
        self.0
    }

    /// The same time in seconds.
    pub fn seconds(self) -> u64 {
        self.0 * 24 * 3600
    }
}

number_conversions!(SecretRotationDays: InvalidSecretRotationDays);

fn check_text(what: &'static str, text: &str) -> Result<(), InvalidRegistration> {
    let length = text.chars().count();
    // A control character would let a registration forge lines of a terminal or a log.
    if length == 0 || length > 256 || text.chars().any(char::is_control) {
        return Err(InvalidRegistration::Text(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> ClientMetadata {
        ClientMetadata {
            client_name: Some("My client".into()),
            contacts: vec!["owner@example.com".into()],
            redirect_uris: vec!["https://www.example.com:443/callback".parse().expect("absolute")],
            scope: "read write".parse().expect("well formed"),
            default_scope: Some("write".parse().expect("well formed")),
            grant_types: [GrantType::client_credentials()].into(),
            token_endpoint_auth_methods: [AuthMethod::ClientSecretBasic].into(),
            ..ClientMetadata::new()
        }
    }

    fn realm() -> Realm {
        Realm::new(RealmName::root())
    }

    #[test]
    fn a_default_scope_is_one_of_the_clients_scopes() {
        let mut wrong = metadata();
        wrong.default_scope = Some("admin".parse().expect("well formed"));
        assert_eq!(wrong.check(&realm()), Err(InvalidRegistration::DefaultScope("admin".into())));
    }

    #[test]
    fn a_registration_holds_as_much_as_its_bounds_say_and_not_one_more() {
        let numbered = |count: usize| (0..count).map(|number| format!("https://a.example/{number}"));
        let uris = |count| numbered(count).map(|uri| uri.parse().expect("a URL")).collect::<Vec<RedirectUri>>();
        let resources = |count| numbered(count).map(|uri| uri.parse().expect("a URI")).collect::<Vec<ResourceUri>>();
        let scope = |count: usize| (0..count).map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ");
        let owners = |count: usize| (0..count).map(|number| format!("o{number}").parse().expect("an id")).collect();
        let grants = |count: usize| (0..count).map(|number| format!("urn:ietf:params:oauth:grant-type:{number}"));
        let grants = |count| grants(count).map(|name| name.parse().expect("a grant type")).collect::<BTreeSet<_>>();
        let most = ClientMetadata::MAX_VALUES;
        let with = |change: &dyn Fn(&mut ClientMetadata)| {
            let mut metadata = ClientMetadata::new();
            change(&mut metadata);
            metadata.check(&realm())
        };

        for (count, too_many) in [(most, false), (most + 1, true)] {
            let checked = |what: &'static str, change: &dyn Fn(&mut ClientMetadata)| {
                let expected = if too_many { Err(InvalidRegistration::TooMany { what }) } else { Ok(()) };
                assert_eq!(with(change), expected, "{count} {what}");
            };
            checked("contacts", &|metadata| metadata.contacts = vec!["a".into(); count]);
            checked("owners", &|metadata| metadata.owners = owners(count));
            checked("sign-in URLs", &|metadata| metadata.redirect_uris = uris(count));
            checked("scopes", &|metadata| metadata.scope = scope(count).parse().expect("well formed"));
            checked("grant types", &|metadata| metadata.grant_types = grants(count));
        }

        let most = ClientMetadata::MAX_RESOURCES;
        assert_eq!(with(&|metadata| metadata.resources = resources(most)), Ok(()));
        let one_more = with(&|metadata| metadata.resources = resources(most + 1));
        assert_eq!(one_more, Err(InvalidRegistration::TooManyResources));

        // One token as long as all of them may be.
        let most = ClientMetadata::MAX_SCOPE_BYTES;
        let of_length = |length: usize| {
            move |metadata: &mut ClientMetadata| {
                metadata.scope = "s".repeat(length).parse().expect("well formed");
            }
        };
        assert_eq!(with(&of_length(most)), Ok(()));
        let one_more = with(&of_length(most + 1));
        assert_eq!(one_more, Err(InvalidRegistration::TooLarge { what: "scopes", max: most }));
    }

    #[test]
    fn a_registration_fits_into_an_item_to_the_byte() {
        let most = ClientMetadata::MAX_BYTES;
        // Contacts of 256 characters of four bytes each, and a name that takes what is left.
        let mut metadata = ClientMetadata { contacts: vec!["\u{1f980}".repeat(256); 63], ..ClientMetadata::new() };
        let bytes = |metadata: &ClientMetadata| serde_json::to_vec(metadata).expect("serializes").len();
        metadata.client_name = Some("n".into());
        let left = most - bytes(&metadata);
        let name = |more: usize| "\u{1f980}".repeat((left + more) / 4) + &"n".repeat((left + more) % 4 + 1);
        metadata.client_name = Some(name(0));
        assert_eq!((bytes(&metadata), metadata.check(&realm())), (most, Ok(())));
        metadata.client_name = Some(name(1));
        let too_large = InvalidRegistration::TooLarge { what: "values", max: most };
        assert_eq!((bytes(&metadata), metadata.check(&realm())), (most + 1, Err(too_large)));
    }

    #[test]
    fn keys_are_in_one_place_and_there_for_who_needs_them() {
        let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let jwks = Some(JwkSet::parse(key.as_bytes()).expect("a key"));
        let jwks_uri = Some(JwksUri::public("https://app.example.com/jwks.json".parse().expect("a URL")));
        let checked = |jwks: &Option<JwkSet>, jwks_uri: &Option<JwksUri>, method, algorithms: &[JwsAlgorithm]| {
            let metadata = ClientMetadata {
                jwks: jwks.clone(),
                jwks_uri: jwks_uri.clone(),
                token_endpoint_auth_methods: [method].into(),
                token_endpoint_auth_signing_algs: algorithms.iter().copied().collect(),
                ..ClientMetadata::new()
            };
            metadata.check(&realm())
        };
        let (by_key, by_secret) = (AuthMethod::PrivateKeyJwt, AuthMethod::ClientSecretBasic);
        for method in [by_key, by_secret] {
            assert_eq!(checked(&jwks, &None, method, &[]), Ok(()));
            assert_eq!(checked(&None, &jwks_uri, method, &[JwsAlgorithm::Es256]), Ok(()));
            assert_eq!(checked(&jwks, &jwks_uri, method, &[]), Err(InvalidRegistration::TwoSourcesOfKeys));
            let other = checked(&jwks, &None, method, &[JwsAlgorithm::Es256, JwsAlgorithm::Rs256]);
            assert_eq!(other, Err(InvalidRegistration::NoKeyForAlgorithm("ES256 or RS256".to_owned())));
            assert_eq!(checked(&jwks, &None, method, &[JwsAlgorithm::Es256, JwsAlgorithm::EdDsa]), Ok(()));
        }
        // A key can be made once there is a client whose it is.
        assert_eq!(checked(&None, &None, by_key, &[]), Ok(()));
        assert_eq!(checked(&None, &None, by_secret, &[]), Ok(()));
    }

    #[test]
    fn a_name_has_1_to_256_characters() {
        for (length, expected) in [
            (0, Err(InvalidRegistration::Text("name"))),
            (1, Ok(())),
            (256, Ok(())),
            (257, Err(InvalidRegistration::Text("name"))),
        ] {
            let named = ClientMetadata { client_name: Some("é".repeat(length)), ..ClientMetadata::new() };
            assert_eq!(named.check(&realm()), expected, "{length}");
        }
    }

    #[test]
    fn names_cannot_forge_terminal_output() {
        let mut forged = metadata();
        forged.client_name = Some("a\u{1b}[2J".into());
        assert_eq!(forged.check(&realm()), Err(InvalidRegistration::Text("name")));
    }

    #[test]
    fn a_secret_is_rotated_by_schedule_every_1_to_365_days() {
        for days in [0, 366, u64::MAX] {
            assert_eq!(SecretRotationDays::new(days), Err(InvalidSecretRotationDays), "{days}");
            assert!(serde_json::from_value::<SecretRotationDays>(days.into()).is_err(), "{days}");
        }
        for days in [1, 365] {
            let every = SecretRotationDays::new(days).expect("in range");
            assert_eq!((every.days(), every.seconds()), (days, days * 86_400));
            assert_eq!(serde_json::to_value(every).expect("serializes"), days);
        }
    }
}
