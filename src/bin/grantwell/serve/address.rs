//! Where to listen, as an option or its variable says it.

use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::failure::Failure;

/// The address that the value of the option or variable `name` means.
///
/// # Errors
/// A [`Failure`] that has the name.
pub(super) fn resolved(name: &str, listen: &str) -> Result<SocketAddr, Failure> {
    let resolved = listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    resolved.ok_or_else(|| Failure::new(format!("{name} {listen} is not HOST:PORT")))
}
