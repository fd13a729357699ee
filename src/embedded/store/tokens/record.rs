//! What is stored of a token, or of its revocation, besides its digest and its end.

use serde::{Deserialize, Serialize};

use crate::core::access_token::record::{AccessTokenRecord, RevokedToken, StoredToken};
use crate::core::time::UnixSeconds;
use crate::core::trust::rule::RuleName;

/// Without the names of the members that every record has, which would be a third of it: what is stored is written twice, to the log and
/// from there to the file.
pub(super) fn encode(record: &AccessTokenRecord) -> Option<Vec<u8>> {
    let AccessTokenRecord {
        realm,
        client_id,
        registration_id,
        scope,
        iss,
        aud,
        iat,
        expires_at: _has_its_column,
        jti,
        audit_tracking_id,
        claims,
        trust_rule,
    } = record;
    let mut value = Vec::with_capacity(USUAL_RECORD_BYTES);
    value.push(AccessTokenRecord::VERSION);
    let optional = Optional { trust_rule: trust_rule.clone() };
    let members = (realm, client_id, registration_id, scope, iss, aud, iat, jti, audit_tracking_id, claims, optional);
    serde_json::to_writer(&mut value, &members).ok()?;
    Some(value)
}

/// What takes the place of a record when its token is revoked.
pub(super) fn encode_mark(audit_tracking_id: &str) -> Option<Vec<u8>> {
    let mut value = vec![RevokedToken::VERSION];
    serde_json::to_writer(&mut value, &(audit_tracking_id, Optional::default())).ok()?;
    Some(value)
}

pub(super) fn decode(expires_at: i64, value: &[u8]) -> Option<StoredToken> {
    let expires_at = UnixSeconds(u64::try_from(expires_at).ok()?);
    match value.split_first()? {
        (&AccessTokenRecord::VERSION, members) => Some(StoredToken::Live(Box::new(record(expires_at, members)?))),
        (&RevokedToken::VERSION, members) => {
            let (audit_tracking_id, Optional { .. }) = serde_json::from_slice(members).ok()?;
            Some(StoredToken::Revoked(RevokedToken { expires_at, audit_tracking_id }))
        }
        _ => None,
    }
}

fn record(expires_at: UnixSeconds, members: &[u8]) -> Option<AccessTokenRecord> {
    let (realm, client_id, registration_id, scope, iss, aud, iat, jti, audit_tracking_id, claims, optional) =
        serde_json::from_slice(members).ok()?;
    let Optional { trust_rule } = optional;
    Some(AccessTokenRecord {
        realm,
        client_id,
        registration_id,
        scope,
        iss,
        aud,
        iat,
        expires_at,
        jti,
        audit_tracking_id,
        claims,
        trust_rule,
    })
}

/// Members by name that a record or a mark may have. Those of a later build are passed over: what must not be, has another version.
#[derive(Default, Serialize, Deserialize)]
struct Optional {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trust_rule: Option<RuleName>,
}

const USUAL_RECORD_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access_token::claims::CustomClaims;
    use crate::core::client::id::RegistrationId;
    use crate::core::realm::PublicUrl;
    use crate::core::resource::Audience;
    use crate::embedded::store::database::seconds;
    use crate::system::SystemRandom;

    #[test]
    fn a_record_is_read_as_it_was_written_whatever_it_leaves_out() {
        let public_url: PublicUrl = "https://auth.example.com".parse().expect("a URL");
        let resource = |text: &str| text.parse().expect("a resource");
        let audiences = [
            Audience::Issuer,
            Audience::One(resource("https://api.example")),
            Audience::Several(vec![resource("https://api.example"), resource("urn:b")]),
        ];
        for aud in audiences {
            for claims in [CustomClaims::default(), r#"{"tier":["gold",1,null]}"#.parse().expect("claims")] {
                let record = AccessTokenRecord {
                    realm: "alpha".parse().expect("a name"),
                    client_id: "myClient".parse().expect("an id"),
                    registration_id: RegistrationId::generate(&SystemRandom).expect("random bytes"),
                    scope: "read write".parse().expect("a scope"),
                    iss: public_url.issuer("/oauth2/realms/root/realms/alpha"),
                    aud: aud.clone(),
                    iat: UnixSeconds(1_800_000_000),
                    expires_at: UnixSeconds(1_800_003_600),
                    jti: "AAECAwQFBgcICQoLDA0ODw".to_owned(),
                    audit_tracking_id: "00010203-0405-4607-8809-0a0b0c0d0e0f".to_owned(),
                    trust_rule: (!claims.is_empty()).then(|| "orders".parse().expect("a name")),
                    claims,
                };
                let expires_at = seconds(record.expires_at);
                assert_eq!(
                    decode(expires_at, &encode(&record).expect("encoded")),
                    Some(StoredToken::Live(Box::new(record)))
                );
            }
        }
    }

    /// `[realm, client_id, registration_id, scope, iss, aud, iat, jti, audit_tracking_id, claims, optional members]`
    const MEMBERS: [&str; 11] = [
        r#""alpha""#,
        r#""myClient""#,
        r#""AAECAwQFBgcICQoLDA0ODw""#,
        r#""read write""#,
        r#""https://auth.example.com/oauth2""#,
        "null",
        "1800000000",
        r#""AAECAwQFBgcICQoLDA0ODw""#,
        r#""00010203-0405-4607-8809-0a0b0c0d0e0f""#,
        r#""""#,
        "{}",
    ];

    fn stored(version: u8, members: &[&str]) -> Vec<u8> {
        [&[version], format!("[{}]", members.join(",")).as_bytes()].concat()
    }

    fn decoded(value: &[u8]) -> Option<AccessTokenRecord> {
        match decode(1_800_003_600, value)? {
            StoredToken::Live(record) => Some(*record),
            other => panic!("{other:?}"),
        }
    }

    /// As builds read it that know no marks.
    fn decoded_by_an_earlier_build(value: &[u8]) -> Option<&[u8]> {
        let (&1, members) = value.split_first()? else { return None };
        Some(members)
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_is_nothing_to_an_earlier_build() {
        let value = encode_mark("00010203-0405-4607-8809-0a0b0c0d0e0f").expect("encoded");
        assert_eq!(value, b"\x02[\"00010203-0405-4607-8809-0a0b0c0d0e0f\",{}]", "what is in it, and nothing else");
        let mark = RevokedToken {
            expires_at: UnixSeconds(1_800_003_600),
            audit_tracking_id: "00010203-0405-4607-8809-0a0b0c0d0e0f".to_owned(),
        };
        assert_eq!(decode(1_800_003_600, &value), Some(StoredToken::Revoked(mark.clone())));
        assert_eq!(decoded_by_an_earlier_build(&value), None);
        let of_a_later_build = b"\x02[\"00010203-0405-4607-8809-0a0b0c0d0e0f\",{\"revoked_at\":1}]";
        assert_eq!(decode(1_800_003_600, of_a_later_build), Some(StoredToken::Revoked(mark)));

        for wrong in
            [&b"\x02"[..], b"\x02[]", b"\x02[\"a\"]", b"\x02[1,{}]", b"\x02{}", b"\x02[\"a\",{},{}]", b"[\"a\",{}]"]
        {
            assert_eq!(decode(1_800_003_600, wrong), None, "{wrong:?}");
        }
        assert_eq!(decode(-1, &value), None, "expired before 1970");
        // A record is no mark, and a mark no record, whatever byte somebody has put before it.
        assert_eq!(decode(1_800_003_600, &stored(2, &MEMBERS)), None);
        assert_eq!(decode(1_800_003_600, &[&[1], &value[1..]].concat()), None);
    }

    #[test]
    fn an_optional_member_of_a_later_build_is_passed_over() {
        let record = decoded(&stored(1, &MEMBERS)).expect("a record");
        assert_eq!(encode(&record).expect("encoded"), stored(1, &MEMBERS));
        for optional in [r#"{"cnf":{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}"#, r#"{"a":1,"b":[]}"#] {
            let mut members = MEMBERS;
            members[10] = optional;
            assert_eq!(decoded(&stored(1, &members)), Some(record.clone()), "{optional}");
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for value in [&b""[..], b"\x01", b"\x01{}", b"\x01[]", b"\x01[\"alpha\"]", b"{}", b"null"] {
            assert_eq!(decoded(value), None, "{value:?}");
        }
        for version in [0, 2, 255, b'['] {
            assert_eq!(decoded(&stored(version, &MEMBERS)), None, "version {version}");
        }
        // Each member left out, and each of another type, or of the type and without the form.
        for number in 0..MEMBERS.len() {
            let mut fewer = MEMBERS.to_vec();
            fewer.remove(number);
            assert_eq!(decoded(&stored(1, &fewer)), None, "without member {number}");
            for wrong in ["true", "1.5", "-1", "[1]", r#""\u0000""#, r#"{"a":[]}"#] {
                let mut members = MEMBERS;
                members[number] = wrong;
                // Identifiers that are only compared and logged are any text, and the last member is any object.
                let is_well_formed =
                    [2, 4, 7, 8].contains(&number) && wrong.starts_with('"') || number == 10 && wrong.starts_with('{');
                assert_eq!(decoded(&stored(1, &members)).is_some(), is_well_formed, "{wrong} for member {number}");
            }
        }
        assert_eq!(decode(-1, &stored(1, &MEMBERS)), None, "expired before 1970");
        let more = [&MEMBERS[..], &["{}"]].concat();
        assert_eq!(decoded(&stored(1, &more)), None, "one more");
    }
}
