//! What secrets are made with besides their name and value, as an operator has set it. Those that there are keep theirs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aws_sdk_secretsmanager::types::Tag;

/// What each new secret gets.
#[derive(Clone, Debug, Default)]
pub struct NewSecrets {
    /// The key that encrypts it; AWS's own where there is none.
    pub kms_key: Option<KmsKeyArn>,
    /// Its tags, besides those that say whose it is.
    pub tags: SecretTags,
}

/// A KMS key of the operator's own, which encrypts the secrets that are made while it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsKeyArn(String);

/// A text is not the ARN of a KMS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID")]
pub struct InvalidKmsKeyArn;

/// Tags of the operator's own, for the bill or for policies that want them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretTags(BTreeMap<String, String>);

/// A text is not a list of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecretTags {
    /// It is not of the form.
    #[error("it is a list of tags separated by commas: cost-center=4711,team=identity")]
    Form,
    /// AWS would refuse a name or a value.
    #[error(
        "a tag has a name of 1 to 128 characters and a value of at most 256, of letters, digits, spaces and _ . : / = + - @"
    )]
    Character,
    /// Whose a secret is, is not said by hand, and `aws:` is AWS's.
    #[error("the name of a tag does not begin with grantwell: or aws:")]
    Reserved,
    /// Two values for one name.
    #[error("each tag is named once")]
    Repeated,
    /// More than AWS takes, with those that say whose a secret is.
    #[error("a secret has at most 48 tags of your own")]
    TooMany,
}

impl NewSecrets {
    /// The key, as the SDK wants it.
    pub(super) fn kms_key_id(&self) -> Option<String> {
        self.kms_key.as_ref().map(KmsKeyArn::to_string)
    }

    /// `own`, which say whose a secret is, and the operator's.
    pub(super) fn with_tags(&self, own: Vec<Tag>) -> Vec<Tag> {
        let tags = self.tags.0.iter().map(|(name, value)| Tag::builder().key(name).value(value).build());
        own.into_iter().chain(tags).collect()
    }
}

impl FromStr for KmsKeyArn {
    type Err = InvalidKmsKeyArn;

    /// An alias is refused: a policy names keys, and who may move the alias would choose the key.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split(':').collect();
        match parts.as_slice() {
            ["arn", _, "kms", _, _, key] if key.strip_prefix("key/").is_some_and(|id| !id.is_empty()) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidKmsKeyArn),
        }
    }
}

impl fmt::Display for KmsKeyArn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for SecretTags {
    type Err = InvalidSecretTags;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut tags = BTreeMap::new();
        for pair in text.split(',') {
            let (name, value) = pair.trim().split_once('=').ok_or(InvalidSecretTags::Form)?;
            let allowed = |text: &str| text.chars().all(|each| each.is_alphanumeric() || " _.:/=+-@".contains(each));
            if !(1..=128).contains(&name.chars().count())
                || value.chars().count() > 256
                || !allowed(name)
                || !allowed(value)
            {
                return Err(InvalidSecretTags::Character);
            }
            let lower = name.to_ascii_lowercase();
            if ["aws:", "grantwell:"].iter().any(|reserved| lower.starts_with(reserved)) {
                return Err(InvalidSecretTags::Reserved);
            }
            if tags.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(InvalidSecretTags::Repeated);
            }
        }
        if tags.len() > 48 { Err(InvalidSecretTags::TooMany) } else { Ok(Self(tags)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kms_key_is_named_by_its_arn_and_by_no_alias() {
        let arn = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-1";
        assert_eq!(arn.parse::<KmsKeyArn>().expect("an ARN").to_string(), arn);
        for text in ["", "alias/own", "arn:aws:kms:eu-west-1:123456789012:alias/own", "arn:aws:kms:eu-west-1:1:key/"] {
            assert_eq!(text.parse::<KmsKeyArn>(), Err(InvalidKmsKeyArn), "{text}");
        }
    }

    #[test]
    fn tags_are_what_aws_takes_and_say_nothing_of_whose_a_secret_is() {
        let new = NewSecrets { kms_key: None, tags: "cost-center=4711, team=a=b,empty=".parse().expect("tags") };
        let own = Tag::builder().key("grantwell:registry").value("r").build();
        let made = new.with_tags(vec![own]);
        let made: Vec<_> = made.iter().map(|tag| (tag.key().unwrap_or(""), tag.value().unwrap_or(""))).collect();
        assert_eq!(made, [("grantwell:registry", "r"), ("cost-center", "4711"), ("empty", ""), ("team", "a=b")]);
        let many: Vec<_> = (0..49).map(|number| format!("t{number}=")).collect();
        for (text, expected) in [
            ("", InvalidSecretTags::Form),
            ("team", InvalidSecretTags::Form),
            ("team=a,", InvalidSecretTags::Form),
            ("=a", InvalidSecretTags::Character),
            ("team=a;b", InvalidSecretTags::Character),
            (&format!("{}=a", "n".repeat(129)), InvalidSecretTags::Character),
            (&format!("team={}", "v".repeat(257)), InvalidSecretTags::Character),
            ("grantwell:registry=a", InvalidSecretTags::Reserved),
            ("AWS:team=a", InvalidSecretTags::Reserved),
            ("team=a,team=b", InvalidSecretTags::Repeated),
            (&many.join(","), InvalidSecretTags::TooMany),
        ] {
            assert_eq!(text.parse::<SecretTags>(), Err(expected), "{text}");
        }
    }
}
