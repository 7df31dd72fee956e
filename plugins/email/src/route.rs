//! The way to the mail server: host, port, TLS, credentials.
//!
//! To another machine mail and credentials go over TLS or not at all; that is no setting. To this very machine TLS is used
//! where it is offered. The certificate is always verified, against the system's roots or the one authority that the
//! operator names.
//!
//! Never: a fall-back to clear text on the way to another machine.

use std::net::IpAddr;
use std::time::Duration;

use lettre::SmtpTransport;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lockgate_plugin::{Failure, Settings};

/// Where and how mail is handed over.
pub(crate) struct Route {
    host: String,
    port: u16,
    mode: Mode,
    credentials: Option<Credentials>,
    authority: Option<Certificate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// TLS from the first byte.
    Wrapped,
    /// STARTTLS, or nothing is sent.
    StartTls,
    /// STARTTLS where the server offers it. To this machine only.
    StartTlsIfOffered,
    /// To this machine only.
    Clear,
}

impl Route {
    /// Reads `smtp_*`; `None` where no server is set.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub(crate) fn parse(settings: &Settings<'_>) -> Result<Option<Self>, Failure> {
        let Some(server) = settings.text("smtp_server") else { return Ok(None) };
        let (host, port) = host_and_port(server.trim())?;
        let here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        let (wrapped, start) = (settings.flag("smtp_ssl", false)?, settings.flag("smtp_start_tls_allowed", true)?);
        let mode = match (wrapped, start, here) {
            (true, _, _) => Mode::Wrapped,
            (false, true, false) => Mode::StartTls,
            (false, true, true) => Mode::StartTlsIfOffered,
            (false, false, true) => Mode::Clear,
            (false, false, false) => {
                return Err(Failure::error(
                    "smtp_ssl and smtp_start_tls_allowed are both false, and codes are not sent in clear to another machine; set one",
                ));
            }
        };
        let usual = match mode {
            Mode::Wrapped => 465,
            Mode::StartTls => 587,
            Mode::StartTlsIfOffered | Mode::Clear => 25,
        };
        let port = settings.number("smtp_port", port.unwrap_or(usual))?;
        if port == 0 {
            return Err(Failure::error("smtp_port is 0"));
        }
        let credentials = settings
            .text("smtp_user")
            .map(|user| Credentials::new(user.to_owned(), settings.text("smtp_pass").unwrap_or_default().to_owned()));
        let authority = settings.text("smtp_tls_ca").map(authority).transpose()?;
        Ok(Some(Self { host, port, mode, credentials, authority }))
    }

    /// Makes the transport; it connects with each letter anew.
    ///
    /// # Errors
    /// Where the system has no TLS roots, or the server's name cannot be in a certificate.
    pub(crate) fn transport(&self) -> Result<SmtpTransport, Failure> {
        let tls = match self.mode {
            Mode::Wrapped => Tls::Wrapper(self.tls()?),
            Mode::StartTls => Tls::Required(self.tls()?),
            Mode::StartTlsIfOffered => Tls::Opportunistic(self.tls()?),
            Mode::Clear => Tls::None,
        };
        let mut transport =
            SmtpTransport::builder_dangerous(self.host.as_str()).port(self.port).tls(tls).timeout(Some(ONE_STEP));
        if let Some(credentials) = &self.credentials {
            transport = transport.credentials(credentials.clone());
        }
        Ok(transport.build())
    }

    #[cfg(test)]
    pub(crate) fn facts(&self) -> (&str, u16, Mode) {
        (&self.host, self.port, self.mode)
    }

    fn tls(&self) -> Result<TlsParameters, Failure> {
        let mut tls = TlsParameters::builder(self.host.clone());
        if let Some(authority) = &self.authority {
            tls = tls.certificate_store(CertificateStore::None).add_root_certificate(authority.clone());
        }
        tls.build().map_err(|_| {
            Failure::unavailable("TLS cannot be set up; are the system's TLS root certificates installed?")
        })
    }
}

/// `host`, `host:port`, `[address]`, `[address]:port` or a bare IPv6 address.
fn host_and_port(server: &str) -> Result<(String, Option<u16>), Failure> {
    let wrong = || Failure::error("smtp_server is neither host nor host:port");
    if server.parse::<IpAddr>().is_ok() {
        return Ok((server.to_owned(), None));
    }
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| wrong())?)),
        _ => (server, None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
    if bare.is_empty() || !(bare.chars().all(plain) || bare.parse::<IpAddr>().is_ok()) {
        return Err(wrong());
    }
    Ok((bare.to_owned(), port))
}

/// `smtp_tls_ca`: PEM text, or the path of a file that holds it.
fn authority(setting: &str) -> Result<Certificate, Failure> {
    let wrong = |why: &str| Failure::error(format!("smtp_tls_ca {why}"));
    let pem = if setting.contains("-----BEGIN") {
        setting.as_bytes().to_vec()
    } else {
        std::fs::read(setting.trim()).map_err(|_| {
            wrong(
                "is no PEM text and no file that a plugin may read; put it into the plugin's folder or under /etc/ssl",
            )
        })?
    };
    match Certificate::from_pem(&pem) {
        Ok(certificate) if pem.windows(BEGIN.len()).any(|window| window == BEGIN) => Ok(certificate),
        _ => Err(wrong("holds no certificate")),
    }
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// Connecting, and each answer.
const ONE_STEP: Duration = Duration::from_secs(3);
