//! Rules as they are written: the form of the files, of the records and of the JSON Schema. What it can say and must not is refused
//! where it becomes a rule.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What somebody has to be, as others vouch for it. Exactly one of `aws` and `issuer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "rule", extend("oneOf" = [{"required": ["aws"]}, {"required": ["issuer"]}])))]
pub struct WrittenRule {
    /// Its name among the client's rules: 1 to 64 characters of A-Z, a-z, 0-9, _, . and -.
    #[cfg_attr(test, schemars(regex(pattern = r"^[A-Za-z0-9_.-]{1,64}$")))]
    pub name: String,
    /// A role of AWS, whether its request comes through the IAM door or it presents a token of AWS STS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<WrittenAws>,
    /// The issuer of the token, as it is registered in the realm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// What the token has to say: all of it. Beside `aws`, the rule is satisfied by tokens only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub claims: Vec<WrittenClaimTest>,
    /// How many seconds may have passed since the token was made, where that is less than its issuer's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 1, max = 86400)))]
    pub max_age: Option<u64>,
    /// Whether each token is good once, also where those of its issuer are not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_use: bool,
    /// Whether a caller that satisfies the rule is the client, or the log only says so.
    #[serde(default, skip_serializing_if = "RuleMode::is_enforce")]
    pub mode: RuleMode,
}

/// What a rule demands of a role of AWS. Every member narrows it. `account` or `organization` is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "aws", extend("anyOf" = [{"required": ["account"]}, {"required": ["organization"]}])))]
pub struct WrittenAws {
    /// `aws` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(regex(pattern = r"^aws(-[a-z-]+)?$")))]
    pub partition: Option<String>,
    /// The account's twelve digits, in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9]{12}$")))]
    pub account: Option<String>,
    /// The organization's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(regex(pattern = r"^o-[a-z0-9]{10,32}$")))]
    pub organization: Option<String>,
    /// A path of organizational units that begins with the organization and ends in `/`: that unit, and all below it. Tokens only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(regex(pattern = r"^o-[a-z0-9]{10,32}/(r-[a-z0-9-]+/(ou-[a-z0-9-]+/)*)?$")))]
    pub organization_path: Option<String>,
    /// The role's name without its path, in which `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(regex(pattern = r"^[A-Za-z0-9_+=,.@*-]{1,64}$")))]
    pub role: Option<String>,
    /// The role's unique id: a role that is made again under the same name has another. IAM door only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(regex(pattern = r"^AROA[A-Z0-9]{12,124}$")))]
    pub role_id: Option<String>,
    /// Tags of the role or of its session, each with its whole value. Tokens only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(test, schemars(length(max = 50)))]
    pub tags: BTreeMap<String, String>,
}

/// A claim, and what it has to be: exactly one of `equals`, `in`, `glob` and `present`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "claim", extend("oneOf" = [
    {"required": ["equals"]}, {"required": ["in"]}, {"required": ["glob"]}, {"required": ["present"]}
])))]
pub struct WrittenClaimTest {
    /// The names on the way to it; claims contain dots and slashes. Never through a list.
    #[cfg_attr(test, schemars(length(min = 1, max = 8)))]
    pub path: Vec<String>,
    /// Its text is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<WrittenText>,
    /// Its text is one of these.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1, max = 64)))]
    pub one_of: Option<Vec<WrittenText>>,
    /// Its text is this, in which `*` stands for any characters but `/` and `:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1, max = 1024)))]
    pub glob: Option<String>,
    /// Whether it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

/// What comes of a rule that is satisfied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "mode"))]
pub enum RuleMode {
    /// The caller is the client.
    #[default]
    Enforce,
    /// A line in the log.
    Observe,
}

/// A text, or what has exactly one: a whole number, true or false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenText(pub String);

impl RuleMode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_enforce(&self) -> bool {
        *self == Self::Enforce
    }
}

impl Serialize for WrittenText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WrittenText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfOneText)
    }
}

struct OfOneText;

impl Visitor<'_> for OfOneText {
    type Value = WrittenText;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text, a whole number, true or false")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<WrittenText, E> {
        Ok(WrittenText(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<WrittenText, E> {
        Ok(WrittenText(value.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<WrittenText, E> {
        Ok(WrittenText(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<WrittenText, E> {
        Ok(WrittenText(number.to_string()))
    }
}
