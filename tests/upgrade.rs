//! A cluster is upgraded node after node by one command, while changes are made on all of them.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::cluster::ruche;
use support::node::Node;
use support::replaceable::{NODES, Replaceable};

fn versions(node: &Node) -> Vec<String> {
    let status = node.get("/v1/cluster").done().json;
    status["nodes"].as_array().unwrap().iter().map(|node| node["version"].to_string()).collect()
}

#[test]
fn node_after_node_takes_over_and_no_change_is_refused() {
    let all = Replaceable::new();
    let ((program, later), nodes) = (all.later(), &all.cluster.nodes);
    let leader = all.cluster.leader(0).unwrap();
    let shown = ruche(&nodes[1], &["cluster", "upgrade", "--to", &later]).unwrap();
    assert!(shown.contains(&format!("apt install ./ruche_{later}_ARCH.deb")), "{shown}");
    let dir = all.dir.path().display();
    let step = format!("echo $RUCHE_NODE >>{dir}/order; ln -sfn {} {dir}/$RUCHE_NODE/ruche", program.display());
    let step = format!("{step}; kill -USR2 $(cat {dir}/$RUCHE_NODE/data/lock)");
    let (over, made) = (AtomicBool::new(false), std::sync::Mutex::new(0));
    std::thread::scope(|threads| {
        for (at, node) in nodes.iter().enumerate() {
            let (over, made) = (&over, &made);
            threads.spawn(move || {
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    ruche(node, &["zone", "create", &format!("w{at}-{number}.example")]).unwrap();
                    *made.lock().unwrap() += 1;
                }
            });
        }
        let upgraded = ruche(&nodes[1], &["cluster", "upgrade", "--to", &later, "--run", &step]);
        over.store(true, Ordering::Relaxed);
        let said = upgraded.unwrap();
        assert!(said.ends_with(&format!("All nodes run {later}. The state stays at level 1.\n")), "{said}");
    });
    let order = fs::read_to_string(all.dir.path().join("order")).unwrap();
    assert_eq!(order.lines().count(), NODES, "{order}");
    assert_eq!(order.lines().last().unwrap(), format!("pi-{leader}"), "who leads is last: {order}");
    assert_eq!(versions(&nodes[2]), vec![format!("\"{later}\""); NODES]);
    assert_ne!(all.cluster.leader(0), Some(leader), "another one led meanwhile");
    all.cluster.agree(&[0, 1, 2]);
    let zones = nodes[0].all("/v1/zones").len();
    assert_eq!(zones, *made.lock().unwrap(), "each change was made once");
    // Nothing is left to do, and a node that is gone is told.
    let shown = ruche(&nodes[0], &["cluster", "upgrade", "--to", &later]).unwrap();
    assert!(shown.contains(&format!("All nodes run {later}.")), "{shown}");
    kill_process(Pid::from_raw(nodes[2].holder().unwrap() as i32).unwrap(), Signal::KILL).unwrap();
    let told = ruche(&nodes[0], &["cluster", "upgrade", "--to", env!("CARGO_PKG_VERSION")]).unwrap_err();
    assert!(told.contains("pi-2 does not answer, and without"), "{told}");
}
