use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::super::TokenDigest;
use super::super::claims::CustomClaims;
use super::super::jwt;
use super::*;
use crate::core::access_token::record::{Revocation, RevokedToken};
use crate::core::access_token::settings::TokenLifetime;
use crate::core::client::Client;
use crate::core::client::id::{ClientId, RegistrationId};
use crate::core::introspection::SIGNED_TYP;
use crate::core::jose;
use crate::core::keys::SigningAlgorithm;
use crate::core::keys::published::{PublishedKeys, VerificationKeys};
use crate::core::keys::set::{KeySet, Signers};
use crate::core::realm::PublicUrl;
use crate::core::realms::RealmDefaults;
use crate::core::resource::Audience;

const NOW: UnixSeconds = UnixSeconds(1_795_415_820);
const STATELESS_JTI: &str = "stateless.AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHw";

/// Every store that a validator asks.
#[derive(Default)]
struct Stores {
    keys: HashMap<RealmName, Arc<VerificationKeys>>,
    newer_keys: HashMap<RealmName, Arc<VerificationKeys>>,
    looked_again: AtomicU64,
    tokens: Mutex<HashMap<TokenDigest, StoredToken>>,
    denied: Mutex<HashSet<String>>,
    whole_since: AtomicU64,
}

#[async_trait]
impl ClientRegistry for Stores {
    async fn client(&self, _: &RealmName, _: &ClientId) -> Result<Option<Arc<Client>>, PortError> {
        Ok(None)
    }

    async fn realm(&self, _: &RealmName) -> Result<Option<Arc<Realm>>, PortError> {
        Ok(None)
    }
}

#[async_trait]
impl TokenStore for Stores {
    async fn put(&self, digest: &TokenDigest, record: &AccessTokenRecord) -> Result<(), PortError> {
        self.tokens.lock().expect("not poisoned").insert(*digest, StoredToken::Live(Box::new(record.clone())));
        Ok(())
    }

    async fn get(&self, digest: &TokenDigest) -> Result<StoredToken, PortError> {
        Ok(self.tokens.lock().expect("not poisoned").get(digest).cloned().unwrap_or(StoredToken::Absent))
    }

    async fn revoke(
        &self,
        _: &TokenDigest,
        _: &RealmName,
        _: &ClientId,
        _: UnixSeconds,
    ) -> Result<Revocation, PortError> {
        Ok(Revocation::NotFound)
    }
}

#[async_trait]
impl Denylist for Stores {
    async fn deny(&self, jti: &str, _: UnixSeconds) -> Result<(), PortError> {
        self.denied.lock().expect("not poisoned").insert(jti.to_owned());
        Ok(())
    }

    async fn is_denied(&self, jti: &str) -> Result<bool, PortError> {
        Ok(self.denied.lock().expect("not poisoned").contains(jti))
    }

    async fn whole_since(&self) -> Result<UnixSeconds, PortError> {
        Ok(UnixSeconds(self.whole_since.load(Ordering::SeqCst)))
    }
}

#[async_trait]
impl VerificationKeySource for Stores {
    async fn verification_keys(&self, realm: &RealmName) -> Result<Arc<VerificationKeys>, PortError> {
        let none = || PublishedKeys::default().verification_keys().map(Arc::new);
        Ok(self.keys.get(realm).cloned().map_or_else(none, Ok)?)
    }

    async fn verification_keys_after_mismatch(
        &self,
        realm: &RealmName,
    ) -> Result<Option<Arc<VerificationKeys>>, PortError> {
        self.looked_again.fetch_add(1, Ordering::SeqCst);
        Ok(self.newer_keys.get(realm).cloned())
    }
}

/// A realm `alpha` that signs with ES256, a realm `beta` beside it, and what validates their tokens.
struct World {
    stores: Arc<Stores>,
    validator: AccessTokenValidator,
    alpha: Signers,
    beta: Signers,
}

impl World {
    fn new() -> Self {
        let [alpha, beta] = [key_set(), key_set()];
        let stores = Stores {
            keys: [(realm("alpha"), verifiers(&alpha)), (realm("beta"), verifiers(&beta))].into(),
            ..Stores::default()
        };
        Self::over(stores, &alpha, &beta)
    }

    fn over(stores: Stores, alpha: &KeySet, beta: &KeySet) -> Self {
        let stores = Arc::new(stores);
        let defaults = RealmDefaults { root_default_scope: None, access_token_lifetime: TokenLifetime::DEFAULT };
        let validator = AccessTokenValidator {
            realms: Realms::new(Arc::clone(&stores) as _, defaults),
            registry: Arc::clone(&stores) as _,
            tokens: Arc::clone(&stores) as _,
            denylist: Arc::clone(&stores) as _,
            keys: Arc::clone(&stores) as _,
        };
        Self { stores, validator, alpha: signers(alpha), beta: signers(beta) }
    }

    /// A token of realm alpha by the way the server makes it.
    fn token(&self, record: &AccessTokenRecord) -> String {
        let signer = self.alpha.choose(SigningAlgorithm::Es256, NOW).expect("a signer");
        jwt::sign(record, signer).expect("signed").expose_token().to_owned()
    }

    /// Any header and any payload, signed by alpha's real key.
    fn signed(&self, header: &str, payload: &[u8]) -> String {
        let signer = self.alpha.choose(SigningAlgorithm::Es256, NOW).expect("a signer");
        let message = format!("{}.{}", base64url(header.as_bytes()), base64url(payload));
        let signature = signer.key.sign(message.as_bytes()).expect("signed");
        format!("{message}.{}", base64url(&signature))
    }

    fn kid(&self) -> &str {
        self.alpha.choose(SigningAlgorithm::Es256, NOW).expect("a signer").kid.as_str()
    }

    fn header(&self) -> String {
        format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, self.kid())
    }

    async fn why_inactive(&self, text: &str, now: UnixSeconds) -> (&'static str, Option<String>) {
        let found = self.validator.find(text, &realm("alpha"), now).await.expect("every store answers");
        let inactive = found.expect_err("not active");
        (inactive.reason.as_str(), inactive.audit_tracking_id)
    }

    async fn find(&self, text: &str) -> Option<AccessTokenRecord> {
        self.validator.find(text, &realm("alpha"), NOW).await.expect("every store answers").ok()
    }

    async fn assert_unknown(&self, what: &str, text: &str) {
        assert_eq!(self.find(text).await, None, "{what}: {text}");
    }
}

fn key_set() -> KeySet {
    KeySet::create(&[SigningAlgorithm::Es256], NOW).expect("keys")
}

fn signers(keys: &KeySet) -> Signers {
    keys.signers().expect("signers")
}

fn verifiers(keys: &KeySet) -> Arc<VerificationKeys> {
    Arc::new(keys.published().verification_keys().expect("keys"))
}

fn realm(name: &str) -> RealmName {
    name.parse().expect("a name")
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token that is stored nowhere, so that nothing but its signature and its claims speaks for it.
fn record() -> AccessTokenRecord {
    let public: PublicUrl = "https://auth.example.com".parse().expect("a URL");
    AccessTokenRecord {
        realm: realm("alpha"),
        client_id: "myClient".parse().expect("an id"),
        registration_id: RegistrationId::from_text("AAECAwQFBgcICQoLDA0ODw"),
        scope: "read write".parse().expect("well formed"),
        iss: public.issuer("/oauth2/realms/root/realms/alpha"),
        aud: Audience::One("https://api.example.com/orders".parse().expect("absolute")),
        iat: NOW,
        expires_at: NOW.plus(3600),
        jti: STATELESS_JTI.to_owned(),
        audit_tracking_id: "00010203-0405-4607-8809-0a0b0c0d0e0f".to_owned(),
        claims: CustomClaims::default(),
        trust_rule: None,
    }
}

fn stored() -> AccessTokenRecord {
    AccessTokenRecord { jti: "AAECAwQFBgcICQoLDA0ODw".to_owned(), ..record() }
}

fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a payload");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

/// The same signature under ECDSA: `(r, n - s)` for `(r, s)`, for which nobody needs the key.
fn malleated(token: &str) -> String {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (message, signature) = token.rsplit_once('.').expect("a JWS");
    let mut signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let mut borrow = 0;
    for (digit, n) in signature[32..].iter_mut().zip(N).rev() {
        let difference = i16::from(n) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        *digit = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    format!("{message}.{}", base64url(&signature))
}

#[tokio::test]
async fn a_token_of_the_realm_is_known_with_all_its_facts() {
    let world = World::new();
    assert_eq!(world.find(&world.token(&record())).await, Some(record()));

    let token = world.token(&stored());
    world.assert_unknown("the server has no record of it", &token).await;
    world.stores.put(&TokenDigest::of(&token), &stored()).await.expect("stored");
    assert_eq!(world.find(&token).await, Some(stored()));
}

#[tokio::test]
async fn at_06_at_07_j_27_j_28_a_header_that_this_server_does_not_make_makes_no_token_whoever_signed_it() {
    let world = World::new();
    let payload = claims_of(&world.token(&record())).to_string().into_bytes();
    let kid = world.kid().to_owned();
    let with = |members: &str| format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}"{members}}}"#);
    assert!(world.find(&world.signed(&with(""), &payload)).await.is_some(), "the rows below differ in one thing");

    let alg = |alg: &str| format!(r#"{{"typ":"at+jwt","alg":{alg},"kid":"{kid}"}}"#);
    for name in ["none", "None", "NONE", "nOnE", "", "HS256", "RS256", "PS256", "EdDSA", "ES384", "es256", "ES256 "] {
        world.assert_unknown("alg", &world.signed(&alg(&format!("{name:?}")), &payload)).await;
    }
    for other in ["null", "1", r#"["ES256"]"#, "{}"] {
        world.assert_unknown("alg", &world.signed(&alg(other), &payload)).await;
    }
    let typ = |typ: &str| format!(r#"{{"typ":{typ},"alg":"ES256","kid":"{kid}"}}"#);
    for name in ["JWT", "jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "dpop+jwt", "client-authentication+jwt", ""] {
        world.assert_unknown("typ", &world.signed(&typ(&format!("{name:?}")), &payload)).await;
    }
    world.assert_unknown("typ", &world.signed(&typ("null"), &payload)).await;
    for missing in [
        format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#),
        format!(r#"{{"typ":"at+jwt","kid":"{kid}"}}"#),
        r#"{"typ":"at+jwt","alg":"ES256"}"#.to_owned(),
        "{}".to_owned(),
        String::new(),
    ] {
        world.assert_unknown("a missing member", &world.signed(&missing, &payload)).await;
    }
    for more in [
        r#","crit":["exp"]"#,
        r#","crit":[]"#,
        r#","b64":false"#,
        r#","jku":"https://evil.example/jwks""#,
        r#","x5u":"https://evil.example/cert""#,
        r#","jwk":{"kty":"EC"}"#,
        r#","x5c":["MIIB"]"#,
        r#","cty":"JWT""#,
        r#","zip":"DEF""#,
        r#","nonce":"x""#,
        r#","alg":"ES256""#,
        r#","alg":"none""#,
        r#","typ":"at+jwt""#,
    ] {
        world.assert_unknown("a member more", &world.signed(&with(more), &payload)).await;
    }
    let again = with(&format!(r#","kid":"{kid}""#));
    world.assert_unknown("a member twice", &world.signed(&again, &payload)).await;
    for other in ["[]", "null", "\"at+jwt\"", "1", &format!("{}x", with("")), &with("").replace('}', "")] {
        world.assert_unknown("no object", &world.signed(other, &payload)).await;
    }
    for other in ["", "unknown", &format!("{kid} "), &kid[1..], &kid.to_ascii_lowercase()] {
        let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{other}"}}"#);
        world.assert_unknown("kid", &world.signed(&header, &payload)).await;
    }
}

#[tokio::test]
async fn j_28_a_public_key_is_no_shared_secret() {
    let world = World::new();
    let payload = base64url(claims_of(&world.token(&record())).to_string().as_bytes());
    let keys = world.validator.keys.verification_keys(&realm("alpha")).await.expect("keys");
    let jwk = serde_json::to_value(keys.jwks()).expect("JSON")["keys"][0].clone();
    assert_eq!(jwk["kid"], world.kid());
    let point = |member: &str| URL_SAFE_NO_PAD.decode(jwk[member].as_str().expect("text")).expect("base64url");
    let point = [&[4], point("x").as_slice(), point("y").as_slice()].concat();
    for (secret, hmac) in [
        (jwk.to_string().into_bytes(), Algorithm::HS256),
        (point.clone(), Algorithm::HS256),
        (point, Algorithm::HS512),
        (Vec::new(), Algorithm::HS256),
    ] {
        for claimed in [format!("{hmac:?}"), "ES256".to_owned()] {
            let header = format!(r#"{{"typ":"at+jwt","alg":"{claimed}","kid":"{}"}}"#, world.kid());
            let message = format!("{}.{payload}", base64url(header.as_bytes()));
            let key = EncodingKey::from_secret(&secret);
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, hmac).expect("signed");
            world.assert_unknown("HMAC with a public key", &format!("{message}.{signature}")).await;
        }
    }
}

#[tokio::test]
async fn at_07_a_signature_is_this_one_and_no_other() {
    let world = World::new();
    let token = world.token(&record());
    let (message, signature) = token.rsplit_once('.').expect("a JWS");
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    // 64 bytes in 86 characters leave four bits of the last one unused.
    let mut unused_bits = signature.to_owned().into_bytes();
    *unused_bits.last_mut().expect("a character") += 1;
    let unused_bits = String::from_utf8(unused_bits).expect("ASCII");
    let another = world.token(&AccessTokenRecord { audit_tracking_id: "another".to_owned(), ..record() });
    let (other_message, other_signature) = another.rsplit_once('.').expect("a JWS");
    for (what, forged) in [
        ("none", String::new()),
        ("truncated by a character", signature[..85].to_owned()),
        ("truncated by a byte", base64url(&bytes[..63])),
        ("half", base64url(&bytes[..32])),
        ("extended by a character", format!("{signature}A")),
        ("extended by a byte", base64url(&[bytes.as_slice(), &[0]].concat())),
        ("unused bits set", unused_bits),
        ("padded", format!("{signature}==")),
        ("a new line after it", format!("{signature}\n")),
        ("a space before it", format!(" {signature}")),
        ("zeros", base64url(&[0; 64])),
        ("ones", base64url(&[0xff; 64])),
        ("halves swapped", base64url(&[&bytes[32..], &bytes[..32]].concat())),
        ("another token's", other_signature.to_owned()),
    ] {
        world.assert_unknown(what, &format!("{message}.{forged}")).await;
    }
    let standard = STANDARD_NO_PAD.encode(&bytes);
    if standard != signature {
        world.assert_unknown("the other alphabet", &format!("{message}.{standard}")).await;
    }
    world.assert_unknown("another token's signature", &format!("{other_message}.{signature}")).await;
    for text in [
        message.to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{token}.a.b"),
        format!("{message}..{signature}"),
        format!("{token}\0"),
        token.replace('.', ".."),
        ".".to_owned(),
        "..".to_owned(),
        "....".to_owned(),
        ".".repeat(20_000),
    ] {
        world.assert_unknown("other segments", &text).await;
    }
    assert_eq!(world.find(&token).await, Some(record()));
}

#[tokio::test]
async fn at_07_at_02_claims_that_this_server_does_not_make_make_no_token_whoever_signed_them() {
    let world = World::new();
    let claims = claims_of(&world.token(&record()));
    let sign = |claims: &Value| world.signed(&world.header(), claims.to_string().as_bytes());
    assert_eq!(world.find(&sign(&claims)).await, Some(record()), "the rows below differ in one thing");

    for name in claims.as_object().expect("an object").keys() {
        let mut without = claims.clone();
        without.as_object_mut().expect("an object").remove(name);
        world.assert_unknown(name, &sign(&without)).await;
        for other in [json!({}), json!(true), json!(-1), json!(1.5), json!([[]])] {
            let mut changed = claims.clone();
            changed[name] = other;
            world.assert_unknown(name, &sign(&changed)).await;
        }
    }
    for (name, other) in [
        ("exp", json!(NOW.0)),
        ("exp", json!(NOW.0 - 1)),
        ("exp", json!(0)),
        ("exp", json!("1795419420")),
        ("exp", json!(1e300)),
        ("realm", json!("/beta")),
        ("realm", json!("alpha")),
        ("realm", json!("/Alpha")),
        ("realm", json!("/")),
        ("sub", json!("another")),
        ("sub", json!(["myClient"])),
        ("client_id", json!("another")),
        ("jti", json!("stateless.")),
        ("jti", json!("stateless.one")),
        ("aud", json!("no URI")),
        ("scope", json!("a\"b")),
        // Nothing registered can have these names.
        ("nbf", json!(NOW.0)),
        ("active", json!(true)),
        ("cnf", json!({"jkt": "x"})),
    ] {
        let mut changed = claims.clone();
        changed[name] = other;
        world.assert_unknown(name, &sign(&changed)).await;
    }
    let text = claims.to_string();
    let twice = format!(r#"{{"exp":{},{}"#, NOW.0 + 7200, &text[1..]);
    let deep = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
    let unreadable = [b"{\"iss\":\"\xff\"".as_slice(), b"}"].concat();
    for (what, payload) in [
        ("a claim twice", twice.as_bytes()),
        ("nested deep", deep.as_bytes()),
        ("no UTF-8", &unreadable),
        ("a list", b"[]"),
        ("nothing", b""),
        ("text after it", &[text.as_bytes(), b"x"].concat()),
    ] {
        world.assert_unknown(what, &world.signed(&world.header(), payload)).await;
    }
}

#[tokio::test]
async fn at_08_a_signed_introspection_answer_is_no_access_token() {
    let world = World::new();
    let signer = world.alpha.choose(SigningAlgorithm::Es256, NOW).expect("a signer");
    // Not even with the claims of one.
    let claims = claims_of(&world.token(&record()));
    assert!(world.find(&jose::sign(signer, jwt::TYP, &claims).expect("signed")).await.is_some());
    let answer = jose::sign(signer, SIGNED_TYP, &claims).expect("signed");
    world.assert_unknown("another type", &answer).await;
}

#[tokio::test]
async fn at_09_a_text_longer_than_any_token_is_not_looked_at() {
    let world = World::new();
    let mut claims = claims_of(&world.token(&record()));
    let long = |claims: &mut Value, length: usize| {
        claims["note"] = json!("x".repeat(length));
        world.signed(&world.header(), claims.to_string().as_bytes())
    };
    let token = long(&mut claims, 15_000);
    assert!(token.len() > 20_000);
    world.assert_unknown("20 KB", &token).await;
    world.assert_unknown("claims beyond what can be registered", &long(&mut claims, 3000)).await;
    assert!(world.find(&long(&mut claims, 1000)).await.is_some());
}

#[tokio::test]
async fn a_token_that_has_ended_stays_so_under_every_form_of_its_signature() {
    let world = World::new();
    // What is stored nowhere is known by its jti: another form of the signature is the same token.
    let (stateless, twin) = (world.token(&record()), malleated(&world.token(&record())));
    for token in [&stateless, &malleated(&stateless), &twin] {
        assert_eq!(world.find(token).await, Some(record()));
    }
    world.stores.deny(STATELESS_JTI, record().expires_at).await.expect("denied");
    for token in [&stateless, &malleated(&stateless), &twin] {
        world.assert_unknown("denied", token).await;
    }

    // What is stored is known by all of its text: another form is another token, which nobody was given.
    let token = world.token(&stored());
    world.stores.put(&TokenDigest::of(&token), &stored()).await.expect("stored");
    assert_eq!(world.find(&token).await, Some(stored()));
    assert_ne!(malleated(&token), token);
    assert_eq!(malleated(&malleated(&token)), token);
    world.assert_unknown("another form of a stored token", &malleated(&token)).await;
}

#[tokio::test]
async fn a_stored_token_says_whether_it_was_revoked_or_has_expired_in_either_form() {
    let world = World::new();
    let opaque = opaque::of_random_bits(&[[7; 16]; 2]).expose_token().to_owned();
    for token in [opaque, world.token(&stored())] {
        let (digest, over) = (TokenDigest::of(&token), stored().expires_at);
        let audit_tracking_id = || Some(stored().audit_tracking_id);
        assert_eq!(world.why_inactive(&token, NOW).await, ("no_record", None), "{token}");

        world.stores.put(&digest, &stored()).await.expect("stored");
        assert_eq!(world.find(&token).await, Some(stored()));
        assert_eq!(world.why_inactive(&token, over).await, ("expired", audit_tracking_id()), "{token}");

        let mark = StoredToken::Revoked(RevokedToken::of(&stored()));
        world.stores.tokens.lock().expect("not poisoned").insert(digest, mark);
        assert_eq!(world.why_inactive(&token, NOW).await, ("revoked", audit_tracking_id()), "{token}");
        assert_eq!(world.why_inactive(&token, over).await, ("expired", audit_tracking_id()), "as if nobody had");
    }
}

#[tokio::test]
async fn a_token_whose_end_may_have_been_lost_has_ended() {
    let world = World::new();
    let (stateless, with_record) = (world.token(&record()), world.token(&stored()));
    world.stores.put(&TokenDigest::of(&with_record), &stored()).await.expect("stored");
    for (whole_since, is_active) in [(NOW.0 - 1, true), (NOW.0, false), (NOW.0 + 1, false), (u64::MAX, false)] {
        world.stores.whole_since.store(whole_since, Ordering::SeqCst);
        assert_eq!(world.find(&stateless).await.is_some(), is_active, "{whole_since}");
        assert_eq!(world.find(&with_record).await, Some(stored()), "its record says that it has not ended");
    }
}

#[tokio::test]
async fn another_realms_token_is_unknown() {
    let world = World::new();
    let beta = world.beta.choose(SigningAlgorithm::Es256, NOW).expect("a signer");
    let of_beta = AccessTokenRecord { realm: realm("beta"), ..record() };
    // Beta's own, alpha's by beta's key, and beta's by alpha's key: only the first is a token, and of beta only.
    let own = jwt::sign(&of_beta, beta).expect("signed").expose_token().to_owned();
    let alphas_by_beta = jwt::sign(&record(), beta).expect("signed").expose_token().to_owned();
    let betas_by_alpha = world.token(&of_beta);
    for token in [&own, &alphas_by_beta, &betas_by_alpha] {
        world.assert_unknown("in alpha", token).await;
    }
    let in_beta = async |token: &str| world.validator.find(token, &realm("beta"), NOW).await.expect("answers").ok();
    assert_eq!(in_beta(&own).await, Some(of_beta));
    assert_eq!(in_beta(&alphas_by_beta).await, None);
    assert_eq!(in_beta(&betas_by_alpha).await, None);
    let nowhere = world.validator.find(&own, &realm("gamma"), NOW).await;
    let reason = nowhere.expect("answers").expect_err("a realm without keys has signed nothing").reason;
    assert_eq!(reason, Reason::OtherRealm);
}

#[tokio::test]
async fn a_key_that_has_just_been_published_is_looked_for_once() {
    let (old, new, beta) = (key_set(), key_set(), key_set());
    let stores = Stores {
        keys: [(realm("alpha"), verifiers(&old))].into(),
        newer_keys: [(realm("alpha"), verifiers(&new))].into(),
        ..Stores::default()
    };
    let world = World::over(stores, &new, &beta);
    assert_eq!(world.find(&world.token(&record())).await, Some(record()));
    assert_eq!(world.stores.looked_again.load(Ordering::SeqCst), 1);
    let old =
        World::over(Stores { keys: [(realm("alpha"), verifiers(&old))].into(), ..Stores::default() }, &old, &beta);
    assert_eq!(old.find(&old.token(&record())).await, Some(record()));
    assert_eq!(old.stores.looked_again.load(Ordering::SeqCst), 0, "a key that is known costs no second look");
}
