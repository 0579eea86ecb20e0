//! `ruche site logs` and `ruche site stats`: who came to a site. Follows a log by asking for what came after the last line.
use crate::api::visits::{Log, SiteStats, Stats, Visits};
use crate::base::limits::CLIENT_LOG_EVERY;
use crate::base::names::Host;
use crate::base::sizes::human;
use crate::cli::client::{path, read};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, clean, unicode};
use crate::cli::session::Session;

/// Prints the newest lines, and those that come after them for as long as somebody looks.
pub(crate) async fn logs(session: &Session, host: &Host, lines: usize, follow: bool) -> Result<(), Failure> {
    let doing = format!("read the access log of the site {}", host.to_unicode());
    let logs = path(&["sites", host.as_str(), "logs"]);
    let mut query = format!("lines={lines}");
    loop {
        let body = session.api.get(&doing, &format!("{logs}?{query}")).await?;
        let log: Log = read(&doing, &body)?;
        if session.out.json && !follow {
            return session.print_json(&body);
        }
        for line in &log.lines {
            let text = match session.out.json {
                true => serde_json::Value::from(line.as_str()).to_string(),
                false => clean(line),
            };
            session.out.print(&format!("{text}\n"))?;
        }
        if !follow {
            if log.lines.is_empty() {
                session.out.note("There are no visits in the access log of this node.");
            }
            return Ok(());
        }
        query = format!("after={}", log.next);
        tokio::time::sleep(CLIENT_LOG_EVERY).await;
    }
}

/// Shows one site day by day, or all sites.
pub(crate) async fn stats(session: &Session, host: Option<&Host>) -> Result<(), Failure> {
    match host {
        Some(host) => {
            let doing = format!("show the visits of the site {}", host.to_unicode());
            session.show(&doing, &path(&["sites", host.as_str(), "stats"]), days).await
        }
        None => session.list("sites", &path(&["stats"]), sites).await,
    }
}

const COLUMNS: [&str; 7] = ["HITS", "SENT", "2XX", "3XX", "4XX", "5XX", "1XX"];

fn row(first: String, visits: &Visits) -> [String; 8] {
    let Visits { hits, bytes, informed, done, elsewhere, refused, failed } = *visits;
    let [done, elsewhere, refused, failed, informed] =
        [done, elsewhere, refused, failed, informed].map(|n| n.to_string());
    [first, hits.to_string(), human(bytes), done, elsewhere, refused, failed, informed]
}

fn header(first: &'static str) -> [&'static str; 8] {
    let [hits, sent, done, elsewhere, refused, failed, informed] = COLUMNS;
    [first, hits, sent, done, elsewhere, refused, failed, informed]
}

fn days(out: &Out, stats: &Stats) -> String {
    let days = stats.days.iter().map(|day| row(day.day.clone(), &day.visits));
    out.table(header("DAY"), days.chain([row("total".to_owned(), &stats.total)]))
}

fn sites(out: &Out, sites: Vec<SiteStats>) -> String {
    out.table(header("HOST"), sites.iter().map(|site| row(unicode(&site.host), &site.total)))
}
