//! The threads of the plane: one for each core, each with a runtime of its own, its own view of the state and its own
//! connections. A thread that dies is started again; the others do not feel it. Nothing ticks while nobody asks.
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use rustls::ServerConfig;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};

use crate::base::limits::peers::CARRIED_BEHIND_WAIT;
use crate::model::options::Area;
use crate::model::sites::{Handler, Site};
use crate::model::state::Snapshot;
use crate::ops::places::Places;
use crate::ops::ports::Ports;
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;
use crate::store::feed::View;
use crate::web::Plane;
use crate::web::asked::Asked;
use crate::web::auth::{Entered, Entry};
use crate::web::body::Body;
use crate::web::conn::attend;
use crate::web::counts::{Counts, Tally};
use crate::web::listen::{Alive, accept};
use crate::web::log::{Line, Lines};
use crate::web::ports::Opened;
use crate::web::proxy::headers::Told;
use crate::web::proxy::{Answer, Proxy};
use crate::web::route::{Door, Head, Here, Route, route};
use crate::web::static_files::Files;

/// One thread, as its connections see it.
#[derive(Debug)]
pub(crate) struct Thread {
    plane: Arc<Plane>,
    index: usize,
    /// Held for the moment of a decision, never across an await; no other thread ever takes it.
    view: Mutex<View>,
    counts: Mutex<Counts>,
    files: Files,
    proxy: Proxy,
    lines: Arc<Lines>,
    entered: Entered,
}

/// What becomes of a request, and whose it is.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) route: Route,
    /// Whose access log it stands in: also of one that is refused, where the connection was made for a site.
    pub(crate) site: Option<Arc<Site>>,
    pub(crate) tally: Option<Arc<Tally>>,
}

impl Thread {
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.plane.tls)
    }

    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.plane.places
    }

    pub(crate) fn ports(&self) -> &Ports<Opened> {
        &self.plane.ports
    }

    /// The port that visitors without TLS are sent to.
    pub(crate) fn https_port(&self) -> u16 {
        self.plane.https_port.now()
    }

    /// What becomes of a request in the newest snapshot, and the counters of its site.
    pub(crate) fn decide(&self, door: Door<'_>, https_port: u16, head: &Head<'_>) -> Decided {
        let here = Here { node: self.plane.node, https_port };
        let mut view = lock(&self.view);
        let state = view.now();
        let route = route(state, here, door, head);
        let site = match &route {
            Route::Of(site, _) => Some(Arc::clone(site)),
            Route::Refused(_) | Route::Challenge(_) => door.site(state),
        };
        drop(view);
        let tally = site.as_ref().map(|site| lock(&self.counts).of(site, &self.plane.tallies));
        Decided { route, site, tally }
    }

    /// Answers with what lies in a site's directory.
    pub(crate) async fn file(&self, site: &Site, parts: &Parts) -> Response<Body> {
        self.files.serve(&self.plane.dirs, (site.id, site.epoch), site.options.fallback.as_deref(), parts).await
    }

    /// Puts the site's own page in the place of the node's, where it has one for such an error.
    pub(crate) async fn stand_in(&self, site: &Site, response: &mut Response<Body>) {
        let pages = &site.options.error_pages;
        let Ok(at) = pages.binary_search_by_key(&response.status().as_u16(), |page| page.status) else { return };
        let (Handler::Static, path) = (&site.handler, &pages[at].path) else { return };
        if let Some((body, kind)) = self.files.stand_in(&self.plane.dirs, (site.id, site.epoch), path).await {
            response.headers_mut().remove(CONTENT_LENGTH);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            *response.body_mut() = body;
        }
    }

    /// Whether a visitor may enter a part of a site.
    pub(crate) async fn enter(&self, area: &Area, headers: &HeaderMap, peer: IpAddr) -> Entry {
        self.plane.gatekeeper.enter(&self.entered, area, headers, peer, &self.plane.blocking).await
    }

    /// Begins the line of a site's access log.
    pub(crate) fn line(&self, site: &Site, peer: &str, user: Option<&str>, status: StatusCode, parts: &Parts) -> Line {
        self.lines.begin(site.id, peer, user, status, parts)
    }

    /// Waits a while for a revision that another node knows already.
    pub(crate) async fn catches_up(&self, revision: u64) {
        if lock(&self.view).now().revision >= revision {
            return;
        }
        let mut view = self.plane.feed.view();
        let follow = async { while view.now().revision < revision && view.changed().await {} };
        // What is answered then is what this node knows.
        let _ = timeout(CARRIED_BEHIND_WAIT, follow).await;
    }

    /// Answers with what a site's upstreams, or its home, say.
    pub(crate) async fn proxied(&self, site: &Site, parts: &Parts, asked: Asked, told: &Told) -> Answer {
        let cluster = lock(&self.view).now().cluster.clone();
        self.proxy.serve(site, parts, asked, told, cluster).await
    }

    /// Takes up the newest snapshot and says so on the board.
    fn refresh(&self, newest: &Snapshot) {
        lock(&self.view).now();
        lock(&self.counts).sweep(newest);
        self.proxy.forget(newest);
        self.plane.reporter.serves(self.index, newest.revision);
    }
}

/// Runs one thread of the plane until the stop. An error is a panic of the thread, or that it could not be made.
pub(crate) async fn run(plane: Arc<Plane>, index: usize, name: &'static str, stop: Stop) -> TaskResult {
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ = done.send(body(plane, index, stop));
    })?;
    match ended.await {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(format!("keep the thread {name}: it panicked").into()),
    }
}

fn body(plane: Arc<Plane>, index: usize, stop: Stop) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(plane, index, &stop));
    // What is left was cut off by the deadline of the drain: it is not waited for.
    runtime.shutdown_background();
    ended
}

async fn serve(plane: Arc<Plane>, index: usize, stop: &Stop) -> io::Result<()> {
    let mut newest = plane.feed.view();
    let view = Mutex::new(plane.feed.view());
    let files = Files::new(plane.blocking.clone());
    let proxy = Proxy::new(Arc::clone(&plane.upstreams), plane.node);
    let (lines, entered) = (Arc::clone(plane.log.of(index)), Entered::new());
    let thread = Arc::new(Thread { plane, index, view, counts: Mutex::default(), files, proxy, lines, entered });
    let (alive, mut all_gone) = mpsc::channel(1);
    thread.refresh(newest.now());
    {
        let mut opened = thread.plane.ports.opened();
        let mut accepting = JoinSet::new();
        let mut sweeping = pin!(thread.proxy.sweep());
        let (mut fed, mut reached) = (true, true);
        while !stop.is_given_up() {
            tokio::select! {
                changed = newest.changed(), if fed => {
                    fed = changed;
                    thread.refresh(newest.now());
                }
                one = opened.next() => {
                    accepting.spawn(accept(Arc::clone(&thread), one, Alive::clone(&alive), stop.clone()));
                }
                carried = thread.plane.arrivals.next(), if reached => match carried {
                    Some(carried) => {
                        tokio::spawn(attend(Arc::clone(&thread), carried, Alive::clone(&alive), stop.clone()));
                    }
                    None => reached = false,
                },
                () = &mut sweeping => {}
                Some(ended) = accepting.join_next() => ended??,
                () = stop.give_up() => {}
            }
        }
        while let Some(ended) = accepting.join_next().await {
            ended??;
        }
    }
    // Other nodes may still hand in visitors until the peers' listener is given up, which is after this.
    let mut over = pin!(stop.drain());
    while let Some(carried) = tokio::select! {
        biased;
        carried = thread.plane.arrivals.next() => carried,
        _ = &mut over => None,
    } {
        tokio::spawn(attend(Arc::clone(&thread), carried, Alive::clone(&alive), stop.clone()));
    }
    drop(alive);
    let deadline = stop.drain().await;
    if timeout_at(deadline, all_gone.recv()).await.is_err() {
        tracing::warn!(thread = index, "connections were cut off: they did not end in time");
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in a decision leaves the view and the counters as good as they were.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
