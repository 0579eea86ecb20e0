//! `$GENERATE`: one line that stands for many. Expands its text for one number; how many there may be is the reader's concern.
use std::fmt::Write;

use crate::base::limits::{GENERATE_MAX, GENERATE_WIDTH_MAX};
use crate::rr::zonefile::head::{brief, word};

/// `START-STOP[/STEP]` and the text that is repeated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Generate<'a> {
    start: u32,
    stop: u32,
    step: u32,
    text: &'a str,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GenerateError {
    #[error("$GENERATE wants a range like `1-254` or `0-100/2` and a record, not `{0}`")]
    Range(String),
    #[error("$GENERATE makes at most {GENERATE_MAX} records")]
    TooMany,
    #[error(
        "`{0}` after `$` is no modifier of $GENERATE: expected `{{OFFSET,WIDTH,BASE}}`, the base one of d, o, x, X, n and N"
    )]
    Modifier(String),
    #[error("the offset makes a number negative, which only base d can show")]
    Negative,
}

/// How one number is shown.
struct Modifier {
    offset: i64,
    width: usize,
    base: u8,
}

impl<'a> Generate<'a> {
    /// Reads what comes after `$GENERATE`.
    pub(super) fn read(text: &'a str) -> Result<Self, GenerateError> {
        let (range, text) = word(text);
        let wrong = || GenerateError::Range(brief(range));
        let number = |digits: &str| -> Result<u32, GenerateError> {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|number| plain && *number <= i32::MAX as u32).ok_or_else(wrong)
        };
        let (range_only, step) = range.split_once('/').unwrap_or((range, "1"));
        let (start, stop) = range_only.split_once('-').ok_or_else(wrong)?;
        let (start, stop, step) = (number(start)?, number(stop)?, number(step)?);
        if start > stop || step == 0 {
            return Err(wrong());
        }
        if (stop - start) / step >= GENERATE_MAX {
            return Err(GenerateError::TooMany);
        }
        Ok(Self { start, stop, step, text })
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        (self.start..=self.stop).step_by(self.step as usize)
    }

    /// The entry for one number: each `$` replaced, but not `\$` and `$$`.
    pub(super) fn entry(&self, number: u32) -> Result<String, GenerateError> {
        let mut out = String::with_capacity(self.text.len() + 8);
        let mut rest = self.text;
        while let Some(at) = rest.find(['$', '\\']) {
            out.push_str(&rest[..at]);
            let tail = &rest[at..];
            if tail.starts_with('\\') {
                let end = tail.char_indices().nth(2).map_or(tail.len(), |(end, _)| end);
                out.push_str(&tail[..end]);
                rest = &tail[end..];
            } else if let Some(after) = tail.strip_prefix("$$") {
                out.push_str("\\$");
                rest = after;
            } else if let Some(after) = tail.strip_prefix("${") {
                let (inner, after) = after.split_once('}').ok_or_else(|| GenerateError::Modifier(brief(after)))?;
                Modifier::read(inner)?.show(number, &mut out)?;
                rest = after;
            } else {
                let _ = write!(out, "{number}");
                rest = &tail[1..];
            }
        }
        out.push_str(rest);
        Ok(out)
    }
}

impl Modifier {
    fn read(text: &str) -> Result<Self, GenerateError> {
        let wrong = || GenerateError::Modifier(brief(text));
        let mut parts = text.split(',').map(str::trim);
        let offset = parts.next().unwrap_or_default();
        let offset: i32 = offset.parse().map_err(|_| wrong())?;
        let width = parts.next().map_or(Ok(0), |width| width.parse().map_err(|_| wrong()))?;
        let base = parts.next().unwrap_or("d");
        let known = matches!(base, "d" | "o" | "x" | "X" | "n" | "N");
        if !known || width > GENERATE_WIDTH_MAX || parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { offset: offset.into(), width, base: base.as_bytes()[0] })
    }

    fn show(&self, number: u32, out: &mut String) -> Result<(), GenerateError> {
        let (value, width) = (i64::from(number) + self.offset, self.width);
        if self.base == b'd' {
            let _ = write!(out, "{value:0width$}");
            return Ok(());
        }
        let value = u64::try_from(value).map_err(|_| GenerateError::Negative)?;
        let _ = match self.base {
            b'o' => write!(out, "{value:0width$o}"),
            b'x' => write!(out, "{value:0width$x}"),
            b'X' => write!(out, "{value:0width$X}"),
            base => {
                nibbles(value, width, base == b'N', out);
                Ok(())
            }
        };
        Ok(())
    }
}

/// Hexadecimal digits as labels, the last one first, as the reverse zones of IPv6 have them; the width counts the dots too.
fn nibbles(mut value: u64, width: usize, upper: bool, out: &mut String) {
    let mut left = width;
    loop {
        let digit = char::from_digit((value & 15) as u32, 16).unwrap_or('0');
        out.push(if upper { digit.to_ascii_uppercase() } else { digit });
        value >>= 4;
        left = left.saturating_sub(1);
        if value == 0 && left == 0 {
            return;
        }
        out.push('.');
        left = left.saturating_sub(1);
        if value == 0 && left == 0 {
            return;
        }
    }
}
