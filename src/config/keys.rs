//! The surface: every section and key, and how the value of each is read. A key that is not here is refused. Never touches
//! the disk.
use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use crate::base::limits::CONFIG_LIST_MAX;
use crate::base::names::{Host, NodeName};
use crate::config::Config;
use crate::ops::log::{Format, Levels};

macro_rules! keys {
    ($($key:ident = $section:literal $name:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Key { $($key),* }

        impl Key {
            pub(super) const ALL: &[Self] = &[$(Self::$key),*];

            pub(super) fn section(self) -> &'static str {
                match self { $(Self::$key => $section),* }
            }
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$key => $name),* }
            }
        }
    };
}

keys! {
    NodeName = "node" "name",
    NodeDataDir = "node" "data_dir",
    WebHttp = "web" "http",
    WebHttps = "web" "https",
    DnsListen = "dns" "listen",
    FtpListen = "ftp" "listen",
    FtpPassivePorts = "ftp" "passive_ports",
    FtpPassiveHost = "ftp" "passive_host",
    AdminSocket = "admin" "socket",
    AdminListen = "admin" "listen",
    ClusterListen = "cluster" "listen",
    ClusterAdvertise = "cluster" "advertise",
    LogLevel = "log" "level",
    LogFormat = "log" "format",
}

/// A fault without its file and key: a place in the text, what is wrong, what to do.
pub(super) struct Complaint {
    pub(super) span: Range<usize>,
    pub(super) what: String,
    pub(super) remedy: String,
}

type Value<'i> = Spanned<DeValue<'i>>;
type Read<T> = Result<T, Vec<Complaint>>;

/// Puts the value of a key in its place, or says all that is wrong with it.
pub(super) fn set(config: &mut Config, key: Key, value: &Value<'_>) -> Read<()> {
    match key {
        Key::NodeName => config.node.name = node_name(value)?,
        Key::NodeDataDir => config.node.data_dir = absolute(value)?,
        Key::WebHttp => config.web.http = addresses(value, any)?,
        Key::WebHttps => config.web.https = addresses(value, any)?,
        Key::DnsListen => config.dns.listen = addresses(value, any)?,
        Key::FtpListen => config.ftp.listen = addresses(value, any)?,
        Key::FtpPassivePorts => config.ftp.passive_ports = ports(value)?,
        Key::FtpPassiveHost => config.ftp.passive_host = passive_host(value)?,
        Key::AdminSocket => config.admin.socket = absolute(value)?,
        Key::AdminListen => config.admin.listen = addresses(value, loopback)?,
        Key::ClusterListen => config.cluster.listen = addresses(value, any)?,
        Key::ClusterAdvertise => config.cluster.advertise = addresses(value, reachable)?,
        Key::LogLevel => config.log.levels = levels(value)?,
        Key::LogFormat => config.log.format = format(value)?,
    }
    Ok(())
}

fn complain<T>(value: &Value<'_>, what: impl Into<String>, remedy: impl Into<String>) -> Read<T> {
    Err(vec![Complaint { span: value.span(), what: what.into(), remedy: remedy.into() }])
}

fn text<'v>(value: &'v Value<'_>, example: &str) -> Read<&'v str> {
    match value.get_ref().as_str() {
        Some(text) => Ok(text),
        None => complain(
            value,
            format!("expected a text, found {}", kind(value.get_ref())),
            format!("write it in quotes, such as {example:?}"),
        ),
    }
}

/// Every item of a list, or every complaint about it; a value that is no list is told how to become one.
fn list<T>(value: &Value<'_>, example: &str, item: impl Fn(&Value<'_>) -> Read<T>) -> Read<Vec<T>> {
    let Some(items) = value.get_ref().as_array() else {
        return complain(
            value,
            format!("expected a list, found {}", kind(value.get_ref())),
            format!("write it in brackets, such as [{example:?}]"),
        );
    };
    if items.len() > CONFIG_LIST_MAX {
        return complain(
            value,
            format!("the list has {} items", items.len()),
            format!("keep at most {CONFIG_LIST_MAX}"),
        );
    }
    let mut taken = Vec::with_capacity(items.len());
    let mut complaints = Vec::new();
    for entry in items.iter() {
        match item(entry) {
            Ok(item) => taken.push(item),
            Err(more) => complaints.extend(more),
        }
    }
    if complaints.is_empty() { Ok(taken) } else { Err(complaints) }
}

/// What else an address must be: None if it is, or what is wrong and what to do.
type Rule = fn(SocketAddr) -> Option<(&'static str, &'static str)>;

fn any(_: SocketAddr) -> Option<(&'static str, &'static str)> {
    None
}

fn loopback(address: SocketAddr) -> Option<(&'static str, &'static str)> {
    let message = ("is not a loopback address", "listen on 127.0.0.1 or [::1] and reach it through a tunnel");
    (!address.ip().is_loopback()).then_some(message)
}

fn reachable(address: SocketAddr) -> Option<(&'static str, &'static str)> {
    let message = ("is no address another node can connect to", "write the one they reach, with its port");
    (address.ip().is_unspecified() || address.port() == 0).then_some(message)
}

fn addresses(value: &Value<'_>, rule: Rule) -> Read<Vec<SocketAddr>> {
    const EXAMPLE: &str = "127.0.0.1:8080";
    list(value, EXAMPLE, |item| {
        let written = text(item, EXAMPLE)?;
        let address: SocketAddr = match written.parse() {
            Ok(address) => address,
            Err(_) if written.parse::<IpAddr>().is_ok() => {
                return complain(
                    item,
                    format!("`{}` has no port", shown(written)),
                    "add one, such as 127.0.0.1:8080 or [::1]:8080",
                );
            }
            Err(_) => {
                return complain(
                    item,
                    format!("`{}` is no ip:port", shown(written)),
                    "write an address and a port, such as 127.0.0.1:8080 or [::1]:8080",
                );
            }
        };
        match rule(address) {
            None => Ok(address),
            Some((what, remedy)) => complain(item, format!("`{address}` {what}"), remedy),
        }
    })
}

fn node_name(value: &Value<'_>) -> Read<NodeName> {
    const EXAMPLE: &str = "node-1";
    NodeName::parse(text(value, EXAMPLE)?).or_else(|error| {
        complain(
            value,
            format!("failed to {error}"),
            format!("use lower-case letters, digits and hyphens, such as {EXAMPLE:?}"),
        )
    })
}

fn absolute(value: &Value<'_>) -> Read<PathBuf> {
    const EXAMPLE: &str = "/var/lib/ruche";
    let path = Path::new(text(value, EXAMPLE)?);
    let written = shown(&path.to_string_lossy());
    if !path.is_absolute() {
        return complain(value, format!("`{written}` is not an absolute path"), "start it with /");
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return complain(value, format!("`{written}` holds a NUL character"), "take it out");
    }
    Ok(path.to_owned())
}

fn ports(value: &Value<'_>) -> Read<RangeInclusive<u16>> {
    const EXAMPLE: &str = "30000-30999";
    let written = text(value, EXAMPLE)?;
    let range = written
        .split_once('-')
        .and_then(|(low, high)| Some((low.trim().parse::<u16>().ok()?, high.trim().parse::<u16>().ok()?)));
    match range {
        Some((low, high)) if low > 0 && low <= high => Ok(low..=high),
        Some((low, high)) => complain(
            value,
            format!("{low}-{high} is no range of ports"),
            "write the lower one first, neither of them 0",
        ),
        None => complain(
            value,
            format!("`{}` is no range of ports", shown(written)),
            format!("write LOW-HIGH, such as {EXAMPLE:?}"),
        ),
    }
}

fn passive_host(value: &Value<'_>) -> Read<Option<String>> {
    const EXAMPLE: &str = "192.0.2.1";
    let written = text(value, EXAMPLE)?;
    if written.is_empty() {
        return Ok(None);
    }
    if let Ok(address) = written.parse::<IpAddr>() {
        return match address {
            IpAddr::V4(address) if !address.is_unspecified() => Ok(Some(written.to_owned())),
            _ => complain(
                value,
                format!("`{address}` cannot be announced to an FTP client"),
                "write an IPv4 address (IPv6 clients use the one they came to), a host, or \"\"",
            ),
        };
    }
    match Host::parse(written) {
        Ok(host) => Ok(Some(host.as_str().to_owned())),
        Err(error) => complain(value, format!("failed to {error}"), "write an IPv4 address, a host, or \"\""),
    }
}

fn levels(value: &Value<'_>) -> Read<Levels> {
    const EXAMPLE: &str = "info";
    let mut levels = Levels::default();
    let mut add = |item: &Value<'_>| match levels.add(text(item, EXAMPLE)?) {
        Ok(()) => Ok(()),
        Err(error) => {
            complain(item, format!("failed to {error}"), "write error, warn, info, debug, trace, or module=level")
        }
    };
    if value.get_ref().is_str() {
        add(value)?;
    } else {
        let add = std::cell::RefCell::new(add);
        list(value, EXAMPLE, |item| (add.borrow_mut())(item))?;
    }
    Ok(levels)
}

fn format(value: &Value<'_>) -> Read<Format> {
    let written = text(value, "text")?;
    match written {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "journal" => Ok(Format::Journal),
        _ => complain(value, format!("`{}` is no format", shown(written)), "write text, json or journal"),
    }
}

/// The kind of a value in words.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// What somebody typed, fit for a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
