//! What the daemon tells the gate out of prefs.xml.

use ipnet::IpNet;
use lockgate_model::ProtocolSet;
use std::{fmt, sync::Arc, time::Duration};

/// The name of a channel: `totp`, `sms`, `email`, or a plugin's own. Lower-case ASCII letters, digits and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Parses a name: 1 to 32 of `a-z`, `0-9`, `-`.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| Self(text.into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `otp_enforce`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforce {
    /// Only who is flagged or enrolled.
    #[default]
    Flagged,
    /// Administrators too.
    Admins,
    /// Everybody.
    All,
}

/// `otp_enrolment`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnrolmentRule {
    /// An invitation and the password.
    #[default]
    Invite,
    /// The password alone.
    Password,
}

/// The numbers of N7, N10 and N17 (security.md section 2).
#[derive(Clone, Copy, Debug)]
pub struct BruteForce {
    /// Wrong passwords in a row per account and address before pauses begin (10).
    pub passwords_per_account: u32,
    /// The first pause (30 s), doubling …
    pub first_pause: Duration,
    /// … up to this (15 min).
    pub longest_pause: Duration,
    /// Wrong passwords per address over all accounts within the window before the address is banned (50).
    pub failures_per_address: u32,
    /// That window (15 min).
    pub address_window: Duration,
    /// How long a ban lasts.
    pub ban: Duration,
    /// Wrong codes in a row per account before pauses begin (10).
    pub codes_per_account: u32,
    /// Wrong codes in a row that freeze the factor (100).
    pub codes_until_frozen: u32,
}

/// Everything of prefs.xml that the gate goes by.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// `otp_validated_logins`: the master switch.
    pub validated_logins: bool,
    /// `twofactor_secret_auto_otp_enable`.
    pub auto_otp_enable: bool,
    /// `twofactor_secret_auto_otp_enable_protocols`.
    pub otp_protocols: ProtocolSet,
    /// `otp_enforce`.
    pub enforce: Enforce,
    /// `otp_trusted_networks`.
    pub trusted_networks: Vec<IpNet>,
    /// `otp_channels`, in order. A channel with no loaded factor cannot serve.
    pub channels: Vec<ChannelName>,
    /// `otp_max_attempts`.
    pub max_attempts: u32,
    /// Life of a sent code (`otp_token_timeout`, 300 s when absent).
    pub token_timeout: Duration,
    /// `otp_token_length`.
    pub token_length: u32,
    /// `otp_numeric`.
    pub token_numeric: bool,
    /// `otp_grant_idle`, also the idle time of a web session.
    pub grant_idle: Duration,
    /// `otp_grant_max`, also the longest life of a web session.
    pub grant_max: Duration,
    /// `otp_grant_protocols`.
    pub grant_protocols: ProtocolSet,
    /// `otp_app_passwords`.
    pub app_passwords: bool,
    /// `otp_enrolment`.
    pub enrolment: EnrolmentRule,
    /// `otp_send_max_per_minute`.
    pub send_max_per_minute: u32,
    /// Brute-force defence.
    pub brute_force: BruteForce,
    /// Sessions in all (`max_users`); 0: no limit.
    pub max_sessions: u32,
    /// Logins under way at once from one address, beyond which it is turned away (busy).
    pub logins_per_address: u32,
    /// Life of a challenge (N9, N1): 5 min.
    pub challenge_life: Duration,
}
