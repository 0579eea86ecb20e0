//! What a service manager hears from a node.
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::node::Node;
use super::until;

/// How long one look for a message takes.
const LISTEN: Duration = Duration::from_millis(50);

/// A service manager's ear.
#[derive(Debug)]
pub struct Ear(UnixDatagram, Vec<String>);

impl Ear {
    pub fn of(node: &mut Node) -> Self {
        let path = node.path("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(LISTEN)).unwrap();
        node.env.push(("NOTIFY_SOCKET".into(), path.display().to_string()));
        Self(socket, Vec::new())
    }

    /// Waits until a line was heard, after those heard before.
    pub fn hears(&mut self, wanted: &str) {
        until(60, &format!("`{wanted}` is said"), || {
            let mut buffer = [0; 4096];
            if let Ok(length) = self.0.recv(&mut buffer) {
                self.1.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
            }
            let at = self.1.iter().position(|line| line.starts_with(wanted))?;
            self.1.drain(..=at);
            Some(())
        });
    }

    /// Whether nothing more is said for this long, once what was said before is read away.
    pub fn falls_silent(&mut self, wait: Duration) -> bool {
        let mut buffer = [0; 4096];
        while self.0.recv(&mut buffer).is_ok() {}
        self.0.set_read_timeout(Some(wait)).unwrap();
        let silent = self.0.recv(&mut buffer).is_err();
        self.0.set_read_timeout(Some(LISTEN)).unwrap();
        silent
    }
}
