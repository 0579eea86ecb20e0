//! Issuers that do not answer as they should are left alone for a while, longer each time.
use std::collections::BTreeMap;
use std::time::Duration;

use crate::acme::fault::AcmeError;
use crate::acme::plan::{Known, Trouble};
use crate::base::clock::Time;
use crate::base::names::IssuerName;
use crate::model::issuers::Issuer;

/// Asks an issuer for nothing for a while.
pub(crate) fn trouble(known: &mut Known, issuer: &Issuer, error: &AcmeError, asked: Option<Duration>, ordering: bool) {
    let pause = |count| error.pause_of_issuer(count, asked, ordering);
    if meet(&mut known.troubles, issuer, error, pause) {
        tracing::warn!(issuer = %issuer.name, "it is left alone for a while: failed to {error}");
    }
}

/// Asks an issuer for a while for nothing but what certificates wait for.
pub(crate) fn put_off(known: &mut Known, issuer: &Issuer, error: &AcmeError) {
    if meet(&mut known.errands, issuer, error, |count| error.pause_of_issuer(count, None, false)) {
        tracing::warn!(issuer = %issuer.name, "it is asked again in a while: failed to {error}");
    }
}

/// Those who meet the same trouble at one time count as one. True where it is the first after none.
fn meet(
    troubles: &mut BTreeMap<IssuerName, Trouble>,
    issuer: &Issuer,
    error: &AcmeError,
    pause: impl Fn(u32) -> Duration,
) -> bool {
    let (now, before) = (Time::now(), troubles.get(&issuer.name));
    if before.is_some_and(|before| before.stands(now)) {
        return false;
    }
    let count = before.map_or(0, |before| before.count.saturating_add(1));
    let reason = format!("failed to {error}. {}", error.remedy());
    troubles.insert(issuer.name.clone(), Trouble { reason, until: now.plus(pause(count)), count });
    count == 0
}
