//! Dead properties of WebDAV: opaque values under opaque names, kept with the file as one extended attribute, so that they
//! move, and vanish, with it on every door.

use crate::{Action, LastLink, Vfs, VfsError, locks::Change};
use lockgate_model::{Permission, VPath};

/// Bytes of all names and values of one path (64 KiB with their lengths; the store may take less).
const MOST: usize = 64 * 1024;

impl Vfs {
    /// The dead properties kept with `path`: opaque values by opaque name, in extended attributes where the store has them.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::Forbidden`].
    pub async fn properties(&self, path: &VPath) -> Result<Vec<(String, Vec<u8>)>, VfsError> {
        let blob = self
            .at(path, Permission::List, Action::List, LastLink::Follow, |place| async move {
                match place.mount.backend.properties(&place.inner).await {
                    // A store without them has none.
                    Err(VfsError::Unsupported(_)) => Ok(Vec::new()),
                    done => done,
                }
            })
            .await?;
        Ok(parse(&blob))
    }

    /// Sets (`Some`) or removes (`None`) dead properties, all or none. Bounded: 64 KiB in all for a path.
    ///
    /// # Errors
    /// As [`Vfs::properties`], [`VfsError::NoSpace`] past the bound, [`VfsError::Unsupported`] where the store keeps none.
    pub async fn set_properties(&self, path: &VPath, changes: &[(String, Option<Vec<u8>>)]) -> Result<(), VfsError> {
        let _one = self.view.shared.properties.lock().await;
        self.at(path, Permission::SetFacts, Action::SetFacts, LastLink::Follow, |place| async move {
            self.unlocked(&place, Change::Content)?;
            let mut all = parse(&place.mount.backend.properties(&place.inner).await?);
            for (name, value) in changes {
                all.retain(|(known, _)| known != name);
                all.extend(value.iter().map(|value| (name.clone(), value.clone())));
            }
            let blob = format(&all);
            if blob.len() > MOST {
                return Err(VfsError::NoSpace);
            }
            place.mount.backend.set_properties(&place.inner, &blob).await
        })
        .await
    }
}

/// Each name and value behind its length in four bytes, the largest first.
fn format(all: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut blob = Vec::new();
    for (name, value) in all {
        for part in [name.as_bytes(), value] {
            blob.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            blob.extend_from_slice(part);
        }
    }
    blob
}

/// Reads as far as it makes sense: somebody else may have written the attribute.
fn parse(mut blob: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some((name, rest)) = part(blob)
        && let Some((value, rest)) = part(rest)
    {
        if let Ok(name) = std::str::from_utf8(name) {
            all.push((name.to_owned(), value.to_vec()));
        }
        blob = rest;
    }
    all
}

fn part(blob: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn properties_round_trip_and_any_bytes_are_read_without_harm(
            all in proptest::collection::vec((".{0,20}", proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            junk in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            prop_assert_eq!(parse(&format(&all)), all);
            let _ = parse(&junk);
        }
    }
}
