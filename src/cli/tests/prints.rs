//! What the commands print, for people and for programs.
use crate::cli::tests::fake::{Fake, json, problem};

const SITE: &str = r#"{"id":"00000000000000ab","host":"xn--bcher-kva.example","host_unicode":"bücher.example","aliases":["xn--caf-dma.example"],"www":"redirect","handler":{"type":"php","version":"8.2"},"account":"club","node":"pi-1","epoch":1,"standbys":[],"issuer":null,"quota":2147483648,"suspended":false,"maintenance":false,"status":"active","root":"/var/lib/ruche/sites/00000000000000ab/public","created":"2026-11-22T06:12:00.000Z","revision":7}"#;

async fn printed(line: &str, answer: &str) -> String {
    let fake = Fake::start(vec![json(200, answer)]);
    fake.run(line).await.unwrap();
    fake.printed()
}

#[tokio::test]
async fn a_site_as_fields_and_as_it_came() {
    let wanted = "\
host         bücher.example
in the DNS   xn--bcher-kva.example
aliases      café.example
www          redirected to the main name
handler      php 8.2
status       active
account      club
node         pi-1
files        /var/lib/ruche/sites/00000000000000ab/public
quota        2.0 GiB
created      2026-11-22 06:12
id           00000000000000ab
epoch        1
revision     7
";
    assert_eq!(printed("site show bücher.example", SITE).await, wanted);
    assert_eq!(printed("site show bücher.example -o json", SITE).await, format!("{SITE}\n"));
}

#[tokio::test]
async fn a_list_as_table_and_as_one_array() {
    let page = format!(r#"{{"items":[{SITE}],"next":null}}"#);
    let wanted = "HOST            HANDLER  ACCOUNT  NODE  STATUS\nbücher.example  php 8.2  club     pi-1  active\n";
    assert_eq!(printed("site ls", &page).await, wanted);
    assert_eq!(printed("site ls -o json", &page).await, format!("[\n{SITE}\n]\n"));
    let empty = r#"{"items":[],"next":null}"#;
    assert_eq!(printed("site ls", empty).await, "There are no sites.\n");
    assert_eq!(printed("site ls -o json", empty).await, "[]\n");
}

#[tokio::test]
async fn records_as_in_a_zone_file() {
    let page = r#"{"items":[{"name":"@","type":"MX","ttl":300,"values":["10 a.","20 b."],"revision":1},{"name":"www","type":"A","ttl":3600,"values":["192.0.2.1"],"revision":2}],"next":null}"#;
    let wanted =
        "NAME  TYPE  TTL   VALUE\n@     MX    300   10 a.\n@     MX    300   20 b.\nwww   A     3600  192.0.2.1\n";
    assert_eq!(printed("record ls a.example", page).await, wanted);
}

#[tokio::test]
async fn a_write_says_what_was_done_and_where_files_go() {
    let written = SITE.replace(r#""revision":7"#, r#""revision":7,"served":false"#);
    let wanted = "\
Created the site bücher.example, revision 7.
It is kept safely, and not every part of the node serves it yet: see `ruche status`.
Its files go to /var/lib/ruche/sites/00000000000000ab/public on the node pi-1.
";
    assert_eq!(printed("site create bücher.example --static", &written).await, wanted);
    assert_eq!(printed("site create bücher.example --static -o json", &written).await, format!("{written}\n"));
    let removed = printed("site rm bücher.example --yes", r#"{"revision":8,"served":true}"#).await;
    assert_eq!(removed, "Removed the site bücher.example, revision 8.\n");
}

#[tokio::test]
async fn a_secret_is_shown_once_and_its_loss_is_told() {
    let token = r#"{"id":"ab","name":"t","access":"read","account":null,"created":"","expires":null,"revision":7"#;
    let text = printed("token create t", &format!(r#"{token},"secret":"s3cret"}}"#)).await;
    assert!(text.ends_with("keep it in a safe place:\ns3cret\n"), "{text}");
    let text = printed("token create t", &format!("{token}}}")).await;
    assert!(text.contains("ruche token rm t"), "{text}");
}

#[tokio::test]
async fn the_cluster_names_its_nodes() {
    let status = r#"{"cluster":"cd","level":1,"revision":9,"leader":"pi-1","term":2,"nodes":[
        {"name":"pi-1","id":"01","part":"leader","up":true,"answers":true,"reach":["192.0.2.1:7443"],"version":"0.1.0","knows":1,"revision":9,"behind":0,"differs":false,"served":9,"clock_ahead":0},
        {"name":"pi-2","id":"02","part":"voter","up":true,"answers":true,"reach":["192.0.2.2:7443"],"version":"0.1.0","knows":1,"revision":9,"behind":0,"differs":true,"served":8,"planes":[{"name":"dns","served":9},{"name":"web","served":8}],"disk_free":3221225472,"disk_size":8589934592,"clock_ahead":-12},
        {"name":"pi-3","id":"03","part":"learner","up":false,"answers":false,"reach":[],"version":null,"knows":null,"revision":null,"behind":null,"differs":false,"served":null,"clock_ahead":null}]}"#;
    let fake = Fake::start(vec![json(200, status)]);
    fake.run("cluster status").await.unwrap();
    let wanted = "\
cluster   cd
level     1
revision  9
leader    pi-1
term      2

NODE  PART     UP   ANSWERS  BEHIND    SERVES        CLOCK   DISK FREE  VERSION  REACHED AT
pi-1  leader   yes  yes      0         9             +0 ms   -          0.1.0    192.0.2.1:7443
pi-2  voter    yes  yes      DIVERGED  dns 9, web 8  -12 ms  3.0 GiB    0.1.0    192.0.2.2:7443
pi-3  learner  no   no       -         -             -       -          -        -
";
    assert_eq!(fake.printed(), wanted);
    let made = r#"{"token":"ruche-join-x","expires":"2026-11-22T07:00:00Z","revision":3}"#;
    let text = printed("node token", made).await;
    assert!(text.ends_with("ruche cluster join ruche-join-x\n"), "{text}");
}

const CERTIFICATE: &str = r#"{"id":"00000000000000cd","names":["xn--bcher-kva.example"],"issuer":"internal","not_before":"2026-01-01T00:00:00Z","not_after":"2036-11-19T00:00:00Z","fingerprint":"ab","chain":"","revision":7}"#;

#[tokio::test]
async fn a_site_names_its_certificate() {
    let site = SITE.replace(r#""issuer":null"#, r#""issuer":null,"certificate":"00000000000000cd""#);
    let fake = Fake::start(vec![json(200, &site), json(200, CERTIFICATE)]);
    fake.run("site show bücher.example").await.unwrap();
    assert!(fake.printed().contains("\ncertificate  internal, until 2036-11-19 00:00\n"), "{}", fake.printed());
    assert!(fake.asked()[1].starts_with("GET /v1/certificates/00000000000000cd HTTP/1.1\r\n"));
    let page = format!(r#"{{"items":[{CERTIFICATE}],"next":null}}"#);
    let fake = Fake::start(vec![json(200, &page), json(200, CERTIFICATE)]);
    fake.run("cert show bücher.example").await.unwrap();
    let wanted = "\
names     bücher.example
issuer    internal
from      2026-01-01 00:00
until     2036-11-19 00:00
SHA-256   ab
id        00000000000000cd
revision  7
";
    assert_eq!(fake.printed(), wanted);
}

#[tokio::test]
async fn certificates_by_name_and_the_ca_to_a_file() {
    let page = format!(r#"{{"items":[{CERTIFICATE}],"next":null}}"#);
    // What is planned is told to who may see it.
    let plan = r#"{"items":[
        {"names":["xn--bcher-kva.example"],"wish":null,"issuer":"ca","step":"blocked","at":"2026-01-02T00:00:00Z","reason":"it leads elsewhere"},
        {"names":["mail.example"],"wish":"00000000000000ab","issuer":null,"step":"check","at":null,"reason":null}]}"#;
    let fake = Fake::start(vec![json(200, plan), json(200, &page)]);
    fake.run("cert ls").await.unwrap();
    let wanted = "\
NAMES           ISSUER    UNTIL             NEXT              ID                WHY
bücher.example  internal  2036-11-19 00:00  2026-01-02 00:00  00000000000000cd  it leads elsewhere
mail.example              none yet                            00000000000000ab
";
    assert_eq!(fake.printed(), wanted);
    let good = plan.replace("blocked", "good");
    for (plan, next) in [(json(200, &good), "NEXT  ID"), (problem(403, "forbidden", "1"), "NEXT  ID")] {
        let fake = Fake::start(vec![plan, json(200, &page)]);
        fake.run("cert ls").await.unwrap();
        assert!(fake.printed().contains(next) && fake.printed().contains("2036-11-19 00:00"), "{}", fake.printed());
    }
    let wanted = "NAMES           ISSUER  STEP          AT                ASKED FOR AS      WHY\n";
    let fake = Fake::start(vec![json(200, plan)]);
    fake.run("cert plan").await.unwrap();
    assert!(fake.printed().starts_with(wanted) && fake.printed().contains("00000000000000ab"), "{}", fake.printed());
    let wish = r#"{"id":"00000000000000ab","names":["mail.example"],"issuer":null,"created":"2026-01-01T00:00:00Z","revision":7}"#;
    let told = printed("cert show 00000000000000ab", wish).await;
    assert!(told.starts_with("asked for  mail.example\nissuer     the preferred ones\n"), "{told}");
    let pem = "-----BEGIN CERTIFICATE-----\n";
    assert_eq!(printed("cert export --ca", pem).await, pem);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "old").unwrap();
    let told = printed(&format!("cert export --ca --out {}", file.display()), pem).await;
    assert!(told.starts_with("Wrote the CA"), "{told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), pem);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o644);
}

#[tokio::test]
async fn a_site_without_certificate_says_so() {
    let none = r#"{"items":[],"next":null}"#;
    let failure = Fake::start(vec![json(200, none)]).run("cert show bücher.example").await.unwrap_err();
    assert_eq!(failure.to_string(), "show the certificate of bücher.example: there is none yet");
}
