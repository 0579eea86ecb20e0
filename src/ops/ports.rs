//! The addresses a plane is asked at, while its node has that role: each opened as the plane wants it, one that cannot be had said on
//! the board and tried again until it can, all of them given up at the stop. Never accepts a connection and never reads a datagram.
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::SocketType;
use tokio::sync::watch;

use crate::base::limits::LISTEN_RETRY;
use crate::ops::board::Board;
use crate::ops::inherited::Inherited;
use crate::ops::sockets::{SocketError, is_optional};
use crate::ops::stop::Stop;

/// One address of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Where it stands there, such as `web.http`.
    pub name: &'static str,
    pub address: SocketAddr,
    /// A machine without IPv6 may pass over it.
    optional: bool,
}

impl Wanted {
    /// All addresses of one setting.
    pub fn all(name: &'static str, list: &[SocketAddr]) -> impl Iterator<Item = Self> {
        list.iter().map(move |&address| Self { name, address, optional: is_optional(address, list) })
    }
}

/// Who is told what is listened on: the setting, and the address with the port that was chosen; whether from now on or no more.
#[derive(Clone)]
pub struct Shown(Arc<dyn Fn(&'static str, SocketAddr, bool) + Send + Sync>);

impl Shown {
    pub fn new(told: impl Fn(&'static str, SocketAddr, bool) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

/// Whether the node has the role that a plane is for.
pub type Role = watch::Receiver<bool>;
/// Opens an address; with what it gave, where it is.
type Bind<T> = Box<dyn Fn(&Wanted, &Inherited) -> Result<(T, SocketAddr), SocketError> + Send + Sync>;

/// One address that is listened on.
#[derive(Debug)]
pub struct Held<T> {
    pub what: Arc<T>,
    /// Which of all that were ever opened.
    pub serial: u64,
    /// Its place in the configuration.
    at: usize,
    bound: SocketAddr,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self { what: Arc::clone(&self.what), ..*self }
    }
}

/// All addresses of a plane.
pub struct Ports<T> {
    addresses: Vec<Wanted>,
    bind: Bind<T>,
    inherited: Inherited,
    board: Board,
    shown: Shown,
    role: Role,
    /// Not had yet, by their places.
    wanted: Mutex<Vec<usize>>,
    /// In the order it came.
    opened: watch::Sender<Vec<Held<T>>>,
    serials: AtomicU64,
}

impl<T> fmt::Debug for Ports<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl<T> Ports<T> {
    /// Opens what can be had at once, if the node has the role.
    pub fn open(
        addresses: impl IntoIterator<Item = Wanted>,
        inherited: &Inherited,
        board: &Board,
        (shown, role): (Shown, Role),
        bind: impl Fn(&Wanted, &Inherited) -> Result<(T, SocketAddr), SocketError> + Send + Sync + 'static,
    ) -> Self {
        let addresses: Vec<Wanted> = addresses.into_iter().collect();
        let wanted = Mutex::new((0..addresses.len()).collect());
        let (board, opened, serials) = (board.clone(), watch::Sender::new(Vec::new()), AtomicU64::new(1));
        let (bind, inherited) = (Box::new(bind), inherited.clone());
        let ports = Self { addresses, bind, inherited, board, shown, role, wanted, opened, serials };
        if *ports.role.borrow() {
            ports.try_all();
        }
        ports
    }

    /// What is listened on, one after the other.
    pub fn opened(&self) -> Opened<T> {
        Opened { all: self.opened.subscribe(), last: 0 }
    }

    /// The address at a place of the configuration, as soon as it is listened on.
    pub async fn one(&self, at: usize) -> Option<Held<T>> {
        let mut opened = self.opened.subscribe();
        let of = |all: &Vec<Held<T>>| all.iter().find(|held| held.at == at).cloned();
        let all = opened.wait_for(|all| of(all).is_some()).await.ok()?;
        of(&all)
    }

    /// Returns when an address is not to be listened on any more: the node has the role no longer, or stops and those who were given
    /// something are the last to hold it, so that whoever comes until then finds somebody who accepts.
    pub async fn given_up(&self, serial: u64, stop: &Stop) {
        let mut opened = self.opened.subscribe();
        tokio::select! {
            _ = opened.wait_for(|all| all.iter().all(|held| held.serial != serial)) => {}
            _ = stop.drain() => {}
        }
    }

    /// Tries what is missing again and again, as long as the node has the role; at the stop lets go of everything, and returns when
    /// everybody has.
    pub async fn keep(&self, stop: &Stop) {
        let mut role = self.role.clone();
        loop {
            let has = *role.borrow_and_update();
            if has {
                self.try_all();
            } else {
                self.close();
            }
            let missing = has && !self.wanted().is_empty();
            tokio::select! {
                () = tokio::time::sleep(LISTEN_RETRY), if missing => {}
                Ok(()) = role.changed() => {}
                () = stop.give_up() => break,
            }
        }
        self.opened.send_replace(Vec::new());
        self.opened.closed().await;
    }

    /// Lets go of everything, and has nobody keep it.
    fn close(&self) {
        for held in self.opened.send_replace(Vec::new()) {
            for kind in [SocketType::STREAM, SocketType::DGRAM] {
                self.inherited.drop_at(held.bound, kind);
            }
            let name = self.addresses[held.at].name;
            tracing::info!(listener = name, address = %held.bound, "closed: the node has not that role");
            (self.shown.0)(name, held.bound, false);
        }
        let mut wanted = self.wanted();
        for at in wanted.iter() {
            self.board.clear(&self.entry(*at));
        }
        *wanted = (0..self.addresses.len()).collect();
    }

    fn try_all(&self) {
        self.wanted().retain(|at| self.try_one(*at));
    }

    /// Its place on the board.
    fn entry(&self, at: usize) -> String {
        let wanted = &self.addresses[at];
        format!("{} {}", wanted.name, wanted.address)
    }

    /// Whether it is still wanted afterwards.
    fn try_one(&self, at: usize) -> bool {
        let wanted = &self.addresses[at];
        match (self.bind)(wanted, &self.inherited) {
            Ok((what, bound)) => {
                (self.shown.0)(wanted.name, bound, true);
                self.board.clear(&self.entry(at));
                let (what, serial) = (Arc::new(what), self.serials.fetch_add(1, Ordering::Relaxed));
                self.opened.send_modify(|all| all.push(Held { what, serial, at, bound }));
                false
            }
            Err(SocketError::NoIpv6(address)) if wanted.optional => {
                tracing::info!(%address, "not listening there: this machine has no IPv6");
                false
            }
            Err(error) => {
                let text = format!("failed to {error}; it is tried again every few seconds");
                self.board.yellow(&self.entry(at), text);
                true
            }
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Vec<usize>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is listened on, as somebody takes it up. Whoever holds one keeps the stop waiting.
#[derive(Debug)]
pub struct Opened<T> {
    all: watch::Receiver<Vec<Held<T>>>,
    last: u64,
}

impl<T> Opened<T> {
    /// The next one, when there is one; none comes any more once they were given up.
    pub async fn next(&mut self) -> Held<T> {
        loop {
            if let Some(held) = self.all.borrow_and_update().iter().find(|held| held.serial > self.last) {
                self.last = held.serial;
                return held.clone();
            }
            if self.all.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::ops::board::Health;
    use crate::ops::listeners::each;
    use crate::ops::tasks::{Ends, Tasks};

    fn ports(
        list: &[SocketAddr],
        board: &Board,
        shown: &Arc<Mutex<Vec<SocketAddr>>>,
        role: Role,
    ) -> Ports<TcpListener> {
        let shown = Arc::clone(shown);
        let shown = Shown::new(move |_, bound, open| match open {
            true => shown.lock().unwrap().push(bound),
            false => shown.lock().unwrap().retain(|other| *other != bound),
        });
        Ports::open(Wanted::all("web.http", list), &Inherited::default(), board, (shown, role), |wanted, inherited| {
            let listener = each(wanted.address, 1, inherited)?.remove(0);
            let bound = listener.local_addr().unwrap_or(wanted.address);
            Ok((listener, bound))
        })
    }

    #[tokio::test]
    async fn what_is_taken_is_said_and_had_as_soon_as_it_is_free() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let (board, shown) = (Board::default(), Arc::default());
        let (taken, free) = (other.local_addr().unwrap(), "127.0.0.1:0".parse().unwrap());
        let (_role, has_it) = watch::channel(true);
        let ports = Arc::new(ports(&[taken, free], &board, &shown, has_it));
        let entry = &board.view().entries[0];
        assert_eq!((entry.name.as_str(), entry.health), (format!("web.http {taken}").as_str(), Health::Yellow));
        let mut opened = ports.opened();
        let first = opened.next().await;
        assert_eq!(shown.lock().unwrap()[..], [first.what.local_addr().unwrap()]);
        let tasks = Tasks::new(board.clone(), tokio::runtime::Handle::current());
        let keeping = Arc::clone(&ports);
        tasks.spawn_once("ports", Ends::AtGiveUp, move |stop| async move {
            keeping.keep(&stop).await;
            Ok(())
        });
        assert!(timeout(Duration::from_millis(100), opened.next()).await.is_err());
        drop(other);
        assert_eq!(opened.next().await.what.local_addr().unwrap(), taken);
        assert_eq!(ports.one(0).await.unwrap().what.local_addr().unwrap(), taken);
        assert!(board.view().entries.iter().all(|entry| !entry.name.starts_with("web")), "{board:?}");
        // At the stop nothing is opened any more, and who listens is waited for.
        let mut late = ports.opened();
        let stopping = tokio::spawn(async move { tasks.stop(Duration::from_secs(3600)).await });
        ports.opened.subscribe().wait_for(Vec::is_empty).await.unwrap();
        assert!(timeout(Duration::from_millis(100), late.next()).await.is_err() && !stopping.is_finished());
        drop((late, opened));
        stopping.await.unwrap();
    }

    #[tokio::test]
    async fn addresses_come_and_go_with_the_role() {
        let (board, shown) = (Board::default(), Arc::default());
        let (role, has_it) = watch::channel(false);
        let ports = Arc::new(ports(&["127.0.0.1:0".parse().unwrap()], &board, &shown, has_it));
        assert!(shown.lock().unwrap().is_empty());
        let tasks = Tasks::new(board.clone(), tokio::runtime::Handle::current());
        let keeping = Arc::clone(&ports);
        let (_stopper, stop) = crate::ops::stop::Stopper::new();
        tasks.spawn_once("ports", Ends::AtGiveUp, move |stop| async move {
            keeping.keep(&stop).await;
            Ok(())
        });
        let mut opened = ports.opened();
        for round in 1..=2 {
            role.send_replace(true);
            let Held { what, serial, .. } = opened.next().await;
            assert_eq!((serial, shown.lock().unwrap().len()), (round, 1));
            let address = what.local_addr().unwrap();
            assert!(timeout(Duration::from_millis(50), ports.given_up(serial, &stop)).await.is_err());
            role.send_replace(false);
            ports.given_up(serial, &stop).await;
            drop(what);
            assert!(shown.lock().unwrap().is_empty() && TcpListener::bind(address).is_ok());
        }
    }
}
