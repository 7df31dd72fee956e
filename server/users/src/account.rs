//! One user's record, under the names that prefs.md gives its properties.

use ipnet::IpNet;
use lockgate_model::{ByteSize, Permissions, Protocol, ProtocolSet, Secret, UserName, VPath};
use std::{collections::BTreeMap, path::PathBuf};

/// Milliseconds since 1970-01-01 UTC.
pub type UnixMillis = u64;

/// Counts the changes of an account that must end what was granted before: password, enrolment, keys, being disabled or
/// restricted. A session remembers the epoch it was made in and ends when it is no longer the account's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A user as the directory knows them. Secrets inside are opened (decrypted) values.
#[derive(Clone, Debug)]
pub struct Account {
    /// The stored spelling of the name.
    pub name: UserName,
    /// See [`Epoch`].
    pub epoch: Epoch,
    /// May log in at all.
    pub enabled: bool,
    /// May administer the server.
    pub admin: bool,
    /// Argon2id in PHC form; `None` where no password was ever set.
    pub password: Option<Secret<String>>,
    /// Where mail goes, as the `email` channel needs it.
    pub email: Option<String>,
    /// Where text messages go.
    pub phone: Option<String>,
    /// The two-factor flag.
    pub otp_auth: bool,
    /// Explicit `otp_auth_<protocol>` of a user: wins over everything but the master switch.
    pub otp_auth_by_protocol: BTreeMap<Protocol, bool>,
    /// Life of a sent code in ms, where the user has one of their own.
    pub otp_token_timeout_ms: Option<u64>,
    /// Enrolments by channel name (`totp`): the secret blob that the factor made.
    pub enrolments: BTreeMap<String, Secret<Vec<u8>>>,
    /// How many unused recovery codes are left.
    pub recovery_codes_left: u32,
    /// Where the user's files are; `None`: `files/NAME` in the home.
    pub root: Option<PathBuf>,
    /// Further folders mounted into the user's tree.
    pub mounts: Vec<MountPoint>,
    /// Rights by path prefix; the longest prefix wins. Empty: full rights (or read-only, see `read_only`) everywhere.
    pub rules: Vec<PathRule>,
    /// Reads and lists, nothing else, whatever the rules say.
    pub read_only: bool,
    /// The most that the user's own files may take.
    pub quota: Option<ByteSize>,
    /// Protocols the user may log in on.
    pub allowed_protocols: ProtocolSet,
    /// Addresses the user may log in from; empty: any.
    pub ip_restrictions: Vec<IpNet>,
    /// Sessions at once; `None`: no limit of their own.
    pub max_logins: Option<u32>,
    /// When the account ends.
    pub expires: Option<UnixMillis>,
    /// The exact subject of the client certificate that is the user's first factor, as RFC 4514 writes it.
    pub client_certificate: Option<String>,
    /// Free texts `x_NAME`, keyed by NAME.
    pub texts: BTreeMap<String, String>,
    /// Public keys for SSH.
    pub keys: Vec<AuthorizedKey>,
}

impl Account {
    /// An account with nothing but a name: enabled, on every protocol, full rights in its own folder.
    #[must_use]
    pub fn empty(name: UserName, epoch: Epoch) -> Self {
        Self {
            name,
            epoch,
            enabled: true,
            admin: false,
            password: None,
            email: None,
            phone: None,
            otp_auth: false,
            otp_auth_by_protocol: BTreeMap::new(),
            otp_token_timeout_ms: None,
            enrolments: BTreeMap::new(),
            recovery_codes_left: 0,
            root: None,
            mounts: Vec::new(),
            rules: Vec::new(),
            read_only: false,
            quota: None,
            allowed_protocols: ProtocolSet::all(),
            ip_restrictions: Vec::new(),
            max_logins: None,
            expires: None,
            client_certificate: None,
            texts: BTreeMap::new(),
            keys: Vec::new(),
        }
    }
}

/// A folder outside the user's root that appears in their tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// Where in the user's tree.
    pub at: VPath,
    /// Which folder of the host.
    pub source: PathBuf,
    /// Rights on it; they can only narrow what the rules give.
    pub permissions: Permissions,
}

/// Rights on a path and everything below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// The folder.
    pub path: VPath,
    /// What may be done there.
    pub permissions: Permissions,
}

/// A public key that may open the account's first lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey {
    /// `SHA256:…`, as ssh-keygen prints it.
    pub fingerprint: String,
    /// The key blob of RFC 4253 section 6.6, as it goes over the wire.
    pub blob: Vec<u8>,
    /// The comment of the line it came from.
    pub comment: String,
    /// When it was added.
    pub added: UnixMillis,
}

/// A password for a client that cannot ask for codes; its own whole login on the protocols it names.
#[derive(Clone, Debug)]
pub struct AppPassword {
    /// How it is told apart in lists and for deletion.
    pub id: String,
    /// What the owner calls it.
    pub label: String,
    /// Where it opens.
    pub protocols: ProtocolSet,
    /// A keyed digest: the password itself is 128 random bits or more, so a slow hash adds nothing.
    pub digest: Secret<Vec<u8>>,
    /// When it was made.
    pub created: UnixMillis,
    /// When it was last used.
    pub last_used: Option<UnixMillis>,
}
