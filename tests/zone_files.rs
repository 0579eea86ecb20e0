//! `ruche zone import` and `export` against a real node: what is said, what is kept, and what a refused file leaves.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::node::{Node, binary};

/// Exit code, output and errors of a command, with something on its standard input.
fn ruche(node: &Node, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(binary());
    command.arg("--socket").arg(node.socket()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that has read too much reads no further.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const FILE: &str = "\
$ORIGIN example.org.
$TTL 600
@ IN SOA ns1 hostmaster 3000000001 7200 900 1209600 300
@ NS ns1
  NS ns2.example.net.
ns1 A 192.0.2.1
@ MX 10 mail ; no address
www 60 A 192.0.2.2
www 60 A 192.0.2.3
$GENERATE 1-3 pc$ A 192.0.2.1$
key._domainkey TXT \"v=DKIM1; k=rsa; p=abc\"
";

#[test]
fn a_zone_comes_and_goes_as_a_file() {
    let node = Node::ready();
    let path = node.path("example.org.zone");
    fs::write(&path, FILE).unwrap();
    let path = path.to_str().unwrap();
    let (code, dry, _) = ruche(&node, &["zone", "import", path, "--dry-run"], "");
    assert_eq!(code, 0);
    assert!(
        dry.ends_with("Would import the zone example.org: 9 added, 0 changed, 0 removed; nothing was changed.\n"),
        "{dry}"
    );
    assert!(dry.contains("+ www 60 A 192.0.2.3\n") && dry.contains("+ pc3 600 A 192.0.2.13\n"), "{dry}");
    assert_eq!(node.get("/v1/zones/example.org").status, 404);

    let (code, made, notes) = ruche(&node, &["zone", "import", path], "");
    assert_eq!(code, 0, "{notes}");
    assert!(
        made.ends_with("Imported the zone example.org: 9 added, 0 changed, 0 removed; serial 3000000001.\n"),
        "{made}"
    );
    assert_eq!(made.lines().count(), dry.lines().count());
    assert!(notes.contains("The mail server mail.example.org. has no address"), "{notes}");
    let (_, shown, _) = ruche(&node, &["zone", "show", "example.org"], "");
    assert!(shown.contains("ns1.example.org, ns2.example.net") && shown.contains("3000000001"), "{shown}");

    let (_, exported, _) = ruche(&node, &["zone", "export", "example.org"], "");
    assert!(exported.starts_with("$ORIGIN example.org.\n$TTL 600\n@ "), "{exported}");
    let (_, again, _) = ruche(&node, &["zone", "import", "-", "--replace"], &exported);
    assert_eq!(again, "Imported the zone example.org: 0 added, 0 changed, 0 removed; serial 3000000001.\n");
    let other = exported.replace("example.org", "example.com");
    assert_eq!(ruche(&node, &["zone", "import", "-"], &other).0, 0);
    assert_eq!(ruche(&node, &["zone", "export", "example.com"], "").1, other, "what is written reads back");

    let less = "@ MX 5 mail\nmail A 192.0.2.9\nwww 60 A 192.0.2.2\n";
    let (_, merged, _) = ruche(&node, &["zone", "import", "-", "example.org"], less);
    assert!(
        merged.contains("~ @ 3600 MX 5 mail.example.org.")
            && merged.contains("2 changed, 0 removed; serial 3000000002"),
        "{merged}"
    );
    let (_, replaced, notes) = ruche(&node, &["zone", "import", "-", "example.org", "--replace"], less);
    assert!(
        replaced.contains("- ns1 600 A 192.0.2.1\n") && replaced.contains("1 changed, 6 removed; serial 3000000003"),
        "{replaced}"
    );
    assert!(notes.contains("The zone has no name server"), "{notes}");
}

#[test]
fn a_refused_file_leaves_everything_as_it_was() {
    let node = Node::ready();
    let bad =
        "www A 192.0.2.1\nwww CNAME x\n$INCLUDE other\nmail A 192.0.2.256\nelse.example.net. A 192.0.2.1\n@ CNAME y\n";
    let (code, output, errors) = ruche(&node, &["zone", "import", "-", "example.org"], bad);
    assert_eq!((code, output.as_str()), (3, ""), "{errors}");
    for fault in [
        "line 2: a CNAME cannot stand beside other data, and line 1 has A",
        "line 3: $INCLUDE is not followed",
        "line 4: the address of A must be",
        "line 5: else.example.net. does not lie in the zone",
        "line 6: CNAME cannot stand at the apex",
    ] {
        assert!(errors.contains(fault), "{fault}: {errors}");
    }
    let (code, _, errors) =
        ruche(&node, &["zone", "import", "-", "example.org"], "a.b A 192.0.2.1\nb DNAME c.example.net.\n");
    assert!(code == 3 && errors.contains("lies below the DNAME"), "{errors}");
    assert_eq!(node.get("/v1/zones/example.org").status, 404);
    let (code, _, errors) = ruche(&node, &["zone", "import", "-"], "www A 192.0.2.1\n");
    assert!(code == 2 && errors.contains("does not say which zone"), "{errors}");
    assert_eq!(ruche(&node, &["zone", "import", "missing.zone", "example.org"], "").0, 1);
    let huge = format!("a TXT \"{}\"\n", "x".repeat(200)).repeat(6000);
    assert_eq!(ruche(&node, &["zone", "import", "-", "example.org"], &huge).0, 2);
    let wide = "$GENERATE 1-20000 a$ TXT \"some text that makes it too much for one change\"\n";
    let (code, _, errors) = ruche(&node, &["zone", "import", "-", "example.org"], wide);
    assert!(code == 3 && errors.contains("Make the change in smaller pieces"), "{errors}");
    let notes = "a 60 A 192.0.2.1\na 30 A 192.0.2.2\nb MX 10 mail.example.org\n";
    let (code, output, errors) = ruche(&node, &["zone", "import", "-", "example.org"], notes);
    assert!(code == 0 && output.contains("+ a 30 A 192.0.2.1\n"), "{output}");
    assert!(errors.contains("line 2: the TTL is not that of line 1"), "{errors}");
    assert!(errors.contains("line 3: mail.example.org.example.org. ends with the zone twice"), "{errors}");
    let (code, _, errors) = ruche(&node, &["record", "set", "example.org", "@", "MX", "10 mail.example.org"], "");
    assert!(code == 3 && errors.contains("no final dot"), "{errors}");
}

/// Dates stay dates; a record moves on from there.
#[test]
fn an_soa_is_set_by_hand() {
    let node = Node::ready();
    assert_eq!(ruche(&node, &["zone", "create", "example.org", "--nameserver", "ns1.example.net"], "").0, 0);
    let soa = "ns1.example.net. admin.example.org. 3000000000 2h 15m 2w 5m";
    assert_eq!(ruche(&node, &["record", "set", "example.org", "@", "SOA", soa], "").0, 0);
    assert_eq!(ruche(&node, &["record", "set", "example.org", "www", "A", "192.0.2.1"], "").0, 0);
    let (_, listed, _) = ruche(&node, &["record", "ls", "example.org"], "");
    assert!(listed.contains("ns1.example.net. admin.example.org. 3000000001 7200 900 1209600 300"), "{listed}");
    let (code, _, errors) = ruche(&node, &["record", "rm", "example.org", "@", "SOA", "--yes"], "");
    assert!(code == 3 && errors.contains("always has its SOA"), "{errors}");
}
