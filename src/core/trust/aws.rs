//! Who a caller is on AWS, and what a rule says about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a rule demands of a role of AWS. Every member narrows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsRule {
    /// `aws` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The account's twelve digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The organization's id, `o-…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// A path of organizational units that ends in `/`: that unit, and all below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_path: Option<String>,
    /// The role's name, in which `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The role's unique id, `AROA…`: a role that is made again under the same name has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_id: Option<String>,
    /// Tags of the role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A role of AWS whose request AWS has verified. Never an account's root, a user, a federated user or an identity of Cognito.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsCaller {
    /// `aws`, `aws-cn`, `aws-us-gov`, ….
    pub partition: String,
    /// The account's twelve digits.
    pub account: String,
    /// The role's name, without its path.
    pub role: String,
    /// The role's unique id, `AROA…`.
    pub role_id: Option<String>,
    /// The organization of its account, where AWS has said it.
    pub organization: Option<String>,
}
