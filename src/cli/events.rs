//! `ruche events`: what was changed, and with `-f` what is being changed. A broken stream is opened again after the event that was
//! seen last, so that none is missed.
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::api::events::{Actor, Event};
use crate::base::limits::{CLIENT_IDLE_WAIT, CLIENT_RECONNECT_MAX, CLIENT_RETRY_PAUSE};
use crate::base::names::AccountName;
use crate::cli::client::{of_account, path, read};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, Tone, clean};
use crate::cli::session::Session;
use crate::cli::sse::{Reader, TooLarge};
use crate::fetch::error::FetchError;
use crate::fetch::response::Streaming;

const DOING: &str = "show the events";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  ruche events -n 1000 | grep site.create\n  ruche events -f")]
pub(crate) struct EventsArgs {
    /// Go on with what happens from now on
    #[arg(short, long)]
    follow: bool,
    /// How many past events are shown
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: usize,
    /// Only what concerns this account
    #[arg(long)]
    account: Option<AccountName>,
}

pub(crate) async fn run(session: &Session, args: EventsArgs) -> Result<(), Failure> {
    let path = of_account(path(&["events"]), args.account.as_ref());
    // One is asked for even where none is shown: its revision is where the stream begins.
    let mut recent = session.api.list(DOING, &path, args.lines.max(1)).await?;
    let newest: Option<Event> = recent.first().map(|event| read(DOING, event.get().as_bytes())).transpose()?;
    recent.truncate(args.lines);
    if session.out.json && !args.follow {
        return session.print_items(&recent);
    }
    for event in recent.iter().rev() {
        print(session, event.get())?;
    }
    if !args.follow {
        return Ok(());
    }
    let last = newest.map_or_else(|| "0".to_owned(), |event| event.revision.to_string());
    follow(session, &path, last).await
}

/// Ends with an error only: when the API refuses, or nobody reads the output any more.
async fn follow(session: &Session, path: &str, mut last: String) -> Result<(), Failure> {
    let mut stream = session.api.follow(DOING, path, Some(&last)).await?;
    let mut pause = CLIENT_RETRY_PAUSE;
    loop {
        let seen = last.clone();
        let end = copy(session, &mut stream, &mut last).await?;
        if seen != last {
            pause = CLIENT_RETRY_PAUSE;
        }
        if end == End::Broken {
            session.out.note("The stream of events broke off; opening it again.");
        }
        stream = reopen(session, path, &last, &mut pause).await?;
    }
}

#[derive(PartialEq)]
enum End {
    /// Nothing was said for so long that nobody may be there any more.
    Quiet,
    Broken,
}

async fn reopen(session: &Session, path: &str, last: &str, pause: &mut Duration) -> Result<Streaming, Failure> {
    loop {
        sleep(*pause).await;
        *pause = (*pause * 2).min(CLIENT_RECONNECT_MAX);
        match session.api.follow(DOING, path, Some(last)).await {
            // The node may be restarting: 503 and no connection are waited out.
            Err(Failure::Fetch(_)) => {}
            Err(Failure::Problem { problem, .. }) if problem.status == 503 => {}
            done => return done,
        }
    }
}

/// Prints what comes until the stream ends.
async fn copy(session: &Session, stream: &mut Streaming, last: &mut String) -> Result<End, Failure> {
    let odd = |error: TooLarge| Failure::Odd { doing: DOING.into(), status: 200, excerpt: error.to_string() };
    let mut reader = Reader::default();
    loop {
        let bytes = match stream.next(CLIENT_IDLE_WAIT).await {
            Ok(Some(bytes)) => bytes,
            Err(FetchError::Slow { .. }) => return Ok(End::Quiet),
            Ok(None) | Err(_) => return Ok(End::Broken),
        };
        for message in reader.push(&bytes).map_err(odd)? {
            print(session, &message.data)?;
            if let Some(id) = message.id {
                *last = id;
            }
        }
    }
}

fn print(session: &Session, event: &str) -> Result<(), Failure> {
    if session.out.json {
        return session.print_json(event.as_bytes());
    }
    session.out.print(&line(&session.out, &read(DOING, event.as_bytes())?))
}

fn line(out: &Out, event: &Event) -> String {
    let actor = match &event.actor {
        Actor::System {} => "the cluster".to_owned(),
        Actor::Local { uid } => format!("uid {uid}"),
        Actor::Token { id, name } => format!("token {}", name.as_ref().unwrap_or(id)),
    };
    let account = event.account.as_ref().map(|account| format!(" for {account}")).unwrap_or_default();
    let (time, by) = (out.paint(Tone::Faint, &out.time(&event.time)), format!("by {actor}{account}"));
    let (action, subject) = (clean(&event.action), clean(&event.subject));
    format!("{time}  {:>6}  {action:<20}  {subject}  {}\n", event.revision, out.paint(Tone::Faint, &clean(&by)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_an_event() {
        let event = Event {
            revision: 7,
            time: "2026-11-22T06:12:00Z".into(),
            actor: Actor::Token { id: "ab".into(), name: None },
            action: "site.create".into(),
            subject: "a.example".into(),
            account: Some("club".into()),
            request_id: String::new(),
        };
        let wanted = "2026-11-22 06:12       7  site.create           a.example  by token ab for club\n";
        assert_eq!(line(&Out::plain(), &event), wanted);
    }
}
