//! What is said about a name: by RFC 1034, 2308, 4592, 6672, 8482, 9471, and what stands for sites.
use super::world::{ask, check, compiled, zone, zones};
use crate::base::limits::DNS_CHAIN_MAX;
use crate::model::change::{Change, Set};
use crate::model::nodes::NodeSet;
use crate::model::sites::{SiteCreate, Www};
use crate::model::tests::world::{NODE, World, host, site_of};

const SOA: &str = "ns example.org. 300 SOA ns1.example.org. hostmaster.example.org. SERIAL 7200 900 1209600 300";

fn example(more: &[&str]) -> crate::dns::zones::Zones {
    let lines = [
        "@ NS ns1 | ns.example.net.",
        "@ SOA ns1 hostmaster 1 7200 900 1209600 300",
        "ns1 A 192.0.2.53",
        "ns1 AAAA 2001:db8::53",
    ];
    zones(&[("example.org", &[&lines[..], more].concat())])
}

/// The answer with its serial made the same.
fn said(zones: &crate::dns::zones::Zones, question: &str) -> String {
    let text = ask(zones, question);
    let words: Vec<&str> = text.split(' ').collect();
    let at = words.iter().position(|word| *word == "SOA").map(|at| at + 3);
    let word = |(place, word): (usize, &&str)| if Some(place) == at { "SERIAL".to_owned() } else { (*word).to_owned() };
    words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
}

fn compare(zones: &crate::dns::zones::Zones, table: &[(&str, &[&str])]) {
    for (question, expected) in table {
        assert_eq!(said(zones, question), expected.join("\n"), "{question}");
    }
}

#[test]
fn what_is_there_and_what_is_not() {
    let zones = example(&[
        "@ MX 10 mail | 20 mx.example.net.",
        "mail A 192.0.2.25",
        "a.b.c TXT \"deep\"",
        "_sip._tcp SRV 1 2 5060 mail",
        "svc HTTPS 1 . alpn=h2",
        "svc A 192.0.2.8",
    ]);
    compare(
        &zones,
        &[
            ("ns1.example.org. A", &["NoError aa", "an ns1.example.org. 300 A 192.0.2.53"]),
            ("NS1.eXample.ORG. A", &["NoError aa", "an ns1.example.org. 300 A 192.0.2.53"]),
            // RFC 2308: the type is not there, the name is not there, the name is there by what lies below it.
            ("ns1.example.org. TXT", &["NoError aa", SOA]),
            ("nope.example.org. A", &["NXDomain aa", SOA]),
            ("b.c.example.org. A", &["NoError aa", SOA]),
            ("x.c.example.org. A", &["NXDomain aa", SOA]),
            ("x.a.b.c.example.org. A", &["NXDomain aa", SOA]),
            ("bb.c.example.org. A", &["NXDomain aa", SOA]),
            ("example.org. TXT", &["NoError aa", SOA]),
            ("example.com. A", &["Refused"]),
            ("org. NS", &["Refused"]),
            (". NS", &["Refused"]),
            ("xexample.org. A", &["Refused"]),
            // Addresses of what is pointed to, from this zone.
            (
                "example.org. MX",
                &[
                    "NoError aa",
                    "an example.org. 300 MX 10 mail.example.org.",
                    "an example.org. 300 MX 20 mx.example.net.",
                    "ar mail.example.org. 300 A 192.0.2.25",
                ],
            ),
            (
                "example.org. NS",
                &[
                    "NoError aa",
                    "an example.org. 300 NS ns.example.net.",
                    "an example.org. 300 NS ns1.example.org.",
                    "ar ns1.example.org. 300 A 192.0.2.53",
                    "ar ns1.example.org. 300 AAAA 2001:db8::53",
                ],
            ),
            (
                "_sip._tcp.example.org. SRV",
                &[
                    "NoError aa",
                    "an _sip._tcp.example.org. 300 SRV 1 2 5060 mail.example.org.",
                    "ar mail.example.org. 300 A 192.0.2.25",
                ],
            ),
            (
                "svc.example.org. HTTPS",
                &["NoError aa", "an svc.example.org. 300 HTTPS 1 . alpn=h2,", "ar svc.example.org. 300 A 192.0.2.8"],
            ),
            // One set of what there is, RFC 8482 section 4.1.
            ("mail.example.org. ANY", &["NoError aa", "an mail.example.org. 300 A 192.0.2.25"]),
            ("nope.example.org. ANY", &["NXDomain aa", SOA]),
            ("c.example.org. ANY", &["NoError aa", SOA]),
        ],
    );
    assert_eq!(said(&zones, "example.org. SOA"), ["NoError aa", &SOA.replacen("ns", "an", 1)].join("\n"));
}

#[test]
fn the_soa_says_how_long_nothing_is_kept() {
    for (soa_ttl, minimum, expected) in [(300, 60, 60), (300, 3600, 300)] {
        let zones = zones(&[("example.org", &[&format!("@ SOA ns1 hostmaster 1 7200 900 1209600 {minimum}")])]);
        let answer = ask(&zones, "x.example.org. A");
        assert!(answer.contains(&format!("\nns example.org. {expected} SOA ")), "{soa_ttl} {minimum}: {answer}");
        assert!(ask(&zones, "example.org. SOA").contains("\nan example.org. 300 SOA "));
    }
}

#[test]
fn a_name_that_stands_for_another() {
    let zones = zones(&[
        (
            "example.org",
            &[
                "@ SOA ns1 hostmaster 1 7200 900 1209600 300",
                "www CNAME web",
                "web A 192.0.2.80",
                "far CNAME www.example.net.",
                "further CNAME nobody.example.com.",
                "gone CNAME nothing",
                "gone-far CNAME nothing.example.net.",
                "one CNAME two",
                "two CNAME one",
                "self CNAME self",
                "into CNAME host.sub",
                "sub NS ns.sub",
                "ns.sub A 192.0.2.66",
            ],
        ),
        ("example.net", &["@ SOA ns hostmaster 1 7200 900 1209600 60", "www AAAA 2001:db8::80"]),
    ]);
    compare(
        &zones,
        &[
            (
                "www.example.org. A",
                &[
                    "NoError aa",
                    "an www.example.org. 300 CNAME web.example.org.",
                    "an web.example.org. 300 A 192.0.2.80",
                ],
            ),
            ("www.example.org. TXT", &["NoError aa", "an www.example.org. 300 CNAME web.example.org.", SOA]),
            ("www.example.org. CNAME", &["NoError aa", "an www.example.org. 300 CNAME web.example.org."]),
            ("www.example.org. ANY", &["NoError aa", "an www.example.org. 300 CNAME web.example.org."]),
            (
                "far.example.org. AAAA",
                &[
                    "NoError aa",
                    "an far.example.org. 300 CNAME www.example.net.",
                    "an www.example.net. 300 AAAA 2001:db8::80",
                ],
            ),
            ("further.example.org. A", &["NoError aa", "an further.example.org. 300 CNAME nobody.example.com."]),
            // RFC 6604: the code is that of the last name.
            ("gone.example.org. A", &["NXDomain aa", "an gone.example.org. 300 CNAME nothing.example.org.", SOA]),
            (
                "gone-far.example.org. A",
                &[
                    "NXDomain aa",
                    "an gone-far.example.org. 300 CNAME nothing.example.net.",
                    "ns example.net. 60 SOA ns.example.net. hostmaster.example.net. SERIAL 7200 900 1209600 60",
                ],
            ),
            (
                "one.example.org. A",
                &[
                    "NoError aa",
                    "an one.example.org. 300 CNAME two.example.org.",
                    "an two.example.org. 300 CNAME one.example.org.",
                ],
            ),
            ("self.example.org. A", &["NoError aa", "an self.example.org. 300 CNAME self.example.org."]),
            (
                "into.example.org. A",
                &[
                    "NoError aa",
                    "an into.example.org. 300 CNAME host.sub.example.org.",
                    "ns sub.example.org. 300 NS ns.sub.example.org.",
                    "ar ns.sub.example.org. 300 A 192.0.2.66",
                ],
            ),
        ],
    );
    let long: Vec<String> = (0..2 * DNS_CHAIN_MAX).map(|at| format!("c{at} CNAME c{}", at + 1)).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let answer = ask(&example(&long), "c0.example.org. A");
    assert_eq!(answer.lines().filter(|line| line.contains("CNAME")).count(), DNS_CHAIN_MAX + 1, "{answer}");
}

#[test]
fn somebody_elses_zone_is_pointed_to() {
    let zones = zones(&[
        (
            "example.org",
            &[
                "@ SOA ns1 hostmaster 1 7200 900 1209600 300",
                "sub NS ns.sub | ns.other | ns.example.net.",
                "ns.sub A 192.0.2.1",
                "deep.sub TXT \"occluded\"",
                "sub TXT \"occluded\"",
                "sub DS 1 13 2 1111111111111111111111111111111111111111111111111111111111111111",
                "other NS ns.other",
                "ns.other AAAA 2001:db8::2",
                "child NS ns.example.net.",
            ],
        ),
        ("child.example.org", &["@ SOA ns hostmaster 1 7200 900 1209600 60", "@ A 192.0.2.77"]),
        ("lone.example.com", &["@ SOA ns hostmaster 1 7200 900 1209600 60"]),
    ]);
    let referral: &[&str] = &[
        "NoError",
        "ns sub.example.org. 300 NS ns.example.net.",
        "ns sub.example.org. 300 NS ns.sub.example.org.",
        "ns sub.example.org. 300 NS ns.other.example.org.",
        "ar ns.sub.example.org. 300 A 192.0.2.1",
        "ar ns.other.example.org. 300 AAAA 2001:db8::2",
    ];
    for question in
        ["sub A", "sub NS", "sub TXT", "sub ANY", "x.sub A", "ns.sub A", "deep.sub TXT", "deep.sub DS", "a.b.c.sub A"]
    {
        let (name, rtype) = question.split_once(' ').unwrap();
        let mut lines: Vec<_> =
            ask(&zones, &format!("{name}.example.org. {rtype}")).lines().map(str::to_owned).collect();
        let mut expected = referral.to_vec();
        lines.sort();
        expected.sort();
        assert_eq!(lines, expected, "{question}");
    }
    let digest = "1111111111111111111111111111111111111111111111111111111111111111";
    compare(
        &zones,
        &[
            // The parent's to say, also where the child is here too.
            ("sub.example.org. DS", &["NoError aa", &format!("an sub.example.org. 300 DS 1 13 2 {digest}")]),
            ("child.example.org. DS", &["NoError aa", SOA]),
            ("child.example.org. A", &["NoError aa", "an child.example.org. 300 A 192.0.2.77"]),
            (
                "lone.example.com. DS",
                &[
                    "NoError aa",
                    "ns lone.example.com. 60 SOA ns.lone.example.com. hostmaster.lone.example.com. SERIAL 7200 900 1209600 60",
                ],
            ),
        ],
    );
}

/// The zone of RFC 4592 section 2.2.1 with its questions.
#[test]
fn wildcards_as_the_rfc_tells_them() {
    let zones = zones(&[(
        "example.org",
        &[
            "@ SOA ns1 hostmaster 1 7200 900 1209600 300",
            "* TXT \"this is a wildcard\"",
            "* MX 10 host1",
            "sub.* TXT \"this is not a wildcard\"",
            "host1 A 192.0.2.1",
            "_ssh._tcp.host1 SRV 0 0 22 host1",
            "_ssh._tcp.host2 SRV 0 0 22 host1",
            "subdel NS ns.example.com. | ns.example.net.",
            "*.cn CNAME host1",
            "*.void CNAME x.void",
        ],
    )]);
    compare(
        &zones,
        &[
            (
                "host3.example.org. MX",
                &[
                    "NoError aa",
                    "an host3.example.org. 300 MX 10 host1.example.org.",
                    "ar host1.example.org. 300 A 192.0.2.1",
                ],
            ),
            ("host3.example.org. A", &["NoError aa", SOA]),
            ("foo.bar.example.org. TXT", &["NoError aa", "an foo.bar.example.org. 300 TXT this is a wildcard"]),
            ("host1.example.org. MX", &["NoError aa", SOA]),
            ("sub.*.example.org. MX", &["NoError aa", SOA]),
            ("_telnet._tcp.host1.example.org. SRV", &["NXDomain aa", SOA]),
            ("ghost.*.example.org. MX", &["NXDomain aa", SOA]),
            ("host2.example.org. MX", &["NoError aa", SOA]),
            ("*.example.org. TXT", &["NoError aa", "an *.example.org. 300 TXT this is a wildcard"]),
            (
                "x.cn.example.org. A",
                &[
                    "NoError aa",
                    "an x.cn.example.org. 300 CNAME host1.example.org.",
                    "an host1.example.org. 300 A 192.0.2.1",
                ],
            ),
        ],
    );
    assert!(ask(&zones, "host.subdel.example.org. A").starts_with("NoError\nns subdel.example.org. 300 NS "));
    assert_eq!(ask(&zones, "y.void.example.org. A").lines().count(), 3, "two names that stand for one another");
}

#[test]
fn a_subtree_that_stands_for_another() {
    let long = format!("{0}.{0}.{0}.x.example.org.", "a".repeat(60));
    let zones = zones(&[(
        "example.org",
        &[
            "@ SOA ns1 hostmaster 1 7200 900 1209600 300",
            "old DNAME new",
            "old A 192.0.2.1",
            "www.new A 192.0.2.2",
            "x DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.net.",
            "turn DNAME turn.turn",
        ],
    )]);
    compare(
        &zones,
        &[
            (
                "www.old.example.org. A",
                &[
                    "NoError aa",
                    "an old.example.org. 300 DNAME new.example.org.",
                    "an www.old.example.org. 300 CNAME www.new.example.org.",
                    "an www.new.example.org. 300 A 192.0.2.2",
                ],
            ),
            (
                "under.old.example.org. TXT",
                &[
                    "NXDomain aa",
                    "an old.example.org. 300 DNAME new.example.org.",
                    "an under.old.example.org. 300 CNAME under.new.example.org.",
                    SOA,
                ],
            ),
            ("old.example.org. A", &["NoError aa", "an old.example.org. 300 A 192.0.2.1"]),
            ("old.example.org. DNAME", &["NoError aa", "an old.example.org. 300 DNAME new.example.org."]),
            ("old.example.org. TXT", &["NoError aa", SOA]),
        ],
    );
    assert!(ask(&zones, &format!("{long} A")).starts_with("YXDomain aa\nan x.example.org. 300 DNAME "));
    let turning = ask(&zones, "a.turn.example.org. A");
    assert!(turning.starts_with("NoError aa\n"), "{turning}");
}

#[test]
fn a_host_of_a_site_leads_to_its_home() {
    let mut world = World::new();
    zone(
        &mut world,
        "example.org",
        &[
            "@ SOA ns1 hostmaster 1 7200 900 1209600 300",
            "own A 192.0.2.1",
            "alias CNAME own",
            "mixed MX 10 own",
            "* TXT \"any\"",
            "cut NS ns.example.net.",
            "out MX 5 blog",
        ],
    );
    let addresses = Set::To(vec!["198.51.100.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]);
    let (roles, labels, cordoned) = (Set::Keep, Set::Keep, Set::Keep);
    world.ok(Change::NodeSet(NodeSet { node: NODE, roles, addresses, labels, cordoned }));
    let aliases = ["own", "alias", "mixed", "x.y", "x.cut"].map(|name| host(&format!("{name}.example.org"))).into();
    let blog = SiteCreate { aliases, www: Www::Serve, ..site_of("blog.example.org", None) };
    world.ok(Change::SiteCreate(Box::new(blog)));
    let zones = compiled(&world.state);
    let v4 = |name: &str| format!("an {name}.example.org. 300 A 198.51.100.7");
    compare(
        &zones,
        &[
            ("blog.example.org. A", &["NoError aa", &v4("blog")]),
            ("blog.example.org. AAAA", &["NoError aa", "an blog.example.org. 300 AAAA 2001:db8::7"]),
            ("blog.example.org. TXT", &["NoError aa", SOA]),
            ("blog.example.org. ANY", &["NoError aa", &v4("blog")]),
            ("www.blog.example.org. A", &["NoError aa", &v4("www.blog")]),
            ("mixed.example.org. A", &["NoError aa", &v4("mixed")]),
            ("x.y.example.org. A", &["NoError aa", &v4("x.y")]),
            // There by what lies below, so no wildcard stands for it.
            ("y.example.org. TXT", &["NoError aa", SOA]),
            ("z.example.org. TXT", &["NoError aa", "an z.example.org. 300 TXT any"]),
            ("own.example.org. A", &["NoError aa", "an own.example.org. 300 A 192.0.2.1"]),
            ("own.example.org. AAAA", &["NoError aa", SOA]),
            (
                "alias.example.org. A",
                &[
                    "NoError aa",
                    "an alias.example.org. 300 CNAME own.example.org.",
                    "an own.example.org. 300 A 192.0.2.1",
                ],
            ),
            ("x.cut.example.org. A", &["NoError", "ns cut.example.org. 300 NS ns.example.net."]),
            (
                "out.example.org. MX",
                &[
                    "NoError aa",
                    "an out.example.org. 300 MX 5 blog.example.org.",
                    "ar blog.example.org. 300 A 198.51.100.7",
                    "ar blog.example.org. 300 AAAA 2001:db8::7",
                ],
            ),
        ],
    );
}

#[test]
fn names_with_any_octets_in_their_labels() {
    let zones = example(&["\\000\\001.x TXT \"binary\"", "a\\.b TXT \"dot\"", "\\000.x TXT \"nul\""]);
    compare(
        &zones,
        &[
            ("a\\.b.example.org. TXT", &["NoError aa", "an a\\.b.example.org. 300 TXT dot"]),
            ("b.example.org. TXT", &["NXDomain aa", SOA]),
            ("x.example.org. TXT", &["NoError aa", SOA]),
            ("\\001.x.example.org. TXT", &["NXDomain aa", SOA]),
        ],
    );
    check(&zones, &[("\\000.x.example.org. TXT", &["NoError aa", "an \\000.x.example.org. 300 TXT nul"])]);
    assert!(ask(&zones, "\\000\\001.x.example.org. TXT").contains("TXT binary"));
}
