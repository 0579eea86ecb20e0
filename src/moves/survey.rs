//! What a move would have to do, asked of the two nodes it concerns before anything is done.
use tokio::time::timeout;

use crate::base::ids::{NodeId, SiteId};
use crate::base::limits::moves::STANDING_WAIT;
use crate::cluster::peer::error::PeerError;
use crate::files::jail::JailError;
use crate::files::manifest::Sum;
use crate::moves::Moves;
use crate::moves::wire::{Hello, Standing, Welcome};

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("ask the other node: {0}")]
    Refused(String),
}

impl Moves {
    /// What a site takes at its home.
    pub async fn size(&self, site: SiteId, home: NodeId) -> Result<Sum, SurveyError> {
        let Welcome::Survey(sum) = self.asked(home, Hello::Survey { site }).await? else { return Err(odd()) };
        Ok(sum)
    }

    /// What is free on the disk of a node.
    pub async fn room(&self, node: NodeId) -> Result<u64, SurveyError> {
        let Welcome::Room(room) = self.asked(node, Hello::Room).await? else { return Err(odd()) };
        Ok(room)
    }

    /// How the copy of a site is that stands by on a node; none where it does not say so in time.
    pub async fn standing(&self, site: SiteId, node: NodeId) -> Option<Standing> {
        match timeout(STANDING_WAIT, self.asked(node, Hello::Standing { site })).await {
            Ok(Ok(Welcome::Standing(standing))) => Some(standing),
            _ => None,
        }
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

fn odd() -> SurveyError {
    SurveyError::Refused("it said something else than it was asked".into())
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
        Hello::Standing { site } => Ok(Welcome::Standing(moves.standings.of(moves, *site))),
        Hello::Copy { .. } | Hello::Touched { .. } => Err("it is no question".to_owned()),
    };
    said.unwrap_or_else(Welcome::Refused)
}
