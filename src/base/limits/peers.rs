//! Bounds of the peer channel: what nodes take from each other and how long they wait. A member is trusted with the state, not with
//! this node's memory.
use std::time::Duration;

/// Connections of peers and of whoever knocks at one time; a node keeps a handful to each of the others, and one for each
/// request it forwards.
pub const PEER_CONNECTIONS_MAX: usize = 4096;
/// Connections that have not shown who they are, at one time: a joiner needs one. With more of them the oldest goes.
pub const PEER_STRANGERS_MAX: usize = 32;
/// The same of those that come from where a member is: those of many nodes that start at one time.
pub const PEER_NEIGHBOURS_MAX: usize = 256;
/// How long connecting, the TLS handshake and the opening may take; of who wants to join, with what it says of itself.
pub const PEER_CONNECT_WAIT: Duration = Duration::from_secs(3);
/// One message, log entries included: `PEER_ENTRIES_BYTES`, one more entry as large as entries get, and what names them.
pub const PEER_FRAME_MAX: usize = 8 << 20;
/// One message of somebody who is no member (yet): a name, a key and a few addresses.
pub const PEER_STRANGER_FRAME_MAX: usize = 16 << 10;
/// Bytes of log entries in one message, past its first entry.
pub const PEER_ENTRIES_BYTES: usize = 4 << 20;
/// How long an answer of raft's is waited for: longer than a slow card's worst stall that is not worth a new connection.
pub const PEER_RPC_WAIT: Duration = Duration::from_secs(5);
/// How long a voter may take to say whether it would vote: it only looks.
pub const PEER_CANVASS_WAIT: Duration = Duration::from_millis(700);
/// First and longest pause before a peer that could not be reached is tried again.
pub const PEER_PAUSE_FIRST: Duration = Duration::from_millis(200);
pub const PEER_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Between two words to a node that could not be given a copy of the state, and how many of them before the next copy is made at most (as
/// a power of two): to make one writes as much as the state has.
pub const PEER_COPY_PAUSE: Duration = Duration::from_secs(1);
pub const PEER_COPY_PAUSES_LOG2: u32 = 3;
/// How long a connection may stay silent before either side gives it up: several heartbeats.
pub const PEER_IDLE_WAIT: Duration = Duration::from_secs(60);
/// Silence on a copy of the state under way after which the connection is given up; the copy goes on over another one.
pub const PEER_COPY_WAIT: Duration = Duration::from_secs(20);
/// Bytes read and written at one time while a copy of the state is sent.
pub const PEER_COPY_PIECE: usize = 256 << 10;
/// Connections in a row that may bring a copy no further before it is made anew: a link that is down for half a minute.
pub const PEER_COPY_TRIES: usize = 10;
/// How long the beginning of a copy is kept for its rest.
pub const PEER_COPY_KEPT: Duration = Duration::from_secs(120);
/// A copy of the state as it is received: a hundred times what ten thousand sites take.
pub const PEER_COPY_MAX: u64 = 2 << 30;
/// Idle connections kept to one peer for what this node asks by itself.
pub const PEER_IDLE_KEPT: usize = 4;
/// Connections a node keeps to each of those that cannot call it, for them to take: what is taken is replaced within a few round trips.
pub const OFFERS_KEPT: usize = 4;
/// Such connections kept of one node: those of its last process may not have ended yet.
pub const OFFERS_MAX: usize = 2 * OFFERS_KEPT;
/// How often the kernel asks whether one still stands, how often in vain, and how long what was sent may go unanswered: what translates
/// addresses forgets what is silent, and everything when its line was lost.
pub const OFFER_ALIVE_EVERY: Duration = Duration::from_secs(10);
pub const OFFER_ALIVE_ASKED: u32 = 3;
pub const OFFER_ALIVE_WAIT: Duration = Duration::from_secs(12);
/// How often a node asks each of the others whether it can be called, once it could and once it could not: what stands before it may be
/// set up otherwise meanwhile. The answer to that is two handshakes, and many nodes ask each other.
pub const REACHED_ASK_EVERY: Duration = Duration::from_secs(3600);
pub const HIDDEN_ASK_EVERY: Duration = Duration::from_secs(600);
/// Longest pause before one that does not answer that is asked again: it may be away, or of a release that knows no such question.
pub const REACHED_RETRY_MAX: Duration = Duration::from_secs(60);
/// How long the answer may take: some of its addresses may swallow what is sent there.
pub const REACHED_WAIT: Duration = Duration::from_secs(20);
/// Connections that carry visitors and wait for a thread: it takes them at once, or is drowned.
pub const CARRIED_WAITING_MAX: usize = 64;
/// How long a request waits for a change that the node which carried it knew already.
pub const CARRIED_BEHIND_WAIT: Duration = Duration::from_secs(2);
/// Addresses in a join token: who makes one names some nodes, in case the first is away.
pub const JOIN_ADDRESSES_MAX: usize = 5;
/// How long a join token is good for unless it is said otherwise.
pub const JOIN_TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// Longest join token as text.
pub const JOIN_TOKEN_TEXT_MAX: usize = 2048;

/// How often a leader says that it is there: two wakeups a second for a follower.
pub const HEARTBEAT_EVERY: Duration = Duration::from_millis(1000);
/// How long voters stand by a leader they heard of: it outlasts one heartbeat that is late.
pub const LEADER_LEASE: Duration = Duration::from_millis(1500);
/// Silence, past the lease, after which the first of the voters stands for election; the connection has not told it anything.
pub const SILENCE_PAST_LEASE: Duration = Duration::from_millis(250);
/// The same where the leader's connection has broken: nothing is to be waited for but the lease.
pub const BROKEN_PAST_LEASE: Duration = Duration::from_millis(30);
/// Each voter waits so much longer than the one before it, so that they do not split their votes.
pub const RANK_STEP: Duration = Duration::from_millis(200);
/// Shortest pause between two elections one node asks for.
pub const ELECTION_REST: Duration = Duration::from_millis(400);
/// A timer that rings so much too late was frozen, not the leader.
pub const OVERRUN_MAX: Duration = Duration::from_millis(500);
/// How long a change waits for a leader before `no-quorum`.
pub const LEADER_WAIT: Duration = Duration::from_secs(5);
/// Silence of a majority after which a leader takes no more changes.
pub const QUORUM_SILENCE: Duration = Duration::from_secs(3);
/// How long a stopping leader waits for its successor to have everything, and to lead.
pub const HAND_OVER_WAIT: Duration = Duration::from_secs(2);
/// How far a leader's clock may be past the last batch before the other voters' clocks are asked: an idle cluster pays a round trip
/// with the first change of an hour.
pub const CLOCK_JUMP_MAX: Duration = Duration::from_secs(3600);
/// How long it goes by what they said where they did not agree with it.
pub const CLOCK_ASK_EVERY: Duration = Duration::from_secs(60);
/// Numbers of voters, each for clusters that have as many nodes: a minority of them can be lost. More than five would only be waited
/// for, and an even number survives no more than the one below it.
pub const VOTERS: [usize; 3] = [5, 3, 1];
/// Entries a node may lack and still become a voter.
pub const VOTER_LAG_MAX: u64 = 1000;
/// Silence after which the leader states that a node is down, and how long it must be heard again to be up.
pub const DOWN_AFTER: Duration = Duration::from_secs(10);
pub const UP_AFTER: Duration = Duration::from_secs(30);
/// How long the state of another node is asked for to show it: somebody waits for the table.
pub const PEER_LOOK_WAIT: Duration = Duration::from_secs(2);
/// How long a node that is asked waits until it serves a revision, before it says that it does not yet.
pub const PEER_SERVED_WAIT: Duration = Duration::from_secs(3);
/// How long the answer to a write waits for the second of two copies: a healthy node has it within a few milliseconds.
pub const SECOND_COPY_WAIT: Duration = Duration::from_millis(500);
/// Entries of the log a node may lack and still be ready: what comes in a second under load.
pub const READY_BEHIND_MAX: u64 = 1000;
/// How long a home may go on writing sites with automatic failover without a word of the leader, counted from before it asked; how often
/// it asks, and asks again; how long an answer may take. Death, this and its grace end before the leader states that a node is down.
pub const SITE_LEASE: Duration = Duration::from_secs(6);
pub const SITE_LEASE_EVERY: Duration = Duration::from_secs(2);
pub const SITE_LEASE_RETRY: Duration = Duration::from_millis(250);
pub const SITE_LEASE_WAIT: Duration = Duration::from_secs(2);
/// What the leader waits longer than a home may write: what a write that has begun may take, and clocks that do not go alike.
pub const SITE_LEASE_GRACE: Duration = Duration::from_secs(2);
/// How often a leader looks whether the membership is as it should be, once it has somebody to lead.
pub const TEND_EVERY: Duration = Duration::from_secs(1);
/// How often a node looks at its own addresses: a router may give it another one. Each look is a few wakeups of one that is idle.
pub const OWN_LOOK_EVERY: Duration = Duration::from_secs(30);
/// Pause before a node says again where it is, when that could not be written.
pub const SAY_RETRY: Duration = Duration::from_secs(3);
/// How long after a change the state is compared with that of others: by then they have it too.
pub const COMPARE_AFTER: Duration = Duration::from_secs(10);
/// How often, and with which pauses, two states are looked for at one revision: where changes come all the time they may never meet.
pub const COMPARE_TRIES: usize = 10;
pub const COMPARE_RETRY: Duration = Duration::from_millis(100);
