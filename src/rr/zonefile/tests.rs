//! Zone files: what they may look like, what is refused with its line, what is written reads back, and hostile bytes.
use proptest::prelude::*;

use crate::base::limits::{GENERATE_MAX, ZONE_FILE_FAULTS_MAX, ZONE_FILE_RECORDS_MAX};
use crate::rr::zonefile::{Writer, ZoneFile, apex, read};
use crate::rr::{Name, present_data};

fn origin() -> Name {
    Name::parse("example.org.", None).unwrap()
}

fn file(text: &str) -> ZoneFile {
    read(text.as_bytes(), &origin(), 3600)
}

/// Line, owner, TTL, type and data of each record.
fn shown(text: &str) -> Vec<String> {
    let file = file(text);
    assert_eq!(file.faults, [], "{text}");
    let show = |record: &super::Record| {
        let owner = record.owner.relative_to(&origin());
        format!("{} {owner} {} {} {}", record.line, record.ttl, record.rtype, present_data(record.rtype, &record.data))
    };
    file.records.iter().map(show).collect()
}

#[track_caller]
fn refused(text: &str, line: usize, why: &str) {
    let file = file(text);
    let fault = file.faults.first().unwrap_or_else(|| panic!("{text:?} is read: {:?}", file.records));
    assert!(fault.line == line && fault.reason.contains(why), "{text:?}: {fault:?}");
}

#[test]
fn a_file_as_people_write_them() {
    let text = "\u{feff}; the zone of the association\r\n\
        $ORIGIN example.org.\r\n\
        $TTL 1h\r\n\
        @\tIN SOA ns1 hostmaster ( 2026112201 ; serial\r\n\
        \t\t1d 2h ; refresh, retry\r\n\
        \t\t4w )\t\r\n\
        ; nothing here\r\n\
        \t\t300 ; never reached\r\n";
    refused(text, 4, "SOA wants two names and five numbers");
    let text = text.replace("4w )", "4w").replace("300 ; never reached", "300 )");
    assert_eq!(
        shown(&text),
        ["4 @ 3600 SOA ns1.example.org. hostmaster.example.org. 2026112201 86400 7200 2419200 300"]
    );
    let text = r#"
@ NS ns1
  in ns ns2.example.net.
  300 MX 10 mail
www 60 IN A 192.0.2.1
www IN 60 AAAA 2001:db8::1
WwW.EXAMPLE.org. Class1 TXT "a;b" ; a comment
*.x type1 \# 4 c0000201
mail CNAME @
$ORIGIN sub
@ A 192.0.2.2
a.b A (192.0.2.3)
\@ A 192.0.2.4
$ORIGIN example.org.
b\.c TXT ( "one
$TTL 1d
"#;
    refused(text, 15, "a quote is not closed");
    let text = text
        .replace("( \"one", "( \"one\"\n   \"two\" )")
        .replace("$TTL 1d", "t1 A 192.0.2.5\n$TTL 1d\nt2 A 192.0.2.5");
    assert_eq!(
        shown(&text),
        [
            "2 @ 3600 NS ns1.example.org.",
            "3 @ 3600 NS ns2.example.net.",
            "4 @ 300 MX 10 mail.example.org.",
            "5 www 60 A 192.0.2.1",
            "6 www 60 AAAA 2001:db8::1",
            "7 www 60 TXT \"a;b\"",
            "8 *.x 60 A 192.0.2.1",
            "9 mail 60 CNAME example.org.",
            "11 sub 60 A 192.0.2.2",
            "12 a.b.sub 60 A 192.0.2.3",
            r"13 \@.sub 60 A 192.0.2.4",
            r#"15 b\.c 60 TXT "one" "two""#,
            "17 t1 60 A 192.0.2.5",
            "19 t2 86400 A 192.0.2.5",
        ]
    );
}

#[test]
fn a_ttl_is_found_where_it_is_said() {
    let soa = "@ SOA a b 1 2 3 4 77\n";
    assert_eq!(shown("a A 192.0.2.1\n"), ["1 a 3600 A 192.0.2.1"]);
    assert_eq!(shown(&format!("{soa}a A 192.0.2.1"))[1], "2 a 77 A 192.0.2.1");
    assert_eq!(shown(&format!("$TTL 9\n{soa}a A 192.0.2.1"))[1], "3 a 9 A 192.0.2.1");
    assert_eq!(shown("a 5 A 192.0.2.1\n$TTL 9\nb A 192.0.2.1")[1], "3 b 9 A 192.0.2.1");
    assert_eq!(file("$TTL 1h30m\n$TTL 7").ttl, Some(5400));
    assert_eq!(file(soa).ttl, None);
}

#[test]
fn generate_with_its_modifiers() {
    for (line, made) in [
        ("$GENERATE 1-3 h$ A 192.0.2.$", "h1 A 192.0.2.1|h2 A 192.0.2.2|h3 A 192.0.2.3"),
        (
            "$generate 0-10/5 $ 60 IN CNAME $.x",
            "0 CNAME 0.x.example.org.|5 CNAME 5.x.example.org.|10 CNAME 10.x.example.org.",
        ),
        ("$GENERATE 9-10 h${0,3} A 192.0.2.${-9}", "h009 A 192.0.2.0|h010 A 192.0.2.1"),
        ("$GENERATE 26-26 a${0,4,x}b${0,0,X}c${0,0,o} A 192.0.2.1", "a001ab1ac32 A 192.0.2.1"),
        ("$GENERATE 30-30 ${0,7,n} PTR h", "e.1.0.0 PTR h.example.org."),
        ("$GENERATE 30-30 ${0,1,N} PTR h", "e.1 PTR h.example.org."),
        (r#"$GENERATE 1-1 h\$ TXT "$$" "\$" "$""#, r#"h\$ TXT "$" "$" "1""#),
    ] {
        let made = made.split('|').map(str::to_lowercase).collect::<Vec<_>>();
        let got: Vec<_> = shown(line)
            .iter()
            .map(|line| {
                let words: Vec<_> = line.split(' ').collect();
                format!("{} {}", words[1], words[3..].join(" ")).to_lowercase()
            })
            .collect();
        assert_eq!(got, made, "{line}");
    }
    for (line, why) in [
        ("$GENERATE", "wants a range"),
        ("$GENERATE 5 a A 192.0.2.1", "wants a range"),
        ("$GENERATE 5-4 a A 192.0.2.1", "wants a range"),
        ("$GENERATE 5-9/0 a A 192.0.2.1", "wants a range"),
        ("$GENERATE -1-9 a A 192.0.2.1", "wants a range"),
        ("$GENERATE 0-4294967295 a A 192.0.2.1", "wants a range"),
        ("$GENERATE 0-2147483647 a A 192.0.2.1", "at most 65536"),
        ("$GENERATE 1-2 a${0,3,q} A 192.0.2.1", "no modifier"),
        ("$GENERATE 1-2 a${0,65} A 192.0.2.1", "no modifier"),
        ("$GENERATE 1-2 a${0 A 192.0.2.1", "no modifier"),
        ("$GENERATE 1-2 a${-3,1,x} A 192.0.2.1", "negative"),
        ("$GENERATE 1-2 a", "needs a type"),
        ("$GENERATE 250-300 a$ A 192.0.2.$", "192.0.2.256"),
        ("$GENERATE 1-2 $.example.net. A 192.0.2.1", "does not lie in the zone"),
    ] {
        refused(line, 1, why);
        assert_eq!(file(line).faults.len(), 1, "{line}");
    }
}

#[test]
fn every_refused_line_is_told_with_its_number() {
    for (line, why) in [
        ("$INCLUDE other.zone", "$INCLUDE is not followed"),
        ("$FOO x", "`$FOO` is no directive"),
        ("$TTL", "$TTL wants"),
        ("$TTL 2147483648", "$TTL wants"),
        ("$ORIGIN a..b", "empty label"),
        ("$ORIGIN", "must not be empty"),
        ("www CH A 192.0.2.1", "the class is CH"),
        ("www CLASS3 A 192.0.2.1", "the class is CLASS3"),
        ("www 4294967295 A 192.0.2.1", "a TTL is at most"),
        ("www ALIAS other.example.", "`ALIAS` is no record type"),
        ("www", "needs a type"),
        ("www IN 300", "needs a type"),
        ("www A", "A wants an IPv4 address"),
        ("www A 192.0.2.1 x", "A wants an IPv4 address"),
        ("www A 192.0.2.256", "the address of A must be"),
        ("www AXFR x", "never stored"),
        ("www RRSIG x", "comes with the signing"),
        ("www TYPE47 \\# 0", "comes with the signing"),
        ("www.example.net. A 192.0.2.1", "does not lie in the zone"),
        ("a..b A 192.0.2.1", "empty label"),
        ("bücher A 192.0.2.1", "`xn--`"),
        ("  A 192.0.2.1", "none that could be read"),
        ("www TXT \"a", "a quote is not closed"),
        ("www TXT a\\", "ends with a backslash"),
        ("www A ( 192.0.2.1", "never closed"),
        ("www A 192.0.2.1 )", "was not opened"),
        ("www TXT \"a\tb\u{7}\"", "control character"),
    ] {
        refused(&format!("\n; comment\n{line}\n"), 3, why);
    }
    let many = file(
        "a A 192.0.2.1\nb A x\n  TXT y\nc..d A 192.0.2.2\n  A 192.0.2.3\n$ORIGIN ..\ne A 192.0.2.1\ne. A 1.2.3.4\n$ORIGIN example.org.\nf A 192.0.2.9",
    );
    assert_eq!(many.faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2, 4, 5, 6, 7, 8], "{:?}", many.faults);
    let read: Vec<_> = many.records.iter().map(|record| record.line).collect();
    assert_eq!(read, [1, 3, 10]);
    let latin = [&b"; caf\xe9\na TXT \"caf\xe9\"\nb TXT ok ; \xe9\n"[..]].concat();
    let latin = super::read(&latin, &origin(), 1);
    assert_eq!((latin.records.len(), latin.faults[0].line), (1, 2));
    assert!(latin.faults[0].reason.contains("UTF-8"));
}

#[test]
fn large_files_end_early() {
    let faults = file(&"x\n".repeat(ZONE_FILE_FAULTS_MAX + 7));
    assert_eq!((faults.faults.len(), faults.untold), (ZONE_FILE_FAULTS_MAX, 7));
    let line = format!("$GENERATE 1-{GENERATE_MAX} h$ A 192.0.2.1\n");
    let many = file(&line.repeat(9));
    assert_eq!(many.records.len(), ZONE_FILE_RECORDS_MAX);
    assert_eq!(many.faults.len(), 1, "{:?}", many.faults);
    let wide = file(&format!("$GENERATE 1-{GENERATE_MAX} h$ TXT {}\n", "x".repeat(2000)).repeat(9));
    assert!(wide.records.len() < 5000 && wide.faults[0].reason.contains("octets"), "{:?}", wide.faults);
    refused(&format!("a TXT ( {} )", "x ".repeat(300_000)), 1, "longer than");
    refused(&format!("a TXT {}", "(".repeat(300_000)), 1, "never closed");
    assert_eq!(shown(&format!("a A (\n{}\n192.0.2.1 )", " \n".repeat(500_000))), ["1 a 3600 A 192.0.2.1"]);
}

#[test]
fn the_zone_a_file_is_of() {
    let of = |text: &str| apex(text.as_bytes()).map(|name| name.to_string());
    for (text, zone) in [
        ("example.org. 60 IN SOA a b 1 2 3 4 5", Some("example.org.")),
        ("$ORIGIN org.\nexample SOA a b 1 2 3 4 5", Some("example.org.")),
        ("$ORIGIN example.org.\n@ IN SOA ( a b 1 2\n 3 4 5 )", Some("example.org.")),
        ("$ORIGIN example.org.\nwww A 192.0.2.1", Some("example.org.")),
        ("$ORIGIN org.\n$ORIGIN example\n@ 1 SOA a b 1 2 3 4 5", Some("example.org.")),
        ("@ SOA a b 1 2 3 4 5", None),
        ("example SOA a b 1 2 3 4 5", None),
        ("www A 192.0.2.1", None),
        ("", None),
    ] {
        assert_eq!(of(text).as_deref(), zone, "{text}");
    }
}

fn written(file: &ZoneFile) -> String {
    let mut writer = Writer::new(origin(), file.ttl.unwrap_or(3600), file.records.iter().map(|record| &record.owner));
    for record in &file.records {
        writer.set(&record.owner, record.rtype, record.ttl, [&record.data[..]].into_iter());
    }
    writer.finish()
}

fn reads_back(first: &ZoneFile) {
    let text = written(first);
    let again = file(&text);
    assert_eq!(again.faults, [], "{text}");
    let plain = |file: &ZoneFile| {
        file.records.iter().map(|r| (r.owner.clone(), r.ttl, r.rtype, r.data.clone())).collect::<Vec<_>>()
    };
    assert_eq!(plain(&again), plain(first), "{text}");
}

const SAMPLE: &str = r#"$TTL 600
@ IN SOA ns1 hostmaster 1 2h 1h 2w 5m
@ NS ns1
$GENERATE 1-5 h${0,2} 60 A 192.0.2.$
\$ORIGIN TXT "not a directive" ( "x" )
3600 IN A 192.0.2.7
\@ CAA 0 issue ";"
*.a\.b\000\255 TYPE65280 \# 3 010203
_443._tcp TLSA 3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971
www HTTPS 1 . alpn="h2,h3"
w WKS 192.0.2.1 tcp smtp http
"#;

#[test]
fn what_is_written_lines_up_and_reads_back() {
    let sample = file(SAMPLE);
    assert_eq!(sample.faults, []);
    assert_eq!(sample.records.len(), 14);
    reads_back(&sample);
    let text = written(&file("$TTL 600\n@ NS ns1\nwww 60 A 192.0.2.1"));
    assert_eq!(
        text,
        "$ORIGIN example.org.\n$TTL 600\n@           IN NS     ns1.example.org.\nwww      60 IN A      192.0.2.1\n"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_records_or_faults(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = apex(&octets);
        reads_back(&read(&octets, &origin(), 60));
    }

    #[test]
    fn any_words_are_records_or_faults(text in "(([$@a-c.\\\\\"();0-9{},/-]{0,6}|IN|A|TXT|\\$GENERATE|\\$ORIGIN|\\$TTL|1-3|é)[ \t\n]){0,60}") {
        let _ = apex(text.as_bytes());
        reads_back(&file(&text));
    }

    #[test]
    fn a_damaged_file_is_records_or_faults(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..12)) {
        let mut octets = SAMPLE.as_bytes().to_vec();
        for (at, octet, what) in changes {
            let at = at.index(octets.len());
            match what {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                _ => drop(octets.remove(at)),
            }
        }
        let _ = apex(&octets);
        reads_back(&read(&octets, &origin(), 60));
    }
}
