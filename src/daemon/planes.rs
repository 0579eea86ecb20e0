//! What serves customers: the planes, and what feeds them. Wires only.
use std::sync::Arc;

use crate::cluster::inbound::Arrivals;
use crate::cluster::member::Member;
use crate::config::Config;
use crate::daemon::listen::{self, Shown};
use crate::dns::Dns;
use crate::files::gate::Gates;
use crate::files::sites::SiteDirs;
use crate::ftp::Ftp;
use crate::ops::blocking::Blocking;
use crate::ops::board::Board;
use crate::ops::inherited::Inherited;
use crate::ops::metrics::Metrics;
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
    pub(crate) arrivals: Arrivals,
    pub(crate) inherited: &'a Inherited,
    pub(crate) shown: &'a Shown,
}

pub(crate) fn start(ground: Ground<'_>) -> Result<(), PlanesError> {
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
        arrivals,
        inherited,
        shown,
    } = ground;
    let feed = feed(member, tasks);
    let shown = listen::shown_to(shown);
    let ftp = Ftp {
        config: &config.ftp,
        node: member.node(),
        feed: feed.clone(),
        tls: tls.server_for_any_name()?,
        dirs: Arc::clone(dirs),
        gates: Gates::default(),
        blocking: blocking.clone(),
        door: member.door().only(),
        board,
        inherited,
        shown: shown.clone(),
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
        arrivals,
        inherited,
        shown: shown.clone(),
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
        shown,
    };
    dns.start(tasks);
    Ok(())
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
