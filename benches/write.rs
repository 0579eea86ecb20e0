//! What a change costs, in process through the door, against an append and fdatasync measured in the same run on the same disk.
//! `cargo bench --bench write [-- DIRECTORY]`; the last figure runs again with every sync delayed by 8 ms, as on an SD card.
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ruche::base::clock::Time;
use ruche::base::ids::{ClusterId, NodeId, RequestId};
use ruche::base::names::{NodeName, PlanName};
use ruche::cluster::door::{Door, Write, random};
use ruche::cluster::member::Member;
use ruche::cluster::peer::book::Book;
use ruche::cluster::peer::messages::Members;
use ruche::model::change::{Actor, Change};
use ruche::model::plans::{Limits, PlanPut};
use ruche::ops::blocking::Blocking;
use ruche::ops::board::Board;
use ruche::ops::tasks::Tasks;
use ruche::seal::Sealed;
use ruche::seal::keyring::KeyId;
use ruche::store::node::Store;
use ruche::tls::peer::{PeerKey, generate};

const SINGLE: u32 = 2_000;
const TASKS: u32 = 32;
const SLOW: &str = "RUCHE_BENCH_SLOW";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let parent = directory.map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("ruche-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let slow = std::env::var_os(SLOW).is_some();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(measure(&dir, slow));
    drop(runtime);
    if !slow && outcome.is_ok() {
        again_with_slow_syncs(&parent, &dir)?;
    }
    std::fs::remove_dir_all(&dir)?;
    outcome
}

async fn measure(dir: &Path, slow: bool) -> Result<(), Box<dyn std::error::Error>> {
    let board = Board::default();
    let tasks = Tasks::new(board.clone(), tokio::runtime::Handle::current());
    let store = Store::open(dir)?;
    let book = Book::new(NodeId(1), PeerKey::read(&generate()?)?, store.machine.snapshot(), Members::default());
    let (member, proposals) = Member::start(store, book, Blocking::new(tokio::runtime::Handle::current())).await?;
    member.run(&tasks, &board, proposals);
    member.lead().await?;
    let key_check = Sealed { key_id: KeyId(1), nonce: [0; 24], bytes: Vec::new() };
    member.found(ClusterId(1), NodeName::parse("bench")?, key_check).await?;
    let door = member.door();
    println!("an envelope has {} bytes", envelope_bytes(&door));
    if slow {
        many(&door, 4_000, "32 tasks, each sync 8 ms late").await?;
    } else {
        one_by_one(&door, dir).await?;
        many(&door, 60_000, "32 tasks").await?;
    }
    tasks.stop(Duration::from_secs(1)).await;
    member.stop(&Blocking::new(tokio::runtime::Handle::current())).await;
    Ok(())
}

/// Alternates rounds of both, so that a disk that grows slower is slower for both.
async fn one_by_one(door: &Door<Change>, dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join("append"))?;
    // Until the write-ahead log has come round once it grows with each write; that is the first minute of a node's life.
    for n in 0..SINGLE {
        door.write(change(n)?).await?;
    }
    let (mut append, mut write) = (Vec::new(), Vec::new());
    for round in 0..20 {
        for _ in 0..SINGLE / 20 {
            let start = Instant::now();
            file.write_all(&[7; 200])?;
            file.sync_data()?;
            append.push(start.elapsed());
        }
        for n in 0..SINGLE / 20 {
            let start = Instant::now();
            door.write(change(round * SINGLE + n)?).await?;
            write.push(start.elapsed());
        }
    }
    let (append, write) = (summary("append + fdatasync", append), summary("one write", write));
    println!("ratio of the medians {:.2}", write / append);
    Ok(())
}

async fn many(door: &Door<Change>, count: u32, what: &str) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let door = door.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            for n in 0..count / TASKS {
                let begun = Instant::now();
                let write = change(task * count + n).map_err(|error| error.to_string())?;
                door.write(write).await.map_err(|error| error.to_string())?;
                times.push(begun.elapsed());
            }
            Ok::<_, String>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let took = start.elapsed();
    println!("{what}: {:.0} writes/s", times.len() as f64 / took.as_secs_f64());
    summary(what, times);
    Ok(())
}

fn change(n: u32) -> Result<Write<Change>, Box<dyn std::error::Error>> {
    let limits = Limits { sites: Some(u64::from(n)), ..Limits::default() };
    let change = Change::PlanPut(PlanPut { name: PlanName::parse(&format!("plan-{}", n % 500))?, limits });
    let request_id = RequestId { key: random(), digest: [1; 16] };
    Ok(Write { request_id, actor: Actor::Local { uid: 0 }, expect: None, change })
}

fn envelope_bytes(_door: &Door<Change>) -> usize {
    let Ok(write) = change(1) else { return 0 };
    let Write { request_id, actor, expect, change } = write;
    let seed = ruche::base::ids::Seed(random());
    ruche::model::change::Envelope { request_id, actor, seed, expect, change }.encoded_len()
}

/// Prints median, 99th percentile and the longest; gives the median in microseconds.
fn summary(what: &str, mut times: Vec<Duration>) -> f64 {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    println!(
        "{what}: median {:.0} us, p99 {:.0} us, max {:.0} us ({} of them, {})",
        at(0.5),
        at(0.99),
        at(1.0),
        times.len(),
        Time::now()
    );
    at(0.5)
}

/// Runs this program again with a preloaded library that makes every sync 8 ms late.
fn again_with_slow_syncs(parent: &Path, dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let library = dir.join("slow_sync.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/slow_sync.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).arg("-ldl").status()?;
    if !built.success() {
        return Err("failed to build benches/slow_sync.c".into());
    }
    let status =
        Command::new(std::env::current_exe()?).arg(parent).env("LD_PRELOAD", &library).env(SLOW, "1").status()?;
    if status.success() { Ok(()) } else { Err("the run with slow syncs failed".into()) }
}
