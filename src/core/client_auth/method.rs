//! What a method of authentication has to say for itself. The frame in [`super`] asks it, and keeps everything that must be
//! the same for all of them.

use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::request::ClientRequest;
use crate::core::authorization;
use crate::core::client::Client;
use crate::core::client::auth_method::AuthMethod;
use crate::core::client::secret::ClientSecrets;
use crate::core::error::{ClientAuthFailure, OAuthError};
use crate::core::ports::{RemoteKeys, ReplayGuard, SecretSource};
use crate::core::realm::Realm;
use crate::core::time::UnixSeconds;
use crate::core::trust::admission::Admission;
use crate::core::trust::shortfalls::ObservedRule;

/// A row of the table ([`super::METHODS`]).
pub struct Method {
    /// Under which it is registered, and its name in metadata documents.
    pub name: AuthMethod,
    /// Where a request carries its proof.
    pub carrier: Carrier,
    /// The members of a registration of which it needs one. `client_secret` is kept beside the registration, where one of its
    /// methods needs it.
    pub needs: &'static [&'static str],
    /// Whether metadata documents name it.
    pub is_listed: bool,
    /// Reads what a request carries there. `None` where it is another method's; an error where it is this one's, and malformed.
    pub(super) find: fn(&ClientRequest<'_>) -> Result<Option<Presented>, OAuthError>,
}

/// Where a request carries a proof. A request that uses two of these uses two methods (RFC 6749 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The Authorization header, whatever its scheme.
    Authorization,
    /// Parameters of the body, besides `client_id`.
    Parameters(&'static [&'static str]),
    /// What AWS says of the caller, at an address where AWS has verified who that is.
    AwsCaller,
}

/// What a request presents, decoded.
pub(super) struct Presented {
    /// Not yet known to be well formed: a registered id is, so anything else is an unknown client.
    pub(super) unverified_client_id: Zeroizing<String>,
    pub(super) proof: Box<dyn Proof>,
}

/// How what is presented is verified.
#[async_trait]
pub(super) trait Proof: Send + Sync {
    /// Whether what the registration has for this method can still prove anything.
    fn can_prove(&self, client: &Client, now: UnixSeconds) -> Result<(), ClientAuthFailure>;

    /// What proves that the request is the client's: [`OAuthError::InvalidClient`] where nothing does, another error where
    /// a store cannot be asked.
    ///
    /// There is no client where none is registered, or none that may authenticate. Then no store is asked, and it takes as long as
    /// a wrong proof of a client takes while nothing has to be loaded; what it answers is not looked at.
    async fn verify(
        &self,
        client: Option<&Client>,
        look: Look,
        stores: &Stores,
        circumstances: Circumstances<'_>,
    ) -> Result<Proven, OAuthError>;

    /// Called when it does not, and with why: whether the registration, and what belongs to it, may be looked at past all that is
    /// remembered. So seldom that guessing costs nothing.
    async fn admits_another_look(&self, client: &Client, failure: &ClientAuthFailure, stores: &Stores) -> bool;
}

/// By what a proof is right.
pub(super) enum Proven {
    /// Something that the registration has.
    Registration,
    /// These secrets, which may be newer than the registration.
    Secrets(ClientSecrets),
    /// What others say of the caller.
    Identity {
        /// Why they make it the client.
        admission: Admission,
        /// What rules would have done that are only observed.
        observed: Vec<ObservedRule>,
    },
}

/// In what a proof is verified, besides what it is verified against.
#[derive(Clone, Copy)]
pub(super) struct Circumstances<'a> {
    pub(super) realm: &'a Realm,
    pub(super) now: UnixSeconds,
}

/// At what a proof is verified against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// As it may be remembered.
    Remembered,
    /// As the store has it now.
    Anew,
}

/// What proofs are verified against, besides the registration.
pub(super) struct Stores {
    pub(super) secrets: Arc<dyn SecretSource>,
    /// `None` where this process takes no assertions.
    pub(super) replay_guard: Option<Arc<dyn ReplayGuard>>,
    /// `None` where it fetches no keys.
    pub(super) remote_keys: Option<Arc<dyn RemoteKeys>>,
}

impl Carrier {
    /// An assertion (RFC 7521 §4.2).
    pub(super) const ASSERTION: Self = Self::Parameters(&["client_assertion", "client_assertion_type"]);

    /// The parameters that it consists of.
    pub(super) fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Authorization | Self::AwsCaller => &[],
            Self::Parameters(names) => names,
        }
    }

    /// Whether the request uses it, in whatever form.
    pub(super) fn is_used_by(self, request: &ClientRequest<'_>) -> bool {
        match self {
            Self::Authorization => authorization::spoken(request.authorization).next().is_some(),
            Self::Parameters(names) => names.iter().any(|name| request.params.contains(name)),
            Self::AwsCaller => request.aws_caller.is_some(),
        }
    }
}
