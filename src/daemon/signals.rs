//! What a node is told by signals: to stop, to hand over to a new process, to read its configuration again. Never acts on the first
//! two by itself.
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::daemon::reload;
use crate::ops::log::LogHandle;

/// Completes "failed to …".
#[derive(Debug, thiserror::Error)]
#[error("wait for signals: {0}")]
pub(crate) struct SignalError(#[source] std::io::Error);

/// What a signal asks for that ends this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Stop,
    HandOver,
}

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hand_over: Signal,
    reload: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, SignalError> {
        let listen = |kind| signal(kind).map_err(SignalError);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hand_over: listen(SignalKind::user_defined2())?,
            reload: listen(SignalKind::hangup())?,
        })
    }

    /// Returns when the process is to end one way or the other; reads the configuration again as often as asked.
    pub(crate) async fn wait(&mut self, file: Option<&Path>, log: &LogHandle, config: &Config) -> Wish {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Wish::Stop,
                _ = self.interrupt.recv() => return Wish::Stop,
                _ = self.hand_over.recv() => return Wish::HandOver,
                _ = self.reload.recv() => reload::reload(file, log, config),
            }
        }
    }

    /// Returns when the process is to stop.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
