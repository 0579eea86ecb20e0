//! The plan: for each group of names, what is to be done next, when, and why. A pure function of the state, the clock and what was
//! found out so far; the limits of issuers are part of the state.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::acme::groups::{Group, groups};
use crate::base::clock::Time;
use crate::base::ids::CertificateId;
use crate::base::limits::acme::{
    CHECK_GOOD, FORGOTTEN_CHECKS_MAX, ORDER_NAMES_MAX, PAUSE_MAX, RENEW_SHARE, WARN_GRACE_SHARE, WARN_LEFT, WINDOW_ASK,
};
use crate::base::names::{IssuerName, ZoneName};
use crate::model::budget::{Ahead, Spending};
use crate::model::certificates::{Certificate, IMPORTED};
use crate::model::orders::{Challenge, Method, Order, Purpose, Stage};
use crate::model::state::State;
use crate::rr::Name;

/// What this node found out, and keeps in memory alone.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) checks: HashMap<(String, IssuerName), Check>,
    /// Issuers that did not answer as they should, and until when they are left alone.
    pub(crate) troubles: BTreeMap<IssuerName, Trouble>,
    /// The same for what no certificate waits for: tasks of an account, whom the issuer may write to, revocations.
    pub(crate) errands: BTreeMap<IssuerName, Trouble>,
    /// When issuers want their certificates renewed (RFC 9773).
    pub(crate) windows: BTreeMap<CertificateId, Window>,
    /// Groups to be renewed whatever they have.
    pub(crate) wanted: BTreeSet<Purpose>,
    /// Groups something is being done about, and at which issuer.
    pub(crate) busy: BTreeMap<Purpose, IssuerName>,
    /// By which domains issuers know themselves in CAA records, and until when that is believed.
    pub(crate) identities: BTreeMap<IssuerName, (Vec<String>, Time)>,
}

impl Known {
    /// Whether an issuer is not asked now.
    pub(crate) fn is_left_alone(&self, issuer: &IssuerName, now: Time) -> bool {
        self.troubles.get(issuer).is_some_and(|trouble| trouble.stands(now))
    }

    /// Whether an issuer is asked neither for certificates nor for anything else.
    pub(crate) fn has_no_errands(&self, issuer: &IssuerName, now: Time) -> bool {
        self.is_left_alone(issuer, now) || self.errands.get(issuer).is_some_and(|trouble| trouble.stands(now))
    }

    /// Looks again at names that could not be proved, as soon as they are wanted.
    pub(crate) fn try_again(&mut self, is: impl Fn(&str) -> bool) {
        self.checks.retain(|(name, _), check| check.found.is_ok() || !is(name));
    }

    /// Throws away what is about names, certificates and issuers that are gone.
    pub(crate) fn forget(&mut self, state: &State, plan: &Plan) {
        self.windows.retain(|id, _| state.certificates.contains_key(id));
        self.troubles.retain(|name, _| state.issuer(name).is_some());
        self.errands.retain(|name, _| state.issuer(name).is_some());
        self.identities.retain(|name, _| state.issuer(name).is_some());
        let names: usize = plan.items.iter().map(|item| item.names.len()).sum();
        if self.checks.len() > names * 2 + FORGOTTEN_CHECKS_MAX {
            let names: BTreeSet<&String> = plan.items.iter().flat_map(|item| item.names.iter()).collect();
            self.checks.retain(|(name, _), _| names.contains(name));
        }
    }
}

/// What was found when a name was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) at: Time,
    /// The registered domain it lies in.
    pub(crate) domain: String,
    /// How it can be proved, or why it cannot.
    pub(crate) found: Result<Way, String>,
    /// When it is looked at again, if it cannot.
    pub(crate) again: Time,
    /// How often it could not, in a row.
    pub(crate) failures: u32,
}

/// How a name can be proved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) methods: Vec<Method>,
    /// Where DNS-01 puts its value.
    pub(crate) at: Option<(ZoneName, Name)>,
    /// What these follow from, for people.
    pub(crate) why: String,
}

impl Way {
    /// The method for an attempt: another one each time.
    pub(crate) fn method(&self, attempt: u32, offered: impl Fn(Method) -> bool) -> Option<Method> {
        let methods: Vec<Method> = self.methods.iter().copied().filter(|method| offered(*method)).collect();
        methods.get(attempt as usize % methods.len().max(1)).copied()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    pub(crate) until: Time,
    pub(crate) count: u32,
}

impl Trouble {
    pub(crate) fn stands(&self, now: Time) -> bool {
        stands(self.until, now)
    }
}

/// Whether a pause lasts. One that is longer than any comes from a clock that stood wrong.
fn stands(until: Time, now: Time) -> bool {
    until > now && until <= now.plus(PAUSE_MAX)
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// When it is to be renewed.
    pub(crate) renew: Time,
    /// When the issuer is asked again.
    pub(crate) ask: Time,
}

impl Window {
    /// Whether the issuer is asked again; a clock that was set back since then does not put it off.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.ask <= now || self.ask > now.plus(WINDOW_ASK.1)
    }
}

/// One group of names and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub purpose: Purpose,
    pub names: Arc<[String]>,
    /// The issuer it is about, where it is about one.
    pub issuer: Option<IssuerName>,
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It has what it needs, until then.
    Good {
        renew: Time,
    },
    /// These names are looked at before an order.
    Check {
        names: Arc<[String]>,
    },
    Order(Box<Intent>),
    /// Something is being done; how the names are proved, once they are.
    UnderWay {
        how: Vec<String>,
    },
    /// Nothing can be done before that.
    Wait {
        until: Time,
        reason: String,
    },
    /// The names cannot be proved; they are looked at again then.
    Blocked {
        again: Time,
        reason: String,
    },
}

/// An order to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub names: Vec<String>,
    /// Registered domains of those that have no certificate.
    pub domains: Vec<String>,
    pub replaces: Option<CertificateId>,
    /// Names left out, each with its reason.
    pub left_out: Vec<(String, String)>,
    /// How each name is to be proved, and why so.
    pub how: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The most urgent first.
    pub items: Vec<Item>,
    /// When something of it is due.
    pub next: Option<Time>,
    /// What names are served with, ends soon, and was not followed by another one; the first to end comes first.
    pub ending: Vec<CertificateId>,
}

pub(crate) fn plan(state: &State, now: Time, known: &Known) -> Plan {
    let mut last: BTreeMap<(Purpose, &IssuerName), &Arc<Order>> = BTreeMap::new();
    for order in state.orders.values() {
        let newest = last.entry((order.purpose, &order.issuer)).or_insert(order);
        if (newest.reserved, newest.id) < (order.reserved, order.id) {
            *newest = order;
        }
    }
    let mut look = Look { state, now, known, last, ahead: Ahead::new(state, now) };
    let (mut wanted, mut ending, groups) = (Vec::new(), BTreeSet::new(), groups(state));
    for group in &groups {
        let names: Vec<_> = group.names.iter().map(|name| look.standing(group, name)).collect();
        let best = names.iter().filter_map(|name| name.best).filter(|best| is_ending(best, known, now));
        ending.extend(best.map(|best| (best.not_after, best.id)));
        let ends = names.iter().map(|name| name.best.map_or(Time(0), |best| best.not_after)).min().unwrap_or_default();
        wanted.push((ends, group, names));
    }
    // Who has nothing yet comes first, then who runs out first: also in what issuers take.
    wanted.sort_by_key(|(ends, group, _)| (*ends, group.purpose));
    let items: Vec<Item> = wanted.into_iter().map(|(_, group, names)| look.at(group, &names)).collect();
    let next = items.iter().filter_map(|item| match &item.step {
        Step::Good { renew: at } | Step::Wait { until: at, .. } | Step::Blocked { again: at, .. } => Some(*at),
        Step::Check { .. } | Step::Order(_) | Step::UnderWay { .. } => None,
    });
    Plan { next: next.min(), items, ending: ending.into_iter().map(|(_, id)| id).collect() }
}

/// When a certificate is due: at once where somebody else may have its key; when its issuer says, else with a third of its lifetime left, each a little earlier than that so that
/// those made together do not come together.
pub(crate) fn due(certificate: &Certificate, known: &Known) -> Time {
    if certificate.suspect {
        return Time(0);
    }
    let lifetime = certificate.not_after.0.saturating_sub(certificate.not_before.0);
    if let Some(window) = known.windows.get(&certificate.id) {
        // An issuer that says a day after its end is mistaken.
        return window.renew.min(Time(certificate.not_after.0.saturating_sub(lifetime / 10)));
    }
    let left = lifetime / RENEW_SHARE;
    let spread = (lifetime / 30).saturating_mul(certificate.id.0 % 64) / 64;
    Time(certificate.not_after.0.saturating_sub(left + spread))
}

/// Whether it ends soon and its successor should be here by now.
fn is_ending(certificate: &Certificate, known: &Known, now: Time) -> bool {
    let (left, share) = WARN_LEFT;
    let lifetime = certificate.not_after.distance(certificate.not_before);
    let soon = now.plus(left.min(lifetime / share)) >= certificate.not_after;
    soon && due(certificate, known).plus(lifetime / WARN_GRACE_SHARE) <= now
}

struct Look<'a> {
    state: &'a State,
    now: Time,
    known: &'a Known,
    /// The last order of each purpose at each issuer.
    last: BTreeMap<(Purpose, &'a IssuerName), &'a Arc<Order>>,
    /// What issuers will have taken.
    ahead: Ahead,
}

/// An order, and the first moment at which its issuer takes it.
struct Planned {
    intent: Intent,
    at: Time,
    reason: Option<String>,
}

impl Planned {
    fn step(&self, now: Time) -> Step {
        match &self.reason {
            Some(reason) if self.at > now => Step::Wait { until: self.at, reason: reason.clone() },
            _ => Step::Order(self.intent.clone().into()),
        }
    }
}

/// How one name of a group stands.
struct Standing<'a> {
    name: &'a String,
    best: Option<&'a Arc<Certificate>>,
    /// Whether an order is to have it.
    open: bool,
    /// Whether an order is made because of it.
    lacking: bool,
}

impl<'a> Look<'a> {
    /// What becomes of a group.
    fn at(&mut self, group: &Group, names: &[Standing<'_>]) -> Item {
        let item = |issuer: Option<&IssuerName>, step| {
            let (names, issuer) = (Arc::clone(&group.names), issuer.cloned());
            Item { purpose: group.purpose, names, issuer, step }
        };
        let open_order = self.state.open_orders().find(|order| order.purpose == group.purpose);
        if let Some(order) = open_order {
            let by = |challenge: &Challenge| format!("{} by {}", challenge.name, challenge.method.name());
            return item(Some(&order.issuer), Step::UnderWay { how: order.challenges().iter().map(by).collect() });
        }
        if !names.iter().any(|name| name.lacking) {
            let renew = names.iter().filter_map(|name| name.best).map(|best| due(best, self.known)).min();
            let issuer = names.iter().find_map(|name| name.best).map(|best| &best.issuer);
            return item(issuer, Step::Good { renew: renew.unwrap_or(Time(u64::MAX)) });
        }
        if self.known.busy.contains_key(&group.purpose) {
            return item(None, Step::UnderWay { how: Vec::new() });
        }
        // The first issuer that can do something now; else the one that can soonest.
        let mut best: Option<(&IssuerName, Step, Option<Planned>)> = None;
        for issuer in &group.issuers {
            let (step, planned) = match self.ask(group, names, issuer) {
                Ok(planned) => (planned.step(self.now), Some(planned)),
                Err(step) => (step, None),
            };
            let rank = |step: &Step| match step {
                Step::Order(_) | Step::Check { .. } | Step::UnderWay { .. } => Time(0),
                Step::Wait { until, .. } => *until,
                Step::Blocked { again, .. } => *again,
                Step::Good { .. } => Time(u64::MAX),
            };
            if best.as_ref().is_none_or(|(_, before, _)| rank(&step) < rank(before)) {
                best = Some((issuer, step, planned));
            }
        }
        let Some((issuer, step, planned)) = best else { return item(None, Step::Good { renew: Time(u64::MAX) }) };
        if let Some(Planned { intent, at, .. }) = planned {
            self.ahead.plan(&Spending { issuer, names: &intent.names, domains: &intent.domains }, at);
        }
        item(Some(issuer), step)
    }

    fn standing<'n>(&self, group: &Group, name: &'n String) -> Standing<'n>
    where
        'a: 'n,
    {
        // Of an issuer that was not asked for, such as one that nobody trusts, a name has nothing.
        let fits = |held: &&Arc<Certificate>| held.issuer.as_str() == IMPORTED || group.issuers.contains(&held.issuer);
        let best = self
            .state
            .obtained_for(name)
            .filter(fits)
            .max_by_key(|held| (!held.suspect, held.not_after, held.revision));
        let wanted = self.known.wanted.contains(&group.purpose);
        let lacking = best.is_none_or(|best| due(best, self.known) <= self.now) || wanted;
        // What somebody else's certificate covers well is left to that one.
        let foreign = best.is_some_and(|best| !best.names.iter().all(|other| group.names.contains(other)));
        Standing { name, best, open: lacking || !foreign, lacking }
    }

    /// What could be asked of this issuer for a group that lacks something, and when; or what keeps it from that.
    fn ask(&self, group: &Group, names: &[Standing<'_>], issuer: &IssuerName) -> Result<Planned, Step> {
        if let Some(trouble) = self.known.troubles.get(issuer).filter(|trouble| trouble.stands(self.now)) {
            return Err(Step::Wait { until: trouble.until, reason: trouble.reason.clone() });
        }
        let last = self.last.get(&(group.purpose, issuer));
        if let Some(Stage::Failed(failed)) = last.map(|order| &order.stage)
            && stands(failed.retry, self.now)
        {
            let reason = format!("{}. {}", failed.reason, failed.remedy).trim_end().to_owned();
            return Err(Step::Wait { until: failed.retry, reason });
        }
        let open = || names.iter().filter(|name| name.open);
        let check = |name: &str| self.known.checks.get(&(name.to_owned(), issuer.clone()));
        let stale = open().filter(|name| check(name.name).is_none_or(|check| check.is_stale(self.now)));
        let stale: Vec<&String> = stale.map(|name| name.name).collect();
        let to_check = || match stale.len() == group.names.len() {
            true => Arc::clone(&group.names),
            false => stale.iter().map(|name| (*name).clone()).collect(),
        };
        // What was in order is looked at again when the issuer takes it.
        if stale.iter().any(|name| check(name).is_none_or(|check| check.found.is_err())) {
            return Err(Step::Check { names: to_check() });
        }
        let way = |name: &&Standing<'_>| check(name.name).is_some_and(|check| check.found.is_ok());
        if !open().filter(|name| name.lacking).any(|name| way(&name)) {
            let bad = open().filter_map(|name| check(name.name)).filter(|check| check.found.is_err());
            let first = bad.min_by_key(|check| check.again);
            let again = first.map_or(self.now, |check| check.again);
            let reason = first.and_then(|check| check.found.as_ref().err()).cloned().unwrap_or_default();
            return Err(Step::Blocked { again, reason });
        }
        let left_out = open().filter_map(|name| {
            let reason = check(name.name)?.found.as_ref().err()?;
            Some((name.name.clone(), reason.clone()))
        });
        let taken: Vec<&Standing<'_>> = open().filter(way).take(ORDER_NAMES_MAX).collect();
        // Only the same names again at the same issuer are a renewal to it.
        let again = taken.iter().filter_map(|name| name.best).any(|best| {
            let same = best.names.len() == taken.len() && taken.iter().all(|name| best.names.contains(name.name));
            same && best.issuer == *issuer
        });
        let fresh = taken.iter().filter(|_| !again).filter_map(|name| check(name.name));
        let domains: BTreeSet<String> = fresh.map(|check| check.domain.clone()).collect();
        let attempt = match last.map(|order| (&order.stage, order.attempt)) {
            Some((Stage::Failed(_), attempt)) => attempt.saturating_add(1),
            _ => 0,
        };
        let how = taken.iter().filter_map(|name| {
            let way = check(name.name)?.found.as_ref().ok()?;
            Some(format!("{} by {}: {}", name.name, way.method(attempt, |_| true)?.name(), way.why))
        });
        let intent = Intent {
            how: how.collect(),
            names: taken.iter().map(|name| name.name.clone()).collect(),
            domains: domains.into_iter().collect(),
            replaces: self.replaced(&taken, issuer),
            left_out: left_out.collect(),
        };
        let spending = Spending { issuer, names: &intent.names, domains: &intent.domains };
        let (at, spent) = self.ahead.first(&spending);
        if at <= self.now && !stale.is_empty() {
            return Err(Step::Check { names: to_check() });
        }
        Ok(Planned { intent, at, reason: spent.map(|spent| spent.reason) })
    }

    /// The certificate of this issuer that an order takes the place of.
    fn replaced(&self, names: &[&Standing<'_>], issuer: &IssuerName) -> Option<CertificateId> {
        let own = names.iter().filter_map(|name| name.best).filter(|best| best.issuer == *issuer);
        let due = own.filter(|best| due(best, self.known) <= self.now);
        due.max_by_key(|best| best.not_after).map(|best| best.id)
    }
}

impl Check {
    fn is_stale(&self, now: Time) -> bool {
        match &self.found {
            Ok(_) => self.at.plus(CHECK_GOOD) <= now || self.at > now,
            Err(_) => self.again <= now || self.at > now,
        }
    }
}
