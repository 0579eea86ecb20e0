//! An ext4 file system on a disk that can lose its power (`disk.py`): what would be there afterwards can be looked at as often as
//! wanted, while the disk goes on.
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const MIB: &str = "64";
/// That of a good memory card.
const LATENCY_S: &str = "0.001";

#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    child: Child,
    asks: Option<ChildStdin>,
    told: BufReader<ChildStdout>,
    device: Option<String>,
}

impl Disk {
    /// Made and mounted in this directory. None where this process may not, said aloud.
    pub fn mount(dir: &Path) -> Option<Self> {
        for name in ["mounted", "seen"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        fs::write(dir.join("disk"), "").unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/disk.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(dir.join("disk")).args([MIB, LATENCY_S]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is installed: tests/run sees to it");
        let (asks, told) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut disk = Self { dir: dir.to_owned(), child, asks, told, device: None };
        let made = disk.hears("ready").and_then(|()| {
            let device = run("losetup", &["--find", "--show", disk.at("disk").to_str().unwrap()])?;
            disk.device = Some(device.trim().to_owned());
            run("mkfs.ext4", &["-q", "-F", device.trim()])?;
            run("mount", &[device.trim(), disk.mounted().to_str().unwrap()])
        });
        match made {
            Ok(_) => Some(disk),
            Err(why) => {
                println!("SKIPPED: no file system of its own can be made here: {why}");
                None
            }
        }
    }

    /// Where it is mounted.
    pub fn mounted(&self) -> PathBuf {
        self.at("mounted")
    }

    /// Cuts the power of a copy, and gives what is there once it is mounted again.
    pub fn after_a_cut<T>(&mut self, seed: u64, look: impl FnOnce(&Path) -> T) -> T {
        let (image, seen) = (self.at("image"), self.at("seen"));
        writeln!(self.asks.as_mut().unwrap(), "{} {seed}", image.display()).unwrap();
        self.hears("cut").unwrap();
        run("mount", &["-o", "loop", image.to_str().unwrap(), seen.to_str().unwrap()]).unwrap();
        let found = look(&seen);
        run("umount", &[seen.to_str().unwrap()]).unwrap();
        found
    }

    fn hears(&mut self, word: &str) -> Result<(), String> {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        if line.trim() == word { Ok(()) } else { Err(format!("the disk says {line:?} instead of {word:?}")) }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A look that failed left its mount.
        let _ = run("umount", &[self.at("seen").to_str().unwrap()]);
        let _ = run("umount", &[self.mounted().to_str().unwrap()]);
        if let Some(device) = self.device.take() {
            let _ = run("losetup", &["--detach", &device]);
        }
        let _ = run("umount", &["--lazy", self.at("disk").to_str().unwrap()]);
        drop(self.asks.take());
        let _ = self.child.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(said(&done.stdout)) } else { Err(format!("{program}: {}", said(&done.stderr))) }
}
