//! Bounds of moves: what copying takes of this machine, and how long a site's writers wait.
use std::time::Duration;

/// Sites copied at one time in the cluster: machines are small, and each copy keeps two of them busy.
pub const MOVES_AT_ONCE: usize = 2;
/// Copies this node gives out at one time, and connections for them that wait.
pub const SOURCES_AT_ONCE: usize = 4;
/// Bytes of a file sent or received at one time.
pub const COPY_PIECE: usize = 256 << 10;
/// Names in one message.
pub const COPY_ENTRIES: usize = 256;
/// One message of a copy: that many names of 255 bytes, with links that say 4 KiB.
pub const COPY_FRAME_MAX: usize = 2 << 20;
/// Files asked for in one message, and asked for ahead of those that came.
pub const COPY_WANTED: usize = 256;
/// Files one pass fetches at most; the rest is the next one's. Bounds what is kept of them in memory.
pub const COPY_PASS_FILES: usize = 100_000;
/// Silence on a connection after which a copy begins again where it was: longer than a slow card takes to read or sync what is
/// compared by its hash. Machines that are gone are noticed by the kernel, which asks and expects an answer that often.
pub const COPY_WAIT: Duration = Duration::from_secs(600);
pub const COPY_ALIVE_EVERY: Duration = Duration::from_secs(5);
pub const COPY_ALIVE_ASKED: u32 = 4;
pub const COPY_ALIVE_WAIT: Duration = Duration::from_secs(25);
/// The longest pause that a limit of bandwidth makes between two pieces.
pub const COPY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A pass that fetched no more than this, or took no longer, is the last one before the site rests.
pub const COPY_LITTLE_BYTES: u64 = 8 << 20;
pub const COPY_LITTLE_TIME: Duration = Duration::from_secs(1);
/// Passes after which a site rests though much still changes in each.
pub const COPY_PASSES: u32 = 8;
/// Room a copy leaves free on the disk of its destination.
pub const COPY_ROOM: u64 = 64 << 20;

/// How long uploads under way may keep a site from coming to rest; new ones wait meanwhile.
pub const REST_WAIT: Duration = Duration::from_secs(5);
/// How long a site rests at most: then its home has it wake, and the move tries again.
pub const REST_MAX: Duration = Duration::from_secs(20);
/// First and longest pause before something of a move is tried again.
pub const MOVE_PAUSE_FIRST: Duration = Duration::from_millis(500);
pub const MOVE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a move may get nowhere before it is given up.
pub const MOVE_PATIENCE: Duration = Duration::from_secs(900);
/// Rests in which somebody changed files by other ways than ours; the next one would not help.
pub const MOVE_UNRESTS: usize = 5;
/// How often a move says how far it is: each time is a change of the state.
pub const MOVE_PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// How long files stay where a site was at home before they go to the trash: requests that had begun still read them.
pub const STRAY_GRACE: Duration = Duration::from_secs(30);
/// How long the state's own changes may keep the tasks of moves from looking at the disk again.
pub const MOVE_LOOK_EVERY: Duration = Duration::from_secs(1);
