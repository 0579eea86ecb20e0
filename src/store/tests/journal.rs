//! The write-ahead log: what it keeps of the disk, and that every answer waits for it again after something that did not.
use std::path::Path;

use crate::store::database::{JOURNAL_KEPT, Schema, Thread, Writer, open, run_all};
use crate::store::health::HealthCell;
use crate::store::tests::bench::dir;

fn started(dir: &Path) -> Thread<Writer> {
    let connection = open(&dir.join("log.db"), &Schema::of("CREATE TABLE some(value BLOB)"), "FULL").unwrap();
    Thread::start("log", connection, HealthCell::new(), |writer| writer, run_all).unwrap()
}

#[tokio::test]
async fn what_is_written_after_idle_work_is_synced() {
    let dir = dir();
    let thread = started(dir.path());
    let levels = thread.call(|writer| {
        let level = || writer.connection.pragma_query_value(None, "synchronous", |row| row.get::<_, u32>(0)).unwrap();
        let before = level();
        let mut during = 0;
        let done = writer.commit_idly(|_| {
            during = level();
            Ok(())
        });
        assert!(done.is_some());
        let after = level();
        assert!(writer.commit_idly(|connection| connection.execute("INSERT INTO none VALUES (1)", [])).is_none());
        [before, during, after, level()]
    });
    // FULL, NORMAL, and FULL again whether the work came to something or not.
    assert_eq!(levels.await.unwrap(), [2, 1, 2, 2]);
}

#[tokio::test]
async fn what_a_copy_needed_is_given_back() {
    let dir = dir();
    let thread = started(dir.path());
    let written = thread.call(|writer| {
        let fill = "WITH RECURSIVE n(at) AS (VALUES (1) UNION ALL SELECT at + 1 FROM n WHERE at < 20) INSERT INTO some SELECT randomblob(1 << 20) FROM n";
        writer.commit(|connection| connection.execute(fill, [])).unwrap();
        assert!(writer.checkpoint().unwrap());
        writer.commit(|connection| connection.execute("DELETE FROM some WHERE rowid = 1", [])).unwrap();
    });
    written.await.unwrap();
    let bytes = std::fs::metadata(dir.path().join("log.db-wal")).unwrap().len();
    assert!(bytes <= u64::from(JOURNAL_KEPT), "{bytes}");
}
