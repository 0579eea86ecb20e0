//! Joining: a token made in the cluster, shown once by the machine that joins, over a channel on which both prove their keys. The
//! keyring is handed over only after the change is committed that makes the machine a node.
use std::net::SocketAddr;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::base::ids::{ClusterId, NodeId, RequestId};
use crate::base::limits::peers::{JOIN_ADDRESSES_MAX, JOIN_TOKEN_TEXT_MAX, PEER_FRAME_MAX};
use crate::base::limits::{NODE_ADDRESSES_MAX, WRITE_WAIT};
use crate::base::names::NodeName;
use crate::cluster::door::{Write, WriteError};
use crate::cluster::member::Member;
use crate::cluster::peer::accept::{Called, Reception};
use crate::cluster::peer::dial::{call, knocking};
use crate::cluster::peer::error::PeerError;
use crate::cluster::peer::frames::{receive, send};
use crate::cluster::peer::messages::{Knock, Knocked, Members};
use crate::model::LEVEL;
use crate::model::change::{Actor, Change};
use crate::model::joins::NodeJoin;
use crate::model::refusal::Refusal;
use crate::tls::peer::{PeerKey, Pin, fingerprint};

/// How long the answer to a knock may take: a change is made for it.
const KNOCK_WAIT: Duration = WRITE_WAIT.saturating_add(Duration::from_secs(10));
/// What a machine is told where the cluster cannot take the change now.
pub const NOT_TAKEN: &str = "not-taken";
const MARK: &str = "ruche-join-";
const SECRET: usize = 24;
const CHECK: usize = 4;

/// What a token says. Its text is copied by people: it says when it was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTicket {
    pub cluster: ClusterId,
    secret: ByteBuf,
    /// Where to knock, and the fingerprint of the key that must answer there.
    doors: Vec<(SocketAddr, ByteBuf)>,
}

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("read the join token: it is damaged or cut; copy the whole line that `ruche node token` printed")]
    Damaged,
    #[error("make a join token: no node of the cluster has said where it is reached; set `[cluster] advertise`")]
    NoDoor,
    #[error("make a join token: the cluster is not founded yet")]
    NotFounded,
    #[error("draw random bytes: {0}")]
    Random(#[from] getrandom::Error),
    #[error("join: {why}")]
    Refused { code: String, why: String },
    #[error("join through {at}: failed to {error}")]
    Peer { at: SocketAddr, error: Box<PeerError> },
}

/// What a machine that was let in is given.
pub struct Welcome {
    pub keyring: Zeroizing<Vec<u8>>,
    pub members: Members,
}

impl std::fmt::Debug for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Welcome").field("members", &self.members).finish_non_exhaustive()
    }
}

impl JoinTicket {
    /// A ticket to this cluster and the hash of its secret, which is all the state learns.
    pub fn make(member: &Member) -> Result<(Self, [u8; 32]), JoinError> {
        let members = member.peers().book().members();
        if members.cluster.0 == 0 {
            return Err(JoinError::NotFounded);
        }
        // This node first: it is up, for sure.
        let (own, others): (Vec<_>, Vec<_>) =
            members.members.into_iter().partition(|known| known.node == member.node());
        let door = |known: crate::cluster::peer::messages::Known| {
            let print = ByteBuf::from(fingerprint(&known.key).to_vec());
            known.reach.into_iter().map(move |address| (address, print.clone()))
        };
        let doors: Vec<_> = own.into_iter().chain(others).flat_map(door).take(JOIN_ADDRESSES_MAX).collect();
        if doors.is_empty() {
            return Err(JoinError::NoDoor);
        }
        let mut secret = vec![0; SECRET];
        getrandom::fill(&mut secret)?;
        let hash = hash(&secret);
        Ok((Self { cluster: members.cluster, secret: ByteBuf::from(secret), doors }, hash))
    }

    pub fn to_text(&self) -> String {
        let mut bytes = rmp_serde::to_vec(self).expect("a ticket has no failing serialiser");
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..CHECK]);
        format!("{MARK}{}", BASE64URL_NOPAD.encode(&bytes))
    }

    pub fn parse(text: &str) -> Result<Self, JoinError> {
        let text = text.trim();
        let body = text.strip_prefix(MARK).filter(|_| text.len() <= JOIN_TOKEN_TEXT_MAX).ok_or(JoinError::Damaged)?;
        let bytes = BASE64URL_NOPAD.decode(body.as_bytes()).map_err(|_| JoinError::Damaged)?;
        let (bytes, check) = bytes.split_last_chunk::<CHECK>().ok_or(JoinError::Damaged)?;
        if Sha256::digest(bytes)[..CHECK] != *check {
            return Err(JoinError::Damaged);
        }
        let ticket: Self = rmp_serde::from_slice(bytes).map_err(|_| JoinError::Damaged)?;
        if ticket.doors.is_empty() || ticket.doors.len() > JOIN_ADDRESSES_MAX {
            Err(JoinError::Damaged)
        } else {
            Ok(ticket)
        }
    }

    /// The id under which the holder of a key joins with this ticket: the same one, however often it tries.
    pub fn node(&self, key: &PeerKey) -> NodeId {
        let digest = Sha256::new().chain_update(&self.secret).chain_update(key.public()).finalize();
        let mut half = [0; 8];
        half.copy_from_slice(&digest[..8]);
        NodeId(u64::from_be_bytes(half).max(1))
    }

    /// Knocks at one door after the other, until one answers.
    pub async fn knock(&self, me: &Newcomer, key: &PeerKey) -> Result<Welcome, JoinError> {
        let mut last = JoinError::NoDoor;
        for (at, print) in &self.doors {
            match self.knock_at(*at, print, me, key).await {
                Ok(Knocked::Come { keyring, members }) => {
                    return Ok(Welcome { keyring: Zeroizing::new(keyring), members });
                }
                Ok(Knocked::Refused { code, why }) => return Err(JoinError::Refused { code, why }),
                // What one of them said tells more than that another one does not answer.
                Err(_) if matches!(&last, JoinError::Peer { error, .. } if matches!(**error, PeerError::Refused(_))) => {
                }
                Err(error) => last = JoinError::Peer { at: *at, error: Box::new(error) },
            }
        }
        Err(last)
    }

    async fn knock_at(&self, at: SocketAddr, print: &[u8], me: &Newcomer, key: &PeerKey) -> Result<Knocked, PeerError> {
        let print = print.to_vec();
        let pin = Pin::new(move |seen| fingerprint(seen)[..] == print[..]);
        let mut stream = call(at, key, pin, &knocking(me.node, self.cluster)).await?;
        let knock = Knock {
            secret: self.secret.to_vec(),
            node: me.node,
            name: me.name.clone(),
            reach: me.reach.clone(),
            port: me.port,
            knows: LEVEL,
        };
        let knocked = async {
            send(&mut stream, &knock).await?;
            receive(&mut stream, PEER_FRAME_MAX).await
        };
        timeout(KNOCK_WAIT, knocked).await.map_err(|_| PeerError::Late)?
    }
}

/// The machine that joins.
#[derive(Debug, Clone)]
pub struct Newcomer {
    pub node: NodeId,
    pub name: NodeName,
    /// Where it is reached; empty: where it calls from, at `port`.
    pub reach: Vec<SocketAddr>,
    pub port: Option<u16>,
}

pub(crate) fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl Reception {
    /// A machine knocks: with a secret it becomes a node, and a node that asks again is told again.
    pub(crate) async fn let_in(
        &self,
        stream: &mut Called,
        knock: Knock,
        key: &[u8],
        from: SocketAddr,
    ) -> Result<(), PeerError> {
        let node = knock.node;
        let knocked = match self.join(knock, key, from).await {
            Ok(()) => {
                tracing::info!(%node, %from, "a node has joined");
                Knocked::Come {
                    keyring: self.keyring.to_bytes().to_vec(),
                    members: self.member.peers().book().members(),
                }
            }
            Err(error) => {
                tracing::warn!(%node, %from, "a machine that wanted to join was refused: failed to {error}");
                let code = match &error {
                    WriteError::Refused(refusal) => refusal.code(),
                    _ => NOT_TAKEN,
                };
                let remedy = match &error {
                    WriteError::Refused(refusal) => format!(". {}", refusal.remedy()),
                    _ => String::new(),
                };
                Knocked::Refused { code: code.into(), why: format!("the cluster failed to {error}{remedy}") }
            }
        };
        send(stream, &knocked).await
    }

    async fn join(&self, knock: Knock, key: &[u8], from: SocketAddr) -> Result<(), WriteError> {
        let (book, node) = (self.member.peers().book(), knock.node);
        // Who was removed is known by its key until raft has let it go.
        if book.who(key) == Some(knock.node) && book.is_member(knock.node) {
            return Ok(());
        }
        let mut reach = knock.reach;
        reach.truncate(NODE_ADDRESSES_MAX);
        if let (true, Some(port)) = (reach.is_empty(), knock.port) {
            reach.push(SocketAddr::new(from.ip(), port));
        }
        let hash = hash(&knock.secret);
        // Who guesses has nothing written.
        let open = self
            .member
            .now()
            .cluster
            .as_ref()
            .is_some_and(|cluster| cluster.join_tokens.iter().any(|token| token.hash == hash));
        if !open {
            return Err(Refusal::JoinTokenInvalid.into());
        }
        let change =
            NodeJoin { hash, node: knock.node, name: knock.name, key: key.to_vec(), reach, knows: knock.knows };
        // Asked again after an answer that was lost, it is the same request.
        let (mut id, mut digest) = ([0; 16], [0; 16]);
        id.copy_from_slice(&Sha256::digest(hash)[..16]);
        digest.copy_from_slice(&Sha256::digest(key)[..16]);
        let request_id = RequestId { key: id, digest };
        let write = Write { request_id, actor: Actor::System, expect: None, change: Change::NodeJoin(change) };
        let answer = match self.member.door().write(write).await {
            // Somebody else has shown it meanwhile.
            Err(WriteError::Refused(Refusal::KeyReused)) => Err(Refusal::JoinTokenInvalid.into()),
            answer => answer,
        }?;
        let mut snapshot = self.member.snapshot();
        let _ = timeout(WRITE_WAIT, snapshot.wait_for(|now| now.revision >= answer.revision)).await;
        // The answer may be that of long ago.
        let is_node = self.member.now().nodes.get(&node).is_some_and(|node| node.key == key);
        if is_node { Ok(()) } else { Err(Refusal::JoinTokenInvalid.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_back_whole_or_not_at_all() {
        let doors = vec![("192.0.2.1:7480".parse().unwrap(), ByteBuf::from(vec![7; 32]))];
        let ticket = JoinTicket { cluster: ClusterId(9), secret: ByteBuf::from(vec![3; SECRET]), doors };
        let text = ticket.to_text();
        assert_eq!(JoinTicket::parse(&format!(" {text}\n")).unwrap(), ticket);
        assert!(text.len() < 160, "{text}");
        for cut in 0..text.len() {
            assert!(JoinTicket::parse(&text[..cut]).is_err(), "{cut}");
        }
        assert!(JoinTicket::parse(&text.replace('A', "B")).is_err());
        assert!(JoinTicket::parse(&format!("{MARK}{}", "A".repeat(JOIN_TOKEN_TEXT_MAX))).is_err());
    }
}
