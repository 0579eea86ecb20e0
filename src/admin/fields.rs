//! Names in the fields of a body: parsed once, and where one is none, the problem says which field. Pure.
use std::str::FromStr;

use crate::admin::error::Failure;
use crate::base::names::NameError;

pub(crate) fn name<T: FromStr<Err = NameError>>(field: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: NameError| Failure::invalid(field, format!("failed to {error}")))
}

pub(crate) fn optional<T: FromStr<Err = NameError>>(field: &str, text: Option<&str>) -> Result<Option<T>, Failure> {
    text.map(|text| name(field, text)).transpose()
}

/// A field of a PATCH: absent, cleared or set.
pub(crate) fn patched<T: FromStr<Err = NameError>>(
    field: &str,
    text: Option<Option<String>>,
) -> Result<Option<Option<T>>, Failure> {
    text.map(|text| optional(field, text.as_deref())).transpose()
}

pub(crate) fn list<T: FromStr<Err = NameError>>(field: &str, texts: &[String]) -> Result<Vec<T>, Failure> {
    texts.iter().enumerate().map(|(index, text)| name(&format!("{field}[{index}]"), text)).collect()
}
