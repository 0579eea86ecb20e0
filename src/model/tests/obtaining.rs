//! Random changes of issuers, wishes and orders, and of what comes of them.
use crate::base::clock::Time;
use crate::base::ids::{CertificateId, OrderId, SiteId, WishId};
use crate::base::names::IssuerName;
use crate::model::certificates::{CertificateStore, CertificateWarn};
use crate::model::challenges::{ChallengePut, ChallengeRemove};
use crate::model::change::Change;
use crate::model::cluster::{AcmeKey, AcmeKeyPut};
use crate::model::issuers::{
    Binding, IssuerAccount, IssuerAccountPut, IssuerCreate, IssuerRemove, IssuerSet, IssuerTold, Standing, Task,
};
use crate::model::orders::{Challenge, End, Failed, Method, OrderFinish, OrderPlace, OrderReserve, Placed, Purpose};
use crate::model::tests::generator::{Chance, ZONES, sealed};
use crate::model::tests::world::{START, zone};
use crate::model::wishes::{WishCreate, WishRemove};
use crate::rr::Name;

/// What obtaining certificates does to the state.
pub(super) fn change(chance: &mut Chance) -> Change {
    let issuer = |chance: &mut Chance| IssuerName::parse(chance.of(&["letsencrypt", "own", "internal"])).unwrap();
    let directory = |chance: &mut Chance| chance.of(&["https://ca.test/dir", "http://ca.test/dir"]).to_owned();
    let binding = |chance: &mut Chance| chance.maybe(|_| Binding { key_id: "k".into(), key: sealed() });
    let account = |chance: &mut Chance| IssuerAccount {
        url: "https://ca.test/1".into(),
        key: chance.maybe(|_| sealed()),
        thumbprint: "t".repeat(43),
        directory: directory(chance),
        next: chance.maybe(|_| sealed()),
        told: Vec::new(),
    };
    let standing = |chance: &mut Chance| [Standing::First, Standing::Last, Standing::ByName][chance.below(3) as usize];
    let names = |chance: &mut Chance| {
        let host = chance.host().to_string();
        if chance.once_in(4) { vec![format!("*.{host}"), host] } else { vec![host] }
    };
    match chance.below(18) {
        17 => Change::IssuerTold(IssuerTold {
            name: issuer(chance),
            account: "https://ca.test/1".into(),
            contacts: vec!["ada@a.test".into()],
        }),
        16 => Change::CertificateWarn(CertificateWarn { id: CertificateId(chance.below(3)) }),
        0 => Change::IssuerCreate(IssuerCreate {
            name: issuer(chance),
            directory: directory(chance),
            roots: vec![vec![0x30; 4].into()],
            contacts: vec![chance.of(&["ada@a.test", "ada"]).into()],
            binding: binding(chance),
            standing: standing(chance),
        }),
        1 => Change::IssuerSet(IssuerSet {
            directory: chance.set(directory),
            binding: chance.set(binding),
            standing: chance.set(standing),
            task: chance.set(|chance| chance.maybe(|_| Task::Rollover)),
            account: chance.maybe(account),
            ..IssuerSet::of(issuer(chance))
        }),
        2 => Change::IssuerRemove(IssuerRemove { name: issuer(chance) }),
        3 => Change::IssuerAccountPut(IssuerAccountPut { name: issuer(chance), account: chance.maybe(account) }),
        4 => {
            let thumbprint = |chance: &mut Chance| chance.of(&["a", "b"]).repeat(43);
            let key = AcmeKey { key: sealed(), thumbprint: thumbprint(chance) };
            Change::AcmeKeyPut(AcmeKeyPut { after: chance.maybe(thumbprint), key })
        }
        5 | 6 => Change::WishCreate(WishCreate { names: names(chance), issuer: chance.maybe(issuer) }),
        7 => Change::WishRemove(WishRemove { id: WishId(chance.id()) }),
        8 | 9 => Change::OrderReserve(OrderReserve {
            purpose: if chance.once_in(2) { Purpose::Site(SiteId(chance.id())) } else { Purpose::Wish(WishId(1)) },
            names: names(chance),
            issuer: issuer(chance),
            domains: chance.maybe(|_| "a.test".to_owned()).into_iter().collect(),
            replaces: chance.maybe(|chance| CertificateId(chance.below(3))),
            at: chance.maybe(|chance| Time(START.0 + chance.below(1000))),
        }),
        10 | 11 => Change::OrderPlace(OrderPlace { id: OrderId(chance.id()), placed: placed(chance) }),
        12 | 13 => Change::OrderFinish(OrderFinish { id: OrderId(chance.id()), end: end(chance) }),
        at => {
            let zone = zone(chance.of(ZONES));
            let owner = Name::parse(&format!("_acme-challenge.{zone}."), None).unwrap();
            let text = chance.of(&["one", "two"]).to_owned();
            match at {
                14 => Change::ChallengePut(ChallengePut { zone, owner, text }),
                _ => Change::ChallengeRemove(ChallengeRemove { zone, owner, text }),
            }
        }
    }
}

fn placed(chance: &mut Chance) -> Placed {
    let method = [Method::Http01, Method::TlsAlpn01, Method::Dns01][chance.below(3) as usize];
    let challenge =
        Challenge { name: chance.host().to_string(), method, token: "t".into(), answer: "t.p".into(), at: None };
    Placed { url: "https://ca.test/order/1".into(), key: sealed(), challenges: vec![challenge] }
}

fn end(chance: &mut Chance) -> End {
    if chance.once_in(2) {
        let (at, retry) = (START, Time(START.0 + chance.below(1000)));
        let names = vec![chance.host().to_string()];
        return End::Failed(Failed {
            at,
            reason: "refused".into(),
            remedy: "wait".into(),
            names,
            retry,
            finalized: false,
        });
    }
    End::Issued(certificate(chance))
}

pub(super) fn certificate(chance: &mut Chance) -> CertificateStore {
    CertificateStore {
        id: CertificateId(chance.below(3)),
        names: vec!["a.test".into()],
        issuer: IssuerName::parse("letsencrypt").unwrap(),
        not_before: START,
        not_after: Time(START.0 + chance.below(5)),
        chain: vec![vec![0x30; 10].into()],
        key: sealed(),
    }
}
