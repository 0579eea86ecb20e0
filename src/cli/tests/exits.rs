//! Exit codes and what is said on stderr, for every code the API has.
use std::io;

use crate::api::problem::{Fault, Problem};
use crate::cli::failure::Failure;
use crate::fetch::error::FetchError;
use crate::fetch::target::Target;

fn problem(status: u16, code: &str, detail: &str) -> Failure {
    let problem = Problem {
        kind: format!("urn:ruche:problem:{code}"),
        title: String::new(),
        status,
        detail: detail.into(),
        code: code.into(),
        remedy: "Do it.".into(),
        request_id: None,
        faults: Vec::new(),
    };
    Failure::Problem { doing: "create the site a.example".into(), problem: Box::new(problem) }
}

#[test]
fn every_code_has_its_exit() {
    for (status, code, exit) in [
        (400, "bad-json", 3),
        (400, "bad-query", 3),
        (400, "bad-condition", 3),
        (400, "bad-idempotency-key", 3),
        (401, "token-missing", 3),
        (401, "token-invalid", 3),
        (403, "forbidden", 3),
        (404, "not-found", 3),
        (408, "too-slow", 3),
        (409, "exists", 3),
        (409, "host-taken", 3),
        (409, "foreign-zone", 3),
        (409, "in-use", 3),
        (409, "limit-reached", 3),
        (409, "account-suspended", 3),
        (409, "level", 3),
        (412, "revision-mismatch", 3),
        (413, "too-large", 3),
        (422, "invalid", 3),
        (422, "idempotency-key-reused", 3),
        (500, "internal", 1),
        (503, "busy", 4),
        (503, "store-failed", 4),
        (503, "no-quorum", 4),
        (503, "removed", 4),
        (503, "stopping", 4),
        (503, "history-unreadable", 4),
        (504, "outcome-unknown", 4),
        (507, "disk-full", 1),
    ] {
        let failure = problem(status, code, "It is so.");
        assert_eq!((failure.exit(), failure.code()), (exit, code));
    }
    let target = || Target::Unix("/s".into());
    let refused = FetchError::Unreachable { target: target(), cause: io::ErrorKind::ConnectionRefused.into() };
    assert_eq!(Failure::from(refused).exit(), 4);
    assert_eq!(Failure::from(FetchError::Broken { target: target() }).exit(), 4);
    assert_eq!(Failure::from(FetchError::Garbled { target: target() }).exit(), 1);
    assert_eq!(Failure::from(FetchError::TooLarge { target: target(), max: 1 }).exit(), 1);
    assert_eq!(Failure::usage("a", "b", "c").exit(), 2);
    assert_eq!(Failure::Declined { doing: "a".into() }.exit(), 1);
}

#[test]
fn people_get_one_line_and_a_remedy() {
    for (detail, clause) in [
        ("There is no plan small.", "there is no plan small"),
        ("Failed to write: the disk is full.", "write: the disk is full"),
        ("TYPE0 is no data that a zone holds.", "TYPE0 is no data that a zone holds"),
        ("A CNAME cannot stand there.", "a CNAME cannot stand there"),
    ] {
        let wanted = format!("error: failed to create the site a.example: {clause}\n  Do it.\n");
        assert_eq!(problem(409, "x", detail).report(false), wanted);
    }
    assert!(problem(401, "token-missing", "There is none.").remedy().contains("RUCHE_TOKEN"));
    let mut failure = problem(422, "invalid", "Two are wrong.");
    if let Failure::Problem { problem, .. } = &mut failure {
        let fault = |field: &str| Fault { field: field.into(), reason: "odd".into() };
        problem.faults = vec![fault("aliases"), fault("www")];
    }
    let wanted = "error: failed to create the site a.example: two are wrong\n  aliases: odd\n  www: odd\n  Do it.\n";
    assert_eq!(failure.report(false), wanted);
}

#[test]
fn programs_get_the_problem() {
    let text = problem(409, "in-use", "It is used.").report(true);
    assert!(text.starts_with(r#"{"type":"urn:ruche:problem:in-use","title":"","status":409,"#), "{text}");
    let text = Failure::usage("remove it", "no terminal", "Use --yes.").report(true);
    assert_eq!(
        text,
        "{\"code\":\"usage\",\"detail\":\"failed to remove it: no terminal\",\"remedy\":\"Use --yes.\"}\n"
    );
}
