//! The least HTTP/1.1 client that asks the admin socket and knows when an answer did not come.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer of the node takes.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Null where the body is no JSON.
    pub json: Value,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The code of a problem.
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// This answer, if it is a success.
    pub fn done(self) -> Self {
        assert!(self.is_done(), "{} {}", self.status, self.text);
        self
    }
}

/// One connection, kept between requests and opened again after a failure.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

impl Client {
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), stream: None }
    }

    /// Lets go of the connection: the process at its other end is gone.
    pub fn reconnect(&mut self) {
        self.stream = None;
    }

    /// An error means that the answer did not come; whether the request was done is not known.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.socket)?,
        };
        send(stream.get_mut(), method, path, body, headers)?;
        let answer = receive(&mut stream)?;
        if answer.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

pub fn connect(socket: &Path) -> io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    Ok(BufReader::new(stream))
}

pub fn send(
    stream: &mut UnixStream,
    method: &str,
    path: &str,
    body: Option<&Value>,
    headers: &[(&str, &str)],
) -> io::Result<()> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: ruche\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(&body);
    stream.write_all(text.as_bytes())
}

/// Status and headers of an answer; its body follows in the stream.
pub fn head(stream: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, first))?;
    let mut headers = Vec::new();
    loop {
        let text = line(stream)?;
        if text.is_empty() {
            return Ok((status, headers));
        }
        if let Some((name, value)) = text.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn receive(stream: &mut impl BufRead) -> io::Result<Answer> {
    let (status, headers) = head(stream)?;
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status, headers, json: serde_json::from_str(&text).unwrap_or_default(), text })
}

/// One line without its end; an end of the stream is an error.
pub fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    // A line that was cut off is no line.
    if stream.take(64 << 10).read_line(&mut text)? == 0 || !text.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end().to_owned())
}
