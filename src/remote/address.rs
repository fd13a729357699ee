//! Where a name may lead this server.
//!
//! The attack is server-side request forgery. Whoever runs the DNS of a name can have it mean any address: another host of the
//! private network, the server itself, or the service that hands out a cloud instance's credentials. So the address is judged
//! and not the name, and it is the very one that is connected to. A name that is looked up twice can mean two things.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who can be reached at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Somebody on the internet.
    Public,
    /// Somebody on this network or this machine.
    Private,
    /// Nobody who publishes keys: many at once, an example, or the machine's own hypervisor.
    Never,
}

impl Reach {
    /// Who can be reached at `address`.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    /// Whether somebody who may reach private networks, or may not, may reach this.
    pub fn is_allowed(self, allow_private_network: bool) -> bool {
        match self {
            Self::Public => true,
            Self::Private => allow_private_network,
            Self::Never => false,
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let bits = address.to_bits();
        let row = V4.iter().find(|(prefix, length, _)| is_within(bits.into(), prefix.to_bits().into(), *length, 32));
        row.map_or(Self::Public, |(_, _, reach)| *reach)
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let is_in = |prefix: Ipv6Addr, length| is_within(address.to_bits(), prefix.to_bits(), length, 128);
        // Whoever is connected to at these is the IPv4 address in their last 32 bits.
        if [IPV4_MAPPED, NAT64].into_iter().any(|prefix| is_in(prefix, 96)) {
            let [.., a, b, c, d] = address.octets();
            return Self::of_v4(Ipv4Addr::new(a, b, c, d));
        }
        // Whatever the registry has not given to the internet is not on it.
        let row = V6.iter().find(|(prefix, length, _)| is_in(*prefix, *length));
        row.map_or(Self::Never, |(_, _, reach)| *reach)
    }
}

fn is_within(address: u128, prefix: u128, length: u32, of: u32) -> bool {
    let host_bits = of - length;
    address.checked_shr(host_bits) == prefix.checked_shr(host_bits)
}

const IPV4_MAPPED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);
/// RFC 6052. A network that knows IPv6 only reaches the rest of the internet by it, as a subnet of AWS does.
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// The special blocks of IANA's registry for IPv4, and what clouds answer at themselves. The first row that holds an address counts; all others are public.
const V4: [(Ipv4Addr, u32, Reach); 17] = [
    (Ipv4Addr::UNSPECIFIED, 8, Reach::Never),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Reach::Private),
    (Ipv4Addr::new(100, 100, 100, 200), 32, Reach::Never), // the credentials of a machine of Alibaba
    (Ipv4Addr::new(100, 64, 0, 0), 10, Reach::Private),    // between a provider and its customers
    (Ipv4Addr::new(127, 0, 0, 0), 8, Reach::Private),
    (Ipv4Addr::new(168, 63, 129, 16), 32, Reach::Never), // the host of a machine of Azure
    (Ipv4Addr::new(169, 254, 0, 0), 16, Reach::Never),   // link-local: the credentials of a cloud's machines
    (Ipv4Addr::new(172, 16, 0, 0), 12, Reach::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Reach::Never), // protocols; the same of Oracle's machines
    (Ipv4Addr::new(192, 0, 2, 0), 24, Reach::Never), // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24, Reach::Never), // 6to4 relays, which are no more
    (Ipv4Addr::new(192, 168, 0, 0), 16, Reach::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Reach::Never),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24, Reach::Never), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24, Reach::Never),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4, Reach::Never),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4, Reach::Never),     // reserved, broadcast
];

/// What of IPv6 is somebody's, by IANA's registry: the first row that holds an address counts.
const V6: [(Ipv6Addr, u32, Reach); 8] = [
    (Ipv6Addr::LOCALHOST, 128, Reach::Private),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32, Reach::Never), // the credentials of a machine of AWS
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Reach::Private),    // unique local
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Reach::Never),     // protocols: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Reach::Never), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Reach::Never),     // 6to4, which hides an IPv4 address
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Reach::Never),     // documentation
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Reach::Public),     // the internet
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_by_their_first_and_their_last_of_each_block() {
        for (reach, addresses) in [
            (
                Reach::Public,
                "1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
                 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 \
                 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 \
                 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 2001:200:: 2001:db7:ffff:: \
                 2001:db9:: 2003:: 2600:9000:: 2a00:1450:4001:81a::200e 3ffe:ffff:: 3fff:1000:: ::ffff:8.8.8.8 \
                 64:ff9b::8.8.8.8",
            ),
            (
                Reach::Private,
                "10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 172.16.0.0 \
                 172.31.255.255 192.168.0.0 192.168.255.255 ::1 fc00:: fd00:: fd00:ec1:ffff:: fd00:ec3:: \
                 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:c0a8:1 \
                 64:ff9b::192.168.1.1 64:ff9b::7f00:1",
            ),
            (
                Reach::Never,
                "0.0.0.0 0.255.255.255 168.63.129.16 169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255 \
                 192.0.0.0 192.0.0.192 192.0.0.255 192.0.2.0 192.0.2.255 192.88.99.1 198.18.0.0 198.19.255.255 \
                 198.51.100.7 203.0.113.7 224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255 :: ::2 ::127.0.0.1 \
                 ::8.8.8.8 ::ffff:0:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::ffff:224.0.0.1 64:ff9b::a9fe:a9fe \
                 64:ff9b::169.254.169.254 64:ff9b:1:: 64:ff9b:1::10.0.0.1 100:: 1fff:: 2001:: 2001::1 2001:2:: \
                 2001:10:: 2001:20:: 2001:1ff:ffff:: 2001:db8:: 2001:db8:ffff:: 2002:: 2002:7f00:1:: 2002:808:808:: \
                 3fff:: 3fff:fff:: 4000:: 5f00:: fbff:: fd00:ec2:: fd00:ec2::23 fd00:ec2::254 fe80:: fe80::1 \
                 febf:ffff:: fec0:: feff:: ff00:: ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ),
        ] {
            for address in addresses.split_whitespace() {
                assert_eq!(Reach::of(address.parse().expect(address)), reach, "{address}");
            }
        }
        assert_eq!(Reach::of("100.100.100.200".parse().expect("an address")), Reach::Never);
    }

    #[test]
    fn private_networks_are_for_who_is_allowed_there_and_the_rest_is_for_nobody() {
        for (reach, by_all, by_some) in
            [(Reach::Public, true, true), (Reach::Private, false, true), (Reach::Never, false, false)]
        {
            assert_eq!((reach.is_allowed(false), reach.is_allowed(true)), (by_all, by_some), "{reach:?}");
        }
    }
}
