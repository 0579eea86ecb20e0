//! Damage: one flipped byte anywhere, files that are missing, cut short or no files. What opens holds everything that was
//! committed; all else is refused in words. `RUCHE_LONG=1` flips every byte, `RUCHE_SEED` repeats a run.
use std::path::Path;

use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::{RaftLogReader, RaftSnapshotBuilder, Vote};

use crate::model::state::State;
use crate::model::tests::generator::Chance;
use crate::model::tests::invariants::assert_same;
use crate::store::history::Page;
use crate::store::node::Store;
use crate::store::tests::bench::{batches, dir, entry, id, in_memory, killed, now, refused, run};

const LAST: u64 = 109;
const PURGED: u64 = 29;
const ENVELOPES: usize = 450;

/// Both databases after a stop: every page is in its file.
async fn stopped(dir: &Path) -> State {
    let state = original(dir).await;
    drop(Store::open(dir).unwrap());
    state
}

/// Both databases with pages in the file and in the write-ahead log, the log purged once, as a kill -9 leaves them.
async fn original(dir: &Path) -> State {
    let batches = batches(11, ENVELOPES);
    assert!(batches.len() as u64 > LAST);
    let live = crate::store::tests::bench::dir();
    {
        let mut store = Store::open(live.path()).unwrap();
        store.log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
        run(&mut store, 0, &batches[..70]).await;
        store.machine.build_snapshot().await.unwrap();
        store.log.purge(id(PURGED)).await.unwrap();
    }
    let mut store = Store::open(live.path()).unwrap();
    run(&mut store, 70, &batches[70..=LAST as usize]).await;
    killed(live.path(), dir);
    in_memory(&batches[..=LAST as usize])
}

/// Whatever an opened store has: with its log replayed it is everything that was committed, and its history can be read.
async fn whole(store: &mut Store, state: &State) {
    let log = store.log.get_log_state().await.unwrap();
    assert_eq!((log.last_purged_log_id, log.last_log_id), (Some(id(PURGED)), Some(id(LAST))));
    assert_eq!(store.log.read_vote().await.unwrap(), Some(Vote::new_committed(1, 1)));
    let entries = store.log.try_get_log_entries(PURGED + 1..).await.unwrap();
    assert_eq!(entries.len() as u64, LAST - PURGED);
    let written = batches(11, ENVELOPES);
    for (at, found) in (PURGED + 1..).zip(&entries) {
        assert_eq!(*found, entry(at, &written[at as usize]), "another entry {at}");
    }
    let (applied, _) = store.machine.applied_state().await.unwrap();
    let missed = entries.into_iter().filter(|entry| Some(entry.log_id) > applied);
    store.machine.apply(missed).await.unwrap();
    assert_same(&now(store), state);
    let events = store.history.events(Page { limit: 1000, ..Page::default() }).await.unwrap();
    assert_eq!(events.len() as u64, state.revision.min(1000));
}

/// Offsets to flip: the head of the file, then some of the rest; all of them in a long run.
fn offsets(size: u64, chance: &mut Chance) -> Vec<u64> {
    if std::env::var_os("RUCHE_LONG").is_some() {
        return (0..size).collect();
    }
    let head = (0..112.min(size)).chain((112..4096.min(size)).step_by(37));
    head.chain((0..150).map(|_| chance.below(size))).collect()
}

async fn flip_everywhere(file: &str) {
    let seed = std::env::var("RUCHE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("RUCHE_SEED={seed}");
    let (good, bad) = (dir(), dir());
    let state = if file.ends_with("-wal") { original(good.path()).await } else { stopped(good.path()).await };
    let mut chance = Chance(seed);
    let bytes = std::fs::read(good.path().join(file)).unwrap();
    assert!(bytes.len() > 30_000, "{file} is too small to tell: {}", bytes.len());
    let (mut opened, mut refusals) = (0, 0);
    for offset in offsets(bytes.len() as u64, &mut chance) {
        let mask = chance.below(255) as u8 + 1;
        std::fs::remove_dir_all(bad.path()).unwrap();
        killed(good.path(), bad.path());
        let mut flipped = bytes.clone();
        flipped[offset as usize] ^= mask;
        std::fs::write(bad.path().join(file), flipped).unwrap();
        println!("{file}, byte {offset} ^ {mask:#04x}");
        match Store::open(bad.path()) {
            Ok(mut store) => {
                whole(&mut store, &state).await;
                opened += 1;
            }
            Err(error) => {
                crate::store::tests::bench::readable(&error);
                refusals += 1;
            }
        }
    }
    println!("{file}: {opened} opened whole, {refusals} refused");
    assert!(refusals > opened / 2, "most bytes count");
}

#[tokio::test]
async fn a_flipped_byte_in_state_db() {
    flip_everywhere("state.db").await;
}

#[tokio::test]
async fn a_flipped_byte_in_log_db() {
    flip_everywhere("log.db").await;
}

#[tokio::test]
async fn a_flipped_byte_in_the_write_ahead_log_of_log_db() {
    flip_everywhere("log.db-wal").await;
}

/// Here nothing is refused: SQLite goes back to an older commit and the log holds what is missing.
#[tokio::test]
async fn a_flipped_byte_in_the_write_ahead_log_of_state_db() {
    let (good, bad) = (dir(), dir());
    let state = original(good.path()).await;
    let bytes = std::fs::read(good.path().join("state.db-wal")).unwrap();
    let mut chance = Chance(u64::from(std::process::id()));
    for _ in 0..60 {
        let offset = chance.below(bytes.len() as u64) as usize;
        println!("state.db-wal, byte {offset}");
        std::fs::remove_dir_all(bad.path()).unwrap();
        killed(good.path(), bad.path());
        let mut flipped = bytes.clone();
        flipped[offset] ^= 0x10;
        std::fs::write(bad.path().join("state.db-wal"), flipped).unwrap();
        whole(&mut Store::open(bad.path()).unwrap(), &state).await;
    }
}

#[tokio::test]
async fn what_was_killed_opens_whole() {
    let good = dir();
    let state = original(good.path()).await;
    whole(&mut Store::open(good.path()).unwrap(), &state).await;
}

#[tokio::test]
async fn a_file_that_is_missing_is_told() {
    let good = dir();
    original(good.path()).await;
    let without = |name: &str| {
        let bad = dir();
        killed(good.path(), bad.path());
        std::fs::remove_file(bad.path().join(name)).unwrap();
        let _ = std::fs::remove_file(bad.path().join(format!("{name}-wal")));
        bad
    };
    for name in ["state.db", "log.db"] {
        let bad = without(name);
        for _ in 0..2 {
            let said = refused(bad.path());
            assert!(said.contains("state.db") && said.contains("log.db") && said.contains("recover"), "{said}");
        }
    }
    // An empty file is as good as none; a directory, another file or a link in its place are none of ours.
    for name in ["state.db", "log.db"] {
        let bad = without(name);
        std::fs::write(bad.path().join(name), "").unwrap();
        refused(bad.path());
        let bad = without(name);
        std::fs::create_dir(bad.path().join(name)).unwrap();
        refused(bad.path());
        let bad = without(name);
        std::fs::write(bad.path().join(name), "no database ".repeat(1000)).unwrap();
        refused(bad.path());
        let bad = without(name);
        let whole = std::fs::read(good.path().join(name)).unwrap();
        for cut in [1, 100, 4096, whole.len() / 2, whole.len() - 1] {
            std::fs::write(bad.path().join(name), &whole[..cut]).unwrap();
            refused(bad.path());
        }
        let bad = without(name);
        std::os::unix::fs::symlink(good.path().join(name), bad.path().join(name)).unwrap();
        refused(bad.path());
    }
}

#[tokio::test]
async fn a_second_process_is_told_that_the_databases_are_in_use() {
    let dir = dir();
    let _first = Store::open(dir.path()).unwrap();
    assert!(refused(dir.path()).contains("another process uses it"));
}

#[tokio::test]
async fn left_over_copies_are_swept() {
    let dir = dir();
    for name in ["copy-0.db", "copy-0.db-wal"] {
        std::fs::write(dir.path().join(name), "half a copy").unwrap();
    }
    std::fs::write(dir.path().join("copy.txt"), "mine").unwrap();
    drop(Store::open(dir.path()).unwrap());
    assert!(!dir.path().join("copy-0.db").exists() && !dir.path().join("copy-0.db-wal").exists());
    assert!(dir.path().join("copy.txt").exists());
}
