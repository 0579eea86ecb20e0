//! What certificates cost: minting one, finding one by its server name with and without its key in memory, a session ticket made
//! and opened. `cargo bench --bench tls`.
use std::sync::Arc;

use divan::{Bencher, black_box};
use ruche::base::clock::Time;
use ruche::base::ids::{ClusterId, NodeId, RequestId, Seed};
use ruche::base::limits::PARSED_KEYS_MAX;
use ruche::base::names::{Host, NodeName};
use ruche::model::LEVEL;
use ruche::model::apply::apply_batch;
use ruche::model::change::{Actor, BATCH_VERSION, Batch, Change, Envelope};
use ruche::model::cluster::{Cluster, Found, SitesCaPut, TicketKeysPut};
use ruche::model::sites::{Handler, SiteCreate, Www};
use ruche::model::state::{Snapshot, State};
use ruche::seal::Sealed;
use ruche::seal::keyring::{KeyId, Keyring};
use ruche::tls::resolver::Resolver;
use ruche::tls::tickets::Tickets;
use ruche::tls::{node, sealed};
use rustls::server::ProducesTickets;
use tokio::sync::watch;

const NOW: Time = Time(1_795_327_200_000);
const ID: ClusterId = ClusterId(1);
/// More than fit in the memory of keys, so that a walk through them misses each time.
const SITES: usize = 2 * PARSED_KEYS_MAX.get();

fn main() {
    divan::main();
}

struct Cell {
    keyring: Arc<Keyring>,
    state: State,
    publish: watch::Sender<Arc<Snapshot>>,
}

impl Cell {
    fn new(sites: usize) -> Self {
        let keyring = Arc::new(Keyring::generate([7; 32]));
        let mut cell = Self { keyring, state: State::default(), publish: watch::Sender::default() };
        let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: Vec::new() };
        let name = NodeName::parse("bench").expect("a name");
        cell.make(Change::Found(Found {
            cluster: ID,
            level: LEVEL,
            node: NodeId(1),
            name,
            key_check,
            key: Vec::new(),
        }));
        let ca = sealed::make_sites_ca(ID, &cell.keyring, NOW).expect("a CA");
        cell.make(Change::SitesCaPut(SitesCaPut { ca, after: None }));
        let keys = vec![sealed::make_ticket_key(ID, &cell.keyring, Time::now()).expect("a key")];
        cell.make(Change::TicketKeysPut(TicketKeysPut { after: None, keys }));
        (0..sites).for_each(|n| cell.add_site(n));
        cell.publish.send_replace(Arc::new(Snapshot { state: cell.state.clone(), generation: 1 }));
        cell
    }

    fn make(&mut self, change: Change) {
        let key = u128::from(self.state.revision + 1).to_be_bytes();
        let request_id = RequestId { key, digest: key };
        let mut seed = key;
        seed.rotate_left(8);
        let envelope = Envelope { request_id, actor: Actor::System, seed: Seed(seed), expect: None, change };
        let batch = Batch { version: BATCH_VERSION, time: NOW, envelopes: vec![envelope] };
        for decided in apply_batch(&mut self.state, &batch) {
            decided.expect("an allowed change");
        }
    }

    fn cluster(&self) -> &Cluster {
        self.state.cluster.as_deref().expect("founded")
    }

    fn add_site(&mut self, n: usize) {
        let host = Host::parse(&name(n)).expect("a host");
        let minted = sealed::mint_for(self.cluster(), &self.keyring, vec![host.clone()], NOW).expect("a certificate");
        self.make(Change::SiteCreate(Box::new(SiteCreate {
            host,
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
            certificate: Some(minted),
        })));
    }

    fn resolver(&self) -> Resolver {
        let name = NodeName::parse("bench").expect("a name");
        let own = node::certificate(Some(self.cluster()), &self.keyring, &name, NOW).expect("a certificate");
        Resolver::new(self.publish.subscribe(), Arc::clone(&self.keyring), own)
    }
}

fn name(n: usize) -> String {
    format!("association-{n}.example.org")
}

#[divan::bench]
fn mint(bencher: Bencher<'_, '_>) {
    let cell = Cell::new(0);
    let host = Host::parse(&name(0)).expect("a host");
    bencher.bench(|| sealed::mint_for(cell.cluster(), &cell.keyring, vec![host.clone()], NOW).expect("a certificate"));
}

#[divan::bench]
fn find_in_memory(bencher: Bencher<'_, '_>) {
    let cell = Cell::new(SITES);
    let (resolver, name) = (cell.resolver(), name(7));
    bencher.bench(|| resolver.certificate(Some(black_box(&name))).expect("a certificate"));
}

#[divan::bench]
fn find_and_open(bencher: Bencher<'_, '_>) {
    let cell = Cell::new(SITES);
    let resolver = cell.resolver();
    let mut n = 0;
    bencher
        .with_inputs(|| {
            n = (n + 1) % SITES;
            name(n)
        })
        .bench_local_refs(|name| resolver.certificate(Some(name)).expect("a certificate"));
}

#[divan::bench]
fn ticket(bencher: Bencher<'_, '_>) {
    let cell = Cell::new(0);
    let tickets = Tickets::new(cell.publish.subscribe(), Arc::clone(&cell.keyring));
    bencher.bench(|| {
        let ticket = tickets.encrypt(black_box(&[7; 200])).expect("a ticket");
        tickets.decrypt(&ticket).expect("the session")
    });
}
