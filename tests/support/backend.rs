//! A backend behind a proxied site, whose every byte is the test's, and which remembers every byte it got.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than any request takes to come.
const WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Backend {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

/// One request at the backend: its head is read, its body is not.
#[derive(Debug)]
pub struct Asked {
    pub head: String,
    pub stream: BufReader<TcpStream>,
}

impl Backend {
    /// Calls `answer` for each request; false ends the connection.
    pub fn start(answer: impl Fn(&mut Asked) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let backend = Self { address, heads: Arc::clone(&heads), connections: Arc::clone(&connections) };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                let (answer, heads) = (Arc::clone(&answer), Arc::clone(&heads));
                std::thread::spawn(move || serve(stream, &*answer, &heads));
            }
        });
        backend
    }

    /// Says the same to everybody.
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |asked| {
            asked.body();
            asked.say(&bytes);
            true
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Heads of all requests, in the order in which they came.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub fn last(&self) -> String {
        self.heads().pop().expect("a request came")
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&mut Asked) -> bool, heads: &Mutex<Vec<String>>) {
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        heads.lock().unwrap().push(head.clone());
        let mut asked = Asked { head, stream };
        if !answer(&mut asked) {
            return;
        }
        stream = asked.stream;
    }
}

impl Asked {
    /// The value of a header, which stands once at most.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The whole body, as its framing says.
    pub fn body(&mut self) -> Vec<u8> {
        if self.header("transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let mut line = String::new();
                self.stream.read_line(&mut line).unwrap();
                let length = usize::from_str_radix(line.trim_end(), 16).expect("a chunk has a length");
                if length == 0 {
                    while self.stream.read_line(&mut line).unwrap() > 2 {}
                    return body;
                }
                let begun = body.len();
                body.resize(begun + length + 2, 0);
                self.stream.read_exact(&mut body[begun..]).unwrap();
                body.truncate(begun + length);
            }
        }
        let length = self.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        body
    }

    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // Who is gone hears nothing.
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// Says 200 with a body of known length.
    pub fn fine(&mut self, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        self.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()));
        self.say(body);
    }
}

/// The value of a header in a head, which stands once at most.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut all =
        head.lines().filter_map(|line| line.split_once(": ")).filter(|(found, _)| found.eq_ignore_ascii_case(name));
    let value = all.next().map(|(_, value)| value);
    assert!(all.next().is_none(), "{name} stands twice: {head}");
    value
}
