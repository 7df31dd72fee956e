//! The frontend of each listener, made from its own keys and those of its protocol.

use super::certificates::Certificates;
use crate::{home::Home, wiring};
use lockgate_access::Gate;
use lockgate_config::{
    Prefs,
    prefs::{FtpPrompt, Listener, ListenerKind, SessionReuse},
    values::{PassiveAddress, PassivePorts},
};
use lockgate_ftp::{CodePrompt, FtpDoor, FtpSettings, FtpTexts, PassiveHost, PassiveHosts};
use lockgate_http::{HttpDoor, HttpSettings, Mounted};
use lockgate_net::{ClientTrust, Frontend, TlsMaterial};
use lockgate_sftp::{HostKeys, SftpFrontend, SftpSettings};
use std::{net::IpAddr, sync::Arc};

/// What frontends are made with.
pub(super) struct Makers<'a> {
    pub(super) gate: &'a Gate,
    pub(super) dav: &'a Mounted,
    pub(super) certificates: &'a Certificates,
    pub(super) home: &'a Home,
    pub(super) host_keys: HostKeys,
    pub(super) prefs: &'a Prefs,
}

impl Makers<'_> {
    /// The frontend of one listener. Reads its certificate where that is not open yet.
    pub(super) fn frontend(&self, wanted: &Listener) -> anyhow::Result<Arc<dyn Frontend>> {
        let gate = self.gate.clone();
        Ok(match wanted.kind {
            ListenerKind::Ftp | ListenerKind::Ftps => Arc::new(FtpDoor::new(gate, self.ftp(wanted), self.tls(wanted)?)),
            ListenerKind::Dmz => anyhow::bail!("a DMZ listener cannot be opened in this version"),
            ListenerKind::Sftp => Arc::new(SftpFrontend::new(gate, self.sftp(wanted))),
            ListenerKind::Http => Arc::new(HttpDoor::clear(gate, Some(self.dav.clone()), self.http(wanted))),
            ListenerKind::Https => {
                Arc::new(HttpDoor::secure(gate, self.tls(wanted)?, Some(self.dav.clone()), self.http(wanted)))
            }
        })
    }

    fn tls(&self, wanted: &Listener) -> anyhow::Result<TlsMaterial> {
        let server = (&self.prefs.tls.certificate, &self.prefs.tls.key);
        let (certificate, key) = wanted.certificate.as_ref().map_or(server, |(certificate, key)| (certificate, key));
        let (certificate, key) = (self.home.path().join(certificate), self.home.path().join(key));
        let in_home = |path: &std::path::PathBuf| self.home.path().join(path);
        let clients = wanted.client_trust.as_ref().map(|(authorities, revoked)| ClientTrust {
            authorities: in_home(authorities),
            revoked: revoked.as_ref().map(in_home),
        });
        Ok(self.certificates.of(certificate, key, wiring::oldest_tls(self.prefs), clients)?)
    }

    fn ftp(&self, wanted: &Listener) -> FtpSettings {
        let prefs = self.prefs;
        FtpSettings {
            implicit: wanted.kind == ListenerKind::Ftps,
            explicit_tls: wanted.explicit_tls,
            require_secure: wanted.require_secure,
            passive_ports: match &wanted.passive_ports {
                PassivePorts::Any => lockgate_ftp::PassivePorts::Any,
                PassivePorts::Range(range) => lockgate_ftp::PassivePorts::Range(range.clone()),
            },
            passive_hosts: PassiveHosts {
                otherwise: passive_host(&wanted.passive_addresses.otherwise),
                by_network: wanted
                    .passive_addresses
                    .by_network
                    .iter()
                    .map(|(network, told)| (*network, passive_host(told)))
                    .collect(),
            },
            proxies: wanted.proxy_protocol.clone(),
            direct_data: wanted.passive_direct,
            session_reuse: match prefs.ftp.session_reuse {
                SessionReuse::Auto => lockgate_ftp::SessionReuse::Auto,
                SessionReuse::Always => lockgate_ftp::SessionReuse::Always,
                SessionReuse::Never => lockgate_ftp::SessionReuse::Never,
            },
            code_prompt: match prefs.ftp.prompt {
                FtpPrompt::Compound => CodePrompt::Compound,
                FtpPrompt::Acct => CodePrompt::Account,
            },
            active_mode: prefs.ftp.active_mode,
            command_limit: usize::try_from(prefs.ftp.command_limit.0).unwrap_or(usize::MAX),
            idle: prefs.server.idle_timeout,
            texts: FtpTexts {
                greeting: wanted.welcome.clone().or_else(|| prefs.ftp.welcome.clone()),
                logged_in: prefs.ftp.logged_in.clone(),
                goodbye: prefs.ftp.goodbye.clone(),
                denied: prefs.ftp.denied.clone(),
            },
        }
    }

    fn sftp(&self, wanted: &Listener) -> SftpSettings {
        SftpSettings {
            banner: self.prefs.ssh.banner.clone(),
            scp_legacy: wanted.scp_legacy,
            idle: self.prefs.server.idle_timeout,
            rsa_user_keys: self.prefs.ssh.rsa_user_keys,
            ..SftpSettings::new(self.host_keys.clone())
        }
    }

    fn http(&self, wanted: &Listener) -> HttpSettings {
        HttpSettings {
            trusted_proxies: wanted.trusted_proxies.clone(),
            allow_webdav: wanted.allow_webdav,
            head_timeout: self.prefs.http.head_timeout,
        }
    }
}

fn passive_host(told: &PassiveAddress) -> PassiveHost {
    match told {
        PassiveAddress::Ip(IpAddr::V4(address)) => PassiveHost::Ip(*address),
        // PASV cannot tell an IPv6 address, and EPSV tells none.
        PassiveAddress::FromConnection | PassiveAddress::Ip(IpAddr::V6(_)) => PassiveHost::FromConnection,
        PassiveAddress::Host(name) => PassiveHost::Name(name.clone()),
    }
}

/// The SSH host keys that prefs.xml names; the first is made where it is missing.
pub(super) fn host_keys(prefs: &Prefs, home: &Home) -> anyhow::Result<HostKeys> {
    let mut paths = prefs.ssh.host_keys.iter().map(|path| home.path().join(path));
    let first = paths.next().unwrap_or_else(|| home.host_key());
    let mut keys = HostKeys::ensure(&first)?;
    for path in paths {
        keys = keys.and(&path)?;
    }
    Ok(keys)
}
