//! Machines with a network of their own: a namespace each, on one bridge, and rules that part them, deafen one of them, or lose what is
//! sent. Needs root; where it cannot be had that is said aloud.
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Nets made by this process: each has its own names.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Unmade with this value.
#[derive(Debug)]
pub struct Net {
    name: String,
    count: usize,
}

impl Net {
    /// So many machines. None where this process may make no namespaces, said aloud.
    pub fn of(count: usize) -> Option<Self> {
        let name = format!("ruche-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let net = Self { name, count };
        match net.make() {
            Ok(()) => Some(net),
            Err(said) => {
                println!("SKIPPED: no network namespaces can be made here, so no link is cut: {said}");
                None
            }
        }
    }

    fn make(&self) -> Result<(), String> {
        let hub = self.space("hub");
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        for at in 0..self.count {
            let (space, port) = (self.space(at), format!("port{at}"));
            ip(&["netns", "add", &space])?;
            ip(&["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &space])?;
            ip(&["-n", &hub, "link", "set", &port, "master", "bridge", "up"])?;
            let address = format!("{}/24", self.address(at));
            ip(&["-n", &space, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
            self.rule(at, "")?;
        }
        Ok(())
    }

    fn space(&self, of: impl std::fmt::Display) -> String {
        format!("{}-{of}", self.name)
    }

    pub fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, u8::try_from(at + 1).unwrap())
    }

    fn addresses(&self, of: &[usize]) -> String {
        of.iter().map(|at| self.address(*at).to_string()).collect::<Vec<_>>().join(", ")
    }

    /// What a program is started with to be on that machine.
    pub fn under(&self, at: usize) -> Vec<String> {
        vec!["nsenter".into(), format!("--net=/run/netns/{}", self.space(at))]
    }

    /// Puts a machine behind a router that lets it call others and lets nobody call it. Its own address from then on.
    pub fn hide(&self, at: usize) -> Ipv4Addr {
        let (space, router, inside) = (self.space(at), self.space(format!("router{at}")), 200 + at);
        let (gate, address) = (format!("192.168.{inside}.1"), Ipv4Addr::new(192, 168, inside.try_into().unwrap(), 2));
        let run = |line: &str| ip(&line.split(' ').collect::<Vec<_>>()).unwrap();
        run(&format!("netns add {router}"));
        run(&format!("-n {space} link set eth0 netns {router}"));
        run(&format!("-n {router} address add {}/24 dev eth0", self.address(at)));
        run(&format!("-n {router} link set eth0 up"));
        run(&format!("-n {router} link add inside type veth peer name eth0 netns {space}"));
        run(&format!("-n {router} address add {gate}/24 dev inside"));
        run(&format!("-n {router} link set inside up"));
        run(&format!("-n {space} address add {address}/24 dev eth0"));
        run(&format!("-n {space} link set eth0 up"));
        run(&format!("-n {space} route add default via {gate}"));
        run(&format!("netns exec {router} sysctl -q -w net.ipv4.ip_forward=1"));
        // As on the internet: what is sent to a private address is lost somewhere.
        for other in (0..self.count).filter(|other| *other != at) {
            run(&format!("-n {} route add {address}/32 via {}", self.space(other), self.address(at)));
        }
        let outside = "ct state new iifname \"eth0\" drop";
        let masquerade = "chain nat { type nat hook postrouting priority 100; oifname \"eth0\" masquerade; }\n";
        let chains = format!("{}{}{masquerade}", chain("input", outside), chain("forward", outside));
        rules(&["nsenter".into(), format!("--net=/run/netns/{router}")], &chains).unwrap();
        address
    }

    /// The router before a machine loses its line, with it everything it knew, and has another address afterwards.
    pub fn reconnect(&self, at: usize) {
        let (router, old) = (self.space(format!("router{at}")), self.address(at));
        let run = |line: &str| ip(&[&["-n", &router], &line.split(' ').collect::<Vec<_>>()[..]].concat()).unwrap();
        run("link set eth0 down");
        run(&format!("address del {old}/24 dev eth0"));
        run(&format!("address add {}/24 dev eth0", self.address(100 + at)));
        run("link set eth0 up");
    }

    /// Gives machines other addresses, in another network on the same bridge; they reach all networks there.
    pub fn renumber(&self, machines: &[usize], network: u8) {
        for at in machines {
            let run = |line: &str| {
                ip(&[&["-n", &self.space(at)], &line.split(' ').collect::<Vec<_>>()[..]].concat()).unwrap()
            };
            run("address flush dev eth0");
            run(&format!("address add 10.{network}.0.{}/24 dev eth0", at + 1));
            run("route add default dev eth0");
        }
    }

    /// Nothing passes between one machine and some others, and nobody is told.
    pub fn part(&self, at: usize, others: &[usize]) {
        let others = self.addresses(others);
        let rules = [("input", "saddr"), ("output", "daddr")]
            .map(|(hook, side)| chain(hook, &format!("ip {side} {{ {others} }} drop")));
        self.rule(at, &rules.concat()).unwrap();
    }

    /// What these machines say does not reach the one; the way back is open.
    pub fn deafen(&self, at: usize, to: &[usize]) {
        let rule = format!("ip saddr {{ {} }} drop", self.addresses(to));
        self.rule(at, &chain("input", &rule)).unwrap();
    }

    /// Of what comes to a machine this part is lost.
    pub fn lose(&self, at: usize, percent: usize) {
        let rule = format!("iifname \"eth0\" numgen random mod 100 < {percent} drop");
        self.rule(at, &chain("input", &rule)).unwrap();
    }

    /// All links are whole again.
    pub fn heal(&self) {
        (0..self.count).for_each(|at| self.rule(at, "").unwrap());
    }

    /// Replaces the rules of a machine.
    fn rule(&self, at: usize, chains: &str) -> Result<(), String> {
        rules(&self.under(at), chains)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for at in 0..self.count {
            let _ = ip(&["netns", "delete", &self.space(at)]);
            let _ = ip(&["netns", "delete", &self.space(format!("router{at}"))]);
        }
        let _ = ip(&["netns", "delete", &self.space("hub")]);
    }
}

fn rules(under: &[String], chains: &str) -> Result<(), String> {
    let mut nft = Command::new(&under[0]);
    nft.args(&under[1..]).args(["nft", "-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut nft = nft.spawn().map_err(|error| error.to_string())?;
    let text = format!("flush ruleset\ntable inet faults {{ {chains} }}\n");
    nft.stdin.take().unwrap().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    let done = nft.wait_with_output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

fn chain(hook: &str, rule: &str) -> String {
    format!("chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}\n")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(arguments).output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}
