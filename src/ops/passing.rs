//! Descriptors passed from process to process beside a few bytes (SCM_RIGHTS, unix(7)). Never says what they are for.
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// The kernel takes 253 with one message.
const AT_ONCE: usize = 64;

/// Sends bytes that are one message, or are preceded by messages of one zero byte, each with a part of the descriptors.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    let (last, before) = match descriptors.chunks(AT_ONCE).collect::<Vec<_>>().split_last() {
        Some((last, before)) => (*last, before.to_vec()),
        None => (&[][..], Vec::new()),
    };
    for part in before {
        send_one(&socket, &[0], part)?;
    }
    send_one(socket, bytes, last)
}

fn send_one(socket: impl AsFd, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    if sent == bytes.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
}

/// Copies of descriptors that are known by their number: sent to ourselves, for to adopt a number is not safe, and to ask the kernel for
/// it (`pidfd_getfd`) is what a debugger does, and forbidden in the daemon's sandbox.
pub(super) fn copies(numbers: &[RawFd]) -> io::Result<Vec<OwnedFd>> {
    let (here, there) = UnixStream::pair()?;
    let mut copies = Vec::with_capacity(numbers.len());
    for part in numbers.chunks(AT_ONCE) {
        let passed = [ControlMessage::ScmRights(part)];
        sendmsg::<()>(here.as_raw_fd(), &[IoSlice::new(&[1])], &passed, MsgFlags::MSG_NOSIGNAL, None)?;
        receive(&there, &mut copies)?;
    }
    Ok(copies)
}

/// Takes one byte that is not zero, and the descriptors that came until then; None at the end.
pub(super) fn receive(socket: impl AsFd, descriptors: &mut Vec<OwnedFd>) -> Result<Option<u8>, Errno> {
    loop {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                descriptors.extend(passed);
            }
        }
        match (received.bytes, byte) {
            (0, _) => return Ok(None),
            (_, [0]) => {}
            (_, [byte]) => return Ok(Some(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_number_is_copied() {
        let sockets: Vec<_> = (0..70).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let numbers: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let copied = copies(&numbers).unwrap();
        assert_eq!(copied.len(), 70);
        for (socket, copy) in sockets.iter().zip(copied) {
            assert_eq!(socket.local_addr().unwrap(), UdpSocket::from(copy).local_addr().unwrap());
        }
        assert!(copies(&[-1]).is_err() && copies(&[]).unwrap().is_empty());
    }

    #[test]
    fn many_descriptors_arrive_in_their_order() {
        let (here, there) = UnixStream::pair().unwrap();
        let sockets: Vec<OwnedFd> = (0..150).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap().into()).collect();
        let addresses = |sockets: Vec<OwnedFd>| -> Vec<_> {
            sockets.into_iter().map(|socket| UdpSocket::from(socket).local_addr().unwrap()).collect()
        };
        send(&here, b"x", &sockets).unwrap();
        send(&here, b"y", &[]).unwrap();
        drop(here);
        let mut arrived = Vec::new();
        assert_eq!(receive(&there, &mut arrived), Ok(Some(b'x')));
        assert_eq!(arrived.len(), 150);
        assert_eq!(receive(&there, &mut arrived), Ok(Some(b'y')));
        assert_eq!(receive(&there, &mut arrived), Ok(None));
        assert_eq!(addresses(arrived), addresses(sockets));
    }
}
