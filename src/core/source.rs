//! Where a request comes from, as far as failures are counted and logged by it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a request comes from: an IPv4 address, or the first 64 bits of an IPv6 address, since whoever has one of those has
/// all the others. All of loopback is one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientSource(IpAddr);

impl ClientSource {
    /// The source that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self(match address {
            _ if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => embedded_ipv4(address)
                .map_or_else(|| Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(), IpAddr::V4),
        })
    }

    /// The first 48 bits of an IPv6 address: the most that one site usually has (RFC 6177).
    pub(in crate::core) fn site(self) -> Option<Ipv6Addr> {
        match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(network) => Some(Ipv6Addr::from_bits(network.to_bits() & (u128::MAX << 80))),
        }
    }
}

impl fmt::Display for ClientSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(formatter),
            IpAddr::V6(network) => write!(formatter, "{network}/64"),
        }
    }
}

/// The IPv4 address that an IPv6 address stands for, besides the mapped ones: whoever can choose between the two has one
/// source all the same. An address of this machine is no other's.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let ipv4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let embedded = match address.segments() {
        // NAT64: the well-known prefix (RFC 6052 §2.1), and those of RFC 8215 where they have its form. "IPv4-compatible"
        // (RFC 4291 §2.5.5.1). 6to4 (RFC 3056 §2).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => ipv4(high, low),
        // Teredo, which turns every bit round (RFC 4380 §4).
        [0x2001, 0, .., high, low] => ipv4(!high, !low),
        _ => return None,
    };
    (!embedded.is_loopback() && !embedded.is_unspecified()).then_some(embedded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> ClientSource {
        ClientSource::of(address.parse().expect("an address"))
    }

    #[test]
    fn an_ipv6_source_is_a_network_and_a_mapped_address_the_ipv4_one() {
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), source("2001:db8:1:2::"));
        assert_ne!(source("2001:db8:1:2::"), source("2001:db8:1:3::"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:1:2:3::").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn loopback_is_one_source_and_an_ipv4_address_is_one_in_whatever_form() {
        for address in ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.9"] {
            assert_eq!(source(address), source("127.0.0.1"), "{address}");
        }
        for address in [
            "::ffff:192.0.2.33",
            "::192.0.2.33",
            "64:ff9b::192.0.2.33",
            "64:ff9b:1::192.0.2.33",
            "64:ff9b:1:abcd:1:2:192.0.2.33",
            "2002:c000:221::",
            "2002:c000:221:1:2:3:4:5",
            "2001:0:203.0.113.1:8000:63bf:3fff:fdde",
        ] {
            let address = address.replace("203.0.113.1", "cb00:7101");
            assert_eq!(source(&address), source("192.0.2.33"), "{address}");
        }
        // What stands for no address, or for this machine's, is as it looks.
        for address in ["64:ff9b:1:abcd::", "2002:7f00:1::", "64:ff9b::127.0.0.1", "::", "64:ff9c::192.0.2.33"] {
            assert!(source(address).to_string().ends_with("/64"), "{address}");
        }
    }
}
