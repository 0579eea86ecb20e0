//! What this node says of itself: to the others at once when it starts, and in the state when that says otherwise. A lone node says
//! only which levels it knows.
use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::time::sleep;

use crate::base::limits::peers::{OWN_LOOK_EVERY, PEER_RPC_WAIT, SAY_RETRY};
use crate::cluster::door::{Write, WriteError};
use crate::cluster::member::Member;
use crate::cluster::peer::messages::Ask;
use crate::model::LEVEL;
use crate::model::change::Change;
use crate::model::nodes::{NodeSays, Role};
use crate::ops::stop::Stop;

/// What a node has to say of itself.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Where it is reached.
    pub reach: Vec<SocketAddr>,
    /// Its addresses are those of the machine, which may change.
    pub moves: bool,
    /// What it has no listener for.
    pub deaf: BTreeSet<Role>,
}

impl Member {
    /// Keeps what the others know of this node true, also when its addresses change. `look`: what it has to say now.
    pub async fn say_where(&self, look: impl Fn() -> Own, stop: &Stop) {
        let mut own = look();
        loop {
            self.peers().book().tell(self.node(), own.reach.clone());
            own = tokio::select! {
                now = moved(&own, &look) => now,
                // The state is no more.
                () = self.keep_saying(&own) => return,
                () = stop.give_up() => return,
            };
            tracing::info!(reach = ?own.reach, "this node has other addresses now");
        }
    }

    /// Says it, and again whenever the state says otherwise.
    async fn keep_saying(&self, own: &Own) {
        self.tell_all(&own.reach).await;
        let mut snapshot = self.snapshot();
        loop {
            let told = match self.unsaid(own) {
                None => Ok(()),
                Some(says) => self.door().write(Write::of_system(Change::NodeSays(says))).await.map(drop),
            };
            match told {
                Ok(()) | Err(WriteError::Refused(_)) => {
                    let seen = snapshot.borrow_and_update().revision;
                    if (self.unsaid(own).is_none() || told.is_err())
                        && snapshot.wait_for(|now| now.revision > seen).await.is_err()
                    {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!("the cluster does not know yet where this node is: failed to {error}");
                    sleep(SAY_RETRY).await;
                    // Who was not reached before may be by now.
                    self.tell_all(&own.reach).await;
                }
            }
        }
    }

    async fn tell_all(&self, reach: &[SocketAddr]) {
        if reach.is_empty() {
            return;
        }
        for known in self.peers().book().members().members {
            if known.node != self.node() {
                // Who is away learns it from the state.
                let _ = self.peers().ask(known.node, &Ask::Tell { reach: reach.to_vec() }, PEER_RPC_WAIT).await;
            }
        }
    }

    /// What the state lacks or has wrong about this node; an address it was given by others stays while it knows none itself.
    fn unsaid(&self, Own { reach, deaf, .. }: &Own) -> Option<NodeSays> {
        let now = self.now();
        let own = now.nodes.get(&self.node())?;
        let key = self.peers().book().key().public();
        // Nobody reaches for a lone node; what it knows decides to which level its state may be raised.
        let alone = now.nodes.len() == 1;
        let reach = if reach.is_empty() || alone { &own.reach } else { reach };
        let deaf = if alone { &own.deaf } else { deaf };
        let right = own.key == key && own.reach == *reach && own.knows == LEVEL && own.deaf == *deaf;
        (!right).then(|| NodeSays {
            node: own.id,
            key: key.to_vec(),
            reach: reach.clone(),
            knows: LEVEL,
            deaf: deaf.clone(),
        })
    }
}

/// Returns once this node is reached elsewhere; one that is reached nowhere just now has nothing to say.
async fn moved(own: &Own, look: impl Fn() -> Own) -> Own {
    if !own.moves {
        std::future::pending::<()>().await;
    }
    loop {
        sleep(OWN_LOOK_EVERY).await;
        let now = look();
        if now.reach != own.reach && !now.reach.is_empty() {
            return now;
        }
    }
}
