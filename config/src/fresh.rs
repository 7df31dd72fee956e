//! The prefs.xml of a new home: short, commented, and right as it stands.
//!
//! It says what is decided for this server and leaves out what has a default, so that a later version's better default
//! reaches the ones that never chose otherwise.

use std::{fmt::Write as _, net::IpAddr};

/// Which ports the listeners of a new home get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreshPorts {
    /// FTP 2121, FTPS 2990, SFTP 2222, HTTP 8080, HTTPS 8443, passive 50000-50099: none needs a privilege.
    Default,
    /// Any free port for each, passive ones too.
    Ephemeral,
}

/// The text of a new prefs.xml whose listeners bind `address`.
#[must_use]
pub fn fresh(address: IpAddr, ports: FreshPorts) -> String {
    let mut listeners = String::new();
    for listener in &LISTENERS {
        let (port, passive) = match ports {
            FreshPorts::Default => (listener.port, "50000-50099"),
            FreshPorts::Ephemeral => (0, "0"),
        };
        let head = format!(
            "    <server_list_subitem type=\"properties\">\n      <serverType>{}</serverType>\n      \
             <ip>{address}</ip>\n      <port>{port}</port>\n      <enabled>true</enabled>\n",
            listener.kind
        );
        listeners.push_str(&head);
        for (name, value) in listener.more {
            let value = if *name == "pasv_ports" { passive } else { value };
            // Writing to a String does not fail.
            let _ = writeln!(listeners, "      <{name}>{value}</{name}>");
        }
        listeners.push_str("    </server_list_subitem>\n");
    }
    HEAD.to_owned() + &listeners + TAIL
}

struct FreshListener {
    kind: &'static str,
    port: u16,
    more: &'static [(&'static str, &'static str)],
}

const LISTENERS: [FreshListener; 5] = [
    FreshListener {
        kind: "FTP",
        port: 2121,
        more: &[("explicit_tls", "true"), ("require_secure", "false"), ("pasv_ports", "")],
    },
    FreshListener { kind: "FTPS", port: 2990, more: &[("pasv_ports", "")] },
    FreshListener { kind: "SFTP", port: 2222, more: &[] },
    FreshListener { kind: "HTTP", port: 8080, more: &[("allow_webdav", "true")] },
    FreshListener { kind: "HTTPS", port: 8443, more: &[("allow_webdav", "true")] },
];

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!--
  Lockgate's configuration. Whatever is not said here has a default: `lockgate prefs show` lists every key with what
  holds for it. A running server follows a change within 2 seconds; a file with a mistake in it is refused as a whole
  and the old one stays in force. `lockgate prefs check` says what is wrong, with line and column.

  Durations are in milliseconds. Comments, order and keys that Lockgate does not know are kept when it writes the file.
-->
<server_prefs type="properties">

  <!-- The second factor. The master switch must be there, and must be exactly true or false. -->
  <otp_validated_logins>true</otp_validated_logins>
  <!-- On which protocols it is due. ftp is FTP in clear, ftps is FTP under TLS; webdav is WebDAV over HTTP and HTTPS. -->
  <twofactor_secret_auto_otp_enable_protocols>ftp,ftps,sftp,http,https,webdav</twofactor_secret_auto_otp_enable_protocols>

  <!-- Codes by SMS: the request to your provider, with variables in it. Set the password with
       `lockgate prefs set otp_password ...`, which stores it encrypted. -->
  <!--
  <otp_url>https://{otp_username}:{otp_password}@sms.example.com/messages</otp_url>
  <otp_post>To={otp_to}&amp;From={otp_from}&amp;Body={otp_token}</otp_post>
  <otp_username>account</otp_username>
  <otp_from>+15550100</otp_from>
  -->

  <!-- Codes by email: otp_url is SMTP, and the mail server is named. -->
  <!--
  <otp_url>SMTP</otp_url>
  <smtp_server>mail.example.com:587</smtp_server>
  <smtp_from>codes@example.com</smtp_from>
  -->

  <!-- What listens where. serverType: FTP (TLS on demand), FTPS (TLS from the first byte), SFTP, HTTP, HTTPS.
       require_secure on FTP refuses logins and transfers in clear. Port 0 takes any free port. -->
  <server_list type="vector">
"#;

const TAIL: &str = r#"  </server_list>

  <!-- The plugins that may load. What stands beside pluginName and enabled are the plugin's own settings. -->
  <plugins type="vector">
    <plugins_subitem type="vector">
      <plugin_subitem type="properties">
        <pluginName>totp</pluginName>
        <enabled>true</enabled>
      </plugin_subitem>
    </plugins_subitem>
    <plugins_subitem type="vector">
      <plugin_subitem type="properties">
        <pluginName>sms</pluginName>
        <enabled>true</enabled>
      </plugin_subitem>
    </plugins_subitem>
    <plugins_subitem type="vector">
      <plugin_subitem type="properties">
        <pluginName>email</pluginName>
        <enabled>true</enabled>
      </plugin_subitem>
    </plugins_subitem>
  </plugins>

</server_prefs>
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        prefs::{ListenerKind, Prefs},
        tree::Tree,
        values::PassivePorts,
    };
    use lockgate_model::ProtocolSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn read(address: IpAddr, ports: FreshPorts) -> Prefs {
        let reading = Prefs::read(&Tree::parse(fresh(address, ports).as_bytes()).unwrap()).unwrap();
        assert_eq!(reading.warnings, []);
        reading.prefs
    }

    #[test]
    fn a_fresh_home_asks_for_a_second_factor_on_every_protocol() {
        let prefs = read(Ipv4Addr::UNSPECIFIED.into(), FreshPorts::Default);
        assert!(prefs.second_factor.switched_on);
        assert_eq!(prefs.second_factor.protocols, ProtocolSet::all());
        let plugins: Vec<_> = prefs.plugins.iter().filter(|plugin| plugin.enabled).map(|p| p.name.as_str()).collect();
        assert_eq!(plugins, ["totp", "sms", "email"]);
    }

    #[test]
    fn a_fresh_home_listens_where_the_contract_says() {
        let prefs = read(Ipv4Addr::LOCALHOST.into(), FreshPorts::Default);
        let doors: Vec<_> = prefs.listeners.iter().map(|door| (door.kind, door.address.to_string())).collect();
        assert_eq!(
            doors,
            [
                (ListenerKind::Ftp, "127.0.0.1:2121".to_owned()),
                (ListenerKind::Ftps, "127.0.0.1:2990".to_owned()),
                (ListenerKind::Sftp, "127.0.0.1:2222".to_owned()),
                (ListenerKind::Http, "127.0.0.1:8080".to_owned()),
                (ListenerKind::Https, "127.0.0.1:8443".to_owned()),
            ]
        );
        assert!(prefs.listeners.iter().all(|door| door.enabled));
        assert_eq!(prefs.listeners[0].passive_ports, PassivePorts::Range(50000..=50099));
        assert!(prefs.listeners[0].explicit_tls && prefs.listeners[4].allow_webdav);
    }

    #[test]
    fn ephemeral_ports_are_free_ones_everywhere() {
        let prefs = read(Ipv6Addr::LOCALHOST.into(), FreshPorts::Ephemeral);
        assert!(prefs.listeners.iter().all(|door| door.address.port() == 0 && door.address.is_ipv6()));
        assert!(prefs.listeners[..2].iter().all(|door| door.passive_ports == PassivePorts::Any));
    }
}
