//! JWTs that the server's own keys have signed, and that are no access tokens of it all the same: what a signature does not
//! decide. Rows AT-06 to AT-08, J-28, J-38 and J-39 of docs/protocol-cases.md (RFC 8725, RFC 9068 §4).
//!
//! The keys are taken out of the server's store, so that each row differs from a token that is active in one thing.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::cli::Registered;
use crate::support::http::Request;
use crate::support::jwt::{SigningKey, parts};
use crate::support::shared::{STATELESS_JWT, shared};

const REALM: &str = "forms";

/// A realm with keys of three algorithms, of which every one verifies, and a client whose tokens are stored nowhere: nothing
/// but what a token says speaks for it.
struct World {
    client: Registered,
    ec: SigningKey,
    okp: SigningKey,
    rsa: SigningKey,
    /// Another realm's.
    foreign: SigningKey,
    /// A token that the server has issued, and its claims.
    token: String,
    claims: Value,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let shared = shared();
    for alg in ["ES256", "EdDSA", "RS256", "ES256"] {
        shared.store.set_realm(REALM, &["--signing-alg", alg]);
    }
    shared.store.set_realm("forms-other", &["--signing-alg", "ES256"]);
    let settings = ["--scope", "read write", "--default-scope", "read", "--claims", r#"{"tier":"gold"}"#];
    let client = shared.store.register(REALM, "forms-client", &[&settings[..], &STATELESS_JWT].concat());
    let token = shared.server.jwt(&client, "read", "");
    let claims = parts(&token).1;
    let key = |alg| shared.store.signing_key(REALM, alg);
    let foreign = shared.store.signing_key("forms-other", "ES256");
    World { ec: key("ES256"), okp: key("EdDSA"), rsa: key("RS256"), foreign, client, token, claims }
});

impl World {
    /// The claims of the issued token under another jti, so that revoking one of them says nothing of the other.
    fn claims_of(&self, name: &str) -> Value {
        let mut claims = self.claims.clone();
        let jti = claims["jti"].as_str().expect("text");
        claims["jti"] =
            json!(format!("{}.{}", jti.rsplit_once('.').expect("a random name").0, encode(name.as_bytes())));
        claims
    }

    fn payload(&self) -> String {
        self.claims_of("forms").to_string()
    }

    /// Nobody takes the text for a token, and revoking it ends nothing.
    #[track_caller]
    fn assert_no_token(&self, row: &str, text: &str) {
        let (server, text) = (&shared().server, form_encoded(text));
        for caller in [&self.client, &shared().any_realm_server] {
            let answer = server.introspect(caller, &text);
            assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"active":false}"#), "{row}: {text}");
            answer.assert_inactive();
        }
        assert_eq!(server.revoke(&self.client, &text).status, 200, "{row}");
        server.introspect(&self.client, &self.token).assert_active();
    }

    #[track_caller]
    fn assert_token(&self, row: &str, text: &str) {
        let answer = shared().server.introspect(&self.client, &form_encoded(text));
        assert_eq!((answer.status, &answer.json()["active"]), (200, &json!(true)), "{row}: {text}");
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[test]
fn at_07_a_kid_names_a_key_of_the_realm_and_its_own_algorithm_or_makes_no_token() {
    let world = &*WORLD;
    let payload = world.payload();
    let header = |alg: &str, kid: &Value| format!(r#"{{"typ":"at+jwt","alg":"{alg}","kid":{kid}}}"#);
    for key in [&world.ec, &world.okp, &world.rsa] {
        world.assert_token("each key of the realm signs", &key.sign(&header(&key.alg, &json!(key.kid)), &payload));
    }

    // A key of the realm, and the name or the algorithm of another one.
    for signer in [&world.ec, &world.okp, &world.rsa, &world.foreign] {
        for named in [&world.ec, &world.okp, &world.rsa, &world.foreign] {
            for alg in ["ES256", "EdDSA", "RS256", "PS256", "HS256", "none"] {
                let is_own = signer.kid == named.kid && signer.alg == alg && signer.kid != world.foreign.kid;
                let token = signer.sign(&header(alg, &json!(named.kid)), &payload);
                if !is_own {
                    world.assert_no_token(
                        &format!("a key of {}, named as {} with {alg}", signer.alg, named.alg),
                        &token,
                    );
                }
            }
        }
    }

    // What a kid becomes where it is put into a path, a statement or a command.
    let kid = &world.ec.kid;
    for other in [
        json!(""),
        json!("../../../../etc/passwd"),
        json!("/dev/null"),
        json!("file:///proc/self/environ"),
        json!("https://evil.example/key"),
        json!("' OR '1'='1"),
        json!("x' UNION SELECT private_keys FROM signing_keys --"),
        json!("%"),
        json!("_".repeat(43)),
        json!("*"),
        json!("$(id)"),
        json!("`id`"),
        json!("{{7*7}}"),
        json!("\0"),
        json!(format!("{kid}\0")),
        json!(format!("{kid}\n")),
        json!(format!(" {kid}")),
        json!(format!("{kid},{}", world.okp.kid)),
        json!(kid.to_ascii_uppercase()),
        json!(&kid[..42]),
        json!("k".repeat(8000)),
        json!("keys#forms"),
        json!(["jwks", kid]),
        json!([kid]),
        json!({ "$ne": "" }),
        json!(0),
        json!(true),
        json!(null),
    ] {
        let row = format!("kid {other}");
        world.assert_no_token(&row, &world.ec.sign(&header("ES256", &other), &payload));
    }
}

#[test]
fn at_06_at_08_another_kind_of_jwt_is_no_access_token_whoever_signed_it() {
    let world = &*WORLD;
    let (payload, kid) = (world.payload(), &world.ec.kid);
    let header = |typ: &str| format!(r#"{{"typ":{typ},"alg":"ES256","kid":"{kid}"}}"#);
    world.assert_token("the rows below differ in one thing", &world.ec.sign(&header(r#""at+jwt""#), &payload));
    // The same text, spelled as JSON allows: it is signed, and says the same.
    world.assert_token("an escaped spelling", &world.ec.sign(&header(r#""\u0061t\u002bjwt""#), &payload));
    for typ in [
        r#""token-introspection+jwt""#,
        r#""grantwell-probe+jwt""#,
        r#""JWT""#,
        r#""jwt""#,
        r#""JOSE""#,
        r#""application/at+jwt""#,
        r#""AT+JWT""#,
        r#""at+JWT""#,
        r#"" at+jwt""#,
        r#""at+jwt ""#,
        r#""at+jwt\u0000""#,
        r#""at+jwt;charset=utf-8""#,
        r#""at jwt""#,
        r#""at+jwt+jwt""#,
        r#""dpop+jwt""#,
        r#""logout+jwt""#,
        r#""secevent+jwt""#,
        r#""client-authentication+jwt""#,
        r#""""#,
        "null",
        "1",
        r#"["at+jwt"]"#,
        r#"{"at+jwt":1}"#,
    ] {
        world.assert_no_token(&format!("typ {typ}"), &world.ec.sign(&header(typ), &payload));
    }
    let without = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
    world.assert_no_token("no typ", &world.ec.sign(&without, &payload));
    for (row, more) in [
        ("typ twice", r#""typ":"at+jwt""#.to_owned()),
        ("typ twice, of another kind", r#""typ":"token-introspection+jwt""#.to_owned()),
        ("typ twice, one of them escaped", r#""\u0074yp":"at+jwt""#.to_owned()),
        ("alg twice", r#""alg":"none""#.to_owned()),
        ("alg twice, one of them escaped", r#""al\u0067":"ES256""#.to_owned()),
        ("kid twice", format!(r#""kid":"{kid}""#)),
        ("kid twice, one of them escaped", format!(r#""\u006bid":"{kid}""#)),
        ("a nested token", r#""cty":"JWT""#.to_owned()),
        ("crit", r#""crit":["exp"]"#.to_owned()),
        ("b64", r#""b64":false,"crit":["b64"]"#.to_owned()),
        ("zip", r#""zip":"DEF""#.to_owned()),
        ("a key", r#""jwk":{"kty":"EC"}"#.to_owned()),
    ] {
        for at_the_end in [true, false] {
            let own = header(r#""at+jwt""#);
            let inner = &own[1..own.len() - 1];
            let header = if at_the_end { format!("{{{inner},{more}}}") } else { format!("{{{more},{inner}}}") };
            world.assert_no_token(row, &world.ec.sign(&header, &payload));
        }
    }

    // The other kinds of JWT that the server signs, as they are and under the access token's type.
    let answer = Request::form(&format!("{}/introspect", world.client.base()), format!("token={}", world.token));
    let answer =
        answer.by(&world.client).header("Accept", "application/token-introspection+jwt").send(&shared().server);
    let (signed, facts) = (answer.text(), parts(&answer.text()).1);
    assert_eq!(facts["token_introspection"]["active"], true);
    world.assert_no_token("a signed introspection answer", &signed);
    let at = header(r#""at+jwt""#);
    world.assert_no_token("an answer's claims", &world.ec.sign(&at, &facts.to_string()));
    world.assert_no_token("the facts in it", &world.ec.sign(&at, &facts["token_introspection"].to_string()));
    let probe = json!({ "kid": kid }).to_string();
    world.assert_no_token("the rotation's probe", &world.ec.sign(&header(r#""grantwell-probe+jwt""#), &probe));
    world.assert_no_token("the probe's claims", &world.ec.sign(&at, &probe));

    // And none of them, nor an access token, says who a client is.
    for assertion in [&world.token, &signed, &world.ec.sign(&header(r#""client-authentication+jwt""#), &payload)] {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_assertion={assertion}\
             &client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            world.client.client_id
        );
        Request::form(&format!("{}/access_token", world.client.base()), form).send(&shared().server).assert_401(REALM);
        let bearer = Request::form(&format!("{}/introspect", world.client.base()), format!("token={}", world.token));
        let bearer = bearer.header("Authorization", format!("Bearer {assertion}")).send(&shared().server);
        bearer.assert_401(REALM);
    }
}

#[test]
fn j_39_a_claim_that_is_there_twice_makes_no_token() {
    let world = &*WORLD;
    let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, world.ec.kid);
    let claims = world.claims_of("twice");
    let text = claims.to_string();
    world.assert_token("the rows below differ in one thing", &world.ec.sign(&header, &text));
    for (name, value) in claims.as_object().expect("an object") {
        // The first character of a name as JSON may also spell it.
        let escaped = format!(r"\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
        for name in [name, &escaped] {
            for value in [value, &json!("canary"), &json!(4_102_444_800_u64), &Value::Null] {
                for twice in [
                    format!(r#"{{"{name}":{value},{}"#, &text[1..]),
                    format!(r#"{},"{name}":{value}}}"#, &text[..text.len() - 1]),
                ] {
                    world.assert_no_token(&format!("{name} twice"), &world.ec.sign(&header, &twice));
                }
            }
        }
    }
    // Spelled in another way, once, it is the same claim: what ends a token ends it under every spelling.
    let spelled = text.replacen(r#""jti":"stateless"#, r#""\u006ati":"\u0073tateless"#, 1);
    assert_ne!(spelled, text);
    let spelled = world.ec.sign(&header, &spelled);
    world.assert_token("an escaped spelling", &spelled);
    assert_eq!(shared().server.revoke(&world.client, &world.ec.sign(&header, &text)).status, 200);
    world.assert_no_token("an escaped spelling of a token that was revoked", &spelled);
}

#[test]
fn j_07_j_15_a_number_that_no_clock_reaches_makes_no_token() {
    let world = &*WORLD;
    let header = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#, world.ec.kid);
    let claims = world.claims_of("numbers");
    let ten_to_the_400 = format!("1{}", "0".repeat(400));
    for number in [
        "18446744073709551616",
        "1e400",
        "-1e400",
        "1e-400",
        ten_to_the_400.as_str(),
        "-1",
        "-0",
        "1.5",
        "1e10",
        "4102444800.0",
        "0x7fffffff",
        "NaN",
        "Infinity",
        "01",
        "\"4102444800\"",
        "[4102444800]",
    ] {
        for name in ["exp", "iat"] {
            let mut other = claims.clone();
            other.as_object_mut().expect("an object").remove(name);
            let text = other.to_string();
            let text = format!(r#"{},"{name}":{number}}}"#, &text[..text.len() - 1]);
            world.assert_no_token(&format!("{name} {number}"), &world.ec.sign(&header, &text));
        }
    }
    // In a claim of the operator's, where a number may be of any size that JSON's reader has.
    for number in ["1e400", ten_to_the_400.as_str()] {
        let text = claims.to_string().replace(r#""gold""#, number);
        world.assert_no_token("a custom claim", &world.ec.sign(&header, &text));
    }
}

/// What stands in the five parts of a JWE is read as text of three parts by nobody.
#[test]
fn j_38_an_encrypted_token_is_no_token_nor_is_one_inside_of_another() {
    let world = &*WORLD;
    let (payload, kid) = (world.payload(), &world.ec.kid);
    let at = format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}"}}"#);
    let signed = world.ec.sign(&at, &payload);
    world.assert_token("what is wrapped below", &signed);
    let jwks = shared().server.jwks(&world.client.base());
    let rsa = jwks["keys"].as_array().expect("a list").iter().find(|key| key["kid"] == world.rsa.kid.as_str());
    let rsa = rsa.expect("published");

    for (row, content) in [("its claims", payload.as_bytes()), ("the signed token", signed.as_bytes())] {
        for more in ["", r#","typ":"at+jwt""#, r#","typ":"JWT""#, r#","cty":"JWT""#, r#","typ":"at+jwt","cty":"JWT""#] {
            let header = format!(r#"{{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"{}"{more}}}"#, world.rsa.kid);
            let jwe = encrypted(&header, rsa, content);
            world.assert_no_token(&format!("a JWE of {row}, {more}"), &jwe);
            // Inside of a JWS that the server's key has signed.
            world.assert_no_token(&format!("a JWS of a JWE of {row}"), &world.ec.sign(&at, &jwe));
        }
    }
    world.assert_no_token("a token in a token", &world.ec.sign(&at, &signed));
    world.assert_no_token("a token as a string in a token", &world.ec.sign(&at, &json!(signed).to_string()));
    let [header, payload, signature] = [0, 1, 2].map(|part| signed.split('.').nth(part).expect("a part"));
    for (row, json) in [
        ("flattened", json!({ "protected": header, "payload": payload, "signature": signature })),
        ("general", json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] })),
    ] {
        world.assert_no_token(&format!("JSON serialization, {row}"), &json.to_string());
    }
}

/// RFC 7516 §5.1: a real JWE that whoever has the private half of `key` could read.
fn encrypted(header: &str, key: &Value, content: &[u8]) -> String {
    let number = |member: &str| URL_SAFE_NO_PAD.decode(key[member].as_str().expect("text")).expect("base64url");
    let public = PublicKeyComponents { n: number("n"), e: number("e") };
    let public: PublicEncryptingKey = public.try_into().expect("a key");
    let oaep = OaepPublicEncryptingKey::new(public).expect("a key that encrypts");
    let (content_key, nonce) = ([7; 32], [9; 12]);
    let mut encrypted_key = vec![0; oaep.ciphertext_size()];
    let encrypted_key =
        oaep.encrypt(&OAEP_SHA256_MGF1SHA256, &content_key, &mut encrypted_key, None).expect("encrypted").to_vec();

    let header = encode(header.as_bytes());
    let sealing = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &content_key).expect("a key"));
    let mut ciphertext = content.to_vec();
    let aad = Aad::from(header.as_bytes());
    let tag = sealing
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut ciphertext)
        .expect("encrypted");
    [header, encode(&encrypted_key), encode(&nonce), encode(&ciphertext), encode(tag.as_ref())].join(".")
}
