//! Tests of the store.
pub(super) mod bench;
mod damage;
mod full;
mod golden;
mod history;
mod journal;
mod reload;
mod suite;
