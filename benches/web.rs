//! What the web plane does for each change and each request, without the network: `cargo bench --bench web`. The state has
//! 10,000 sites; handshakes are in `benches/tls.rs`.
use std::sync::{Arc, OnceLock};

use divan::{Bencher, black_box};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body_util::BodyExt;
use ruche::base::clock::Time;
use ruche::base::ids::{ClusterId, NodeId, RequestId, Seed, SiteId};
use ruche::base::names::{Host, NodeName};
use ruche::files::sites::SiteDirs;
use ruche::model::LEVEL;
use ruche::model::apply::apply_batch;
use ruche::model::change::{Actor, BATCH_VERSION, Batch, Change, Envelope, Set};
use ruche::model::cluster::Found;
use ruche::model::sites::{Handler, SiteCreate, SiteSet, Www};
use ruche::model::state::{Snapshot, State};
use ruche::ops::blocking::Blocking;
use ruche::seal::Sealed;
use ruche::seal::keyring::KeyId;
use ruche::store::feed::Feeder;
use ruche::web::route::{Door, Head, Here, Route, route};
use ruche::web::static_files::Files;
use tokio::sync::watch;

const SITES: usize = 10_000;
const HERE: Here = Here { node: NodeId(1), https_port: 443 };

fn main() {
    divan::main();
}

fn host(number: usize) -> Host {
    Host::parse(&format!("site{number}.example.org")).expect("it is a host")
}

fn batch(change: Change) -> Batch {
    let mut key = [0; 16];
    getrandom::fill(&mut key).expect("the kernel gives random bytes");
    let request_id = RequestId { key, digest: [1; 16] };
    let envelope = Envelope { request_id, actor: Actor::System, seed: Seed(key), expect: None, change };
    Batch { version: BATCH_VERSION, time: Time::now(), envelopes: vec![envelope] }
}

fn apply(state: &mut State, change: Change) {
    for answer in apply_batch(state, &batch(change)) {
        answer.expect("the change is made");
    }
}

/// A cluster of one with its sites.
fn state() -> &'static State {
    static STATE: OnceLock<State> = OnceLock::new();
    STATE.get_or_init(|| {
        let (cluster, mut state) = (ClusterId(1), State::default());
        let name = NodeName::parse("bench").expect("it is a name");
        let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: Vec::new() };
        apply(
            &mut state,
            Change::Found(Found { cluster, level: LEVEL, node: HERE.node, name, key_check, key: Vec::new() }),
        );
        for number in 0..SITES {
            let create = SiteCreate {
                host: host(number),
                aliases: Vec::new(),
                www: Www::Off,
                handler: Handler::Static,
                account: None,
                node: None,
                chosen: None,
                standbys: Vec::new(),
                failover: Default::default(),
                wanted: 0,
                issuer: None,
                quota: None,
                options: Default::default(),
                certificate: None,
            };
            apply(&mut state, Change::SiteCreate(Box::new(create)));
        }
        state
    })
}

/// A change of one site, from the decoded batch until a thread has the new snapshot.
#[divan::bench]
fn publish(bencher: Bencher<'_, '_>) {
    let (sender, source) = watch::channel(Arc::new(Snapshot { state: state().clone(), generation: 1 }));
    let (mut feeder, feed) = Feeder::new(source);
    let (mut view, mut number, mut generation) = (feed.view(), 0, 1);
    let change = move || {
        number = (number + 1) % SITES;
        let mut set = SiteSet::of(host(number));
        set.maintenance = Set::To(number % 2 == 0);
        batch(Change::SiteSet(Box::new(set)))
    };
    bencher.with_inputs(change).bench_local_values(|batch| {
        let mut state = sender.borrow().state.clone();
        black_box(apply_batch(&mut state, &batch));
        generation += 1;
        sender.send_replace(Arc::new(Snapshot { state, generation }));
        feeder.publish();
        black_box(view.now().revision);
    });
}

/// From the head of a request to what becomes of it.
#[divan::bench]
fn routing(bencher: Bencher<'_, '_>) {
    let (state, name) = (state(), host(7));
    let uri = Uri::from_static("/a/page.html?x=1");
    let mut headers = HeaderMap::new();
    headers.insert(http::header::HOST, HeaderValue::from_static("site7.example.org"));
    bencher.bench(|| {
        let head = Head { method: &Method::GET, version: Version::HTTP_11, uri: &uri, headers: &headers };
        let found = route(state, HERE, Door::Tls { sni: Some(&name) }, black_box(&head));
        assert!(matches!(found, Route::Of(..)));
    });
}

/// One KiB: opened beneath the site's directory, found in memory.
#[divan::bench]
fn small_file(bencher: Bencher<'_, '_>) {
    let data = tempfile::tempdir().expect("a directory");
    let dirs = SiteDirs::open(data.path()).expect("the directories of sites");
    dirs.make(SiteId(7)).expect("a site's directory");
    std::fs::write(dirs.path(SiteId(7)).join("page.html"), [b'x'; 1024]).expect("a page");
    // What was just written is not kept yet.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let files = Files::new(Blocking::new(runtime.handle().clone()));
    let (parts, ()) = Request::get("/page.html").body(()).expect("a request").into_parts();
    bencher.bench_local(|| {
        let response = runtime.block_on(files.serve(&dirs, (SiteId(7), 1), None, &parts));
        let body = runtime.block_on(response.into_body().collect()).expect("a body").to_bytes();
        assert_eq!(body.len(), 1024);
    });
}
