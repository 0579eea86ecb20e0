//! What the zones have to say about one question, written into a message: the algorithm of RFC 1034 section 4.3.2 with RFC 4592
//! (wildcards), RFC 6672 (DNAME), RFC 2308 (what is not there), RFC 8482 (any) and RFC 9471 (glue). Never leaves the zones that
//! are here.
use crate::base::limits::{DNS_CHAIN_MAX, DNS_POINTED_NAMES_MAX};
use crate::dns::message::{Full, Message, Section, Value};
use crate::dns::name::{NameBuf, wire_len};
use crate::dns::query::Rcode;
use crate::dns::zone::{Found, Hosted, Node, path};
use crate::dns::zones::Zones;
use crate::model::chunk::Packed;
use crate::rr::RecordType;

/// The outcome beside what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) rcode: Rcode,
    pub(crate) authoritative: bool,
    /// Something that was needed had no room.
    pub(crate) truncated: bool,
}

impl Said {
    pub(crate) fn refused() -> Self {
        Self { rcode: Rcode::Refused, authoritative: false, truncated: false }
    }
}

/// What follows a step.
enum Next {
    Said(Said),
    /// The name stands for another one.
    Ask(Box<NameBuf>),
}

struct Lookup<'l, 'm, 'z> {
    zones: &'z Zones,
    rtype: RecordType,
    message: &'l mut Message<'m>,
    /// The name was reached through another one.
    chained: bool,
    /// It lies in a zone that was delegated.
    referred: bool,
    /// Owners of the DNAMEs that were passed: a name may lead below one again, and the record stands in the answer once.
    dnames: Vec<Box<[u8]>>,
}

/// Answers one question of class IN. Where something that is needed has no room, what was written is of no use.
pub(crate) fn lookup(zones: &Zones, asked: &NameBuf, rtype: RecordType, message: &mut Message<'_>) -> Said {
    let mut lookup = Lookup { zones, rtype, message, chained: false, referred: false, dnames: Vec::new() };
    let mut seen: Vec<NameBuf> = Vec::new();
    loop {
        let name = seen.last().unwrap_or(asked);
        let next = match zones.find(name, rtype) {
            Some(zone) => lookup.ask(zone, name),
            None if lookup.chained => Ok(Next::Said(authoritative(Rcode::NoError))),
            None => Ok(Next::Said(Said::refused())),
        };
        match next {
            Ok(Next::Said(said)) => return said,
            Ok(Next::Ask(target)) => {
                lookup.chained = true;
                let turned = std::iter::once(asked).chain(&seen).any(|name| name.as_wire() == target.as_wire());
                if turned || seen.len() == DNS_CHAIN_MAX {
                    return authoritative(Rcode::NoError);
                }
                seen.push(*target);
            }
            Err(Full) => {
                let authoritative = lookup.chained || !lookup.referred;
                return Said { rcode: Rcode::NoError, authoritative, truncated: true };
            }
        }
    }
}

fn authoritative(rcode: Rcode) -> Said {
    Said { rcode, authoritative: true, truncated: false }
}

fn wire(set: Packed<'_>) -> impl Iterator<Item = Value<'_>> {
    set.values().map(Value::Wire)
}

impl<'z> Lookup<'_, '_, 'z> {
    fn ask(&mut self, zone: &'z Hosted, name: &NameBuf) -> Result<Next, Full> {
        match zone.find(name, self.rtype) {
            Found::Here(node) | Found::Wildcard(node) => self.of_node(zone, name, &node),
            Found::Cut { ns, labels } => self.refer(zone, name, labels, ns).map(Next::Said),
            Found::Dname { set, labels } => self.under_dname(name, set, labels),
            Found::Nothing => {
                self.deny(zone)?;
                // A child that is here exists, also where its parent knows nothing of it: nothing below it may be taken for missing
                // (RFC 8020).
                let child = self.rtype == RecordType::DS && self.zones.at(name.as_wire()).is_some();
                Ok(Next::Said(authoritative(if child { Rcode::NoError } else { Rcode::NxDomain })))
            }
        }
    }

    /// The name is there, by itself or through a wildcard.
    fn of_node(&mut self, zone: &'z Hosted, name: &NameBuf, node: &Node<'z>) -> Result<Next, Full> {
        let (rtype, done) = (self.rtype, Ok(Next::Said(authoritative(Rcode::NoError))));
        let apex = name.labels() == zone.labels();
        let set = match rtype {
            RecordType::ANY => node.any(),
            rtype => node.wanted.map(|set| (rtype, set)),
        };
        if let Some((rtype, set)) = set {
            self.message.put_set(Section::Answer, name.as_wire(), (rtype, set.ttl), wire(set))?;
            self.point_out(zone, name, rtype, set);
            return done;
        }
        if apex && matches!(rtype, RecordType::SOA | RecordType::ANY) {
            self.put_soa(Section::Answer, zone, zone.soa_ttl())?;
            return done;
        }
        if let Some(set) = node.cname {
            self.message.put_set(Section::Answer, name.as_wire(), (RecordType::CNAME, set.ttl), wire(set))?;
            let target = set.values().next().and_then(NameBuf::read);
            return target.map_or(done, |target| Ok(Next::Ask(Box::new(target))));
        }
        let sited = match rtype {
            RecordType::ANY => {
                self.put_site(Section::Answer, zone, name.as_wire(), node, RecordType::A)?
                    || self.put_site(Section::Answer, zone, name.as_wire(), node, RecordType::AAAA)?
            }
            rtype => self.put_site(Section::Answer, zone, name.as_wire(), node, rtype)?,
        };
        if !sited {
            self.deny(zone)?;
        }
        done
    }

    /// The name lies in somebody else's zone: where that is asked (RFC 1034 section 4.3.2 step 3b).
    fn refer(&mut self, zone: &'z Hosted, name: &NameBuf, labels: usize, ns: Packed<'z>) -> Result<Said, Full> {
        self.referred = true;
        let (cut, depth) = (name.without(labels), name.labels() - labels);
        self.message.put_set(Section::Authority, cut, (RecordType::NS, ns.ttl), wire(ns))?;
        // First what is needed to go on at all: RFC 9471 sections 3.1 and 3.2.
        for needed in [true, false] {
            for target in targets(RecordType::NS, ns) {
                if target.is_under(cut, depth) != needed || !zone.holds(&target) {
                    continue;
                }
                let Some(node) = zone.node(path(&target, zone.labels()).as_bytes(), RecordType::A) else { continue };
                if self.put_addresses(zone, &target, &node).is_err() && needed {
                    return Err(Full);
                }
            }
        }
        Ok(Said { authoritative: self.chained, ..authoritative(Rcode::NoError) })
    }

    /// The subtree stands for another one: the DNAME, and the CNAME that follows from it (RFC 6672 section 3.1).
    fn under_dname(&mut self, name: &NameBuf, set: Packed<'z>, labels: usize) -> Result<Next, Full> {
        let owner = name.without(labels);
        if !self.dnames.iter().any(|passed| **passed == *owner) {
            self.message.put_set(Section::Answer, owner, (RecordType::DNAME, set.ttl), wire(set))?;
            self.dnames.push(owner.into());
        }
        let target = set.values().next().and_then(|target| name.moved_under(labels, target));
        let Some(target) = target else { return Ok(Next::Said(authoritative(Rcode::YxDomain))) };
        let value = [Value::Wire(target.as_wire())].into_iter();
        self.message.put_set(Section::Answer, name.as_wire(), (RecordType::CNAME, set.ttl), value)?;
        if self.rtype == RecordType::CNAME {
            // It is what was asked for.
            return Ok(Next::Said(authoritative(Rcode::NoError)));
        }
        Ok(Next::Ask(Box::new(target)))
    }

    /// Nothing of that type, or nothing of that name: the SOA says for how long (RFC 2308 section 3).
    fn deny(&mut self, zone: &'z Hosted) -> Result<(), Full> {
        self.put_soa(Section::Authority, zone, zone.negative_ttl())
    }

    fn put_soa(&mut self, section: Section, zone: &'z Hosted, ttl: u32) -> Result<(), Full> {
        let value = [Value::Wire(zone.soa())].into_iter();
        self.message.put_set(section, zone.origin().as_wire(), (RecordType::SOA, ttl), value)
    }

    /// Addresses of the hosts that the records point to, as far as they are here and there is room: nobody needs them.
    fn point_out(&mut self, zone: &'z Hosted, owner: &NameBuf, rtype: RecordType, set: Packed<'z>) {
        for target in targets(rtype, set) {
            // RFC 9460 section 2.5.2: `.` stands for the owner.
            let target = if target.labels() == 0 { owner } else { &target };
            if !zone.holds(target) {
                continue;
            }
            let Found::Here(node) = zone.find(target, RecordType::A) else { continue };
            if self.put_addresses(zone, target, &node).is_err() {
                return;
            }
        }
    }

    fn put_addresses(&mut self, zone: &'z Hosted, name: &NameBuf, node: &Node<'z>) -> Result<(), Full> {
        let name = name.as_wire();
        for (rtype, set) in [(RecordType::A, node.a), (RecordType::AAAA, node.aaaa)] {
            match set {
                Some(set) => self.message.put_set(Section::Additional, name, (rtype, set.ttl), wire(set))?,
                None => _ = self.put_site(Section::Additional, zone, name, node, rtype)?,
            }
        }
        Ok(())
    }

    /// The addresses of a site's home, where a name has none of its own. False: there is nothing to say.
    fn put_site(
        &mut self,
        section: Section,
        zone: &'z Hosted,
        name: &[u8],
        node: &Node<'z>,
        rtype: RecordType,
    ) -> Result<bool, Full> {
        if !matches!(rtype, RecordType::A | RecordType::AAAA) {
            return Ok(false);
        }
        let Some(home) = node.site() else { return Ok(false) };
        let mut values = self.zones.homes.of(home, rtype).peekable();
        if values.peek().is_none() {
            return Ok(false);
        }
        self.message.put_set(section, name, (rtype, zone.site_ttl()), values)?;
        Ok(true)
    }
}

/// The hosts that records of some types point to, each once.
fn targets(rtype: RecordType, set: Packed<'_>) -> impl Iterator<Item = NameBuf> {
    let before = match rtype {
        RecordType::NS => Some(0),
        RecordType::MX | RecordType::SVCB | RecordType::HTTPS => Some(2),
        RecordType::SRV => Some(6),
        _ => None,
    };
    let names = before.into_iter().flat_map(move |before| set.values().filter_map(move |value| value.get(before..)));
    let mut known: Vec<&[u8]> = Vec::new();
    names.take(DNS_POINTED_NAMES_MAX).filter_map(move |name| {
        let name = &name[..wire_len(name)?];
        if known.contains(&name) {
            return None;
        }
        known.push(name);
        NameBuf::read(name)
    })
}
