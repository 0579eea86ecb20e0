//! Who is at the other end of a connection: a local user, known by the kernel, or a TCP client, who must call this node by a
//! loopback name. Never asks `/proc`: a process id may be another process by then.
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use http::request::Parts;
use http::uri::Authority;

use crate::base::limits::ACCOUNT_FILE_MAX;

/// Members of this group may use the admin socket.
const GROUP: &str = "ruche";

/// The other end of a connection, as it was when it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// SO_PEERCRED of the unix socket.
    Local {
        uid: u32,
        gid: u32,
    },
    Tcp,
}

/// Root and the user the daemon runs as: they could read the databases anyway.
pub(crate) fn owns_the_node(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Whether a user belongs to the group `ruche`, by primary group or by name. Blocking; users of a network directory count by
/// their primary group only.
pub(crate) fn in_group(uid: u32, gid: u32) -> bool {
    let group = read(Path::new("/etc/group"));
    is_member(&group, || read(Path::new("/etc/passwd")), uid, gid)
}

fn is_member(group: &str, passwd: impl FnOnce() -> String, uid: u32, gid: u32) -> bool {
    let mut lines = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let Some(fields) = lines.find(|fields| fields.len() == 4 && fields[0] == GROUP) else { return false };
    if fields[2].parse() == Ok(gid) {
        return true;
    }
    let members: Vec<&str> = fields[3].split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if members.is_empty() {
        return false;
    }
    passwd()
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .any(|user| user.len() == 7 && members.contains(&user[0]) && user[2].parse() == Ok(uid))
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    match file.and_then(|file| file.take(ACCOUNT_FILE_MAX).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot tell who is in the group {GROUP}");
            String::new()
        }
    }
}

/// Whether a TCP request calls this node by a loopback name. A page in a browser can make a foreign name point here (DNS
/// rebinding); it cannot make the browser send another name.
pub(crate) fn calls_loopback(parts: &Parts) -> bool {
    let mut lines = parts.headers.get_all(http::header::HOST).iter();
    let line = match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().and_then(|line| line.parse::<Authority>().ok()),
        _ => None,
    };
    let target = parts.uri.authority();
    line.is_some_and(|line| is_loopback(line.host())) && target.is_none_or(|target| is_loopback(target.host()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str = "root:x:0:\nruche:x:990:anna, ben\nruche2:x:991:carl\nodd\n";
    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\ncarl:x:1002:1002:::\n";

    #[test]
    fn members_by_primary_group_or_by_name() {
        let member = |uid, gid| is_member(GROUPS, || USERS.into(), uid, gid);
        assert!(member(5000, 990), "primary group");
        assert!(member(1000, 1000), "by name");
        assert!(!member(1002, 1002), "another group whose name begins alike");
        assert!(!member(1001, 1001), "a member who is no user");
        assert!(!is_member("ruche:x:990:\n", || unreachable!(), 1000, 1000));
        assert!(!is_member("", || unreachable!(), 0, 0));
    }

    #[test]
    fn only_loopback_names_reach_the_api() {
        let called = |uri: &str, hosts: &[&str]| {
            let mut request = http::Request::get(uri);
            for host in hosts {
                request = request.header("host", *host);
            }
            calls_loopback(&request.body(()).unwrap().into_parts().0)
        };
        for good in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.8.0.1:1", "[::1]", "[::1]:80"] {
            assert!(called("/", &[good]), "{good}");
        }
        for bad in
            ["", "example.org", "localhost.example.org", "192.0.2.1", "[::2]", "0.0.0.0", "127.0.0.1.example.org"]
        {
            assert!(!called("/", &[bad]), "{bad}");
        }
        assert!(!called("/", &[]) && !called("/", &["localhost", "localhost"]));
        assert!(!called("http://example.org/", &["localhost"]));
        assert!(called("http://localhost/", &["localhost"]));
    }
}
