//! The rows. Longer than a file should be only because there is one row a key and none may be elsewhere.
//!
//! Numbers that are security decisions come from [`numbers`].

use super::{Alias, Fallback, Owner, PrefKey, Section, Takes};
use crate::{
    numbers::{self, DAY, HOUR, MINUTE, SECOND},
    prefs::{Durability, Enforce, Enrolment, FtpPrompt, ListenerKind, SessionReuse, TlsMinimum, Verb},
    values::Kind,
};
use Fallback::{Depends, Nothing, Number, Required, Switch as Default, Text as Str};
use Kind::{
    Address, Advertised, Channels, ExactSwitch, FileName, HostPort, Line, List, Mailbox, Networks, Path, Paths, Ports,
    Protocols, Reply, Secret, SendBody, SendTarget, Sha256, Store, Switch, Text, Url, Word,
};

const FTP: &[ListenerKind] = &[ListenerKind::Ftp];
const FTP_OR_FTPS: &[ListenerKind] = &[ListenerKind::Ftp, ListenerKind::Ftps];
const SFTP: &[ListenerKind] = &[ListenerKind::Sftp];
const WEB: &[ListenerKind] = &[ListenerKind::Http, ListenerKind::Https];
const UNDER_TLS: &[ListenerKind] = &[ListenerKind::Ftp, ListenerKind::Ftps, ListenerKind::Https, ListenerKind::Dmz];
/// What stands for something in a text that strangers are shown, and in one for users.
const STRANGERS: &[&str] = &["client_ip", "protocol"];
const USERS: &[&str] = &["client_ip", "protocol", "user_name"];
const ALL_PROTOCOLS: &str = "ftp,ftps,sftp,http,https,webdav";

/// Every key, by chapter, in the order of the reference.
#[rustfmt::skip]
pub static KEYS: &[PrefKey] = &[
    // The second factor
    crush(Section::SecondFactor, "otp_validated_logins", ExactSwitch, Required, "The master switch: true asks for second factors, false never does.").guards(),
    own(Section::SecondFactor, "otp_enforce", Word(Enforce::WORDS), Str("flagged"), "Who needs a second factor on the listed protocols: users with the flag or an enrolment, administrators too, or all.").guards(),
    crush(Section::SecondFactor, "twofactor_secret_auto_otp_enable", Switch, Default(true), "Whether enrolling an authenticator switches the second factor on for the user.").guards(),
    crush(Section::SecondFactor, "twofactor_secret_auto_otp_enable_protocols", Protocols, Str(ALL_PROTOCOLS), "The protocols on which a second factor is due; an empty list means none.").guards(),
    own(Section::SecondFactor, "otp_channels", Channels, Str("totp,sms,email"), "The channels in the order in which they are tried.").guards(),
    crush(Section::SecondFactor, "otp_token_timeout", millis(SECOND, numbers::CODE_LIFE_MAX), Number(numbers::SENT_CODE_LIFE), "The life of a sent code, in milliseconds; the code of an authenticator app lives for its step of 30 s and the next, whatever is set here.").guards(),
    own(Section::SecondFactor, "otp_token_length", count(numbers::CODE_LENGTH_MIN, 16), Number(numbers::CODE_LENGTH), "The number of characters of a sent code; under 6 is accepted with a warning.").also(&[plain_alias("temp_accounts_length")]).guards(),
    crush(Section::SecondFactor, "otp_numeric", Switch, Default(true), "Whether sent codes are digits; otherwise letters and digits that do not look alike.").guards(),
    own(Section::SecondFactor, "otp_max_attempts", count(1, 10), Number(numbers::CODES_PER_CHALLENGE), "Wrong codes that one challenge takes.").guards(),
    own(Section::SecondFactor, "otp_pause_after", count(1, numbers::FAILURES_BEFORE_FREEZE), Number(numbers::FAILURES_BEFORE_PAUSES), "Wrong codes in a row of one account before there are pauses.").guards(),
    own(Section::SecondFactor, "otp_freeze_after", count(1, numbers::FAILURES_BEFORE_FREEZE), Number(numbers::FAILURES_BEFORE_FREEZE), "Wrong codes in a row after which the factor is frozen until an administrator or a recovery code acts.").guards(),
    own(Section::SecondFactor, "otp_totp_ahead", count(0, 1), Number(0), "Steps of 30 s that an authenticator's clock may be ahead of the server's.").guards(),
    own(Section::SecondFactor, "otp_grant_idle", millis(0, DAY), Number(numbers::GRANT_IDLE), "How long a checked login is remembered after its last use on protocols that repeat credentials, in milliseconds.").guards(),
    own(Section::SecondFactor, "otp_grant_max", millis(0, 7 * DAY), Number(numbers::GRANT_MAX), "How long it is remembered at most, in milliseconds.").guards(),
    own(Section::SecondFactor, "otp_grant_protocols", Protocols, Str("ftp,ftps,webdav,http,https"), "The protocols on which a checked login is remembered for a client that repeats it.").guards(),
    own(Section::SecondFactor, "otp_trusted_networks", Networks, Nothing, "Networks from which no second factor is due.").guards(),
    own(Section::SecondFactor, "otp_enrolment", Word(Enrolment::WORDS), Str("invite"), "What a user without a factor needs to enrol one: an invitation and the password, or the password alone.").guards().not_yet(),
    own(Section::SecondFactor, "otp_app_passwords", Switch, Default(true), "Whether app passwords, which need no code, exist.").guards(),
    own(Section::SecondFactor, "otp_remember_device", millis(0, 90 * DAY), Number(0), "How long a browser may skip the code after a full login, in milliseconds; 0 switches it off.").guards().not_yet(),
    own(Section::SecondFactor, "otp_channel_timeout", millis(SECOND, MINUTE), Number(numbers::CHANNEL_TIMEOUT), "How long one login waits for its channels in all, in milliseconds.").guards(),
    // Sending codes by a web request
    crush(Section::Sending, "otp_url", SendTarget, Nothing, "The address that sends a code, with variables in it, or SMTP to send it by email.").guards(),
    crush(Section::Sending, "otp_url_verb", Word(Verb::WORDS), Str("POST"), "The method of the request."),
    crush(Section::Sending, "otp_post", SendBody, Nothing, "The body of the request, with variables in it."),
    crush(Section::Sending, "otp_username", Line, Nothing, "What {otp_username} stands for."),
    crush(Section::Sending, "otp_password", Secret, Nothing, "What {otp_password} stands for."),
    crush(Section::Sending, "otp_from", Line, Nothing, "What {otp_from} stands for: the sender's number or name."),
    crush(Section::Sending, "otp_extra1", Line, Nothing, "What {otp_extra1} stands for."),
    crush(Section::Sending, "otp_extra2", Line, Nothing, "What {otp_extra2} stands for."),
    own(Section::Sending, "otp_proxy", Url(&["http", "https", "socks5", "socks5h"]), Nothing, "The proxy for the request; without it the environment's proxy variables hold.").guards(),
    own(Section::Sending, "otp_send_interval", millis(0, HOUR), Number(numbers::SEND_INTERVAL), "The least time between two messages to one user, in milliseconds; 0 sets none.").guards(),
    own(Section::Sending, "otp_send_max_per_hour", count(1, 1_000), Number(numbers::SENDS_PER_HOUR), "Messages an hour to one user.").guards(),
    own(Section::Sending, "otp_send_max_per_hour_address", count(1, 100_000), Number(numbers::SENDS_PER_HOUR_ADDRESS), "Messages an hour on behalf of one address.").guards(),
    own(Section::Sending, "otp_send_max_per_minute", count(1, 1_000_000), Number(numbers::SENDS_PER_MINUTE), "Messages a minute to all users together.").guards(),
    // The mail server
    crush(Section::Mail, "smtp_server", HostPort, Nothing, "The mail server that codes go through where otp_url is SMTP, as host or host:port."),
    own(Section::Mail, "smtp_port", count(1, 65_535), Depends("the port in smtp_server, else 465 with smtp_ssl, 587 with STARTTLS, 25 without"), "The mail server's port."),
    crush(Section::Mail, "smtp_user", Line, Nothing, "The name to log in with at the mail server."),
    crush(Section::Mail, "smtp_pass", Secret, Nothing, "The password to log in with at the mail server."),
    crush(Section::Mail, "smtp_from", Mailbox, Nothing, "The sender of messages whose template names none."),
    crush(Section::Mail, "smtp_ssl", Switch, Default(false), "Whether the connection is under TLS from its first byte."),
    crush(Section::Mail, "smtp_start_tls_allowed", Switch, Default(true), "Whether the connection is put under TLS by STARTTLS; without it only a server on this machine may get a password.").guards(),
    own(Section::Mail, "smtp_tls_ca", Path, Nothing, "The certificate of the one authority that vouches for the mail server, PEM; without it those of the system.").guards(),
    crush(Section::Mail, "smtp_html", Switch, Default(false), "Whether the bodies of templates are HTML."),
    // Email templates
    crush(Section::Templates, "email_templates[].name", Line, Required, "The name; the one called Two Factor Auth carries codes."),
    crush(Section::Templates, "email_templates[].emailFrom", Mailbox, Nothing, "The sender; smtp_from where it is empty."),
    crush(Section::Templates, "email_templates[].emailReplyTo", Mailbox, Nothing, "Where answers go."),
    crush(Section::Templates, "email_templates[].emailCC", List, Nothing, "Further receivers who are seen."),
    crush(Section::Templates, "email_templates[].emailBCC", List, Nothing, "Further receivers who are not seen."),
    crush(Section::Templates, "email_templates[].emailSubject", Line, Nothing, "The subject, with variables in it."),
    crush(Section::Templates, "email_templates[].emailBody", Text, Nothing, "The body: {auth_token} is the code, {user_name}, {user_email} and {user_x_NAME} the user's own texts."),
    // Listeners
    crush(Section::Listeners, "server_list[].serverType", Word(ListenerKind::WORDS), Required, "What the listener speaks; FTPS is implicit TLS."),
    crush(Section::Listeners, "server_list[].ip", Address, Str("0.0.0.0"), "The address it listens on; lookup stands for every IPv4 address.").guards(),
    crush(Section::Listeners, "server_list[].port", count(0, 65_535), Required, "The port; 0 takes any free one."),
    crush(Section::Listeners, "server_list[].enabled", Switch, Default(true), "Whether it is opened.").guards(),
    crush(Section::Listeners, "server_list[].explicit_tls", Switch, Default(true), "FTP: whether AUTH TLS is offered.").guards().only(FTP),
    crush(Section::Listeners, "server_list[].require_secure", Switch, Default(false), "FTP: whether logging in and moving files need AUTH TLS and protected data connections.").guards().only(FTP),
    crush(Section::Listeners, "server_list[].pasv_ports", Ports, Str("50000-50099"), "FTP and FTPS: the ports of passive data connections; 0 takes any free one.").only(FTP_OR_FTPS),
    crush(Section::Listeners, "server_list[].server_ip", Advertised, Str("auto"), "FTP and FTPS: the address told to passive clients; auto takes the one of the control connection. Entries NETWORK=ADDRESS hold for clients of a network, the smallest that fits. A host name is looked up when the listener opens and every five minutes.").only(FTP_OR_FTPS),
    own(Section::Listeners, "server_list[].pasv_direct", Switch, Default(false), "FTP and FTPS behind a proxy: whether data connections may come straight from the client's address; otherwise they too come from the proxy and begin with a PROXY header.").guards().only(FTP_OR_FTPS),
    crush(Section::Listeners, "server_list[].ftp_welcome_message", Reply(STRANGERS), Depends("ftp_welcome_message of the server"), "FTP and FTPS: the greeting of this listener.").only(FTP_OR_FTPS),
    crush(Section::Listeners, "server_list[].allow_webdav", Switch, Default(true), "HTTP and HTTPS: whether WebDAV is served below /dav/.").guards().only(WEB),
    own(Section::Listeners, "server_list[].scp_legacy", Switch, Default(false), "SFTP: whether the old scp protocol (scp -O) is served.").guards().only(SFTP),
    own(Section::Listeners, "server_list[].proxy_protocol", Networks, Nothing, "Networks whose PROXY protocol header is believed; from everywhere else none is read.").guards(),
    own(Section::Listeners, "server_list[].trusted_proxies", Networks, Nothing, "HTTP and HTTPS: networks whose X-Forwarded-For is believed.").guards().only(WEB),
    own(Section::Listeners, "server_list[].tls_cert", Path, Depends("tls_cert of the server"), "The certificate chain of this listener, PEM.").guards().only(UNDER_TLS),
    own(Section::Listeners, "server_list[].tls_key", Path, Depends("tls_key of the server"), "The private key of this listener, PEM.").guards().only(UNDER_TLS),
    own(Section::Listeners, "server_list[].tls_client_ca", Path, Nothing, "FTP and FTPS: certificates of the authorities, PEM, whose certificates of clients are a first factor; without it clients are asked for none.").guards().only(FTP_OR_FTPS),
    own(Section::Listeners, "server_list[].tls_client_crl", Path, Nothing, "FTP and FTPS: the authorities' lists of revoked certificates, PEM; one of each authority that signs must be there and in date, or no certificate of it counts.").guards().only(FTP_OR_FTPS),
    own(Section::Listeners, "server_list[].max_connections", count(0, 1_000_000), Number(0), "Connections of this listener at once; 0 sets no limit of its own."),
    crush(Section::Listeners, "server_list[].ciphers", List, Nothing, "The cipher suites this listener may use; without it the safe ones of the TLS or SSH library.").guards().not_yet(),
    // Logging in
    own(Section::Login, "login_grace", millis(SECOND, 10 * MINUTE), Number(numbers::LOGIN_GRACE), "The time from connecting to a finished login, in milliseconds.").guards(),
    crush(Section::Login, "max_users", count(0, 10_000_000), Number(0), "Sessions in all; 0 sets no limit."),
    own(Section::Login, "max_users_per_address", count(0, 10_000_000), Number(0), "Sessions of one address; 0 sets no limit.").guards(),
    own(Section::Login, "max_strangers", count(1, 1_000_000), Number(numbers::STRANGERS), "Connections that have not logged in, in all; past it the oldest goes.").guards(),
    own(Section::Login, "max_strangers_per_address", count(1, 1_000_000), Number(numbers::STRANGERS_PER_ADDRESS), "Connections of one address that have not logged in.").guards(),
    own(Section::Login, "login_pause_after", count(1, numbers::FAILURES_BEFORE_FREEZE), Number(numbers::FAILURES_BEFORE_PAUSES), "Wrong passwords in a row of one account and address before there are pauses.").guards(),
    own(Section::Login, "login_pause_first", millis(SECOND, HOUR), Number(numbers::FIRST_PAUSE), "The first pause, in milliseconds; each further one is twice as long.").guards(),
    own(Section::Login, "login_pause_max", millis(SECOND, DAY), Number(numbers::LONGEST_PAUSE), "The longest pause, in milliseconds.").guards(),
    // Bans
    own(Section::Bans, "ban_failures", count(0, 1_000_000), Number(numbers::ADDRESS_FAILURES), "Wrong logins of one address, over all accounts, before it is banned; 0 never bans for it.").also(&[plain_alias("phammer_attempts")]).guards(),
    own(Section::Bans, "ban_failures_window", millis(SECOND, DAY), Number(numbers::ADDRESS_FAILURE_WINDOW), "The time in which they are counted, in milliseconds.").also(&[seconds("phammer_banning")]).guards(),
    own(Section::Bans, "ban_failures_time", millis(0, 365 * DAY), Number(numbers::ADDRESS_BAN), "How long the address is then banned, in milliseconds; 0 until an administrator clears it.").also(&[minutes("pban_timeout")]).guards(),
    own(Section::Bans, "ban_connections", count(0, 1_000_000), Number(0), "Connections of one address before it is banned; 0 never bans for it.").also(&[plain_alias("hammer_attempts")]).guards(),
    own(Section::Bans, "ban_connections_window", millis(SECOND, DAY), Number(10 * SECOND), "The time in which they are counted, in milliseconds.").also(&[seconds("hammer_banning")]).guards(),
    own(Section::Bans, "ban_connections_time", millis(0, 365 * DAY), Number(5 * MINUTE), "How long the address is then banned, in milliseconds; 0 until an administrator clears it.").also(&[minutes("ban_timeout")]).guards(),
    own(Section::Bans, "ban_exempt", Networks, Nothing, "Networks that are never banned.").also(&[plain_alias("never_ban")]).guards(),
    // Passwords
    crush(Section::Passwords, "min_password_length", count(1, numbers::PASSWORD_ALWAYS_ACCEPTED), Number(12), "The least characters of a new password.").guards(),
    crush(Section::Passwords, "min_password_numbers", count(0, 16), Number(0), "The least digits of a new password.").guards(),
    crush(Section::Passwords, "min_password_lowers", count(0, 16), Number(0), "The least lower-case letters of a new password.").guards(),
    crush(Section::Passwords, "min_password_uppers", count(0, 16), Number(0), "The least upper-case letters of a new password.").guards(),
    crush(Section::Passwords, "min_password_specials", count(0, 16), Number(0), "The least other characters of a new password.").guards(),
    own(Section::Passwords, "password_hash_parallel", count(0, 64), Number(0), "Passwords checked at once; 0 takes the number of cores, at most 4.").guards(),
    own(Section::Passwords, "password_hash_queue", count(1, 100_000), Number(numbers::PASSWORD_HASH_QUEUE), "Logins that wait for the check of a password before more are turned away.").guards(),
    // FTP, SSH, HTTP and WebDAV
    own(Section::Doors, "idle_timeout", millis(SECOND, DAY), Number(10 * MINUTE), "An FTP or SFTP session without a command or a moving transfer ends after this, in milliseconds; web sessions have times of their own."),
    own(Section::Doors, "ftp_command_limit", size(512, 1 << 20), Number(numbers::FTP_COMMAND_LIMIT), "The longest FTP command line, in bytes.").guards(),
    own(Section::Doors, "otp_ftp_prompt", Word(FtpPrompt::WORDS), Str("compound"), "How FTP asks for a code: not at all, so that it comes with the password after a colon, or with 332 after a right password, answered by ACCT, which tells that the password was right.").guards(),
    own(Section::Doors, "require_session_reuse", Word(SessionReuse::WORDS), Str("auto"), "FTP and FTPS: whether data connections under TLS must resume the TLS session of their control connection: always, never, or once the client has shown that it can each time.").guards(),
    own(Section::Doors, "ftp_active_mode", Switch, Default(false), "FTP and FTPS: whether PORT and EPRT are obeyed, to the client's own address only.").guards(),
    crush(Section::Doors, "ftp_welcome_message", Reply(STRANGERS), Depends("Lockgate ready"), "The greeting of FTP and FTPS; {client_ip} and {protocol} stand for the client's address and ftp or ftps, and where users may need a code one more line says how to give it."),
    own(Section::Doors, "ftp_login_message", Reply(USERS), Depends("Logged in"), "What FTP and FTPS say to a user who has logged in; {user_name} is the name."),
    own(Section::Doors, "ftp_goodbye_message", Reply(USERS), Depends("Goodbye"), "What FTP and FTPS say at the end; {user_name} is empty where nobody has logged in."),
    own(Section::Doors, "ftp_denied_message", Reply(STRANGERS), Depends("Login incorrect"), "What FTP and FTPS say to everybody who is not let in, whatever the reason."),
    own(Section::Doors, "ssh_host_keys", Paths, Str("keys/ssh_host_ed25519_key"), "The private host keys, the preferred one first.").guards(),
    own(Section::Doors, "ssh_banner", Text, Nothing, "Text that SSH clients are shown before they log in."),
    own(Section::Doors, "ssh_rsa_user_keys", Switch, Default(true), "Whether users may log in with RSA keys (SHA-2 signatures only).").guards(),
    own(Section::Doors, "http_head_timeout", millis(SECOND, 5 * MINUTE), Number(numbers::HTTP_HEAD_TIMEOUT), "The time an HTTP/1 client has to send the head of a request, in milliseconds.").guards(),
    own(Section::Doors, "http_session_idle", millis(MINUTE, 30 * DAY), Number(numbers::GRANT_IDLE), "A web session ends after this without a request, in milliseconds.").guards(),
    own(Section::Doors, "http_session_max", millis(MINUTE, 30 * DAY), Number(numbers::GRANT_MAX), "A web session ends after this in any case, in milliseconds.").guards(),
    own(Section::Doors, "http_session_bind_address", Switch, Default(true), "Whether a web session works from the address alone that it began at.").guards(),
    own(Section::Doors, "public_url", Url(&["https", "http"]), Nothing, "Where users reach the web interface from outside; used in invitations."),
    own(Section::Doors, "dav_lock_timeout", millis(SECOND, DAY), Number(numbers::DAV_LOCK_TIMEOUT), "The longest life of a WebDAV lock, in milliseconds."),
    own(Section::Doors, "dav_locks_per_user", count(1, 100_000), Number(numbers::DAV_LOCKS_PER_USER), "WebDAV locks of one user.").guards(),
    // Files
    own(Section::Files, "durability", Word(Durability::WORDS), Str("full"), "When an upload is reported as done: full after it was synced to disk, rename once it has its name."),
    own(Section::Files, "upload_keep", millis(0, 365 * DAY), Number(numbers::UPLOAD_KEEP), "How long a cut upload is kept so that it can be gone on with, in milliseconds."),
    // The server and its stores
    own(Section::Server, "shutdown_grace", millis(0, HOUR), Number(numbers::SHUTDOWN_GRACE), "How long running transfers may go on when the server stops, in milliseconds."),
    own(Section::Server, "users_url", Store(&["sqlite", "postgres", "postgresql"]), Depends("lockgate.db in the home"), "The database of users; this version opens sqlite:PATH alone.").guards().restart(),
    own(Section::Server, "ledger_url", Store(&["sqlite", "redis", "rediss", "valkey", "valkeys"]), Depends("the database of users"), "Where used codes, sent codes, counters and bans are kept; this version opens sqlite:PATH alone.").guards().restart(),
    own(Section::Server, "tls_cert", Path, Str("keys/tls.crt"), "The certificate chain, PEM.").guards(),
    own(Section::Server, "tls_key", Path, Str("keys/tls.key"), "The private key of the certificate, PEM.").guards(),
    own(Section::Server, "tls_min_version", Word(TlsMinimum::WORDS), Str("1.2"), "The oldest TLS version that is spoken.").guards(),
    own(Section::Server, "acme_enabled", Switch, Default(false), "Whether certificates are fetched by ACME.").guards().not_yet(),
    own(Section::Server, "acme_domains", List, Nothing, "The names such a certificate is for.").not_yet(),
    own(Section::Server, "acme_email", Mailbox, Nothing, "Whom the certificate authority writes to.").not_yet(),
    own(Section::Server, "acme_directory", Url(&["https"]), Nothing, "The certificate authority's directory.").not_yet(),
    // Audit log and metrics
    own(Section::Audit, "audit_file", Path, Str("logs/audit.jsonl"), "The audit log, one JSON object a line.").guards().restart(),
    own(Section::Audit, "audit_transfers", Switch, Default(true), "Whether file operations are recorded besides logins and changes.").guards(),
    own(Section::Audit, "metrics_enabled", Switch, Default(true), "Whether /metrics is served.").not_yet(),
    own(Section::Audit, "metrics_token", Secret, Nothing, "A token that reads /metrics without a login.").guards().not_yet(),
    // Plugins
    own(Section::Plugins, "plugin_call_timeout", millis(SECOND, MINUTE), Number(numbers::PLUGIN_CALL_TIMEOUT), "How long one call of a plugin may take, in milliseconds.").guards(),
    own(Section::Plugins, "plugin_wait_timeout", millis(SECOND, 10 * MINUTE), Number(numbers::PLUGIN_WAIT_TIMEOUT), "The same for a plugin that waits for a person, in milliseconds.").guards(),
    own(Section::Plugins, "plugin_max_calls", count(1, 1_024), Number(16), "Calls of one plugin at once."),
    crush(Section::Plugins, "plugins[].pluginName", Line, Required, "The name: lower-case letters, digits and -; totp is the file lockgate_totp.so.").guards(),
    crush(Section::Plugins, "plugins[].subItem", Line, Nothing, "The name of this instance as a channel of its own, where a plugin is there several times.").guards(),
    crush(Section::Plugins, "plugins[].enabled", Switch, Default(false), "Whether it is loaded.").guards(),
    own(Section::Plugins, "plugins[].file", FileName, Depends("lockgate_NAME.so"), "The file in the plugin folder of the home, where it is not called after the plugin.").guards(),
    own(Section::Plugins, "plugins[].sha256", Sha256, Nothing, "The digest the file must have to be loaded.").guards(),
];

const fn own(section: Section, path: &'static str, kind: Kind, default: Fallback, doc: &'static str) -> PrefKey {
    PrefKey {
        path,
        kind,
        default,
        section,
        takes: Takes::Live,
        security: false,
        owner: Owner::Lockgate,
        also: &[],
        only_for: &[],
        doc,
    }
}

const fn crush(section: Section, path: &'static str, kind: Kind, default: Fallback, doc: &'static str) -> PrefKey {
    PrefKey { owner: Owner::CrushFtp, ..own(section, path, kind, default, doc) }
}

impl PrefKey {
    const fn guards(self) -> Self {
        Self { security: true, ..self }
    }

    const fn restart(self) -> Self {
        Self { takes: Takes::Restart, ..self }
    }

    const fn only(self, only_for: &'static [ListenerKind]) -> Self {
        Self { only_for, ..self }
    }

    const fn not_yet(self) -> Self {
        Self { takes: Takes::NotYet, ..self }
    }

    const fn also(self, also: &'static [Alias]) -> Self {
        Self { also, ..self }
    }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

const fn millis(min: u64, max: u64) -> Kind {
    Kind::Millis { min, max }
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max }
}

const fn plain_alias(name: &'static str) -> Alias {
    Alias { name, scale: 1, unit: "" }
}

const fn seconds(name: &'static str) -> Alias {
    Alias { name, scale: SECOND, unit: "seconds" }
}

const fn minutes(name: &'static str) -> Alias {
    Alias { name, scale: MINUTE, unit: "minutes" }
}
