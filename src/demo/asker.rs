//! Asks the throw-away node for a name's IPv4 addresses, as a resolver does: over UDP, and over TCP.
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::cluster::door::random;
use crate::demo::node::DemoError;
use crate::rr::{Name, RecordType};

/// How long an answer may take; on this machine it takes a millisecond.
const WAIT: Duration = Duration::from_secs(5);
/// An answer over UDP to a question without EDNS (RFC 1035 section 4.2.1).
const DATAGRAM: usize = 512;
/// A message before its question (section 4.1.1).
const HEAD: usize = 12;

/// The addresses `server` gives for a name.
pub(crate) async fn addresses(server: SocketAddr, name: &str, tcp: bool) -> Result<Vec<Ipv4Addr>, DemoError> {
    let name = Name::parse(&format!("{name}."), None).map_err(|_| DemoError::Unmet("the name is well formed"))?;
    let question = question(&name);
    let asked = async { if tcp { over_tcp(server, &question).await } else { over_udp(server, &question).await } };
    let answer = timeout(WAIT, asked).await.map_err(|_| DemoError::Unmet("DNS answers in time"))?;
    read(&question, &answer.map_err(DemoError::Dns)?).ok_or(DemoError::Unmet("the DNS answer is one to this question"))
}

fn question(name: &Name) -> Vec<u8> {
    let [a, b, ..] = random();
    let mut question = vec![a, b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(name.as_wire());
    question.extend(RecordType::A.0.to_be_bytes());
    question.extend([0, 1]);
    question
}

async fn over_udp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; DATAGRAM];
    let count = socket.recv(&mut answer).await?;
    answer.truncate(count);
    Ok(answer)
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = (question.len() as u16).to_be_bytes();
    stream.write_all(&[&length, question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The addresses in an authoritative answer to this question, whose owners are pointers to it; none if it is not one.
fn read(question: &[u8], answer: &[u8]) -> Option<Vec<Ipv4Addr>> {
    let (head, rest) = answer.split_at_checked(HEAD)?;
    let (flags, codes) = (head[2], head[3]);
    let authoritative = flags & 0x84 == 0x84 && codes & 0x0f == 0;
    let mut records = rest.strip_prefix(&question[HEAD..])?;
    if head[..2] != question[..2] || !authoritative {
        return None;
    }
    let mut addresses = Vec::new();
    for _ in 0..u16::from_be_bytes([head[6], head[7]]) {
        // Owner, type, class, TTL and the length of the data (section 4.1.3).
        let (fixed, data) = records.split_at_checked(12)?;
        let length = usize::from(u16::from_be_bytes([fixed[10], fixed[11]]));
        let (data, later) = data.split_at_checked(length)?;
        if fixed[2..4] == RecordType::A.0.to_be_bytes() {
            addresses.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?));
        }
        records = later;
    }
    Some(addresses)
}
