//! What a client shows.

use lockgate_model::Secret;

/// What a client shows for itself. Doors fill it in and do not look at it again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Evidence {
    /// One string, exactly as typed: a password, an app password, or `password:CODE`. The gate tells them apart.
    Password(Secret<String>),
    /// Password and code that came apart already.
    Compound(Secret<String>, Secret<String>),
    /// An SSH public key whose signature over this connection was verified: the blob of RFC 4253 section 6.6.
    PublicKey(Vec<u8>),
    /// A client certificate that the TLS layer verified: its exact subject.
    ClientCertificate(String),
}
