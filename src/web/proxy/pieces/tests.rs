//! Bodies by table, in one piece and in many: what they are, where they end, and which are broken.
use proptest::prelude::*;

use super::*;

/// A body that came in these pieces: its data, its trailers, and what was left behind it; none: more must come.
type Whole = Option<(Vec<u8>, Vec<(String, String)>, Vec<u8>)>;

fn read<'a>(mut rest: Rest, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Whole, Unsound> {
    let (mut data, mut trailers, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(frame) = rest.take(&mut input)? {
            match frame.into_data() {
                Ok(piece) => data.extend_from_slice(&piece),
                Err(frame) => {
                    let all = frame.into_trailers().unwrap();
                    trailers.extend(all.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())));
                }
            }
        }
        left.extend_from_slice(&input);
        assert!(input.is_empty() || rest == Rest::Nothing, "nothing is left but behind the end");
    }
    Ok((rest == Rest::Nothing).then_some((data, trailers, left)))
}

/// Chunks, their data, trailers, and what follows.
type Sound = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

const SOUND: &[Sound] = &[
    ("0\r\n\r\n", "", &[], ""),
    ("3\r\nabc\r\n0\r\n\r\n", "abc", &[], ""),
    ("3\r\nabc\r\n2\r\nde\r\n000\r\n\r\nHTTP/1.1", "abcde", &[], "HTTP/1.1"),
    ("0000000000000003\r\nabc\r\n0\r\n\r\n", "abc", &[], ""),
    ("3;x=\"y\";z\r\nabc\r\n0;end\r\n\r\n", "abc", &[], ""),
    ("3 \t;x\r\nabc\r\n0 \r\n\r\n", "abc", &[], ""),
    ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", &[], ""),
    ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", &[], ""),
    ("1\r\na\r\n0\r\nx-sum: 7\r\nX-Other: 8 \r\n\r\nrest", "a", &[("x-sum", "7"), ("x-other", "8")], "rest"),
    // What frames a message or says who asks does not come after it.
    ("0\r\ncontent-length: 3\r\nset-cookie: a=b\r\nx-sum: 7\r\n\r\n", "", &[("x-sum", "7")], ""),
    ("0\r\ntransfer-encoding: chunked\r\n\r\n", "", &[], ""),
];

const BROKEN: &[(&str, Unsound)] = &[
    ("\r\n", Unsound::Chunk),
    ("x\r\n", Unsound::Chunk),
    ("-1\r\n", Unsound::Chunk),
    ("+1\r\na\r\n", Unsound::Chunk),
    (" 1\r\na\r\n", Unsound::Chunk),
    ("0x1\r\na\r\n", Unsound::Chunk),
    ("1\na\r\n", Unsound::Chunk),
    ("1\r\r\na\r\n", Unsound::Chunk),
    ("1 1\r\na\r\n", Unsound::Chunk),
    ("1;x\ny\r\na\r\n", Unsound::Chunk),
    ("1;x\0\r\na\r\n", Unsound::Chunk),
    ("1;x\ry\r\na\r\n", Unsound::Chunk),
    ("1\r\nab\r\n", Unsound::Chunk),
    ("1\r\na\n0\r\n\r\n", Unsound::Chunk),
    ("1\r\na\r0\r\n\r\n", Unsound::Chunk),
    ("10000000000000000\r\n", Unsound::Chunk),
    ("fffffffffffffffff\r\n", Unsound::Chunk),
    ("0\r\nx: y\n\r\n", Unsound::Trailers),
    ("0\r\n\n", Unsound::Trailers),
    ("0\r\nx\r\n\r\n", Unsound::Trailers),
    ("0\r\nx: a\r\n b\r\n\r\n", Unsound::Trailers),
    ("0\r\nx: a\rb\r\n\r\n", Unsound::Trailers),
    ("0\r\nx: a\0\r\n\r\n", Unsound::Trailers),
];

#[test]
fn chunks_and_trailers() {
    for (text, data, trailers, left) in SOUND {
        let (got, said, behind) = read(Rest::chunked(), [text.as_bytes()]).unwrap().unwrap();
        let said: Vec<_> = said.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            (got, said, behind),
            (data.as_bytes().into(), trailers.to_vec(), left.as_bytes().into()),
            "{text:?}"
        );
    }
    for (text, unsound) in BROKEN {
        assert_eq!(read(Rest::chunked(), [text.as_bytes()]), Err(*unsound), "{text:?}");
    }
}

#[test]
fn endless_lines_and_trailers_are_broken() {
    let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(WEB_CHUNK_LINE_MAX));
    assert_eq!(read(Rest::chunked(), [extension.as_bytes()]), Err(Unsound::Chunk));
    let zeros = format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(WEB_CHUNK_LINE_MAX));
    assert_eq!(read(Rest::chunked(), [zeros.as_bytes()]), Err(Unsound::Chunk));
    for trailers in ["x: y\r\n".repeat(PROXY_TRAILERS_MAX / 6 + 1), "x".repeat(PROXY_TRAILERS_MAX + 1)] {
        assert_eq!(read(Rest::chunked(), [format!("0\r\n{trailers}").as_bytes()]), Err(Unsound::Trailers));
    }
    let many = "x: y\r\n".repeat(PROXY_HEADERS_MAX + 1);
    assert_eq!(read(Rest::chunked(), [format!("0\r\n{many}\r\n").as_bytes()]), Err(Unsound::Trailers));
}

#[test]
fn lengths_and_ends() {
    assert_eq!(read(Rest::Length(3), [&b"a"[..], b"bcd"]).unwrap().unwrap().0, b"abc");
    assert_eq!(read(Rest::Length(3), [&b"abcd"[..]]).unwrap().unwrap().2, b"d", "what was not asked for is not read");
    assert_eq!(read(Rest::Length(3), [&b"ab"[..]]), Ok(None));
    assert_eq!(read(Rest::Close, [&b"ab"[..], b"c"]), Ok(None));
    for (rest, ends) in [(Rest::Nothing, true), (Rest::Close, true), (Rest::Length(1), false), (Rest::chunked(), false)]
    {
        assert_eq!(rest.ends_here(), ends);
    }
}

proptest! {
    /// However the bytes are cut into reads, they say the same.
    #[test]
    fn cuts_change_nothing(at in 0..SOUND.len() + BROKEN.len(), cuts in prop::collection::vec(1..9_usize, 0..200)) {
        let text = SOUND.iter().map(|sound| sound.0).chain(BROKEN.iter().map(|broken| broken.0)).nth(at).unwrap();
        let (mut pieces, mut left) = (Vec::new(), text.as_bytes());
        for cut in cuts {
            let (piece, later) = left.split_at(cut.min(left.len()));
            pieces.push(piece);
            left = later;
        }
        pieces.push(left);
        prop_assert_eq!(read(Rest::chunked(), pieces), read(Rest::chunked(), [text.as_bytes()]));
    }

    #[test]
    fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(Rest::chunked(), [&bytes[..]]);
        let _ = read(Rest::chunked(), [&b"0\r\n"[..], &bytes[..]]);
        let _ = read(Rest::chunked(), [&b"ff\r\n"[..], &bytes[..]]);
    }
}
