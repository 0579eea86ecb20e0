//! Whether the other side of a connection is still there, as far as the kernel can tell.
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};

/// Whether the other side has neither closed the connection nor said anything unasked.
pub fn is_silent(socket: impl AsFd) -> bool {
    matches!(recv(socket, &mut [0u8][..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN))
}

/// Has the kernel end a connection whose other side is gone, also while neither says anything: how often it asks, how often in vain, and
/// how long what was sent may go unanswered.
pub fn notice_death(socket: impl AsFd, every: Duration, asked: u32, wait: Duration) -> Result<(), Errno> {
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, every)?;
    sockopt::set_tcp_keepintvl(&socket, every)?;
    sockopt::set_tcp_keepcnt(&socket, asked)?;
    sockopt::set_tcp_user_timeout(&socket, u32::try_from(wait.as_millis()).unwrap_or(u32::MAX))
}
