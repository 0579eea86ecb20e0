//! Clients that mean harm, or are broken: the node stays well, bounded, and answers the next one.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::chance::Chance;
use support::measure::rss_kib;
use support::until;
use support::zones::{Zones, framed, hear, query, say};

/// What the node holds to, from src/base/limits.rs.
const CONNECTIONS_MAX: usize = 1024;

fn example() -> Zones {
    let dns = Zones::ready();
    let many = (0..250).map(|at| format!("192.0.2.{at}")).collect::<Vec<_>>().join(" | ");
    dns.zone("example.org", &["@ A 192.0.2.1", &format!("many A {many}")]);
    dns
}

/// Whether the other side has ended the connection.
fn is_ended(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    matches!(stream.read(&mut [0; 512]), Ok(0)) || stream.take_error().is_ok_and(|error| error.is_some())
}

#[test]
fn any_octets_over_both_transports() {
    let dns = example();
    let mut chance = Chance::of_this_run();
    let (socket, sound) = (dns.udp(), query(1, "example.org", 1));
    let before = rss_kib(dns.node.pid());
    for round in 0..20_000_u32 {
        let mut message = sound.clone();
        match round % 4 {
            0 => message = (0..chance.below(600)).map(|_| chance.below(256) as u8).collect(),
            1 => message.truncate(chance.below(sound.len())),
            _ => {
                for _ in 0..1 + chance.below(3) {
                    let at = chance.below(message.len());
                    message[at] = chance.below(256) as u8;
                }
            }
        }
        let _ = socket.send(&message);
        if round % 100 == 0 {
            // What the kernel drops because too much waits proves nothing.
            assert_eq!(dns.ask(&sound)[7], 1);
        }
        if round % 500 == 0 {
            // An answer without a wait: the next one has to be answered whatever came before.
            let mut stream = dns.tcp();
            let _ = stream.write_all(&framed(&message));
            let _ = stream.write_all(&message);
        }
    }
    // Larger than any query.
    let _ = socket.send(&vec![0xff; 60_000]);
    dns.is_well("example.org");
    let grown = rss_kib(dns.node.pid()).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
    assert!(dns.metric("ruche_dns_ignored_total") > 0);
    assert!(dns.metric("ruche_dns_answers_total{transport=\"udp\",rcode=\"FORMERR\"}") > 0);
}

#[test]
fn a_slow_client_is_given_up_and_disturbs_nobody() {
    let dns = example();
    // Says nothing; begins and never ends; announces more than a query has.
    let mut silent = dns.tcp();
    let mut begun = dns.tcp();
    begun.write_all(&framed(&query(1, "example.org", 1))[..9]).unwrap();
    let mut dripping = dns.tcp();
    let mut large = dns.tcp();
    large.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    until(5, "a query that is too large ends at once", || is_ended(&mut large).then_some(()));
    let start = Instant::now();
    let drip = framed(&query(1, "example.org", 1));
    let mut octets = drip.iter();
    let mut ended = false;
    until(30, "half a query is given up, however it drips", || {
        if let Some(octet) = octets.next().filter(|_| !ended) {
            ended = dripping.write_all(&[*octet]).is_err();
        }
        dns.is_well("example.org");
        std::thread::sleep(Duration::from_millis(300));
        (is_ended(&mut begun) && (ended || is_ended(&mut dripping))).then_some(())
    });
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
    until(30, "an idle connection ends", || is_ended(&mut silent).then_some(()));
}

#[test]
fn a_client_that_takes_no_answers_holds_little_and_ends() {
    let dns = example();
    let before = rss_kib(dns.node.pid());
    let mut streams: Vec<_> = (0..20).map(|_| dns.tcp()).collect();
    let asked: Vec<u8> = (0..50).flat_map(|id| framed(&query(id, "many.example.org", 1))).collect();
    for stream in &mut streams {
        stream.set_nonblocking(true).unwrap();
        // Until neither side's buffers take any more.
        while stream.write(&asked).is_ok() {}
    }
    dns.is_well("example.org");
    let grown = rss_kib(dns.node.pid()).saturating_sub(before);
    assert!(grown < 20 << 10, "{grown} KiB more");
    until(60, "those who take nothing are given up", || (dns.metric("ruche_dns_connections") == 0).then_some(()));
    drop(streams);
}

#[test]
fn there_are_so_many_connections_and_no_more() {
    let dns = example();
    let mut streams: Vec<_> = (0..CONNECTIONS_MAX).map(|_| dns.tcp()).collect();
    until(10, "all are taken", || (dns.metric("ruche_dns_connections") >= CONNECTIONS_MAX as u64).then_some(()));
    let mut more = dns.tcp();
    until(5, "one more is refused", || is_ended(&mut more).then_some(()));
    assert_eq!(dns.metric("ruche_dns_refused_connections_total{reason=\"full\"}"), 1);
    // Those that were there are served, and UDP does not care.
    assert_eq!(dns.ask(&query(1, "example.org", 1))[7], 1);
    let last = streams.last_mut().unwrap();
    say(last, &query(2, "example.org", 1));
    assert_eq!(hear(last)[7], 1);
    drop(streams);
    until(10, "the places come free", || (dns.metric("ruche_dns_connections") == 0).then_some(()));
    dns.is_well("example.org");
}

/// How often this machine has sent something in fragments.
fn fragments() -> u64 {
    let all = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let mut ip = all.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let at = ip.next().unwrap().split(' ').position(|name| name == "FragCreates").unwrap();
    ip.next().unwrap().split(' ').nth(at).unwrap().parse().unwrap()
}

/// What a router says to who sent more than the next link takes (RFC 792, RFC 1191), made up.
fn narrow_path(server: SocketAddrV4, client: SocketAddrV4) {
    let mut said = vec![3, 4, 0, 0, 0, 0, 2, 40];
    said.extend([0x45, 0, 4, 76, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    said.extend(server.ip().octets().into_iter().chain(client.ip().octets()));
    said.extend(server.port().to_be_bytes().into_iter().chain(client.port().to_be_bytes()).chain([4, 56, 0, 0]));
    let sum: u32 = said.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    said[2..4].copy_from_slice(&sum.to_be_bytes());
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
    rustix::net::sendto(&socket, &said, SendFlags::empty(), &SocketAddrV4::new(*server.ip(), 0)).unwrap();
}

#[test]
fn nobody_has_answers_sent_in_fragments() {
    let dns = example();
    let sixty = (0..60).map(|at| format!("192.0.2.{at}")).collect::<Vec<_>>().join(" | ");
    dns.set("example.org", &format!("sixty A {sixty}"));
    // An address that no other test of this machine has: the kernel believes it of an address.
    let client = UdpSocket::bind("127.83.7.11:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.connect(dns.at).unwrap();
    let mut asked = query(1, "sixty.example.org", 1);
    asked[11] = 1;
    asked.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    let before = fragments();
    for _ in 0..10 {
        client.send(&asked).unwrap();
        assert!(client.recv(&mut [0; 1500]).unwrap() > 900);
        let (SocketAddr::V4(server), SocketAddr::V4(client)) = (dns.at, client.local_addr().unwrap()) else {
            panic!("{}", dns.at)
        };
        narrow_path(server, client);
    }
    assert_eq!(fragments(), before);
}
