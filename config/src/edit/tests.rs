//! What `prefs set`, `get` and `show` promise.

use super::*;
use crate::{
    FreshPorts, fresh,
    secret::tests::ToySealer,
    show::{changed, get, show},
};
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn home() -> Tree {
    Tree::parse(fresh(Ipv4Addr::LOCALHOST.into(), FreshPorts::Default).as_bytes()).unwrap()
}

fn path(text: &str) -> KeyPath {
    text.parse().unwrap()
}

fn put(tree: &Tree, key: &str, value: &str) -> Result<Tree, EditError> {
    set(tree, &path(key), value, &ToySealer).map(|edited| edited.tree)
}

fn value(tree: &Tree, key: &str) -> Option<String> {
    get(tree, &path(key)).unwrap().remove(0).value
}

fn lines_changed(before: &Tree, after: &Tree) -> Vec<String> {
    let (before, after) = (before.render(), after.render());
    let old: Vec<_> = before.lines().collect();
    after.lines().filter(|line| !old.contains(line)).map(str::to_owned).collect()
}

#[test]
fn a_change_touches_its_own_line_alone() {
    let before = home();
    let after = put(&before, "server_list[2].port", "2022").unwrap();
    assert_eq!(lines_changed(&before, &after), ["      <port>2022</port>"]);
    assert_eq!(before.render().lines().count(), after.render().lines().count());
    assert_eq!(value(&after, "server_list[sftp].port").as_deref(), Some("2022"));
}

#[test]
fn a_key_that_was_not_there_is_put_beside_its_own_kind() {
    let before = home();
    let after = put(&before, "otp_enforce", "all").unwrap();
    let text = after.render();
    let expected = "  <otp_validated_logins>true</otp_validated_logins>\n  <otp_enforce>all</otp_enforce>\n";
    assert!(text.contains(expected), "{}", &**text);
    assert_eq!(lines_changed(&before, &after), ["  <otp_enforce>all</otp_enforce>"]);
}

#[test]
fn a_change_that_the_file_would_be_refused_for_is_refused() {
    let tree = home();
    for (key, text) in [
        ("otp_validated_logins", "maybe"),
        ("otp_validated_logins", ""),
        ("otp_token_timeout", "700000"),
        ("twofactor_secret_auto_otp_enable_protocols", "ftp,scp"),
        ("server_list[0].explicit_tls", "no"),
        ("server_list[1].port", "2121"), // where the first one listens
    ] {
        let error = put(&tree, key, text).expect_err(key);
        assert!(matches!(error, EditError::Refused(_)), "{error}");
        assert!(error.to_string().contains(key), "{error}");
    }
    let secure = put(&tree, "server_list[0].require_secure", "true").unwrap();
    assert!(
        put(&secure, "server_list[0].explicit_tls", "false").unwrap_err().to_string().contains("nobody could log in")
    );
}

#[test]
fn several_changes_count_together() {
    let changes = [(path("server_list[0].port"), "2222"), (path("server_list[2].port"), "2121")];
    assert!(set(&home(), &changes[0].0, "2222", &ToySealer).is_err());
    let edited = set_all(&home(), &changes, &ToySealer).unwrap();
    assert_eq!(edited.reading.prefs.listeners[0].address.port(), 2222);
}

#[test]
fn a_wrong_name_is_refused_with_the_right_one() {
    let message = |key: &str| put(&home(), key, "1").unwrap_err().to_string();
    assert!(message("max_user").contains("is max_users meant?"));
    assert!(message("server_list[0].prt").contains("is port meant?"));
    assert!(message("utterly_different").contains("prefs show"));
    assert!(message("server_list[9].port").contains("5 are there, counted from 0"));
    assert!(message("server_list[DMZ].port").contains("no such item"));
    assert!(message("otp_numeric[0]").contains("only server_list"));
    assert!(message("server_list[0]").contains("server_list[0].enabled"));
}

#[test]
fn an_index_equal_to_the_length_appends_a_listener_that_is_off() {
    let after = put(&home(), "server_list[5].serverType", "SFTP").unwrap();
    assert_eq!(value(&after, "server_list[5].enabled").as_deref(), Some("false"));
    let after = put(&put(&after, "server_list[5].port", "2022").unwrap(), "server_list[5].enabled", "true").unwrap();
    let listener = &Prefs::read(&after).unwrap().prefs.listeners[5];
    assert_eq!((listener.enabled, listener.address.port()), (true, 2022));
    let text = after.render();
    assert!(text.contains("\n    <server_list_subitem type=\"properties\">\n      <serverType>SFTP</serverType>\n      <port>2022</port>"), "{}", &**text);
}

#[test]
fn a_template_that_is_named_and_not_there_is_made() {
    let key = "email_templates[Two Factor Auth].emailBody";
    let after = put(&home(), key, "Your code:\n{auth_token}\n").unwrap();
    assert_eq!(value(&after, key).as_deref(), Some("Your code:\n{auth_token}\n"));
    let again = put(&after, "email_templates[Two Factor Auth].emailSubject", "Code").unwrap();
    assert_eq!(Prefs::read(&again).unwrap().prefs.templates.len(), 1);
}

#[test]
fn a_plugin_and_its_instance_are_named_and_made_off() {
    let after = put(&home(), "plugins[sms:backup].url", "https://sms.example.com/").unwrap();
    let prefs = Prefs::read(&after).unwrap().prefs;
    assert_eq!(
        (prefs.plugins.len(), prefs.plugins[3].enabled, prefs.plugins[3].instance.as_deref()),
        (4, false, Some("backup"))
    );
    let on = put(&after, "plugins[sms:backup].enabled", "true").unwrap();
    assert!(Prefs::read(&on).unwrap().prefs.plugins[3].enabled);
    assert!(put(&home(), "plugins[../x].enabled", "true").is_err());
    let flat = Tree::parse(b"<server_prefs><otp_validated_logins>true</otp_validated_logins><plugins><i><pluginName>a</pluginName></i></plugins></server_prefs>").unwrap();
    assert_eq!(Prefs::read(&put(&flat, "plugins[b].enabled", "true").unwrap()).unwrap().prefs.plugins.len(), 2);
}

#[test]
fn two_items_of_one_name_are_told_apart_by_number() {
    let after = put(&home(), "server_list[1].serverType", "FTP").unwrap();
    let message = put(&after, "server_list[FTP].enabled", "false").unwrap_err().to_string();
    assert!(message.contains("write server_list[0] or server_list[1]"), "{message}");
}

#[test]
fn a_secret_is_stored_encrypted_and_never_shown() {
    let mut tree = home();
    for key in ["smtp_pass", "otp_password", "plugins[sms].apiKey"] {
        tree = put(&tree, key, "hunter2").unwrap();
        assert_eq!(value(&tree, key).as_deref(), Some("(encrypted, not shown)"), "{key}");
    }
    assert!(!tree.render().contains("hunter2"));
    let by_reference = put(&tree, "smtp_pass", "env:MAIL_PASS").unwrap();
    assert!(by_reference.render().contains("<smtp_pass>env:MAIL_PASS</smtp_pass>"));
    let prefs = Prefs::read(&tree).unwrap().prefs;
    let secret = prefs.mail.password.unwrap().resolve(std::path::Path::new("/"), &ToySealer).unwrap();
    assert_eq!(secret.expose(), "hunter2");
}

#[test]
fn what_is_shown_holds_no_secret_in_whatever_form_it_stands() {
    let text = "<server_prefs><otp_validated_logins>true</otp_validated_logins><smtp_pass>hunter2</smtp_pass>\
        <users_url>postgres://u:hunter2@db/l</users_url><ledger_url>env:LEDGER</ledger_url>\
        <otp_url>https://sid:hunter2@sms.example.com/a?key=hunter2&amp;to={otp_to}</otp_url><otp_post>apikey=hunter2&amp;b={otp_token}</otp_post>\
        <ssl_password>hunter2</ssl_password><otp_proxy>http://u:hunter2@proxy.example:3128</otp_proxy>\
        <plugins><i><pluginName>x</pluginName><bindPassword>hunter2</bindPassword></i></plugins></server_prefs>";
    let tree = Tree::parse(text.as_bytes()).unwrap();
    let all = show(&tree);
    assert!(!format!("{all:?}").contains("hunter2"), "{all:?}");
    assert_eq!(value(&tree, "otp_url").as_deref(), Some("https://…@sms.example.com/a?key=…&to={otp_to}"));
    assert_eq!(value(&tree, "ledger_url").as_deref(), Some("env:LEDGER"));
    assert_eq!(value(&tree, "users_url").as_deref(), Some("postgres:…"));
}

#[test]
fn every_key_is_shown_with_what_holds_and_whether_it_is_the_default() {
    let tree = put(&home(), "max_users", "7").unwrap();
    let all = show(&tree);
    let find = |path: &str| all.iter().find(|shown| shown.path == path).unwrap();
    assert_eq!((find("max_users").value.as_deref(), find("max_users").is_default), (Some("7"), false));
    assert_eq!((find("otp_enforce").value.as_deref(), find("otp_enforce").is_default), (Some("flagged"), true));
    assert_eq!((find("smtp_server").value.as_deref(), find("smtp_server").is_default), (None, true));
    assert_eq!(find("server_list[4].port").value.as_deref(), Some("8443"));
    assert!(!all.iter().any(|shown| shown.path == "server_list[2].pasv_ports"), "SFTP has none");
    assert_eq!(value(&tree, "server_list[2].pasv_ports").as_deref(), Some("50000-50099"));
    for key in KEYS.iter().filter(|key| key.vector().is_none()) {
        assert!(all.iter().any(|shown| shown.path == key.path), "{}", key.path);
    }
}

#[test]
fn a_key_that_is_unset_has_its_default_again() {
    let tree = put(&home(), "max_users", "7").unwrap();
    let after = unset(&tree, &path("max_users")).unwrap().tree;
    assert_eq!(*after.render(), *home().render());
    assert!(unset(&tree, &path("otp_validated_logins")).is_err());
    assert!(unset(&tree, &path("max_user")).is_err());
    let fewer = unset(&tree, &path("plugins[sms]")).unwrap().reading.prefs;
    assert_eq!(fewer.plugins.iter().map(|plugin| plugin.name.as_str()).collect::<Vec<_>>(), ["totp", "email"]);
    assert_eq!(unset(&tree, &path("server_list[1]")).unwrap().reading.prefs.listeners.len(), 4);
}

#[test]
fn a_change_can_cure_a_broken_file() {
    let broken =
        Tree::parse(b"<server_prefs><otp_validated_logins>yes<!-- ? --></otp_validated_logins></server_prefs>")
            .unwrap();
    assert!(Prefs::read(&broken).is_err());
    assert!(put(&broken, "otp_validated_logins", "true").is_ok());
}

#[test]
fn changed_keys_are_named_secret_ones_too() {
    let old = home();
    let new = put(&put(&old, "users_url", "postgres://u:p@db/l").unwrap(), "smtp_pass", "x").unwrap();
    let paths: Vec<_> = changed(&old, &new).iter().map(|key| key.path).collect();
    assert_eq!(paths, ["smtp_pass", "users_url"]);
    let moved = put(&old, "server_list[0].port", "21").unwrap();
    assert_eq!(changed(&old, &moved).iter().map(|key| key.path).collect::<Vec<_>>(), ["server_list[].port"]);
    assert!(changed(&old, &old).is_empty());
}

#[test]
fn a_ban_key_is_set_under_either_name() {
    let tree = put(&home(), "pban_timeout", "10").unwrap();
    assert_eq!(value(&tree, "ban_failures_time").as_deref(), Some("600000"));
    let own = put(&tree, "ban_failures_time", "5000").unwrap();
    assert!(put(&own, "pban_timeout", "10").unwrap_err().to_string().contains("ban_failures_time is set and wins"));
}

#[test]
fn a_value_with_a_control_character_is_refused() {
    assert!(put(&home(), "ssh_banner", "a\u{7}b").unwrap_err().to_string().contains("control character"));
}

proptest! {
    #[test]
    fn a_text_that_is_set_is_got(text in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]{1,30}") {
        prop_assume!(!text.trim().is_empty());
        let after = put(&home(), "ssh_banner", &text).unwrap();
        prop_assert_eq!(value(&after, "ssh_banner"), Some(text));
    }

    #[test]
    fn a_number_that_is_set_is_got(number in 0_u64..10_000_000) {
        let after = put(&home(), "max_users", &number.to_string()).unwrap();
        prop_assert_eq!(value(&after, "max_users"), Some(number.to_string()));
    }

    #[test]
    fn no_path_and_value_panic(key in "[a-z_]{0,8}(\\[\\PC{0,6}\\])?(\\.\\PC{0,6})?", text in "\\PC{0,12}") {
        if let Ok(key) = key.parse::<KeyPath>() {
            let _ = set(&home(), &key, &text, &ToySealer);
            let _ = unset(&home(), &key);
            let _ = get(&home(), &key);
        }
    }
}
