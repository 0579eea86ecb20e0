//! Tickets: what they outlive, what they do not, and bytes that are none.
use std::sync::Arc;

use proptest::prelude::*;
use rustls::server::ProducesTickets;

use crate::base::clock::Time;
use crate::base::limits::{TICKET_BYTES_MAX, TICKET_KEY_AGE, TICKET_LIFETIME};
use crate::model::tests::world::START;
use crate::seal::keyring::Keyring;
use crate::tls::tests::world::Cell;
use crate::tls::tickets::{Tickets, is_due};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

fn at(cell: &Cell, clock: fn() -> Time) -> Arc<Tickets> {
    Tickets::with_clock(cell.publish.subscribe(), Arc::clone(&cell.keyring), clock)
}

#[test]
fn a_ticket_opens_where_its_key_is_known_for_half_a_day() {
    let mut cell = Cell::new();
    let tickets = at(&cell, || START);
    let ticket = tickets.encrypt(b"session").unwrap();
    assert_eq!(ticket.len(), 16 + 12 + 8 + 7 + 16);
    assert_ne!(tickets.encrypt(b"session").unwrap(), ticket, "a nonce is used once");
    assert_eq!(tickets.decrypt(&ticket).unwrap(), b"session");
    assert_eq!(at(&cell, || START.plus(TICKET_LIFETIME)).decrypt(&ticket).unwrap(), b"session");
    assert!(at(&cell, || START.plus(TICKET_LIFETIME + SECOND)).decrypt(&ticket).is_none());
    // The clock of the other node is behind, or stands in 1970.
    assert!(at(&cell, || Time(START.0 - 1000)).decrypt(&ticket).is_some());
    assert!(at(&cell, || Time(0)).decrypt(&ticket).is_none());
    for left in [true, true, false] {
        cell.add_ticket_key();
        assert_eq!(tickets.decrypt(&ticket).is_some(), left);
    }
}

#[test]
fn a_key_grows_old_only_while_tickets_are_made() {
    let cell = Cell::new();
    assert!(!is_due(START, Time(0)) && !is_due(START, START.plus(TICKET_KEY_AGE - SECOND)));
    let told = |tickets: &Tickets| {
        let aged = tickets.aged();
        let mut told = std::pin::pin!(aged.notified());
        told.as_mut().enable()
    };
    let tickets = at(&cell, || START.plus(TICKET_KEY_AGE - SECOND));
    tickets.encrypt(b"session").unwrap();
    assert!(!told(&tickets));
    let tickets = at(&cell, || START.plus(TICKET_KEY_AGE));
    assert!(!told(&tickets));
    tickets.encrypt(b"session").unwrap();
    assert!(told(&tickets));
}

#[test]
fn without_a_key_there_are_no_tickets() {
    let cell = Cell::new();
    let wrong = Tickets::new(cell.publish.subscribe(), Arc::new(Keyring::generate([8; 32])));
    assert!(!wrong.enabled() && wrong.encrypt(b"session").is_none() && wrong.decrypt(&[0; 99]).is_none());
    let empty = Tickets::new(tokio::sync::watch::Sender::default().subscribe(), Arc::clone(&cell.keyring));
    assert!(!empty.enabled());
}

#[test]
fn a_changed_ticket_never_opens() {
    let cell = Cell::new();
    let tickets = at(&cell, || START);
    let ticket = tickets.encrypt(b"session").unwrap();
    for bit in 0..ticket.len() * 8 {
        let mut changed = ticket.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(tickets.decrypt(&changed).is_none(), "bit {bit}");
    }
    for end in 0..ticket.len() {
        assert!(tickets.decrypt(&ticket[..end]).is_none(), "cut at {end}");
    }
    assert!(tickets.decrypt(&vec![0; TICKET_BYTES_MAX + 1]).is_none());
}

#[test]
fn garbage_is_no_ticket() {
    let cell = Cell::new();
    let tickets = at(&cell, || START);
    let id = cell.cluster().ticket_keys[0].id;
    proptest!(|(bytes: Vec<u8>, known: bool)| {
        let ticket = if known { [&id[..], &bytes].concat() } else { bytes };
        prop_assert!(tickets.decrypt(&ticket).is_none());
    });
}
