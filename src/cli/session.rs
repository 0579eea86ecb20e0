//! What every command holds: the API, the output, and how much may be done unasked. Show one, list all, write, remove.
use std::io::{self, BufRead, IsTerminal, Write as _};

use http::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cli::client::{Api, Done, Write, read};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, clean};
use crate::cli::tree::WriteArgs;

pub(crate) struct Session {
    pub(crate) api: Api,
    pub(crate) out: Out,
    /// Destructive commands do not ask.
    pub(crate) yes: bool,
}

/// What all answers to writes have.
#[derive(Deserialize)]
struct Trace {
    revision: u64,
    served: Option<bool>,
    replicated: Option<bool>,
}

impl Session {
    /// Reads one object and shows it.
    pub(crate) async fn show<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        render: impl FnOnce(&Out, &T) -> String,
    ) -> Result<(), Failure> {
        let body = self.api.get(doing, path).await?;
        if self.out.json {
            return self.print_json(&body);
        }
        self.out.print(&render(&self.out, &read(doing, &body)?))
    }

    /// Reads all pages of a list and shows them as a table; `what` are the things listed.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        render: impl FnOnce(&Out, Vec<T>) -> String,
    ) -> Result<(), Failure> {
        let doing = format!("list the {what}");
        let items = self.api.list(&doing, path, usize::MAX).await?;
        if self.out.json {
            return self.print_items(&items);
        }
        let items = items.iter().map(|item| read(&doing, item.get().as_bytes())).collect::<Result<Vec<T>, _>>()?;
        if items.is_empty() {
            self.out.note(&format!("There are no {what}."));
            return Ok(());
        }
        self.out.print(&render(&self.out, items))
    }

    /// Does a change and says so: `past` is its first word once it is done.
    pub(crate) async fn write(&self, past: &str, write: Write) -> Result<Done, Failure> {
        let doing = write.doing.clone();
        let done = self.api.write(write).await?;
        if self.out.json {
            self.print_json(&done.body)?;
            return Ok(done);
        }
        let trace: Trace = read(&doing, &done.body)?;
        let what = doing.split_once(' ').map_or("", |(_, what)| what);
        let again = if done.repeated { " before" } else { "" };
        self.out.print(&format!("{past} {}{again}, revision {}.\n", clean(what), trace.revision))?;
        if trace.served == Some(false) {
            self.out.note("It is kept safely, and not every part of the node serves it yet: see `ruche status`.");
        }
        if trace.replicated == Some(false) {
            self.out.note("It is on the disk of one node so far: see `ruche cluster status`.");
        }
        Ok(done)
    }

    /// Changes what a patch names; one that names nothing is a mistake.
    pub(crate) async fn patch<P: Serialize + Default + PartialEq>(
        &self,
        past: &str,
        doing: String,
        path: String,
        patch: &P,
        args: &WriteArgs,
    ) -> Result<(), Failure> {
        if *patch == P::default() {
            return Err(Failure::nothing_to_change(&doing));
        }
        self.write(past, Write::new(doing, Method::PATCH, path, args).body(patch)).await.map(drop)
    }

    /// Removes a thing after asking; `loses` says what goes with it.
    pub(crate) async fn remove(&self, what: &str, loses: &str, path: String, args: &WriteArgs) -> Result<(), Failure> {
        let doing = format!("remove {what}");
        self.confirm(&doing, &format!("Remove {what}?{loses}"))?;
        self.write("Removed", Write::new(doing, Method::DELETE, path, args)).await.map(drop)
    }

    pub(crate) fn confirm(&self, doing: &str, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let remedy = "Repeat the command with --yes if you are sure.";
            return Err(Failure::usage(doing, "it cannot be undone, and there is no terminal to ask on", remedy));
        }
        let mut stderr = io::stderr().lock();
        let asked = write!(stderr, "{} [y/N] ", clean(question)).and_then(|()| stderr.flush());
        let mut line = String::new();
        asked.and_then(|()| io::stdin().lock().read_line(&mut line)).map_err(|cause| Failure::io(doing, cause))?;
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::Declined { doing: doing.into() }),
        }
    }

    pub(crate) fn print_json(&self, body: &[u8]) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(body);
        self.out.print(&format!("{}\n", text.trim_end()))
    }

    /// One array, one item a line, each as the API wrote it.
    pub(crate) fn print_items(&self, items: &[Box<RawValue>]) -> Result<(), Failure> {
        let lines: Vec<_> = items.iter().map(|item| item.get()).collect();
        self.out.print(&if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", lines.join(",\n")) })
    }
}
