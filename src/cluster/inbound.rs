//! Connections on which another node carries visitors, or operations on files, here: proved, opened, and handed to who serves them.
//! Never read.
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ServerConnection;
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};
use tokio_rustls::TlsAcceptor;

use crate::base::ids::NodeId;
use crate::base::limits::peers::CARRIED_WAITING_MAX;
use crate::cluster::peer::accept::Called;
use crate::cluster::peer::dial::Peers;

/// One such connection, with its place among those of peers.
pub struct Carried {
    pub socket: TcpStream,
    pub session: ServerConnection,
    pub place: OwnedSemaphorePermit,
    pub caller: Caller,
    pub(crate) acceptor: TlsAcceptor,
}

/// The node that carries something here, by the key it proved.
#[derive(Debug)]
pub struct Caller {
    pub(crate) peers: Peers,
    pub(crate) node: NodeId,
    pub(crate) key: Vec<u8>,
}

impl Caller {
    /// Whether it still is a member: asked before each answer.
    pub fn is_member(&self) -> bool {
        self.peers.book().who(&self.key) == Some(self.node)
    }
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Carried({:?})", self.socket)
    }
}

impl Carried {
    /// The stream, on the runtime of the caller.
    pub(crate) async fn stream(self) -> io::Result<(Called, Caller, OwnedSemaphorePermit)> {
        let (socket, session) = (tokio::net::TcpStream::from_std(self.socket)?, self.session);
        // The handshake is done: it goes on where it was.
        let stream = self.acceptor.accept_with(socket, |begun| *begun = session).await?;
        Ok((stream, self.caller, self.place))
    }
}

/// Where they are handed in.
#[derive(Debug, Clone)]
pub struct Inbound(mpsc::Sender<Carried>);

/// Where they are taken from, by any of several threads.
#[derive(Debug, Clone)]
pub struct Arrivals(Arc<Mutex<mpsc::Receiver<Carried>>>);

/// Where they are handed in, by what they carry.
#[derive(Debug, Clone)]
pub struct Inlets {
    /// Visitors of sites.
    pub visitors: Inbound,
    /// Operations on files.
    pub files: Inbound,
    /// Copies of files.
    pub copies: Inbound,
}

/// Where they are taken from.
#[derive(Debug, Clone)]
pub struct Outlets {
    pub visitors: Arrivals,
    pub files: Arrivals,
    pub copies: Arrivals,
}

pub fn channels() -> (Inlets, Outlets) {
    let ((visitors, served), (files, asked), (copies, given)) = (channel(), channel(), channel());
    (Inlets { visitors, files, copies }, Outlets { visitors: served, files: asked, copies: given })
}

fn channel() -> (Inbound, Arrivals) {
    let (inbound, arrivals) = mpsc::channel(CARRIED_WAITING_MAX);
    (Inbound(inbound), Arrivals(Arc::new(Mutex::new(arrivals))))
}

impl Inbound {
    /// Whether nobody serves what would be handed in.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Where too many wait already the connection is closed, and asked for again.
    pub(crate) fn hand_in(&self, carried: Carried) {
        if self.0.try_send(carried).is_err() {
            tracing::debug!("a carried connection was refused: too many wait");
        }
    }
}

impl Arrivals {
    /// The next one; none once nobody hands in any more.
    pub async fn next(&self) -> Option<Carried> {
        self.0.lock().await.recv().await
    }
}
