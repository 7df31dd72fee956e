//! Certificates of clients: asked for where authorities are named, and believed only after a look.
//!
//! The handshake takes any certificate whose key the client holds, and whether it counts is looked at afterwards, in one
//! place ([`Authorities::subject`]). So a certificate that has expired, was taken back, or is from somebody else's authority
//! leaves its client where one without a certificate is, who may still log in with a password; and a session that is resumed
//! is looked at like a new one, which the handshake alone would not do: what it remembers may have been taken back since.
//!
//! Never: tells clients which authorities are trusted, keeps a certificate, knows users.

use super::{TlsError, subject};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// The files that say whose certificates count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientTrust {
    /// Certificates of the authorities, PEM.
    pub authorities: PathBuf,
    /// Their lists of certificates that were taken back, PEM. Where it is given, one of each authority on the way up must be
    /// in it and in date, or no certificate of that authority counts.
    pub revoked: Option<PathBuf>,
}

/// Whose certificates count, at present.
#[derive(Debug)]
pub(super) struct Authorities {
    trust: ClientTrust,
    provider: Arc<CryptoProvider>,
    now: RwLock<Arc<dyn ClientCertVerifier>>,
}

impl Authorities {
    pub(super) fn load(trust: &ClientTrust, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let now = RwLock::new(verifier(trust, provider)?);
        Ok(Self { trust: trust.clone(), provider: Arc::clone(provider), now })
    }

    /// Takes over what the files say by now; where they are of no use, nothing changes.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let fresh = verifier(&self.trust, &self.provider)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The subject that a chain proves; `None` where it proves nothing.
    pub(super) fn subject(&self, chain: &[CertificateDer<'_>]) -> Option<String> {
        let (leaf, above) = chain.split_first()?;
        let verifier = Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner));
        match verifier.verify_client_cert(leaf, above, UnixTime::now()) {
            Ok(_) => subject::subject_of(leaf),
            Err(cause) => {
                let subject = subject::subject_of(leaf);
                tracing::info!(?subject, %cause, "a client's certificate does not count");
                None
            }
        }
    }
}

fn verifier(trust: &ClientTrust, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let path = &trust.authorities;
    let mut roots = RootCertStore::empty();
    for certificate in all::<CertificateDer<'static>>(path, LONGEST_BUNDLE)? {
        roots.add(certificate).map_err(|cause| TlsError::unusable(path, format!("holds no authority: {cause}")))?;
    }
    if roots.is_empty() {
        return Err(TlsError::unusable(path, "holds no certificate in PEM"));
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let Some(path) = &trust.revoked {
        let lists = all::<CertificateRevocationListDer<'static>>(path, LONGEST_LIST)?;
        if lists.is_empty() {
            return Err(TlsError::unusable(path, "holds no list of revoked certificates in PEM"));
        }
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    let unusable = trust.revoked.as_ref().unwrap_or(path);
    builder.build().map_err(|cause| TlsError::unusable(unusable, cause))
}

fn all<T: PemObject>(path: &Path, most: usize) -> Result<Vec<T>, TlsError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut text));
    read.map_err(|cause| TlsError::file("cannot read", path, cause))?;
    if text.len() > most {
        return Err(TlsError::unusable(path, format!("is larger than {most} bytes")));
    }
    T::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| TlsError::unusable(path, format!("is not PEM: {cause}")))
}

/// Asks, and takes what comes where the client holds its key: see the module.
#[derive(Debug)]
pub(super) struct Asking(pub(super) Arc<CryptoProvider>);

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // What is taken here is kept in sessions, so a stranger must not choose its size.
        let size = above.iter().map(|certificate| certificate.len()).sum::<usize>() + leaf.len();
        if size > LONGEST_CHAIN || above.len() >= MOST_CERTIFICATES {
            return Err(rustls::Error::General("a client's chain of certificates is too long".into()));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A file of authorities, in bytes.
const LONGEST_BUNDLE: usize = 1024 * 1024;
/// A file of lists of revoked certificates, in bytes.
const LONGEST_LIST: usize = 16 * 1024 * 1024;
/// A client's certificates, in bytes and in number.
const LONGEST_CHAIN: usize = 16 * 1024;
const MOST_CERTIFICATES: usize = 8;

#[cfg(test)]
mod tests;
