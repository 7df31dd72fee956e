//! The port through which everybody reaches accounts.

use crate::{Account, AppPassword, AuthorizedKey, Epoch, MountPoint, PathRule, UnixMillis};
use ipnet::IpNet;
use lockgate_model::{ByteSize, Protocol, ProtocolSet, Secret, UserName};
use std::{collections::BTreeMap, path::PathBuf};

/// Why the directory could not answer or obey.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// No user has this name.
    #[error("no user {0}")]
    NoSuchUser(UserName),
    /// The name is taken.
    #[error("user {0} exists already")]
    Exists(UserName),
    /// Something of the user does not exist: a key, an app password.
    #[error("{user} has no {what}")]
    NoSuchThing {
        /// Whose.
        user: UserName,
        /// What.
        what: String,
    },
    /// A value that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A stored secret could not be opened: wrong or missing `keys/secret.key`, or damage.
    #[error("a stored secret of {0} cannot be opened: is keys/secret.key the one it was sealed with?")]
    Sealed(UserName),
    /// The store failed.
    #[error("the user store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A change of one property: absent in a change means untouched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Field<T> {
    /// Leave as it is.
    #[default]
    Keep,
    /// Set to this.
    Set(T),
    /// Remove.
    Clear,
}

/// What to change of an account. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// May log in.
    pub enabled: Option<bool>,
    /// May administer.
    pub admin: Option<bool>,
    /// Mail address.
    pub email: Field<String>,
    /// Phone number.
    pub phone: Field<String>,
    /// Two-factor flag.
    pub otp_auth: Option<bool>,
    /// Explicit flags by protocol: `None` removes the flag.
    pub otp_auth_by_protocol: BTreeMap<Protocol, Option<bool>>,
    /// Life of a sent code, ms.
    pub otp_token_timeout_ms: Field<u64>,
    /// Folder of the host for the user's files.
    pub root: Field<PathBuf>,
    /// All further mounts.
    pub mounts: Option<Vec<MountPoint>>,
    /// All rules.
    pub rules: Option<Vec<PathRule>>,
    /// Read and list only.
    pub read_only: Option<bool>,
    /// Quota in bytes.
    pub quota: Field<ByteSize>,
    /// Protocols that may be used.
    pub allowed_protocols: Option<ProtocolSet>,
    /// Addresses that may be come from.
    pub ip_restrictions: Option<Vec<IpNet>>,
    /// Sessions at once.
    pub max_logins: Field<u32>,
    /// End of the account.
    pub expires: Field<UnixMillis>,
    /// The exact subject of the client certificate that opens the account.
    pub client_certificate: Field<String>,
    /// Free texts by NAME: `None` removes the text.
    pub texts: BTreeMap<String, Option<String>>,
}

/// Who the users are. Every method is one transaction: it happened or it did not.
///
/// Dropping a future of a change may leave it done or not done, never half done.
#[async_trait::async_trait]
pub trait Directory: Send + Sync + 'static {
    /// The account of exactly this name.
    async fn find(&self, name: &UserName) -> Result<Option<Account>, DirectoryError>;

    /// All accounts, by name, at most `limit` after `after`.
    async fn list(&self, after: Option<&UserName>, limit: u32) -> Result<Vec<Account>, DirectoryError>;

    /// Makes an account with `change` applied to an empty, enabled one.
    async fn create(&self, name: &UserName, change: AccountChange) -> Result<(), DirectoryError>;

    /// Applies `change`; bumps the epoch where it restricts or alters how the user logs in.
    async fn update(&self, name: &UserName, change: AccountChange) -> Result<(), DirectoryError>;

    /// Removes the account and everything of it but its files.
    async fn remove(&self, name: &UserName) -> Result<(), DirectoryError>;

    /// Sets the password to a PHC string; `None` removes it. Bumps the epoch.
    async fn set_password(&self, name: &UserName, phc: Option<Secret<String>>) -> Result<(), DirectoryError>;

    /// Replaces a hash by a stronger one of the same password. Does not bump the epoch.
    async fn rehash_password(
        &self,
        name: &UserName,
        old: &Secret<String>,
        new: Secret<String>,
    ) -> Result<(), DirectoryError>;

    /// Adds a public key. The epoch stays: nothing that was granted before is taken away.
    async fn add_key(&self, name: &UserName, key: AuthorizedKey) -> Result<(), DirectoryError>;

    /// Removes a public key by fingerprint. Bumps the epoch.
    async fn remove_key(&self, name: &UserName, fingerprint: &str) -> Result<(), DirectoryError>;

    /// Keeps an enrolment of `channel`, over an older one. Sealed at rest. Bumps the epoch.
    async fn enrol(&self, name: &UserName, channel: &str, secret: Secret<Vec<u8>>) -> Result<(), DirectoryError>;

    /// Removes the enrolment of `channel`, and the recovery codes with the last one. Bumps the epoch.
    async fn unenrol(&self, name: &UserName, channel: &str) -> Result<(), DirectoryError>;

    /// Puts these keyed digests of recovery codes in the place of all older ones. None at all takes them away, with or without
    /// an enrolment, and bumps the epoch.
    async fn replace_recovery_codes(&self, name: &UserName, digests: Vec<Vec<u8>>) -> Result<(), DirectoryError>;

    /// Spends the recovery code with this digest: `true` exactly once, however many ask at the same time.
    async fn spend_recovery_code(&self, name: &UserName, digest: &[u8]) -> Result<bool, DirectoryError>;

    /// The user's app passwords.
    async fn app_passwords(&self, name: &UserName) -> Result<Vec<AppPassword>, DirectoryError>;

    /// Keeps an app password.
    async fn add_app_password(&self, name: &UserName, password: AppPassword) -> Result<(), DirectoryError>;

    /// Removes an app password by id. Bumps the epoch.
    async fn remove_app_password(&self, name: &UserName, id: &str) -> Result<(), DirectoryError>;

    /// Notes that an app password was used now.
    async fn touch_app_password(&self, name: &UserName, id: &str) -> Result<(), DirectoryError>;

    /// Whether the user has logged in from this address (an `address_key`) before.
    async fn knows_address(&self, name: &UserName, address: &str) -> Result<bool, DirectoryError>;

    /// Remembers an address after a granted login; the oldest of too many is forgotten.
    async fn remember_address(&self, name: &UserName, address: &str) -> Result<(), DirectoryError>;

    /// The present epochs of these users; users that are gone are absent. One query, asked every second.
    async fn epochs(&self, names: &[UserName]) -> Result<BTreeMap<UserName, Epoch>, DirectoryError>;

    /// How many accounts are flagged or enrolled for a second factor.
    async fn second_factor_users(&self) -> Result<u64, DirectoryError>;
}
