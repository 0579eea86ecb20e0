//! The plan of the house: who lives on which floor, which crate has which tenants, how big a file may be.

/// The floors, lowest first. A module imports lower floors only, never its own.
pub(crate) const FLOORS: &[(&str, &[&str])] = &[
    ("stones", &["base"]),
    ("footing", &["rr", "seal", "ops"]),
    ("ground", &["model", "config", "files"]),
    ("cellar", &["store", "api"]),
    ("landing", &["tls", "resolve"]),
    ("stairs", &["cluster", "fetch"]),
    (ROOMS, &["web", "dns", "ftp", "acme", "moves"]),
    ("desk", &["admin"]),
    ("balcony", &["panel"]),
    ("roof", &["daemon", "cli", "pools"]),
    ("porch", &["demo"]),
    ("gate", &["main"]),
];
pub(crate) const ROOMS: &str = "rooms";

/// Modules that may import less than their floor would let them.
pub(crate) const NARROW: &[(&str, &[&str])] = &[("panel", &["admin"])];

/// Crates that only some modules may name. A crate that is not listed is free.
pub(crate) const TENANTS: &[(&str, &[&str])] = &[
    ("anyhow", &["main", "cli"]),
    ("argon2", &["admin", "ftp", "web"]),
    ("aws_lc_rs", &["tls"]),
    ("axum", &["admin", "panel"]),
    ("chacha20poly1305", &["seal"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("comfy_table", &["cli"]),
    ("hickory_net", &["dns"]),
    ("hickory_proto", &["rr", "resolve", "dns"]),
    ("hickory_server", &["dns"]),
    ("httparse", &["web"]),
    ("hyper", &["fetch", "web"]),
    ("hyper_util", &["fetch", "web", "admin"]),
    ("imbl", &["model"]),
    ("indicatif", &["cli"]),
    ("instant_acme", &["acme"]),
    ("metrics_exporter_prometheus", &["ops"]),
    ("openraft", &["store", "cluster"]),
    ("rcgen", &["tls"]),
    ("rmp_serde", &["model", "store", "cluster", "seal"]),
    ("rusqlite", &["store"]),
    ("rustls", &["tls", "web", "dns", "ftp", "cluster", "fetch"]),
    ("rustls_native_certs", &["fetch"]),
    ("sd_notify", &["ops", "daemon"]),
    ("tokio_rustls", &["ftp", "cluster", "fetch"]),
    ("toml", &["config"]),
    ("tower", &["web", "dns", "ftp", "acme", "moves", "cluster", "admin", "daemon"]),
    ("tracing_journald", &["ops"]),
    ("tracing_subscriber", &["ops"]),
    ("utoipa", &["admin", "api"]),
    ("utoipa_axum", &["admin", "api"]),
    ("x509_parser", &["tls"]),
];

/// The stored form of a type is tested beside the type, on any floor.
pub(crate) const FREE_IN_TESTS: &[&str] = &["rmp_serde"];

/// What a pure module never touches outside its tests: `model` decides the same everywhere, so it has no clock and no chance either.
pub(crate) const NEVER: &[(&str, &[&str])] = &[
    ("base", &["std::fs", "std::net", "std::process", "tokio"]),
    ("rr", &["std::fs", "std::net", "tokio"]),
    ("seal", &["std::fs", "std::net", "tokio"]),
    ("api", &["std::fs", "std::net", "tokio"]),
    (
        "model",
        &[
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "tokio",
            "rustix",
            "getrandom",
        ],
    ),
];
/// Values that happen to live in `std::net`: no socket comes with them.
pub(crate) const ADDRESSES: &[&str] =
    &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6", "AddrParseError"];

pub(crate) const FILE_LINES_MAX: usize = 500;
pub(crate) const FUNCTION_LINES_MAX: usize = 70;

/// The floor of a module, counted from the stones, with its name.
pub(crate) fn floor(module: &str) -> Option<(usize, &'static str)> {
    let level = FLOORS.iter().position(|(_, modules)| modules.contains(&module))?;
    Some((level, FLOORS[level].0))
}

pub(crate) fn row<'a>(table: &'a [(&str, &'a [&'a str])], key: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(name, _)| *name == key).map(|(_, values)| *values)
}
