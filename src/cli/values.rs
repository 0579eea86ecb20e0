//! Sizes and durations as people type and read them. Pure; never asks the clock.
use std::time::Duration;

use crate::base::sizes::UNITS;

/// Completes "failed to …"; clap puts the option's name before it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("expected a size such as 500M, 2G or 1.5T")]
    Size,
    #[error("expected a number, or `unlimited`")]
    Count,
    #[error("expected a duration such as 12h, 90d or 1y")]
    Duration,
    #[error("expected NAME=VALUE")]
    Label,
}

/// A number that may be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Unlimited,
    At(u64),
}

impl From<Limit> for Option<u64> {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Unlimited => None,
            Limit::At(number) => Some(number),
        }
    }
}

/// Bytes, in binary multiples: `1.5G` is 1,610,612,736. `2GiB` is read as well, `2GB` is not: it means something else.
pub(crate) fn size(text: &str) -> Result<u64, ValueError> {
    let bare = text.strip_suffix("iB").unwrap_or(text);
    let unit = bare.chars().last().and_then(|last| UNITS.iter().position(|unit| unit.eq_ignore_ascii_case(&last)));
    let (number, scale) = match unit {
        Some(at) => (&bare[..bare.len() - 1], 1u128 << (10 * (at + 1))),
        None if bare.len() == text.len() => (bare, 1),
        None => return Err(ValueError::Size),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| {
        let sound = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
        sound.then(|| text.parse::<u128>().ok()).flatten().ok_or(ValueError::Size)
    };
    let part = digits(part)? * scale / 10u128.pow(part.len() as u32);
    u64::try_from(digits(whole)? * scale + part).map_err(|_| ValueError::Size)
}

pub(crate) fn size_limit(text: &str) -> Result<Limit, ValueError> {
    if text == "unlimited" { Ok(Limit::Unlimited) } else { size(text).map(Limit::At) }
}

pub(crate) fn count_limit(text: &str) -> Result<Limit, ValueError> {
    if text == "unlimited" { Ok(Limit::Unlimited) } else { text.parse().map(Limit::At).map_err(|_| ValueError::Count) }
}

/// `45s`, `30m`, `12h`, `90d`, `8w` or `1y` (365 days).
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some('w') => 7 * 86_400,
        Some('y') => 365 * 86_400,
        _ => return Err(ValueError::Duration),
    };
    let number = &text[..text.len() - 1];
    let number = number.parse::<u32>().ok().filter(|number| *number > 0 && !text.starts_with('+'));
    number.map(|number| Duration::from_secs(u64::from(number) * unit)).ok_or(ValueError::Duration)
}

pub(crate) fn label(text: &str) -> Result<(String, String), ValueError> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(ValueError::Label)?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sizes::human;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1K", 1024),
            ("500M", 500 << 20),
            ("2G", 2 << 30),
            ("2g", 2 << 30),
            ("2GiB", 2 << 30),
            ("1.5T", 3 << 39),
            ("0.5K", 512),
            ("16383P", 16383 << 50),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "G", "-1", "+1", "1.G", ".5G", "2GB", "2X", "1e9", "16384P", "1 G", "iB", "5iB", "é", "1.2.3G"]
        {
            assert_eq!(size(bad), Err(ValueError::Size), "{bad}");
        }
        assert_eq!(size_limit("unlimited"), Ok(Limit::Unlimited));
        assert_eq!(count_limit("7"), Ok(Limit::At(7)));
        assert!(count_limit("2G").is_err());
    }

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (2 << 30, "2.0 GiB"),
            (3 << 39, "1.5 TiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("45s", 45), ("30m", 1800), ("12h", 43_200), ("90d", 7_776_000), ("1y", 31_536_000)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "d", "90", "0d", "-1d", "+1d", "1.5d", "90D", "5000000000d", "9é"] {
            assert_eq!(duration(bad), Err(ValueError::Duration), "{bad}");
        }
    }

    #[test]
    fn labels() {
        assert_eq!(label("rack=a=b"), Ok(("rack".into(), "a=b".into())));
        assert!(label("rack").is_err() && label("=a").is_err());
    }
}
