//! What serves customers: the planes, and what feeds them. Wires only.
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::cluster::inbound::{Arrivals, Outlets};
use crate::cluster::member::Member;
use crate::config::Config;
use crate::daemon::listen::{self, Shown};
use crate::dns::Dns;
use crate::files::gate::Gates;
use crate::files::records::{RecordError, Records};
use crate::files::sites::SiteDirs;
use crate::files::watch::Watch;
use crate::ftp::Ftp;
use crate::model::nodes::Role;
use crate::model::state::Snapshot;
use crate::moves::Moves;
use crate::moves::follow::Standings;
use crate::ops::blocking::Blocking;
use crate::ops::board::Board;
use crate::ops::inherited::Inherited;
use crate::ops::metrics::Metrics;
use crate::ops::ports;
use crate::ops::tasks::{Ends, Tasks};
use crate::seal::keyring::Keyring;
use crate::store::feed::{Feed, Feeder};
use crate::store::local::Local;
use crate::tls::error::TlsError;
use crate::tls::order::ACME_TLS;
use crate::tls::server::Tls;
use crate::web::Web;
use crate::web::log::writer::Flushes;

/// What sites speak, the preferred first (RFC 7301), and what issuers speak that validate a name.
const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1", ACME_TLS];

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanesError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Records(#[from] RecordError),
}

/// What the planes stand on.
pub(crate) struct Ground<'a> {
    pub(crate) config: &'a Config,
    pub(crate) tasks: &'a Tasks,
    pub(crate) board: &'a Board,
    pub(crate) blocking: &'a Blocking,
    pub(crate) metrics: &'a Metrics,
    pub(crate) member: &'a Member,
    pub(crate) keyring: &'a Arc<Keyring>,
    pub(crate) tls: &'a Tls,
    pub(crate) local: &'a Local,
    pub(crate) dirs: &'a Arc<SiteDirs>,
    pub(crate) flushes: Flushes,
    /// What other nodes carry here.
    pub(crate) carried: Outlets,
    pub(crate) inherited: &'a Inherited,
    pub(crate) shown: &'a Shown,
    /// As the moves are told.
    pub(crate) shared_until: Option<Instant>,
}

pub(crate) fn start(ground: Ground<'_>) -> Result<Moves, PlanesError> {
    let Ground {
        config,
        tasks,
        board,
        blocking,
        metrics,
        member,
        keyring,
        tls,
        local,
        dirs,
        flushes,
        carried,
        inherited,
        shown,
        shared_until,
    } = ground;
    let feed = feed(member, tasks);
    // Before anybody can write to a site that is to rest.
    let moves = moves((member, board, dirs, blocking), config, &feed, carried.copies, shared_until)?;
    moves.clone().start(tasks);
    lease(member, &moves.gates, board, tasks);
    let shown = listen::shown_to(shown);
    let roles = roles(member, &feed, tasks);
    let ftp = Ftp {
        config: &config.ftp,
        node: member.node(),
        feed: feed.clone(),
        tls: tls.server_for_any_name()?,
        dirs: Arc::clone(dirs),
        gates: moves.gates.clone(),
        blocking: blocking.clone(),
        door: member.door().only(),
        peers: member.peers().clone(),
        arrivals: carried.files,
        board,
        inherited,
        shown: (shown.clone(), roles.ftp),
    };
    ftp.start(tasks);
    let web = Web {
        config: &config.web,
        node: member.node(),
        feed: feed.clone(),
        tls: tls.server(PROTOCOLS)?,
        dirs: Arc::clone(dirs),
        blocking: blocking.clone(),
        board,
        metrics,
        local: local.clone(),
        flushes,
        peers: member.peers().clone(),
        arrivals: carried.visitors,
        inherited,
        shown: (shown.clone(), roles.web),
    };
    web.start(tasks);
    let dns = Dns {
        config: &config.dns,
        node: member.node(),
        feed,
        keyring: Arc::clone(keyring),
        board,
        metrics,
        inherited,
        shown: (shown, roles.dns),
    };
    dns.start(tasks);
    Ok(moves)
}

fn moves(
    (member, board, dirs, blocking): (&Member, &Board, &Arc<SiteDirs>, &Blocking),
    config: &Config,
    feed: &Feed,
    arrivals: Arrivals,
    shared_until: Option<Instant>,
) -> Result<Moves, PlanesError> {
    Ok(Moves {
        node: member.node(),
        member: member.clone(),
        board: board.clone(),
        feed: feed.clone(),
        peers: member.peers().clone(),
        dirs: Arc::clone(dirs),
        gates: Gates::default(),
        blocking: blocking.clone(),
        door: member.door().only(),
        arrivals,
        watch: Watch::open(),
        records: Arc::new(Records::open(&config.node.data_dir)?),
        standings: Standings::default(),
        shared_until,
    })
}

/// Keeps the lease under which sites with automatic failover are written here.
fn lease(member: &Member, gates: &Gates, board: &Board, tasks: &Tasks) {
    let (member, gates, board) = (member.clone(), gates.clone(), board.clone());
    tasks.spawn("lease", Ends::AtGiveUp, move |stop| {
        let (member, gates, board) = (member.clone(), gates.clone(), board.clone());
        async move {
            member.keep_lease(&gates, &board, &stop).await;
            Ok(())
        }
    });
}

/// Paces the snapshots for all threads of all planes.
fn feed(member: &Member, tasks: &Tasks) -> Feed {
    let (mut feeder, feed) = Feeder::new(member.snapshot());
    tasks.spawn_once("feed", Ends::AtGiveUp, move |stop| async move {
        feeder.run(&stop).await;
        Ok(())
    });
    feed
}

/// Which planes are asked on this node.
struct Roles {
    web: ports::Role,
    dns: ports::Role,
    ftp: ports::Role,
}

/// Tells the planes, as the state says it, whether this node has their role; until the state knows this node it has all.
fn roles(member: &Member, feed: &Feed, tasks: &Tasks) -> Roles {
    let (node, mut view) = (member.node(), feed.view());
    let has = move |state: &Snapshot, role| state.nodes.get(&node).is_none_or(|node| node.roles.contains(&role));
    let switches = [Role::Web, Role::Dns, Role::Ftp].map(|role| (role, watch::Sender::new(has(view.now(), role))));
    let [web, dns, ftp] = switches.each_ref().map(|(_, switch)| switch.subscribe());
    tasks.spawn_once("roles", Ends::AtGiveUp, move |stop| async move {
        loop {
            tokio::select! {
                fed = view.changed() => if !fed { stop.give_up().await },
                () = stop.give_up() => {}
            }
            if stop.is_given_up() {
                return Ok(());
            }
            let newest = view.now();
            for (role, switch) in &switches {
                let now = has(newest, *role);
                switch.send_if_modified(|before| std::mem::replace(before, now) != now);
            }
        }
    });
    Roles { web, dns, ftp }
}
