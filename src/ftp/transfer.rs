//! Data: files and listings over a connection of their own, in pieces, until their end, an ABOR, or a break. What was not sent
//! whole ends in a reset; what was not received whole is given up.
use std::future::Future;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::Instant;

use rustix::net::sockopt;
use tokio::net::TcpStream;

use crate::base::limits::{FTP_CARRIED_EVERY, FTP_FIRST_PIECE, FTP_NAMES_AT_ONCE, FTP_PIECE};
use crate::cluster::door::random;
use crate::files::jail::{Found, JailError};
use crate::files::listing::{Entry, Kind as EntryKind};
use crate::ftp::Plane;
use crate::ftp::ascii::{FromWire, ToWire};
use crate::ftp::asks::Start;
use crate::ftp::commands::{Epsv, Kind};
use crate::ftp::fault::broken;
use crate::ftp::flows::{Names, Sink, Source};
use crate::ftp::listing::{Form, lines};
use crate::ftp::passive::{Passive, announced};
use crate::ftp::reply::Reply;
use crate::ftp::session::Session;
use crate::ftp::stream::{Data, Interrupt, Stream};

/// What is needed to make a data connection.
struct Way {
    plane: Arc<Plane>,
    passive: Passive,
    /// What was accepted already.
    stream: Option<std::net::TcpStream>,
    client: IpAddr,
    private: bool,
}

impl Way {
    async fn open(self) -> Result<Data, Reply> {
        let stream = match self.stream {
            Some(stream) => stream,
            None => match self.passive.at_once(self.client)? {
                Some(stream) => stream,
                None => self.passive.accept(self.client).await?,
            },
        };
        if !self.private {
            return Ok(Data::new(Stream::Plain(TcpStream::from_std(stream).map_err(broken)?)));
        }
        let secured = async {
            stream.set_nodelay(true)?;
            let secured = Stream::secure(TcpStream::from_std(stream)?, &self.plane.data_tls).await?;
            // Many clients send a small file only when they know that their last part of the handshake came (Nagle's
            // algorithm), and nothing is sent to them that would tell it.
            sockopt::set_tcp_quickack(secured.tcp(), true)?;
            Ok::<_, std::io::Error>(secured)
        };
        secured
            .await
            .map(Data::new)
            .map_err(|error| Reply::failed(425, format!("protect the data connection: {error}")))
    }

    /// Gives a client that has come already, and needs no handshake, as much as the kernel takes at once; how much that was, if there
    /// was somebody.
    fn give_at_once(&mut self, bytes: &[u8]) -> Result<Option<usize>, Reply> {
        if self.private {
            return Ok(None);
        }
        let Some(mut stream) = self.passive.at_once(self.client)? else { return Ok(None) };
        let given = match stream.write(bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            given => given,
        };
        let given = given.map_err(broken)?;
        if given == bytes.len() {
            stream.shutdown(Shutdown::Write).map_err(broken)?;
        } else {
            self.stream = Some(stream);
        }
        Ok(Some(given))
    }
}

impl Session {
    pub(crate) async fn pasv(&mut self) -> Result<Reply, Reply> {
        let IpAddr::V4(local) = self.local.to_canonical() else {
            return Err(Reply::new(522, "PASV knows IPv4 only: use EPSV"));
        };
        if self.epsv_only {
            return Err(Reply::new(503, "After EPSV ALL there is EPSV only"));
        }
        self.passive = None;
        let address = announced(self.plane.passive_host.as_deref(), local).await?;
        let passive = Passive::open(self.local, &self.plane.passive_ports)?;
        let ([a, b, c, d], [high, low]) = (address.octets(), passive.port.to_be_bytes());
        self.passive = Some(passive);
        Ok(Reply::new(227, format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low})")))
    }

    pub(crate) fn epsv(&mut self, asked: Epsv) -> Result<Reply, Reply> {
        let v4 = self.local.to_canonical().is_ipv4();
        match asked {
            Epsv::All => {
                self.epsv_only = true;
                return Ok(Reply::new(200, "EPSV only from here on"));
            }
            Epsv::V4 if !v4 => return Err(Reply::new(522, "This connection is IPv6: use (2)")),
            Epsv::V6 if v4 => return Err(Reply::new(522, "This connection is IPv4: use (1)")),
            Epsv::Same | Epsv::V4 | Epsv::V6 => {}
        }
        self.passive = None;
        let passive = Passive::open(self.local, &self.plane.passive_ports)?;
        let port = passive.port;
        self.passive = Some(passive);
        Ok(Reply::new(229, format!("Entering Extended Passive Mode (|||{port}|)")))
    }

    /// The offset of REST, which is good for this transfer and no other, and the way for its data.
    fn begin(&mut self) -> Result<(u64, Way), Reply> {
        let offset = std::mem::take(&mut self.offset);
        let passive = self.passive.take().ok_or_else(|| Reply::new(425, "EPSV or PASV comes first"))?;
        if self.secure && !self.private && !self.guest()?.allow_plain {
            return Err(Reply::new(521, "Data must be protected: say PROT P"));
        }
        let (plane, client, private) = (Arc::clone(&self.plane), self.client, self.private);
        Ok((offset, Way { plane, passive, stream: None, client, private }))
    }

    /// Says that it begins, and moves the data unless the client breaks in.
    async fn during<T>(&mut self, moving: impl Future<Output = Result<T, Reply>>) -> Result<T, Reply> {
        let plane = Arc::clone(&self.plane);
        let _turn = plane.transfers.try_acquire().map_err(|_| Reply::new(450, "Too many transfers are under way"))?;
        self.control.say(&begins()).await.map_err(|error| Reply::new(421, format!("Goodbye: {error}")))?;
        let moved = tokio::select! {
            moved = moving => moved,
            why = self.control.interrupted() => Err(match why {
                Interrupt::Abort => Reply::new(426, "The transfer was aborted"),
                Interrupt::Gone => Reply::new(421, "Goodbye"),
            }),
        };
        count(if moved.is_ok() { "done" } else { "failed" });
        moved
    }

    pub(crate) async fn retrieve(&mut self, argument: &str) -> Result<Reply, Reply> {
        let (offset, way) = self.begin()?;
        let path = self.path(argument)?;
        let ascii = self.kind == Kind::Ascii;
        if ascii && offset > 0 {
            return Err(Reply::new(554, "REST goes with TYPE I only"));
        }
        if offset == 0
            && let Some(bytes) = self.read_at_once(|jail| small(jail.look_at_once(&path)?))?
        {
            return self.send_small(way, bytes, ascii).await;
        }
        let plane = Arc::clone(&self.plane);
        let (source, length, first) = self.guest()?.read(&plane, path, offset).await?;
        if offset > length {
            return Err(Reply::new(554, format!("The file has {length} bytes only")));
        }
        let moving = async move {
            let mut data = way.open().await?;
            send(&plane, &mut data, source, first, ascii.then(ToWire::default)).await
        };
        let (sent, source) = self.during(moving).await?;
        self.guest()?.lay_back(source.link());
        Ok(all_sent(sent))
    }

    /// A file that is in memory: to a client that waits for it already it leaves without a wait of ours.
    async fn send_small(&mut self, mut way: Way, mut bytes: Vec<u8>, ascii: bool) -> Result<Reply, Reply> {
        let length = bytes.len() as u64;
        if ascii {
            bytes = ToWire::default().convert(&bytes);
        }
        let given = way.give_at_once(&bytes)?;
        if given == Some(bytes.len()) {
            count("done");
            self.control.hold(&begins());
            return Ok(all_sent(length));
        }
        let given = given.unwrap_or(0);
        let moving = async move {
            let mut data = way.open().await?;
            data.write(&bytes[given..]).await.map_err(broken)?;
            data.end().await.map_err(broken)
        };
        self.during(moving).await?;
        Ok(all_sent(length))
    }

    pub(crate) async fn store(&mut self, argument: &str) -> Result<Reply, Reply> {
        let (offset, way) = self.begin()?;
        let path = self.path(argument)?;
        if offset == 0 {
            return self.receive_anew(way, path).await;
        }
        if self.kind == Kind::Ascii {
            return Err(Reply::new(554, "REST goes with TYPE I only"));
        }
        self.receive(way, path, Start::At(offset)).await
    }

    pub(crate) async fn append(&mut self, argument: &str) -> Result<Reply, Reply> {
        let (_, way) = self.begin()?;
        let path = self.path(argument)?;
        self.receive(way, path, Start::AtEnd).await
    }

    pub(crate) async fn store_unique(&mut self) -> Result<Reply, Reply> {
        let (_, way) = self.begin()?;
        let name = format!("{:032x}", u128::from_be_bytes(random()));
        let path = self.path(&name)?;
        self.receive_anew(way, path).await?;
        Ok(Reply::new(226, format!("FILE: {name}")))
    }

    async fn receive_anew(&mut self, way: Way, path: String) -> Result<Reply, Reply> {
        let plane = Arc::clone(&self.plane);
        match self.guest()?.store_at_once(&plane, &path)? {
            Some(sink) => self.receive_into(sink, way, path).await,
            None => self.receive(way, path, Start::Anew).await,
        }
    }

    async fn receive(&mut self, way: Way, path: String, start: Start) -> Result<Reply, Reply> {
        let plane = Arc::clone(&self.plane);
        let sink = self.guest()?.store(&plane, path.clone(), start).await?;
        self.receive_into(sink, way, path).await
    }

    /// Receives a file and puts it into its place.
    async fn receive_into(&mut self, sink: Sink, way: Way, path: String) -> Result<Reply, Reply> {
        let plane = Arc::clone(&self.plane);
        let wire = (self.kind == Kind::Ascii).then(FromWire::default);
        let moving = async move {
            let sink = sink.copied(&plane).await?;
            let mut data = way.open().await?;
            received(&plane, &mut data, sink, wire).await
        };
        let (sink, last, bytes) = self.during(moving).await?;
        // A client that was killed leaves an end of its data that looks like any other.
        if !self.control.is_there().await {
            return Err(Reply::new(426, "The file is not kept: the control connection ended before it"));
        }
        let plane = Arc::clone(&self.plane);
        let guest = self.guest()?;
        guest.standing(&plane)?;
        let link = sink.commit(&plane, last).await?;
        guest.lay_back(link);
        metrics::counter!("ruche_ftp_bytes_total", "direction" => "in").increment(bytes);
        tracing::debug!(login = %guest.who.login, path, bytes, "stored");
        Ok(Reply::new(226, "The file is in its place"))
    }

    pub(crate) async fn list_long(&mut self, argument: &str) -> Result<Reply, Reply> {
        self.list(argument, Form::now()).await
    }

    pub(crate) async fn list_names(&mut self, argument: &str) -> Result<Reply, Reply> {
        self.list(argument, Form::Names).await
    }

    pub(crate) async fn list_facts(&mut self, argument: &str) -> Result<Reply, Reply> {
        self.list(argument, Form::Facts(self.facts)).await
    }

    async fn list(&mut self, argument: &str, form: Form) -> Result<Reply, Reply> {
        let (_, way) = self.begin()?;
        let (path, entry) = self.entry(argument).await?;
        let plane = Arc::clone(&self.plane);
        let (names, entries) = if entry.kind == EntryKind::Dir {
            let (names, entries) = self.guest()?.list(&plane, path).await?;
            (Some(names), entries)
        } else if matches!(form, Form::Facts(_)) {
            return Err(JailError::NotFound.into());
        } else {
            (None, vec![entry])
        };
        let moving = async move {
            let mut data = way.open().await?;
            let names = send_names(&plane, &mut data, names, entries, form).await?;
            data.end().await.map_err(broken)?;
            Ok(names)
        };
        let names = self.during(moving).await?;
        self.guest()?.lay_back(names.and_then(Names::link));
        Ok(Reply::new(226, "That is all"))
    }
}

fn begins() -> Reply {
    Reply::new(150, "Here it goes")
}

fn all_sent(bytes: u64) -> Reply {
    metrics::counter!("ruche_ftp_bytes_total", "direction" => "out").increment(bytes);
    Reply::new(226, "All is sent")
}

fn count(result: &'static str) {
    metrics::counter!("ruche_ftp_transfers_total", "result" => result).increment(1);
}

/// All of a small file, if the kernel has it in memory.
fn small(found: Option<Found>) -> Result<Option<Vec<u8>>, JailError> {
    match found {
        Some(Found::File(opened)) => Ok(opened.all_at_once(FTP_FIRST_PIECE)),
        Some(Found::Dir) => Err(JailError::NotRegular),
        None => Ok(None),
    }
}

async fn send(
    plane: &Plane,
    data: &mut Data,
    mut source: Source,
    mut next: Vec<u8>,
    mut wire: Option<ToWire>,
) -> Result<(u64, Source), Reply> {
    let mut sent = 0;
    while !next.is_empty() {
        let whole = next.len() == FTP_PIECE;
        sent += next.len() as u64;
        let converted = wire.as_mut().map(|wire| wire.convert(&next));
        data.write(converted.as_deref().unwrap_or(&next)).await.map_err(broken)?;
        if !whole {
            break;
        }
        (source, next) = source.next(plane).await?;
    }
    data.end().await.map_err(broken)?;
    Ok((sent, source))
}

/// Sends these names and those that follow.
async fn send_names(
    plane: &Plane,
    data: &mut Data,
    mut names: Option<Names>,
    mut entries: Vec<Entry>,
    form: Form,
) -> Result<Option<Names>, Reply> {
    loop {
        let more = entries.len() == FTP_NAMES_AT_ONCE;
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        data.write(&lines(&entries, form)).await.map_err(broken)?;
        match names {
            Some(before) if more => {
                let (after, next) = before.next(plane).await?;
                (names, entries) = (Some(after), next);
            }
            names => return Ok(names),
        }
    }
}

/// All but the last piece written; with that piece, and how many bytes there were.
async fn received(
    plane: &Plane,
    data: &mut Data,
    mut sink: Sink,
    mut wire: Option<FromWire>,
) -> Result<(Sink, Vec<u8>, u64), Reply> {
    let (mut piece, mut bytes, mut sent) = (Vec::with_capacity(FTP_FIRST_PIECE), 0, Instant::now());
    loop {
        let read = data.read(&mut piece).await.map_err(broken)?;
        bytes += read as u64;
        let goes_on = sink.is_far() && sent.elapsed() >= FTP_CARRIED_EVERY;
        if read > 0 && piece.len() < piece.capacity() && !goes_on {
            continue;
        }
        if read > 0 && piece.capacity() < FTP_PIECE && !goes_on {
            piece.reserve_exact(piece.capacity().min(FTP_PIECE - piece.len()));
            continue;
        }
        if let Some(wire) = &mut wire {
            piece = wire.convert(&piece);
            if read == 0 {
                piece.extend_from_slice(wire.end());
            }
        }
        if read == 0 {
            // The client said its end; many do not wait for ours.
            let _ = data.end().await;
            return Ok((sink, piece, bytes));
        }
        (sink, piece) = sink.write(plane, piece).await?;
        sent = Instant::now();
        if piece.capacity() < FTP_PIECE {
            // A conversion made it smaller.
            piece.reserve_exact(FTP_PIECE);
        }
    }
}
