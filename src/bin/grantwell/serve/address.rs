//! Where to listen, as an option says it.

use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::failure::Failure;

/// The address that the value of `option` means.
///
/// # Errors
/// A [`Failure`] that names the option.
pub(super) fn resolved(option: &str, listen: &str) -> Result<SocketAddr, Failure> {
    let resolved = listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    resolved.ok_or_else(|| Failure::new(format!("{option} {listen} is not HOST:PORT")))
}
