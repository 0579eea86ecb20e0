//! One question and its wire form. Which octets answer it is decided in `answer`.
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

use crate::base::limits::DNS_UDP_MAX;
use crate::base::names::ZoneName;
use crate::resolve::error::ResolveError;

/// Octets of the message before its question.
pub(super) const HEADER: usize = 12;
/// An OPT record without options: the root's name, type, class, TTL, length.
const OPT: usize = 11;

#[derive(Debug)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) rtype: RecordType,
}

/// A question as it is sent.
pub(super) struct Sent<'a> {
    pub(super) question: &'a Question,
    pub(super) message: Vec<u8>,
    /// Where its question section ends.
    pub(super) end: usize,
}

impl Question {
    pub(super) fn new(name: &str, rtype: RecordType) -> Result<Self, ResolveError> {
        let name = ZoneName::parse(name)?;
        let labels = Name::from_labels(name.as_str().split('.').map(str::as_bytes));
        Ok(Self { name: labels.expect("what was parsed as a name has labels of a name"), rtype })
    }

    /// With EDNS an answer of usual length comes in one datagram.
    pub(super) fn send(&self, id: u16, edns: bool) -> Sent<'_> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.rtype));
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(DNS_UDP_MAX as u16);
            message.set_edns(edns);
        }
        let message = message.to_vec().expect("one question fits in a message");
        let end = message.len() - if edns { OPT } else { 0 };
        Sent { question: self, message, end }
    }
}

/// A name as text: lower case, no final dot, what is odd in it escaped as zone files do.
pub(super) fn text(name: &Name) -> String {
    let labels = name.iter().flat_map(|label| [&[label.len() as u8], label].concat());
    let wire: Vec<u8> = labels.chain([0]).collect();
    let mut text = crate::rr::Name::from_wire(&wire).expect("what was read as a name is one").to_string();
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form() {
        let question = Question::new("_a.Example.", RecordType::TXT).unwrap();
        let plain = b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x02_a\x07example\0\0\x10\0\x01";
        let sent = question.send(0xabcd, false);
        assert_eq!((&sent.message[..], sent.end), (&plain[..], plain.len()));
        let sent = question.send(0xabcd, true);
        assert_eq!(sent.end, plain.len());
        assert_eq!(sent.message[HEADER..sent.end], plain[HEADER..]);
        assert_eq!(sent.message[sent.end..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        assert_eq!(text(&question.name), "_a.example");
        assert_eq!(text(&Name::from_labels([&b"a.B c"[..], b"\xff"]).unwrap()), "a\\.b\\032c.\\255");
        assert_eq!(text(&Name::root()), "");
        assert!(Question::new(&format!("{}.example", "a".repeat(64)), RecordType::A).is_err());
        assert_eq!(
            text(&Question::new("0/25.2.0.192.in-addr.arpa", RecordType::A).unwrap().name),
            "0/25.2.0.192.in-addr.arpa"
        );
        assert!(Question::new(&"a.".repeat(127), RecordType::A).is_ok());
    }

    #[test]
    fn what_is_no_name_is_not_asked() {
        for bad in ["", ".", "a..b", "a b", "a\\.b", "*.a.b", "-a.b"] {
            assert!(Question::new(bad, RecordType::A).is_err(), "{bad}");
        }
    }
}
