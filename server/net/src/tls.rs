//! Certificates and keys, and how a stream comes under TLS.
//!
//! One certificate serves all doors, and a renewed one must be followed without touching a listener: so each
//! configuration asks a resolver that is swapped at reload, and a configuration handed out once stays right for good.
//! The provider is passed explicitly, since a library must not depend on what the process installed. Each set of
//! application protocols has tickets of its own: a session made with one door is never resumed with another.
//!
//! Never: a client's name decides which certificate is shown, and no key that others may read is used. No certificate of a
//! client is asked for where no authority is named.

mod clients;
mod self_signed;
mod subject;

pub use clients::ClientTrust;

use aws_lc_rs::digest;
use clients::{Asking, Authorities};
use lockgate_model::Secret;
use rustls::{
    ServerConfig, ServerConnection,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Why TLS material is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read or written.
    #[error("{what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The key may be read by others.
    #[error("{path} may be read by others (mode {mode:o}): chmod 600 {path}")]
    LooseKey {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// The contents are of no use.
    #[error("{path}: {reason}")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

impl TlsError {
    fn file(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { what, path: path.display().to_string(), source }
    }

    fn unusable(path: &Path, reason: impl ToString) -> Self {
        Self::Unusable { path: path.display().to_string(), reason: reason.to_string() }
    }
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OldestTls {
    /// TLS 1.2, which many clients of file transfer still need.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// One certificate with its key, for all doors under TLS; followed at reload, so that connections made after it show the new one.
///
/// TLS 1.2 and 1.3 only; tickets are keyed per process; one configuration serves FTP control and data connections, so that
/// data connections can resume. Clones share everything.
#[derive(Clone)]
pub struct TlsMaterial(Arc<Material>);

struct Material {
    certificate: PathBuf,
    key: PathBuf,
    shown: Arc<Shown>,
    provider: Arc<CryptoProvider>,
    /// Whose certificates of clients count; none are asked for without.
    authorities: Option<Authorities>,
    plain: ServerConfig,
    by_alpn: Mutex<HashMap<Vec<Vec<u8>>, Pair>>,
}

/// The configurations of one set of application protocols: they share sessions and the keys of tickets.
struct Pair {
    sending: Arc<ServerConfig>,
    withholding: Arc<ServerConfig>,
}

/// Whether tickets of TLS 1.3 go out after a handshake.
#[derive(Clone, Copy)]
enum Tickets {
    Sent,
    Withheld,
}

impl Material {
    fn pair(&self, alpn: &[Vec<u8>]) -> Pair {
        let mut sending = self.plain.clone();
        // rustls ignores every offer where no protocol is set; a word that nobody offers makes it refuse them instead.
        sending.alpn_protocols = if alpn.is_empty() { vec![NO_PROTOCOL.to_vec()] } else { alpn.to_vec() };
        sending.session_storage = ServerSessionMemoryCache::new(REMEMBERED_SESSIONS);
        // Without random numbers there are no tickets: clients then shake hands in full.
        if let Ok(ticketer) = rustls::crypto::aws_lc_rs::Ticketer::new() {
            sending.ticketer = ticketer;
        }
        let mut withholding = sending.clone();
        withholding.send_tls13_tickets = 0;
        Pair { sending: Arc::new(sending), withholding: Arc::new(withholding) }
    }
}

impl std::fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsMaterial").field("certificate", &self.0.certificate).finish_non_exhaustive()
    }
}

impl TlsMaterial {
    /// Loads PEM files: the certificate with its chain, leaf first, and the key, which nobody but its owner may read.
    ///
    /// # Errors
    /// [`TlsError`], also where key and certificate do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::load_from(certificate, key, OldestTls::default())
    }

    /// The same, speaking nothing older than `oldest`.
    ///
    /// # Errors
    /// As [`TlsMaterial::load`].
    pub fn load_from(certificate: &Path, key: &Path, oldest: OldestTls) -> Result<Self, TlsError> {
        Self::load_asking(certificate, key, oldest, None)
    }

    /// The same, asking clients for certificates where it is said whose count. A client need not have one:
    /// [`TlsMaterial::client_subject`] tells what it proved.
    ///
    /// # Errors
    /// As [`TlsMaterial::load`], also for the files of the authorities.
    pub fn load_asking(
        certificate: &Path,
        key: &Path,
        oldest: OldestTls,
        clients: Option<&ClientTrust>,
    ) -> Result<Self, TlsError> {
        let versions: &[&rustls::SupportedProtocolVersion] = match oldest {
            OldestTls::Tls12 => &[&TLS13, &TLS12],
            OldestTls::Tls13 => &[&TLS13],
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let shown = Arc::new(Shown(RwLock::new(read_pair(certificate, key, &provider)?)));
        let authorities = clients.map(|trust| Authorities::load(trust, &provider)).transpose()?;
        let plain = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|cause| TlsError::unusable(certificate, cause))?;
        let plain = match authorities {
            Some(_) => plain.with_client_cert_verifier(Arc::new(Asking(Arc::clone(&provider)))),
            None => plain.with_no_client_auth(),
        };
        let plain = plain.with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Self(Arc::new(Material {
            certificate,
            key,
            shown,
            provider,
            authorities,
            plain,
            by_alpn: Mutex::default(),
        })))
    }

    /// Makes a self-signed certificate for these names and addresses, if neither file is there.
    ///
    /// `localhost`, the loopback addresses and the host's name are always in it; unspecified addresses and what cannot
    /// stand in a certificate are left out. It is good for ten years: those who use it have pinned its fingerprint, and
    /// a date would break their devices without making anybody safer. The key is P-256, in a file of mode 0600.
    ///
    /// # Errors
    /// [`TlsError`], also where one of the two files is missing: half a pair is somebody's mistake, not ours to paint over.
    pub fn ensure_self_signed(certificate: &Path, key: &Path, names: &[String]) -> Result<(), TlsError> {
        match (certificate.exists(), key.exists()) {
            (true, true) => Ok(()),
            (false, false) => self_signed::make(certificate, key, names),
            (true, false) => Err(half_a_pair(certificate, key)),
            (false, true) => Err(half_a_pair(key, certificate)),
        }
    }

    /// Reads all files anew. Whose certificates of clients count, and what the server shows, are two things: where the files of
    /// one are of no use, its old material stays, and the other is taken over all the same. So an authority that was taken
    /// back goes, whatever has become of the server's key.
    ///
    /// # Errors
    /// The first [`TlsError`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let counts = self.0.authorities.as_ref().map_or(Ok(()), Authorities::reload);
        let shows = read_pair(&self.0.certificate, &self.0.key, &self.0.provider)
            .map(|fresh| *self.0.shown.0.write().unwrap_or_else(PoisonError::into_inner) = fresh);
        counts.and(shows)
    }

    /// The configuration for a door: `alpn` are the protocols it speaks, in order; a client that offers only others is refused
    /// (ALPACA), one that offers none is not. Without any `alpn` every offer is refused. The same `alpn` gives the same
    /// shared configuration, which follows each [`TlsMaterial::reload`].
    #[must_use]
    pub fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        self.configuration(alpn, Tickets::Sent)
    }

    /// As [`TlsMaterial::server_config`], for connections from which the client never reads, as the data connection of an
    /// FTP upload: sessions of that configuration resume here, but no tickets of TLS 1.3 are sent.
    ///
    /// With tickets unread in its buffer, a client that closes makes its system reset the connection and throw away what
    /// was not sent yet: the upload loses its tail, with stock clients in every second try.
    #[must_use]
    pub fn server_config_without_tickets(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        self.configuration(alpn, Tickets::Withheld)
    }

    fn configuration(&self, alpn: &[&[u8]], tickets: Tickets) -> Arc<ServerConfig> {
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let mut by_alpn = self.0.by_alpn.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = by_alpn.entry(alpn).or_insert_with_key(|alpn| self.0.pair(alpn));
        Arc::clone(match tickets {
            Tickets::Sent => &pair.sending,
            Tickets::Withheld => &pair.withholding,
        })
    }

    /// Finishes the handshake of one connection within `limit`.
    ///
    /// # Errors
    /// What the handshake says, or [`io::ErrorKind::TimedOut`].
    pub async fn accept(&self, stream: TcpStream, alpn: &[&[u8]], limit: Duration) -> io::Result<TlsStream<TcpStream>> {
        let handshake = TlsAcceptor::from(self.server_config(alpn)).accept(stream);
        timeout(limit, handshake)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")))
    }

    /// The subject that the client of a finished handshake proved with a certificate, as RFC 4514 has it; `None` where it
    /// showed none, or one that does not count at this moment: expired, revoked, of an authority that is not named.
    ///
    /// The only way to a client's certificate: the connection's own list holds what nobody has looked at.
    #[must_use]
    pub fn client_subject(&self, connection: &ServerConnection) -> Option<String> {
        self.0.authorities.as_ref()?.subject(connection.peer_certificates()?)
    }

    /// The subject of the first certificate in a PEM file, as [`TlsMaterial::client_subject`] would tell it. Whether it counts
    /// is not looked at; but one that is not of version 3 is refused, since a client that shows it gets no connection at all.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn subject_in_file(certificate: &Path) -> Result<String, TlsError> {
        let text = read(certificate)?;
        let leaf = CertificateDer::from_pem_slice(text.expose())
            .map_err(|cause| TlsError::unusable(certificate, format!("holds no certificate in PEM: {cause}")))?;
        if subject::is_of_an_old_version(&leaf) {
            let reason = "is an X.509 certificate of version 1 or 2, with which no TLS connection comes about here: have it issued \
                          in version 3, with extensions";
            return Err(TlsError::unusable(certificate, reason));
        }
        subject::subject_of(&leaf)
            .ok_or_else(|| TlsError::unusable(certificate, "has a subject that is empty or too long to log in with"))
    }

    /// SHA-256 of the leaf certificate, upper-case hex with colons.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let current = self.0.shown.current();
        let leaf = current.cert.first().map_or(&[][..], |leaf| leaf.as_ref());
        let mut text = String::with_capacity(95);
        for byte in digest::digest(&digest::SHA256, leaf).as_ref() {
            let colon = if text.is_empty() { "" } else { ":" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{colon}{byte:02X}");
        }
        text
    }
}

/// The certificate shown at present, whatever name the client asks for.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn half_a_pair(there: &Path, missing: &Path) -> TlsError {
    let (there, missing_name) = (there.display(), missing.display());
    TlsError::unusable(
        missing,
        format!(
            "is missing while {there} is there: bring it back, or remove {there} so that both are made anew; {missing_name} alone is never made"
        ),
    )
}

/// Reads a certificate and its key, and sees that they belong together.
fn read_pair(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let text = read(certificate)?;
    let chain = CertificateDer::pem_slice_iter(text.expose())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| TlsError::unusable(certificate, format!("is not PEM: {cause}")))?;
    if chain.is_empty() {
        return Err(TlsError::unusable(certificate, "holds no certificate in PEM"));
    }
    let file = File::open(key).map_err(|cause| TlsError::file("cannot open", key, cause))?;
    let mode =
        file.metadata().map_err(|cause| TlsError::file("cannot look at", key, cause))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TlsError::LooseKey { path: key.display().to_string(), mode });
    }
    let text = read_open(file).map_err(|cause| TlsError::file("cannot read", key, cause))?;
    let private = PrivateKeyDer::from_pem_slice(text.expose())
        .map_err(|_| TlsError::unusable(key, "holds no private key in PEM"))?;
    CertifiedKey::from_der(chain, private, provider).map(Arc::new).map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::unusable(key, format!("is not the key of {}", certificate.display()))
        }
        cause => TlsError::unusable(key, format!("cannot serve with {}: {cause}", certificate.display())),
    })
}

fn read(path: &Path) -> Result<Secret<Vec<u8>>, TlsError> {
    File::open(path).and_then(read_open).map_err(|cause| TlsError::file("cannot read", path, cause))
}

/// The contents, wiped after use. The buffer never grows, so that no copy of a key is left behind.
fn read_open(file: File) -> io::Result<Secret<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(LONGEST_FILE + 1);
    file.take(LONGEST_FILE as u64 + 1).read_to_end(&mut bytes)?;
    let bytes = Secret::new(bytes);
    if bytes.expose().len() > LONGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large for a certificate or key"));
    }
    Ok(bytes)
}

/// The largest certificate or key file taken, in bytes.
const LONGEST_FILE: usize = 256 * 1024;
/// Sessions of TLS 1.2 kept by their id, each of a few hundred bytes.
const REMEMBERED_SESSIONS: usize = 1024;
/// Stands for "no application protocol"; deliberately not a name that anybody registered.
const NO_PROTOCOL: &[u8] = b"lockgate/none";

#[cfg(test)]
mod tests;
