//! Tools that make faults: a small disk of its own, and strace, which fails system calls or shows their order.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::until;

/// A mounted tmpfs, unmounted with this value.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// None where this process may not mount, said aloud.
    pub fn mount(path: &Path, kib: usize) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let options = format!("size={kib}k");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output().unwrap();
        if mount.status.success() {
            return Some(Self { path: path.to_owned() });
        }
        println!("SKIPPED: no tmpfs can be mounted here: {}", String::from_utf8_lossy(&mount.stderr));
        None
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills what is left with one file, to the last byte.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.path.join("filler")).unwrap();
        for size in [64 << 10, 4096, 1] {
            let block = vec![0u8; size];
            while std::io::Write::write_all(&mut file, &block).is_ok() {}
        }
    }

    /// Fills all but so many bytes.
    pub fn leave(&self, bytes: u64) {
        let disk = rustix::fs::statvfs(&self.path).unwrap();
        let filler = disk.f_bavail * disk.f_frsize - bytes;
        fs::write(self.path.join("filler"), vec![0; filler as usize]).unwrap();
    }

    pub fn free(&self) {
        fs::remove_file(self.path.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has it open is about to end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// strace attached to a running process; let go of with this value.
#[derive(Debug)]
pub struct Tracer(Child);

impl Tracer {
    /// Returns when it is attached.
    pub fn attach(pid: u32, output: &Path, options: &[&str]) -> Self {
        let heard = output.with_extension("said");
        let said = fs::File::create(&heard).unwrap();
        let mut command = Command::new("strace");
        command.args(["-f", "-o"]).arg(output).args(options).args(["-p", &pid.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn();
        let mut tracer = Self(child.expect("strace is installed; tests/run sees to it"));
        until(30, "strace is attached", || {
            assert!(tracer.0.try_wait().unwrap().is_none(), "strace ended: {}", fs::read_to_string(&heard).unwrap());
            fs::read_to_string(&heard).unwrap().contains("attached").then_some(())
        });
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Asked to end it lets the process go; killed it would too, but the process might stay stopped.
        super::node::signal_to(self.0.id(), rustix::process::Signal::INT);
        let _ = self.0.wait();
    }
}
