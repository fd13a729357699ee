//! Why an event is refused, or a step fails.

use crate::core::admin_log::Outcome;
use crate::core::error::OAuthError;
use crate::core::keys::KeyError;
use crate::core::keys::set::RotationRefused;
use crate::core::management::ChangeError;
use crate::core::port_error::PortError;

/// Why an event was refused or a step failed. Says nothing of what the secrets hold, nor of the event.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Nothing this function knows.
    #[error("the event is neither a rotation step of Secrets Manager nor a scheduled event of EventBridge")]
    UnknownEvent,
    /// It has another name, or there is none.
    #[error("the secret is neither a client's secret nor a realm's signing keys of this stack")]
    ForeignSecret,
    /// AWSPENDING is not on the version of the step.
    #[error("the version is not the one that is pending; start the rotation again")]
    NotPending,
    /// createSecret comes first.
    #[error("the pending version has no value; createSecret comes first")]
    NoValue,
    /// AWSCURRENT moved to another version while the step ran.
    #[error("somebody else made another version current meanwhile; start the rotation again")]
    Conflict,
    /// There is nobody to rotate the secret for.
    #[error("no client is registered for the secret")]
    UnregisteredClient,
    /// The pending version, or the current one, is not this client's.
    #[error(
        "the secret belongs to another registration of the client's id; make one of this registration with: grantwell client rotate-secret"
    )]
    OtherRegistration,
    /// The client's registration keeps its secrets.
    #[error(
        "the client keeps its secrets as digests, so nobody reads this one; delete it with: grantwell client update --secret-storage digest"
    )]
    KeptAsDigest,
    /// Somebody has stored another secret since the pending one was made.
    #[error("the pending secret is older than the one in use and stays out of use; start the rotation again")]
    OutdatedSecret,
    /// What the token endpoint would answer.
    #[error("the pending secret does not authenticate its client: {0}")]
    Authentication(OAuthError),
    /// The keys that are current are not the ones that the pending version was made from.
    #[error("the pending keys were made from keys that have been replaced meanwhile; start the rotation again")]
    OutdatedKeys,
    /// The pending keys say of themselves that they were published, long before they were.
    #[error("the pending keys were made too long ago to be published now; start the rotation again")]
    LateKeys,
    /// A key that signs has been taken out of what is published: the command that did so did not come to its end.
    #[error("a key that signs is not published; repeat `grantwell key revoke`")]
    WithdrawnKeys,
    /// The registry has other public keys than those of the pending version.
    #[error("the pending keys are not the ones that are published; setSecret comes first")]
    UnpublishedKeys,
    /// A key signed what the published key of its name does not verify.
    #[error("a pending key signs what its published half does not verify")]
    UnverifiedKeys,
    /// The keys do not allow a rotation now.
    #[error(transparent)]
    Refused(#[from] RotationRefused),
    /// The program is at fault, or a library.
    #[error("the function failed unexpectedly; the log says where")]
    Panicked,
    /// A store could not do its work.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The schedule found secrets due that could not be rotated, or something that it could not look at.
    #[error("{failed} failures while the schedule looked for what is due; the log says where and why")]
    Schedule {
        /// How many.
        failed: usize,
    },
}

impl ChangeError for RotationError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Port(_) | Self::Panicked | Self::Schedule { .. } => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }
}

impl From<KeyError> for RotationError {
    fn from(error: KeyError) -> Self {
        Self::Port(error.into())
    }
}
