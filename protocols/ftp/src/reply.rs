//! What the server says: every reply in one place, and the one table from failures of the tree to codes.
//!
//! A reply is a code and words for a person (RFC 959 section 4.2). Line breaks never reach the wire from inside a text, so a
//! name cannot forge a second reply. No text tells a path of the host, and none tells one denied login from another.

use lockgate_vfs::VfsError;
use std::borrow::Cow;

/// One reply, of one line or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    code: u16,
    text: Cow<'static, str>,
    /// Lines between the first and the last; where there are some, the reply opens with `text` and closes with `End`.
    body: Vec<String>,
    /// Lines behind the first, the last of which is the end.
    more: Vec<String>,
}

impl Reply {
    const fn fixed(code: u16, text: &'static str) -> Self {
        Self { code, text: Cow::Borrowed(text), body: Vec::new(), more: Vec::new() }
    }

    /// A reply of one line.
    pub(crate) fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, text: text.into(), body: Vec::new(), more: Vec::new() }
    }

    /// A reply of these lines, each of them under the code.
    pub(crate) fn lines(code: u16, lines: Vec<String>) -> Self {
        let mut lines = lines.into_iter();
        let text = lines.next().unwrap_or_default().into();
        Self { code, text, body: Vec::new(), more: lines.collect() }
    }

    /// A reply with lines in the middle.
    pub(crate) fn listing(code: u16, text: impl Into<Cow<'static, str>>, body: Vec<String>) -> Self {
        Self { code, text: text.into(), body, more: Vec::new() }
    }

    /// Its code.
    #[cfg(test)]
    pub(crate) const fn code(&self) -> u16 {
        self.code
    }

    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { code, text, body, more } = self;
        let mut wire = String::with_capacity(text.len() + 8);
        let lone = body.is_empty() && more.is_empty();
        wire.push_str(&format!("{code}{}", if lone { ' ' } else { '-' }));
        push_line(&mut wire, text);
        for line in body {
            // The blank keeps a line from looking like the last one.
            wire.push(' ');
            push_line(&mut wire, line);
        }
        if !body.is_empty() {
            wire.push_str(&format!("{code} End\r\n"));
        }
        for (place, line) in more.iter().enumerate() {
            wire.push_str(&format!("{code}{}", if place + 1 == more.len() { ' ' } else { '-' }));
            push_line(&mut wire, line);
        }
        wire.into_bytes()
    }
}

fn push_line(wire: &mut String, line: &str) {
    wire.extend(line.chars().map(|c| if c.is_control() { '?' } else { c }));
    wire.push_str("\r\n");
}

/// The reply for what the tree refuses (files.md, "What each failure says").
pub(crate) fn refused(error: &VfsError) -> Reply {
    if let VfsError::Backend { source, .. } = error {
        tracing::error!(%source, "the store failed");
    }
    let code = match error {
        VfsError::Locked(_) => 450,
        VfsError::OverQuota { .. } => 552,
        VfsError::NoSpace => 452,
        VfsError::Interrupted => 426,
        VfsError::Backend { .. } => 451,
        VfsError::BadName => 553,
        VfsError::Unsupported(_) => 504,
        _ => 550,
    };
    Reply::new(code, error.to_string())
}

macro_rules! replies {
    ($($(#[$about:meta])* $name:ident = $code:literal, $text:literal;)+) => {
        $($(#[$about])* pub(crate) const $name: Reply = Reply::fixed($code, $text);)+
    };
}

/// The fixed replies, in the order of their codes.
pub(crate) mod say {
    use super::Reply;

    replies! {
        GREETING = 220, "Lockgate ready";
        /// While any user may need a code and nobody is asked for it.
        GREETING_WITH_CODE = 220, "Lockgate ready. With a second factor, give PASSWORD:CODE as the password";
        NOTHING_TO_DO = 200, "OK";
        UTF8_ALWAYS = 200, "Names are UTF-8";
        CLIENT_NOTED = 200, "Noted";
        LANGUAGE = 200, "Replies are in English";
        BUFFER_SIZE = 200, "PBSZ=0";
        PROTECTED = 200, "Data connections are protected from now on";
        UNPROTECTED = 200, "Data connections are in clear from now on";
        ROOM_IS_CHECKED = 200, "Room is looked for when the file comes";
        STREAM_MODE = 200, "Mode is stream";
        DEFLATE_MODE = 200, "Mode is deflate";
        FILE_STRUCTURE = 200, "Structure is file";
        TYPE_ASCII = 200, "Type is ASCII";
        TYPE_IMAGE = 200, "Type is image";
        ACTIVE_ADDRESS = 200, "Address taken";
        EPSV_ALL = 200, "EPSV and nothing else from now on";
        SYSTEM = 215, "UNIX Type: L8";
        HOST_ACCEPTED = 220, "Host accepted";
        RESTARTED = 220, "Ready for another user";
        GOODBYE = 221, "Goodbye";
        NO_TRANSFER = 226, "Nothing is being transferred";
        ABORTED = 226, "The transfer was ended";
        PASSWORD_NOT_NEEDED = 202, "Not needed: the certificate was enough";
        BEGIN_TLS = 234, "Begin TLS";
        FOLDER_CHANGED = 250, "Folder changed";
        REMOVED = 250, "Removed";
        RENAMED = 250, "Renamed";
        MODE_CHANGED = 200, "Mode changed";
        TIMES_CHANGED = 213, "Times changed";
        PASSWORD_WANTED = 331, "Password, please";
        NEW_NAME_WANTED = 350, "Now the new name";
        BUSY = 421, "Too much is going on; try again later";
        TOO_MANY_TRIES = 421, "Too many wrong tries";
        TOO_MANY_UNKNOWN = 421, "This does not look like FTP";
        TOO_LONG_TO_LOG_IN = 421, "Login took too long";
        MADE_ROOM = 421, "Too many connections without a login";
        IDLE = 421, "Nothing happened for too long";
        STOPPING = 421, "The server is stopping";
        SESSION_ENDED = 421, "The session was ended";
        GLUED = 421, "Commands were sent behind AUTH TLS in clear";
        NO_DATA_CONNECTION = 425, "Say PASV or EPSV first";
        NOBODY_CAME = 425, "No data connection came from your address";
        NO_PORT = 425, "No port is free for a data connection";
        PASV_IS_IPV4 = 425, "PASV cannot tell an IPv6 address: use EPSV";
        CANNOT_REACH = 425, "The data connection could not be made";
        DATA_TLS_FAILED = 425, "TLS did not come about on the data connection";
        DATA_CUT = 426, "The data connection was cut; the transfer is not complete";
        DATA_STALLED = 426, "The data connection stood still for too long";
        ABORTING = 426, "The transfer is being ended";
        NO_CLOSE_NOTIFY = 426, "The data connection was cut without TLS being closed; nothing was stored";
        STREAM_UNFINISHED = 426, "The compressed data stopped before its end; nothing was stored";
        STREAM_DAMAGED = 451, "The compressed data is damaged or has something behind its end; nothing was stored";
        READ_SHORT = 451, "The file could not be read to its end";
        LINE_TOO_LONG = 500, "The line is too long";
        UNKNOWN = 500, "Unknown command";
        BAD_NAME = 501, "This is not a possible name";
        BAD_ARGUMENT = 501, "The argument is not understood";
        BAD_TIME = 501, "A time is YYYYMMDDHHMMSS, in UTC";
        BAD_FACT = 501, "Modify and UNIX.mode can be changed, and nothing else";
        ARGUMENT_WANTED = 501, "An argument is missing";
        ONLY_EPSV = 501, "EPSV ALL was said: only EPSV from now on";
        FOREIGN_ADDRESS = 501, "Data goes to your own address only";
        REST_NEEDS_IMAGE = 501, "A restart needs TYPE I";
        RESTART_IS_NO_PLACE_IN_TEXT = 554, "A restart needs TYPE I";
        NOT_HERE = 502, "Not available";
        NO_TLS = 502, "TLS is not available here";
        REIN_UNDER_TLS = 502, "Under TLS another user needs another connection";
        USER_FIRST = 503, "Say USER first";
        ALREADY_IN = 503, "Already logged in";
        ALREADY_SECURE = 503, "TLS is in use already";
        PBSZ_FIRST = 503, "Say AUTH TLS and PBSZ 0 first";
        RNFR_FIRST = 503, "Say RNFR first";
        NOTHING_ASKED = 503, "No account was asked for";
        HOST_TOO_LATE = 503, "HOST comes before USER";
        ACTIVE_IS_OFF = 504, "Active mode is off: use PASV or EPSV";
        ONLY_S_AND_Z = 504, "Only MODE S and MODE Z";
        ONLY_FILE = 504, "Only STRU F";
        ONLY_A_AND_I = 504, "Only TYPE A and TYPE I";
        ONLY_TLS = 504, "Only AUTH TLS";
        ONLY_ENGLISH = 504, "Only EN";
        /// RFC 2577 section 3.
        LOW_PORT = 504, "Data goes to ports over 1023 only";
        NO_SUCH_HOST = 504, "That is no name of a host";
        NO_SUCH_OPTION = 501, "No such option";
        NO_SUCH_LEVEL = 501, "A level is a number from 1 to 9";
        NO_SUCH_DIGEST = 504, "No such digest";
        NO_SUCH_SITE = 504, "SITE knows CHMOD, UTIME and HELP";
        DATA_MUST_BE_PROTECTED = 521, "Data connections must be protected: say PROT P";
        /// RFC 2428 section 2 wants the numbers of those that are, in this shape.
        WRONG_FAMILY = 522, "Network protocol not supported, use (1,2)";
        NOT_RESUMED = 522, "The data connection must resume the TLS session of the control connection";
        DENIED = 530, "Login incorrect";
        LOG_IN_FIRST = 530, "Log in first";
        TLS_FIRST = 530, "Say AUTH TLS first";
        CCC_REFUSED = 533, "The control connection stays protected";
        PROTECTION_DEMANDED = 534, "Data must be protected here";
        ONLY_CLEAR_AND_PRIVATE = 536, "Only PROT C and PROT P";
        NOT_A_FILE = 550, "Only a file can be transferred";
        TOO_LARGE_FOR_ASCII = 550, "The size as ASCII is told for small files only: say TYPE I";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_model::{ByteSize, VPath};

    #[test]
    fn a_text_cannot_begin_a_second_reply() {
        let wire = Reply::new(550, "no such file: /a\r\n230 Logged in\n".to_owned()).encode();
        assert_eq!(wire, b"550 no such file: /a??230 Logged in?\r\n");
        let wire = Reply::listing(211, "Features:", vec!["UTF8".into(), "211 End".into()]).encode();
        assert_eq!(wire, b"211-Features:\r\n UTF8\r\n 211 End\r\n211 End\r\n");
    }

    #[test]
    fn each_failure_has_the_reply_of_the_table() {
        let path = VPath::root;
        let cases = [
            (VfsError::NotFound(path()), 550),
            (VfsError::Exists(path()), 550),
            (VfsError::Locked(path()), 450),
            (VfsError::OverQuota { used: ByteSize(1), limit: ByteSize(1) }, 552),
            (VfsError::NoSpace, 452),
            (VfsError::Interrupted, 426),
            (VfsError::Backend { action: lockgate_vfs::Action::Read, source: std::io::ErrorKind::Other.into() }, 451),
            (VfsError::ReadOnly(path()), 550),
        ];
        for (error, code) in cases {
            assert_eq!(refused(&error).code(), code, "{error}");
        }
    }
}
