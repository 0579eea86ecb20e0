//! A full disk: writes wait and go on by themselves, what is committed is served, stopping and starting work. Needs a small
//! file system of its own: root only, skipped aloud elsewhere.
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use tempfile::TempDir;

use crate::model::tests::invariants::assert_same;
use crate::store::health::{Health, HealthCell};
use crate::store::history::Page;
use crate::store::node::Store;
use crate::store::tests::bench::{batches, dir, entry, in_memory, now, refused, run};

struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = dir();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(dir.path()).status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!("SKIPPED: a full disk needs `mount`, which is not permitted here");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all space there is.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.path().join("filler")).unwrap();
        for size in [64 << 10, 1 << 10, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

async fn until(health: &HealthCell, wanted: impl Fn(&Health) -> bool) {
    let mut watch = health.watch();
    let reached = tokio::time::timeout(Duration::from_secs(20), watch.wait_for(|health| wanted(health))).await;
    assert!(reached.is_ok(), "health stays {:?}", health.now());
}

fn full(health: &Health) -> bool {
    matches!(health, Health::DiskFull { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_heals_by_itself() {
    let Some(disk) = SmallDisk::mount() else { return };
    let log = batches(21, 500);
    let mut store = Store::open(disk.path()).unwrap();
    run(&mut store, 0, &log[..30]).await;
    disk.fill();
    let (health, history, snapshot) = (store.health.clone(), store.history.clone(), store.machine.snapshot());
    let all = log.clone();
    let writer = tokio::spawn(async move {
        run(&mut store, 30, &all[30..]).await;
        store
    });
    until(&health, full).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(full(&health.now()) && !writer.is_finished(), "it waits and tries again");
    assert!(snapshot.borrow().revision > 0, "what is committed is served");
    disk.free();
    let store = tokio::time::timeout(Duration::from_secs(60), writer).await.unwrap().unwrap();
    assert_eq!(health.now(), Health::Good);
    assert_same(&now(&store), &in_memory(&log));
    let events = history.events(Page { limit: 1, ..Page::default() }).await.unwrap();
    assert_eq!(events[0].revision, now(&store).revision);
    drop((store, history));
    let mut store = Store::open(disk.path()).unwrap();
    assert_same(&now(&store), &in_memory(&log));
    assert_eq!(store.log.try_get_log_entries(..).await.unwrap().len(), log.len());
}

/// The same for the state alone: its log is elsewhere and has space.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_waits_for_space_goes_on() {
    let Some(disk) = SmallDisk::mount() else { return };
    let log = batches(22, 500);
    let health = HealthCell::new();
    let (mut machine, _) = crate::store::machine::Machine::open(disk.path(), health.clone()).unwrap();
    disk.fill();
    let snapshot = machine.snapshot();
    let entries: Vec<_> = log.iter().enumerate().map(|(at, batch)| entry(at as u64, batch)).collect();
    let writer = tokio::spawn(async move {
        for entry in entries {
            machine.apply([entry]).await.unwrap();
            machine.answers().await;
        }
        machine
    });
    until(&health, |health| *health == Health::DiskFull { database: "state" }).await;
    disk.free();
    let machine = tokio::time::timeout(Duration::from_secs(60), writer).await.unwrap().unwrap();
    assert_same(&snapshot.borrow(), &in_memory(&log));
    drop(machine);
    let (again, _) = crate::store::machine::Machine::open(disk.path(), health).unwrap();
    assert_same(&again.snapshot().borrow(), &in_memory(&log));
}

/// However slow the disk is, memory holds no more than so much that `state.db` lacks; the rest waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_is_only_so_far_behind() {
    let dir = crate::store::tests::bench::dir();
    let mut store = Store::open(dir.path()).unwrap();
    let (release, held) = std::sync::mpsc::sync_channel::<()>(0);
    let (holds, begun) = tokio::sync::oneshot::channel();
    let hold = move |_: &mut _| {
        holds.send(()).unwrap();
        held.recv().unwrap_or_default();
    };
    store.machine.thread().send(Box::new(hold)).unwrap();
    // Before a job the thread writes what was applied by then: it must be in it when the first batch comes.
    begun.await.unwrap();
    let batch = batches(25, 50).remove(0);
    let large = entry(0, &batch);
    let bytes = batch.encode().len();
    let fit = crate::base::limits::STATE_BEHIND_BYTES / bytes;
    let mut machine = store.machine.clone();
    for _ in 0..fit {
        machine.apply([large.clone()]).await.unwrap();
    }
    let late = tokio::time::timeout(Duration::from_millis(200), store.machine.apply([large.clone()])).await;
    assert!(late.is_err(), "more is held than it says");
    drop(release);
    assert!(store.machine.answers().await);
    tokio::time::timeout(Duration::from_secs(10), store.machine.apply([large])).await.unwrap().unwrap();
}

/// Batches are published before `state.db` has them. Where one is given up at the stop, none after it is written: what is on
/// disk is what the log had up to some entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stop_gives_up_leaves_no_gap() {
    // The space may be back before the thread has looked at the stop: then nothing is given up.
    for _ in 0..20 {
        let Some(disk) = SmallDisk::mount() else { return };
        if gives_up(&disk).await {
            return;
        }
    }
    panic!("nothing was ever given up");
}

/// Stops while the disk is full and looks at what is there afterwards; says whether anything was given up.
async fn gives_up(disk: &SmallDisk) -> bool {
    let log = batches(24, 500);
    let health = HealthCell::new();
    let (machine, _) = crate::store::machine::Machine::open(disk.path(), health.clone()).unwrap();
    disk.fill();
    let mut writing = machine.clone();
    let entries: Vec<_> = log.iter().enumerate().map(|(at, batch)| entry(at as u64, batch)).collect();
    let writer = tokio::spawn(async move {
        for entry in entries {
            // One after the other: each is a transaction of its own.
            let _ = writing.apply([entry]).await;
            writing.answers().await;
        }
    });
    until(&health, full).await;
    machine.cease_waiting();
    until(&health, full).await;
    disk.free();
    tokio::time::timeout(Duration::from_secs(60), writer).await.unwrap().unwrap();
    drop(machine);
    let (again, meta) = crate::store::machine::Machine::open(disk.path(), HealthCell::new()).unwrap();
    let written = meta.applied.map_or(0, |at| at.index as usize + 1);
    assert_same(&again.snapshot().borrow(), &in_memory(&log[..written]));
    written < log.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_and_starting_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else { return };
    let log = batches(23, 500);
    let mut store = Store::open(disk.path()).unwrap();
    run(&mut store, 0, &log[..30]).await;
    disk.fill();
    let (handle, machine, health) = (store.log.clone(), store.machine.clone(), store.health.clone());
    let mut appended = store.log.clone();
    let next = entry(30, &log[30]);
    // Entries of one page each until one has no page left.
    let pending = tokio::spawn(async move { appended.blocking_append([next]).await });
    until(&health, full).await;
    let begun = Instant::now();
    let closing = move || {
        handle.close();
        machine.close();
    };
    tokio::task::spawn_blocking(closing).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(pending.await.unwrap().is_err(), "what did not reach the disk is not acknowledged");
    drop(store);
    for _ in 0..2 {
        let mut store = Store::open(disk.path()).unwrap();
        assert_same(&now(&store), &in_memory(&log[..30]));
        assert!(!store.history.events(Page { limit: 1, ..Page::default() }).await.unwrap().is_empty());
        assert_eq!(store.log.get_log_state().await.unwrap().last_log_id.unwrap().index, 29);
    }
    disk.free();
    let mut store = Store::open(disk.path()).unwrap();
    tokio::time::timeout(Duration::from_secs(60), run(&mut store, 30, &log[30..])).await.unwrap();
    assert_same(&now(&store), &in_memory(&log));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_has_no_room_is_made_when_there_is() {
    let Some(disk) = SmallDisk::mount() else { return };
    let log = batches(26, 500);
    let mut store = Store::open(disk.path()).unwrap();
    run(&mut store, 0, &log[..30]).await;
    disk.fill();
    let said = store.machine.copied().await.unwrap_err().to_string();
    assert!(said.contains("the disk has"), "{said}");
    assert_eq!(store.health.now(), Health::Good);
    disk.free();
    run(&mut store, 30, &log[30..60]).await;
    let some = store.machine.copied().await.unwrap();
    let other = dir();
    let mut copied = Store::open(other.path()).unwrap();
    copied.machine.install_snapshot(&some.meta, some.snapshot).await.unwrap();
    assert_same(&now(&copied), &in_memory(&log[..60]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_taken_up_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let log = batches(27, 500);
    let other = dir();
    let mut source = Store::open(other.path()).unwrap();
    run(&mut source, 0, &log).await;
    let copy = source.machine.copied().await.unwrap();
    let mut store = Store::open(disk.path()).unwrap();
    disk.fill();
    let (health, machine) = (store.health.clone(), store.machine.clone());
    let install = tokio::spawn(async move {
        store.machine.install_snapshot(&copy.meta, copy.snapshot).await.unwrap();
        store
    });
    until(&health, full).await;
    assert_eq!(machine.snapshot().borrow().revision, 0, "what it had is served");
    disk.free();
    let store = tokio::time::timeout(Duration::from_secs(60), install).await.unwrap().unwrap();
    assert_eq!(health.now(), Health::Good);
    assert_same(&now(&store), &in_memory(&log));
}

#[tokio::test]
async fn a_first_start_on_a_full_disk_is_refused() {
    let Some(disk) = SmallDisk::mount() else { return };
    disk.fill();
    let said = refused(disk.path());
    assert!(said.contains("full"), "{said}");
    disk.free();
    drop(Store::open(disk.path()).unwrap());
}
