//! The tables of `state.db`: rows written as effects say, read back with every checksum verified.
use rusqlite::{Connection, OptionalExtension, params, params_from_iter, types::Value};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::base::clock::Time;
use crate::base::limits::ANSWERS_KEPT;
use crate::model::LEVEL;
use crate::model::effect::{Effect, Stored, row_hash};
use crate::model::row::{Key, Row, Table};
use crate::model::state::State;
use crate::store::database::Schema;
use crate::store::types::{LogId, Membership};

pub(crate) const SCHEMA: Schema<'_> = Schema { first: FIRST, later: LATER, levels: LEVELS };

const FIRST: &str = "\
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE cluster(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE nodes(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE plans(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE accounts(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE tokens(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sites(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE ftp_users(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE zones(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE zone_chunks(zone TEXT NOT NULL, low BLOB NOT NULL, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY(zone, low)) STRICT, WITHOUT ROWID;
CREATE TABLE certificates(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE operations(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE finished_operations(at INTEGER PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT;
CREATE TABLE events(at INTEGER PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT";
const LATER: &str = "\
CREATE TABLE issuers(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE wishes(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE orders(name TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID";

/// What each level after the first adds.
#[cfg(not(feature = "extra-level"))]
const LEVELS: &[&str] = &[];
#[cfg(feature = "extra-level")]
const LEVELS: &[&str] = &["CREATE TABLE extra_level(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID"];
const _: () = assert!(LEVELS.len() + 1 == LEVEL as usize, "each level has its tables");

/// What `state.db` says of itself; written in the transaction of the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) revision: u64,
    pub(crate) time: Time,
    /// Sum of the hashes of all rows but those of the history, and of the history's.
    #[serde(with = "serde_bytes")]
    pub(crate) hash: [u8; 16],
    #[serde(with = "serde_bytes")]
    pub(crate) history: [u8; 16],
    /// Up to where the last copy went that was taken up: a log that ends before it has not been told yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) copied: Option<LogId>,
}

/// Writes what changes did; returns the history's new sum.
pub(crate) fn write(connection: &Connection, effects: &[Effect], history: u128) -> rusqlite::Result<u128> {
    effects.iter().try_fold(history, |history, effect| match effect {
        Effect::Put(stored) => put(connection, stored).map(|added| history.wrapping_add(added)),
        Effect::Delete(stored) => delete(connection, stored).map(|()| history),
        Effect::Prune { table, before } => prune(connection, *table, *before).map(|gone| history.wrapping_sub(gone)),
    })
}

fn put(connection: &Connection, stored: &Stored) -> rusqlite::Result<u128> {
    if let Row::Cluster(cluster) = &stored.row {
        // A level is what the state says it is, and the tables are those of it, at the same change on every node.
        SCHEMA.raise(connection, cluster.level)?;
    }
    let table = stored.row.table();
    let (columns, marks) = match stored.key {
        Key::Chunk(..) => ("zone, low", "?4, ?5"),
        Key::Name(_) => ("name", "?4"),
        Key::At(_) => ("at", "?4"),
    };
    let sql = format!(
        "INSERT OR REPLACE INTO {}({columns}, revision, value, checksum) VALUES({marks}, ?1, ?2, ?3)",
        table.name()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let fixed = [
        Value::Integer(stored.row.revision() as i64),
        Value::Blob(stored.value.clone()),
        Value::Blob(stored.hash.to_le_bytes().into()),
    ];
    statement.execute(params_from_iter(fixed.into_iter().chain(key_values(&stored.key))))?;
    Ok(if table.is_history() { stored.hash } else { 0 })
}

fn delete(connection: &Connection, stored: &Stored) -> rusqlite::Result<()> {
    let condition = match stored.key {
        Key::Chunk(..) => "zone = ?1 AND low = ?2",
        Key::Name(_) => "name = ?1",
        Key::At(_) => "at = ?1",
    };
    let sql = format!("DELETE FROM {} WHERE {condition}", stored.row.table().name());
    connection.prepare_cached(&sql)?.execute(params_from_iter(key_values(&stored.key))).map(drop)
}

fn prune(connection: &Connection, table: Table, before: u64) -> rusqlite::Result<u128> {
    let sql = format!("DELETE FROM {} WHERE at < ?1 RETURNING checksum", table.name());
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([before as i64])?;
    let mut gone = 0u128;
    while let Some(row) = rows.next()? {
        gone = gone.wrapping_add(row.get::<_, [u8; 16]>(0).map(u128::from_le_bytes)?);
    }
    Ok(gone)
}

fn key_values(key: &Key) -> Vec<Value> {
    match key {
        Key::Name(name) => vec![Value::Text(name.clone())],
        Key::Chunk(zone, low) => vec![Value::Text(zone.clone()), Value::Blob(low.clone())],
        Key::At(at) => vec![Value::Integer(*at as i64)],
    }
}

pub(crate) fn write_meta(connection: &Connection, meta: &Meta) -> rusqlite::Result<()> {
    let value = rmp_serde::to_vec_named(meta).expect("meta has no failing serialiser");
    let checksum = xxh3_128(&value).to_le_bytes();
    let sql = "INSERT OR REPLACE INTO meta(name, value, checksum) VALUES('state', ?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![value, checksum]).map(drop)
}

pub(crate) fn read_meta(connection: &Connection) -> Result<Meta, String> {
    let sql = "SELECT value, checksum FROM meta WHERE name = 'state'";
    let row = connection.query_row(sql, [], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let Some((value, checksum)) = row.optional().map_err(text)? else { return Ok(Meta::default()) };
    if xxh3_128(&value).to_le_bytes()[..] != checksum {
        return Err("the checksum of meta row state is wrong".into());
    }
    rmp_serde::from_slice(&value).map_err(|error| format!("meta row state: {error}"))
}

/// Reads everything once: each checksum, each key, and the two sums. What it gives is what was committed, or an error.
pub(crate) fn load(connection: &Connection) -> Result<(State, Meta), String> {
    let meta = read_meta(connection)?;
    let mut state = State::default();
    let mut history = 0u128;
    let remember = meta.revision.saturating_sub(ANSWERS_KEPT as u64);
    for table in Table::ALL {
        each(connection, table, |stored| {
            if table.is_history() {
                history = history.wrapping_add(stored.hash);
            }
            if !table.is_history() || (table == Table::Events && stored.row.revision() > remember) {
                state.put(&stored);
            }
        })?;
    }
    state.revision = meta.revision;
    state.time = meta.time;
    if state.hash.to_le_bytes() != meta.hash {
        return Err("rows are missing or doubled: the hash of the state differs from the one kept beside it".into());
    }
    if history.to_le_bytes() != meta.history {
        return Err("events are missing or doubled: their hash differs from the one kept beside them".into());
    }
    Ok((state, meta))
}

fn each(connection: &Connection, table: Table, mut take: impl FnMut(Stored)) -> Result<(), String> {
    let name = table.name();
    let key = match table {
        Table::ZoneChunks => "zone, low",
        table if table.is_history() => "at, NULL",
        _ => "name, NULL",
    };
    let sql = format!("SELECT {key}, revision, value, checksum FROM {name} ORDER BY 1, 2");
    let mut statement = connection.prepare(&sql).map_err(text)?;
    let mut rows = statement.query([]).map_err(text)?;
    while let Some(row) = rows.next().map_err(text)? {
        let key = match (row.get(0).map_err(text)?, row.get(1).map_err(text)?) {
            (Value::Text(name), Value::Null) => Key::Name(name),
            (Value::Integer(at), Value::Null) => Key::At(at as u64),
            (Value::Text(zone), Value::Blob(low)) => Key::Chunk(zone, low),
            _ => return Err(format!("{name} has a key of another kind")),
        };
        let revision = row.get::<_, i64>(2).map_err(text)? as u64;
        let value: Vec<u8> = row.get(3).map_err(text)?;
        let checksum: Vec<u8> = row.get(4).map_err(text)?;
        take(verified(table, key, revision, value, &checksum)?);
    }
    Ok(())
}

/// A row as read, if its checksum, its key and its revision agree with what it holds.
pub(crate) fn verified(
    table: Table,
    key: Key,
    revision: u64,
    value: Vec<u8>,
    checksum: &[u8],
) -> Result<Stored, String> {
    let hash = row_hash(table, &key, revision, &value);
    if hash.to_le_bytes()[..] != *checksum {
        return Err(format!("the checksum of {} row {} is wrong", table.name(), shown(&key)));
    }
    let row = Row::decode(table, &value).map_err(|error| error.to_string())?;
    if row.key() != key || row.revision() != revision {
        return Err(format!("{} row {} lies under another key", table.name(), shown(&key)));
    }
    Ok(Stored { row, key, value, hash })
}

fn shown(key: &Key) -> String {
    match key {
        Key::Name(name) => name.clone(),
        Key::Chunk(zone, _) => zone.clone(),
        Key::At(at) => at.to_string(),
    }
}

fn text(error: rusqlite::Error) -> String {
    error.to_string()
}
