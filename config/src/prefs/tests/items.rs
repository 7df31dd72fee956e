//! Listeners and plugins.

use super::*;

// Listeners.

#[test]
fn a_listener_is_read_with_crushftps_words() {
    let read = prefs(&listener(
        "<serverType>ftp</serverType><ip>lookup</ip><port>2121</port><server_ip>auto</server_ip><pasv_ports>1025-65535</pasv_ports>",
    ));
    let door = &read.listeners[0];
    assert_eq!((door.kind, door.address.to_string()), (ListenerKind::Ftp, "0.0.0.0:2121".to_owned()));
    assert_eq!(
        (&door.passive_addresses.otherwise, &door.passive_ports),
        (&PassiveAddress::FromConnection, &PassivePorts::Range(1025..=65535))
    );
    assert!(door.enabled && door.explicit_tls && !door.require_secure && !door.scp_legacy);
    let behind_nat =
        prefs(&listener("<serverType>FTP</serverType><port>0</port><server_ip>ftp.example.com</server_ip>"));
    assert_eq!(behind_nat.listeners[0].passive_addresses.otherwise, PassiveAddress::Host("ftp.example.com".to_owned()));
}

#[test]
fn a_listener_without_type_or_port_is_refused() {
    assert!(refused(&listener("<port>21</port>")).contains("server_list[0].serverType is missing"));
    assert!(refused(&listener("<serverType>FTP</serverType>")).contains("server_list[0].port is missing"));
    assert!(
        refused(&listener("<serverType>GOPHER</serverType><port>70</port>"))
            .contains("FTP, FTPS, SFTP, HTTP, HTTPS or DMZ")
    );
    assert!(refused(&listener("<serverType>FTP</serverType><port>65536</port>")).contains("from 0 to 65535"));
    for ports in ["50099-50000", "0-5", "1-70000", "a-b", "-"] {
        refused(&listener(&format!("<serverType>FTP</serverType><port>0</port><pasv_ports>{ports}</pasv_ports>")));
    }
}

#[test]
fn lists_of_revoked_certificates_are_nothing_without_authorities() {
    let with = |keys: &str| listener(&format!("<serverType>FTPS</serverType><port>0</port>{keys}"));
    assert_eq!(prefs(&with("")).listeners[0].client_trust, None);
    let (authorities, list) = ("<tls_client_ca>ca.pem</tls_client_ca>", "<tls_client_crl>crl.pem</tls_client_crl>");
    let trust = prefs(&with(&format!("{authorities}{list}"))).listeners[0].client_trust.clone();
    assert_eq!(trust, Some(("ca.pem".into(), Some("crl.pem".into()))));
    assert!(refused(&with(list)).contains("is set without tls_client_ca"));
}

#[test]
fn keys_of_ftp_that_say_nothing_beside_the_others_are_warned_about() {
    for (keys, words) in [
        ("<explicit_tls>false</explicit_tls><tls_client_ca>ca.pem</tls_client_ca>", "while explicit_tls is false"),
        ("<pasv_direct>true</pasv_direct>", "without proxy_protocol"),
        ("<server_ip>10.0.0.0/8=2001:db8::1</server_ip>", "which PASV cannot tell"),
    ] {
        let warnings = warnings(&listener(&format!("<serverType>FTP</serverType><port>0</port>{keys}")));
        assert!(warnings.contains(words), "{keys}: {warnings}");
    }
}

#[test]
fn texts_of_replies_are_read_and_their_variables_checked() {
    let read = prefs(&format!(
        "<ftp_welcome_message>Hello {{client_ip}}\\r\\nsecond</ftp_welcome_message>{}",
        listener("<serverType>FTP</serverType><port>0</port><ftp_welcome_message>Here</ftp_welcome_message>")
    ));
    assert_eq!(read.ftp.welcome.as_deref(), Some("Hello {client_ip}\nsecond"));
    assert_eq!(read.listeners[0].welcome.as_deref(), Some("Here"));
    assert!(refused("<ftp_denied_message>No, {user_name}</ftp_denied_message>").contains("{client_ip}, {protocol}"));
}

#[test]
fn require_secure_is_a_demand_that_can_be_met() {
    let ftp = "<serverType>FTP</serverType><port>0</port><require_secure>true</require_secure>";
    assert!(prefs(&listener(ftp)).listeners[0].require_secure);
    assert!(refused(&listener(&format!("{ftp}<explicit_tls>false</explicit_tls>"))).contains("nobody could log in"));
    let http = "<serverType>HTTP</serverType><port>0</port><require_secure>true</require_secure>";
    assert!(refused(&listener(http)).contains("HTTP has no TLS"));
}

#[test]
fn a_guard_on_a_listener_that_does_not_look_at_it_is_warned_about() {
    let text = warnings(&listener("<serverType>FTP</serverType><port>0</port><scp_legacy>true</scp_legacy>"));
    assert!(text.contains("server_list[0].scp_legacy has no effect on a listener of type FTP"), "{text}");
    let quiet =
        "<serverType>SFTP</serverType><port>0</port><require_secure>true</require_secure><pasv_ports>1-2</pasv_ports>";
    assert!(!warnings(&listener(quiet)).contains("no effect"));
}

#[test]
fn two_listeners_on_one_port_are_refused_unless_one_is_off() {
    let one = |ip: &str, on: bool| {
        format!("<i><serverType>SFTP</serverType><ip>{ip}</ip><port>2222</port><enabled>{on}</enabled></i>")
    };
    let list = |items: &[String]| format!("<server_list type=\"vector\">{}</server_list>", items.concat());
    let message = refused(&list(&[one("0.0.0.0", true), one("127.0.0.1", true)]));
    assert!(message.contains("server_list[1].port is 2222, where server_list[0] listens too"), "{message}");
    prefs(&list(&[one("0.0.0.0", true), one("127.0.0.1", false)]));
    prefs(&list(&[one("127.0.0.2", true), one("127.0.0.1", true)]));
}

#[test]
fn a_certificate_needs_its_key() {
    let message = refused(&listener("<serverType>HTTPS</serverType><port>0</port><tls_cert>a.crt</tls_cert>"));
    assert!(message.contains("without tls_key"), "{message}");
}

#[test]
fn codes_in_clear_are_noticed_until_the_listener_demands_tls() {
    let ftp = |secure: bool| {
        listener(&format!("<serverType>FTP</serverType><port>0</port><require_secure>{secure}</require_secure>"))
    };
    assert!(prefs(&ftp(false)).codes_may_travel_in_clear());
    assert!(!prefs(&ftp(true)).codes_may_travel_in_clear());
}

// Plugins.

const SMS: &str = "<pluginName>sms</pluginName><enabled>true</enabled><subItem>backup</subItem><url>https://x/</url><apiKey>env:SMS_KEY</apiKey>";

fn check_sms(read: &Prefs) {
    let plugin = &read.plugins[0];
    assert_eq!(
        (plugin.name.as_str(), plugin.instance.as_deref(), plugin.file.as_deref()),
        ("sms", Some("backup"), None)
    );
    let names: Vec<_> = plugin.settings.iter().map(|setting| setting.name.as_str()).collect();
    assert_eq!(names, ["url", "apiKey"]);
    assert_eq!(plugin.settings[0].value, SettingValue::Text("https://x/".to_owned()));
    assert!(matches!(&plugin.settings[1].value, SettingValue::Secret(secret) if secret.masked() == "env:SMS_KEY"));
}

#[test]
fn an_enabled_plugin_whose_name_no_channel_can_have_is_refused_and_one_that_is_off_is_kept() {
    let entry = |name: &str, enabled: bool| {
        format!(
            "<plugins><plugins_subitem type=\"properties\"><pluginName>{name}</pluginName><enabled>{enabled}</enabled></plugins_subitem></plugins>"
        )
    };
    for name in ["CrushDuo", "my_factor", "a-name-that-is-longer-than-anybody-needs"] {
        assert!(refused(&entry(name, true)).contains("cannot be put to use"), "{name}");
        assert_eq!(prefs(&entry(name, false)).plugins[0].name, name);
    }
    refused("<otp_channels>totp,my_factor</otp_channels>");
}

#[test]
fn a_way_of_sending_that_no_enabled_plugin_serves_is_warned_about() {
    let plugin = |name: &str, more: &str| {
        format!(
            "<plugins_subitem type=\"properties\"><pluginName>{name}</pluginName><enabled>true</enabled>{more}</plugins_subitem>"
        )
    };
    let with = |keys: &str, plugins: &[String]| warnings(&format!("{keys}<plugins>{}</plugins>", plugins.concat()));
    let request = "<otp_url>https://sms.example.com/?{otp_token}</otp_url>";
    let mail = "<otp_url>SMTP</otp_url><smtp_server>localhost</smtp_server>";
    assert!(with(request, &[plugin("totp", "")]).contains("plugin sms is not enabled"));
    assert!(with(mail, &[plugin("totp", "")]).contains("plugin email is not enabled"));
    let elsewhere =
        with(&format!("{request}<otp_channels>totp</otp_channels>"), &[plugin("totp", ""), plugin("sms", "")]);
    assert!(elsewhere.contains("otp_channels does not name sms"));
    assert!(with("", &[plugin("sms", "")]).contains("otp_channels names totp"));
    let idle = with("<smtp_server>localhost</smtp_server>", &[plugin("totp", ""), plugin("email", "")]);
    assert!(idle.contains("otp_url is not SMTP"));
    let both = with(
        request,
        &[plugin("totp", ""), plugin("sms", ""), plugin("email", "<smtp_server>localhost</smtp_server>")],
    );
    assert!(!both.contains("otp_url") && !both.contains("smtp_server") && !both.contains("otp_channels"), "{both}");
}

#[test]
fn plugins_are_read_nested_as_crushftp_writes_them_and_flat() {
    let nested = format!(
        "<plugins type=\"vector\"><plugins_subitem type=\"vector\"><plugin_subitem type=\"properties\">{SMS}</plugin_subitem></plugins_subitem></plugins>"
    );
    check_sms(&prefs(&nested));
    let flat =
        format!("<plugins type=\"vector\"><plugins_subitem type=\"properties\">{SMS}</plugins_subitem></plugins>");
    check_sms(&prefs(&flat));
}

#[test]
fn a_plugin_is_off_until_it_is_switched_on() {
    let read = prefs("<plugins><i><pluginName>radius</pluginName></i></plugins>");
    assert!(!read.plugins[0].enabled && read.plugins[0].instance.is_none());
}

#[test]
fn a_plugin_file_lies_in_the_plugin_folder() {
    for file in ["../evil.so", "/tmp/evil.so", ".hidden.so", "a\\b.so"] {
        refused(&format!("<plugins><i><pluginName>a</pluginName><file>{file}</file></i></plugins>"));
    }
    for name in ["../evil", "a/b", "a b", ""] {
        assert!(read(&format!("<plugins><i><pluginName>{name}</pluginName></i></plugins>")).is_err(), "{name}");
    }
    refused("<plugins><i><pluginName>a</pluginName><sha256>abc</sha256></i></plugins>");
    refused("<plugins><i type=\"properties\"><enabled>true</enabled></i></plugins>");
}

#[test]
fn an_instance_or_a_setting_given_twice_is_refused() {
    let entry = "<i><pluginName>sms</pluginName></i>";
    assert!(refused(&format!("<plugins>{entry}{entry}</plugins>")).contains("another entry is already"));
    assert!(
        refused("<plugins><i><pluginName>sms</pluginName><url>a</url><url>b</url></i></plugins>")
            .contains("plugins[0].url is given twice")
    );
}

#[test]
fn a_plugins_own_otp_settings_are_its_own() {
    let read = prefs("<plugins><i><pluginName>sms</pluginName><otp_url>https://x/</otp_url></i></plugins>");
    assert_eq!(read.plugins[0].settings[0].name, "otp_url");
}

#[test]
fn more_items_than_anyone_needs_are_refused_not_worked_through() {
    let item = "<i><serverType>SFTP</serverType><port>1</port></i>";
    let message =
        read(&format!("<server_list>{}</server_list>", item.repeat(MAX_ITEMS + 1))).unwrap_err().errors[0].to_string();
    assert!(message.contains("at most 500 items"), "{message}");
    let entries: String = (0..=MAX_ITEMS).map(|n| format!("<i><pluginName>p{n}</pluginName></i>")).collect();
    let message = refused(&format!("<plugins>{entries}</plugins>"));
    assert!(message.contains("at most 500 items"), "{message}");
}
