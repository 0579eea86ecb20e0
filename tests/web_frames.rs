//! RFC 9113 by raw frames: each case sends what a client may or must not send, and says what the section asks of us. Where the
//! engine does otherwise, the case says that too, and why it is sound: whoever mends it there finds this table red.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::fs;

use serde_json::json;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::frames::*;
use support::sites::Sites;

const HOST: &str = "one.example";
const SMALL: &str = "fine";
/// Larger than any window we are given here.
const LARGE: usize = 300_000;

const NO_ERROR: u32 = 0;
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const CANCEL: u32 = 8;
const COMPRESSION: u32 = 9;
const CALM: u32 = 11;

const WINDOW: u16 = 4;

/// What the section asks for.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// A response on the stream; the connection goes on.
    Answer(u32, u16),
    /// RST_STREAM with the code; the connection goes on.
    Reset(u32, u32),
    /// GOAWAY with the code, and the end.
    Goaway(u32),
    /// The end, with or without a word.
    End,
    /// Neither a reset nor an end: it is passed over.
    Ignored,
}
use Expect::{Answer, End, Goaway, Ignored, Reset};

/// Section 7 has codes to tell faults apart; the engine calls nearly all of them PROTOCOL_ERROR. The end is the same.
const UNSPECIFIC: &str = "the engine has no code but PROTOCOL_ERROR for it";
/// Section 5.4.1 lets an endpoint end a connection at any time, in place of one stream.
const WHOLE: &str = "the engine ends the connection in place of the stream";

struct Case {
    section: &'static str,
    what: &'static str,
    /// Our own settings.
    settings: &'static [(u16, u32)],
    /// What goes before, and the stream whose end is waited for then.
    before: Option<(Vec<u8>, u32)>,
    send: Vec<u8>,
    expect: Expect,
    /// What comes in its place, and why.
    instead: Option<(Expect, &'static str)>,
}

fn case(section: &'static str, what: &'static str, send: Vec<u8>, expect: Expect) -> Case {
    Case { section, what, settings: &[], before: None, send, expect, instead: None }
}

impl Case {
    /// A request was answered to its end before.
    fn after_an_answer(self) -> Self {
        Self { before: Some((get(1), 1)), ..self }
    }

    /// A request is answered with more than we take: its stream is half-closed (remote) and stays so.
    fn while_answered(self) -> Self {
        let held = [headers(1, END_STREAM, &asking("GET", "/large.bin", HOST)), ping(b"answered")].concat();
        Self { settings: &[(WINDOW, 0)], before: Some((held, 0)), ..self }
    }

    fn but(self, instead: Expect, why: &'static str) -> Self {
        Self { instead: Some((instead, why)), ..self }
    }

    fn unspecific(self) -> Self {
        self.but(Goaway(PROTOCOL), UNSPECIFIC)
    }

    fn whole(self) -> Self {
        self.but(Goaway(PROTOCOL), WHOLE)
    }
}

fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, block)
}

fn get(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, &asking("GET", "/", HOST))
}

/// A request whose stream stays half-open: its body does not come.
fn open(stream: u32) -> Vec<u8> {
    headers(stream, 0, &asking("GET", "/large.bin", HOST))
}

/// A request with more fields than it should have.
fn with(pairs: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, &[asking("GET", "/", HOST), fields(pairs)].concat())
}

fn pseudo(pairs: &[(&str, &str)]) -> Vec<u8> {
    headers(1, END_STREAM, &fields(pairs))
}

fn all(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn serving() -> Sites {
    let sites = Sites::ready();
    let root = sites.create(HOST, json!({}));
    fs::write(root.join("index.html"), SMALL).unwrap();
    fs::write(root.join("large.bin"), vec![b'x'; LARGE]).unwrap();
    sites
}

const WORD: &[u8; 8] = b"still on";

/// Runs a case: what came, and whether that is what was asked for.
fn run(sites: &Sites, case: &Case) -> Result<(), String> {
    let mut talk = Talk::begun(sites, HOST, case.settings);
    let mut heard = Vec::new();
    if let Some((bytes, stream)) = &case.before {
        talk.send(bytes);
        let answered = |frame: &Frame| match stream {
            0 => frame.kind == PING,
            stream => frame.stream == *stream && frame.ends_stream(),
        };
        talk.until(&mut heard, answered).map_err(|none| format!("{none:?} before it began: {heard:?}"))?;
        heard.clear();
    }
    talk.send(&case.send);
    let expect = case.instead.map_or(case.expect, |(instead, _)| instead);
    let came = came(&mut talk, &mut heard, expect);
    // Large bodies are of no interest.
    heard.iter_mut().for_each(|frame| frame.payload.truncate(40));
    came.map_err(|why| format!("{why}: {heard:?}"))
}

fn came(talk: &mut Talk, heard: &mut Vec<Frame>, expect: Expect) -> Result<(), String> {
    let (stream, kind, code) = match expect {
        Answer(stream, status) => {
            let answered = |frame: &Frame| frame.stream == stream && frame.status().is_some();
            let frame = talk.until(heard, answered).map_err(|none| format!("{none:?}, no answer"))?;
            if frame.status() != Some(status) {
                return Err(format!("{:?} in place of {status}", frame.status()));
            }
            return goes_on(talk, heard);
        }
        Ignored => return goes_on(talk, heard),
        End => {
            return match talk.until(heard, |_| false) {
                Err(NoFrame::End) => Ok(()),
                _ => Err("no end".into()),
            };
        }
        Reset(stream, code) => (stream, RST_STREAM, code),
        Goaway(code) => (0, GOAWAY, code),
    };
    let is_it = |frame: &Frame| frame.kind == kind && frame.stream == stream;
    let frame = talk.until(heard, is_it).map_err(|none| format!("{none:?} in place of it"))?;
    if frame.code() != Some(code) {
        return Err(format!("code {:?} in place of {code}", frame.code()));
    }
    match expect {
        Goaway(_) => match talk.until(heard, |_| false) {
            Err(NoFrame::End) => Ok(()),
            _ => Err("no end after GOAWAY (section 5.4.1)".into()),
        },
        _ => goes_on(talk, heard),
    }
}

/// The connection is as it was: a PING is answered, and nothing else was reset.
fn goes_on(talk: &mut Talk, heard: &mut Vec<Frame>) -> Result<(), String> {
    let before = heard.len();
    talk.send(&ping(WORD));
    let answered = |frame: &Frame| frame.kind == PING && frame.flags == ACK && frame.payload == WORD;
    talk.until(heard, answered).map_err(|none| format!("{none:?}: the connection did not go on"))?;
    // That we need no more of a request is no error (section 8.1).
    let is_end = |frame: &Frame| matches!(frame.kind, GOAWAY | RST_STREAM) && frame.code() != Some(NO_ERROR);
    if heard[before..].iter().any(is_end) { Err("more was ended than that".into()) } else { Ok(()) }
}

fn run_all(cases: Vec<Case>) {
    let sites = serving();
    let count = cases.len();
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let failure = run(&sites, case).err()?;
            let Case { section, what, expect, instead, .. } = case;
            Some(format!("{section} {what}: expected {expect:?}, or rather {instead:?}: {failure}"))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    let otherwise = cases.iter().filter(|case| case.instead.is_some());
    println!("{count} cases; {} otherwise than asked for, with a reason", otherwise.count());
    sites.is_well(HOST);
}

#[test]
fn the_preface() {
    let sites = serving();
    for (what, bytes, expect) in [
        ("the preface", [PREFACE, &settings(&[])].concat(), Ignored),
        ("a request with the preface", [PREFACE, &settings(&[]), &get(1)].concat(), Answer(1, 200)),
        ("no preface", b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec(), End),
        ("the method of the preface only", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), End),
        ("HTTP/1 in its place", b"GET / HTTP/1.1\r\nhost: one.example\r\n\r\n".to_vec(), End),
        // The section lets us omit the GOAWAY.
        ("PING in place of SETTINGS", [PREFACE, &ping(b"too soon")].concat(), End),
        ("HEADERS in place of SETTINGS", [PREFACE, &get(1)].concat(), End),
        ("an acknowledgement in place of SETTINGS", [PREFACE, &frame(SETTINGS, ACK, 0, &[])].concat(), End),
    ] {
        let mut talk = Talk::silent(&sites, HOST);
        talk.send(&bytes);
        let mut heard = Vec::new();
        let came = came(&mut talk, &mut heard, expect);
        assert!(came.is_ok(), "3.4 {what}: {came:?}: {heard:?}");
        if matches!(expect, Ignored) {
            assert_eq!(heard[0].kind, SETTINGS, "3.4: ours come first: {heard:?}");
            assert_eq!(heard[0].flags & ACK, 0, "{heard:?}");
            let ours = heard.iter().filter(|frame| frame.kind == SETTINGS && frame.flags == ACK);
            assert_eq!(ours.count(), 1, "6.5.3: theirs are acknowledged once: {heard:?}");
        }
    }
    sites.is_well(HOST);
}

#[test]
fn frames_and_heads() {
    let full = vec![0; 16_384];
    let over = vec![0; 16_385];
    let split = asking("GET", "/", HOST);
    let (one, two) = split.split_at(10);
    let large = [asking("GET", "/", HOST), field("x", "y".repeat(15_000))].concat();
    let too_large = [asking("GET", "/", HOST), field("x", "y".repeat(16_400))].concat();
    let block = |bytes: &[u8]| headers(1, END_STREAM, bytes);
    let then = |bytes: &[u8]| headers(1, END_STREAM, &[&asking("GET", "/", HOST)[..], bytes].concat());
    run_all(vec![
        case("4.1", "an unknown frame", frame(0xfa, 0, 0, b"anything"), Ignored),
        case("4.1", "an unknown frame on an idle stream", frame(0xfa, 0xff, 7, b"anything"), Ignored),
        case("4.1", "flags nobody defined", frame(PING, 0xfe, 0, b"anything"), Ignored),
        case("4.1", "the reserved bit", frame(PING, 0, 1 << 31, b"anything"), Ignored),
        case("4.2", "DATA of 2^14 octets", all(&[open(1), frame(DATA, END_STREAM, 1, &full)]), Answer(1, 200)),
        case("4.2", "DATA of more", all(&[open(1), frame(DATA, 0, 1, &over)]), Goaway(FRAME_SIZE)),
        case("4.2", "HEADERS of nearly 2^14 octets", block(&large), Answer(1, 200)),
        case("4.2", "HEADERS of more", block(&too_large), Goaway(FRAME_SIZE)),
        case("4.2", "an unknown frame of more", frame(0xfa, 0, 0, &over), Goaway(FRAME_SIZE)),
        case(
            "4.3",
            "a block in two frames",
            all(&[frame(HEADERS, 1, 1, one), frame(CONTINUATION, 4, 1, two)]),
            Answer(1, 200),
        ),
        case("4.3", "an index of 0", then(&[0x80]), Goaway(COMPRESSION)).unspecific(),
        case("4.3", "an index beyond both tables", then(&[0xff, 0x80, 1]), Goaway(COMPRESSION)).unspecific(),
        case("4.3", "a name by an index beyond both tables", then(&[0x7f, 0x80, 1, 1, b'x']), Goaway(COMPRESSION))
            .unspecific(),
        case("4.3", "an endless integer", then(&[0xff; 12]), Goaway(COMPRESSION)).unspecific(),
        case("4.3", "a string beyond the block", then(&[0, 1, b'x', 100, b'y']), Goaway(COMPRESSION)).unspecific(),
        case(
            "4.3",
            "the end of Huffman coding in a string",
            then(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]),
            Goaway(COMPRESSION),
        )
        .unspecific(),
        case(
            "4.3",
            "padding of Huffman coding of eight bits",
            then(&[0, 1, b'x', 0x82, 0x1f, 0xff]),
            Goaway(COMPRESSION),
        )
        .unspecific(),
        case("4.3", "padding of Huffman coding with zeros", then(&[0, 1, b'x', 0x81, 0x18]), Goaway(COMPRESSION))
            .unspecific(),
        case(
            "4.3",
            "a table larger than allowed",
            all(&[block(&[&[0x3f, 0xff, 0xff, 0x03], &split[..]].concat())]),
            Goaway(COMPRESSION),
        )
        .unspecific(),
        case("4.3", "a table's size behind the fields", then(&[0x20]), Goaway(COMPRESSION)).unspecific(),
        case("4.3", "a table's size before the fields", block(&[&[0x20], &split[..]].concat()), Answer(1, 200)),
        case(
            "4.3",
            "an open block, then PRIORITY",
            all(&[frame(HEADERS, 1, 1, one), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])]),
            Goaway(PROTOCOL),
        ),
        case(
            "4.3",
            "an open block, then HEADERS elsewhere",
            all(&[frame(HEADERS, 1, 1, one), get(3)]),
            Goaway(PROTOCOL),
        ),
        case(
            "4.3",
            "an open block, then an unknown frame (5.5)",
            all(&[frame(HEADERS, 1, 1, one), frame(0xfa, 0, 1, b"x")]),
            Goaway(PROTOCOL),
        ),
        case(
            "4.3",
            "a fault in a block nobody waits for",
            all(&[open(1), reset(1, CANCEL), headers(1, END_STREAM, &[0x80])]),
            Goaway(COMPRESSION),
        )
        .unspecific(),
    ]);
}

#[test]
fn states_of_streams() {
    let data = |stream| frame(DATA, END_STREAM, stream, b"x");
    let continuation = |stream| frame(CONTINUATION, END_HEADERS, stream, &field("x", "y"));
    let priority = |stream, on: u32| frame(PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[1]].concat());
    // With that of the answer under way, 128 are allowed.
    let many = (1..=128).map(|number| open(2 * number + 1)).collect::<Vec<_>>().concat();
    let canceled = || all(&[open(1), reset(1, CANCEL)]);
    run_all(vec![
        case("5.1", "idle: DATA", data(1), Goaway(PROTOCOL)),
        case("5.1", "idle: RST_STREAM", reset(1, CANCEL), Goaway(PROTOCOL)),
        case("5.1", "idle: WINDOW_UPDATE", window_update(1, 100), Goaway(PROTOCOL)),
        case("5.1", "idle: CONTINUATION", continuation(1), Goaway(PROTOCOL)),
        case("5.1", "idle: PRIORITY", priority(1, 0), Ignored),
        case("5.1", "half-closed (remote): DATA", data(1), Reset(1, CLOSED)).while_answered().whole(),
        case("5.1", "half-closed (remote): HEADERS", get(1), Reset(1, CLOSED)).while_answered().whole(),
        case("5.1", "half-closed (remote): CONTINUATION", continuation(1), Goaway(PROTOCOL)).while_answered(),
        case("5.1", "half-closed (remote): WINDOW_UPDATE", window_update(1, 1), Ignored).while_answered(),
        case("5.1", "half-closed (remote): PRIORITY", priority(1, 0), Ignored).while_answered(),
        case("5.1", "half-closed (remote): RST_STREAM", reset(1, CANCEL), Ignored).while_answered(),
        case("5.1", "closed by a reset: DATA", all(&[canceled(), data(1)]), Reset(1, CLOSED)),
        case("5.1", "closed by a reset: HEADERS", all(&[canceled(), get(1)]), Reset(1, CLOSED)).whole(),
        case("5.1", "closed by a reset: CONTINUATION", all(&[canceled(), continuation(1)]), Goaway(PROTOCOL)),
        case("5.1", "closed: DATA", data(1), Reset(1, CLOSED)).after_an_answer(),
        case("5.1", "closed: HEADERS (5.1.1)", get(1), Goaway(PROTOCOL)).after_an_answer(),
        case("5.1", "closed: CONTINUATION", continuation(1), Goaway(PROTOCOL)).after_an_answer(),
        case("5.1", "closed: PRIORITY", priority(1, 0), Ignored).after_an_answer(),
        case("5.1", "closed: WINDOW_UPDATE", window_update(1, 1), Ignored).after_an_answer(),
        case("5.1", "closed: RST_STREAM", reset(1, CANCEL), Ignored).after_an_answer(),
        case("5.1", "closed: the next request", get(3), Ignored).after_an_answer(),
        case("5.1.1", "a stream of even number", get(2), Goaway(PROTOCOL)),
        case("5.1.1", "stream 0", get(0), Goaway(PROTOCOL)),
        case("5.1.1", "a lower number than before", all(&[get(5), get(3)]), Goaway(PROTOCOL)),
        case("5.1.1", "numbers that were left out", get(11), Answer(11, 200)),
        case("5.1.2", "more requests than we allow", many, Reset(257, REFUSED)).while_answered(),
        case(
            "5.3.1",
            "a stream that depends on itself, by HEADERS",
            frame(HEADERS, 0x25, 1, &[&[0, 0, 0, 1, 5], &asking("GET", "/", HOST)[..]].concat()),
            Reset(1, PROTOCOL),
        ),
        case("5.3.1", "a stream that depends on itself, by PRIORITY", priority(1, 1), Reset(1, PROTOCOL)),
        case(
            "5.5",
            "an unknown frame while a request's body comes",
            all(&[open(1), frame(0xfa, 0, 1, b"x"), frame(DATA, 1, 1, b"")]),
            Answer(1, 200),
        ),
        case("5.5", "an unknown setting", settings(&[(0xfafa, 7)]), Ignored),
    ]);
}

#[test]
fn each_kind_of_frame() {
    let block = asking("GET", "/", HOST);
    let (one, two) = block.split_at(10);
    let padded = |length: u8, bytes: &[u8]| [&[length], bytes].concat();
    let most = i32::MAX as u32;
    run_all(vec![
        case("6.1", "DATA on stream 0", frame(DATA, 0, 0, b"x"), Goaway(PROTOCOL)),
        case(
            "6.1",
            "DATA with padding",
            all(&[open(1), frame(DATA, PADDED | END_STREAM, 1, &padded(2, b"xyz"))]),
            Answer(1, 200),
        ),
        case(
            "6.1",
            "DATA of padding as long as all of it",
            all(&[open(1), frame(DATA, PADDED, 1, &padded(3, b"xy"))]),
            Goaway(PROTOCOL),
        ),
        case("6.1", "DATA with padding and no octet", all(&[open(1), frame(DATA, PADDED, 1, b"")]), Goaway(PROTOCOL)),
        case(
            "6.2",
            "HEADERS with padding",
            frame(HEADERS, PADDED | 5, 1, &padded(3, &[&block[..], b"\0\0\0"].concat())),
            Answer(1, 200),
        ),
        case(
            "6.2",
            "HEADERS of padding as long as all of it",
            frame(HEADERS, PADDED | 5, 1, &padded(250, &block)),
            Goaway(PROTOCOL),
        ),
        case(
            "6.2",
            "HEADERS with priority",
            frame(HEADERS, WITH_PRIORITY | 5, 1, &[&[0, 0, 0, 0, 5], &block[..]].concat()),
            Answer(1, 200),
        ),
        case(
            "6.2",
            "HEADERS too short for their priority",
            frame(HEADERS, WITH_PRIORITY | 5, 1, &[0, 0, 0]),
            Goaway(FRAME_SIZE),
        )
        .unspecific(),
        case("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 1]), Goaway(PROTOCOL)),
        case("6.3", "PRIORITY of 4 octets", all(&[open(1), frame(PRIORITY, 0, 1, &[0; 4])]), Reset(1, FRAME_SIZE))
            .whole(),
        case("6.4", "RST_STREAM on stream 0", reset(0, CANCEL), Goaway(PROTOCOL)),
        case("6.4", "RST_STREAM of 3 octets", all(&[open(1), frame(RST_STREAM, 0, 1, &[0; 3])]), Goaway(FRAME_SIZE))
            .unspecific(),
        case("6.4", "RST_STREAM of 5 octets", all(&[open(1), frame(RST_STREAM, 0, 1, &[0; 5])]), Goaway(FRAME_SIZE))
            .unspecific(),
        case(
            "6.5",
            "an acknowledgement with a setting",
            frame(SETTINGS, ACK, 0, &setting(WINDOW, 1)),
            Goaway(FRAME_SIZE),
        )
        .unspecific(),
        case("6.5.3", "an acknowledgement of ours", frame(SETTINGS, ACK, 0, &[]), Ignored),
        case("6.5.3", "an acknowledgement of nothing", frame(SETTINGS, ACK, 0, &[]).repeat(2), Goaway(PROTOCOL)),
        case("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, &setting(WINDOW, 1)), Goaway(PROTOCOL)),
        case("6.5", "SETTINGS of 3 octets", frame(SETTINGS, 0, 0, &[0; 3]), Goaway(FRAME_SIZE)).unspecific(),
        case("6.5.2", "ENABLE_PUSH of 2", settings(&[(2, 2)]), Goaway(PROTOCOL)),
        case("6.5.2", "INITIAL_WINDOW_SIZE of 2^31", settings(&[(WINDOW, 1 << 31)]), Goaway(FLOW_CONTROL)).unspecific(),
        case("6.5.2", "INITIAL_WINDOW_SIZE of 2^31 - 1", settings(&[(WINDOW, most)]), Ignored),
        case("6.5.2", "MAX_FRAME_SIZE of 2^14 - 1", settings(&[(5, 16_383)]), Goaway(PROTOCOL)),
        case("6.5.2", "MAX_FRAME_SIZE of 2^24", settings(&[(5, 1 << 24)]), Goaway(PROTOCOL)),
        case("6.5.2", "MAX_FRAME_SIZE of 2^24 - 1", settings(&[(5, (1 << 24) - 1)]), Ignored),
        case("6.5.2", "a table of no size", all(&[settings(&[(1, 0)]), get(1)]), Answer(1, 200)),
        case(
            "6.6",
            "PUSH_PROMISE",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &block[..]].concat()),
            Goaway(PROTOCOL),
        ),
        case("6.7", "PING on a stream", frame(PING, 0, 1, WORD), Goaway(PROTOCOL)),
        case("6.7", "PING of 6 octets", frame(PING, 0, 0, &[0; 6]), Goaway(FRAME_SIZE)).unspecific(),
        case("6.7", "an acknowledgement nobody waits for", frame(PING, ACK, 0, b"unasked!"), Ignored),
        case("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Goaway(PROTOCOL)),
        case("6.8", "GOAWAY of 7 octets", frame(GOAWAY, 0, 0, &[0; 7]), Goaway(FRAME_SIZE)).unspecific(),
        case("6.8", "GOAWAY without a stream under way", frame(GOAWAY, 0, 0, &[0; 8]), End),
        case("6.9", "WINDOW_UPDATE by 0", window_update(0, 0), Goaway(PROTOCOL)),
        case("6.9", "WINDOW_UPDATE of a stream by 0", all(&[open(1), window_update(1, 0)]), Reset(1, PROTOCOL)).whole(),
        case("6.9", "WINDOW_UPDATE of 3 octets", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Goaway(FRAME_SIZE)).unspecific(),
        case("6.9.1", "a window beyond 2^31 - 1", window_update(0, most), Goaway(FLOW_CONTROL)),
        case("6.9.1", "a stream's window beyond 2^31 - 1", window_update(1, most).repeat(2), Reset(1, FLOW_CONTROL))
            .while_answered(),
        case(
            "6.9.2",
            "a setting that takes a stream's window beyond",
            all(&[window_update(1, most - 9), settings(&[(WINDOW, 10)])]),
            Goaway(FLOW_CONTROL),
        )
        .while_answered(),
        case(
            "6.10",
            "CONTINUATION three times",
            all(&[
                frame(HEADERS, 1, 1, one),
                frame(CONTINUATION, 0, 1, &two[..9]),
                frame(CONTINUATION, 0, 1, &two[9..20]),
                frame(CONTINUATION, 4, 1, &two[20..]),
            ]),
            Answer(1, 200),
        ),
        case(
            "6.10",
            "CONTINUATION, then DATA",
            all(&[frame(HEADERS, 1, 1, one), frame(CONTINUATION, 0, 1, two), frame(DATA, 1, 1, b"x")]),
            Goaway(PROTOCOL),
        ),
        case(
            "6.10",
            "CONTINUATION on stream 0",
            all(&[frame(HEADERS, 1, 1, one), frame(CONTINUATION, 4, 0, two)]),
            Goaway(PROTOCOL),
        ),
        case(
            "6.10",
            "CONTINUATION on another stream",
            all(&[frame(HEADERS, 1, 1, one), frame(CONTINUATION, 4, 3, two)]),
            Goaway(PROTOCOL),
        ),
        case(
            "6.10",
            "CONTINUATION after a whole block",
            all(&[open(1), frame(CONTINUATION, 4, 1, &field("x", "y"))]),
            Goaway(PROTOCOL),
        ),
        case(
            "6.10",
            "CONTINUATION after the last one",
            all(&[
                frame(HEADERS, 1, 1, one),
                frame(CONTINUATION, 4, 1, two),
                frame(CONTINUATION, 4, 1, &field("x", "y")),
            ]),
            Goaway(PROTOCOL),
        ),
        case(
            "6.10",
            "CONTINUATION after DATA",
            all(&[open(1), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, 4, 1, &field("x", "y"))]),
            Goaway(PROTOCOL),
        ),
        case("7", "RST_STREAM with an unknown code", reset(1, 0xfafa), Ignored).while_answered(),
        case("7", "GOAWAY with an unknown code", frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0xfa, 0xfa]), End),
    ]);
}

#[test]
fn messages() {
    let malformed = Reset(1, PROTOCOL);
    let post = |length: &str, body: &[Vec<u8>]| {
        let head = [asking("POST", "/", HOST), field("content-length", length)].concat();
        let end = if body.is_empty() { END_STREAM } else { 0 };
        all(&[headers(1, end, &head), all(body)])
    };
    let last = |bytes: &[u8]| frame(DATA, END_STREAM, 1, bytes);
    let trailers = |flags, pairs: &[(&str, &str)]| all(&[open(1), headers(1, flags, &fields(pairs))]);
    let raw =
        |name: &[u8], value: &[u8]| headers(1, END_STREAM, &[asking("GET", "/", HOST), field(name, value)].concat());
    run_all(vec![
        case("8.1", "trailers", trailers(END_STREAM, &[("x", "y")]), Answer(1, 200)),
        case("8.1", "HEADERS in the middle of a request", trailers(0, &[("x", "y")]), malformed),
        case("8.1", "a pseudo-field among trailers", trailers(END_STREAM, &[(":path", "/")]), malformed)
            .but(Answer(1, 200), "the engine drops it: nobody ever sees it"),
        case("8.1.1", "a length and no body", post("1", &[]), malformed),
        case("8.1.1", "a longer body than its length", post("1", &[last(b"xy")]), malformed),
        case("8.1.1", "a shorter body than its length", post("3", &[last(b"xy")]), malformed),
        case(
            "8.1.1",
            "a body shorter in all than its length",
            post("4", &[frame(DATA, 0, 1, b"x"), last(b"yz")]),
            malformed,
        ),
        case("8.1.1", "a body of its length", post("2", &[last(b"xy")]), Answer(1, 405)),
        case("8.1.1", "a length that is no number", post("+2", &[last(b"xy")]), malformed),
        case(
            "8.1.1",
            "two lengths",
            headers(
                1,
                0,
                &[asking("POST", "/", HOST), fields(&[("content-length", "1"), ("content-length", "2")])].concat(),
            ),
            malformed,
        ),
        case("8.2.1", "a name with a capital", with(&[("X-Name", "y")]), malformed).whole(),
        case("8.2.1", "a name with a blank", with(&[("x name", "y")]), malformed).whole(),
        case("8.2.1", "a name with a colon", with(&[("x:name", "y")]), malformed).whole(),
        case("8.2.1", "a name with NUL", raw(b"x\0", b"y"), malformed).whole(),
        case("8.2.1", "a name with CR LF", raw(b"x\r\ny", b"z"), malformed).whole(),
        case("8.2.1", "a name beyond ASCII", raw(b"x\xe9", b"z"), malformed).whole(),
        case("8.2.1", "a name of no length", raw(b"", b"z"), malformed).whole(),
        case("8.2.1", "a value with NUL", raw(b"x", b"y\0z"), malformed).whole(),
        case("8.2.1", "a value with LF", raw(b"x", b"y\nhost: z"), malformed).whole(),
        case("8.2.1", "a value with CR", raw(b"x", b"y\rz"), malformed).whole(),
        case("8.2.1", "a value with a blank before it", raw(b"x", b" y"), Answer(1, 400)),
        case("8.2.1", "a value with a tab behind it", raw(b"x", b"y\t"), Answer(1, 400)),
        case("8.2.1", "a value beyond ASCII", raw(b"x", b"y\xe9"), Answer(1, 200)),
        case("8.2.2", "connection", with(&[("connection", "keep-alive")]), malformed),
        case("8.2.2", "keep-alive", with(&[("keep-alive", "1")]), malformed),
        case("8.2.2", "proxy-connection", with(&[("proxy-connection", "keep-alive")]), malformed),
        case("8.2.2", "transfer-encoding", with(&[("transfer-encoding", "chunked")]), malformed),
        case("8.2.2", "upgrade", with(&[("upgrade", "websocket")]), malformed),
        case("8.2.2", "te other than trailers", with(&[("te", "trailers, deflate;q=0.5")]), malformed),
        case("8.2.2", "te of trailers", with(&[("te", "trailers")]), Answer(1, 200)),
        case("8.2.3", "a cookie in pieces", with(&[("cookie", "a=b"), ("cookie", "c=d")]), Answer(1, 200)),
        case("8.3", "an unknown pseudo-field", with(&[(":test", "x")]), malformed).whole(),
        case(
            "8.3",
            "a pseudo-field behind a field",
            pseudo(&[(":method", "GET"), ("x", "y"), (":scheme", "https"), (":authority", HOST), (":path", "/")]),
            malformed,
        ),
        case("8.3", "the pseudo-field of a response", with(&[(":status", "200")]), malformed),
        case("8.3.1", "no :method", pseudo(&[(":scheme", "https"), (":authority", HOST), (":path", "/")]), malformed),
        case("8.3.1", "no :scheme", pseudo(&[(":method", "GET"), (":authority", HOST), (":path", "/")]), malformed),
        case("8.3.1", "no :path", pseudo(&[(":method", "GET"), (":scheme", "https"), (":authority", HOST)]), malformed),
        case(
            "8.3.1",
            "an empty :path",
            pseudo(&[(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "")]),
            malformed,
        ),
        case(
            "8.3.1",
            ":method twice",
            all(&[headers(1, 1, &[field(":method", "GET"), asking("GET", "/", HOST)].concat())]),
            malformed,
        ),
        case(
            "8.3.1",
            ":scheme twice",
            all(&[headers(1, 1, &[field(":scheme", "https"), asking("GET", "/", HOST)].concat())]),
            malformed,
        ),
        case(
            "8.3.1",
            ":path twice",
            all(&[headers(1, 1, &[field(":path", "/"), asking("GET", "/", HOST)].concat())]),
            malformed,
        ),
        case(
            "8.3.1",
            ":authority twice",
            all(&[headers(1, 1, &[field(":authority", HOST), asking("GET", "/", HOST)].concat())]),
            malformed,
        ),
        case("8.4", "PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]), Goaway(PROTOCOL))
            .while_answered(),
        case("8.5", "CONNECT", pseudo(&[(":method", "CONNECT"), (":authority", "one.example:443")]), Answer(1, 405)),
        case("8.5", "CONNECT with :scheme and :path", headers(1, 1, &asking("CONNECT", "/", HOST)), malformed),
        case(
            "RFC 8441",
            "a WebSocket where nobody speaks it",
            headers(1, 0, &[asking("CONNECT", "/", HOST), field(":protocol", "websocket")].concat()),
            Answer(1, 405),
        ),
        case(
            "RFC 8441",
            "a protocol without CONNECT",
            headers(1, END_STREAM, &[asking("GET", "/", HOST), field(":protocol", "websocket")].concat()),
            malformed,
        ),
    ]);
}

/// Whose request it is, and what for: where HTTP/1 and HTTP/2 could be read differently.
#[test]
fn what_a_request_names() {
    let malformed = Reset(1, PROTOCOL);
    let asked = |scheme: &str, authority: &str, path: &str| {
        pseudo(&[(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", path)])
    };
    let nobody = || fields(&[(":method", "GET"), (":scheme", "https"), (":path", "/")]);
    let large = [
        frame(HEADERS, END_STREAM, 1, &[asking("GET", "/", HOST), field("x", "y".repeat(10_000))].concat()),
        frame(CONTINUATION, END_HEADERS, 1, &field("x", "y".repeat(10_000))),
    ];
    // One large field into the table, and then the same again, an octet each (RFC 7541 section 2.3.3).
    let entry = [&[0x40][..], &field("x", "y".repeat(4000))[1..]].concat();
    let bomb = [&asking("GET", "/", HOST)[..], &entry, &[0xbe; 12_000]].concat();
    let hosts = |hosts: &[&str]| {
        let hosts = hosts.iter().flat_map(|host| field("host", host)).collect();
        headers(1, END_STREAM, &[nobody(), hosts].concat())
    };
    run_all(vec![
        case("8.3.1", ":authority and the same host", with(&[("host", HOST)]), Answer(1, 200)),
        case("8.3.1", ":authority and another host", with(&[("host", "two.example")]), Answer(1, 400)),
        case("8.3.1", "host alone", hosts(&[HOST]), Answer(1, 200)),
        case("8.3.1", "host twice", hosts(&[HOST, HOST]), Answer(1, 400)),
        case("8.3.1", "no host at all", hosts(&[]), Answer(1, 400)),
        case("8.3.1", ":authority with a user", asked("https", "user@one.example", "/"), Answer(1, 400)),
        case("8.3.1", ":authority with a path", asked("https", "one.example/x", "/"), malformed),
        case("8.3.1", ":authority with a blank", asked("https", "one example", "/"), malformed),
        case("8.3.1", ":authority with CR LF", asked("https", "one.example\r\nx: y", "/"), malformed),
        case("8.3.1", ":authority of nobody here", asked("https", "nobody.example", "/"), Answer(1, 421)),
        case("8.3.1", ":scheme of http", asked("http", HOST, "/"), Answer(1, 200)),
        case("8.3.1", ":scheme of something else", asked("ftp", HOST, "/"), Answer(1, 400)),
        case("8.3.1", ":scheme that is none", asked("ht tp", HOST, "/"), malformed),
        case("8.3.1", ":path without a slash", asked("https", HOST, "index.html"), malformed),
        case("8.3.1", ":path of another host", asked("https", HOST, "http://two.example/"), malformed),
        case("8.3.1", ":path of an asterisk, not for OPTIONS", asked("https", HOST, "*"), Answer(1, 400)),
        case(
            "8.3.1",
            ":path of an asterisk for OPTIONS",
            headers(1, END_STREAM, &asking("OPTIONS", "*", HOST)),
            Answer(1, 405),
        ),
        case("8.3.1", ":path with a blank", asked("https", HOST, "/a b"), malformed),
        case(
            "8.3.1",
            ":path with the end of a request line",
            asked("https", HOST, "/ HTTP/1.1\r\nhost: two.example"),
            malformed,
        ),
        case("8.3.1", ":path with NUL", asked("https", HOST, "/\0"), malformed),
        case("8.3.1", ":path with a fragment", asked("https", HOST, "/#/../x"), malformed)
            .but(Answer(1, 200), "the engine drops it: nobody ever sees it"),
        case("8.3.1", ":method with a blank", headers(1, END_STREAM, &asking("GET /x", "/", HOST)), malformed).whole(),
        case("8.3.1", ":method of nothing", headers(1, END_STREAM, &asking("", "/", HOST)), malformed).whole(),
        case("8.3.1", ":method in small letters", headers(1, END_STREAM, &asking("get", "/", HOST)), Answer(1, 405)),
        case("10.5.1", "a head larger than we take", all(&large), Answer(1, 431)),
        case("10.5.1", "a small head that unpacks to 48 MB", headers(1, END_STREAM, &bomb), Goaway(CALM)),
    ]);
}

/// Reads DATA of stream 1 for as long as it comes before the answer to a PING.
fn octets(talk: &mut Talk) -> usize {
    talk.send(&ping(WORD));
    let mut heard = Vec::new();
    talk.until(&mut heard, |frame| frame.kind == PING && frame.flags == ACK).unwrap();
    let data = heard.iter().filter(|frame| frame.kind == DATA && frame.stream == 1);
    data.map(|frame| frame.payload.len()).sum()
}

/// Section 6.9: never more than the windows allow, and all of it as soon as they do.
#[test]
fn windows_are_kept_to_the_octet() {
    let sites = serving();
    let ask = headers(1, END_STREAM, &asking("GET", "/large.bin", HOST));
    let hear = |talk: &mut Talk, most: usize| {
        let (mut heard, mut count) = (Vec::new(), 0);
        while count < most {
            let frame = talk.until(&mut heard, |frame| frame.kind == DATA).unwrap();
            count += frame.payload.len();
        }
        assert_eq!(count, most, "{heard:?}");
        assert_eq!(octets(talk), 0, "more than {most}");
    };
    // The last of two settings of one name counts (6.5.3).
    let mut talk = Talk::begun(&sites, HOST, &[(WINDOW, 100), (WINDOW, 1)]);
    talk.send(&ask);
    hear(&mut talk, 1);
    talk.send(&window_update(1, 2));
    hear(&mut talk, 2);
    talk.send(&settings(&[(WINDOW, 11)]));
    hear(&mut talk, 10);
    // A window below 0 (6.9.2).
    talk.send(&settings(&[(WINDOW, 1)]));
    talk.send(&window_update(1, 10));
    assert_eq!(octets(&mut talk), 0);
    talk.send(&window_update(1, 5));
    hear(&mut talk, 5);
    // The connection's own window.
    let mut talk = Talk::begun(&sites, HOST, &[(WINDOW, 1 << 20)]);
    talk.send(&ask);
    hear(&mut talk, 65_535);
    talk.send(&window_update(0, 100_000));
    hear(&mut talk, 100_000);
    talk.send(&window_update(0, 1 << 20));
    let mut heard = Vec::new();
    talk.until(&mut heard, Frame::ends_stream).unwrap();
    let rest: usize = heard.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum();
    assert_eq!(rest, LARGE - 165_535);
    // No frame is larger than the other side takes (4.2).
    assert!(heard.iter().all(|frame| frame.payload.len() <= 16_384));
}

/// Section 6.8: what is under way is finished, and nothing is taken on after.
#[test]
fn a_client_that_takes_leave_gets_its_answer() {
    let sites = serving();
    let mut talk = Talk::begun(&sites, HOST, &[(WINDOW, 0)]);
    let ask = headers(1, END_STREAM, &asking("GET", "/large.bin", HOST));
    talk.send(&[ask, frame(GOAWAY, 0, 0, &[0; 8]), window_update(0, 1 << 20)].concat());
    assert_eq!(octets(&mut talk), 0);
    talk.send(&window_update(1, 1 << 20));
    let mut heard = Vec::new();
    talk.until(&mut heard, Frame::ends_stream).unwrap();
    let count: usize = heard.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum();
    assert_eq!(count, LARGE);
    assert_eq!(talk.until(&mut heard, |_| false), Err(NoFrame::End));
}
