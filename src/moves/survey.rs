//! What a move would have to do, asked of the two nodes it concerns before anything is done.
use crate::base::ids::{NodeId, SiteId};
use crate::cluster::peer::error::PeerError;
use crate::files::jail::JailError;
use crate::files::manifest::Sum;
use crate::moves::Moves;
use crate::moves::wire::{Hello, Welcome};

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("ask the other node: {0}")]
    Refused(String),
}

/// What a site takes, and what is free where it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    pub sum: Sum,
    pub room: u64,
}

impl Moves {
    /// Looks at a site at its home, and at the disk of a node.
    pub async fn survey(&self, site: SiteId, home: NodeId, to: NodeId) -> Result<Survey, SurveyError> {
        let odd = || SurveyError::Refused("it said something else than it was asked".into());
        let Welcome::Survey(sum) = self.asked(home, Hello::Survey { site }).await? else { return Err(odd()) };
        let Welcome::Room(room) = self.asked(to, Hello::Room).await? else { return Err(odd()) };
        Ok(Survey { sum, room })
    }

    async fn asked(&self, node: NodeId, hello: Hello) -> Result<Welcome, SurveyError> {
        let own = self.clone();
        let blocking = |failed: crate::ops::blocking::BlockingError| SurveyError::Refused(failed.to_string());
        let said = if node == self.node {
            self.blocking.run(move || answer(&own, &hello)).await.map_err(blocking)?
        } else {
            let mut bulk = self.peers.bulk(node).await?;
            let ask = move || {
                bulk.send(&hello)?;
                bulk.receive()
            };
            self.blocking.run(ask).await.map_err(blocking)??
        };
        match said {
            Welcome::Refused(reason) => Err(SurveyError::Refused(reason)),
            said => Ok(said),
        }
    }
}

/// What this node says to such a question. Blocks.
pub(crate) fn answer(moves: &Moves, hello: &Hello) -> Welcome {
    let said = match hello {
        Hello::Survey { site } => match moves.dirs.jail(*site) {
            Ok(jail) => Sum::of(&jail).map(Welcome::Survey).map_err(|error| error.to_string()),
            Err(JailError::NotFound) => Ok(Welcome::Survey(Sum::default())),
            Err(error) => Err(error.to_string()),
        },
        Hello::Room => moves.dirs.room().map(Welcome::Room).map_err(|error| error.to_string()),
        Hello::Copy { .. } => Err("it is no question".to_owned()),
    };
    said.unwrap_or_else(Welcome::Refused)
}
