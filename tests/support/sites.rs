//! A node that serves sites on free ports of 127.0.0.1, and visitors: curl, and connections whose every byte is the test's.
use std::fs;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use super::http;
use super::node::Node;

/// Longer than any answer takes.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Sites {
    pub node: Node,
    pub http: SocketAddr,
    pub https: SocketAddr,
}

/// What curl got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    /// Lower-case names and values, one a line, with the status line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

impl Sites {
    /// Started, with a free port for each.
    pub fn ready() -> Self {
        Self::listening("127.0.0.1:0", "127.0.0.1:0")
    }

    pub fn listening(http: &str, https: &str) -> Self {
        let mut node = Node::new();
        let config = fs::read_to_string(node.config()).unwrap();
        let config =
            config.replace("[web]\nhttp = []\nhttps = []", &format!("[web]\nhttp = [{http:?}]\nhttps = [{https:?}]"));
        fs::write(node.config(), config).unwrap();
        node.start();
        let mut sites = Self { node, http: ([127, 0, 0, 1], 0).into(), https: ([127, 0, 0, 1], 0).into() };
        sites.learn();
        sites
    }

    /// Asks the node where it listens, as after a start.
    pub fn learn(&mut self) {
        let listening = |name| self.listening_on(name).unwrap_or(([127, 0, 0, 1], 0).into());
        (self.http, self.https) = (listening("web.http"), listening("web.https"));
    }

    pub fn listening_on(&self, name: &str) -> Option<SocketAddr> {
        let status = self.node.get("/v1/status").done().json;
        let listening = status["listening"].as_array().unwrap();
        let found = listening.iter().find(|listener| listener["name"] == name)?;
        Some(found["address"].as_str().unwrap().parse().unwrap())
    }

    /// Makes a site and gives the directory of its files.
    pub fn create(&self, host: &str, more: serde_json::Value) -> PathBuf {
        let mut site = json!({"host": host, "handler": {"type": "static"}});
        site.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.node.post("/v1/sites", site).done();
        assert_eq!(made.json["served"], true, "{}", made.text);
        PathBuf::from(made.json["root"].as_str().unwrap_or_default())
    }

    pub fn set(&self, host: &str, change: serde_json::Value) {
        let set = self.node.ask("PATCH", &format!("/v1/sites/{host}"), Some(change), &[]).done();
        assert_eq!(set.json["served"], true, "{}", set.text);
    }

    fn ca(&self) -> PathBuf {
        let path = self.node.path("ca.pem");
        if !path.exists() {
            fs::write(&path, self.node.get("/v1/certificates/ca").done().text).unwrap();
        }
        path
    }

    /// curl, with every host at this node and the cluster's CA as the only one; its error where it got no answer.
    pub fn curl(&self, arguments: &[&str]) -> Result<Got, String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--max-time", "60", "--cacert"]).arg(self.ca());
        // The ports of a URL's scheme are those of this node, whatever the URL says.
        for (port, address) in [(80, self.http), (443, self.https)] {
            command.arg("--connect-to").arg(format!(":{port}:{}:{}", address.ip(), address.port()));
        }
        let output = command.args(arguments).output().expect("curl is installed: tests/run sees to it");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let end = output.stdout.windows(4).position(|four| four == b"\r\n\r\n").expect("a head has an end");
        let head: String = String::from_utf8_lossy(&output.stdout[..end]).replace('\r', "");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Got { status, head, body: output.stdout[end + 4..].to_vec() })
    }

    pub fn get(&self, url: &str) -> Got {
        self.curl(&[url]).unwrap()
    }

    /// A connection without TLS.
    pub fn plain(&self) -> TcpStream {
        connect(self.http)
    }

    /// How visitors with TLS are set up: the cluster's CA is the only one they know.
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let pem = fs::read(self.ca()).unwrap();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// A connection with TLS, made for a host, or for none. An error is the handshake's.
    pub fn tls(&self, sni: Option<&str>, alpn: &[&str]) -> std::io::Result<Tls> {
        self.tls_over(connect(self.https), sni, alpn)
    }

    /// The same from another address of this machine.
    pub fn tls_from(&self, from: Ipv4Addr, sni: Option<&str>, alpn: &[&str]) -> std::io::Result<Tls> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
        rustix::net::connect(&socket, &self.https)?;
        self.tls_over(patient(socket.into()), sni, alpn)
    }

    fn tls_over(&self, mut stream: TcpStream, sni: Option<&str>, alpn: &[&str]) -> std::io::Result<Tls> {
        let mut config = self.client(alpn);
        config.enable_sni = sni.is_some();
        // Without a server name the node shows its own certificate, which is made for its name.
        let name = ServerName::try_from(sni.unwrap_or("test").to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(session, stream))
    }

    /// The value of a metric, 0 where there is none.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.node.get("/metrics").done().text;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
    }

    /// No handler panicked, and a site still answers.
    pub fn is_well(&self, host: &str) {
        assert_eq!(self.metric("ruche_web_panics_total"), 0);
        assert_eq!(self.metric("ruche_task_failures_total{task=\"web-0\"}"), 0);
        assert_eq!(self.get(&format!("https://{host}/")).status, 200);
    }
}

/// One request more on a connection to `one.example`, whose page is `fine`.
pub fn asks_for_fine(stream: &mut Tls) {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: one.example\r\n\r\n").unwrap();
    let mut stream = BufReader::with_capacity(1, stream);
    assert_eq!(http::head(&mut stream).unwrap().0, 200);
    let mut body = [0; 4];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"fine");
}

pub fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).unwrap())
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(ANSWER_WAIT)).unwrap();
    stream.set_write_timeout(Some(ANSWER_WAIT)).unwrap();
    stream
}

/// Sends bytes and reads until the other side ends the connection, by an end or by a reset; panics if it never does. What cannot
/// be sent any more is left.
pub fn exchange(stream: &mut (impl Read + Write), bytes: &[u8]) -> String {
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
    drain(stream)
}

/// Reads until the end or a reset.
pub fn drain(stream: &mut impl Read) -> String {
    let (mut heard, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => heard.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the connection was not ended; heard: {}", String::from_utf8_lossy(&heard))
            }
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}
