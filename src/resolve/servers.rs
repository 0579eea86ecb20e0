//! Which name servers this machine asks: the `nameserver` lines of `/etc/resolv.conf`. Its other lines are not for a client that
//! asks for whole names only.
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use crate::base::limits::{RESOLVE_CONFIG_BYTES_MAX, RESOLVE_SERVERS_MAX};

const PORT: u16 = 53;

/// Read anew for each lookup, which takes far less time than asking: what DHCP writes there counts at once.
pub(super) fn of_this_machine() -> Vec<SocketAddr> {
    let mut octets = Vec::new();
    // A file that is missing or cannot be read names no server.
    let _ =
        File::open("/etc/resolv.conf").and_then(|file| file.take(RESOLVE_CONFIG_BYTES_MAX).read_to_end(&mut octets));
    parse(&String::from_utf8_lossy(&octets), interface)
}

/// The first three servers; this machine itself where there is none (resolv.conf(5)).
fn parse(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        address(words.next()?, &interface)
    });
    let servers: Vec<_> = named.take(RESOLVE_SERVERS_MAX).collect();
    if servers.is_empty() { vec![(Ipv4Addr::LOCALHOST, PORT).into()] } else { servers }
}

/// An address; a link-local one says by which interface, as a name or a number.
fn address(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse::<IpAddr>().ok().map(|address| (address, PORT).into());
    };
    let scope = zone.parse().ok().or_else(|| interface(zone))?;
    Some(SocketAddrV6::new(address.parse::<Ipv6Addr>().ok()?, PORT, 0, scope).into())
}

fn interface(name: &str) -> Option<u32> {
    // Any socket will do to ask the kernel.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    rustix::net::netdevice::name_to_index(&socket, name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        parse(text, |name| (name == "eth0").then_some(7)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn servers_of_a_file() {
        let text = "# nameserver 192.0.2.9\n; nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1 # ours\n\
                    nameserver\t2001:db8::1\nnameserver x\nnameserver\nnameservers 192.0.2.8\nnameserver fe80::1%eth0\nnameserver 192.0.2.4\n";
        assert_eq!(parsed(text), ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"]);
        assert_eq!(parsed("nameserver fe80::1%3\nnameserver fe80::2%nope\n"), ["[fe80::1%3]:53"]);
        for none in ["", "options timeout:1\n", "nameserver 192.0.2.1%eth0", "\0\u{fffd}nameserver"] {
            assert_eq!(parsed(none), ["127.0.0.1:53"], "{none}");
        }
    }

    #[test]
    fn an_interface_is_known_by_name() {
        assert_eq!(interface("lo"), Some(1));
        assert_eq!(interface(&"x".repeat(1000)), None);
    }
}
