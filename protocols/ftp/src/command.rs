//! A line, understood: which command it is and what it asks.
//!
//! Pure, so that it can be tested with any bytes. Commands come in two kinds, and the kind is a type: [`Open`] ones may be
//! given by anybody, [`Inside`] ones are handled only by what a login made. That is the allow-list before a login.

mod arguments;

use crate::{
    deflate::Level as Squeeze,
    reply::{Reply, say},
};
use arguments::{
    active_address, digest, epsv, extended_address, host, mlst_facts, number, octal, range, stamp_and_name, text, utime,
};
use lockgate_model::Secret;
use std::{net::SocketAddr, time::SystemTime};

/// A name as the client sent it.
pub(crate) type Name = Vec<u8>;

/// A command.
#[derive(Debug)]
pub(crate) enum Command {
    /// One that anybody may give.
    Open(Open),
    /// One for whoever has logged in.
    Inside(Inside),
}

/// What anybody may say.
#[derive(Debug)]
pub(crate) enum Open {
    User(String),
    Pass(Secret<String>),
    Acct(Secret<String>),
    /// `AUTH TLS`; true for the older `AUTH SSL`, which means protected data connections too.
    Auth {
        private: bool,
    },
    Pbsz,
    Prot(Level),
    Ccc,
    Feat,
    Help,
    Syst,
    Noop,
    Quit,
    Rein,
    Host,
    Clnt,
    Lang,
    OptsUtf8,
}

/// `PROT`: how data connections are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Clear,
    Private,
}

/// What only a logged-in user may say.
#[derive(Debug)]
pub(crate) enum Inside {
    Cwd(Name),
    Cdup,
    Pwd,
    Mkd(Name),
    Rmd(Name),
    Dele(Name),
    Rnfr(Name),
    Rnto(Name),
    Size(Name),
    Mdtm(Name),
    Mfmt(SystemTime, Name),
    Mff(Changes, Name),
    Mlst(Option<Name>),
    List(Rows, Option<Name>),
    Retr(Name),
    Stor(Name),
    Appe(Name),
    Stou,
    Rest(u64),
    Allo(u64),
    Type(Representation),
    Mode(Mode),
    Stru,
    Pasv,
    Epsv(Option<Family>),
    EpsvAll,
    Port(SocketAddr),
    Abor,
    Stat(Option<Name>),
    Hash(Name),
    Check(Digest, Option<(u64, u64)>, Name),
    Rang(u64, u64),
    Avbl(Option<Name>),
    OptsMlst(Shown),
    OptsHash(Option<Digest>),
    /// `OPTS MODE Z`: the level from now on, where one is named.
    OptsModeZ(Option<Squeeze>),
    SiteChmod(u32, Name),
    SiteUtime(SystemTime, Name),
    SiteHelp,
}

/// What a listing looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// `LIST`.
    Long,
    /// `NLST`.
    Names,
    /// `MLSD`.
    Facts,
}

impl Rows {
    /// The command that asks for it.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Long => "LIST",
            Self::Names => "NLST",
            Self::Facts => "MLSD",
        }
    }
}

/// `TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Representation {
    Ascii,
    Image,
}

/// `MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Stream,
    Deflate,
}

/// Address family of RFC 2428.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// `MFF`: facts to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) modified: Option<SystemTime>,
    pub(crate) mode: Option<u32>,
}

/// Digests of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    Crc32,
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    pub(crate) const ALL: [Self; 5] = [Self::Sha256, Self::Sha512, Self::Sha1, Self::Md5, Self::Crc32];

    /// The name in `FEAT` and `OPTS HASH`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }
}

/// Which facts `MLSD` and `MLST` show (`OPTS MLST`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown(u8);

impl Shown {
    /// The facts that are known, in their order.
    pub(crate) const FACTS: [&'static str; 6] = ["type", "size", "modify", "perm", "unique", "UNIX.mode"];

    /// All of them.
    pub(crate) const fn all() -> Self {
        Self(0b11_1111)
    }

    /// None of them.
    pub(crate) const fn none() -> Self {
        Self(0)
    }

    pub(crate) const fn has(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }

    pub(crate) const fn with(self, place: usize) -> Self {
        Self(self.0 | 1 << place)
    }

    /// The names of those shown, each with a `;` behind it.
    pub(crate) fn names(self) -> String {
        let shown = Self::FACTS.into_iter().enumerate().filter(|(place, _)| self.has(*place));
        shown.map(|(_, fact)| format!("{fact};")).collect()
    }
}

/// Why a line is no command.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Another protocol is spoken here: HTTP, SSH, anything whose first word cannot be a verb.
    Foreign,
    /// A word of the right shape that is no command.
    Unknown,
    /// A command that this server knows, not given rightly.
    Refused {
        /// Whether it is one that needs a login: then a stranger hears that, and nothing of its argument.
        inside: bool,
        /// What to say.
        reply: Reply,
    },
}

/// Commands that need a login. Whatever is in no list is unknown.
const INSIDE: &[&str] = &[
    "CWD", "XCWD", "CDUP", "XCUP", "PWD", "XPWD", "MKD", "XMKD", "RMD", "XRMD", "DELE", "RNFR", "RNTO", "SIZE", "MDTM",
    "MFMT", "MFF", "MLST", "MLSD", "LIST", "NLST", "RETR", "STOR", "APPE", "STOU", "REST", "ALLO", "TYPE", "MODE",
    "STRU", "PASV", "EPSV", "PORT", "EPRT", "LPRT", "LPSV", "ABOR", "STAT", "HASH", "XCRC", "XMD5", "XSHA", "XSHA1",
    "XSHA256", "XSHA512", "RANG", "AVBL", "SITE", "SMNT",
];

/// Words with which other protocols begin.
const FOREIGN: &[&str] = &["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PRI"];

/// Every command, for `HELP`.
pub(crate) const HELP: &[&str] = &[
    "USER PASS ACCT AUTH PBSZ PROT FEAT OPTS HELP SYST NOOP QUIT REIN HOST CLNT LANG",
    "CWD CDUP PWD MKD RMD DELE RNFR RNTO SIZE MDTM MFMT MFF MLST MLSD LIST NLST STAT",
    "RETR STOR APPE STOU REST ALLO ABOR TYPE MODE STRU PASV EPSV PORT EPRT",
    "HASH RANG XCRC XMD5 XSHA1 XSHA256 XSHA512 AVBL SITE",
];

/// Understands a line.
///
/// # Errors
/// [`Fault`].
pub(crate) fn parse(line: &[u8]) -> Result<Command, Fault> {
    // What is left of a Telnet sequence that came in two pieces.
    let start = line.iter().position(|byte| *byte < 0xf0).unwrap_or(line.len());
    let line = line.get(start..).unwrap_or_default();
    let (verb, argument) = match line.iter().position(|byte| *byte == b' ') {
        Some(blank) => (line.get(..blank).unwrap_or_default(), line.get(blank + 1..).unwrap_or_default()),
        None => (line, &b""[..]),
    };
    let shape = (3..=8).contains(&verb.len()) && verb.iter().all(u8::is_ascii_alphanumeric);
    let verb = match std::str::from_utf8(verb) {
        Ok(verb) if shape => verb.to_ascii_uppercase(),
        _ => return Err(Fault::Foreign),
    };
    if FOREIGN.contains(&verb.as_str()) {
        return Err(Fault::Foreign);
    }
    let refused = |reply, inside| Fault::Refused { inside, reply };
    if INSIDE.contains(&verb.as_str()) {
        return inside(&verb, argument).map(Command::Inside).map_err(|reply| refused(reply, true));
    }
    if verb == "OPTS" {
        return options(argument);
    }
    match open(&verb, argument) {
        Ok(Some(command)) => Ok(Command::Open(command)),
        Ok(None) => Err(Fault::Unknown),
        Err(reply) => Err(refused(reply, false)),
    }
}

/// Commands of strangers; `None` for a word that is none.
fn open(verb: &str, argument: &[u8]) -> Result<Option<Open>, Reply> {
    let word = argument.trim_ascii().to_ascii_uppercase();
    Ok(Some(match verb {
        "USER" => Open::User(text(wanted(argument)?)),
        // A password may be empty, and begin or end with blanks.
        "PASS" => Open::Pass(Secret::new(text(argument))),
        "ACCT" => Open::Acct(Secret::new(text(argument.trim_ascii()))),
        "AUTH" => match word.as_slice() {
            b"TLS" | b"TLS-C" => Open::Auth { private: false },
            b"SSL" | b"TLS-P" => Open::Auth { private: true },
            b"" => return Err(say::ARGUMENT_WANTED),
            _ => return Err(say::ONLY_TLS),
        },
        "PBSZ" => number(argument).map(|_| Open::Pbsz)?,
        "PROT" => match word.as_slice() {
            b"C" => Open::Prot(Level::Clear),
            b"P" => Open::Prot(Level::Private),
            b"S" | b"E" => return Err(say::ONLY_CLEAR_AND_PRIVATE),
            _ => return Err(say::BAD_ARGUMENT),
        },
        "CCC" => Open::Ccc,
        "FEAT" => Open::Feat,
        "HELP" => Open::Help,
        "SYST" => Open::Syst,
        "NOOP" => Open::Noop,
        "QUIT" => Open::Quit,
        "REIN" => Open::Rein,
        "HOST" => host(argument).then_some(Open::Host).ok_or(say::NO_SUCH_HOST)?,
        "CLNT" => wanted(argument).map(|_| Open::Clnt)?,
        "LANG" => match word.as_slice() {
            b"" | b"EN" | b"EN-US" | b"EN-GB" => Open::Lang,
            _ => return Err(say::ONLY_ENGLISH),
        },
        "ADAT" | "MIC" | "CONF" | "ENC" => return Err(say::NOT_HERE),
        _ => return Ok(None),
    }))
}

fn options(argument: &[u8]) -> Result<Command, Fault> {
    let (what, how) = split(argument);
    let refused = |reply, inside| Fault::Refused { inside, reply };
    match what.to_ascii_uppercase().as_slice() {
        b"UTF8" | b"UTF-8" => Ok(Command::Open(Open::OptsUtf8)),
        b"MLST" => Ok(Command::Inside(Inside::OptsMlst(mlst_facts(how)))),
        b"HASH" if how.is_empty() => Ok(Command::Inside(Inside::OptsHash(None))),
        b"HASH" => match digest(how) {
            Some(digest) => Ok(Command::Inside(Inside::OptsHash(Some(digest)))),
            None => Err(refused(say::NO_SUCH_DIGEST, true)),
        },
        b"MODE" => match arguments::mode_options(how) {
            Ok(level) => Ok(Command::Inside(Inside::OptsModeZ(level))),
            Err(reply) => Err(refused(reply, true)),
        },
        _ => Err(refused(say::NO_SUCH_OPTION, false)),
    }
}

/// Commands of users.
fn inside(verb: &str, argument: &[u8]) -> Result<Inside, Reply> {
    let name = || wanted(argument).map(<[u8]>::to_vec);
    let maybe = || (!argument.is_empty()).then(|| argument.to_vec());
    Ok(match verb {
        "CWD" | "XCWD" => Inside::Cwd(name()?),
        "CDUP" | "XCUP" => Inside::Cdup,
        "PWD" | "XPWD" => Inside::Pwd,
        "MKD" | "XMKD" => Inside::Mkd(name()?),
        "RMD" | "XRMD" => Inside::Rmd(name()?),
        "DELE" => Inside::Dele(name()?),
        "RNFR" => Inside::Rnfr(name()?),
        "RNTO" => Inside::Rnto(name()?),
        "SIZE" => Inside::Size(name()?),
        "MDTM" => Inside::Mdtm(name()?),
        "MFMT" => stamp_and_name(argument).map(|(time, name)| Inside::Mfmt(time, name))?,
        "MFF" => arguments::changes(argument).map(|(changes, name)| Inside::Mff(changes, name))?,
        "MLST" => Inside::Mlst(maybe()),
        "MLSD" => Inside::List(Rows::Facts, maybe()),
        "LIST" => Inside::List(Rows::Long, arguments::without_switches(argument)),
        "NLST" => Inside::List(Rows::Names, arguments::without_switches(argument)),
        "RETR" => Inside::Retr(name()?),
        "STOR" => Inside::Stor(name()?),
        "APPE" => Inside::Appe(name()?),
        "STOU" => Inside::Stou,
        "REST" => Inside::Rest(number(argument)?),
        "ALLO" => Inside::Allo(number(split(argument).0)?),
        "TYPE" => Inside::Type(arguments::representation(argument)?),
        "MODE" => match argument.trim_ascii() {
            b"" => return Err(say::ARGUMENT_WANTED),
            b"S" | b"s" => Inside::Mode(Mode::Stream),
            b"Z" | b"z" => Inside::Mode(Mode::Deflate),
            _ => return Err(say::ONLY_S_AND_Z),
        },
        "STRU" => arguments::only(argument, b"F", Inside::Stru, say::ONLY_FILE)?,
        "PASV" => Inside::Pasv,
        "EPSV" => epsv(argument)?,
        "PORT" => Inside::Port(active_address(argument)?),
        "EPRT" => Inside::Port(extended_address(argument)?),
        "ABOR" => Inside::Abor,
        // Clients that list over the control connection say `STAT -l`, and mean the folder that they are in.
        "STAT" if argument.starts_with(b"-") => {
            Inside::Stat(arguments::without_switches(argument).or_else(|| Some(b".".to_vec())))
        }
        "STAT" => Inside::Stat(maybe()),
        "HASH" => Inside::Hash(name()?),
        "RANG" => range(argument).map(|(from, to)| Inside::Rang(from, to))?,
        "AVBL" => Inside::Avbl(maybe()),
        "SITE" => site(argument)?,
        "LPRT" | "LPSV" | "SMNT" => return Err(say::NOT_HERE),
        digest => checksum(digest, argument)?,
    })
}

/// `XCRC` and its kin: `NAME`, or `"NAME" FROM TO`.
fn checksum(verb: &str, argument: &[u8]) -> Result<Inside, Reply> {
    let digest = match verb {
        "XCRC" => Digest::Crc32,
        "XMD5" => Digest::Md5,
        "XSHA" | "XSHA1" => Digest::Sha1,
        "XSHA256" => Digest::Sha256,
        "XSHA512" => Digest::Sha512,
        _ => return Err(say::NOT_HERE),
    };
    let (range, name) = arguments::name_and_range(wanted(argument)?);
    Ok(Inside::Check(digest, range, name))
}

fn site(argument: &[u8]) -> Result<Inside, Reply> {
    let (what, rest) = split(argument);
    match what.to_ascii_uppercase().as_slice() {
        b"CHMOD" => {
            let (mode, name) = split(rest);
            Ok(Inside::SiteChmod(octal(mode)?, wanted(name)?.to_vec()))
        }
        b"UTIME" => utime(rest).map(|(time, name)| Inside::SiteUtime(time, name)),
        b"HELP" => Ok(Inside::SiteHelp),
        _ => Err(say::NO_SUCH_SITE),
    }
}

/// The first word and what is behind its blank.
fn split(argument: &[u8]) -> (&[u8], &[u8]) {
    match argument.iter().position(|byte| *byte == b' ') {
        Some(blank) => (argument.get(..blank).unwrap_or_default(), argument.get(blank + 1..).unwrap_or_default()),
        None => (argument, &[]),
    }
}

fn wanted(argument: &[u8]) -> Result<&[u8], Reply> {
    if argument.is_empty() { Err(say::ARGUMENT_WANTED) } else { Ok(argument) }
}

#[cfg(test)]
mod tests;
