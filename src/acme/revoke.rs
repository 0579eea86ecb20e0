//! Revoking: a certificate whose key somebody else may have is revoked once another one is served in its place, and then forgotten.
//! Never before: its visitors would be turned away.
use std::sync::Arc;

use instant_acme::{RevocationReason, RevocationRequest};
use rustls_pki_types::CertificateDer;

use crate::acme::account::{self, Held};
use crate::acme::fault::AcmeError;
use crate::acme::groups::groups;
use crate::acme::{Ground, Obtaining};
use crate::model::certificates::{Certificate, CertificateRemove, IMPORTED};
use crate::model::issuers::Issuer;
use crate::model::state::State;

/// The certificates that nobody needs any more and that are to be revoked.
pub(crate) fn due(state: &State) -> Vec<(Arc<Issuer>, Arc<Certificate>)> {
    let suspect = state.certificates.values().filter(|held| held.suspect && held.issuer.as_str() != IMPORTED);
    let mut suspect = suspect.peekable();
    if suspect.peek().is_none() {
        return Vec::new();
    }
    let groups = groups(state);
    let wanted = |name: &String| groups.iter().any(|group| group.names.contains(name));
    let followed = |name: &String| state.obtained_for(name).any(|other| !other.suspect);
    let free = suspect.filter(|held| held.names.iter().all(|name| followed(name) || !wanted(name)));
    free.filter_map(|held| Some((state.issuer(&held.issuer)?, Arc::clone(held)))).collect()
}

/// Revokes one and forgets it; one that its issuer does not know any more is only forgotten.
pub(crate) async fn revoke(ground: &Ground, issuer: &Issuer, held: &Certificate) -> Result<(), AcmeError> {
    let Held { account, .. } = account::open(ground, issuer).await?;
    if let Some(leaf) = held.chain.first() {
        let certificate = &CertificateDer::from(leaf.as_slice());
        let reason = Some(RevocationReason::KeyCompromise);
        match account.revoke(&RevocationRequest { certificate, reason }).await.map_err(AcmeError::of("revoke it")) {
            // Revoked before, and we ended before that was written down; or it has ended by itself.
            Err(error) if error.is_refusal() => {
                tracing::warn!(certificate = %held.id, "its issuer does not revoke it: failed to {error}");
            }
            done => done?,
        }
    }
    ground.write(Obtaining::Revoked(CertificateRemove { id: held.id })).await?;
    Ok(())
}
