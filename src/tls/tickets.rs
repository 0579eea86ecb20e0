//! Session tickets from keys in the state, so that any node resumes what another began. A ticket is the key's id, a nonce and the
//! sealed session with the moment it was made. Keeps nothing of a session.
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use tokio::sync::{Notify, watch};

use crate::base::clock::Time;
use crate::base::limits::{TICKET_BYTES_MAX, TICKET_KEY_AGE, TICKET_LIFETIME};
use crate::model::cluster::Cluster;
use crate::model::state::Snapshot;
use crate::seal::keyring::Keyring;
use crate::tls::sealed::open_ticket_key;

const ID: usize = 16;
const HEAD: usize = ID + NONCE_LEN;
const TIME: usize = 8;
const TAG: usize = 16;

/// Makes and accepts tickets.
pub struct Tickets {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    keyring: Arc<Keyring>,
    opened: RwLock<Opened>,
    aged: Arc<Notify>,
    clock: fn() -> Time,
}

/// The keys of one version of the cluster's row.
#[derive(Clone, Default)]
struct Opened {
    of: Option<Arc<Cluster>>,
    keys: Arc<[Key]>,
}

struct Key {
    id: [u8; ID],
    made: Time,
    cipher: LessSafeKey,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>, keyring: Arc<Keyring>) -> Arc<Self> {
        Self::with_clock(snapshots, keyring, Time::now)
    }

    pub(crate) fn with_clock(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        keyring: Arc<Keyring>,
        clock: fn() -> Time,
    ) -> Arc<Self> {
        Arc::new(Self { snapshots, keyring, opened: RwLock::default(), aged: Arc::default(), clock })
    }

    /// Told whenever a ticket was made with a key that is due to be replaced.
    pub fn aged(&self) -> Arc<Notify> {
        Arc::clone(&self.aged)
    }

    /// The keys of the state as it is; opened when they change, which is once a day.
    fn keys(&self) -> Arc<[Key]> {
        let cluster = self.snapshots.borrow().cluster.clone();
        let same = |opened: &Opened| match (&opened.of, &cluster) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            if same(&opened) {
                return Arc::clone(&opened.keys);
            }
        }
        let keys: Arc<[Key]> = cluster.iter().flat_map(|cluster| self.open(cluster)).collect();
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = Opened { of: cluster, keys: Arc::clone(&keys) };
        keys
    }

    fn open<'a>(&'a self, cluster: &'a Cluster) -> impl Iterator<Item = Key> + 'a {
        cluster.ticket_keys.iter().filter_map(|stored| {
            let key = open_ticket_key(cluster.sealed_for(), &self.keyring, stored)
                .inspect_err(|error| tracing::error!("sessions are not resumed: failed to {error}"))
                .ok()?;
            let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?);
            Some(Key { id: stored.id, made: stored.made, cipher })
        })
    }
}

impl Key {
    fn seal(&self, plain: &[u8], now: Time) -> Option<Vec<u8>> {
        let mut ticket = Vec::with_capacity(HEAD + TIME + plain.len() + TAG);
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        ticket.extend(self.id);
        ticket.extend(nonce);
        ticket.extend(now.0.to_be_bytes());
        ticket.extend(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.cipher.seal_in_place_separate_tag(nonce, Aad::from(self.id), &mut ticket[HEAD..]).ok()?;
        ticket.extend(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, nonce: [u8; NONCE_LEN], body: &[u8], now: Time) -> Option<Vec<u8>> {
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = self.cipher.open_in_place(nonce, Aad::from(self.id), &mut body).ok()?;
        let (made, session) = plain.split_first_chunk::<TIME>()?;
        // Clocks of nodes differ; what comes from further ahead than a ticket lives is no ticket of this life.
        if Time(u64::from_be_bytes(*made)).distance(now) > TICKET_LIFETIME {
            return None;
        }
        let length = session.len();
        body.copy_within(TIME..TIME + length, 0);
        body.truncate(length);
        Some(body)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys().is_empty()
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (keys, now) = (self.keys(), (self.clock)());
        let newest = keys.first()?;
        if is_due(newest.made, now) {
            self.aged.notify_one();
        }
        newest.seal(plain, now)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (id, rest) = ticket.split_first_chunk::<ID>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys();
        let key = keys.iter().find(|key| key.id == *id)?;
        key.open(*nonce, body, (self.clock)())
    }
}

/// Whether the newest key is old enough to be followed by another one.
pub fn is_due(made: Time, now: Time) -> bool {
    now >= made.plus(TICKET_KEY_AGE)
}
