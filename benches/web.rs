//! What the web plane does for each change, handshake and request, without the network: `cargo bench --bench web`. The state has
//! 10,000 sites, each with its certificate.
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
use ruche::model::cluster::{Found, SitesCaPut};
use ruche::model::sites::{Handler, SiteCreate, SiteSet, Www};
use ruche::model::state::{Snapshot, State};
use ruche::ops::blocking::Blocking;
use ruche::seal::keyring::Keyring;
use ruche::store::feed::Feeder;
use ruche::tls::resolver::Resolver;
use ruche::tls::{node, sealed};
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

fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::generate([7; 32]))
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
        let (keyring, cluster, mut state) = (keyring(), ClusterId(1), State::default());
        let name = NodeName::parse("bench").expect("it is a name");
        let key_check = ruche::seal::Sealed { key_id: keyring.current().0, nonce: [0; 24], bytes: Vec::new() };
        apply(&mut state, Change::Found(Found { cluster, level: LEVEL, node: HERE.node, name, key_check }));
        let ca = sealed::make_sites_ca(cluster, &keyring, Time::now()).expect("a CA is made");
        apply(&mut state, Change::SitesCaPut(SitesCaPut { ca }));
        let cluster = state.cluster.clone().expect("it was founded");
        for number in 0..SITES {
            let minted = sealed::mint_for(&cluster, &keyring, vec![host(number)], Time::now()).expect("a certificate");
            let create = SiteCreate {
                host: host(number),
                aliases: Vec::new(),
                www: Www::Off,
                handler: Handler::Static,
                account: None,
                node: None,
                standbys: Vec::new(),
                issuer: None,
                quota: None,
                certificate: Some(minted),
            };
            apply(&mut state, Change::SiteCreate(Box::new(create)));
        }
        state
    })
}

fn snapshot() -> watch::Receiver<Arc<Snapshot>> {
    watch::channel(Arc::new(Snapshot { state: state().clone(), generation: 1 })).1
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

/// The certificate of a name whose key is in memory.
#[divan::bench]
fn sni_lookup(bencher: Bencher<'_, '_>) {
    let resolver = resolver();
    resolver.certificate(Some("site7.example.org")).expect("it has a certificate");
    bencher.bench(|| resolver.certificate(black_box(Some("site7.example.org"))));
}

/// The certificate of a name that was not asked for lately: unsealed and parsed.
#[divan::bench]
fn sni_lookup_of_a_rare_name(bencher: Bencher<'_, '_>) {
    let (resolver, mut number) = (resolver(), 0);
    let name = move || {
        number = (number + 1) % SITES;
        format!("site{number}.example.org")
    };
    bencher.with_inputs(name).bench_local_values(|name| resolver.certificate(Some(&name)));
}

fn resolver() -> Resolver {
    let (name, snapshots, keyring) = (NodeName::parse("bench").expect("it is a name"), snapshot(), keyring());
    let own = node::certificate(None, &keyring, &name, Time::now()).expect("a certificate");
    Resolver::new(snapshots, keyring, own)
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
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let files = Files::new(Blocking::new(runtime.handle().clone()));
    let (parts, ()) = Request::get("/page.html").body(()).expect("a request").into_parts();
    bencher.bench_local(|| {
        let response = runtime.block_on(files.serve(&dirs, (SiteId(7), 1), &parts));
        let body = runtime.block_on(response.into_body().collect()).expect("a body").to_bytes();
        assert_eq!(body.len(), 1024);
    });
}
