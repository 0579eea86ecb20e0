//! Golden bytes: what a level wrote once is read for ever, and written the same. Cases may be added, none may be lost.
//! `RUCHE_GOLDEN=write cargo test --lib golden` adds the missing ones.
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::base::ids::{ClusterId, NodeId, OperationId, SiteId};
use crate::model::apply::apply_batch;
use crate::model::certificates::Certificate;
use crate::model::change::{Batch, Change};
use crate::model::cluster::Cluster;
use crate::model::drains::{Draining, Stay};
use crate::model::effect::Effect;
use crate::model::moves::{Moving, Stage};
use crate::model::nodes::Node;
use crate::model::rotation::Rotation;
use crate::model::row::{Row, Table};
use crate::model::sites::Site;
use crate::model::state::State;
use crate::model::stations::Stationed;
use crate::model::tests::generator::log;

/// Every kind of change there is, as the log names it.
const CHANGES: [&str; 62] = [
    "Found",
    "RaiseLevel",
    "KeyExported",
    "PlanPut",
    "PlanRemove",
    "AccountCreate",
    "AccountSet",
    "AccountRemove",
    "SiteCreate",
    "SiteSet",
    "SiteRemove",
    "ZoneCreate",
    "ZoneSet",
    "ZoneRemove",
    "RecordPut",
    "RecordRemove",
    "FtpUserCreate",
    "FtpUserSet",
    "FtpUserRemove",
    "CertificateStore",
    "CertificateRemove",
    "TokenCreate",
    "TokenRemove",
    "NodeSet",
    "OperationStart",
    "OperationProgress",
    "OperationFinish",
    "SitesCaPut",
    "TicketKeysPut",
    "ZoneImport",
    "CookieKeyPut",
    "IssuerCreate",
    "IssuerSet",
    "IssuerRemove",
    "IssuerAccountPut",
    "AcmeKeyPut",
    "WishCreate",
    "WishRemove",
    "OrderReserve",
    "OrderPlace",
    "OrderFinish",
    "ChallengePut",
    "ChallengeRemove",
    "CertificateWarn",
    "JoinTokenCreate",
    "NodeJoin",
    "NodeSays",
    "NodeHealth",
    "NodeRemove",
    "SiteMove",
    "MoveStep",
    "Rekey",
    "Reseal",
    "RotationEnd",
    "NodeDrain",
    "DrainStep",
    "SiteFailover",
    "SiteRecovered",
    "SiteFenced",
    "MoveGo",
    "StandbyStep",
    "IssuerTold",
];
/// Cases beside the first one of a kind: fields that came later.
const CASES: [&str; 38] = [
    "change-SiteCreate.minted",
    "change-SiteSet.minted",
    "row-sites.certificate",
    "row-cluster.tls",
    "row-zones.soa",
    "row-cluster.gone",
    "change-FtpUserCreate.plain",
    "change-FtpUserSet.plain",
    "row-ftp_users.plain",
    "change-SiteCreate.options",
    "change-SiteSet.options",
    "row-sites.options",
    "row-cluster.cookies",
    "row-cluster.acme",
    "row-issuers.account",
    "change-OrderReserve.at",
    "row-sites.moving",
    "change-NodeRemove.lost",
    "row-cluster.rotation",
    "row-certificates.suspect",
    "row-cluster.formerly",
    "change-SiteCreate.chosen",
    "change-SiteMove.reason",
    "row-sites.chosen",
    "row-nodes.draining",
    "change-SiteCreate.failover",
    "change-SiteSet.standbys",
    "row-sites.failover",
    "row-sites.unconfirmed",
    "change-IssuerSet.account",
    "row-issuers.next",
    "change-SitesCaPut.after",
    "row-cluster.since",
    "change-SiteMove.hold",
    "row-sites.held",
    "row-sites.stationed",
    "change-SiteCreate.wanted",
    "change-SiteSet.wanted",
];

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/level-1")
}

pub(crate) fn writing() -> bool {
    std::env::var_os("RUCHE_GOLDEN").is_some_and(|value| value == "write")
}

fn kind(batch: &Batch) -> String {
    let shown = format!("{:?}", batch.envelopes[0].change);
    shown.split(['(', ' ']).next().unwrap().to_owned()
}

fn add(name: &str, bytes: &[u8]) {
    let path = folder().join(format!("{name}.rmp"));
    if !path.exists() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Rows that changes by chance hardly make, or none does: after a loss, and after `ruche cluster recover`.
fn made_by_hand(row: &Row) -> Vec<(&'static str, Row)> {
    match row {
        Row::Cluster(cluster) => {
            let rotation = Rotation {
                operation: OperationId(7),
                node: NodeId(2),
                since: 9,
                rekeyed: Some(cluster.founded),
                thumbprint: Some("t".into()),
            };
            let lost = Cluster { rotation: Some(rotation), ..cluster.clone() };
            vec![
                ("row-cluster.rotation", Row::Cluster(lost)),
                ("row-cluster.formerly", Row::Cluster(cluster.renamed(ClusterId(99)))),
            ]
        }
        Row::Node(node) => {
            let stays = vec![Stay { site: SiteId(3), reason: "there is no other node".into() }];
            let draining = Some(Draining { operation: OperationId(7), stays });
            vec![("row-nodes.draining", Row::Node(Node { draining, ..node.clone() }))]
        }
        Row::Site(site) => {
            let unconfirmed = Site { unconfirmed: Some(9), ..Site::clone(site) };
            let moving = Some(Box::new(Moving {
                operation: OperationId(7),
                to: NodeId(2),
                stage: Stage::Held,
                bandwidth: None,
                reason: None,
                hold: true,
            }));
            let held = Site { moving, ..Site::clone(site) };
            let stationed = Stationed { node: NodeId(2), reason: "r".into(), instead: Some(NodeId(3)) };
            let stationed = Site { wanted: 2, stationed: vec![stationed], ..Site::clone(site) };
            vec![
                ("row-sites.unconfirmed", Row::Site(unconfirmed.into())),
                ("row-sites.held", Row::Site(held.into())),
                ("row-sites.stationed", Row::Site(stationed.into())),
            ]
        }
        Row::Certificate(held) => {
            let suspect = Certificate { suspect: true, ..Certificate::clone(held) };
            vec![("row-certificates.suspect", Row::Certificate(suspect.into()))]
        }
        _ => Vec::new(),
    }
}

/// One batch of each kind of change, and the last row of each table, out of a random log.
fn write() {
    let mut state = State::default();
    let genes: Vec<u64> = (0..4000).map(|at| at * 7 + 1).collect();
    for batch in log(&genes) {
        for envelope in &batch.envelopes {
            let single = Batch { envelopes: vec![envelope.clone()], ..batch };
            let case = change_case(&envelope.change);
            add(&format!("change-{}{case}", kind(&single)), &single.encode());
        }
        for (effects, _) in apply_batch(&mut state, &batch).into_iter().flatten() {
            let puts =
                effects.into_iter().filter_map(|effect| if let Effect::Put(put) = effect { Some(put) } else { None });
            for put in puts {
                add(&format!("row-{}{}", put.row.table().name(), case(&put.row)), &put.value);
                made_by_hand(&put.row).iter().for_each(|(name, row)| add(name, &row.encode()));
            }
        }
    }
}

fn change_case(change: &Change) -> &'static str {
    let (options, certificate) = match change {
        Change::SiteCreate(create) if create.wanted > 0 => return ".wanted",
        Change::SiteSet(set) if !set.wanted.is_keep() => return ".wanted",
        Change::SiteCreate(create) if !create.failover.is_default() => return ".failover",
        Change::SiteSet(set) if !set.standbys.is_keep() || !set.failover.is_keep() => return ".standbys",
        Change::SiteCreate(create) if create.chosen.is_some() => return ".chosen",
        Change::SiteMove(begun) if begun.hold => return ".hold",
        Change::SiteMove(begun) if begun.reason.is_some() => return ".reason",
        Change::SiteCreate(create) => (&create.options, &create.certificate),
        Change::SiteSet(set) => (&set.options, &set.certificate),
        Change::FtpUserCreate(create) if create.allow_plain => return ".plain",
        Change::SitesCaPut(put) if put.after.is_some() => return ".after",
        Change::IssuerSet(set) if set.account.is_some() => return ".account",
        Change::OrderReserve(reserve) if reserve.at.is_some() => return ".at",
        Change::NodeRemove(remove) if remove.lost => return ".lost",
        Change::FtpUserSet(set) if !set.allow_plain.is_keep() => return ".plain",
        _ => return "",
    };
    match (options.is_keep(), certificate) {
        (false, _) => ".options",
        (true, Some(_)) => ".minted",
        (true, None) => "",
    }
}

fn case(row: &Row) -> &'static str {
    match row {
        Row::Site(site) if site.wanted > 0 || !site.stationed.is_empty() => ".stationed",
        Row::Site(site) if site.unconfirmed.is_some() => ".unconfirmed",
        Row::Site(site) if !site.failover.is_default() => ".failover",
        Row::Site(site) if site.moving.is_some() => ".moving",
        Row::Site(site) if site.chosen.is_some() => ".chosen",
        Row::Site(site) if !site.options.is_default() => ".options",
        Row::Site(site) if site.certificate.is_some() => ".certificate",
        Row::Certificate(held) if held.suspect => ".suspect",
        Row::Node(node) if node.draining.is_some() => ".draining",
        Row::Cluster(cluster) if cluster.rotation.is_some() => ".rotation",
        Row::Cluster(cluster) if cluster.sites_ca.as_ref().is_some_and(|ca| ca.since > 0) => ".since",
        Row::Zone(zone) if zone.soa.is_some() => ".soa",
        Row::Cluster(cluster) if cluster.acme_key.is_some() => ".acme",
        Row::Issuer(issuer) if issuer.account.as_ref().is_some_and(|account| account.next.is_some()) => ".next",
        Row::Issuer(issuer) if issuer.account.is_some() => ".account",
        Row::Cluster(cluster) if cluster.cookie_key.is_some() => ".cookies",
        Row::Cluster(cluster) if !cluster.gone_serials.is_empty() => ".gone",
        Row::FtpUser(user) if user.allow_plain => ".plain",
        Row::Cluster(cluster) if cluster.sites_ca.is_some() && !cluster.ticket_keys.is_empty() => ".tls",
        _ => "",
    }
}

#[test]
fn what_was_written_is_read_and_written_the_same() {
    if writing() {
        write();
    }
    let mut seen = BTreeSet::new();
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(stem) = name.strip_suffix(".rmp") else { continue };
        let bytes = std::fs::read(&path).unwrap();
        if let Some(change) = stem.strip_prefix("change-") {
            let batch = Batch::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(batch.encode(), bytes, "{name} is written otherwise now");
            assert_eq!(change.split('.').next(), Some(&*kind(&batch)));
        } else if let Some(table) = stem.strip_prefix("row-") {
            let table = Table::ALL.into_iter().find(|known| Some(known.name()) == table.split('.').next());
            let row = Row::decode(table.unwrap(), &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(row.encode(), bytes, "{name} is written otherwise now");
        } else {
            panic!("{name}: of what?");
        }
        seen.insert(stem.to_owned());
    }
    for change in CHANGES {
        assert!(seen.contains(&format!("change-{change}")), "no golden {change}");
    }
    for case in CASES {
        assert!(seen.contains(case), "no golden {case}");
    }
    for table in Table::ALL {
        assert!(seen.contains(&format!("row-{}", table.name())), "no golden row of {}", table.name());
    }
}

/// A kind of change that is added needs its golden bytes: this list is how the test above knows.
#[test]
fn the_list_of_changes_is_whole() {
    let source = include_str!("../change.rs");
    let body = source.split("pub enum Change {").nth(1).unwrap().split("\n}").next().unwrap();
    let named: Vec<_> = body.lines().filter_map(|line| line.trim().split_once('(')).map(|(name, _)| name).collect();
    assert_eq!(named, CHANGES);
}
