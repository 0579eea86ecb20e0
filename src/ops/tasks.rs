//! Named tasks: each has an entry on the board, is started again when it panics or fails, and has its place in the stop,
//! the reverse of the order of starting. Never lets a task run without a name.
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::base::limits::{GIVE_UP_WAIT, TASK_RESTART_FIRST, TASK_RESTART_MAX, TASK_STEADY_AFTER};
use crate::ops::board::Board;
use crate::ops::stop::{Stop, Stopper};

/// What a task returns: `Ok` is its end, an error is treated like a panic.
pub type TaskResult = Result<(), Box<dyn Error + Send + Sync>>;

/// Boxed: what supervises a task is compiled once, and not for each of them, which a node would keep in memory.
type Work = Pin<Box<dyn Future<Output = TaskResult> + Send>>;

/// In which phase of the stop a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// As soon as it has given up what it holds; the next one is told only then.
    AtGiveUp,
    /// When what is under way is finished.
    AtDrain,
}

pub struct Tasks {
    board: Board,
    runtime: Handle,
    pauses: Pauses,
    running: Mutex<Vec<Running>>,
}

/// What a failed task waits for; tests have less time.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    first: Duration,
    max: Duration,
    /// Runs so long without failing and its entry is green again.
    steady: Duration,
}

struct Running {
    name: &'static str,
    ends: Ends,
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(running.iter().map(|running| running.name)).finish()
    }
}

impl Tasks {
    /// Tasks run on the given runtime, wherever they are spawned from.
    pub fn new(board: Board, runtime: Handle) -> Self {
        let pauses = Pauses { first: TASK_RESTART_FIRST, max: TASK_RESTART_MAX, steady: TASK_STEADY_AFTER };
        Self { board, runtime, pauses, running: Mutex::default() }
    }

    /// Starts a task that is made anew after a panic or an error, after a pause that doubles each time.
    pub fn spawn<F, Fut>(&self, name: &'static str, ends: Ends, make: F)
    where
        F: Fn(Stop) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = TaskResult> + Send + 'static,
    {
        self.supervised(name, ends, Arc::new(move |stop| Box::pin(make(stop))));
    }

    fn supervised(&self, name: &'static str, ends: Ends, make: Arc<dyn Fn(Stop) -> Work + Send + Sync>) {
        let (board, pauses) = (self.board.clone(), self.pauses);
        self.start(name, ends, async move |stop| supervise(name, &board, pauses, &stop, &make).await);
    }

    /// Starts a task that cannot be made anew: its panic or error leaves its entry red.
    pub fn spawn_once<F, Fut>(&self, name: &'static str, ends: Ends, make: F)
    where
        F: FnOnce(Stop) -> Fut + Send + 'static,
        Fut: Future<Output = TaskResult> + Send + 'static,
    {
        self.unsupervised(name, ends, Box::new(move |stop| Box::pin(make(stop))));
    }

    fn unsupervised(&self, name: &'static str, ends: Ends, make: Box<dyn FnOnce(Stop) -> Work + Send>) {
        let board = self.board.clone();
        self.start(name, ends, async move |stop: Stop| {
            board.green(name, "running");
            match run(Box::pin(async move { make(stop).await })).await {
                Ended::Done => board.clear(name),
                Ended::Failed(cause) => {
                    count(name);
                    board.red(name, format!("{cause}; restart the daemon"));
                }
                Ended::Cancelled => {}
            }
        });
    }

    fn start<F, Fut>(&self, name: &'static str, ends: Ends, body: F)
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (stopper, stop) = Stopper::new();
        let task = self.runtime.spawn(body(stop));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|running| !running.task.is_finished());
        running.push(Running { name, ends, stopper, task });
    }

    /// Stops every task, the last started first: first all are told to give up, and those that end then are waited for
    /// one by one; then the others drain until `drain` is over. Returns the names of those that had to be cut off.
    pub async fn stop(&self, drain: Duration) -> Vec<&'static str> {
        self.give_up().await.drain(drain).await
    }

    /// The first half of a stop. What is under way goes on until the second.
    pub async fn give_up(&self) -> Draining {
        let mut running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        running.reverse();
        let mut cut_off = Vec::new();
        let mut draining = Vec::new();
        for mut running in running {
            running.stopper.give_up();
            match running.ends {
                Ends::AtGiveUp => running.end_by(Instant::now() + GIVE_UP_WAIT, &mut cut_off).await,
                Ends::AtDrain => draining.push(running),
            }
        }
        Draining { tasks: draining, cut_off }
    }
}

/// What gave up, and has work under way.
pub struct Draining {
    tasks: Vec<Running>,
    cut_off: Vec<&'static str>,
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tasks.iter().map(|running| running.name)).finish()
    }
}

impl Draining {
    /// The second half of a stop.
    pub async fn drain(mut self, drain: Duration) -> Vec<&'static str> {
        let deadline = Instant::now() + drain;
        for running in &self.tasks {
            running.stopper.drain(deadline);
        }
        for mut running in self.tasks {
            running.end_by(deadline, &mut self.cut_off).await;
        }
        self.cut_off
    }
}

impl Running {
    async fn end_by(&mut self, deadline: Instant, cut_off: &mut Vec<&'static str>) {
        if tokio::time::timeout_at(deadline, &mut self.task).await.is_err() {
            tracing::warn!(task = self.name, "cut off: it did not end in time");
            self.task.abort();
            cut_off.push(self.name);
        }
    }
}

async fn supervise(
    name: &'static str,
    board: &Board,
    pauses: Pauses,
    stop: &Stop,
    make: &Arc<dyn Fn(Stop) -> Work + Send + Sync>,
) {
    let mut failures = 0_u64;
    let mut pause = pauses.first;
    board.green(name, "running");
    loop {
        let (make, for_task) = (Arc::clone(make), stop.clone());
        // Made inside the task, so that a panic while it is made is caught as well.
        let work = run(Box::pin(async move { make(for_task).await }));
        let mut work = std::pin::pin!(work);
        let ended = match failures {
            0 => work.await,
            _ => match tokio::time::timeout(pauses.steady, &mut work).await {
                Ok(ended) => ended,
                Err(_) => {
                    pause = pauses.first;
                    board.green(name, format!("running, failed {failures} times before"));
                    work.await
                }
            },
        };
        match ended {
            Ended::Done => return board.clear(name),
            Ended::Cancelled => return,
            Ended::Failed(cause) => {
                failures += 1;
                count(name);
                tracing::error!(task = name, %cause, failures, "task failed, it is started again");
                board.yellow(name, format!("{cause}; started again ({failures} times)"));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(pauses.max),
            () = stop.give_up() => return,
        }
    }
}

fn count(name: &'static str) {
    metrics::counter!("ruche_task_failures_total", "task" => name).increment(1);
}

enum Ended {
    Done,
    Failed(String),
    Cancelled,
}

/// Runs a task to its end, a panic caught; dropped, it takes the task with it.
async fn run(work: Work) -> Ended {
    let mut set = JoinSet::new();
    set.spawn(work);
    match set.join_next().await {
        Some(Ok(Ok(()))) => Ended::Done,
        Some(Ok(Err(error))) => Ended::Failed(format!("failed to {error}")),
        Some(Err(error)) if error.is_panic() => Ended::Failed(format!("panicked: {}", words(&*error.into_panic()))),
        Some(Err(_)) | None => Ended::Cancelled,
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::mpsc;

    use super::*;
    use crate::ops::board::Health;

    const FIRST: Duration = Duration::from_millis(20);

    fn tasks() -> (Tasks, Board) {
        let board = Board::default();
        let mut tasks = Tasks::new(board.clone(), Handle::current());
        tasks.pauses = Pauses { first: FIRST, max: FIRST * 3, steady: FIRST * 10 };
        (tasks, board)
    }

    async fn until(board: &Board, name: &str, wanted: Option<(Health, &str)>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while health(board, name).as_ref().map(|(health, text)| (*health, text.as_str())) != wanted {
            assert!(Instant::now() < deadline, "{:?} is not {wanted:?}", health(board, name));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn health(board: &Board, name: &str) -> Option<(Health, String)> {
        board.view().entries.into_iter().find(|entry| entry.name == name).map(|entry| (entry.health, entry.text))
    }

    #[tokio::test]
    async fn a_task_that_panics_or_fails_is_started_again_and_said_to_have_been() {
        let (tasks, board) = tasks();
        let (said, mut heard) = mpsc::channel(8);
        let tries = Arc::new(AtomicU32::new(0));
        tasks.spawn("worker", Ends::AtGiveUp, move |stop| {
            let (said, n) = (said.clone(), tries.fetch_add(1, Ordering::SeqCst));
            async move {
                said.send((n, Instant::now())).await?;
                match n {
                    0 => panic!("broken {n}"),
                    1 => Err("reach it".into()),
                    _ => {
                        stop.give_up().await;
                        Ok(())
                    }
                }
            }
        });
        let mut at = Vec::new();
        for _ in 0..3 {
            at.push(heard.recv().await.unwrap().1);
        }
        assert!(at[1] - at[0] >= FIRST && at[2] - at[1] >= FIRST * 2);
        until(&board, "worker", Some((Health::Yellow, "failed to reach it; started again (2 times)"))).await;
        until(&board, "worker", Some((Health::Green, "running, failed 2 times before"))).await;
        assert_eq!(tasks.stop(Duration::ZERO).await, Vec::<&str>::new());
        assert_eq!(health(&board, "worker"), None);
    }

    #[tokio::test]
    async fn a_panic_before_the_first_await_is_caught_too() {
        let (tasks, board) = tasks();
        let tries = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&tries);
        tasks.spawn("worker", Ends::AtGiveUp, move |_| {
            assert!(tries.fetch_add(1, Ordering::SeqCst) > 0, "not yet");
            async { Ok(()) }
        });
        until(&board, "worker", Some((Health::Yellow, "panicked: not yet; started again (1 times)"))).await;
        until(&board, "worker", None).await;
        assert_eq!(seen.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_task_that_runs_once_leaves_its_entry_red() {
        let (tasks, board) = tasks();
        tasks.spawn_once("once", Ends::AtGiveUp, |_| async { panic!("broken") });
        tasks.spawn_once("well", Ends::AtGiveUp, |_| async { Ok(()) });
        until(&board, "once", Some((Health::Red, "panicked: broken; restart the daemon"))).await;
        until(&board, "well", None).await;
    }

    #[tokio::test]
    async fn the_stop_goes_backwards_and_in_two_phases() {
        let (tasks, _) = tasks();
        let (said, mut heard) = mpsc::channel(8);
        for (name, ends) in
            [("store", Ends::AtGiveUp), ("raft", Ends::AtGiveUp), ("web", Ends::AtDrain), ("stuck", Ends::AtDrain)]
        {
            let said = said.clone();
            tasks.spawn(name, ends, move |stop| {
                let said = said.clone();
                async move {
                    stop.give_up().await;
                    if ends == Ends::AtDrain {
                        stop.drain().await;
                    }
                    if name == "stuck" {
                        std::future::pending::<()>().await;
                    }
                    // Slow enough for an order that is not kept to show.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    said.send(name).await?;
                    Ok(())
                }
            });
        }
        drop(said);
        let began = Instant::now();
        assert_eq!(tasks.stop(Duration::from_millis(500)).await, ["stuck"]);
        assert!(began.elapsed() < Duration::from_secs(3));
        let mut order = Vec::new();
        while let Some(name) = heard.recv().await {
            order.push(name);
        }
        assert_eq!(order, ["raft", "store", "web"]);
    }
}
