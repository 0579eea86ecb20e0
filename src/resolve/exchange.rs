//! Asking: a random id and a port of the kernel's choice for every try, UDP first, TCP where the answer does not fit, and the next
//! server where one does not answer.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::base::limits::{DNS_UDP_MAX, RESOLVE_ROUNDS, RESOLVE_STRAYS_MAX, RESOLVE_TRY_WAIT};
use crate::resolve::answer::{Answer, Found, read};
use crate::resolve::error::ResolveError;
use crate::resolve::question::{Question, Sent, text};

/// Asks the servers, the one at `first` before the others, and keeps there which one answered. Nothing: there is no such name.
pub(super) async fn ask(
    servers: &[SocketAddr],
    first: &AtomicUsize,
    question: &Question,
) -> Result<Option<Found>, ResolveError> {
    let mut faults = Vec::new();
    let begin = first.load(Ordering::Relaxed);
    for round in 0..RESOLVE_ROUNDS {
        faults.clear();
        for at in (begin..begin + servers.len()).map(|at| at % servers.len()) {
            // The second time without EDNS, which old forwarders in home routers do not answer.
            let sent = question.send(random_id(), round == 0);
            let answer = timeout(RESOLVE_TRY_WAIT, once(servers[at], &sent)).await;
            faults.push(match answer {
                Ok(Ok(Answer::Said(found))) => {
                    first.store(at, Ordering::Relaxed);
                    return Ok(found);
                }
                Ok(Ok(answer)) => format!("{} {}", servers[at], told(&answer)),
                Ok(Err(error)) => format!("{} cannot be asked ({error})", servers[at]),
                Err(_) => format!("{} said nothing within {} s", servers[at], RESOLVE_TRY_WAIT.as_secs()),
            });
        }
    }
    Err(ResolveError::Unanswered {
        name: text(&question.name),
        rtype: question.rtype.to_string(),
        faults: if faults.is_empty() { "there is no name server to ask".into() } else { faults.join(", ") },
    })
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Failed(1) => "answered FORMERR".into(),
        Answer::Failed(2) => "answered SERVFAIL (the zone's servers are silent, or its DNSSEC is broken)".into(),
        Answer::Failed(4) => "answered NOTIMP".into(),
        Answer::Failed(5) => "answered REFUSED".into(),
        Answer::Failed(code) => format!("answered with the error {code}"),
        Answer::Endless => "answered with aliases that lead on and on".into(),
        Answer::Stray => "answered other questions only".into(),
        _ => "gave an answer that cannot be read".into(),
    }
}

fn random_id() -> u16 {
    getrandom::u32().expect("the kernel gives random bytes once it has booted") as u16
}

async fn once(server: SocketAddr, sent: &Sent<'_>) -> io::Result<Answer> {
    match over_udp(server, sent).await? {
        Answer::Truncated => over_tcp(server, sent).await,
        answer => Ok(answer),
    }
}

/// A connected socket hears that server only, and of a closed port at once.
async fn over_udp(server: SocketAddr, sent: &Sent<'_>) -> io::Result<Answer> {
    let here: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((here, 0)).await?;
    socket.connect(server).await?;
    socket.send(&sent.message).await?;
    let mut octets = vec![0; DNS_UDP_MAX];
    for _ in 0..=RESOLVE_STRAYS_MAX {
        let len = socket.recv(&mut octets).await?;
        match read(sent, &octets[..len]) {
            Answer::Stray => {}
            answer => return Ok(answer),
        }
    }
    Ok(Answer::Stray)
}

async fn over_tcp(server: SocketAddr, sent: &Sent<'_>) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(sent.message.len()).expect("one question fits in a message");
    stream.write_all(&[&len.to_be_bytes()[..], &sent.message].concat()).await?;
    let mut octets = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut octets).await?;
    Ok(read(sent, &octets))
}
