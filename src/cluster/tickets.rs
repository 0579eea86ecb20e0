//! Ticket keys follow each other: when a ticket was made with one that is a day old, the next one is proposed. Where no ticket is
//! made nothing is written.
use crate::base::clock::Time;
use crate::base::limits::{TICKET_KEYS_MAX, TICKET_RETRY};
use crate::cluster::certificates::{EquipError, founded};
use crate::cluster::member::Member;
use crate::model::change::Change;
use crate::model::cluster::TicketKeysPut;
use crate::ops::stop::Stop;
use crate::seal::keyring::Keyring;
use crate::tls::sealed;
use crate::tls::tickets::{Tickets, is_due};

impl Member {
    /// Renews the key of session tickets as often as it is due, until the node stops.
    pub async fn keep_tickets_fresh(&self, keyring: &Keyring, tickets: &Tickets, stop: &Stop) {
        let aged = tickets.aged();
        loop {
            tokio::select! {
                () = aged.notified() => {}
                () = stop.give_up() => return,
            }
            let Err(error) = self.renew_ticket_key(keyring, Time::now()).await else { continue };
            tracing::warn!("the old ticket key stays: failed to {error}");
            tokio::select! {
                () = tokio::time::sleep(TICKET_RETRY) => {}
                () = stop.give_up() => return,
            }
        }
    }

    /// Puts a fresh key before the others if the newest one is due at `clock`; the oldest goes.
    pub(crate) async fn renew_ticket_key(&self, keyring: &Keyring, clock: Time) -> Result<(), EquipError> {
        let now = self.now();
        let cluster = founded(&now)?;
        let newest = cluster.ticket_keys.first();
        // The state's time is never behind the moment of a key; this node's clock may be.
        let clock = clock.max(now.time);
        if newest.is_some_and(|newest| !is_due(newest.made, clock)) {
            return Ok(());
        }
        let fresh = sealed::make_ticket_key(cluster.sealed_for(), keyring, clock)?;
        let keys = std::iter::once(fresh).chain(cluster.ticket_keys.iter().cloned()).take(TICKET_KEYS_MAX).collect();
        let change = Change::TicketKeysPut(TicketKeysPut { after: newest.map(|newest| newest.id), keys });
        Ok(self.first_wins(change, None).await?)
    }
}
