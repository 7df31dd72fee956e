//! `Upload-Checksum`: what the bytes of one request must add up to.

use aws_lc_rs::digest::{self, Algorithm, Context};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The algorithms, as `Tus-Checksum-Algorithm` tells them. The first is the one that tus demands.
pub(super) const ALGORITHMS: &str = "sha1,sha256";

/// A checksum that is asked for, and what there is of it so far.
#[derive(Clone)]
pub(super) struct Checksum {
    context: Context,
    expected: Vec<u8>,
}

impl Checksum {
    /// Reads the header's value; `None` where it has another form, or an algorithm that is not offered.
    pub(super) fn read(value: &str) -> Option<Self> {
        let (name, sum) = value.split_once(' ')?;
        let algorithm: &'static Algorithm = match name {
            "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &digest::SHA256,
            _ => return None,
        };
        let expected = STANDARD.decode(sum).ok().filter(|sum| sum.len() == algorithm.output_len())?;
        Some(Self { context: Context::new(algorithm), expected })
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Whether the bytes were the right ones.
    pub(super) fn holds(self) -> bool {
        self.context.finish().as_ref() == self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_holds_for_its_bytes_alone() {
        for value in ["sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "sha256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="] {
            let mut sum = Checksum::read(value).unwrap();
            sum.add(b"a");
            assert!(!sum.clone().holds(), "{value}");
            sum.add(b"bc");
            assert!(sum.holds(), "{value}");
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
            assert!(Checksum::read(value).is_none(), "{value}");
        }
    }
}
