//! What an allowed change does to the state: rows put and rows deleted, with their hashes. The same effects go to memory and to SQL.
use xxhash_rust::xxh3::Xxh3;

use crate::model::row::{Key, Row, Table};

/// A row in stored form with the hash that guards it in `state.db` and adds to the hash of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub row: Row,
    pub key: Key,
    pub value: Vec<u8>,
    pub hash: u128,
}

impl Stored {
    pub fn new(row: Row) -> Self {
        let (key, value) = (row.key(), row.encode());
        let hash = row_hash(row.table(), &key, row.revision(), &value);
        Self { row, key, value, hash }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Put(Stored),
    Delete(Stored),
    /// Removes the history of a table before a revision.
    Prune {
        table: Table,
        before: u64,
    },
}

/// XXH3-128 over table, key, revision and value, each with its length: detects damage, not malice.
pub fn row_hash(table: Table, key: &Key, revision: u64, value: &[u8]) -> u128 {
    let mut hash = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(table.name().as_bytes());
    match key {
        Key::Name(name) => part(name.as_bytes()),
        Key::Chunk(zone, low) => {
            part(zone.as_bytes());
            part(low);
        }
        Key::At(revision) => part(&revision.to_le_bytes()),
    }
    part(&revision.to_le_bytes());
    part(value);
    hash.digest128()
}
