//! TCP: one thread for all connections, which answers what was asked in one piece or in many, as fast as it comes and is taken
//! (RFC 7766). Bounded in all, by address and by time; never waits for one client with another's answer.
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::base::clock::Time;
use crate::base::limits::{
    DNS_ACCEPT_PAUSE, DNS_MESSAGE_MAX, DNS_QUERY_MAX, DNS_TCP_ANSWERS_MAX, DNS_TCP_IDLE_WAIT, DNS_TCP_PART_WAIT,
    DNS_TCP_QUERY_WAIT, DNS_TCP_READER_WAIT,
};
use crate::dns::Plane;
use crate::dns::answer::{Asker, Transport, answer};
use crate::dns::counts::Tally;
use crate::dns::ports::Opened;
use crate::dns::zones::Zones;
use crate::ops::places::Places;
use crate::ops::ports::Ports;
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// Before each message: its length (RFC 1035 section 4.2.2).
const LENGTH: usize = 2;

/// What all connections share.
#[derive(Debug)]
struct Shared {
    zones: watch::Receiver<Arc<Zones>>,
    tally: Arc<Tally>,
    places: Arc<Places>,
    /// Where an answer is made, before it is known how long it gets.
    scratch: Mutex<Vec<u8>>,
}

/// Runs the thread until the stop. An error is a panic of the thread, or that it could not be made.
pub(crate) async fn run(plane: Arc<Plane>, name: &'static str, tally: Arc<Tally>, stop: Stop) -> TaskResult {
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ = done.send(body(&plane, tally, &stop));
    })?;
    match ended.await {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(format!("keep the thread {name}: it panicked").into()),
    }
}

fn body(plane: &Arc<Plane>, tally: Arc<Tally>, stop: &Stop) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(plane, tally, stop));
    runtime.shutdown_background();
    ended
}

async fn serve(plane: &Arc<Plane>, tally: Arc<Tally>, stop: &Stop) -> io::Result<()> {
    let (zones, places) = (plane.zones.subscribe(), Arc::clone(&plane.places));
    let shared = Arc::new(Shared { zones, tally, places, scratch: Mutex::new(vec![0; DNS_MESSAGE_MAX]) });
    let mut opened = plane.ports.opened();
    let mut accepting = JoinSet::new();
    while !stop.is_given_up() {
        tokio::select! {
            one = opened.next() => {
                let listener = TcpListener::from_std(one.what.tcp()?)?;
                let (plane, shared, stop) = (Arc::clone(plane), Arc::clone(&shared), stop.clone());
                accepting.spawn(async move { accept(&plane.ports, one.serial, listener, shared, stop).await });
            }
            Some(ended) = accepting.join_next() => ended??,
            () = stop.give_up() => {}
        }
    }
    drop(opened);
    while let Some(ended) = accepting.join_next().await {
        ended??;
    }
    Ok(())
}

/// Accepts until the listener is given up, and returns when its connections have ended.
async fn accept(
    ports: &Ports<Opened>,
    serial: u64,
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: Stop,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let mut given_up = pin!(ports.given_up(serial, &stop));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut given_up => break,
            () = stop.give_up() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(_) => {
                metrics::counter!("ruche_dns_refused_connections_total", "reason" => "error").increment(1);
                tokio::time::sleep(DNS_ACCEPT_PAUSE).await;
                continue;
            }
        };
        match shared.places.take(peer.ip()) {
            Ok(place) => {
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                connections.spawn(async move {
                    // An error is the client's: it is gone, or as good as gone.
                    let _ = converse(stream, peer.ip(), &shared, &stop).await;
                    drop(place);
                });
            }
            Err(full) => {
                metrics::counter!("ruche_dns_refused_connections_total", "reason" => full.as_str()).increment(1);
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Serves one connection until its end or a pause that is too long. One that came before the stop may have asked on its way here, and
/// nobody else would answer; for longer nobody is answered from zones that are not followed any more.
async fn converse(mut stream: TcpStream, peer: IpAddr, shared: &Shared, stop: &Stop) -> io::Result<()> {
    let mut asked = Vec::new();
    let mut deadline = Instant::now() + DNS_TCP_IDLE_WAIT;
    let mut parting = None;
    loop {
        let until = parting.filter(|_| asked.is_empty()).map_or(deadline, |parting| deadline.min(parting));
        let readable = tokio::select! {
            biased;
            readable = timeout_at(until, stream.readable()) => readable,
            () = stop.give_up(), if parting.is_none() => {
                parting = Some(Instant::now() + DNS_TCP_PART_WAIT);
                continue;
            }
        };
        readable.map_err(|_| io::ErrorKind::TimedOut)??;
        let before = asked.len();
        asked.reserve_exact(LENGTH + DNS_QUERY_MAX - before);
        match stream.try_read_buf(&mut asked) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let answered = answer_all(&mut stream, &mut asked, peer, shared).await?;
        deadline = match (asked.is_empty(), before == 0 || answered) {
            (true, _) => {
                // While it says nothing it costs nothing.
                asked = Vec::new();
                Instant::now() + DNS_TCP_IDLE_WAIT
            }
            (false, true) => Instant::now() + DNS_TCP_QUERY_WAIT,
            (false, false) => deadline,
        };
    }
}

/// Answers what is there whole and takes it away; whether there was any.
async fn answer_all(stream: &mut TcpStream, asked: &mut Vec<u8>, peer: IpAddr, shared: &Shared) -> io::Result<bool> {
    let (mut answers, mut done) = (Vec::new(), 0);
    while let Some((length, rest)) = asked[done..].split_first_chunk::<LENGTH>() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length > DNS_QUERY_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(query) = rest.get(..length) else { break };
        shared.answer(query, peer, &mut answers);
        done += LENGTH + length;
        if answers.len() >= DNS_TCP_ANSWERS_MAX {
            send(stream, &mut answers, DNS_TCP_READER_WAIT).await?;
            // The others have their turn, however much one of them asks at once.
            tokio::task::yield_now().await;
        }
    }
    send(stream, &mut answers, DNS_TCP_READER_WAIT).await?;
    asked.drain(..done);
    Ok(done > 0)
}

async fn send(stream: &mut TcpStream, answers: &mut Vec<u8>, wait: Duration) -> io::Result<()> {
    if !answers.is_empty() {
        timeout(wait, stream.write_all(answers)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        answers.clear();
    }
    Ok(())
}

impl Shared {
    /// Adds the answer to a query, if there is one.
    fn answer(&self, query: &[u8], peer: IpAddr, answers: &mut Vec<u8>) {
        let zones = Arc::clone(&self.zones.borrow());
        let asker = Asker { transport: Transport::Tcp, peer, now: Time::now().seconds() as u32 };
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = answer(&zones, None, &asker, query, &mut scratch);
        self.tally.count(answered.as_ref());
        if let Some(answered) = answered {
            // A message is never longer than its length can say.
            answers.extend((answered.len as u16).to_be_bytes());
            answers.extend(&scratch[..answered.len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::dns::tests::world::{query, zones};
    use crate::ops::stop::Stopper;
    use crate::rr::RecordType;

    /// A client's end, and the connection that serves it.
    async fn connected(stop: &Stop) -> (TcpStream, JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        let zones = watch::Sender::new(Arc::new(zones(&[("a.example", &["www A 192.0.2.1"])]))).subscribe();
        let places = Places::new(1, 1, metrics::Gauge::noop());
        let (tally, scratch) = (Tally::new(Transport::Tcp), Mutex::new(vec![0; DNS_MESSAGE_MAX]));
        let (shared, stop) = (Shared { zones, tally, places, scratch }, stop.clone());
        (client, tokio::spawn(async move { converse(server, peer.ip(), &shared, &stop).await }))
    }

    async fn ask(client: &mut TcpStream) -> io::Result<usize> {
        let query = query("www.a.example.", RecordType::A);
        client.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat()).await?;
        let length = client.read_u16().await?;
        let mut answer = vec![0; length.into()];
        client.read_exact(&mut answer).await
    }

    #[tokio::test]
    async fn who_came_before_the_stop_is_answered_and_then_let_go() {
        let (stopper, stop) = Stopper::new();
        let (mut quick, serving) = connected(&stop).await;
        let (mut silent, ending) = connected(&stop).await;
        stopper.give_up();
        // Time for the connection to hear of it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let began = Instant::now();
        for _ in 0..2 {
            assert!(ask(&mut quick).await.unwrap() > 12);
        }
        assert_eq!(quick.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        assert!(began.elapsed() < DNS_TCP_PART_WAIT * 2, "{:?}", began.elapsed());
        serving.await.unwrap().unwrap_err();
        ending.await.unwrap().unwrap_err();
    }

    #[tokio::test]
    async fn a_query_that_began_before_the_end_is_read_to_its_last_octet() {
        let (stopper, stop) = Stopper::new();
        let (mut client, _serving) = connected(&stop).await;
        let query = query("www.a.example.", RecordType::A);
        let whole = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
        client.write_all(&whole[..5]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stopper.give_up();
        tokio::time::sleep(DNS_TCP_PART_WAIT * 3 / 2).await;
        client.write_all(&whole[5..]).await.unwrap();
        assert!(client.read_u16().await.unwrap() > 12);
    }
}
