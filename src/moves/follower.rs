//! One look of a standby at a site's home: fetches what its copy lacks. What was at home here once is not thrown away but kept aside,
//! where a new home did not have it.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::base::clock::Time;
use crate::cluster::bulk::Bulk;
use crate::cluster::door::Write;
use crate::files::records::Record;
use crate::files::replica::Replica;
use crate::model::sites::Site;
use crate::model::standbys::SiteRecovered;
use crate::moves::copying::Alone;
use crate::moves::pull::{self, Gauge, Pass, Pull, PullError};
use crate::moves::wire::Hello;
use crate::moves::{MovesKey, Room};

/// What one look is about.
pub(crate) struct Look {
    pub(crate) site: Arc<Site>,
    pub(crate) record: Option<Record>,
    pub(crate) replica: Option<Replica>,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) alone: Alone,
}

/// What came of it.
pub(crate) struct Looked {
    pub(crate) record: Option<Record>,
    pub(crate) replica: Option<Replica>,
    /// Whether everything is here; else why not.
    pub(crate) outcome: Result<(), String>,
}

/// Ends soon once `cut` is dropped or sent to, and has written its last then.
pub(crate) async fn look(room: Arc<Room>, look: Look, cut: oneshot::Receiver<()>) -> Looked {
    let record = look.record;
    let failed = |replica, why: String| Looked { record, replica, outcome: Err(why) };
    let opened = room.moves.peers.bulk(look.site.home).await.and_then(|bulk| Ok((bulk.cut()?, bulk)));
    let (cutter, bulk) = match opened {
        Ok(opened) => opened,
        // What is known of the files here is kept: nothing is compared by its content for a home that is away.
        Err(error) => return failed(look.replica, format!("failed to {error}")),
    };
    let site = Arc::clone(&look.site);
    let worked = {
        let room = Arc::clone(&room);
        let work = room.moves.blocking.clone();
        let mut work = std::pin::pin!(work.run(move || fetched(&room, bulk, look)));
        tokio::select! {
            worked = &mut work => { cutter.spare(); worked }
            _ = cut => {
                drop(cutter);
                work.await
            }
        }
    };
    match worked {
        Ok((looked, kept)) => {
            if let Some((folder, files)) = kept {
                tell(&room, &site, folder, files).await;
            }
            looked
        }
        Err(error) => failed(None, format!("failed to {error}")),
    }
}

/// On a thread of the pool. Also says what was kept aside, and where.
fn fetched(room: &Room, bulk: Bulk, look: Look) -> (Looked, Option<(String, u64)>) {
    let Look { site, mut record, replica, gauge, alone: _alone } = look;
    let begun = Time::now();
    let folder = format!("{}-{}", site.epoch, begun.seconds());
    let (mut replica, mut kept) = (replica, None);
    let passed = fetch(room, (&site, bulk, &gauge), (&mut record, &mut replica, folder));
    gauge.total.store(0, Ordering::Relaxed);
    let pass = match passed {
        Ok(pass) => pass,
        Err(error) => return (Looked { record, replica, outcome: Err(format!("failed to {error}")) }, None),
    };
    if pass.is_whole()
        && let Some(replica) = &mut replica
    {
        kept = replica.kept();
    }
    let mut outcome = match (&pass.unsteady, pass.left) {
        (None, false) => Ok(()),
        (Some(path), _) => Err(format!("{} changed while it was read", String::from_utf8_lossy(path))),
        (None, true) => Err("more changed than one pass fetches".to_owned()),
    };
    let known = record.is_some_and(|record| record.whole && record.epoch == site.epoch);
    if outcome.is_ok() && (!known || pass.fetched() > 0) {
        let whole = Record { epoch: site.epoch, whole: true, as_of: begun };
        match room.moves.records.put(site.id, &whole) {
            Ok(()) => record = Some(whole),
            Err(error) => outcome = Err(format!("failed to {error}")),
        }
    }
    (Looked { record, replica, outcome }, kept)
}

fn fetch(
    room: &Room,
    (site, mut bulk, gauge): (&Site, Bulk, &Arc<Gauge>),
    (record, held, folder): (&mut Option<Record>, &mut Option<Replica>, String),
) -> Result<Pass, PullError> {
    pull::greet(&mut bulk, &Hello::Copy { site: site.id, epoch: site.epoch })?;
    let free = room.moves.dirs.room().map_err(|error| PullError::Never(error.to_string()))?;
    let replica = match held.take() {
        Some(replica) => replica,
        None => open(room, site, record, folder)?,
    };
    let mut pull = Pull::new(bulk, replica, Arc::clone(gauge), None);
    let passed = pull.pass(free);
    *held = Some(pull.into_replica());
    passed
}

/// Opens the copy. Files without a record were at home here: until a pass has brought them in line nothing says that they are a copy.
fn open(room: &Room, site: &Site, record: &mut Option<Record>, folder: String) -> Result<Replica, PullError> {
    let dirs = &room.moves.dirs;
    if record.is_none() && dirs.jail(site.id).is_ok() {
        return Ok(Replica::open_and_keep(dirs, site.id, folder)?);
    }
    if !record.is_some_and(|record| record.epoch == site.epoch) {
        // From here on it is a mixture of two.
        let as_of = record.map(|record| record.as_of).unwrap_or_default();
        let mixed = Record { epoch: site.epoch, whole: false, as_of };
        room.moves.records.put(site.id, &mixed).map_err(|error| PullError::Never(error.to_string()))?;
        *record = Some(mixed);
    }
    Ok(Replica::open(dirs, site.id)?)
}

/// Tells the cluster what was kept.
async fn tell(room: &Room, site: &Site, folder: String, files: u64) {
    let folder = room.moves.dirs.recovered(site.id).join(folder).display().to_string();
    tracing::warn!(site = %site.host, folder, files, "its new home did not have what is kept there");
    let node = room.moves.node;
    let change = MovesKey::Recovered(SiteRecovered { site: site.id, node, files, folder });
    if let Err(error) = room.moves.door.write(Write::of_system(change)).await {
        tracing::warn!("the cluster was not told of it: failed to {error}");
    }
}
