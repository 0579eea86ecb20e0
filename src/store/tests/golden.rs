//! The golden database: what a level wrote once is opened for ever.
use crate::model::tests::golden::{folder, writing};
use crate::model::tests::invariants::check_invariants;
use crate::store::history::Page;
use crate::store::node::Store;
use crate::store::tests::bench::{batches, dir, now, run};

/// Revision, time, hash of the state, events: as they were written.
const KNOWN: &str = "golden.txt";

async fn facts(store: &Store) -> String {
    let state = now(store);
    check_invariants(&state);
    let events = store.history.events(Page { limit: 1000, ..Page::default() }).await.unwrap();
    format!("{} {} {:032x} {}\n", state.revision, state.time.0, state.hash, events.len())
}

#[tokio::test]
async fn the_golden_database_opens() {
    let golden = folder();
    if writing() && !golden.join("state.db").exists() {
        let mut store = Store::open(&golden).unwrap();
        run(&mut store, 0, &batches(1, 150)).await;
        let known = facts(&store).await;
        store.log.close();
        store.machine.close();
        std::fs::write(golden.join(KNOWN), known).unwrap();
    }
    let copy = dir();
    for file in ["state.db", "log.db"] {
        std::fs::copy(golden.join(file), copy.path().join(file)).unwrap();
    }
    let known = std::fs::read_to_string(golden.join(KNOWN)).unwrap();
    for _ in 0..2 {
        let store = Store::open(copy.path()).unwrap();
        assert_eq!(facts(&store).await, known);
    }
}
