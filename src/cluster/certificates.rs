//! What a cluster needs for its sites to be served over TLS, made where it is missing or runs out: the sites CA, the first ticket key, and
//! an internal certificate for each site that has none for its hosts. Any node may try; the rules let the first one win.
use std::sync::Arc;

use crate::base::ids::SiteId;
use crate::base::limits::{CERTIFY_ROUNDS_MAX, INTERNAL_LEFT, SITES_CA_LEFT};
use crate::cluster::cookies;
use crate::cluster::door::{Write, WriteError};
use crate::cluster::member::Member;
use crate::files::atomic::AtomicError;
use crate::model::answer::Answer;
use crate::model::certificates::Certificate;
use crate::model::change::Change;
use crate::model::cluster::{AcmeKeyPut, Cluster, CookieKeyPut, SitesCaPut, TicketKeysPut};
use crate::model::refusal::Refusal;
use crate::model::sites::{Site, SiteSet};
use crate::model::state::{Snapshot, State};
use crate::ops::blocking::{Blocking, BlockingError};
use crate::seal::keyring::{Keyring, KeyringError};
use crate::tls::error::TlsError;
use crate::tls::sealed;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum EquipError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Blocking(#[from] BlockingError),
    #[error("make the key of DNS cookies: {0}")]
    Random(#[from] getrandom::Error),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error(transparent)]
    File(#[from] AtomicError),
    #[error("make certificates: the cluster is not founded yet")]
    NotFounded,
}

impl Member {
    /// Gives the cluster its sites CA, its first ticket key and its key of DNS cookies, where it has none, and the CA that follows one which
    /// runs out; does nothing otherwise. The clock is the state's: one that stands wrong makes no other CA.
    pub async fn equip(&self, keyring: &Keyring) -> Result<(), EquipError> {
        let now = self.now();
        let cluster = founded(&now)?;
        let after = cluster.sites_ca.as_ref().map(|held| held.not_after);
        if after.is_none_or(|until| now.time.plus(SITES_CA_LEFT) > until) {
            let ca = sealed::make_sites_ca(cluster.sealed_for(), keyring, now.time)?;
            self.first_wins(Change::SitesCaPut(SitesCaPut { ca, after }), None).await?;
        }
        if cluster.ticket_keys.is_empty() {
            let keys = vec![sealed::make_ticket_key(cluster.sealed_for(), keyring, now.time)?];
            self.first_wins(Change::TicketKeysPut(TicketKeysPut { after: None, keys }), None).await?;
        }
        if cluster.cookie_key.is_none() {
            let key = cookies::make(cluster.sealed_for(), keyring)?;
            self.first_wins(Change::CookieKeyPut(CookieKeyPut { key }), None).await?;
        }
        if cluster.acme_key.is_none() {
            let key = sealed::make_acme_key(cluster.sealed_for(), keyring)?;
            self.first_wins(Change::AcmeKeyPut(AcmeKeyPut { after: None, key }), None).await?;
        }
        Ok(())
    }

    /// Mints for each site that has no certificate, one for other hosts than it has now, or one that runs out: one change a site.
    pub async fn certify_sites(&self, keyring: &Arc<Keyring>, blocking: &Blocking) -> Result<(), EquipError> {
        // A site that somebody changes at that moment has its turn in the next round.
        for _ in 0..CERTIFY_ROUNDS_MAX {
            let lacking = lacking(&self.now());
            if lacking.is_empty() {
                return Ok(());
            }
            tracing::info!(sites = lacking.len(), "minting certificates for sites without one");
            for id in lacking {
                self.certify(id, keyring, blocking).await?;
            }
        }
        Ok(())
    }

    async fn certify(&self, id: SiteId, keyring: &Arc<Keyring>, blocking: &Blocking) -> Result<(), EquipError> {
        let now = self.now();
        let Some(site) = now.sites.get(&id).filter(|site| lacks(&now, site)) else { return Ok(()) };
        let (cluster, keyring) = (Arc::clone(founded(&now)?), Arc::clone(keyring));
        let (hosts, time) = (site.hosts().collect(), now.time);
        let minted = blocking.run(move || sealed::mint_for(&cluster, &keyring, hosts, time)).await??;
        let set = SiteSet { certificate: Some(minted), ..SiteSet::of(site.host.clone()) };
        match self.first_wins(Change::SiteSet(set.into()), Some(site.revision)).await {
            // One site that cannot be changed keeps no other from its certificate.
            Err(WriteError::Refused(refusal)) => {
                tracing::warn!(site = %site.host, "it stays without a certificate: {refusal}");
                Ok(())
            }
            done => Ok(done?),
        }
    }

    /// Writes what is worth nothing if somebody else was first.
    pub(crate) async fn first_wins(&self, change: Change, expect: Option<u64>) -> Result<(), WriteError> {
        let answer: Answer = match self.door().write(Write { expect, ..Write::of_system(change) }).await {
            Ok(answer) => answer,
            Err(WriteError::Refused(refusal)) if is_lost_race(&refusal) => return Ok(()),
            Err(error) => return Err(error),
        };
        // What is decided next is decided on a state that has it; none comes any more where the node stops.
        let _ = self.snapshot().wait_for(|snapshot| snapshot.revision >= answer.revision).await;
        Ok(())
    }

    pub(crate) fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot().borrow())
    }
}

/// Which refusals say that the state has moved on.
fn is_lost_race(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Exists { .. } | Refusal::Stale { .. } | Refusal::NotFound { .. } | Refusal::Invalid { .. }
    )
}

pub(crate) fn founded(state: &State) -> Result<&Arc<Cluster>, EquipError> {
    state.cluster.as_ref().ok_or(EquipError::NotFounded)
}

pub(crate) fn lacking(state: &State) -> Vec<SiteId> {
    state.sites.values().filter(|site| lacks(state, site)).map(|site| site.id).collect()
}

fn lacks(state: &State, site: &Site) -> bool {
    let held = site.certificate.and_then(|id| state.certificates.get(&id));
    // Of an authority that is followed by another one, since a node was lost or that one ran out.
    let is_old = |held: &Certificate| {
        state.cluster.as_ref().is_some_and(|now| {
            let since = now.sites_ca.as_ref().map_or(0, |ca| ca.since);
            now.key_check.key_id != held.key.key_id || held.revision < since
        })
    };
    let runs_out = |held: &Certificate| state.time.plus(INTERNAL_LEFT) > held.not_after;
    held.is_none_or(|held| held.is_internal() && (!held.fits(site) || is_old(held) || runs_out(held)))
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::base::clock::Time;
    use crate::base::ids::{ClusterId, NodeId};
    use crate::base::limits::TICKET_KEY_AGE;
    use crate::base::names::NodeName;
    use crate::cluster::peer::book::Book;
    use crate::cluster::peer::messages::Members;
    use crate::model::change::Set;
    use crate::model::cluster::SitesCa;
    use crate::model::tests::world::{host, site};
    use crate::ops::board::Board;
    use crate::ops::tasks::Tasks;
    use crate::seal::Sealed;
    use crate::seal::keyring::KeyId;
    use crate::store::node::Store;
    use crate::tls::peer::{PeerKey, generate};

    async fn founded_member(dir: &std::path::Path) -> (Member, Tasks, Arc<Keyring>) {
        let (board, name) = (Board::default(), NodeName::parse("pi-1").unwrap());
        let tasks = Tasks::new(board.clone(), Handle::current());
        let store = Store::open(dir).unwrap();
        let key = PeerKey::read(&generate().unwrap()).unwrap();
        let book = Book::new(NodeId(7), key, store.machine.snapshot(), Members::default());
        let blocking = Blocking::new(Handle::current());
        let (member, proposals) = Member::start(store, book, blocking).await.unwrap();
        member.run(&tasks, &board, proposals);
        member.lead().await.unwrap();
        let keyring = Arc::new(Keyring::generate([7; 32]));
        assert!(matches!(member.equip(&keyring).await, Err(EquipError::NotFounded)));
        let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: vec![] };
        member.found(ClusterId(1), name, key_check).await.unwrap();
        (member, tasks, keyring)
    }

    #[tokio::test]
    async fn what_is_missing_is_made_once_also_for_sites_that_were_there() {
        let dir = tempfile::tempdir().unwrap();
        let (member, _tasks, keyring) = founded_member(dir.path()).await;
        for name in ["a.test", "b.test"] {
            member.door().write(Write::of_system(site(name, None))).await.unwrap();
        }
        // Two that start at one time.
        let (one, other) = tokio::join!(member.equip(&keyring), member.equip(&keyring));
        one.and(other).unwrap();
        let cluster = |now: &Snapshot| Arc::clone(now.cluster.as_ref().unwrap());
        let first = cluster(&member.now());
        assert!(first.sites_ca.is_some() && first.ticket_keys.len() == 1);
        assert!(cookies::open(&first, &keyring).is_some_and(|key| key.is_ok()));
        let blocking = Blocking::new(Handle::current());
        let certify = || member.certify_sites(&keyring, &blocking);
        let (one, other) = tokio::join!(certify(), certify());
        one.and(other).unwrap();
        // Other hosts without another certificate.
        let aliases = Set::To(vec![host("c.test")]);
        let set = SiteSet { aliases, ..SiteSet::of(host("b.test")) };
        member.first_wins(Change::SiteSet(set.into()), None).await.unwrap();
        assert_eq!(lacking(&member.now()).len(), 1);
        certify().await.unwrap();
        let now = member.now();
        assert_eq!((lacking(&now), now.certificates.len()), (vec![], 2));
        let held = &now.certificates[&now.site(&host("b.test")).unwrap().certificate.unwrap()];
        assert!(sealed::open_certificate(ClusterId(1), &keyring, held).is_ok());
        member.equip(&keyring).await.unwrap();
        certify().await.unwrap();
        assert_eq!(member.now().revision, now.revision, "nothing was missing");
    }

    #[tokio::test]
    async fn what_runs_out_is_followed_by_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let (member, _tasks, keyring) = founded_member(dir.path()).await;
        member.equip(&keyring).await.unwrap();
        member.door().write(Write::of_system(site("a.test", None))).await.unwrap();
        let blocking = Blocking::new(Handle::current());
        let certified = async || {
            member.equip(&keyring).await.unwrap();
            member.certify_sites(&keyring, &blocking).await.unwrap();
            let now = member.now();
            let held = &now.certificates[&now.site(&host("a.test")).unwrap().certificate.unwrap()];
            (now.cluster.as_ref().unwrap().sites_ca.as_ref().unwrap().not_after, held.id)
        };
        let (ca, leaf) = certified().await;
        // The state as it is so many years later.
        let later = |years: u64| {
            let mut state = State::clone(&member.now().state);
            state.time = state.time.plus(std::time::Duration::from_secs(years * 365 * 24 * 3600));
            state
        };
        let runs_out = |years| !lacking(&later(years)).is_empty();
        assert!(!runs_out(6) && runs_out(8), "ten years, and three of them left");
        // A CA that runs out: in its place comes another one, which signs all that the first one signed.
        let old = sealed::make_sites_ca(ClusterId(1), &keyring, Time(0)).unwrap();
        let soon = SitesCa { not_after: member.now().time.plus(SITES_CA_LEFT - TICKET_KEY_AGE), ..old };
        member.first_wins(Change::SitesCaPut(SitesCaPut { ca: soon, after: Some(ca) }), None).await.unwrap();
        let (next, signed) = certified().await;
        assert!(next >= ca && signed != leaf && lacking(&member.now()).is_empty(), "{next} {signed}");
        assert_eq!(certified().await, (next, signed));
    }

    #[tokio::test]
    async fn ticket_keys_are_renewed_when_due() {
        let dir = tempfile::tempdir().unwrap();
        let (member, _tasks, keyring) = founded_member(dir.path()).await;
        member.equip(&keyring).await.unwrap();
        let ids = || member.now().cluster.as_ref().unwrap().ticket_keys.iter().map(|key| key.id).collect::<Vec<_>>();
        let first = ids();
        member.renew_ticket_key(&keyring, Time::now()).await.unwrap();
        member.renew_ticket_key(&keyring, Time(0)).await.unwrap();
        assert_eq!(ids(), first);
        let mut clock = Time::now();
        for kept in [2, 3, 3] {
            clock = clock.plus(TICKET_KEY_AGE);
            let before = ids();
            member.renew_ticket_key(&keyring, clock).await.unwrap();
            assert_eq!((ids().len(), ids()[1]), (kept, before[0]));
        }
    }
}
