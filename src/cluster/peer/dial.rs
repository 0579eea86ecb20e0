//! Calling another node: its addresses in turn, its key demanded, the purpose said. Questions go over a few kept connections.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::base::ids::{ClusterId, NodeId};
use crate::base::limits::peers::{OFFERS_MAX, PEER_CONNECT_WAIT, PEER_FRAME_MAX, PEER_IDLE_KEPT, PEER_IDLE_WAIT};
use crate::cluster::peer::PROTOCOL;
use crate::cluster::peer::book::Book;
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::frames::{receive, send};
use crate::cluster::peer::messages::{Ask, Class, Opened, Opening, Said, Why};
use crate::cluster::peer::offers::Offers;
use crate::ops::alive::is_silent;
use crate::tls::peer::{self, PeerKey, Pin};

pub(crate) type Stream = TlsStream<TcpStream>;

/// The other nodes, to be asked.
#[derive(Debug, Clone)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    book: Book,
    idle: Mutex<BTreeMap<NodeId, Vec<(Instant, Stream)>>>,
    offers: Offers,
}

impl Peers {
    pub fn new(book: Book) -> Self {
        Self(Arc::new(Inner { book, idle: Mutex::default(), offers: Offers::default() }))
    }

    pub fn book(&self) -> &Book {
        &self.0.book
    }

    pub(crate) fn offers(&self) -> &Offers {
        &self.0.offers
    }

    /// A fresh connection of a class.
    pub(crate) async fn open(&self, node: NodeId, class: Class) -> Result<Stream, PeerError> {
        if let Some(stream) = self.take(node, class).await? {
            return Ok(stream);
        }
        tokio::select! {
            dialed = self.dial(node, class) => dialed,
            () = self.offers().until(node), if !self.is_hidden(node) => {
                self.take(node, class).await?.ok_or(PeerError::Late)
            }
        }
    }

    /// The same over what the node offers; none where it offers nothing.
    async fn take(&self, node: NodeId, class: Class) -> Result<Option<Stream>, PeerError> {
        let book = self.book();
        let (pin, opening) = self.opening(node, class)?;
        for _ in 0..OFFERS_MAX {
            let Some(socket) = self.offers().take(node).await else { break };
            let call = timeout(PEER_CONNECT_WAIT, open_on(socket, book.key(), pin.clone(), &opening));
            match call.await.unwrap_or(Err(PeerError::Late)) {
                Ok(stream) => {
                    book.heard(node);
                    return Ok(Some(stream));
                }
                Err(error @ PeerError::Refused(_)) => {
                    book.was_refused(node, &error);
                    return Err(error);
                }
                // What was kept may be dead.
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// The same by calling the node.
    pub(crate) async fn dial(&self, node: NodeId, class: Class) -> Result<Stream, PeerError> {
        let book = self.book();
        let (pin, opening) = self.opening(node, class)?;
        let mut last = PeerError::NoAddress(node);
        for address in book.addresses(node) {
            match call(address, book.key(), pin.clone(), &opening).await {
                Ok(stream) => {
                    book.answered(node, address);
                    self.offers().forget(node);
                    return Ok(stream);
                }
                Err(error) => {
                    book.was_refused(node, &error);
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Whether a node that cannot be called is reached over connections it made.
    pub fn is_hidden(&self, node: NodeId) -> bool {
        self.offers().has(node)
    }

    /// Whether this node can call another one.
    pub(crate) async fn can_call(&self, node: NodeId) -> bool {
        // Who could not be called and asks again waits for nothing else.
        !self.offers().lacks(node) && matches!(self.dial(node, Class::Raft).await, Ok(_) | Err(PeerError::Refused(_)))
    }

    fn opening(&self, node: NodeId, class: Class) -> Result<(Pin, Opening), PeerError> {
        let book = self.book();
        let key = book.key_of(node).ok_or(PeerError::NoMember(node))?;
        let cluster = book.cluster().unwrap_or_default();
        let opening = Opening { protocol: PROTOCOL, cluster, from: book.own(), to: node, class };
        Ok((Pin::new(move |seen| seen == key), opening))
    }

    /// Asks and waits for the answer. A connection on which anything went wrong is not used again.
    pub(crate) async fn ask(&self, node: NodeId, ask: &Ask, wait: Duration) -> Result<Said, PeerError> {
        let opened = self.kept_or_open(node).await;
        let mut stream = opened.map_err(|error| PeerError::Unreached(Box::new(error)))?;
        let said = exchange(&mut stream, ask, wait).await?;
        self.book().heard(node);
        self.keep(node, stream);
        Ok(said)
    }

    /// Closes what is kept to who is a member no more.
    pub(crate) fn retain(&self, members: &BTreeSet<NodeId>) {
        self.offers().retain(members);
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).retain(|node, _| members.contains(node));
    }

    /// A connection for questions one after the other.
    pub(crate) async fn kept_or_open(&self, node: NodeId) -> Result<Stream, PeerError> {
        match self.kept(node) {
            Some(stream) => Ok(stream),
            None => self.open(node, Class::Raft).await,
        }
    }

    fn kept(&self, node: NodeId) -> Option<Stream> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let of_node = idle.get_mut(&node)?;
        of_node.retain(|(since, stream)| since.elapsed() < PEER_IDLE_WAIT / 2 && is_silent(stream.get_ref().0));
        of_node.pop().map(|(_, stream)| stream)
    }

    /// Keeps a connection on which nothing is under way for the next question.
    pub(crate) fn keep(&self, node: NodeId, stream: Stream) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let of_node = idle.entry(node).or_default();
        if of_node.len() < PEER_IDLE_KEPT {
            of_node.push((Instant::now(), stream));
        }
    }
}

/// One question on a connection that nobody else uses.
pub(crate) async fn exchange(stream: &mut Stream, ask: &Ask, wait: Duration) -> Result<Said, PeerError> {
    let exchange = async {
        send(stream, ask).await?;
        receive(stream, PEER_FRAME_MAX).await
    };
    timeout(wait, exchange).await.map_err(|_| PeerError::Late)?
}

/// Connects, proves both keys, says what for.
pub(crate) async fn call(address: SocketAddr, key: &PeerKey, pin: Pin, opening: &Opening) -> Result<Stream, PeerError> {
    let call = async { open_on(TcpStream::connect(address).await?, key, pin, opening).await };
    timeout(PEER_CONNECT_WAIT, call).await.map_err(|_| PeerError::Late)?
}

async fn open_on(socket: TcpStream, key: &PeerKey, pin: Pin, opening: &Opening) -> Result<Stream, PeerError> {
    let config = peer::client(key, pin)?;
    socket.set_nodelay(true)?;
    let name = ServerName::IpAddress(socket.peer_addr()?.ip().into());
    let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.map_err(distrusted)?;
    let opened = async {
        send(&mut stream, opening).await?;
        receive(&mut stream, PEER_FRAME_MAX).await
    };
    match opened.await.map_err(|error| unknown_there(error, opening.class))? {
        Opened::Welcome => Ok(stream),
        Opened::Refused(why) => Err(PeerError::Refused(why)),
    }
}

fn distrusted(error: std::io::Error) -> PeerError {
    let pinned = rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    let is_pin = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) == Some(&pinned);
    if is_pin { PeerError::OtherKey } else { error.into() }
}

/// A key that is not known is refused by TLS already (RFC 8446 section 6.2: access_denied).
fn unknown_there(error: PeerError, class: Class) -> PeerError {
    let PeerError::Io(cause) = &error else { return error };
    let alert = cause.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match (alert, class) {
        (Some(rustls::Error::AlertReceived(AlertDescription::AccessDenied)), Class::Join) => {
            PeerError::Refused(Why::NoTokenOpen)
        }
        (Some(rustls::Error::AlertReceived(AlertDescription::AccessDenied)), _) => PeerError::Refused(Why::NotAMember),
        _ => error,
    }
}

/// An opening by somebody who is no member yet.
pub(crate) fn knocking(from: NodeId, cluster: ClusterId) -> Opening {
    Opening { protocol: PROTOCOL, cluster, from, to: NodeId(0), class: Class::Join }
}
