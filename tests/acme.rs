//! Certificates from an issuer as others wrote one, in a network where the node is everybody's DNS.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use support::issuer::{ADDRESS, FOR_CERTBOT, Network, Pebble, Stub, planned, until_planned, wait};
use support::node::Node;

const HALF: &[(&str, &str)] = &[("PEBBLE_WFE_NONCEREJECT", "50")];

fn site(node: &Node, host: &str) {
    assert_eq!(node.post("/v1/sites", json!({"host": host, "handler": {"type": "static"}})).status, 201);
}

fn site_of(node: &Node, host: &str, issuer: &str) {
    let body = json!({"host": host, "issuer": issuer, "handler": {"type": "static"}});
    assert_eq!(node.post("/v1/sites", body).status, 201);
}

/// Nobody else is asked in this network.
fn alone(node: &Node) {
    assert_eq!(node.ask("PATCH", "/v1/issuers/letsencrypt", Some(json!({"standing": "by-name"})), &[]).status, 200);
}

fn of(node: &Node, host: &str) -> Vec<Value> {
    let all = node.get(&format!("/v1/certificates?host={host}")).json["items"].as_array().unwrap().clone();
    all.into_iter().filter(|one| one["issuer"] != "internal").collect()
}

fn events(node: &Node, action: &str) -> usize {
    let all = node.get("/v1/events?limit=500").json["items"].as_array().unwrap().clone();
    all.iter().filter(|event| event["action"] == action).count()
}

#[test]
fn a_site_gets_its_certificate_by_itself() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, HALF);
    let root = pebble.root(&network);
    pebble.prefer(&node, false);
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "good");
    // No page is there; the certificate is what counts.
    assert_eq!(network.curl(&root, "https://www.wide.net/").as_deref(), Some("404"), "{}", node.log());
    let first = of(&node, "www.wide.net");
    assert_eq!((first.len(), first[0]["issuer"].as_str()), (1, Some("pebble")));
    for version in ["-tls1_2", "-tls1_3"] {
        let target = format!("{ADDRESS}:443");
        let mut client = network.command("openssl");
        client.args(["s_client", "-connect", &target, "-servername", "www.wide.net", version, "-verify_return_error"]);
        let out = client.arg("-CAfile").arg(&root).stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains(" 1 s:"), "the chain is whole: {said}");
    }
    // A name of nobody is still refused, also under a wildcard.
    assert_eq!(node.post("/v1/certificates", json!({"names": ["*.wide.net", "wide.net"]})).status, 201);
    until_planned(&node, "*.wide.net", "good");
    assert_eq!(network.curl(&root, "https://mail.wide.net/"), None);
    let records = node.get("/v1/zones/wide.net/records").text;
    assert!(!records.contains("_acme-challenge"), "the challenge's record is gone");
    // What is covered is not ordered.
    let orders = events(&node, "order.reserve");
    site(&node, "more.wide.net");
    until_planned(&node, "more.wide.net", "good");
    assert_eq!(network.curl(&root, "https://more.wide.net/").as_deref(), Some("404"));
    assert_eq!(events(&node, "order.reserve"), orders);
    // Renewed when asked, in place of the old one.
    assert_eq!(node.post("/v1/certificates/renew", json!({"names": ["www.wide.net"]})).status, 202);
    wait("it is another one", || {
        let now: Vec<_> =
            of(&node, "www.wide.net").into_iter().filter(|one| one["names"][0] == "www.wide.net").collect();
        now.len() == 1 && now[0]["id"] != first[0]["id"]
    });
    assert_eq!(network.curl(&root, "https://www.wide.net/").as_deref(), Some("404"));
}

#[test]
fn a_node_without_port_80_proves_its_names_by_tls() {
    let network = Network::new();
    let node = network.node(false);
    let pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    // Its zone is here, so DNS would do as well: the first way that can work is taken.
    site(&node, "www.other.net");
    until_planned(&node, "www.other.net", "good");
    assert_eq!((events(&node, "order.reserve"), events(&node, "order.failed")), (1, 0), "{}", pebble.log());
    assert_eq!(network.curl(&pebble.root(&network), "https://www.other.net/").as_deref(), Some("404"));
}

#[test]
fn an_order_that_was_left_half_done_is_gone_on_with() {
    let network = Network::new();
    let mut node = network.node(true);
    let pebble = Pebble::new(&network, false, HALF);
    pebble.prefer(&node, false);
    site(&node, "www.wide.net");
    wait("an order is under way", || events(&node, "order.reserve") == 1);
    kill_process(pebble.pid(), Signal::STOP).unwrap();
    node.kill();
    node.start();
    kill_process(pebble.pid(), Signal::CONT).unwrap();
    until_planned(&node, "www.wide.net", "good");
    assert_eq!(events(&node, "order.reserve"), 1, "one order, also over a restart");
    assert_eq!(network.curl(&pebble.root(&network), "https://www.wide.net/").as_deref(), Some("404"));
}

#[test]
fn an_issuer_that_is_away_is_waited_for() {
    let network = Network::new();
    let node = network.node(true);
    let mut pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    alone(&node);
    pebble.stop();
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "wait");
    let reason = planned(&node, "www.wide.net")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("failed to read the issuer's directory: reach https://127.0.0.1:14000"), "{reason}");
    assert_eq!(events(&node, "order.reserve"), 0, "nothing is reserved with an issuer that does not answer");
    // Meanwhile visitors get the internal one.
    assert_eq!(node.get("/v1/certificates?host=www.wide.net").json["items"][0]["issuer"], "internal");
    pebble.start(&network);
    until_planned(&node, "www.wide.net", "good");
}

#[test]
fn a_name_that_leads_elsewhere_is_told_and_not_ordered() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    let lost = json!({"ttl": 60, "values": ["127.0.0.2"]});
    assert_eq!(node.ask("PUT", "/v1/zones/wide.net/records/lost/A", Some(lost), &[]).status, 200);
    let wanted = json!({"host": "www.wide.net", "aliases": ["nowhere.example.org"], "handler": {"type": "static"}});
    assert_eq!(node.post("/v1/sites", wanted).status, 201);
    wait("one has it, the other has a reason", || {
        of(&node, "www.wide.net").len() == 1 && planned(&node, "www.wide.net")["step"] == "blocked"
    });
    let reason = planned(&node, "www.wide.net")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("nowhere.example.org"), "{reason}");
    assert_eq!(of(&node, "www.wide.net")[0]["names"], json!(["www.wide.net"]));
    // A zone that comes, or is mended, ends the pause: nobody waits for a minute.
    wait("it is left alone for a minute", || {
        let at = planned(&node, "www.wide.net")["at"].as_str().map(|at| at.parse::<jiff::Timestamp>().unwrap());
        at.is_some_and(|at| at.duration_since(jiff::Timestamp::now()).as_secs() > 40)
    });
    let begun = std::time::Instant::now();
    let zone = json!({"name": "example.org", "nameservers": ["ns.wide.net"]});
    assert_eq!(node.post("/v1/zones", zone).status, 201);
    let here = json!({"ttl": 60, "values": [ADDRESS]});
    assert_eq!(node.ask("PUT", "/v1/zones/example.org/records/nowhere/A", Some(here), &[]).status, 200);
    until_planned(&node, "nowhere.example.org", "good");
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn an_issuer_with_a_contract_gets_a_key_of_its_own() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, true, HALF);
    pebble.prefer(&node, true);
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "good");
    let issuer = node.get("/v1/issuers/pebble").json;
    assert!(issuer["account"].is_string() && issuer["eab_kid"] == "kid-1", "{issuer}");
    let before = issuer["thumbprint"].clone();
    // Another key, and the account goes on.
    assert_eq!(node.ask("PATCH", "/v1/issuers/pebble", Some(json!({"task": "rollover"})), &[]).status, 200);
    wait("the account has another key", || {
        let issuer = node.get("/v1/issuers/pebble").json;
        issuer["task"].is_null() && issuer["thumbprint"] != before && issuer["account"].is_string()
    });
    // It hears whom it may write to now.
    let set = json!({"contacts": ["hostmaster@example.org"]});
    let set = node.ask("PATCH", "/v1/issuers/pebble", Some(set), &[]);
    assert_eq!(set.status, 200, "{}", set.text);
    wait("it is told", || {
        node.log().contains("it was told whom to write to") && node.get("/v1/issuers/pebble").json["task"].is_null()
    });
    site(&node, "two.wide.net");
    until_planned(&node, "two.wide.net", "good");
    assert_eq!(node.ask("PATCH", "/v1/issuers/pebble", Some(json!({"task": "deactivate"})), &[]).status, 200);
    wait("the account is gone", || node.get("/v1/issuers/pebble").json["account"].is_null());
}

#[test]
fn a_key_is_changed_between_orders() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, &[("PEBBLE_VA_NOSLEEP", "0"), ("PEBBLE_VA_SLEEPTIME", "20")]);
    pebble.prefer(&node, false);
    site(&node, "www.wide.net");
    wait("the issuer validates", || events(&node, "order.place") == 2);
    let before = node.get("/v1/issuers/pebble").json["thumbprint"].clone();
    assert_eq!(node.ask("PATCH", "/v1/issuers/pebble", Some(json!({"task": "rollover"})), &[]).status, 200);
    site(&node, "two.wide.net");
    until_planned(&node, "www.wide.net", "good");
    until_planned(&node, "two.wide.net", "good");
    let issuer = node.get("/v1/issuers/pebble").json;
    assert!(issuer["task"].is_null() && issuer["thumbprint"] != before, "{issuer}");
    let log = node.log();
    let at = |line: &str| log.find(line).unwrap_or_else(|| panic!("{line}: {log}"));
    assert!(at("names=\"www.wide.net\"") < at("the account was changed"), "the order ended first: {log}");
    assert!(at("the account was changed") < at("names=\"two.wide.net\""), "and the next one waited: {log}");
    assert_eq!(events(&node, "order.reserve"), 2, "none failed: {log}");
}

/// Nothing but the end of its trouble makes this node try again.
#[test]
fn an_issuer_that_was_away_is_told_of_new_contacts_when_it_is_back() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "good");
    let nft = |script: &str| assert!(network.command("nft").arg(script).status().unwrap().success(), "{script}");
    nft(
        "add table ip away; add chain ip away out { type filter hook output priority 0; }; add rule ip away out tcp dport 14000 reject with tcp reset",
    );
    let set = json!({"contacts": ["hostmaster@example.org"]});
    assert_eq!(node.ask("PATCH", "/v1/issuers/pebble", Some(set), &[]).status, 200);
    wait("it cannot be told", || node.log().contains("it is asked again in a while: failed to"));
    assert_eq!(node.get("/v1/issuers/pebble").json["task"], "contacts");
    nft("delete table ip away");
    support::until(150, "it is told", || {
        let told = node.log().contains("it was told whom to write to");
        (told && node.get("/v1/issuers/pebble").json["task"].is_null()).then_some(())
    });
}

#[test]
fn an_issuer_says_when_to_renew_and_by_which_name_records_know_it() {
    let network = Network::new();
    let mut node = network.node(true);
    let pebble = Pebble::new(&network, false, FOR_CERTBOT);
    let stub = Stub::beside(&network, &pebble);
    stub.issuer(&node, "stub", "ari/dir");
    let caa = |node: &Node, zone: &str, of: &str| {
        let set = json!({"ttl": 60, "values": [format!("0 issue \"{of}\"")]});
        assert_eq!(node.ask("PUT", &format!("/v1/zones/{zone}/records/@/CAA"), Some(set), &[]).status, 200);
    };
    // Nobody in this network knows what stands at `net`.
    caa(&node, "wide.net", "stub.test");
    site_of(&node, "www.wide.net", "stub");
    let in_two_months = |node: &Node| {
        let at = planned(node, "www.wide.net")["at"].as_str().map(|at| at.parse::<jiff::Timestamp>().unwrap());
        at.is_some_and(|at| (59..=60).contains(&(at.duration_since(jiff::Timestamp::now()).as_hours() / 24)))
    };
    wait("it was asked when", || in_two_months(&node));
    let first = of(&node, "www.wide.net")[0].clone();
    // Whoever has the key may revoke it (RFC 8555 section 7.6).
    let pair = node.get(&format!("/v1/certificates/{}/export", first["id"].as_str().unwrap())).json;
    for (file, text) in [("chain", &pair["chain"]), ("key", &pair["key"])] {
        std::fs::write(network.path(file), text.as_str().unwrap()).unwrap();
    }
    let mut certbot = network.command("certbot");
    certbot.args(["revoke", "-n", "--no-delete-after-revoke", "--server", "https://127.0.0.1:14000/dir"]);
    for (option, file) in [
        ("--cert-path", "chain"),
        ("--key-path", "key"),
        ("--config-dir", "c"),
        ("--work-dir", "w"),
        ("--logs-dir", "l"),
    ] {
        certbot.arg(option).arg(network.path(file));
    }
    let revoked = certbot.env("REQUESTS_CA_BUNDLE", pebble.ca_file()).output().unwrap();
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    // It is asked about every few hours, and by whoever comes to lead.
    node.restart();
    wait("it was replaced", || {
        let held = of(&node, "www.wide.net");
        held.len() == 1 && held[0]["id"] != first["id"] && planned(&node, "www.wide.net")["step"] == "good"
    });
    wait("it was asked about the next one, too", || in_two_months(&node));
    assert_eq!(events(&node, "order.reserve"), 2);
    // Whom the records forbid is not asked, and is asked as soon as they are mended and somebody says so.
    caa(&node, "other.net", "else.test");
    site_of(&node, "www.other.net", "stub");
    until_planned(&node, "www.other.net", "blocked");
    let reason = planned(&node, "www.other.net")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("CAA") && reason.contains("other.net"), "{reason}");
    caa(&node, "other.net", "stub.test");
    assert_eq!(node.post("/v1/certificates/renew", json!({"names": ["www.other.net"]})).status, 202);
    until_planned(&node, "www.other.net", "good");
}

#[test]
fn issuers_that_mean_harm_are_left_alone_and_hold_nobody_up() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, &[]);
    let stub = Stub::beside(&network, &pebble);
    alone(&node);
    let harms = ["garbage", "endless", "broken", "nonce", "reset", "hang"];
    for harm in harms {
        for (issuer, path) in
            [(format!("{harm}-0"), format!("{harm}/at-once")), (format!("{harm}-1"), format!("{harm}/dir"))]
        {
            stub.issuer(&node, &issuer, &path);
            site_of(&node, &format!("{issuer}.wide.net"), &issuer);
        }
    }
    stub.issuer(&node, "later", "later/dir");
    site_of(&node, "later.wide.net", "later");
    // One that has stopped answering has work for all places, and gets half of them.
    for number in 0..10 {
        site_of(&node, &format!("n{number}.wide.net"), "hang-0");
    }
    until_planned(&node, "later.wide.net", "wait");
    let later = planned(&node, "later.wide.net");
    let until = later["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let left = until.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((7000..=7200).contains(&left), "it is asked again when it said: {later}");
    for harm in harms.iter().filter(|harm| **harm != "hang") {
        for which in 0..2 {
            until_planned(&node, &format!("{harm}-{which}.wide.net"), "wait");
        }
    }
    let begun = std::time::Instant::now();
    pebble.prefer(&node, false);
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "good");
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(25),
        "it did not wait for the others: {:?}",
        begun.elapsed()
    );
    assert_eq!(network.curl(&pebble.root(&network), "https://www.wide.net/").as_deref(), Some("404"));
    assert_eq!(events(&node, "order.reserve"), 1, "nothing was reserved with those");
}

#[test]
fn an_account_whose_new_key_was_lost_is_made_anew() {
    let network = Network::new();
    let mut node = network.node(true);
    let pebble = Pebble::new(&network, false, &[]);
    pebble.prefer(&node, false);
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "good");
    let account = node.get("/v1/issuers/pebble").json["account"].clone();
    let rollover = |node: &Node| {
        assert_eq!(node.ask("PATCH", "/v1/issuers/pebble", Some(json!({"task": "rollover"})), &[]).status, 200);
    };
    // The issuer says yes, and what we wrote of it is lost.
    assert!(node.term().success());
    let kept = node.path("kept");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    copy(&node.data, &kept);
    node.start();
    rollover(&node);
    wait("the account has another key", || node.get("/v1/issuers/pebble").json["task"].is_null());
    node.kill();
    std::fs::remove_dir_all(&node.data).unwrap();
    copy(&kept, &node.data);
    node.start();
    rollover(&node);
    wait("the account is given up", || node.get("/v1/issuers/pebble").json["account"].is_null());
    site(&node, "two.wide.net");
    until_planned(&node, "two.wide.net", "good");
    assert_ne!(node.get("/v1/issuers/pebble").json["account"], account);
}

#[test]
fn the_certificate_of_a_challenge_is_for_validators_alone() {
    let network = Network::new();
    let node = network.node(false);
    // It validates some time in the next hour.
    let pebble = Pebble::new(&network, false, &[("PEBBLE_VA_NOSLEEP", "0"), ("PEBBLE_VA_SLEEPTIME", "3600")]);
    pebble.prefer(&node, false);
    for host in ["www.other.net", "test.other.net"] {
        let internal = json!({"host": host, "issuer": "internal", "handler": {"type": "static"}});
        assert_eq!(node.post("/v1/sites", internal).status, 201);
    }
    let set = json!({"issuer": null});
    assert_eq!(node.ask("PATCH", "/v1/sites/www.other.net", Some(set), &[]).status, 200);
    // What was agreed on, and whether the certificate says which challenge it answers (RFC 8737 section 3).
    let shown = |name: &str, protocols: Option<&str>| {
        let script = "openssl s_client -connect \"$0\" -servername \"$1\" ${2:+-alpn \"$2\"} </dev/null 2>/dev/null | tee \"$3\" | openssl x509 -noout -text
            grep ALPN \"$3\"";
        let mut shell = network.command("sh");
        shell.args(["-c", script, &format!("{ADDRESS}:443"), name, protocols.unwrap_or("")]).arg(node.path("said"));
        let said = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        let protocol = said.lines().find_map(|line| line.strip_prefix("ALPN protocol: ")).map(str::to_owned);
        (protocol, said.contains("Subject:") || said.contains("Issuer:"), said.contains("1.3.6.1.5.5.7.1.31"))
    };
    let validator = (Some("acme-tls/1".to_owned()), true, true);
    wait("a challenge is answered", || shown("www.other.net", Some("acme-tls/1")) == validator);
    assert_eq!(shown("www.other.net", Some("acme-tls/1,http/1.1")), (Some("http/1.1".to_owned()), true, false));
    assert_eq!(shown("www.other.net", Some("http/1.1")), (Some("http/1.1".to_owned()), true, false));
    assert_eq!(shown("www.other.net", None), (None, true, false));
    // Where nothing is to be proved a validator gets nothing.
    assert_eq!(shown("test.other.net", Some("acme-tls/1")), (None, false, false));
    assert_eq!(shown("test.other.net", None), (None, true, false));
}
/// One connection of a visitor over HTTPS, asked again whenever told; python keeps it, so that it is nobody's of ours.
struct Visitor(std::process::Child, std::io::BufReader<std::process::ChildStdout>);

impl Visitor {
    fn enter(network: &Network, host: &str) -> Self {
        let script = "
import http.client, ssl, sys
c = http.client.HTTPSConnection(sys.argv[1], 443, context=ssl._create_unverified_context()); c.connect(); s = c.sock
for line in sys.stdin:
    c.request('GET', '/', headers={'Host': sys.argv[2]}); a = c.getresponse(); a.read()
    print(a.status if c.sock is s else 'another connection', flush=True)";
        let mut python = network.command("python3");
        python
            .args(["-c", script, host, host])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped());
        let mut child = python.spawn().unwrap();
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        Self(child, out)
    }

    fn ask(&mut self) -> String {
        use std::io::{BufRead, Write};
        writeln!(self.0.stdin.as_mut().unwrap()).unwrap();
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_runs_out_is_renewed_in_time_and_nobody_is_disturbed() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::lasting(&network, 60, &[]);
    pebble.prefer(&node, false);
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "good");
    let first = of(&node, "www.wide.net")[0].clone();
    let mut visitor = Visitor::enter(&network, "www.wide.net");
    assert_eq!(visitor.ask(), "404");
    let ends = first["not_after"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    wait("another one came by itself", || {
        // At every moment there is one that is good, and the connection that was there stays.
        assert_eq!(visitor.ask(), "404");
        assert!(network.curl(&pebble.root(&network), "https://www.wide.net/").is_some(), "{}", node.log());
        of(&node, "www.wide.net").iter().all(|one| one["id"] != first["id"])
    });
    assert!(jiff::Timestamp::now() < ends, "before the first one ended");
    assert_eq!((visitor.ask().as_str(), events(&node, "order.reserve")), ("404", 2));
}

#[test]
fn a_clock_that_is_a_year_off_orders_nothing_and_leaves_nothing_behind() {
    let network = Network::new();
    let mut node = network.node(true);
    let pebble = Pebble::lasting(&network, 90 * 24 * 3600, &[]);
    pebble.prefer(&node, false);
    alone(&node);
    for host in ["www.wide.net", "two.wide.net"] {
        site(&node, host);
        until_planned(&node, host, "good");
    }
    assert!(node.term().success());
    // `faketime` is a parent that passes no signals on; what it would have set does without.
    let script = "printf %s \"$LD_PRELOAD\"";
    let set = std::process::Command::new("faketime").args(["-f", "+400d", "sh", "-c", script]).output().unwrap();
    for (name, value) in [
        ("LD_PRELOAD", &*String::from_utf8(set.stdout).unwrap()),
        ("FAKETIME", "+400d"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        node.env.push((name.to_owned(), value.to_owned()));
    }
    node.start();
    assert_eq!(node.post("/v1/accounts", json!({"name": "later"})).status, 201);
    until_planned(&node, "www.wide.net", "wait");
    let reason = planned(&node, "www.wide.net")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("this machine's clock is 9600 hours away"), "{reason}");
    assert_eq!(events(&node, "order.reserve"), 2);
    // By that clock they have ended, and that is said: once each, and for as long as it is so.
    wait("it is said", || events(&node, "certificate.ending") == 2);
    assert!(node.get("/metrics").text.contains("ruche_certificates_ending 2"));
    assert!(node.get("/v1/status").text.contains("2 end soon without another one, first that of www.wide.net"));
    assert!(node.term().success());
    node.env.clear();
    node.start();
    until_planned(&node, "www.wide.net", "good");
    assert!(node.get("/metrics").text.contains("ruche_certificates_ending 0"));
    assert_eq!((events(&node, "order.reserve"), events(&node, "certificate.ending")), (2, 2));
    // What was written meanwhile bears a time to come; the issuer's limits are counted by the issuer's clock.
    for number in 0..3 {
        assert_eq!(node.post("/v1/certificates/renew", json!({"names": ["www.wide.net"]})).status, 202);
        wait("it was renewed", || events(&node, "order.issued") == 3 + number);
    }
    site(&node, "more.wide.net");
    until_planned(&node, "more.wide.net", "good");
}

#[test]
fn an_issuer_that_freezes_in_the_middle_of_an_order_costs_no_visitor_anything() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, &[("PEBBLE_VA_NOSLEEP", "0"), ("PEBBLE_VA_SLEEPTIME", "4")]);
    pebble.prefer(&node, false);
    alone(&node);
    site(&node, "www.wide.net");
    wait("the order is placed", || events(&node, "order.place") > 0);
    kill_process(pebble.pid(), Signal::STOP).unwrap();
    let begun = std::time::Instant::now();
    let mut visitor = Visitor::enter(&network, "www.wide.net");
    let mut given_up = false;
    // Longer than one answer is waited for; what was given up is tried again after ten seconds.
    while begun.elapsed() < std::time::Duration::from_secs(40) {
        let asked = std::time::Instant::now();
        assert_eq!(visitor.ask(), "404");
        assert!(asked.elapsed() < std::time::Duration::from_secs(10), "{:?}", asked.elapsed());
        given_up |= planned(&node, "www.wide.net")["step"] == "wait";
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(given_up, "{}", planned(&node, "www.wide.net"));
    kill_process(pebble.pid(), Signal::CONT).unwrap();
    support::until(120, "it is had in the end", || (planned(&node, "www.wide.net")["step"] == "good").then_some(()));
}

#[test]
fn an_issuer_that_fails_is_followed_by_the_next_one() {
    let network = Network::new();
    let node = network.node(true);
    let pebble = Pebble::new(&network, false, &[("PEBBLE_AUTHZREUSE", "0")]);
    let stub = Stub::beside(&network, &pebble);
    pebble.prefer(&node, false);
    stub.issuer(&node, "broken", "broken/dir");
    assert_eq!(node.ask("PATCH", "/v1/issuers/broken", Some(json!({"standing": "first"})), &[]).status, 200);
    site(&node, "www.wide.net");
    until_planned(&node, "www.wide.net", "good");
    assert_eq!(of(&node, "www.wide.net")[0]["issuer"], "pebble");
    // A challenge's name that is an alias into another zone of ours is followed there.
    let alias = json!({"ttl": 60, "values": ["proofs.other.net."]});
    assert_eq!(node.ask("PUT", "/v1/zones/wide.net/records/_acme-challenge.a/CNAME", Some(alias), &[]).status, 200);
    assert_eq!(node.post("/v1/certificates", json!({"names": ["*.a.wide.net"]})).status, 201);
    until_planned(&node, "*.a.wide.net", "good");
    assert!(!node.get("/v1/zones/other.net/records").text.contains("proofs"));
}

#[test]
fn what_was_proved_before_is_proved_anew_and_waited_for() {
    let network = Network::new();
    let node = network.node(true);
    // Pending for up to two seconds.
    let slow = [("PEBBLE_AUTHZREUSE", "0"), ("PEBBLE_VA_NOSLEEP", "0"), ("PEBBLE_VA_SLEEPTIME", "3")];
    let pebble = Pebble::new(&network, false, &[&slow[..], HALF, &[("PEBBLE_CHAIN_LENGTH", "3")]].concat());
    pebble.prefer(&node, false);
    for number in 1..=2 {
        match number {
            1 => site(&node, "www.wide.net"),
            _ => {
                let names = json!({"names": ["www.wide.net"]});
                assert_eq!(node.post("/v1/certificates/renew", names).status, 202);
            }
        }
        wait("it is issued", || events(&node, "order.issued") == number);
        until_planned(&node, "www.wide.net", "good");
    }
    assert_eq!((events(&node, "order.reserve"), events(&node, "order.failed")), (2, 0), "{}", pebble.log());
    let mut client = network.command("openssl");
    client.args(["s_client", "-connect", &format!("{ADDRESS}:443"), "-servername", "www.wide.net", "-showcerts"]);
    let said = client.stdin(std::process::Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&said.stdout).matches("BEGIN CERTIFICATE").count();
    let issued = of(&node, "www.wide.net")[0]["chain"].as_str().unwrap().matches("BEGIN CERTIFICATE").count();
    assert!(shown == issued && issued >= 3, "the chain is whole: {shown} of {issued}");
    assert_eq!(network.curl(&pebble.root(&network), "https://www.wide.net/").as_deref(), Some("404"));
}
