//! Bounds of moves: what copying takes of this machine, and how long a site's writers wait.
use std::time::Duration;

/// Sites copied at one time in the cluster: machines are small, and each copy keeps two of them busy.
pub const MOVES_AT_ONCE: usize = 2;
/// Copies this node fetches at one time, for moves and for sites that stand by here. A move goes first: it has a place of its own.
pub const COPIES_AT_ONCE: usize = 2;
/// Copies this node gives at one time to those that stand by; the next ones wait for a place. The one of a move does not.
pub const SOURCES_AT_ONCE: usize = 4;
/// Connections that have not said yet what they want, or ask something short: long copies keep none of them waiting.
pub const CALLS_AT_ONCE: usize = 16;
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
/// Files of a pass that are synced one by one, and directories: with more the whole disk is synced at once, which takes what others
/// wrote to it too.
pub const COPY_SYNCED_EACH: usize = 32;
/// Room a copy leaves free on the disk of its destination.
pub const COPY_ROOM: u64 = 64 << 20;

/// By how many percent of the mean the numbers of sites of two nodes may differ, beside one: evening them out costs copies.
pub const BALANCE_SLACK: u64 = 10;
/// How often a node is chosen for a new site that takes none any more when it is asked to.
pub const PLACE_RACES_MAX: usize = 3;
/// Moves begun at one time from a node that is drained, those that wait for their turn among them: enough that one is always under
/// way, and few, so that each goes where it fits best by then.
pub const DRAIN_AHEAD: usize = 4;
/// Sites that cannot leave before a drain is given up; each is named with its reason.
pub const DRAIN_STAYS_MAX: usize = 50;
/// How often it is tried again to place standbys that no node fits.
pub const STATION_LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often a drain that waits for machines looks again.
pub const DRAIN_LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long uploads under way may keep a site from coming to rest; new ones wait meanwhile.
pub const REST_WAIT: Duration = Duration::from_secs(5);
/// How often a site that is to rest looks whether a process before this one writes to it still.
pub const REST_LOOK: Duration = Duration::from_millis(20);
/// How long a site rests at most: then its home has it wake, and the move tries again.
pub const REST_MAX: Duration = Duration::from_secs(20);
/// First and longest pause before something of a move is tried again.
pub const MOVE_PAUSE_FIRST: Duration = Duration::from_millis(500);
pub const MOVE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a move may get nowhere before it is given up.
pub const MOVE_PATIENCE: Duration = Duration::from_secs(900);
/// How long a move waits for the word to go on: what somebody does before may be a copy of a database.
pub const MOVE_HOLD_MAX: Duration = Duration::from_secs(3600);
/// Rests in which somebody changed files by other ways than ours; the next one would not help.
pub const MOVE_UNRESTS: usize = 5;
/// How often a move says how far it is: each time is a change of the state.
pub const MOVE_PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// How long files stay where a site was at home before they go to the trash: requests that had begun still read them.
pub const STRAY_GRACE: Duration = Duration::from_secs(30);
/// How long the state's own changes may keep the tasks of moves from looking at the disk again.
pub const MOVE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long changes of files are gathered before the standbys are told.
pub const STANDBY_GATHER: Duration = Duration::from_millis(300);
/// How often they are told where the kernel does not tell what changes.
pub const STANDBY_BLIND_EVERY: Duration = Duration::from_secs(60);
/// How long an answer of a standby that is told may take, and the pause before it is told again.
pub const STANDBY_TELL_WAIT: Duration = Duration::from_secs(10);
pub const STANDBY_TELL_PAUSE: Duration = Duration::from_secs(2);
/// How long a node is waited for that is asked how a copy is.
pub const STANDING_WAIT: Duration = Duration::from_secs(2);
/// Sites told of in one message.
pub const STANDBY_TOLD_MAX: usize = 10_000;
/// The pause after a pass: so many times what it took, within these bounds. A site that changes all the time costs a tenth of a core.
pub const STANDBY_PAUSE_TIMES: u32 = 10;
pub const STANDBY_PAUSE_FIRST: Duration = Duration::from_secs(1);
pub const STANDBY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a copy is compared by names though nothing was told, and by the content of all files: what is written through a mapping is
/// told by nobody, and disks rot.
pub const STANDBY_LOOK_EVERY: Duration = Duration::from_hours(1);
pub const STANDBY_HASH_EVERY: Duration = Duration::from_hours(7 * 24);
/// How long a standby leaves it to each one before it to take over, in the order the site names them.
pub const STANDBY_RANK_STEP: Duration = Duration::from_secs(2);
/// How long a node that has just started, and has not seen the home, leaves it to the home to start too.
pub const STANDBY_DOUBT: Duration = Duration::from_secs(120);
/// How long a copy may have lacked something when its home went down, to take over by itself.
pub const STANDBY_STALE_MAX: Duration = Duration::from_secs(600);
/// How long a standby waits before it tries again to take over: the lease of the old home ends within seconds.
pub const STANDBY_TAKE_EVERY: Duration = Duration::from_millis(500);
/// How often is looked whether a move has ended that writes where a copy becomes a site.
pub const STANDBY_CLOSE_EVERY: Duration = Duration::from_millis(50);
