//! Which IP addresses may be dialled (DESIGN §8).
//!
//! The rule is told by the address alone, so it holds for what a URL says and for what a name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of network an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Routed on the internet.
    Public,
    /// Loopback, private, reserved, multicast, documentation: an operator may dial it, a tenant may not.
    Private,
    /// Link-local or a cloud's metadata service: hands out machine credentials, so nobody may dial it.
    Metadata,
}

/// Metadata services that do not live on a link-local address.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure's wire server
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud, classic
];

/// Metadata services with an IPv6 address of their own.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254), // AWS
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254), // Google Cloud
];

/// Networks of IPv4 that are not the internet: address, bits.
const PRIVATE_V4: [(Ipv4Addr, u32); 14] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Parts of 2000::/3 that are not the internet: address, bits.
const PRIVATE_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo among them
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// The kind of network that `ip` belongs to; an IPv4 address inside an IPv6 one counts as what it is.
pub fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => reach_v6(ip),
    }
}

/// Whether a URL set by a tenant (or else by the operator) may lead to `ip`.
pub fn permitted(ip: IpAddr, tenant_set: bool) -> bool {
    match reach(ip) {
        Reach::Public => true,
        Reach::Private => !tenant_set,
        Reach::Metadata => false,
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    if ip.is_link_local() || METADATA_V4.contains(&ip) {
        Reach::Metadata
    } else if PRIVATE_V4.iter().any(|(net, bits)| inside_v4(ip, *net, *bits)) {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    if let Some((inner, translated)) = embedded(ip) {
        return match reach_v4(inner) {
            Reach::Public if !translated => Reach::Private, // an old tunnel: no provider lives there
            reach => reach,
        };
    }
    if ip.is_unicast_link_local() || METADATA_V6.contains(&ip) {
        return Reach::Metadata;
    }
    let global = inside_v6(ip, Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    if global && !PRIVATE_V6.iter().any(|(net, bits)| inside_v6(ip, *net, *bits)) { Reach::Public } else { Reach::Private }
}

/// The IPv4 address that an IPv6 address stands for, and whether it is reached as itself (mapped, translated) or through a tunnel.
fn embedded(ip: Ipv6Addr) -> Option<(Ipv4Addr, bool)> {
    let s = ip.segments();
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None, // unspecified and loopback
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some((joined(high, low), true))
        }
        [0, 0, 0, 0, 0, 0, high, low] => Some((joined(high, low), false)),
        [0x2002, high, low, ..] => Some((joined(high, low), false)),
        _ => None,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

/// Whether `ip` is in the network `net`/`bits`; `bits` 0 is everything.
pub(crate) fn inside_v4(ip: Ipv4Addr, net: Ipv4Addr, bits: u32) -> bool {
    let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
    ip.to_bits() & mask == net.to_bits() & mask
}

/// Whether `ip` is in the network `net`/`bits`; `bits` 0 is everything.
pub(crate) fn inside_v6(ip: Ipv6Addr, net: Ipv6Addr, bits: u32) -> bool {
    let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
    ip.to_bits() & mask == net.to_bits() & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_table_of_addresses() {
        let table = [
            (Reach::Public, "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.167.1.1 223.255.255.255 128.0.0.1"),
            (Reach::Public, "2606:4700::1111 2a00:1450:4001::200e 64:ff9b::8.8.8.8 ::ffff:1.1.1.1 2001:4860:4860::8888"),
            (Reach::Private, "0.0.0.0 0.1.2.3 10.0.0.7 100.64.0.1 100.127.255.255 127.0.0.1 127.255.0.1 172.16.0.1 172.31.255.255"),
            (Reach::Private, "192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.9"),
            (Reach::Private, "224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255"),
            (Reach::Private, ":: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:10.0.0.1 ::127.0.0.1 ::8.8.8.8 64:ff9b::10.0.0.1"),
            (Reach::Private, "64:ff9b:1::1 fc00::1 fd12:3456::1 fec0::1 ff02::1 ff05::2 2001:db8::1 3fff::1 100::1 5f00::1 4000::1"),
            (Reach::Private, "2001:0:4136:e378:8000:63bf:3fff:fdd2 2002:808:808::1 2002:a00:1::1"),
            (Reach::Metadata, "169.254.169.254 169.254.0.1 169.254.170.2 100.100.100.200 168.63.129.16 192.0.0.192"),
            (Reach::Metadata, "fe80::1 febf::1 fd00:ec2::254 fd20:ce::254 ::ffff:169.254.169.254 64:ff9b::169.254.169.254"),
            (Reach::Metadata, "::169.254.169.254 ::ffff:0:169.254.169.254 2002:a9fe:a9fe::1"),
        ];
        for (expected, addresses) in table {
            for text in addresses.split(' ') {
                assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_what_it_maps(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(reach(IpAddr::V6(v4.to_ipv6_mapped())), reach(IpAddr::V4(v4)));
        }

        #[test]
        fn no_tunnel_is_wider_than_what_it_carries(bits in any::<u32>(), low in any::<u64>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            let tunnels = [
                u128::from(bits) | (0x0064_ff9b_u128 << 96),
                u128::from(bits) | (0xffff_u128 << 48),
                (0x2002_u128 << 112) | (u128::from(bits) << 80) | u128::from(low),
            ];
            for tunnel in tunnels {
                let ip = IpAddr::V6(Ipv6Addr::from_bits(tunnel));
                for tenant_set in [false, true] {
                    prop_assert!(!permitted(ip, tenant_set) || permitted(IpAddr::V4(v4), tenant_set), "{} carries {}", ip, v4);
                }
            }
        }

        #[test]
        fn what_std_calls_special_no_tenant_may_dial(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            let special = v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()
                || v4.is_unspecified() || v4.is_documentation();
            prop_assert!(!special || !permitted(IpAddr::V4(v4), true));
            prop_assert!(!v4.is_link_local() || !permitted(IpAddr::V4(v4), false));
        }

        #[test]
        fn in_the_narrow_nets_too(net in 0..PRIVATE_V4.len(), host in any::<u32>()) {
            let (base, bits) = PRIVATE_V4[net];
            let v4 = Ipv4Addr::from_bits(base.to_bits() | (host & (u32::MAX >> bits)));
            prop_assert!(inside_v4(v4, base, bits));
            prop_assert!(!permitted(IpAddr::V4(v4), true));
            prop_assert!(!permitted(IpAddr::V6(v4.to_ipv6_mapped()), true));
        }
    }
}
