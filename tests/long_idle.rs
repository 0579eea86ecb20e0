//! What a node takes when nothing happens: memory, wakeups, bytes written. Prints its figures.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::time::{Duration, Instant};

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::measure::{is_judged, pss_kib, sleeps, slept_since, written_bytes};
use support::sites::Sites;

const OBJECTS: usize = 100;
const QUIET: Duration = Duration::from_secs(60);
const PSS_MAX_KIB: u64 = 20 << 10;
const WAKEUPS_MAX: f64 = 1.5;

#[test]
#[ignore = "long: two minutes of silence"]
fn an_idle_node_rests() {
    let mut node = Sites::ready().node;
    for number in 0..OBJECTS {
        let host = format!("s{number}.example.org");
        // Of no public issuer: a name that does not lead here is looked at again after ten seconds, a minute, and ever more seldom.
        let site = json!({"host": host, "handler": {"type": "static"}, "issuer": "internal"});
        node.post("/v1/sites", site).done();
        let zone =
            json!({"name": format!("z{number}.example.org"), "nameservers": ["ns1.example.net", "ns2.example.net"]});
        node.post("/v1/zones", zone).done();
    }
    for restarted in [false, true] {
        if restarted {
            node.restart();
        }
        // What the last request started is over after a while: threads of the pool end, connections are closed.
        std::thread::sleep(Duration::from_secs(15));
        let pid = node.pid();
        let (started, sleeps_before, written_before) = (Instant::now(), sleeps(pid), written_bytes(pid));
        std::thread::sleep(QUIET);
        let seconds = started.elapsed().as_secs_f64();
        let (wakeups, written) =
            (slept_since(&sleeps_before, pid) as f64 / seconds, written_bytes(pid) - written_before);
        let pss = pss_kib(pid);
        println!(
            "idle, restarted: {restarted}: PSS {pss} KiB, {wakeups:.2} wakeups/s, {written} bytes written in {seconds:.0} s"
        );
        if is_judged() {
            assert!(pss <= PSS_MAX_KIB && wakeups <= WAKEUPS_MAX && written == 0);
        }
    }
}
