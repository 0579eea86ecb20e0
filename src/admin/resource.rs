//! What the kinds of objects have in common at this desk: a view, a revision and a path. One generic piece of reading and writing
//! code serves them all.
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::admin::Desk;
use crate::admin::auth::Caller;
use crate::model::answer::Object;
use crate::model::state::Snapshot;

/// One kind of object of the model as the API shows it.
pub(crate) trait Resource: Sized {
    type View: Serialize;

    /// Out of the answer of a change; None where the object is of another kind.
    fn of(object: Object) -> Option<Self>;
    fn view(&self, cx: &View<'_>) -> Self::View;
    fn revision(&self) -> u64;
    /// Where it is found.
    fn path(&self) -> String;
}

/// A change that leaves no object.
impl Resource for () {
    type View = ();

    fn of(_: Object) -> Option<Self> {
        None
    }

    fn view(&self, _: &View<'_>) {}

    fn revision(&self) -> u64 {
        0
    }

    fn path(&self) -> String {
        String::new()
    }
}

/// What a view is made with: names for ids, and who looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) data_dir: &'a Path,
    /// Who looks is limited to an account.
    pub(crate) limited: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(desk: &'a Desk, snapshot: &'a Snapshot, caller: &Caller) -> Self {
        Self { snapshot, data_dir: &desk.info.data_dir, limited: caller.account().is_some() }
    }

    /// Any object as JSON; None for kinds that have no path in this API.
    pub(crate) fn any(&self, object: Object) -> Option<Value> {
        let cx = self;
        let value = match object {
            Object::Plan(object) => serde_json::to_value(object.view(cx)),
            Object::Account(object) => serde_json::to_value(object.view(cx)),
            Object::Site(object) => serde_json::to_value(object.view(cx)),
            Object::Zone(object) => serde_json::to_value(object.view(cx)),
            Object::RecordSet(object) => serde_json::to_value(object.view(cx)),
            Object::FtpUser(object) => serde_json::to_value(object.view(cx)),
            Object::Token(object) => serde_json::to_value(object.view(cx)),
            Object::Node(object) => serde_json::to_value(object.view(cx)),
            Object::Operation(object) => serde_json::to_value(object.view(cx)),
            Object::Issuer(object) => serde_json::to_value(object.view(cx)),
            Object::Wish(object) => serde_json::to_value(object.view(cx)),
            Object::Cluster(_) | Object::Certificate(_) => return None,
        };
        value.ok()
    }
}

/// A path of segments, each percent-encoded where it must be (RFC 3986 section 3.3).
pub(crate) fn path(segments: &[&str]) -> String {
    let mut path = String::from("/v1");
    for segment in segments {
        path.push('/');
        for byte in segment.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' => {
                    path.push(char::from(byte))
                }
                byte => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn segments_stay_segments() {
        assert_eq!(path(&["zones", "0/25.2.0.192.in-addr.arpa"]), "/v1/zones/0%2F25.2.0.192.in-addr.arpa");
        assert_eq!(path(&["ftp-users", "web@example.org"]), "/v1/ftp-users/web@example.org");
    }
}
