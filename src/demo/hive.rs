//! Several throw-away nodes that are one: what is changed on one of them is served by all, and one that is killed is not missed.
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::demo::node::{Asked, DemoError, Node};
use crate::demo::visitor::Visitor;
use crate::demo::{HOST, HOST_A, asker, expect, put, say, text};

/// How long the nodes may take to agree on anything.
const AGREE_WAIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The nodes, and a visitor of their one site.
pub(crate) struct Hive {
    pub(crate) nodes: Vec<Node>,
}

impl Hive {
    pub(crate) async fn start(count: usize) -> Result<Self, DemoError> {
        let mut hive = Self { nodes: Vec::new() };
        for number in 1..=count {
            match Node::start(&format!("pi-{number}")).await {
                Ok(node) => hive.nodes.push(node),
                Err(error) => {
                    let _ = hive.stop().await;
                    return Err(error);
                }
            }
        }
        Ok(hive)
    }

    pub(crate) async fn stop(self) -> Result<(), DemoError> {
        let mut stopped = Ok(());
        for node in self.nodes {
            stopped = stopped.and(node.stop().await);
        }
        stopped
    }

    pub(crate) async fn steps(&mut self) -> Result<(), DemoError> {
        self.join().await?;
        let site = self.a_site().await?;
        self.a_change(1, "a", "192.0.2.31").await?;
        self.a_loss(&site).await?;
        self.a_move(&site).await?;
        if self.nodes.len() > 2 {
            self.a_failover(&site).await?;
        }
        say("All checks passed.");
        Ok(())
    }

    async fn join(&mut self) -> Result<(), DemoError> {
        let count = self.nodes.len();
        for number in 1..count {
            let made = self.nodes[0].ask(Asked::post("/v1/cluster/token", json!({}))).await?;
            let join = json!({"token": made["token"]});
            self.nodes[number].ask(Asked::new(Method::POST, "/v1/cluster/join", join, StatusCode::ACCEPTED)).await?;
            say(&format!("  pi-{} joined with a token of pi-1", number + 1));
        }
        self.until("all nodes vote", 0, |status| status["raft"]["voters"].as_array().map(Vec::len) == Some(count))
            .await?;
        for number in 1..count {
            self.until("each has the state", number, |status| status["counts"]["nodes"] == count).await?;
        }
        say(&format!("{count} nodes are one cluster, and each holds all of its state."));
        Ok(())
    }

    /// A site at home on the first node, as visitors of each see it.
    async fn a_site(&self) -> Result<Visitor, DemoError> {
        let home = &self.nodes[0];
        let site = json!({"host": HOST, "handler": {"type": "static"}, "node": "pi-1"});
        let site = self.nodes[1].ask(Asked::post("/v1/sites", site)).await?;
        let root = PathBuf::from(text(&home.ask(Asked::get(&format!("/v1/sites/{HOST_A}"))).await?["root"]));
        put(&root, "Hello from the hive.")?;
        let pem = home.body(Asked::get("/v1/certificates/ca")).await?;
        let ca = home.dir().join("ca.pem");
        std::fs::write(&ca, &pem).map_err(DemoError::Page)?;
        let mut visitor = Visitor::new(&pem, HOST_A, root, ca)?;
        for at in 0..self.nodes.len() {
            self.follows(at, &site["revision"]).await?;
            visitor = self.visits(visitor, at).await?;
        }
        say(&format!("  site {HOST}, made on pi-2, at home on pi-1: every node serves it over TLS"));
        self.nodes[1].ask(Asked::post("/v1/zones", json!({"name": HOST}))).await?;
        Ok(visitor)
    }

    async fn visits(&self, visitor: Visitor, at: usize) -> Result<Visitor, DemoError> {
        let visitor = visitor.moved_to(&self.nodes[at].ask(Asked::get("/v1/status")).await?)?;
        visitor.sees("/", StatusCode::OK, "Hello from the hive.").await?;
        Ok(visitor)
    }

    /// A record written through one node and answered by all.
    async fn a_change(&self, through: usize, name: &str, address: &str) -> Result<(), DemoError> {
        let path = format!("/v1/zones/{HOST_A}/records/{name}/A");
        let record = json!({"ttl": 300, "values": [address]});
        let deadline = Instant::now() + AGREE_WAIT;
        let started = Instant::now();
        let written = loop {
            match self.nodes[through].ask(Asked::new(Method::PUT, &path, record.clone(), StatusCode::OK)).await {
                // Who led was killed: the others take a moment to notice.
                Err(DemoError::Answered { status: StatusCode::SERVICE_UNAVAILABLE, .. })
                    if Instant::now() < deadline => {}
                written => break written?,
            }
        };
        let took = started.elapsed().as_millis();
        for at in (0..self.nodes.len()).filter(|at| self.nodes[*at].is_up()) {
            self.follows(at, &written["revision"]).await?;
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.nodes[at].port("dns.listen").await?));
            let found = asker::addresses(server, &format!("{name}.{HOST_A}"), false).await?;
            expect("every node answers for the record", found.iter().map(Ipv4Addr::to_string).eq([address]))?;
        }
        say(&format!(
            "  record {name} A {address}, written through pi-{} in {took} ms: every node answers for it",
            through + 1
        ));
        Ok(())
    }

    /// The site moves to another home while it is visited through every node.
    async fn a_move(&self, site: &Visitor) -> Result<(), DemoError> {
        let path = format!("/v1/sites/{HOST_A}/move");
        let asked = Asked::new(Method::POST, &path, json!({"to": "pi-2"}), StatusCode::ACCEPTED);
        let begun = self.nodes[0].ask(asked).await?;
        let operation = format!("/v1/operations/{}", text(&begun["id"]));
        let (started, mut visits) = (Instant::now(), 0);
        loop {
            for node in &self.nodes {
                let through = site.again().moved_to(&node.ask(Asked::get("/v1/status")).await?)?;
                through.sees("/", StatusCode::OK, "Hello from the hive.").await?;
                visits += 1;
            }
            let now = self.nodes[0].ask(Asked::get(&operation)).await?;
            if now["status"] != "running" {
                expect("the move succeeds", now["status"] == "succeeded")?;
                break;
            }
            expect("the move ends in time", started.elapsed() < AGREE_WAIT)?;
        }
        let moved = self.nodes[0].ask(Asked::get(&format!("/v1/sites/{HOST_A}"))).await?;
        expect("the site is at home elsewhere", moved["node"] == "pi-2")?;
        let took = started.elapsed().as_millis();
        say(&format!(
            "  the site moved to pi-2 in {took} ms: {visits} visits through all nodes meanwhile, none failed"
        ));
        Ok(())
    }

    /// The home is killed, and a standby takes its place.
    async fn a_failover(&mut self, site: &Visitor) -> Result<(), DemoError> {
        let path = format!("/v1/sites/{HOST_A}");
        let change = Asked::new(Method::PATCH, &path, json!({"standbys": ["pi-3"]}), StatusCode::OK);
        self.nodes[0].ask(change).await?;
        let (copies, deadline) = (format!("{path}/standbys"), Instant::now() + AGREE_WAIT);
        let is_whole = |copies: &Value| {
            let copy = &copies["standbys"][0];
            copy["whole"] == true && copy["behind"].is_null()
        };
        while !is_whole(&self.nodes[0].ask(Asked::get(&copies)).await?) {
            expect("the standby has everything", Instant::now() < deadline)?;
            sleep(LOOK_EVERY).await;
        }
        say("  pi-3 stands by, and has all of its files");
        self.nodes[1].kill().await?;
        let (killed, deadline) = (Instant::now(), Instant::now() + AGREE_WAIT);
        say("  pi-2, its home, was killed with SIGKILL");
        let through = site.again().moved_to(&self.nodes[0].ask(Asked::get("/v1/status")).await?)?;
        let mut unserved = 0;
        while through.sees("/", StatusCode::OK, "Hello from the hive.").await.is_err() {
            expect("a standby takes over", Instant::now() < deadline)?;
            unserved += 1;
            sleep(LOOK_EVERY).await;
        }
        let took = killed.elapsed().as_secs_f64();
        let now = self.nodes[0].ask(Asked::get(&path)).await?;
        expect("the standby is the home", now["node"] == "pi-3" && now["standbys"] == json!(["pi-2"]))?;
        say(&format!(
            "  visitors were told to wait {unserved} times; after {took:.1} s the site is at home on pi-3 and served"
        ));
        self.nodes[1].start_again().await?;
        say("  pi-2 is back, and stands by");
        Ok(())
    }

    /// One of them is killed: the one that leads, unless the site's files are there.
    async fn a_loss(&mut self, site: &Visitor) -> Result<(), DemoError> {
        let status = self.nodes[0].ask(Asked::get("/v1/status")).await?;
        let leader = (1..self.nodes.len()).find(|at| status["raft"]["leader"] == format!("pi-{}", at + 1));
        let lost = leader.unwrap_or(1);
        let other = if lost == 1 { 2 } else { 1 };
        self.nodes[lost].kill().await?;
        let part = if leader.is_some() { ", which led," } else { "" };
        say(&format!("  pi-{}{part} was killed with SIGKILL", lost + 1));
        let seen = site.again().moved_to(&self.nodes[other].ask(Asked::get("/v1/status")).await?)?;
        seen.sees("/", StatusCode::OK, "Hello from the hive.").await?;
        say(&format!("  the site is served on, through pi-{} too", other + 1));
        self.a_change(other, "b", "192.0.2.32").await?;
        self.nodes[lost].start_again().await?;
        self.a_change(lost, "c", "192.0.2.33").await?;
        say(&format!("  pi-{} is back, has what it missed, and takes changes", lost + 1));
        Ok(())
    }

    /// Waits until the planes of a node serve a revision.
    async fn follows(&self, at: usize, revision: &Value) -> Result<(), DemoError> {
        let wanted = revision.as_u64();
        self.until("each node follows", at, |status| status["served"].as_u64() >= wanted).await
    }

    async fn until(&self, what: &'static str, at: usize, is_it: impl Fn(&Value) -> bool) -> Result<(), DemoError> {
        let deadline = Instant::now() + AGREE_WAIT;
        // One that joins starts again meanwhile.
        while !self.nodes[at].ask(Asked::get("/v1/status")).await.is_ok_and(|status| is_it(&status)) {
            expect(what, Instant::now() < deadline)?;
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}
