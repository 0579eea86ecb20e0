//! The listeners of the desk: bound before anything else is said to work, shown by `ruche status`, kept over a panic of the
//! task that serves them.
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::admin::Api;
use crate::admin::serve::{Listener, serve};
use crate::api;
use crate::config::Config;
use crate::ops::inherited::Inherited;
use crate::ops::ports;
use crate::ops::sockets::{self, SocketError};
use crate::ops::stop::Stop;
use crate::ops::tasks::TaskResult;

/// The bound listeners, from which each start of the serving task gets its own descriptors; empty once they were given up.
pub(crate) type Bound = Arc<Mutex<Option<(std::os::unix::net::UnixListener, Vec<std::net::TcpListener>)>>>;

/// What `ruche status` shows, added to by whoever listens.
pub(crate) type Shown = Arc<watch::Sender<Vec<api::status::Listener>>>;

/// Binds the admin socket and the loopback addresses.
pub(crate) fn desk(config: &Config, inherited: &Inherited) -> Result<(Bound, Shown), SocketError> {
    let unix = sockets::unix(&config.admin.socket, "ruche", inherited)?;
    let tcp = sockets::tcp(&config.admin.listen, inherited)?;
    let mut shown = vec![shown("admin.socket", format!("unix:{}", config.admin.socket.display()))];
    let addresses = tcp.iter().filter_map(|listener| listener.local_addr().ok());
    shown.extend(addresses.map(|address| self::shown("admin.listen", address.to_string())));
    Ok((Arc::new(Mutex::new(Some((unix, tcp)))), Arc::new(watch::Sender::new(shown))))
}

pub(crate) fn shown(name: &str, address: String) -> api::status::Listener {
    api::status::Listener { name: name.into(), address }
}

/// Tells `ruche status` where the planes listen.
pub(crate) fn shown_to(list: &Shown) -> ports::Shown {
    let list = Arc::clone(list);
    ports::Shown::new(move |name, address, open| {
        let one = shown(name, address.to_string());
        list.send_modify(|all| match open {
            true => all.push(one),
            false => all.retain(|other| (&other.name, &other.address) != (&one.name, &one.address)),
        });
    })
}

/// Serves the desk until the stop. The next process finds the addresses free as soon as they were given up here.
pub(crate) async fn admit(bound: Bound, api: Api, stop: Stop) -> TaskResult {
    let listeners = listeners(&bound)?;
    let give_up = async {
        stop.give_up().await;
        bound.lock().unwrap_or_else(PoisonError::into_inner).take();
    };
    tokio::join!(serve(listeners, api, stop.clone()), give_up);
    Ok(())
}

fn listeners(bound: &Bound) -> std::io::Result<Vec<Listener>> {
    let bound = bound.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((unix, tcp)) = &*bound else { return Ok(Vec::new()) };
    let mut listeners = vec![Listener::Socket(UnixListener::from_std(unix.try_clone()?)?)];
    for listener in tcp {
        listeners.push(Listener::Loopback(TcpListener::from_std(listener.try_clone()?)?));
    }
    Ok(listeners)
}
