//! A node that takes uploads on free ports of 127.0.0.1, and an FTP client whose every byte is the test's.
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use super::node::Node;

/// Longer than any reply takes.
const REPLY_WAIT: Duration = Duration::from_secs(60);
pub const HOST: &str = "files.example";
pub const PASSWORD: &str = "correct horse";

#[derive(Debug)]
pub struct Uploads {
    pub node: Node,
    pub ftp: SocketAddr,
    /// The directory of the site's files.
    pub root: PathBuf,
}

impl Uploads {
    /// A site with a user `ada`, who has to use TLS, and `old`, who need not.
    pub fn ready() -> Self {
        Self::on(Node::new())
    }

    /// On a node that is not started yet.
    pub fn on(node: Node) -> Self {
        Self::listening(node, &["127.0.0.1:0"])
    }

    pub fn listening(mut node: Node, listen: &[&str]) -> Self {
        let config = fs::read_to_string(node.config()).unwrap();
        let config = config
            .replace("[ftp]\nlisten = []", &format!("[ftp]\nlisten = {listen:?}\npassive_ports = \"20000-29999\""));
        fs::write(node.config(), config).unwrap();
        node.start();
        let mut uploads = Self { node, ftp: ([127, 0, 0, 1], 0).into(), root: PathBuf::new() };
        uploads.learn();
        let site = json!({"host": HOST, "handler": {"type": "static"}});
        let made = uploads.node.post("/v1/sites", site).done();
        uploads.root = PathBuf::from(made.json["root"].as_str().unwrap());
        uploads.user("ada", json!({}));
        uploads.user("old", json!({"allow_plain": true}));
        uploads
    }

    /// Asks the node where it listens, as after a start.
    pub fn learn(&mut self) {
        let status = self.node.get("/v1/status").done().json;
        let listening = status["listening"].as_array().unwrap();
        let found = listening.iter().find(|listener| listener["name"] == "ftp.listen").unwrap();
        self.ftp = found["address"].as_str().unwrap().parse().unwrap();
    }

    pub fn user(&self, login: &str, more: Value) {
        let mut user = json!({"login": login, "site": HOST, "password": PASSWORD});
        user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.node.post("/v1/ftp-users", user).done();
        assert_eq!(made.json["served"], true, "{}", made.text);
    }

    pub fn set(&self, path: &str, change: Value) {
        let set = self.node.ask("PATCH", path, Some(change), &[]).done();
        assert_eq!(set.json["served"], true, "{}", set.text);
    }

    pub fn metric(&self, name: &str) -> u64 {
        let text = self.node.get("/metrics").done().text;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
    }

    pub fn ca(&self) -> PathBuf {
        let path = self.node.path("ca.pem");
        if !path.exists() {
            fs::write(&path, self.node.get("/v1/certificates/ca").done().text).unwrap();
        }
        path
    }

    fn tls(&self, mut stream: TcpStream) -> std::io::Result<Tls> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&fs::read(self.ca()).unwrap()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.enable_sni = false;
        // The node's own certificate is made for its name.
        let name = ServerName::try_from("test").unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(session, stream))
    }

    /// Connected, greeted, nothing said.
    pub fn connect(&self) -> Client<'_> {
        let mut client = Client { uploads: self, control: Some(BufReader::new(Wire::Plain(plain(self.ftp)))) };
        assert_eq!(client.reply().0, 220);
        client
    }

    /// With TLS and protected data, logged in, TYPE I.
    pub fn ada(&self) -> Client<'_> {
        let mut client = self.connect();
        client.secure();
        client.logs_in("ada");
        client.says("PBSZ 0", 200);
        client.says("PROT P", 200);
        client
    }

    /// Without TLS.
    pub fn old(&self) -> Client<'_> {
        let mut client = self.connect();
        client.logs_in("old");
        client
    }

    /// The node is as it was: nothing panicked, and somebody else is served.
    pub fn is_well(&self) {
        for task in ["ftp", "ftp-gates", "ftp-listeners"] {
            assert_eq!(self.metric(&format!("ruche_task_failures_total{{task=\"{task}\"}}")), 0);
        }
        assert!(!self.node.log().contains("panicked"), "{}", self.node.log());
        let mut client = self.ada();
        client.store("STOR is-well", b"yes", 226);
        assert_eq!(client.retrieve("RETR is-well", 226), b"yes");
        client.says("DELE is-well", 250);
        client.says("QUIT", 221);
    }
}

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Bytes, with TLS or without.
#[derive(Debug)]
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

impl Wire {
    /// Says that nothing follows; without it TLS was cut off.
    pub fn end(mut self) {
        if let Self::Tls(tls) = &mut self {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

pub fn plain(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(REPLY_WAIT)).unwrap();
    stream.set_write_timeout(Some(REPLY_WAIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

#[derive(Debug)]
pub struct Client<'u> {
    uploads: &'u Uploads,
    control: Option<BufReader<Wire>>,
}

impl Client<'_> {
    fn control(&mut self) -> &mut BufReader<Wire> {
        self.control.as_mut().unwrap()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let wire = self.control().get_mut();
        wire.write_all(bytes).and_then(|()| wire.flush()).unwrap();
    }

    /// As long as the server takes it.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let wire = self.control().get_mut();
        wire.write_all(bytes).and_then(|()| wire.flush())
    }

    /// The next reply, with all its lines.
    pub fn try_reply(&mut self) -> std::io::Result<(u16, String)> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if self.control().read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            text.push_str(&line);
            let code = line.get(..3).and_then(|code| code.parse().ok());
            if let Some(code) = code.filter(|_| line.as_bytes().get(3) == Some(&b' ')) {
                return Ok((code, text));
            }
        }
    }

    pub fn reply(&mut self) -> (u16, String) {
        self.try_reply().unwrap()
    }

    /// Says a command and gives the text of the reply, which has this code.
    pub fn says(&mut self, line: &str, code: u16) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        let (got, text) = self.reply();
        assert_eq!(got, code, "{line}: {text}");
        text
    }

    pub fn secure(&mut self) {
        self.says("AUTH TLS", 234);
        let Some(Wire::Plain(stream)) = self.control.take().map(BufReader::into_inner) else { panic!("it is secure") };
        self.control = Some(BufReader::new(Wire::Tls(Box::new(self.uploads.tls(stream).unwrap()))));
    }

    pub fn logs_in(&mut self, login: &str) {
        self.says(&format!("USER {login}"), 331);
        self.says(&format!("PASS {PASSWORD}"), 230);
        self.says("TYPE I", 200);
    }

    /// Asks for a passive port.
    pub fn port(&mut self) -> SocketAddr {
        let text = self.says("EPSV", 229);
        let port = text.split('|').nth(3).unwrap().parse().unwrap();
        SocketAddr::new(self.uploads.ftp.ip(), port)
    }

    /// The same, from a server that may be gone.
    pub fn try_port(&mut self) -> Option<SocketAddr> {
        self.try_send(b"EPSV\r\n").ok()?;
        let (_, text) = self.try_reply().ok()?;
        Some(SocketAddr::new(self.uploads.ftp.ip(), text.split('|').nth(3)?.parse().ok()?))
    }

    /// A data connection for a command; the reply to the command is 150.
    pub fn data(&mut self, line: &str) -> Wire {
        let stream = plain(self.port());
        self.says(line, 150);
        self.protect(stream)
    }

    /// With TLS if the control connection has it.
    pub fn protect(&mut self, stream: TcpStream) -> Wire {
        match self.control().get_ref() {
            Wire::Plain(_) => Wire::Plain(stream),
            Wire::Tls(_) => Wire::Tls(Box::new(self.uploads.tls(stream).unwrap())),
        }
    }

    pub fn store(&mut self, line: &str, bytes: &[u8], code: u16) -> String {
        let mut data = self.data(line);
        let _ = data.write_all(bytes);
        data.end();
        let (got, text) = self.reply();
        assert_eq!(got, code, "{line}: {text}");
        text
    }

    pub fn retrieve(&mut self, line: &str, code: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.data(line).read_to_end(&mut bytes).unwrap();
        let (got, text) = self.reply();
        assert_eq!(got, code, "{line}: {text}");
        bytes
    }
}
