//! The budget of an issuer: how many orders it takes in which time. The orders in the state are what was spent, so whoever decides
//! on that state, after a restart or on another node, cannot spend it twice. Pure.
use std::time::Duration;

use crate::base::clock::Time;
use crate::base::limits::acme::{FAILURES_PER_NAME, ORDERS_PER_ACCOUNT, ORDERS_PER_DOMAIN, ORDERS_PER_NAMES};
use crate::base::names::IssuerName;
use crate::model::orders::{Order, Stage};
use crate::model::state::State;

/// What an order would be counted under.
#[derive(Debug, Clone, Copy)]
pub struct Spending<'a> {
    pub issuer: &'a IssuerName,
    pub names: &'a [String],
    /// Registered domains that get names they did not have before; none for a renewal.
    pub domains: &'a [String],
}

/// Why an order has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    pub reason: String,
    /// The first moment at which it may be made.
    pub until: Time,
}

impl Spending<'_> {
    /// Whether the issuer takes such an order now.
    pub fn check(&self, state: &State, now: Time) -> Result<(), Spent> {
        let orders = || state.orders.values().map(|order| &**order).filter(|order| order.issuer == *self.issuer);
        let all = orders().map(|order| order.reserved);
        exceeded(all, ORDERS_PER_ACCOUNT, now, || "orders".into())?;
        let same = orders().filter(|order| order.may_count() && order.is_for(self.names)).map(|order| order.reserved);
        exceeded(same, ORDERS_PER_NAMES, now, || format!("certificates for {}", self.names.join(" ")))?;
        for domain in self.domains {
            let counted = orders().filter(|order| order.may_count() && order.domains.contains(domain));
            let what = || format!("certificates for new names of {domain}");
            exceeded(counted.map(|order| order.reserved), ORDERS_PER_DOMAIN, now, what)?;
        }
        for name in self.names {
            let failed = orders().filter_map(|order| match &order.stage {
                Stage::Failed(failed) if failed.names.contains(name) => Some(failed.at),
                _ => None,
            });
            exceeded(failed, FAILURES_PER_NAME, now, || format!("failed validations of {name}"))?;
        }
        Ok(())
    }
}

impl Order {
    /// Whether a certificate came of it, or may still.
    fn may_count(&self) -> bool {
        !matches!(&self.stage, Stage::Failed(failed) if !failed.finalized)
    }

    fn is_for(&self, names: &[String]) -> bool {
        self.names.len() == names.len() && names.iter().all(|name| self.names.contains(name))
    }
}

fn exceeded(
    spent: impl Iterator<Item = Time>,
    (most, window): (usize, Duration),
    now: Time,
    what: impl Fn() -> String,
) -> Result<(), Spent> {
    let mut within: Vec<Time> = spent.filter(|at| at.plus(window) > now).collect();
    if within.len() < most {
        return Ok(());
    }
    within.sort_unstable();
    // When so many have left the window that one more fits.
    let until = within[within.len() - most].plus(window);
    let hours = window.as_secs() / 3600;
    Err(Spent { reason: format!("the issuer takes {most} {} in {hours} hours", what()), until })
}
