//! Somebody who is logged in: what the newest snapshot still grants them, asked before each operation, and where it takes place: here,
//! or at the home of the site. A site that moves is followed by the next operation.
use std::sync::Arc;
use std::time::Instant;

use crate::base::ids::NodeId;
use crate::base::limits::{FTP_FROZEN_LOOK, FTP_FROZEN_WAIT, FTP_NAMES_AT_ONCE};
use crate::files::gate::Permit;
use crate::files::jail::JailError;
use crate::files::listing::Entry;
use crate::files::write::{Upload, WriteError, Writer};
use crate::ftp::Plane;
use crate::ftp::asks::{Ask, Asked, Said, Start, Who, perform};
use crate::ftp::flows::{Names, Sink, Source, no, opened};
use crate::ftp::link::{Link, LinkError};
use crate::ftp::reply::Reply;
use crate::ftp::stores::Held;
use crate::model::ftp_users::FtpUser;
use crate::model::sites::quota;
use crate::model::state::{Snapshot, State};

/// Why somebody may not, or no longer, see a site's files: for good, as far as this session goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied(&'static str);

impl Denied {
    /// To a command of a session; 421 ends it.
    pub(crate) fn reply(self) -> Reply {
        Reply::new(421, format!("Goodbye: {}", self.0))
    }

    /// To a login.
    pub(crate) fn login_reply(self) -> Reply {
        Reply::new(530, format!("Not logged in: {}", self.0))
    }
}

/// The code of what a moment may change.
pub(crate) const LATER: u16 = 450;

fn moving() -> Reply {
    Reply::new(LATER, "The site's files are on their way to another node; try again in a moment")
}

/// What a user may see at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) home: NodeId,
    pub(crate) epoch: u64,
    /// Of the site.
    pub(crate) quota: Option<u64>,
    /// Of the login and its site, whichever is newer.
    pub(crate) revision: u64,
}

/// What this user may see, and where.
pub(crate) fn standing(state: &State, user: &FtpUser) -> Result<Standing, Denied> {
    if user.disabled {
        return Err(Denied("this login is disabled"));
    }
    let site = state.sites.get(&user.site).ok_or(Denied("the site is gone"))?;
    let account = site.account.as_ref().and_then(|account| state.accounts.get(account));
    if site.suspended || account.is_some_and(|account| account.suspended) {
        return Err(Denied("the site is suspended"));
    }
    if !site.has_files() {
        return Err(Denied("the site is not served from files"));
    }
    let revision = site.revision.max(user.revision);
    Ok(Standing { home: site.home, epoch: site.epoch, quota: quota(state, site), revision })
}

/// The user as they were at the login, if they still are.
pub(crate) fn unchanged<'s>(state: &'s State, who: &Who) -> Result<&'s FtpUser, Denied> {
    let known = state.ftp_users.get(&who.login).filter(|user| Who::of(user) == *who);
    known.map(Arc::as_ref).ok_or(Denied("this login was changed"))
}

/// Where the files of a session are.
#[derive(Debug)]
enum Place {
    Here { held: Held, epoch: u64 },
    There { home: NodeId, epoch: u64, link: Option<Link> },
}

impl Place {
    fn is_of(&self, standing: Standing, here: NodeId) -> bool {
        match self {
            Self::Here { epoch, .. } => (here, *epoch) == (standing.home, standing.epoch),
            Self::There { home, epoch, .. } => (*home, *epoch) == (standing.home, standing.epoch),
        }
    }
}

/// Where an operation takes place.
enum Ground {
    Here { writer: Writer, permit: Option<Permit> },
    There { said: Said, link: Link },
}

#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) who: Who,
    pub(crate) allow_plain: bool,
    place: Option<Place>,
    /// The generation of the snapshot that was looked at last, and what it grants.
    granted: (u64, Standing),
    /// Whether another node asks for them: it is not sent on.
    carried: bool,
}

impl Guest {
    pub(crate) fn new(user: &FtpUser, generation: u64, standing: Standing, carried: bool) -> Self {
        let (who, allow_plain) = (Who::of(user), user.allow_plain);
        Self { who, allow_plain, place: None, granted: (generation, standing), carried }
    }

    /// What the newest snapshot grants; a changed quota holds from here on.
    pub(crate) fn standing(&mut self, plane: &Plane) -> Result<Standing, Reply> {
        let newest = plane.snapshot();
        if newest.generation != self.granted.0 {
            let standing = self.look_again(&newest).map_err(Denied::reply)?;
            self.granted = (newest.generation, standing);
        }
        Ok(self.granted.1)
    }

    fn look_again(&self, newest: &Snapshot) -> Result<Standing, Denied> {
        let user = unchanged(newest, &self.who)?;
        let standing = standing(newest, user)?;
        if let Some(Place::Here { held, .. }) = &self.place {
            held.writer.usage().set_quota(standing.quota);
            if let Some(own) = &held.own {
                own.set_quota(user.quota);
            }
        }
        Ok(standing)
    }

    /// The files, if they are here and nothing has to be waited for.
    pub(crate) fn at_once(&mut self, plane: &Plane) -> Result<Option<&Writer>, Reply> {
        let standing = self.standing(plane)?;
        Ok(match &self.place {
            Some(place @ Place::Here { held, .. }) if place.is_of(standing, plane.node) => Some(&held.writer),
            _ => None,
        })
    }

    /// Begins a file without waiting for the disk, if that can be.
    pub(crate) fn store_at_once(&mut self, plane: &Plane, path: &str) -> Result<Option<Sink>, Reply> {
        let (site, epoch) = (self.who.site, self.granted.1.epoch);
        let Some(writer) = self.at_once(plane)? else { return Ok(None) };
        let Ok(permit) = plane.gates.enter(site, epoch) else { return Ok(None) };
        Ok(writer.upload_at_once(path)?.map(|upload| Sink::here(upload, permit)))
    }

    /// Takes hold of the files where they are; a home elsewhere is called when something is asked of it.
    pub(crate) async fn settle(&mut self, plane: &Plane) -> Result<(), Reply> {
        let standing = self.standing(plane)?;
        if self.place.as_ref().is_some_and(|place| place.is_of(standing, plane.node)) {
            return Ok(());
        }
        let Standing { home, epoch, quota, revision } = standing;
        // The old hold first: while somebody has it, what it counted is not counted anew.
        self.place = None;
        self.place = Some(if home == plane.node {
            plane.catches_up(revision).await;
            Place::Here { held: self.held(plane, epoch, quota).await?, epoch }
        } else if self.carried {
            return Err(moving());
        } else {
            Place::There { home, epoch, link: None }
        });
        Ok(())
    }

    async fn held(&self, plane: &Plane, epoch: u64, quota: Option<u64>) -> Result<Held, Reply> {
        let permit = plane.gates.enter(self.who.site, epoch)?;
        let user = FtpUser::clone(unchanged(&plane.snapshot(), &self.who).map_err(Denied::reply)?);
        let (stores, dirs) = (Arc::clone(&plane.stores), Arc::clone(&plane.dirs));
        let opened = plane.work(move || {
            // A node without web servers has nobody else who makes it.
            dirs.make(user.site).map_err(|error| error.to_string())?;
            stores.open(&dirs, &permit, &user, quota).map_err(|error: WriteError| error.to_string())
        });
        opened.await?.map_err(|error| Reply::failed(451, error))
    }

    /// Begins an operation. What a moment may change (the files are being taken over, the home starts again) is tried for a while.
    async fn begin(&mut self, plane: &Plane, ask: &Ask) -> Result<Ground, Reply> {
        let begun = Instant::now();
        loop {
            let refused = match self.try_to_begin(plane, ask).await {
                Ok(ground) => return Ok(ground),
                Err(refused) => refused,
            };
            let gone = self.carried && self.granted.1.home != plane.node;
            if refused.code != LATER || gone || begun.elapsed() >= FTP_FROZEN_WAIT {
                return Err(refused);
            }
            tokio::time::sleep(FTP_FROZEN_LOOK).await;
        }
    }

    /// Here with a permit if it needs one, or elsewhere with the first that is said to it.
    async fn try_to_begin(&mut self, plane: &Plane, ask: &Ask) -> Result<Ground, Reply> {
        self.settle(plane).await?;
        match self.place.as_mut().ok_or_else(moving)? {
            Place::Here { held, epoch } => {
                let (writer, epoch) = (held.writer.clone(), *epoch);
                let permit = ask.changes().then(|| plane.gates.enter(self.who.site, epoch)).transpose()?;
                Ok(Ground::Here { writer, permit })
            }
            Place::There { home, epoch, link } => {
                let (who, revision) = (self.who.clone(), self.granted.1.revision);
                let asked = Asked { who, epoch: *epoch, revision, ask: ask.clone() };
                match carried(plane, *home, link.take(), &asked).await? {
                    (Said::Moved(at), _) => {
                        plane.catches_up(at).await;
                        Err(moving())
                    }
                    (Said::Refused { code, text }, link) => {
                        self.lay_back(link);
                        Err(Reply::new(code, text))
                    }
                    (said, link) => Ok(Ground::There { said, link }),
                }
            }
        }
    }

    /// Keeps a link for the next operation.
    pub(crate) fn lay_back(&mut self, whole: impl Into<Option<Link>>) {
        if let (Some(Place::There { home, link, .. }), Some(whole)) = (&mut self.place, whole.into())
            && whole.home() == *home
        {
            *link = Some(whole);
        }
    }

    /// An operation of one step.
    pub(crate) async fn ask(&mut self, plane: &Plane, ask: Ask) -> Result<Said, Reply> {
        match self.begin(plane, &ask).await? {
            Ground::Here { writer, permit, .. } => plane.work(move || perform(&writer, permit.as_ref(), ask)).await?,
            Ground::There { said, link } => {
                self.lay_back(link);
                Ok(said)
            }
        }
    }

    pub(crate) async fn entry(&mut self, plane: &Plane, path: &str) -> Result<Entry, Reply> {
        match self.ask(plane, Ask::Entry(path.to_owned())).await? {
            Said::Entry(entry) => Ok(entry),
            said => Err(no(said)),
        }
    }

    /// A file from an offset on: how long it is, and its first piece.
    pub(crate) async fn read(
        &mut self,
        plane: &Plane,
        path: String,
        offset: u64,
    ) -> Result<(Source, u64, Vec<u8>), Reply> {
        match self.begin(plane, &Ask::Read { path: path.clone(), offset }).await? {
            Ground::Here { writer, .. } => {
                let (file, length, first) = plane.work(move || opened(writer.jail().look(&path)?, offset)).await??;
                Ok((Source::Here(file), length, first))
            }
            Ground::There { said: Said::File(length), link } => {
                let (source, first) = Source::There(link).next(plane).await?;
                Ok((source, length, first))
            }
            Ground::There { said, .. } => Err(no(said)),
        }
    }

    /// The first names in a directory, and where the next come from.
    pub(crate) async fn list(&mut self, plane: &Plane, path: String) -> Result<(Names, Vec<Entry>), Reply> {
        match self.begin(plane, &Ask::List(path.clone())).await? {
            Ground::Here { writer, .. } => {
                let begun = plane.work(move || {
                    let mut listing = writer.jail().list(&path)?;
                    Ok::<_, JailError>((listing.next(FTP_NAMES_AT_ONCE)?, listing))
                });
                let (entries, listing) = begun.await??;
                Ok((Names::Here(listing), entries))
            }
            Ground::There { said: Said::Names(entries), link } => Ok((Names::There(link), entries)),
            Ground::There { said, .. } => Err(no(said)),
        }
    }

    pub(crate) async fn store(&mut self, plane: &Plane, path: String, start: Start) -> Result<Sink, Reply> {
        match self.begin(plane, &Ask::Store { path: path.clone(), start }).await? {
            Ground::Here { writer, permit } => {
                let permit = permit.ok_or_else(moving)?;
                Ok(Sink::here(plane.work(move || begun(&writer, &path, start)).await??, permit))
            }
            Ground::There { said: Said::Done, link } => Ok(Sink::There(link)),
            Ground::There { said, .. } => Err(no(said)),
        }
    }
}

fn begun(writer: &Writer, path: &str, start: Start) -> Result<Upload, WriteError> {
    match start {
        Start::Anew => writer.upload(path),
        Start::At(offset) => writer.resume(path, Some(offset)),
        Start::AtEnd => writer.resume(path, None),
    }
}

/// Asks a home elsewhere; a link that broke since it was used last is made anew where that can do no harm.
async fn carried(plane: &Plane, home: NodeId, kept: Option<Link>, asked: &Asked) -> Result<(Said, Link), LinkError> {
    if let Some(mut link) = kept.filter(Link::is_fit) {
        match link.ask(asked).await {
            Err(LinkError::Broken(_)) if asked.ask.is_repeatable() => {}
            said => return Ok((said?, link)),
        }
    }
    let mut link = Link::open(&plane.peers, home).await?;
    Ok((link.ask(asked).await?, link))
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
    use crate::model::sites::{Handler, Site, Www};

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
            chosen: None,
            epoch: 7,
            standbys: Vec::new(),
            failover: Default::default(),
            unconfirmed: None,
            wanted: 0,
            stationed: Vec::new(),
            issuer: None,
            certificate: None,
            quota,
            suspended: false,
            maintenance: false,
            options: Default::default(),
            moving: None,
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
        let look = |site: Site| standing(&state(site), &user());
        let granted = Standing { home: HERE, epoch: 7, quota: Some(5), revision: 1 };
        assert_eq!(look(site(1, Some(5))), Ok(granted));
        assert_eq!(look(site(1, None)), Ok(Standing { quota: Some(70), ..granted }));
        let there = Standing { home: NodeId(2), quota: Some(70), ..granted };
        assert_eq!(look(Site { home: NodeId(2), ..site(1, None) }), Ok(there));
        let to = "https://b.example".into();
        for denied in [
            Site { suspended: true, ..site(1, None) },
            Site { handler: Handler::Redirect { to, status: 308 }, ..site(1, None) },
            site(3, None),
        ] {
            assert!(look(denied).is_err());
        }
        let mut suspended = state(site(1, None));
        let account = suspended.accounts.get_mut(&AccountName::parse("ada").unwrap()).unwrap();
        Arc::make_mut(account).suspended = true;
        assert!(standing(&suspended, &user()).is_err());
        let disabled = FtpUser { disabled: true, ..user() };
        assert!(standing(&state(site(1, None)), &disabled).is_err());
    }
}
