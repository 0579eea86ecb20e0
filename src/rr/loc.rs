//! The place of a LOC record (RFC 1876): latitude, longitude, altitude and three precisions. Never uses floating point.
use std::fmt::Write;

use crate::rr::field::{self, Fault, Words};

/// Octets of a place in wire form.
const PLACE_LEN: usize = 16;
/// The equator and the prime meridian, in thousandths of a second of arc.
const MERIDIAN: u32 = 1 << 31;
/// Altitude zero lies 100 km above the lowest one; centimetres.
const SEA_LEVEL_CM: i64 = 10_000_000;
/// Size 1 m, horizontal precision 10 km, vertical precision 10 m (section 3).
const PRECISIONS: [u8; 3] = [0x12, 0x16, 0x13];

const LATITUDE: Axis = Axis {
    degrees_max: 90,
    letters: ["N", "S"],
    wants: "a latitude of degrees, minutes, seconds and N or S, like `48 51 29.6 N`",
};
const LONGITUDE: Axis = Axis {
    degrees_max: 180,
    letters: ["E", "W"],
    wants: "a longitude of degrees, minutes, seconds and E or W, like `2 17 40.2 E`",
};
const ALTITUDE: &str = "an altitude in metres from -100000 to 42849672.95, like `330m`";
const PRECISION: &str = "a precision in metres from 0 to 90000000, like `10m`";

struct Axis {
    degrees_max: u32,
    /// Of the positive and of the negative half.
    letters: [&'static str; 2],
    wants: &'static str,
}

pub(super) fn parse(words: &mut Words<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let (latitude, longitude) = (LATITUDE.parse(words)?, LONGITUDE.parse(words)?);
    let word = words.bare()?;
    let altitude = altitude(word).ok_or_else(|| Fault::bad(ALTITUDE, word))?;
    out.push(0); // version
    for default in PRECISIONS {
        out.push(match words.bare() {
            Ok(word) => precision(word).ok_or_else(|| Fault::bad(PRECISION, word))?,
            Err(Fault::Missing) => default,
            Err(fault) => return Err(fault),
        });
    }
    for number in [latitude, longitude, altitude] {
        out.extend(number.to_be_bytes());
    }
    Ok(())
}

pub(super) fn check(wire: &[u8]) -> Result<(), &'static str> {
    let Some(place) = Place::read(wire) else { return Err("16 octets of version 0") };
    if !LATITUDE.contains(place.latitude) {
        return Err("at a latitude of at most 90 degrees");
    }
    if !LONGITUDE.contains(place.longitude) {
        return Err("at a longitude of at most 180 degrees");
    }
    // Zero has one form, so that text reads back to the same octets.
    if place.precisions.iter().any(|p| *p != 0 && !((1..=9).contains(&(p >> 4)) && p & 15 <= 9)) {
        return Err("of precisions with a digit and a power of ten");
    }
    Ok(())
}

pub(super) fn present(wire: &[u8], out: &mut String) {
    let Some(place) = Place::read(wire) else { return };
    LATITUDE.present(place.latitude, out);
    out.push(' ');
    LONGITUDE.present(place.longitude, out);
    let cm = i64::from(place.altitude) - SEA_LEVEL_CM;
    let sign = if cm < 0 { "-" } else { "" };
    let _ = write!(out, " {sign}{}.{:02}m", cm.abs() / 100, cm.abs() % 100);
    for precision in place.precisions {
        let cm = u64::from(precision >> 4) * 10u64.pow(u32::from(precision & 15));
        let _ = write!(out, " {}.{:02}m", cm / 100, cm % 100);
    }
}

struct Place {
    precisions: [u8; 3],
    latitude: u32,
    longitude: u32,
    altitude: u32,
}

impl Place {
    fn read(wire: &[u8]) -> Option<Place> {
        let [0, size, horizontal, vertical, numbers @ ..] = wire else { return None };
        if wire.len() != PLACE_LEN {
            return None;
        }
        let mut numbers = numbers.as_chunks::<4>().0.iter().map(|octets| u32::from_be_bytes(*octets));
        Some(Place {
            precisions: [*size, *horizontal, *vertical],
            latitude: numbers.next()?,
            longitude: numbers.next()?,
            altitude: numbers.next()?,
        })
    }
}

impl Axis {
    fn parse(&self, words: &mut Words<'_>) -> Result<u32, Fault> {
        let mut parts = Vec::with_capacity(3);
        loop {
            let word = words.bare()?;
            let half = self.letters.iter().position(|letter| letter.eq_ignore_ascii_case(word));
            match half {
                None if parts.len() < 3 => parts.push(word),
                None => return Err(Fault::bad(self.wants, word)),
                Some(half) => {
                    let angle = self.angle(&parts).ok_or_else(|| Fault::bad(self.wants, &parts.join(" ")))?;
                    return Ok(if half == 0 { MERIDIAN + angle } else { MERIDIAN - angle });
                }
            }
        }
    }

    /// Thousandths of a second of arc.
    fn angle(&self, parts: &[&str]) -> Option<u32> {
        let whole = |at: usize, max: u32| match parts.get(at) {
            None => Some(0),
            Some(word) => field::number::<u32>(word, self.wants).ok().filter(|number| *number <= max),
        };
        let seconds = match parts.get(2) {
            None => 0,
            Some(word) => fixed(word, 3).filter(|thousandths| *thousandths < 60_000)?,
        };
        parts.first()?;
        let minutes = whole(0, self.degrees_max)? * 60 + whole(1, 59)?;
        let angle = minutes * 60_000 + u32::try_from(seconds).ok()?;
        (angle <= self.degrees_max * 3_600_000).then_some(angle)
    }

    fn contains(&self, number: u32) -> bool {
        number.abs_diff(MERIDIAN) <= self.degrees_max * 3_600_000
    }

    fn present(&self, number: u32, out: &mut String) {
        let angle = number.abs_diff(MERIDIAN);
        let letter = self.letters[usize::from(number < MERIDIAN)];
        let (minutes, thousandths) = (angle / 60_000, angle % 60_000);
        let (degrees, minutes) = (minutes / 60, minutes % 60);
        let _ = write!(out, "{degrees} {minutes} {}.{:03} {letter}", thousandths / 1000, thousandths % 1000);
    }
}

fn altitude(word: &str) -> Option<u32> {
    let (negative, rest) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
    let cm = i64::try_from(metres(rest)?).ok()?;
    u32::try_from(SEA_LEVEL_CM + if negative { -cm } else { cm }).ok()
}

/// A digit and a power of ten; further digits are dropped, as the wire has no room for them (section 2).
fn precision(word: &str) -> Option<u8> {
    let (mut digit, mut power) = (metres(word)?, 0u8);
    while digit > 9 {
        (digit, power) = (digit / 10, power + 1);
    }
    (power <= 9).then_some((digit as u8) << 4 | power) // below ten
}

/// Centimetres of a length with or without its unit.
fn metres(word: &str) -> Option<u64> {
    fixed(word.strip_suffix(['m', 'M']).unwrap_or(word), 2)
}

/// A decimal number without sign, in units of its last possible decimal.
fn fixed(word: &str, decimals: usize) -> Option<u64> {
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || fraction.len() > decimals || !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<decimals$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rr::lexer;

    fn parsed(text: &str) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        parse(&mut Words::new(lexer::tokens(text).unwrap()), &mut out).map(|()| out)
    }

    #[test]
    fn examples_of_rfc_1876() {
        for (text, shown) in [
            ("42 21 54 N 71 06 18 W -24m 30m", "42 21 54.000 N 71 6 18.000 W -24.00m 30.00m 10000.00m 10.00m"),
            ("42 21 43.952 N 71 5 6.344 W -24m 1m 200m", "42 21 43.952 N 71 5 6.344 W -24.00m 1.00m 200.00m 10.00m"),
            ("52 14 05 N 00 08 50 E 10m", "52 14 5.000 N 0 8 50.000 E 10.00m 1.00m 10000.00m 10.00m"),
            ("32 7 19 S 116 2 25 E 10m", "32 7 19.000 S 116 2 25.000 E 10.00m 1.00m 10000.00m 10.00m"),
            (
                "90 s 180 w -100000 0 0.01 90000000.00m",
                "90 0 0.000 S 180 0 0.000 W -100000.00m 0.00m 0.01m 90000000.00m",
            ),
            ("90 N 180 0 0.000 E 42849672.95m 1.5m", "90 0 0.000 N 180 0 0.000 E 42849672.95m 1.00m 10000.00m 10.00m"),
        ] {
            let wire = parsed(text).unwrap();
            assert_eq!(check(&wire), Ok(()), "{text}");
            let mut again = String::new();
            present(&wire, &mut again);
            assert_eq!(again, shown);
            assert_eq!(parsed(&again).unwrap(), wire);
        }
        let wire = parsed("42 21 54 N 71 06 18 W -24m 30m").unwrap();
        assert_eq!(wire, [0, 0x33, 0x16, 0x13, 0x89, 0x17, 0x2D, 0xD0, 0x70, 0xBE, 0x15, 0xF0, 0, 0x98, 0x8D, 0x20]);
    }

    #[test]
    fn what_is_no_place() {
        for text in [
            "91 N 0 E 0",
            "90 0 0.001 N 0 E 0",
            "0 N 180 1 E 0",
            "0 60 N 0 E 0",
            "0 0 60 N 0 E 0",
            "0 0 0.0001 N 0 E 0",
            "0 0 0 0 N 0 E 0",
            "N 0 E 0",
            "-1 N 0 E 0",
            "+1 N 0 E 0",
            "0 E 0 N 0",
            "0 N 0 E",
            "0 N 0 E x",
            "0 N 0 E -100000.01",
            "0 N 0 E 42849672.96",
            "0 N 0 E 0 100000000",
            "0 N 0 E 0 -1",
            "0 N 0 E 0 1.234",
            "0 N 0 E m",
            "0 N 0 E 99999999999999999999",
            "",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
        let good = parsed("0 N 0 E 0").unwrap();
        assert!(check(&good[1..]).is_err() && check(&[&good[..], &[0]].concat()).is_err());
        for (at, octet) in [(0, 1), (1, 0x05), (2, 0xA0), (3, 0x1A), (4, 0), (8, 0xFF)] {
            let mut bad = good.clone();
            bad[at] = octet;
            assert!(check(&bad).is_err(), "{at}");
        }
    }
}
