//! Request parameters: a strict `application/x-www-form-urlencoded` decoder (RFC 6749 §3.2, Appendix B).
//!
//! The libraries at hand turn `%zz` into itself and broken UTF-8 into U+FFFD, so that two requests which differ on the
//! wire look alike after decoding. Here whatever does not decode exactly is an error.

use zeroize::Zeroizing;

use super::encoding::decode_form;
use super::error::OAuthError;

/// The most parameters one request may carry.
pub const MAX_PARAMETERS: usize = 100;

/// Decoded parameters in the order of the request. Values are wiped on drop: one of them may be a secret.
pub struct Params(Vec<(String, Zeroizing<String>)>);

impl Params {
    /// Decodes a form body or a query string. Pairs without a name are ignored; a name without `=` has no value.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] for a broken percent escape, text that is not UTF-8, a byte order mark, or more
    /// than [`MAX_PARAMETERS`] pairs.
    pub fn parse(form: &[u8]) -> Result<Self, OAuthError> {
        if form.starts_with(b"\xef\xbb\xbf") {
            return Err(OAuthError::InvalidRequest("the parameters start with a byte order mark"));
        }
        let mut pairs = Vec::new();
        for pair in form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(OAuthError::InvalidRequest("the request has more than 100 parameters"));
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode_form(halves.next().unwrap_or_default()).ok_or(UNDECODABLE)?;
            let value = decode_form(halves.next().unwrap_or_default()).ok_or(UNDECODABLE)?;
            if !name.is_empty() {
                pairs.push((name.to_string(), value));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter that may appear once.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] where more than one value has the name.
    pub fn single(&self, name: &str) -> Result<Option<&str>, OAuthError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(OAuthError::InvalidRequest("a parameter is repeated"));
        }
        Ok(first)
    }

    /// Every value of a parameter that may be repeated, in the order of the request. An empty one is none: what is "sent
    /// without a value MUST be treated as if [it] were omitted" (RFC 6749 §3.2), beside another of its name too.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str());
        named.filter(|value| !value.is_empty())
    }

    /// Refuses what some libraries make of a list, `scope[]` or `resource[0]`: ignored like any unknown parameter, it would get its
    /// sender more than was asked for, or something else.
    ///
    /// # Errors
    /// [`OAuthError::InvalidRequest`] for such a name of a known parameter, which says what to send.
    pub fn refuse_lists(&self, is_known: impl Fn(&str) -> bool) -> Result<(), OAuthError> {
        let list = self.0.iter().find_map(|(name, _)| {
            let (own, _) = name.strip_suffix(']')?.split_once('[')?;
            is_known(own).then_some(own)
        });
        match list {
            None => Ok(()),
            Some("scope") => Err(OAuthError::InvalidRequest(
                "scope[] is not a parameter: send scope once, with its values separated by spaces",
            )),
            Some("resource") => {
                Err(OAuthError::InvalidRequest("resource[] is not a parameter: send resource once for each value"))
            }
            Some("audience") => Err(OAuthError::InvalidRequest(
                "audience[] is not a parameter: send audience once, with its values separated by spaces",
            )),
            Some(_) => Err(OAuthError::InvalidRequest(
                "the name of a parameter has brackets: send it once, under its name without them",
            )),
        }
    }

    /// Whether the parameter appears with a value.
    pub fn contains(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

const UNDECODABLE: OAuthError =
    OAuthError::InvalidRequest("a parameter is not form-urlencoded UTF-8 (RFC 6749 Appendix B)");

#[cfg(test)]
mod tests {
    use super::*;

    fn single(form: &str, name: &str) -> Option<String> {
        let params = Params::parse(form.as_bytes()).expect("decodes");
        params.single(name).expect("appears once").map(str::to_owned)
    }

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!(single("%67rant_type=client%5Fcredentials", "grant_type").as_deref(), Some("client_credentials"));
        assert_eq!(single("scope=a+b", "scope").as_deref(), Some("a b"));
        assert_eq!(single("scope=a%20b", "scope").as_deref(), Some("a b"));
        assert_eq!(single("scope=a%2Bb", "scope").as_deref(), Some("a+b"));
        assert_eq!(single("scope=%C3%a9", "scope").as_deref(), Some("é"));
    }

    #[test]
    fn an_empty_value_is_an_absent_parameter() {
        assert_eq!(single("scope=", "scope"), None);
        assert_eq!(single("scope", "scope"), None);
        assert_eq!(single("&&=x&a=1&", "a").as_deref(), Some("1"));
    }

    #[test]
    fn names_are_case_sensitive_and_semicolons_do_not_separate() {
        assert_eq!(single("GRANT_TYPE=x", "grant_type"), None);
        assert_eq!(single("a=1;b=2", "a").as_deref(), Some("1;b=2"));
        assert_eq!(single("a=1;b=2", "b"), None);
    }

    #[test]
    fn a_parameter_with_several_values_is_an_error() {
        for form in ["scope=a&scope=a", "scope=a&scope=&scope=b", "scope=a&%73cope=b"] {
            let params = Params::parse(form.as_bytes()).expect("decodes");
            assert!(matches!(params.single("scope"), Err(OAuthError::InvalidRequest(_))), "{form}");
            assert_eq!(params.single("other").expect("absent"), None);
        }
    }

    #[test]
    fn an_empty_value_counts_for_nothing_beside_another() {
        for form in ["scope=&scope=a", "scope=a&scope", "scope&scope=&%73cope=a"] {
            assert_eq!(single(form, "scope").as_deref(), Some("a"), "{form}");
        }
        for form in ["scope=", "scope", "scope=&scope="] {
            let params = Params::parse(form.as_bytes()).expect("decodes");
            assert!(!params.contains("scope") && params.single("scope").is_ok_and(|value| value.is_none()), "{form}");
        }
    }

    #[test]
    fn a_list_in_brackets_is_an_error_where_the_parameter_is_known() {
        for form in ["scope[]=a", "scope%5B%5D=a", "scope[0]=a", "scope[a][b]=", "scope[]", "x=1&scope[1]=a"] {
            let params = Params::parse(form.as_bytes()).expect("decodes");
            assert!(params.refuse_lists(|name| ["resource", "scope"].contains(&name)).is_err(), "{form}");
            assert!(params.refuse_lists(|name| ["resource", "scopes"].contains(&name)).is_ok(), "{form}");
        }
        for form in ["scope=a[]", "scope[=a", "scope]=a", "[]=a", "xscope[]=a", "Scope[]=a", "scope[]x=a"] {
            let params = Params::parse(form.as_bytes()).expect("decodes");
            assert!(params.refuse_lists(|name| ["resource", "scope"].contains(&name)).is_ok(), "{form}");
        }
    }

    #[test]
    fn what_does_not_decode_exactly_is_an_error() {
        for form in
            [&b"a=%zz"[..], b"a=%", b"a=%f", b"a=%u0041", b"%=1", b"a=\xff", b"a=%ff", b"\xef\xbb\xbfa=1", b"a=%+1"]
        {
            assert!(matches!(Params::parse(form), Err(OAuthError::InvalidRequest(_))), "{form:?}");
        }
    }

    #[test]
    fn a_hundred_parameters_are_the_most() {
        assert!(Params::parse("a=1&".repeat(100).as_bytes()).is_ok());
        assert!(Params::parse("a=1&".repeat(101).as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn decoding_never_panics(form in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
            let _ = Params::parse(&form);
        }

        #[test]
        fn what_a_client_encodes_comes_back(value in "\\PC{1,32}") {
            let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            let decoded = decode_form(encoded.as_bytes()).expect("encoded by the standard");
            proptest::prop_assert_eq!(decoded.as_str(), value.as_str());
        }
    }
}
