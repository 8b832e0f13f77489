//! Reach: which addresses a probe may open a connection to.
//!
//! Whoever may register an endpoint chooses an address that this server then connects to, from its own
//! place in the network. Without bounds that is a port scanner, and a way to a cloud's metadata
//! service. So addresses that no service of others can have are refused, whatever spelling leads to
//! them: an address is judged after its name was resolved, as the bytes that would be dialled, and
//! also as the IPv4 address that it carries when it is one of the IPv6 forms that do (mapped,
//! compatible, NAT64, 6to4, Teredo).
//!
//! In this order: what Hermes itself listens on is refused; what [`Reach::allow`] names is allowed;
//! what [`Reach::deny`] names is refused; and of the rest what is refused by its kind.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

pub use ipnet::IpNet;

/// Addresses of the metadata services of clouds that are not link-local anyway: AWS and Google over
/// IPv6, Alibaba, Oracle (classic), Azure.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Which addresses a probe may open a connection to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Networks that are allowed although their kind is refused. Default: none.
    pub allow: Vec<IpNet>,
    /// Networks that are refused although their kind is allowed. Default: none.
    pub deny: Vec<IpNet>,
    /// Whether loopback addresses are allowed. Sensible where Hermes itself can only be reached over
    /// loopback, so that whoever registers could connect there as well. Default: true.
    pub loopback: bool,
    /// What Hermes itself listens on; an unspecified address means every address of this machine.
    /// Default: nothing.
    pub own: Vec<SocketAddr>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            loopback: true,
            own: Vec::new(),
        }
    }
}

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Hermes listens there itself.
    Own,
    /// A network that was denied by name.
    Denied,
    /// Means no address: `0.0.0.0/8`, `::`.
    Unspecified,
    /// This machine.
    Loopback,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// The metadata service of a cloud.
    Metadata,
    /// A group of machines, or all of them.
    Multicast,
    /// Addresses that nobody has: `240.0.0.0/4`.
    Reserved,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "not probed: Hermes itself listens there",
            Self::Denied => "not probed: its address is in a denied network",
            Self::Unspecified => "not probed: its address is the unspecified one",
            Self::Loopback => "not probed: its address is a loopback one",
            Self::LinkLocal => "not probed: its address is a link-local one",
            Self::Metadata => "not probed: its address is that of a metadata service",
            Self::Multicast => "not probed: its address is a multicast or broadcast one",
            Self::Reserved => "not probed: its address is a reserved one",
        })
    }
}

impl Reach {
    /// Whether a probe may connect to `address`.
    ///
    /// # Errors
    /// Why it may not.
    pub fn judge(&self, address: SocketAddr) -> Result<(), Refused> {
        let ip = address.ip();
        let forms: Vec<IpAddr> = [Some(ip), carried(ip)].into_iter().flatten().collect();
        if forms.iter().any(|ip| self.is_own(*ip, address.port())) {
            return Err(Refused::Own);
        }
        let is_in = |networks: &[IpNet], ip: &IpAddr| networks.iter().any(|net| net.contains(ip));
        if forms.iter().any(|ip| is_in(&self.allow, ip)) {
            return Ok(());
        }
        if forms.iter().any(|ip| is_in(&self.deny, ip)) {
            return Err(Refused::Denied);
        }
        match forms.into_iter().find_map(|ip| self.refused_by_kind(ip)) {
            Some(refused) => Err(refused),
            None => Ok(()),
        }
    }

    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        let mut listeners = self.own.iter().filter(|own| own.port() == port);
        listeners.any(|own| {
            let everywhere = own.ip().is_unspecified();
            // An unspecified address is dialled as the loopback one.
            let dials_loopback = ip.is_unspecified() && own.ip().is_loopback();
            let is_here = || ip.is_loopback() || ip.is_unspecified() || is_of_this_machine(ip);
            ip == own.ip() || dials_loopback || (everywhere && is_here())
        })
    }

    fn refused_by_kind(&self, ip: IpAddr) -> Option<Refused> {
        if METADATA.contains(&ip) {
            return Some(Refused::Metadata);
        }
        if ip.is_multicast() {
            return Some(Refused::Multicast);
        }
        if ip.is_loopback() {
            return (!self.loopback).then_some(Refused::Loopback);
        }
        match ip {
            IpAddr::V4(ip) => match ip.octets() {
                [0, ..] => Some(Refused::Unspecified),
                [169, 254, ..] => Some(Refused::LinkLocal),
                [255, 255, 255, 255] => Some(Refused::Multicast),
                [240..=255, ..] => Some(Refused::Reserved),
                _ => None,
            },
            IpAddr::V6(ip) if ip.is_unspecified() => Some(Refused::Unspecified),
            IpAddr::V6(ip) => ip.is_unicast_link_local().then_some(Refused::LinkLocal),
        }
    }
}

/// Whether this machine has the address: only then can a socket be bound to it.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// The IPv4 address that an IPv6 address carries, if it is of a form that does.
fn carried(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = ip else { return None };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    let carried = match ip.segments() {
        // The unspecified and the loopback address look like compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None,
        // Mapped (RFC 4291), compatible (the same, deprecated), translated (RFC 2765).
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            v4(high, low)
        }
        // NAT64 (RFC 6052), and its local form (RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, _, _, _, high, low] => {
            v4(high, low)
        }
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => v4(high, low),
        // Teredo (RFC 4380): inverted.
        [0x2001, 0, .., high, low] => v4(!high, !low),
        _ => return None,
    };
    Some(IpAddr::V4(carried))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(reach: &Reach, address: &str) -> Result<(), Refused> {
        reach.judge(address.parse().unwrap())
    }

    #[test]
    fn what_no_service_of_others_can_have_is_refused_in_every_form() {
        let reach = Reach {
            loopback: false,
            ..Reach::default()
        };
        let cases = [
            ("127.0.0.1:80", Refused::Loopback),
            ("127.255.3.4:80", Refused::Loopback),
            ("[::1]:80", Refused::Loopback),
            ("[::ffff:127.0.0.1]:80", Refused::Loopback),
            ("[::127.0.0.1]:80", Refused::Loopback),
            ("[64:ff9b::7f00:1]:80", Refused::Loopback),
            ("[64:ff9b:1::7f00:1]:80", Refused::Loopback),
            ("[2002:7f00:1::]:80", Refused::Loopback),
            ("[2001:0:1:2:3:4:80ff:fffe]:80", Refused::Loopback),
            ("0.0.0.0:80", Refused::Unspecified),
            ("0.1.2.3:80", Refused::Unspecified),
            ("[::]:80", Refused::Unspecified),
            ("169.254.169.254:80", Refused::LinkLocal),
            ("[::ffff:a9fe:a9fe]:80", Refused::LinkLocal),
            ("[fe80::1]:80", Refused::LinkLocal),
            ("[fd00:ec2::254]:80", Refused::Metadata),
            ("168.63.129.16:80", Refused::Metadata),
            ("[64:ff9b::6464:64c8]:80", Refused::Metadata),
            ("224.0.0.1:80", Refused::Multicast),
            ("255.255.255.255:80", Refused::Multicast),
            ("[ff02::1]:80", Refused::Multicast),
            ("240.0.0.1:80", Refused::Reserved),
        ];
        for (address, refused) in cases {
            assert_eq!(judged(&reach, address), Err(refused), "{address}");
        }
        for address in [
            "10.0.0.1:80",
            "192.168.1.1:80",
            "8.8.8.8:443",
            "[2606:4700::1]:80",
        ] {
            assert_eq!(judged(&reach, address), Ok(()), "{address}");
        }
    }

    #[test]
    fn loopback_is_for_those_who_are_there_anyway() {
        let reach = Reach::default();
        assert_eq!(judged(&reach, "127.0.0.1:80"), Ok(()));
        assert_eq!(judged(&reach, "[::ffff:127.0.0.1]:80"), Ok(()));
        assert_eq!(judged(&reach, "0.0.0.0:80"), Err(Refused::Unspecified));
    }

    #[test]
    fn hermes_does_not_probe_itself_by_any_of_its_addresses() {
        let own = |own: &str| Reach {
            own: vec![own.parse().unwrap()],
            allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
            ..Reach::default()
        };
        for own in [own("0.0.0.0:8001"), own("[::]:8001")] {
            for address in [
                "127.0.0.1",
                "127.9.9.9",
                "[::1]",
                "[::ffff:127.0.0.1]",
                "0.0.0.0",
            ] {
                let with_port = |port| judged(&own, &format!("{address}:{port}"));
                assert_eq!(with_port(8001), Err(Refused::Own), "{address}");
                assert_eq!(with_port(8002), Ok(()), "{address}");
            }
        }
        for address in ["127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let judged = judged(&own("127.0.0.1:8001"), &format!("{address}:8001"));
            assert_eq!(judged, Err(Refused::Own), "{address}");
        }
        assert_eq!(judged(&own("127.0.0.1:8001"), "127.0.0.2:8001"), Ok(()));
        assert_eq!(judged(&own("0.0.0.0:8001"), "10.255.255.1:8001"), Ok(()));
        assert_eq!(
            judged(&own("10.0.0.1:8001"), "10.0.0.1:8001"),
            Err(Refused::Own)
        );
        assert_eq!(judged(&own("10.0.0.1:8001"), "127.0.0.1:8001"), Ok(()));
    }

    #[test]
    fn networks_are_allowed_and_denied_by_name() {
        let reach = Reach {
            allow: vec![
                "169.254.7.0/24".parse().unwrap(),
                "127.0.0.2/32".parse().unwrap(),
            ],
            deny: vec![
                "10.0.0.0/8".parse().unwrap(),
                "127.0.0.0/8".parse().unwrap(),
            ],
            ..Reach::default()
        };
        assert_eq!(judged(&reach, "169.254.7.9:80"), Ok(()));
        assert_eq!(judged(&reach, "169.254.8.9:80"), Err(Refused::LinkLocal));
        assert_eq!(judged(&reach, "10.1.2.3:80"), Err(Refused::Denied));
        assert_eq!(judged(&reach, "[::ffff:10.1.2.3]:80"), Err(Refused::Denied));
        assert_eq!(judged(&reach, "127.0.0.1:80"), Err(Refused::Denied));
        assert_eq!(judged(&reach, "127.0.0.2:80"), Ok(()));
    }
}
