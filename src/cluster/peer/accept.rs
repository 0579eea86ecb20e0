//! Who calls this node: bounded, on time, with a key that is known, for a purpose that is served. A stranger is heard only while a
//! join token is open, and only about that.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::base::ids::NodeId;
use crate::base::limits::peers::{
    OFFERS_KEPT, PEER_CONNECT_WAIT, PEER_CONNECTIONS_MAX, PEER_FRAME_MAX, PEER_IDLE_WAIT, PEER_NEIGHBOURS_MAX,
    PEER_PAUSE_FIRST, PEER_PAUSE_MAX, PEER_RPC_WAIT, PEER_STRANGER_FRAME_MAX, PEER_STRANGERS_MAX,
};
use crate::cluster::inbound::{Caller, Carried, Inbound, Inlets};
use crate::cluster::member::Member;
use crate::cluster::peer::PROTOCOL;
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::frames::{receive, send};
use crate::cluster::peer::messages::{Ask, Class, Knock, Opened, Opening, Said, Why};
use crate::ops::board::Board;
use crate::ops::stop::Stop;
use crate::ops::strangers::{Stranger, Strangers};
use crate::ops::tasks::TaskResult;
use crate::seal::keyring::Keyring;
use crate::tls::peer::{self, Pin};

pub(crate) type Called = TlsStream<TcpStream>;

/// What those who call are served with.
#[derive(Debug)]
pub struct Reception {
    pub member: Member,
    pub keyring: Arc<Keyring>,
    pub board: Board,
    inlets: Inlets,
    places: Arc<Semaphore>,
    strangers: Strangers,
    /// Those of them that come from where a member is: the others keep them from nothing.
    neighbours: Strangers,
    /// Somebody called whom this node does not know.
    unknown: Arc<Notify>,
}

impl Reception {
    pub fn new(member: Member, keyring: Arc<Keyring>, board: Board, inlets: Inlets) -> Self {
        Self {
            member,
            keyring,
            board,
            inlets,
            places: Arc::new(Semaphore::new(PEER_CONNECTIONS_MAX)),
            strangers: Strangers::new(PEER_STRANGERS_MAX),
            neighbours: Strangers::new(PEER_NEIGHBOURS_MAX),
            unknown: Arc::default(),
        }
    }

    /// Takes calls until the listeners are to be given up; those under way end with it.
    pub async fn serve(self: Arc<Self>, listeners: Vec<std::net::TcpListener>, stop: Stop) -> TaskResult {
        let (member, unknown) = (self.member.clone(), Arc::clone(&self.unknown));
        let pin = Pin::new(move |key| {
            let book = member.peers().book();
            let known = book.who(key).is_some();
            if !known {
                unknown.notify_one();
            }
            known || book.expects_somebody()
        });
        let config = peer::server(self.member.peers().book().key(), pin)?;
        let mut loops = JoinSet::new();
        for listener in listeners {
            let (listener, config) = (TcpListener::from_std(listener)?, Arc::clone(&config));
            loops.spawn(Arc::clone(&self).accept(Source::Listener(listener), config));
        }
        let (taken, offered) = mpsc::channel(OFFERS_KEPT);
        loops.spawn(Arc::clone(&self).accept(Source::Offers(offered), config));
        loops.spawn(Arc::clone(&self).be_reached(taken));
        loops.spawn(Arc::clone(&self).learn());
        let ended = tokio::select! {
            ended = loops.join_next() => match ended {
                Some(Err(panicked)) => Err(panicked.into()),
                Some(Ok(())) | None => Ok(()),
            },
            () = stop.give_up() => Ok(()),
        };
        self.member.peers().offers().thin_out();
        ended
    }

    async fn accept(self: Arc<Self>, mut source: Source, config: Arc<ServerConfig>) {
        let mut calls = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = source.next() => accepted,
                Some(_) = calls.join_next(), if !calls.is_empty() => continue,
            };
            let Ok((socket, from)) = accepted else {
                // Descriptors are short, and asking again at once would spin.
                sleep(PEER_PAUSE_FIRST).await;
                continue;
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { continue };
            let stranger = self.unknown_from(from.ip());
            let (reception, acceptor) = (Arc::clone(&self), TlsAcceptor::from(Arc::clone(&config)));
            calls.spawn(async move {
                let opened = tokio::select! {
                    opened = timeout(PEER_CONNECT_WAIT, reception.open(acceptor, socket)) => opened,
                    () = stranger.must_go() => return,
                };
                drop(stranger);
                let called = match opened {
                    Ok(Ok(Some(called))) => called,
                    Ok(Ok(None)) | Err(_) => return,
                    Ok(Err(error)) => return tracing::debug!(%from, "a call of a peer failed to {error}"),
                };
                if called.opening.class != Class::Join {
                    reception.member.peers().book().came_from(called.opening.from, from.ip());
                }
                if let Err(error) = reception.serve_one(called, from, place).await {
                    tracing::debug!(%from, "a call of a peer ended: failed to {error}");
                }
            });
        }
    }

    /// The place of somebody among those who have not shown yet who they are.
    fn unknown_from(&self, from: IpAddr) -> Stranger {
        if self.member.peers().book().is_from(from) { self.neighbours.enter() } else { self.strangers.enter() }
    }

    /// The handshake and the opening; nothing where it was refused.
    async fn open(&self, acceptor: TlsAcceptor, socket: TcpStream) -> Result<Option<Open>, PeerError> {
        socket.set_nodelay(true)?;
        let mut stream = acceptor.accept(socket).await?;
        let key = stream.get_ref().1.peer_certificates().and_then(|all| all.first()).map(|key| key.to_vec());
        let key = key.unwrap_or_default();
        let opening: Opening = receive(&mut stream, PEER_STRANGER_FRAME_MAX).await?;
        if let Some(why) = self.objection(&key, &opening) {
            send(&mut stream, &Opened::Refused(why)).await?;
            return Ok(None);
        }
        send(&mut stream, &Opened::Welcome).await?;
        let knock = match opening.class {
            Class::Join => Some(receive(&mut stream, PEER_STRANGER_FRAME_MAX).await?),
            _ => None,
        };
        Ok(Some(Open { stream, key, opening, knock, acceptor }))
    }

    fn objection(&self, key: &[u8], opening: &Opening) -> Option<Why> {
        let book = self.member.peers().book();
        let who = book.who(key);
        if opening.protocol != PROTOCOL {
            return Some(Why::Protocol(PROTOCOL));
        }
        if opening.class == Class::Join {
            let welcome = who == Some(opening.from) || book.expects_somebody();
            let same = opening.cluster.0 == 0 || book.cluster() == Some(opening.cluster);
            return if !same { Some(Why::OtherCluster) } else { (!welcome).then_some(Why::NoTokenOpen) };
        }
        if book.cluster() != Some(opening.cluster) {
            return Some(Why::OtherCluster);
        }
        if opening.to != book.own() {
            return Some(Why::OtherNode);
        }
        if self.inbound(opening.class).is_some_and(Inbound::is_closed) {
            return Some(Why::NotServed);
        }
        (who != Some(opening.from)).then_some(Why::NotAMember)
    }

    /// Where connections of a class are handed in.
    fn inbound(&self, class: Class) -> Option<&Inbound> {
        match class {
            Class::Forward => Some(&self.inlets.visitors),
            Class::Files => Some(&self.inlets.files),
            Class::Copy => Some(&self.inlets.copies),
            Class::Raft | Class::Bulk | Class::Join | Class::Offer => None,
        }
    }

    async fn serve_one(&self, called: Open, from: SocketAddr, place: OwnedSemaphorePermit) -> Result<(), PeerError> {
        let Open { mut stream, key, opening, knock, acceptor } = called;
        if let Some(knock) = knock {
            return self.let_in(&mut stream, knock, &key, from).await;
        }
        match opening.class {
            Class::Raft => self.answer_all(&mut stream, &key, opening.from).await,
            Class::Bulk => self.member.take_copy(&mut stream, opening.from).await,
            Class::Offer => self.take_offer(opening.from, stream).await,
            // It has knocked.
            Class::Join => Ok(()),
            Class::Forward | Class::Files | Class::Copy => {
                let (socket, session) = stream.into_inner();
                let caller = Caller { peers: self.member.peers().clone(), node: opening.from, key };
                let carried = Carried { socket: socket.into_std()?, session, place, caller, acceptor };
                if let Some(inbound) = self.inbound(opening.class) {
                    inbound.hand_in(carried);
                }
                Ok(())
            }
        }
    }

    /// Questions one after the other, for as long as who asks is a member.
    async fn answer_all(&self, stream: &mut Called, key: &[u8], from: NodeId) -> Result<(), PeerError> {
        let book = self.member.peers().book();
        let mut leads = false;
        let ended = loop {
            let ask: Ask = match timeout(PEER_IDLE_WAIT, receive(stream, PEER_FRAME_MAX)).await {
                Ok(Ok(ask)) => ask,
                Ok(Err(error)) => break Err(error),
                // One that is kept for questions, and there were none.
                Err(_) => return Ok(()),
            };
            if book.who(key) != Some(from) {
                break Ok(());
            }
            book.heard(from);
            leads |= matches!(ask, Ask::Append(_));
            let said = self.member.answer(from, ask, &self.board).await;
            send(stream, &said).await?;
        };
        // The connection the leader speaks on has broken: maybe it has as well.
        if leads {
            self.member.voice().broke(from);
        }
        ended
    }

    /// Asks the members it knows who the unknown one may be: this node's own state may be old.
    async fn learn(self: Arc<Self>) {
        let peers = self.member.peers();
        loop {
            self.unknown.notified().await;
            let members = peers.book().members().members;
            for known in members.iter().filter(|known| known.node != peers.book().own()) {
                if let Ok(Said::Members(members)) = peers.ask(known.node, &Ask::Members, PEER_RPC_WAIT).await {
                    peers.book().learn(members);
                }
            }
            sleep(PEER_PAUSE_MAX).await;
        }
    }
}

/// Where calls come from.
enum Source {
    Listener(TcpListener),
    /// Connections of this node over which others ask.
    Offers(mpsc::Receiver<(TcpStream, SocketAddr)>),
}

impl Source {
    async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Listener(listener) => listener.accept().await,
            Self::Offers(taken) => taken.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// A call that was let in.
struct Open {
    stream: Called,
    key: Vec<u8>,
    opening: Opening,
    /// What somebody said who wants to join.
    knock: Option<Knock>,
    acceptor: TlsAcceptor,
}
