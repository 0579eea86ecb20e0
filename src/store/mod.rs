//! SQLite: the log, the state and its history, database copies. The only module that knows SQL; it holds no key and no network.
pub mod copies;
pub mod copy;
pub mod database;
pub mod feed;
pub mod health;
pub mod history;
pub mod local;
pub mod log;
pub mod machine;
pub mod node;
pub mod restore;
pub mod schema;
pub mod types;
pub mod visits;

#[cfg(test)]
mod tests;
