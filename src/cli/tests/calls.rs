//! What the commands ask of the API.
use crate::cli::tests::fake::{Fake, Play, brief, json, problem};

const WRITTEN: &str = r#"{"revision":7,"served":true}"#;

/// The first line and the body of what a command asks.
async fn asked(line: &str) -> (String, String) {
    let fake = Fake::start(vec![json(200, WRITTEN)]);
    fake.run(line).await.unwrap();
    let request = fake.asked().pop().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nidempotency-key: "), "{head}");
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn what_opens_the_cluster_and_what_joins_it() {
    let made = r#"{"token":"ruche-join-x","expires":"2026-11-22T07:00:00Z","revision":3}"#;
    let fake = Fake::start(vec![json(200, made), json(200, made)]);
    fake.run("node token --expires 10m").await.unwrap();
    fake.run("node token").await.unwrap();
    let asked = fake.asked();
    assert!(asked.iter().all(|asked| asked.starts_with("POST /v1/cluster/token HTTP/1.1\r\n")), "{asked:?}");
    assert!(asked[0].ends_with(r#"{"lasts":600}"#) && asked[1].ends_with("{}"), "{asked:?}");
    let fake =
        Fake::start(vec![json(403, r#"{"type":"about:blank","title":"no","status":403,"code":"join-token-invalid"}"#)]);
    fake.run("cluster join ruche-join-x --name pi-9 --discard-state").await.unwrap_err();
    let asked = fake.asked().pop().unwrap();
    assert!(asked.starts_with("POST /v1/cluster/join HTTP/1.1\r\n"), "{asked}");
    assert!(asked.ends_with(r#"{"token":"ruche-join-x","name":"pi-9","discard_state":true}"#), "{asked}");
}

#[tokio::test]
async fn writes() {
    for (line, first, body) in [
        ("account suspend club", "PATCH /v1/accounts/club HTTP/1.1", r#"{"suspended":true}"#),
        ("account set club --no-plan", "PATCH /v1/accounts/club HTTP/1.1", r#"{"plan":null}"#),
        (
            "site resume bücher.example --no-wait",
            "PATCH /v1/sites/xn--bcher-kva.example?wait=false HTTP/1.1",
            r#"{"suspended":false}"#,
        ),
        ("site maintenance a.example off", "PATCH /v1/sites/a.example HTTP/1.1", r#"{"maintenance":false}"#),
        (
            "site set a.example --no-alias --quota unlimited",
            "PATCH /v1/sites/a.example HTTP/1.1",
            r#"{"aliases":[],"quota":null}"#,
        ),
        ("site rm a.example --yes", "DELETE /v1/sites/a.example HTTP/1.1", ""),
        (
            "record set a.example @ txt x --ttl 60",
            "PUT /v1/zones/a.example/records/%40/TXT HTTP/1.1",
            r#"{"ttl":60,"values":["x"]}"#,
        ),
        ("zone rm 0/25.2.0.192.in-addr.arpa -y", "DELETE /v1/zones/0%2F25.2.0.192.in-addr.arpa HTTP/1.1", ""),
        (
            "node set pi-1 --role web,dns --label a=b",
            "PATCH /v1/nodes/pi-1 HTTP/1.1",
            r#"{"roles":["web","dns"],"labels":{"a":"b"}}"#,
        ),
        ("node rm pi-1 --yes", "DELETE /v1/nodes/pi-1 HTTP/1.1", ""),
        ("node uncordon pi-1", "PATCH /v1/nodes/pi-1 HTTP/1.1", r#"{"cordoned":false}"#),
        (
            "ftp-user set web --enable --quota 1K",
            "PATCH /v1/ftp-users/web HTTP/1.1",
            r#"{"quota":1024,"disabled":false}"#,
        ),
        (
            "site create a.example --proxy http://127.0.0.1:1 --www serve",
            "POST /v1/sites HTTP/1.1",
            r#"{"host":"a.example","aliases":[],"www":"serve","handler":{"type":"proxy","upstreams":["http://127.0.0.1:1"]},"account":null,"node":null,"standbys":[],"issuer":null,"quota":null}"#,
        ),
    ] {
        assert_eq!(asked(line).await, (first.to_owned(), body.to_owned()), "{line}");
    }
}

#[tokio::test]
async fn a_patch_of_nothing_and_a_removal_unconfirmed_are_usage_errors() {
    let fake = Fake::start(vec![json(200, WRITTEN)]);
    assert_eq!(fake.run("site set a.example").await.unwrap_err().exit(), 2);
    assert_eq!(fake.run("plan set small").await.unwrap_err().exit(), 2);
    let refused = fake.run("site rm a.example").await.unwrap_err();
    assert!(refused.exit() == 2 && refused.remedy().contains("--yes"), "{refused}");
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn conditions_and_keys_travel() {
    let fake = Fake::start(vec![json(200, WRITTEN)]);
    fake.run("site suspend a.example --if-match 5 --idempotency-key once").await.unwrap();
    let request = fake.asked().pop().unwrap();
    assert!(
        request.contains("\r\nif-match: \"5\"\r\n") && request.contains("\r\nidempotency-key: once\r\n"),
        "{request}"
    );
    fake.run("plan create small --sites 1").await.unwrap();
    let request = fake.asked().pop().unwrap();
    assert!(request.starts_with("PUT /v1/plans/small ") && request.contains("\r\nif-none-match: *\r\n"), "{request}");
}

#[tokio::test]
async fn a_plan_is_read_before_it_is_set() {
    let old =
        r#"{"name":"small","limits":{"sites":1,"zones":2,"records":null,"ftp_users":null,"disk":9},"revision":4}"#;
    let fake = Fake::start(vec![json(200, old), json(200, WRITTEN)]);
    fake.run("plan set small --sites 3 --disk unlimited").await.unwrap();
    let request = fake.asked().pop().unwrap();
    assert!(request.contains("\r\nif-match: \"4\"\r\n"), "{request}");
    assert!(
        request.ends_with(r#"{"limits":{"sites":3,"zones":2,"records":null,"ftp_users":null,"disk":null}}"#),
        "{request}"
    );
}

#[tokio::test]
async fn lists_follow_all_pages() {
    let fake = Fake::start(vec![
        json(200, r#"{"items":[{"a" :1}],"next":"x/y"}"#),
        json(200, r#"{"items":[{"b":2}],"next":null}"#),
    ]);
    let items = fake.api(brief()).list("list", "/v1/sites?account=club", usize::MAX).await.unwrap();
    assert_eq!(items.iter().map(|item| item.get()).collect::<Vec<_>>(), [r#"{"a" :1}"#, r#"{"b":2}"#]);
    let first: Vec<_> = fake.asked().iter().map(|request| request.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        first,
        [
            "GET /v1/sites?account=club&limit=1000 HTTP/1.1",
            "GET /v1/sites?account=club&limit=1000&cursor=x%2Fy HTTP/1.1"
        ]
    );
}

#[tokio::test]
async fn no_more_is_read_than_was_asked_for() {
    let fake = Fake::start(vec![json(200, r#"{"items":[1,2,3],"next":"x"}"#)]);
    let items = fake.api(brief()).list("list", "/v1/events", 2).await.unwrap();
    assert_eq!((items.len(), fake.asked().len()), (2, 1));
}

#[tokio::test]
async fn a_list_without_end_is_refused() {
    let fake = Fake::start(vec![json(200, r#"{"items":[],"next":"x"}"#)]);
    assert_eq!(fake.api(brief()).list("list", "/v1/sites", usize::MAX).await.unwrap_err().code(), "odd-answer");
}

#[tokio::test]
async fn a_write_is_sent_again_under_its_key_when_the_connection_fails() {
    let fake = Fake::start(vec![Play::HangUp, Play::HangUp, json(200, WRITTEN)]);
    fake.run("site suspend a.example").await.unwrap();
    let asked = fake.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|request| *request == asked[0]));
}

#[tokio::test]
async fn a_read_is_sent_again_once_when_the_connection_ends() {
    let fake = Fake::start(vec![Play::HangUp]);
    assert_eq!(fake.run("site show a.example").await.unwrap_err().exit(), 4);
    assert_eq!(fake.asked().len(), 2);
    let fake = Fake::start(vec![Play::HangUp, json(200, r#"{"items":[],"next":null}"#)]);
    fake.run("site ls").await.unwrap();
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn a_refused_write_is_not_sent_again() {
    let fake = Fake::start(vec![problem(503, "no-quorum", "")]);
    assert_eq!(fake.run("site suspend a.example").await.unwrap_err().exit(), 4);
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_for() {
    let outcome =
        r#"{"request_id":"ab","revision":7,"time":"","action":"site.set","subject":"","object":{"revision":7}}"#;
    let fake = Fake::start(vec![
        problem(504, "outcome-unknown", "ab"),
        problem(404, "not-found", ""),
        problem(503, "busy", ""),
        json(200, outcome),
    ]);
    fake.run("site suspend a.example").await.unwrap();
    assert!(fake.asked().pop().unwrap().starts_with("GET /v1/requests/ab "));
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_told() {
    let fake = Fake::start(vec![problem(504, "outcome-unknown", "ab"), problem(404, "not-found", "")]);
    let failure = fake.run("site suspend a.example --idempotency-key k").await.unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (4, "outcome-unknown"));
    assert!(failure.remedy().contains("--idempotency-key k"), "{failure}");
    assert!((3..=5).contains(&fake.asked().len()), "{}", fake.asked().len());
}

#[tokio::test]
async fn events_are_followed_over_a_break_and_none_is_asked_for_twice() {
    let event = |revision: u64| {
        format!(
            r#"{{"revision":{revision},"time":"2026-11-22T06:12:00Z","actor":{{"kind":"system"}},"action":"site.set","subject":"a.example","account":null,"request_id":"ab"}}"#
        )
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let stream = |text: String| Play::Say(format!("{head}{text}").into());
    let fake = Fake::start(vec![
        json(200, &format!(r#"{{"items":[{}],"next":null}}"#, event(4))),
        stream(format!(": hello\n\nid: 5\ndata: {}\n\nid: 6\ndata: {}\n\nid: 7\ndata: half", event(5), event(6))),
        Play::HangUp,
        stream(format!("id: 7\ndata: {}\n\n", event(7))),
        problem(403, "forbidden", ""),
    ]);
    assert_eq!(fake.run("events -f -n 1").await.unwrap_err().code(), "forbidden");
    let last =
        |request: &String| request.lines().find_map(|line| line.strip_prefix("last-event-id: ").map(str::to_owned));
    let asked: Vec<_> = fake.asked().iter().map(last).collect();
    assert_eq!(asked, [None, Some("4".into()), Some("6".into()), Some("6".into()), Some("7".into())]);
}

#[tokio::test]
async fn keys_are_written_for_their_owner_only_and_never_over_a_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recovery.key");
    let line = format!("cluster key export {}", path.display());
    let fake = Fake::start(vec![
        problem(503, "no-quorum", ""),
        json(200, r#"{"cluster":"ab","keyring":"secret","fingerprint":"f1","revision":7}"#),
    ]);
    assert_eq!(fake.run(&line).await.unwrap_err().exit(), 4);
    assert!(!path.exists(), "a failed export leaves no empty file");
    fake.run(&line).await.unwrap();
    assert!(fake.printed().ends_with("fingerprint f1.\n") && !fake.printed().contains("secret\n"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret\n");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fake.run(&line).await.unwrap_err().exit(), 1);
    assert_eq!(fake.asked().len(), 2);
}
