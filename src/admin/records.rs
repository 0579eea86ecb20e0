//! `/v1/zones/{zone}/records`: record sets. Text becomes wire form here, and every fault in it is told with its value.
use std::borrow::Cow;

use axum::response::Response;
use data_encoding::HEXLOWER;

use crate::admin::ask::{Ask, AskWith};
use crate::admin::error::Failure;
use crate::admin::fields;
use crate::admin::look::{At, Look};
use crate::admin::resource::{Resource, View, path};
use crate::api::page::{Page, PageQuery};
use crate::api::problem::Fault;
use crate::api::records as api;
use crate::api::written::{ReadQuery, Removed, WriteQuery, Written};
use crate::base::names::ZoneName;
use crate::model::answer::Object;
use crate::model::change::Change;
use crate::model::chunk::{self, Packed};
use crate::model::records::{RecordPut, RecordRemove, RecordSet};
use crate::model::refusal::Kind;
use crate::model::state::State;
use crate::model::zones::{self, Zone};
use crate::rr::{self, Name, RecordType};

/// The placeholders of a record set's path.
type Place = (ZoneName, String, String);

impl Resource for RecordSet {
    type View = api::RecordSet;

    fn of(object: Object) -> Option<Self> {
        if let Object::RecordSet(set) = object { Some(set) } else { None }
    }

    fn view(&self, _: &View<'_>) -> api::RecordSet {
        api::RecordSet {
            name: self.owner.relative_to(&zones::origin(&self.zone)),
            rtype: self.rtype.to_string(),
            ttl: self.ttl,
            values: self.values.iter().map(|value| rr::present_data(self.rtype, value)).collect(),
            revision: self.revision,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn path(&self) -> String {
        let name = self.owner.relative_to(&zones::origin(&self.zone));
        path(&["zones", self.zone.as_str(), "records", &name, &self.rtype.to_string()])
    }
}

/// The owner and type that a path names. A name in another script is taken as a host is.
fn owner(zone: &ZoneName, name: &str, rtype: &str) -> Result<(Name, RecordType), Failure> {
    let ascii = if name.is_ascii() { name.to_owned() } else { fields::name::<ZoneName>("name", name)?.to_string() };
    let origin = zones::origin(zone);
    if let Some(reason) = without_dot(&ascii, &origin) {
        return Err(Failure::invalid("name", reason));
    }
    let owner = Name::parse(&ascii, Some(&origin)).map_err(|error| Failure::invalid("name", error))?;
    let rtype = rtype.parse::<RecordType>().map_err(|error| Failure::invalid("type", error))?;
    Ok((owner, rtype))
}

fn find(zone: &Zone, owner: &Name, rtype: RecordType) -> Option<RecordSet> {
    let origin = zone.head.origin();
    if rtype == RecordType::SOA && *owner == origin {
        return Some(zone.soa_set());
    }
    let key = owner.is_under(&origin).then(|| chunk::key(owner, &origin, rtype))?;
    let set = zone.find(&key)?;
    RecordSet::unpack(&zone.head, &set)
}

fn current(state: &State, zone: &ZoneName, owner: &Name, rtype: RecordType) -> Option<u64> {
    state.zones.get(zone).and_then(|zone| find(zone, owner, rtype)).map(|set| set.revision)
}

fn zone_seen<'a>(look: &'a Look, name: &ZoneName) -> Result<&'a Zone, Failure> {
    let zone = look.snapshot.zones.get(name).filter(|zone| look.caller.sees(zone.head.account.as_ref()));
    zone.map(|zone| &**zone).ok_or_else(|| Failure::not_found(Kind::Zone, name))
}

/// Lists the record sets of a zone in canonical order (RFC 4034 section 6.1).
#[utoipa::path(get, path = "/v1/zones/{zone}/records", tag = "records", params(("zone" = String, Path), PageQuery),
    responses((status = 200, body = Page<api::RecordSet>)))]
pub(crate) async fn list(At(name): At<ZoneName>, look: Look) -> Result<Response, Failure> {
    let zone = zone_seen(&look, &name)?;
    let from = look.cursor::<String>()?.unwrap_or_default();
    let from = HEXLOWER.decode(from.as_bytes()).map_err(|error| Failure::invalid("cursor", error))?;
    // The SOA is no set like the others, and stands among them.
    let origin = zone.head.origin();
    let own = chunk::key(&origin, &origin, RecordType::SOA);
    let kept = |set: Packed<'_>| Some((set.key.to_vec(), RecordSet::unpack(&zone.head, &set)?));
    let before = zone.sets_from(&from).take_while(|set| *set.key < *own).filter_map(kept);
    let soa = (from <= own).then(|| (own.clone(), zone.soa_set()));
    let after = zone.sets_from(if from > own { &from } else { &own }).filter_map(kept);
    let sets = before.chain(soa).chain(after);
    Ok(look.page(sets, |(key, _)| HEXLOWER.encode(key), |(_, set)| set.view(&look.view())))
}

/// Shows the record set of a name (`@` for the apex) and a type.
#[utoipa::path(get, path = "/v1/zones/{zone}/records/{name}/{type}", tag = "records",
    params(("zone" = String, Path), ("name" = String, Path), ("type" = String, Path), ReadQuery),
    responses((status = 200, body = api::RecordSet)))]
pub(crate) async fn show(At((zone, name, rtype)): At<Place>, look: Look) -> Result<Response, Failure> {
    let (owner, rtype) = owner(&zone, &name, &rtype)?;
    let set = find(zone_seen(&look, &zone)?, &owner, rtype);
    set.map(|set| look.one(&set)).ok_or_else(|| Failure::not_found(Kind::Record, format!("{owner} {rtype}")))
}

/// Creates or replaces the record set of a name (`@` for the apex) and a type.
#[utoipa::path(put, path = "/v1/zones/{zone}/records/{name}/{type}", tag = "records",
    params(("zone" = String, Path), ("name" = String, Path), ("type" = String, Path), WriteQuery),
    request_body = api::RecordPut, responses((status = 200, body = Written<api::RecordSet>)))]
pub(crate) async fn put(
    At((zone, name, rtype)): At<Place>,
    AskWith(ask, body): AskWith<api::RecordPut>,
) -> Result<Response, Failure> {
    let (owner, rtype) = owner(&zone, &name, &rtype)?;
    let current = current(&ask.snapshot, &zone, &owner, rtype);
    let default = ask.snapshot.zones.get(&zone).map_or(zones::DEFAULT_TTL, |zone| zone.head.ttl);
    let values = values(rtype, &body.values, &zones::origin(&zone))?;
    let put = RecordPut { zone, owner, rtype, ttl: body.ttl.unwrap_or(default), values };
    ask.change::<RecordSet>(Change::RecordPut(put), current).await
}

/// Removes the record set of a name (`@` for the apex) and a type.
#[utoipa::path(delete, path = "/v1/zones/{zone}/records/{name}/{type}", tag = "records",
    params(("zone" = String, Path), ("name" = String, Path), ("type" = String, Path), WriteQuery),
    responses((status = 200, body = Removed)))]
pub(crate) async fn remove(At((zone, name, rtype)): At<Place>, ask: Ask) -> Result<Response, Failure> {
    let (owner, rtype) = owner(&zone, &name, &rtype)?;
    let current = current(&ask.snapshot, &zone, &owner, rtype);
    ask.remove(Change::RecordRemove(RecordRemove { zone, owner, rtype }), current).await
}

fn values(rtype: RecordType, texts: &[String], origin: &Name) -> Result<Vec<Vec<u8>>, Failure> {
    let mut faults = Vec::new();
    let mut values = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let mut refuse = |reason: String| faults.push(Fault { field: format!("values[{index}]"), reason });
        match rr::parse_data(rtype, &whole(rtype, text), origin) {
            Ok(value) => match rr::targets(rtype, &value).and_then(|_| without_dot(text, origin)) {
                Some(reason) => refuse(reason),
                None => values.push(value),
            },
            Err(error) => refuse(error.to_string()),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(Failure::invalid_all(faults)) }
}

/// What is wrong with a name, the last word of `text`, that ends with the zone but not with a dot: the zone would stand in it twice.
fn without_dot(text: &str, origin: &Name) -> Option<String> {
    let word = text.split_ascii_whitespace().next_back().filter(|word| !word.ends_with('.'))?;
    let meant = Name::parse(word, None).ok().filter(|name| name.is_under(origin) && origin.labels().count() > 1)?;
    let short = meant.relative_to(origin);
    Some(format!("`{word}` has no final dot and would be {word}.{origin}: write `{short}`, or `{meant}`"))
}

/// A TXT value without quotes is one string, whatever is in it: `v=spf1 -all` as two would be read without the space.
fn whole(rtype: RecordType, text: &str) -> Cow<'_, str> {
    let strings = matches!(rtype, RecordType::TXT | RecordType::SPF) && !text.contains('"') && !text.starts_with("\\#");
    if strings { Cow::Owned(format!("\"{text}\"")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_quotes_is_one_string() {
        let shown = |text: &str| {
            let origin = Name::parse("example.org.", None).unwrap();
            let value = values(RecordType::TXT, &[text.to_owned()], &origin).unwrap();
            rr::present_data(RecordType::TXT, &value[0])
        };
        assert_eq!(shown("v=spf1 -all"), "\"v=spf1 -all\"");
        assert_eq!(shown("v=DKIM1; p=abc"), "\"v=DKIM1; p=abc\"");
        assert_eq!(shown("\"a\" \"b\""), "\"a\" \"b\"");
        assert_eq!(shown("\\# 2 0161"), "\"a\"");
    }

    #[test]
    fn names_are_relative_and_may_be_typed_in_unicode() {
        let zone = ZoneName::parse("example.org").unwrap();
        let named =
            |name: &str| owner(&zone, name, "A").map(|(owner, _)| owner.relative_to(&zones::origin(&zone))).ok();
        assert_eq!(named("@").as_deref(), Some("@"));
        assert_eq!(named("WWW").as_deref(), Some("www"));
        assert_eq!(named("bücher").as_deref(), Some("xn--bcher-kva"));
        assert_eq!(named("*").as_deref(), Some("*"));
        assert_eq!(named("www.example.org.").as_deref(), Some("www"));
        let doubled = format!("{:?}", owner(&zone, "www.example.org", "A").unwrap_err());
        assert!(
            doubled.contains("would be www.example.org.example.org.: write `www`, or `www.example.org.`"),
            "{doubled}"
        );
        assert!(owner(&zone, "a", "NOPE").is_err() && named("a..b").is_none());
    }

    #[test]
    fn a_missing_final_dot_is_told() {
        let origin = zones::origin(&ZoneName::parse("example.org").unwrap());
        let one = |rtype, text: &str| values(rtype, &[text.to_owned()], &origin);
        for (rtype, text) in [(RecordType::MX, "10 mail.example.org"), (RecordType::NS, "Example.ORG")] {
            let refused = format!("{:?}", one(rtype, text).unwrap_err());
            assert!(refused.contains("no final dot"), "{refused}");
        }
        for (rtype, text) in [
            (RecordType::MX, "10 mail.example.org."),
            (RecordType::MX, "10 mail"),
            (RecordType::CNAME, "www.example.net"),
            (RecordType::TXT, "mail.example.org"),
        ] {
            assert!(one(rtype, text).is_ok(), "{text}");
        }
        assert!(without_dot("com", &Name::parse("com.", None).unwrap()).is_none(), "who knows");
    }

    #[test]
    fn every_value_at_fault_is_told() {
        let origin = zones::origin(&ZoneName::parse("example.org").unwrap());
        let texts = ["192.0.2.1".to_owned(), "x".to_owned(), "y".to_owned()];
        let failure = format!("{:?}", values(RecordType::A, &texts, &origin).unwrap_err());
        assert!(failure.contains("values[1]") && failure.contains("values[2]") && !failure.contains("values[0]"));
    }
}
