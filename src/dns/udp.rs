//! UDP: a plain thread for each core and address that sleeps in the kernel until queries come, takes as many as there are, answers
//! them and sends the answers, each with one call. Never touches a runtime, a lock or a database.
use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg,
    setsockopt,
};
use rustix::net::Shutdown;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::base::clock::Time;
use crate::base::limits::{
    DNS_BATCH, DNS_BUSY_PAUSE, DNS_BUSY_QUERIES, DNS_HURRY, DNS_QUERY_MAX, DNS_UDP_MAX, WAKE_EVERY, WAKE_TRIES,
};
use crate::dns::Plane;
use crate::dns::answer::{Asker, Transport, answer};
use crate::dns::counts::Tally;
use crate::dns::kept::Kept;
use crate::dns::zones::Zones;
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// The address of ours that a query came to, and the interface where the address alone does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Local {
    V4(Ipv4Addr),
    V6(Ipv6Addr, u32),
}

/// Runs one thread, whenever its address is listened on, until the stop; `at` says which address. An error is a panic of the thread, or
/// of the kernel.
pub(crate) async fn run(
    plane: Arc<Plane>,
    at: usize,
    index: usize,
    name: &'static str,
    tally: Arc<Tally>,
    stop: Stop,
) -> TaskResult {
    loop {
        let opened = tokio::select! {
            opened = plane.ports.one(at) => opened,
            () = stop.give_up() => None,
        };
        let Some(held) = opened else { return Ok(()) };
        let (socket, serial) = (held.what.udp(index)?, held.serial);
        drop(held);
        let ending = Arc::new(AtomicBool::new(false));
        let (done, mut ended) = oneshot::channel();
        let (own, told, zones) = (socket.try_clone()?, Arc::clone(&ending), plane.zones.subscribe());
        let counted = Arc::clone(&tally);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = done.send(serve(&own, zones, &counted, &told));
        })?;
        let ended = tokio::select! {
            ended = &mut ended => ended,
            () = stop.give_up() => end(&ending, &socket, &mut ended).await,
            () = plane.ports.given_up(serial, &stop) => end(&ending, &socket, &mut ended).await,
        };
        ended.map_err(|_| format!("keep the thread {name}: it panicked"))??;
    }
}

async fn end(
    ending: &AtomicBool,
    socket: &UdpSocket,
    ended: &mut oneshot::Receiver<io::Result<()>>,
) -> Result<io::Result<()>, RecvError> {
    ending.store(true, Ordering::Release);
    wake(socket, ended).await
}

/// Has a thread that sleeps in the kernel see that it is to end. The socket stays as it is: the next process may have it already, and
/// what waits in it is for that one.
async fn wake(socket: &UdpSocket, ended: &mut oneshot::Receiver<io::Result<()>>) -> Result<io::Result<()>, RecvError> {
    let mut address = socket.local_addr().ok();
    if let Some(address) = &mut address
        && address.ip().is_unspecified()
    {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    for _ in 0..WAKE_TRIES {
        // Another port each time, so that sooner or later it is this socket's turn. It is no query, and gets no answer.
        if let Some(address) = address {
            let any: IpAddr =
                if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let _ = UdpSocket::bind((any, 0)).and_then(|sender| sender.send_to(&[], address));
        }
        if let Ok(ended) = timeout(WAKE_EVERY, &mut *ended).await {
            return ended;
        }
    }
    // A firewall keeps this machine from talking to itself. This says that there is no peer, and wakes the thread all the same.
    let _ = rustix::net::shutdown(socket, Shutdown::Read);
    ended.await
}

/// What one call takes and gives, allocated once.
struct Buffers {
    queries: Vec<[u8; DNS_QUERY_MAX]>,
    answers: Vec<[u8; DNS_UDP_MAX]>,
    /// Length, peer and own address of each answer that waits to be sent.
    lengths: [usize; DNS_BATCH],
    peers: [Option<SockaddrStorage>; DNS_BATCH],
    locals: [Option<Local>; DNS_BATCH],
}

fn serve(
    socket: &UdpSocket,
    mut newest: watch::Receiver<Arc<Zones>>,
    tally: &Tally,
    ending: &AtomicBool,
) -> io::Result<()> {
    let many = listens_on_many(socket)?;
    let mut received = MultiHeaders::<SockaddrStorage>::preallocate(DNS_BATCH, many.clone());
    let mut sent = MultiHeaders::<SockaddrStorage>::preallocate(DNS_BATCH, many.clone());
    let mut buffers = Buffers {
        queries: vec![[0; DNS_QUERY_MAX]; DNS_BATCH],
        answers: vec![[0; DNS_UDP_MAX]; DNS_BATCH],
        lengths: [0; DNS_BATCH],
        peers: [None; DNS_BATCH],
        locals: [None; DNS_BATCH],
    };
    let (mut zones, mut kept) = (Arc::clone(&newest.borrow_and_update()), Kept::default());
    let mut pace = Pace::default();
    while !ending.load(Ordering::Acquire) {
        if pace.pauses() {
            // Many come: a moment later many are taken at once, and the answers wake those who wait for them less often.
            std::thread::sleep(DNS_BUSY_PAUSE);
        }
        let mut queries = buffers.queries.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; DNS_BATCH] =
            array::from_fn(|_| [IoSliceMut::new(queries.next().map_or(&mut [], |query| &mut query[..]))]);
        let messages =
            match recvmmsg(socket.as_raw_fd(), &mut received, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None) {
                Ok(messages) => messages,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
        // After the queries came: whoever asks once a change is served gets an answer with it.
        if newest.has_changed().unwrap_or(false) {
            zones = Arc::clone(&newest.borrow_and_update());
            kept.forget();
        }
        let now = Time::now().seconds() as u32;
        let mut ready = 0;
        let mut taken = 0;
        for message in messages {
            taken += 1;
            let (peer, local) = (message.address, many.is_some().then(|| local(&message)).flatten());
            let Some(from) = peer.and_then(address).filter(|_| many.is_none() || local.is_some()) else { continue };
            let asker = Asker { transport: Transport::Udp, peer: from, now };
            let query = message.iovs().next().unwrap_or_default();
            let answered = answer(&zones, Some(&mut kept), &asker, query, &mut buffers.answers[ready]);
            tally.count(answered.as_ref());
            if let Some(answered) = answered {
                (buffers.lengths[ready], buffers.peers[ready], buffers.locals[ready]) = (answered.len, peer, local);
                ready += 1;
            }
        }
        send(socket, &mut sent, &buffers, ready, tally);
        pace.took(taken);
    }
    Ok(())
}

/// When a thread pauses before it takes queries.
#[derive(Debug, Default)]
struct Pace {
    taken: usize,
    /// Calls without a pause that are left: there is more to do than pauses leave time for.
    hurry: u32,
}

impl Pace {
    fn pauses(&self) -> bool {
        self.hurry == 0 && DNS_BUSY_QUERIES.contains(&self.taken)
    }

    fn took(&mut self, taken: usize) {
        self.hurry = if self.pauses() && taken >= DNS_BATCH / 2 { DNS_HURRY } else { self.hurry.saturating_sub(1) };
        self.taken = taken;
    }
}

/// Sends what is ready, with one call for all that go out from one address of ours.
fn send(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    buffers: &Buffers,
    ready: usize,
    tally: &Tally,
) {
    let Buffers { answers, lengths, peers, locals, .. } = buffers;
    let slices: [[IoSlice<'_>; 1]; DNS_BATCH] = array::from_fn(|at| [IoSlice::new(&answers[at][..lengths[at]])]);
    let mut at = 0;
    while at < ready {
        let local = locals[at];
        let end = (at..ready).find(|other| locals[*other] != local).unwrap_or(ready);
        let (mut v4, mut v6) = (None, None);
        let from =
            match local {
                None => None,
                Some(Local::V4(address)) => Some(ControlMessage::Ipv4PacketInfo(v4.insert(in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
                    ipi_addr: in_addr { s_addr: 0 },
                }))),
                Some(Local::V6(address, interface)) => Some(ControlMessage::Ipv6PacketInfo(v6.insert(in6_pktinfo {
                    ipi6_addr: in6_addr { s6_addr: address.octets() },
                    ipi6_ifindex: interface,
                }))),
            };
        let (slices, peers) = (slices[at..end].iter(), &peers[at..end]);
        let sent = sendmmsg(socket.as_raw_fd(), headers, slices, peers, from.as_slice(), MsgFlags::empty());
        match sent.map(Iterator::count) {
            Ok(count) if count > 0 => at += count,
            Err(Errno::EINTR) => {}
            // The first of them cannot be sent, such as to a port 0; the others may.
            _ => {
                tally.unsent();
                at += 1;
            }
        }
    }
}

/// Room for the address a query came to, where the socket listens on all of the machine's: the answer must come from the same.
fn listens_on_many(socket: &UdpSocket) -> io::Result<Option<Vec<u8>>> {
    let address = socket.local_addr()?;
    if !address.ip().is_unspecified() {
        return Ok(None);
    }
    if address.is_ipv4() {
        setsockopt(socket, Ipv4PacketInfo, &true)?;
        Ok(Some(cmsg_space!(in_pktinfo)))
    } else {
        setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
        Ok(Some(cmsg_space!(in6_pktinfo)))
    }
}

fn local(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Local> {
    message.cmsgs().ok()?.find_map(|more| match more {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Local::V4(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // Elsewhere the routes decide.
            Some(Local::V6(address, if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 }))
        }
        _ => None,
    })
}

fn address(peer: SockaddrStorage) -> Option<IpAddr> {
    let v4 = peer.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| peer.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}
