//! Paged queries over what grows with time: events and finished operations. The only reading of SQL after the start.
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

use crate::base::ids::OperationId;
use crate::base::limits::{HISTORY_QUERIES_MAX, HISTORY_SLICE, PAGE_MAX};
use crate::base::names::AccountName;
use crate::model::answer::Event;
use crate::model::operations::Operation;
use crate::model::row::{Key, Row, Table};
use crate::store::database::Thread;
use crate::store::machine::{Machine, Owner};
use crate::store::schema;

/// Which part of the history is wanted.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only revisions after this one, oldest first.
    pub after: Option<u64>,
    /// Only revisions before this one, newest first; used where `after` is absent.
    pub before: Option<u64>,
    pub limit: usize,
    /// Only what concerns this account.
    pub account: Option<AccountName>,
}

#[derive(Debug, thiserror::Error)]
#[error("query the history: {0}")]
pub struct QueryError(String);

#[derive(Debug, Clone)]
pub struct History {
    thread: Arc<Thread<Owner>>,
    /// Queries wait for their turn here: raft must always find a place at the thread.
    turns: Arc<Semaphore>,
}

impl History {
    pub fn new(machine: &Machine) -> Self {
        Self { thread: Arc::clone(machine.thread()), turns: Arc::new(Semaphore::new(HISTORY_QUERIES_MAX)) }
    }

    pub async fn event(&self, revision: u64) -> Result<Option<Event>, QueryError> {
        let rows =
            self.rows(Table::Events, Page { after: revision.checked_sub(1), limit: 1, ..Page::default() }).await?;
        Ok(rows.into_iter().find_map(|row| match row {
            Row::Event(event) if event.revision == revision => Some(event),
            _ => None,
        }))
    }

    pub async fn events(&self, page: Page) -> Result<Vec<Event>, QueryError> {
        let rows = self.rows(Table::Events, page).await?.into_iter();
        Ok(rows.filter_map(|row| if let Row::Event(event) = row { Some(event) } else { None }).collect())
    }

    pub async fn finished_operations(&self, page: Page) -> Result<Vec<Operation>, QueryError> {
        let rows = self.rows(Table::FinishedOperations, page).await?.into_iter();
        Ok(rows
            .filter_map(|row| if let Row::FinishedOperation(operation) = row { Some(operation) } else { None })
            .collect())
    }

    pub async fn finished_operation(&self, id: OperationId) -> Result<Option<Operation>, QueryError> {
        let newest = Page { limit: 1, ..Page::default() };
        let rows = self
            .query(
                Table::FinishedOperations,
                newest,
                move |row| matches!(row, Row::FinishedOperation(operation) if operation.id == id),
            )
            .await?;
        Ok(rows.into_iter().find_map(|row| match row {
            Row::FinishedOperation(operation) => Some(operation),
            _ => None,
        }))
    }

    async fn rows(&self, table: Table, page: Page) -> Result<Vec<Row>, QueryError> {
        let wanted = page.account.clone();
        let matching = move |row: &Row| {
            wanted.is_none()
                || match row {
                    Row::Event(event) => event.account == wanted,
                    Row::FinishedOperation(operation) => operation.account == wanted,
                    _ => false,
                }
        };
        // One more than a page: whoever asks sees whether there is another page.
        let page = Page { limit: page.limit.min(PAGE_MAX + 1), ..page };
        self.query(table, page, matching).await
    }

    /// Reads until enough rows match or there are no more, slice by slice: changes are written between two of them.
    async fn query(
        &self,
        table: Table,
        mut page: Page,
        matching: impl Fn(&Row) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<Row>, QueryError> {
        let fault = |error: &dyn std::fmt::Display| QueryError(error.to_string());
        let _turn = self.turns.acquire().await.map_err(|error| fault(&error))?;
        let matching = Arc::new(matching);
        let mut found = Vec::new();
        while page.limit > 0 {
            let (part, matches) = (page.clone(), Arc::clone(&matching));
            let read = self.thread.read(move |connection| read(connection, table, &part, &*matches)).await;
            let slice = read.map_err(|error| fault(&error))?.map_err(QueryError)?;
            page.limit -= slice.rows.len();
            found.extend(slice.rows);
            match slice.last {
                Some(last) => page.go_on_from(last),
                None => break,
            }
        }
        Ok(found)
    }
}

impl Page {
    fn go_on_from(&mut self, last: u64) {
        match &mut self.after {
            Some(after) => *after = last,
            None => self.before = Some(last),
        }
    }
}

/// What one look at the table gave.
struct Slice {
    rows: Vec<Row>,
    /// The last row looked at, where there may be more behind it.
    last: Option<u64>,
}

/// Reads rows in the page's order until enough match, looking at one slice of them.
fn read(
    connection: &Connection,
    table: Table,
    page: &Page,
    matching: &(impl Fn(&Row) -> bool + ?Sized),
) -> Result<Slice, String> {
    let bound = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    let (condition, at, order) = match (page.after, page.before) {
        (Some(after), _) => ("at > ?1", bound(after), "ASC"),
        (None, Some(before)) => ("at < ?1", bound(before), "DESC"),
        (None, None) => ("at <= ?1", i64::MAX, "DESC"),
    };
    let sql = format!("SELECT at, value, checksum FROM {} WHERE {condition} ORDER BY at {order}", table.name());
    let mut statement = connection.prepare_cached(&sql).map_err(|error| error.to_string())?;
    let mut rows = statement.query([at]).map_err(|error| error.to_string())?;
    let mut slice = Slice { rows: Vec::new(), last: None };
    for _ in 0..HISTORY_SLICE {
        let row = rows.next().optional().map_err(|error| error.to_string())?.flatten();
        let Some(row) = row else {
            slice.last = None;
            break;
        };
        let fields = row.get::<_, i64>(0).and_then(|at| Ok((at, row.get(1)?, row.get::<_, Vec<u8>>(2)?)));
        let (at, value, checksum) = fields.map_err(|error| error.to_string())?;
        let revision = at.unsigned_abs();
        slice.last = Some(revision);
        let row = schema::verified(table, Key::At(revision), revision, value, &checksum)?.row;
        if matching(&row) {
            slice.rows.push(row);
            if slice.rows.len() == page.limit {
                break;
            }
        }
    }
    Ok(slice)
}
