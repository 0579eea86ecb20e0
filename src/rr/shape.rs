//! Which fields the data of each known type has, in order. The single table: reading, checking and showing all follow it.
use crate::rr::RecordType;
use crate::rr::field::Field::{
    self, Algorithm, Base64, Hex, Location, Name, Octets, Protocol, Rewrite, Seconds, Services, SvcParams, Tag, Text,
    Texts, U8, U16, U32, V4, V6,
};

/// The data of one type.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) rtype: RecordType,
    /// Completes "MX wants …".
    pub(super) wants: &'static str,
    /// A value in presentation form.
    pub(super) example: &'static str,
    /// Name and kind of each field.
    pub(super) fields: &'static [(&'static str, Field)],
}

/// The shape of a type, none for a type that is only carried as octets (RFC 3597).
pub(super) fn of(rtype: RecordType) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.rtype == rtype)
}

const fn shape(
    rtype: RecordType,
    wants: &'static str,
    example: &'static str,
    fields: &'static [(&'static str, Field)],
) -> Shape {
    Shape { rtype, wants, example, fields }
}

const HOST: &[(&str, Field)] = &[("host", Name)];
const NAME: &[(&str, Field)] = &[("name", Name)];
const TEXTS: &[(&str, Field)] = &[("text", Texts)];
const DS: &[(&str, Field)] = &[("key tag", U16), ("algorithm", Algorithm), ("digest type", U8), ("digest", Hex)];
const KEY: &[(&str, Field)] = &[("flags", U16), ("protocol", U8), ("algorithm", Algorithm), ("key", Base64)];
const TLSA: &[(&str, Field)] = &[("usage", U8), ("selector", U8), ("matching type", U8), ("data", Hex)];
const SVCB: &[(&str, Field)] = &[("priority", U16), ("target", Name), ("parameters", SvcParams)];

pub(super) static SHAPES: &[Shape] = &[
    shape(RecordType::A, "an IPv4 address", "192.0.2.1", &[("address", V4)]),
    shape(RecordType::AAAA, "an IPv6 address", "2001:db8::1", &[("address", V6)]),
    shape(RecordType::NS, "the host of a name server", "ns1.example.org.", HOST),
    shape(RecordType::CNAME, "the name it stands for", "www.example.org.", NAME),
    shape(RecordType::PTR, "the name of an address", "host.example.org.", NAME),
    // RFC 1035 section 3.3: of their time, and allowed still.
    shape(RecordType::MD, "a mail destination", "mail.example.org.", HOST),
    shape(RecordType::MF, "a mail forwarder", "mail.example.org.", HOST),
    shape(RecordType::MB, "the host of a mailbox", "mail.example.org.", HOST),
    shape(RecordType::MG, "a member of a mail group", "ada.example.org.", &[("mailbox", Name)]),
    shape(RecordType::MR, "the new name of a mailbox", "ada.example.org.", &[("mailbox", Name)]),
    shape(
        RecordType::MINFO,
        "two mailboxes as names",
        "owner.example.org. errors.example.org.",
        &[("mailbox", Name), ("mailbox for errors", Name)],
    ),
    shape(
        RecordType::WKS,
        "an address, a protocol and services",
        "192.0.2.1 6 25 80",
        &[("address", V4), ("protocol", Protocol), ("services", Services)],
    ),
    shape(RecordType::DNAME, "the name its subtree stands for", "example.net.", NAME),
    // RFC 1035 section 3.3.13
    shape(
        RecordType::SOA,
        "two names and five numbers",
        "ns1.example.org. hostmaster.example.org. 1 7200 900 1209600 300",
        &[
            ("primary server", Name),
            ("mailbox", Name),
            ("serial", U32),
            ("refresh", Seconds),
            ("retry", Seconds),
            ("expire", Seconds),
            ("minimum", Seconds),
        ],
    ),
    shape(
        RecordType::HINFO,
        "two strings, machine and system",
        r#""ARM64" "Linux""#,
        &[("machine", Text), ("system", Text)],
    ),
    shape(RecordType::MX, "a preference and a host", "10 mail.example.org.", &[("preference", U16), ("host", Name)]),
    shape(RecordType::TXT, "one or more strings", r#""v=spf1 -all""#, TEXTS),
    shape(RecordType::SPF, "one or more strings", r#""v=spf1 -all""#, TEXTS),
    // RFC 1183
    shape(
        RecordType::RP,
        "a mailbox as a name and a name",
        "admin.example.org. .",
        &[("mailbox", Name), ("text name", Name)],
    ),
    shape(RecordType::AFSDB, "a subtype and a host", "1 afs.example.org.", &[("subtype", U16), ("host", Name)]),
    // RFC 1876
    shape(
        RecordType::LOC,
        "latitude, longitude and altitude",
        "48 51 29.600 N 2 17 40.200 E 330.00m 1.00m 10000.00m 10.00m",
        &[("place", Location)],
    ),
    // RFC 2782
    shape(
        RecordType::SRV,
        "a priority, a weight, a port and a host",
        "10 5 5060 sip.example.org.",
        &[("priority", U16), ("weight", U16), ("port", U16), ("host", Name)],
    ),
    // RFC 3403 section 4
    shape(
        RecordType::NAPTR,
        "an order, a preference, three strings and a name",
        r#"100 10 "S" "SIP+D2U" "" _sip._udp.example.org."#,
        &[
            ("order", U16),
            ("preference", U16),
            ("flags", Text),
            ("services", Text),
            ("regexp", Rewrite),
            ("replacement", Name),
        ],
    ),
    // RFC 4034 section 5, RFC 7344
    shape(
        RecordType::DS,
        "a key tag, an algorithm, a digest type and a digest",
        "60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A",
        DS,
    ),
    shape(RecordType::CDS, "a key tag, an algorithm, a digest type and a digest", "0 0 0 00", DS),
    // RFC 4034 section 2, RFC 7344
    shape(
        RecordType::DNSKEY,
        "flags, the protocol 3, an algorithm and a key",
        "257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
        KEY,
    ),
    shape(RecordType::CDNSKEY, "flags, the protocol 3, an algorithm and a key", "0 3 0 AA==", KEY),
    // RFC 4255
    shape(
        RecordType::SSHFP,
        "an algorithm, a fingerprint type and a fingerprint",
        "4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789",
        &[("algorithm", U8), ("fingerprint type", U8), ("fingerprint", Hex)],
    ),
    // RFC 6698, RFC 8162
    shape(
        RecordType::TLSA,
        "a usage, a selector, a matching type and data",
        "3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971",
        TLSA,
    ),
    shape(
        RecordType::SMIMEA,
        "a usage, a selector, a matching type and data",
        "3 0 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971",
        TLSA,
    ),
    shape(RecordType::OPENPGPKEY, "a key", "mDMEXEcE6RYJKwYBBAHaRw8BAQdA", &[("key", Base64)]),
    // RFC 9460
    shape(
        RecordType::SVCB,
        "a priority, a target and parameters",
        r#"1 svc.example.org. alpn="h2,h3" port=8443"#,
        SVCB,
    ),
    shape(RecordType::HTTPS, "a priority, a target and parameters", r#"1 . alpn="h2,h3""#, SVCB),
    // RFC 7553
    shape(
        RecordType::URI,
        "a priority, a weight and a URI",
        r#"10 1 "https://www.example.org/path""#,
        &[("priority", U16), ("weight", U16), ("target", Octets(1))],
    ),
    // RFC 8659
    shape(
        RecordType::CAA,
        "flags, a tag and a value",
        r#"0 issue "letsencrypt.org""#,
        &[("flags", U8), ("tag", Tag), ("value", Octets(0))],
    ),
];
