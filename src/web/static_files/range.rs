//! Range requests (RFC 9110 section 14): which part of a file was asked for. Pure. Several ranges at once are answered with all
//! of it, which every client that asks for them must take: putting parts together is how servers were made to work for nothing.
use http::HeaderMap;
use http::header::RANGE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// At least one byte.
    Range {
        first: u64,
        count: u64,
    },
    Unsatisfiable,
}

/// What is not understood is not asked for.
pub(crate) fn asked(headers: &HeaderMap, len: u64) -> Part {
    let mut lines = headers.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Part::Whole };
    let Some((unit, set)) = line.to_str().ok().and_then(|text| text.split_once('=')) else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Part::Whole;
    }
    part(set.trim(), len).unwrap_or(Part::Whole)
}

fn part(range: &str, len: u64) -> Option<Part> {
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let count = number(last)?.min(len);
        return Some(if count == 0 { Part::Unsatisfiable } else { Part::Range { first: len - count, count } });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    if first >= len {
        return Some(Part::Unsatisfiable);
    }
    Some(Part::Range { first, count: last.min(len - 1) - first + 1 })
}

/// Digits only; a number larger than any file is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn ask(range: &str, len: u64) -> Part {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(range).unwrap());
        asked(&headers, len)
    }

    #[test]
    fn one_part_or_all() {
        let part = |first, count| Part::Range { first, count };
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-99", part(0, 100)),
            ("bytes=10-19", part(10, 10)),
            ("bytes=90-", part(90, 10)),
            ("bytes=90-1000", part(90, 10)),
            ("bytes=99-99999999999999999999999", part(99, 1)),
            ("bytes=-1", part(99, 1)),
            ("bytes=-100", part(0, 100)),
            ("bytes=-1000", part(0, 100)),
            ("Bytes = 5-6", part(5, 2)),
            ("bytes=100-", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-4", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=0x1-2", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("items=0-1", Part::Whole),
            ("bytes 0-1", Part::Whole),
        ] {
            assert_eq!(ask(range, 100), expected, "{range}");
        }
        assert_eq!(ask("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(ask("bytes=-5", 0), Part::Unsatisfiable);
    }

    proptest::proptest! {
        #[test]
        fn within_the_file(range in "[ -~]{0,20}|bytes=[0-9]{0,22}-[0-9]{0,22}", len in 0u64..1000) {
            if let Part::Range { first, count } = ask(&range, len) {
                proptest::prop_assert!(count > 0 && first + count <= len);
            }
        }
    }
}
