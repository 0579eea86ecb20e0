//! Tests of the store.
mod bench;
mod damage;
mod full;
mod golden;
mod history;
mod reload;
mod suite;
