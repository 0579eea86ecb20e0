//! What a service manager hears from a node.
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::node::Node;
use super::until;

/// How long one look for a message takes.
const LISTEN: Duration = Duration::from_millis(50);

/// Messages that may wait to be looked at.
const MESSAGES: usize = 1000;

/// A service manager's ear. It takes in what is said as it is said: whoever speaks waits until it is heard, and the copies of sockets
/// that come with it are open until then.
#[derive(Debug)]
pub struct Ear(Receiver<String>, Vec<String>);

impl Ear {
    pub fn of(node: &mut Node) -> Self {
        let path = node.path("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        node.env.push(("NOTIFY_SOCKET".into(), path.display().to_string()));
        let (said, heard) = sync_channel(MESSAGES);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer)
                && said.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_ok()
            {}
        });
        Self(heard, Vec::new())
    }

    /// Waits until a line was heard, after those heard before.
    pub fn hears(&mut self, wanted: &str) {
        until(60, &format!("`{wanted}` is said"), || {
            if let Ok(message) = self.0.recv_timeout(LISTEN) {
                self.1.extend(message.lines().map(str::to_owned));
            }
            let at = self.1.iter().position(|line| line.starts_with(wanted))?;
            self.1.drain(..=at);
            Some(())
        });
    }

    /// Whether nothing more is said for this long, once what was said before is read away.
    pub fn falls_silent(&mut self, wait: Duration) -> bool {
        while self.0.recv_timeout(LISTEN).is_ok() {}
        self.0.recv_timeout(wait).is_err()
    }
}
