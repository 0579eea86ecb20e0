//! What a process takes of the machine, from /proc.
use std::collections::BTreeMap;
use std::fs;

/// KiB of memory: its own, and its part of what it shares.
pub fn pss_kib(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// KiB of memory that is resident.
pub fn rss_kib(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/smaps_rollup"), "Rss:")
}

/// Bytes it had written to disks.
pub fn written_bytes(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/io"), "write_bytes:")
}

/// How often each of its threads went to sleep; each sleep is a wakeup.
pub fn sleeps(pid: u32) -> BTreeMap<String, u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |path: &str| field(&format!("{path}/status"), "voluntary_ctxt_switches:");
    threads.map(|thread| thread.unwrap().path().display().to_string()).map(|path| (path.clone(), of(&path))).collect()
}

/// How often it slept since; who ended meanwhile did so once.
pub fn slept_since(before: &BTreeMap<String, u64>, pid: u32) -> u64 {
    let now = sleeps(pid);
    let ended = before.keys().filter(|thread| !now.contains_key(*thread)).count() as u64;
    now.iter().map(|(thread, count)| count - before.get(thread).unwrap_or(&0)).sum::<u64>() + ended
}

/// Whether the figures are those of a release build; else they are printed and not judged.
pub fn is_judged() -> bool {
    let judged = std::env::var_os("RUCHE_BIN").is_some();
    if !judged {
        println!("NOT JUDGED: name a release build with RUCHE_BIN, as tests/run --long does");
    }
    judged
}

fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {file}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
