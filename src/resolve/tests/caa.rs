//! Who may issue, by table.
use proptest::prelude::*;

use crate::resolve::caa::{CaaSet, Issuance, Property};

const ACCOUNT: &str = "https://ca.test/acct/1";

/// Records as `flags tag value`.
fn set(records: &[&str]) -> CaaSet {
    let one = |record: &&str| {
        let mut words = record.splitn(3, ' ');
        let (flags, tag) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().to_owned());
        Property { flags, tag, value: words.next().unwrap_or_default().as_bytes().to_vec() }
    };
    CaaSet::new("example.org", records.iter().map(one).collect())
}

fn wish(wildcard: bool) -> Issuance<'static> {
    Issuance { issuers: &["ca.test", "ca.example"], wildcard, account: Some(ACCOUNT), method: "http-01" }
}

/// Whether a plain name and a wildcard may have a certificate.
fn may(records: &[&str]) -> (bool, bool) {
    let set = set(records);
    (set.allows(&wish(false)).is_ok(), set.allows(&wish(true)).is_ok())
}

#[test]
fn who_may_issue() {
    let table: &[(&[&str], (bool, bool))] = &[
        (&[], (true, true)),
        (&["0 issue ca.test"], (true, true)),
        (&["0 issue other.test"], (false, false)),
        (&["0 issue other.test", "0 issue ca.example"], (true, true)),
        (&["0 ISSUE CA.Test"], (true, true)),
        (&["0 issue ;"], (false, false)),
        (&["0 issue"], (false, false)),
        (&["0 issue ;", "0 issue ca.test"], (true, true)),
        (&["0 issue %%%%%"], (false, false)),
        (&["0 issue ca.test."], (false, false)),
        (&["0 issue sub.ca.test"], (false, false)),
        (&["0 issue  \t ca.test \t"], (true, true)),
        (&["0 issue ca.test;"], (true, true)),
        (&["0 issue ca.test ; "], (true, true)),
        (&["0 issue ca.test; policy=ev"], (true, true)),
        (&["0 issue ca.test; policy = ev ; a=;b==="], (true, true)),
        (&["0 issue ca.test; policy"], (false, false)),
        (&["0 issue ca.test; policy=a;"], (false, false)),
        (&["0 issue ca.test; policy=a b"], (false, false)),
        (&["0 issue ca.test; -p=a"], (false, false)),
        // Wildcards have their own records, where there are some.
        (&["0 issuewild ca.test"], (true, true)),
        (&["0 issuewild other.test"], (true, false)),
        (&["0 issuewild ;", "0 issue ca.test"], (true, false)),
        (&["0 issuewild ca.test", "0 issue ;"], (false, true)),
        // What says nothing of servers' certificates binds nobody, critical or not.
        (&["0 iodef mailto:a@example.org"], (true, true)),
        (&["128 iodef mailto:a@example.org", "128 issuemail ;"], (true, true)),
        (&["128 issue ca.test"], (true, true)),
        (&["0 tbs x"], (true, true)),
        (&["1 tbs x"], (true, true)),
        (&["128 tbs x"], (false, false)),
        (&["129 tbs x", "0 issue ca.test"], (false, false)),
    ];
    for (records, expected) in table {
        assert_eq!(may(records), *expected, "{records:?}");
    }
    let octets = Property { flags: 0, tag: "issue".into(), value: b"ca.test; a=\xff".to_vec() };
    assert!(CaaSet::new("example.org", vec![octets]).allows(&wish(false)).is_err());
}

#[test]
fn account_and_method() {
    let table: &[(&str, bool)] = &[
        ("ca.test; accounturi=https://ca.test/acct/1", true),
        ("ca.test; AccountURI=https://ca.test/acct/1", true),
        ("ca.test; accounturi=https://ca.test/acct/12", false),
        ("ca.test; accounturi=https://CA.test/acct/1", false),
        ("ca.test; accounturi=https://ca.test/acct/1; accounturi=https://ca.test/acct/1", false),
        ("ca.test; validationmethods=dns-01,http-01", true),
        ("ca.test; validationmethods=dns-01", false),
        ("ca.test; validationmethods=", false),
        ("ca.test; validationmethods=http-01; validationmethods=http-01", false),
        ("ca.test; validationmethods=http-01; accounturi=https://ca.test/acct/1", true),
        ("ca.test; validationmethods=http-01; accounturi=https://ca.test/acct/2", false),
    ];
    for (value, expected) in table {
        assert_eq!(may(&[&format!("0 issue {value}")]).0, *expected, "{value}");
    }
    // Of several records one is enough.
    assert!(may(&["0 issue ca.test; validationmethods=dns-01", "0 issue ca.test; validationmethods=http-01"]).0);
    let unknown = Issuance { account: None, ..wish(false) };
    assert!(set(&["0 issue ca.test"]).allows(&unknown).is_ok());
    assert!(set(&["0 issue ca.test; accounturi=x"]).allows(&unknown).is_err());
    // An issuer that names itself in no way looks at no record.
    assert!(set(&["0 issue ;"]).allows(&Issuance { issuers: &[], ..unknown }).is_ok());
}

#[test]
fn a_reason_names_the_record_and_what_helps() {
    let why = |records: &[&str]| set(records).allows(&wish(true)).unwrap_err();
    for (records, reason) in [
        (
            &["0 issue other.test", "0 issue a", "0 issue b", "0 issue c"][..],
            "CAA of example.org (`0 issue \"other.test\"`, `0 issue \"a\"`, `0 issue \"b\"`, …) does not let ca.test issue: \
             add the record `0 issue \"ca.test\"`",
        ),
        (
            &["0 issue ca.test", "0 issuewild ;"],
            "CAA of example.org (`0 issuewild \";\"`) does not let ca.test issue: add the record `0 issuewild \"ca.test\"`",
        ),
        (
            &["128 tbs \x1b[2J"],
            "the CAA record `128 tbs \"\\x1b[2J\"` of example.org forbids who does not understand it to issue: remove it, or \
             set its flags to 0",
        ),
        (
            &["0 issue ca.test; accounturi=x"],
            "the CAA record `0 issue \"ca.test; accounturi=x\"` of example.org is bound to another account of ca.test: add one \
             with `accounturi=https://ca.test/acct/1`",
        ),
        (
            &["0 issue ca.test; validationmethods=dns-01"],
            "the CAA record `0 issue \"ca.test; validationmethods=dns-01\"` of example.org does not allow validation by http-01: \
             add it to its `validationmethods`",
        ),
    ] {
        assert_eq!(why(records), reason);
    }
    assert!(why(&[&format!("0 issue {}", "x".repeat(9000))]).len() < 400);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No octets are taken for leave that does not stand there.
    #[test]
    fn any_value(value in prop::collection::vec(any::<u8>(), 0..60), tag in "[a-z]{1,9}", flags in any::<u8>()) {
        let set = CaaSet::new("example.org", vec![Property { flags, tag: tag.clone(), value }]);
        if tag == "issue" {
            prop_assert!(set.allows(&wish(false)).is_err());
        }
    }
}
