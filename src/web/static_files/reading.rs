//! Reading files without holding up a thread that answers: at once where the kernel has the bytes in memory, elsewhere on the
//! blocking pool. Holds one piece at a time.
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};

use crate::base::limits::{WEB_FILE_BYTES_HELD_MAX, WEB_FILE_FIRST_PIECE, WEB_FILE_PIECE};
use crate::files::jail::Opened;
use crate::ops::blocking::Blocking;

/// All of a small file.
pub(crate) async fn whole(opened: Opened, blocking: &Blocking) -> io::Result<Bytes> {
    let file = Arc::new(opened.file);
    let mut content = BytesMut::zeroed(usize::try_from(opened.len).unwrap_or(0));
    let mut read = 0;
    while read < content.len() {
        let got = match at_once(&file, &mut content[read..], read as u64) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let piece = slowly(Arc::clone(&file), read as u64, content.len() - read, blocking.clone()).await?;
                content[read..read + piece.len()].copy_from_slice(&piece);
                piece.len()
            }
            Err(error) => return Err(error),
        };
        if got == 0 {
            return Err(shorter());
        }
        read += got;
    }
    Ok(content.freeze())
}

type Slow = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// A body that is read as the client takes it.
pub(crate) struct Reading {
    file: Arc<File>,
    next: u64,
    left: u64,
    /// Of the next piece at most.
    piece: usize,
    /// Bytes of pieces that clients have not taken yet, of all bodies of the thread.
    held: Arc<AtomicUsize>,
    /// Those of this body.
    own: Arc<Own>,
    blocking: Blocking,
    slow: Option<Slow>,
}

impl Reading {
    pub(crate) fn new(file: File, first: u64, count: u64, blocking: Blocking, held: Arc<AtomicUsize>) -> Self {
        let (file, piece, own) = (Arc::new(file), WEB_FILE_FIRST_PIECE, Arc::default());
        Self { file, next: first, left: count, piece, held, own, blocking, slow: None }
    }

    /// Whether all bodies of the thread hold all they may: who takes nothing must not cost more than a little, and together they
    /// must not cost everything.
    fn is_crowded(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= WEB_FILE_BYTES_HELD_MAX
    }

    /// While it is crowded, a piece is read when the one before is gone: the engine would gather many of them for one stream.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_crowded() || self.own.pieces.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        self.own.wait(cx.waker());
        if self.own.pieces.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn piece(&self) -> usize {
        let piece = if self.is_crowded() { WEB_FILE_FIRST_PIECE } else { self.piece };
        usize::try_from(self.left).unwrap_or(piece).min(piece)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.slow.is_none() {
            let mut piece = BytesMut::zeroed(self.piece());
            match at_once(&self.file, &mut piece, self.next) {
                Ok(got) => {
                    piece.truncate(got);
                    return Poll::Ready(Ok(piece.freeze()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let (file, next, count, blocking) = (&self.file, self.next, self.piece(), &self.blocking);
        let slow = self.slow.get_or_insert_with(|| Box::pin(slowly(Arc::clone(file), next, count, blocking.clone())));
        let read = ready!(slow.as_mut().poll(cx));
        self.slow = None;
        Poll::Ready(read)
    }
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.slow.is_none() {
            ready!(self.poll_room(cx));
        }
        let piece = match ready!(self.read(cx)) {
            Ok(piece) if piece.is_empty() => Err(shorter()),
            read => read,
        };
        match &piece {
            Ok(piece) => {
                self.next += piece.len() as u64;
                // Taken: the client reads, and gets larger ones.
                self.piece = (2 * self.piece).min(WEB_FILE_PIECE);
                self.left -= piece.len() as u64;
            }
            Err(_) => self.left = 0,
        }
        Poll::Ready(Some(piece.map(|piece| Frame::data(Held::of(piece, &self.held, &self.own)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The pieces of one body that are on their way, and who waits for the last of them to be gone.
#[derive(Default)]
struct Own {
    pieces: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Own {
    fn wait(&self, waker: &Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    fn gone(&self) {
        if self.pieces.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waiting = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waiting {
                waker.wake();
            }
        }
    }
}

/// A piece on its way, counted until it is gone.
struct Held {
    piece: Bytes,
    held: Arc<AtomicUsize>,
    own: Arc<Own>,
}

impl Held {
    fn of(piece: Bytes, held: &Arc<AtomicUsize>, own: &Arc<Own>) -> Bytes {
        held.fetch_add(piece.len(), Ordering::Relaxed);
        own.pieces.fetch_add(1, Ordering::AcqRel);
        Bytes::from_owner(Self { piece, held: Arc::clone(held), own: Arc::clone(own) })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.piece.len(), Ordering::Relaxed);
        self.own.gone();
    }
}

/// Stands for a body of so many bytes of which only the length is told.
pub(crate) struct Unread(pub(crate) u64);

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// What the page cache has; `WouldBlock` where the disk would have to be asked.
fn at_once(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(into)], offset, ReadWriteFlags::NOWAIT) {
            Err(Errno::INTR) => {}
            // Some file systems cannot tell; their files are read as if the disk were asked.
            Err(Errno::OPNOTSUPP) => return Err(Errno::AGAIN.into()),
            read => return Ok(read?),
        }
    }
}

async fn slowly(file: Arc<File>, offset: u64, count: usize, blocking: Blocking) -> io::Result<Bytes> {
    let waiting = Arc::clone(&file);
    match blocking.run(move || read(&waiting, offset, count)).await {
        Ok(read) => read,
        // The pool is full: better slow than cut off.
        Err(_) => read(&file, offset, count),
    }
}

fn read(file: &File, offset: u64, count: usize) -> io::Result<Bytes> {
    let mut piece = BytesMut::zeroed(count);
    let got = file.read_at(&mut piece, offset)?;
    piece.truncate(got);
    Ok(piece.freeze())
}

/// The file lost bytes since its length was told: the response cannot be finished, and is cut off where the client sees it.
fn shorter() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was sent")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    /// HTTP/2 takes a piece of each stream before the client may get any: a hundred streams of a client that takes nothing
    /// must not hold a hundred large ones.
    #[tokio::test]
    async fn pieces_grow_as_they_are_taken_and_while_there_is_room() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..8 * WEB_FILE_PIECE + 7).map(|at| (at % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let blocking = Blocking::new(tokio::runtime::Handle::current());
        let held = Arc::new(AtomicUsize::new(0));
        let start = |file, held: &Arc<AtomicUsize>| {
            Reading::new(file, 0, content.len() as u64, blocking.clone(), Arc::clone(held))
        };
        let mut body = start(file.try_clone().unwrap(), &held);
        let (mut sizes, mut read) = (Vec::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            sizes.push(piece.len());
            read.extend(piece);
        }
        assert!(read == content);
        assert!(sizes[0] <= WEB_FILE_FIRST_PIECE, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= WEB_FILE_PIECE) && sizes.len() < 20, "{sizes:?}");
        assert_eq!(held.load(Ordering::Relaxed), 0, "what was taken is not held");

        held.store(WEB_FILE_BYTES_HELD_MAX, Ordering::Relaxed);
        let mut body = start(file, &held);
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(first.len() <= WEB_FILE_FIRST_PIECE, "others hold all there is");
        assert_eq!(held.load(Ordering::Relaxed), WEB_FILE_BYTES_HELD_MAX + first.len());
        // The next one comes when that is gone, and not before.
        let waiting = tokio::spawn(async move { body.frame().await.unwrap().unwrap().into_data().unwrap() });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        let next = waiting.await.unwrap();
        assert!(next.len() <= WEB_FILE_FIRST_PIECE);
        assert_eq!(held.load(Ordering::Relaxed), WEB_FILE_BYTES_HELD_MAX + next.len());
    }
}
