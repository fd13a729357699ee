//! Authentication methods of clients by their registered names (RFC 7591 §2).

use serde::{Deserialize, Serialize};

/// How a client may authenticate at the token, introspection and revocation endpoints (RFC 7591 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// HTTP Basic (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the request body (RFC 6749 §2.3.1).
    ClientSecretPost,
    /// An assertion that the client signs with its private key (RFC 7523 §2.2, RFC 7591 §2).
    PrivateKeyJwt,
    /// A token of an issuer that the realm trusts, which a rule of the client names (RFC 7521 §3).
    WorkloadIdentity,
    /// By the role of AWS whose credentials have signed the request (trust rules say which).
    AwsIam,
}

impl AuthMethod {
    /// Every method that this server implements; `client_auth` has a row for each.
    pub const ALL: [Self; 5] =
        [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt, Self::WorkloadIdentity, Self::AwsIam];

    /// The registered name (RFC 7591 §2), or ours where there is none.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::WorkloadIdentity => "workload_identity",
            Self::AwsIam => "aws_iam",
        }
    }

    /// The names of all of them, for a sentence.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::as_str).join(" or ")
    }
}
