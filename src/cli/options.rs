//! `ruche site create` and `ruche site set`: what a site is told beside its handler. A password comes from standard input, never
//! from the command line.
use std::collections::BTreeMap;

use clap::Args;

use crate::api::options::{AuthPatch, Hsts, Options, OptionsPatch, UserPatch};
use crate::base::limits::HSTS_PRELOAD_AGE_MIN;
use crate::base::sizes::human;
use crate::cli::failure::Failure;
use crate::cli::passwords;
use crate::cli::values::{duration, label, size};

pub(crate) const EXAMPLES: &str = "\
Examples:
  ruche site set example.org --alias example.net --alias example.com --www serve
  ruche site set example.org --hsts 1y --header 'X-Frame-Options: DENY' --strip-header X-Powered-By
  systemd-ask-password | ruche site set example.org --auth-path /members --auth-user ada --password-stdin
  ruche site set example.org --no-auth /members
  ruche site set example.org --error-page 404=/404.html --max-body 100M
  ruche site set app.example.org --fallback /index.html";

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of the site")]
pub(crate) struct OptionArgs {
    /// Tell browsers to come by HTTPS only: `on` (a year), a duration such as 180d, or `off`; `,subdomains` and `,preload` may
    /// follow
    #[arg(long, value_name = "AGE", value_parser = hsts)]
    hsts: Option<HstsArg>,
    /// Header of each response, such as 'X-Frame-Options: DENY'; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Set this header no more; may be repeated
    #[arg(long = "no-header", value_name = "NAME")]
    no_headers: Vec<String>,
    /// Header that no response has, whatever its handler says, all of them; may be repeated
    #[arg(long = "strip-header", value_name = "NAME")]
    strip_headers: Vec<String>,
    /// Strip no headers any more
    #[arg(long, conflicts_with = "strip_headers")]
    no_strip_header: bool,
    /// Part of the site that asks for a name and a password: / or a path such as /members, with all beneath it
    #[arg(long, value_name = "PATH")]
    auth_path: Option<String>,
    /// User who may enter there, with the password that --password-stdin reads
    #[arg(long, value_name = "USER", requires = "auth_path", requires = "password_stdin")]
    auth_user: Option<String>,
    /// Read the user's password from standard input
    #[arg(long, requires = "auth_user")]
    password_stdin: bool,
    /// What the browser shows when it asks [default: the host]
    #[arg(long, value_name = "TEXT", requires = "auth_path")]
    auth_realm: Option<String>,
    /// User who may enter there no more; may be repeated
    #[arg(long = "no-auth-user", value_name = "USER", requires = "auth_path")]
    no_auth_users: Vec<String>,
    /// Ask for no password there any more; may be repeated
    #[arg(long = "no-auth", value_name = "PATH")]
    no_auth: Vec<String>,
    /// Largest body of a request, such as 100M, or `default`
    #[arg(long, value_name = "SIZE", value_parser = max_body)]
    max_body: Option<MaxBody>,
    /// File of a static site for an error, such as 404=/404.html; may be repeated
    #[arg(long = "error-page", value_name = "STATUS=PATH", value_parser = label)]
    error_pages: Vec<(String, String)>,
    /// Answer this status with the server's own page again; may be repeated
    #[arg(long = "no-error-page", value_name = "STATUS")]
    no_error_pages: Vec<String>,
    /// File of a static site for pages that are not there, such as /index.html of a single-page application
    #[arg(long, value_name = "PATH")]
    fallback: Option<String>,
    /// Answer 404 again for pages that are not there
    #[arg(long, conflicts_with = "fallback")]
    no_fallback: bool,
}

/// None: off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HstsArg(Option<Hsts>);

/// None: the server's own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MaxBody(Option<u64>);

impl OptionArgs {
    /// Reads the password where one is announced.
    pub(crate) fn patch(self) -> Result<OptionsPatch, Failure> {
        let strips = self.no_strip_header || !self.strip_headers.is_empty();
        let mut auth: BTreeMap<_, _> = self.no_auth.into_iter().map(|path| (path, None)).collect();
        if let Some(path) = self.auth_path {
            let mut area = AuthPatch { realm: self.auth_realm.map(Some), ..AuthPatch::default() };
            area.users.extend(self.no_auth_users.into_iter().map(|user| (user, None)));
            if let Some(user) = self.auth_user {
                let password = passwords::read(std::io::stdin().lock())?;
                area.users.insert(user, Some(UserPatch { password }));
            }
            auth.insert(path, Some(area));
        }
        let unset = |names: Vec<String>| names.into_iter().map(|name| (name, None));
        let set = |pairs: Vec<(String, String)>| pairs.into_iter().map(|(name, value)| (name, Some(value)));
        Ok(OptionsPatch {
            hsts: self.hsts.map(|hsts| hsts.0),
            headers: unset(self.no_headers).chain(set(self.headers)).collect(),
            strip_headers: strips.then_some(self.strip_headers),
            auth,
            max_body: self.max_body.map(|most| most.0),
            error_pages: unset(self.no_error_pages).chain(set(self.error_pages)).collect(),
            fallback: if self.no_fallback { Some(None) } else { self.fallback.map(Some) },
        })
    }
}

fn hsts(text: &str) -> Result<HstsArg, String> {
    let mut words = text.split(',').map(str::trim);
    let max_age = match words.next().unwrap_or_default() {
        "off" if text == "off" => return Ok(HstsArg(None)),
        "on" => HSTS_PRELOAD_AGE_MIN,
        age => duration(age).map_err(|_| "expected `on`, `off` or a duration such as 180d".to_owned())?.as_secs(),
    };
    let mut hsts = Hsts { max_age, include_subdomains: false, preload: false };
    for word in words {
        match word.to_ascii_lowercase().as_str() {
            "subdomains" | "includesubdomains" => hsts.include_subdomains = true,
            "preload" => hsts.preload = true,
            _ => return Err(format!("expected `subdomains` or `preload`, not `{word}`")),
        }
    }
    Ok(HstsArg(Some(hsts)))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'NAME: VALUE'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn max_body(text: &str) -> Result<MaxBody, String> {
    match text {
        "default" => Ok(MaxBody(None)),
        text => size(text).map(|size| MaxBody(Some(size))).map_err(|error| error.to_string()),
    }
}

/// Lines of `ruche site show`; what is not set has none.
pub(crate) fn fields(options: &Options) -> Vec<(&'static str, Option<String>)> {
    let hsts = |hsts: &Hsts| {
        let days = hsts.max_age / 86_400;
        let age = if days > 0 { format!("{days} days") } else { format!("{} seconds", hsts.max_age) };
        let subdomains = if hsts.include_subdomains { ", with subdomains" } else { "" };
        format!("{age}{subdomains}{}", if hsts.preload { ", to be preloaded" } else { "" })
    };
    let listed = |texts: Vec<String>, between: &str| (!texts.is_empty()).then(|| texts.join(between));
    let headers = options.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let auth = options.auth.iter().map(|(path, auth)| {
        let users = if auth.users.is_empty() { "nobody".to_owned() } else { auth.users.join(", ") };
        let realm = auth.realm.as_ref().map(|realm| format!(" ({realm})")).unwrap_or_default();
        format!("{path}{realm} for {users}")
    });
    let pages = options.error_pages.iter().map(|(status, path)| format!("{status} {path}"));
    vec![
        ("HSTS", options.hsts.as_ref().map(hsts)),
        ("headers", listed(headers.collect(), "; ")),
        ("stripped", listed(options.strip_headers.clone(), ", ")),
        ("password", listed(auth.collect(), "; ")),
        ("max body", options.max_body.map(human)),
        ("error pages", listed(pages.collect(), ", ")),
        ("fallback", options.fallback.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsts_as_people_type_it() {
        let of =
            |max_age, include_subdomains, preload| Ok(HstsArg(Some(Hsts { max_age, include_subdomains, preload })));
        for (text, expected) in [
            ("off", Ok(HstsArg(None))),
            ("on", of(31_536_000, false, false)),
            ("180d", of(15_552_000, false, false)),
            ("2y,includeSubDomains, preload", of(63_072_000, true, true)),
        ] {
            assert_eq!(hsts(text), expected, "{text}");
        }
        for bad in ["", "yes", "1y,all", "off,preload", "-1d"] {
            assert!(hsts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_and_sizes() {
        assert_eq!(header("X-A:  b: c "), Ok(("X-A".into(), "b: c".into())));
        assert!(header("X-A").is_err());
        assert_eq!(max_body("default"), Ok(MaxBody(None)));
        assert_eq!(max_body("100M"), Ok(MaxBody(Some(100 << 20))));
        assert!(max_body("much").is_err());
    }
}
