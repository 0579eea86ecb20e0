//! What obtains certificates: one task, which the node that leads the cluster runs.
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::acme::Ground;
use crate::acme::keeper::{Handle, Keeper};
use crate::cluster::member::Member;
use crate::config::Config;
use crate::ops::blocking::Blocking;
use crate::ops::board::Board;
use crate::ops::tasks::{Ends, Tasks};
use crate::resolve::resolver::Resolver;
use crate::seal::keyring::Keyring;

pub(crate) fn start(
    tasks: &Tasks,
    member: &Member,
    keyring: &Arc<Keyring>,
    board: &Board,
    blocking: &Blocking,
    config: &Config,
) -> Handle {
    let (keeper, handle) = Keeper::new(Ground {
        door: member.door().only(),
        snapshots: member.snapshot(),
        keyring: Arc::clone(keyring),
        board: board.clone(),
        blocking: blocking.clone(),
        resolver: Arc::new(Resolver::new()),
        accounts: Arc::default(),
        http: !config.web.http.is_empty(),
    });
    // Kept over a panic: who asks for the plan holds on to this one.
    let keeper = Arc::new(Mutex::new(keeper));
    tasks.spawn("issuers", Ends::AtGiveUp, move |stop| {
        let keeper = Arc::clone(&keeper);
        async move {
            keeper.lock().await.run(&stop).await;
            Ok(())
        }
    });
    handle
}
