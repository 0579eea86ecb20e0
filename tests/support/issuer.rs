//! An issuer as others wrote one (Debian's pebble), and a network of its own in which it, the node and its visitors live: low ports
//! without disturbing anybody, and the node's own DNS as everybody's.
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{Cluster, node_at};
use super::node::Node;

/// Where the node is reached in its network.
pub const ADDRESS: &str = "10.9.0.1";
/// Where another machine would be.
pub const OLD_ADDRESS: &str = "10.9.0.2";

/// A network namespace, held by a sleeping process.
#[derive(Debug)]
pub struct Network {
    dir: TempDir,
    holder: Child,
    enter: Vec<String>,
}

impl Network {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("ruche-net-").tempdir().unwrap();
        let resolv = dir.path().join("resolv.conf");
        fs::write(&resolv, format!("nameserver {ADDRESS}\n")).unwrap();
        let root = rustix::process::geteuid().is_root();
        let ready = dir.path().join("ready");
        let script = format!(
            "ip link set lo up && ip addr add {ADDRESS}/32 dev lo && ip addr add {OLD_ADDRESS}/32 dev lo && mount --bind {} \"$(readlink -f /etc/resolv.conf)\" && touch {} && exec sleep infinity",
            resolv.display(),
            ready.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount"]).args((!root).then_some("--map-root-user"));
        let holder = command.args(["sh", "-c", &script]).stdin(Stdio::null()).process_group(0).spawn().unwrap();
        wait("the network stands", || ready.exists());
        let mut enter: Vec<String> =
            ["nsenter", "--target", &holder.id().to_string(), "--net", "--mount"].map(Into::into).into();
        if !root {
            enter.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        Self { dir, holder, enter }
    }

    /// A file beside those of the issuer.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program in this network.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(&self.enter[0]);
        command.args(&self.enter[1..]).arg(program);
        command
    }

    /// A node in this network that serves HTTP, HTTPS and DNS on their own ports.
    pub fn node(&self, http: bool) -> Node {
        let mut node = self.serves(Node::new(), http);
        node.start();
        furnish(&node);
        node
    }

    /// Several nodes in this network, one cluster. Only the first one serves.
    pub fn cluster(&self, count: u8) -> Cluster {
        let node = |at: u8| {
            let node = if at == 0 { self.serves(Node::new(), true) } else { Node::new() };
            let mut node = node_at(node, &format!("pi-{at}"), Some(Ipv4Addr::new(127, 0, 0, 1 + at)));
            node.under.clone_from(&self.enter);
            node
        };
        let cluster = Cluster::join((0..count).map(node).collect());
        furnish(&cluster.nodes[0]);
        cluster
    }

    fn serves(&self, mut node: Node, http: bool) -> Node {
        let config = fs::read_to_string(node.config()).unwrap();
        let config = config.replace("https = []", &format!("https = [\"{ADDRESS}:443\"]"));
        let config = if http { config.replace("http = []", &format!("http = [\"{ADDRESS}:80\"]")) } else { config };
        let config = config.replace("[dns]\nlisten = []", &format!("[dns]\nlisten = [\"{ADDRESS}:53\"]"));
        fs::write(node.config(), config).unwrap();
        node.under.clone_from(&self.enter);
        node
    }

    /// What curl gets from a site, verified against the issuer's root: status and body.
    pub fn curl(&self, root: &Path, url: &str) -> Option<String> {
        let mut curl = self.command("curl");
        curl.args(["-s", "--max-time", "5", "-w", "%{http_code}", "-o", "/dev/null", "--cacert"]).arg(root).arg(url);
        let out = curl.output().unwrap();
        out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
    }
}

/// Its address, and the zones of this network.
fn furnish(node: &Node) {
    let own = node.get("/v1/nodes").json["items"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!(node.ask("PATCH", &format!("/v1/nodes/{own}"), Some(json!({"addresses": [ADDRESS]})), &[]).status, 200);
    for zone in ["wide.net", "other.net"] {
        assert_eq!(node.post("/v1/zones", json!({"name": zone, "nameservers": [format!("ns.{zone}")]})).status, 201);
        let set = |name: &str| {
            let path = format!("/v1/zones/{zone}/records/{name}/A");
            assert_eq!(node.ask("PUT", &path, Some(json!({"ttl": 60, "values": [ADDRESS]})), &[]).status, 200);
        };
        set("ns");
        set("mail");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// certbot ends with an error of its own at the second refused nonce in a row, which chance brings in one of a few dozen runs.
pub const FOR_CERTBOT: &[(&str, &str)] = &[("PEBBLE_WFE_NONCEREJECT", "0")];

#[derive(Debug)]
pub struct Pebble {
    dir: PathBuf,
    child: Option<Child>,
    env: Vec<(&'static str, &'static str)>,
}

/// The external account binding it asks for, where it does.
pub const KID: &str = "kid-1";
pub const MAC: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

impl Pebble {
    pub fn new(network: &Network, bound: bool, env: &[(&'static str, &'static str)]) -> Self {
        Self::with(network, json!({"externalAccountBindingRequired": bound}), env)
    }

    /// One whose certificates last so many seconds.
    pub fn lasting(network: &Network, seconds: u64, env: &[(&'static str, &'static str)]) -> Self {
        Self::with(network, json!({"certificateValidityPeriod": seconds}), env)
    }

    fn with(network: &Network, more: Value, env: &[(&'static str, &'static str)]) -> Self {
        let dir = network.dir.path().to_owned();
        let mut pebble = Self { dir, child: None, env: env.to_vec() };
        make_certificates(&pebble.dir);
        let mut config = json!({"pebble": {
            "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
            "certificate": pebble.path("server.pem"), "privateKey": pebble.path("server.key"),
            "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountMACKeys": {KID: MAC},
        }});
        config["pebble"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(pebble.path("pebble.json"), config.to_string()).unwrap();
        pebble.start(network);
        pebble
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Who certifies its own server.
    pub fn ca(&self) -> String {
        fs::read_to_string(self.ca_file()).unwrap()
    }

    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub fn start(&mut self, network: &Network) {
        let log = File::create(self.path("pebble.log")).unwrap();
        let mut command = network.command("pebble");
        command.arg("-config").arg(self.path("pebble.json")).args(["-dnsserver", &format!("{ADDRESS}:53")]);
        command.env("PEBBLE_VA_NOSLEEP", "1").envs(self.env.iter().copied());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.child = Some(command.spawn().unwrap());
        let up = || {
            network
                .command("curl")
                .args(["-sk", "-o", "/dev/null", "https://127.0.0.1:14000/dir"])
                .status()
                .unwrap()
                .success()
        };
        wait("pebble answers", up);
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(self.child.as_ref().unwrap())
    }

    /// The root behind what it issues, as a file; another one each time it starts.
    pub fn root(&self, network: &Network) -> PathBuf {
        let file = self.path("root.pem");
        let got = network.command("curl").args(["-sk", "https://127.0.0.1:15000/roots/0", "-o"]).arg(&file).status();
        assert!(got.unwrap().success());
        file
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("pebble.log")).unwrap_or_default()
    }

    /// Makes it the node's preferred issuer.
    pub fn prefer(&self, node: &Node, bound: bool) {
        let mut body = json!({
            "name": "pebble", "directory": "https://127.0.0.1:14000/dir", "ca_cert": self.ca(), "standing": "first",
        });
        if bound {
            body["eab"] = json!({"kid": KID, "key": MAC});
        }
        assert_eq!(node.post("/v1/issuers", body).status, 201);
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Who certifies the issuer's own server, and that server's certificate.
fn make_certificates(dir: &Path) {
    fs::write(dir.join("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 3000 -subj /CN=ca
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=pebble
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3000 -extfile extensions -out server.pem";
    let made = Command::new("sh").args(["-ec", script]).current_dir(dir).stderr(Stdio::null()).status().unwrap();
    assert!(made.success());
}

/// An issuer that says and does what others do not: `tests/support/issuer_stub.py` has the list.
#[derive(Debug)]
pub struct Stub {
    ca: String,
    port: u16,
    child: Child,
}

impl Stub {
    /// In the network of another issuer, whose directory it adds to.
    pub fn beside(network: &Network, pebble: &Pebble) -> Self {
        Self::start(network.command("python3"), &pebble.dir, "https://127.0.0.1:14000/dir")
    }

    /// On this machine, with its files in a directory.
    pub fn alone(dir: &Path) -> Self {
        make_certificates(dir);
        Self::start(Command::new("python3"), dir, "-")
    }

    fn start(mut python: Command, dir: &Path, beside: &str) -> Self {
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/issuer_stub.py")).arg("0");
        python.arg(dir.join("server.pem")).arg(dir.join("server.key")).arg(beside);
        let mut child = python.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { ca: fs::read_to_string(dir.join("ca.pem")).unwrap(), port: port.trim().parse().unwrap(), child }
    }

    /// As an issuer of the node that is asked only by its name, for what this path of it does.
    pub fn issuer(&self, node: &Node, name: &str, path: &str) {
        let directory = format!("https://127.0.0.1:{}/{path}", self.port);
        let body = json!({"name": name, "directory": directory, "ca_cert": self.ca, "standing": "by-name"});
        assert_eq!(node.post("/v1/issuers", body).status, 201);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for it, a minute at most.
pub fn wait(what: &str, mut reached: impl FnMut() -> bool) {
    super::until(60, what, || reached().then_some(()));
}

/// What is planned for a name.
pub fn planned(node: &Node, name: &str) -> Value {
    let plan = node.get("/v1/certificates/plan").json;
    let has = |item: &&Value| item["names"].as_array().unwrap().iter().any(|held| held == name);
    plan["items"].as_array().unwrap().iter().find(has).cloned().unwrap_or(Value::Null)
}

/// Waits until a name is in this step of the plan.
pub fn until_planned(node: &Node, name: &str, step: &str) {
    wait(&format!("{name} is {step}"), || planned(node, name)["step"] == step);
}
