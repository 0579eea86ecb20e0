//! What only the node that leads can do for whoever administers another one: asked of it in bytes that nobody here reads, and answered by
//! whom the daemon names.
use std::sync::{Arc, OnceLock};

use crate::base::limits::peers::PEER_RPC_WAIT;
use crate::cluster::member::Member;
use crate::cluster::peer::messages::{Ask, Said};

/// Answers at once, and never fails: what cannot be read is answered by nothing.
pub type Serve = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct Errands(Arc<OnceLock<Serve>>);

impl Member {
    /// Names who answers here; the first one stays.
    pub fn serve_errands(&self, serve: Serve) {
        let _ = self.errands().0.set(serve);
    }

    /// Asks the node that leads, which may be this one. None where nobody leads, or it does not answer in time.
    pub async fn errand(&self, asked: &[u8]) -> Option<Vec<u8>> {
        let leader = self.leader()?;
        let said = match leader == self.node() {
            true => self.answer_errand(asked),
            false => {
                let ask = Ask::Errand(serde_bytes::ByteBuf::from(asked));
                self.peers().ask(leader, &ask, PEER_RPC_WAIT).await.ok()?
            }
        };
        match said {
            Said::Errand(bytes) => Some(bytes.into_vec()),
            _ => None,
        }
    }

    /// For a member; who does not lead says so.
    pub(crate) fn answer_errand(&self, asked: &[u8]) -> Said {
        match self.errands().0.get() {
            Some(serve) if self.leads() => Said::Errand(serve(asked).into()),
            _ => Said::NotLeader,
        }
    }
}
