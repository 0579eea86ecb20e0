//! Power cuts in the midst of uploads, on a disk that forgets what was not flushed: each file is the old one or the new one. Where
//! the node's syncs are made void the same look finds torn files.
#![expect(clippy::unwrap_used, reason = "a failure of the machine fails the test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use support::chance::Chance;
use support::faults::Tracer;
use support::ftp::{Client, Uploads};
use support::node::Node;
use support::power::Disk;

const CUTS: usize = 25;
const NAMES: usize = 300;
const SIZES: [usize; 3] = [1024, 5000, 60_000];

#[test]
#[ignore = "long: many power cuts"]
fn after_a_power_cut_a_file_is_old_or_new() {
    let dir = tempfile::Builder::new().prefix("ruche-test-").tempdir().unwrap();
    let Some(mut disk) = Disk::mount(dir.path()) else { return };
    let uploads = Uploads::on(Node::with_data(dir, disk.mounted().join("data")));
    let mut chance = Chance::of_this_run();
    let honest = seen_after_cuts(&mut disk, &uploads, &mut chance);
    println!("{CUTS} power cuts: {honest:?}");
    // What waits for small files' content, and what it does instead where that failed.
    let void = ["-e", "trace=fsync,preadv", "-e", "inject=fsync,preadv:retval=0"];
    let tracer = Tracer::attach(uploads.node.pid(), &uploads.node.path("trace"), &void);
    let sabotaged = seen_after_cuts(&mut disk, &uploads, &mut chance);
    println!("{CUTS} power cuts without syncs: {sabotaged:?}");
    drop(tracer);
    drop(uploads);
    assert!(honest.uploads > CUTS && honest.whole > CUTS, "hardly anything was written");
    assert_eq!(honest.torn, BTreeMap::new());
    assert!(!sabotaged.torn.is_empty(), "the look cannot tell a torn file");
}

#[derive(Debug, Default)]
struct Seen {
    uploads: usize,
    whole: usize,
    /// How many of each kind.
    torn: BTreeMap<&'static str, usize>,
}

fn seen_after_cuts(disk: &mut Disk, uploads: &Uploads, chance: &mut Chance) -> Seen {
    let (done, stored, log) = (AtomicBool::new(false), AtomicUsize::new(0), disk.mounted().join("log"));
    let place = uploads.root.strip_prefix(disk.mounted()).unwrap();
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        for uploader in 0..2 {
            let (mut client, chance, done, stored) = (uploads.old(), chance.fork(), &done, &stored);
            scope.spawn(move || uploading(&mut client, uploader, chance, done, stored));
        }
        // Others' syncs commit what uploads have done so far, whatever that is.
        scope.spawn(|| {
            let mut log = File::create(log).unwrap();
            while !done.load(Ordering::Relaxed) {
                log.write_all(b"a line\n").and_then(|()| log.sync_all()).unwrap();
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let ended = Ended(&done);
        for _ in 0..CUTS {
            std::thread::sleep(Duration::from_millis(100 + chance.below(800) as u64));
            disk.after_a_cut(chance.next() >> 1, |root| look(&root.join(place), &mut seen));
        }
        drop(ended);
    });
    seen.uploads = stored.into_inner();
    seen
}

/// Tells the others also when a look fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// New files and new contents of old ones, each uploader its own names.
fn uploading(client: &mut Client<'_>, uploader: usize, mut chance: Chance, done: &AtomicBool, stored: &AtomicUsize) {
    let mut version = 0;
    while !done.load(Ordering::Relaxed) {
        version += 1;
        let (name, size) = (chance.below(NAMES) * 2 + uploader, SIZES[chance.below(SIZES.len())]);
        client.store(&format!("STOR {name}"), &content(&name.to_string(), &version.to_string(), size), 226);
        stored.fetch_add(1, Ordering::Relaxed);
    }
}

fn content(name: &str, version: &str, size: usize) -> Vec<u8> {
    let part = format!("{name} {version} {size} ");
    part.bytes().cycle().take(size).collect()
}

fn look(root: &Path, seen: &mut Seen) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match torn(&name, &fs::read(entry.path()).unwrap()) {
            None => seen.whole += 1,
            Some(kind) => *seen.torn.entry(kind).or_default() += 1,
        }
    }
}

/// In which way it is not what somebody stored under this name.
fn torn(name: &str, found: &[u8]) -> Option<&'static str> {
    if found.iter().all(|byte| *byte == 0) && !found.is_empty() {
        return Some("zeros");
    }
    let text = String::from_utf8_lossy(found);
    let mut words = text.split(' ');
    let (_, version, size) = (words.next(), words.next().unwrap_or(""), words.next().unwrap_or(""));
    let is_whole = size.parse().is_ok_and(|size| content(name, version, size) == found);
    if is_whole {
        None
    } else if found.is_empty() {
        Some("empty")
    } else {
        Some("a part")
    }
}
