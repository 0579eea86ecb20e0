//! `ruche status`: how the node is, in words, and what a newcomer does next.
use crate::api::status::{BoardEntry, Counts, Health, Status};
use crate::cli::client::path;
use crate::cli::failure::Failure;
use crate::cli::output::{Out, Tone, clean};
use crate::cli::session::Session;

const EXPORT: &str = "ruche cluster key export";

pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    session.show("show the status", &path(&["status"]), page).await
}

fn page(out: &Out, status: &Status) -> String {
    let mut page = headline(out, status);
    page.push_str(&out.fields(&facts(out, status)));
    page.push_str(&section(out, "Parts", status.board.iter().map(|entry| part(out, entry))));
    let listening = status.listening.iter().map(|at| format!("{:<14} {}", clean(&at.name), clean(&at.address)));
    page.push_str(&section(out, "Listening", listening));
    if status.key_exported.is_none() {
        page.push_str(&nag(out));
    }
    // The keys have been asked for above, louder.
    let steps = status.next_steps.iter().filter(|step| !step.command.starts_with(EXPORT));
    let steps =
        steps.map(|step| format!("{}\n    {}", clean(&step.text), out.paint(Tone::Strong, &clean(&step.command))));
    page.push_str(&section(out, "Next", steps));
    page
}

fn headline(out: &Out, status: &Status) -> String {
    let (words, tone) = match (status.ready, status.health) {
        (_, Health::Red) => ("it does not do all of its work", Tone::Bad),
        (false, _) => ("it is not ready yet", Tone::Warning),
        (true, Health::Yellow) => ("it works, and somebody should look", Tone::Warning),
        (true, Health::Green) => ("all is well", Tone::Good),
    };
    let node = out.paint(Tone::Strong, &clean(&status.node));
    format!("{node} runs Ruche {}: {}\n\n", clean(&status.version), out.paint(tone, words))
}

fn facts(out: &Out, status: &Status) -> Vec<(&'static str, Option<String>)> {
    let leads = status.raft.leader.as_ref().map(|leader| match *leader == status.node {
        true => "this node".to_owned(),
        false => leader.clone(),
    });
    let served = match status.served {
        Some(served) if served >= status.revision => " (served everywhere on this node)".to_owned(),
        Some(served) => format!(" (revision {served} is served everywhere on this node)"),
        None => String::new(),
    };
    vec![
        ("cluster", Some(status.cluster.clone().unwrap_or_else(|| "not founded yet".into()))),
        ("leader", Some(leads.unwrap_or_else(|| "none: changes wait, everything is served on".into()))),
        ("revision", Some(format!("{}{served}, {}", status.revision, out.time(&status.time)))),
        ("holds", Some(holds(&status.counts))),
        (
            "recovery copy",
            status.key_exported.as_deref().map(|time| format!("of the keys, written {}", out.time(time))),
        ),
    ]
}

fn holds(counts: &Counts) -> String {
    let counted = [
        (counts.nodes, "node"),
        (counts.accounts, "account"),
        (counts.sites, "site"),
        (counts.zones, "zone"),
        (counts.ftp_users, "FTP user"),
        (counts.certificates, "certificate"),
        (counts.operations, "operation under way"),
    ];
    let words =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| match (count, what.split_once(' ')) {
            (1, _) => format!("1 {what}"),
            (_, Some(("operation", rest))) => format!("{count} operations {rest}"),
            _ => format!("{count} {what}s"),
        });
    let words: Vec<_> = words.collect();
    if words.is_empty() { "nothing yet".to_owned() } else { words.join(", ") }
}

fn part(out: &Out, entry: &BoardEntry) -> String {
    let (mark, tone) = match entry.health {
        Health::Green => ("ok  ", Tone::Good),
        Health::Yellow => ("look", Tone::Warning),
        Health::Red => ("bad ", Tone::Bad),
    };
    let since =
        if entry.health == Health::Green { String::new() } else { format!(" (since {})", out.time(&entry.since)) };
    format!("{}  {:<14} {}{since}", out.paint(tone, mark), clean(&entry.name), clean(&entry.text))
}

fn nag(out: &Out) -> String {
    let warning =
        "The keys of this cluster exist on its nodes only: without a recovery copy, a lost disk loses every secret.";
    let command = out.paint(Tone::Strong, &format!("{EXPORT} recovery.key"));
    format!("\n{}\n    {command}\n", out.paint(Tone::Warning, warning))
}

fn section(out: &Out, title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.map(|line| format!("  {}\n", line.trim_end())).collect();
    if lines.is_empty() { lines } else { format!("\n{}\n{lines}", out.paint(Tone::Strong, title)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::{Listener, NextStep, Raft};

    fn status() -> Status {
        let part = BoardEntry {
            name: "store".into(),
            health: Health::Yellow,
            text: "the disk is nearly full".into(),
            since: "2026-11-22T05:00:00Z".into(),
        };
        Status {
            node: "pi-1".into(),
            node_id: "ab".into(),
            version: "0.1.0".into(),
            cluster: Some("cd".into()),
            level: 1,
            revision: 9,
            time: "2026-11-22T06:12:00Z".into(),
            served: Some(8),
            ready: true,
            health: Health::Yellow,
            board: vec![part],
            planes: Vec::new(),
            listening: vec![Listener { name: "web.http".into(), address: "0.0.0.0:80".into() }],
            raft: Raft { leader: Some("pi-1".into()), term: 1, log_index: None, applied_index: None, voters: vec![] },
            key_exported: None,
            counts: Counts {
                nodes: 1,
                plans: 0,
                accounts: 0,
                sites: 2,
                zones: 0,
                ftp_users: 0,
                certificates: 0,
                tokens: 0,
                operations: 2,
            },
            next_steps: vec![
                NextStep { text: "Keep a copy".into(), command: EXPORT.into() },
                NextStep { text: "Create a site".into(), command: "ruche site create …".into() },
            ],
        }
    }

    #[test]
    fn a_page_for_people() {
        let wanted = "\
pi-1 runs Ruche 0.1.0: it works, and somebody should look

cluster        cd
leader         this node
revision       9 (revision 8 is served everywhere on this node), 2026-11-22 06:12
holds          1 node, 2 sites, 2 operations under way

Parts
  look  store          the disk is nearly full (since 2026-11-22 05:00)

Listening
  web.http       0.0.0.0:80

The keys of this cluster exist on its nodes only: without a recovery copy, a lost disk loses every secret.
    ruche cluster key export recovery.key

Next
  Create a site
    ruche site create …
";
        assert_eq!(page(&Out::plain(), &status()), wanted);
        let exported = Status { key_exported: Some("2026-11-22T06:13:00Z".into()), ..status() };
        let text = page(&Out::plain(), &exported);
        assert!(text.contains("of the keys, written 2026-11-22 06:13") && !text.contains("lost disk"), "{text}");
    }
}
