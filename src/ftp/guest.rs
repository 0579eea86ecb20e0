//! Somebody who is logged in: what the newest snapshot still grants them, asked before each operation. Decides from snapshots alone.
use crate::base::ids::NodeId;
use crate::files::gate::Permit;
use crate::ftp::Plane;
use crate::ftp::keeper::epoch_here;
use crate::ftp::reply::Reply;
use crate::ftp::stores::Held;
use crate::model::ftp_users::FtpUser;
use crate::model::sites::{Handler, Site};
use crate::model::state::{Snapshot, State};

/// Why somebody may not, or no longer, see a site's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// For good, as far as this session goes.
    Ended(&'static str),
    /// The files are on another node.
    Elsewhere,
}

impl Denied {
    /// To a command of a session; 421 ends it.
    pub(crate) fn reply(self) -> Reply {
        match self {
            Self::Ended(why) => Reply::new(421, format!("Goodbye: {why}")),
            Self::Elsewhere => Reply::new(450, ELSEWHERE),
        }
    }

    /// To a login.
    pub(crate) fn login_reply(self) -> Reply {
        match self {
            Self::Ended(why) => Reply::new(530, format!("Not logged in: {why}")),
            Self::Elsewhere => Reply::new(421, ELSEWHERE),
        }
    }
}

const ELSEWHERE: &str = "The site's files are on another node; connect to that one";

/// What a user may see at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) epoch: u64,
    /// Of the site.
    pub(crate) quota: Option<u64>,
}

/// What this user may see on this node.
pub(crate) fn standing(state: &State, user: &FtpUser, here: NodeId) -> Result<Standing, Denied> {
    if user.disabled {
        return Err(Denied::Ended("this login is disabled"));
    }
    let site = state.sites.get(&user.site).ok_or(Denied::Ended("the site is gone"))?;
    let account = site.account.as_ref().and_then(|account| state.accounts.get(account));
    if site.suspended || account.is_some_and(|account| account.suspended) {
        return Err(Denied::Ended("the site is suspended"));
    }
    if !matches!(site.handler, Handler::Static | Handler::Php { .. }) {
        return Err(Denied::Ended("the site is not served from files"));
    }
    let epoch = epoch_here(site, here).ok_or(Denied::Elsewhere)?;
    Ok(Standing { epoch, quota: quota(state, site) })
}

/// The site's own quota, or what its account's plan leaves beside those of its other sites.
fn quota(state: &State, site: &Site) -> Option<u64> {
    let of_account = || {
        let account = site.account.as_ref()?;
        let plan = state.accounts.get(account)?.plan.as_ref()?;
        let disk = state.plans.get(plan)?.limits.disk?;
        let others = state.sites_of(account).filter(|other| other.id != site.id).filter_map(|other| other.quota);
        Some(disk.saturating_sub(others.fold(0, u64::saturating_add)))
    };
    site.quota.or_else(of_account)
}

#[derive(Debug)]
pub(crate) struct Guest {
    /// As it was at the login.
    pub(crate) user: FtpUser,
    pub(crate) held: Held,
    /// The generation of the snapshot that was looked at last, and what it grants.
    pub(crate) granted: (u64, Standing),
}

impl Guest {
    /// What the newest snapshot grants; a changed quota holds from here on.
    pub(crate) fn standing(&mut self, plane: &Plane) -> Result<Standing, Denied> {
        let newest = plane.snapshot();
        if newest.generation != self.granted.0 {
            let standing = self.look_again(&newest, plane.node)?;
            self.granted = (newest.generation, standing);
        }
        Ok(self.granted.1)
    }

    fn look_again(&self, newest: &Snapshot, here: NodeId) -> Result<Standing, Denied> {
        let gone = Denied::Ended("this login was changed");
        let user = newest.ftp_users.get(&self.user.login).ok_or(gone)?;
        if user.site != self.user.site || user.dir != self.user.dir || user.created != self.user.created {
            return Err(gone);
        }
        let standing = standing(newest, user, here)?;
        self.held.writer.usage().set_quota(standing.quota);
        if let Some(own) = &self.held.own {
            own.set_quota(user.quota);
        }
        Ok(standing)
    }

    /// The right to write, for one operation.
    pub(crate) fn permit(&mut self, plane: &Plane) -> Result<Permit, Reply> {
        let standing = self.standing(plane).map_err(Denied::reply)?;
        Ok(plane.gates.enter(self.user.site, standing.epoch)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::clock::Time;
    use crate::base::ids::SiteId;
    use crate::base::names::{AccountName, Host, Login, PlanName};
    use crate::model::accounts::Account;
    use crate::model::plans::{Limits, Plan};
    use crate::model::sites::Www;

    const HERE: NodeId = NodeId(1);

    fn site(id: u64, quota: Option<u64>) -> Site {
        Site {
            id: SiteId(id),
            host: Host::parse(&format!("s{id}.example")).unwrap(),
            aliases: Vec::new(),
            www: Www::Off,
            handler: Handler::Static,
            account: Some(AccountName::parse("ada").unwrap()),
            home: HERE,
            epoch: 7,
            standbys: Vec::new(),
            issuer: None,
            certificate: None,
            quota,
            suspended: false,
            maintenance: false,
            options: Default::default(),
            created: Time(0),
            revision: 1,
        }
    }

    fn user() -> FtpUser {
        FtpUser {
            login: Login::parse("web").unwrap(),
            site: SiteId(1),
            dir: String::new(),
            quota: None,
            password: String::new(),
            disabled: false,
            allow_plain: false,
            created: Time(0),
            revision: 1,
        }
    }

    fn state(site: Site) -> State {
        use crate::model::effect::Stored;
        use crate::model::row::Row;
        let mut state = State::default();
        let plan = PlanName::parse("small").unwrap();
        let limits = Limits { disk: Some(100), ..Limits::default() };
        state.plans.insert(plan.clone(), Arc::new(Plan { name: plan.clone(), limits, revision: 1 }));
        let name = AccountName::parse("ada").unwrap();
        let account = Account {
            name: name.clone(),
            plan: Some(plan),
            contact: None,
            suspended: false,
            created: Time(0),
            revision: 1,
        };
        state.accounts.insert(name, Arc::new(account));
        state.put(&Stored::new(Row::Site(Arc::new(site))));
        state.put(&Stored::new(Row::Site(Arc::new(self::site(2, Some(30))))));
        state
    }

    #[test]
    fn what_a_user_may_see_follows_the_state() {
        let look = |site: Site| standing(&state(site), &user(), HERE);
        assert_eq!(look(site(1, Some(5))), Ok(Standing { epoch: 7, quota: Some(5) }));
        assert_eq!(look(site(1, None)), Ok(Standing { epoch: 7, quota: Some(70) }));
        assert_eq!(look(Site { home: NodeId(2), ..site(1, None) }), Err(Denied::Elsewhere));
        let to = "https://b.example".into();
        for denied in [
            Site { suspended: true, ..site(1, None) },
            Site { handler: Handler::Redirect { to, status: 308 }, ..site(1, None) },
            site(3, None),
        ] {
            assert!(matches!(look(denied), Err(Denied::Ended(_))));
        }
        let mut suspended = state(site(1, None));
        let account = suspended.accounts.get_mut(&AccountName::parse("ada").unwrap()).unwrap();
        Arc::make_mut(account).suspended = true;
        assert!(matches!(standing(&suspended, &user(), HERE), Err(Denied::Ended(_))));
        let disabled = FtpUser { disabled: true, ..user() };
        assert!(matches!(standing(&state(site(1, None)), &disabled, HERE), Err(Denied::Ended(_))));
    }
}
