//! When a second factor is due, and which channels could ask for it: pure functions of the preferences, the user, the protocol
//! and the address.
//!
//! The seven rules stand in one order, the first that fits decides, and `lockgate otp explain` prints its number. Nothing here
//! asks a store, a clock or a plugin, so every row can be tested on every protocol.

use crate::{AccessSettings, ChannelName, Enforce};
use lockgate_model::Protocol;
use lockgate_users::Account;
use std::net::IpAddr;

/// What the decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    /// The preferences.
    pub settings: &'a AccessSettings,
    /// The protocol of the session.
    pub protocol: Protocol,
    /// The client's address, IPv4-in-IPv6 unwrapped.
    pub address: IpAddr,
    /// The user's explicit `otp_auth_<protocol>`.
    pub explicit: Option<bool>,
    /// The user's `otp_auth` flag.
    pub flagged: bool,
    /// Whether the user has an enrolled authenticator.
    pub enrolled: bool,
    /// Whether the user administers the server.
    pub admin: bool,
}

impl<'a> PolicyInput<'a> {
    /// The input for an account.
    #[must_use]
    pub fn of(settings: &'a AccessSettings, account: &Account, protocol: Protocol, address: IpAddr) -> Self {
        Self {
            settings,
            protocol,
            address: address.to_canonical(),
            explicit: account.otp_auth_by_protocol.get(&protocol).copied(),
            flagged: account.otp_auth,
            enrolled: !account.enrolments.is_empty(),
            admin: account.admin,
        }
    }
}

/// The rule that decided: the rows of the table, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// 1: the master switch is off.
    SwitchedOff,
    /// 2: the user has an explicit `otp_auth_<protocol>`.
    Explicit,
    /// 3: the address is in `otp_trusted_networks`.
    TrustedNetwork,
    /// 4: `otp_enforce`.
    Enforced,
    /// 5: the user's flag.
    Flagged,
    /// 6: the user's enrolment.
    Enrolled,
    /// 7: none of these.
    Otherwise,
}

impl Rule {
    /// Its number in the table.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::SwitchedOff => 1,
            Self::Explicit => 2,
            Self::TrustedNetwork => 3,
            Self::Enforced => 4,
            Self::Flagged => 5,
            Self::Enrolled => 6,
            Self::Otherwise => 7,
        }
    }

    /// For an operator, in the words of prefs.xml.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::SwitchedOff => "otp_validated_logins is false",
            Self::Explicit => "the user has an otp_auth setting for this protocol",
            Self::TrustedNetwork => "the address is in otp_trusted_networks",
            Self::Enforced => "otp_enforce covers the user",
            Self::Flagged => "the user's otp_auth flag is on",
            Self::Enrolled => "the user has enrolled a factor and twofactor_secret_auto_otp_enable is on",
            Self::Otherwise => "nothing asks for a second factor",
        }
    }
}

/// Whether a factor is due, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Due or not.
    pub due: bool,
    /// Why.
    pub rule: Rule,
}

/// Decides.
#[must_use]
pub fn due(input: &PolicyInput<'_>) -> Decision {
    let settings = input.settings;
    let listed = settings.otp_protocols.contains(input.protocol);
    let enforced = match settings.enforce {
        Enforce::All => true,
        Enforce::Admins => input.admin,
        Enforce::Flagged => false,
    };
    let (rule, due) = if !settings.validated_logins {
        (Rule::SwitchedOff, false)
    } else if let Some(explicit) = input.explicit {
        (Rule::Explicit, explicit)
    } else if settings.trusted_networks.iter().any(|network| network.contains(&input.address)) {
        (Rule::TrustedNetwork, false)
    } else if enforced {
        (Rule::Enforced, listed)
    } else if input.flagged {
        (Rule::Flagged, listed)
    } else if input.enrolled && settings.auto_otp_enable {
        (Rule::Enrolled, listed)
    } else {
        (Rule::Otherwise, false)
    };
    Decision { due, rule }
}

/// Whether a channel could serve a user, as far as the account alone tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// It could.
    Fits,
    /// `totp` and the user has not enrolled.
    NotEnrolled,
    /// `sms` and there is no phone number.
    NoPhone,
    /// `email` and there is no address.
    NoEmail,
    /// A channel that sends, and the user's `otp_auth` flag is off.
    NotFlagged,
    /// A plugin's own channel: only the plugin can say.
    AskPlugin,
}

impl Fitness {
    /// For an operator.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Fits => "can serve",
            Self::NotEnrolled => "the user has not enrolled",
            Self::NoPhone => "the user has no phone number",
            Self::NoEmail => "the user has no mail address",
            Self::NotFlagged => "the user's otp_auth flag is off",
            Self::AskPlugin => "the plugin decides",
        }
    }
}

/// Whether `channel` could serve the user.
#[must_use]
pub fn fitness(channel: &str, account: &Account) -> Fitness {
    match channel {
        "totp" if account.enrolments.contains_key(channel) => Fitness::Fits,
        "totp" => Fitness::NotEnrolled,
        "sms" if account.phone.is_none() => Fitness::NoPhone,
        "email" if account.email.is_none() => Fitness::NoEmail,
        "sms" | "email" if !account.otp_auth => Fitness::NotFlagged,
        "sms" | "email" => Fitness::Fits,
        _ => Fitness::AskPlugin,
    }
}

/// What `lockgate otp explain` says about one user on one protocol from one address.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The channels of `otp_channels` in order, each with what the account says about it. Whether the plugin is loaded and
    /// well is not looked at.
    pub channels: Vec<(ChannelName, Fitness)>,
}

/// Explains the policy for a user.
#[must_use]
pub fn explain(settings: &AccessSettings, account: &Account, protocol: Protocol, address: IpAddr) -> Explanation {
    Explanation {
        decision: due(&PolicyInput::of(settings, account, protocol, address)),
        channels: settings
            .channels
            .iter()
            .map(|channel| (channel.clone(), fitness(channel.as_str(), account)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{account, settings};

    struct Row {
        rule: Rule,
        change: fn(&mut AccessSettings, &mut Account, Protocol),
        due: bool,
    }

    /// Each row sets what it needs on top of everything that the rows below it would say "due" by.
    const ROWS: &[Row] = &[
        Row {
            rule: Rule::SwitchedOff,
            change: |s, a, p| (s.validated_logins = false, set_explicit(a, p, true)).1,
            due: false,
        },
        Row { rule: Rule::Explicit, change: |s, a, p| (trust(s), set_explicit(a, p, true)).1, due: true },
        Row { rule: Rule::Explicit, change: |_, a, p| set_explicit(a, p, false), due: false },
        Row { rule: Rule::TrustedNetwork, change: |s, _, _| trust(s), due: false },
        Row { rule: Rule::Enforced, change: |s, a, _| (s.enforce = Enforce::All, a.otp_auth = false).1, due: true },
        Row { rule: Rule::Enforced, change: |s, a, _| (s.enforce = Enforce::Admins, a.admin = true).1, due: true },
        Row { rule: Rule::Flagged, change: |s, _, _| s.enforce = Enforce::Admins, due: true },
        Row { rule: Rule::Enrolled, change: |_, a, _| a.otp_auth = false, due: true },
        Row { rule: Rule::Otherwise, change: |s, a, _| (s.auto_otp_enable = false, a.otp_auth = false).1, due: false },
        Row { rule: Rule::Otherwise, change: |_, a, _| (a.enrolments.clear(), a.otp_auth = false).1, due: false },
    ];

    fn set_explicit(account: &mut Account, protocol: Protocol, due: bool) {
        account.otp_auth_by_protocol.insert(protocol, due);
    }

    fn trust(settings: &mut AccessSettings) {
        settings.trusted_networks = vec!["192.0.2.0/24".parse().unwrap()];
    }

    fn decide(row: &Row, protocol: Protocol, listed: bool) -> Decision {
        let mut settings = settings();
        let mut account = account("alice");
        account.otp_auth = true;
        account.enrolments.insert("totp".into(), vec![1].into());
        if !listed {
            settings.otp_protocols = Protocol::ALL.into_iter().filter(|other| *other != protocol).collect();
        }
        (row.change)(&mut settings, &mut account, protocol);
        due(&PolicyInput::of(&settings, &account, protocol, "192.0.2.7".parse().unwrap()))
    }

    #[test]
    fn every_rule_decides_on_every_protocol_that_the_list_names() {
        for row in ROWS {
            for protocol in Protocol::ALL {
                assert_eq!(decide(row, protocol, true), Decision { due: row.due, rule: row.rule }, "{protocol}");
            }
        }
    }

    #[test]
    fn a_protocol_that_the_list_does_not_name_is_due_by_an_explicit_setting_alone() {
        for row in ROWS {
            for protocol in Protocol::ALL {
                let due = row.due && row.rule == Rule::Explicit;
                assert_eq!(decide(row, protocol, false), Decision { due, rule: row.rule }, "{protocol}");
            }
        }
    }

    #[test]
    fn rules_are_numbered_as_the_table_is() {
        let numbers: Vec<u8> = ROWS.iter().map(|row| row.rule.number()).collect();
        assert_eq!(numbers, [1, 2, 2, 3, 4, 4, 5, 6, 7, 7]);
    }

    #[test]
    fn an_ipv4_address_inside_ipv6_is_in_its_ipv4_network() {
        let mut settings = settings();
        trust(&mut settings);
        let mut account = account("alice");
        account.otp_auth = true;
        let input = PolicyInput::of(&settings, &account, Protocol::Ftp, "::ffff:192.0.2.9".parse().unwrap());
        assert_eq!(due(&input).rule, Rule::TrustedNetwork);
    }

    #[test]
    fn sending_channels_need_a_destination_and_the_flag() {
        let mut account = account("alice");
        assert_eq!(fitness("totp", &account), Fitness::NotEnrolled);
        assert_eq!(fitness("sms", &account), Fitness::NoPhone);
        assert_eq!(fitness("email", &account), Fitness::NoEmail);
        account.phone = Some("+10".into());
        account.email = Some("a@example.org".into());
        assert_eq!(fitness("sms", &account), Fitness::NotFlagged);
        account.otp_auth = true;
        assert_eq!(fitness("sms", &account), Fitness::Fits);
        assert_eq!(fitness("email", &account), Fitness::Fits);
        assert_eq!(fitness("radius", &account), Fitness::AskPlugin);
    }
}
