//! What stands behind a verb.

use super::{Changes, Digest, Family, Inside, Name, Representation, Shown, Squeeze, split, wanted};
use crate::{
    date::read_stamp,
    reply::{Reply, say},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::SystemTime,
};
use zeroize::Zeroizing;

/// Text as the client meant it; what is not UTF-8 is marked, and then equals nobody's name or password.
pub(super) fn text(bytes: &[u8]) -> String {
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) => text,
        Err(error) => {
            let raw = Zeroizing::new(error.into_bytes());
            String::from_utf8_lossy(&raw).into_owned()
        }
    }
}

/// A plain number.
pub(super) fn number(argument: &[u8]) -> Result<u64, Reply> {
    let digits = argument.trim_ascii();
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten();
    number.filter(|n| i64::try_from(*n).is_ok()).ok_or(say::BAD_ARGUMENT)
}

/// `0644` or `644`.
pub(super) fn octal(argument: &[u8]) -> Result<u32, Reply> {
    let digits = argument.trim_ascii();
    if !(1..=5).contains(&digits.len()) || !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return Err(say::BAD_ARGUMENT);
    }
    let mode = digits.iter().fold(0, |mode, digit| mode * 8 + u32::from(digit - b'0'));
    if mode <= 0o7777 { Ok(mode) } else { Err(say::BAD_ARGUMENT) }
}

/// The argument must be this one letter.
pub(super) fn only(argument: &[u8], letter: &[u8], command: Inside, otherwise: Reply) -> Result<Inside, Reply> {
    match wanted(argument.trim_ascii())? {
        word if word.eq_ignore_ascii_case(letter) => Ok(command),
        _ => Err(otherwise),
    }
}

pub(super) fn representation(argument: &[u8]) -> Result<Representation, Reply> {
    match argument.trim_ascii().to_ascii_uppercase().as_slice() {
        b"A" | b"A N" => Ok(Representation::Ascii),
        b"I" | b"L 8" | b"L8" => Ok(Representation::Image),
        b"" => Err(say::ARGUMENT_WANTED),
        _ => Err(say::ONLY_A_AND_I),
    }
}

/// The name behind `ls` switches that clients send out of habit (`LIST -la NAME`).
pub(super) fn without_switches(argument: &[u8]) -> Option<Name> {
    let mut rest = argument;
    while rest.first() == Some(&b'-') {
        rest = split(rest).1;
    }
    (!rest.is_empty()).then(|| rest.to_vec())
}

/// `h1,h2,h3,h4,p1,p2`: six bytes, nothing more and nothing less.
pub(super) fn active_address(argument: &[u8]) -> Result<SocketAddr, Reply> {
    let mut bytes = [0_u8; 6];
    let mut parts = argument.trim_ascii().split(|byte| *byte == b',');
    for byte in &mut bytes {
        let part = parts.next().ok_or(say::BAD_ARGUMENT)?;
        *byte = number(part)
            .ok()
            .filter(|_| part.len() <= 3)
            .and_then(|n| u8::try_from(n).ok())
            .ok_or(say::BAD_ARGUMENT)?;
    }
    if parts.next().is_some() {
        return Err(say::BAD_ARGUMENT);
    }
    let [a, b, c, d, high, low] = bytes;
    Ok(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
}

/// `|1|ADDRESS|PORT|` (RFC 2428 section 2).
pub(super) fn extended_address(argument: &[u8]) -> Result<SocketAddr, Reply> {
    let argument = std::str::from_utf8(argument.trim_ascii()).map_err(|_| say::BAD_ARGUMENT)?;
    let border = argument.chars().next().filter(char::is_ascii_punctuation).ok_or(say::BAD_ARGUMENT)?;
    let parts: Vec<_> = argument.split(border).take(6).collect();
    let ["", family, address, port, ""] = parts.as_slice() else { return Err(say::BAD_ARGUMENT) };
    // What an address of another family looks like nobody here knows.
    if !["1", "2"].contains(family) {
        let is_number = !family.is_empty() && family.bytes().all(|byte| byte.is_ascii_digit());
        return Err(if is_number { say::WRONG_FAMILY } else { say::BAD_ARGUMENT });
    }
    let address: IpAddr = address.parse().map_err(|_| say::BAD_ARGUMENT)?;
    let port = number(port.as_bytes()).ok().and_then(|n| u16::try_from(n).ok()).ok_or(say::BAD_ARGUMENT)?;
    match (*family, address) {
        ("1", IpAddr::V4(_)) | ("2", IpAddr::V6(_)) => Ok(SocketAddr::new(address, port)),
        _ => Err(say::BAD_ARGUMENT),
    }
}

pub(super) fn epsv(argument: &[u8]) -> Result<Inside, Reply> {
    match argument.trim_ascii().to_ascii_uppercase().as_slice() {
        b"" => Ok(Inside::Epsv(None)),
        b"1" => Ok(Inside::Epsv(Some(Family::V4))),
        b"2" => Ok(Inside::Epsv(Some(Family::V6))),
        b"ALL" => Ok(Inside::EpsvAll),
        family if family.iter().all(u8::is_ascii_digit) => Err(say::WRONG_FAMILY),
        _ => Err(say::BAD_ARGUMENT),
    }
}

/// A host's name or address literal, as `HOST` has it (RFC 7151 section 3.1). Which one does not matter: there is one host.
pub(super) fn host(argument: &[u8]) -> bool {
    let name = argument.trim_ascii();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:[]%".contains(byte) || *byte >= 0x80;
    (1..=255).contains(&name.len()) && name.iter().all(plain)
}

/// Facts asked for by `OPTS MLST`; unknown ones are left out (RFC 3659 section 7.9).
pub(super) fn mlst_facts(argument: &[u8]) -> Shown {
    let mut shown = Shown::none();
    for wish in argument.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
        if let Some(place) = Shown::FACTS.iter().position(|fact| fact.as_bytes().eq_ignore_ascii_case(wish)) {
            shown = shown.with(place);
        }
    }
    shown
}

pub(super) fn digest(argument: &[u8]) -> Option<Digest> {
    let wish = argument.trim_ascii();
    Digest::ALL.into_iter().find(|digest| digest.as_str().as_bytes().eq_ignore_ascii_case(wish))
}

/// `Z LEVEL 6`; the method and the engine that there are may be named too.
pub(super) fn mode_options(argument: &[u8]) -> Result<Option<Squeeze>, Reply> {
    let upper = argument.to_ascii_uppercase();
    let mut words = upper.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    if words.next() != Some(b"Z") {
        return Err(say::NO_SUCH_OPTION);
    }
    let mut level = None;
    while let Some(option) = words.next() {
        match (option, words.next().ok_or(say::ARGUMENT_WANTED)?) {
            (b"LEVEL", value) => level = Some(Squeeze::new(number(value)?).ok_or(say::NO_SUCH_LEVEL)?),
            (b"METHOD", b"8") | (b"ENGINE", b"ZLIB") => {}
            _ => return Err(say::NO_SUCH_OPTION),
        }
    }
    Ok(level)
}

/// Two offsets, the end not included.
pub(super) fn range(argument: &[u8]) -> Result<(u64, u64), Reply> {
    let (from, to) = split(argument.trim_ascii());
    let (from, to) = (number(from)?, number(to)?);
    // `RANG 1 0` takes the range back (draft-bryan-ftp-range).
    if from <= to || (from, to) == (1, 0) { Ok((from, to)) } else { Err(say::BAD_ARGUMENT) }
}

/// `MFMT TIME NAME`.
pub(super) fn stamp_and_name(argument: &[u8]) -> Result<(SystemTime, Name), Reply> {
    let (time, name) = split(argument);
    Ok((read_stamp(time).ok_or(say::BAD_TIME)?, wanted(name)?.to_vec()))
}

/// `MFF FACT=VALUE;…; NAME`.
pub(super) fn changes(argument: &[u8]) -> Result<(Changes, Name), Reply> {
    let (facts, name) = split(argument);
    let mut changes = Changes::default();
    for fact in facts.split(|byte| *byte == b';').filter(|fact| !fact.is_empty()) {
        let equals = fact.iter().position(|byte| *byte == b'=').ok_or(say::BAD_ARGUMENT)?;
        let value = fact.get(equals + 1..).unwrap_or_default();
        match fact.get(..equals).unwrap_or_default().to_ascii_lowercase().as_slice() {
            b"modify" => changes.modified = Some(read_stamp(value).ok_or(say::BAD_TIME)?),
            b"unix.mode" => changes.mode = Some(octal(value)?),
            _ => return Err(say::BAD_FACT),
        }
    }
    if changes == Changes::default() {
        return Err(say::ARGUMENT_WANTED);
    }
    Ok((changes, wanted(name)?.to_vec()))
}

/// `NAME`, `"NAME"`, `"NAME" TO` or `"NAME" FROM TO`; the range is told only with a quoted name, since names have blanks.
pub(super) fn name_and_range(argument: &[u8]) -> (Option<(u64, u64)>, Name) {
    let quoted = argument.strip_prefix(b"\"").and_then(|rest| {
        let end = rest.iter().rposition(|byte| *byte == b'"')?;
        Some((rest.get(..end)?, rest.get(end + 1..)?.trim_ascii()))
    });
    let Some((name, behind)) = quoted else { return (None, argument.to_vec()) };
    let (first, second) = split(behind);
    match (number(first), number(second)) {
        (Ok(from), Ok(to)) if from <= to => (Some((from, to)), name.to_vec()),
        (Ok(to), Err(_)) if second.is_empty() => (Some((0, to)), name.to_vec()),
        _ if behind.is_empty() => (None, name.to_vec()),
        _ => (None, argument.to_vec()),
    }
}

/// `SITE UTIME TIME NAME`, or `SITE UTIME NAME ACCESSED MODIFIED CREATED UTC`.
pub(super) fn utime(argument: &[u8]) -> Result<(SystemTime, Name), Reply> {
    let (time, name) = split(argument);
    if let Some(time) = read_stamp(time)
        && !name.is_empty()
    {
        return Ok((time, name.to_vec()));
    }
    let mut words = argument.rsplitn(5, |byte| *byte == b' ');
    let mut behind = || words.next();
    let (zone, _created, modified, _accessed, name) = (behind(), behind(), behind(), behind(), behind());
    match (zone, modified.and_then(read_stamp), name) {
        (Some(zone), Some(time), Some(name)) if zone.eq_ignore_ascii_case(b"UTC") && !name.is_empty() => {
            Ok((time, name.to_vec()))
        }
        _ => Err(say::BAD_TIME),
    }
}
