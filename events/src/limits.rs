//! Every bound of the system, with its reason. A queue, body, header, label set or loop without a name here has no business being there.

use std::time::Duration;

/// Largest request body, in bytes: 32 MiB carries a few base64 images and a long context; Anthropic's own limit is 32 MB.
pub const BODY_BYTES_MAX: usize = 32 << 20;
/// Largest answer that is collected whole, in bytes: embeddings of 2,048 inputs with 3,072 dimensions are about 70 MiB as JSON text.
pub const ANSWER_BYTES_MAX: usize = 96 << 20;
/// Largest request head, in bytes: what hyper and nginx users expect.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers of a request.
pub const HEADERS_MAX: usize = 100;
/// A head up to this many bytes is still read, so that what is over [`HEAD_BYTES_MAX`] is refused in words; beyond it by a bare 431.
pub const HEAD_BYTES_READ_MAX: usize = 96 << 10;
/// See [`HEAD_BYTES_READ_MAX`].
pub const HEADERS_READ_MAX: usize = 200;
/// A request head must be there after this long, or the connection is closed (slow-loris).
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that carries nothing is closed after this long: longer than load balancers keep theirs (60 to 75 s), which would else send
/// a call into a connection that is just being closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// A request body must be there after this long.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// What is left of a refused request's body is read and dropped for this long: a connection that is closed while its caller still sends
/// may take the refusal with it.
pub const LINGER: Duration = Duration::from_secs(5);
/// A caller that takes nothing of its answer for this long is cut off: what waits for it is memory. As long as a provider may be silent.
pub const UNREAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Deepest nesting of a JSON body. Recorded requests stay under 20.
pub const JSON_DEPTH_MAX: usize = 128;
/// Longest single frame of a stream, in bytes: an image in base64 as one event.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Most bytes of a stream that are kept back behind its end until the record is durable.
pub const HELD_BACK_BYTES_MAX: usize = 1 << 20;
/// Frames that may wait for a slow client.
pub const ANSWER_QUEUE_MAX: usize = 64;

/// Calls that one node carries at once; a call gives its place back when its record is durable.
pub const CALLS_MAX: usize = 10_000;
/// Budgets on the path of one call (DESIGN §5).
pub const PATH_MAX: usize = 16;
/// Depth of the tree of scopes under a tenant.
pub const SCOPE_DEPTH_MAX: usize = 8;
/// Targets of one model.
pub const TARGETS_MAX: usize = 16;
/// Attempts of one call, over all targets.
pub const ATTEMPTS_MAX: u32 = 6;
/// Tags of one call.
pub const TAGS_MAX: usize = 8;
/// Longest tag, key or value, in bytes.
pub const TAG_BYTES_MAX: usize = 64;
/// Longest name of anything that is configured, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest id that a provider may give an answer and that we keep, in bytes.
pub const UPSTREAM_ID_BYTES_MAX: usize = 128;
/// Longest id that a caller may give its request and that we keep, in bytes; a longer one is passed over.
pub const CALLER_ID_BYTES_MAX: usize = 128;

/// Transactions of one group: what one Scribe sends at once (LEDGER §1).
pub const GROUP_TRANSACTIONS_MAX: usize = 1_000;
/// Bytes of one group (LEDGER §1).
pub const GROUP_BYTES_MAX: usize = 256 << 10;
/// Events of one transaction: 50 keys with everything that hangs on them.
pub const TRANSACTION_EVENTS_MAX: usize = 1_000;
/// Bytes of one transaction. It must fit into a group.
pub const TRANSACTION_BYTES_MAX: usize = 192 << 10;
/// Bytes of one entry of the Raft log: a few groups of several lanes.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;
/// Bytes that one decoded frame may ask for in all; a hostile length field stops here.
pub const FRAME_DECODE_MAX: usize = 8 << 20;
/// Transactions that may wait in one Scribe.
pub const SCRIBE_QUEUE_MAX: usize = 20_000;
/// Ended sessions of one node that are remembered, so that a late `Start` of one opens none again: more than can still be on their way.
pub const SESSIONS_REMEMBERED: usize = 16;
/// Lanes (Scribes) of one node.
pub const LANES_MAX: u16 = 256;
/// Orphans that one transaction of the node's keeper closes.
pub const ORPHANS_A_CHUNK: usize = 500;

/// An orphan can be replaced by a late fact for this long.
pub const ORPHAN_KEPT: Duration = Duration::from_secs(35 * 24 * 3600);
/// A claim (idempotency key) lives this long in entry time.
pub const CLAIM_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Claims of one tenant.
pub const CLAIMS_MAX: usize = 10_000;
/// A node silent for this long is lost; longer than the longest call.
pub const LOST_AFTER: Duration = Duration::from_secs(15 * 60);
/// Bodies up to this size, in bytes, are translated where they are; larger ones off the runtime.
pub const TRANSLATE_INLINE_BYTES_MAX: usize = 64 << 10;
/// Losses in one call's record: more of them say no more.
pub const LOSSES_RECORDED_MAX: usize = 32;
/// With no quorum for this long nothing new is admitted.
pub const ADMIT_WAIT: Duration = Duration::from_secs(3);
/// An end waits this long for its record.
pub const RECORD_WAIT: Duration = Duration::from_secs(10);
/// A lone clock that steps further than this is alarmed.
pub const CLOCK_STEP_ALARM: Duration = Duration::from_secs(3600);

/// The largest figure that a budget, a price or a cost can have, in pico-dollars: a hundred billion dollars.
pub const MONEY_PICO_MAX: i128 = 100_000_000_000 * 1_000_000_000_000;
/// The largest count of tokens or requests that a limit can have.
pub const COUNT_MAX: u64 = 1 << 53;

/// A virtual key that a user brings, in characters.
pub const SECRET_CHARS_MIN: usize = 8;
/// See [`SECRET_CHARS_MIN`].
pub const SECRET_CHARS_MAX: usize = 256;

/// Default output ceiling of a model of which nothing is known, in tokens (LEDGER §6).
pub const OUTPUT_TOKENS_UNKNOWN: u64 = 4_096;
/// Default context window of a model of which nothing is known, in tokens.
pub const CONTEXT_TOKENS_UNKNOWN: u64 = 128_000;
/// The least output limit that we ever set, in tokens (LEDGER §6).
pub const OUTPUT_TOKENS_SET_MIN: u64 = 256;

/// Keep-alive comments go into a stream's gap after this long.
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// After SIGTERM, streams may go on for this long.
pub const DRAIN_WAIT: Duration = Duration::from_secs(30);
/// At the end of the process, connections may take so long to hand over their last bytes.
pub const LAST_BYTES_WAIT: Duration = Duration::from_secs(2);

/// Below so many free bytes a node admits nothing (LEDGER §10): what is left is for the records of what runs.
pub const DISK_LOW: u64 = 256 << 20;
/// From so many free bytes on it admits again.
pub const DISK_OK: u64 = 512 << 20;

/// Providers with a label of their own in the metrics of one node; the rest share one.
pub const PROVIDER_LABELS_MAX: usize = 256;
/// Error codes with a label of their own in the metrics; there are some forty.
pub const CODE_LABELS_MAX: usize = 128;
/// Bytes of lines that wait for a reader of stderr that stands still; what comes on top is dropped and counted.
pub const LINES_BYTES_MAX: usize = 4 << 20;
/// The end of the process waits this long for the last lines to be read.
pub const LINES_FLUSH_WAIT: Duration = Duration::from_secs(1);
/// After the last call, spans may be sent for this long.
pub const SPANS_STOP_WAIT: Duration = Duration::from_secs(3);
/// A collector that does not take spans is told of once in this time.
pub const COLLECTOR_WARN_EVERY: Duration = Duration::from_secs(60);
/// Largest answer of a collector that is read, in bytes.
pub const COLLECTOR_ANSWER_BYTES_MAX: usize = 64 << 10;

/// A token that is refused a change again and again is recorded so often.
pub const DENIED_EVERY: Duration = Duration::from_secs(10);
/// Largest body to administration, in bytes: a configuration of 20,000 keys with budgets of their own.
pub const ADMIN_BODY_BYTES_MAX: usize = 8 << 20;
/// Values of one configuration file: more than an export has that is as long as a body of administration may be.
pub const FILE_NODES_MAX: usize = 1_000_000;
/// The secret before the one that a key was given lets in for so long at most: a quarter, for what is deployed by hand.
pub const OVERLAP_MAX: Duration = Duration::from_secs(90 * 24 * 3600);
/// An answer under an administrator's idempotency key is given again for this long: as long as others keep theirs.
pub const ANSWER_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Answers under idempotency keys that are kept; the oldest go first. They are memory, up to 32 MiB of it.
pub const ANSWERS_MAX: usize = 1_000;
/// Largest answer that is kept, in bytes: that of an apply of 200 new keys.
pub const ANSWER_KEPT_BYTES_MAX: usize = 32 << 10;
/// Longest idempotency key, in characters: what others take.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// The test of a provider's connection may take so long in all.
pub const PROVIDER_TEST_WAIT: Duration = Duration::from_secs(10);
/// Of what a provider answers to a test, so many bytes are shown.
pub const PROVIDER_TEST_SHOWN_BYTES: usize = 200;
/// Of what a provider answers to a test, so many bytes are read: a list of a few thousand models.
pub const PROVIDER_TEST_READ_BYTES: usize = 4 << 20;
/// Tokens of administrators that are not revoked.
pub const TOKENS_MAX: usize = 1_000;
/// Of one tenant.
pub const TOKENS_OF_TENANT_MAX: usize = 100;
/// Groups of one answer about usage: a month of days by 3,000 keys.
pub const USAGE_GROUPS_MAX: usize = 100_000;
/// Rows of a page, unless its reader says otherwise.
pub const PAGE_ROWS: usize = 100;
/// Most rows of a page.
pub const PAGE_ROWS_MAX: usize = 10_000;
/// Questions to projections that are answered at once on a node: each has a thread while it reads.
pub const QUERIES_MAX: usize = 8;
/// A question waits so long for its turn, and for a projection to come to the position that it names.
pub const QUERY_WAIT: Duration = Duration::from_secs(5);
/// Calls are found by their rows for this long: what SPEC DAT-02 keeps of requests.
pub const CALLS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Rows that one question about calls looks at: what is further is on the next page.
pub const CALLS_LOOKED_AT_MAX: usize = 100_000;
/// Changes that one page of the audit looks at: each is read from elsewhere.
pub const CHANGES_LOOKED_AT_MAX: usize = 20_000;
/// Names of tenants, scopes, keys or providers in one parameter: each is looked for among all.
pub const NAMES_ASKED_MAX: usize = 100;
/// A question that names no position waits so long for a projection to show what is in the history by then.
pub const QUERY_FRESH_WAIT: Duration = Duration::from_millis(500);

/// Bodies of calls are kept for so many hours, unless the configuration says otherwise: a week, to look into what went wrong.
pub const REQUEST_LOG_HOURS: u32 = 7 * 24;
/// And never longer: no longer than calls are found.
pub const REQUEST_LOG_HOURS_MAX: u32 = 90 * 24;
/// Rules that mask one owner's bodies.
pub const MASK_RULES_MAX: usize = 64;
/// Longest rule that masks, in bytes: a path of a dozen names.
pub const MASK_RULE_BYTES_MAX: usize = 256;
/// Bytes of bodies that wait to be masked and written; what comes on top is dropped and counted.
pub const REQUEST_LOG_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Bytes of one answer's stream that are held for the request log; what comes after is cut off.
pub const REQUEST_LOG_STREAM_BYTES_MAX: usize = 4 << 20;
/// Bytes of one body that are kept, after masking: a long context in full; more of it is cut off.
pub const REQUEST_LOG_BODY_BYTES_MAX: usize = 2 << 20;
/// Largest file of bodies, in bytes: what is read to find one call.
pub const REQUEST_LOG_SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// Bytes of bodies that a node keeps, in MiB, unless it is told otherwise.
pub const REQUEST_LOG_MIB: u64 = 1_024;
/// Largest record of a backup, in bytes: what a row or an event may be when it is decoded.
pub const BACKUP_RECORD_BYTES_MAX: usize = 8 << 20;
/// Bytes of events that are gathered before they are written when a backup is read.
pub const BACKUP_STEP_BYTES: usize = 1 << 20;
/// Backups that a node makes at once: each reads the whole history.
pub const BACKUPS_MAX: usize = 1;
/// Recipients of one backup: each is a line of its head.
pub const BACKUP_RECIPIENTS_MAX: usize = 20;
/// Between two events of one alert at least so long passes: what flaps writes an event a minute, not one a second.
pub const ALERT_EVERY: Duration = Duration::from_secs(60);
/// Events that a projection may be behind before that is an alert: a few seconds of the most that one node carries.
pub const PROJECTION_LAG_ALARM: u64 = 100_000;
/// A stepped clock is shown as an alert for so long: it has no end of its own.
pub const CLOCK_STEP_SHOWN: Duration = Duration::from_secs(15 * 60);
/// Webhooks that are open: each has a task, a status, and labels of its own in the metrics.
pub const WEBHOOKS_MAX: usize = 64;
/// One try to deliver an alert may take so long in all.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed delivery the next comes so soon; the wait doubles with each failure.
pub const WEBHOOK_RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`WEBHOOK_RETRY_FIRST`]: it ends here.
pub const WEBHOOK_RETRY_MAX: Duration = Duration::from_secs(5 * 60);
/// An alert older than this that was not taken is skipped, so that those behind it come to their turn.
pub const WEBHOOK_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Positions of webhooks are noted so often: after a crash so much is delivered again.
pub const WEBHOOK_NOTE_EVERY: Duration = Duration::from_secs(2);
/// Bytes of a receiver's answer that are read; nobody looks at them.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 4 << 10;
/// A webhook's secret, in bytes: what Standard Webhooks asks for, and room for a passphrase.
pub const WEBHOOK_SECRET_BYTES_MAX: usize = 256;
