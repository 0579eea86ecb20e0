//! DNS messages by hand: questions as any octets, answers as sets. Knows nothing of the code under test.
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Longer than any answer takes.
const WAIT: Duration = Duration::from_secs(10);

/// How a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Plain,
    /// EDNS over UDP with this size.
    Edns(u16),
    Tcp,
    /// TCP with EDNS and the DO bit.
    TcpDo,
}

pub const MODES: [Mode; 6] = [Mode::Plain, Mode::Edns(512), Mode::Edns(1232), Mode::Edns(4096), Mode::Tcp, Mode::TcpDo];

impl Mode {
    /// Octets of the longest answer.
    pub fn room(self) -> usize {
        match self {
            Self::Plain => 512,
            Self::Edns(size) => usize::from(size),
            Self::Tcp | Self::TcpDo => 65_535,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Wire form, case as it is to be sent.
    pub name: Vec<u8>,
    pub rtype: u16,
}

/// A record: owner in lower case, type, TTL, data with names whole and in lower case.
pub type Record = (String, u16, u32, Vec<u8>);
pub type Set = BTreeSet<Record>;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub rcode: u16,
    pub aa: bool,
    pub tc: bool,
    pub ra: bool,
    pub ad: bool,
    /// The question came back as it was asked, octet for octet.
    pub echoed: bool,
    pub edns: bool,
    /// A record stands twice in a section.
    pub repeats: bool,
    pub answer: Set,
    pub authority: Set,
    pub additional: Set,
    pub len: usize,
}

/// Wire form of a name as people write it.
pub fn name(text: &str) -> Vec<u8> {
    ruche::rr::Name::parse(text, None).unwrap().as_wire().to_vec()
}

pub fn query(id: u16, question: &Question, mode: Mode) -> Vec<u8> {
    let edns = match mode {
        Mode::Plain | Mode::Tcp => None,
        Mode::Edns(size) => Some((size, 0u8)),
        Mode::TcpDo => Some((4096, 0x80)),
    };
    let mut message = Vec::new();
    message.extend(id.to_be_bytes());
    message.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    message.extend(&question.name);
    message.extend(question.rtype.to_be_bytes());
    message.extend(1u16.to_be_bytes());
    if let Some((size, flags)) = edns {
        message.extend([0, 0, 41]);
        message.extend(size.to_be_bytes());
        message.extend([0, 0, flags, 0, 0, 0]);
    }
    message
}

/// A server as one client sees it.
pub struct Client {
    address: SocketAddr,
    udp: UdpSocket,
    tcp: Option<TcpStream>,
    id: u16,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect(address).unwrap();
        udp.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        Self { address, udp, tcp: None, id: 0 }
    }

    /// The answer to one question; none where the server is silent.
    pub fn ask(&mut self, question: &Question, mode: Mode) -> Option<Reply> {
        self.id = self.id.wrapping_add(1);
        let message = query(self.id, question, mode);
        let answer = match mode {
            Mode::Tcp | Mode::TcpDo => self.over_tcp(&message)?,
            Mode::Plain | Mode::Edns(_) => self.over_udp(&message)?,
        };
        Some(read(&answer, &message).unwrap_or_else(|| panic!("{question:?} {mode:?}: {answer:02x?} is no message")))
    }

    fn over_udp(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut answer = vec![0; 65_535];
        // A datagram may be lost where the machine is busy.
        for _ in 0..3 {
            self.udp.send(message).unwrap();
            while let Ok(len) = self.udp.recv(&mut answer) {
                if answer[..2] == message[..2] {
                    answer.truncate(len);
                    return Some(answer);
                }
            }
        }
        None
    }

    fn over_tcp(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let framed = [&(message.len() as u16).to_be_bytes()[..], message].concat();
        // A server may end a connection after any number of questions.
        for _ in 0..3 {
            if let Some(answer) = self.exchange(&framed) {
                return Some(answer);
            }
            self.tcp = None;
        }
        None
    }

    fn exchange(&mut self, framed: &[u8]) -> Option<Vec<u8>> {
        if self.tcp.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, WAIT).ok()?;
            stream.set_read_timeout(Some(WAIT)).unwrap();
            stream.set_nodelay(true).unwrap();
            self.tcp = Some(stream);
        }
        let stream = self.tcp.as_mut()?;
        stream.write_all(framed).ok()?;
        let mut len = [0; 2];
        stream.read_exact(&mut len).ok()?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer).ok()?;
        Some(answer)
    }
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

/// A name that may be compressed, and where the message goes on after it.
fn name_at(message: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let (mut name, mut end, mut jumps) = (Vec::new(), None, 0);
    loop {
        let len = *message.get(at)?;
        match len {
            0 => {
                name.push(0);
                return (name.len() <= 255).then_some((name, end.unwrap_or(at + 1)));
            }
            0xc0.. => {
                end = end.or(Some(at + 2));
                let to = usize::from(u16_at(message, at)? & 0x3fff);
                jumps += 1;
                // A pointer points backwards.
                if to >= at || jumps > 127 {
                    return None;
                }
                at = to;
            }
            1..=63 => {
                name.extend(message.get(at..at + 1 + usize::from(len))?);
                at += 1 + usize::from(len);
            }
            _ => return None,
        }
    }
}

/// How many octets stand before a name in the data of a type, and how many names.
fn names_in(rtype: u16) -> Option<(usize, usize)> {
    match rtype {
        2..=5 | 7..=9 | 12 | 39 => Some((0, 1)),
        6 | 14 | 17 => Some((0, 2)),
        15 | 18 => Some((2, 1)),
        33 => Some((6, 1)),
        _ => None,
    }
}

/// Data as it is compared: names whole and in lower case.
fn data_at(message: &[u8], at: usize, len: usize, rtype: u16) -> Option<Vec<u8>> {
    let whole = message.get(at..at + len)?;
    let Some((before, names)) = names_in(rtype) else { return Some(whole.to_vec()) };
    let mut data = whole.get(..before)?.to_vec();
    let mut next = at + before;
    for _ in 0..names {
        let (name, after) = name_at(message, next)?;
        data.extend(name.to_ascii_lowercase());
        next = after;
    }
    data.extend(message.get(next..at + len)?);
    Some(data)
}

/// Reads an answer to `asked`; none where it is no whole message of it.
pub fn read(message: &[u8], asked: &[u8]) -> Option<Reply> {
    let flags = u16_at(message, 2)?;
    // An answer to a standard query.
    if flags & 0xf800 != 0x8000 {
        return None;
    }
    let counts: Vec<u16> = (0..4).map(|at| u16_at(message, 4 + 2 * at)).collect::<Option<_>>()?;
    let mut at = 12;
    let mut echoed = counts[0] == 1;
    for _ in 0..counts[0] {
        let (_, end) = name_at(message, at)?;
        echoed &= message.get(at..end + 4)? == asked.get(at..end + 4)?;
        at = end + 4;
    }
    let mut reply = Reply {
        rcode: flags & 15,
        aa: flags & 0x0400 != 0,
        tc: flags & 0x0200 != 0,
        ra: flags & 0x0080 != 0,
        ad: flags & 0x0020 != 0,
        echoed,
        edns: false,
        repeats: false,
        answer: Set::new(),
        authority: Set::new(),
        additional: Set::new(),
        len: message.len(),
    };
    for (section, count) in counts[1..].iter().enumerate() {
        for _ in 0..*count {
            let (owner, end) = name_at(message, at)?;
            let (rtype, len) = (u16_at(message, end)?, usize::from(u16_at(message, end + 8)?));
            let ttl = u32::from(u16_at(message, end + 4)?) << 16 | u32::from(u16_at(message, end + 6)?);
            let data = data_at(message, end + 10, len, rtype)?;
            at = end + 10 + len;
            if rtype == 41 {
                reply.edns = true;
                reply.rcode |= (ttl >> 24 << 4) as u16;
                continue;
            }
            let owner = ruche::rr::Name::from_wire(&owner).ok()?.to_string();
            let set = match section {
                0 => &mut reply.answer,
                1 => &mut reply.authority,
                _ => &mut reply.additional,
            };
            reply.repeats |= !set.insert((owner, rtype, ttl, data));
        }
    }
    (at == message.len()).then_some(reply)
}
