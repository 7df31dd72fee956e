//! Why a step of a login ended as it did: the fixed words of the audit trail.
//!
//! They go to the operator and nowhere else. A door that could see one would sooner or later say it to a stranger, so none of
//! this leaves the crate but through an event.

use crate::{LedgerError, ledger};
use lockgate_users::DirectoryError;

macro_rules! reasons {
    ($($(#[$note:meta])* $name:ident = $word:literal,)*) => {
        /// See the module.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($(#[$note])* $name,)*
        }

        impl Reason {
            /// The word in the audit record. Words are an interface: operators search for them.
            pub(crate) const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

reasons! {
    // granted
    /// The first factor was right and the policy asks for no second.
    NotDue = "factor_not_due",
    /// First and second factor were right.
    BothRight = "both_factors_right",
    /// A recovery code stood in for the second factor.
    Recovery = "recovery_code",
    /// An app password is its own whole login.
    AppPassword = "app_password",
    /// The same evidence came again under a live grant.
    Resumed = "resumed",
    // challenged
    /// The first factor was right and a second is due.
    NextFactor = "factor_due",
    // denied: before the name
    /// The address is shut out.
    Banned = "banned",
    /// Too many logins are under way from the address.
    Crowded = "too_many_logins_under_way",
    /// Too many logins are under way in all.
    CrowdedInAll = "too_many_logins_in_all",
    /// The address has its share of the queue for password hashing.
    HashShareFull = "hash_queue_share_full",
    /// The queue for password hashing is full.
    HashQueueFull = "hash_queue_full",
    // denied: the first factor
    /// The text cannot be a name.
    ImpossibleName = "impossible_name",
    /// Nobody has this name.
    UnknownUser = "unknown_user",
    /// The user has no password, and a password was shown.
    NoPassword = "no_password_set",
    /// The password is wrong.
    WrongPassword = "wrong_password",
    /// The password is longer than any can be.
    PasswordTooLong = "password_too_long",
    /// Too many wrong passwords: right or wrong, not now.
    PasswordsPaused = "passwords_paused",
    /// The app password is right and does not name this protocol.
    AppPasswordElsewhere = "app_password_not_for_protocol",
    /// The app password is right and the kind is switched off.
    AppPasswordsOff = "app_passwords_off",
    /// The key is not one of the account.
    UnknownKey = "unknown_key",
    /// The certificate is not that of the account.
    UnknownCertificate = "unknown_certificate",
    // denied: the account
    /// Switched off.
    Disabled = "account_disabled",
    /// Past its end.
    Expired = "account_expired",
    /// Not on this protocol.
    ProtocolNotAllowed = "protocol_not_allowed",
    /// Not from this address.
    AddressNotAllowed = "address_not_allowed",
    /// The user has as many sessions as they may.
    TooManyOfUser = "too_many_sessions_of_user",
    /// The address has as many sessions as it may.
    TooManyOfAddress = "too_many_sessions_of_address",
    /// The server has as many sessions as it may.
    TooMany = "too_many_sessions",
    // denied: the second factor
    /// Due, and the client could not be asked.
    CodeMissing = "code_missing",
    /// Wrong.
    WrongCode = "wrong_code",
    /// Right, and used before.
    CodeReplayed = "code_replayed",
    /// No code is live for this user from here.
    NoLiveCode = "no_live_code",
    /// Too many wrong codes: right or wrong, not now.
    CodesPaused = "codes_paused",
    /// So many wrong codes in a row that only a recovery code or an administrator helps.
    FactorFrozen = "factor_frozen",
    /// This connection has had its wrong codes.
    ConnectionSpent = "connection_spent",
    /// Other codes of the same user were being checked for too long.
    CodesBusy = "code_checks_busy",
    /// The person did not answer (push).
    Unanswered = "unanswered",
    /// A factor is due and none can serve the user.
    NoChannel = "no_channel_can_serve",
    /// The factors that could serve failed.
    FactorFailed = "factor_failed",
    /// No more messages now.
    SendLimited = "send_limited",
    /// The challenge was shown by another client.
    ChallengeForeign = "challenge_of_another_client",
    /// There is no challenge of this id.
    ChallengeUnknown = "no_such_challenge",
    /// The challenge is over.
    ChallengeExpired = "challenge_expired",
    /// The account changed since the challenge was made.
    AccountChanged = "account_changed",
    /// The question was put for the sake of appearance; the first factor was wrong.
    Veiled = "first_factor_was_wrong",
    // denied: the server's own troubles
    /// The directory failed or was late.
    DirectoryFailed = "directory_failed",
    /// The audit trail cannot be written.
    AuditFailed = "audit_failed",
    /// The ledger failed or was late.
    LedgerFailed = "ledger_failed",
    /// The user's files could not be opened.
    StorageFailed = "storage_failed",
    /// No random bytes.
    NoRandomness = "no_random_bytes",
    /// The whole login took too long.
    TooSlow = "too_slow",
    /// A fault of the program.
    InternalFault = "internal_fault",
}

impl Reason {
    /// Whether the server has too much to do, whoever asks.
    pub(crate) const fn is_busy(self) -> bool {
        matches!(self, Self::Crowded | Self::CrowdedInAll | Self::HashShareFull | Self::HashQueueFull)
    }

    /// Whether it was a guess at a code. One that was right once is none, nor is one that nobody could check.
    pub(crate) const fn is_guess(self) -> bool {
        matches!(self, Self::WrongCode | Self::NoLiveCode | Self::FactorFrozen)
    }

    /// Whether a denial for it counts against the address. Nearly all do, or else a stranger who counts their own denials until
    /// they are shut out would learn which was which. Exceptions are what comes before anything was looked at, what strikes
    /// everybody alike, and what honest clients that cannot be asked do all day: a right password whose code is on its way or
    /// could not be sent, and both once more with a code that was right. An office behind one address would shut itself out.
    pub(crate) const fn counts(self) -> bool {
        !matches!(
            self,
            Self::Banned
                | Self::CrowdedInAll
                | Self::HashQueueFull
                | Self::LedgerFailed
                | Self::AuditFailed
                | Self::CodeMissing
                | Self::CodeReplayed
                | Self::FactorFailed
                | Self::SendLimited
        )
    }
}

/// A login that ends here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Why.
    pub(crate) reason: Reason,
    /// The channel that was looked at.
    pub(crate) channel: Option<String>,
}

impl Refusal {
    /// A refusal through a channel.
    pub(crate) fn on(reason: Reason, channel: &str) -> Self {
        Self { reason, channel: Some(channel.to_owned()) }
    }

    /// Whether the client should be told "later": the server has too much to do, whoever asks.
    pub(crate) const fn is_busy(&self) -> bool {
        self.reason.is_busy()
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, channel: None }
    }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        tracing::error!(error = ledger_words(&error), "a login is denied: the ledger failed");
        Reason::LedgerFailed.into()
    }
}

impl From<DirectoryError> for Refusal {
    fn from(error: DirectoryError) -> Self {
        tracing::error!(%error, source = source_words(&error), "a login is denied: the directory failed");
        Reason::DirectoryFailed.into()
    }
}

fn ledger_words(error: &ledger::LedgerError) -> String {
    error.0.to_string()
}

fn source_words(error: &DirectoryError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
