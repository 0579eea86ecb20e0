//! What may stand where in a zone. One set put into a zone, and all sets of a zone at once.
use crate::model::chunk;
use crate::model::refusal::Refusal;
use crate::model::zones::Zone;
use crate::rr::{Name, RecordType};

/// Whether a set may be put there: within the zone, a CNAME alone (RFC 1034 section 3.6.2), nothing below a DNAME (RFC 6672
/// section 2.4), nothing that comes by itself.
pub(crate) fn check(zone: &Zone, owner: &Name, rtype: RecordType) -> Result<(), Refusal> {
    let origin = zone.head.origin();
    check_alone(&origin, owner, rtype)?;
    let own = chunk::owner_key(owner, &origin);
    let others = zone.sets_at(&own).filter_map(|set| chunk::owner(set.key, &origin)).map(|(_, other)| other);
    check_beside(owner, rtype, &others.filter(|other| *other != rtype).collect::<Vec<_>>())?;
    let path = &own[..own.len() - 1];
    if rtype == RecordType::DNAME {
        let mut below = zone.sets_from(path).take_while(|set| set.key.starts_with(path));
        if let Some(below) = below.find(|set| !set.key.starts_with(&own)).and_then(|set| chunk::owner(set.key, &origin))
        {
            return Err(below_dname(&below.0, owner));
        }
    }
    // The keys of the names above, up to the apex: each label ends with 0.
    let ends = path.iter().enumerate().filter(|(at, byte)| **byte == 0 && at + 1 < path.len()).map(|(at, _)| at + 1);
    for end in std::iter::once(0).chain(ends).filter(|_| !path.is_empty()) {
        let mut key = [&path[..end], &[0]].concat();
        key.extend(RecordType::DNAME.0.to_be_bytes());
        if let Some((above, _)) = zone.find(&key).and_then(|set| chunk::owner(set.key, &origin)) {
            return Err(below_dname(owner, &above));
        }
    }
    Ok(())
}

/// The same of a whole zone, whose keys come in canonical order.
pub(crate) fn check_all<'a>(origin: &Name, keys: impl Iterator<Item = &'a [u8]>) -> Result<(), Refusal> {
    let mut dname: Option<(Vec<u8>, Name)> = None;
    let mut at: Option<(Name, Vec<RecordType>)> = None;
    for key in keys {
        let Some((owner, rtype)) = chunk::owner(key, origin) else { continue };
        let path = &key[..key.len() - 3];
        match &dname {
            Some((above, name)) if path != above && path.starts_with(above) => return Err(below_dname(&owner, name)),
            _ => {}
        }
        if rtype == RecordType::DNAME {
            dname = Some((path.to_vec(), owner.clone()));
        }
        match &mut at {
            Some((same, types)) if *same == owner => {
                check_beside(&owner, rtype, types)?;
                types.push(rtype);
            }
            _ => at = Some((owner, vec![rtype])),
        }
    }
    Ok(())
}

/// What a set may be whatever else is there.
pub(crate) fn check_alone(origin: &Name, owner: &Name, rtype: RecordType) -> Result<(), Refusal> {
    if !owner.is_under(origin) {
        return Err(Refusal::invalid("name", format!("{owner} does not lie in the zone {origin}")));
    }
    if rtype.is_meta() {
        return Err(Refusal::invalid("type", format!("{rtype} is no data that a zone holds")));
    }
    if rtype.is_signed() {
        return Err(Refusal::invalid("type", format!("{rtype} comes with the signing of a zone")));
    }
    if owner == origin && matches!(rtype, RecordType::CNAME | RecordType::DS) {
        return Err(Refusal::invalid("type", format!("{rtype} cannot stand at the apex of a zone")));
    }
    Ok(())
}

fn check_beside(owner: &Name, rtype: RecordType, others: &[RecordType]) -> Result<(), Refusal> {
    if rtype == RecordType::CNAME
        && let Some(other) = others.first()
    {
        return Err(Refusal::invalid(
            "type",
            format!("a CNAME cannot stand beside other data, and {owner} has {other}"),
        ));
    }
    if others.contains(&RecordType::CNAME) {
        return Err(Refusal::invalid("type", format!("{owner} is a CNAME, and no other data can stand beside it")));
    }
    Ok(())
}

fn below_dname(owner: &Name, dname: &Name) -> Refusal {
    Refusal::invalid("name", format!("{owner} lies below the DNAME {dname}, which stands for all names below it"))
}
