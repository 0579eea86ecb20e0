//! A request's body on its way to the upstream: it waits to be asked for where the visitor's program waits for that, and says
//! how far it is. Holds nothing of it.
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::base::limits::PROXY_CONTINUE_WAIT;
use crate::web::asked::{Asked, AskedError};

/// Nothing, or what the visitor sends.
#[derive(Debug, Default)]
pub(crate) struct Upload(Option<Box<Sending>>);

#[derive(Debug)]
struct Sending {
    asked: Asked,
    progress: Arc<Progress>,
    /// Until then it waits to be asked for.
    hold: Option<Pin<Box<Sleep>>>,
}

/// How far a body is.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    /// Milliseconds after `begun` of the last move.
    moved: AtomicU64,
    /// The upstream has asked for it.
    called: AtomicBool,
    fault: Mutex<Option<AskedError>>,
}

impl Progress {
    pub(crate) fn call(&self) {
        self.called.store(true, Ordering::Relaxed);
    }

    pub(crate) fn moved(&self) -> Instant {
        self.begun + std::time::Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    /// Why the body did not come to its end.
    pub(crate) fn fault(&self) -> Option<AskedError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Upload {
    /// `expects`: it waits to be asked for.
    pub(crate) fn new(asked: Asked, expects: bool) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress {
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            called: AtomicBool::new(!expects),
            fault: Mutex::new(None),
        });
        let hold = expects.then(|| Box::pin(sleep(PROXY_CONTINUE_WAIT)));
        (Self(Some(Box::new(Sending { asked, progress: Arc::clone(&progress), hold }))), progress)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(sending) = &mut self.0 else { return Poll::Ready(None) };
        if let Some(hold) = &mut sending.hold {
            // The call comes over the same connection, which is what polls this body.
            if !sending.progress.called.load(Ordering::Relaxed) {
                ready!(hold.as_mut().poll(cx));
            }
            sending.hold = None;
        }
        let frame = ready!(Pin::new(&mut sending.asked).poll_frame(cx));
        let progress = &sending.progress;
        progress.moved.store(progress.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                *progress.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                io::ErrorKind::InvalidData.into()
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|sending| sending.asked.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |sending| sending.asked.size_hint())
    }
}
