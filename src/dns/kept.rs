//! Answers that were made lately, without what belongs to one client: a name that is asked again costs a comparison and a copy.
//! Each thread has its own. Never outlives the zones it was made from, and never takes in what was asked but once: a flood of
//! names by chance drives nothing out.
use crate::base::limits::{DNS_KEPT_ANSWERS, DNS_KEPT_OCTETS};
use crate::dns::lookup::Said;
use crate::rr::RecordType;

/// Where answers are looked for: twice as many as there are answers, so that few meet.
const PLACES: usize = 2 * DNS_KEPT_ANSWERS;

/// What an answer depends on beside the zones; the class is IN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'q> {
    /// Wire form in lower case.
    name: &'q [u8],
    rtype: RecordType,
    /// Octets the answer may have without its OPT record.
    room: usize,
    hash: u64,
}

/// What was said, and what the message is before its OPT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) said: Said,
    /// Records of each section.
    pub(crate) counts: [u16; 3],
    /// Octets of the message.
    pub(crate) len: usize,
}

#[derive(Debug)]
struct Answer {
    hash: u64,
    room: usize,
    rtype: RecordType,
    name_len: u8,
    sections_len: u8,
    body: Body,
    /// The name, and the sections after the question.
    octets: [u8; DNS_KEPT_OCTETS],
}

/// The answers of one thread.
#[derive(Debug)]
pub struct Kept {
    answers: Vec<Answer>,
    /// By the hash of what was asked: which answer it may be.
    places: Vec<u16>,
    /// By the same: another part of the hash of what was asked last and was not there.
    missed: Vec<u16>,
}

impl<'q> Asked<'q> {
    pub(crate) fn new(name: &'q [u8], rtype: RecordType, room: usize) -> Self {
        // Whoever makes names that meet here makes his own answers slower, and no slower than without this.
        let mix = |hash: u64, word: u64| (hash.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (words, rest) = name.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let hash = mix((room as u64) << 16 | u64::from(rtype.0), u64::from_le_bytes(last));
        let hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        Self { name, rtype, room, hash: hash ^ hash >> 32 }
    }

    fn place(&self) -> usize {
        self.hash as usize % PLACES
    }
}

impl Answer {
    /// None: it is too long to be kept.
    fn new(asked: &Asked<'_>, body: Body, sections: &[u8]) -> Option<Self> {
        let &Asked { name, rtype, room, hash } = asked;
        let mut octets = [0; DNS_KEPT_OCTETS];
        let (front, rest) = octets.split_at_mut_checked(name.len())?;
        front.copy_from_slice(name);
        rest.get_mut(..sections.len())?.copy_from_slice(sections);
        let (name_len, sections_len) = (u8::try_from(name.len()).ok()?, u8::try_from(sections.len()).ok()?);
        Some(Self { hash, room, rtype, name_len, sections_len, body, octets })
    }

    fn is(&self, asked: &Asked<'_>) -> bool {
        (self.hash, self.room, self.rtype) == (asked.hash, asked.room, asked.rtype)
            && self.octets[..usize::from(self.name_len)] == *asked.name
    }

    fn sections(&self) -> &[u8] {
        &self.octets[usize::from(self.name_len)..][..usize::from(self.sections_len)]
    }
}

impl Default for Kept {
    /// Empty; its memory is taken from the system as it fills.
    fn default() -> Self {
        Self { answers: Vec::with_capacity(DNS_KEPT_ANSWERS), places: vec![0; PLACES], missed: vec![0; PLACES] }
    }
}

impl Kept {
    /// Drops everything: the zones are others now.
    pub fn forget(&mut self) {
        self.answers.clear();
    }

    /// What was answered before, and the sections after the question.
    pub(crate) fn find(&self, asked: &Asked<'_>) -> Option<(Body, &[u8])> {
        let answer = self.answers.get(usize::from(self.places[asked.place()]))?;
        answer.is(asked).then(|| (answer.body, answer.sections()))
    }

    /// Keeps what was answered, if it is small and asked for again.
    pub(crate) fn keep(&mut self, asked: &Asked<'_>, body: Body, sections: &[u8]) {
        let (missed, now) = (&mut self.missed[asked.place()], (asked.hash >> 48) as u16);
        if *missed != now {
            *missed = now;
            return;
        }
        let Some(answer) = Answer::new(asked, body, sections) else { return };
        if self.answers.len() == DNS_KEPT_ANSWERS {
            // What is still asked for is back with the next query.
            self.forget();
        }
        self.places[asked.place()] = self.answers.len() as u16; // DNS_KEPT_ANSWERS at most
        self.answers.push(answer);
    }
}

const _: () = assert!(DNS_KEPT_ANSWERS <= u16::MAX as usize && PLACES.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::query::Rcode;

    fn body(len: usize) -> Body {
        let said = Said { rcode: Rcode::NoError, authoritative: true, truncated: false };
        Body { said, counts: [1, 2, 3], len }
    }

    fn name(number: usize) -> Vec<u8> {
        format!("\x06{number:06}\x07example\0").into_bytes()
    }

    fn asked(name: &[u8]) -> Asked<'_> {
        Asked::new(name, RecordType::A, 512)
    }

    #[test]
    fn what_is_asked_twice_is_kept_until_the_zones_change() {
        let (mut kept, name) = (Kept::default(), name(1));
        kept.keep(&asked(&name), body(40), b"one");
        assert_eq!(kept.find(&asked(&name)), None, "asked but once");
        kept.keep(&asked(&name), body(40), b"one");
        assert_eq!(kept.find(&asked(&name)), Some((body(40), &b"one"[..])));
        for other in [Asked::new(&name, RecordType::AAAA, 512), Asked::new(&name, RecordType::A, 513)] {
            assert_eq!(kept.find(&other), None);
        }
        let same_hash = Asked { name: b"\x01x\0", ..asked(&name) };
        assert_eq!(kept.find(&same_hash), None);
        kept.forget();
        assert_eq!(kept.find(&asked(&name)), None);
        kept.keep(&asked(&name), body(41), b"two");
        assert_eq!(kept.find(&asked(&name)), Some((body(41), &b"two"[..])));
    }

    #[test]
    fn long_answers_are_not_kept() {
        let (mut kept, name) = (Kept::default(), name(1));
        for (len, fits) in [(DNS_KEPT_OCTETS - name.len() + 1, false), (DNS_KEPT_OCTETS - name.len(), true)] {
            kept.keep(&asked(&name), body(len), &vec![7; len]);
            kept.keep(&asked(&name), body(len), &vec![7; len]);
            assert_eq!(kept.find(&asked(&name)).is_some(), fits, "{len}");
        }
    }

    #[test]
    fn names_by_chance_drive_nothing_out_and_memory_is_bounded() {
        let mut kept = Kept::default();
        for _ in 0..2 {
            kept.keep(&asked(&name(0)), body(40), b"own");
        }
        for number in 1..100_000 {
            kept.keep(&asked(&name(number)), body(40), b"flood");
        }
        assert!(kept.find(&asked(&name(0))).is_some());
        // A few met by a part of the hash.
        assert!(kept.answers.len() < 100, "{}", kept.answers.len());
        // Each asked twice: more than fit.
        for number in (1..100_000).flat_map(|number| [number, number]) {
            kept.keep(&asked(&name(number)), body(40), b"many");
            assert!(kept.answers.len() <= DNS_KEPT_ANSWERS && kept.answers.capacity() == DNS_KEPT_ANSWERS);
        }
        assert!(kept.find(&asked(&name(99_999))).is_some());
    }
}
