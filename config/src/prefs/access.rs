//! Limits around logging in: time, connections, pauses, bans, passwords.

use super::reader::Reader;
use ipnet::IpNet;
use std::time::Duration;

/// Limits before and during login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginLimits {
    /// `login_grace`: from connecting to a finished login.
    pub grace: Duration,
    /// `max_users`: sessions in all; `None` sets no limit.
    pub max_sessions: Option<u32>,
    /// `max_users_per_address`; `None` sets no limit.
    pub max_sessions_per_address: Option<u32>,
    /// `max_strangers`: connections that have not logged in, in all.
    pub max_strangers: u32,
    /// `max_strangers_per_address`.
    pub max_strangers_per_address: u32,
    /// `login_pause_after`: wrong passwords in a row.
    pub pause_after: u32,
    /// `login_pause_first`; each further pause doubles.
    pub pause_first: Duration,
    /// `login_pause_max`.
    pub pause_max: Duration,
}

/// When addresses are banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bans {
    /// For wrong logins; `None` never.
    pub failures: Option<BanRule>,
    /// For connecting too often; `None` never.
    pub connections: Option<BanRule>,
    /// `ban_exempt`: never banned.
    pub exempt: Vec<IpNet>,
}

/// So many within a time bring so long a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRule {
    /// How many.
    pub count: u32,
    /// Within what time.
    pub window: Duration,
    /// For how long; `None` until an administrator clears it.
    pub ban: Option<Duration>,
}

/// What a new password must have, and how passwords are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// `min_password_length`, in characters.
    pub min_length: usize,
    /// `min_password_numbers`.
    pub min_digits: usize,
    /// `min_password_lowers`.
    pub min_lowers: usize,
    /// `min_password_uppers`.
    pub min_uppers: usize,
    /// `min_password_specials`.
    pub min_specials: usize,
    /// `password_hash_parallel`; `None` takes the number of cores, at most 4.
    pub hash_parallel: Option<usize>,
    /// `password_hash_queue`.
    pub hash_queue: usize,
}

pub(super) fn read_login(top: &mut Reader<'_>) -> LoginLimits {
    let read = LoginLimits {
        grace: top.duration("login_grace"),
        max_sessions: limit(top.count("max_users")),
        max_sessions_per_address: limit(top.count("max_users_per_address")),
        max_strangers: top.count("max_strangers"),
        max_strangers_per_address: top.count("max_strangers_per_address"),
        pause_after: top.count("login_pause_after"),
        pause_first: top.duration("login_pause_first"),
        pause_max: top.duration("login_pause_max"),
    };
    if read.pause_first > read.pause_max {
        let place = top.place("login_pause_first").or_else(|| top.place("login_pause_max"));
        let problem = format!(
            "is {}, longer than login_pause_max, which is {}",
            read.pause_first.as_millis(),
            read.pause_max.as_millis()
        );
        top.findings.conflict(place, "login_pause_first", problem, "make it the shorter of the two");
    }
    read
}

pub(super) fn read_bans(top: &mut Reader<'_>) -> Bans {
    Bans {
        failures: rule(top, "ban_failures", "ban_failures_window", "ban_failures_time"),
        connections: rule(top, "ban_connections", "ban_connections_window", "ban_connections_time"),
        exempt: top.networks("ban_exempt"),
    }
}

fn rule(top: &mut Reader<'_>, count: &'static str, window: &'static str, time: &'static str) -> Option<BanRule> {
    let (count, window, time) = (limit(top.count(count)), top.duration(window), top.duration(time));
    count.map(|count| BanRule { count, window, ban: (!time.is_zero()).then_some(time) })
}

pub(super) fn read_passwords(top: &mut Reader<'_>) -> PasswordPolicy {
    let parallel: usize = top.count("password_hash_parallel");
    PasswordPolicy {
        min_length: top.count("min_password_length"),
        min_digits: top.count("min_password_numbers"),
        min_lowers: top.count("min_password_lowers"),
        min_uppers: top.count("min_password_uppers"),
        min_specials: top.count("min_password_specials"),
        hash_parallel: (parallel > 0).then_some(parallel),
        hash_queue: top.count("password_hash_queue"),
    }
}

/// Zero stands for no limit.
fn limit(count: u32) -> Option<u32> {
    (count > 0).then_some(count)
}
