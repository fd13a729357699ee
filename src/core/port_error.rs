//! Why a port could not do its work: what every store, key source and random source fails with.

/// Why a port could not do its work. The details name services and error codes, never data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Out of reach, throttled, or refusing: try again.
    #[error("{service} is unavailable: {detail}")]
    Unavailable {
        /// The service, such as `DynamoDB`.
        service: &'static str,
        /// The service's error code or the kind of failure.
        detail: String,
    },
    /// A stored item is not what this version can read. Never guessed at.
    #[error("{service} holds an item that cannot be read: {detail}")]
    Corrupt {
        /// The service, such as `DynamoDB`.
        service: &'static str,
        /// Which part could not be read.
        detail: String,
    },
    /// A stored item is another installation's or another registration's, or does not say whose it is. Neither used nor
    /// changed: somebody has to decide.
    #[error("{service} holds what is not this registry's: {detail}")]
    Foreign {
        /// The service, such as `Secrets Manager`.
        service: &'static str,
        /// What it is, and what to do.
        detail: String,
    },
}
