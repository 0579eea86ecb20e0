//! One writer for each site with sessions, so that the count of what its files take is right, and one count for each user with a
//! quota. Kept for a while after the last session: counting reads every directory of a site. Blocks.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::base::ids::SiteId;
use crate::base::limits::{FTP_SITES_KEPT, FTP_USE_KEPT};
use crate::base::names::Login;
use crate::files::gate::Permit;
use crate::files::sites::SiteDirs;
use crate::files::usage::Usage;
use crate::files::write::{WriteError, Writer};
use crate::model::ftp_users::FtpUser;

/// All writers of this node.
#[derive(Debug, Default)]
pub(crate) struct Stores(Mutex<HashMap<SiteId, Arc<Store>>>);

/// The writer of one site, once there is one.
#[derive(Debug, Default)]
struct Store(Mutex<Option<Open>>);

#[derive(Debug)]
struct Open {
    /// Each session holds it as well: while one does, the count is the only one.
    writer: Arc<Writer>,
    counted: Instant,
    users: HashMap<Login, User>,
}

#[derive(Debug)]
struct User {
    dir: String,
    usage: Usage,
    counted: Instant,
}

/// A session's hand on its site.
#[derive(Debug)]
pub(crate) struct Held {
    /// For the directory of the user.
    pub(crate) writer: Writer,
    /// What the user's own quota is counted by.
    pub(crate) own: Option<Usage>,
    _site: Arc<Writer>,
}

impl Stores {
    /// The way a user writes to a site. Makes the directories that are missing; may count the files, which takes long.
    pub(crate) fn open(
        &self,
        dirs: &SiteDirs,
        permit: &Permit,
        user: &FtpUser,
        quota: Option<u64>,
    ) -> Result<Held, WriteError> {
        let store = self.store(permit.site());
        let mut open = lock(&store.0);
        let now = Instant::now();
        let fresh = |open: &Open| Arc::strong_count(&open.writer) > 1 || now - open.counted < FTP_USE_KEPT;
        if !open.as_ref().is_some_and(fresh) {
            // The old one first: opening sweeps what nobody uploads any more.
            *open = None;
            let writer = Arc::new(Writer::open(dirs, permit.site(), quota)?);
            *open = Some(Open { writer, counted: now, users: HashMap::new() });
        }
        let Some(Open { writer, users, .. }) = &mut *open else { unreachable!("it was opened above") };
        writer.usage().set_quota(quota);
        let inner = writer.within(permit, &user.dir)?;
        let own = match user.quota {
            None => None,
            Some(_) => Some(own(users, user, &inner, now)?),
        };
        Ok(Held { writer: inner.counted(own.clone()), own, _site: Arc::clone(writer) })
    }

    fn store(&self, site: SiteId) -> Arc<Store> {
        let mut all = lock(&self.0);
        if all.len() >= FTP_SITES_KEPT {
            // Those that nobody holds.
            all.retain(|_, store| {
                Arc::strong_count(store) > 1
                    || lock(&store.0).as_ref().is_some_and(|open| Arc::strong_count(&open.writer) > 1)
            });
        }
        Arc::clone(all.entry(site).or_default())
    }

    /// The site is gone, or at home elsewhere, or here anew; whoever still writes to it writes to what is in the trash.
    pub(crate) fn forget(&self, site: SiteId) {
        lock(&self.0).remove(&site);
    }
}

fn own(users: &mut HashMap<Login, User>, user: &FtpUser, writer: &Writer, now: Instant) -> Result<Usage, WriteError> {
    users.retain(|_, user| now - user.counted < FTP_USE_KEPT || user.usage.is_shared());
    match users.get(&user.login) {
        Some(known) if known.dir == user.dir => known.usage.set_quota(user.quota),
        _ => {
            let usage = Usage::of(writer.jail(), user.quota)?;
            users.insert(user.login.clone(), User { dir: user.dir.clone(), usage, counted: now });
        }
    }
    Ok(users[&user.login].usage.clone())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after each step; a panic while counting leaves no writer, and the next one counts.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
