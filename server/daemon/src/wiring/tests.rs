//! Where a key that is carried wrongly would go unnoticed.

use super::*;
use lockgate_config::tree::Tree;
use lockgate_model::{Permission, UserName};
use lockgate_plugins::PluginSpec;
use lockgate_users::{Epoch, MountPoint, PathRule};
use std::fs;

fn prefs(keys: &str) -> Prefs {
    let text = format!("<server_prefs><otp_validated_logins>true</otp_validated_logins>{keys}</server_prefs>");
    Prefs::read(&Tree::parse(text.as_bytes()).unwrap()).unwrap().prefs
}

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::locate(Some(folder.path().to_owned())).unwrap();
    (folder, home)
}

// The tree of an account.

fn account() -> Account {
    Account::empty(UserName::new("alice").unwrap(), Epoch(1))
}

fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

fn tree_of(account: &Account) -> TreeSpec {
    let (_folder, home) = home();
    tree(&home)(account)
}

#[test]
fn without_rules_everything_is_allowed_and_to_a_read_only_user_reading() {
    assert_eq!(tree_of(&account()).otherwise, Permissions::full());
    assert_eq!(tree_of(&Account { read_only: true, ..account() }).otherwise, Permissions::read_only());
}

#[test]
fn where_rules_are_given_nothing_is_allowed_beside_them() {
    let rules = vec![PathRule { path: path("/in"), permissions: Permissions::full() }];
    let spec = tree_of(&Account { rules, ..account() });
    assert_eq!(spec.otherwise, Permissions::NONE);
    assert_eq!(spec.rules, [(path("/in"), Permissions::full())]);
}

#[test]
fn a_read_only_user_only_reads_whatever_a_rule_says_and_reads_no_more_than_it_says() {
    let write_only: Permissions = [Permission::Write].into_iter().collect();
    let rules = vec![
        PathRule { path: path("/all"), permissions: Permissions::full() },
        PathRule { path: path("/drop"), permissions: write_only },
    ];
    let spec = tree_of(&Account { rules, read_only: true, ..account() });
    assert_eq!(spec.rules, [(path("/all"), Permissions::read_only()), (path("/drop"), Permissions::NONE)]);
    assert_eq!(spec.otherwise, Permissions::NONE);
}

#[test]
fn only_a_folder_of_the_home_is_made_where_it_is_missing_and_only_the_users_own_counts() {
    let mounts =
        vec![MountPoint { at: path("/shared"), source: "/srv/shared".into(), permissions: Permissions::read_only() }];
    let spec = tree_of(&Account { mounts, ..account() });
    let [own, shared] = &spec.mounts[..] else { panic!("two mounts were wanted") };
    assert!(own.make && own.counts && own.source.ends_with("files/alice"));
    assert!(!shared.make && !shared.counts);
    assert_eq!(shared.permissions, Permissions::read_only());
    let named = tree_of(&Account { root: Some("/srv/alice".into()), ..account() });
    assert!(!named.mounts[0].make && named.mounts[0].source == std::path::Path::new("/srv/alice"));
}

// What plugins are given.

const REQUEST: &str = "<otp_url>https://sms.example.com/send</otp_url><otp_post>{otp_token}</otp_post>\
    <otp_username>account</otp_username><otp_password>not-a-real-one</otp_password>";
const MAIL: &str = "<smtp_server>mail.example.com</smtp_server><smtp_user>mailer</smtp_user><smtp_pass>not-a-real-one</smtp_pass>\
    <email_templates><email_templates_subitem><name>Two Factor Auth</name><emailBody>{auth_token}</emailBody></email_templates_subitem></email_templates>";

fn plugin(name: &str, more: &str) -> String {
    format!("<plugins_subitem><pluginName>{name}</pluginName><enabled>true</enabled>{more}</plugins_subitem>")
}

fn specs(keys: &str, plugins: &[String]) -> anyhow::Result<Vec<PluginSpec>> {
    let (_folder, home) = home();
    let prefs = prefs(&format!("{keys}<plugins>{}</plugins>", plugins.concat()));
    plugin_specs(&prefs, &home, &SecretKey::generate().unwrap())
}

fn given<'s>(spec: &'s PluginSpec, name: &str) -> Option<&'s str> {
    let mut found = spec.settings.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.expose().as_str());
    assert!(found.next().is_none(), "{name} twice");
    value
}

#[test]
fn otp_url_configures_the_one_channel_that_it_is_for() {
    let both = [plugin("sms", ""), plugin("email", "")];
    let by_request = specs(&format!("{REQUEST}{MAIL}"), &both).unwrap();
    assert_eq!(given(&by_request[0], "otp_url"), Some("https://sms.example.com/send"));
    assert_eq!(given(&by_request[0], "otp_password"), Some("not-a-real-one"));
    assert_eq!((given(&by_request[1], "smtp_server"), given(&by_request[1], "smtp_pass")), (None, None));

    let by_mail =
        specs(&format!("<otp_url>SMTP</otp_url>{MAIL}<otp_password>not-a-real-one</otp_password>"), &both).unwrap();
    assert!(by_mail[0].settings.is_empty(), "the words of a request are nothing without one");
    assert_eq!(given(&by_mail[1], "smtp_server"), Some("mail.example.com"));
    assert_eq!((given(&by_mail[1], "smtp_port"), given(&by_mail[1], "smtp_ssl")), (Some("587"), Some("false")));
    assert_eq!(given(&by_mail[1], "smtp_pass"), Some("not-a-real-one"));

    let neither = specs(MAIL, &both).unwrap();
    assert_eq!((given(&neither[0], "otp_url"), given(&neither[1], "smtp_server")), (None, None));
}

#[test]
fn what_a_plugins_own_entry_says_wins() {
    let own =
        specs(REQUEST, &[plugin("sms", "<otp_post>own {otp_token}</otp_post>"), plugin("totp", "<issuer>X</issuer>")])
            .unwrap();
    assert_eq!(given(&own[0], "otp_post"), Some("own {otp_token}"));
    assert_eq!(given(&own[0], "otp_username"), Some("account"));
    assert_eq!((given(&own[1], "issuer"), given(&own[1], "totp_step_ahead")), (Some("X"), Some("false")));
}

#[test]
fn a_second_provider_learns_nothing_of_the_first() {
    let second = "<subItem>backup</subItem><otp_url>https://other.example.com/</otp_url>";
    let sms = specs(REQUEST, &[plugin("sms", ""), plugin("sms", second)]).unwrap();
    assert_eq!((sms[1].channel.as_str(), sms[1].plugin.as_str()), ("backup", "sms"));
    assert_eq!(given(&sms[1], "otp_url"), Some("https://other.example.com/"));
    assert_eq!((given(&sms[1], "otp_username"), given(&sms[1], "otp_password")), (None, None));

    let second = "<smtp_server>localhost</smtp_server>";
    let mail = specs(&format!("<otp_url>SMTP</otp_url>{MAIL}"), &[plugin("email", second)]).unwrap();
    assert_eq!((given(&mail[0], "smtp_server"), given(&mail[0], "smtp_pass")), (Some("localhost"), None));
    assert_eq!(given(&mail[0], "template.emailBody"), Some("{auth_token}"), "the text is no secret of anybody");
}

#[test]
fn the_authority_of_the_mail_server_is_handed_over_as_text() {
    let (folder, home) = home();
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let keys = format!(
        "<otp_url>SMTP</otp_url>{MAIL}<smtp_tls_ca>keys/mail-ca.pem</smtp_tls_ca><plugins>{}</plugins>",
        plugin("email", "")
    );
    let (prefs, key) = (prefs(&keys), SecretKey::generate().unwrap());
    assert!(plugin_specs(&prefs, &home, &key).unwrap_err().to_string().contains("mail-ca.pem"));
    fs::create_dir(folder.path().join("keys")).unwrap();
    for (text, good) in [(pem, true), ("nothing of the kind", false)] {
        fs::write(folder.path().join("keys/mail-ca.pem"), text).unwrap();
        let given = plugin_specs(&prefs, &home, &key).map(|specs| given(&specs[0], "smtp_tls_ca").map(str::to_owned));
        assert_eq!(given.ok().flatten().as_deref(), good.then_some(text));
    }
}

#[test]
fn the_file_the_digest_and_the_step_ahead_reach_the_plugin() {
    let digest = "0".repeat(64);
    let more = format!("<file>mine.so</file><sha256>{digest}</sha256>");
    let given_to = specs("<otp_totp_ahead>1</otp_totp_ahead>", &[plugin("totp", &more)]).unwrap();
    assert_eq!((given_to[0].file.as_deref(), given_to[0].sha256.as_deref()), (Some("mine.so"), Some(digest.as_str())));
    assert_eq!(given(&given_to[0], "totp_step_ahead"), Some("true"));
    assert!(given_to[0].settings.iter().all(|(name, _)| name != "file" && name != "sha256"));
}

// Databases.

fn places(keys: &str) -> Result<Databases, String> {
    let home = Home::locate(Some("/srv/lockgate".into())).unwrap();
    databases(&prefs(keys), &home, &SecretKey::generate().unwrap()).map_err(|error| error.to_string())
}

#[test]
fn a_path_of_sqlite_is_opened_and_any_other_database_is_refused_without_its_password() {
    let default = places("").unwrap();
    assert_eq!((default.users, default.ledger), ("/srv/lockgate/lockgate.db".into(), None));
    let own = places("<users_url>sqlite:users.db</users_url><ledger_url>sqlite:///var/ledger.db</ledger_url>").unwrap();
    assert_eq!((own.users, own.ledger), ("/srv/lockgate/users.db".into(), Some("/var/ledger.db".into())));
    let shared = places("<ledger_url>sqlite:lockgate.db</ledger_url>").unwrap();
    assert_eq!(shared.ledger, None, "one file is opened once");
    for url in ["postgres://lockgate:not-a-real-one@db/lockgate", "sqlite::memory:", "sqlite:", "sqlite:a.db?mode=ro"] {
        let why = places(&format!("<users_url>{url}</users_url>")).unwrap_err();
        assert!(why.starts_with("users_url") && why.contains("sqlite:") && !why.contains("not-a-real"), "{why}");
    }
    assert!(places("<ledger_url>redis://localhost</ledger_url>").unwrap_err().starts_with("ledger_url"));
}

// Numbers.

#[test]
fn every_limit_of_logging_in_reaches_the_gate_under_its_own_name() {
    let settings = access(&prefs(
        "<otp_send_interval>1001</otp_send_interval><otp_send_max_per_hour>12</otp_send_max_per_hour>\
         <otp_send_max_per_hour_address>13</otp_send_max_per_hour_address><otp_send_max_per_minute>14</otp_send_max_per_minute>\
         <otp_channel_timeout>15000</otp_channel_timeout><plugin_call_timeout>16000</plugin_call_timeout>\
         <plugin_wait_timeout>17000</plugin_wait_timeout><http_session_idle>60018</http_session_idle>\
         <http_session_max>60019</http_session_max><http_session_bind_address>false</http_session_bind_address>\
         <password_hash_parallel>20</password_hash_parallel><password_hash_queue>21</password_hash_queue>\
         <max_users>22</max_users><max_users_per_address>23</max_users_per_address>",
    ));
    let ms = Duration::from_millis;
    let send = settings.send;
    assert_eq!((send.interval, send.per_hour, send.per_hour_and_address, send.per_minute), (ms(1001), 12, 13, 14));
    let patience = settings.patience;
    assert_eq!((patience.channels, patience.call, patience.person), (ms(15_000), ms(16_000), ms(17_000)));
    assert_eq!((settings.web.idle, settings.web.max, settings.web.bound_to_address), (ms(60_018), ms(60_019), false));
    assert_eq!(settings.hashing, HashLimits { at_once: Some(20), queue: 21 });
    assert_eq!((settings.max_sessions, settings.max_sessions_per_address), (22, 23));
}

#[test]
fn a_zero_that_stands_for_no_limit_never_becomes_a_limit_of_none() {
    let settings = access(&prefs("<ban_failures>0</ban_failures>"));
    assert_eq!(settings.brute_force.failures_per_address, u32::MAX);
    assert_eq!((settings.max_sessions, settings.max_sessions_per_address), (0, 0));
    assert!(connections(None) > 1_000);
    let for_ever = access(&prefs("<ban_failures_time>0</ban_failures_time>"));
    assert_eq!(for_ever.brute_force.ban, UNTIL_CLEARED);
}

#[test]
fn connecting_too_often_is_banned_for_only_where_that_is_set() {
    assert_eq!(net(&prefs("<max_users_per_address>1</max_users_per_address>")).connection_ban, None);
    assert_eq!(
        net(&prefs("<max_users_per_address>1</max_users_per_address>")).connections_per_address,
        CONNECTIONS_PER_ADDRESS
    );
    let limits = net(&prefs(
        "<ban_connections>9</ban_connections><ban_connections_window>2000</ban_connections_window><ban_connections_time>3000</ban_connections_time>",
    ));
    let ms = Duration::from_millis;
    let wanted = ConnectionBan { connections: 9, window: ms(2000), ban: ms(3000) };
    assert_eq!(limits.connection_ban, Some(wanted));
}

#[test]
fn what_a_password_should_have_is_carried_key_by_key() {
    let rules = password_rules(&prefs(
        "<min_password_length>1</min_password_length><min_password_numbers>2</min_password_numbers>\
         <min_password_lowers>3</min_password_lowers><min_password_uppers>4</min_password_uppers>\
         <min_password_specials>5</min_password_specials>",
    ));
    assert_eq!(rules, PasswordRules { length: 1, digits: 2, lowers: 3, uppers: 4, specials: 5 });
}

#[test]
fn one_address_cannot_take_all_the_connections_there_are() {
    let one = net(&prefs("")).connections_per_address;
    assert!(one * 10 <= connections(None), "{one}");
}
