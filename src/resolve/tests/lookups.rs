//! Lookups over sockets, against servers that do as told.
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hickory_proto::rr::{RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::answers::{record, reply};
use crate::base::limits::{RESOLVE_STRAYS_MAX, RESOLVE_TRY_WAIT};
use crate::resolve::caa::Issuance;
use crate::resolve::error::ResolveError;
use crate::resolve::resolver::{Resolver, Soa};

const SERVFAIL: &str = "answered SERVFAIL (the zone's servers are silent, or its DNSSEC is broken)";

/// A query as a server sees it.
struct Asked {
    octets: Vec<u8>,
    name: String,
    rtype: u16,
    tcp: bool,
}

impl Asked {
    fn new(octets: Vec<u8>, tcp: bool) -> Self {
        let (mut at, mut labels) = (12, Vec::new());
        while octets[at] != 0 {
            let end = at + 1 + usize::from(octets[at]);
            labels.push(String::from_utf8(octets[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let rtype = u16::from_be_bytes([octets[at + 1], octets[at + 2]]);
        Self { octets, name: labels.join("."), rtype, tcp }
    }

    fn end(&self) -> usize {
        12 + self.name.len() + 2 + 4
    }

    /// With these values, of the type that was asked for.
    fn values(&self, values: &[&[u8]]) -> Vec<u8> {
        let records: Vec<_> = values.iter().map(|value| record(&[0xc0, 12], self.rtype, value)).collect();
        reply(&self.octets, self.end(), &records)
    }

    fn code(&self, code: u8) -> Vec<u8> {
        let mut message = self.values(&[]);
        message[3] |= code;
        message
    }

    fn truncated(&self) -> Vec<u8> {
        let mut message = self.values(&[]);
        message[2] |= 2;
        message
    }
}

/// A server that answers each query with any number of messages, over UDP and TCP, until the test's runtime ends.
async fn server(answers: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let answers = std::sync::Arc::new(answers);
    let same = answers.clone();
    tokio::spawn(async move {
        let mut octets = [0; 2000];
        loop {
            let (len, peer) = udp.recv_from(&mut octets).await.unwrap();
            for message in same(&Asked::new(octets[..len].to_vec(), false)) {
                udp.send_to(&message, peer).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut octets = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut octets).await.unwrap();
            for message in answers(&Asked::new(octets, true)) {
                stream.write_all(&[&(message.len() as u16).to_be_bytes()[..], &message].concat()).await.unwrap();
            }
        }
    });
    address
}

/// An address nobody listens on.
async fn closed() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// The texts of a name: what tells best that the right octets came.
async fn txt(resolver: &Resolver, name: &str) -> Result<Vec<String>, ResolveError> {
    let joined = |value: RData| match value {
        RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).unwrap(),
        other => panic!("{other:?}"),
    };
    Ok(resolver.values(name, RecordType::TXT).await?.unwrap_or_default().into_iter().map(joined).collect())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn addresses_of_both_families() {
    let server = server(|asked| match (asked.name.as_str(), asked.rtype) {
        ("both.test", 1) | ("v4.test" | "half.test", 1) => vec![asked.values(&[&[192, 0, 2, 1], &[192, 0, 2, 2]])],
        ("both.test", 28) => vec![asked.values(&[&[1; 16]])],
        ("half.test" | "bad.test", 28) => vec![asked.code(2)],
        ("nope.test", _) => vec![asked.code(3)],
        _ => vec![asked.values(&[])],
    })
    .await;
    let resolver = Resolver::asking(vec![server]);
    let v4 = [ip("192.0.2.1"), ip("192.0.2.2")];
    assert_eq!(resolver.addresses("both.test").await.unwrap(), [v4[0], v4[1], ip("101:101:101:101:101:101:101:101")]);
    assert_eq!(resolver.addresses("V4.Test.").await.unwrap(), v4);
    assert_eq!(resolver.addresses("half.test").await.unwrap(), v4);
    assert!(resolver.addresses("none.test").await.unwrap().is_empty());
    assert_eq!(resolver.addresses("nope.test").await, Err(ResolveError::NoSuchName("nope.test".into())));
    let error = resolver.addresses("bad.test").await.unwrap_err();
    assert_eq!(error.to_string(), format!("look up the AAAA record of `bad.test`: {server} {SERVFAIL}"));
    // Without asking.
    let nobody = Resolver::asking(vec![]);
    assert_eq!(nobody.addresses("192.0.2.7").await.unwrap(), [ip("192.0.2.7")]);
    assert_eq!(nobody.addresses("2001:db8::7").await.unwrap(), [ip("2001:db8::7")]);
    for name in ["localhost", "a.LOCALHOST."] {
        assert_eq!(nobody.addresses(name).await.unwrap(), [ip("127.0.0.1"), ip("::1")]);
    }
    assert!(matches!(nobody.addresses("a.test").await, Err(ResolveError::Unanswered { .. })));
    assert!(matches!(nobody.addresses("a..test").await, Err(ResolveError::Name(_))));
}

#[tokio::test]
async fn a_long_answer_comes_over_tcp() {
    let server = server(|asked| {
        let text = [&[255][..], &[b'x'; 255], &[3], b"end"].concat();
        let answer = if asked.tcp { asked.values(&vec![&text[..]; 40]) } else { asked.truncated() };
        vec![answer]
    })
    .await;
    let texts = txt(&Resolver::asking(vec![server]), "a.test").await.unwrap();
    assert_eq!((texts.len(), texts[39].as_str()), (40, format!("{}end", "x".repeat(255)).as_str()));
}

#[tokio::test]
async fn the_right_answer_is_waited_for() {
    let server = server(|asked| {
        let (mut id, mut name, right) =
            (asked.values(&[b"\x01i"]), asked.values(&[b"\x01n"]), asked.values(&[b"\x01r"]));
        id[1] ^= 1;
        name[13] ^= 1;
        vec![id, name, vec![], vec![0; 600], right]
    })
    .await;
    assert_eq!(txt(&Resolver::asking(vec![server]), "a.test").await.unwrap(), ["r"]);
}

#[tokio::test]
async fn who_guesses_is_not_heard_for_ever() {
    let server = server(|asked| {
        let mut wrong = asked.values(&[b"\x01w"]);
        wrong[0] ^= 1;
        let mut all = vec![wrong; RESOLVE_STRAYS_MAX + 1];
        all.push(asked.values(&[b"\x01r"]));
        all
    })
    .await;
    let error = txt(&Resolver::asking(vec![server]), "a.test").await.unwrap_err();
    assert!(error.to_string().ends_with("answered other questions only"), "{error}");
}

#[tokio::test]
async fn the_next_server_is_asked() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let failing = server(|asked| vec![asked.code(2)]).await;
    let garbled = server(|asked| vec![[asked.values(&[b"\x05r"])].concat()]).await;
    let good = server(|asked| vec![asked.values(&[b"\x01r"])]).await;
    for others in [[closed().await, failing], [failing, garbled]] {
        let resolver = Resolver::asking([&others[..], &[good]].concat());
        assert_eq!(txt(&resolver, "a.test").await.unwrap(), ["r"]);
    }
    // Nobody waits for the silent one again, while the other one answers.
    let resolver = Resolver::asking(vec![silent.local_addr().unwrap(), good]);
    let start = Instant::now();
    assert_eq!(txt(&resolver, "a.test").await.unwrap(), ["r"]);
    assert!(start.elapsed() >= RESOLVE_TRY_WAIT);
    let start = Instant::now();
    assert_eq!(txt(&resolver, "b.test").await.unwrap(), ["r"]);
    assert!(start.elapsed() < RESOLVE_TRY_WAIT);
    // No more than three, and each says what it did.
    let resolver = Resolver::asking(vec![failing, garbled, failing, good]);
    assert_eq!(
        txt(&resolver, "a.test").await.unwrap_err().to_string(),
        format!(
            "look up the TXT record of `a.test`: {failing} {SERVFAIL}, {garbled} gave an answer that cannot be read, {failing} {SERVFAIL}"
        )
    );
}

#[tokio::test]
async fn old_forwarders_are_asked_without_edns() {
    let server = server(|asked| {
        let plain = asked.octets.len() == asked.end();
        vec![if plain { asked.values(&[b"\x01r"]) } else { asked.code(1) }]
    })
    .await;
    assert_eq!(txt(&Resolver::asking(vec![server]), "a.test").await.unwrap(), ["r"]);
}

#[tokio::test]
async fn caa_climbs_to_the_nearest_records() {
    let server = server(|asked| match asked.name.as_str() {
        "a.b.test" => vec![asked.code(3)],
        "test" => vec![asked.values(&[b"\0\x05issueca.test"])],
        "broken.test" => vec![asked.code(2)],
        "alias.test" => {
            let target = [1, b'o', 4, b't', b'e', b's', b't', 0];
            let records = [record(&[0xc0, 12], 5, &target), record(&target, 257, b"\0\x05issueca.test")];
            vec![reply(&asked.octets, asked.end(), &records)]
        }
        _ => vec![asked.values(&[])],
    })
    .await;
    let resolver = Resolver::asking(vec![server]);
    let wish = |issuers| Issuance { issuers, wildcard: false, account: None, method: "dns-01" };
    for name in ["a.b.test", "*.a.b.test.", "test"] {
        let set = resolver.caa(name).await.unwrap();
        assert!(set.allows(&wish(&["ca.test"])).is_ok());
        assert!(set.allows(&wish(&["other"])).unwrap_err().starts_with("CAA of test ("), "{name}");
    }
    // The record stands where the alias ends.
    let aliased = resolver.caa("alias.test").await.unwrap();
    assert!(aliased.allows(&wish(&["other"])).unwrap_err().starts_with("CAA of o.test ("));
    assert!(resolver.caa("a.b.example").await.unwrap().allows(&wish(&["other"])).is_ok());
    assert!(matches!(resolver.caa("a.broken.test").await, Err(ResolveError::Unanswered { .. })));
}

#[tokio::test]
async fn aliases_and_zones() {
    let server = server(|asked| match (asked.name.as_str(), asked.rtype) {
        ("_acme-challenge.a.test", 5) => vec![asked.values(&[b"\x01B\x04Test\0"])],
        ("b.test", 5) => vec![asked.values(&[b"\x01c\x04test\0"])],
        ("loop.test", 5) => vec![asked.values(&[b"\x04loop\x04test\0"])],
        ("a.test", 6) => vec![asked.values(&[&[&b"\x02NS\x04test\0\0"[..], &7u32.to_be_bytes(), &[0; 16]].concat()])],
        ("nope.test", _) => vec![asked.code(3)],
        _ => vec![asked.values(&[])],
    })
    .await;
    let resolver = Resolver::asking(vec![server]);
    assert_eq!(resolver.canonical("_acme-challenge.a.test").await.unwrap().as_deref(), Some("c.test"));
    assert_eq!(resolver.canonical("a.test").await.unwrap(), None);
    assert_eq!(resolver.canonical("nope.test").await.unwrap(), None);
    assert_eq!(resolver.canonical("loop.test").await, Err(ResolveError::Endless("loop.test".into())));
    assert_eq!(resolver.soa("a.test").await.unwrap(), Some(Soa { mname: "ns.test".into(), serial: 7 }));
    assert_eq!(resolver.soa("www.a.test").await.unwrap(), None);
    assert_eq!(resolver.soa("nope.test").await.unwrap(), None);
}
