//! `/v1/zones/{zone}/file`: a zone file in and out. Text becomes one change here, every fault of it is told with its line, and what
//! it changes is found by trying it out; the rules decide.
use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::admin::ask::{Ask, AskFile, Done};
use crate::admin::error::Failure;
use crate::admin::etag;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View};
use crate::admin::zones::check_suffix;
use crate::api::problem::Fault;
use crate::api::written::{ReadQuery, Written};
use crate::api::zone_files::{ImportQuery, MEDIA_TYPE, RecordAction, RecordChange, ZoneImported};
use crate::base::limits::IMPORT_RACES_MAX;
use crate::base::names::ZoneName;
use crate::model::change::Change;
use crate::model::places;
use crate::model::records::RecordSet;
use crate::model::refusal::Kind;
use crate::model::soa::Soa;
use crate::model::state::{Snapshot, State};
use crate::model::zone_files::{Difference, ImportedSet, ZoneImport, differences};
use crate::model::zones::{self, DEFAULT_TTL, Zone, ZoneHead};
use crate::rr::zonefile::{self, Record, Writer, ZoneFile};
use crate::rr::{self, Name, RecordType};

/// Writes a zone as a zone file: the SOA, the name servers, then all others in canonical order.
#[utoipa::path(get, path = "/v1/zones/{zone}/file", tag = "zones", params(("zone" = String, Path), ReadQuery),
    responses((status = 200, body = String, content_type = "text/dns")))]
pub(crate) async fn show(At(name): At<ZoneName>, look: Look) -> Result<Response, Failure> {
    let zone = look.snapshot.zones.get(&name).filter(|zone| look.caller.sees(zone.head.account.as_ref()));
    let zone = zone.ok_or_else(|| Failure::not_found(Kind::Zone, name))?;
    let mut response = write(zone).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Ok(tag) = HeaderValue::try_from(etag::of(zone.head.revision)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(look.stamped(response))
}

fn write(zone: &Zone) -> String {
    let sets: Vec<_> = zone.sets().filter_map(|set| RecordSet::unpack(&zone.head, &set)).collect();
    let owners = sets.iter().map(|set| &set.owner);
    let origin = zone.head.origin();
    let mut writer = Writer::new(origin.clone(), zone.head.ttl, owners);
    let is_apex_ns = |set: &&RecordSet| set.owner == origin && set.rtype == RecordType::NS;
    let soa = zone.soa_set();
    let others = sets.iter().filter(|set| !is_apex_ns(set));
    for set in std::iter::once(&soa).chain(sets.iter().filter(is_apex_ns)).chain(others) {
        writer.set(&set.owner, set.rtype, set.ttl, set.values.iter().map(|value| &***value));
    }
    writer.finish()
}

/// Puts all records of a zone file into a zone, in one change or not at all. A zone that is not there is made.
#[utoipa::path(put, path = "/v1/zones/{zone}/file", tag = "zones", params(("zone" = String, Path), ImportQuery),
    request_body(content = String, content_type = "text/dns"), responses((status = 200, body = Written<ZoneImported>)))]
pub(crate) async fn put(
    At(zone): At<ZoneName>,
    AskFile(ask, file, query): AskFile<ImportQuery>,
) -> Result<Response, Failure> {
    let account = fields::optional("account", query.account.as_deref())?;
    if !ask.snapshot.zones.contains_key(&zone) {
        check_suffix(&ask, &zone).await?;
    }
    let read = zonefile::read(&file, &zones::origin(&zone), DEFAULT_TTL);
    let (mut import, notes) = gather(zone, read)?;
    (import.account, import.replace) = (account, query.replace == Some(true));
    let dry_run = query.dry_run == Some(true);
    for _ in 0..IMPORT_RACES_MAX {
        let snapshot = ask.desk.snapshot();
        let current = snapshot.zones.get(&import.zone);
        let revision = current.map(|zone| zone.head.revision);
        let change = Change::ZoneImport(import.clone());
        // What was answered before is not tried out.
        let tried = match snapshot.remembered(&ask.request_id) {
            Some(_) => None,
            None => Some(ask.try_out(&snapshot, &change, revision)?),
        };
        let changes = tried.as_ref().map(|after| changes(current.map(|zone| &**zone), after, &import.zone));
        let changes = changes.unwrap_or_default();
        if let Some(after) = tried.filter(|_| dry_run) {
            let head = after.zone(&import.zone)?.head.clone();
            let after = Snapshot { state: after, generation: snapshot.generation };
            let zone = head.view(&View::new(&ask.desk, &after, &ask.caller));
            return Ok(axum::Json(ZoneImported { zone, changes, notes, dry_run }).into_response());
        }
        match ask.write_as_tried::<ZoneHead>(change, revision).await {
            // Somebody else changed the zone meanwhile.
            Err(failure) if failure.is_stale() && !ask.is_conditional() => {}
            done => return Ok(answer(&ask, done?, changes, notes)),
        }
    }
    Err(Failure::busy("the zone changes all the time"))
}

fn answer(ask: &Ask, mut done: Done<ZoneHead>, changes: Vec<RecordChange>, notes: Vec<String>) -> Response {
    let Some(head) = done.object.take() else {
        return ask.answer(StatusCode::OK, done);
    };
    let snapshot = ask.desk.snapshot();
    let zone = head.view(&View::new(&ask.desk, &snapshot, &ask.caller));
    let imported = ZoneImported { zone, changes, notes, dry_run: false };
    ask.json(StatusCode::OK, &done, &Written { object: imported, served: done.served, replicated: done.replicated })
}

/// What the change does, the records in presentation form.
fn changes(before: Option<&Zone>, after: &State, name: &ZoneName) -> Vec<RecordChange> {
    let Some(after) = after.zones.get(name) else { return Vec::new() };
    let shown = |action, set: RecordSet| RecordChange {
        action,
        name: set.owner.relative_to(&zones::origin(&set.zone)),
        rtype: set.rtype.to_string(),
        ttl: set.ttl,
        values: set.values.iter().map(|value| rr::present_data(set.rtype, value)).collect(),
    };
    let found = differences(before, after).into_iter().map(|difference| match difference {
        Difference::Added(set) => shown(RecordAction::Added, set),
        Difference::Changed(set) => shown(RecordAction::Changed, set),
        Difference::Removed(set) => shown(RecordAction::Removed, set),
    });
    found.collect()
}

/// The sets of a file, each with the line where it begins, and what had to be taken otherwise than it says.
fn gather(zone: ZoneName, mut file: ZoneFile) -> Result<(ZoneImport, Vec<String>), Failure> {
    let (origin, mut notes, mut soa) = (zones::origin(&zone), Vec::new(), None);
    let mut sets: BTreeMap<(Name, RecordType), (usize, ImportedSet)> = BTreeMap::new();
    for Record { line, owner, ttl, rtype, data } in std::mem::take(&mut file.records) {
        let mut refuse = |reason: String| file.faults.push(zonefile::LineFault { line, reason });
        if rtype == RecordType::SOA {
            match Soa::read(ttl, &data) {
                _ if owner != origin => refuse("an SOA stands at the apex of its zone only".into()),
                // A transfer ends with the SOA it began with.
                read if soa.is_none() || soa == read => soa = read,
                _ => refuse("a zone has one SOA".into()),
            }
            continue;
        }
        if let Err(refusal) = places::check_alone(&origin, &owner, rtype) {
            refuse(refusal.reason());
            continue;
        }
        let new = ImportedSet { owner: owner.clone(), rtype, ttl, values: Vec::new() };
        let (first, set) = sets.entry((owner, rtype)).or_insert((line, new));
        if set.ttl != ttl {
            // RFC 2181 section 5.2: one TTL a set; the shorter one misleads nobody.
            let lower = set.ttl.min(ttl);
            notes.push(format!("line {line}: the TTL is not that of line {first}: the set has one, {lower}"));
            set.ttl = lower;
        }
        for name in rr::targets(rtype, &data).iter().chain([&set.owner]).filter(|name| is_doubled(name, &origin)) {
            notes.push(format!("line {line}: {name} ends with the zone twice: is a final dot missing?"));
        }
        set.values.push(data.into());
    }
    file.faults.extend(misplaced(&sets));
    if !file.faults.is_empty() {
        return Err(refused(file));
    }
    let sets = sets.into_values().map(|(_, set)| set).collect();
    Ok((ZoneImport { zone, account: None, replace: false, ttl: file.ttl, soa, sets }, notes))
}

/// Whether a name is one in the zone `example.org.example.org.`: nobody means that.
fn is_doubled(name: &Name, origin: &Name) -> bool {
    let twice = Name::parse(origin.to_string().trim_end_matches('.'), Some(origin));
    origin.labels().count() > 1 && twice.is_ok_and(|twice| name.is_under(&twice))
}

/// The CNAMEs of a file beside other data of it: the one fault between lines that people make.
fn misplaced(sets: &BTreeMap<(Name, RecordType), (usize, ImportedSet)>) -> Vec<zonefile::LineFault> {
    let cnames = sets.iter().filter(|((_, rtype), _)| *rtype == RecordType::CNAME);
    let found = cnames.filter_map(|((owner, _), (line, set))| {
        let of_owner = sets.range((owner.clone(), RecordType(0))..).take_while(|((other, _), _)| other == owner);
        let mut others = of_owner.filter(|((_, rtype), _)| *rtype != RecordType::CNAME);
        let reason = match others.next() {
            Some(((_, other), (at, _))) => format!("a CNAME cannot stand beside other data, and line {at} has {other}"),
            None if set.values.iter().any(|value| *value != set.values[0]) => {
                "a name has one CNAME only, and another line gives it another one".to_owned()
            }
            None => return None,
        };
        Some(zonefile::LineFault { line: *line, reason })
    });
    found.collect()
}

fn refused(mut file: ZoneFile) -> Failure {
    file.faults.sort_by_key(|fault| fault.line);
    let faults = file.faults.into_iter();
    let mut faults: Vec<_> =
        faults.map(|fault| Fault { field: format!("line {}", fault.line), reason: fault.reason }).collect();
    if file.untold > 0 {
        faults
            .push(Fault { field: "further lines".into(), reason: format!("{} more of them are refused", file.untold) });
    }
    Failure::invalid_all(faults)
}
