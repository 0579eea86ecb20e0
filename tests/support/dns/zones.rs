//! The zones that the servers are asked about: what an association has, and the corners of the protocol.
use std::fmt::Write;

#[derive(Debug)]
pub struct Zone {
    pub name: String,
    pub text: String,
}

fn zone(name: &str, records: &str) -> Zone {
    // A dated serial, later than any time of these years: it is taken over as it is.
    let head = "$TTL 3600\n@ IN SOA ns1.asso.test. hostmaster.asso.test. 3000000001 7200 900 1209600 300\n";
    Zone { name: name.to_owned(), text: format!("$ORIGIN {name}.\n{head}{records}") }
}

/// What an association has: its own domain, a member's, a delegated part, and reverse zones.
pub fn everyday() -> Vec<Zone> {
    let key = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA".repeat(8);
    let (first, second) = key.split_at(200);
    let asso = format!(
        r#"
@ NS ns1
@ NS NS2.Asso.Test.
@ NS ns.elsewhere.example.
@ 300 A 192.0.2.10
@ 300 AAAA 2001:db8::10
@ MX 10 mail
@ MX 20 backup.elsewhere.example.
@ TXT "v=spf1 mx a:mail.asso.test -all"
@ TXT "site-verification=0123456789abcdef"
@ CAA 0 issue "letsencrypt.org"
@ CAA 0 iodef "mailto:security@asso.test"
ns1 A 192.0.2.53
ns1 AAAA 2001:db8::53
ns2 A 198.51.100.53
mail A 192.0.2.25
mail AAAA 2001:db8::25
mail TLSA 3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971
_25._tcp.mail TLSA 3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971
www CNAME @
WebMail CNAME mail
autoconfig CNAME mail.club.test.
gone CNAME nothing.asso.test.
shop CNAME shops.elsewhere.example.
_dmarc TXT "v=DMARC1; p=quarantine; rua=mailto:dmarc@asso.test"
mail._domainkey TXT ( "v=DKIM1; k=rsa; p={first}" "{second}" )
_imaps._tcp SRV 10 1 993 mail
_submission._tcp SRV 10 1 587 mail
_imap._tcp SRV 0 0 0 .
_sip._udp SRV 10 5 5060 sip.elsewhere.example.
sip NAPTR 100 10 "S" "SIP+D2U" "" _sip._udp
www2 HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.10
www2 A 192.0.2.10
gw SSHFP 4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789
gw A 192.0.2.1
gw LOC 48 51 29.600 N 2 17 40.200 E 330.00m 1.00m 10000.00m 10.00m
gw HINFO "ARM64" "Linux"
api URI 10 1 "https://www.asso.test/api"
*.dev A 192.0.2.99
*.dev MX 10 mail
test.dev A 192.0.2.98
lists NS ns.lists
ns.lists A 192.0.2.60
ns.lists AAAA 2001:db8::60
partner NS ns1.partner.example.
partner NS ns1
sub NS ns1
sub NS ns2
sub DS 60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
old DNAME new.club.test.
"#
    );
    let mut hosts = String::from("@ NS ns1.asso.test.\n@ NS ns2.asso.test.\n");
    for number in 1..12 {
        let _ = writeln!(hosts, "{number} PTR h{number}.asso.test.");
    }
    hosts += "0/25 NS ns.lists.asso.test.\n";
    for number in 100..110 {
        let _ = writeln!(hosts, "{number} CNAME {number}.0/25.2.0.192.in-addr.arpa.");
    }
    vec![
        zone("asso.test", &asso),
        zone(
            "sub.asso.test",
            "@ NS ns1.asso.test.\n@ NS ns2.asso.test.\n@ A 192.0.2.70\nwww A 192.0.2.71\nup CNAME www.asso.test.\n",
        ),
        zone(
            "club.test",
            "@ NS ns1.asso.test.\n@ NS ns2.asso.test.\n@ A 192.0.2.20\nmail A 192.0.2.21\nwww CNAME www.asso.test.\n\
             www.new A 192.0.2.22\nnew MX 5 mail\nback CNAME autoconfig.asso.test.\n",
        ),
        zone("2.0.192.in-addr.arpa", &hosts),
        zone(
            "8.b.d.0.1.0.0.2.ip6.arpa",
            "@ NS ns1.asso.test.\n5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 PTR mail.asso.test.\n",
        ),
    ]
}

/// The corners: names that exist without data, wildcards, chains, cuts, long names, large sets, any octet anywhere.
pub fn edge() -> Vec<Zone> {
    let long = "l".repeat(63);
    let mut edge = String::from(
        r#"
@ NS ns1
@ NS ns.below.cut
ns1 A 192.0.2.1
@ MX 0 .
; empty non-terminals, and wildcards under and over them
a.b.c.ent A 192.0.2.2
b.c.ent2 TXT "x"
*.b.c.ent2 TXT "star under"
* TXT "top star"
* MX 10 ns1
*.wild A 192.0.2.3
*.wild AAAA 2001:db8::3
exact.wild TXT "no address here"
deep.er.wild A 192.0.2.4
*.er.wild TXT "inner star"
*.*.stars A 192.0.2.5
*.stars TXT "x"
x.*.under A 192.0.2.6
sub.*.owner TXT "y"
*.wcname CNAME target
*.wloop CNAME a.wloop
*.wout CNAME away.elsewhere.example.
*.wdangle CNAME nothing.anywhere
target A 192.0.2.7
target TXT "t"
; chains
c1 CNAME c2
c2 CNAME c3
c3 CNAME c4
c4 CNAME target
cent CNAME c.ent
cwild CNAME some.wild
cnodata CNAME exact.wild
cdead CNAME nx.ent
cref CNAME host.cut
cself CNAME cself
l1 CNAME l2
l2 CNAME l1
cother CNAME www.edge2.test.
cotherdead CNAME nx.edge2.test.
cotherref CNAME x.deleg.edge2.test.
cout CNAME www.elsewhere.example.
capex CNAME edge.test.
; DNAMEs
d1 DNAME d2
d1 TXT "beside"
x.d2 A 192.0.2.8
d3 DNAME d1
d4 DNAME d4x
d4x DNAME target
d5 DNAME edge2.test.
d6 DNAME elsewhere.example.
d7 DNAME x.d7
*.dwild DNAME d2
droot DNAME .
cd CNAME x.d1
; cuts
cut NS ns.below.cut
cut NS ns.elsewhere.example.
ns.below.cut A 192.0.2.9
ns.below.cut AAAA 2001:db8::9
occluded.cut TXT "never seen"
*.cut TXT "never either"
x.y.cut CNAME target
cutself NS cutself
cutself A 192.0.2.10
noglue NS ns.noglue.elsewhere.example.
inzone NS ns1
sibling NS ns.below.cut
signed NS ns1
signed DS 1 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
deepcut.a.b NS ns1.deepcut.a.b
ns1.deepcut.a.b A 192.0.2.11
nested.cut NS ns1
*.nswild NS ns1
; odd names and data
*a TXT "not a wildcard"
a.*b TXT "nor this"
MixedCase A 192.0.2.12
UPPER CNAME MixedCase
sp\032ace TXT "a space"
do\.t TXT "a dot"
\000\001\255 TXT "binary"
back\\slash TXT "b"
\@ TXT "at"
under_score TXT "u"
-dash- TXT "d"
esc TXT "quote \" backslash \\ semicolon ; \000\127\255" "" "second"
unknown TYPE65280 \# 5 0102030405
unknown TYPE65280 \# 0
unknown TYPE731 \# 3 ABCDEF
null TYPE10 \# 2 0001
mb TYPE7 \# 5 0361646100
mg TYPE8 \# 5 0361646100
mr TYPE9 \# 5 0361646100
minfo MINFO ada errors
wks TYPE11 \# 9 C00002010600004040
rp RP ada.x txt.x
afsdb AFSDB 1 afs
px SRV 1 2 3 target
px SRV 1 2 3 c1
px SRV 1 2 3 host.cut
mx MX 1 target
mx MX 2 c1
mx MX 3 some.wild
mx MX 4 www.edge2.test.
mx MX 5 nx.ent
mx MX 6 ns.below.cut
svcb SVCB 1 target alpn=h2 port=8443
svcb SVCB 2 . mandatory=port port=53
svcbalias HTTPS 0 target
spf SPF "v=spf1 -all"
ttl 0 A 192.0.2.13
ttlmax 2147483647 A 192.0.2.13
"#,
    );
    for number in 0..40 {
        let _ = writeln!(edge, "bigtxt TXT \"{number} {}\"", "t".repeat(200));
    }
    for number in 0..250 {
        let _ = writeln!(edge, "biga A 198.51.100.{number}");
    }
    for number in 0..30 {
        let _ = writeln!(
            edge,
            "bigmx MX {number} m{number}.bigmx\nm{number}.bigmx A 203.0.113.{number}\nm{number}.bigmx AAAA 2001:db8:1::{number}"
        );
        let _ = writeln!(
            edge,
            "bigcut NS n{number}.bigcut\nn{number}.bigcut A 203.0.113.{number}\nn{number}.bigcut AAAA 2001:db8:2::{number}"
        );
    }
    // 255 octets with the zone's own ten and the root.
    let longest = format!("{long}.{long}.{long}.{}", "m".repeat(51));
    let _ = writeln!(edge, "{long} A 192.0.2.14\n{longest} A 192.0.2.15\n{long}.d2 TXT \"long\"");
    let _ = writeln!(edge, "dlong DNAME {long}.{long}.{long}.x");
    let deep: Vec<_> = (0..14).map(|_| "o").collect();
    let _ = writeln!(edge, "{}.deep A 192.0.2.16", deep.join("."));
    vec![
        zone("edge.test", &edge),
        zone(
            "edge2.test",
            "@ NS ns1.edge.test.\nwww A 192.0.2.30\nx A 192.0.2.31\ndeleg NS ns.deleg\nns.deleg A 192.0.2.32\nback CNAME c1.edge.test.\n\
             loop CNAME cotherloop.edge.test.\nsome.d DNAME d1.edge.test.\n",
        ),
        // A zone inside another one, without a cut that says so.
        zone("inner.edge2.test", "@ NS ns1.edge.test.\n@ A 192.0.2.33\nwww A 192.0.2.34\n"),
    ]
}
