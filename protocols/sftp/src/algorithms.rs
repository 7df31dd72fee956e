//! Which algorithms the door speaks, most preferred first.
//!
//! No SHA-1 anywhere, no CBC, no compression (it unfolds and it leaks), MACs only over the ciphertext, and strict key
//! exchange always offered. Group exchange is left out: a client could make the server work on odd groups.

use russh::{
    Preferred, cipher, compression, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg},
    mac,
};
use std::borrow::Cow;

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Signatures: of the host key, and (as `server-sig-algs`) of users' keys.
const SIGNATURES: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
];

/// Signatures of users' RSA keys, where those are let in.
const RSA: &[Algorithm] =
    &[Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

const COMPRESSION: &[compression::Name] = &[compression::NONE];

/// The lists as russh wants them; `rsa`: users may have RSA keys.
pub(crate) fn preferred(rsa: bool) -> Preferred {
    let more = if rsa { RSA } else { &[] };
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Owned([SIGNATURES, more].concat()),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(COMPRESSION),
    }
}

/// Whether a user's key may be tried at all with this signature algorithm: listed above, and no RSA key that is too short or,
/// without `rsa`, any.
pub(crate) fn is_fit(algorithm: &Algorithm, key: &russh::keys::PublicKey, rsa: bool) -> bool {
    let key_is_fit = key.key_data().rsa().is_none_or(|key| rsa && key.key_size() >= 2048);
    key_is_fit && (SIGNATURES.contains(algorithm) || (rsa && RSA.contains(algorithm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_weak_is_offered() {
        let offer = preferred(true);
        let names: Vec<String> = offer
            .kex
            .iter()
            .map(|n| n.as_ref().to_owned())
            .chain(offer.cipher.iter().map(|n| n.as_ref().to_owned()))
            .chain(offer.mac.iter().map(|n| n.as_ref().to_owned()))
            .chain(offer.key.iter().map(ToString::to_string))
            .collect();
        for name in &names {
            assert!(!name.contains("sha1") && !name.contains("cbc") && !name.contains("group1-"), "{name}");
            assert!(name != "ssh-rsa" && name != "ssh-dss" && name != "none", "{name}");
        }
        assert!(names.contains(&"kex-strict-s-v00@openssh.com".to_owned()));
        assert_eq!(offer.compression.len(), 1);
        assert!(!preferred(false).key.iter().any(|algorithm| matches!(algorithm, Algorithm::Rsa { .. })));
    }
}
