//! The closed list of things that happen.

use lockgate_model::{ByteSize, Origin, Protocol, UserName, VPath};
use std::net::IpAddr;

/// How a login, or one step of it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginResult {
    /// A session was made.
    Granted,
    /// One more factor was asked for.
    Challenged,
    /// The door said no.
    Denied,
}

impl LoginResult {
    /// The word in the audit record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Challenged => "challenged",
            Self::Denied => "denied",
        }
    }
}

/// What was done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAction {
    /// An upload was committed under its name.
    Stored,
    /// An upload ended without its proof of the end.
    UploadAborted,
    /// A file was opened for reading.
    Fetched,
    /// A file or folder was removed.
    Deleted,
    /// A file or folder got another name; the record's `to` is the new one.
    Renamed,
    /// A file was copied inside the store; the record's `to` is the copy.
    Copied,
    /// A folder was made.
    FolderMade,
}

impl FileAction {
    /// The word in the audit record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::UploadAborted => "upload_aborted",
            Self::Fetched => "fetched",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
            Self::Copied => "copied",
            Self::FolderMade => "folder_made",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A step of a login ended. Exactly one for each outcome, but for those that [`Event::TurnedAway`] counts.
    Login {
        /// How it ended.
        result: LoginResult,
        /// Where from, over what.
        origin: Origin,
        /// The name as it was sent, escaped and cut where it is no name.
        user: String,
        /// Why: a fixed word such as `wrong_password` or `code_replayed`. For the operator only.
        reason: &'static str,
        /// The channel of the second factor, where one was looked at.
        channel: Option<String>,
        /// The session made, where one was.
        session: Option<String>,
    },
    /// More logins from one address were turned away for want of room, within a minute of one that has a record of its own.
    TurnedAway {
        /// The address.
        address: IpAddr,
        /// How many more.
        count: u64,
    },
    /// A session ended.
    SessionEnded {
        /// The session.
        session: String,
        /// Whose.
        user: UserName,
        /// Over what.
        protocol: Protocol,
        /// Why: `closed`, `revoked`, `killed`, `idle`, `shutdown`.
        reason: &'static str,
    },
    /// A code went out, or did not.
    CodeSent {
        /// To whom.
        user: UserName,
        /// Through which channel.
        channel: String,
        /// Whether the channel took it.
        delivered: bool,
        /// `sent`, `limited`, or what went wrong in fixed words.
        reason: String,
    },
    /// Something was done with a file.
    File {
        /// What.
        action: FileAction,
        /// By whom.
        user: UserName,
        /// In which session.
        session: String,
        /// To which path.
        path: VPath,
        /// The second path of a rename or copy.
        to: Option<VPath>,
        /// Bytes moved or stored.
        bytes: Option<ByteSize>,
    },
    /// An address was shut out, or let in again (`until_ms` is `None`).
    Ban {
        /// Which.
        address: IpAddr,
        /// Unix milliseconds when it ends.
        until_ms: Option<u64>,
        /// Why, in fixed words.
        reason: String,
    },
    /// A plugin failed, was started anew, or was refused.
    Plugin {
        /// Its name.
        name: String,
        /// What happened, without secrets.
        what: String,
    },
    /// The configuration was taken over, or refused.
    Prefs {
        /// Whether it is in force now.
        accepted: bool,
        /// What was wrong, or what changed.
        what: String,
    },
    /// The server started, is ready, or stops.
    Server {
        /// `starting`, `ready`, `stopping`, `stopped`.
        phase: &'static str,
    },
    /// A user's rights or factors were changed.
    Administration {
        /// By whom: a user name, or `command line`.
        actor: String,
        /// What, in a fixed word such as `user_added`.
        action: &'static str,
        /// On what: a user, a key.
        subject: String,
    },
}
