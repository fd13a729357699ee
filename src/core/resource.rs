//! Resource indicators (RFC 8707): which protected resource a token is for.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};
use url::Url;

use super::conversions::text_conversions;
use super::realm::Issuer;

/// A protected resource's identifier: an absolute URI without a fragment (RFC 8707 §2), kept as it was written. Comparison is
/// by character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceUri(String);

/// The text is no resource indicator. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a resource is an absolute URI of at most {max} characters without a fragment (RFC 8707 section 2)", max = ResourceUri::MAX_LENGTH)]
pub struct MalformedResource;

/// Whom a token is for, the `aud` of RFC 7519 §4.1.3: one name, or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "AudienceForm")]
pub enum Audience {
    /// The issuer itself: the client registered no resource. Stored as nothing, because the issuer is stored anyway.
    #[default]
    Issuer,
    /// One resource.
    One(ResourceUri),
    /// Several.
    Several(Vec<ResourceUri>),
}

/// An [`Audience`] as it is written. An empty list is none: taken for the issuer, a token for nobody would be one for whoever asks.
#[derive(Deserialize)]
#[serde(untagged)]
enum AudienceForm {
    Issuer,
    One(ResourceUri),
    Several(Vec<ResourceUri>),
}

impl TryFrom<AudienceForm> for Audience {
    type Error = MalformedResource;

    fn try_from(form: AudienceForm) -> Result<Self, MalformedResource> {
        match form {
            AudienceForm::Issuer => Ok(Self::Issuer),
            AudienceForm::One(one) => Ok(Self::One(one)),
            AudienceForm::Several(several) if several.is_empty() => Err(MalformedResource),
            AudienceForm::Several(several) => Ok(Self::Several(several)),
        }
    }
}

/// An audience where the issuer is said by silence: a null is a mistake there, and is not taken for it.
///
/// # Errors
/// The deserializer's, and for a null or an empty list one of its own.
pub(crate) fn spoken_audience<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Audience, D::Error> {
    match Audience::deserialize(deserializer)? {
        Audience::Issuer => Err(de::Error::custom("an empty audience")),
        named => Ok(named),
    }
}

impl ResourceUri {
    /// The longest that is taken: every token carries it.
    pub const MAX_LENGTH: usize = 512;

    /// The URI as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourceUri {
    type Err = MalformedResource;

    fn from_str(text: &str) -> Result<Self, MalformedResource> {
        let well_formed = text.len() <= Self::MAX_LENGTH
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'\\'))
            && Url::parse(text).is_ok();
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedResource) }
    }
}

text_conversions!(ResourceUri);

impl Audience {
    /// The audience of a token for these resources.
    pub fn of(resources: &[ResourceUri]) -> Self {
        match resources {
            [] => Self::Issuer,
            [one] => Self::One(one.clone()),
            several => Self::Several(several.to_vec()),
        }
    }

    /// The resources by name; none where the issuer itself is meant.
    pub fn resources(&self) -> &[ResourceUri] {
        match self {
            Self::Issuer => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }

    /// The audience without the resources that are not among `registered`; `None` where that leaves nobody. The issuer is nobody's
    /// to register.
    pub fn within(self, registered: &[ResourceUri]) -> Option<Self> {
        match self {
            Self::Issuer => Some(Self::Issuer),
            Self::One(one) => registered.contains(&one).then_some(Self::One(one)),
            Self::Several(mut several) => {
                several.retain(|resource| registered.contains(resource));
                Some(Self::of(&several)).filter(|left| !left.is_issuer())
            }
        }
    }

    /// Whether the issuer itself is meant.
    pub fn is_issuer(&self) -> bool {
        self.resources().is_empty()
    }

    /// The names as `aud` has them, with the issuer in its place.
    pub fn names<'a>(&'a self, issuer: &'a Issuer) -> Vec<&'a str> {
        if self.is_issuer() {
            return vec![issuer.as_str()];
        }
        self.resources().iter().map(ResourceUri::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a record, where no member at all is the issuer.
    #[derive(Deserialize)]
    struct Record {
        #[serde(default, deserialize_with = "spoken_audience")]
        aud: Audience,
    }

    #[test]
    fn an_audience_that_names_nobody_is_not_taken_for_the_issuer() {
        let read = |text: &str| serde_json::from_str::<Record>(text).map(|record| record.aud);
        let named = |name: &str| Audience::of(&[name.parse().expect("a resource")]);
        assert_eq!(read("{}").ok(), Some(Audience::Issuer));
        assert_eq!(read(r#"{"aud":"https://a.example"}"#).ok(), Some(named("https://a.example")));
        for text in [r#"{"aud":null}"#, r#"{"aud":[]}"#, r#"{"aud":""}"#, r#"{"aud":7}"#] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Audience>("[]").is_err());
    }

    #[test]
    fn a_resource_is_an_absolute_uri_without_a_fragment() {
        for text in ["https://api.example.com/", "https://api.example.com/orders?tenant=1", "urn:example:orders"] {
            assert_eq!(text.parse::<ResourceUri>().map(String::from), Ok(text.to_owned()));
        }
        let long = format!("https://a/{}", "x".repeat(ResourceUri::MAX_LENGTH));
        for text in [
            "",
            "orders",
            "/orders",
            "//api.example.com",
            "https://a/#",
            "https://a/#f",
            "https://a/ b",
            "é:x",
            "a\"b:c",
            &long,
        ] {
            assert_eq!(text.parse::<ResourceUri>(), Err(MalformedResource), "{text}");
        }
    }
}
