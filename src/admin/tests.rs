//! The desk on a real store and door, asked as a client asks.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::admin::context::{Context, NodeInfo};
use crate::admin::peers::Peer;
use crate::admin::router;
use crate::admin::serve::{Listener, serve};
use crate::base::ids::{ClusterId, NodeId};
use crate::base::names::NodeName;
use crate::cluster::inbound;
use crate::cluster::member::Member;
use crate::cluster::peer::book::Book;
use crate::cluster::peer::messages::Members;
use crate::files::gate::Gates;
use crate::files::logs::{Bounds, Logs};
use crate::files::records::Records;
use crate::files::sites::SiteDirs;
use crate::files::watch::Watch;
use crate::moves::Moves;
use crate::moves::follow::Standings;
use crate::ops::blocking::Blocking;
use crate::ops::board::Board;
use crate::ops::metrics::Metrics;
use crate::ops::tasks::{Ends, Tasks};
use crate::seal::Sealed;
use crate::seal::keyring::{KeyId, Keyring};
use crate::store::feed::Feeder;
use crate::store::local::Local;
use crate::store::node::Store;
use crate::tls::peer::{PeerKey, generate};
use crate::web::log::writer::Flush;

struct Node {
    router: Router,
    board: Board,
    tasks: Tasks,
    _dir: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    #[track_caller]
    fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(
            self.body["detail"].as_str().unwrap().ends_with('.') && !self.body["remedy"].as_str().unwrap().is_empty()
        );
        self
    }
}

impl Node {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (board, name) = (Board::default(), NodeName::parse("pi-1").unwrap());
        let tasks = Tasks::new(board.clone(), Handle::current());
        let store = Store::open(dir.path()).unwrap();
        let key = PeerKey::read(&generate().unwrap()).unwrap();
        let book = Book::new(NodeId(7), key, store.machine.snapshot(), Members::default());
        let blocking = Blocking::new(Handle::current());
        let (member, proposals) = Member::start(store, book, blocking).await.unwrap();
        member.run(&tasks, &board, proposals);
        member.lead().await.unwrap();
        let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: vec![] };
        member.found(ClusterId(1), name.clone(), key_check).await.unwrap();
        let keyring = Arc::new(Keyring::generate([7; 32]));
        member.equip(&keyring).await.unwrap();
        let dirs = Arc::new(SiteDirs::open(dir.path()).unwrap());
        let moves = Moves {
            node: NodeId(7),
            member: member.clone(),
            board: board.clone(),
            feed: Feeder::new(member.snapshot()).1,
            peers: member.peers().clone(),
            dirs: Arc::clone(&dirs),
            gates: Gates::default(),
            blocking: Blocking::new(Handle::current()),
            door: member.door().only(),
            arrivals: inbound::channels().1.copies,
            watch: Watch::default(),
            standings: Standings::default(),
            records: Arc::new(Records::open(dir.path()).unwrap()),
            shared_until: None,
        };
        let context = Context {
            moves,
            door: member.door(),
            snapshot: member.snapshot(),
            history: member.history(),
            member,
            board: board.clone(),
            blocking: Blocking::new(Handle::current()),
            keyring,
            metrics: Metrics::install().unwrap(),
            local: Local::open(dir.path()),
            logs: Logs::new(dirs, Bounds::default()),
            flush: Flush::new().0,
            info: NodeInfo {
                id: NodeId(7),
                name,
                version: "1.2.3",
                data_dir: PathBuf::from("/data"),
                listeners: watch::channel(vec![]).1,
            },
            again: Arc::default(),
        };
        Self { router: router(context), board, tasks, _dir: dir }
    }

    async fn send(&self, peer: Peer, request: Request<Body>) -> Answer {
        let mut request = request;
        request.extensions_mut().insert(peer);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body =
            serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// As root on the socket.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        self.send(Peer::Local { uid: 0, gid: 0 }, request(method, path, headers, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, &[], body).await
    }

    /// Over TCP with a token.
    async fn with_token(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("host", "localhost:1"), ("authorization", bearer.as_str())];
        self.send(Peer::Tcp, request(method, path, &headers, body)).await
    }

    async fn token(&self, body: Value) -> String {
        self.post("/v1/tokens", body).await.expect(201).body["secret"].as_str().unwrap().to_owned()
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Request<Body> {
    let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    request.body(body).unwrap()
}

fn site(host: &str) -> Value {
    json!({"host": host, "handler": {"type": "static"}})
}

#[tokio::test]
async fn a_site_from_its_creation_to_its_removal() {
    let node = Node::new().await;
    let made = node.post("/v1/sites", site("bücher.example")).await.expect(201);
    assert_eq!(made.header("location"), "/v1/sites/xn--bcher-kva.example");
    assert_eq!(made.body["host_unicode"], "bücher.example");
    assert_eq!((&made.body["node"], &made.body["status"]), (&json!("pi-1"), &json!("active")));
    assert_eq!(made.body["root"], format!("/data/sites/{}/public", made.body["id"].as_str().unwrap()));
    assert_eq!(made.body["served"], true, "without a plane there is nothing to wait for");
    let revision = made.body["revision"].as_u64().unwrap();
    let etag = format!("\"{revision}\"");
    assert_eq!((made.header("etag"), made.header("ruche-revision")), (&*etag, &*revision.to_string()));
    assert_eq!(made.header("ruche-request-id").len(), 32);

    let path = "/v1/sites/b%C3%BCcher.example";
    assert_eq!(node.get(path).await.expect(200).header("etag"), etag);
    let held = node.ask("GET", path, &[("if-none-match", &etag)], Value::Null).await.expect(304);
    assert_eq!((held.header("etag"), &held.body), (&*etag, &json!("")));
    node.post("/v1/sites", site("bücher.example")).await.problem(409, "exists");

    let patch = json!({"maintenance": true, "quota": 5});
    let stale = node.ask("PATCH", path, &[("if-match", "\"1\"")], patch.clone()).await;
    assert!(!stale.problem(412, "revision-mismatch").body["request_id"].is_null());
    let set = node.ask("PATCH", path, &[("if-match", &etag)], patch).await.expect(200);
    assert_eq!((&set.body["status"], &set.body["quota"]), (&json!("maintenance"), &json!(5)));
    let cleared = node.ask("PATCH", &format!("{path}?wait=false"), &[], json!({"quota": null})).await.expect(200);
    assert!(cleared.body["quota"].is_null() && cleared.body.get("served").is_none());

    let removed = node.ask("DELETE", path, &[("if-match", "*")], Value::Null).await.expect(200);
    assert_eq!(removed.body["revision"].as_u64(), Some(revision + 3));
    node.get(path).await.problem(404, "not-found");
    node.ask("DELETE", path, &[], Value::Null).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_repeated_request_happens_once_and_answers_alike() {
    let node = Node::new().await;
    let key = [("idempotency-key", "k-1")];
    let first = node.ask("POST", "/v1/sites", &key, site("a.example")).await.expect(201);
    let again = node.ask("POST", "/v1/sites", &key, site("a.example")).await.expect(201);
    assert_eq!(first.body, again.body);
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    for name in ["location", "etag", "ruche-request-id"] {
        assert_eq!(first.header(name), again.header(name), "{name}");
    }
    node.ask("POST", "/v1/sites", &key, site("b.example")).await.problem(422, "idempotency-key-reused");
    let other = node.ask("DELETE", "/v1/sites/a.example", &[("idempotency-key", "k-2")], Value::Null).await.expect(200);
    let again = node.ask("DELETE", "/v1/sites/a.example", &[("idempotency-key", "k-2")], Value::Null).await.expect(200);
    assert_eq!(other.body, again.body);

    let request = first.header("ruche-request-id");
    let outcome = node.get(&format!("/v1/requests/{request}?consistent=true")).await.expect(200);
    assert_eq!(
        (&outcome.body["action"], &outcome.body["object"]["host"]),
        (&json!("site.create"), &json!("a.example"))
    );
    node.get(&format!("/v1/requests/{}", "0".repeat(32))).await.problem(404, "not-found");
    node.get("/v1/requests/zz").await.problem(422, "invalid");
}

#[tokio::test]
async fn an_account_takes_no_zone_in_which_everybody_has_names() {
    let node = Node::new().await;
    node.post("/v1/accounts", json!({"name": "asso"})).await.expect(201);
    let own = node.token(json!({"name": "own", "access": "write", "account": "asso"})).await;
    for name in ["co.uk", "asso.fr", "uk"] {
        let made = node.with_token(&own, "POST", "/v1/zones", json!({"name": name})).await.problem(403, "forbidden");
        let detail = made.body["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{name} lies above the names of everybody")), "{detail}");
        node.with_token(&own, "PUT", &format!("/v1/zones/{name}/file"), Value::Null).await.problem(403, "forbidden");
    }
    node.with_token(&own, "POST", "/v1/zones", json!({"name": "club.asso.fr"})).await.expect(201);
    // Who runs the cluster may be who runs the suffix.
    node.post("/v1/zones", json!({"name": "asso.fr"})).await.expect(201);
}

#[tokio::test]
async fn records_plans_accounts_and_logins() {
    let node = Node::new().await;
    let put = |path: &'static str, body| node.ask("PUT", path, &[], body);
    put("/v1/plans/small", json!({"limits": {"sites": 1}})).await.expect(200);
    let new = [("if-none-match", "*")];
    node.ask("PUT", "/v1/plans/small", &new, json!({})).await.problem(412, "revision-mismatch");
    node.post("/v1/accounts", json!({"name": "asso", "plan": "small", "contact": "x"})).await.expect(201);
    let bad = node.post("/v1/accounts", json!({"name": "Asso"})).await.problem(422, "invalid");
    assert_eq!(bad.body["faults"][0]["field"], "name");
    let wanted = [("if-match", "*")];
    let bad = node.ask("PUT", "/v1/plans/other", &wanted, json!({})).await.problem(412, "revision-mismatch");
    assert!(bad.body["detail"].as_str().unwrap().starts_with("there is no plan other"));
    node.ask("DELETE", "/v1/plans/small", &[], Value::Null).await.problem(409, "in-use");
    let mut first = site("a.example");
    first["account"] = json!("asso");
    node.post("/v1/sites", first.clone()).await.expect(201);
    first["host"] = json!("b.example");
    node.post("/v1/sites", first).await.problem(409, "limit-reached");
    node.ask("PATCH", "/v1/accounts/asso", &[], json!({"suspended": true})).await.expect(200);
    assert_eq!(node.get("/v1/sites/a.example").await.body["status"], "account-suspended");

    let zone = json!({"name": "example.org", "nameservers": ["ns1.example.net"], "ttl": 600});
    assert_eq!(node.post("/v1/zones", zone).await.expect(201).header("location"), "/v1/zones/example.org");
    let record = "/v1/zones/example.org/records/www/A";
    let set = put(record, json!({"ttl": 300, "values": ["192.0.2.2", "192.0.2.1"]})).await.expect(200);
    assert_eq!(set.body["values"], json!(["192.0.2.1", "192.0.2.2"]));
    assert_eq!((&set.body["name"], &set.body["type"]), (&json!("www"), &json!("A")));
    assert_eq!(node.get(record).await.expect(200).header("etag"), set.header("etag"));
    let bad = put(record, json!({"values": ["192.0.2.1", "x"]})).await.problem(422, "invalid");
    assert_eq!(bad.body["faults"][0]["field"], "values[1]");
    put("/v1/zones/example.org/records/@/MX", json!({"values": ["10 mail"]})).await.expect(200);
    let page = node.get("/v1/zones/example.org/records?limit=3").await.expect(200);
    let types: Vec<_> = page.body["items"].as_array().unwrap().iter().map(|set| set["type"].clone()).collect();
    assert_eq!(types, ["NS", "SOA", "MX"]);
    let next = page.body["next"].as_str().unwrap();
    let page = node.get(&format!("/v1/zones/example.org/records?limit=3&cursor={next}")).await.expect(200);
    assert_eq!((&page.body["items"][0]["name"], &page.body["next"]), (&json!("www"), &Value::Null));
    assert_eq!(node.get("/v1/zones/example.org/records/@/MX").await.body["ttl"], 600);
    node.ask("DELETE", record, &[], Value::Null).await.expect(200);
    node.get(record).await.problem(404, "not-found");

    let user = json!({"login": "web@a.example", "site": "a.example", "password": "short"});
    node.post("/v1/ftp-users", user.clone()).await.problem(422, "invalid");
    let mut user = user;
    user["password"] = json!("long enough");
    node.ask("PATCH", "/v1/accounts/asso", &[], json!({"suspended": false})).await.expect(200);
    let made = node.post("/v1/ftp-users", user).await.expect(201);
    assert!(!made.body.to_string().contains("argon2") && made.body["site"] == "a.example");
    node.ask("PATCH", "/v1/ftp-users/web@a.example", &[], json!({"dir": "../x"})).await.problem(422, "invalid");
    node.ask("PATCH", "/v1/nodes/pi-1", &[], json!({"cordoned": true, "addresses": ["192.0.2.9"]})).await.expect(200);
    node.ask("PATCH", "/v1/nodes/pi-1", &[], json!({"addresses": ["x"]})).await.problem(422, "invalid");
    node.post("/v1/sites", site("c.example")).await.problem(422, "invalid");
}

#[tokio::test]
async fn pages_go_through_everything_once() {
    let node = Node::new().await;
    for host in ["c.example", "a.example", "b.example"] {
        node.post("/v1/sites?wait=false", site(host)).await.expect(201);
    }
    let (mut seen, mut path) = (vec![], "/v1/sites?limit=1".to_owned());
    loop {
        let page = node.get(&path).await.expect(200).body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|site| site["host"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/sites?limit=1&cursor={next}");
    }
    assert_eq!(seen, ["a.example", "b.example", "c.example"]);
    for (query, status, code) in [
        ("limit=0", 422, "invalid"),
        ("limit=1001", 422, "invalid"),
        ("limit=x", 400, "bad-query"),
        ("what=1", 400, "bad-query"),
        ("cursor=!", 422, "invalid"),
        ("account=-", 422, "invalid"),
    ] {
        node.get(&format!("/v1/sites?{query}")).await.problem(status, code);
    }
    let events = node.get("/v1/events?limit=2").await.expect(200).body;
    assert_eq!(
        (&events["items"][0]["subject"], &events["items"][1]["subject"]),
        (&json!("b.example"), &json!("a.example"))
    );
    assert_eq!(events["items"][0]["actor"], json!({"kind": "local", "uid": 0}));
    let older = node.get(&format!("/v1/events?cursor={}", events["next"].as_str().unwrap())).await.expect(200).body;
    assert_eq!((older["items"].as_array().unwrap().len(), &older["next"]), (6, &Value::Null));
    assert_eq!(node.get("/v1/operations").await.expect(200).body, json!({"items": [], "next": null}));
    node.get("/v1/operations/00000000000000ff").await.problem(404, "not-found");
}

#[tokio::test]
async fn tokens_see_and_do_what_their_scope_says() {
    let node = Node::new().await;
    node.post("/v1/accounts", json!({"name": "asso", "contact": "secret"})).await.expect(201);
    node.post("/v1/sites", site("other.example")).await.expect(201);
    let all = node.token(json!({"name": "all", "access": "write"})).await;
    let read = node.token(json!({"name": "read", "access": "read"})).await;
    let own = node.token(json!({"name": "own", "access": "write", "account": "asso"})).await;
    assert!(all.starts_with("ruche_") && node.get("/v1/tokens/all").await.expect(200).body.get("secret").is_none());
    node.post("/v1/tokens", json!({"name": "x", "access": "read", "expires": "2001-01-01T00:00:00Z"}))
        .await
        .problem(422, "invalid");

    node.with_token(&all, "GET", "/v1/tokens", Value::Null).await.expect(200);
    node.with_token(&all, "POST", "/v1/cluster/key", Value::Null).await.problem(403, "forbidden");
    node.with_token(&read, "GET", "/v1/sites", Value::Null).await.expect(200);
    node.with_token(&read, "POST", "/v1/sites", site("x.example")).await.problem(403, "forbidden");

    node.with_token(&own, "POST", "/v1/sites", site("mine.example")).await.expect(201);
    let sites = node.with_token(&own, "GET", "/v1/sites", Value::Null).await.expect(200).body;
    assert_eq!((sites["items"].as_array().unwrap().len(), &sites["items"][0]["account"]), (1, &json!("asso")));
    node.with_token(&own, "GET", "/v1/sites/other.example", Value::Null).await.problem(404, "not-found");
    node.with_token(&own, "DELETE", "/v1/sites/other.example", Value::Null).await.problem(404, "not-found");
    node.with_token(&own, "GET", "/v1/sites?account=foreign", Value::Null).await.problem(404, "not-found");
    assert!(node.with_token(&own, "GET", "/v1/accounts/asso", Value::Null).await.body["contact"].is_null());
    let events = node.with_token(&own, "GET", "/v1/events", Value::Null).await.expect(200).body;
    assert!(events["items"].as_array().unwrap().iter().all(|event| event["account"] == "asso"));
    for path in ["/v1/tokens", "/v1/nodes", "/v1/nodes/pi-1", "/v1/status", "/metrics"] {
        node.with_token(&own, "GET", path, Value::Null).await.problem(403, "forbidden");
    }
    node.ask("DELETE", "/v1/tokens/all", &[], Value::Null).await.expect(200);
    let gone = node.with_token(&all, "GET", "/v1/sites", Value::Null).await.problem(401, "token-invalid");
    assert!(gone.header("www-authenticate").starts_with("Bearer"));
}

#[tokio::test]
async fn who_may_come_in() {
    let node = Node::new().await;
    let tcp = |path: &str, host: &str| node.send(Peer::Tcp, request("GET", path, &[("host", host)], Value::Null));
    tcp("/v1/sites", "localhost").await.problem(401, "token-missing");
    tcp("/metrics", "localhost").await.problem(401, "token-missing");
    tcp("/nowhere", "localhost").await.problem(401, "token-missing");
    tcp("/healthz", "evil.example").await.problem(421, "host-refused");
    tcp("/healthz", "127.0.0.1:1").await.expect(200);
    let stranger = Peer::Local { uid: 4_000_000, gid: 4_000_000 };
    node.send(stranger, request("GET", "/v1/sites", &[], Value::Null)).await.problem(403, "forbidden");
    node.send(stranger, request("GET", "/metrics", &[], Value::Null)).await.expect(200);
    node.send(stranger, request("GET", "/readyz", &[], Value::Null)).await.expect(503);
    node.board.set_ready(true);
    node.get("/readyz").await.expect(200);
    node.board.red("disk", "full");
    assert_eq!(node.get("/healthz").await.expect(503).body["reasons"], json!(["disk: full"]));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let node = Node::new().await;
    node.get("/v2").await.problem(404, "no-such-path");
    let wrong = node.ask("PUT", "/v1/sites", &[], Value::Null).await.problem(405, "no-such-method");
    assert!(
        wrong.header("allow").contains("GET") && wrong.header("allow").contains("POST"),
        "{}",
        wrong.header("allow")
    );
    node.get("/v1/sites/192.0.2.1").await.problem(422, "invalid");
    node.get("/v1/sites/%ff").await.problem(422, "invalid");
    node.post("/v1/sites", json!({"host": 1})).await.problem(400, "bad-json");
    node.post("/v1/sites", Value::Null).await.problem(400, "bad-json");
    let weak = [("if-match", "W/\"1\"")];
    node.ask("PATCH", "/v1/sites/a.example", &weak, json!({})).await.problem(400, "bad-condition");
    let large = json!({"host": "x".repeat(crate::base::limits::ADMIN_BODY_MAX)});
    node.post("/v1/sites", large).await.problem(413, "too-large");
}

#[tokio::test]
async fn status_and_the_recovery_copy() {
    let node = Node::new().await;
    let status = node.get("/v1/status").await.expect(200).body;
    assert_eq!((&status["node"], &status["raft"]["leader"]), (&json!("pi-1"), &json!("pi-1")));
    assert_eq!((&status["version"], &status["key_exported"]), (&json!("1.2.3"), &Value::Null));
    assert_eq!(status["next_steps"][0]["command"], "ruche cluster key export");
    let export = node.post("/v1/cluster/key", Value::Null).await.expect(200);
    assert!(export.body["keyring"].as_str().unwrap().contains("ruche-keyring"));
    assert_eq!(export.header("cache-control"), "no-store");
    let status = node.get("/v1/status").await.expect(200).body;
    assert!(status["key_exported"].is_string() && status["next_steps"][0]["command"] != "ruche cluster key export");
}

#[tokio::test]
async fn the_description_has_every_route() {
    let node = Node::new().await;
    let described = node.get("/v1/openapi.json").await.expect(200).body;
    let paths = described["paths"].as_object().unwrap();
    for path in ["/v1/sites/{host}", "/v1/zones/{zone}/records/{name}/{type}", "/v1/requests/{request_id}", "/healthz"]
    {
        assert!(paths.contains_key(path), "{path}");
    }
    assert_eq!(
        described["paths"]["/v1/sites"]["post"]["summary"],
        "Creates a site. Its home is the node that it fits best, unless one is named."
    );
    let text = described.to_string();
    let schemas = described["components"]["schemas"].as_object().unwrap();
    for name in text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schemas.contains_key(name), "{name} is named and not described");
    }
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn events_come_as_they_happen_and_end_with_the_node() {
    let node = Node::new().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    let listeners = vec![Listener::Socket(UnixListener::bind(&path).unwrap()), Listener::Loopback(tcp)];
    let router = node.router.clone();
    node.tasks.spawn_once("admin", Ends::AtDrain, move |stop| async move {
        serve(listeners, router, stop).await;
        Ok(())
    });
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let ask = "GET /v1/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nlast-event-id: 1\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut text = until(&mut stream, ": events").await;
    node.post("/v1/sites", site("a.example")).await.expect(201);
    text += &until(&mut stream, "a.example").await;
    assert!(text.contains("200 OK") && text.contains("text/event-stream") && text.contains("id: 2\n"), "{text}");

    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(b"GET /v1/sites HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 401"));

    assert!(
        node.tasks.stop(Duration::from_secs(10)).await.is_empty(),
        "an idle connection or a stream held up the stop"
    );
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(UnixStream::connect(&path).await.is_err(), "the listener is given up");
}

async fn until(stream: &mut (impl AsyncReadExt + Unpin), wanted: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text.contains(wanted) {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "ended before `{wanted}`: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap_or_else(|_| panic!("no `{wanted}` in time"));
    text
}

#[tokio::test]
async fn a_site_comes_with_a_certificate_for_its_hosts() {
    let node = Node::new().await;
    let asked =
        json!({"host": "bücher.example", "www": "serve", "aliases": ["a.example"], "handler": {"type": "static"}});
    let made = node.post("/v1/sites", asked.clone()).await.expect(201);
    let id = made.body["certificate"].as_str().unwrap().to_owned();
    let path = format!("/v1/certificates/{id}");
    let shown = node.get(&path).await.expect(200);
    assert_eq!(shown.body["names"], json!(["xn--bcher-kva.example", "www.xn--bcher-kva.example", "a.example"]));
    assert_eq!((&shown.body["issuer"], shown.header("etag").is_empty()), (&json!("internal"), false));
    assert!(shown.body["chain"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(!shown.body.to_string().contains("key"), "{}", shown.body);
    node.post("/v1/sites", asked).await.problem(409, "exists");
    let count = async |query: &str| {
        node.get(&format!("/v1/certificates{query}")).await.expect(200).body["items"].as_array().unwrap().len()
    };
    assert_eq!((count("").await, count("?host=A.example").await, count("?host=b.example").await), (1, 1, 0));

    // What changes no host changes no certificate.
    let site = "/v1/sites/a.example";
    let kept = node.ask("PATCH", site, &[], json!({"maintenance": true, "www": "redirect"})).await.expect(200);
    assert_eq!(kept.body["certificate"], id);
    let set = node.ask("PATCH", site, &[], json!({"aliases": ["b.example"], "www": "off"})).await.expect(200);
    let other = set.body["certificate"].as_str().unwrap();
    assert_ne!(other, id);
    let shown = node.get(&format!("/v1/certificates/{other}")).await.expect(200);
    assert_eq!(shown.body["names"], json!(["xn--bcher-kva.example", "b.example"]));
    node.get(&path).await.problem(404, "not-found");
    let many: Vec<String> = (0..200).map(|n| format!("n{n}.example")).collect();
    node.ask("PATCH", "/v1/sites/b.example", &[], json!({"aliases": many})).await.problem(422, "invalid");
    assert_eq!(count("").await, 1);
    node.ask("DELETE", "/v1/sites/b.example", &[], Value::Null).await.expect(200);
    assert_eq!(count("").await, 0);
}

#[tokio::test]
async fn a_repeated_site_is_answered_with_its_first_certificate() {
    let node = Node::new().await;
    let key = [("idempotency-key", "k")];
    let first = node.ask("POST", "/v1/sites", &key, site("a.example")).await.expect(201);
    let again = node.ask("POST", "/v1/sites", &key, site("a.example")).await.expect(201);
    assert_eq!((first.body, again.header("idempotency-replayed")), (again.body.clone(), "true"));
}

#[tokio::test]
async fn sites_changed_at_one_time_are_all_certified() {
    let node = Node::new().await;
    node.post("/v1/sites", site("a.example")).await.expect(201);
    let aliases = async |name: &str| node.ask("PATCH", "/v1/sites/a.example", &[], json!({"aliases": [name]})).await;
    let www = node.ask("PATCH", "/v1/sites/a.example", &[], json!({"www": "serve"}));
    let (one, two, three) = tokio::join!(aliases("b.example"), aliases("c.example"), www);
    for answer in [one, two, three] {
        answer.expect(200);
    }
    let now = node.get("/v1/sites/a.example").await.body;
    let held = node.get(&format!("/v1/certificates/{}", now["certificate"].as_str().unwrap())).await.expect(200);
    assert_eq!(held.body["names"], json!(["a.example", "www.a.example", now["aliases"][0]]));
}

#[tokio::test]
async fn certificates_are_seen_by_their_owners_and_the_ca_by_all() {
    let node = Node::new().await;
    node.post("/v1/accounts", json!({"name": "club"})).await.expect(201);
    let own = json!({"host": "club.example", "account": "club", "handler": {"type": "static"}});
    let own = node.post("/v1/sites", own).await.expect(201).body["certificate"].as_str().unwrap().to_owned();
    let other = node.post("/v1/sites", site("a.example")).await.expect(201);
    let other = other.body["certificate"].as_str().unwrap().to_owned();
    let token = node.token(json!({"name": "t", "access": "read", "account": "club"})).await;
    let get = async |path: &str| node.with_token(&token, "GET", path, Value::Null).await;
    let listed = get("/v1/certificates").await.expect(200);
    assert_eq!((listed.body["items"].as_array().unwrap().len(), &listed.body["items"][0]["id"]), (1, &json!(own)));
    get(&format!("/v1/certificates/{own}")).await.expect(200);
    get(&format!("/v1/certificates/{other}")).await.problem(404, "not-found");
    get("/v1/certificates/zz").await.problem(404, "not-found");
    let ca = get("/v1/certificates/ca").await.expect(200);
    assert_eq!(ca.header("content-type"), "application/x-pem-file");
    assert!(ca.body.as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    let described = node.get("/v1/openapi.json").await.expect(200).body["paths"].clone();
    for path in ["/v1/certificates", "/v1/certificates/{id}", "/v1/certificates/ca"] {
        assert!(described[path]["get"].is_object(), "{path}");
    }
}

#[tokio::test]
async fn what_was_asked_for_is_found_and_withdrawn() {
    let node = Node::new().await;
    let asked = node.post("/v1/certificates", json!({"names": ["mail.example.org"]})).await.expect(201);
    let at = asked.header("location").to_owned();
    let shown = node.get(&at).await.expect(200);
    assert_eq!((&shown.body["names"], shown.body["issuer"].is_null()), (&json!(["mail.example.org"]), true));
    assert_eq!(at, format!("/v1/certificates/{}", shown.body["id"].as_str().unwrap()));
    // It is the provider's, whoever asks for one.
    node.post("/v1/accounts", json!({"name": "club"})).await.expect(201);
    let token = node.token(json!({"name": "t", "access": "write", "account": "club"})).await;
    for (method, status) in [("GET", 404), ("DELETE", 403)] {
        assert_eq!(node.with_token(&token, method, &at, Value::Null).await.status.as_u16(), status, "{method}");
    }
    node.ask("DELETE", &at, &[], Value::Null).await.expect(200);
    node.get(&at).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_key_is_handed_to_who_may_change_everything() {
    let node = Node::new().await;
    node.post("/v1/accounts", json!({"name": "club"})).await.expect(201);
    let own = json!({"host": "club.example", "account": "club", "handler": {"type": "static"}});
    let id = node.post("/v1/sites", own).await.expect(201).body["certificate"].as_str().unwrap().to_owned();
    let path = format!("/v1/certificates/{id}/export");
    for who in [json!({"name": "r", "access": "read"}), json!({"name": "c", "access": "write", "account": "club"})] {
        let token = node.token(who).await;
        let refused = node.with_token(&token, "GET", &path, Value::Null).await.problem(403, "forbidden");
        assert!(!refused.body.to_string().contains("PRIVATE KEY"));
    }
    let token = node.token(json!({"name": "w", "access": "write"})).await;
    let pair = node.with_token(&token, "GET", &path, Value::Null).await.expect(200);
    assert!(pair.body["key"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
}
