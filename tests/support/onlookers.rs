//! Visitors of every kind at one node, who come and stay for as long as something goes on there: HTTPS with and without a connection that
//! is kept, HTTP/2, a WebSocket, a long download, DNS. Whatever is not as it was before is noted.
use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Talk, asking, frame, window_update,
};
use crate::support::http;
use crate::support::sites::{Sites, Tls};
use crate::support::zones::query;

/// What a download takes at once.
const PIECE: usize = 64 << 10;
const WINDOW: u16 = 4;
pub const KINDS: [&str; 6] = ["h1", "h1 kept", "h2 kept", "WebSocket", "download", "DNS"];

/// Where they come, and what they find.
pub struct Place<'a> {
    pub sites: Sites,
    pub dns: SocketAddr,
    pub host: &'a str,
    /// A proxied site whose server says back what it hears.
    pub app: &'a str,
    /// Pages, each with what is in it.
    pub pages: Vec<(String, Vec<u8>)>,
    /// A file whose octet at each place is `at / 7`, how long it is, and how long it is read.
    pub large: (&'a str, usize, Duration),
}

#[derive(Debug, Default)]
pub struct Seen {
    pub served: [AtomicU64; KINDS.len()],
    pub failed: Mutex<Vec<String>>,
    pub certificates: Mutex<BTreeSet<Vec<u8>>>,
    pub slowest: Mutex<Duration>,
}

type Told = Result<(), String>;

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Place<'_> {
    /// Comes again and again until it is over. A download is read to its end.
    pub fn look_on(&self, kind: usize, seen: &Seen, over: &AtomicBool) {
        while !over.load(Ordering::Acquire) {
            let told = match kind {
                0 => self.comes_anew(seen),
                1 => self.stays(seen, over),
                2 => self.stays_over_http2(seen, over),
                3 => self.talks(seen, over),
                4 => self.downloads(seen),
                _ => self.looks_up(seen, over),
            };
            if let Err(error) = told {
                seen.failed.lock().unwrap().push(format!("{} at {}: {error}", KINDS[kind], self.sites.https));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    fn served(&self, kind: usize, seen: &Seen, since: Instant) {
        let mut slowest = seen.slowest.lock().unwrap();
        *slowest = slowest.max(since.elapsed());
        drop(slowest);
        seen.served[kind].fetch_add(1, Ordering::Relaxed);
        // They are visitors, and no load.
        std::thread::sleep(Duration::from_millis(10));
    }

    fn opened(&self, host: &str, seen: &Seen) -> Result<BufReader<Tls>, String> {
        let stream = self.sites.tls(Some(host), &["http/1.1"]).map_err(told)?;
        let chain = stream.conn.peer_certificates().ok_or("no certificate was shown")?;
        if host == self.host {
            seen.certificates.lock().unwrap().insert(chain[0].to_vec());
        }
        Ok(BufReader::new(stream))
    }

    fn page(&self, number: u64) -> &(String, Vec<u8>) {
        &self.pages[number as usize * 7919 % self.pages.len()]
    }

    fn ask(&self, stream: &mut BufReader<Tls>, path: &str) -> Result<usize, String> {
        let asked = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.host);
        stream.get_mut().write_all(asked.as_bytes()).map_err(told)?;
        let (status, headers) = http::head(stream).map_err(told)?;
        let length =
            headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
        match (status, length) {
            (200, Some(length)) => Ok(length),
            _ => Err(format!("{path}: {status} {headers:?}")),
        }
    }

    fn asks(&self, stream: &mut BufReader<Tls>, number: u64) -> Told {
        let (path, wanted) = self.page(number);
        let mut body = vec![0; self.ask(stream, path)?];
        stream.read_exact(&mut body).map_err(told)?;
        if body == *wanted { Ok(()) } else { Err(format!("{path} is another page")) }
    }

    fn comes_anew(&self, seen: &Seen) -> Told {
        let since = Instant::now();
        self.asks(&mut self.opened(self.host, seen)?, seen.served[0].load(Ordering::Relaxed))?;
        self.served(0, seen, since);
        Ok(())
    }

    fn stays(&self, seen: &Seen, over: &AtomicBool) -> Told {
        let mut stream = self.opened(self.host, seen)?;
        while !over.load(Ordering::Acquire) {
            let since = Instant::now();
            self.asks(&mut stream, seen.served[1].load(Ordering::Relaxed))?;
            self.served(1, seen, since);
        }
        Ok(())
    }

    fn stays_over_http2(&self, seen: &Seen, over: &AtomicBool) -> Told {
        // Windows that hold any page.
        let mut talk = Talk::begun(&self.sites, self.host, &[(WINDOW, 1 << 24)]);
        talk.send(&window_update(0, 1 << 30));
        for stream in (1..).step_by(2) {
            if over.load(Ordering::Acquire) {
                break;
            }
            let since = Instant::now();
            let (path, wanted) = self.page(u64::from(stream));
            talk.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &asking("GET", path, self.host)));
            let mut body = Vec::new();
            loop {
                let came = talk.next().map_err(|none| format!("{none:?} instead of an answer"))?;
                match came.kind {
                    DATA => body.extend_from_slice(&came.payload),
                    GOAWAY | RST_STREAM => {
                        return Err(format!("the connection or the stream was ended: {:?}", came.code()));
                    }
                    _ => {}
                }
                if came.ends_stream() {
                    break;
                }
            }
            if body != *wanted {
                return Err(format!("{path} is another page"));
            }
            talk.send(&window_update(0, u32::try_from(body.len().max(1)).unwrap()));
            self.served(2, seen, since);
        }
        Ok(())
    }

    fn talks(&self, seen: &Seen, over: &AtomicBool) -> Told {
        let mut stream = self.opened(self.app, seen)?;
        let asked = format!(
            "GET /talk HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.app
        );
        stream.get_mut().write_all(asked.as_bytes()).map_err(told)?;
        let (status, headers) = http::head(&mut stream).map_err(told)?;
        if status != 101 {
            return Err(format!("{status} {headers:?}"));
        }
        while !over.load(Ordering::Acquire) {
            let since = Instant::now();
            let said = format!("word {}", seen.served[3].load(Ordering::Relaxed));
            stream.get_mut().write_all(said.as_bytes()).map_err(told)?;
            let mut heard = vec![0; said.len()];
            stream.read_exact(&mut heard).map_err(told)?;
            if heard != said.as_bytes() {
                return Err("another word".into());
            }
            self.served(3, seen, since);
        }
        Ok(())
    }

    fn downloads(&self, seen: &Seen) -> Told {
        let (path, length, lasts) = self.large;
        let begun = Instant::now();
        let mut stream = self.opened(self.host, seen)?;
        if self.ask(&mut stream, path)? != length {
            return Err("it has another length".into());
        }
        let (mut at, mut piece) = (0, vec![0; PIECE]);
        while at < length {
            let read = stream.read(&mut piece).map_err(|error| format!("after {at} octets: {error}"))?;
            if read == 0 {
                return Err(format!("it ended after {at} octets"));
            }
            if (0..read).any(|more| piece[more] != ((at + more) / 7) as u8) {
                return Err(format!("it is torn after {at} octets"));
            }
            at += read;
            std::thread::sleep(lasts.mul_f64(at as f64 / length as f64).saturating_sub(begun.elapsed()));
        }
        seen.served[4].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn looks_up(&self, seen: &Seen, over: &AtomicBool) -> Told {
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(told)?;
        socket.connect(self.dns).map_err(told)?;
        socket.set_read_timeout(Some(Duration::from_secs(20))).map_err(told)?;
        let (mut id, mut answer) = (0, [0; 1500]);
        while !over.load(Ordering::Acquire) {
            let since = Instant::now();
            id += 1;
            socket.send(&query(id, self.host, 1)).map_err(told)?;
            let length = socket.recv(&mut answer).map_err(told)?;
            // One address, of a node.
            let address = answer[..length].last_chunk::<4>().copied().unwrap_or_default();
            if (answer[3] & 15, answer[7]) != (0, 1) || address[..3] != [192, 0, 2] {
                return Err(format!("answered {:?}", &answer[..length]));
            }
            self.served(5, seen, since);
        }
        Ok(())
    }
}
