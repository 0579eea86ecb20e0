//! What takes minutes of issuers and their certificates: what those that mean harm cost visitors, and what of them stays in memory; 400 names
//! at one time within the limits; what auditors and browsers say. Prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::auditor::audit;
use support::issuer::{ADDRESS, Network, Pebble, Stub, until_planned};
use support::measure::{is_judged, rss_kib};
use support::node::{Node, binary};
use support::sites::{Sites, asks_for_fine};

const EACH: Duration = Duration::from_secs(90);
/// Between two requests: a small machine is not asked all the time.
const PACE: Duration = Duration::from_millis(5);
const HARMS: [&str; 7] = ["hang", "garbage", "endless", "trickle", "broken", "nonce", "reset"];
/// Of each issuer a certificate store and a buffer may be kept for a while.
const GROWTH_MAX_KIB: u64 = 24 << 10;

/// How long requests take on one connection, until told to stop.
fn asked(sites: &Sites, over: &AtomicBool) -> Vec<Duration> {
    let mut stream = sites.tls(Some("one.example"), &["http/1.1"]).unwrap();
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        asks_for_fine(&mut stream);
        times.push(begun.elapsed());
        std::thread::sleep(PACE);
    }
    times.sort();
    times
}

fn p99(times: &[Duration]) -> Duration {
    times[times.len() * 99 / 100]
}

/// Names an issuer nobody has heard of for each site, so that none is left alone for long: it is asked at once.
fn harm(sites: &Sites, stub: &Stub, round: usize) {
    for (at, how) in HARMS.iter().enumerate() {
        let (new, old) = (format!("i{round}-{at}"), format!("i{}-{at}", round.wrapping_sub(2)));
        stub.issuer(
            &sites.node,
            &new,
            &if round.is_multiple_of(2) { format!("{how}/dir") } else { format!("{how}/at-once") },
        );
        sites.set(&format!("s{at}.harm.example"), json!({"issuer": new}));
        // One that holds an order is in use still.
        sites.node.ask("DELETE", &format!("/v1/issuers/{old}"), None, &[]);
    }
}

#[test]
#[ignore = "long: three minutes"]
fn what_issuers_do_is_not_felt() {
    let sites = Sites::ready();
    let root = sites.create("one.example", json!({}));
    fs::write(root.join("index.html"), "fine").unwrap();
    for at in 0..HARMS.len() {
        sites.create(&format!("s{at}.harm.example"), json!({"issuer": "internal"}));
    }
    let dir = tempfile::tempdir().unwrap();
    let stub = Stub::alone(dir.path());
    let measured = |meanwhile: &dyn Fn(usize)| {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| asked(&sites, &over));
            let (begun, mut round) = (Instant::now(), 0);
            while begun.elapsed() < EACH {
                meanwhile(round);
                round += 1;
                std::thread::sleep(Duration::from_secs(3));
            }
            over.store(true, Ordering::Relaxed);
            (asking.join().unwrap(), round)
        })
    };
    let (quiet, _) = measured(&|_| {});
    harm(&sites, &stub, 0);
    std::thread::sleep(Duration::from_secs(5));
    let before = rss_kib(sites.node.pid());
    let (hostile, rounds) = measured(&|round| harm(&sites, &stub, round + 1));
    let after = rss_kib(sites.node.pid());
    println!(
        "{} s with {} issuers that mean harm: p99 {:?} of {} requests, without them {:?} of {}; memory {} KiB, before {} KiB",
        EACH.as_secs(),
        rounds * HARMS.len(),
        p99(&hostile),
        hostile.len(),
        p99(&quiet),
        quiet.len(),
        after,
        before,
    );
    let plan = sites.node.get("/v1/certificates/plan").done().text;
    assert!(plan.contains("harm.example") && !plan.contains("\"order\""), "{plan}");
    assert!(after < before + GROWTH_MAX_KIB, "{after} KiB after {before} KiB");
    if is_judged() {
        assert!(p99(&hostile) <= p99(&quiet).mul_f64(1.2) + Duration::from_millis(1));
    }
}

/// What certbot would have after its provider's summer: 400 certificates of somebody else, each for one name, due since days.
const BROUGHT: &str = "
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 300 -subj /CN=ca
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out csr -subj /CN=site
    while read -r name; do
        mkdir -p live/$name
        cp key live/$name/privkey.pem
        openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 80 -extfile <(echo subjectAltName=DNS:$name) -out leaf
        cat leaf ca.pem >live/$name/fullchain.pem
    done <names";

fn plan(node: &Node) -> Vec<Value> {
    node.get("/v1/certificates/plan").json["items"].as_array().unwrap().clone()
}

/// How long until the moment the plan tells.
fn ahead(item: &Value) -> Duration {
    let at: jiff::Timestamp = item["at"].as_str().unwrap_or_else(|| panic!("no time for {item}")).parse().unwrap();
    Duration::from_secs(at.duration_since(jiff::Timestamp::now()).as_secs().try_into().unwrap_or(0))
}

/// Sites of 60 names of one domain and of ten each of 34 others, with what certbot had for them in a directory.
fn brought(node: &Node, tree: &Path) -> Vec<String> {
    let mut names: Vec<String> = (0..60).map(|at| format!("m{at}.wide.net")).collect();
    for at in 0..34 {
        let zone = json!({"name": format!("d{at}.net"), "nameservers": ["ns.wide.net"]});
        assert_eq!(node.post("/v1/zones", zone).status, 201);
        names.extend((0..10).map(|of| format!("m{of}.d{at}.net")));
    }
    let zones: BTreeSet<&str> = names.iter().map(|name| name.split_once('.').unwrap().1).collect();
    for zone in zones {
        let path = format!("/v1/zones/{zone}/records/*/A");
        assert_eq!(node.ask("PUT", &path, Some(json!({"ttl": 60, "values": [ADDRESS]})), &[]).status, 200);
    }
    fs::create_dir(tree).unwrap();
    fs::write(tree.join("names"), names.join("\n") + "\n").unwrap();
    let mut made = Command::new("faketime");
    made.args(["-f", "-60d", "bash", "-ec", BROUGHT]).current_dir(tree).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(made.status().unwrap().success());
    names
}

#[test]
#[ignore = "long: five minutes"]
fn four_hundred_names_stay_within_the_limits_of_the_issuer() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    let by_name = json!({"standing": "by-name"});
    assert_eq!(node.ask("PATCH", "/v1/issuers/letsencrypt", Some(by_name), &[]).status, 200);
    let tree = network.path("letsencrypt");
    let names = brought(&node, &tree);
    let begun = Instant::now();
    let ruche = |arguments: &[&str]| {
        let output = Command::new(binary()).arg("--socket").arg(node.socket()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ruche(&["cert", "import", tree.to_str().unwrap()]).lines().count(), 400);
    println!("400 certificates were taken up in {:?}", begun.elapsed());
    for name in &names {
        assert_eq!(node.post("/v1/sites", json!({"host": name, "handler": {"type": "static"}})).status, 201);
    }
    support::until(900, "what the issuer takes is renewed", || {
        std::thread::sleep(Duration::from_secs(1));
        let plan = plan(&node);
        let count = |step: &str| plan.iter().filter(|item| item["step"] == step).count();
        (count("good") == 280 && count("wait") == 120).then_some(())
    });
    println!("280 were renewed within {:?}", begun.elapsed());
    let all = plan(&node);
    let is_wide = |item: &Value| item["names"][0].as_str().unwrap().ends_with(".wide.net");
    for item in all.iter().filter(|item| item["step"] == "wait") {
        let wait = if is_wide(item) { Duration::from_secs(7 * 24 * 3600) } else { Duration::from_secs(3 * 3600) };
        assert!((wait - begun.elapsed() - Duration::from_secs(60)..wait).contains(&ahead(item)), "{item}");
    }
    assert_eq!(all.iter().filter(|item| item["step"] == "wait" && is_wide(item)).count(), 12);
    // Each with its time, also for people.
    assert!(all.iter().all(|item| !ahead(item).is_zero()));
    let told = ruche(&["cert", "plan"]);
    assert_eq!(told.lines().filter(|line| line.contains(".net")).count(), 400, "{told}");
    std::thread::sleep(Duration::from_secs(15));
    let events = node.all("/v1/events");
    let count = |action: &str| events.iter().filter(|event| event["action"] == action).count();
    assert_eq!((count("order.reserve"), count("order.issued"), count("order.failed")), (280, 280, 0));
}

#[test]
#[ignore = "long: three minutes of handshakes, and a browser"]
fn auditors_and_browsers_agree_on_what_was_issued() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::lasting(&network, 80 * 24 * 3600, &[]);
    let root = pebble.root(&network);
    pebble.prefer(&node, false);
    assert_eq!(node.post("/v1/sites", json!({"host": "www.wide.net", "handler": {"type": "static"}})).status, 201);
    until_planned(&node, "www.wide.net", "good");
    let home = tempfile::tempdir().unwrap();
    let visit = || -> Value {
        let mut browser = network.command("/usr/bin/python3");
        browser.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/browser.py"));
        let seen = browser.arg("https://www.wide.net/").arg(home.path()).arg("9222").output().unwrap();
        serde_json::from_slice(&seen.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&seen.stderr)))
    };
    assert_eq!(visit()["failed"], "net::ERR_CERT_AUTHORITY_INVALID");
    let store = home.path().join(".pki/nssdb");
    fs::create_dir_all(&store).unwrap();
    let database = format!("sql:{}", store.display());
    for arguments in [
        vec!["-N", "-d", &database, "--empty-password"],
        vec!["-A", "-d", &database, "-t", "C,,", "-n", "pebble", "-i", root.to_str().unwrap()],
    ] {
        let done = Command::new("certutil").args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let seen = visit();
    println!("{seen}");
    assert_eq!((&seen["protocol"], &seen["keyExchangeGroup"]), (&json!("TLS 1.3"), &json!("X25519MLKEM768")));
    let issuer = seen["issuer"].as_str().unwrap();
    assert!(seen["sanList"] == json!(["www.wide.net"]) && issuer.starts_with("Pebble"), "{seen}");
    assert_eq!((&seen["status"], &seen["http"]), (&json!(404), &json!("h2")));
    let meant = [
        ("cipher_order", "all ciphers are sound, and a client knows better which one its processor is fast with"),
        ("cert_revocation", "pebble says nothing of that"),
        ("engine_problem", "of the auditor's own, who asks for GOST"),
    ];
    audit(network.command("testssl"), ADDRESS, "https://www.wide.net/", &root, &meant);
}
