//! The names that uploads use beside the files they are for. One prefix is reserved as a whole, so that no door can list,
//! open, make, rename or remove what begins with it; what stands behind the prefix is this module's affair alone.
//!
//! A staged file has a random name that says nothing. A partial's name is derived from its owner and the name it is for, so
//! that it is found again after a restart without any record; it can be known, but not reached.

use aws_lc_rs::{digest, rand};
use lockgate_model::{UserName, VPath};
use std::fmt::Write as _;

/// What every reserved name begins with, in whatever case (a store may not tell cases apart).
const PREFIX: &[u8] = b".lockgate-";
const STAGED: &str = ".lockgate-up-";
const PARTIAL: &str = ".lockgate-part-";
/// What was put aside until another took its place. The sweeper leaves it: after a crash it is the only copy.
const ASIDE: &str = ".lockgate-old-";

/// Where an interrupted upload is found again: by whom, and under what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartialKey {
    owner: u64,
    what: [u8; 16],
}

impl PartialKey {
    /// The key of `owner`'s interrupted upload for the name that ends `path`.
    #[must_use]
    pub fn of_name(owner: &UserName, path: &VPath) -> Self {
        Self::new(owner, b"name", path.file_name().unwrap_or_default())
    }

    /// The key of an interrupted upload that is known by a ticket (the URL of a tus upload) and by no name.
    #[must_use]
    pub fn of_ticket(owner: &UserName, ticket: &str) -> Self {
        Self::new(owner, b"ticket", ticket.as_bytes())
    }

    fn new(owner: &UserName, kind: &[u8], what: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [b"lockgate partial".as_slice(), owner.as_str().as_bytes(), kind, what] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let hash = context.finish();
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(hash.as_ref()) {
            *to = *from;
        }
        Self { owner: owner_tag(owner), what: key }
    }

    /// Says whose a partial is, without the name.
    #[must_use]
    pub fn owner_tag(&self) -> u64 {
        self.owner
    }

    pub(crate) fn file_name(&self) -> String {
        let mut name = format!("{PARTIAL}{:016x}-", self.owner);
        for byte in self.what {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// A short hash of a user's name, as it stands in the names of partials.
#[must_use]
pub(crate) fn owner_tag(owner: &UserName) -> u64 {
    let hash = digest::digest(&digest::SHA256, owner.as_str().as_bytes());
    hash.as_ref().iter().take(8).fold(0, |tag, byte| tag << 8 | u64::from(*byte))
}

/// Whether `name` is reserved: a [`crate::Backend`] lists no such name.
#[must_use]
pub fn is_reserved(name: &[u8]) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether `name` is one of [`staged_name`]: nobody's once no upload of a living process owns it.
#[must_use]
pub fn is_staged(name: &[u8]) -> bool {
    litter(name) == Some(Litter::Staged)
}

/// Whether any component of `path` is reserved.
#[must_use]
pub(crate) fn reaches_reserved(path: &VPath) -> bool {
    path.components().any(is_reserved)
}

/// What a reserved name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Litter {
    /// A staged file, or something of the future: nobody's once its lock is gone.
    Staged,
    /// A partial of the owner with this tag.
    Partial(u64),
}

/// Reads a reserved name; `None` for any other.
#[must_use]
pub(crate) fn litter(name: &[u8]) -> Option<Litter> {
    if !is_reserved(name) {
        return None;
    }
    let tag = std::str::from_utf8(name)
        .ok()
        .and_then(|text| text.strip_prefix(PARTIAL))
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(tag, _)| u64::from_str_radix(tag, 16).ok());
    match tag {
        Some(tag) => Some(Litter::Partial(tag)),
        None if name.starts_with(STAGED.as_bytes()) => Some(Litter::Staged),
        None => None,
    }
}

/// A fresh unguessable reserved name for what is not committed yet; `None` where the system has no randomness.
#[must_use]
pub fn staged_name() -> Option<String> {
    random_name(STAGED)
}

/// A fresh name for what is put aside; `None` as [`staged_name`].
#[must_use]
pub(crate) fn aside_name() -> Option<String> {
    random_name(ASIDE)
}

fn random_name(prefix: &str) -> Option<String> {
    let mut random = [0; 16];
    rand::fill(&mut random).ok()?;
    let mut name = String::from(prefix);
    for byte in random {
        let _ = write!(name, "{byte:02x}");
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserved_prefix_is_reserved_in_every_case_and_only_as_a_prefix() {
        assert!(is_reserved(b".lockgate-up-0") && is_reserved(b".LockGate-anything"));
        assert!(!is_reserved(b".lockgate") && !is_reserved(b"x.lockgate-up-0"));
        assert!(reaches_reserved(&VPath::parse("/a/.lockgate-part-1/b").unwrap()));
    }

    #[test]
    fn a_partial_is_found_by_owner_and_name_alone_and_differs_by_each() {
        let (alice, bob) = (UserName::new("alice").unwrap(), UserName::new("bob").unwrap());
        let path = VPath::parse("/in/a.bin").unwrap();
        let key = PartialKey::of_name(&alice, &path);
        assert_eq!(key.file_name(), PartialKey::of_name(&alice, &path).file_name());
        assert_ne!(key, PartialKey::of_name(&bob, &path));
        assert_ne!(key, PartialKey::of_ticket(&alice, "a.bin"));
        assert_eq!(litter(key.file_name().as_bytes()), Some(Litter::Partial(owner_tag(&alice))));
        assert_eq!(litter(staged_name().unwrap().as_bytes()), Some(Litter::Staged));
        assert_eq!(litter(aside_name().unwrap().as_bytes()), None, "no sweeper takes what was put aside");
    }
}
