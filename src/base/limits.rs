//! Every bound of the program, with its reason. A queue, body, wait or count that is not bounded here is a defect.
pub mod acme;
pub mod moves;
pub mod peers;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

/// Longest host, zone or node name in octets of presentation form (RFC 1035 section 2.3.4: 255 octets of wire, 253 of text).
pub const NAME_TEXT_MAX: usize = 253;
/// Longest label (RFC 1035 section 2.3.4).
pub const LABEL_MAX: usize = 63;
/// Longest account, plan, node, token or login name: fits a column of a table and a path segment.
pub const SLUG_MAX: usize = 63;

/// Envelopes that share one log entry: past this the entry's size costs more than the saved fsync.
pub const BATCH_ENVELOPES_MAX: usize = 128;
/// Bytes of envelopes that share one log entry: bounds what one append and one replication frame carry.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Batches being committed at one time: one being synced while the next one is filled.
pub const BATCHES_IN_FLIGHT: usize = 2;
/// Batches that another leader is asked for at one time.
pub const BATCHES_FORWARDED: usize = 8;
/// Changes waiting at the write door: beyond it a writer is told `busy` instead of growing memory.
pub const DOOR_WAITING_MAX: usize = 1024;
/// One encoded change: a record set that fills a DNS message takes a tenth of it.
pub const CHANGE_BYTES_MAX: usize = 1 << 20;
/// How long a writer waits for the answer of its change before `outcome-unknown`.
pub const WRITE_WAIT: Duration = Duration::from_secs(10);
/// How long a write with `--wait` waits for every plane to serve its revision.
pub const SERVED_WAIT: Duration = Duration::from_secs(10);

/// Queries of the history at one time; the others wait: what raft writes must never find the queue of the thread full.
pub const HISTORY_QUERIES_MAX: usize = 32;
/// Rows of history one look at the table reads, below a millisecond: then changes have their turn.
pub const HISTORY_SLICE: usize = 200;
/// Answers whose request id, revision and digest stay in memory so that a repeated request is recognised.
pub const ANSWERS_KEPT: usize = 65_536;
/// Changes whose events, and operations finished then, stay in `state.db`; more than `ANSWERS_KEPT`, whose bodies they hold.
pub const HISTORY_KEPT: u64 = 100_000;

/// Log entries after which the state is checkpointed and the log purged.
pub const LOG_PURGE_ENTRIES: u64 = 2_000;
/// Log entries that stay after a purge, for members that lag a little.
pub const LOG_KEEP_ENTRIES: u64 = 500;
/// Bytes of log after which it is purged whatever its number of entries: SD cards are small.
pub const LOG_PURGE_BYTES: u64 = 16 << 20;
/// Entries one read of the log returns at most.
pub const LOG_READ_ENTRIES_MAX: u64 = 64;
/// Log entries kept decoded in memory for the state machine and for peers that follow closely.
pub const LOG_CACHE_ENTRIES: usize = 64;
/// Bytes of log entries kept decoded in memory.
pub const LOG_CACHE_BYTES: usize = 1 << 20;
/// Jobs waiting for a database thread: raft keeps a few under way, pages of queries share it.
pub const STORE_QUEUE: usize = 256;
/// Bytes of log entries that `state.db` may lack: what a crash leaves to be applied again, and what a slow disk holds in memory.
pub const STATE_BEHIND_BYTES: usize = 4 << 20;
/// How often a write that met a full disk is tried again.
pub const DISK_FULL_RETRY: Duration = Duration::from_secs(1);
/// Shortest time between two published snapshots: a burst of commits costs one refresh of every reader.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(2);
/// How often the state is copied if it changed, and how long after a start: a machine that is switched off at night has its copy too.
pub const COPY_EVERY: Duration = Duration::from_hours(1);
pub const COPY_FIRST: Duration = Duration::from_mins(5);
/// Copies kept: of the last hours, and the last one of each of the last days. A mistake is noticed within two weeks, or never.
pub const COPIES_HOURLY: usize = 24;
pub const COPIES_DAYS: usize = 14;
/// How often `local.db` is flushed when something in it changed.
pub const LOCAL_FLUSH_EVERY: Duration = Duration::from_secs(300);
/// How long the stop waits for the last of it: statistics are not worth a late stop.
pub const LOCAL_LAST_FLUSH: Duration = Duration::from_secs(1);

/// Days of which visits of sites are kept: a month.
pub const VISITS_DAYS_KEPT: u64 = 31;

/// Packed records in one chunk of a zone: a row that fits inside a page of the database, so a change rewrites one page.
pub const ZONE_CHUNK_BYTES: usize = 896;
/// Values in one record set: what a 64 KiB DNS message can carry of short ones.
pub const RRSET_VALUES_MAX: usize = 1000;
/// Bytes of data in one record set, for the same reason (RFC 1035 section 4.2.2: 65,535 octets a message).
pub const RRSET_BYTES_MAX: usize = 60_000;
/// Serials of removed zones that are remembered while time has not overtaken them: dated ones (2026112201) stay for years.
pub const GONE_SERIALS_MAX: usize = 1000;
/// Aliases of one site.
pub const SITE_ALIASES_MAX: usize = 100;
/// How long a failover waits for the lease of the old home to end, which it does within eight seconds, and how often it looks.
pub const FAILOVER_WAIT: Duration = Duration::from_secs(12);
pub const FAILOVER_LOOK: Duration = Duration::from_millis(500);
/// Standbys of one site: each has its files on its disk.
pub const SITE_STANDBYS_MAX: usize = 4;
/// Upstreams of one proxied site.
pub const UPSTREAMS_MAX: usize = 32;
/// Longest URL accepted as upstream, redirect target or path.
pub const URL_MAX: usize = 2048;
/// Headers of responses one site says something of, and their bytes: they travel with each response.
pub const SITE_HEADERS_MAX: usize = 32;
pub const SITE_HEADER_BYTES_MAX: usize = 4096;
/// Parts of one site that ask for a password, and the users of one: what a person keeps in view.
pub const SITE_AREAS_MAX: usize = 16;
pub const SITE_AREA_USERS_MAX: usize = 100;
/// Longest path of a part, an error page or a fallback.
pub const SITE_PATH_MAX: usize = 512;
/// Seconds of HSTS below which browsers' preload lists take no host (hstspreload.org: a year).
pub const HSTS_PRELOAD_AGE_MIN: u64 = 31_536_000;
/// Addresses one node announces.
pub const NODE_ADDRESSES_MAX: usize = 16;
/// Octets of the public key a node is known by: ours have 44.
pub const NODE_KEY_MAX: usize = 256;
/// Doors open at one time for machines that are to join.
pub const JOIN_TOKENS_MAX: usize = 16;
/// How long such a door stays open at most: a week's holiday.
pub const JOIN_TOKEN_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an expired token of the API stays listed: somebody may look why it opens nothing.
pub const TOKEN_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Tokens that go with one new one: more than one, so that they get fewer.
pub const TOKENS_FORGOTTEN: usize = 4;
/// Shortest and longest password: argon2id reads all of it, so an endless one is work for free.
pub const PASSWORD_MIN: usize = 8;
pub const PASSWORD_MAX: usize = 1024;

/// Keys of session tickets in the state: the one in use and those whose tickets may still come back.
pub const TICKET_KEYS_MAX: usize = 3;
/// How long a session ticket is good for: shorter than the life of its key, which limits what a stolen key opens.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Age at which the newest ticket key is followed by another one, if tickets are made at all.
pub const TICKET_KEY_AGE: Duration = Duration::from_secs(24 * 3600);
/// Certificates being minted at one time: each takes a core for a tenth of a millisecond, and others need the pool as well.
pub const MINTS_AT_ONCE: usize = 2;
/// How often it is looked whether internal certificates or their CA run out: they last for years.
pub const CERTIFY_EVERY: Duration = Duration::from_secs(24 * 3600);
/// An internal certificate with less of its life left is followed by another one.
pub const INTERNAL_LEFT: Duration = Duration::from_secs(3 * 365 * 24 * 3600);
/// The same of the CA: whoever trusts it has years to take up the next one, and no certificate it signs is short.
pub const SITES_CA_LEFT: Duration = Duration::from_secs(7 * 365 * 24 * 3600);
/// Rounds in which sites without a certificate get one at a start; what is changed three times meanwhile waits for the next.
pub const CERTIFY_ROUNDS_MAX: usize = 3;
/// How often a change of a site's hosts mints anew because somebody else changed them at the same time.
pub const MINT_RACES_MAX: usize = 4;
/// How often a zone file is tried out anew because somebody else changed the zone at the same time.
pub const IMPORT_RACES_MAX: usize = 4;
/// How often the keys of a cluster are looked after that has lost a node, and how many changes are made for it at one time: others
/// have their turn between.
pub const ROTATION_EVERY: Duration = Duration::from_secs(1);
pub const ROTATION_STEPS: usize = 64;
/// How long a key stays after another one seals: a change made with it may be on its way still.
pub const OLD_KEY_KEPT: Duration = Duration::from_secs(20);
/// Pause after a ticket key could not be renewed: the old one serves on.
pub const TICKET_RETRY: Duration = Duration::from_secs(60);
/// A session ticket as it is read: ours have some 250 bytes.
pub const TICKET_BYTES_MAX: usize = 2048;
/// Parsed private keys kept for handshakes, about 2 KiB each; a site that has none waits 0.1 ms for it.
pub const PARSED_KEYS_MAX: NonZeroUsize = some(1024);
/// Names in one certificate: the main host, `www.` and all aliases of a site.
pub const CERTIFICATE_NAMES_MAX: usize = SITE_ALIASES_MAX + 2;

/// Body of one admin request: it becomes one change. Times the connections it bounds the memory of all bodies.
pub const ADMIN_BODY_MAX: usize = 1 << 20;
/// Head (request line and headers) of one admin request.
pub const ADMIN_HEAD_MAX: usize = 16 << 10;
/// Connections to the admin API at one time, to the socket and over TCP each.
pub const ADMIN_CONNECTIONS_MAX: usize = 128;
/// Time an admin client has to send the head of a request, and how long an idle connection is kept.
pub const ADMIN_HEAD_WAIT: Duration = Duration::from_secs(30);
/// Time an admin client has to send a body.
pub const ADMIN_BODY_WAIT: Duration = Duration::from_secs(60);
/// How long an admin client may leave an answer lying before its connection is given to somebody else.
pub const ADMIN_READER_WAIT: Duration = Duration::from_secs(30);
/// Event streams (SSE) at one time.
pub const EVENT_STREAMS_MAX: usize = 32;
/// Silence after which an event stream says that it is alive: a quarter of what its reader bears, and a reader that is gone
/// is noticed.
pub const EVENT_STREAM_PULSE: Duration = Duration::from_secs(15);
/// Items on one page, unless asked for fewer, and at most.
pub const PAGE_DEFAULT: usize = 100;
pub const PAGE_MAX: usize = 1000;
/// Longest Idempotency-Key.
pub const IDEMPOTENCY_KEY_MAX: usize = 255;
/// Password hashings at one time: each takes 19 MiB and a core.
pub const PASSWORD_HASHES_AT_ONCE: usize = 2;

/// Users of sites whose passwords one change sets: hashing them all takes less than its caller waits.
pub const PASSWORDS_AT_ONCE_MAX: usize = 50;

/// Answer of the admin API as the CLI accepts it.
pub const CLIENT_BODY_MAX: usize = 64 << 20;
/// Time the CLI waits to be connected, and for the head of an answer.
pub const CLIENT_CONNECT_WAIT: Duration = Duration::from_secs(5);
pub const CLIENT_HEAD_WAIT: Duration = Duration::from_secs(60);
/// Time from the head of an answer to its last byte: what comes slower will not come.
pub const CLIENT_BODY_WAIT: Duration = Duration::from_secs(60);
/// Read buffer of a client's connection, which also bounds the head of an answer.
pub const CLIENT_BUFFER_MAX: usize = 64 << 10;
/// Pages of one list the CLI follows: a million objects, or a server that turns in circles.
pub const CLIENT_PAGES_MAX: usize = 1000;
/// Silence after which a followed stream of events is opened again: the node says four times as often that it is alive.
pub const CLIENT_IDLE_WAIT: Duration = Duration::from_secs(60);
/// One event of a stream: the largest carries one record set as text.
pub const CLIENT_EVENT_MAX: usize = 1 << 20;
/// How often a write is sent again when the connection failed, and the pause before: a restart takes a fraction of a second.
pub const CLIENT_RETRIES_MAX: u32 = 3;
pub const CLIENT_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause before a broken stream of events is opened again.
pub const CLIENT_RECONNECT_MAX: Duration = Duration::from_secs(10);
/// How long the CLI asks what became of a write whose outcome is unknown, and the pause between.
pub const CLIENT_OUTCOME_WAIT: Duration = Duration::from_secs(10);
pub const CLIENT_OUTCOME_EVERY: Duration = Duration::from_millis(500);
/// Password read from standard input, with its line end.
pub const CLIENT_PASSWORD_MAX: u64 = 4096;

/// Steps in which a PFX file may derive its key: OpenSSL writes 2,048, and careful people a million.
pub const PFX_ITERATIONS_MAX: u32 = 10_000_000;
/// Bytes of one file of certbot's directory that are read, of those that hold no certificate.
pub const CERTBOT_FILE_MAX: u64 = 64 << 10;
/// Entries of one directory of certbot's.
pub const CERTBOT_ENTRIES_MAX: usize = 10_000;
/// Accounts of certbot's that are told of.
pub const CERTBOT_ACCOUNTS_MAX: usize = 16;

/// Threads of the blocking pool.
pub const BLOCKING_THREADS_MAX: usize = 8;
/// First and longest pause before a task that panicked is started again.
pub const TASK_RESTART_FIRST: Duration = Duration::from_millis(100);
pub const TASK_RESTART_MAX: Duration = Duration::from_secs(30);
/// How long requests under way may go on after the listeners were given up.
pub const DRAIN_WAIT: Duration = Duration::from_secs(30);
/// The same where another process has taken over already: nobody waits for this one but those it still serves. Long downloads over
/// thin lines end, and nobody's memory is held for a day by a forgotten WebSocket.
pub const HAND_OVER_DRAIN: Duration = Duration::from_secs(10 * 60);
/// How long the next process may take to start, and then to serve. Nobody is refused meanwhile, but those who come wait.
pub const HAND_OVER_WAIT: Duration = Duration::from_secs(20);
/// How often, and how many times, a thread that sleeps in the kernel is sent an empty datagram so that it ends. Which of the sockets
/// of one address gets it is the kernel's choice.
pub const WAKE_EVERY: Duration = Duration::from_millis(1);
pub const WAKE_TRIES: u32 = 1000;
/// Size of one configuration file.
pub const CONFIG_FILE_MAX: u64 = 1 << 20;

/// Octets of a name in wire form (RFC 1035 section 2.3.4).
pub const NAME_WIRE_MAX: usize = 255;
/// Octets of one record's data: what its 16-bit length can say (RFC 1035 section 3.2.1).
pub const RDATA_MAX: usize = 65_535;
/// Octets of one record's data as text: an octet of data takes four as `\DDD`, and words need spaces and quotes; the bits of
/// a WKS with every port take the most.
pub const RDATA_TEXT_MAX: usize = 6 * RDATA_MAX;
/// Octets of one character-string inside a record's data (RFC 1035 section 3.3).
pub const STRING_MAX: usize = 255;
/// Octets of one entry of a zone file without its comments: a record's data as text, its name and TTL.
pub const ZONE_FILE_ENTRY_MAX: usize = RDATA_TEXT_MAX + 2048;
/// Records of one zone file: more do not fit in one change.
pub const ZONE_FILE_RECORDS_MAX: usize = 50_000;
/// Faults of a zone file that are told one by one: who has more begins with these.
pub const ZONE_FILE_FAULTS_MAX: usize = 1000;
/// Records that one `$GENERATE` makes: a /16 of addresses.
pub const GENERATE_MAX: u32 = 65_536;
/// Digits that a modifier of `$GENERATE` asks for: more than an IPv6 reverse name has.
pub const GENERATE_WIDTH_MAX: usize = 64;
/// Octets of text that all `$GENERATE` of one file make: each is read like a line of the file.
pub const ZONE_FILE_EXPANDED_MAX: usize = 8 << 20;
/// Characters of a refused text that the error repeats: enough to find it, in a line that stays readable.
pub const FOUND_TEXT_MAX: usize = 40;
/// Files in `conf.d`: one per tool that writes there is plenty.
pub const CONFIG_FILES_MAX: usize = 64;
/// Items of one list in a configuration file: more addresses than a small machine has.
pub const CONFIG_LIST_MAX: usize = 64;
/// How long one task may take to give up its listener or database before the stop goes on without it.
pub const GIVE_UP_WAIT: Duration = Duration::from_secs(5);
/// How long a task that failed must run before its entry is green again.
pub const TASK_STEADY_AFTER: Duration = Duration::from_secs(600);
/// Pieces of blocking work waiting for a thread: with more than that a caller is better refused than late.
pub const BLOCKING_QUEUE_MAX: usize = 64;
/// How long a thread of the blocking pool waits for more work before it ends.
pub const BLOCKING_IDLE: Duration = Duration::from_secs(10);
/// Connections the kernel holds for a listener until they are accepted: a burst of visitors, not a flood.
pub const LISTEN_BACKLOG: i32 = 1024;
/// Keys of one keyring: a rotation needs two; the rest is room for rotations that were never finished.
pub const KEYRING_KEYS_MAX: usize = 16;
/// Pause after the kernel refused to accept an admin connection: descriptors are short, and asking again at once spins.
pub const ADMIN_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Size of `/etc/passwd` or `/etc/group`, as far as they are read to find the members of the group `ruche`.
pub const ACCOUNT_FILE_MAX: u64 = 4 << 20;
/// How often a path is resolved anew that a rename disturbed: each try takes microseconds, and a storm of renames by one
/// customer must not hold a thread.
pub const JAIL_OPEN_TRIES: u32 = 64;
/// How long the files of a removed site stay in the trash: long enough to notice a mistake after a holiday week.
pub const TRASH_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Names of one directory held in memory while a tree is deleted: a directory may have millions.
pub const TRASH_NAMES_AT_ONCE: usize = 1000;
/// The largest file whose content is waited for rather than synced: reading more of it again takes longer than a sync.
pub const ORDERED_FILE_MAX: usize = 64 << 10;
/// What a direct read is aligned to: no disk in use asks for more.
pub const ORDERED_FILE_PAGE: usize = 4096;
/// Connections of visitors at one time, where the descriptors allow as many: at some 27 KiB each all of them together fit a
/// small machine.
pub const WEB_CONNECTIONS_MAX: usize = 10_240;
/// Descriptors that visitors' connections leave to files, databases and the desk.
pub const WEB_DESCRIPTORS_LEFT: usize = 256;
/// Connections of one address (of one /64 for IPv6), so that nobody takes them all; many people share an address behind
/// carriers' translation, with a few connections each.
pub const WEB_CONNECTIONS_PER_ADDRESS: u32 = 512;
/// Files that are kept in memory as they are: larger ones are read as they are sent.
pub const WEB_SMALL_FILE_MAX: usize = 64 << 10;
/// What each thread keeps of small files: the pages, styles and scripts that everybody asks for.
pub const WEB_SMALL_FILES_BYTES: usize = 8 << 20;
pub const WEB_SMALL_FILES_MAX: NonZeroUsize = some(4096);
/// Directories of sites that each thread keeps open: one descriptor each.
pub const WEB_JAILS_KEPT: NonZeroUsize = some(256);
/// For how long: another directory may have been put in its place, by who restores a copy.
pub const WEB_JAIL_KEPT_FOR: Duration = Duration::from_secs(1);
/// A file that was changed within this time is not kept, and waited for so long to get an entity tag: times of files tick, on
/// some kernels every 10 ms, and two changes within one tick look the same.
pub const WEB_FILE_SETTLES: Duration = Duration::from_millis(20);
/// For how long a small file is remembered to have nothing beside it in another coding.
pub const WEB_CODINGS_KEPT_FOR: Duration = Duration::from_secs(1);
/// Bytes of a large file in memory for each response: four records of TLS.
pub const WEB_FILE_PIECE: usize = 64 << 10;
/// The first piece of a large file; the next ones double. An HTTP/2 client that takes nothing holds one for each stream.
pub const WEB_FILE_FIRST_PIECE: usize = 4 << 10;
/// Bytes of large files that one thread holds for clients which do not take them; beyond that each response gets no more than
/// its first piece at a time.
pub const WEB_FILE_BYTES_HELD_MAX: usize = 32 << 20;
/// Time a visitor has to finish the TLS handshake.
pub const WEB_HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Time a visitor has from the first byte of a request's head to the last.
pub const WEB_HEAD_WAIT: Duration = Duration::from_secs(15);
/// How long a connection is kept on which nothing moves while we owe nothing: browsers think of a minute as usual.
pub const WEB_IDLE_WAIT: Duration = Duration::from_secs(65);
/// How long an idle connection of HTTP/1 is kept at the end, for a request that is on its way: it is answered, and told that it was the
/// last. Longer than most round trips, and short where the node ends with nobody after it.
pub const WEB_PART_WAIT: Duration = Duration::from_secs(1);
/// How long an idle connection has to take leave before it is cut off.
pub const WEB_LEAVE_WAIT: Duration = Duration::from_secs(5);
/// Request line and headers of one request, in either version of HTTP; browsers with many cookies come near half of it.
pub const WEB_HEAD_MAX: usize = 16 << 10;
/// The line before a chunk: a size, and extensions that nobody uses.
pub const WEB_CHUNK_LINE_MAX: usize = 256;
/// HTTP/2 frames that ask for nothing a client may send at once: a browser's dozen of settings, priorities and window updates
/// for a hundred streams, many times over.
pub const WEB_IDLE_FRAMES_MAX: u32 = 2_000;
/// How many more each second: PINGs of a monitoring client, resets of a reader that changes pages quickly.
pub const WEB_IDLE_FRAMES_PER_SECOND: u32 = 100;
/// Bytes sent that give reason for one more: a WINDOW_UPDATE for each of the smallest DATA frames anybody makes.
pub const WEB_SENT_PER_IDLE_FRAME: usize = 1024;
/// Requests under way on one HTTP/2 connection: what browsers need to load a page at once (RFC 9113 section 6.5.2 asks for 100).
pub const WEB_STREAMS_MAX: u32 = 128;
/// Streams a client opened and reset before we looked at them (a rapid reset), and those reset for its own errors: past this
/// the connection ends.
pub const WEB_PENDING_RESETS_MAX: usize = 20;
pub const WEB_ERROR_RESETS_MAX: usize = 128;
/// Bytes of responses one HTTP/2 stream holds for a client that does not take them.
pub const WEB_SEND_BUFFER_MAX: usize = 64 << 10;
/// Bytes sealed for one connection and not sent yet: four full records keep a fast client busy, more only fills memory.
pub const WEB_SEALED_MAX: usize = 64 << 10;
/// Buffers of 16 KiB a web thread keeps for its next answers: as many connections as one turn of its loop finds.
pub const WEB_SPARE_BUFFERS_MAX: usize = 32;
/// Silence after which an HTTP/2 client with requests under way is asked whether it is still there, and how long it may think.
pub const WEB_PING_EVERY: Duration = Duration::from_secs(50);
pub const WEB_PING_WAIT: Duration = Duration::from_secs(15);
/// Pause after the kernel refused to accept a connection for want of descriptors or memory: asking again at once spins.
pub const WEB_ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a refusal that visitors can cause at will is logged.
pub const WEB_LOG_EVERY: Duration = Duration::from_secs(60);
/// How often a listening address that could not be had is tried again.
pub const LISTEN_RETRY: Duration = Duration::from_secs(5);
/// Passwords of visitors that are checked at one time: each takes 19 MiB and a core for some 20 ms.
pub const AUTH_CHECKS_AT_ONCE: usize = 2;
/// Visitors that wait for such a check; who comes then is sent away for a second.
pub const AUTH_CHECKS_WAITING_MAX: usize = 32;
/// What each thread remembers of who entered: the visitors of a busy hour.
pub const AUTH_ENTERED_KEPT: NonZeroUsize = some(1024);
/// For how long; then the password is checked again.
pub const AUTH_ENTERED_KEPT_FOR: Duration = Duration::from_secs(600);
/// Wrong passwords one address may give before it has to wait: fingers slip.
pub const AUTH_FREE_FAILURES: u32 = 5;
/// The first wait, which doubles with each further one, and the longest: a guesser gets 12 an hour, a family an end of it.
pub const AUTH_WAIT_FIRST: Duration = Duration::from_secs(1);
pub const AUTH_WAIT_MAX: Duration = Duration::from_secs(300);
/// Addresses with wrong passwords that are remembered.
pub const AUTH_SOURCES_MAX: NonZeroUsize = some(4096);
/// Bytes of one field of an access log: more is written by nobody in good faith.
pub const WEB_LOG_FIELD_MAX: usize = 2048;
/// Bytes of lines one thread holds for a disk that is slow: some seconds of a busy machine. What comes then is dropped.
pub const WEB_LOG_BUFFER_MAX: usize = 2 << 20;
/// Bytes of lines that are written without waiting for more.
pub const WEB_LOG_SOON_BYTES: usize = 64 << 10;
/// How long lines wait for more: few writes, and a site's owner sees them soon.
pub const WEB_LOG_FLUSH_EVERY: Duration = Duration::from_secs(3);
/// Buffers of lines kept for the next ones, and their size.
pub const WEB_LOG_SPARES: usize = 64;
pub const WEB_LOG_SPARE_BYTES: usize = 1 << 10;
/// Access logs that stay open: one descriptor and one of its directory each.
pub const WEB_LOGS_OPEN: NonZeroUsize = some(64);
/// How often old access logs are looked for.
pub const WEB_LOGS_SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Readers that have what waits written at one time, and how long one waits for it.
pub const WEB_LOG_ASKED_MAX: usize = 16;
pub const WEB_LOG_ASKED_WAIT: Duration = Duration::from_secs(1);
/// What a drain leaves to the last lines.
pub const WEB_LOG_LAST_FLUSH: Duration = Duration::from_secs(1);
/// Size at which an access log is set aside, how many one site has with the one that is written, and how long they are kept:
/// together they bound what visitors can have a site write.
pub const SITE_LOG_BYTES_MAX: u64 = 16 << 20;
pub const SITE_LOG_FILES_MAX: usize = 16;
pub const SITE_LOG_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
/// Bytes of an access log that one answer reads.
pub const LOG_READ_BYTES_MAX: usize = 1 << 20;
/// Lines of an access log in one answer, unless asked for fewer, and at most.
pub const LOG_LINES_DEFAULT: usize = 20;
pub const LOG_LINES_MAX: usize = 1000;
/// How often the CLI asks for new lines of a log it follows.
pub const CLIENT_LOG_EVERY: Duration = Duration::from_secs(1);
/// How often the CLI looks whether a node runs the version it was upgraded to: each look asks all nodes.
pub const CLIENT_LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the CLI waits until a node that was upgraded is back in its place: one that was down counts as up again after 30 seconds.
pub const CLIENT_UPGRADE_WAIT: Duration = Duration::from_secs(120);
/// How often the trash of removed sites is looked at.
pub const TRASH_SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How often a site's directory that could not be made or discarded is tried again.
pub const SITE_DIRS_RETRY: Duration = Duration::from_secs(5);
/// FTP connections at one time: each logged in one may hold a few descriptors.
pub const FTP_CONNECTIONS_MAX: usize = 2048;
/// FTP connections of one address (of one /64 for IPv6): an office with several people and clients of ten connections each.
pub const FTP_CONNECTIONS_PER_ADDRESS: u32 = 64;
/// Pause after the kernel refused to accept a connection for want of descriptors or memory: asking again at once spins.
pub const FTP_ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// FTP connections on which nobody has logged in: beyond it the oldest of them goes, so that the next one is served.
pub const FTP_STRANGERS_MAX: usize = 512;
/// Time from the connection to the login.
pub const FTP_LOGIN_WAIT: Duration = Duration::from_secs(60);
/// How long a session stays on which nothing is asked: people look at a listing for minutes.
pub const FTP_IDLE_WAIT: Duration = Duration::from_secs(300);
/// Time for a TLS handshake, on the control connection or for data.
pub const FTP_HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Time a client has to take a reply, and its end of TLS.
pub const FTP_REPLY_WAIT: Duration = Duration::from_secs(30);
/// One control line: a path as long as the kernel takes, with its command.
pub const FTP_LINE_MAX: usize = 4096 + 64;
/// Bytes read at once from a control connection.
pub const FTP_LINE_PIECE: usize = 1024;
/// Longest path from the root of a login, as the kernel has it.
pub const FTP_PATH_MAX: usize = 4095;
/// Time a client has to open the data connection it asked for.
pub const FTP_DATA_WAIT: Duration = Duration::from_secs(20);
/// How long a passive port is kept for a client that does not use it.
pub const FTP_PASSIVE_KEPT: Duration = Duration::from_secs(60);
/// Ports that are tried for one passive connection: a few microseconds each.
pub const FTP_PASSIVE_TRIES: u16 = 2000;
/// Time to resolve a `passive_host` that is a name.
pub const FTP_RESOLVE_WAIT: Duration = Duration::from_secs(5);
/// How long a transfer may stand still.
pub const FTP_STALL_WAIT: Duration = Duration::from_secs(60);
/// Transfers at one time: each holds one piece of a file.
pub const FTP_TRANSFERS_MAX: usize = 256;
/// The first piece of a transfer and the largest one: small files stay small in memory, large ones take few steps.
pub const FTP_FIRST_PIECE: usize = 16 << 10;
pub const FTP_PIECE: usize = 256 << 10;
/// Bytes of a file that goes on (APPE, REST) copied in one step of blocking work.
pub const FTP_COPY_STEP: u64 = 32 << 20;
/// Work with files at one time: half of the blocking threads, so that visitors' files find one too.
pub const FTP_FILE_WORK_AT_ONCE: usize = BLOCKING_THREADS_MAX / 2;
/// Names of a directory in memory at one time.
pub const FTP_NAMES_AT_ONCE: usize = 1000;
/// One message between a session and the home of its site elsewhere: `FTP_NAMES_AT_ONCE` names, each with all a link may say, or a
/// piece of a file.
pub const FTP_CARRIED_FRAME_MAX: usize = 6 << 20;
/// How long a home elsewhere is tried to be reached, at whatever number of addresses.
pub const FTP_HOME_REACH_WAIT: Duration = Duration::from_secs(6);
/// How often a home says that it is still at an operation, and the silence after which it is given up.
pub const FTP_HOME_BUSY_EVERY: Duration = Duration::from_secs(4);
pub const FTP_HOME_SILENCE: Duration = Duration::from_secs(15);
/// A slow client's bytes go on to the home at least so often; the home waits for them twice as long as for a client.
pub const FTP_CARRIED_EVERY: Duration = Duration::from_secs(20);
pub const FTP_CARRIED_WAIT: Duration = Duration::from_secs(120);
/// How long an operation waits at a site whose files are being taken over, and how often it looks.
pub const FTP_FROZEN_WAIT: Duration = Duration::from_secs(5);
pub const FTP_FROZEN_LOOK: Duration = Duration::from_millis(50);
/// Failed logins on one connection before it is ended.
pub const FTP_LOGIN_TRIES: u32 = 3;
/// Failed logins of one address, and for one login, that cost nothing yet: people mistype, clients repeat.
pub const FTP_FAILURES_FREE_ADDRESS: u32 = 5;
pub const FTP_FAILURES_FREE_LOGIN: u32 = 20;
/// The first pause after that, which doubles with each failure, and the longest ones: short for a login, because somebody else
/// may be the one who fails.
pub const FTP_PAUSE_FIRST: Duration = Duration::from_secs(1);
pub const FTP_PAUSE_MAX_ADDRESS: Duration = Duration::from_secs(300);
pub const FTP_PAUSE_MAX_LOGIN: Duration = Duration::from_secs(15);
/// How long a failed login is remembered, and of how many addresses and logins.
pub const FTP_FAILURES_KEPT: Duration = Duration::from_secs(15 * 60);
pub const FTP_FAILURES_MAX: NonZeroUsize = some(8192);
/// Rounds of an imported SHA-crypt hash, a second of work, and bytes of its salt that count.
pub const CRYPT_ROUNDS_MAX: u32 = 1_000_000;
pub const CRYPT_SALT_MAX: usize = 16;
/// Sites whose use stays counted after their last session, and for how long: counting anew reads all their directories.
pub const FTP_SITES_KEPT: usize = 64;
pub const FTP_USE_KEPT: Duration = Duration::from_secs(600);

/// Bytes of one request's body: beyond any upload that somebody makes in one piece. A site may say less, or more.
pub const WEB_BODY_MAX: u64 = 64 << 30;
/// While we wait this long for a request's body, at least so much of it comes: far below any line in use, and far above what a
/// client sends to hold us up.
pub const WEB_BODY_WAIT: Duration = Duration::from_secs(30);
pub const WEB_BODY_STEP: usize = 4 << 10;
/// A body that nobody wants is read to its end if it is no larger, and comes within that time; otherwise its connection ends.
pub const WEB_DISCARD_BYTES_MAX: u64 = 64 << 10;
pub const WEB_DISCARD_WAIT: Duration = Duration::from_secs(5);
/// What is taken of a client after its last answer, and for how long: what a fast one sends before it looks up.
pub const WEB_LINGER_BYTES_MAX: usize = 16 << 20;
pub const WEB_LINGER_WAIT: Duration = Duration::from_secs(2);
/// Connections to upstreams at one time, where the descriptors allow as many: more than small machines can make use of.
pub const PROXY_CONNECTIONS_MAX: usize = 2048;
/// Idle connections that one thread keeps to all upstreams: as many as are in use at one time on a busy machine, or each burst closes
/// and opens them (measured: 320 streams of HTTP/2 to one upstream took twice the CPU with 32).
pub const PROXY_IDLE_MAX: usize = 512;
/// How long an idle connection to an upstream is kept; most close theirs after 5 to 75 seconds.
pub const PROXY_IDLE_WAIT: Duration = Duration::from_secs(30);
/// A request that cannot be repeated uses a connection that was idle for no longer: what the upstream closes meanwhile is rare.
pub const PROXY_FRESH_WAIT: Duration = Duration::from_secs(1);
/// Time to reach one address of an upstream: several times what a lost packet costs.
pub const PROXY_CONNECT_WAIT: Duration = Duration::from_secs(3);
/// Time an upstream has for the TLS handshake.
pub const PROXY_HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried, one after the other.
pub const PROXY_ADDRESSES_MAX: usize = 4;
/// Before the home of a site that refused a connection at once is called again: it is back by then if it only started again.
pub const PROXY_NODE_PAUSE: Duration = Duration::from_millis(300);
/// Tries of one request, each with another upstream or on a new connection, and the time in which the last one begins.
pub const PROXY_TRIES_MAX: u32 = 4;
pub const PROXY_TRIES_WAIT: Duration = Duration::from_secs(10);
/// How long an upstream may think before its answer begins, counted from the last move of the request's body: reports take minutes.
pub const PROXY_HEAD_WAIT: Duration = Duration::from_secs(120);
/// Silence between two pieces of an answer: event streams are quiet for minutes, and say that they are alive more often.
pub const PROXY_PIECE_WAIT: Duration = Duration::from_secs(300);
/// How long a request's body waits for an upstream to ask for it, where the client waits to be asked (RFC 9110 section 10.1.1: not
/// without end, for the upstream may not know of this).
pub const PROXY_CONTINUE_WAIT: Duration = Duration::from_secs(1);
/// Head of an answer, and the piece of a large body that is read at once.
pub const PROXY_BUFFER_MAX: usize = 64 << 10;
/// What is read of an answer first: most are no larger with their heads.
pub const PROXY_READ: usize = 16 << 10;
/// Headers of an answer, and trailers.
pub const PROXY_HEADERS_MAX: usize = 100;
/// Trailers of an answer: checksums and states, a line each.
pub const PROXY_TRAILERS_MAX: usize = 8 << 10;
/// Interim answers before the one that counts: a word every second or two while a report is made.
pub const PROXY_INTERIM_MAX: u32 = 100;
/// Of a request's body, gathered for one write.
pub const PROXY_UPLOAD_PIECE: usize = 16 << 10;
/// How long a tunnel (a WebSocket, any upgrade) may be silent: applications ask one another every few minutes at most.
pub const PROXY_TUNNEL_WAIT: Duration = Duration::from_secs(3600);
/// The same once one side has ended its half: what is left is an answer to what was said.
pub const PROXY_TUNNEL_HALF_WAIT: Duration = Duration::from_secs(60);
/// Bytes of a tunnel that are moved at once, each way.
pub const PROXY_TUNNEL_PIECE: usize = 16 << 10;
/// First and longest time an upstream that failed is left alone while there are others.
pub const PROXY_DOWN_FIRST: Duration = Duration::from_secs(1);
pub const PROXY_DOWN_MAX: Duration = Duration::from_secs(30);
/// Names of upstreams being resolved at one time: each may hold a thread of the blocking pool for seconds.
pub const PROXY_LOOKUPS_AT_ONCE: usize = 2;
/// How long the addresses of a name are used, and how long that it has none.
pub const PROXY_LOOKUP_KEPT: Duration = Duration::from_secs(10);
pub const PROXY_LOOKUP_FAILED_KEPT: Duration = Duration::from_secs(1);
/// The answer a client takes over UDP that says nothing else (RFC 1035 section 2.3.4).
pub const DNS_UDP_MIN: usize = 512;
/// The largest answer over UDP, whatever the client says: it passes every network in one piece (1280 less the headers of IPv6).
pub const DNS_UDP_MAX: usize = 1232;
/// The largest message: what the 16-bit length over TCP can say (RFC 1035 section 4.2.2).
pub const DNS_MESSAGE_MAX: usize = 65_535;
/// The largest query: a name, and options with padding (RFC 8467: blocks of 128 octets).
pub const DNS_QUERY_MAX: usize = 2048;
/// Names of one message that others may point to: past this an answer gets longer, and its making no slower.
pub const DNS_COMPRESSED_NAMES_MAX: usize = 32;
/// Names that one question is led to by CNAME and DNAME: resolvers follow no more either.
pub const DNS_CHAIN_MAX: usize = 12;
/// Hosts that one record set points to and whose addresses are looked for.
pub const DNS_POINTED_NAMES_MAX: usize = 32;
/// TTL in seconds of the addresses that stand for a site: it may move, and its visitors should follow soon.
pub const DNS_SITE_TTL: u32 = 300;
/// Parts of the table of zones; a change copies one of them: 40 pointers for 10,000 zones.
pub const DNS_ZONE_SHARDS: usize = 256;
/// Seconds after which a client's cookie is renewed (RFC 9018 section 4.3).
pub const DNS_COOKIE_RENEWED: u32 = 1800;
/// Seconds by which the clock of the server that made a cookie may be ahead of ours (RFC 9018 section 4.3).
pub const DNS_COOKIE_AHEAD_MAX: u32 = 300;
/// Queries one call takes from the kernel.
pub const DNS_BATCH: usize = 128;
/// Queries taken by one call with which a thread pauses before the next: tens of thousands come to it each second. Where there are more
/// they wait for it already.
pub const DNS_BUSY_QUERIES: Range<usize> = 4..32;
/// That pause: a sixth less work for each answer, and no client far away can tell.
pub const DNS_BUSY_PAUSE: Duration = Duration::from_micros(100);
/// Calls without a pause after one in which half of what a call takes came: there is more to do than pauses leave time for.
pub const DNS_HURRY: u32 = 64;
/// Bytes of queries the kernel holds for one thread, if it may: a burst while the thread has no core.
pub const DNS_RECEIVE_BUFFER: usize = 1 << 20;
/// Answers that each thread for UDP keeps made: 1 MiB when all are there, and more names than most nodes are asked for again and again.
pub const DNS_KEPT_ANSWERS: usize = 4096;
/// Octets of the name and the records of such an answer: a short one, and a slot of 256 octets with what stands beside it.
pub const DNS_KEPT_OCTETS: usize = 208;
/// Ports that are tried for port 0 until one is free for UDP and TCP both.
pub const DNS_PORT_TRIES: usize = 16;
/// TCP connections of DNS clients at one time: each holds a query and an answer at most.
pub const DNS_TCP_CONNECTIONS_MAX: usize = 1024;
/// Those of one address (of one /64 for IPv6): a busy resolver needs a few.
pub const DNS_TCP_CONNECTIONS_PER_ADDRESS: u32 = 64;
/// How long a TCP connection is kept without a query (RFC 7766 section 6.2.3: a few seconds).
pub const DNS_TCP_IDLE_WAIT: Duration = Duration::from_secs(10);
/// How long one that is there when the node gives up its listeners is kept for a query that is on its way: longer than most round trips.
pub const DNS_TCP_PART_WAIT: Duration = Duration::from_secs(1);
/// Time from the first byte of a query to its last.
pub const DNS_TCP_QUERY_WAIT: Duration = Duration::from_secs(5);
/// How long a client may leave its answers lying.
pub const DNS_TCP_READER_WAIT: Duration = Duration::from_secs(10);
/// Bytes of answers of one connection that wait to be sent; before that no more queries are read. One message fits always.
pub const DNS_TCP_ANSWERS_MAX: usize = 16 << 10;
/// Pause after the kernel refused to accept a TCP connection of a DNS client for want of descriptors: asking again at once spins.
pub const DNS_ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Name servers of this machine that are asked (resolv.conf(5): three).
pub const RESOLVE_SERVERS_MAX: usize = 3;
/// Bytes of `/etc/resolv.conf` that are read: those lines and a lot of comment.
pub const RESOLVE_CONFIG_BYTES_MAX: u64 = 64 << 10;
/// How often all of them are asked one question: a datagram may be lost, a server may fail once.
pub const RESOLVE_ROUNDS: usize = 2;
/// How long one server has for one try, over UDP and again over TCP: a resolver with an empty cache needs half of it.
pub const RESOLVE_TRY_WAIT: Duration = Duration::from_secs(2);
/// How long a whole lookup may last, with all its questions: two rounds of three silent servers, and a little more.
pub const RESOLVE_WAIT: Duration = Duration::from_secs(15);
/// Datagrams that answer something else and are passed over in one try: more are somebody guessing.
pub const RESOLVE_STRAYS_MAX: usize = 32;
/// Records of one answer: more than a record set may have here, and its aliases.
pub const RESOLVE_RECORDS_MAX: usize = 1024;
/// Names that one name is led to by CNAME: resolvers follow about as many.
pub const RESOLVE_ALIASES_MAX: usize = 8;
/// Records of a refusal that are shown, and octets of each.
pub const RESOLVE_SHOWN_RECORDS: usize = 3;
pub const RESOLVE_SHOWN_OCTETS: usize = 100;

/// Of something that holds one thing at least.
const fn some(most: usize) -> NonZeroUsize {
    NonZeroUsize::new(most).expect("it is not 0")
}
