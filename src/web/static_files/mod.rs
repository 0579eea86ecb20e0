//! The `static` handler: what lies in a site's directory. A request's path becomes a name beneath the jail, the file's state
//! an answer: whole, a part, unchanged. Small files stay in memory, large ones are read as they are sent. Never lists a
//! directory, never gives a hidden file or a script's source, never says why something is not given.
mod cache;
mod coding;
mod conditions;
mod path;
mod range;
mod reading;
mod validators;

use std::io::ErrorKind;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::time::sleep;

use crate::base::ids::SiteId;
use crate::base::limits::WEB_SMALL_FILE_MAX;
use crate::files::jail::{Found, Jail, JailError, Opened};
use crate::files::sites::SiteDirs;
use crate::ops::blocking::Blocking;
use crate::web::body::Body;
use crate::web::pages;
use crate::web::static_files::cache::{Caches, Known};
use crate::web::static_files::coding::{CODINGS, Coding};
use crate::web::static_files::conditions::Verdict;
use crate::web::static_files::path::{Wanted, encoded};
use crate::web::static_files::range::Part;
use crate::web::static_files::validators::Validators;

/// What stands for a directory, in this order.
const INDEX: [&str; 2] = ["index.html", "index.htm"];

/// One thread's files.
#[derive(Debug)]
pub struct Files {
    blocking: Blocking,
    caches: Caches,
    /// Bytes of large files that clients have not taken yet.
    held: Arc<AtomicUsize>,
}

impl Files {
    pub fn new(blocking: Blocking) -> Self {
        Self { blocking, caches: Caches::new(), held: Arc::default() }
    }

    /// Answers one request for a site at home here. `fallback`: the path of a file for pages that are not there.
    pub async fn serve(
        &self,
        dirs: &SiteDirs,
        site: (SiteId, u64),
        fallback: Option<&str>,
        parts: &Parts,
    ) -> Response<Body> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return not_allowed(&parts.method);
        }
        let Ok(wanted) = Wanted::parse(parts.uri.path()) else { return pages::not_found() };
        let answer = self.answer(dirs, site, &wanted, parts).await;
        match (answer, fallback) {
            (None, Some(path)) if wanted.is_page(&parts.headers) => match Wanted::parse(&encoded(path)) {
                Ok(page) => self.answer(dirs, site, &page, parts).await.unwrap_or_else(pages::not_found),
                Err(_) => pages::not_found(),
            },
            (answer, _) => answer.unwrap_or_else(pages::not_found),
        }
    }

    /// None: there is nothing there for everybody.
    async fn answer(
        &self,
        dirs: &SiteDirs,
        site: (SiteId, u64),
        wanted: &Wanted,
        parts: &Parts,
    ) -> Option<Response<Body>> {
        let jail = match self.caches.jail(site, Instant::now(), || dirs.jail(site.0)) {
            Ok(jail) => jail,
            // It is made when the site appears here; until then there is nothing in it.
            Err(JailError::NotFound) => return None,
            Err(error) => return Some(failed(&error, &wanted.path)),
        };
        if let Some(response) = self.known(&jail, wanted, parts) {
            return Some(response);
        }
        let (mut again, mut settled) = (true, false);
        loop {
            return match self.find(&jail, wanted).await {
                Ok(Some((opened, name))) => {
                    let settles = validators::settles(&opened, SystemTime::now());
                    if let Some(wait) = settles.filter(|_| !mem::replace(&mut settled, true)) {
                        // Then it has a tag that the next change will change.
                        sleep(wait).await;
                        continue;
                    }
                    match self.chosen(&jail, opened, name.clone(), parts).await {
                        // Written anew in its place, between the look at it and the reading.
                        Err(error) if error.kind() == ErrorKind::UnexpectedEof && again => {
                            again = false;
                            continue;
                        }
                        done => Some(done.unwrap_or_else(|error| failed(&error, &name))),
                    }
                }
                Ok(None) => Some(pages::redirect(StatusCode::MOVED_PERMANENTLY, &wanted.with_slash(parts.uri.query()))),
                Err(JailError::Io(error)) => Some(failed(&JailError::Io(error), &wanted.path)),
                Err(_) => None,
            };
        }
    }

    /// From memory, a file that lies in the site's own directory just as it was read, with nothing beside it: one look instead of
    /// opening it. Further down a directory could have become a way out.
    fn known(&self, jail: &Jail, wanted: &Wanted, parts: &Parts) -> Option<Response<Body>> {
        let name = match (wanted.is_dir, wanted.path.as_str()) {
            (true, "") => INDEX[0],
            (true, _) => return None,
            (false, name) => name,
        };
        let file = Known::seen(&jail.state(name)?)?;
        let kept = self.caches.kept(&file)?;
        let kind = content_type(name);
        if kind.to_str().is_ok_and(coding::is_worth_it) && !self.caches.is_bare(&file, Instant::now()) {
            return None;
        }
        let len = kept.content.len() as u64;
        Some(match asked(&kept.validators, len, parts) {
            Asked::Answered(response) => *response,
            Asked::Piece { first, count, status } => {
                let body = match parts.method == Method::HEAD {
                    true => Body::stream(reading::Unread(count)),
                    false => Body::from(piece(&kept.content, first, count)),
                };
                respond(body, (kind, None), (first, count, len), status, &kept.validators)
            }
        })
    }

    /// A file of the site in the place of the body of an error, if it is there. Its type comes with it.
    pub async fn stand_in(&self, dirs: &SiteDirs, site: (SiteId, u64), path: &str) -> Option<(Body, HeaderValue)> {
        let wanted = Wanted::parse(&encoded(path)).ok()?;
        let jail = self.caches.jail(site, Instant::now(), || dirs.jail(site.0)).ok()?;
        let (opened, name) = self.find(&jail, &wanted).await.ok()??;
        let count = opened.len;
        let body = self.body(opened, 0, count).await.ok()?;
        Some((body, content_type(&name)))
    }

    /// The file, or what lies beside it in a coding that the client takes and is not older.
    async fn chosen(
        &self,
        jail: &Jail,
        opened: Opened,
        name: String,
        parts: &Parts,
    ) -> std::io::Result<Response<Body>> {
        let kind = content_type(&name);
        let now = Instant::now();
        if !kind.to_str().is_ok_and(coding::is_worth_it) || self.caches.is_bare(&Known::of(&opened), now) {
            return self.file(opened, kind, None, parts).await;
        }
        let wanted = coding::wanted(&parts.headers);
        let (mut best, mut others): (Option<(usize, Coding, Opened)>, _) = (None, false);
        for coding in CODINGS {
            let beside = self.look(jail, format!("{name}{}", coding.ending)).await;
            let Ok(Found::File(beside)) = beside else { continue };
            if beside.modified < opened.modified {
                continue;
            }
            others = true;
            let rank = wanted.iter().position(|wanted| *wanted == coding);
            if let Some(rank) = rank
                && best.as_ref().is_none_or(|(before, ..)| rank < *before)
            {
                best = Some((rank, coding, beside));
            }
        }
        if !others {
            self.caches.was_bare(Known::of(&opened), now);
        }
        let (coding, opened) = match best {
            Some((_, coding, beside)) => (Some(coding.name), beside),
            None => (None, opened),
        };
        let mut response = self.file(opened, kind, coding, parts).await?;
        if others {
            response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        Ok(response)
    }

    /// The file a path stands for, and its name; none for a directory that was asked for without its slash.
    async fn find(&self, jail: &Jail, wanted: &Wanted) -> Result<Option<(Opened, String)>, JailError> {
        if !wanted.is_dir {
            return match self.look(jail, wanted.path.clone()).await? {
                Found::File(opened) => Ok(Some((opened, wanted.path.clone()))),
                Found::Dir => Ok(None),
            };
        }
        for index in INDEX {
            let name = if wanted.path.is_empty() { index.to_owned() } else { format!("{}/{index}", wanted.path) };
            match self.look(jail, name.clone()).await {
                Ok(Found::File(opened)) => return Ok(Some((opened, name))),
                Ok(Found::Dir) | Err(JailError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(JailError::NotFound)
    }

    /// Opens at once where the kernel knows the way, elsewhere on a thread that may wait for the disk.
    async fn look(&self, jail: &Jail, path: String) -> Result<Found, JailError> {
        if let Some(found) = jail.look_at_once(&path)? {
            return Ok(found);
        }
        let slow = jail.clone();
        let name = path.clone();
        match self.blocking.run(move || slow.look(&name)).await {
            Ok(found) => found,
            // The pool is full: better slow than not at all.
            Err(_) => jail.look(&path),
        }
    }

    async fn file(
        &self,
        opened: Opened,
        kind: HeaderValue,
        coding: Option<&'static str>,
        parts: &Parts,
    ) -> std::io::Result<Response<Body>> {
        let (validators, len) = (Validators::of(&opened, coding, SystemTime::now()), opened.len);
        let (first, count, status) = match asked(&validators, len, parts) {
            Asked::Answered(response) => return Ok(*response),
            Asked::Piece { first, count, status } => (first, count, status),
        };
        let body = if parts.method == Method::HEAD {
            Body::stream(reading::Unread(count))
        } else {
            self.body(opened, first, count).await?
        };
        Ok(respond(body, (kind, coding), (first, count, len), status, &validators))
    }

    async fn body(&self, opened: Opened, first: u64, count: u64) -> std::io::Result<Body> {
        if opened.len > WEB_SMALL_FILE_MAX as u64 {
            let (blocking, held) = (self.blocking.clone(), Arc::clone(&self.held));
            return Ok(Body::stream(reading::Reading::new(opened.file, first, count, blocking, held)));
        }
        let known = Known::of(&opened);
        let whole = match self.caches.kept(&known) {
            Some(kept) => kept.content,
            None => {
                let now = SystemTime::now();
                let validators = Validators::of(&opened, None, now);
                let content = reading::whole(opened, &self.blocking).await?;
                self.caches.keep(known, content.clone(), validators, now);
                content
            }
        };
        Ok(Body::from(piece(&whole, first, count)))
    }
}

/// What of a file answers a request.
enum Asked {
    /// Nothing of it.
    Answered(Box<Response<Body>>),
    Piece {
        first: u64,
        count: u64,
        status: StatusCode,
    },
}

fn asked(validators: &Validators, len: u64, parts: &Parts) -> Asked {
    let part = match conditions::verdict(&parts.headers, validators) {
        Verdict::Failed => return Asked::Answered(bare(StatusCode::PRECONDITION_FAILED).into()),
        Verdict::Unchanged => {
            let mut response = bare(StatusCode::NOT_MODIFIED);
            validators.put(response.headers_mut());
            return Asked::Answered(response.into());
        }
        Verdict::Send { ranges: true } if parts.method == Method::GET => range::asked(&parts.headers, len),
        Verdict::Send { .. } => Part::Whole,
    };
    match part {
        Part::Whole => Asked::Piece { first: 0, count: len, status: StatusCode::OK },
        Part::Range { first, count } => Asked::Piece { first, count, status: StatusCode::PARTIAL_CONTENT },
        Part::Unsatisfiable => {
            let mut response = bare(StatusCode::RANGE_NOT_SATISFIABLE);
            put(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{len}"));
            Asked::Answered(response.into())
        }
    }
}

fn respond(
    body: Body,
    (kind, coding): (HeaderValue, Option<&'static str>),
    (first, count, len): (u64, u64, u64),
    status: StatusCode,
    validators: &Validators,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // And what the engine and the site's options add.
    headers.reserve(10);
    headers.insert(CONTENT_TYPE, kind);
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    // Said also of an empty body, where the engine would leave it out.
    headers.insert(CONTENT_LENGTH, count.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    validators.put(headers);
    if status == StatusCode::PARTIAL_CONTENT {
        put(headers, CONTENT_RANGE, &format!("bytes {first}-{}/{len}", first + count - 1));
    }
    response
}

fn piece(whole: &Bytes, first: u64, count: u64) -> Bytes {
    let (first, count) = (usize::try_from(first).unwrap_or(0), usize::try_from(count).unwrap_or(0));
    whole.slice(first..first + count)
}

fn content_type(name: &str) -> HeaderValue {
    let guessed = mime_guess::from_path(name).first_raw();
    HeaderValue::from_static(guessed.unwrap_or("application/octet-stream"))
}

fn not_allowed(method: &Method) -> Response<Body> {
    let mut response = if method == Method::OPTIONS { bare(StatusCode::NO_CONTENT) } else { pages::not_allowed() };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

fn failed(error: &dyn std::error::Error, name: &str) -> Response<Body> {
    tracing::warn!(%error, name, "a file was not served");
    pages::failed()
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

fn put(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
