//! The protocol words of the second-factor policy, and sets of them.
//!
//! A connection is judged by what it *is*: FTP after AUTH TLS is `ftps`, WebDAV is `webdav` whether over HTTP or HTTPS.
//! Exactly one word governs each session, so the list in prefs.xml leaves no door unnamed.

use std::{fmt, str::FromStr};

/// What a session speaks, in the words of `twofactor_secret_auto_otp_enable_protocols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// FTP whose control connection is in clear.
    Ftp,
    /// FTP whose control connection is under TLS, explicit or implicit.
    Ftps,
    /// SSH file transfer.
    Sftp,
    /// The REST interface and web pages in clear.
    Http,
    /// The REST interface and web pages under TLS.
    Https,
    /// WebDAV, over HTTP or HTTPS.
    Webdav,
}

impl Protocol {
    /// Every protocol, in the order of the documents.
    pub const ALL: [Self; 6] = [Self::Ftp, Self::Ftps, Self::Sftp, Self::Http, Self::Https, Self::Webdav];

    /// The word used in prefs.xml, the audit log and `otp_auth_<protocol>`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Ftps => "ftps",
            Self::Sftp => "sftp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Webdav => "webdav",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown protocol {0:?}; known are ftp, ftps, sftp, http, https, webdav")]
pub struct UnknownProtocol(pub String);

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    /// Blanks around the word and upper case are forgiven; anything else is not.
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let plain = word.trim();
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(plain))
            .ok_or_else(|| UnknownProtocol(plain.to_owned()))
    }
}

/// A set of protocols. Written as a comma-separated list; the empty list means none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ProtocolSet(u8);

impl ProtocolSet {
    /// No protocol.
    pub const NONE: Self = Self(0);

    /// Every protocol.
    #[must_use]
    pub fn all() -> Self {
        Protocol::ALL.into_iter().collect()
    }

    /// Whether `protocol` is in the set.
    #[must_use]
    pub const fn contains(self, protocol: Protocol) -> bool {
        self.0 & protocol.bit() != 0
    }

    /// Whether no protocol is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members in the order of [`Protocol::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Protocol> {
        Protocol::ALL.into_iter().filter(move |protocol| self.contains(*protocol))
    }
}

impl FromIterator<Protocol> for ProtocolSet {
    fn from_iter<T: IntoIterator<Item = Protocol>>(protocols: T) -> Self {
        Self(protocols.into_iter().fold(0, |bits, protocol| bits | protocol.bit()))
    }
}

impl FromStr for ProtocolSet {
    type Err = UnknownProtocol;

    /// Empty places between commas are skipped; an unknown word refuses the whole list.
    fn from_str(list: &str) -> Result<Self, Self::Err> {
        list.split(',').filter(|word| !word.trim().is_empty()).map(str::parse).collect()
    }
}

impl fmt::Display for ProtocolSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, protocol) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(protocol.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ProtocolSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtocolSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_round_trips_and_forgives_blanks_and_case() {
        let set: ProtocolSet = " SFTP, ftp ,,webdav".parse().unwrap();
        assert_eq!(set.to_string(), "ftp,sftp,webdav");
        assert!(!set.contains(Protocol::Ftps));
    }

    #[test]
    fn an_unknown_word_refuses_the_whole_list_by_name() {
        let error = "ftp,scp".parse::<ProtocolSet>().unwrap_err();
        assert_eq!(error, UnknownProtocol("scp".into()));
    }

    #[test]
    fn an_empty_list_names_no_protocol() {
        assert!("".parse::<ProtocolSet>().unwrap().is_empty());
    }
}
