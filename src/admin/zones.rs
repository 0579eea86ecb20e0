//! `/v1/zones`: the zones whose records are kept here.
use axum::response::Response;

use crate::acme::suffixes::Suffixes;
use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::page::{Page, PageQuery};
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::api::zones as api;
use crate::base::names::{AccountName, ZoneName};
use crate::model::advice::advice;
use crate::model::answer::Object;
use crate::model::change::Change;
use crate::model::refusal::{Kind, Refusal};
use crate::model::state::State;
use crate::model::zones::{ZoneCreate, ZoneHead, ZoneRemove, ZoneSet};

impl Resource for ZoneHead {
    type View = api::Zone;

    fn of(object: Object) -> Option<Self> {
        if let Object::Zone(zone) = object { Some(zone) } else { None }
    }

    fn view(&self, cx: &View<'_>) -> api::Zone {
        let zone = cx.snapshot.zones.get(&self.name);
        let servers = zone.map(|zone| zone.nameservers()).unwrap_or_default();
        api::Zone {
            name: self.name.to_string(),
            account: self.account.as_ref().map(AccountName::to_string),
            serial: self.serial,
            ttl: self.ttl,
            records: self.records,
            nameservers: servers.iter().map(|host| host.to_string().trim_end_matches('.').to_owned()).collect(),
            warnings: zone.map(|zone| advice(cx.snapshot, zone)).unwrap_or_default(),
            created: self.created.to_string(),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        path(&["zones", self.name.as_str()])
    }
}

fn current(state: &State, name: &ZoneName) -> Option<u64> {
    state.zones.get(name).map(|zone| zone.head.revision)
}

/// Who is limited to an account takes no name below which everybody has theirs, such as `co.uk`. It is no rule of the state: each
/// machine has its own copy of the list.
pub(crate) async fn check_suffix(ask: &Ask, name: &ZoneName) -> Result<(), Failure> {
    if ask.caller.account().is_none() {
        return Ok(());
    }
    let suffixes = ask.desk.blocking.run(Suffixes::read).await.unwrap_or_default();
    match suffixes.is_one(name.as_str()) {
        true => {
            let reason = format!("{name} lies above the names of everybody: it is a public suffix");
            Err(Refusal::Forbidden { reason }.into())
        }
        false => Ok(()),
    }
}

/// Lists the zones by name.
#[utoipa::path(get, path = "/v1/zones", tag = "zones", params(PageQuery), responses((status = 200, body = Page<api::Zone>)))]
pub(crate) async fn list(look: Look) -> Result<Response, Failure> {
    let zones = look.snapshot.zones.range(look.range::<ZoneName>()?).map(|(_, zone)| &zone.head);
    let zones = zones.filter(|head| look.wants(head.account.as_ref()));
    Ok(look.page(zones, |head| head.name.to_string(), |head| head.view(&look.view())))
}

/// Creates a zone, with NS records at its apex for the name servers that are given.
#[utoipa::path(post, path = "/v1/zones", tag = "zones", params(WriteQuery), request_body = api::ZoneCreate,
    responses((status = 201, body = Written<api::Zone>)))]
pub(crate) async fn create(AskWith(ask, body): AskWith<api::ZoneCreate>) -> Result<Response, Failure> {
    let name = fields::name("name", &body.name)?;
    check_suffix(&ask, &name).await?;
    let create = ZoneCreate {
        name,
        account: fields::optional("account", body.account.as_deref())?,
        ttl: body.ttl,
        nameservers: fields::list("nameservers", &body.nameservers)?,
    };
    ask.create::<ZoneHead>(Change::ZoneCreate(create)).await
}

/// Shows one zone, without its records.
#[utoipa::path(get, path = "/v1/zones/{zone}", tag = "zones", params(("zone" = String, Path), ReadQuery),
    responses((status = 200, body = api::Zone)))]
pub(crate) async fn show(At(name): At<ZoneName>, look: Look) -> Result<Response, Failure> {
    let zone = look.snapshot.zones.get(&name).filter(|zone| look.caller.sees(zone.head.account.as_ref()));
    zone.map(|zone| look.one(&zone.head)).ok_or_else(|| Failure::not_found(Kind::Zone, name))
}

/// Changes the owner of a zone or the TTL of its new records.
#[utoipa::path(patch, path = "/v1/zones/{zone}", tag = "zones", params(("zone" = String, Path), WriteQuery),
    request_body = api::ZonePatch, responses((status = 200, body = Written<api::Zone>)))]
pub(crate) async fn set(
    At(name): At<ZoneName>,
    AskWith(ask, body): AskWith<api::ZonePatch>,
) -> Result<Response, Failure> {
    let current = current(&ask.snapshot, &name);
    let account = fields::patched("account", body.account)?;
    let set = ZoneSet { name, account: account.into(), ttl: body.ttl.into() };
    ask.change::<ZoneHead>(Change::ZoneSet(set), current).await
}

/// Removes a zone with all its records.
#[utoipa::path(delete, path = "/v1/zones/{zone}", tag = "zones", params(("zone" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At(name): At<ZoneName>, ask: Ask) -> Result<Response, Failure> {
    let current = current(&ask.snapshot, &name);
    ask.remove(Change::ZoneRemove(ZoneRemove { name }), current).await
}
