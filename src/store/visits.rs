//! Visits of sites, day by day: added up in memory, written with the other facts of this node. A day is one of UTC. Never in the
//! log: losing them loses statistics only.
use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::base::ids::SiteId;
use crate::base::limits::VISITS_DAYS_KEPT;

pub(crate) const SCHEMA: &str = "CREATE TABLE visits(site INTEGER NOT NULL, day INTEGER NOT NULL, s1 INTEGER NOT NULL, s2 INTEGER NOT NULL, s3 INTEGER NOT NULL, s4 INTEGER NOT NULL, s5 INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY(site, day)) STRICT, WITHOUT ROWID";

/// Requests answered and bytes sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Visits {
    /// By class of their status, 1xx first.
    pub answers: [u64; 5],
    /// Of bodies.
    pub bytes: u64,
}

impl Visits {
    pub fn hits(&self) -> u64 {
        self.answers.iter().sum()
    }

    pub fn add(&mut self, more: &Self) {
        self.answers.iter_mut().zip(more.answers).for_each(|(count, more)| *count = count.saturating_add(more));
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    /// What came since these were counted.
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        since.answers.iter_mut().zip(before.answers).for_each(|(count, before)| *count = count.saturating_sub(before));
        since.bytes = since.bytes.saturating_sub(before.bytes);
        since
    }
}

/// Visits of one site on one day, counted in days since 1970.
pub(crate) type Days = BTreeMap<(SiteId, u64), Visits>;

/// What is not written yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    pub(crate) days: Days,
    /// Sites that are no more.
    pub(crate) gone: Vec<SiteId>,
    /// The newest day that was counted.
    pub(crate) today: u64,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.days.is_empty() && self.gone.is_empty()
    }

    pub(crate) fn add(&mut self, site: SiteId, day: u64, visits: &Visits) {
        self.days.entry((site, day)).or_default().add(visits);
        self.today = self.today.max(day);
    }

    pub(crate) fn forget(&mut self, site: SiteId) {
        self.days.retain(|(of, _), _| *of != site);
        self.gone.push(site);
    }

    /// Takes back what could not be written.
    pub(crate) fn restore(&mut self, unwritten: Self) {
        for ((site, day), visits) in unwritten.days {
            if !self.gone.contains(&site) {
                self.add(site, day, &visits);
            }
        }
        self.gone.extend(unwritten.gone);
    }
}

pub(crate) fn write(connection: &Connection, pending: &Pending) -> rusqlite::Result<()> {
    let mut forget = connection.prepare_cached("DELETE FROM visits WHERE site = ?1")?;
    for site in &pending.gone {
        forget.execute([site.0 as i64])?;
    }
    let mut add = connection.prepare_cached(
        "INSERT INTO visits VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO UPDATE SET s1 = s1 + excluded.s1, \
         s2 = s2 + excluded.s2, s3 = s3 + excluded.s3, s4 = s4 + excluded.s4, s5 = s5 + excluded.s5, \
         bytes = bytes + excluded.bytes",
    )?;
    for ((site, day), visits) in &pending.days {
        let [s1, s2, s3, s4, s5] = visits.answers.map(|count| count as i64);
        add.execute(params![site.0 as i64, *day as i64, s1, s2, s3, s4, s5, visits.bytes as i64])?;
    }
    let oldest = pending.today.saturating_sub(VISITS_DAYS_KEPT - 1);
    connection.prepare_cached("DELETE FROM visits WHERE day < ?1")?.execute([oldest as i64])?;
    Ok(())
}

/// What was written, of one site or of all.
pub(crate) fn read(connection: &Connection, site: Option<SiteId>) -> rusqlite::Result<Days> {
    let mut days = Days::new();
    let mut statement = connection
        .prepare_cached("SELECT site, day, s1, s2, s3, s4, s5, bytes FROM visits WHERE ?1 IS NULL OR site = ?1")?;
    let mut rows = statement.query([site.map(|site| site.0 as i64)])?;
    while let Some(row) = rows.next()? {
        let number = |at: usize| row.get::<_, i64>(at).map(|number| number as u64);
        let answers = [number(2)?, number(3)?, number(4)?, number(5)?, number(6)?];
        days.insert((SiteId(number(0)?), number(1)?), Visits { answers, bytes: number(7)? });
    }
    Ok(days)
}
