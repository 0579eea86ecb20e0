//! NSD and Knot as child processes with directories of their own, and this node, all serving the same zone files.
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::super::node::{Node, ruche};
use super::super::until;
use super::wire::{Client, Mode, Question, name};
use super::zones::Zone;

/// A server that is ended with its last user.
pub struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    pub dir: TempDir,
    child: Child,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // NSD and Knot have children of their own, in the same group.
        let group = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A server's program, which users that are not root do not find by themselves.
fn program(name: &str) -> PathBuf {
    let sbin = Path::new("/usr/sbin").join(name);
    if sbin.exists() { sbin } else { name.into() }
}

/// A port of 127.0.0.1 that is free for UDP and TCP.
fn free_port() -> u16 {
    until(10, "a free port", || {
        let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
        let address = tcp.local_addr().ok()?;
        UdpSocket::bind(address).ok().map(|_| address.port())
    })
}

fn write_zones(dir: &Path, zones: &[Zone]) {
    for (at, zone) in zones.iter().enumerate() {
        fs::write(dir.join(format!("{at}.zone")), &zone.text).unwrap();
    }
}

/// Starts a server and waits until it answers for every zone.
fn start(name: &'static str, mut command: Command, dir: TempDir, port: u16, zones: &[Zone]) -> Peer {
    let log = fs::File::create(dir.path().join("output")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
    let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}; tests/run installs it"));
    let peer = Peer { name, address: ([127, 0, 0, 1], port).into(), dir, child };
    let mut client = Client::new(peer.address);
    for zone in zones {
        let question = Question { name: self::name(&zone.name), rtype: 6 };
        let log = || fs::read_to_string(peer.dir.path().join("output")).unwrap_or_default();
        let answered = || client.ask(&question, Mode::Tcp).filter(|reply| reply.rcode == 0 && reply.aa);
        let mut answered = answered;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while answered().is_none() {
            assert!(std::time::Instant::now() < deadline, "{name} does not serve {}:\n{}", zone.name, log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    peer
}

pub fn nsd(zones: &[Zone]) -> Peer {
    let (dir, port) = (tempfile::Builder::new().prefix("ruche-nsd-").tempdir().unwrap(), free_port());
    write_zones(dir.path(), zones);
    let at = dir.path().display();
    let mut config = format!(
        "server:\n  server-count: 1\n  ip-address: 127.0.0.1@{port}\n  do-ip6: no\n  username: \"\"\n  chroot: \"\"\n  \
         zonesdir: \"{at}\"\n  database: \"\"\n  pidfile: \"\"\n  zonelistfile: \"{at}/zone.list\"\n  xfrdfile: \"{at}/xfrd.state\"\n  \
         xfrdir: \"{at}\"\n  cookie-secret-file: \"\"\n  minimal-responses: yes\n  rrl-ratelimit: 0\n  ipv4-edns-size: 1232\n  \
         tcp-count: 50\n  round-robin: no\n  verbosity: 1\nremote-control:\n  control-enable: no\n"
    );
    for (index, zone) in zones.iter().enumerate() {
        config += &format!("zone:\n  name: \"{}\"\n  zonefile: \"{at}/{index}.zone\"\n", zone.name);
    }
    let path = dir.path().join("nsd.conf");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(program("nsd"));
    command.arg("-d").arg("-c").arg(path);
    start("nsd", command, dir, port, zones)
}

pub fn knot(zones: &[Zone]) -> Peer {
    let (dir, port) = (tempfile::Builder::new().prefix("ruche-knot-").tempdir().unwrap(), free_port());
    write_zones(dir.path(), zones);
    let at = dir.path().display();
    let mut config = format!(
        "server:\n  rundir: \"{at}\"\n  listen: 127.0.0.1@{port}\n  udp-max-payload: 1232\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\n  automatic-acl: off\ndatabase:\n  storage: \"{at}/db\"\nlog:\n  - target: stderr\n    any: warning\n\
         template:\n  - id: default\n    storage: \"{at}\"\n    journal-content: none\n    zonefile-load: whole\n    zonefile-sync: -1\nzone:\n"
    );
    for (index, zone) in zones.iter().enumerate() {
        config += &format!("  - domain: \"{}\"\n    file: \"{index}.zone\"\n", zone.name);
    }
    let path = dir.path().join("knot.conf");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(program("knotd"));
    command.arg("-c").arg(path);
    start("knot", command, dir, port, zones)
}

/// This node with the zones imported as an admin does it, and where it answers.
pub fn own(zones: &[Zone]) -> (Node, SocketAddr) {
    let mut node = Node::new();
    let config = fs::read_to_string(node.config()).unwrap();
    fs::write(node.config(), config.replace("[dns]\nlisten = []", "[dns]\nlisten = [\"127.0.0.1:0\"]")).unwrap();
    node.start();
    // A child first: when it comes, the serial of its parent moves.
    let mut zones: Vec<_> = zones.iter().collect();
    zones.sort_by_key(|zone| std::cmp::Reverse(zone.name.split('.').count()));
    for (index, zone) in zones.into_iter().enumerate() {
        let path = node.path(&format!("{index}.zone"));
        fs::write(&path, &zone.text).unwrap();
        let (socket, path) = (node.socket(), path.display().to_string());
        let output = ruche(&["zone", "import", &path, &zone.name, "--socket", socket.to_str().unwrap()]);
        assert!(output.status.success(), "{}: {}", zone.name, String::from_utf8_lossy(&output.stderr));
    }
    let status = node.get("/v1/status").done().json;
    let listening = status["listening"].as_array().unwrap();
    let found = listening.iter().find(|listener| listener["name"].as_str().is_some_and(|name| name.starts_with("dns")));
    let address = found.expect("the node answers DNS")["address"].as_str().unwrap().parse().unwrap();
    (node, address)
}
