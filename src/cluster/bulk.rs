//! A connection for much data between two nodes, for a thread that may block: messages, and bytes between them. Never on the runtime
//! that leads the cluster.
use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustls::StreamOwned;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::base::ids::NodeId;
use crate::base::limits::moves::{
    COPY_ALIVE_ASKED, COPY_ALIVE_EVERY, COPY_ALIVE_WAIT, COPY_FRAME_MAX, COPY_PIECE, COPY_WAIT,
};
use crate::cluster::inbound::{Caller, Carried};
use crate::cluster::peer::dial::Peers;
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::messages::Class;
use crate::ops::alive::notice_death;

trait Both: Read + Write + Send {}

impl<S: Read + Write + Send> Both for S {}

pub struct Bulk {
    stream: Box<dyn Both>,
    socket: TcpStream,
    /// What was said and not sent.
    out: Vec<u8>,
    _place: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bulk({:?})", self.socket)
    }
}

/// Ends a connection from elsewhere when dropped: who waits on it is told at once.
#[derive(Debug)]
pub struct Cut(Option<TcpStream>);

impl Cut {
    /// The connection goes on.
    pub fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            // Already closed is closed.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Peers {
    /// Opens one to another node.
    pub async fn bulk(&self, node: NodeId) -> Result<Bulk, PeerError> {
        let (socket, session) = self.open(node, Class::Copy).await?.into_inner();
        let socket = socket.into_std()?;
        Bulk::new(socket, |socket| Box::new(StreamOwned::new(session, socket)), None)
    }
}

impl Bulk {
    /// The other end of one, and who called.
    pub fn called(carried: Carried) -> Result<(Self, Caller), PeerError> {
        let Carried { socket, session, place, caller, .. } = carried;
        let bulk = Self::new(socket, |socket| Box::new(StreamOwned::new(session, socket)), Some(place))?;
        Ok((bulk, caller))
    }

    fn new(
        socket: TcpStream,
        wrap: impl FnOnce(TcpStream) -> Box<dyn Both>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<Self, PeerError> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(COPY_WAIT))?;
        socket.set_write_timeout(Some(COPY_WAIT))?;
        notice_death(&socket, COPY_ALIVE_EVERY, COPY_ALIVE_ASKED, COPY_ALIVE_WAIT).map_err(std::io::Error::from)?;
        let stream = wrap(socket.try_clone()?);
        Ok(Self { stream, socket, out: Vec::new(), _place: place })
    }

    /// What cuts it when dropped.
    pub fn cut(&self) -> Result<Cut, PeerError> {
        Ok(Cut(Some(self.socket.try_clone()?)))
    }

    /// Says something; it is sent with what follows, or when an answer is waited for.
    pub fn send(&mut self, message: &impl Serialize) -> Result<(), PeerError> {
        let bytes = rmp_serde::to_vec_named(message).map_err(|error| PeerError::Failed(error.to_string()))?;
        let length = u32::try_from(bytes.len()).map_err(|_| PeerError::TooLarge(bytes.len()))?;
        self.write(&length.to_be_bytes())?;
        self.write(&bytes)
    }

    /// Sends bytes after what was said.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PeerError> {
        if self.out.len() + bytes.len() < COPY_PIECE {
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        Ok(self.stream.write_all(bytes)?)
    }

    pub fn flush(&mut self) -> Result<(), PeerError> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(self.stream.flush()?)
    }

    /// The next message.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<T, PeerError> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > COPY_FRAME_MAX {
            return Err(PeerError::TooLarge(length));
        }
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        Ok(rmp_serde::from_slice(&bytes)?)
    }

    /// Bytes after a message, as many as there is room for.
    pub fn read(&mut self, into: &mut [u8]) -> Result<(), PeerError> {
        if !self.out.is_empty() {
            self.flush()?;
        }
        Ok(self.stream.read_exact(into)?)
    }
}
