//! Claims of the operator's own: a JSON object that every token of a client carries, whatever the request says.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A client's static claims. Stored as JSON text, so that what comes back is what was registered to the letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CustomClaims(Map<String, Value>);

/// The members of a JSON object, each of which is there once: of two of one name every reader takes the one it likes (RFC 7519
/// §4).
pub(super) struct Members(pub(super) Map<String, Value>);

/// Why claims were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaims {
    /// Not a JSON object.
    #[error("claims are one JSON object, such as '{{\"tier\":\"gold\"}}'")]
    NotAnObject,
    /// A name of which there are two.
    #[error("a claim occurs twice")]
    Twice,
    /// A name that the server or a specification uses.
    #[error("the claim '{0}' is reserved: the server sets it itself, or a specification gives it a meaning")]
    Reserved(String),
    /// Too much for a header that carries the token.
    #[error("the claims have more than {max} bytes of JSON together", max = CustomClaims::MAX_BYTES)]
    TooLarge,
    /// Too many facts of its callers: every token carries them.
    #[error("a client takes at most {max} claims from its callers", max = CustomClaims::MAX_FACTS)]
    TooManyFacts,
    /// A way to a fact that leads nowhere.
    #[error(
        "\"from\" of the claim '{0}' is a list of 1 to 8 names, such as [\"https://sts.amazonaws.com/\", \"principal_tags\", \"team\"]"
    )]
    From(String),
    /// An empty name, or one with characters that would forge a log line.
    #[error("a claim's name has 1 to 64 printable characters")]
    Name,
}

impl CustomClaims {
    /// The most bytes of JSON text: every token carries them.
    pub const MAX_BYTES: usize = 2048;
    /// The most claims that a client takes from its callers.
    pub const MAX_FACTS: usize = 8;

    /// Names that cannot be registered: those the server sets, those that limit a token in JWT (RFC 7519 §4.1), introspection
    /// (RFC 7662 §2.2, RFC 9701 §5) and access tokens (RFC 9068 §2.2), and those that bind or delegate it (RFC 7800, RFC 8693,
    /// RFC 9396).
    pub const RESERVED: [&str; 26] = [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "scope",
        "realm",
        "auditTrackingId",
        "active",
        "token_type",
        "username",
        "expires_in",
        "token_introspection",
        "cnf",
        "act",
        "may_act",
        "authorization_details",
        "azp",
        "sid",
        "nonce",
        "events",
        "cts",
        "trust_rule",
    ];

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The claims that are taken from what is verified of the caller, and the names on the way to each: `{"from": ["a", "b"]}`.
    pub fn facts(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), source(value)?.ok()?)))
    }

    /// What a token says: the static claims, and these facts of its caller.
    #[must_use]
    pub fn of_token(&self, facts: Option<&Map<String, Value>>) -> Self {
        let mut claims = self.0.clone();
        claims.retain(|_, value| source(value).is_none());
        claims.extend(facts.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
        Self(claims)
    }

    /// Leaves only the claims that `registered` has, too: static ones with the same value, so that a role that was taken away, say, is
    /// said of no token any more, and those of a caller under the names that are still taken from callers.
    pub fn retain_those_of(&mut self, registered: &Self, have_facts: bool) {
        self.0.retain(|name, value| match registered.0.get(name) {
            Some(registered) if source(registered).is_some() => have_facts,
            registered => registered == Some(value),
        });
    }

    /// The claims by name.
    pub fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl TryFrom<Map<String, Value>> for CustomClaims {
    type Error = InvalidClaims;

    fn try_from(claims: Map<String, Value>) -> Result<Self, InvalidClaims> {
        for name in claims.keys() {
            if Self::RESERVED.contains(&name.as_str()) {
                return Err(InvalidClaims::Reserved(name.clone()));
            }
            if !(1..=64).contains(&name.chars().count()) || name.chars().any(char::is_control) {
                return Err(InvalidClaims::Name);
            }
        }
        let mut facts = 0;
        for (name, value) in &claims {
            match source(value) {
                Some(Ok(_)) => facts += 1,
                Some(Err(NoWay)) => return Err(InvalidClaims::From(name.clone())),
                None => {}
            }
        }
        if facts > Self::MAX_FACTS {
            return Err(InvalidClaims::TooManyFacts);
        }
        let claims = Self(claims);
        if String::from(claims.clone()).len() > Self::MAX_BYTES { Err(InvalidClaims::TooLarge) } else { Ok(claims) }
    }
}

impl FromStr for CustomClaims {
    type Err = InvalidClaims;

    /// Parses a JSON object; an empty text is no claim.
    fn from_str(text: &str) -> Result<Self, InvalidClaims> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let claims: Map<String, Value> = serde_json::from_str(text).map_err(|_| InvalidClaims::NotAnObject)?;
        let Ok(Members(_)) = serde_json::from_str(text) else { return Err(InvalidClaims::Twice) };
        claims.try_into()
    }
}

impl TryFrom<String> for CustomClaims {
    type Error = InvalidClaims;

    fn try_from(text: String) -> Result<Self, InvalidClaims> {
        text.parse()
    }
}

impl From<CustomClaims> for String {
    fn from(claims: CustomClaims) -> Self {
        if claims.is_empty() { Self::new() } else { Value::Object(claims.0).to_string() }
    }
}

/// There is no way to a fact.
struct NoWay;

/// The names on the way to the fact that a claim is taken from: an object of nothing but `from`, which has to be a list. Any other object is a
/// static claim.
fn source(value: &Value) -> Option<Result<Vec<&str>, NoWay>> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let Some(names) = members.get("from")?.as_array() else { return Some(Err(NoWay)) };
    let names: Option<Vec<&str>> = names.iter().map(|name| name.as_str().filter(|name| !name.is_empty())).collect();
    Some(names.filter(|names| (1..=8).contains(&names.len())).ok_or(NoWay))
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Distinct;

        impl<'de> Visitor<'de> for Distinct {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member twice"));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Distinct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_an_object_of_names_that_nobody_else_uses() {
        let claims: CustomClaims = r#"{"tier":"gold","limits":{"rate":1.0,"regions":["eu"]}}"#.parse().expect("claims");
        let stored = serde_json::to_string(&claims).expect("JSON");
        assert!(stored.starts_with('"'), "stored as text: {stored}");
        assert_eq!(serde_json::from_str::<CustomClaims>(&stored).expect("reads back"), claims);
        for text in ["[]", "1", "\"a\"", "null", "{", "tier=gold", "{\"a\":1}x"] {
            assert_eq!(text.parse::<CustomClaims>(), Err(InvalidClaims::NotAnObject), "{text}");
        }
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#] {
            assert_eq!(text.parse::<CustomClaims>(), Err(InvalidClaims::Twice), "{text}");
        }
        for name in CustomClaims::RESERVED {
            let text = format!(r#"{{"{name}":"x"}}"#);
            assert_eq!(text.parse::<CustomClaims>(), Err(InvalidClaims::Reserved(name.into())));
        }
        assert_eq!(r#"{"":1}"#.parse::<CustomClaims>(), Err(InvalidClaims::Name));
        assert_eq!(r#"{"a\n":1}"#.parse::<CustomClaims>(), Err(InvalidClaims::Name));
        let way = |way: &str| format!(r#"{{"a":{{"from":{way}}}}}"#).parse::<CustomClaims>();
        for wrong in
            ["\"org\"", "7", "[]", "[1]", r#"[""]"#, r#"["a",["b"]]"#, r#"["1","2","3","4","5","6","7","8","9"]"#]
        {
            assert_eq!(way(wrong), Err(InvalidClaims::From("a".into())), "{wrong}");
        }
        let facts = |count: usize| {
            let claims = (0..count).map(|number| format!(r#""c{number}":{{"from":["a"]}}"#)).collect::<Vec<_>>();
            format!("{{{}}}", claims.join(",")).parse::<CustomClaims>()
        };
        assert!(facts(CustomClaims::MAX_FACTS).is_ok());
        assert_eq!(facts(CustomClaims::MAX_FACTS + 1), Err(InvalidClaims::TooManyFacts));
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(CustomClaims::MAX_BYTES));
        assert_eq!(large.parse::<CustomClaims>(), Err(InvalidClaims::TooLarge));
    }
    #[test]
    fn w_39_a_fact_is_said_as_long_as_it_is_registered_of_who_has_facts() {
        let claims = |text: &str| text.parse::<CustomClaims>().expect("claims");
        let registered = claims(r#"{"tier":"gold","team":{"from":["a.b","team"]},"span":{"from":"1","to":"2"}}"#);
        assert_eq!(registered.facts().collect::<Vec<_>>(), [("team", vec!["a.b", "team"])]);
        let facts = claims(r#"{"team":"billing"}"#).0;
        let of_token = registered.of_token(Some(&facts));
        assert_eq!(of_token, claims(r#"{"tier":"gold","team":"billing","span":{"from":"1","to":"2"}}"#));
        assert_eq!(registered.of_token(None), claims(r#"{"tier":"gold","span":{"from":"1","to":"2"}}"#));

        let left = |registered: &str, have_facts: bool| {
            let mut left = of_token.clone();
            left.retain_those_of(&claims(registered), have_facts);
            left
        };
        assert_eq!(left(r#"{"team":{"from":["a.b","team"]}}"#, true), claims(r#"{"team":"billing"}"#));
        // What a static claim said before is not what somebody has verified.
        assert_eq!(
            left(r#"{"team":{"from":["a.b","team"]},"tier":{"from":["tier"]}}"#, false),
            CustomClaims::default()
        );
        assert_eq!(left(r#"{"team":"shipping","tier":"gold"}"#, true), claims(r#"{"tier":"gold"}"#));
        assert_eq!(left("{}", true), CustomClaims::default());
    }
}
