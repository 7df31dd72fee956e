//! What tests of this crate build on: plain settings, a plain account, an origin.

use crate::{
    AccessSettings, BruteForce, ChannelName, Enforce, EnrolmentRule, FactorPatience, HashLimits, SendLimits,
    WebSessions,
};
use lockgate_model::{Conversation, Door, Origin, Protocol, ProtocolSet, UserName};
use lockgate_users::{Account, Epoch};
use std::time::Duration;

/// The defaults of prefs.xml and of security.md.
pub(crate) fn settings() -> AccessSettings {
    AccessSettings {
        validated_logins: true,
        auto_otp_enable: true,
        otp_protocols: ProtocolSet::all(),
        enforce: Enforce::Flagged,
        trusted_networks: Vec::new(),
        channels: ["totp", "sms", "email"].into_iter().map(|name| ChannelName::new(name).unwrap()).collect(),
        max_attempts: 3,
        token_timeout: Duration::from_secs(300),
        token_length: 6,
        token_numeric: true,
        grant_idle: Duration::from_secs(1800),
        grant_max: Duration::from_secs(43_200),
        grant_protocols: Protocol::ALL.into_iter().filter(|protocol| *protocol != Protocol::Sftp).collect(),
        app_passwords: true,
        enrolment: EnrolmentRule::Invite,
        send: SendLimits { interval: Duration::from_secs(30), per_hour: 5, per_hour_and_address: 20, per_minute: 60 },
        patience: FactorPatience {
            call: Duration::from_secs(5),
            channels: Duration::from_secs(10),
            person: Duration::from_secs(60),
        },
        web: WebSessions { idle: Duration::from_secs(1800), max: Duration::from_secs(43_200), bound_to_address: true },
        hashing: HashLimits { at_once: None, queue: 64 },
        brute_force: BruteForce {
            passwords_per_account: 10,
            first_pause: Duration::from_secs(30),
            longest_pause: Duration::from_secs(900),
            failures_per_address: 50,
            address_window: Duration::from_secs(900),
            ban: Duration::from_secs(900),
            codes_per_account: 10,
            codes_until_frozen: 100,
        },
        max_sessions: 0,
        max_sessions_per_address: 0,
        logins_per_address: 0,
        challenge_life: Duration::from_secs(300),
    }
}

/// An account that may do everything and has nothing.
pub(crate) fn account(name: &str) -> Account {
    Account::empty(UserName::new(name).unwrap(), Epoch(1))
}

/// A conversation as its protocol holds it, from an address.
pub(crate) fn origin(protocol: Protocol, address: &str) -> Origin {
    let door = match protocol {
        Protocol::Ftp => Door::Ftp,
        Protocol::Ftps => Door::Ftps,
        Protocol::Sftp => Door::Sftp,
        Protocol::Http => Door::Http,
        Protocol::Https | Protocol::Webdav => Door::Https,
    };
    let conversation = match protocol {
        Protocol::Ftp | Protocol::Ftps | Protocol::Webdav => Conversation::SingleShot,
        Protocol::Sftp | Protocol::Http | Protocol::Https => Conversation::Interactive,
    };
    Origin {
        door,
        protocol,
        peer: (address.parse::<std::net::IpAddr>().unwrap(), 0).into(),
        local: "192.0.2.254:1".parse().unwrap(),
        client_certificate: None,
        conversation,
    }
}

mod directory;
mod factors;
mod house;
mod ledger;

pub(crate) use directory::Accounts;
pub(crate) use factors::{Authenticator, Messenger, Mood};
pub(crate) use house::{House, PASSWORD};
pub(crate) use ledger::Breakable;
