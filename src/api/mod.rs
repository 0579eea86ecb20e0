//! The types of `/v1`: what is asked, what is answered, what a fault looks like. Plain text and numbers as they stand in JSON;
//! the server turns them into values of the model, the CLI prints them. No IO and no decision.
pub mod accounts;
pub mod certificates;
pub mod cluster;
pub mod events;
pub mod ftp_users;
pub mod headers;
pub mod issuers;
pub mod joining;
pub mod moves;
pub mod nodes;
pub mod operations;
pub mod options;
pub mod page;
pub mod plans;
pub mod problem;
pub mod records;
pub mod requests;
pub mod sites;
pub mod standbys;
pub mod status;
pub mod tokens;
pub mod visits;
pub mod written;
pub mod zone_files;
pub mod zones;

use serde::{Deserialize, Deserializer};

/// Reads a field that stands in the body: with `default`, an absent field is `None`, and `null` is whatever `T` says of it
/// (a clearing where `T` is an `Option`, else a fault).
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::accounts::AccountPatch;
    use super::sites::{Handler, SiteCreate, SitePatch};
    use super::written::Written;

    #[test]
    fn absent_keeps_and_null_clears() {
        let read = |text: &str| serde_json::from_str::<AccountPatch>(text);
        assert_eq!(read("{}").unwrap(), AccountPatch::default());
        assert_eq!(read(r#"{"plan":null}"#).unwrap().plan, Some(None));
        assert_eq!(read(r#"{"plan":"small"}"#).unwrap().plan, Some(Some("small".into())));
        assert!(read(r#"{"suspended":null}"#).is_err());
        assert!(read(r#"{"plam":null}"#).is_err());
        let patch = SitePatch { quota: Some(None), maintenance: Some(true), ..SitePatch::default() };
        let text = serde_json::to_string(&patch).unwrap();
        assert_eq!(text, r#"{"quota":null,"maintenance":true}"#);
        assert_eq!(serde_json::from_str::<SitePatch>(&text).unwrap(), patch);
    }

    #[test]
    fn handlers_are_told_apart_by_type() {
        let text = r#"{"host":"a.example","handler":{"type":"redirect","to":"https://b.example"}}"#;
        let site: SiteCreate = serde_json::from_str(text).unwrap();
        assert_eq!(site.handler, Handler::Redirect { to: "https://b.example".into(), status: 308 });
        assert!(serde_json::from_str::<Handler>(r#"{"type":"proxy","upstreams":[],"odd":1}"#).is_err());
        assert_eq!(serde_json::to_string(&Handler::Static {}).unwrap(), r#"{"type":"static"}"#);
    }

    #[test]
    fn an_answer_is_the_object_and_whether_it_is_served() {
        let plan = super::plans::Plan { name: "small".into(), limits: Default::default(), revision: 7 };
        let written = Written { object: plan, served: Some(true), replicated: None };
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(
            text,
            r#"{"name":"small","limits":{"sites":null,"zones":null,"records":null,"ftp_users":null,"disk":null},"revision":7,"served":true}"#
        );
        assert_eq!(serde_json::from_str::<Written<super::plans::Plan>>(&text).unwrap(), written);
    }
}
