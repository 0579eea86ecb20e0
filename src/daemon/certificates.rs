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
        member: member.clone(),
        blocking: blocking.clone(),
        resolver: Arc::new(Resolver::new()),
        accounts: Arc::default(),
        http: !config.web.http.is_empty(),
    });
    // Kept over a panic: who asks for the plan holds on to this one.
    let keeper = Arc::new(Mutex::new(keeper));
    let member = member.clone();
    tasks.spawn("issuers", Ends::AtGiveUp, move |stop| {
        let (keeper, member) = (Arc::clone(&keeper), member.clone());
        async move {
            let mut keeper = keeper.lock().await;
            while !stop.is_given_up() {
                tokio::select! {
                    () = member.until_leading(true) => {}
                    () = stop.give_up() => {}
                }
                tokio::select! {
                    () = keeper.run(&stop) => {}
                    () = member.until_leading(false) => keeper.rest().await,
                }
            }
            Ok(())
        }
    });
    handle
}
