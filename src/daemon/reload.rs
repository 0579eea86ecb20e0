//! SIGHUP: the log's levels change at once; what needs a restart is named. A faulty file changes nothing.
use std::path::Path;

use crate::cluster::member::Member;
use crate::config::Config;
use crate::config::load::load;
use crate::ops::board::Board;
use crate::ops::log::LogHandle;
use crate::ops::notify;

pub(crate) fn reload(file: Option<&Path>, log: &LogHandle, running: &Config) {
    notify::reloading();
    match load(file) {
        Ok(config) => {
            log.set(&config.log.levels);
            let waiting = needs_restart(running, &config);
            if waiting.is_empty() {
                tracing::info!("read the configuration again");
            } else {
                tracing::warn!(
                    keys = waiting.join(", "),
                    "read the configuration again; these take effect after a restart"
                );
            }
        }
        Err(faults) => tracing::error!(%faults, "the configuration is faulty; the one in force stays"),
    }
    notify::ready("ready");
}

fn needs_restart(running: &Config, read: &Config) -> Vec<&'static str> {
    let differ = [
        ("[node]", running.node != read.node),
        ("[web]", running.web != read.web),
        ("[dns]", running.dns != read.dns),
        ("[ftp]", running.ftp != read.ftp),
        ("[admin]", running.admin != read.admin),
        ("[cluster]", running.cluster != read.cluster),
        ("[log] format", running.log.format != read.log.format),
    ];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// `[node] name` counts once; afterwards the state decides.
pub(crate) fn compare_name(config: &Config, member: &Member, board: &Board) {
    let snapshot = member.snapshot();
    let name = snapshot.borrow().nodes.get(&member.node()).map(|node| node.name.clone());
    if let Some(name) = name.filter(|name| *name != config.node.name) {
        let text = format!("the configuration says {}, the cluster knows this node as {name}", config.node.name);
        tracing::warn!("{text}");
        board.yellow("name", text);
    }
}
