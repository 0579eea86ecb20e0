//! Who writes into the directory of a site that is not at home here: a move, or a copy that stands by; never both.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::ids::SiteId;

#[derive(Debug, Clone, Default)]
pub(crate) struct Copying(Arc<Mutex<BTreeSet<SiteId>>>);

/// The only writer, until dropped.
#[derive(Debug)]
pub(crate) struct Alone {
    copying: Copying,
    site: SiteId,
}

impl Copying {
    /// None: somebody else writes there.
    pub(crate) fn enter(&self, site: SiteId) -> Option<Alone> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(site).then(|| Alone { copying: self.clone(), site })
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.copying.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.site);
    }
}
