//! A node that answers DNS on a free port of 127.0.0.1, and clients: dig, kdig, and queries whose every octet is the test's.
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::node::Node;
use super::sites::connect;

/// Longer than any answer takes.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Zones {
    pub node: Node,
    pub at: SocketAddr,
}

impl Zones {
    pub fn ready() -> Self {
        Self::listening("\"127.0.0.1:0\"")
    }

    /// On the addresses of a list in the configuration.
    pub fn listening(list: &str) -> Self {
        let mut node = Node::new();
        let config = fs::read_to_string(node.config()).unwrap();
        fs::write(node.config(), config.replace("[dns]\nlisten = []", &format!("[dns]\nlisten = [{list}]"))).unwrap();
        node.start();
        let mut dns = Self { node, at: ([127, 0, 0, 1], 0).into() };
        dns.learn();
        dns
    }

    /// Asks the node where it listens, as after a start.
    pub fn learn(&mut self) {
        self.at = self.listens().first().copied().unwrap_or(self.at);
    }

    pub fn listens(&self) -> Vec<SocketAddr> {
        let status = self.node.get("/v1/status").done().json;
        let listening = status["listening"].as_array().unwrap().iter();
        let own = listening.filter(|listener| listener["name"] == "dns.listen");
        own.map(|listener| listener["address"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// A zone with records of lines such as `www A 192.0.2.1`; several values are parted by ` | `.
    pub fn zone(&self, apex: &str, lines: &[&str]) {
        self.node.post("/v1/zones", json!({"name": apex})).done();
        lines.iter().for_each(|line| self.set(apex, line));
    }

    /// Sets records, and has them served.
    pub fn set(&self, apex: &str, line: &str) {
        let mut words = line.splitn(3, ' ');
        let (owner, rtype, values) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let body = json!({"ttl": 300, "values": values.split(" | ").collect::<Vec<_>>()});
        let put = self.node.ask("PUT", &format!("/v1/zones/{apex}/records/{owner}/{rtype}"), Some(body), &[]).done();
        assert_eq!(put.json["served"], true, "{}", put.text);
    }

    /// What dig says.
    pub fn dig(&self, arguments: &[&str]) -> String {
        self.run("dig", arguments)
    }

    pub fn kdig(&self, arguments: &[&str]) -> String {
        self.run("kdig", arguments)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.arg(format!("@{}", self.at.ip())).args(["-p", &self.at.port().to_string()]).args(arguments);
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}: tests/run installs it"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A client of UDP.
    pub fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.at).unwrap();
        socket.set_read_timeout(Some(ANSWER_WAIT)).unwrap();
        socket
    }

    pub fn tcp(&self) -> TcpStream {
        connect(self.at)
    }

    /// One answer over UDP.
    pub fn ask(&self, query: &[u8]) -> Vec<u8> {
        let socket = self.udp();
        socket.send(query).unwrap();
        let mut answer = vec![0; 65_535];
        let len = socket.recv(&mut answer).expect("a query is answered");
        answer.truncate(len);
        answer
    }

    /// The value of a metric, 0 where there is none.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.node.get("/metrics").done().text;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
    }

    /// No thread panicked, and honest questions are answered soon.
    pub fn is_well(&self, name: &str) {
        let text = self.node.get("/metrics").done().text;
        let failures: Vec<_> = text.lines().filter(|line| line.starts_with("ruche_task_failures_total")).collect();
        assert!(failures.iter().all(|line| line.ends_with(" 0")), "{failures:?}");
        let begun = std::time::Instant::now();
        assert_eq!(self.ask(&query(7, name, 1))[3] & 15, 0);
        let mut stream = self.tcp();
        say(&mut stream, &query(8, name, 1));
        assert_eq!(hear(&mut stream)[3] & 15, 0);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

/// A query of class IN by its number, with the wish for recursion as resolvers have it.
pub fn query(id: u16, name: &str, rtype: u16) -> Vec<u8> {
    let mut query = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.trim_end_matches('.').split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend(rtype.to_be_bytes());
    query.extend([0, 1]);
    query
}

/// Sends a message over TCP.
pub fn say(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&framed(message)).unwrap();
}

/// A message with its length before it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// The next message over TCP.
pub fn hear(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    message
}
