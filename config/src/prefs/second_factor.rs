//! The keys of the second factor: when it is due, how codes live, what sends them.

use super::{
    Mail,
    reader::Reader,
    words::{Enforce, Enrolment, Verb},
};
use crate::{numbers, secret::SecretText, url::ServiceUrl, values::SendTarget};
use ipnet::IpNet;
use lockgate_model::ProtocolSet;
use std::time::Duration;

/// When a second factor is due, and how it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SecondFactor {
    /// `otp_validated_logins`: the master switch.
    pub switched_on: bool,
    /// `otp_enforce`.
    pub enforce: Enforce,
    /// `twofactor_secret_auto_otp_enable`: an enrolment switches the factor on.
    pub enrolment_switches_on: bool,
    /// `twofactor_secret_auto_otp_enable_protocols`.
    pub protocols: ProtocolSet,
    /// `otp_channels`, in order; names in lower case, each once, never empty.
    pub channels: Vec<String>,
    /// The life of a code that is sent (`otp_token_timeout`, 5 min by default, at most 10).
    pub sent_code_life: Duration,
    /// `otp_token_length`: 4 to 16 characters.
    pub code_length: u8,
    /// `otp_numeric`: digits only.
    pub code_is_numeric: bool,
    /// `otp_max_attempts`: wrong codes of one challenge.
    pub max_attempts: u32,
    /// `otp_pause_after`: wrong codes in a row before pauses.
    pub pause_after: u32,
    /// `otp_freeze_after`: wrong codes in a row before the factor is frozen.
    pub freeze_after: u32,
    /// `otp_totp_ahead`: steps an authenticator may be ahead, 0 or 1.
    pub totp_steps_ahead: u8,
    /// `otp_grant_idle`.
    pub grant_idle: Duration,
    /// `otp_grant_max`.
    pub grant_max: Duration,
    /// `otp_grant_protocols`.
    pub grant_protocols: ProtocolSet,
    /// `otp_trusted_networks`.
    pub trusted_networks: Vec<IpNet>,
    /// `otp_enrolment`.
    pub enrolment: Enrolment,
    /// `otp_app_passwords`.
    pub app_passwords: bool,
    /// `otp_remember_device`; `None` is off.
    pub remember_device: Option<Duration>,
    /// `otp_channel_timeout`: waiting for all channels of one login.
    pub channel_timeout: Duration,
}

/// The request that sends a code.
#[derive(Clone, Debug, PartialEq)]
pub struct CodeRequest {
    /// `otp_url`; `None` where nothing is set.
    pub target: Option<SendTarget>,
    /// `otp_url_verb`.
    pub verb: Verb,
    /// `otp_post`, a template.
    pub body: Option<String>,
    /// `otp_username`.
    pub username: Option<String>,
    /// `otp_password`.
    pub password: Option<SecretText>,
    /// `otp_from`.
    pub from: Option<String>,
    /// `otp_extra1`.
    pub extra1: Option<String>,
    /// `otp_extra2`.
    pub extra2: Option<String>,
    /// `otp_proxy`.
    pub proxy: Option<ServiceUrl>,
}

/// How much is sent at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendLimits {
    /// `otp_send_interval`: between two messages to one user.
    pub interval: Duration,
    /// `otp_send_max_per_hour`: to one user.
    pub per_hour: u32,
    /// `otp_send_max_per_hour_address`: on behalf of one address.
    pub per_hour_and_address: u32,
    /// `otp_send_max_per_minute`: in all.
    pub per_minute: u32,
}

pub(super) fn read(top: &mut Reader<'_>) -> SecondFactor {
    let remember = top.duration("otp_remember_device");
    let read = SecondFactor {
        switched_on: top.switch("otp_validated_logins"),
        enforce: top.word("otp_enforce", Enforce::All),
        enrolment_switches_on: top.switch("twofactor_secret_auto_otp_enable"),
        protocols: top.protocols("twofactor_secret_auto_otp_enable_protocols"),
        channels: top.list("otp_channels"),
        sent_code_life: top.duration("otp_token_timeout"),
        code_length: top.count("otp_token_length"),
        code_is_numeric: top.switch("otp_numeric"),
        max_attempts: top.count("otp_max_attempts"),
        pause_after: top.count("otp_pause_after"),
        freeze_after: top.count("otp_freeze_after"),
        totp_steps_ahead: top.count("otp_totp_ahead"),
        grant_idle: top.duration("otp_grant_idle"),
        grant_max: top.duration("otp_grant_max"),
        grant_protocols: top.protocols("otp_grant_protocols"),
        trusted_networks: top.networks("otp_trusted_networks"),
        enrolment: top.word("otp_enrolment", Enrolment::Invite),
        app_passwords: top.switch("otp_app_passwords"),
        remember_device: (!remember.is_zero()).then_some(remember),
        channel_timeout: top.duration("otp_channel_timeout"),
    };
    warn(&read, top);
    read
}

fn warn(read: &SecondFactor, top: &mut Reader<'_>) {
    let mut warn = |name: &str, text: String| {
        let place = top.place(name);
        top.findings.warn(place, name, text);
    };
    if !read.switched_on {
        warn(
            "otp_validated_logins",
            "is false: no login is asked for a second factor, whatever else is set".to_owned(),
        );
    } else if read.protocols.is_empty() {
        let text = "is empty: no protocol asks for a second factor, except where a user's own otp_auth_ setting does";
        warn("twofactor_secret_auto_otp_enable_protocols", text.to_owned());
    }
    if u64::from(read.code_length) < numbers::CODE_LENGTH {
        let text =
            format!("is {}: codes under {} characters are guessed more easily", read.code_length, numbers::CODE_LENGTH);
        warn("otp_token_length", text);
    }
    for net in read.trusted_networks.iter().filter(|net| net.prefix_len() == 0) {
        warn("otp_trusted_networks", format!("has {net}: no second factor is due from any such address"));
    }
}

pub(super) fn read_request(top: &mut Reader<'_>, mail: &Mail) -> CodeRequest {
    let read = CodeRequest {
        target: top.send_target("otp_url"),
        verb: top.word("otp_url_verb", Verb::Post),
        body: top.text("otp_post"),
        username: top.text("otp_username"),
        password: top.secret("otp_password"),
        from: top.text("otp_from"),
        extra1: top.text("otp_extra1"),
        extra2: top.text("otp_extra2"),
        proxy: top.url("otp_proxy"),
    };
    let place = top.place("otp_url");
    match &read.target {
        Some(SendTarget::Request(url)) => {
            let carries = |text: &str| text.contains("{otp_token}");
            if !carries(url.as_str()) && !read.body.as_deref().is_some_and(carries) {
                let text = "sends no code: neither it nor otp_post has {otp_token} in it";
                top.findings.warn(place, "otp_url", text);
            }
        }
        Some(SendTarget::Email) if mail.host.is_none() => {
            top.findings.warn(place, "otp_url", "is SMTP, but smtp_server is not set: no code can be sent by email");
        }
        _ => {}
    }
    read
}

pub(super) fn read_limits(top: &mut Reader<'_>) -> SendLimits {
    SendLimits {
        interval: top.duration("otp_send_interval"),
        per_hour: top.count("otp_send_max_per_hour"),
        per_hour_and_address: top.count("otp_send_max_per_hour_address"),
        per_minute: top.count("otp_send_max_per_minute"),
    }
}
