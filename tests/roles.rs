//! What a node does is decided in the state: a role that is taken away closes its listeners at once, one that is given opens them, and
//! nobody who is served is cut off. DNS follows.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::cluster::{self, ruche, token};
use support::node::Node;
use support::until;

/// Addresses that nobody has just now, for UDP and TCP alike.
fn free() -> SocketAddr {
    until(20, "a port is free", || {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        UdpSocket::bind(tcp).is_ok().then_some(tcp)
    })
}

/// A node with all planes: where HTTP, FTP and DNS are asked.
fn node(name: &str) -> (Node, [SocketAddr; 3]) {
    let node = cluster::node(name);
    let at @ [http, ftp, dns] = [free(), free(), free()];
    let config = fs::read_to_string(node.config()).unwrap();
    let config = config
        .replace("[web]\nhttp = []", &format!("[web]\nhttp = [\"{http}\"]"))
        .replace("[ftp]\nlisten = []", &format!("[ftp]\nlisten = [\"{ftp}\"]"))
        .replace("[dns]\nlisten = []", &format!("[dns]\nlisten = [\"{dns}\"]"));
    fs::write(node.config(), config).unwrap();
    (node, at)
}

fn is_open(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_ok()
}

/// What DNS says; nothing where nobody is.
fn dig(at: SocketAddr, name: &str) -> Option<String> {
    let port = at.port().to_string();
    let all = ["+short", "+tries=1", "+time=2", "-p", &port, &format!("@{}", at.ip()), name, "A"];
    let output = Command::new("dig").args(all).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

fn listeners(node: &Node) -> Vec<String> {
    let status = node.get("/v1/status").done().json;
    let all = status["listening"].as_array().unwrap().iter();
    let mut names: Vec<String> = all.map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    names.retain(|name| !name.starts_with("admin") && !name.starts_with("cluster"));
    names.sort();
    names
}

fn say(stream: &mut TcpStream, what: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(what.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[test]
fn roles_open_and_close_listeners_and_cut_nobody_off() {
    let (mut node, [http, ftp, dns]) = node("pi-0");
    node.start();
    node.post("/v1/zones", json!({"name": "z.example"})).done();
    let value = json!({"ttl": 60, "values": ["192.0.2.7"]});
    node.ask("PUT", "/v1/zones/z.example/records/@/A", Some(value), &[]).done();
    assert_eq!(listeners(&node), ["dns.listen", "ftp.listen", "web.http"]);
    let get = "GET /here HTTP/1.1\r\nHost: nobody.example\r\n\r\n";
    let (mut visitor, mut client) = (TcpStream::connect(http).unwrap(), TcpStream::connect(ftp).unwrap());
    assert!(say(&mut visitor, get).starts_with("HTTP/1.1 404 "));
    assert!(say(&mut client, "").starts_with("220 "));
    for _ in 0..2 {
        ruche(&node, &["node", "set", "pi-0", "--role", "control"]).unwrap();
        until(20, "all is closed", || [http, ftp, dns].into_iter().all(|at| !is_open(at)).then_some(()));
        until(20, "nobody answers", || dig(dns, "z.example").is_none().then_some(()));
        assert_eq!(listeners(&node), Vec::<String>::new());
        UdpSocket::bind(dns).unwrap();
        // Who was there stays.
        assert!(say(&mut visitor, get).starts_with("HTTP/1.1 404 "));
        assert!(say(&mut client, "NOOP\r\n").starts_with("200 "));
        ruche(&node, &["node", "set", "pi-0", "--role", "web,dns"]).unwrap();
        until(20, "it answers", || (dig(dns, "z.example")? == "192.0.2.7").then_some(()));
        until(20, "it is open", || is_open(http).then_some(()));
        assert!(!is_open(ftp));
        assert_eq!(listeners(&node), ["dns.listen", "web.http"]);
    }
    assert!(say(&mut TcpStream::connect(http).unwrap(), get).starts_with("HTTP/1.1 404 "));
    // It is so after a start too.
    node.restart();
    assert_eq!(listeners(&node), ["dns.listen", "web.http"]);
    assert!(!is_open(ftp) && is_open(http));
    ruche(&node, &["node", "set", "pi-0", "--role", "web,dns,ftp,control"]).unwrap();
    until(20, "it is open", || is_open(ftp).then_some(()));
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[test]
fn dns_names_who_takes_visitors() {
    let ((mut home, [.., dns]), (mut other, [.., also])) = (node("pi-0"), node("pi-1"));
    home.start();
    other.start();
    ruche(&other, &["cluster", "join", &token(&home)]).unwrap();
    ruche(&home, &["node", "set", "pi-0", "--address", "192.0.2.1"]).unwrap();
    ruche(&home, &["node", "set", "pi-1", "--address", "192.0.2.2"]).unwrap();
    home.post("/v1/zones", json!({"name": "z.example"})).done();
    let site = json!({"host": "www.z.example", "handler": {"type": "static"}, "node": "pi-0"});
    home.post("/v1/sites", site).done();
    let says = |wanted: &str| {
        for at in [dns, also] {
            until(20, wanted, || (dig(at, "www.z.example")? == wanted).then_some(()));
        }
    };
    says("192.0.2.1");
    ruche(&other, &["node", "set", "pi-0", "--role", "dns,ftp"]).unwrap();
    says("192.0.2.2");
    // Never none.
    ruche(&other, &["node", "set", "pi-1", "--role", "dns"]).unwrap();
    ruche(&other, &["node", "set", "pi-0", "--role", "dns,web"]).unwrap();
    says("192.0.2.1");
}

/// A node without `[web]` addresses has the role and takes no visitors: no site is placed there, and DNS names the others.
#[test]
fn who_listens_for_no_visitors_is_no_home() {
    let ((mut home, [.., dns]), (mut deaf, [http, ..])) = (node("pi-0"), node("pi-1"));
    let config = fs::read_to_string(deaf.config()).unwrap();
    fs::write(deaf.config(), config.replace(&format!("http = [\"{http}\"]"), "http = []")).unwrap();
    home.start();
    deaf.start();
    ruche(&deaf, &["cluster", "join", &token(&home)]).unwrap();
    until(20, "it has said so", || {
        ruche(&home, &["node", "show", "pi-1"]).unwrap().contains("no address").then_some(())
    });
    for name in ["pi-0", "pi-1"] {
        let last = name.replace("pi-", "192.0.2.1");
        ruche(&home, &["node", "set", name, "--address", &last]).unwrap();
    }
    home.post("/v1/zones", json!({"name": "z.example"})).done();
    let site = |host: &str, more: serde_json::Value| {
        let mut site = json!({"host": host, "handler": {"type": "static"}});
        site.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        deaf.post("/v1/sites", site)
    };
    let refused = site("a.z.example", json!({"node": "pi-1"}));
    assert_eq!((refused.status, refused.code()), (422, "invalid"), "{}", refused.text);
    assert!(refused.text.contains("pi-1 listens for no visitors"), "{}", refused.text);
    for host in ["a.z.example", "b.z.example", "c.z.example"] {
        assert_eq!(site(host, json!({})).done().json["node"], "pi-0");
    }
    let refused = ruche(&home, &["site", "move", "a.z.example", "--to", "pi-1"]).unwrap_err();
    assert!(refused.contains("pi-1 listens for no visitors"), "{refused}");
    until(20, "the home alone", || (dig(dns, "b.z.example")? == "192.0.2.10").then_some(()));
    // Even where the home takes none for now.
    ruche(&home, &["node", "set", "pi-0", "--role", "dns,ftp"]).unwrap();
    until(20, "never none, and never the deaf one", || (dig(dns, "b.z.example")? != "192.0.2.11").then_some(()));
    // With an address it takes them after its next start.
    let config = fs::read_to_string(deaf.config()).unwrap();
    fs::write(deaf.config(), config.replace("http = []\nhttps = []", &format!("http = [\"{http}\"]\nhttps = []")))
        .unwrap();
    deaf.restart();
    until(20, "DNS names it", || (dig(dns, "b.z.example")? == "192.0.2.11").then_some(()));
}
