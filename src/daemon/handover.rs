//! A node hands over to a new process, of a new version or with a new configuration: nobody is refused, and who is served is served to
//! the end. Where the new one fails, the program that ran before goes back into service. Decides nothing else.
use std::path::Path;

use tokio::sync::Notify;

use crate::base::limits::{DRAIN_WAIT, HAND_OVER_DRAIN, HAND_OVER_WAIT};
use crate::cluster::member::Member;
use crate::config::Config;
use crate::daemon::signals::{Signals, Wish};
use crate::ops::board::Board;
use crate::ops::inherited::Inherited;
use crate::ops::log::LogHandle;
use crate::ops::notify;
use crate::ops::sockets::SocketError;
use crate::ops::successor::{HandOverError, Predecessor, Program, Successor};
use crate::ops::tasks::Tasks;

/// What the board calls it.
const ENTRY: &str = "hand-over";

/// Failed to take up what was there before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InheritError {
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// What a node gives up at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life<'a> {
    pub(crate) tasks: &'a Tasks,
    pub(crate) board: &'a Board,
    pub(crate) inherited: &'a Inherited,
    pub(crate) member: &'a Member,
    /// Told when the node is to be another one, or of another cluster.
    pub(crate) again: &'a Notify,
}

/// How a node ended that ended as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Stop,
    /// The same program is to start anew in this process.
    Again,
}

/// The sockets of before. Where a process hands over, waits until the databases are free.
pub(crate) async fn inherit() -> Result<(Option<Predecessor>, Inherited), InheritError> {
    let Some((mut predecessor, inherited)) = Predecessor::from_env()? else {
        return Ok((None, Inherited::from_env()?));
    };
    predecessor.turn().await?;
    Ok((Some(predecessor), inherited))
}

/// Says that this process serves, to the one that hands over first, then to the service manager.
pub(crate) async fn serves(predecessor: Option<Predecessor>, board: &Board, inherited: &Inherited) {
    board.set_ready(true);
    if let Some(predecessor) = predecessor {
        if predecessor.went_back {
            let text = "the new version failed to start, and the one before went back into service; the log says why";
            board.yellow(ENTRY, text);
        }
        predecessor.serving().await;
        tracing::info!("took over");
    }
    notify::ready("ready");
    inherited.store();
}

/// Serves until a signal or a change of what the node is ends that, and ends as it is told to.
pub(crate) async fn until_the_end(
    signals: &mut Signals,
    (file, log, config): (Option<&Path>, &LogHandle, &Config),
    life: Life<'_>,
) -> Result<End, HandOverError> {
    loop {
        let wish = tokio::select! {
            wish = signals.wait(file, log, config) => wish,
            () = life.again.notified() => {
                life.inherited.withdraw();
                stop(life).await;
                return Ok(End::Again);
            }
        };
        match wish {
            Wish::Stop => {
                notify::stopping();
                life.inherited.let_go();
                stop(life).await;
                return Ok(End::Stop);
            }
            Wish::HandOver => match prepare(life.inherited).await {
                Ok(successor) => return hand_over(successor, life, signals).await.map(|()| End::Stop),
                Err(error) => went_on(life.board, &error),
            },
        }
    }
}

/// Lets another node lead, finishes what was begun, ends all tasks.
async fn stop(life: Life<'_>) {
    life.board.set_ready(false);
    life.member.hand_over().await;
    life.tasks.stop(DRAIN_WAIT).await;
}

/// Starts the new process while this one serves. One that cannot be started, or refuses its configuration, costs nothing.
async fn prepare(inherited: &Inherited) -> Result<Successor, HandOverError> {
    tracing::info!("handing over to a new process");
    notify::status("handing over to a new process");
    Successor::start(Program::New, &sockets(inherited)?).await
}

/// This process serves on.
fn went_on(board: &Board, error: &HandOverError) {
    let text = format!("failed to {error}; the process that was there serves on");
    tracing::error!("{text}");
    notify::status(&text);
    board.yellow(ENTRY, text);
}

/// Gives up databases and listeners, waits until another process serves, and finishes what is under way here.
async fn hand_over(successor: Successor, life: Life<'_>, signals: &mut Signals) -> Result<(), HandOverError> {
    let Life { tasks, board, inherited, member, .. } = life;
    board.set_ready(false);
    notify::busy(HAND_OVER_WAIT * 4);
    // Changes would wait for the new process, and the others might not.
    member.hand_over().await;
    let draining = tasks.give_up().await;
    let mut successor = tokio::select! {
        served = serve_on(successor, inherited) => served?,
        // The new one ends as this one does: it hears that nobody is there any more, or is killed with the service.
        () = signals.stop() => return Ok(()),
    };
    inherited.let_go();
    tracing::info!("handed over; what is under way is finished here");
    tokio::select! {
        _ = draining.drain(HAND_OVER_DRAIN) => {}
        // The service is started again as soon as this process is gone too.
        () = successor.fails() => {}
        () = signals.stop() => {}
    }
    Ok(())
}

async fn serve_on(mut successor: Successor, inherited: &Inherited) -> Result<Successor, HandOverError> {
    if let Err(error) = successor.go().await {
        tracing::error!("failed to {error}; the program that ran before goes back into service");
        successor.end().await;
        successor = Successor::start(Program::Same, &sockets(inherited)?).await?;
        successor.go().await?;
    }
    successor.yield_to().await;
    Ok(successor)
}

fn sockets(inherited: &Inherited) -> Result<Vec<std::os::fd::OwnedFd>, HandOverError> {
    inherited.kept().map_err(|error| HandOverError::Start(error.into()))
}
