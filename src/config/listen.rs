//! Checks between keys: no two listeners on one address. Never binds anything.
use std::net::SocketAddr;

use crate::config::Config;
use crate::config::keys::Key;

/// Two listeners that cannot both be bound; the earlier key in the order of the surface comes first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) first: (Key, SocketAddr),
    pub(super) second: (Key, SocketAddr),
}

pub(super) fn clashes(config: &Config) -> Vec<Clash> {
    let all: Vec<(Key, SocketAddr)> = [
        (Key::WebHttp, &config.web.http),
        (Key::WebHttps, &config.web.https),
        (Key::DnsListen, &config.dns.listen),
        (Key::FtpListen, &config.ftp.listen),
        (Key::AdminListen, &config.admin.listen),
        (Key::ClusterListen, &config.cluster.listen),
    ]
    .into_iter()
    .flat_map(|(key, list)| list.iter().map(move |address| (key, *address)))
    .collect();
    let mut clashes = Vec::new();
    for (i, second) in all.iter().enumerate() {
        if let Some(first) = all[..i].iter().find(|first| covers(first.1, second.1)) {
            clashes.push(Clash { first: *first, second: *second });
        }
    }
    clashes
}

/// The same port of the same family, where the addresses are equal or one of them means all. Port 0 is another port
/// each time. The families have sockets of their own, so `[::]` says nothing about IPv4.
fn covers(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_listeners_exclude_each_other() {
        for (a, b, clash) in [
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "192.0.2.1:80", true),
            ("192.0.2.1:80", "0.0.0.0:80", true),
            ("192.0.2.1:80", "192.0.2.2:80", false),
            ("0.0.0.0:80", "[::]:80", false),
            ("[::]:80", "[2001:db8::1]:80", true),
            ("0.0.0.0:0", "0.0.0.0:0", false),
            ("0.0.0.0:80", "0.0.0.0:81", false),
        ] {
            assert_eq!(covers(a.parse().unwrap(), b.parse().unwrap()), clash, "{a} {b}");
        }
    }
}
