//! `--ca`: the certificates of a private authority, from a file.

use std::fs::File;
use std::io::{self, Read as _};

use grantwell::core::keys::remote::{CaCertificates, InvalidCaCertificates};
use grantwell::remote::fetcher::are_certificates;

/// Why there is no authority in a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreadableCa {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Invalid(#[from] InvalidCaCertificates),
    #[error("it has a certificate that cannot be read, or that is not an authority's")]
    NoCertificate,
}

/// Reads the certificates in a file.
pub(crate) fn read(path: &str) -> Result<CaCertificates, UnreadableCa> {
    let mut text = String::new();
    File::open(path)?.take(CaCertificates::MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    let ca: CaCertificates = text.parse()?;
    if are_certificates(ca.as_pem()) { Ok(ca) } else { Err(UnreadableCa::NoCertificate) }
}
