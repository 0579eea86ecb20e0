//! The stored form: one table per kind, a key, a revision and a value with named fields. What `store` writes and reads back.
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::accounts::Account;
use crate::model::answer::Event;
use crate::model::certificates::Certificate;
use crate::model::chunk::ZoneChunk;
use crate::model::cluster::Cluster;
use crate::model::ftp_users::FtpUser;
use crate::model::issuers::Issuer;
use crate::model::nodes::Node;
use crate::model::operations::Operation;
use crate::model::orders::Order;
use crate::model::plans::Plan;
use crate::model::sites::Site;
use crate::model::tokens::Token;
use crate::model::wishes::Wish;
use crate::model::zones::ZoneHead;

/// The tables of `state.db`. The order is the order of loading: a zone before its chunks, a site before its logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Cluster,
    Nodes,
    Plans,
    Accounts,
    Tokens,
    Sites,
    FtpUsers,
    Zones,
    ZoneChunks,
    Certificates,
    Operations,
    FinishedOperations,
    Events,
    Issuers,
    Wishes,
    Orders,
}

impl Table {
    pub const ALL: [Self; 16] = [
        Self::Cluster,
        Self::Nodes,
        Self::Plans,
        Self::Accounts,
        Self::Tokens,
        Self::Sites,
        Self::FtpUsers,
        Self::Zones,
        Self::ZoneChunks,
        Self::Certificates,
        Self::Operations,
        Self::FinishedOperations,
        Self::Events,
        Self::Issuers,
        Self::Wishes,
        Self::Orders,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Nodes => "nodes",
            Self::Plans => "plans",
            Self::Accounts => "accounts",
            Self::Tokens => "tokens",
            Self::Sites => "sites",
            Self::FtpUsers => "ftp_users",
            Self::Zones => "zones",
            Self::ZoneChunks => "zone_chunks",
            Self::Certificates => "certificates",
            Self::Operations => "operations",
            Self::FinishedOperations => "finished_operations",
            Self::Events => "events",
            Self::Issuers => "issuers",
            Self::Wishes => "wishes",
            Self::Orders => "orders",
        }
    }

    /// Whether it only grows with time: kept in SQL alone, keyed by revision, never part of `State`.
    pub fn is_history(self) -> bool {
        matches!(self, Self::FinishedOperations | Self::Events)
    }
}

/// The key columns of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// `name TEXT`
    Name(String),
    /// `zone TEXT, low BLOB`
    Chunk(String, Vec<u8>),
    /// `at INTEGER`: the revision, for history.
    At(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Cluster(Cluster),
    Node(Node),
    Plan(Plan),
    Account(Account),
    Token(Token),
    Site(Arc<Site>),
    FtpUser(FtpUser),
    Zone(ZoneHead),
    ZoneChunk(Arc<ZoneChunk>),
    Certificate(Arc<Certificate>),
    Operation(Operation),
    FinishedOperation(Operation),
    Event(Event),
    Issuer(Arc<Issuer>),
    Wish(Arc<Wish>),
    Order(Arc<Order>),
}

/// Failed to read a stored row.
#[derive(Debug, thiserror::Error)]
#[error("read a row of {table}: {source}")]
pub struct RowError {
    table: &'static str,
    source: rmp_serde::decode::Error,
}

impl Row {
    pub fn table(&self) -> Table {
        match self {
            Self::Cluster(_) => Table::Cluster,
            Self::Node(_) => Table::Nodes,
            Self::Plan(_) => Table::Plans,
            Self::Account(_) => Table::Accounts,
            Self::Token(_) => Table::Tokens,
            Self::Site(_) => Table::Sites,
            Self::FtpUser(_) => Table::FtpUsers,
            Self::Zone(_) => Table::Zones,
            Self::ZoneChunk(_) => Table::ZoneChunks,
            Self::Certificate(_) => Table::Certificates,
            Self::Operation(_) => Table::Operations,
            Self::FinishedOperation(_) => Table::FinishedOperations,
            Self::Event(_) => Table::Events,
            Self::Issuer(_) => Table::Issuers,
            Self::Wish(_) => Table::Wishes,
            Self::Order(_) => Table::Orders,
        }
    }

    pub fn key(&self) -> Key {
        match self {
            Self::Cluster(_) => Key::Name("cluster".into()),
            Self::Node(node) => Key::Name(node.id.to_string()),
            Self::Plan(plan) => Key::Name(plan.name.to_string()),
            Self::Account(account) => Key::Name(account.name.to_string()),
            Self::Token(token) => Key::Name(token.id.to_string()),
            Self::Site(site) => Key::Name(site.id.to_string()),
            Self::FtpUser(user) => Key::Name(user.login.to_string()),
            Self::Zone(zone) => Key::Name(zone.name.to_string()),
            Self::ZoneChunk(chunk) => Key::Chunk(chunk.zone.to_string(), chunk.low.clone().into_vec()),
            Self::Certificate(certificate) => Key::Name(certificate.id.to_string()),
            Self::Operation(operation) => Key::Name(operation.id.to_string()),
            Self::FinishedOperation(operation) => Key::At(operation.revision),
            Self::Event(event) => Key::At(event.revision),
            Self::Issuer(issuer) => Key::Name(issuer.name.to_string()),
            Self::Wish(wish) => Key::Name(wish.id.to_string()),
            Self::Order(order) => Key::Name(order.id.to_string()),
        }
    }

    pub fn revision(&self) -> u64 {
        match self {
            Self::Cluster(cluster) => cluster.revision,
            Self::Node(node) => node.revision,
            Self::Plan(plan) => plan.revision,
            Self::Account(account) => account.revision,
            Self::Token(token) => token.revision,
            Self::Site(site) => site.revision,
            Self::FtpUser(user) => user.revision,
            Self::Zone(zone) => zone.revision,
            Self::ZoneChunk(chunk) => chunk.revision,
            Self::Certificate(certificate) => certificate.revision,
            Self::Operation(operation) | Self::FinishedOperation(operation) => operation.revision,
            Self::Event(event) => event.revision,
            Self::Issuer(issuer) => issuer.revision,
            Self::Wish(wish) => wish.revision,
            Self::Order(order) => order.revision,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Cluster(cluster) => pack(cluster),
            Self::Node(node) => pack(node),
            Self::Plan(plan) => pack(plan),
            Self::Account(account) => pack(account),
            Self::Token(token) => pack(token),
            Self::Site(site) => pack(site),
            Self::FtpUser(user) => pack(user),
            Self::Zone(zone) => pack(zone),
            Self::ZoneChunk(chunk) => pack(chunk),
            Self::Certificate(certificate) => pack(certificate),
            Self::Operation(operation) | Self::FinishedOperation(operation) => pack(operation),
            Self::Event(event) => pack(event),
            Self::Issuer(issuer) => pack(issuer),
            Self::Wish(wish) => pack(wish),
            Self::Order(order) => pack(order),
        }
    }

    pub fn decode(table: Table, value: &[u8]) -> Result<Self, RowError> {
        let row = match table {
            Table::Cluster => unpack(value).map(Self::Cluster),
            Table::Nodes => unpack(value).map(Self::Node),
            Table::Plans => unpack(value).map(Self::Plan),
            Table::Accounts => unpack(value).map(Self::Account),
            Table::Tokens => unpack(value).map(Self::Token),
            Table::Sites => unpack(value).map(Self::Site),
            Table::FtpUsers => unpack(value).map(Self::FtpUser),
            Table::Zones => unpack(value).map(Self::Zone),
            Table::ZoneChunks => unpack(value).map(Self::ZoneChunk),
            Table::Certificates => unpack(value).map(Self::Certificate),
            Table::Operations => unpack(value).map(Self::Operation),
            Table::FinishedOperations => unpack(value).map(Self::FinishedOperation),
            Table::Events => unpack(value).map(Self::Event),
            Table::Issuers => unpack(value).map(Self::Issuer),
            Table::Wishes => unpack(value).map(Self::Wish),
            Table::Orders => unpack(value).map(Self::Order),
        };
        row.map_err(|source| RowError { table: table.name(), source })
    }
}

fn pack(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value)
        .expect("stored kinds have no map with keys that are not text and no failing serialiser")
}

fn unpack<T: DeserializeOwned>(value: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(value)
}
