//! The first start: a cluster of one. Each step is looked at before it is made, so a start that was killed goes on.
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use crate::base::ids::{ClusterId, NodeId};
use crate::base::names::NodeName;
use crate::cluster::door::{Write, WriteError, random};
use crate::cluster::member::Member;
use crate::model::LEVEL;
use crate::model::change::Change;
use crate::model::cluster::Found;
use crate::seal::Sealed;
use crate::store::types::Peer;

/// How long a lone voter has to become leader before the start goes on without it.
const LEAD_WAIT: Duration = Duration::from_secs(2);

/// How long the start of a node that joined waits for its first state.
const FOLLOW_WAIT: Duration = Duration::from_secs(20);

/// Failed to found a cluster.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    #[error("make this node the first voter: {0}")]
    Initialize(String),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A random id; ids of nodes and clusters are made before there is a state that could make them.
pub fn random_id() -> u64 {
    crate::base::ids::Seed(random()).id()
}

impl Member {
    /// Makes this node a voter of one, if it is none yet, and leads. False: it does not lead (yet), everything else works.
    pub async fn lead(&self) -> Result<bool, FoundError> {
        let refused = |error: &dyn std::fmt::Display| FoundError::Initialize(error.to_string());
        let initialize = async {
            if self.raft().is_initialized().await.map_err(|error| refused(&error))? {
                return Ok(());
            }
            let key = self.peers().book().key().public().to_vec();
            let members = BTreeMap::from([(self.node().0, Peer { key })]);
            self.raft().initialize(members).await.map_err(|error| refused(&error))
        };
        // raft answers nothing while its first entry waits for space on the disk, and goes on by itself when there is some.
        let Ok(initialized) = timeout(LEAD_WAIT, initialize).await else { return Ok(false) };
        initialized?;
        let alone = self.status().voters == [self.node()];
        if alone && self.status().leader.is_none() {
            self.raft().trigger().elect().await.map_err(|error| refused(&error))?;
        }
        let led = self.raft().wait(Some(LEAD_WAIT)).metrics(|seen| seen.current_leader.is_some(), "leader").await;
        if alone && led.is_ok() {
            // What the log holds beyond the state is applied before anybody reads; where the disk is full it stays for later.
            let caught_up = timeout(LEAD_WAIT, self.raft().ensure_linearizable()).await;
            if !matches!(caught_up, Ok(Ok(_))) {
                tracing::warn!("the end of the log is not applied yet");
            }
        }
        Ok(led.is_ok())
    }

    /// Waits for what the cluster tells a node that joined: a leader, and the first state. Without it the start goes on all the same.
    pub async fn follow(&self) {
        if timeout(FOLLOW_WAIT, self.has_state()).await.is_err() {
            tracing::warn!(
                "no node of the cluster has answered yet: it is served what this node has, once it has something"
            );
        }
    }

    /// Returns once there is a state of a cluster here.
    pub async fn has_state(&self) {
        // None comes any more where the node stops.
        let _ = self.snapshot().wait_for(|now| now.cluster.is_some()).await;
    }

    /// Returns once there is a leader.
    pub async fn is_led(&self) -> Result<(), FoundError> {
        let led = self.raft().wait(None).metrics(|seen| seen.current_leader.is_some(), "leader").await;
        led.map(drop).map_err(|error| FoundError::Initialize(error.to_string()))
    }

    /// Writes the first change of a cluster.
    pub async fn found(&self, cluster: ClusterId, name: NodeName, key_check: Sealed) -> Result<(), FoundError> {
        let key = self.peers().book().key().public().to_vec();
        let found = Found { cluster, level: LEVEL, node: self.node(), name, key_check, key };
        self.door().write(Write::of_system(Change::Found(found))).await?;
        Ok(())
    }

    /// Whether the state was founded.
    pub fn is_founded(&self) -> bool {
        self.snapshot().borrow().cluster.is_some()
    }
}

/// The id a fresh node takes.
pub fn new_node_id() -> NodeId {
    NodeId(random_id())
}
