//! Copies of keys that were fetched, which all processes of a deployment share.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::core::encoding::base64url;
use crate::core::time::UnixSeconds;
use crate::core::trust::key_address::KeyAddress;

/// What names the copy of an address: the address, how keys are found there, and everything that an operator has allowed on the way.
/// Keys that were fetched from a private network, or from a server that some private authority vouches for, are not keys for a client whose
/// operator has allowed neither. And a key has its name among those of its address: two issuers may use one name for two keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CopyId([u8; 32]);

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCopy {
    /// The JWK Set, to the letter.
    pub jwks: String,
    /// When fetching it began: what changed meanwhile may not be in it.
    pub fetched_at: UnixSeconds,
    /// Until when its issuer need not be asked again.
    pub believed_until: UnixSeconds,
}

/// What is kept of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptKeys {
    /// What was fetched last.
    pub copy: Option<KeyCopy>,
    /// When somebody last began to fetch, whatever came of it.
    pub looked_at: Option<UnixSeconds>,
    /// Whether a token that they verify has admitted a client, where the issuer is one that nobody has registered.
    pub is_confirmed: bool,
}

impl CopyId {
    /// The name of the copy of `address`.
    pub fn of(address: KeyAddress<'_>) -> Self {
        let mut hash = Sha256::new();
        match address {
            KeyAddress::JwksUri(_) => {}
            KeyAddress::SpiffeBundle(_) => hash.update(b"spiffe\0"),
            KeyAddress::Discovery { .. } => hash.update(b"discovery\0"),
        }
        hash.update([u8::from(address.allow_private_network()), u8::from(address.ca().is_some())]);
        // A URL has no zero byte, so no two pairs make one text.
        hash.update(address.url());
        hash.update([0]);
        hash.update(address.ca().map_or("", |ca| ca.as_pem()));
        Self(hash.finalize().into())
    }
}

impl fmt::Display for CopyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&base64url(&self.0))
    }
}

impl KeyCopy {
    /// How long a copy may be used after its time is over, in seconds, while its issuer cannot be asked.
    pub const STALE_LIMIT: u64 = 24 * 3_600;

    /// Whether its issuer need not be asked again.
    pub fn is_believed(&self, now: UnixSeconds) -> bool {
        now < self.believed_until && self.is_usable(now)
    }

    /// Whether it may be used while its issuer cannot be asked. Never one from the future: a clock that is set wrong once would
    /// keep it for as long as it is wrong.
    pub fn is_usable(&self, now: UnixSeconds) -> bool {
        now < self.usable_until() && self.fetched_at <= now.plus(MARGIN_OF_CLOCKS)
    }

    /// When nobody uses it any more.
    pub fn usable_until(&self) -> UnixSeconds {
        self.believed_until.plus(Self::STALE_LIMIT)
    }

    /// Whether it takes the place of `kept`: who was slow to store what it fetched does not bring back a key that
    /// was withdrawn in the meantime.
    pub fn replaces(&self, kept: UnixSeconds) -> bool {
        kept <= self.fetched_at || kept > self.fetched_at.plus(MARGIN_OF_CLOCKS)
    }
}

/// Seconds by which the clocks of two processes may differ.
pub const MARGIN_OF_CLOCKS: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::keys::remote::JwksUri;
    use crate::core::trust::issuer::IssuerUrl;

    #[test]
    fn a_copy_is_named_by_the_address_and_what_is_allowed_of_it() {
        let ca = |text: &str| {
            let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
            Some(pem.parse().expect("a certificate"))
        };
        let plain = JwksUri::public("https://a.example/k".parse().expect("a URL"));
        let others = [
            JwksUri::public("https://a.example/k/".parse().expect("a URL")),
            JwksUri { allow_private_network: true, ..plain.clone() },
            JwksUri { ca: ca("MIIB"), ..plain.clone() },
            JwksUri { ca: ca("MIIC"), ..plain.clone() },
            JwksUri { allow_private_network: true, ca: ca("MIIB"), ..plain.clone() },
        ];
        let issuers: Vec<IssuerUrl> =
            ["https://a.example/k", "https://a.example/k/"].map(|issuer| issuer.parse().expect("an issuer")).into();
        let discovered = |allow_private_network: bool| {
            issuers.iter().map(move |issuer| KeyAddress::Discovery { issuer, allow_private_network, ca: None })
        };
        let addresses = std::iter::once(&plain).chain(&others).map(KeyAddress::JwksUri);
        let addresses =
            addresses.chain([KeyAddress::SpiffeBundle(&plain)]).chain(discovered(false)).chain(discovered(true));
        let ids: Vec<String> = addresses.map(|address| CopyId::of(address).to_string()).collect();
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id.len(), 43, "{id}");
            assert!(!ids[index + 1..].contains(id), "{index}");
        }
        assert_eq!(CopyId::of(KeyAddress::JwksUri(&plain.clone())).to_string(), ids[0]);
    }

    #[test]
    fn a_copy_is_believed_and_then_used_for_a_bounded_time() {
        let copy =
            KeyCopy { jwks: String::new(), fetched_at: UnixSeconds(1_000_000), believed_until: UnixSeconds(1_000_600) };
        for (now, is_believed, is_usable) in [
            (999_699, false, false),
            (999_700, true, true),
            (1_000_000, true, true),
            (1_000_599, true, true),
            (1_000_600, false, true),
            (1_000_600 + 86_399, false, true),
            (1_000_600 + 86_400, false, false),
        ] {
            let now = UnixSeconds(now);
            assert_eq!((copy.is_believed(now), copy.is_usable(now)), (is_believed, is_usable), "{now}");
        }
        for (kept, replaces) in
            [(0, true), (1_000_000, true), (1_000_001, false), (1_000_300, false), (1_000_301, true)]
        {
            assert_eq!(copy.replaces(UnixSeconds(kept)), replaces, "{kept}");
        }
    }
}
