//! A node from its first line to its last: read, lock, open, found, listen, say READY, wait, give up, drain.
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::Mode;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

use crate::admin;
use crate::admin::context::{Context, NodeInfo};
use crate::base::ids::NodeId;
use crate::base::limits::HAND_OVER_DRAIN;
use crate::base::names::NodeName;
use crate::base::version::version;
use crate::cluster::adoption::{self, AdoptionError};
use crate::cluster::inbound::{self, Outlets};
use crate::cluster::member::{Member, StartError};
use crate::cluster::peer::book::Book;
use crate::config::Config;
use crate::config::load::load;
use crate::daemon::certificates;
use crate::daemon::handover::{self, End, InheritError, Life};
use crate::daemon::identity::{self, IdentityError};
use crate::daemon::listen::{self, Shown};
use crate::daemon::peers::{self, Channel};
use crate::daemon::planes::{self, Ground, PlanesError};
use crate::daemon::reload;
use crate::daemon::signals::{SignalError, Signals};
use crate::daemon::tls;
use crate::files::lock::{self, DirLock, LockError};
use crate::files::logs::{Bounds, Logs};
use crate::files::sites::{SiteDirs, SiteDirsError};
use crate::model::nodes::Role;
use crate::ops::blocking::{self, Blocking};
use crate::ops::board::Board;
use crate::ops::inherited::Inherited;
use crate::ops::log::LogHandle;
use crate::ops::metrics::{Metrics, MetricsError};
use crate::ops::notify;
use crate::ops::sockets::SocketError;
use crate::ops::successor::HandOverError;
use crate::ops::tasks::{Ends, Tasks};
use crate::seal::keyring::Keyring;
use crate::store::copies::Copies;
use crate::store::database::OpenError;
use crate::store::local::Local;
use crate::store::node::Store;
use crate::tls::error::TlsError;
use crate::web::log::writer::Flush;

/// Exit codes of sysexits.h that tell the service manager that starting again will not help.
const DATA_DAMAGED: u8 = 65;
pub const BAD_CONFIG: u8 = 78;

/// Failed to run a node.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("make the data directory {path}: {source}")]
    DataDir { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Dirs(#[from] SiteDirsError),
    #[error(transparent)]
    Planes(#[from] PlanesError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Signals(#[from] SignalError),
    #[error(transparent)]
    Inherit(#[from] InheritError),
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    #[error(transparent)]
    Adoption(#[from] AdoptionError),
    #[error("start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// `ruche run`
pub fn run(file: Option<&Path>) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let log = match crate::ops::log::install(&config.log) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("error: failed to {error}");
            return ExitCode::FAILURE;
        }
    };
    // Started anew by this process, or by the one before, it would be called `exe`. Whether or not: it is for people.
    let _ = rustix::thread::set_name(c"ruche");
    // The databases hold password hashes: they are nobody else's to read, also where no service manager said so.
    rustix::process::umask(Mode::RWXO | Mode::WGRP);
    let runtime = control_runtime().map_err(RunError::Runtime);
    match runtime.and_then(|runtime| runtime.block_on(node(config, file, &log))) {
        Ok(End::Stop) => ExitCode::SUCCESS,
        Ok(End::Again) => again(),
        Err(error) => {
            tracing::error!("failed to {error}");
            notify::status(&format!("failed to {error}"));
            let damaged = matches!(
                error,
                RunError::Open(OpenError::Damaged { .. } | OpenError::Foreign { .. } | OpenError::Apart { .. })
            );
            if damaged { ExitCode::from(DATA_DAMAGED) } else { ExitCode::FAILURE }
        }
    }
}

/// The runtime of everything that is not a customer's request. One thread: raft, the door and the admin API hand work to
/// each other all the time, and a thread apart for each would cost more in wakeups than it wins.
pub fn control_runtime() -> std::io::Result<Runtime> {
    blocking::bound(Builder::new_current_thread().enable_all()).build()
}

/// Becomes the same program anew: the process, its service and what the service manager gave it stay.
fn again() -> ExitCode {
    let mut program = Command::new("/proc/self/exe");
    let mut arguments = std::env::args_os();
    // By that name the next version is found.
    program.arg0(arguments.next().unwrap_or_else(|| "ruche".into())).args(arguments);
    // What came with the start was withdrawn.
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
        program.env_remove(name);
    }
    let error = program.exec();
    tracing::error!("failed to start again: {error}");
    ExitCode::FAILURE
}

/// What everything of a node stands on.
struct Base {
    config: Config,
    board: Board,
    tasks: Tasks,
    blocking: Blocking,
    inherited: Inherited,
}

async fn node(config: Config, file: Option<&Path>, log: &LogHandle) -> Result<End, RunError> {
    let mut signals = Signals::new()?;
    let board = Board::default();
    let tasks = Tasks::new(board.clone(), Handle::current());
    let blocking = Blocking::new(Handle::current());
    let metrics = Metrics::install()?;
    let (predecessor, inherited) = handover::inherit().await?;
    let base = Base { config, board, tasks, blocking, inherited };
    let Base { config, board, tasks, blocking, inherited } = &base;

    let (lock, local) = data_dir(&base)?;
    let (member, joined) = member(&base, lock).await?;
    let held = member.is_founded() || joined;
    let keyring = Arc::new(identity::keyring(&config.node.data_dir, held)?);
    member.hold(&keyring);
    let (desk, shown) = listen::desk(config, inherited)?;
    let carried = peers(&base, &member, &keyring, &shown);
    if joined {
        member.follow().await;
    } else {
        lead(&base, &member, &keyring).await?;
    }
    identity::prove(&member, &keyring, &config.node.data_dir)?;
    reload::compare_name(config, &member, board);
    let tls = tls::start(tasks, &member, &keyring, blocking, &config.node).await?;

    let dirs = Arc::new(SiteDirs::open(&config.node.data_dir)?);
    let (flush, flushes) = Flush::new();
    let obtaining = certificates::start(tasks, &member, &keyring, board, blocking, config);
    member.serve_errands(Box::new(admin::obtained::errands(obtaining)));
    let moves = planes::start(Ground {
        config,
        tasks,
        board,
        blocking,
        metrics: &metrics,
        member: &member,
        keyring: &keyring,
        tls: &tls,
        local: &local,
        dirs: &dirs,
        flushes,
        carried,
        inherited,
        shown: &shown,
        shared_until: predecessor.as_ref().map(|_| Instant::now() + HAND_OVER_DRAIN),
    })?;
    let again = Arc::new(Notify::new());
    let api = admin::router(Context {
        door: member.door(),
        snapshot: member.snapshot(),
        history: member.history(),
        member: member.clone(),
        board: board.clone(),
        blocking: blocking.clone(),
        keyring,
        metrics,
        local,
        logs: Logs::new(dirs, Bounds::default()),
        flush,
        moves,
        info: info(config, member.node(), &shown),
        again: Arc::clone(&again),
    });
    tasks.spawn("admin", Ends::AtDrain, move |stop| listen::admit(desk.clone(), api.clone(), stop));

    handover::serves(predecessor, board, inherited).await;
    announce(tasks, &member, &config.node.name);
    let life = Life { tasks, board, inherited, member: &member, again: &again };
    let end = handover::until_the_end(&mut signals, (file, log, config), life).await?;
    tracing::info!("stopped");
    Ok(end)
}

/// Opens the peer channel; gives what other nodes carry here.
fn peers(base: &Base, member: &Member, keyring: &Arc<Keyring>, shown: &Shown) -> Outlets {
    let (inlets, outlets) = inbound::channels();
    let channel = Channel {
        config: base.config.cluster.clone(),
        deaf: deaf(&base.config),
        member: member.clone(),
        keyring: Arc::clone(keyring),
        board: base.board.clone(),
        shown: Arc::clone(shown),
        inlets,
        data_dir: base.config.node.data_dir.clone(),
        inherited: base.inherited.clone(),
        bound: Arc::default(),
    };
    peers::start(&base.tasks, channel);
    outlets
}

/// What this machine listens for nowhere.
fn deaf(config: &Config) -> BTreeSet<Role> {
    let none = [
        (Role::Web, config.web.http.is_empty() && config.web.https.is_empty()),
        (Role::Dns, config.dns.listen.is_empty()),
        (Role::Ftp, config.ftp.listen.is_empty()),
    ];
    none.into_iter().filter(|(_, none)| *none).map(|(role, _)| role).collect()
}

/// The node serves.
fn announce(tasks: &Tasks, member: &Member, name: &NodeName) {
    watch(tasks, member);
    let revision = member.snapshot().borrow().revision;
    tracing::info!(node = %name, id = %member.node(), revision, "ready");
}

fn info(config: &Config, id: NodeId, shown: &Shown) -> NodeInfo {
    NodeInfo {
        id,
        name: config.node.name.clone(),
        version: version(),
        data_dir: config.node.data_dir.clone(),
        listeners: shown.subscribe(),
    }
}

/// Tells the service manager that the node is alive, as long as its databases answer.
fn watch(tasks: &Tasks, member: &Member) {
    let member = member.clone();
    notify::watchdog(tasks, move || {
        let member = member.clone();
        async move { member.is_alive().await }
    });
}

/// The data directory, whose lock is held from here, as the node that starts is to find it.
fn data_dir(base: &Base) -> Result<(DirLock, Local), RunError> {
    let path = base.config.node.data_dir.as_path();
    let made = std::fs::DirBuilder::new().recursive(true).create(path);
    made.map_err(|source| RunError::DataDir { path: path.to_owned(), source })?;
    let lock = lock::acquire(path)?;
    adoption::adopt(path)?;
    let local = Local::open(path);
    keep_local_facts(&base.tasks, local.clone(), &base.blocking);
    Ok((lock, local))
}

/// Opens the databases and takes part in raft; also says whether this node joined a cluster that others had founded.
async fn member(base: &Base, lock: DirLock) -> Result<(Member, bool), RunError> {
    let Base { config, board, tasks, blocking, .. } = base;
    let path = &config.node.data_dir;
    let store = Store::open(path)?;
    keep_copies(tasks, Copies::new(&store.machine, path));
    let joined = adoption::joined(path);
    let id = identity::node_id(&store.log, joined.as_ref()).await?;
    let members = joined.as_ref().map(|joined| joined.members.clone()).unwrap_or_default();
    let book = Book::new(id, identity::peer_key(path)?, store.machine.snapshot(), members);
    let (member, proposals) = Member::start(store, book, blocking.clone()).await?;
    give_up_databases_last(tasks, &member, blocking, lock);
    member.run(tasks, board, proposals);
    Ok((member, joined.is_some()))
}

/// Statistics of this node: counted from here, written now and then. The next process opens them while this one still drains.
fn keep_local_facts(tasks: &Tasks, local: Local, blocking: &Blocking) {
    local.started();
    metrics::counter!("ruche_starts_total").absolute(local.starts());
    metrics::counter!("ruche_unclean_stops_total").absolute(local.unclean_stops());
    let blocking = blocking.clone();
    tasks.spawn("local", Ends::AtGiveUp, move |stop| {
        let (local, blocking) = (local.clone(), blocking.clone());
        async move {
            local.keep(&stop).await;
            Ok(blocking.run(move || local.close()).await?)
        }
    });
}

fn keep_copies(tasks: &Tasks, copies: Copies) {
    tasks.spawn("copies", Ends::AtGiveUp, move |stop| {
        let copies = copies.clone();
        async move {
            copies.keep(&stop).await;
            Ok(())
        }
    });
}

/// The first task, so the last to give up: whoever writes has been told before. Then the next process may open the databases.
fn give_up_databases_last(tasks: &Tasks, member: &Member, blocking: &Blocking, lock: DirLock) {
    let (member, blocking) = (member.clone(), blocking.clone());
    tasks.spawn_once("databases", Ends::AtGiveUp, move |stop| async move {
        stop.give_up().await;
        member.stop(&blocking).await;
        drop(lock);
        Ok(())
    });
}

/// Leads a cluster of one, founding it at the first start. Where that has to wait (a full disk), serving does not.
async fn lead(base: &Base, member: &Member, keyring: &Arc<Keyring>) -> Result<(), RunError> {
    let Base { config, tasks, .. } = base;
    let leads = member.lead().await.map_err(IdentityError::from)?;
    if member.is_founded() || (leads && identity::found(member, &config.node.name, keyring).await.is_ok()) {
        return Ok(());
    }
    tracing::warn!("the cluster is founded as soon as that can be written");
    let (member, keyring, name) = (member.clone(), Arc::clone(keyring), config.node.name.clone());
    tasks.spawn("founding", Ends::AtGiveUp, move |stop| {
        let (member, keyring, name) = (member.clone(), Arc::clone(&keyring), name.clone());
        async move {
            let found = async {
                member.is_led().await?;
                identity::found(&member, &name, &keyring).await
            };
            // What fails is tried again, as every task is.
            tokio::select! {
                done = found => done.map_err(Into::into),
                () = stop.give_up() => Ok(()),
            }
        }
    });
    Ok(())
}
