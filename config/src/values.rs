//! From the text of a value to its type: each [`Kind`] of the registry has its rule here, and nowhere else.
//!
//! Blanks around a value and upper case in words are forgiven, because they cannot mean anything else. Everything that
//! could mean two things is refused.

mod passive;
mod reply;

pub use passive::{PassiveAddress, PassiveAddresses, PassivePorts};

use crate::{
    secret::SecretText,
    url::{ServiceUrl, any_of, is_host},
};
use ipnet::IpNet;
use lockgate_model::{ByteSize, ProtocolSet};
use std::{net::IpAddr, time::Duration};

/// The type of a value, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// `true` or `false` to the letter: no blank, no comment, no upper case.
    ExactSwitch,
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A duration in whole milliseconds.
    Millis {
        /// The shortest.
        min: u64,
        /// The longest.
        max: u64,
    },
    /// A number of bytes.
    Size {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// One line of text.
    Line,
    /// Text of any number of lines.
    Text,
    /// A reply of FTP, of a few lines, with these variables in it.
    Reply(&'static [&'static str]),
    /// A comma-separated list of protocols.
    Protocols,
    /// A comma-separated list of names in lower case; not empty.
    Channels,
    /// A comma-separated list of words as they are.
    List,
    /// A comma-separated list of networks in CIDR form, or single addresses.
    Networks,
    /// An IP address to listen on; `lookup` stands for every IPv4 address.
    Address,
    /// The addresses told to passive clients: an IP address, a host name or `auto`, for all or by the client's network.
    Advertised,
    /// A range of ports, `50000-50099`; `0` for any free port.
    Ports,
    /// The host of a server, with or without `:port`.
    HostPort,
    /// An email address, or `Name <address>`.
    Mailbox,
    /// The word `SMTP`, or the https address of a service with variables in it.
    SendTarget,
    /// Text with the variables of a request in it.
    SendBody,
    /// An address with one of these schemes.
    Url(&'static [&'static str]),
    /// A path of this machine, from the home where it is relative.
    Path,
    /// A comma-separated list of such paths.
    Paths,
    /// The name of a file, without a folder.
    FileName,
    /// SHA-256 in 64 hexadecimal digits.
    Sha256,
    /// A secret: plain, `env:NAME`, `file:PATH` or sealed.
    Secret,
    /// The address of a database with one of these schemes; a secret, because it may hold a password.
    Store(&'static [&'static str]),
}

/// A value of the right type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing given where nothing need be.
    Nothing,
    /// A switch.
    Switch(bool),
    /// A count.
    Number(u64),
    /// A duration.
    Duration(Duration),
    /// A size.
    Size(ByteSize),
    /// A word of a closed list, as the list writes it.
    Word(&'static str),
    /// Text, a path or a name.
    Text(String),
    /// A list of words.
    List(Vec<String>),
    /// A set of protocols.
    Protocols(ProtocolSet),
    /// Networks.
    Networks(Vec<IpNet>),
    /// An address to listen on.
    Address(IpAddr),
    /// An address to tell.
    Advertised(PassiveAddresses),
    /// Passive ports.
    Ports(PassivePorts),
    /// Where a code is sent.
    Target(SendTarget),
    /// An address of a service.
    Url(ServiceUrl),
    /// A secret.
    Secret(SecretText),
}

/// Where `otp_url` sends a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendTarget {
    /// By email: `otp_url` is `SMTP`.
    Email,
    /// As a request to this address, a template whose host is fixed.
    Request(ServiceUrl),
}

/// What is wrong with a value: what was expected, and what to write instead where that can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What was expected.
    pub expected: String,
    /// What to do.
    pub advice: Option<String>,
}

impl From<String> for Mistake {
    fn from(expected: String) -> Self {
        Self { expected, advice: None }
    }
}

impl From<&str> for Mistake {
    fn from(expected: &str) -> Self {
        expected.to_owned().into()
    }
}

impl Mistake {
    fn advise(expected: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { expected: expected.into(), advice: Some(advice.into()) }
    }
}

impl Kind {
    /// Whether a value of this kind is a secret.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Store(_))
    }

    /// Whether a value of this kind may have a secret in it: never shown as it stands.
    #[must_use]
    pub const fn may_hold_secret(self) -> bool {
        self.is_secret() || matches!(self, Self::SendTarget | Self::SendBody | Self::Url(_))
    }

    /// What an administrator may write, in words.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::ExactSwitch => "exactly true or false, with nothing around it".to_owned(),
            Self::Count { min, max } => range("a whole number", min, max),
            Self::Millis { min, max } => range("a number of milliseconds", min, max),
            Self::Size { min, max } => range("a number of bytes", min, max),
            Self::Word(words) => any_of(words, ""),
            Self::Line => "one line of text".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Reply(_) => "text of at most 40 lines of 400 bytes, without control characters".to_owned(),
            Self::Protocols => "a comma-separated list of ftp, ftps, sftp, http, https, webdav".to_owned(),
            Self::Channels => "a comma-separated list of channel names, for example totp,sms,email".to_owned(),
            Self::List => "a comma-separated list".to_owned(),
            Self::Networks => "a comma-separated list of networks, for example 192.0.2.0/24,2001:db8::/32".to_owned(),
            Self::Address => "an IP address, for example 0.0.0.0 or ::".to_owned(),
            Self::Advertised => "an IP address, a host name or auto; with commas, others as NETWORK=ADDRESS".to_owned(),
            Self::Ports => "a range of ports such as 50000-50099, or 0 for any free port".to_owned(),
            Self::HostPort => "a host name or address, with or without :port".to_owned(),
            Self::Mailbox => "one email address, for example codes@example.com".to_owned(),
            Self::SendTarget => "SMTP, or an address that begins with https://".to_owned(),
            Self::SendBody => "text with variables such as {otp_to} and {otp_token}".to_owned(),
            Self::Url(schemes) => format!("an address that begins with {}", any_of(schemes, "://")),
            Self::Path => "a path".to_owned(),
            Self::Paths => "a comma-separated list of paths".to_owned(),
            Self::FileName => "the name of a file without a folder".to_owned(),
            Self::Sha256 => "64 hexadecimal digits".to_owned(),
            Self::Secret => "a secret as it is, env:NAME or file:PATH".to_owned(),
            Self::Store(schemes) => format!("an address that begins with {}", any_of(schemes, ":")),
        }
    }

    /// Reads a value. `label` is the key's own name, which a secret keeps.
    ///
    /// # Errors
    /// [`Mistake`] where the text is no such value.
    pub fn parse(self, label: &str, text: &str) -> Result<Value, Mistake> {
        let trimmed = text.trim();
        if trimmed.is_empty() && self.may_be_blank() {
            return Ok(self.blank());
        }
        let unfit = || Mistake::from(self.expected());
        Ok(match self {
            Self::Switch => Value::Switch(switch(&trimmed.to_ascii_lowercase()).ok_or_else(|| switch_advice(trimmed))?),
            Self::ExactSwitch => Value::Switch(switch(text).ok_or_else(unfit)?),
            Self::Count { min, max } => Value::Number(number(trimmed, min, max).ok_or_else(unfit)?),
            Self::Millis { min, max } => match number(trimmed, min, max) {
                Some(ms) => Value::Duration(Duration::from_millis(ms)),
                None => return Err(Mistake { expected: self.expected(), advice: millis_advice(trimmed) }),
            },
            Self::Size { min, max } => Value::Size(ByteSize(number(trimmed, min, max).ok_or_else(unfit)?)),
            Self::Word(words) => {
                Value::Word(words.iter().find(|word| word.eq_ignore_ascii_case(trimmed)).copied().ok_or_else(unfit)?)
            }
            Self::Line if trimmed.chars().any(char::is_control) => return Err(unfit()),
            Self::Line => Value::Text(trimmed.to_owned()),
            Self::Text => Value::Text(text.to_owned()),
            Self::Reply(variables) => Value::Text(reply::reply(text, variables)?),
            Self::Protocols => Value::Protocols(protocols(trimmed)?),
            Self::Channels => Value::List(channels(trimmed)?),
            Self::List => Value::List(words(trimmed)?),
            Self::Networks => Value::Networks(networks(trimmed)?),
            Self::Address if trimmed.eq_ignore_ascii_case("lookup") => Value::Address(IpAddr::from([0, 0, 0, 0])),
            Self::Address => Value::Address(trimmed.parse().map_err(|_| unfit())?),
            Self::Advertised => Value::Advertised(passive::advertised(trimmed)?),
            Self::Ports => Value::Ports(passive::ports(trimmed).ok_or_else(unfit)?),
            Self::HostPort => Value::Text(host_port(trimmed).ok_or_else(unfit)?.to_owned()),
            Self::Mailbox => Value::Text(mailbox(trimmed).ok_or_else(unfit)?.to_owned()),
            Self::SendTarget => Value::Target(send_target(trimmed)?),
            Self::SendBody => {
                known_variables(text)?;
                Value::Text(text.to_owned())
            }
            Self::Url(schemes) => Value::Url(ServiceUrl::parse(trimmed, schemes)?),
            Self::Path => Value::Text(path(trimmed)?.to_owned()),
            Self::Paths => Value::List(words(trimmed)?),
            Self::FileName => Value::Text(file_name(trimmed).ok_or_else(unfit)?.to_owned()),
            Self::Sha256 => Value::Text(sha256(trimmed).ok_or_else(unfit)?),
            Self::Secret => Value::Secret(secret(label, text)?),
            Self::Store(schemes) => Value::Secret(store(label, trimmed, schemes).ok_or_else(unfit)??),
        })
    }

    /// Whether an empty element says "nothing" rather than being a mistake.
    const fn may_be_blank(self) -> bool {
        !matches!(
            self,
            Self::Switch
                | Self::ExactSwitch
                | Self::Count { .. }
                | Self::Millis { .. }
                | Self::Size { .. }
                | Self::Word(_)
                | Self::Channels
                | Self::Address
                | Self::Ports
        )
    }

    const fn blank(self) -> Value {
        match self {
            Self::Protocols => Value::Protocols(ProtocolSet::NONE),
            Self::Networks => Value::Networks(Vec::new()),
            Self::List | Self::Paths => Value::List(Vec::new()),
            Self::Advertised => Value::Advertised(PassiveAddresses::all(PassiveAddress::FromConnection)),
            _ => Value::Nothing,
        }
    }
}

fn range(what: &str, min: u64, max: u64) -> String {
    if max == u64::MAX { format!("{what}, at least {min}") } else { format!("{what} from {min} to {max}") }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn switch_advice(text: &str) -> Mistake {
    let meant = match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "1" | "enabled" => Some("write true"),
        "no" | "off" | "0" | "disabled" => Some("write false"),
        _ => None,
    };
    Mistake { expected: Kind::Switch.expected(), advice: meant.map(str::to_owned) }
}

fn number(text: &str, min: u64, max: u64) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| plain && (min..=max).contains(number))
}

/// `90s` means something, only not here.
fn millis_advice(text: &str) -> Option<String> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "ms" => 1,
        "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor).map(|ms| format!("write {ms} for {text}"))
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn protocols(list: &str) -> Result<ProtocolSet, Mistake> {
    list.parse().map_err(|error: lockgate_model::UnknownProtocol| {
        Mistake::advise(Kind::Protocols.expected(), format!("{:?} is no protocol", crate::error::shorten(&error.0)))
    })
}

fn channels(list: &str) -> Result<Vec<String>, Mistake> {
    let mut names: Vec<String> = Vec::new();
    for word in split(list) {
        let name = word.to_ascii_lowercase();
        if !is_channel_name(&name) {
            return Err(Kind::Channels.expected().into());
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { Err(Kind::Channels.expected().into()) } else { Ok(names) }
}

/// Lower-case letters, digits and `-`, at most 32: what the gate and the plugin host take for a channel, or a plugin that
/// is put to use. Anything wider would be read here and dropped there.
pub(crate) fn is_channel_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Letters, digits, `_` and `-`, at most 64: what a plugin that is not put to use can be called: other servers' lists have more.
pub(crate) fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn words(list: &str) -> Result<Vec<String>, Mistake> {
    if list.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()) {
        return Err("a comma-separated list without control characters".into());
    }
    Ok(split(list).map(str::to_owned).collect())
}

fn networks(list: &str) -> Result<Vec<IpNet>, Mistake> {
    split(list).map(network).collect()
}

fn network(word: &str) -> Result<IpNet, Mistake> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let net: IpNet = word.parse().map_err(|_| {
        let shown = crate::error::shorten(word);
        Mistake::advise(Kind::Networks.expected(), format!("{shown:?} is neither a network nor an address"))
    })?;
    if net.trunc() == net {
        return Ok(net);
    }
    Err(Mistake::advise(
        Kind::Networks.expected(),
        format!(
            "{net} is not the beginning of a network: write {} for all of it, or {} for the one address",
            net.trunc(),
            net.addr()
        ),
    ))
}

fn host_port(text: &str) -> Option<&str> {
    let (host, port) = split_host_port(text)?;
    (is_host(host) && port != Some(0)).then_some(text)
}

/// Takes `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address apart.
pub(crate) fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let port = |digits: &str| number(digits, 1, 65_535).and_then(|port| u16::try_from(port).ok());
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return if after.is_empty() { Some((host, None)) } else { Some((host, Some(port(after.strip_prefix(':')?)?))) };
    }
    match text.split_once(':') {
        Some((host, digits)) if !digits.contains(':') => Some((host, Some(port(digits)?))),
        _ => Some((text, None)),
    }
}

/// One mailbox and nothing that could begin another header or recipient.
fn mailbox(text: &str) -> Option<&str> {
    let address = match text.split_once('<') {
        Some((name, rest)) if !name.contains([',', ';', '@', '<', '>']) => rest.strip_suffix('>')?,
        Some(_) => return None,
        None => text,
    };
    let (local, domain) = address.rsplit_once('@')?;
    let local_is_sound =
        !local.is_empty() && local.len() <= 64 && !local.contains(|c: char| c.is_whitespace() || ",;<>@\"".contains(c));
    let sound = local_is_sound && is_host(domain.trim_start_matches('[').trim_end_matches(']'));
    (sound && !text.chars().any(char::is_control)).then_some(text)
}

fn send_target(text: &str) -> Result<SendTarget, Mistake> {
    if text == "SMTP" {
        return Ok(SendTarget::Email);
    }
    if text.eq_ignore_ascii_case("smtp") {
        return Err(Mistake::advise(Kind::SendTarget.expected(), "write SMTP in capitals"));
    }
    let url = ServiceUrl::parse(text, &["https", "http"])?;
    if url.scheme() == "http" && !url.is_loopback() {
        return Err(Mistake::advise(
            Kind::SendTarget.expected(),
            "a code must not travel in clear: write https:// (http:// works to this machine alone)",
        ));
    }
    known_variables(text)?;
    Ok(SendTarget::Request(url))
}

/// The variables of a request, besides `{user_x_NAME}`.
pub(crate) const SEND_VARIABLES: [&str; 7] =
    ["otp_username", "otp_password", "otp_to", "otp_from", "otp_token", "otp_extra1", "otp_extra2"];

/// Braces may be the body's own (JSON); only what begins like a variable must be one.
fn known_variables(text: &str) -> Result<(), Mistake> {
    for part in text.split('{').skip(1) {
        let Some((name, _)) = part.split_once('}') else { continue };
        let looks = name.starts_with("otp_") || name.starts_with("user_");
        let known = SEND_VARIABLES.contains(&name) || name.strip_prefix("user_x_").is_some_and(|rest| !rest.is_empty());
        if looks && !known {
            return Err(Mistake::advise(
                Kind::SendBody.expected(),
                format!(
                    "{{{}}} is no variable; there are {{{}}} and {{user_x_NAME}}",
                    crate::error::shorten(name),
                    SEND_VARIABLES.join("}, {")
                ),
            ));
        }
    }
    Ok(())
}

fn path(text: &str) -> Result<&str, Mistake> {
    if text.chars().any(char::is_control) { Err("a path without control characters".into()) } else { Ok(text) }
}

fn file_name(text: &str) -> Option<&str> {
    let sound = text.len() <= 255
        && !text.starts_with('.')
        && !text.contains(['/', '\\'])
        && !text.chars().any(char::is_control);
    sound.then_some(text)
}

fn sha256(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

fn secret(label: &str, text: &str) -> Result<SecretText, Mistake> {
    SecretText::parse(label, text)?.ok_or_else(|| Kind::Secret.expected().into())
}

fn store(label: &str, text: &str, schemes: &[&str]) -> Option<Result<SecretText, Mistake>> {
    let found = match secret(label, text) {
        Ok(found) => found,
        Err(mistake) => return Some(Err(mistake)),
    };
    let begins_well = || text.split_once(':').is_some_and(|(scheme, _)| schemes.contains(&scheme));
    (!found.is_plain() || begins_well()).then_some(Ok(found))
}
