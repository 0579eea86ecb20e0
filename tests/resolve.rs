//! Lookups of our DNS client at real servers: NSD, Knot and this node.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::net::{IpAddr, SocketAddr};

use ruche::resolve::caa::Issuance;
use ruche::resolve::error::ResolveError;
use ruche::resolve::resolver::{Resolver, Soa};
use support::dns::peers;
use support::dns::zones::Zone;

/// More addresses than a datagram carries.
const LONG: u8 = 120;

fn zone() -> Zone {
    let long: String = (0..LONG).map(|at| format!("long A 198.51.100.{at}\n")).collect();
    let records = r#"
@ SOA ns hostmaster 3000000001 7200 900 1209600 300
@ NS ns
@ A 192.0.2.1
@ AAAA 2001:db8::1
@ CAA 0 issue "ca.test; validationmethods=dns-01"
@ CAA 0 issuewild ";"
@ CAA 0 iodef "mailto:a@asso.test"
ns A 192.0.2.53
www CNAME web
web CNAME @
_acme-challenge CNAME one
one CNAME Two.Asso.Test.
two TXT "x"
v4 A 192.0.2.4
free A 192.0.2.5
free CAA 0 issue "any.example"
strict CAA 128 tbs "x"
gone CNAME nowhere
"#;
    Zone { name: "asso.test".into(), text: format!("$ORIGIN asso.test.\n$TTL 3600\n{records}{long}") }
}

#[tokio::test]
async fn nsd() {
    let peer = peers::nsd(&[zone()]);
    lookups(peer.address).await;
    let faults = Resolver::asking(vec![peer.address]).soa("elsewhere.example").await.unwrap_err().to_string();
    let expected = format!("look up the SOA record of `elsewhere.example`: {} answered REFUSED", peer.address);
    assert_eq!(faults, expected);
}

#[tokio::test]
async fn knot() {
    lookups(peers::knot(&[zone()]).address).await;
}

#[tokio::test]
async fn this_node() {
    let (node, address) = peers::own(&[zone()]);
    lookups(address).await;
    drop(node);
}

/// Each server is authoritative and follows aliases inside its zone, as a recursive one does everywhere.
async fn lookups(server: SocketAddr) {
    let resolver = Resolver::asking(vec![server]);
    let apex: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!(resolver.addresses("asso.test").await.unwrap(), apex);
    assert_eq!(resolver.addresses("WWW.asso.test").await.unwrap(), apex);
    assert_eq!(resolver.addresses("v4.asso.test").await.unwrap(), ["192.0.2.4".parse::<IpAddr>().unwrap()]);
    assert!(resolver.addresses("two.asso.test").await.unwrap().is_empty());
    for missing in ["nope.asso.test", "gone.asso.test"] {
        assert_eq!(resolver.addresses(missing).await, Err(ResolveError::NoSuchName(missing.into())));
    }

    let canonical = async |name| resolver.canonical(name).await.unwrap();
    assert_eq!(canonical("_acme-challenge.asso.test").await.as_deref(), Some("two.asso.test"));
    assert_eq!(canonical("two.asso.test").await, None);
    assert_eq!(canonical("nope.asso.test").await, None);

    let mut long = resolver.addresses("long.asso.test").await.unwrap();
    long.sort();
    assert!(long.iter().copied().eq((0..LONG).map(|at| IpAddr::from([198, 51, 100, at]))), "{long:?}");

    let soa = resolver.soa("asso.test").await.unwrap().unwrap();
    assert_eq!(soa.mname, "ns.asso.test");
    assert!(soa.serial >= 3_000_000_001, "{soa:?}");
    assert_eq!(resolver.soa("v4.asso.test").await.unwrap(), None::<Soa>);

    let wish = |issuer, method| Issuance { issuers: issuer, wildcard: false, account: None, method };
    let near = resolver.caa("deep.below.nope.asso.test").await.unwrap();
    assert_eq!(near, resolver.caa("www.asso.test").await.unwrap());
    assert_eq!(near.allows(&wish(&["ca.test"], "dns-01")), Ok(()));
    assert!(near.allows(&wish(&["ca.test"], "http-01")).unwrap_err().contains("validationmethods=dns-01"));
    assert!(near.allows(&wish(&["other.test"], "dns-01")).is_err());
    assert!(near.allows(&Issuance { wildcard: true, ..wish(&["ca.test"], "dns-01") }).is_err());
    assert_eq!(resolver.caa("free.asso.test").await.unwrap().allows(&wish(&["any.example"], "http-01")), Ok(()));
    assert!(resolver.caa("strict.asso.test").await.unwrap().allows(&wish(&["ca.test"], "dns-01")).is_err());
}
