//! The history: pages, filters, pruning, and repeated requests after a restart.
use openraft::storage::RaftStateMachine;

use crate::base::limits::{HISTORY_KEPT, PAGE_MAX, STORE_QUEUE};
use crate::model::effect::{Effect, Stored};
use crate::model::row::{Row, Table};
use crate::model::tests::world::account;
use crate::store::history::Page;
use crate::store::node::Store;
use crate::store::schema;
use crate::store::tests::bench::{batches, dir, entry, in_memory, now, run};

#[tokio::test]
async fn pages_go_both_ways_and_filter() {
    let dir = dir();
    let mut store = Store::open(dir.path()).unwrap();
    run(&mut store, 0, &batches(7, 600)).await;
    let last = now(&store).revision;
    let page = |after, before, limit| Page { after, before, limit, account: None };
    let all = store.history.events(page(None, None, PAGE_MAX + 5)).await.unwrap();
    let revisions: Vec<_> = all.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=last).rev().collect::<Vec<_>>(), "newest first, none missing");
    let mut forward = Vec::new();
    while let Some(event) = store.history.events(page(Some(forward.len() as u64), None, 7)).await.unwrap().first() {
        assert_eq!(event.revision, forward.len() as u64 + 1);
        forward.extend(store.history.events(page(Some(forward.len() as u64), None, 7)).await.unwrap());
    }
    assert_eq!(forward.iter().rev().collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
    let back = store.history.events(page(None, Some(5), 3)).await.unwrap();
    assert_eq!(back.iter().map(|event| event.revision).collect::<Vec<_>>(), [4, 3, 2]);
    assert_eq!(store.history.events(page(Some(last), None, 5)).await.unwrap(), []);
    assert_eq!(store.history.events(page(Some(u64::MAX), None, 5)).await.unwrap(), []);
    assert_eq!(store.history.events(page(None, Some(0), 5)).await.unwrap(), []);
    assert_eq!(store.history.events(page(None, None, 0)).await.unwrap(), []);
    for name in ["ada", "bob"] {
        let of = Page { account: Some(account(name)), limit: PAGE_MAX, ..Page::default() };
        let wanted: Vec<_> = all.iter().filter(|event| event.account == Some(account(name))).cloned().collect();
        assert!(!wanted.is_empty());
        assert_eq!(store.history.events(of).await.unwrap(), wanted);
    }
    assert_eq!(store.history.event(3).await.unwrap().as_ref(), all.iter().find(|event| event.revision == 3));
    for nothing in [0, last + 1, u64::MAX] {
        assert_eq!(store.history.event(nothing).await.unwrap(), None);
    }
    let ended = store.history.finished_operations(page(None, None, PAGE_MAX)).await.unwrap();
    assert!(ended.len() > 1);
    let found = store.history.finished_operation(ended[1].id).await.unwrap().unwrap();
    assert_eq!(found.id, ended[1].id);
    assert_eq!(store.history.finished_operation(crate::base::ids::OperationId(5)).await.unwrap(), None);
}

#[tokio::test]
async fn pruning_keeps_the_sum_right() {
    let dir = dir();
    let mut store = Store::open(dir.path()).unwrap();
    run(&mut store, 0, &batches(8, 60)).await;
    let last = now(&store).revision;
    let mut event = store.history.event(last).await.unwrap().unwrap();
    event.revision = last + HISTORY_KEPT;
    let effects = vec![
        Effect::Put(Stored::new(Row::Event(event.clone()))),
        Effect::Prune { table: Table::Events, before: last },
        Effect::Prune { table: Table::FinishedOperations, before: last + 1 },
    ];
    let commit = move |owner: &mut crate::store::machine::Owner| {
        let mut meta = owner.meta.clone();
        owner.writer.commit(|connection| {
            let sum = schema::write(connection, &effects, u128::from_le_bytes(meta.history))?;
            meta.history = sum.to_le_bytes();
            schema::write_meta(connection, &meta)
        })
    };
    store.machine.thread().call(commit).await.unwrap().unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let left = store.history.events(Page { limit: 10, ..Page::default() }).await.unwrap();
    assert_eq!(left.iter().map(|event| event.revision).collect::<Vec<_>>(), [last + HISTORY_KEPT, last]);
    assert_eq!(store.history.finished_operations(Page { limit: 10, ..Page::default() }).await.unwrap(), []);
}

/// A request is recognised after a restart, and its answer can be shown again.
#[tokio::test]
async fn requests_are_remembered_over_a_restart() {
    let dir = dir();
    let log = batches(9, 300);
    let mut store = Store::open(dir.path()).unwrap();
    run(&mut store, 0, &log).await;
    let hash = now(&store).hash;
    drop(store);
    let mut store = Store::open(dir.path()).unwrap();
    let mut repeated = 0;
    for (at, batch) in log.iter().enumerate() {
        let again = run(&mut store, (log.len() + at) as u64, std::slice::from_ref(batch)).await;
        for (answer, envelope) in again[0].0.iter().zip(&batch.envelopes) {
            let Ok(answer) = answer else { continue };
            if answer.repeated {
                repeated += 1;
                let event = store.history.event(answer.revision).await.unwrap().unwrap();
                assert_eq!(event.request_id, envelope.request_id);
            }
        }
    }
    assert!(repeated > 50);
    let twice: Vec<_> = log.iter().chain(&log).cloned().collect();
    assert_eq!(now(&store).hash, in_memory(&twice).hash);
    assert_ne!(now(&store).hash, hash, "what was refused before may be allowed now");
}

/// While the thread is busy hundreds of queries may come: raft, which ends at the first place it does not get, gets its own.
#[tokio::test]
async fn queries_leave_raft_its_place() {
    let dir = dir();
    let mut store = Store::open(dir.path()).unwrap();
    let log = batches(10, 12);
    let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
    store.machine.thread().send(Box::new(move |_| held.recv().unwrap())).unwrap();
    let ask = |_| {
        let history = store.history.clone();
        tokio::spawn(async move { history.events(Page { limit: 1, ..Page::default() }).await })
    };
    let queries: Vec<_> = (0..2 * STORE_QUEUE).map(ask).collect();
    for _ in 0..4 * STORE_QUEUE {
        tokio::task::yield_now().await;
    }
    let first = entry(0, &log[0]);
    let write = tokio::spawn(async move { store.machine.apply([first]).await });
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    assert_eq!(write.await.unwrap().unwrap().len(), 1);
    let mut answered = 0;
    for query in queries {
        answered += usize::from(query.await.unwrap().is_ok());
    }
    assert_eq!(answered, 2 * STORE_QUEUE, "each had its turn");
}

/// `state.db` follows behind the answers. A query that waited for another one finds all the same what was answered before it.
#[tokio::test]
async fn a_query_finds_what_was_answered_before_it() {
    let dir = dir();
    let mut store = Store::open(dir.path()).unwrap();
    let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
    let (begins, begun) = tokio::sync::oneshot::channel();
    let thread = std::sync::Arc::clone(store.machine.thread());
    let slow = tokio::spawn(async move {
        let work = move |_: &rusqlite::Connection| {
            begins.send(()).unwrap();
            held.recv().unwrap();
        };
        thread.read(work).await
    });
    begun.await.unwrap();
    store.machine.apply([entry(0, &batches(11, 1)[0])]).await.unwrap();
    let last = now(&store).revision;
    let history = store.history.clone();
    let query = tokio::spawn(async move { history.event(last).await });
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    slow.await.unwrap().unwrap();
    assert!(query.await.unwrap().unwrap().is_some(), "the event of a change that was answered is missing");
}
