//! `Upload-Checksum`: what the bytes of one request must add up to.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lockgate_http_semantics::Check;
use lockgate_vfs::Digest;

/// The algorithms, as `Tus-Checksum-Algorithm` tells them. The first is the one that tus demands.
pub(super) const ALGORITHMS: &str = "sha1,sha256";

/// Reads the header's value; `None` where it has another form, or an algorithm that is not offered.
pub(super) fn read(value: &str) -> Option<Check> {
    let (name, sum) = value.split_once(' ')?;
    let digest = match name {
        "sha1" => Digest::Sha1,
        "sha256" => Digest::Sha256,
        _ => return None,
    };
    let expected = STANDARD.decode(sum).ok().filter(|sum| sum.len() == digest.length())?;
    Some(Check::new([(digest, expected)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_holds_for_its_bytes_alone() {
        for value in ["sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "sha256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="] {
            let mut short = read(value).unwrap();
            short.add(b"a");
            assert!(!short.holds(), "{value}");
            let mut whole = read(value).unwrap();
            whole.add(b"a");
            whole.add(b"bc");
            assert!(whole.holds(), "{value}");
        }
    }

    #[test]
    fn what_is_not_offered_is_not_taken_for_no_checksum() {
        for value in [
            "",
            "sha1",
            "sha1 ",
            "md5 kAFQmDzST7DWlj99KOF/cg==",
            "sha1 YQ==",
            "SHA1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=",
            "sha1  x",
        ] {
            assert!(read(value).is_none(), "{value}");
        }
    }
}
