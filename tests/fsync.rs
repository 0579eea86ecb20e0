//! The sync of the log returns before the acknowledgement is sent: seen from outside, in the order of the daemon's system calls.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::faults::Tracer;
use support::node::Node;

const WRITES: usize = 20;

#[test]
fn each_acknowledgement_comes_after_the_sync_of_its_log_entry() {
    let node = Node::ready();
    let (trace, log) = (node.path("trace"), node.data.join("log.db-wal"));
    let calls = "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg";
    let tracer = Tracer::attach(node.pid(), &trace, &["-y", "-s", "32", "-e", calls]);
    for number in 0..WRITES {
        node.post("/v1/accounts", json!({"name": format!("a{number}")})).done();
    }
    drop(tracer);
    let text = std::fs::read_to_string(&trace).unwrap();
    let (answers, faults) = judge(&text, &log.display().to_string());
    assert_eq!(answers, WRITES, "the trace shows another number of answers:\n{text}");
    assert!(faults.is_empty(), "{}\n{text}", faults.join("\n"));
}

/// Counts the answers in a trace and names those that were sent before what had been written to the log was synced.
fn judge(trace: &str, log: &str) -> (usize, Vec<String>) {
    let (mut answers, mut faults) = (0, Vec::new());
    // What the log has had since the answer before: was it written to, and is all of it synced?
    let (mut written, mut synced) = (false, false);
    let mut syncing = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.trim_start().split_once(' ') else { continue };
        let call = call.trim_start();
        let of_log = call.contains(&format!("<{log}>"));
        let sync = call.starts_with("fdatasync(") || call.starts_with("fsync(");
        if of_log && call.starts_with("pwrite64(") {
            (written, synced) = (true, false);
        } else if of_log && sync && call.ends_with("<unfinished ...>") {
            syncing.push(thread);
        } else if of_log && sync {
            synced |= call.ends_with("= 0");
        } else if call.starts_with("<... fdatasync resumed>") || call.starts_with("<... fsync resumed>") {
            let known = syncing.iter().position(|waiting| *waiting == thread);
            synced |= known.map(|at| syncing.remove(at)).is_some() && call.ends_with("= 0");
        } else if call.contains("\"HTTP/1.1 201") {
            answers += 1;
            if !(written && synced) {
                faults.push(format!("answer {answers}: log written: {written}, then synced: {synced}"));
            }
            (written, synced) = (false, false);
        }
    }
    (answers, faults)
}

#[test]
fn the_judge_sees_an_answer_before_the_sync() {
    let line = |thread: u32, call: &str| format!("{thread}  {call}\n");
    let write = line(7, "pwrite64(9</d/log.db-wal>, \"x\"..., 4096, 32) = 4096");
    let sync = line(7, "fdatasync(9</d/log.db-wal>) = 0");
    let begun = line(7, "fdatasync(9</d/log.db-wal> <unfinished ...>");
    let ended = line(7, "<... fdatasync resumed>)         = 0");
    let failed = line(7, "fdatasync(9</d/log.db-wal>) = -1 EIO (Input/output error)");
    let other = line(8, "fdatasync(5</d/state.db-wal>) = 0");
    let answer =
        line(6, "writev(3<UNIX-STREAM:[1]>, [{iov_base=\"HTTP/1.1 201 Created\\r\\n\"..., iov_len=9}], 1) = 9");
    let faults =
        |calls: &[&String]| judge(&calls.iter().map(|call| call.as_str()).collect::<String>(), "/d/log.db-wal");
    assert_eq!(faults(&[&write, &sync, &answer, &write, &begun, &other, &ended, &answer]), (2, vec![]));
    for bad in [
        &[&write, &answer, &sync][..],
        &[&write, &begun, &answer, &ended],
        &[&write, &failed, &answer],
        &[&write, &other, &answer],
        &[&sync, &write, &answer],
        &[&answer],
    ] {
        assert_eq!(faults(bad).1.len(), 1, "{bad:?}");
    }
}
