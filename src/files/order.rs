//! Has what a file holds on the disk before a new name leads to it: by an fsync, or by what costs less and is enough where the file
//! system keeps order. Never gives a name itself. Everything here blocks.
use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, OFlags, StatxFlags};

use crate::base::limits::{ORDERED_FILE_MAX, ORDERED_FILE_PAGE};

/// What stands between a file's content and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// ext4 with a journal: a name is committed after a flush of the disk, and together with, or after, what has made of written
    /// pages a part of their file. Content whose pages are written needs no commit of its own.
    Journal,
    /// Another file system, or nobody knows.
    Sync,
}

impl Order {
    /// That of the file system which holds this file or directory.
    pub(crate) fn of(fd: impl AsFd) -> Self {
        let Ok(stat) = rustix::fs::fstat(fd) else { return Self::Sync };
        let device = format!("{}:{}", rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        let is_ordered = || {
            let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
            let disk = fs::canonicalize(format!("/sys/dev/block/{device}")).ok()?;
            // A journal in the file system itself, its inode 8: one on another disk flushes this one only when it knows why.
            let journal = format!("/proc/fs/jbd2/{}-8", disk.file_name()?.to_str()?);
            Some(Path::new(&journal).is_dir() && keeps_order(&mounts, &device))
        };
        if is_ordered().unwrap_or(false) { Self::Journal } else { Self::Sync }
    }

    /// Returns when a power cut can no longer leave the next name of this file with anything but all of its content. The file
    /// is open for reading as well.
    pub(crate) fn settle(self, file: &File) -> io::Result<()> {
        // What could not be read may still be synced, or the sync says why not.
        if self == Self::Journal && is_written(file).unwrap_or(false) { Ok(()) } else { file.sync_all() }
    }
}

/// Whether all mounts of this device are ext4 as it comes: a commit that is not waited for may overtake the flush before it.
fn keeps_order(mountinfo: &str, device: &str) -> bool {
    let mut of_device = mountinfo.lines().filter(|line| line.split(' ').nth(2) == Some(device)).peekable();
    let is_in_order = |line: &str| {
        let (_, system) = line.split_once(" - ")?;
        let mut words = system.split(' ');
        let (kind, _, options) = (words.next()?, words.next()?, words.next()?);
        Some(kind == "ext4" && !options.split(',').any(|option| option == "journal_async_commit"))
    };
    of_device.peek().is_some() && of_device.all(|line| is_in_order(line).unwrap_or(false))
}

/// Waits until the pages of a small file are written, by reading it past them: a direct read waits for what it would otherwise
/// miss. False where the file is too large for that, or the read would not be direct.
fn is_written(file: &File) -> io::Result<bool> {
    let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::SIZE | StatxFlags::DIOALIGN)?;
    let length = usize::try_from(stat.stx_size).unwrap_or(usize::MAX);
    let (memory, offset) = (stat.stx_dio_mem_align as usize, stat.stx_dio_offset_align as usize);
    let is_direct = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::DIOALIGN)
        && (1..=ORDERED_FILE_PAGE).contains(&memory)
        && (1..=ORDERED_FILE_PAGE).contains(&offset);
    if length == 0 || length > ORDERED_FILE_MAX || !is_direct {
        return Ok(length == 0);
    }
    rustix::fs::fcntl_setfl(file, OFlags::DIRECT)?;
    let mut room = vec![0; length.next_multiple_of(ORDERED_FILE_PAGE) + ORDERED_FILE_PAGE];
    let start = room.as_ptr().align_offset(ORDERED_FILE_PAGE);
    let whole = length.next_multiple_of(ORDERED_FILE_PAGE);
    let Some(aligned) = room.get_mut(start..start + whole) else { return Ok(false) };
    Ok(rustix::io::preadv(file, &mut [IoSliceMut::new(aligned)], 0)? == length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
26 1 254:0 / / rw,relatime - ext4 /dev/vda rw,errors=remount-ro
30 26 254:0 /srv /mnt rw - ext4 /dev/vda rw,errors=remount-ro
31 26 0:22 / /tmp rw,nosuid - tmpfs tmpfs rw
32 26 7:0 / /a rw shared:3 - ext4 /dev/loop0 rw,journal_async_commit
33 26 7:1 / /b rw - ext3 /dev/loop1 rw
34 26 7:2 / /c rw";

    #[test]
    fn only_what_is_known_to_keep_order_is_trusted() {
        assert!(keeps_order(MOUNTS, "254:0"));
        for device in ["0:22", "7:0", "7:1", "7:2", "7:3", "54:0", ""] {
            assert!(!keeps_order(MOUNTS, device), "{device}");
        }
    }

    #[test]
    fn a_file_of_any_size_settles_either_way() {
        let dir = tempfile::tempdir().unwrap();
        for length in [0, 1, ORDERED_FILE_PAGE, ORDERED_FILE_MAX - 1, ORDERED_FILE_MAX, ORDERED_FILE_MAX + 1] {
            let path = dir.path().join(length.to_string());
            fs::write(&path, vec![7; length]).unwrap();
            let file = File::options().read(true).write(true).open(&path).unwrap();
            [Order::Journal, Order::Sync].into_iter().for_each(|order| order.settle(&file).unwrap());
            assert_eq!(fs::read(&path).unwrap(), vec![7; length]);
        }
    }
}
