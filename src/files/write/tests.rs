//! Uploads, changes of names, quotas and crashes.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use rustix::fs::OFlags;

use super::*;
use crate::files::gate::Gates;

const SITE: SiteId = SiteId(0xab);

struct Home {
    _dir: tempfile::TempDir,
    dirs: SiteDirs,
    public: PathBuf,
    permit: Permit,
}

fn home_in(dir: tempfile::TempDir) -> Home {
    let dirs = SiteDirs::open(dir.path()).unwrap();
    dirs.make(SITE).unwrap();
    Home { public: dirs.path(SITE), _dir: dir, dirs, permit: permit(SITE) }
}

fn home() -> Home {
    home_in(tempfile::tempdir().unwrap())
}

/// In memory where possible: for tests of many syncs.
fn fast_home() -> Home {
    home_in(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
}

fn permit(site: SiteId) -> Permit {
    let gates = Gates::default();
    gates.set_home(site, 1, false);
    gates.enter(site, 1).unwrap()
}

impl Home {
    fn writer(&self, quota: Option<u64>) -> Writer {
        Writer::open(&self.dirs, SITE, quota).unwrap()
    }

    fn incoming(&self) -> usize {
        fs::read_dir(self.public.with_file_name("incoming")).unwrap().count()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.public.join(name)
    }
}

fn put(writer: &Writer, permit: &Permit, path: &str, bytes: &[u8]) -> Result<(), WriteError> {
    let mut upload = writer.upload(path)?;
    upload.write(bytes)?;
    upload.commit(permit)
}

#[test]
fn an_upload_is_seen_whole_or_not_at_all() {
    let home = home();
    let writer = home.writer(None);
    fs::write(home.at("page"), "old").unwrap();
    let mut upload = writer.upload("page").unwrap();
    upload.write(b"the new ").unwrap();
    upload.write(b"page").unwrap();
    assert_eq!(fs::read_dir(&home.public).unwrap().count(), 1, "nothing lies beside it");
    assert_eq!(fs::read_to_string(home.at("page")).unwrap(), "old");
    let held = fs::File::open(home.at("page")).unwrap();
    upload.commit(&home.permit).unwrap();
    assert_eq!(fs::read_to_string(home.at("page")).unwrap(), "the new page");
    assert_eq!(io::read_to_string(held).unwrap(), "old");
    let mut given_up = writer.upload("page").unwrap();
    given_up.write(b"never").unwrap();
    assert_eq!(home.incoming(), 1);
    drop(given_up);
    assert_eq!(home.incoming(), 0);
    assert_eq!(fs::read_to_string(home.at("page")).unwrap(), "the new page");
    put(&writer, &home.permit, &"n".repeat(255), b"").unwrap();
    assert!(matches!(put(&writer, &home.permit, &"n".repeat(256), b""), Err(WriteError::Path(JailError::Invalid))));
}

#[test]
fn what_a_crash_left_is_swept_and_not_counted() {
    let home = home();
    home.writer(None);
    for left in 0..5 {
        fs::write(home.public.with_file_name("incoming").join(left.to_string()), "half").unwrap();
    }
    fs::write(home.at("page"), "four").unwrap();
    let writer = home.writer(None);
    assert_eq!((home.incoming(), writer.usage().used()), (0, 4));
}

#[test]
fn no_link_leads_a_write_out() {
    let home = home();
    let (outside, permit) = (home.public.with_file_name("outside"), &home.permit);
    fs::create_dir_all(outside.join("inner")).unwrap();
    fs::write(outside.join("page"), "kept").unwrap();
    symlink("../outside", home.at("out")).unwrap();
    symlink("../outside/page", home.at("link")).unwrap();
    fs::write(home.at("page"), "mine").unwrap();
    let writer = home.writer(None);
    let refused = |met: Result<(), WriteError>| {
        assert!(matches!(met, Err(WriteError::Path(JailError::Outside | JailError::Invalid))), "{met:?}");
    };
    refused(put(&writer, permit, "out/page", b"new"));
    refused(put(&writer, permit, "../outside/page", b"new"));
    refused(put(&writer, permit, "/page", b"new"));
    refused(put(&writer, permit, "", b"new"));
    refused(writer.rename(permit, "page", "out/taken"));
    refused(writer.rename(permit, "out/page", "taken"));
    refused(writer.rename(permit, "..", "taken"));
    refused(writer.remove(permit, "out/page"));
    refused(writer.mkdir(permit, "out/new"));
    refused(writer.rmdir(permit, "out/inner"));
    refused(writer.rmdir(permit, ""));
    // The link itself is replaced, moved and removed.
    put(&writer, permit, "link", b"new").unwrap();
    assert!(fs::symlink_metadata(home.at("link")).unwrap().is_file());
    writer.rename(permit, "out", "elsewhere").unwrap();
    writer.remove(permit, "elsewhere").unwrap();
    assert_eq!(fs::read_to_string(outside.join("page")).unwrap(), "kept");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
    assert_eq!(writer.usage().used(), 7);
    writer.mkdir(permit, "release-2").unwrap();
    symlink("release-2", home.at("current")).unwrap();
    put(&writer, permit, "current/page", b"new").unwrap();
    assert_eq!(fs::read_to_string(home.at("release-2/page")).unwrap(), "new");
}

#[test]
fn the_quota_is_kept_and_given_back_at_the_right_moment() {
    let home = home();
    let (writer, permit) = (home.writer(Some(10)), &home.permit);
    put(&writer, permit, "a", b"123456").unwrap();
    // Until the commit the old file is there as well.
    let told = put(&writer, permit, "a", b"12345").unwrap_err().to_string();
    assert_eq!(told, "store 5 bytes more: 6 of 10 are used, uploads under way among them");
    put(&writer, permit, "a", b"1234").unwrap();
    assert_eq!(writer.usage().used(), 4);
    let mut first = writer.upload("b").unwrap();
    first.write(b"123456").unwrap();
    let mut second = writer.upload("c").unwrap();
    assert!(matches!(second.write(b"1"), Err(WriteError::Quota(_))));
    assert_eq!(writer.usage().used(), 4, "what grows is promised, not used");
    drop(first);
    // What failed once is not taken up again: a part of it is missing.
    assert!(matches!(second.write(b"1"), Err(WriteError::Incomplete)));
    assert!(matches!(second.commit(permit), Err(WriteError::Incomplete)));
    assert!(!home.at("c").exists());
    put(&writer, permit, "b", b"123456").unwrap();
    put(&writer, permit, "empty", b"").unwrap();
    writer.usage().set_quota(Some(3));
    assert!(put(&writer, permit, "d", b"1").is_err());
    writer.remove(permit, "b").unwrap();
    writer.usage().set_quota(None);
    put(&writer, permit, "d", &[0; 1000]).unwrap();
    assert_eq!((writer.usage().used(), home.writer(None).usage().used()), (1004, 1004));
    assert_eq!(home.incoming(), 0);
}

#[test]
fn a_commit_that_fails_gives_back_what_it_was_promised() {
    let home = home();
    let (writer, permit) = (home.writer(Some(10)), &home.permit);
    writer.mkdir(permit, "d").unwrap();
    let mut upload = writer.upload("d/a").unwrap();
    upload.write(b"1234567890").unwrap();
    writer.rmdir(permit, "d").unwrap();
    assert!(matches!(upload.commit(permit), Err(WriteError::Path(JailError::NotFound))));
    let mut upload = writer.upload("e").unwrap();
    upload.write(b"1234567890").unwrap();
    writer.mkdir(permit, "e").unwrap();
    assert!(matches!(upload.commit(permit), Err(WriteError::IsDirectory)));
    let mut upload = writer.upload("f").unwrap();
    upload.write(b"1234567890").unwrap();
    assert!(matches!(upload.commit(&super::tests::permit(SiteId(1))), Err(WriteError::Permit)));
    put(&writer, permit, "f", b"1234567890").unwrap();
    assert_eq!((writer.usage().used(), home.incoming()), (10, 0));
}

#[test]
fn two_names_of_one_file_count_twice_and_go_alone() {
    let home = home();
    fs::write(home.at("a"), "1234").unwrap();
    fs::hard_link(home.at("a"), home.at("b")).unwrap();
    let (writer, permit) = (home.writer(None), &home.permit);
    assert_eq!(writer.usage().used(), 8);
    writer.rename(permit, "b", "b").unwrap();
    assert!(home.at("b").exists());
    writer.rename(permit, "a", "b").unwrap();
    assert!(!home.at("a").exists() && home.at("b").exists());
    assert_eq!(writer.usage().used(), 4);
    fs::hard_link(home.at("b"), home.at("c")).unwrap();
    let writer = home.writer(None);
    put(&writer, permit, "b", b"1").unwrap();
    assert_eq!((fs::read_to_string(home.at("c")).unwrap().as_str(), writer.usage().used()), ("1234", 5));
    writer.remove(permit, "c").unwrap();
    assert_eq!(writer.usage().used(), 1);
}

/// Deeper than a path reaches; each directory goes on with a file after its inner one was read.
#[test]
fn a_scan_reads_any_depth_and_follows_nothing() {
    let home = fast_home();
    let mut at = home.dirs.jail(SITE).unwrap().listed().unwrap();
    for _ in 0..3_000 {
        for name in ["a", "z"] {
            let file = rustix::fs::openat(&at, name, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
            rustix::io::write(file, b"1").unwrap();
        }
        rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
        rustix::fs::symlinkat("..", &at, "link").unwrap();
        at = rustix::fs::openat(&at, "d", OFlags::RDONLY, Mode::empty()).unwrap();
    }
    assert_eq!(home.writer(None).usage().used(), 6_000);
    home.dirs.discard(SITE, crate::base::clock::Time(0)).unwrap();
    home.dirs.sweep(crate::base::clock::Time::now()).unwrap();
}

const PAGES: [(u8, usize); 2] = [(b'a', 300_000), (b'b', 200_000)];

/// Not a test of its own: what the tests below run in a process that they trace or kill.
#[test]
fn an_uploading_process() {
    let Some(dir) = std::env::var_os("RUCHE_TEST_UPLOADS") else { return };
    let dirs = SiteDirs::open(Path::new(&dir)).unwrap();
    dirs.make(SITE).unwrap();
    let writer = Writer::open(&dirs, SITE, None).unwrap();
    let once = std::env::var_os("RUCHE_TEST_ONCE").is_some();
    for (byte, length) in PAGES.iter().cycle().take(if once { 1 } else { usize::MAX }) {
        put(&writer, &permit(SITE), "page", &vec![*byte; *length]).unwrap();
    }
}

fn uploading(home: &Home, tracer: &[&str]) -> Command {
    let (_, here) = module_path!().split_once("::").unwrap();
    let exe = std::env::current_exe().unwrap();
    let mut words = tracer.iter().map(std::ffi::OsStr::new).chain([exe.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", &format!("{here}::an_uploading_process")]);
    command.env("RUCHE_TEST_UPLOADS", home._dir.path()).stdout(std::process::Stdio::null());
    command
}

/// Killed at any moment, an uploading process leaves one of the two pages whole.
#[test]
fn a_killed_upload_leaves_old_or_new() {
    let home = home();
    put(&home.writer(None), &home.permit, "page", &vec![PAGES[0].0; PAGES[0].1]).unwrap();
    let mut left = 0;
    for round in 0..8_u32 {
        let mut child = uploading(&home, &[]).spawn().unwrap();
        let before = fs::metadata(home.at("page")).unwrap().ino();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while fs::metadata(home.at("page")).unwrap().ino() == before {
            assert!(std::time::Instant::now() < deadline, "nothing is uploaded");
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_micros(u64::from(round) * 700));
        child.kill().unwrap();
        child.wait().unwrap();
        left += home.incoming();
        let page = fs::read(home.at("page")).unwrap();
        assert!(PAGES.map(|(byte, length)| vec![byte; length]).contains(&page), "{} bytes", page.len());
        assert_eq!(home.writer(None).usage().used(), page.len() as u64);
        assert_eq!(home.incoming(), 0);
    }
    eprintln!("{left} of 8 kills left an upload behind");
}

/// What a power cut leaves depends on the order of the calls: content, name, directory.
#[test]
fn content_is_on_the_disk_before_its_name_and_an_error_there_is_told() {
    let home = home();
    put(&home.writer(None), &home.permit, "page", b"old").unwrap();
    let trace = home._dir.path().join("trace");
    let calls = "trace=fsync,rename,renameat,renameat2";
    let tracer = ["strace", "-f", "-y", "-e", calls, "-o", trace.to_str().unwrap()];
    let traced = uploading(&home, &tracer).env("RUCHE_TEST_ONCE", "1").stderr(std::process::Stdio::null()).status();
    if !traced.is_ok_and(|status| status.success()) {
        eprintln!("skipped: strace is not installed, or may not trace");
        return;
    }
    assert_eq!(fs::metadata(home.at("page")).unwrap().len(), PAGES[0].1 as u64);
    let trace = fs::read_to_string(trace).unwrap();
    // Opening the directories of the sites syncs the data directory first.
    let own = |line: &&str| line.contains("/incoming") || line.contains("/public>)");
    let calls: Vec<_> = trace.lines().filter(own).filter_map(|line| line.split_once(' ')).collect();
    let begins = |at: usize, call: &str| calls.get(at).is_some_and(|(_, met)| met.trim().starts_with(call));
    assert_eq!(calls.len(), 2, "{calls:#?}");
    assert!(begins(0, "fsync(") && begins(1, "rename"), "{calls:#?}");
    assert!(calls[0].1.contains("/incoming/") && calls[1].1.contains("/public>"), "{calls:#?}");

    put(&home.writer(None), &home.permit, "page", b"old").unwrap();
    let fault = ["strace", "-f", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=2+"];
    let faulty = uploading(&home, &fault).env("RUCHE_TEST_ONCE", "1").stderr(std::process::Stdio::null()).status();
    assert!(!faulty.unwrap().success());
    assert_eq!(fs::read_to_string(home.at("page")).unwrap(), "old");
    assert_eq!(home.incoming(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Put(String, usize),
    GiveUp(String, usize),
    Rename(String, String),
    Remove(String),
    Mkdir(String),
    Rmdir(String),
    Link(String, String),
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "d"]), 1..4).prop_map(|parts| parts.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), 0..60_usize).prop_map(|(path, len)| Step::Put(path, len)),
        1 => (path(), 0..60_usize).prop_map(|(path, len)| Step::GiveUp(path, len)),
        4 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => path().prop_map(Step::Remove),
        3 => path().prop_map(Step::Mkdir),
        1 => path().prop_map(Step::Rmdir),
        1 => (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
    ]
}

/// The site as a plain map: None is a directory, else the file's number and length.
#[derive(Debug, Default)]
struct Model {
    names: BTreeMap<String, Option<(usize, usize)>>,
    files: usize,
}

impl Model {
    fn used(&self) -> usize {
        self.names.values().flatten().map(|(_, len)| len).sum()
    }

    fn parent_is_there(&self, path: &str) -> bool {
        path.rsplit_once('/').is_none_or(|(parent, _)| self.names.get(parent) == Some(&None))
    }

    fn empty(&self, path: &str) -> bool {
        !self.names.keys().any(|name| name.starts_with(&format!("{path}/")))
    }

    /// Whether the step is possible; if so it is taken.
    fn take(&mut self, step: &Step, quota: usize) -> bool {
        match step {
            Step::Put(path, len) | Step::GiveUp(path, len) => {
                let possible =
                    self.parent_is_there(path) && self.names.get(path) != Some(&None) && self.used() + len <= quota;
                if possible && matches!(step, Step::Put(..)) {
                    self.files += 1;
                    self.names.insert(path.clone(), Some((self.files, *len)));
                }
                possible
            }
            Step::Rename(from, to) => self.rename(from, to),
            Step::Remove(path) => {
                let possible = matches!(self.names.get(path), Some(Some(_)));
                if possible {
                    self.names.remove(path);
                }
                possible
            }
            Step::Mkdir(path) => {
                let possible = self.parent_is_there(path) && !self.names.contains_key(path);
                if possible {
                    self.names.insert(path.clone(), None);
                }
                possible
            }
            Step::Rmdir(path) => {
                let possible = self.names.get(path) == Some(&None) && self.empty(path);
                if possible {
                    self.names.remove(path);
                }
                possible
            }
            Step::Link(from, to) => {
                let Some(Some(file)) = self.names.get(from).copied() else { return false };
                let possible = self.parent_is_there(to) && !self.names.contains_key(to);
                if possible {
                    self.names.insert(to.clone(), Some(file));
                }
                possible
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(moved) = self.names.get(from).copied() else { return false };
        if from == to {
            return true;
        }
        let fits = match (moved, self.names.get(to)) {
            (_, None) => self.parent_is_there(to),
            (None, Some(None)) => self.empty(to),
            (Some(_), Some(Some(_))) => true,
            _ => false,
        };
        if !fits || to.starts_with(&format!("{from}/")) {
            return false;
        }
        let inside = |name: &String| name == from || name.starts_with(&format!("{from}/"));
        let all: Vec<_> = self.names.keys().filter(|name| inside(name)).cloned().collect();
        for name in all {
            let value = self.names.remove(&name).unwrap();
            self.names.insert(format!("{to}{}", &name[from.len()..]), value);
        }
        true
    }
}

fn taken(home: &Home, writer: &mut Writer, step: &Step, quota: usize) -> bool {
    let permit = &home.permit;
    match step {
        Step::Put(path, len) => put(writer, permit, path, &vec![0; *len]).is_ok(),
        Step::GiveUp(path, len) => writer.upload(path).is_ok_and(|mut upload| upload.write(&vec![0; *len]).is_ok()),
        Step::Rename(from, to) => writer.rename(permit, from, to).is_ok(),
        Step::Remove(path) => writer.remove(permit, path).is_ok(),
        Step::Mkdir(path) => writer.mkdir(permit, path).is_ok(),
        Step::Rmdir(path) => writer.rmdir(permit, path).is_ok(),
        Step::Link(from, to) => {
            // Made by others: the next opening counts it.
            let file = fs::metadata(home.at(from)).is_ok_and(|met| met.is_file());
            let made = file && fs::hard_link(home.at(from), home.at(to)).is_ok();
            *writer = home.writer(Some(quota as u64));
            made
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn the_use_is_what_a_scan_finds(steps in prop::collection::vec(step(), 1..60), quota in 0..400_usize) {
        let home = fast_home();
        let (mut writer, mut model) = (home.writer(Some(quota as u64)), Model::default());
        for step in &steps {
            let possible = model.take(step, quota);
            prop_assert_eq!(taken(&home, &mut writer, step, quota), possible, "{:?}", step);
            prop_assert_eq!(writer.usage().used(), model.used() as u64, "{:?}", step);
            for (name, value) in &model.names {
                let met = fs::symlink_metadata(home.at(name)).unwrap();
                prop_assert_eq!(met.is_file().then_some(met.len()), value.map(|(_, len)| len as u64), "{}", name);
            }
        }
        prop_assert_eq!(crate::files::usage::scan(&home.dirs.jail(SITE).unwrap()).unwrap(), model.used() as u64);
        prop_assert_eq!(home.incoming(), 0);
    }
}

/// Uploads over each other from several threads: every byte given back once.
#[test]
fn uploads_at_one_time_are_counted_right() {
    let home = fast_home();
    let writer = home.writer(Some(5_000));
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (writer, permit) = (&writer, &home.permit);
            scope.spawn(move || {
                for round in 0..200_usize {
                    let (one, two) = (format!("f{}", round % 3), format!("f{}", (round + thread) % 4));
                    let _ = put(writer, permit, &one, &vec![0; (round * 7 + thread * 31) % 900]);
                    let _ = writer.rename(permit, &one, &two);
                    if round % 5 == 0 {
                        let _ = writer.remove(permit, &two);
                    }
                }
            });
        }
    });
    assert_eq!(writer.usage().used(), crate::files::usage::scan(&home.dirs.jail(SITE).unwrap()).unwrap());
    writer.usage().set_quota(Some(writer.usage().used() + 1));
    put(&writer, &home.permit, "last", b"1").unwrap();
    assert!(put(&writer, &home.permit, "over", b"1").is_err());
}

#[test]
fn a_file_goes_on_as_a_copy_and_nobody_sees_half_of_it() {
    let home = home();
    let (writer, permit) = (home.writer(None), &home.permit);
    put(&writer, permit, "log", b"0123456789").unwrap();
    let resumed = |from, most: u64, added: &[u8]| {
        let mut upload = writer.resume("log", from)?;
        assert!(from == Some(0) || matches!(upload.write(b"early"), Err(WriteError::Incomplete)));
        while !upload.copy(most)? {}
        upload.write(added)?;
        upload.commit(permit)
    };
    for (from, most, added, wanted) in [
        (None, 3, "ab", "0123456789ab"),
        (Some(4), 100, "xyz", "0123xyz"),
        (Some(7), 1, "!", "0123xyz!"),
        (None, 8, "", "0123xyz!"),
    ] {
        resumed(from, most, added.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(home.at("log")).unwrap(), wanted);
        assert_eq!(writer.usage().used(), wanted.len() as u64);
    }
    assert!(matches!(resumed(Some(9), 8, b""), Err(WriteError::Beyond { length: 8 })));
    let mut torn = writer.resume("log", None).unwrap();
    assert!(!torn.copy(4).unwrap());
    assert!(matches!(torn.commit(permit), Err(WriteError::Incomplete)));
    let mut new = writer.resume("new", None).unwrap();
    assert!(new.copy(4).unwrap());
    new.write(b"1").unwrap();
    new.commit(permit).unwrap();
    assert!(matches!(writer.resume("none", Some(0)), Err(WriteError::Path(JailError::NotFound))));
    assert_eq!((writer.usage().used(), home.incoming()), (9, 0));
}

#[test]
fn a_directory_of_a_site_is_a_jail_with_a_use_of_its_own() {
    let home = home();
    let (site, permit) = (home.writer(Some(30)), &home.permit);
    put(&site, permit, "page", b"0123456789").unwrap();
    symlink("../page", home.at("link")).unwrap();
    assert!(site.within(permit, "link").is_err());
    let inner = site.within(permit, "a/b").unwrap();
    let own = Usage::of(inner.jail(), Some(15)).unwrap();
    let inner = inner.counted(Some(own.clone()));
    symlink("../../page", home.at("a/b/out")).unwrap();
    assert!(matches!(inner.jail().look("out"), Err(JailError::Outside)));
    put(&inner, permit, "mine", b"0123456789").unwrap();
    assert!(matches!(put(&inner, permit, "more", b"012345"), Err(WriteError::Quota(told)) if told.quota == 15));
    put(&inner, permit, "more", b"01234").unwrap();
    assert_eq!((site.usage().used(), own.used()), (25, 15));
    assert!(matches!(put(&site, permit, "over", b"012345"), Err(WriteError::Quota(told)) if told.quota == 30));
    inner.rename(permit, "more", "mine").unwrap();
    inner.remove(permit, "mine").unwrap();
    assert_eq!((site.usage().used(), own.used()), (10, 0));
    assert_eq!(fs::read_to_string(home.at("page")).unwrap(), "0123456789");
}

#[test]
fn times_and_modes_are_set_within_reason() {
    use std::os::unix::fs::PermissionsExt;
    let home = home();
    let (writer, permit) = (home.writer(None), &home.permit);
    put(&writer, permit, "page", b"1").unwrap();
    writer.mkdir(permit, "d").unwrap();
    writer.set_modified(permit, "page", 1_000_000_000).unwrap();
    writer.set_modified(permit, "d", 7).unwrap();
    assert_eq!(fs::metadata(home.at("page")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(fs::metadata(home.at("d")).unwrap().mtime(), 7);
    let mode = |name: &str| fs::metadata(home.at(name)).unwrap().permissions().mode() & 0o7777;
    for (name, wanted, got) in
        [("page", 0o6777, 0o775), ("page", 0, 0o600), ("d", 0o004, 0o704), ("page", 0o604, 0o604)]
    {
        assert_eq!((writer.set_mode(permit, name, wanted).unwrap(), mode(name)), (got, got), "{name}");
    }
    put(&writer, permit, "page", b"2").unwrap();
    assert_eq!(mode("page"), 0o604, "a new content keeps the mode");
    put(&writer, permit, "new", b"2").unwrap();
    assert_eq!(mode("new"), 0o640);
    assert!(writer.set_mode(permit, "none", 0o644).is_err());
}
