//! The adapter over a back-end of files (`unftp-sbe-fs`, as it is) and over one of objects, which has the habits of the known
//! ones: keys with slashes, folders that are markers or only prefixes, no rename, and a removal that asks no questions.

mod house;
mod objects;
mod reading;
mod trees;
mod uploads;

use crate::said::said;
use house::{House, path};
use lockgate_vfs::{Action, VfsError, contract};
use objects::Objects;
use std::io;
use unftp_core::storage::{Error, ErrorKind};

#[tokio::test]
async fn a_back_end_of_files_keeps_the_contract_of_a_store() {
    let house = House::new();
    contract::check(&house.files().await).await.unwrap();
    assert_eq!(house.on_disk(), Vec::<String>::new(), "nothing is left under a reserved name");
}

#[tokio::test]
async fn a_back_end_of_objects_keeps_the_contract_of_a_store() {
    let house = House::new();
    let objects = Objects::default();
    contract::check(&house.objects(&objects).await).await.unwrap();
    assert_eq!(objects.keys(), Vec::<String>::new());
}

#[test]
fn errors_of_a_back_end_become_the_words_of_the_tree() {
    let of = |error| said(error, Action::Write, &path("/f"));
    let host = |kind: io::ErrorKind| of(Error::from(io::Error::from(kind)));
    assert!(matches!(of(ErrorKind::PermanentFileNotAvailable.into()), VfsError::NotFound(_)));
    assert!(matches!(of(ErrorKind::PermanentDirectoryNotEmpty.into()), VfsError::NotEmpty(_)));
    assert!(matches!(of(ErrorKind::PermissionDenied.into()), VfsError::Forbidden { action: Action::Write, .. }));
    assert!(matches!(of(ErrorKind::CommandNotImplemented.into()), VfsError::Unsupported(Action::Write)));
    assert!(matches!(of(ErrorKind::ExceededStorageAllocationError.into()), VfsError::NoSpace));
    assert!(matches!(of(ErrorKind::FileNameNotAllowedError.into()), VfsError::BadName));
    assert!(matches!(of(ErrorKind::ConnectionClosed.into()), VfsError::Interrupted));
    assert!(matches!(of(ErrorKind::LocalError.into()), VfsError::Backend { action: Action::Write, .. }));
    // The cause says more than the code.
    assert!(matches!(host(io::ErrorKind::AlreadyExists), VfsError::Exists(_)));
    assert!(matches!(host(io::ErrorKind::IsADirectory), VfsError::IsFolder(_)));
    assert!(matches!(host(io::ErrorKind::ReadOnlyFilesystem), VfsError::ReadOnly(_)));
    assert!(matches!(host(io::ErrorKind::StorageFull), VfsError::NoSpace));
    let named = of(Error::new(ErrorKind::LocalError, "/srv/secret is broken"));
    assert!(!named.to_string().contains("secret"), "what a user reads has no text of the back-end");
}
