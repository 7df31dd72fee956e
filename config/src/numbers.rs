//! Every default and bound that is a number of the security scoreboard, in one place, with its reason.
//!
//! The registry's rows, the reference page and the tests read them from here; a number that is changed is changed once.

/// Milliseconds in a second, a minute, an hour and a day.
pub const SECOND: u64 = 1_000;
/// See [`SECOND`].
pub const MINUTE: u64 = 60 * SECOND;
/// See [`SECOND`].
pub const HOUR: u64 = 60 * MINUTE;
/// See [`SECOND`].
pub const DAY: u64 = 24 * HOUR;

/// From connecting to a finished login. OpenSSH allows 120 s; less state is held here.
pub const LOGIN_GRACE: u64 = 60 * SECOND;
/// The head of an HTTP request.
pub const HTTP_HEAD_TIMEOUT: u64 = 15 * SECOND;
/// An FTP command line in bytes: the longest path and a verb.
pub const FTP_COMMAND_LIMIT: u64 = 4_096;
/// Connections that have not logged in, of one address.
pub const STRANGERS_PER_ADDRESS: u64 = 10;
/// Connections that have not logged in, in all.
pub const STRANGERS: u64 = 200;
/// The longest password that is hashed, in bytes; a longer one is refused unhashed (ASVS 6.2.9).
pub const PASSWORD_MAX_BYTES: u64 = 1_024;
/// A password of this length is always accepted (ASVS 6.2.8); so no policy may ask for more.
pub const PASSWORD_ALWAYS_ACCEPTED: u64 = 64;
/// Logins that wait for a hash before more are turned away.
pub const PASSWORD_HASH_QUEUE: u64 = 64;
/// Wrong codes of one challenge.
pub const CODES_PER_CHALLENGE: u64 = 3;
/// Wrong codes in a row, and wrong passwords in a row of one account and address, before there are pauses.
pub const FAILURES_BEFORE_PAUSES: u64 = 10;
/// The first pause; each further one is twice as long.
pub const FIRST_PAUSE: u64 = 30 * SECOND;
/// The longest pause.
pub const LONGEST_PAUSE: u64 = 15 * MINUTE;
/// Wrong codes in a row after which a factor is frozen (SP 800-63B-4 section 3.2.2 allows 100 at most).
pub const FAILURES_BEFORE_FREEZE: u64 = 100;
/// The life of a code that was sent.
pub const SENT_CODE_LIFE: u64 = 5 * MINUTE;
/// The longest life of a code (SP 800-63B-4 section 3.1.3).
pub const CODE_LIFE_MAX: u64 = 10 * MINUTE;
/// Characters of a sent code.
pub const CODE_LENGTH: u64 = 6;
/// Fewer characters are accepted with a warning down to here, and refused below.
pub const CODE_LENGTH_MIN: u64 = 4;
/// Between two messages to one user.
pub const SEND_INTERVAL: u64 = 30 * SECOND;
/// Messages an hour to one user or destination.
pub const SENDS_PER_HOUR: u64 = 5;
/// Messages an hour on behalf of one address.
pub const SENDS_PER_HOUR_ADDRESS: u64 = 20;
/// Messages a minute in all.
pub const SENDS_PER_MINUTE: u64 = 60;
/// Waiting for all channels of a login.
pub const CHANNEL_TIMEOUT: u64 = 10 * SECOND;
/// Waiting for one call of a plugin.
pub const PLUGIN_CALL_TIMEOUT: u64 = 5 * SECOND;
/// Waiting for one call of a plugin that waits for a person.
pub const PLUGIN_WAIT_TIMEOUT: u64 = MINUTE;
/// The XML body of a WebDAV request, in bytes.
pub const DAV_XML_LIMIT: u64 = 64 << 10;
/// WebDAV locks of one user.
pub const DAV_LOCKS_PER_USER: u64 = 100;
/// The longest life of a WebDAV lock.
pub const DAV_LOCK_TIMEOUT: u64 = 10 * MINUTE;
/// Wrong logins of one address, over all accounts, before it is banned.
pub const ADDRESS_FAILURES: u64 = 50;
/// The window in which they are counted.
pub const ADDRESS_FAILURE_WINDOW: u64 = 15 * MINUTE;
/// How long the address then stays banned.
pub const ADDRESS_BAN: u64 = 15 * MINUTE;
/// A grant of a door that repeats credentials, after its last use.
pub const GRANT_IDLE: u64 = 30 * MINUTE;
/// The same from its beginning.
pub const GRANT_MAX: u64 = 12 * HOUR;
/// Running transfers when the server stops.
pub const SHUTDOWN_GRACE: u64 = 30 * SECOND;
/// A cut upload that can be gone on with.
pub const UPLOAD_KEEP: u64 = DAY;
