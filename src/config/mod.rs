//! `ruche.toml` and `conf.d/*.toml`: this machine's addresses, directories and limits. Unknown keys are refused and all
//! faults are told together. Never holds anything that is replicated.
pub mod fault;
mod keys;
mod listen;
pub mod load;
mod read;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::base::limits::LABEL_MAX;
use crate::base::names::NodeName;
use crate::config::fault::Faults;
use crate::ops::log::{Format, Levels, LogOptions};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub node: Node,
    pub web: Web,
    pub dns: Dns,
    pub ftp: Ftp,
    pub admin: Admin,
    pub cluster: Cluster,
    pub log: LogOptions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Counts once, at init or join; afterwards the state decides.
    pub name: NodeName,
    pub data_dir: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// UDP and TCP.
    pub listen: Vec<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ftp {
    pub listen: Vec<SocketAddr>,
    pub passive_ports: RangeInclusive<u16>,
    /// What passive mode announces, an address or a host; None for the address the client came to.
    pub passive_host: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub socket: PathBuf,
    /// Loopback addresses only.
    pub listen: Vec<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub listen: Vec<SocketAddr>,
    /// Where the other nodes reach this one; empty for the node's addresses and the port it listens on.
    pub advertise: Vec<SocketAddr>,
}

/// What the defaults take from the machine.
#[derive(Debug, Clone)]
pub struct Machine {
    pub hostname: String,
    /// Standard error goes to the journal.
    pub journal: bool,
}

impl Config {
    /// Reads the files in order: a later one overrides single keys, and replaces lists whole.
    pub fn parse(files: &[(PathBuf, String)], machine: &Machine) -> Result<Self, Faults> {
        read::config(files, machine)
    }

    fn defaults(machine: &Machine) -> Self {
        Self {
            node: Node { name: node_name(&machine.hostname), data_dir: "/var/lib/ruche".into() },
            web: Web { http: everywhere(80), https: everywhere(443) },
            dns: Dns { listen: everywhere(53) },
            // Below the range Linux takes the ports of outgoing connections from (32768 to 60999).
            ftp: Ftp { listen: everywhere(21), passive_ports: 30000..=30999, passive_host: None },
            admin: Admin {
                socket: "/run/ruche/admin.sock".into(),
                listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 7479))],
            },
            cluster: Cluster { listen: everywhere(7480), advertise: Vec::new() },
            log: LogOptions {
                levels: Levels::default(),
                format: if machine.journal { Format::Journal } else { Format::Text },
            },
        }
    }
}

/// Both families, each on a socket of its own.
fn everywhere(port: u16) -> Vec<SocketAddr> {
    [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)]
        .map(|address| SocketAddr::new(address, port))
        .into()
}

/// The first label of a host name, with what a node name cannot hold replaced by hyphens.
fn node_name(hostname: &str) -> NodeName {
    let label = hostname.split('.').next().unwrap_or_default().to_lowercase();
    let kept: String = label.chars().take(LABEL_MAX).map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    NodeName::parse(kept.trim_matches('-')).or_else(|_| NodeName::parse("node")).expect("`node` is a valid node name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_becomes_a_node_name() {
        for (hostname, name) in [
            ("alpha", "alpha"),
            ("Alpha.example.org", "alpha"),
            ("my_host", "my-host"),
            ("-x-", "x"),
            ("", "node"),
            ("___", "node"),
            ("été", "t"),
        ] {
            assert_eq!(node_name(hostname).as_str(), name, "{hostname}");
        }
        assert_eq!(node_name(&"a".repeat(200)).as_str().len(), LABEL_MAX);
    }
}
