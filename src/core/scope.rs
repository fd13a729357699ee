//! Access token scope: a set of case-sensitive scope tokens (RFC 6749 §3.3, Appendix A.4).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A resource server whose client has this scope may introspect every token of its own realm.
pub const INTROSPECT_ALL_TOKENS: &str = "am-introspect-all-tokens";
/// A resource server whose client has this scope may introspect every token of every realm.
pub const INTROSPECT_ALL_TOKENS_ANY_REALM: &str = "am-introspect-all-tokens-any-realm";

/// A set of scope tokens. Order and repetition carry no meaning (RFC 6749 §3.3), so both are dropped on parsing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<String>);

/// The text is not `scope-token *( SP scope-token )` (RFC 6749 Appendix A.4). Does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one or more tokens of printable ASCII without quotes or backslashes, separated by single spaces")]
pub struct MalformedScope;

impl Scope {
    /// No scope token at all; what a client has that registered none.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Whether no scope token is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `token` is in the set, compared byte for byte.
    pub fn contains(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    /// Whether every token of `self` is in `other`.
    pub fn is_subset(&self, other: &Scope) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Leaves only the tokens for which `keep` says so.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|token| keep(token));
    }

    /// The tokens that both sets have.
    #[must_use]
    pub fn intersection(&self, other: &Scope) -> Scope {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// The tokens that either set has.
    #[must_use]
    pub fn union(&self, other: &Scope) -> Scope {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The tokens in ascending byte order.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromStr for Scope {
    type Err = MalformedScope;

    fn from_str(text: &str) -> Result<Self, MalformedScope> {
        text.split(' ')
            .map(|token| if is_scope_token(token) { Ok(token.to_owned()) } else { Err(MalformedScope) })
            .collect::<Result<BTreeSet<_>, _>>()
            .map(Self)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, token) in self.tokens().enumerate() {
            if position > 0 {
                formatter.write_str(" ")?;
            }
            formatter.write_str(token)?;
        }
        Ok(())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::empty());
        }
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// `1*( %x21 / %x23-5B / %x5D-7E )`
fn is_scope_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_carry_no_meaning() {
        let left: Scope = "b a b".parse().expect("well formed");
        assert_eq!(left, "a b".parse().expect("well formed"));
        assert_eq!(left.to_string(), "a b");
    }

    #[test]
    fn tokens_are_case_sensitive() {
        let scope: Scope = "A".parse().expect("well formed");
        assert!(scope.contains("A") && !scope.contains("a"));
    }

    #[test]
    fn anything_outside_the_grammar_is_malformed() {
        for text in ["", " ", "a  b", " a", "a ", "a\tb", "a\n", "a\"b", "a\\b", "a\u{7f}", "a\0", "€"] {
            assert_eq!(text.parse::<Scope>(), Err(MalformedScope), "{text:?}");
        }
    }

    #[test]
    fn plus_and_colon_are_ordinary_characters() {
        assert!("a+b api:read".parse::<Scope>().expect("well formed").contains("a+b"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_set(tokens in proptest::collection::vec("[!#-\\[\\]-~]{1,12}", 1..8)) {
            let scope: Scope = tokens.join(" ").parse().expect("built from the grammar");
            proptest::prop_assert_eq!(scope.to_string().parse::<Scope>().expect("printed"), scope);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = text.parse::<Scope>();
        }
    }
}
