//! A founded cluster of one to send changes to. Every envelope goes through its stored form, as it does through the log, and
//! the invariants are checked after each.
use crate::base::clock::Time;
use crate::base::ids::{ClusterId, NodeId, RequestId, Seed, SiteId, TokenId};
use crate::base::limits::ANSWERS_KEPT;
use crate::base::names::{AccountName, Host, Login, NodeName, PlanName, TokenName, ZoneName};
use crate::model::LEVEL;
use crate::model::accounts::{AccountCreate, AccountSet};
use crate::model::answer::{Answer, Event, Object};
use crate::model::apply::{Effects, apply_batch};
use crate::model::change::{Actor, BATCH_VERSION, Batch, Change, Envelope, Set};
use crate::model::cluster::Found;
use crate::model::effect::Effect;
use crate::model::options::Options;
use crate::model::plans::{Limits, PlanPut};
use crate::model::records::RecordPut;
use crate::model::refusal::Refusal;
use crate::model::row::Row;
use crate::model::sites::{Handler, Site, SiteCreate, Www};
use crate::model::state::State;
use crate::model::tests::invariants::check_invariants;
use crate::model::tokens::{Access, Scope, TokenCreate};
use crate::model::zones::ZoneCreate;
use crate::rr::{Name, RecordType, parse_data};
use crate::seal::Sealed;
use crate::seal::keyring::KeyId;

pub(crate) const NODE: NodeId = NodeId(1);
/// 2026-11-22T06:00:00Z.
pub(crate) const START: Time = Time(1_795_327_200_000);

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) actor: Actor,
    /// The next envelope's If-Match; taken by it.
    pub(crate) expect: Option<u64>,
    pub(crate) clock: Time,
    sent: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self { state: State::default(), actor: Actor::System, expect: None, clock: START, sent: 0 };
        world.ok(found(NODE));
        world
    }

    /// Sends one change and gives what became of it; a refusal must leave the state as it was.
    pub(crate) fn send(&mut self, change: Change) -> Result<(Effects, Answer), Refusal> {
        self.sent += 1;
        let id = u128::from(self.sent).to_be_bytes();
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&(0x5eed_0000 + self.sent).to_be_bytes());
        let request_id = RequestId { key: id, digest: id };
        let expect = self.expect.take();
        self.deliver(Envelope { request_id, actor: self.actor, seed: Seed(seed), expect, change })
    }

    pub(crate) fn deliver(&mut self, envelope: Envelope) -> Result<(Effects, Answer), Refusal> {
        let batch = Batch { version: BATCH_VERSION, time: self.clock, envelopes: vec![envelope] };
        let batch = Batch::decode(&batch.encode()).unwrap();
        let before = self.state.clone();
        let decided = apply_batch(&mut self.state, &batch).remove(0);
        check_invariants(&self.state);
        match &decided {
            Ok((_, answer)) if !answer.repeated => assert_eq!(self.state.revision, before.revision + 1),
            _ => assert_eq!((self.state.revision, self.state.hash), (before.revision, before.hash)),
        }
        decided
    }

    pub(crate) fn ok(&mut self, change: Change) -> Answer {
        self.send(change).unwrap_or_else(|refusal| panic!("refused: {refusal}")).1
    }

    pub(crate) fn event(&mut self, change: Change) -> Event {
        let (effects, _) = self.send(change).unwrap_or_else(|refusal| panic!("refused: {refusal}"));
        let events = effects.into_iter().filter_map(|effect| match effect {
            Effect::Put(stored) => Some(stored.row),
            _ => None,
        });
        let mut events = events.filter_map(|row| if let Row::Event(event) = row { Some(event) } else { None });
        events.next().unwrap()
    }

    pub(crate) fn refused(&mut self, change: Change) -> Refusal {
        self.send(change).expect_err("allowed").to_owned()
    }

    /// Refused with this code; the sentence and the remedy contain something.
    pub(crate) fn refused_as(&mut self, code: &str, change: Change) -> String {
        let refusal = self.refused(change);
        assert_eq!(refusal.code(), code, "{refusal}");
        assert!(!refusal.remedy().is_empty());
        refusal.to_string()
    }

    /// Creates a token and speaks as its bearer from now on.
    pub(crate) fn become_token(&mut self, access: Access, account: Option<&str>, expires: Option<Time>) -> TokenId {
        self.actor = Actor::System;
        let name = TokenName::parse(&format!("t{}", self.sent)).unwrap();
        let scope = Scope { access, account: account.map(self::account) };
        let answer = self.ok(Change::TokenCreate(TokenCreate { name, hash: [7; 32], scope, expires }));
        let Some(Object::Token(token)) = answer.object else { panic!("no token in {answer:?}") };
        assert_eq!(token.hash, [0; 32], "an answer shows no hash");
        self.actor = Actor::Token { id: token.id };
        token.id
    }

    pub(crate) fn with_account(mut self, name: &str, limits: Option<Limits>) -> Self {
        let plan = limits.map(|limits| {
            let plan = PlanName::parse(&format!("plan-of-{name}")).unwrap();
            self.ok(Change::PlanPut(PlanPut { name: plan.clone(), limits }));
            plan
        });
        self.ok(Change::AccountCreate(AccountCreate { name: account(name), plan, contact: None }));
        self
    }

    pub(crate) fn suspend(&mut self, name: &str) {
        let change = AccountSet { name: account(name), plan: Set::Keep, contact: Set::Keep, suspended: Set::To(true) };
        assert_eq!(self.event(Change::AccountSet(change)).action, "account.suspend");
    }

    pub(crate) fn serial(&self, name: &str) -> u32 {
        self.state.zone(&zone(name)).unwrap().head.serial
    }
}

pub(crate) fn found(node: NodeId) -> Change {
    let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: vec![1, 2, 3] };
    let name = NodeName::parse(&format!("pi-{}", node.0)).unwrap();
    Change::Found(Found { cluster: ClusterId(9), level: LEVEL, node, name, key_check, key: Vec::new() })
}

pub(crate) fn account(name: &str) -> AccountName {
    AccountName::parse(name).unwrap()
}

pub(crate) fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

pub(crate) fn zone(name: &str) -> ZoneName {
    ZoneName::parse(name).unwrap()
}

pub(crate) fn login(name: &str) -> Login {
    Login::parse(name).unwrap()
}

pub(crate) fn site_of(name: &str, owner: Option<&str>) -> SiteCreate {
    SiteCreate {
        host: host(name),
        aliases: Vec::new(),
        www: Www::Off,
        handler: Handler::Static,
        account: owner.map(account),
        node: None,
        chosen: None,
        standbys: Vec::new(),
        failover: Default::default(),
        wanted: 0,
        issuer: None,
        quota: None,
        options: Default::default(),
        certificate: None,
    }
}

/// A static site at home on the node, as it is stored.
pub(crate) fn stored_site(id: u64, name: &str) -> Site {
    Site {
        id: SiteId(id),
        host: host(name),
        aliases: Vec::new(),
        www: Www::Off,
        handler: Handler::Static,
        account: None,
        home: NODE,
        chosen: None,
        epoch: 1,
        standbys: Vec::new(),
        failover: Default::default(),
        unconfirmed: None,
        wanted: 0,
        stationed: Vec::new(),
        issuer: None,
        certificate: None,
        quota: None,
        suspended: false,
        maintenance: false,
        options: Options::default(),
        moving: None,
        created: Time(1),
        revision: 1,
    }
}

pub(crate) fn site(name: &str, owner: Option<&str>) -> Change {
    Change::SiteCreate(Box::new(site_of(name, owner)))
}

pub(crate) fn new_zone(name: &str, owner: Option<&str>) -> Change {
    let (name, account) = (zone(name), owner.map(account));
    Change::ZoneCreate(ZoneCreate { name, account, ttl: None, nameservers: Vec::new() })
}

/// A record set from presentation form; `owner` is relative to the zone.
pub(crate) fn record(apex: &str, owner: &str, rtype: RecordType, values: &[&str]) -> RecordPut {
    let origin = Name::parse(&format!("{apex}."), None).unwrap();
    let values = values.iter().map(|value| parse_data(rtype, value, &origin).unwrap()).collect();
    RecordPut { zone: zone(apex), owner: Name::parse(owner, Some(&origin)).unwrap(), rtype, ttl: 300, values }
}

pub(crate) fn put(apex: &str, owner: &str, rtype: RecordType, values: &[&str]) -> Change {
    Change::RecordPut(record(apex, owner, rtype, values))
}

#[test]
fn remembered_answers_are_bounded_and_the_oldest_go() {
    let mut state = State::default();
    let event = |revision: u64| Event {
        revision,
        time: START,
        actor: Actor::System,
        action: "plan.set".into(),
        subject: String::new(),
        account: None,
        request_id: RequestId { key: u128::from(revision).to_be_bytes(), digest: [0; 16] },
        object: None,
    };
    let kept = ANSWERS_KEPT as u64;
    for revision in 1..=kept + 10 {
        state.put(&crate::model::effect::Stored::new(Row::Event(event(revision))));
    }
    let (gone, stays) = (event(10).request_id, event(11).request_id);
    assert!(state.remembered(&gone).is_none());
    assert_eq!(state.remembered(&stays).unwrap().revision, 11);
    assert_eq!((state.answers.len(), state.answered.len()), (ANSWERS_KEPT, ANSWERS_KEPT));
    assert_eq!(state.hash, 0, "history is not part of the state's hash");
}
