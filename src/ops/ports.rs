//! The addresses a plane is asked at: each opened as the plane wants it, one that cannot be had said on the board and tried again
//! until it can, all of them given up at the stop. Never accepts a connection and never reads a datagram.
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Who is told what is listened on: the setting, and the address with the port that was chosen.
#[derive(Clone)]
pub struct Shown(Arc<dyn Fn(&'static str, SocketAddr) + Send + Sync>);

impl Shown {
    pub fn new(told: impl Fn(&'static str, SocketAddr) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

/// Opens an address; with what it gave, where it is.
type Bind<T> = Box<dyn Fn(&Wanted, &Inherited) -> Result<(T, SocketAddr), SocketError> + Send + Sync>;
/// What is listened on, in the order it came, each with its place in the configuration.
type All<T> = Vec<(usize, Arc<T>)>;

/// All addresses of a plane.
pub struct Ports<T> {
    addresses: Vec<Wanted>,
    bind: Bind<T>,
    inherited: Inherited,
    board: Board,
    shown: Shown,
    /// Not had yet, by their places.
    wanted: Mutex<Vec<usize>>,
    opened: watch::Sender<All<T>>,
}

impl<T> fmt::Debug for Ports<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl<T> Ports<T> {
    /// Opens what can be had at once.
    pub fn open(
        addresses: impl IntoIterator<Item = Wanted>,
        inherited: &Inherited,
        board: &Board,
        shown: Shown,
        bind: impl Fn(&Wanted, &Inherited) -> Result<(T, SocketAddr), SocketError> + Send + Sync + 'static,
    ) -> Self {
        let addresses: Vec<Wanted> = addresses.into_iter().collect();
        let wanted = Mutex::new((0..addresses.len()).collect());
        let (board, opened) = (board.clone(), watch::Sender::new(Vec::new()));
        let inherited = inherited.clone();
        let ports = Self { addresses, bind: Box::new(bind), inherited, board, shown, wanted, opened };
        ports.wanted().retain(|at| ports.try_one(*at));
        ports
    }

    /// What is listened on, one after the other.
    pub fn opened(&self) -> Opened<T> {
        Opened { all: self.opened.subscribe(), taken: 0 }
    }

    /// The address at a place of the configuration, as soon as it is listened on.
    pub async fn one(&self, at: usize) -> Option<Arc<T>> {
        let mut opened = self.opened.subscribe();
        let of = |all: &All<T>| all.iter().find(|(place, _)| *place == at).map(|(_, one)| Arc::clone(one));
        let all = opened.wait_for(|all| of(all).is_some()).await.ok()?;
        of(&all)
    }

    /// Returns at the stop when those who were given something are the last to hold it: whoever comes until then finds somebody who
    /// accepts.
    pub async fn given_up(&self, stop: &Stop) {
        stop.give_up().await;
        let mut opened = self.opened.subscribe();
        tokio::select! {
            _ = opened.wait_for(Vec::is_empty) => {}
            _ = stop.drain() => {}
        }
    }

    /// Tries what is missing again and again; at the stop lets go of everything, and returns when everybody has.
    pub async fn keep(&self, stop: &Stop) {
        while !self.wanted().is_empty() {
            tokio::select! {
                () = tokio::time::sleep(LISTEN_RETRY) => {}
                () = stop.give_up() => break,
            }
            self.wanted().retain(|at| self.try_one(*at));
        }
        stop.give_up().await;
        self.opened.send_replace(Vec::new());
        self.opened.closed().await;
    }

    /// Whether it is still wanted afterwards.
    fn try_one(&self, at: usize) -> bool {
        let wanted = &self.addresses[at];
        let entry = format!("{} {}", wanted.name, wanted.address);
        match (self.bind)(wanted, &self.inherited) {
            Ok((opened, bound)) => {
                (self.shown.0)(wanted.name, bound);
                self.board.clear(&entry);
                self.opened.send_modify(|all| all.push((at, Arc::new(opened))));
                false
            }
            Err(SocketError::NoIpv6(address)) if wanted.optional => {
                tracing::info!(%address, "not listening there: this machine has no IPv6");
                false
            }
            Err(error) => {
                self.board.yellow(&entry, format!("failed to {error}; it is tried again every few seconds"));
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
    all: watch::Receiver<All<T>>,
    taken: usize,
}

impl<T> Opened<T> {
    /// The next one, when there is one; none comes any more once they were given up.
    pub async fn next(&mut self) -> Arc<T> {
        loop {
            if let Some((_, one)) = self.all.borrow_and_update().get(self.taken) {
                self.taken += 1;
                return Arc::clone(one);
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

    fn ports(list: &[SocketAddr], board: &Board, shown: &Arc<Mutex<Vec<SocketAddr>>>) -> Ports<TcpListener> {
        let shown = Arc::clone(shown);
        let shown = Shown::new(move |_, bound| shown.lock().unwrap().push(bound));
        Ports::open(Wanted::all("web.http", list), &Inherited::default(), board, shown, |wanted, inherited| {
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
        let ports = Arc::new(ports(&[taken, free], &board, &shown));
        let entry = &board.view().entries[0];
        assert_eq!((entry.name.as_str(), entry.health), (format!("web.http {taken}").as_str(), Health::Yellow));
        let mut opened = ports.opened();
        let first = opened.next().await;
        assert_eq!(shown.lock().unwrap()[..], [first.local_addr().unwrap()]);
        let tasks = Tasks::new(board.clone(), tokio::runtime::Handle::current());
        let keeping = Arc::clone(&ports);
        tasks.spawn_once("ports", Ends::AtGiveUp, move |stop| async move {
            keeping.keep(&stop).await;
            Ok(())
        });
        assert!(timeout(Duration::from_millis(100), opened.next()).await.is_err());
        drop(other);
        assert_eq!(opened.next().await.local_addr().unwrap(), taken);
        assert_eq!(ports.one(0).await.unwrap().local_addr().unwrap(), taken);
        assert!(board.view().entries.iter().all(|entry| !entry.name.starts_with("web")), "{board:?}");
        // At the stop nothing is opened any more, and who listens is waited for.
        let mut late = ports.opened();
        let stopping = tokio::spawn(async move { tasks.stop(Duration::from_secs(3600)).await });
        ports.opened.subscribe().wait_for(Vec::is_empty).await.unwrap();
        assert!(timeout(Duration::from_millis(100), late.next()).await.is_err() && !stopping.is_finished());
        drop((late, opened));
        stopping.await.unwrap();
    }
}
