//! What a start costs: opening a `state.db` of 10,000 sites, without and with internal certificates, and one of 10,000 zones of 12
//! records, each in a process of its own.
//! `cargo bench --bench load [-- DIRECTORY]`.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId};
use ruche::base::clock::Time;
use ruche::base::ids::{CertificateId, ClusterId, NodeId, RequestId, Seed};
use ruche::base::limits::BATCH_ENVELOPES_MAX;
use ruche::base::names::{Host, NodeName, ZoneName};
use ruche::model::LEVEL;
use ruche::model::certificates::Minted;
use ruche::model::change::{Actor, BATCH_VERSION, Batch, Change, Envelope};
use ruche::model::cluster::Found;
use ruche::model::records::RecordPut;
use ruche::model::sites::{Handler, SiteCreate, Www};
use ruche::model::zones::ZoneCreate;
use ruche::rr::{Name, RecordType, parse_data};
use ruche::seal::keyring::{KeyId, Keyring};
use ruche::seal::{Place, Sealed, seal};
use ruche::store::node::Store;
use ruche::store::types::{Payload, TypeConfig};
use ruche::tls::ca::{self, Authority};
use ruche::tls::mint::mint;

const COUNT: u64 = 10_000;
const RECORDS: u64 = 12;
const NOW: Time = Time(1_795_327_200_000);
const OPEN: &str = "RUCHE_BENCH_OPEN";

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    if let Some(dir) = std::env::var_os(OPEN) {
        return open(Path::new(&dir));
    }
    let directory = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let parent = directory.map_or_else(std::env::temp_dir, PathBuf::from);
    for (what, changes) in [("sites", sites(false)?), ("certified sites", sites(true)?), ("zones", zones()?)] {
        let dir = parent.join(format!("ruche-bench-load-{}-{}", what.replace(' ', "-"), std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let begun = Instant::now();
        tokio::runtime::Builder::new_current_thread().build()?.block_on(fill(&dir, changes))?;
        let size = std::fs::metadata(dir.join("state.db"))?.len() >> 20;
        println!("{COUNT} {what}: made in {:.1?}, state.db has {size} MiB", begun.elapsed());
        let status = Command::new(std::env::current_exe()?).env(OPEN, &dir).status()?;
        std::fs::remove_dir_all(&dir)?;
        if !status.success() {
            return Err("the opening process failed".into());
        }
    }
    Ok(())
}

fn open(dir: &Path) -> Result<(), Failed> {
    let before = resident_kib()?;
    let begun = Instant::now();
    let store = Store::open(dir)?;
    let took = begun.elapsed();
    let after = resident_kib()?;
    let each = (after - before) as f64 / COUNT as f64;
    println!(
        "  opened in {took:.0?}; memory {before} → {after} KiB: {each:.2} KiB each, the remembered answers with it"
    );
    drop(store);
    Ok(())
}

fn resident_kib() -> Result<u64, Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

async fn fill(dir: &Path, changes: Vec<Change>) -> Result<(), Failed> {
    let Store { mut log, mut machine, .. } = Store::open(dir)?;
    let mut changes = std::iter::once(found()?).chain(changes).enumerate().peekable();
    let mut index = 0;
    while changes.peek().is_some() {
        let envelopes =
            changes.by_ref().take(BATCH_ENVELOPES_MAX).map(|(at, change)| envelope(at as u64, change)).collect();
        let batch = Batch { version: BATCH_VERSION, time: NOW, envelopes };
        let payload = EntryPayload::Normal(Payload(batch.encode().into()));
        let entry = Entry::<TypeConfig> { log_id: LogId::new(CommittedLeaderId::new(1, 1), index), payload };
        log.blocking_append([entry.clone()]).await?;
        let answers = machine.apply([entry]).await?;
        if let Some(Err(refusal)) = answers.into_iter().flat_map(|answers| answers.0).find(Result::is_err) {
            return Err(refusal.into());
        }
        index += 1;
    }
    log.purge(LogId::new(CommittedLeaderId::new(1, 1), index - 1)).await?;
    machine.close();
    log.close();
    Ok(())
}

fn envelope(at: u64, change: Change) -> Envelope {
    let key = (u128::from(at + 1) << 64 | u128::from(at)).to_be_bytes();
    Envelope { request_id: RequestId { key, digest: key }, actor: Actor::System, seed: Seed(key), expect: None, change }
}

fn found() -> Result<Change, Failed> {
    let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: Vec::new() };
    let name = NodeName::parse("bench")?;
    Ok(Change::Found(Found { cluster: ClusterId(1), level: LEVEL, node: NodeId(1), name, key_check, key: Vec::new() }))
}

fn sites(certified: bool) -> Result<Vec<Change>, Failed> {
    let (id, keyring) = (ClusterId(1), Keyring::generate([7; 32]));
    let made = ca::make(id, NOW)?;
    let ca = Authority::new(&made.certificate, &made.key)?;
    (0..COUNT)
        .map(|n| {
            let main = format!("association-{n}.example.org");
            let names = [main.clone(), format!("www.{main}"), format!("association-{n}.example.net")];
            let certificate = certified.then(|| minted(&ca, &keyring, n, &names)).transpose()?;
            Ok(Change::SiteCreate(Box::new(SiteCreate {
                host: Host::parse(&main)?,
                aliases: vec![Host::parse(&names[2])?],
                www: Www::Redirect,
                handler: Handler::Static,
                account: None,
                node: Some(NodeId(1)),
                chosen: None,
                standbys: Vec::new(),
                failover: Default::default(),
                wanted: 0,
                issuer: None,
                quota: Some(1 << 30),
                options: Default::default(),
                certificate,
            })))
        })
        .collect()
}

/// As a node makes it; sealed for no place in particular, which costs the same.
fn minted(ca: &Authority, keyring: &Keyring, n: u64, names: &[String]) -> Result<Minted, Failed> {
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    let leaf = mint(ca, &texts, NOW)?;
    let place = Place { cluster: ClusterId(1), table: "certificates", row: "", field: "key" };
    Ok(Minted {
        id: CertificateId(n + 1),
        names: names.iter().map(|name| Host::parse(name)).collect::<Result<_, _>>()?,
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        chain: leaf.chain.into_iter().map(Into::into).collect(),
        key: seal(keyring, &place, &leaf.key, [9; 24]),
    })
}

fn zones() -> Result<Vec<Change>, Failed> {
    let mut changes = Vec::new();
    for n in 0..COUNT {
        let text = format!("association-{n}.example.org");
        let (name, origin) = (ZoneName::parse(&text)?, Name::parse(&format!("{text}."), None)?);
        changes.push(Change::ZoneCreate(ZoneCreate {
            name: name.clone(),
            account: None,
            ttl: None,
            nameservers: Vec::new(),
        }));
        for record in 0..RECORDS {
            let (rtype, value) = match record % 4 {
                0 => (RecordType::A, "192.0.2.1"),
                1 => (RecordType::AAAA, "2001:db8::1"),
                2 => (RecordType::MX, "10 mail.example.org."),
                _ => (RecordType::TXT, "\"v=spf1 include:example.org ~all\""),
            };
            let owner = Name::parse(&format!("host-{}", record / 4), Some(&origin))?;
            let values = vec![parse_data(rtype, value, &origin)?];
            changes.push(Change::RecordPut(RecordPut { zone: name.clone(), owner, rtype, ttl: 3600, values }));
        }
    }
    Ok(changes)
}
