//! The stream of events: reads the history after a revision, then sleeps until the snapshot moves. Never polls the history; ends with its
//! reader, with its token, or when the node gives up its listeners.
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use crate::admin::error::Failure;
use crate::admin::events::shown;
use crate::admin::look::Look;
use crate::base::limits::{EVENT_STREAM_PULSE, EVENT_STREAMS_MAX, PAGE_DEFAULT};
use crate::model::answer::Event;
use crate::model::state::{Snapshot, State};
use crate::ops::stop::Stop;
use crate::store::history::Page;

/// Events after a revision, as they happen; without one, from now on.
pub(crate) fn open(look: Look, after: Option<u64>, stop: Option<Stop>) -> Result<Response, Failure> {
    let place = Arc::clone(&look.desk.streams).try_acquire_owned();
    let place = place.map_err(|_| Failure::busy(format!("{EVENT_STREAMS_MAX} event streams are open already")))?;
    let after = after.unwrap_or(look.snapshot.revision);
    let snapshots = look.desk.snapshot.clone();
    let source = Source { look, snapshots, after, stop, greeted: false, _place: place };
    let response = (
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")],
        Body::new(Feed::new(source)),
    );
    Ok(response.into_response())
}

struct Source {
    look: Look,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    after: u64,
    stop: Option<Stop>,
    greeted: bool,
    _place: OwnedSemaphorePermit,
}

impl Source {
    /// The next bytes, when there are some; None at the end of the stream.
    async fn next(mut self) -> Option<(Self, Bytes)> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some((self, Bytes::from_static(b": events\n\n")));
        }
        loop {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            if !self.look.caller.is_valid(&snapshot) {
                return None;
            }
            if snapshot.revision <= self.after {
                match timeout(EVENT_STREAM_PULSE, self.moved()).await {
                    Ok(moved) => moved?,
                    Err(_) => return Some((self, Bytes::from_static(b": alive\n\n"))),
                }
                continue;
            }
            // Whose events they are is looked at here: a filtered page could end before a match far behind.
            let page = Page { after: Some(self.after), before: None, limit: PAGE_DEFAULT, account: None };
            let events = self.look.desk.history.events(page).await.ok()?;
            self.after = events.last().map_or(snapshot.revision, |event| event.revision);
            let wanted = events.iter().filter(|event| self.look.wants(event.account.as_ref()));
            let text: String = wanted.map(|event| frame(&snapshot, event)).collect();
            if !text.is_empty() {
                return Some((self, text.into()));
            }
        }
    }

    /// Sleeps until there is a newer state; None when the node stops.
    async fn moved(&mut self) -> Option<()> {
        let stopped = async {
            match &self.stop {
                Some(stop) => stop.give_up().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            moved = self.snapshots.changed() => moved.ok(),
            () = stopped => None,
        }
    }
}

fn frame(state: &State, event: &Event) -> String {
    let data = serde_json::to_string(&shown(state, event)).unwrap_or_default();
    format!("id: {}\nevent: {}\ndata: {data}\n\n", event.revision, event.action)
}

type Next = Pin<Box<dyn Future<Output = Option<(Source, Bytes)>> + Send>>;

/// The body of the answer: asks its source again each time its reader took what was there.
struct Feed(Option<Next>);

impl Feed {
    fn new(source: Source) -> Self {
        Self(Some(Box::pin(source.next())))
    }
}

impl HttpBody for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.0 else { return Poll::Ready(None) };
        let ready = ready!(next.as_mut().poll(cx));
        let (next, bytes) =
            ready.map_or((None, None), |(source, bytes)| (Some(Box::pin(source.next()) as Next), Some(bytes)));
        self.0 = next;
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Time;
    use crate::base::ids::RequestId;
    use crate::model::change::Actor;

    #[test]
    fn an_event_is_one_frame() {
        let event = Event {
            revision: 7,
            time: Time(0),
            actor: Actor::System,
            action: "site.create".into(),
            subject: "a\nb".into(),
            account: None,
            request_id: RequestId::default(),
            object: None,
        };
        let text = frame(&State::default(), &event);
        assert!(text.starts_with("id: 7\nevent: site.create\ndata: {") && text.ends_with("}\n\n"));
        assert_eq!(text.lines().count(), 4, "a line break in a name stays inside the JSON: {text}");
    }
}
