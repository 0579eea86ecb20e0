//! A writer that changes many kinds of objects and remembers what it was promised, and the comparison of a node with that.
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde_json::{Value, json};

use super::chance::Chance;
use super::http::{Answer, Client};
use super::node::Node;

/// Objects one writer keeps, about: a load may run for hours on a state that stays small.
const OBJECTS_KEPT: usize = 40;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub body: Option<Value>,
    pub key: String,
    /// Where the object is found that it makes, changes or removes.
    target: String,
}

#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub request: Request,
    pub status: u16,
    pub json: Value,
    pub revision: u64,
    pub request_id: String,
}

/// What one request led to.
#[derive(Debug)]
pub enum Outcome {
    Done,
    /// Certainly not done.
    Refused(Answer),
    /// Nobody knows (yet); without an answer the connection broke.
    Unknown(Option<Answer>),
}

#[derive(Debug)]
pub struct Writer {
    name: String,
    chance: Chance,
    client: Client,
    count: u64,
    /// What was promised to be there: each object as its last change answered it, by the path where it is read.
    objects: BTreeMap<String, Value>,
    /// The request of which it is not known whether it happened.
    pub pending: Option<Request>,
    pub acknowledged: Vec<Acknowledged>,
}

impl Writer {
    pub fn new(node: &Node, number: usize, chance: Chance) -> Self {
        let name = format!("w{number}");
        let client = node.client();
        Self { name, chance, client, count: 0, objects: BTreeMap::new(), pending: None, acknowledged: Vec::new() }
    }

    /// Makes one change.
    pub fn step(&mut self) -> Outcome {
        assert!(self.pending.is_none(), "what is unknown must be settled first");
        let request = self.think();
        self.count += 1;
        match self.send(&request) {
            Ok(answer) if answer.is_done() => {
                self.promised(request, answer);
                Outcome::Done
            }
            Ok(answer) if answer.status == 504 => {
                self.pending = Some(request);
                Outcome::Unknown(Some(answer))
            }
            Ok(answer) => Outcome::Refused(answer),
            Err(_) => {
                self.pending = Some(request);
                Outcome::Unknown(None)
            }
        }
    }

    pub fn send(&mut self, request: &Request) -> io::Result<Answer> {
        let key = [("idempotency-key", request.key.as_str()), ("content-type", "application/json")];
        self.client.ask(request.method, &request.path, request.body.as_ref(), &key)
    }

    fn think(&mut self) -> Request {
        let (n, name) = (self.count, self.name.clone());
        let account = format!("{name}-owner");
        let (sites, zones, accounts) = (self.of("/v1/sites/"), self.zones(), self.of("/v1/accounts/"));
        if !self.objects.contains_key(&format!("/v1/accounts/{account}")) {
            return self.request(
                "POST",
                "/v1/accounts",
                Some(json!({"name": account, "contact": "the owner"})),
                &account,
            );
        }
        let removable: Vec<String> = accounts.into_iter().filter(|path| !path.ends_with("-owner")).collect();
        let many = self.objects.len() > OBJECTS_KEPT;
        match self.chance.below(if many { 4 } else { 12 }) {
            0 if !sites.is_empty() => self.remove(&sites),
            1 if !zones.is_empty() => self.remove(&zones),
            2 if !removable.is_empty() => self.remove(&removable),
            3 if self.of("/v1/plans/").len() > 1 => self.remove(&self.of("/v1/plans/")),
            4 if !sites.is_empty() => {
                let path = self.one(&sites);
                let change =
                    json!({"quota": n + 1, "maintenance": n % 2 == 0, "aliases": [format!("b{n}.{name}.example")]});
                self.at("PATCH", &path, Some(change))
            }
            5 => {
                let plan = format!("/v1/plans/{name}-p{}", n % 4);
                self.at("PUT", &plan, Some(json!({"limits": {"sites": n, "zones": n + 1, "disk": n + 2}})))
            }
            6 => {
                let account = format!("{name}-a{n}");
                self.request(
                    "POST",
                    "/v1/accounts",
                    Some(json!({"name": account, "contact": format!("nr {n}")})),
                    &account,
                )
            }
            7 => {
                let zone = format!("z{n}.{name}.example");
                let servers = ["ns1.example.net", "ns2.example.net", "ns3.example.net"];
                let body = json!({"name": zone, "account": account, "ttl": 300 + n % 100, "nameservers": servers});
                self.request("POST", "/v1/zones", Some(body), &zone)
            }
            8 | 9 if !zones.is_empty() => {
                let path = format!("{}/records/r{}/A", self.one(&zones), n % 5);
                let values: Vec<String> = (1..=1 + n % 20).map(|last| format!("192.0.2.{last}")).collect();
                self.at("PUT", &path, Some(json!({"ttl": 60 + n % 1000, "values": values})))
            }
            _ => {
                let site = format!("s{n}.{name}.example");
                let aliases: Vec<String> = (0..n % 4).map(|alias| format!("a{alias}.s{n}.{name}.example")).collect();
                let body = json!({"host": site, "aliases": aliases, "www": "serve", "account": account,
                    "handler": {"type": "proxy", "upstreams": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}});
                self.request("POST", "/v1/sites", Some(body), &site)
            }
        }
    }

    fn request(&self, method: &'static str, list: &str, body: Option<Value>, name: &str) -> Request {
        let target = format!("{list}/{name}");
        let path = if method == "POST" { list.to_owned() } else { target.clone() };
        Request { method, path, body, key: format!("{}-{}", self.name, self.count), target }
    }

    fn at(&self, method: &'static str, path: &str, body: Option<Value>) -> Request {
        let (list, name) = path.rsplit_once('/').unwrap();
        self.request(method, list, body, name)
    }

    fn remove(&mut self, paths: &[String]) -> Request {
        let path = self.one(paths);
        self.at("DELETE", &path, None)
    }

    fn one(&mut self, paths: &[String]) -> String {
        paths[self.chance.below(paths.len())].clone()
    }

    fn of(&self, prefix: &str) -> Vec<String> {
        self.objects.keys().filter(|path| path.starts_with(prefix)).cloned().collect()
    }

    fn zones(&self) -> Vec<String> {
        self.of("/v1/zones/").into_iter().filter(|path| !path.contains("/records/")).collect()
    }

    /// Takes up what an answer promises.
    fn promised(&mut self, request: Request, answer: Answer) {
        let (target, json) = (request.target.clone(), object(&answer.json));
        if request.method == "DELETE" {
            self.objects.retain(|path, _| *path != target && !path.starts_with(&format!("{target}/")));
        } else {
            if let Some(servers) = request.body.as_ref().and_then(|body| body["nameservers"].as_array()) {
                let values: Vec<String> = servers.iter().map(|host| format!("{}.", host.as_str().unwrap())).collect();
                let set = json!({"name": "@", "type": "NS", "ttl": json["ttl"], "values": values, "revision": json["revision"]});
                self.objects.insert(format!("{target}/records/@/NS"), set);
            }
            self.objects.insert(target, json);
        }
        let revision = answer.json["revision"].as_u64().unwrap();
        let request_id = answer.header("ruche-request-id").unwrap().to_owned();
        let Answer { status, json, .. } = answer;
        self.acknowledged.push(Acknowledged { request, status, json: object(&json), revision, request_id });
    }

    /// Asks again what was not answered: it must have happened whole or not at all, and now it has happened once.
    pub fn settle(&mut self) {
        self.client.reconnect();
        let Some(request) = self.pending.take() else { return };
        self.count += 1;
        let found = self.client.ask("GET", &request.target, None, &[]).unwrap();
        let before = found.header("ruche-revision").and_then(|revision| revision.parse::<u64>().ok());
        let answer = self.send(&request).unwrap().done();
        let revision = answer.json["revision"].as_u64().unwrap();
        if answer.header("idempotency-replayed") == Some("true") {
            match request.method {
                "DELETE" => assert_eq!(found.status, 404, "{request:?} happened and left {}", found.text),
                _ => assert!(same(&request.target, &object(&answer.json), &found.json), "{request:?}: {}", found.text),
            }
            assert!(before.is_none_or(|before| revision <= before), "{request:?} was replayed at a later revision");
        } else {
            let old = self.objects.get(&request.target);
            match old {
                Some(old) => assert!(same(&request.target, old, &found.json), "{request:?} half: {}", found.text),
                None => assert_eq!(found.status, 404, "{request:?} did not happen and left {}", found.text),
            }
        }
        self.promised(request, answer);
    }
}

/// An object without what belongs to the answer only.
fn object(json: &Value) -> Value {
    let mut json = json.clone();
    if let Some(fields) = json.as_object_mut() {
        fields.remove("served");
    }
    json
}

/// Whether an object is as it was promised. A zone's serial, count, revision, name servers and warnings move with its records.
fn same(path: &str, promised: &Value, found: &Value) -> bool {
    let comparable = |json: &Value| {
        let mut json = json.clone();
        if let (true, Some(fields)) = (is_zone(path), json.as_object_mut()) {
            fields.retain(|field, _| {
                !["serial", "records", "revision", "nameservers", "warnings"].contains(&field.as_str())
            });
        }
        json
    };
    comparable(promised) == comparable(found)
}

fn is_zone(path: &str) -> bool {
    path.starts_with("/v1/zones/") && path.split('/').count() == 4
}

/// Runs the writers side by side until each has had an outcome that is no success, or `until` says so. `refusals` are the
/// codes of those refusals that are to be expected.
pub fn run(writers: &mut [Writer], refusals: &[&str], until: &(dyn Fn() -> bool + Sync)) {
    std::thread::scope(|scope| {
        for writer in writers {
            scope.spawn(move || {
                while !until() {
                    match writer.step() {
                        Outcome::Done => {}
                        Outcome::Refused(answer) if refusals.contains(&answer.code()) => return,
                        Outcome::Refused(answer) => panic!("refused: {} {}", answer.status, answer.text),
                        Outcome::Unknown(_) => return,
                    }
                }
            });
        }
    });
}

/// Compares everything the node has with everything that was promised: no more, no less.
pub fn compare(node: &Node, writers: &[Writer]) {
    let promised: BTreeMap<&String, &Value> = writers.iter().flat_map(|writer| &writer.objects).collect();
    let mut found = BTreeMap::new();
    for (list, name) in [("plans", "name"), ("accounts", "name"), ("sites", "host"), ("zones", "name")] {
        for item in node.all(&format!("/v1/{list}")) {
            found.insert(format!("/v1/{list}/{}", item[name].as_str().unwrap()), item);
        }
    }
    let zones: Vec<String> = found.keys().filter(|path| is_zone(path)).cloned().collect();
    for zone in zones {
        // The SOA is made of the zone's head.
        let mut sets = node.all(&format!("{zone}/records"));
        sets.retain(|set| set["type"] != "SOA");
        assert_eq!(found[&zone]["records"], sets.len(), "{zone}: {}", found[&zone]);
        for set in sets {
            let path = format!("{zone}/records/{}/{}", set["name"].as_str().unwrap(), set["type"].as_str().unwrap());
            found.insert(path, set);
        }
    }
    let names = |paths: &mut dyn Iterator<Item = &String>| paths.cloned().collect::<BTreeSet<_>>();
    let (wanted, there) = (names(&mut promised.keys().copied()), names(&mut found.keys()));
    let (lost, extra): (Vec<_>, Vec<_>) = (wanted.difference(&there).collect(), there.difference(&wanted).collect());
    assert!(lost.is_empty() && extra.is_empty(), "lost: {lost:?}, never promised: {extra:?}");
    for (path, object) in promised {
        assert!(same(path, object, &found[path]), "{path} was promised as {object} and is {}", found[path]);
    }
}

/// Revision of the node's state.
pub fn revision(node: &Node) -> u64 {
    node.get("/v1/status").done().json["revision"].as_u64().unwrap()
}

/// Compares the events after a revision with what was acknowledged: each change one event, none missing, none else.
pub fn compare_events(node: &Node, writers: &[Writer], after: u64) {
    let mut promised: BTreeMap<u64, &str> = BTreeMap::new();
    for done in writers.iter().flat_map(|writer| &writer.acknowledged).filter(|done| done.revision > after) {
        let other = promised.insert(done.revision, &done.request_id);
        assert!(other.is_none(), "revision {} was promised twice", done.revision);
    }
    let mut client = node.client();
    let (mut seen, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = client.ask("GET", &format!("/v1/events?limit=1000{cursor}"), None, &[]).unwrap().done().json;
        let events = page["items"].as_array().unwrap().clone();
        let ids = events.iter().map(|event| (event["revision"].as_u64().unwrap(), event["request_id"].clone()));
        seen.extend(ids.filter(|(revision, _)| *revision > after));
        let reached = events.last().is_none_or(|event| event["revision"].as_u64().unwrap() <= after + 1);
        match page["next"].as_str() {
            Some(next) if !reached => cursor = format!("&cursor={next}"),
            _ => break,
        }
    }
    let last = seen.keys().next_back().copied().unwrap_or(after);
    assert_eq!(last, revision(node), "the last event is not that of the state's revision");
    assert!(seen.keys().copied().eq(after + 1..=last), "events are missing after {after}: {:?}", seen.keys());
    for (revision, request) in &seen {
        let expected = promised.get(revision).copied();
        assert_eq!(request.as_str(), expected, "event {revision} is not of the change promised at that revision");
    }
    assert_eq!(seen.len(), promised.len(), "promised after {after}: {promised:?}");
}
