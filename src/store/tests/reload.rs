//! The reload property: one log gives one state and one history, in one go, in pieces, reloaded from SQLite, through a copy.
use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::ids::{RequestId, Seed};
use crate::model::LEVEL;
use crate::model::answer::Event;
use crate::model::change::{Actor, BATCH_VERSION, Batch, Change, Envelope};
use crate::model::cluster::RaiseLevel;
use crate::model::nodes::NodeSays;
use crate::model::operations::Operation;
use crate::model::tests::generator::log;
use crate::model::tests::invariants::{assert_same, check_invariants};
use crate::model::tests::world::{NODE, START, found};
use crate::store::health::HealthCell;
use crate::store::history::Page;
use crate::store::log::{FREE_PAGES_MAX, Log};
use crate::store::node::Store;
use crate::store::tests::bench::{dir, entry, id, in_memory, killed, now, run};

async fn history(store: &Store) -> (Vec<Event>, Vec<Operation>) {
    let page = Page { limit: 1000, ..Page::default() };
    let events = store.history.events(page.clone()).await.unwrap();
    (events, store.history.finished_operations(page).await.unwrap())
}

async fn check(batches: &[Batch], cuts: [usize; 2]) {
    let memory = in_memory(batches);
    let [whole_dir, reloaded_dir, source_dir, copied_dir] = [dir(), dir(), dir(), dir()];
    let mut whole = Store::open(whole_dir.path()).unwrap();
    run(&mut whole, 0, batches).await;
    assert_same(&now(&whole), &memory);
    check_invariants(&now(&whole));
    let past = history(&whole).await;
    assert_eq!(past.0.len() as u64, memory.revision.min(1000), "each change has its event");

    let mut first = 0;
    for cut in [cuts[0], cuts[1], batches.len()] {
        let mut reloaded = Store::open(reloaded_dir.path()).unwrap();
        run(&mut reloaded, first as u64, &batches[first..cut]).await;
        assert_same(&now(&reloaded), &in_memory(&batches[..cut]));
        first = cut;
    }
    let reloaded = Store::open(reloaded_dir.path()).unwrap();
    assert_same(&now(&reloaded), &memory);
    assert_eq!(history(&reloaded).await, past);

    // A member that has applied something else until now takes up a copy, goes on, and is reloaded.
    let mut source = Store::open(source_dir.path()).unwrap();
    run(&mut source, 0, &batches[..cuts[1]]).await;
    let mut copied = Store::open(copied_dir.path()).unwrap();
    run(&mut copied, 0, &batches[..cuts[0]]).await;
    if cuts[1] > 0 {
        let snapshot = source.machine.copied().await.unwrap();
        copied.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    }
    assert_same(&now(&copied), &in_memory(&batches[..cuts[1]]));
    for (at, batch) in batches.iter().enumerate().skip(cuts[1]) {
        copied.machine.apply([crate::store::tests::bench::entry(at as u64, batch)]).await.unwrap();
    }
    assert_same(&now(&copied), &memory);
    assert_eq!(history(&copied).await, past);
    copied.machine.close();
    copied.log.close();
    let (again, _) = crate::store::machine::Machine::open(copied_dir.path(), copied.health.clone()).unwrap();
    assert_same(&again.snapshot().borrow(), &memory);
    let left = std::fs::read_dir(copied_dir.path())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("copy-"));
    assert_eq!(left.count(), 0, "copies are removed");
}

/// What a power cut leaves of `state.db` is what was synced of it: no other file is looked at here.
#[tokio::test]
async fn what_was_settled_is_in_the_database_alone() {
    let batches = crate::store::tests::bench::batches(7, 60);
    let [source_dir, left_dir] = [dir(), dir()];
    let mut store = Store::open(source_dir.path()).unwrap();
    let half = batches.len() / 2;
    run(&mut store, 0, &batches[..half]).await;
    store.machine.settle().await.unwrap();
    let settled = now(&store);
    run(&mut store, half as u64, &batches[half..]).await;
    std::fs::copy(source_dir.path().join("state.db"), left_dir.path().join("state.db")).unwrap();
    let (left, _) = crate::store::machine::Machine::open(left_dir.path(), store.health.clone()).unwrap();
    assert_same(&left.snapshot().borrow(), &settled);
    assert!(now(&store).revision > settled.revision);
}

/// The state is raised past what this program knows: nothing is applied from there on, and what was before stays.
#[tokio::test]
async fn a_level_that_is_not_known_ends_applying() {
    let dir = dir();
    let mut store = Store::open(dir.path()).unwrap();
    let knows = |revision| {
        let says =
            NodeSays { node: NODE, key: vec![1; 32], reach: Vec::new(), knows: LEVEL + 1, deaf: BTreeSet::new() };
        batch(revision, Change::NodeSays(says))
    };
    let before = [batch(1, found(NODE)), knows(2)];
    run(&mut store, 0, &before).await;
    let raise = batch(3, Change::RaiseLevel(RaiseLevel { level: LEVEL + 1 }));
    let refused = store.machine.apply([crate::store::tests::bench::entry(2, &raise)]).await.unwrap_err();
    assert!(refused.to_string().contains("knows no such level"), "{refused}");
    assert!(store.health.failed().unwrap().contains("upgrade this node"));
    assert_eq!(now(&store).state.level(), LEVEL);
    assert_same(&now(&store), &in_memory(&before));
}

fn batch(number: u8, change: Change) -> Batch {
    let request_id = RequestId { key: [number; 16], digest: [0; 16] };
    let envelope = Envelope { request_id, actor: Actor::System, seed: Seed([number; 16]), expect: None, change };
    Batch { version: BATCH_VERSION, time: START, envelopes: vec![envelope] }
}

/// Killed between the copy and the purge of the log that raft asks for after it.
#[tokio::test]
async fn a_log_that_was_not_told_of_a_copy_begins_after_it() {
    let batches = crate::store::tests::bench::batches(7, 60);
    let [source_dir, copied_dir] = [dir(), dir()];
    let mut source = Store::open(source_dir.path()).unwrap();
    run(&mut source, 0, &batches).await;
    let mut copied = Store::open(copied_dir.path()).unwrap();
    copied.log.set_node_id(crate::base::ids::NodeId(3)).await.unwrap();
    run(&mut copied, 0, &batches[..10]).await;
    let snapshot = source.machine.copied().await.unwrap();
    copied.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    copied.machine.close();
    copied.log.close();
    for _ in 0..2 {
        let mut again = Store::open(copied_dir.path()).unwrap();
        assert_same(&now(&again), &in_memory(&batches));
        let state = again.log.get_log_state().await.unwrap();
        let ends = [state.last_log_id, state.last_purged_log_id].map(|id| id.unwrap().index);
        assert_eq!(ends, [batches.len() as u64 - 1; 2]);
        again.machine.close();
        again.log.close();
    }
    // A log that is lost altogether is another matter: its vote is lost with it.
    std::fs::remove_file(copied_dir.path().join("log.db")).unwrap();
    let _ = std::fs::remove_file(copied_dir.path().join("log.db-wal"));
    assert!(crate::store::tests::bench::refused(copied_dir.path()).contains("log.db is empty"));
}

/// raft orders a copy to be taken up and the log to be purged up to there at once. Killed in between, a node finds either the state
/// and the log it had, or those of the copy.
#[tokio::test]
async fn the_log_is_purged_once_the_state_holds_what_goes() {
    let batches = crate::store::tests::bench::batches(7, 60);
    let [source_dir, copied_dir, before_dir, after_dir] = [dir(), dir(), dir(), dir()];
    let mut source = Store::open(source_dir.path()).unwrap();
    run(&mut source, 0, &batches).await;
    let mut copied = Store::open(copied_dir.path()).unwrap();
    copied.log.set_node_id(crate::base::ids::NodeId(3)).await.unwrap();
    run(&mut copied, 0, &batches[..10]).await;
    let snapshot = source.machine.copied().await.unwrap();
    let (mut log, upto) = (copied.log.clone(), snapshot.meta.last_log_id.unwrap());
    let purge = tokio::spawn(async move { log.purge(upto).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(copied.log.answers().await && !purge.is_finished());
    killed(copied_dir.path(), before_dir.path());
    copied.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), purge).await.unwrap().unwrap().unwrap();
    killed(copied_dir.path(), after_dir.path());
    for (at, held) in [(&before_dir, 10), (&after_dir, batches.len())] {
        let mut again = Store::open(at.path()).unwrap();
        assert_same(&now(&again), &in_memory(&batches[..held]));
        assert_eq!(again.log.get_log_state().await.unwrap().last_log_id.unwrap().index, held as u64 - 1);
    }
}

/// raft waits for the purge and would never learn that the copy before it failed.
#[tokio::test]
async fn a_purge_fails_with_the_copy_it_waits_for() {
    let batches = crate::store::tests::bench::batches(7, 60);
    let [source_dir, copied_dir] = [dir(), dir()];
    let mut source = Store::open(source_dir.path()).unwrap();
    run(&mut source, 0, &batches).await;
    let snapshot = source.machine.copied().await.unwrap();
    let mut copied = Store::open(copied_dir.path()).unwrap();
    run(&mut copied, 0, &batches[..10]).await;
    let (mut log, upto) = (copied.log.clone(), snapshot.meta.last_log_id.unwrap());
    let purge = tokio::spawn(async move { log.purge(upto).await });
    std::fs::write(snapshot.snapshot.path().unwrap(), "no database").unwrap();
    copied.machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap_err();
    tokio::time::timeout(Duration::from_secs(10), purge).await.unwrap().unwrap().unwrap_err();
    assert!(copied.health.failed().unwrap().contains("take up a copy"), "{:?}", copied.health.failed());
}

/// Killed, or without power, before all of what was purged had gone from the file.
#[tokio::test]
async fn what_is_left_of_a_purge_is_of_no_account() {
    const PURGED: u64 = 20_000;
    let batches = crate::store::tests::bench::batches(7, 60);
    let (dir, last) = (dir(), PURGED + batches.len() as u64);
    let execute = |statement: &str| {
        let log = rusqlite::Connection::open(dir.path().join("log.db")).unwrap();
        log.query_row(statement, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let ends = async |log: &mut Log| {
        let state = log.get_log_state().await.unwrap();
        [state.last_purged_log_id, state.last_log_id].map(|id| id.unwrap().index)
    };
    let mut log = Log::open(dir.path(), HealthCell::new()).unwrap().0;
    log.purge(id(PURGED)).await.unwrap();
    for (at, batch) in (PURGED + 1..).zip(&batches) {
        log.blocking_append([entry(at, batch)]).await.unwrap();
    }
    log.close();
    let numbers = format!("WITH RECURSIVE n(at) AS (VALUES (5) UNION ALL SELECT at + 1 FROM n WHERE at < {PURGED})");
    execute(&format!("INSERT INTO log {numbers} SELECT at, randomblob(500), x'' FROM n RETURNING at"));

    let mut log = Log::open(dir.path(), HealthCell::new()).unwrap().0;
    assert_eq!(ends(&mut log).await, [PURGED, last]);
    assert_eq!(log.try_get_log_entries(0..).await.unwrap().len(), batches.len());
    // As a copy of the state does, while the thread still drops rows.
    log.purge(id(last + 5)).await.unwrap();
    assert_eq!(ends(&mut log).await, [last + 5; 2]);
    assert!(log.try_get_log_entries(0..).await.unwrap().is_empty());
    log.close();
    assert_eq!(execute("SELECT count(*) FROM log"), 0, "a stop drops the rest");
    assert!(execute("PRAGMA freelist_count") <= i64::from(FREE_PAGES_MAX));
}

/// What came is not what was announced: other entries would follow on it than were applied to it.
#[tokio::test]
async fn a_copy_of_another_index_is_not_taken_up() {
    let batches = crate::store::tests::bench::batches(7, 60);
    let [source_dir, copied_dir] = [dir(), dir()];
    let mut source = Store::open(source_dir.path()).unwrap();
    let half = batches.len() / 2;
    run(&mut source, 0, &batches[..half]).await;
    let early = source.machine.copied().await.unwrap();
    run(&mut source, half as u64, &batches[half..]).await;
    let late = source.machine.copied().await.unwrap();
    let mut copied = Store::open(copied_dir.path()).unwrap();
    run(&mut copied, 0, &batches[..3]).await;
    let refused = copied.machine.install_snapshot(&late.meta, early.snapshot).await.unwrap_err();
    assert!(refused.to_string().contains("another index than announced"), "{refused}");
    assert_same(&now(&copied), &in_memory(&batches[..3]));
    drop(copied);
    let mut copied = Store::open(copied_dir.path()).unwrap();
    copied.machine.install_snapshot(&late.meta, late.snapshot).await.unwrap();
    assert_same(&now(&copied), &in_memory(&batches));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn one_log_gives_one_state(genes in proptest::collection::vec(any::<u64>(), 1..160), cuts in any::<[u16; 2]>()) {
        let batches = log(&genes);
        let mut cuts = cuts.map(|cut| usize::from(cut) % (batches.len() + 1));
        cuts.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(&batches, cuts));
    }
}
