//! Random changes over small pools of names, so that they collide often. One number makes one envelope: a failing case shrinks.
use std::collections::BTreeSet;

use crate::base::clock::Time;
use crate::base::ids::{CertificateId, NodeId, OperationId, OrderId, RequestId, Seed, SiteId, TokenId};
use crate::base::names::{Host, IssuerName, NodeName, PlanName, TokenName, ZoneName};
use crate::model::accounts::{AccountCreate, AccountRemove, AccountSet};
use crate::model::certificates::{CertificateRemove, Minted};
use crate::model::change::{Actor, BATCH_VERSION, Batch, Change, Envelope, Set};
use crate::model::cluster::{CookieKeyPut, KeyExported, RaiseLevel, SitesCa, SitesCaPut, TicketKey, TicketKeysPut};
use crate::model::drains::{DrainStep, DrainTo, NodeDrain, Stay};
use crate::model::ftp_users::{FtpUserCreate, FtpUserRemove, FtpUserSet};
use crate::model::joins::{JoinTokenCreate, NodeJoin};
use crate::model::moves::{MoveGo, MoveStep, SiteMove, Step};
use crate::model::nodes::{NodeHealth, NodeRemove, NodeSays, NodeSet, Role};
use crate::model::operations::{OperationFinish, OperationProgress, OperationStart, Status};
use crate::model::options::{AreaChange, AreaSet, Hsts, OptionsSet};
use crate::model::plans::{Limits, PlanPut, PlanRemove};
use crate::model::records::{RecordPut, RecordRemove};
use crate::model::rotation::{Holder, Rekey, Reseal, RotationEnd};
use crate::model::sites::{Handler, SiteCreate, SiteRemove, SiteSet, Www, hosts_of};
use crate::model::soa::Soa;
use crate::model::standbys::{Failover, SiteFailover, SiteFenced, SiteRecovered};
use crate::model::stations::{StandbyStep, StandbyTo, Stationed};
use crate::model::tests::obtaining;
use crate::model::tests::world::{NODE, START, account, found, host, login, record, zone};
use crate::model::tokens::{Access, Scope, TokenCreate, TokenRemove};
use crate::model::zone_files::{ImportedSet, ZoneImport};
use crate::model::zones::{ZoneCreate, ZoneRemove, ZoneSet};
use crate::rr::{Name, RecordType};
use crate::seal::Sealed;
use crate::seal::keyring::KeyId;

const HOSTS: &[&str] = &["a.test", "www.a.test", "b.test", "www.b.test", "c.a.test", "bücher.test"];
pub(super) const ZONES: &[&str] = &["a.test", "test", "sub.a.test", "b.test", "/x.test", "bücher.test"];
const ACCOUNTS: &[&str] = &["ada", "bob", "cleo"];
const PLANS: &[&str] = &["small", "big"];
const OWNERS: &[&str] = &["@", "www", "x", "*.x", "deep.er.x", "\\000.x", "_tcp", "elsewhere.example."];
const CHOSEN: &str = "it has the fewest sites";

/// Numbers from one number (splitmix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(super) fn of<'a>(&mut self, pool: &[&'a str]) -> &'a str {
        pool[self.below(pool.len() as u64) as usize]
    }

    pub(super) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.once_in(2).then(|| make(self))
    }

    pub(super) fn set<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Set<T> {
        if self.once_in(3) { Set::To(make(self)) } else { Set::Keep }
    }

    pub(super) fn host(&mut self) -> Host {
        host(self.of(HOSTS))
    }

    pub(super) fn account(&mut self) -> crate::base::names::AccountName {
        account(self.of(ACCOUNTS))
    }

    pub(super) fn plan(&mut self) -> PlanName {
        PlanName::parse(self.of(PLANS)).unwrap()
    }

    pub(super) fn www(&mut self) -> Www {
        [Www::Off, Www::Serve, Www::Redirect][self.below(3) as usize]
    }

    /// The ids that seeds of the pool give.
    pub(super) fn id(&mut self) -> u64 {
        self.below(6).wrapping_add(1) << 56
    }

    pub(super) fn node(&mut self) -> NodeId {
        if self.once_in(8) { NodeId(99) } else { NODE }
    }
}

/// The whole log that numbers make, founding first: batches of one to four envelopes.
pub(crate) fn log(genes: &[u64]) -> Vec<Batch> {
    let mut batches = vec![Batch { version: BATCH_VERSION, time: START, envelopes: vec![envelope(0, found(NODE))] }];
    let mut clock = START;
    for (at, gene) in genes.iter().enumerate() {
        let mut chance = Chance(*gene);
        let open = batches.len() > 1 && !chance.once_in(3) && batches.last().unwrap().envelopes.len() < 4;
        if !open {
            // A clock may also be set back.
            clock = Time(clock.0 + 1500 - chance.below(2000));
            batches.push(Batch { version: BATCH_VERSION, time: clock, envelopes: Vec::new() });
        }
        let made = random_envelope(&mut chance, at as u64 + 1);
        batches.last_mut().unwrap().envelopes.push(made);
    }
    batches
}

fn envelope(number: u64, change: Change) -> Envelope {
    let key = u128::from(number).to_be_bytes();
    Envelope { request_id: RequestId { key, digest: key }, actor: Actor::System, seed: Seed(key), expect: None, change }
}

fn random_envelope(chance: &mut Chance, number: u64) -> Envelope {
    let mut made = envelope(number, change(chance));
    if chance.once_in(12) {
        made.request_id = RequestId { key: [chance.below(3) as u8 + 1; 16], digest: [chance.below(2) as u8; 16] };
    }
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&chance.id().to_be_bytes());
    made.seed = Seed(seed);
    made.actor = match chance.below(8) {
        0 => Actor::Token { id: TokenId(chance.id()) },
        1 => Actor::Local { uid: 1000 },
        _ => Actor::System,
    };
    made.expect = chance.once_in(8).then(|| chance.below(40));
    made
}

fn change(chance: &mut Chance) -> Change {
    match chance.below(41) {
        0 => Change::PlanPut(PlanPut { name: chance.plan(), limits: limits(chance) }),
        1 => Change::PlanRemove(PlanRemove { name: chance.plan() }),
        2..=4 => {
            let (name, plan) = (chance.account(), chance.maybe(Chance::plan));
            Change::AccountCreate(AccountCreate { name, plan, contact: chance.maybe(|_| "ada@a.test".into()) })
        }
        5 => Change::AccountSet(AccountSet {
            name: chance.account(),
            plan: chance.set(|chance| chance.maybe(Chance::plan)),
            contact: chance.set(|_| None),
            suspended: chance.set(|chance| chance.once_in(3)),
        }),
        6 => Change::AccountRemove(AccountRemove { name: chance.account() }),
        7..=9 => Change::SiteCreate(Box::new(site_create(chance))),
        10 | 11 => Change::SiteSet(Box::new(site_set(chance))),
        12 => Change::SiteRemove(SiteRemove { host: chance.host() }),
        13..=22 => zone_change(chance),
        23..=25 => ftp_change(chance),
        26 | 27 => token_or_certificate(chance),
        28 | 29 => node_or_cluster(chance),
        30..=33 => operation_change(chance),
        40 if chance.once_in(4) => drain_change(chance),
        40 => move_change(chance),
        _ => obtaining::change(chance),
    }
}

fn limits(chance: &mut Chance) -> Limits {
    let mut most = |end| chance.maybe(|chance| chance.below(end));
    Limits { sites: most(3), zones: most(3), records: most(6), ftp_users: most(3), disk: most(3000) }
}

fn handler(chance: &mut Chance) -> Handler {
    match chance.below(6) {
        0 => Handler::Php { version: "8.2".into() },
        1 => Handler::Proxy { upstreams: vec!["http://127.0.0.1:3000".into()] },
        2 => Handler::Proxy { upstreams: vec!["unix:/run/app.sock".into()] },
        3 => Handler::Redirect { to: "https://b.test/".into(), status: 300 + chance.below(10) as u16 },
        _ => Handler::Static,
    }
}

fn hosts(chance: &mut Chance) -> Vec<Host> {
    (0..chance.below(3)).map(|_| chance.host()).collect()
}

fn site_create(chance: &mut Chance) -> SiteCreate {
    let mut made = SiteCreate {
        host: chance.host(),
        aliases: hosts(chance),
        www: chance.www(),
        handler: handler(chance),
        account: chance.maybe(Chance::account),
        node: chance.maybe(Chance::node),
        chosen: chance.maybe(|_| CHOSEN.into()),
        standbys: if chance.once_in(3) { vec![NodeId(2 + chance.below(3))] } else { Vec::new() },
        failover: if chance.once_in(3) { Failover::Manual } else { Failover::Automatic },
        wanted: if chance.once_in(5) { chance.below(6) as u8 } else { 0 },
        issuer: chance.maybe(|_| IssuerName::parse("letsencrypt").unwrap()),
        quota: chance.maybe(|chance| chance.below(2000)),
        options: options(chance),
        certificate: None,
    };
    made.certificate = chance.maybe(|chance| minted(chance, &made.host, made.www, &made.aliases));
    made
}

/// What the sites CA would make for a site of these names, now and then for others.
fn minted(chance: &mut Chance, main: &Host, www: Www, aliases: &[Host]) -> Minted {
    let names = hosts_of(main, www, aliases);
    Minted {
        id: CertificateId(chance.below(400)),
        names: names.skip(usize::from(chance.once_in(30))).collect(),
        not_before: START,
        not_after: Time(START.0 + 1000),
        chain: vec![vec![0x30; 9].into()],
        key: sealed(),
    }
}

pub(super) fn sealed() -> Sealed {
    Sealed { key_id: KeyId(1), nonce: [3; 24], bytes: vec![1; 40] }
}

fn site_set(chance: &mut Chance) -> SiteSet {
    let mut made = SiteSet {
        host: chance.host(),
        aliases: chance.set(hosts),
        www: chance.set(Chance::www),
        handler: chance.set(handler),
        account: chance.set(|chance| chance.maybe(Chance::account)),
        issuer: chance.set(|_| None),
        quota: chance.set(|chance| chance.maybe(|chance| chance.below(2000))),
        suspended: chance.set(|chance| chance.once_in(2)),
        maintenance: chance.set(|chance| chance.once_in(2)),
        standbys: Set::Keep,
        failover: Set::Keep,
        wanted: Set::Keep,
        options: options(chance),
        certificate: None,
    };
    if let (Set::To(aliases), Set::To(www)) = (&made.aliases, &made.www) {
        made.certificate = Some(minted(chance, &made.host, *www, aliases));
    }
    if chance.once_in(4) {
        let standby = |chance: &mut Chance| vec![NodeId(2 + chance.below(3))];
        let failover = |chance: &mut Chance| [Failover::Automatic, Failover::Manual][chance.below(2) as usize];
        made = SiteSet { standbys: chance.set(standby), failover: chance.set(failover), ..SiteSet::of(made.host) };
        made.wanted = chance.set(|chance| chance.below(5) as u8);
    }
    made
}

fn options(chance: &mut Chance) -> OptionsSet {
    if !chance.once_in(3) {
        return OptionsSet::default();
    }
    let path = |chance: &mut Chance| ["/", "/a", "/a/b", "/..", "a"][chance.below(5) as usize].to_owned();
    let user = |chance: &mut Chance| (chance.of(ACCOUNTS).to_owned(), chance.maybe(|_| "$argon2id$x".to_owned()));
    OptionsSet {
        hsts: chance.set(|chance| chance.maybe(hsts)),
        headers: chance.maybe(|chance| ("X-A".to_owned(), chance.maybe(|_| "b".to_owned()))).into_iter().collect(),
        strip_headers: chance.set(|_| vec!["x-powered-by".to_owned()]),
        areas: chance
            .maybe(|chance| AreaSet {
                path: path(chance),
                to: chance.maybe(|chance| AreaChange {
                    realm: chance.set(|chance| chance.maybe(|_| "Members".to_owned())),
                    users: (0..chance.below(3)).map(|_| user(chance)).collect(),
                }),
            })
            .into_iter()
            .collect(),
        max_body: chance.set(|chance| chance.maybe(|chance| chance.below(1 << 30))),
        error_pages: chance.maybe(|chance| (404 + chance.below(2) as u16, chance.maybe(path))).into_iter().collect(),
        fallback: chance.set(|chance| chance.maybe(path)),
    }
}

fn hsts(chance: &mut Chance) -> Hsts {
    Hsts { max_age: chance.below(40_000_000), subdomains: chance.once_in(2), preload: chance.once_in(4) }
}

fn zone_change(chance: &mut Chance) -> Change {
    let apex = chance.of(ZONES);
    match chance.below(12) {
        0..=2 => Change::ZoneCreate(ZoneCreate {
            name: zone(apex),
            account: chance.maybe(Chance::account),
            ttl: chance.maybe(|chance| chance.next() as u32),
            nameservers: hosts(chance),
        }),
        3 => Change::ZoneSet(ZoneSet {
            name: zone(apex),
            account: chance.set(|chance| chance.maybe(Chance::account)),
            ttl: chance.set(|chance| chance.next() as u32),
        }),
        4 => Change::ZoneRemove(ZoneRemove { name: zone(apex) }),
        5 => Change::ZoneImport(zone_import(chance, zone(apex))),
        6..=9 => Change::RecordPut(record_put(chance, zone(apex).as_str())),
        _ => {
            let RecordPut { zone, owner, rtype, .. } = record_put(chance, zone(apex).as_str());
            Change::RecordRemove(RecordRemove { zone, owner, rtype })
        }
    }
}

fn record_put(chance: &mut Chance, apex: &str) -> RecordPut {
    let owner = chance.of(OWNERS);
    let address = format!("192.0.2.{}", chance.below(4));
    let (rtype, value) = match chance.below(9) {
        0 | 1 => (RecordType::A, address),
        2 => (RecordType::AAAA, "2001:db8::1".into()),
        3 => (RecordType::CNAME, "x".into()),
        4 => (RecordType::MX, "10 mail.a.test.".into()),
        5 => (RecordType::NS, "ns.a.test.".into()),
        8 => (RecordType::SOA, format!("ns hostmaster {} 1h 1h 1h 1h", chance.next() as u32)),
        // Large enough that a few of them fill a chunk.
        _ => (RecordType::TXT, format!("\"{}\"", "t".repeat(chance.below(250) as usize))),
    };
    let mut made = record(apex, owner, rtype, &[&value]);
    if chance.once_in(20) {
        made.rtype = RecordType::SOA;
    }
    if chance.once_in(20) {
        made.values.clear();
    }
    made
}

fn zone_import(chance: &mut Chance, zone: ZoneName) -> ZoneImport {
    let sets = (0..chance.below(9)).map(|_| record_put(chance, zone.as_str()));
    let sets = sets.map(|put| ImportedSet {
        owner: put.owner,
        rtype: put.rtype,
        ttl: put.ttl,
        values: put.values.into_iter().map(Into::into).collect(),
    });
    let mut sets: Vec<_> = sets.collect();
    sets.retain(|set| set.rtype != RecordType::SOA || chance.once_in(9));
    let ns = Name::parse("ns.a.test.", None).unwrap();
    let soa = Soa { ttl: 9, primary: ns.clone(), mailbox: ns, refresh: 1, retry: 2, expire: 3, minimum: 4 };
    let soa = chance.maybe(|chance| (soa, chance.next() as u32));
    let (account, ttl) = (chance.maybe(Chance::account), chance.maybe(|chance| chance.next() as u32));
    ZoneImport { zone, account, replace: chance.once_in(3), ttl, soa, sets }
}

fn ftp_change(chance: &mut Chance) -> Change {
    let login = login(chance.of(&["ftp1", "ftp2", "ada@a.test"]));
    match chance.below(4) {
        0 => Change::FtpUserRemove(FtpUserRemove { login }),
        1 => Change::FtpUserSet(FtpUserSet {
            login,
            dir: chance.set(|_| "uploads".into()),
            quota: chance.set(|_| Some(5)),
            password: chance.set(|_| "$argon2id$b".into()),
            disabled: chance.set(|chance| chance.once_in(2)),
            allow_plain: chance.set(|chance| chance.once_in(2)),
        }),
        _ => {
            let (dir, password) = (String::new(), "$argon2id$a".into());
            Change::FtpUserCreate(FtpUserCreate {
                login,
                site: chance.host(),
                dir,
                quota: None,
                password,
                allow_plain: chance.once_in(4),
            })
        }
    }
}

fn token_or_certificate(chance: &mut Chance) -> Change {
    let name = TokenName::parse(chance.of(&["t1", "t2"])).unwrap();
    match chance.below(5) {
        0 => Change::TokenRemove(TokenRemove { name }),
        1 => Change::CertificateRemove(CertificateRemove { id: CertificateId(chance.below(3)) }),
        2 => Change::CertificateStore(obtaining::certificate(chance)),
        _ => {
            let access = if chance.once_in(3) { Access::Read } else { Access::Write };
            let scope = Scope { access, account: chance.maybe(Chance::account) };
            let expires = chance.maybe(|chance| Time(START.0 + chance.below(60_000)));
            Change::TokenCreate(TokenCreate { name, hash: [5; 32], scope, expires })
        }
    }
}

/// Machines that come and go, and what the leader says of them.
fn member(chance: &mut Chance) -> Change {
    let hash = [chance.below(2) as u8; 32];
    let node = if chance.once_in(2) { NodeId(2 + chance.below(3)) } else { chance.node() };
    let reach = chance.maybe(|_| "192.0.2.9:7480".parse().unwrap()).into_iter().collect();
    let key = vec![node.0 as u8 + chance.below(2) as u8; 44];
    match chance.below(9) {
        0 | 1 => Change::JoinTokenCreate(JoinTokenCreate { hash, lasts: chance.below(20_000) }),
        2 | 3 => {
            let name = NodeName::parse(&format!("pi-{}", node.0)).unwrap();
            Change::NodeJoin(NodeJoin { hash, node, name, key, reach, knows: 1 })
        }
        4 => Change::NodeSays(NodeSays { node, key, reach, knows: 1, deaf: BTreeSet::new() }),
        5 => Change::NodeHealth(NodeHealth { node, down: chance.once_in(2) }),
        6 => Change::NodeRemove(NodeRemove { node, lost: chance.once_in(2) }),
        _ => lost(chance),
    }
}

/// What follows the loss of a node with its disk.
fn lost(chance: &mut Chance) -> Change {
    let key = Sealed { key_id: KeyId(1 + chance.below(3) as u32), ..sealed() };
    match chance.below(6) {
        0 => Change::Rekey(Box::new(Rekey {
            key_check: key.clone(),
            sites_ca: SitesCa { certificate: vec![0x30; 4], key: key.clone(), not_after: START, since: 0 },
            ticket_keys: vec![TicketKey { id: [9; 16], made: START, key: key.clone() }],
            cookie_key: key.clone(),
            acme_key: chance.maybe(|_| key),
        })),
        1 => Change::RotationEnd(RotationEnd { left: chance.maybe(|_| "a certificate".to_owned()) }),
        2 => {
            let name = IssuerName::parse("letsencrypt").unwrap();
            Change::Reseal(Reseal { holder: Holder::Issuer { name, binding: None, account: Some(key) } })
        }
        3 => Change::Reseal(Reseal { holder: Holder::Order { id: OrderId(chance.id()), key } }),
        _ => {
            let id = CertificateId(chance.below(3));
            Change::Reseal(Reseal { holder: Holder::Certificate { id, key } })
        }
    }
}

fn node_or_cluster(chance: &mut Chance) -> Change {
    match chance.below(18) {
        0 => Change::RaiseLevel(RaiseLevel { level: chance.below(3) as u32 }),
        1 => Change::KeyExported(KeyExported {}),
        2 => found(chance.node()),
        3 => Change::SitesCaPut(SitesCaPut {
            ca: SitesCa {
                certificate: vec![0x30; chance.below(9) as usize],
                key: sealed(),
                not_after: START,
                since: 0,
            },
            after: chance.maybe(|_| START),
        }),
        4 | 5 => {
            let id = |chance: &mut Chance| [chance.below(3) as u8; 16];
            let key = |chance: &mut Chance| TicketKey { id: id(chance), made: START, key: sealed() };
            let keys = (0..chance.below(4)).map(|_| key(chance)).collect();
            Change::TicketKeysPut(TicketKeysPut { after: chance.maybe(id), keys })
        }
        6 => Change::CookieKeyPut(CookieKeyPut { key: sealed() }),
        7..=12 => member(chance),
        _ => Change::NodeSet(NodeSet {
            node: chance.node(),
            roles: chance.set(|chance| Role::ALL.into_iter().filter(|_| !chance.once_in(4)).collect()),
            addresses: chance.set(|_| vec!["192.0.2.1".parse().unwrap()]),
            labels: chance.set(|_| [("room".to_owned(), "cellar".to_owned())].into()),
            cordoned: chance.set(|chance| chance.once_in(8)),
        }),
    }
}

fn operation_change(chance: &mut Chance) -> Change {
    let id = OperationId(chance.id());
    match chance.below(4) {
        0 => {
            let (stage, done) = ("copying".into(), chance.below(10));
            Change::OperationProgress(OperationProgress { id, stage, done, total: Some(10) })
        }
        1 => {
            let failed = Status::Failed { reason: "no space".into() };
            let all = [Status::Running, Status::Cancelling, Status::Succeeded, failed, Status::Cancelled];
            Change::OperationFinish(OperationFinish { id, status: all[chance.below(5) as usize].clone() })
        }
        _ => Change::OperationStart(OperationStart {
            action: "site.move".into(),
            subject: chance.host().to_string(),
            account: chance.maybe(Chance::account),
            total: None,
        }),
    }
}

fn drain_change(chance: &mut Chance) -> Change {
    let node = if chance.once_in(16) { NODE } else { NodeId(2 + chance.below(3)) };
    if !chance.once_in(3) {
        return Change::NodeDrain(NodeDrain { node });
    }
    let stay = Stay { site: SiteId(chance.id()), reason: "there is no other node".into() };
    let step = if chance.once_in(2) { DrainTo::End } else { DrainTo::Stays(stay) };
    Change::DrainStep(DrainStep { node, operation: OperationId(chance.id()), step })
}

/// Rounds are few, so that steps of one rest meet another.
fn move_change(chance: &mut Chance) -> Change {
    if chance.once_in(4) {
        return standby_change(chance);
    }
    if chance.once_in(2) {
        let (host, bandwidth) = (chance.host(), chance.maybe(|chance| chance.below(3)));
        let (to, reason) = (chance.maybe(|chance| NodeId(2 + chance.below(3))), chance.maybe(|_| CHOSEN.into()));
        let hold = chance.once_in(2);
        return Change::SiteMove(SiteMove { host, to, bandwidth, reason, hold });
    }
    let round = chance.below(2);
    let step = match chance.below(7) {
        0 | 1 => Step::Rest { round },
        2 => Step::Wake { round },
        3 => Step::Flip { round },
        4 => Step::Hold,
        5 => return Change::MoveGo(MoveGo { operation: OperationId(chance.id()) }),
        _ => Step::End(Status::Cancelled),
    };
    Change::MoveStep(MoveStep { site: SiteId(chance.id()), operation: OperationId(chance.id()), step })
}

fn standby_change(chance: &mut Chance) -> Change {
    let (site, node) = (SiteId(chance.id()), NodeId(2 + chance.below(3)));
    if chance.once_in(3) {
        let instead = chance.maybe(|chance| NodeId(2 + chance.below(3)));
        let place = StandbyTo::Place(Stationed { node, reason: CHOSEN.into(), instead });
        let step = if chance.once_in(4) { StandbyTo::Leave(node) } else { place };
        return Change::StandbyStep(StandbyStep { site, step });
    }
    if chance.once_in(5) {
        return Change::SiteFenced(SiteFenced { site, since: chance.below(40) });
    }
    match chance.once_in(5) {
        true => Change::SiteRecovered(SiteRecovered { site, node, files: 3, folder: "recovered/1".into() }),
        false => Change::SiteFailover(SiteFailover { site, to: node, epoch: 1 + chance.below(3) }),
    }
}

/// The origin of a zone's names, for tests that look records up.
pub(crate) fn origin(apex: &str) -> Name {
    Name::parse(&format!("{apex}."), None).unwrap()
}
