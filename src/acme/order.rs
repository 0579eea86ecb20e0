//! One order, from its reservation to its certificate. Every step follows from what the issuer says of the order, so that one that
//! was left half done is gone on with.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order as Remote,
    OrderStatus, RetryPolicy,
};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use crate::acme::account::{self, Held};
use crate::acme::checks::{self, Candidate};
use crate::acme::fault::{AcmeError, jitter, patiently};
use crate::acme::plan::Way;
use crate::acme::{Ground, Obtaining};
use crate::base::clock::Time;
use crate::base::ids::{CertificateId, ClusterId, Seed};
use crate::base::limits::acme::{ORDER_WAIT, SERVED_WAIT, UNWRITTEN_PAUSE, VALIDATE_WAIT};
use crate::cluster::door::random;
use crate::model::answer::Answer;
use crate::model::certificates::CertificateStore;
use crate::model::challenges::{ChallengePut, ChallengeRemove};
use crate::model::issuers::Issuer;
use crate::model::nodes::{Node, Role};
use crate::model::orders::{Challenge, End, Failed, Method, Order, OrderFinish, OrderPlace, Placed, Stage};
use crate::tls::order::{chain, fresh_key, request};
use crate::tls::sealed::{open_at, seal_at};

const ORDER: &str = "order";

/// What is known of how the names can be proved; what is not is looked at.
pub(crate) type Ways = HashMap<String, Way>;

/// Works on an order until it is over, and writes down how it ended. Where that cannot be written it returns after a while: the order
/// stays, and is gone on with. Gives what is the issuer's own trouble, and how long it wants to be left alone.
pub(crate) async fn work(
    ground: &Ground,
    order: &Arc<Order>,
    issuer: &Issuer,
    ways: Ways,
) -> Option<(AcmeError, Option<Duration>)> {
    let mut job = Job { ground, order, issuer, ways, retry: None, finalized: false };
    let done = timeout(ORDER_WAIT, job.run()).await.unwrap_or(Err(AcmeError::Slow(ORDER_WAIT)));
    let names = order.names.join(" ");
    let mut trouble = None;
    let end = match done {
        Ok(certificate) => {
            count(issuer, "issued");
            tracing::info!(names, issuer = %issuer.name, until = %certificate.not_after, "a certificate was issued");
            End::Issued(certificate)
        }
        // The node stops, or cannot write: the order stays, and is gone on with later.
        Err(AcmeError::Write(error)) if !error.is_final() => {
            tracing::warn!(names, issuer = %issuer.name, "an order waits: failed to {error}");
            sleep(jitter(UNWRITTEN_PAUSE)).await;
            return None;
        }
        Err(error) => {
            if error.is_unknown_account() && account::forget(ground, issuer).await.is_err() {
                sleep(jitter(UNWRITTEN_PAUSE)).await;
                return None;
            }
            count(issuer, "failed");
            tracing::warn!(names, issuer = %issuer.name, "no certificate: failed to {error}");
            let failed = job.failed(&error);
            trouble = error.is_of_the_issuer().then_some((error, job.retry));
            End::Failed(failed)
        }
    };
    job.clean_up().await;
    let mut written = ground.write(Obtaining::Finish(OrderFinish { id: order.id, end }.into())).await;
    if let Err(error) = &written
        && error.is_final()
    {
        // What came cannot be kept.
        let unusable = AcmeError::Unusable(error.to_string());
        let end = End::Failed(job.failed(&unusable));
        written = ground.write(Obtaining::Finish(OrderFinish { id: order.id, end }.into())).await;
    }
    if let Err(error) = written {
        tracing::warn!(names, "the end of an order is not written down: failed to {error}");
        sleep(jitter(UNWRITTEN_PAUSE)).await;
    }
    trouble
}

fn count(issuer: &Issuer, result: &'static str) {
    metrics::counter!("ruche_orders_total", "issuer" => issuer.name.to_string(), "result" => result).increment(1);
}

/// Ends an order whose work broke off on something nobody expected: it is not begun again at once.
pub(crate) async fn give_up(ground: &Ground, order: &Arc<Order>, issuer: &Issuer) {
    let job = Job { ground, order, issuer, ways: Ways::new(), retry: None, finalized: true };
    let error = AcmeError::Unusable("the issuer's answer broke the work on it".into());
    job.clean_up().await;
    let end = End::Failed(job.failed(&error));
    if ground.write(Obtaining::Finish(OrderFinish { id: order.id, end }.into())).await.is_err() {
        sleep(jitter(UNWRITTEN_PAUSE)).await;
    }
}

struct Job<'a> {
    ground: &'a Ground,
    order: &'a Arc<Order>,
    issuer: &'a Issuer,
    ways: Ways,
    /// When the issuer wants to be asked again.
    retry: Option<Duration>,
    /// Whether a certificate may have been issued.
    finalized: bool,
}

impl Job<'_> {
    async fn run(&mut self) -> Result<CertificateStore, AcmeError> {
        let (held, _guard) = match account::open_to_order(self.ground, self.issuer).await {
            Ok(opened) => opened,
            Err(unopened) => {
                self.retry = unopened.retry;
                return Err(unopened.error);
            }
        };
        let done = self.obtain(&held).await;
        self.retry = held.wire.heard().retry;
        done
    }

    async fn obtain(&mut self, held: &Held) -> Result<CertificateStore, AcmeError> {
        let cluster = self.ground.now().cluster.as_ref().ok_or(AcmeError::NoKey)?.sealed_for();
        let (mut remote, key) = match &self.order.stage {
            Stage::Placed(placed) => {
                let key =
                    open_at(&self.ground.keyring, cluster, ("orders", &self.order.id.to_string(), "key"), &placed.key)?;
                (patiently!(ORDER, held.account.order(placed.url.clone()))?, key)
            }
            _ => {
                let (remote, key) = (self.place(&held.account).await?, fresh_key()?);
                // Whoever goes on with it goes on with this one.
                self.write_placed(&remote, cluster, &key, Vec::new()).await?;
                (remote, key)
            }
        };
        if remote.state().authorizations.len() > self.order.names.len() {
            return Err(AcmeError::Unusable("the issuer wants more names proved than were ordered".into()));
        }
        if remote.state().status == OrderStatus::Pending {
            self.prove(&mut remote, cluster, &key).await?;
        }
        let policy = RetryPolicy::new().timeout(VALIDATE_WAIT);
        if remote.state().status == OrderStatus::Pending {
            let status = patiently!("wait for the validation", remote.poll_ready(&policy));
            match status {
                Ok(OrderStatus::Invalid) | Err(AcmeError::Said { .. }) => return Err(self.refused(held).await),
                status => status?,
            };
        }
        if remote.state().status == OrderStatus::Ready {
            let csr = request(&self.order.names, &key)?;
            self.finalized = true;
            patiently!("send the request", remote.finalize_csr(&csr))?;
        }
        let pem = patiently!("fetch the certificate", remote.poll_certificate(&policy))?;
        self.accept(cluster, &pem, &key)
    }

    /// Tells the issuer what is wanted.
    async fn place(&self, account: &Account) -> Result<Remote, AcmeError> {
        let names: Vec<_> = self.order.names.iter().cloned().map(Identifier::Dns).collect();
        let snapshot = self.ground.now();
        let old = self.order.replaces.and_then(|id| snapshot.certificates.get(&id));
        let old = old.and_then(|old| old.chain.first()).map(|der| CertificateDer::from(der.to_vec()));
        let replaces = old.as_ref().and_then(|der| CertificateIdentifier::try_from(der).ok());
        if let Some(replaces) = replaces {
            let new = NewOrder::new(&names).replaces(replaces.into_owned());
            let placed = patiently!(ORDER, account.new_order(&new));
            match placed {
                // An issuer that knows nothing of renewals, or not of this one, or does not say that it heard, is asked plainly.
                Err(error) if error.is_refusal() => {}
                placed => return placed,
            }
        }
        let new = NewOrder::new(&names);
        patiently!(ORDER, account.new_order(&new))
    }

    /// Lays out the answers to all challenges, and says that they are there once they are.
    async fn prove(
        &mut self,
        remote: &mut Remote,
        cluster: ClusterId,
        key: &Zeroizing<Vec<u8>>,
    ) -> Result<(), AcmeError> {
        let challenges = self.challenges(remote).await?;
        let mut written = self.write_placed(remote, cluster, key, challenges.clone()).await?;
        for challenge in &challenges {
            if let Some((zone, owner)) = challenge.at.clone() {
                let put = ChallengePut { zone, owner, text: digest(&challenge.answer) };
                written = self.ground.write(Obtaining::Challenge(put)).await?;
            }
        }
        self.served(written.revision).await?;
        let mut authorizations = remote.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(AcmeError::of(ORDER))?;
            let wanted = challenges
                .iter()
                .find(|challenge| authorization.challenges.iter().any(|offered| offered.token == challenge.token));
            let Some(wanted) = wanted else { continue };
            if let Some(mut handle) = authorization.challenge(kind(wanted.method)) {
                patiently!("say that a challenge is answered", handle.set_ready())?;
            }
        }
        Ok(())
    }

    /// The issuer may ask any of the nodes, by DNS or by HTTP: each one answers what this one does before it is told.
    async fn served(&self, revision: u64) -> Result<(), AcmeError> {
        let asked = |node: &Node| node.roles.contains(&Role::Dns) || node.roles.contains(&Role::Web);
        let Ground { member, board, .. } = &self.ground;
        let served = member.all_serve(revision, board, Instant::now() + SERVED_WAIT, asked).await;
        served.then_some(()).ok_or(AcmeError::NotServed)
    }

    async fn write_placed(
        &self,
        remote: &Remote,
        cluster: ClusterId,
        key: &[u8],
        challenges: Vec<Challenge>,
    ) -> Result<Answer, AcmeError> {
        let id = self.order.id;
        let key = seal_at(&self.ground.keyring, cluster, ("orders", &id.to_string(), "key"), key)?;
        let placed = Placed { url: remote.url().to_owned(), key, challenges };
        Ok(self.ground.write(Obtaining::Place(OrderPlace { id, placed }.into())).await?)
    }

    /// One challenge for each name that is not proved yet: of the methods that can work another one with each attempt.
    async fn challenges(&mut self, remote: &mut Remote) -> Result<Vec<Challenge>, AcmeError> {
        let mut challenges = Vec::new();
        patiently!(ORDER, fetched(remote))?;
        let mut authorizations = remote.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(AcmeError::of(ORDER))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            if !self.order.names.contains(&name) {
                return Err(AcmeError::Unusable("the issuer wants a name proved that was not ordered".into()));
            }
            let way = self.way(&name).await?;
            let offered = |method| authorization.challenges.iter().any(|challenge| challenge.r#type == kind(method));
            let no_way =
                || AcmeError::NoWay { name: name.clone(), reason: "the issuer offers no method that can work".into() };
            let method = way.method(self.order.attempt, offered).ok_or_else(no_way)?;
            let handle = authorization.challenge(kind(method)).ok_or_else(no_way)?;
            challenges.push(Challenge {
                name: name.strip_prefix("*.").unwrap_or(&name).to_owned(),
                method,
                token: handle.token.clone(),
                answer: handle.key_authorization().as_str().to_owned(),
                at: way.at.filter(|_| method == Method::Dns01),
            });
        }
        Ok(challenges)
    }

    async fn way(&mut self, name: &str) -> Result<Way, AcmeError> {
        if let Some(way) = self.ways.get(name) {
            return Ok(way.clone());
        }
        // Whether the issuer may was looked at before the order was made.
        let found = checks::look(self.ground, name, &Candidate::default()).await;
        found.map_err(|reason| AcmeError::NoWay { name: name.to_owned(), reason })
    }

    /// What the issuer found wrong, name by name.
    async fn refused(&self, held: &Held) -> AcmeError {
        let snapshot = self.ground.now();
        let url = match snapshot.orders.get(&self.order.id).map(|order| &order.stage) {
            Some(Stage::Placed(placed)) => placed.url.clone(),
            _ => {
                return AcmeError::Refused { names: self.order.names.clone(), reason: "the order is not valid".into() };
            }
        };
        let (mut names, mut reasons) = (Vec::new(), Vec::new());
        if let Ok(mut remote) = patiently!(ORDER, held.account.order(url.clone())) {
            let mut authorizations = remote.authorizations();
            while let Some(Ok(authorization)) = authorizations.next().await {
                if authorization.status == AuthorizationStatus::Valid {
                    continue;
                }
                let details = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
                let detail = details.filter_map(|problem| problem.detail.clone()).next();
                if authorization.status == AuthorizationStatus::Invalid {
                    names.push(authorization.identifier().to_string());
                    reasons.push(detail.unwrap_or_else(|| "the issuer does not say why".into()));
                }
            }
        }
        if names.is_empty() {
            names.clone_from(&self.order.names);
            reasons.push("the issuer does not say which or why".into());
        }
        AcmeError::Refused { names, reason: reasons.join("; ") }
    }

    /// Looks at what came and seals its key.
    fn accept(&self, cluster: ClusterId, pem: &str, key: &[u8]) -> Result<CertificateStore, AcmeError> {
        let chain = chain(pem.as_bytes(), key)?;
        if let Some(missing) = self.order.names.iter().find(|name| !chain.names.contains(*name)) {
            return Err(AcmeError::Unusable(format!("it is not for {missing}")));
        }
        if chain.not_after <= Time::now() {
            return Err(AcmeError::Unusable(format!("it ended at {}", chain.not_after)));
        }
        let id = CertificateId(Seed(random()).id());
        let key = seal_at(&self.ground.keyring, cluster, ("certificates", &id.to_string(), "key"), key)?;
        Ok(CertificateStore {
            id,
            names: self.order.names.clone(),
            issuer: self.order.issuer.clone(),
            not_before: chain.not_before,
            not_after: chain.not_after,
            chain: chain.certificates.into_iter().map(Into::into).collect(),
            key,
        })
    }

    fn failed(&self, error: &AcmeError) -> Failed {
        let now = Time::now();
        Failed {
            at: now,
            reason: format!("failed to {error}"),
            remedy: error.remedy().to_owned(),
            names: error.names(),
            retry: now.plus(error.pause(self.order.attempt, self.retry)),
            finalized: self.finalized,
        }
    }

    /// Takes the values of DNS-01 away again.
    async fn clean_up(&self) {
        let snapshot = self.ground.now();
        let Some(order) = snapshot.orders.get(&self.order.id) else { return };
        for challenge in order.challenges() {
            let Some((zone, owner)) = challenge.at.clone() else { continue };
            let done = ChallengeRemove { zone, owner, text: digest(&challenge.answer) };
            if let Err(error) = self.ground.write(Obtaining::Done(done)).await {
                tracing::warn!(name = challenge.name, "a challenge's record stays: failed to {error}");
            }
        }
    }
}

/// Fetches the authorizations that are not here yet; the others stay as they came.
async fn fetched(remote: &mut Remote) -> Result<(), Error> {
    let mut authorizations = remote.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization?;
    }
    Ok(())
}

fn kind(method: Method) -> ChallengeType {
    match method {
        Method::Http01 => ChallengeType::Http01,
        Method::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Method::Dns01 => ChallengeType::Dns01,
    }
}

/// The value of the TXT record (RFC 8555 section 8.4).
fn digest(answer: &str) -> String {
    data_encoding::BASE64URL_NOPAD.encode(&Sha256::digest(answer.as_bytes()))
}
