//! The command tree: what is in it, what is not, and what is refused before anybody is asked.
use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::cli::target;
use crate::cli::tree::{Cli, Global};
use crate::cli::{ApiCommand, Command, Work};
use crate::cli::{command, run_alone};
use crate::fetch::target::Target;

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    let words = std::iter::once("ruche").chain(line.split_whitespace());
    Cli::try_parse_from(words).map_err(|error| error.kind())
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_and_none_is_promised_early() {
    fn visit(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        assert!(command.get_about().is_some(), "{path} does not say what it does");
        let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        for early in ["sign", "backup"] {
            assert!(!names.contains(&early), "{path} {early} does not exist yet");
        }
        command.get_subcommands().for_each(|sub| visit(sub, &path));
    }
    visit(&Cli::command(), "");
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("site") && !help.contains("docs"), "{help}");
}

#[test]
fn what_is_accepted() {
    for line in [
        "run",
        "run --config /etc/ruche/ruche.toml",
        "check --config f",
        "demo --once",
        "docs out",
        "status -o json",
        "-o json --socket /tmp/s status",
        "events -f -n 0",
        "cluster status",
        "cluster key export",
        "cluster recover --copy state.db.gz --node pi-1 --force-single --config f",
        "cluster key export recovery.key",
        "node set pi-1 --role web,dns --role ftp --address 192.0.2.1 --address 2001:db8::1 --label rack=a",
        "account set club --no-plan",
        "plan create small --sites 5 --disk unlimited",
        "plan set small --disk 1.5T --if-match 7",
        "token create deploy --access write --expires 90d",
        "site create bücher.example --static --alias b.example --alias c.example --www redirect --quota 2G",
        "site create a.example --proxy http://127.0.0.1:1 http://127.0.0.1:2 --node pi-1 --no-wait",
        "site create a.example --redirect https://b.example",
        "site set a.example --php 8.2 --idempotency-key k",
        "site maintenance a.example on",
        "zone create 0/25.2.0.192.in-addr.arpa --ttl 60",
        "zone import - example.org --replace --dry-run --account club",
        "zone export example.org",
        "record set example.org @ MX one two --ttl 300",
        "record rm example.org @ TYPE65280 --yes",
        "ftp-user create web@example.org --site example.org --quota 2G --password-stdin",
        "ftp-user set web --disable",
        "cert ls",
        "cert show bücher.example",
        "cert export --ca --out ca.pem",
        "operation cancel 00000000000000ab",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn what_is_refused() {
    use ErrorKind::{
        ArgumentConflict, InvalidSubcommand, InvalidValue, MissingRequiredArgument, UnknownArgument, ValueValidation,
    };
    for (line, kind) in [
        ("site create a.example", MissingRequiredArgument),
        ("site create a.example --static --php 8.2", ArgumentConflict),
        ("site set a.example --standby pi-2 --no-standby", ArgumentConflict),
        ("site create a.example --static --failover perhaps", InvalidValue),
        ("site create 192.0.2.1 --static", ValueValidation),
        ("site create a.example --static --quota 2GB", ValueValidation),
        ("site create a.example --static --www maybe", InvalidValue),
        ("site maintenance a.example maybe", InvalidValue),
        ("site set a.example --account b --no-account", ArgumentConflict),
        ("site crate a.example --static", InvalidSubcommand),
        ("ftp-user create web --site a.example", MissingRequiredArgument),
        ("ftp-user create web --site a.example --password secret", UnknownArgument),
        ("token create t --expires soon", ValueValidation),
        ("status --token secret", UnknownArgument),
        ("status --socket s --url http://127.0.0.1", ArgumentConflict),
        ("record set a.example @ TXT", MissingRequiredArgument),
        ("cert export", MissingRequiredArgument),
    ] {
        assert_eq!(parse(line).err(), Some(kind), "{line}");
    }
}

#[test]
fn typos_are_met_with_a_suggestion() {
    let error = Cli::try_parse_from(["ruche", "site", "craete"]).unwrap_err();
    assert!(error.to_string().contains("create"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn what_is_not_for_the_api_is_handed_over() {
    assert!(matches!(command(parse("demo --once").unwrap()), Command::Demo { nodes: 1, once: true }));
    assert!(matches!(command(parse("check --config f").unwrap()), Command::Check { config: Some(_) }));
    assert!(matches!(command(parse("run").unwrap()), Command::Run { config: None }));
}

fn target(line: &str, environment: &[(&str, &str)]) -> Result<(Target, Option<String>), u8> {
    let found = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let Command::Api(ApiCommand(Work::Call(global, _))) = command(parse(line).unwrap()) else { panic!("{line}") };
    let global: Global = global;
    let api = target::api(&global, found).map_err(|failure| failure.exit())?;
    Ok((api.client.target, api.token.map(|token| token.to_str().unwrap().to_owned())))
}

#[test]
fn where_the_api_is() {
    let unix = |path: &str| Ok((Target::Unix(path.into()), None));
    let tcp =
        |host: &str, port, token: Option<&str>| Ok((Target::Tcp { host: host.into(), port }, token.map(Into::into)));
    let all = [("RUCHE_SOCKET", "/e"), ("RUCHE_URL", "http://localhost:1"), ("RUCHE_TOKEN", "t")];
    assert_eq!(target("status", &[]), unix("/run/ruche/admin.sock"));
    assert_eq!(target("status", &all[..1]), unix("/e"));
    assert_eq!(target("status", &all), tcp("localhost", 1, Some("Bearer t")));
    assert_eq!(target("status --socket /s", &all), unix("/s"));
    assert_eq!(target("status --url http://[::1]:7479/", &[]), tcp("::1", 7479, None));
    assert_eq!(target("status --url http://a", &[]), tcp("a", 80, None));
    for bad in
        ["a", "127.0.0.1:7479", "https://a", "ftp://a", "http://a/v1", "http://u@a", "http://a?b", "http://a:99999"]
    {
        assert_eq!(target(&format!("status --url {bad}"), &[]), Err(2), "{bad}");
    }
    assert_eq!(target("status --url http://a", &[("RUCHE_TOKEN", "a\nb")]), Err(2));
}

#[test]
fn the_command_of_a_node_is_read_like_all_others() {
    let alone = |line: &str| {
        let words: Vec<_> = line.split_whitespace().map(Into::into).collect();
        run_alone(&words)
    };
    for line in ["run", "run --config /etc/ruche/ruche.toml"] {
        let (Some(Command::Run { config: here }), Command::Run { config: there }) =
            (alone(line), command(parse(line).unwrap()))
        else {
            panic!("{line}: another command");
        };
        assert_eq!(here, there);
    }
    for line in [
        "",
        "check",
        "run --help",
        "run f",
        "run --config",
        "run --config --help",
        "run --config=f",
        "run --config f g",
    ] {
        assert!(alone(line).is_none(), "{line}");
    }
}
