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

/// How many messages may go out (N10).
#[derive(Clone, Copy, Debug)]
pub struct SendLimits {
    /// Between two messages to one user, and to one destination (`otp_send_interval`, 30 s); zero: no pause.
    pub interval: Duration,
    /// An hour, to one user and to one destination (`otp_send_max_per_hour`, 5).
    pub per_hour: u32,
    /// An hour, for logins from one address (`otp_send_max_per_hour_address`, 20).
    pub per_hour_and_address: u32,
    /// A minute, to all users together (`otp_send_max_per_minute`, 60).
    pub per_minute: u32,
}

/// How long the gate waits for factors (N13).
#[derive(Clone, Copy, Debug)]
pub struct FactorPatience {
    /// For one call (`plugin_call_timeout`, 5 s).
    pub call: Duration,
    /// For all channels of one login together (`otp_channel_timeout`, 10 s).
    pub channels: Duration,
    /// For a person who answers elsewhere (`plugin_wait_timeout`, 60 s).
    pub person: Duration,
}

/// How web sessions, which cookies stand for, live.
#[derive(Clone, Copy, Debug)]
pub struct WebSessions {
    /// After the last request (`http_session_idle`, 30 min).
    pub idle: Duration,
    /// In all (`http_session_max`, 12 h).
    pub max: Duration,
    /// Whether one works from the address alone that it began at (`http_session_bind_address`).
    pub bound_to_address: bool,
}

/// How many passwords are checked at once (N6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLimits {
    /// At once (`password_hash_parallel`); `None`: as many as there are cores, at most 4.
    pub at_once: Option<usize>,
    /// Logins that wait for their turn (`password_hash_queue`, 64); more are turned away.
    pub queue: usize,
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
    /// `otp_grant_idle`.
    pub grant_idle: Duration,
    /// `otp_grant_max`.
    pub grant_max: Duration,
    /// `otp_grant_protocols`.
    pub grant_protocols: ProtocolSet,
    /// `otp_app_passwords`.
    pub app_passwords: bool,
    /// `otp_enrolment`.
    pub enrolment: EnrolmentRule,
    /// How many messages may go out.
    pub send: SendLimits,
    /// How long factors are waited for.
    pub patience: FactorPatience,
    /// How web sessions live.
    pub web: WebSessions,
    /// How many passwords are checked at once.
    pub hashing: HashLimits,
    /// Brute-force defence.
    pub brute_force: BruteForce,
    /// Sessions in all (`max_users`); 0: no limit.
    pub max_sessions: u32,
    /// Sessions of one address (`max_users_per_address`); 0: no limit.
    pub max_sessions_per_address: u32,
    /// Logins under way at once from one address, beyond which it is turned away (busy).
    pub logins_per_address: u32,
    /// Life of a challenge (N9, N1): 5 min.
    pub challenge_life: Duration,
}
