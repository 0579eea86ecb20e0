//! `/v1/sites`: hosts, and what answers for them. A host in a path or a body may be typed in Unicode.
use std::sync::Arc;

use axum::response::Response;

use crate::admin::ask::{Ask, AskWith};
use crate::admin::certificates;
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::moves;
use crate::admin::nodes;
use crate::admin::options;
use crate::admin::resource::{Resource, View, path};
use crate::api::moves::Moving;
use crate::api::page::{Page, PageQuery};
use crate::api::sites as api;
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::base::limits::MINT_RACES_MAX;
use crate::base::limits::moves::PLACE_RACES_MAX;
use crate::base::names::{AccountName, Host, IssuerName};
use crate::model::answer::Object;
use crate::model::certificates::{MINTED, Minted};
use crate::model::change::Change;
use crate::model::moves::Stage;
use crate::model::placement::Wish;
use crate::model::refusal::Kind;
use crate::model::sites::{Handler, Site, SiteCreate, SiteRemove, SiteSet, Www, hosts_of};
use crate::model::standbys::Failover;
use crate::model::state::{Snapshot, State};

impl Resource for Arc<Site> {
    type View = api::Site;

    fn of(object: Object) -> Option<Self> {
        if let Object::Site(site) = object { Some(site) } else { None }
    }

    fn view(&self, cx: &View<'_>) -> api::Site {
        let root = cx.data_dir.join("sites").join(self.id.to_string()).join("public");
        api::Site {
            id: self.id.to_string(),
            host: self.host.to_string(),
            host_unicode: self.host.to_unicode(),
            aliases: self.aliases.iter().map(Host::to_string).collect(),
            www: shown_www(self.www),
            handler: shown_handler(&self.handler),
            account: self.account.as_ref().map(AccountName::to_string),
            node: nodes::name(cx.snapshot, self.home),
            chosen: self.chosen.clone().filter(|_| !cx.limited),
            epoch: self.epoch,
            standbys: self.standbys.iter().map(|id| nodes::name(cx.snapshot, *id)).collect(),
            failover: match self.failover {
                Failover::Automatic => api::Failover::Automatic,
                Failover::Manual => api::Failover::Manual,
            },
            standbys_wanted: self.wanted,
            issuer: self.issuer.as_ref().map(IssuerName::to_string),
            certificate: self.certificate.map(|id| id.to_string()),
            quota: self.quota,
            suspended: self.suspended,
            maintenance: self.maintenance,
            options: options::shown(&self.options),
            status: status(cx.snapshot, self),
            moving: self.moving.as_ref().map(|moving| Moving {
                to: nodes::name(cx.snapshot, moving.to),
                operation: moving.operation.to_string(),
                waits: moving.stage == Stage::Held,
            }),
            root: self.has_files().then(|| root.display().to_string()),
            created: self.created.to_string(),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["sites", self.host.as_str()])
    }
}

fn status(state: &State, site: &Site) -> api::SiteStatus {
    let account = site.account.as_ref().and_then(|account| state.accounts.get(account));
    if account.is_some_and(|account| account.suspended) {
        api::SiteStatus::AccountSuspended
    } else if site.suspended {
        api::SiteStatus::Suspended
    } else if site.maintenance {
        api::SiteStatus::Maintenance
    } else {
        api::SiteStatus::Active
    }
}

fn shown_www(www: Www) -> api::Www {
    match www {
        Www::Off => api::Www::Off,
        Www::Serve => api::Www::Serve,
        Www::Redirect => api::Www::Redirect,
    }
}

fn www(www: api::Www) -> Www {
    match www {
        api::Www::Off => Www::Off,
        api::Www::Serve => Www::Serve,
        api::Www::Redirect => Www::Redirect,
    }
}

fn failover(failover: api::Failover) -> Failover {
    match failover {
        api::Failover::Automatic => Failover::Automatic,
        api::Failover::Manual => Failover::Manual,
    }
}

fn shown_handler(handler: &Handler) -> api::Handler {
    match handler.clone() {
        Handler::Static => api::Handler::Static {},
        Handler::Php { version } => api::Handler::Php { version },
        Handler::Proxy { upstreams } => api::Handler::Proxy { upstreams },
        Handler::Redirect { to, status } => api::Handler::Redirect { to, status },
    }
}

fn handler(handler: api::Handler) -> Handler {
    match handler {
        api::Handler::Static {} => Handler::Static,
        api::Handler::Php { version } => Handler::Php { version },
        api::Handler::Proxy { upstreams } => Handler::Proxy { upstreams },
        api::Handler::Redirect { to, status } => Handler::Redirect { to, status },
    }
}

/// The revision of the site that has this host.
fn current(state: &State, host: &Host) -> Option<u64> {
    state.site(host).ok().map(|site| site.revision)
}

/// Lists the sites by their main host.
#[utoipa::path(get, path = "/v1/sites", tag = "sites", params(PageQuery), responses((status = 200, body = Page<api::Site>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    let hosts = look.snapshot.hosts.range(look.range::<Host>()?);
    let main = hosts.filter_map(|(host, id)| look.snapshot.sites.get(id).filter(|site| site.host == *host));
    let sites = main.filter(|site| look.wants(site.account.as_ref()));
    Ok(look.page(sites, |site| site.host.to_string(), |site| site.view(&look.view())))
}

/// Creates a site. Its home is the node that it fits best, unless one is named.
#[utoipa::path(post, path = "/v1/sites", tag = "sites", params(WriteQuery), request_body = api::SiteCreate,
    responses((status = 201, body = Written<api::Site>)))]
pub(crate) async fn create(AskWith(ask, body): AskWith<api::SiteCreate>) -> Result<Response, Failure> {
    let node = |name: &str| nodes::named(&ask.snapshot, "node", name).map(|node| node.id);
    let mut create = SiteCreate {
        host: fields::name("host", &body.host)?,
        aliases: fields::list("aliases", &body.aliases)?,
        www: www(body.www),
        handler: handler(body.handler),
        account: fields::optional("account", body.account.as_deref())?,
        node: body.node.as_deref().map(node).transpose()?,
        chosen: None,
        standbys: nodes::ids(&ask.snapshot, "standbys", &body.standbys)?,
        failover: failover(body.failover),
        wanted: body.standbys_wanted,
        issuer: fields::optional("issuer", body.issuer.as_deref())?,
        quota: body.quota,
        options: options::asked(&ask.desk, body.options).await?,
        certificate: None,
    };
    create.certificate = mint(&ask, &ask.snapshot, hosts_of(&create.host, create.www, &create.aliases)).await?;
    let is_placed = create.node.is_none();
    for _ in 0..PLACE_RACES_MAX {
        // An answer that is there already needs no place.
        if is_placed && ask.snapshot.remembered(&ask.request_id).is_none() {
            let wish = Wish { bytes: 0, except: &create.standbys, apart: &create.standbys };
            let placed = moves::best(&ask.desk, wish).await.map_err(moves::nowhere("node"))?;
            (create.node, create.chosen) = (Some(placed.node), Some(placed.reason));
        }
        match ask.create::<Arc<Site>>(Change::SiteCreate(create.clone().into())).await {
            // Cordoned, or down, since it was chosen.
            Err(failure) if is_placed && failure.is_about("node") => {}
            done => return done,
        }
    }
    Err(Failure::busy("the node that the site fits best changes all the time"))
}

/// Shows the site that has a host, as its main name or as an alias.
#[utoipa::path(get, path = "/v1/sites/{host}", tag = "sites", params(("host" = String, Path), ReadQuery),
    responses((status = 200, body = api::Site)))]
pub(crate) async fn show(At(host): At<Host>, look: Look) -> Result<Response, Failure> {
    let site = look.snapshot.site(&host).ok().filter(|site| look.caller.sees(site.account.as_ref()));
    site.map(|site| look.one(site)).ok_or_else(|| Failure::not_found(Kind::Site, host))
}

/// Changes a site, suspends or resumes it, or turns its maintenance page on or off.
#[utoipa::path(patch, path = "/v1/sites/{host}", tag = "sites", params(("host" = String, Path), WriteQuery),
    request_body = api::SitePatch, responses((status = 200, body = Written<api::Site>)))]
pub(crate) async fn set(At(host): At<Host>, AskWith(ask, body): AskWith<api::SitePatch>) -> Result<Response, Failure> {
    let mut set = SiteSet {
        host,
        aliases: body.aliases.map(|aliases| fields::list("aliases", &aliases)).transpose()?.into(),
        www: body.www.map(www).into(),
        handler: body.handler.map(handler).into(),
        account: fields::patched("account", body.account)?.into(),
        issuer: fields::patched("issuer", body.issuer)?.into(),
        quota: body.quota.into(),
        suspended: body.suspended.into(),
        maintenance: body.maintenance.into(),
        standbys: body.standbys.map(|names| nodes::ids(&ask.snapshot, "standbys", &names)).transpose()?.into(),
        failover: body.failover.map(failover).into(),
        wanted: body.standbys_wanted.into(),
        options: options::asked(&ask.desk, body.options).await?,
        certificate: None,
    };
    for _ in 0..MINT_RACES_MAX {
        let snapshot = ask.desk.snapshot();
        set.certificate = match snapshot.site(&set.host).ok().and_then(|site| other_hosts(site, &set)) {
            Some(hosts) => mint(&ask, &snapshot, hosts.into_iter()).await?,
            None => None,
        };
        let current = current(&snapshot, &set.host);
        match ask.change::<Arc<Site>>(Change::SiteSet(set.clone().into()), current).await {
            // Somebody else changed the hosts meanwhile.
            Err(failure) if failure.is_about(MINTED) => {}
            done => return done,
        }
    }
    Err(Failure::busy("the hosts of the site change all the time"))
}

/// The hosts of a site after a change, if they are others.
fn other_hosts(site: &Site, set: &SiteSet) -> Option<Vec<Host>> {
    let mut after = site.clone();
    set.aliases.apply_to(&mut after.aliases);
    set.www.apply_to(&mut after.www);
    let hosts: Vec<Host> = after.hosts().collect();
    (!site.hosts().eq(hosts.iter().cloned())).then_some(hosts)
}

/// A certificate for a change that is not made yet.
async fn mint(
    ask: &Ask,
    snapshot: &Arc<Snapshot>,
    hosts: impl Iterator<Item = Host>,
) -> Result<Option<Minted>, Failure> {
    match snapshot.remembered(&ask.request_id) {
        // The answer is there already.
        Some(_) => Ok(None),
        None => certificates::mint(&ask.desk, snapshot, hosts).await,
    }
}

/// Removes a site that has no FTP users. Its files stay in the trash of its home for a while.
#[utoipa::path(delete, path = "/v1/sites/{host}", tag = "sites", params(("host" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At(host): At<Host>, ask: Ask) -> Result<Response, Failure> {
    let current = current(&ask.snapshot, &host);
    ask.remove(Change::SiteRemove(SiteRemove { host }), current).await
}
