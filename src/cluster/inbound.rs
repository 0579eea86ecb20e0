//! Connections on which another node carries visitors here: proved, opened, and handed to who serves sites. Never read.
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ServerConnection;
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};

use crate::base::limits::peers::CARRIED_WAITING_MAX;

/// One such connection, with its place among those of peers.
#[derive(Debug)]
pub struct Carried {
    pub socket: TcpStream,
    pub session: ServerConnection,
    pub place: OwnedSemaphorePermit,
}

/// Where they are handed in.
#[derive(Debug, Clone)]
pub struct Inbound(mpsc::Sender<Carried>);

/// Where they are taken from, by any of several threads.
#[derive(Debug, Clone)]
pub struct Arrivals(Arc<Mutex<mpsc::Receiver<Carried>>>);

pub fn channel() -> (Inbound, Arrivals) {
    let (inbound, arrivals) = mpsc::channel(CARRIED_WAITING_MAX);
    (Inbound(inbound), Arrivals(Arc::new(Mutex::new(arrivals))))
}

impl Inbound {
    /// Whether nobody serves sites here.
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
