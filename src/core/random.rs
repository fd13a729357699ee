//! Random bytes, and the texts that are made of them.

use zeroize::Zeroizing;

use super::encoding::{base64url, prefixed_base64url};
use super::port_error::PortError;

/// Cryptographically secure random bytes.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where the source has none to give; no token is made of anything less.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), PortError>;
}

/// `prefix` and 256 random bits in base64url.
pub(crate) fn random_text(prefix: &str, random: &dyn Random) -> Result<Zeroizing<String>, PortError> {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(&mut *bytes)?;
    Ok(prefixed_base64url(prefix, bytes.as_slice()))
}

/// 128 random bits in base64url.
pub(crate) fn random_name(random: &dyn Random) -> Result<String, PortError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes)?;
    Ok(base64url(&bytes))
}
