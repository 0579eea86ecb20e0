//! The budget of an issuer: how many orders it takes in which time. The orders in the state are what was spent, so whoever decides
//! on that state, after a restart or on another node, cannot spend it twice. Pure.
use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Time;
use crate::base::limits::acme::{FAILURES_PER_NAME, ORDERS_PER_ACCOUNT, ORDERS_PER_DOMAIN, ORDERS_PER_NAMES};
use crate::base::names::IssuerName;
use crate::model::orders::{Failed, Order, Stage};
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

/// One of the counts an issuer keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Count {
    Orders,
    /// Certificates for exactly these names, in their order.
    Names(Vec<String>),
    /// Certificates for new names of a registered domain.
    Domain(String),
    /// Failed validations of a name.
    Failures(String),
}

impl Count {
    /// How much of it an issuer takes, and in which time.
    fn limit(&self) -> (usize, Duration) {
        match self {
            Self::Orders => ORDERS_PER_ACCOUNT,
            Self::Names(_) => ORDERS_PER_NAMES,
            Self::Domain(_) => ORDERS_PER_DOMAIN,
            Self::Failures(_) => FAILURES_PER_NAME,
        }
    }

    fn told(&self) -> String {
        let ((most, window), what) = (
            self.limit(),
            match self {
                Self::Orders => "orders".to_owned(),
                Self::Names(names) => format!("certificates for {}", names.join(" ")),
                Self::Domain(domain) => format!("certificates for new names of {domain}"),
                Self::Failures(name) => format!("failed validations of {name}"),
            },
        );
        format!("the issuer takes {most} {what} in {} hours", window.as_secs() / 3600)
    }

    fn of_names(names: &[String]) -> Self {
        let mut names = names.to_vec();
        names.sort();
        Self::Names(names)
    }
}

impl Spending<'_> {
    /// Whether the issuer takes such an order now.
    pub fn check(&self, state: &State, now: Time) -> Result<(), Spent> {
        let orders = || state.orders.values().filter(|order| order.issuer == *self.issuer);
        for count in self.looked_at() {
            let (most, window) = count.limit();
            let spent = orders().filter_map(|order| order.spent(&count));
            let mut within: Vec<Time> = spent.filter(|at| at.plus(window) > now).collect();
            if within.len() >= most {
                within.sort_unstable();
                // When so many have left the window that one more fits.
                return Err(Spent { reason: count.told(), until: within[within.len() - most].plus(window) });
            }
        }
        Ok(())
    }

    fn looked_at(&self) -> Vec<Count> {
        let failures = self.names.iter().cloned().map(Count::Failures);
        [Count::Orders, Count::of_names(self.names)].into_iter().chain(self.domains()).chain(failures).collect()
    }

    fn domains(&self) -> impl Iterator<Item = Count> {
        self.domains.iter().cloned().map(Count::Domain)
    }
}

/// Looks ahead: orders that are planned one after the other, each for the first moment at which its issuer takes it.
#[derive(Debug)]
pub struct Ahead {
    now: Time,
    /// When it was spent, and will be: in order.
    spent: BTreeMap<(IssuerName, Count), Vec<Time>>,
}

impl Ahead {
    pub fn new(state: &State, now: Time) -> Self {
        let mut spent: BTreeMap<_, Vec<Time>> = BTreeMap::new();
        for order in state.orders.values() {
            let domains = order.domains.iter().cloned().map(Count::Domain);
            let failures = order.failures().iter().cloned().map(Count::Failures);
            let all = [Count::Orders, Count::of_names(&order.names)].into_iter().chain(domains).chain(failures);
            for count in all {
                // A clock that is a little ahead does not make it later than now.
                let at = order.spent(&count).map(|at| at.min(now));
                spent.entry((order.issuer.clone(), count)).or_default().extend(at);
            }
        }
        spent.values_mut().for_each(|times| times.sort_unstable());
        Self { now, spent }
    }

    /// The first moment at which the issuer takes such an order, and what it has to wait for until then.
    pub fn first(&self, spending: &Spending<'_>) -> (Time, Option<Spent>) {
        let (mut at, mut last) = (self.now, None);
        let counts: Vec<_> = spending.looked_at().into_iter().map(|count| (spending.issuer.clone(), count)).collect();
        while let Some(spent) = counts.iter().find_map(|count| self.exceeded(count, at)) {
            at = spent.until;
            last = Some(spent);
        }
        (at, last)
    }

    fn exceeded(&self, count: &(IssuerName, Count), at: Time) -> Option<Spent> {
        let (most, window) = count.1.limit();
        let times = self.spent.get(count)?;
        let until_then = &times[..times.partition_point(|spent| *spent <= at)];
        let within = until_then.len() - until_then.partition_point(|spent| spent.plus(window) <= at);
        let until = || until_then[until_then.len() - most].plus(window);
        (within >= most).then(|| Spent { reason: count.1.told(), until: until() })
    }

    /// An order is planned for this moment.
    pub fn plan(&mut self, spending: &Spending<'_>, at: Time) {
        for count in [Count::Orders, Count::of_names(spending.names)].into_iter().chain(spending.domains()) {
            let times = self.spent.entry((spending.issuer.clone(), count)).or_default();
            times.insert(times.partition_point(|spent| *spent <= at), at);
        }
    }
}

impl Order {
    /// When it spent of this, if it did.
    fn spent(&self, count: &Count) -> Option<Time> {
        let counts = match count {
            Count::Orders => true,
            Count::Names(names) => self.may_count() && self.is_for(names),
            Count::Domain(domain) => self.may_count() && self.domains.contains(domain),
            Count::Failures(name) => {
                return self.failed().filter(|failed| failed.names.contains(name)).map(|failed| failed.at);
            }
        };
        counts.then_some(self.reserved)
    }

    fn failed(&self) -> Option<&Failed> {
        match &self.stage {
            Stage::Failed(failed) => Some(failed),
            _ => None,
        }
    }

    fn failures(&self) -> &[String] {
        self.failed().map_or(&[], |failed| &failed.names)
    }

    /// Whether a certificate came of it, or may still.
    fn may_count(&self) -> bool {
        self.failed().is_none_or(|failed| failed.finalized)
    }

    fn is_for(&self, names: &[String]) -> bool {
        self.names.len() == names.len() && names.iter().all(|name| self.names.contains(name))
    }
}
