//! Real clients ask a real node: dig and kdig, over UDP and TCP, with what they send today.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::zones::{Zones, framed, hear, query, say};
use support::{Over, until};

/// The lines of one section as dig shows it, with single spaces.
fn section(shown: &str, name: &str) -> Vec<String> {
    let lines = shown.lines().skip_while(|line| *line != format!(";; {name} SECTION:")).skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn example() -> Zones {
    let dns = Zones::ready();
    let many = (0..100).map(|at| format!("192.0.2.{at}")).collect::<Vec<_>>().join(" | ");
    dns.zone(
        "example.org",
        &[
            "@ NS ns1.example.org.",
            "@ MX 10 mail",
            "ns1 A 127.0.0.1",
            "mail AAAA 2001:db8::25",
            "www CNAME web",
            "web A 192.0.2.80",
            "*.any TXT \"wild\"",
            "sub NS ns.sub",
            "ns.sub A 192.0.2.66",
            &format!("many A {many}"),
        ],
    );
    dns
}

#[test]
fn dig_and_kdig_over_both_transports() {
    let dns = example();
    for more in [&["+notcp"][..], &["+tcp"], &["+noedns"], &["+nocookie", "+bufsize=512"], &["+dnssec", "+nsid"]] {
        let dig = |name: &str, rtype: &str| dns.dig(&[&[name, rtype, "+norecurse"], more].concat());
        let shown = dig("www.example.org", "A");
        assert!(shown.contains("status: NOERROR") && shown.contains("flags: qr aa;"), "{shown}");
        let expected = ["www.example.org. 300 IN CNAME web.example.org.", "web.example.org. 300 IN A 192.0.2.80"];
        assert_eq!(section(&shown, "ANSWER"), expected, "{shown}");
        assert!(!shown.contains("WARNING") && !shown.contains("Warning"), "{shown}");
        let shown = dig("nothing.example.org", "A");
        assert!(shown.contains("status: NXDOMAIN"), "{shown}");
        assert!(section(&shown, "AUTHORITY")[0].starts_with("example.org. 300 IN SOA "), "{shown}");
        let shown = dig("x.sub.example.org", "A");
        assert!(shown.contains("flags: qr;"), "{shown}");
        assert_eq!(section(&shown, "AUTHORITY"), ["sub.example.org. 300 IN NS ns.sub.example.org."]);
        assert_eq!(section(&shown, "ADDITIONAL"), ["ns.sub.example.org. 300 IN A 192.0.2.66"]);
    }
    for more in [&["+notcp"][..], &["+tcp"], &["+cookie", "+nsid"], &["+edns", "+padding=128"]] {
        let shown = dns.kdig(&[&["q.any.example.org", "TXT"], more].concat());
        assert_eq!(section(&shown, "ANSWER"), ["q.any.example.org. 300 IN TXT \"wild\""], "{shown}");
        assert!(!shown.contains("WARNING"), "{shown}");
    }
}

#[test]
fn what_clients_send_beside_the_question() {
    let dns = example();
    let shown = dns.dig(&["web.example.org", "A", "+nsid"]);
    assert!(shown.contains("NSID: 74 65 73 74 (\"test\")"), "{shown}");
    assert!(shown.contains("(good)"), "the cookie: {shown}");
    assert!(shown.contains("udp: 1232"), "{shown}");
    let shown = dns.dig(&["wEb.exAMPLE.oRg", "A"]);
    assert_eq!(section(&shown, "QUESTION"), [";wEb.exAMPLE.oRg. IN A"]);
    assert_eq!(section(&shown, "ANSWER"), ["wEb.exAMPLE.oRg. 300 IN A 192.0.2.80"]);
    let status = |arguments: &[&str]| {
        let shown = dns.dig(arguments);
        let status = shown.split("status: ").nth(1).unwrap_or_else(|| panic!("{arguments:?}: {shown}"));
        status.split(',').next().unwrap().to_owned()
    };
    assert_eq!(status(&["web.example.org", "+edns=1", "+noednsnegotiation"]), "BADVERS");
    assert_eq!(status(&["version.bind", "CH", "TXT"]), "REFUSED");
    assert_eq!(status(&["example.com", "A"]), "REFUSED");
    assert_eq!(status(&["web.example.org", "+opcode=notify"]), "NOTIMP");
    assert_eq!(status(&["web.example.org", "+opcode=update"]), "NOTIMP");
    assert_eq!(status(&["example.org", "ANY", "+notcp"]), "NOERROR");
    assert!(dns.dig(&["example.org", "AXFR"]).contains("Transfer failed"));
}

#[test]
fn what_does_not_fit_is_asked_again_over_tcp() {
    let dns = example();
    let shown = dns.dig(&["many.example.org", "A", "+ignore"]);
    assert!(shown.contains("flags: qr aa tc rd") && section(&shown, "ANSWER").is_empty(), "{shown}");
    let shown = dns.dig(&["many.example.org", "A"]);
    assert!(shown.contains("(TCP)"), "{shown}");
    assert_eq!(section(&shown, "ANSWER").len(), 100);
    assert!(dns.metric("ruche_dns_truncated_total") >= 2);
    assert!(dns.metric("ruche_dns_answers_total{transport=\"tcp\",rcode=\"NOERROR\"}") >= 1);
    assert!(dns.metric("ruche_dns_queries_total{type=\"A\"}") >= 3);
}

#[test]
fn a_site_is_found_by_its_name() {
    let dns = example();
    let nodes = dns.node.get("/v1/nodes").done().json;
    let name = nodes["items"][0]["name"].as_str().unwrap().to_owned();
    let addresses = json!({"addresses": ["198.51.100.7", "2001:db8::7"]});
    dns.node.ask("PATCH", &format!("/v1/nodes/{name}"), Some(addresses), &[]).done();
    let redirect = json!({"type": "redirect", "to": "https://web.example.org/"});
    let site = json!({"host": "blog.example.org", "aliases": ["web.example.org"], "www": "serve", "handler": redirect});
    let made = dns.node.post("/v1/sites", site).done();
    assert_eq!(made.json["served"], true, "{}", made.text);
    let short = |name: &str, rtype: &str| dns.dig(&[name, rtype, "+short"]).trim().to_owned();
    assert_eq!(short("blog.example.org", "A"), "198.51.100.7");
    assert_eq!(short("www.blog.example.org", "AAAA"), "2001:db8::7");
    assert_eq!(short("web.example.org", "A"), "192.0.2.80", "the zone says where that is");
    dns.node.ask("DELETE", "/v1/sites/blog.example.org", None, &[]).done();
    let gone = dns.dig(&["blog.example.org", "A"]);
    assert!(gone.contains("status: NXDOMAIN"), "{gone}");
}

#[test]
fn many_queries_at_once_on_one_connection() {
    let dns = example();
    let mut stream = dns.tcp();
    // In one piece, more than are answered at a time.
    let asked: Vec<u8> = (0..500).flat_map(|id| framed(&query(id, "many.example.org", 1))).collect();
    let mut writer = stream.try_clone().unwrap();
    let sent = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &asked).unwrap());
    for id in 0..500_u16 {
        let answer = hear(&mut stream);
        assert_eq!((&answer[..2], answer[7]), (&id.to_be_bytes()[..], 100));
    }
    sent.join().unwrap();
    // Octet by octet.
    for octet in framed(&query(7, "web.example.org", 1)) {
        std::io::Write::write_all(&mut stream, &[octet]).unwrap();
    }
    assert_eq!(hear(&mut stream)[7], 1);
}

#[test]
fn a_thousand_changes_while_everybody_asks() {
    let dns = example();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let socket = dns.udp();
                    let (mut asked, mut answer) = (0_u64, [0; 1500]);
                    while !done.load(Ordering::Relaxed) {
                        socket.send(&query(asked as u16, "web.example.org", 1)).unwrap();
                        let len = socket.recv(&mut answer).expect("no query is lost on the way");
                        assert_eq!((len, answer[3] & 15, answer[7]), (49, 0, 1));
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        let over = Over(&done);
        let serial = |dns: &Zones| -> u32 {
            let soa = dns.dig(&["example.org", "SOA", "+short"]);
            soa.split_whitespace().nth(2).unwrap().parse().unwrap()
        };
        let before = serial(&dns);
        for number in 0..1000 {
            dns.set("example.org", &format!("counter TXT \"{number}\""));
            if number % 50 == 0 {
                // Served means served: whoever asks now gets it.
                let answer = dns.ask(&query(number, "counter.example.org", 16));
                assert!(answer.ends_with(format!("{}{number}", number.to_string().len() as u8 as char).as_bytes()));
            }
        }
        assert!(serial(&dns).wrapping_sub(before) >= 1000, "each change moved the serial");
        drop(over);
        for asker in askers {
            assert!(asker.join().unwrap() > 0);
        }
    });
}

#[test]
fn an_answer_comes_from_where_it_was_asked() {
    let dns = Zones::listening("\"0.0.0.0:0\", \"[::]:0\"");
    dns.zone("example.org", &["@ A 192.0.2.1"]);
    let listens = dns.listens();
    assert_eq!(listens.len(), 2);
    for (local, host) in [("127.0.0.1:0", "127.0.0.77"), ("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let port = listens.iter().find(|one| one.is_ipv6() == host.contains(':')).unwrap().port();
        let server = SocketAddr::new(host.parse().unwrap(), port);
        let socket = UdpSocket::bind(local).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.send_to(&query(1, "example.org", 1), server).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 512]).unwrap();
        assert_eq!(from, server);
    }
}

#[test]
fn a_port_that_is_taken_is_said_and_had_when_it_is_free() {
    for udp in [true, false] {
        let (taken, listener) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let address = if udp { taken.local_addr() } else { listener.local_addr() }.unwrap();
        let mut dns = Zones::listening(&format!("\"{address}\""));
        assert_eq!(dns.listens(), []);
        let entry = || {
            let status = dns.node.get("/v1/status").done().json;
            let entries = status["board"].as_array().unwrap().clone();
            entries.into_iter().find(|entry| entry["name"] == *format!("dns.listen {address}"))
        };
        let said = entry().expect("the board has an entry for it");
        assert!(said["text"].as_str().unwrap().contains("address in use"), "{said}");
        drop((taken, listener));
        until(30, "the port is listened on", || dns.listens().first().copied());
        assert_eq!(entry(), None);
        dns.learn();
        assert_eq!(dns.at, address);
        dns.zone("example.org", &["@ A 192.0.2.1"]);
        dns.is_well("example.org");
    }
}

#[test]
fn a_stop_frees_the_port_and_a_restart_answers_there() {
    let mut dns = example();
    let at = dns.at;
    let config = fs::read_to_string(dns.node.config()).unwrap();
    fs::write(dns.node.config(), config.replace("127.0.0.1:0\"]\n[ftp]", &format!("{at}\"]\n[ftp]"))).unwrap();
    let mut idle = dns.tcp();
    say(&mut idle, &query(1, "web.example.org", 1));
    hear(&mut idle);
    for _ in 0..2 {
        dns.node.restart();
        dns.learn();
        assert_eq!(dns.at, at);
        dns.is_well("web.example.org");
    }
    dns.node.signal(Signal::TERM);
    until(30, "the port is free", || UdpSocket::bind(at).ok());
    until(30, "the port is free for TCP too", || TcpListener::bind(at).ok());
    assert!(dns.node.wait_end(60).success());
}
