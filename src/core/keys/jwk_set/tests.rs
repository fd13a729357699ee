use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::public_key::verifies_anything;
use super::*;

/// RFC 7515 Appendix A.3.
fn p_256() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

/// RFC 8037 Appendix A.2.
fn ed25519() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

/// RFC 7638 §3.1.
fn rsa() -> Value {
    json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
    })
}

fn p_384() -> Value {
    json!({
        "kty": "EC", "crv": "P-384",
        "x": "PETaP1i9TIM4iUIVO7bQ85H1GUZf04tqWJl3b9SqE2QxEoiSfmTNUI_xwXZbkrLZ",
        "y": "R9jh7KFZoIjIp5bG1Jpz4ZvSgCk_ukhKG2LNZEc_3Hq7za3DM6Ci1scC28WCVdua",
    })
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn parsed(keys: &[Value]) -> Result<JwkSet, InvalidJwks> {
    JwkSet::parse(&set(keys))
}

fn problem(key: &Value) -> JwkProblem {
    match parsed(std::slice::from_ref(key)) {
        Err(InvalidJwks::Key { number: 1, problem }) => problem,
        other => panic!("{other:?}"),
    }
}

fn with(mut key: Value, member: &str, value: Value) -> Value {
    key[member] = value;
    key
}

fn algorithms(keys: &JwkSet) -> Vec<JwsAlgorithm> {
    keys.keys().flat_map(VerifyingKey::algorithms).collect()
}

#[test]
fn a_key_is_named_by_the_thumbprint_of_rfc_7638_where_it_has_no_kid() {
    let keys = parsed(&[rsa(), ed25519(), with(p_256(), "kid", json!("mine"))]).expect("keys");
    let names: Vec<&str> = keys.keys().map(VerifyingKey::name).collect();
    let (of_rfc_7638, of_rfc_8037) =
        ("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(names, [of_rfc_7638, of_rfc_8037, "mine"]);
}

#[test]
fn a_key_is_for_the_algorithms_of_its_type_or_for_its_own() {
    use JwsAlgorithm::{EdDsa, Es256, Es384, Ps256, Rs256};
    let every = parsed(&[p_256(), p_384(), ed25519(), rsa()]).expect("keys");
    assert_eq!(algorithms(&every), [Es256, Es384, EdDsa, Ps256, Rs256]);
    for (key, alg, expected) in [
        (rsa(), "PS256", Ps256),
        (rsa(), "RS256", Rs256),
        (p_256(), "ES256", Es256),
        (ed25519(), "EdDSA", EdDsa),
        (ed25519(), "Ed25519", EdDsa),
    ] {
        assert_eq!(algorithms(&parsed(&[with(key, "alg", json!(alg))]).expect("a key")), [expected], "{alg}");
    }
    for (key, alg) in [
        (rsa(), "ES256"),
        (rsa(), "RS512"),
        (rsa(), "RSA-OAEP"),
        (p_256(), "ES384"),
        (p_384(), "ES256"),
        (ed25519(), "ES256"),
        (p_256(), "HS256"),
        (p_256(), "none"),
    ] {
        assert_eq!(problem(&with(key, "alg", json!(alg))), JwkProblem::Algorithm, "{alg}");
    }
}

#[test]
fn a_set_survives_storage_and_keeps_nothing_that_means_nothing_here() {
    let key = with(with(p_256(), "kid", json!("mine")), "x5u", json!("https://evil.example/"));
    let key = with(with(key, "use", json!("sig")), "exp", json!(9));
    let keys = parsed(&[key, with(rsa(), "alg", json!("PS256"))]).expect("keys");
    let stored = serde_json::to_value(&keys).expect("JSON");
    let expected =
        json!([with(with(p_256(), "kid", json!("mine")), "exp", json!(9)), with(rsa(), "alg", json!("PS256"))]);
    assert_eq!(stored["keys"], expected);
    assert_eq!(serde_json::from_value::<JwkSet>(stored).expect("reads back"), keys);
}

#[test]
fn one_key_is_a_set_of_one() {
    assert_eq!(JwkSet::parse(p_256().to_string().as_bytes()), parsed(&[p_256()]));
}

#[test]
fn nothing_secret_is_registered() {
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        for key in [p_256(), ed25519(), rsa()] {
            let key = with(key, private, json!("AQAB"));
            assert_eq!(problem(&key), JwkProblem::Private, "{private}");
            let fetched = JwkSet::parse_fetched(&set(&[rsa(), key]));
            assert_eq!(fetched, Err(RefusedJwks::NotPublic), "{private}");
        }
    }
    for key in [json!({ "kty": "oct", "k": "AAAA" }), json!({ "kty": "oct" }), with(p_256(), "k", json!("AAAA"))] {
        assert_eq!(problem(&key), JwkProblem::Symmetric);
        assert_eq!(JwkSet::parse_fetched(&set(&[rsa(), key])), Err(RefusedJwks::NotPublic));
    }
}

#[test]
fn a_key_that_cannot_be_used_is_refused_where_it_is_registered_and_passed_over_where_it_is_fetched() {
    let numbers = |value: &[u8]| json!(URL_SAFE_NO_PAD.encode(value));
    let ones = |len: usize| numbers(&vec![0xff; len]);
    for (key, expected) in [
        (json!({}), JwkProblem::Member("kty")),
        (with(p_256(), "kty", json!(1)), JwkProblem::Member("kty")),
        (with(p_256(), "kty", json!("AKP")), JwkProblem::Type),
        (with(p_256(), "kty", json!("RSA")), JwkProblem::Member("n")),
        (with(p_256(), "crv", json!("P-521")), JwkProblem::Curve),
        (with(p_256(), "crv", json!("secp256k1")), JwkProblem::Curve),
        (with(ed25519(), "crv", json!("X25519")), JwkProblem::Curve),
        (with(ed25519(), "crv", json!("Ed448")), JwkProblem::Curve),
        (with(p_256(), "crv", json!("P-384")), JwkProblem::Member("x")),
        (with(p_256(), "use", json!("enc")), JwkProblem::Use),
        (with(p_256(), "use", json!(["sig"])), JwkProblem::Member("use")),
        (with(p_256(), "key_ops", json!(["sign"])), JwkProblem::Use),
        (with(p_256(), "key_ops", json!([])), JwkProblem::Use),
        (with(p_256(), "key_ops", json!("verify")), JwkProblem::Use),
        (with(p_256(), "kid", json!(1)), JwkProblem::Member("kid")),
        (with(p_256(), "kid", json!("")), JwkProblem::Member("kid")),
        (with(p_256(), "kid", json!("a\nb")), JwkProblem::Member("kid")),
        (with(p_256(), "kid", json!("k".repeat(257))), JwkProblem::Member("kid")),
        (with(p_256(), "exp", json!("9")), JwkProblem::Member("exp")),
        // Not on the curve, of another length, and not base64url.
        (with(p_256(), "y", p_256()["x"].clone()), JwkProblem::Invalid),
        (with(p_256(), "x", ones(31)), JwkProblem::Member("x")),
        (with(p_256(), "x", ones(33)), JwkProblem::Member("x")),
        (with(p_256(), "x", json!("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=")), JwkProblem::Member("x")),
        (with(p_256(), "x", json!(null)), JwkProblem::Member("x")),
        (with(ed25519(), "x", ones(31)), JwkProblem::Member("x")),
        (with(rsa(), "n", ones(255)), JwkProblem::RsaSize),
        (with(rsa(), "n", ones(128)), JwkProblem::RsaSize),
        (with(rsa(), "n", ones(513)), JwkProblem::RsaSize),
        (with(rsa(), "n", numbers(&[0; 257])), JwkProblem::Member("n")),
        (with(rsa(), "n", numbers(&[0xfe; 256])), JwkProblem::Invalid),
        (with(rsa(), "e", numbers(&[1])), JwkProblem::RsaExponent),
        (with(rsa(), "e", numbers(&[3])), JwkProblem::RsaExponent),
        (with(rsa(), "e", numbers(&[1, 0, 0])), JwkProblem::RsaExponent),
        (with(rsa(), "e", numbers(&[1, 0, 2])), JwkProblem::RsaExponent),
        (with(rsa(), "e", ones(5)), JwkProblem::RsaExponent),
        (with(rsa(), "e", ones(256)), JwkProblem::RsaExponent),
        (with(rsa(), "e", numbers(&[0, 1, 0, 1])), JwkProblem::Member("e")),
        (with(rsa(), "e", json!("")), JwkProblem::Member("e")),
    ] {
        assert_eq!(problem(&key), expected, "{key}");
        assert_eq!(JwkSet::parse_fetched(&set(&[key.clone(), p_256()])).ok(), parsed(&[p_256()]).ok(), "{key}");
        assert_eq!(JwkSet::parse_fetched(&set(&[key])), Err(RefusedJwks::NoUsableKey));
    }
    // Somebody may list a key twice, which is no reason not to know which one signed.
    assert_eq!(JwkSet::parse_fetched(&set(&[p_256(), p_256()])).ok(), parsed(&[p_256()]).ok());
}

/// A signature of such a key verifies for every message, or for one in a few.
#[test]
fn a_point_of_small_order_is_no_key() {
    let (mut zero, mut one, mut minus_one) = ([0; 32], [0; 32], [0xff; 32]);
    one[0] = 1;
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    let order_8 = |hex: &str| {
        let octets: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex")).collect();
        <[u8; 32]>::try_from(octets).expect("32 octets")
    };
    let mut points = vec![
        zero,
        one,
        minus_one,
        order_8("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        order_8("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ];
    // 0 and 1 written as p and p + 1, and another that is not reduced.
    for first in [0xed, 0xee, 0xf0] {
        let mut unreduced = minus_one;
        unreduced[0] = first;
        points.push(unreduced);
    }
    for mut point in points {
        for sign in [0, 0x80] {
            point[31] |= sign;
            let key = with(ed25519(), "x", json!(URL_SAFE_NO_PAD.encode(point)));
            assert_eq!(problem(&key), JwkProblem::Invalid, "{point:02x?}");
        }
    }
    zero[0] = 2;
    assert!(!verifies_anything(&zero), "another point");
}

#[test]
fn a_set_that_is_registered_says_each_thing_once_and_has_1_to_16_keys() {
    let text = |text: &str| JwkSet::parse(text.as_bytes());
    let key = p_256().to_string();
    for not_a_set in [
        "",
        "{",
        "[]",
        "{}",
        "null",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":["a"]}"#,
        &format!("[{key}]"),
        &format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#),
        &format!(r#"{{"keys":[{}"#, key.replacen('{', r#"{"kty":"EC","#, 1) + "]}"),
        "-----BEGIN PUBLIC KEY-----",
    ] {
        assert_eq!(text(not_a_set), Err(InvalidJwks::NotASet), "{not_a_set}");
    }
    assert_eq!(text(r#"{"keys":[]}"#), Err(InvalidJwks::Empty));
    assert_eq!(parsed(&[p_256(), p_256()]), Err(InvalidJwks::SameKey));
    let again = with(p_256(), "kid", json!("other"));
    assert_eq!(parsed(&[p_256(), again.clone()]), Err(InvalidJwks::SameKey));
    assert_eq!(parsed(&[again, with(rsa(), "kid", json!("other"))]), Err(InvalidJwks::SameKid));
    let number = |problem| Err(InvalidJwks::Key { number: 2, problem });
    assert_eq!(parsed(&[p_256(), with(rsa(), "use", json!("enc"))]), number(JwkProblem::Use));
    let many = |count: u8| {
        (0..count).map(|last| {
            let mut modulus = vec![0xff; 256];
            modulus[254] = last;
            with(rsa(), "n", json!(URL_SAFE_NO_PAD.encode(modulus)))
        })
    };
    let most = u8::try_from(JwkSet::MAX_KEYS).expect("few");
    assert!(parsed(&many(most).collect::<Vec<_>>()).is_ok());
    assert_eq!(parsed(&many(most + 1).collect::<Vec<_>>()), Err(InvalidJwks::TooManyKeys));
    assert_eq!(text(&" ".repeat(JwkSet::MAX_BYTES + 1)), Err(InvalidJwks::TooLarge));
}

#[test]
fn keys_overlap_while_one_replaces_the_other() {
    let (first, second) = (parsed(&[p_256()]).expect("a key"), parsed(&[rsa()]).expect("a key"));
    let both = first.with(&second).expect("two keys");
    assert_eq!(both, parsed(&[p_256(), rsa()]).expect("two keys"));
    assert_eq!(both.with(&second), Err(InvalidJwks::SameKey));
}

#[test]
fn a_key_is_chosen_by_its_name_and_algorithm_and_never_one_after_the_other() {
    let choice = |keys: &JwkSet, alg, kid, now| match keys.choose(alg, kid, UnixSeconds(now)) {
        KeyChoice::One(key) => format!("{}", key.alg),
        KeyChoice::Unknown => "unknown".to_owned(),
        KeyChoice::OfOtherAlgorithm => "other algorithm".to_owned(),
        KeyChoice::Several => "several".to_owned(),
    };
    let of_time = with(with(p_384(), "nbf", json!(10)), "exp", json!(20));
    let keys = parsed(&[with(p_256(), "kid", json!("a")), rsa(), of_time]).expect("keys");
    let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    for (alg, kid, now, expected) in [
        (JwsAlgorithm::Es256, Some("a"), 0, "ES256"),
        (JwsAlgorithm::Es256, None, 0, "ES256"),
        (JwsAlgorithm::Ps256, Some(thumbprint), 0, "PS256"),
        (JwsAlgorithm::Rs256, None, 0, "RS256"),
        (JwsAlgorithm::Rs256, Some("a"), 0, "other algorithm"),
        (JwsAlgorithm::Es256, Some("b"), 0, "unknown"),
        (JwsAlgorithm::Es256, Some(""), 0, "unknown"),
        (JwsAlgorithm::EdDsa, None, 0, "unknown"),
        (JwsAlgorithm::Es384, None, 9, "unknown"),
        (JwsAlgorithm::Es384, None, 10, "ES384"),
        (JwsAlgorithm::Es384, None, 19, "ES384"),
        (JwsAlgorithm::Es384, None, 20, "unknown"),
    ] {
        assert_eq!(choice(&keys, alg, kid, now), expected, "{alg} {kid:?} {now}");
    }
    let other = json!({
        "kty": "EC", "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
    });
    let two = parsed(&[with(p_256(), "kid", json!("a")), with(other, "kid", json!("b"))]).expect("keys");
    assert_eq!(choice(&two, JwsAlgorithm::Es256, None, 0), "several");
    assert_eq!(choice(&two, JwsAlgorithm::Es256, Some("b"), 0), "ES256");
}

#[test]
fn the_vectors_of_rfc_7515_and_rfc_8037_verify_and_nothing_beside_them() {
    // RFC 7515 Appendix A.3.1 and RFC 8037 Appendix A.4.
    for (key, jws) in [
        (
            p_256(),
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            ed25519(),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
        // RFC 7515 Appendix A.2.1.
        (
            json!({
                "kty": "RSA", "e": "AQAB",
                "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            }),
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
    ] {
        let keys = parsed(&[key]).expect("a key");
        let (message, signature) = jws.rsplit_once('.').expect("a JWS");
        let header = URL_SAFE_NO_PAD.decode(message.split('.').next().expect("a header")).expect("base64");
        let header: Value = serde_json::from_slice(&header).expect("JSON");
        let alg = header["alg"].as_str().expect("text").parse().expect("known");
        let KeyChoice::One(key) = keys.choose(alg, None, UnixSeconds(0)) else { panic!("no key for {alg}") };
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        assert_eq!(signature.len(), key.signature_len());
        assert!(key.verifies(message.as_bytes(), &signature), "{alg}");
        assert!(!key.verifies(&message.as_bytes()[1..], &signature), "{alg}");
        for index in [0, signature.len() / 2, signature.len() - 1] {
            let mut forged = signature.clone();
            forged[index] ^= 1;
            assert!(!key.verifies(message.as_bytes(), &forged), "{alg}");
        }
        for length in [0, 1, signature.len() - 1] {
            assert!(!key.verifies(message.as_bytes(), &signature[..length]), "{alg}");
        }
        assert!(!key.verifies(message.as_bytes(), &[signature.as_slice(), &[0]].concat()), "{alg}");
        assert!(!key.verifies(message.as_bytes(), &vec![0; signature.len()]), "{alg}");
    }
}

#[test]
fn a_bundle_of_spiffe_has_keys_for_tokens_and_others_that_never_verify_one() {
    let bundle = |keys: &[Value]| {
        json!({ "keys": keys, "spiffe_sequence": 18_446_744_073_709_551_615_u64, "spiffe_refresh_hint": 300 })
            .to_string()
    };
    let of_use = |key: Value, purpose: &str| with(key, "use", json!(purpose));
    let names = |text: &str| {
        let keys = JwkSet::parse_spiffe_bundle(text.as_bytes());
        keys.map(|keys| keys.keys().map(|key| key.algorithms().next()).collect::<Vec<_>>())
    };
    let for_certificates = with(of_use(rsa(), "x509-svid"), "x5c", json!(["MIIB"]));
    let of_a_new_type = json!({ "kty": "AKP", "use": "jwt-svid", "kid": "new" });
    let svids = [for_certificates.clone(), of_use(p_256(), "jwt-svid"), of_a_new_type];
    assert_eq!(names(&bundle(&svids)), Ok(vec![Some(JwsAlgorithm::Es256)]));
    // Whose use is not that of a token is passed over, whatever it is: the specification's are case sensitive.
    for other in [p_384(), of_use(p_384(), "sig"), of_use(p_384(), "JWT-SVID"), of_use(p_384(), "wit-svid")] {
        assert_eq!(names(&bundle(&[other, of_use(p_256(), "jwt-svid")])), Ok(vec![Some(JwsAlgorithm::Es256)]));
    }
    assert_eq!(names(&bundle(std::slice::from_ref(&for_certificates))), Err(RefusedJwks::NoUsableKey));
    assert_eq!(names(&bundle(&[for_certificates, p_256()])), Err(RefusedJwks::NoUsableKey));
    assert_eq!(names(&bundle(&[])), Err(RefusedJwks::NoUsableKey));
    assert_eq!(names(r#"{"keys":null,"spiffe_refresh_hint":60}"#), Err(RefusedJwks::NotASet));
    let private = with(of_use(p_256(), "jwt-svid"), "d", json!("AA"));
    assert_eq!(names(&bundle(&[private])), Err(RefusedJwks::NotPublic));
    // What SPIRE publishes for OpenID Connect.
    assert_eq!(names(&bundle(&[of_use(p_256(), "sig"), rsa()])).map(|keys| keys.len()), Ok(2));
    // And no other issuer's tokens are verified with them.
    assert_eq!(JwkSet::parse_fetched(bundle(&[of_use(p_256(), "jwt-svid")]).as_bytes()), Err(RefusedJwks::NoUsableKey));
}
