//! What the planes speak TLS with, and the tasks that see to it that the cluster has what that needs.
use std::sync::Arc;

use crate::base::limits::CERTIFY_EVERY;
use crate::cluster::member::Member;
use crate::cluster::rotation::Keys;
use crate::config::Node;
use crate::ops::blocking::Blocking;
use crate::ops::tasks::{Ends, Tasks};
use crate::seal::keyring::Keyring;
use crate::tls::error::TlsError;
use crate::tls::server::Tls;

/// The cluster gets what it lacks: at once if it can be written, else as soon as it can; and what follows on what runs out.
pub(crate) async fn start(
    tasks: &Tasks,
    member: &Member,
    keyring: &Arc<Keyring>,
    blocking: &Blocking,
    node: &Node,
) -> Result<Tls, TlsError> {
    if member.is_founded()
        && let Err(error) = member.equip(keyring).await
    {
        tracing::warn!("sites wait for their certificates: failed to {error}");
    }
    let tls = Tls::new(member.snapshot(), Arc::clone(keyring), &node.name)?;
    let (equipped, ring, pool) = (member.clone(), Arc::clone(keyring), blocking.clone());
    tasks.spawn("certificates", Ends::AtGiveUp, move |stop| {
        let (member, keyring, blocking) = (equipped.clone(), Arc::clone(&ring), pool.clone());
        async move {
            let certify = async {
                member.has_state().await;
                loop {
                    member.equip(&keyring).await?;
                    member.certify_sites(&keyring, &blocking).await?;
                    tokio::time::sleep(CERTIFY_EVERY).await;
                }
            };
            tokio::select! {
                done = certify => done,
                () = stop.give_up() => Ok(()),
            }
        }
    });
    let keys = Keys { keyring: Arc::clone(keyring), path: node.data_dir.join("keyring") };
    let (kept, pool) = (member.clone(), blocking.clone());
    tasks.spawn("keys", Ends::AtGiveUp, move |stop| {
        let (member, keys, blocking) = (kept.clone(), keys.clone(), pool.clone());
        async move {
            member.keep_keys(&keys, &blocking, &stop).await;
            Ok(())
        }
    });
    let (member, keyring, tickets) = (member.clone(), Arc::clone(keyring), tls.tickets());
    tasks.spawn("tickets", Ends::AtGiveUp, move |stop| {
        let (member, keyring, tickets) = (member.clone(), Arc::clone(&keyring), Arc::clone(&tickets));
        async move {
            member.keep_tickets_fresh(&keyring, &tickets, &stop).await;
            Ok(())
        }
    });
    Ok(tls)
}
