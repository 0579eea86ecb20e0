//! How machines come and go: `ruche node token`, `ruche cluster join`, `ruche cluster leave`, and the cluster at a glance.
use std::io;
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep};

use crate::api::joining::{ClusterStatus, Join, JoinToken, JoinTokenCreate, Joining, Member};
use crate::api::status::Status;
use crate::base::names::NodeName;
use crate::base::sizes::human;
use crate::cli::client::{Write, path, read};
use crate::cli::failure::Failure;
use crate::cli::output::{Out, or_dash, yes_no};
use crate::cli::session::Session;
use crate::cli::tree::WriteArgs;

/// How long is waited for a node that starts again in another cluster.
const JOIN_WAIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Makes a token and says what to do with it.
pub(crate) async fn token(session: &Session, lasts: Option<Duration>, args: &WriteArgs) -> Result<(), Failure> {
    const DOING: &str = "make a join token";
    let body = JoinTokenCreate { lasts: lasts.map(|lasts| lasts.as_secs()) };
    let done =
        session.api.write(Write::new(DOING, Method::POST, path(&["cluster", "token"]), args).body(&body)).await?;
    if session.out.json {
        return session.print_json(&done.body);
    }
    let made: JoinToken = read(DOING, &done.body)?;
    let Some(token) = made.token else {
        session.out.note("It was made before, and is shown once only: make another one.");
        return Ok(());
    };
    session.out.note(&format!("It lets one machine in, until {}. On that machine:", session.out.time(&made.expires)));
    session.out.print(&format!("ruche cluster join {token}\n"))
}

/// Has the node join, and waits until it serves as a member.
pub(crate) async fn join(
    session: &Session,
    token: String,
    name: Option<NodeName>,
    discard_state: bool,
    args: &WriteArgs,
) -> Result<(), Failure> {
    const DOING: &str = "join the cluster";
    let body = Join { token, name: name.map(|name| name.to_string()), discard_state };
    let done = session.api.write(Write::new(DOING, Method::POST, path(&["cluster", "join"]), args).body(&body)).await?;
    let joining: Joining = read(DOING, &done.body)?;
    if !session.out.json {
        session.out.note(&format!("Let in as {}; the node starts again and fetches the state.", joining.name));
    }
    let status =
        session.until_back(DOING, |status| status.node_id == joining.node_id && status.cluster.is_some()).await?;
    if session.out.json {
        return session.print_json(&done.body);
    }
    let (name, cluster, revision) = (status.node, joining.cluster, status.revision);
    session.out.print(&format!("{name} is a member of the cluster {cluster}, revision {revision}.\n"))
}

/// Has the node leave, and waits until it is back, alone.
pub(crate) async fn leave(session: &Session, args: &WriteArgs) -> Result<(), Failure> {
    const DOING: &str = "leave the cluster";
    session.confirm(DOING, "Take this node out of its cluster? What it holds is set aside on its disk.")?;
    let before: Status = read(DOING, &session.api.get(DOING, &path(&["status"])).await?)?;
    let done = session.api.write(Write::new(DOING, Method::POST, path(&["cluster", "leave"]), args)).await?;
    let status =
        session.until_back(DOING, |status| status.cluster.is_some() && status.cluster != before.cluster).await?;
    if session.out.json {
        return session.print_json(&done.body);
    }
    let cluster = status.cluster.unwrap_or_default();
    session.out.print(&format!("{} has left; it is alone in the new cluster {cluster}.\n", status.node))
}

impl Session {
    /// Waits until the node answers as it should.
    async fn until_back(&self, doing: &'static str, is_it: impl Fn(&Status) -> bool) -> Result<Status, Failure> {
        let deadline = Instant::now() + JOIN_WAIT;
        loop {
            let seen = match self.api.get(doing, &path(&["status"])).await {
                Ok(body) => read::<Status>(doing, &body).map(|status| is_it(&status).then_some(status)),
                Err(failure) => Err(failure),
            };
            match seen {
                Ok(Some(status)) => return Ok(status),
                Err(failure) if Instant::now() >= deadline => return Err(failure),
                Ok(None) if Instant::now() >= deadline => {
                    let late = "the node has not come back as it should in a minute: look at its log";
                    return Err(Failure::io(doing, io::Error::new(io::ErrorKind::TimedOut, late)));
                }
                Ok(None) | Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }
}

pub(crate) fn cluster(out: &Out, status: &ClusterStatus) -> String {
    let fields = out.fields(&[
        ("cluster", Some(status.cluster.clone().unwrap_or_else(|| "not founded yet".into()))),
        ("level", Some(status.level.to_string())),
        ("revision", Some(status.revision.to_string())),
        ("leader", Some(status.leader.clone().unwrap_or_else(|| "none: changes wait".into()))),
        ("term", Some(status.term.to_string())),
    ]);
    let row = |node: &Member| {
        let number = |number: Option<u64>| or_dash(number.map(|number| number.to_string()));
        let behind = match node.differs {
            true => "DIVERGED".to_owned(),
            false => number(node.behind),
        };
        [
            node.name.clone(),
            node.part.as_str().to_owned(),
            yes_no(node.up),
            yes_no(node.answers),
            behind,
            served(node),
            or_dash(node.clock_ahead.map(|ahead| format!("{ahead:+} ms"))),
            or_dash(node.disk_free.map(human)),
            or_dash(node.version.clone()),
            if node.hidden { "its own calls".to_owned() } else { or_dash(Some(node.reach.join(", "))) },
        ]
    };
    let heads = ["NODE", "PART", "UP", "ANSWERS", "BEHIND", "SERVES", "CLOCK", "DISK FREE", "VERSION", "REACHED AT"];
    format!("{fields}\n{}", out.table(heads, status.nodes.iter().map(row)))
}

/// One number where all planes serve the same.
fn served(node: &Member) -> String {
    let planes = node.planes.as_deref().unwrap_or_default();
    match planes {
        [first, rest @ ..] if rest.iter().any(|plane| plane.served != first.served) => {
            planes.iter().map(|plane| format!("{} {}", plane.name, plane.served)).collect::<Vec<_>>().join(", ")
        }
        _ => or_dash(node.served.map(|served| served.to_string())),
    }
}
