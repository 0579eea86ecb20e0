//! A cluster whose nodes run programs that can be replaced while they serve.
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::cluster::{Cluster, node, ruche, token};
use super::node::{Node, binary};
use super::until;

pub const NODES: usize = 3;

/// Nodes whose program can be replaced; whoever runs it is ended with the test.
pub struct Replaceable {
    pub cluster: Cluster,
    /// Has each node's directory under its name, and the later program.
    pub dir: tempfile::TempDir,
}

impl Drop for Replaceable {
    fn drop(&mut self) {
        for holder in self.cluster.nodes.iter().filter_map(Node::holder) {
            let _ = Pid::from_raw(holder as i32).map(|holder| kill_process(holder, Signal::KILL));
        }
    }
}

impl Replaceable {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut nodes: Vec<Node> = (0..NODES).map(|at| node(&format!("pi-{at}"))).collect();
        for (at, node) in nodes.iter_mut().enumerate() {
            symlink(node.config().parent().unwrap(), dir.path().join(format!("pi-{at}"))).unwrap();
            let program = node.path("ruche");
            symlink(binary(), &program).unwrap();
            node.program = Some(program);
            node.start();
        }
        for node in &nodes[1..] {
            ruche(node, &["cluster", "join", &token(&nodes[0])]).unwrap();
        }
        let cluster = Cluster { nodes };
        until(60, "three vote", || (cluster.voters(0).len() == NODES).then_some(()));
        Self { cluster, dir }
    }

    /// The same program, which says another number of the same length.
    pub fn later(&self) -> (PathBuf, String) {
        let (own, path) = (env!("CARGO_PKG_VERSION"), self.dir.path().join("later"));
        let (rest, last) = own.split_at(own.len() - 1);
        let later = format!("{rest}{}", (last.parse::<u32>().unwrap() + 1) % 10);
        let pattern = format!("s/{}/{later}/g", own.replace('.', "\\."));
        let mut sed = Command::new("sed");
        sed.arg(pattern).arg(binary()).env("LC_ALL", "C").stdout(File::create(&path).unwrap());
        let made = sed.status().unwrap();
        assert!(made.success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (path, later)
    }

    /// Gives a node another program, which it does not run yet.
    pub fn give(&self, at: usize, program: &Path) {
        let own = self.cluster.nodes[at].path("ruche");
        fs::remove_file(&own).unwrap();
        symlink(program, own).unwrap();
    }

    /// Has a node hand over to the program it was given.
    pub fn hand_over(&self, at: usize) {
        let holder = self.cluster.nodes[at].holder().unwrap();
        kill_process(Pid::from_raw(holder as i32).unwrap(), Signal::USR2).unwrap();
    }
}
