//! Bounded caches around any adapter: registrations and realms for seconds, digests of secrets and keys for minutes.
//!
//! Every cache has a capacity, so that a flood of random client ids costs memory once and not for ever, and remembers
//! absence too, so that it costs one registry read each at most.
//!
//! How long something is believed is measured by the Clock port's moments. moka's own times only let go of what nobody asks
//! for any more: its clock is monotonic alone, and may stand still while a sandbox is frozen.

mod bridged;
mod client_uses;
mod intervals;
mod keys;
mod registry;
mod remote_keys;
mod secrets;
mod settings;
mod strangers;
#[cfg(test)]
mod tests;

pub use client_uses::ClientUses;
pub use keys::{CachedSigningKeys, CachedVerificationKeys};
pub use registry::CachedRegistry;
pub use remote_keys::CachedRemoteKeys;
pub use secrets::CachedSecrets;
pub use settings::CacheSettings;
