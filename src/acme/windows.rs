//! When issuers want their certificates renewed (RFC 9773): asked for each now and then, and kept in memory alone. An issuer that says
//! nothing is asked again a day later.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use instant_acme::{CertificateIdentifier, Error, RenewalInfo};
use rustls_pki_types::CertificateDer;

use crate::acme::Ground;
use crate::acme::account::{self, Held};
use crate::acme::plan::{Known, Window, due};
use crate::base::clock::Time;
use crate::base::ids::CertificateId;
use crate::base::limits::acme::{WINDOW_ASK, WINDOWS_AT_ONCE};
use crate::model::certificates::{Certificate, IMPORTED};
use crate::model::issuers::Issuer;
use crate::model::state::State;

/// The issuers of which something is to be asked, each with the certificates it is about.
pub(crate) fn unasked(state: &State, known: &Known, now: Time) -> Vec<(Arc<Issuer>, Vec<Arc<Certificate>>)> {
    let mut of: Vec<(Arc<Issuer>, Vec<Arc<Certificate>>)> = Vec::new();
    let obtained = state.certificates.values().filter(|held| !held.is_internal() && held.issuer.as_str() != IMPORTED);
    for held in obtained.filter(|held| known.windows.get(&held.id).is_none_or(|window| window.is_due(now))) {
        let Some(issuer) = state.issuer(&held.issuer) else { continue };
        if issuer.account().is_none() || known.is_left_alone(&issuer.name, now) {
            continue;
        }
        match of.iter_mut().find(|(known, _)| known.name == issuer.name) {
            Some((_, held_by)) if held_by.len() >= WINDOWS_AT_ONCE => {}
            Some((_, held_by)) => held_by.push(Arc::clone(held)),
            None => of.push((issuer, vec![Arc::clone(held)])),
        }
    }
    of
}

/// Asks an issuer about its certificates. What it does not answer is left as it was.
pub(crate) async fn ask(ground: &Ground, known: &Mutex<Known>, issuer: &Issuer, held: &[Arc<Certificate>]) {
    let Ok(account) = account::open(ground, issuer).await else { return later(known, held) };
    for (at, certificate) in held.iter().enumerate() {
        let said = one(&account, certificate).await;
        if said.as_ref().is_some_and(Result::is_err) {
            return later(known, &held[at..]);
        }
        let now = Time::now();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let window = match said.and_then(Result::ok) {
            Some((info, again)) => {
                let window = info.suggested_window;
                let moment = |at: i64| Time(u64::try_from(at).unwrap_or(0).saturating_mul(1000));
                let (start, end) = (moment(window.start.unix_timestamp()), moment(window.end.unix_timestamp()));
                let again = again.clamp(WINDOW_ASK.0, WINDOW_ASK.1);
                Window { renew: chosen(certificate.id, start, end), ask: now.plus(again) }
            }
            None => Window { renew: due(certificate, &known), ask: now.plus(WINDOW_ASK.1) },
        };
        known.windows.insert(certificate.id, window);
    }
}

/// What it says of one; nothing where it knows nothing of such questions, or not of this certificate.
async fn one(held: &Held, certificate: &Certificate) -> Option<Result<(RenewalInfo, Duration), ()>> {
    let leaf = CertificateDer::from(certificate.chain.first()?.to_vec());
    let id = CertificateIdentifier::try_from(&leaf).ok()?;
    match held.account.renewal_info(&id).await {
        Ok(said) => Some(Ok(said)),
        Err(Error::Other(_)) => Some(Err(())),
        Err(_) => None,
    }
}

/// An issuer that does not answer is asked about none of them for a while; what it said before holds.
fn later(known: &Mutex<Known>, held: &[Arc<Certificate>]) {
    let ask = Time::now().plus(WINDOW_ASK.0);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    for certificate in held {
        let renew = due(certificate, &known);
        known.windows.insert(certificate.id, Window { renew, ask });
    }
}

/// A moment in the window, for each certificate another one and always the same.
fn chosen(id: CertificateId, start: Time, end: Time) -> Time {
    let length = end.0.saturating_sub(start.0);
    Time(start.0 + (u128::from(length) * u128::from(id.0) / u128::from(u64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_spread_over() {
        let at = |id| chosen(CertificateId(id), Time(1000), Time(2000));
        assert_eq!((at(0), at(u64::MAX), at(u64::MAX / 2)), (Time(1000), Time(2000), Time(1499)));
        assert_eq!(chosen(CertificateId(7), Time(5), Time(1)), Time(5));
    }
}
