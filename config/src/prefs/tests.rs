//! The rules of the file, one test each.

use super::*;
use crate::{
    FreshPorts, fresh,
    keys::{self, KEYS},
    values::{PassiveAddress, PassivePorts, SendTarget},
};
use proptest::prelude::*;
use std::{net::Ipv4Addr, time::Duration};

const SWITCH: &str = "<otp_validated_logins>true</otp_validated_logins>";

fn document(inside: &str) -> String {
    format!("<server_prefs type=\"properties\">\n{inside}\n</server_prefs>")
}

fn read_raw(text: &str) -> Result<Reading, Refusal> {
    Prefs::read(&Tree::parse(text.as_bytes()).map_err(Refusal::from)?)
}

/// A document with the master switch and `inside`.
fn read(inside: &str) -> Result<Reading, Refusal> {
    read_raw(&document(&format!("{SWITCH}\n{inside}")))
}

fn prefs(inside: &str) -> Prefs {
    read(inside).unwrap_or_else(|refusal| panic!("{inside}: {refusal}")).prefs
}

/// The one message that refuses a document.
fn refused(inside: &str) -> String {
    refused_raw(&document(&format!("{SWITCH}\n{inside}")))
}

fn refused_raw(text: &str) -> String {
    let refusal = read_raw(text).expect_err(text);
    assert_eq!(refusal.errors.len(), 1, "{:?}", refusal.errors);
    let message = refusal.to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn warnings(inside: &str) -> String {
    let reading = read(inside).unwrap_or_else(|refusal| panic!("{inside}: {refusal}"));
    reading.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn listener(inside: &str) -> String {
    format!(
        "<server_list type=\"vector\"><server_list_subitem type=\"properties\">{inside}</server_list_subitem></server_list>"
    )
}

mod items;

// The master switch.

#[test]
fn only_the_words_true_and_false_move_the_master_switch() {
    let with = |value: &str| read_raw(&document(&format!("<otp_validated_logins>{value}</otp_validated_logins>")));
    assert!(with("true").unwrap().prefs.second_factor.switched_on);
    assert!(!with("false").unwrap().prefs.second_factor.switched_on);
    let others = [
        "",
        " ",
        "True",
        "FALSE",
        " false",
        "false\n",
        "no",
        "0",
        "off",
        "fals",
        "true false",
        "<b>false</b>",
        "<!-- -->false",
        "fal<!-- -->se",
    ];
    for value in others {
        let refusal = with(value).expect_err(value);
        assert!(refusal.to_string().contains("exactly true or false"), "{refusal}");
    }
}

#[test]
fn an_absent_master_switch_refuses_the_file() {
    let expected = "otp_validated_logins is missing; put it in as \
         <otp_validated_logins>true</otp_validated_logins> (exactly true or false, with nothing around it)";
    assert_eq!(refused_raw(&document("")), expected);
    assert_eq!(refused_raw(&document("<!-- <otp_validated_logins>false</otp_validated_logins> -->")), expected);
}

#[test]
fn a_doubled_master_switch_refuses_the_file_even_where_both_agree() {
    let message = refused(SWITCH);
    assert_eq!(
        message,
        "line 3, column 1: otp_validated_logins is given twice, the first time at line 2, column 1; remove one of them"
    );
}

#[test]
fn a_misspelt_master_switch_refuses_the_file_and_names_the_right_word() {
    for name in [
        "otp_validated_login",
        "opt_validated_logins",
        "OTP_validated_logins",
        "x:otp_validated_logins",
        "otp-validated-logins",
    ] {
        let refusal = read(&format!("<{name}>false</{name}>")).unwrap_err();
        assert!(refusal.to_string().contains("otp_validated_logins is near"), "{refusal}");
        let alone = read_raw(&document(&format!("<{name}>false</{name}>"))).unwrap_err();
        assert_eq!(alone.errors.len(), 2, "{alone:?}");
    }
}

#[test]
fn a_master_switch_inside_a_listener_is_refused() {
    let message = refused(&listener(&format!("<serverType>FTP</serverType><port>21</port>{SWITCH}")));
    assert!(message.contains("server_list[0].otp_validated_logins is no key"), "{message}");
    assert!(message.contains("belongs to the top"), "{message}");
}

#[test]
fn a_switched_off_second_factor_is_warned_about() {
    let reading = read_raw(&document("<otp_validated_logins>false</otp_validated_logins>")).unwrap();
    assert!(reading.warnings.iter().any(|warning| warning.key == "otp_validated_logins"), "{:?}", reading.warnings);
}

// Names.

#[test]
fn an_unknown_key_of_the_security_namespaces_refuses_the_file() {
    for name in ["otp_colour", "twofactor_everything", "require_chip_cards", "OTP_anything"] {
        let message = refused(&format!("<{name}>true</{name}>"));
        assert!(message.starts_with(&format!("line 3, column 1: {name} is no key")), "{message}");
    }
    let message =
        refused(&listener("<serverType>FTP</serverType><port>21</port><require_secured>true</require_secured>"));
    assert!(message.contains("require_secure is near"), "{message}");
}

#[test]
fn other_unknown_keys_are_kept_and_named_once() {
    let item = "<server_list_subitem type=\"properties\"><serverType>SFTP</serverType><port>0</port><linkedServer/></server_list_subitem>";
    let inside =
        format!("<max_userz>3</max_userz><colour>red</colour><server_list type=\"vector\">{item}{item}</server_list>");
    let text = warnings(&inside);
    assert_eq!(text.matches("linkedServer").count(), 1, "{text}");
    assert!(text.contains("max_userz is not known here: it is kept and has no effect (is max_users meant?)"), "{text}");
    assert!(text.contains("colour is not known here: it is kept and has no effect\n"), "{text}");
}

#[test]
fn a_declared_key_given_twice_refuses_the_file() {
    assert!(refused("<max_users>1</max_users><max_users>2</max_users>").contains("max_users is given twice"));
    let message = refused(&listener("<serverType>FTP</serverType><port>1</port><port>2</port>"));
    assert!(message.contains("server_list[0].port is given twice"), "{message}");
    let list = listener("<serverType>SFTP</serverType><port>0</port>");
    assert!(refused(&format!("{list}{list}")).contains("server_list is given twice"));
}

#[test]
fn another_root_element_is_refused() {
    let message = refused_raw(&format!("<prefs>{SWITCH}</prefs>"));
    assert!(message.contains("server_prefs"), "{message}");
}

#[test]
fn every_declared_key_is_read_and_every_key_read_is_declared() {
    let text = document(&format!(
        "{SWITCH}{}<email_templates><i><name>x</name></i></email_templates><plugins><i><pluginName>x</pluginName></i></plugins>",
        listener("<serverType>FTP</serverType><port>0</port>")
    ));
    let tree = Tree::parse(text.as_bytes()).unwrap();
    let mut findings = Findings::default();
    read_all(tree.root(), &mut findings);
    assert_eq!(findings.errors, []);
    let unread: Vec<_> = KEYS.iter().map(|key| key.path).filter(|path| !findings.asked.contains(path)).collect();
    assert_eq!(unread, Vec::<&str>::new());
}

// Types.

#[test]
fn a_value_of_the_wrong_type_refuses_the_file_with_line_key_value_and_what_was_expected() {
    assert_eq!(
        refused("<login_grace>90s</login_grace>"),
        "line 3, column 1: login_grace is \"90s\", expected a number of milliseconds from 1000 to 600000; write 90000 for 90s"
    );
    assert_eq!(
        refused("<otp_numeric>yes</otp_numeric>"),
        "line 3, column 1: otp_numeric is \"yes\", expected true or false; write true"
    );
    assert_eq!(
        refused("<max_users></max_users>"),
        "line 3, column 1: max_users is empty, expected a whole number from 0 to 10000000"
    );
    for inside in [
        "<max_users>-1</max_users>",
        "<max_users>+1</max_users>",
        "<max_users>1e3</max_users>",
        "<max_users><b>1</b></max_users>",
        "<otp_enforce>everyone</otp_enforce>",
        "<otp_channels> , </otp_channels>",
        "<otp_channels>totp,s m s</otp_channels>",
        "<otp_proxy>ftp://proxy.example</otp_proxy>",
        "<smtp_from>a@example.com,b@example.com</smtp_from>",
        "<smtp_server>mail example</smtp_server>",
        "<server_list>FTP</server_list>",
        "<ssh_host_keys></ssh_host_keys>",
        "<tls_cert></tls_cert>",
    ] {
        refused(inside);
    }
}

#[test]
fn every_mistake_is_listed_not_the_first_alone() {
    let refusal = read("<max_users>x</max_users><login_grace>y</login_grace>").unwrap_err();
    assert_eq!(refusal.errors.len(), 2);
    assert!(refusal.to_string().ends_with("(and 1 more: see `lockgate prefs check`)"), "{refusal}");
}

#[test]
fn a_long_value_is_shortened_in_the_message() {
    let message = refused(&format!("<max_users>{}</max_users>", "9".repeat(5_000)));
    assert!(message.len() < 300, "{message}");
}

#[test]
fn a_value_that_may_hold_a_secret_is_in_no_message() {
    for inside in [
        "<otp_url>http://sid:hunter2@sms.example.com/</otp_url>",
        "<otp_url>https://sms.example.com/?key=hunter2 </otp_url><otp_url>x</otp_url>",
        "<otp_post>{otp_tokn} hunter2</otp_post>",
        "<smtp_pass>enc:v1:hunter2!</smtp_pass>",
        "<users_url>mysql://hunter2@db</users_url>",
        "<otp_proxy>hunter2</otp_proxy>",
    ] {
        let refusal = read(inside).unwrap_err();
        assert!(!format!("{refusal} {refusal:?}").contains("hunter2"), "{refusal}");
    }
}

// The protocol list.

#[test]
fn blanks_doubled_commas_and_upper_case_in_the_protocol_list_mean_nothing() {
    let key = "twofactor_secret_auto_otp_enable_protocols";
    let list = |text: &str| prefs(&format!("<{key}>{text}</{key}>")).second_factor.protocols;
    assert_eq!(list(" FTP,,ftps , Sftp,\n webdav,").to_string(), "ftp,ftps,sftp,webdav");
    assert!(list("").is_empty());
    assert_eq!(prefs("").second_factor.protocols.to_string(), "ftp,ftps,sftp,http,https,webdav");
}

#[test]
fn an_unknown_protocol_refuses_the_file_by_name() {
    let key = "twofactor_secret_auto_otp_enable_protocols";
    for word in ["scp", "ftp;sftp", "ftp sftp", "all", "dav"] {
        let message = refused(&format!("<{key}>ftp,{word}</{key}>"));
        assert!(message.contains(&format!("{word:?} is no protocol")), "{message}");
    }
    assert!(refused("<otp_grant_protocols>smb</otp_grant_protocols>").contains("\"smb\" is no protocol"));
}

#[test]
fn an_empty_protocol_list_is_warned_about() {
    let key = "twofactor_secret_auto_otp_enable_protocols";
    assert!(warnings(&format!("<{key}/>")).contains("no protocol asks for a second factor"));
}

// Codes.

#[test]
fn a_code_lives_ten_minutes_at_most() {
    assert!(refused("<otp_token_timeout>600001</otp_token_timeout>").contains("from 1000 to 600000"));
    let given = prefs("<otp_token_timeout>600000</otp_token_timeout>").second_factor;
    assert_eq!(given.sent_code_life, Duration::from_secs(600));
    assert_eq!(prefs("").second_factor.sent_code_life, Duration::from_secs(300));
}

#[test]
fn a_code_under_four_characters_is_refused_and_under_six_warned_about() {
    refused("<otp_token_length>3</otp_token_length>");
    refused("<temp_accounts_length>3</temp_accounts_length>");
    assert!(warnings("<otp_token_length>5</otp_token_length>").contains("otp_token_length is 5"));
    assert!(!warnings("<otp_token_length>6</otp_token_length>").contains("otp_token_length"));
    assert_eq!(prefs("").second_factor.code_length, 6);
}

#[test]
fn crushftps_length_is_read_where_ours_is_absent() {
    assert_eq!(prefs("<temp_accounts_length>8</temp_accounts_length>").second_factor.code_length, 8);
    let both = "<temp_accounts_length>8</temp_accounts_length><otp_token_length>7</otp_token_length>";
    assert_eq!(prefs(both).second_factor.code_length, 7);
}

#[test]
fn networks_are_whole_networks_and_everywhere_is_warned_about() {
    let key = "otp_trusted_networks";
    let list =
        prefs(&format!("<{key}>192.0.2.0/24, 2001:db8::/32,198.51.100.7</{key}>")).second_factor.trusted_networks;
    assert_eq!(
        list.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"]
    );
    assert!(refused(&format!("<{key}>192.0.2.7/24</{key}>")).contains("write 192.0.2.0/24"));
    assert!(refused(&format!("<{key}>192.0.2.*</{key}>")).contains("\"192.0.2.*\" is neither"));
    assert!(warnings(&format!("<{key}>0.0.0.0/0</{key}>")).contains("no second factor is due"));
}

#[test]
fn where_a_code_is_sent_is_fixed_and_under_tls() {
    let url = |text: &str| format!("<otp_url>{text}</otp_url>");
    let twilio =
        "https://{otp_username}:{otp_password}@api.twilio.com/2010-04-01/Accounts/{otp_username}/Messages.json";
    let read = prefs(&format!("{}<otp_post>To={{otp_to}}&amp;Body={{otp_token}}</otp_post>", url(twilio)));
    let Some(SendTarget::Request(target)) = read.code_request.target else { panic!("a request") };
    assert_eq!((target.host(), target.as_str()), ("api.twilio.com", twilio));
    assert_eq!(prefs(&url("SMTP")).code_request.target, Some(SendTarget::Email));
    assert_eq!(prefs(&url("")).code_request.target, None);
    for text in ["http://127.0.0.1:8000/{otp_token}", "http://[::1]/{otp_token}", "http://localhost/{otp_token}"] {
        prefs(&url(text));
    }
    for text in [
        "http://sms.example.com/",
        "http://localhost.example.com/",
        "https://{otp_to}.example.com/",
        "https://{otp_username}/",
        "https://sms.example.com:{otp_to}/",
        "{otp_extra1}://sms.example.com/",
        "https://",
        "https://a@/",
        "sms.example.com",
        "file:///etc/passwd",
        "https://sms.example.com/a b",
        "https://evil.example\\@sms.example.com/",
        "smtp",
        "https://sms.example.com/{otp_tocken}",
    ] {
        refused(&url(text));
    }
}

#[test]
fn a_request_that_carries_no_code_is_warned_about() {
    assert!(warnings("<otp_url>https://sms.example.com/</otp_url>").contains("sends no code"));
    assert!(warnings("<otp_url>SMTP</otp_url>").contains("smtp_server is not set"));
}

#[test]
fn channels_that_no_plugin_serves_are_warned_about() {
    assert!(warnings("").contains("no channel whose plugin is enabled"));
    let plugin = "<plugins><i><pluginName>totp</pluginName><enabled>true</enabled></i></plugins>";
    assert!(!warnings(plugin).contains("no channel"));
}

// The mail server.

#[test]
fn the_mail_servers_port_is_its_own_or_follows_from_the_mode() {
    let mail = |inside: &str| prefs(inside).mail;
    assert_eq!(mail("<smtp_server>mail.example.com</smtp_server>").port, 587);
    assert_eq!(mail("<smtp_server>mail.example.com</smtp_server><smtp_ssl>true</smtp_ssl>").port, 465);
    assert_eq!(
        mail("<smtp_server>127.0.0.1</smtp_server><smtp_start_tls_allowed>false</smtp_start_tls_allowed>").port,
        25
    );
    let given = mail("<smtp_server>[2001:db8::1]:2525</smtp_server>");
    assert_eq!((given.host.as_deref(), given.port), (Some("2001:db8::1"), 2525));
    assert_eq!(mail("<smtp_server>mail.example.com</smtp_server><smtp_port>26</smtp_port>").port, 26);
    let message = refused("<smtp_server>mail.example.com:25</smtp_server><smtp_port>26</smtp_port>");
    assert!(message.contains("smtp_server says port 25"), "{message}");
}

#[test]
fn a_mail_password_in_clear_goes_no_farther_than_this_machine() {
    let plain = |host: &str, more: &str| {
        format!("<smtp_server>{host}</smtp_server><smtp_start_tls_allowed>false</smtp_start_tls_allowed>{more}")
    };
    let pass = "<smtp_user>u</smtp_user><smtp_pass>env:MAIL_PASS</smtp_pass>";
    assert!(refused(&plain("mail.example.com", pass)).contains("would travel in clear"));
    assert!(warnings(&plain("mail.example.com", "")).contains("in clear"));
    prefs(&plain("localhost", pass));
}

#[test]
fn templates_are_found_by_name_and_the_one_for_codes_carries_one() {
    let template = |name: &str, body: &str| {
        format!("<i><name>{name}</name><emailSubject>Code</emailSubject><emailBody>{body}</emailBody></i>")
    };
    let list = |items: &str| format!("<email_templates type=\"vector\">{items}</email_templates>");
    let read = prefs(&list(&template("Two Factor Auth", "Hello,\r\n{auth_token}")));
    assert_eq!(read.template(EmailTemplate::TWO_FACTOR).unwrap().body.as_deref(), Some("Hello,\n{auth_token}"));
    assert!(warnings(&list(&template("Two Factor Auth", "hello"))).contains("carries no code"));
    assert!(refused(&list(&template("a", "x").repeat(2))).contains("as another template's is"));
    assert!(refused(&list("<i><emailBody>x</emailBody></i>")).contains("email_templates[0].name is missing"));
    let injected = "<i><name>n</name><emailSubject>a&#10;Bcc: x@example.com</emailSubject></i>";
    assert!(refused(&list(injected)).contains("one line of text"));
}

// Limits and bans.

#[test]
fn crushftps_ban_keys_are_read_in_their_own_units() {
    let read = prefs(
        "<phammer_attempts>15</phammer_attempts><phammer_banning>20</phammer_banning><pban_timeout>10</pban_timeout>\
         <hammer_attempts>100</hammer_attempts><hammer_banning>5</hammer_banning><ban_timeout>0</ban_timeout><never_ban>127.0.0.1</never_ban>",
    );
    let failures = BanRule { count: 15, window: Duration::from_secs(20), ban: Some(Duration::from_secs(600)) };
    let connections = BanRule { count: 100, window: Duration::from_secs(5), ban: None };
    assert_eq!((read.bans.failures, read.bans.connections), (Some(failures), Some(connections)));
    assert_eq!(read.bans.exempt.len(), 1);
    let message = refused("<phammer_banning>x</phammer_banning>");
    assert!(message.contains("phammer_banning is \"x\", expected a number of seconds"), "{message}");
}

#[test]
fn security_numbers_are_those_of_the_scoreboard() {
    let read = prefs("");
    assert_eq!(read.login.grace, Duration::from_secs(60));
    assert_eq!((read.login.max_strangers, read.login.max_strangers_per_address), (200, 10));
    assert_eq!(
        (read.login.pause_after, read.second_factor.pause_after, read.second_factor.freeze_after),
        (10, 10, 100)
    );
    assert_eq!((read.login.pause_first, read.login.pause_max), (Duration::from_secs(30), Duration::from_secs(900)));
    assert_eq!(
        read.bans.failures,
        Some(BanRule { count: 50, window: Duration::from_secs(900), ban: Some(Duration::from_secs(900)) })
    );
    assert_eq!(
        (read.send_limits.per_hour, read.send_limits.per_hour_and_address, read.send_limits.per_minute),
        (5, 20, 60)
    );
    assert_eq!(read.second_factor.max_attempts, 3);
    assert_eq!(
        (read.second_factor.grant_idle, read.second_factor.grant_max),
        (Duration::from_secs(1_800), Duration::from_secs(43_200))
    );
    assert_eq!(read.ftp.command_limit.0, 4_096);
}

#[test]
fn the_first_pause_is_not_longer_than_the_longest() {
    refused("<login_pause_first>60000</login_pause_first><login_pause_max>30000</login_pause_max>");
}

#[test]
fn a_key_without_effect_in_this_version_says_so() {
    assert!(warnings("<acme_enabled>true</acme_enabled>").contains("has no effect in this version"));
    assert!(!warnings("<acme_enabled>false</acme_enabled>").contains("acme_enabled"));
}

// As a whole.

#[test]
fn the_example_of_the_documents_is_read() {
    let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<server_prefs type="properties">
  <otp_validated_logins>true</otp_validated_logins>
  <twofactor_secret_auto_otp_enable_protocols>ftp,ftps,sftp,http,https,webdav</twofactor_secret_auto_otp_enable_protocols>
  <server_list type="vector">
    <server_list_subitem type="properties">
      <serverType>FTP</serverType><ip>0.0.0.0</ip><port>2121</port><enabled>true</enabled>
      <explicit_tls>true</explicit_tls><require_secure>false</require_secure><pasv_ports>50000-50099</pasv_ports>
    </server_list_subitem>
  </server_list>
</server_prefs>
"#;
    assert_eq!(read_raw(text).unwrap().prefs.listeners.len(), 1);
}

#[test]
fn nothing_secret_is_in_the_debug_form() {
    let read = prefs(
        "<smtp_pass>hunter2</smtp_pass><otp_password>hunter2</otp_password><users_url>postgres://u:hunter2@db/l</users_url>\
         <otp_url>https://sid:hunter2@sms.example.com/?key=hunter2&amp;c={otp_token}</otp_url>\
         <plugins><i><pluginName>sms</pluginName><apiKey>hunter2</apiKey><odd>hunter2</odd></i></plugins>",
    );
    assert!(!format!("{read:?}").contains("hunter2"), "{read:?}");
}

proptest! {
    #[test]
    fn no_value_of_any_key_panics(index in 0..KEYS.len(), value in "\\PC{0,24}") {
        let key = &KEYS[index];
        let _ = key.kind.parse(key.name(), &value);
    }

    #[test]
    fn a_name_one_letter_away_from_a_strict_one_never_passes(
        index in 0..KEYS.len(), at in 0_usize..20, letter in "[a-z_]",
    ) {
        let key = &KEYS[index];
        prop_assume!(key.is_strict() && key.vector().is_none() && key.name() != "otp_validated_logins");
        let mut name = key.name().to_owned();
        name.insert_str(at.min(name.len()), &letter);
        prop_assume!(keys::find(None, &name).is_none());
        let outcome = read(&format!("<{name}>1</{name}>"));
        prop_assert!(outcome.is_err());
    }

    #[test]
    fn a_cut_off_fresh_file_is_never_read(at in 0_usize..4_000) {
        let text = fresh(Ipv4Addr::LOCALHOST.into(), FreshPorts::Default);
        let end = text.trim_end().len();
        let cut = text.floor_char_boundary(at.min(end - 1));
        prop_assert!(read_raw(&text[..cut]).is_err());
    }
}
