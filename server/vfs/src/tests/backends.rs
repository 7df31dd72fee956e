//! Every store keeps the same contract, and what stands above it needs no more than that.

use super::{house::*, memory::MemoryStore};
use crate::{
    Durability, FileReader, Listing, OnAbort, Overwrite, Storage, TreeSpec, Upload, Vfs, VfsError, contract,
    local::LocalRoot,
};
use std::sync::Arc;

#[tokio::test]
async fn local_files_keep_the_contract_of_a_store() {
    let house = House::new();
    for durability in [Durability::Full, Durability::Rename] {
        let whole = LocalRoot::open(&house.root(), false).unwrap();
        let walked = LocalRoot::open_without_openat2(&house.root()).unwrap();
        let slow = LocalRoot::open_slow(&house.root()).unwrap();
        for root in [whole, walked, slow] {
            contract::check(&root.backend(durability)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn local_files_in_memory_keep_the_contract_of_a_store() {
    // Where there is no such file system the rule is checked above.
    if let Ok(folder) = tempfile::tempdir_in("/dev/shm") {
        let root = LocalRoot::open(folder.path(), false).unwrap();
        contract::check(&root.backend(Durability::Full)).await.unwrap();
    }
}

#[tokio::test]
async fn a_store_in_memory_keeps_the_contract_of_a_store() {
    contract::check(&MemoryStore::default()).await.unwrap();
}

#[tokio::test]
async fn a_store_without_descriptors_links_or_patches_serves_all_else() {
    let house = House::new();
    let tree = TreeSpec { otherwise: all(), quota: Some(lockgate_model::ByteSize(100)), ..house.tree("alice") };
    let alice = house.storage.open_on(tree, vec![Arc::new(MemoryStore::default())], "s".into()).await.unwrap();
    alice.store("/f", b"12345").await.unwrap();
    alice.make_folder(&path("/d")).await.unwrap();
    alice.copy(&path("/f"), &path("/d/g"), Overwrite::Refuse).await.unwrap();
    drop(alice.begin_upload("/h", CREATE, b"12").await);
    assert_eq!((alice.size("/h").await.unwrap(), house.used("alice")), (2, 12));
    alice.begin_upload("/h", patch(2), b"3").await.commit().await.unwrap();
    alice.copy_tree(&path("/d"), &path("/e"), Overwrite::Refuse).await.unwrap();
    assert_eq!(
        (alice.fetch("/e/g").await.unwrap(), alice.fetch("/h").await.unwrap()),
        (b"12345".to_vec(), b"123".to_vec())
    );
    assert!(matches!(alice.create(&path("/f"), APPEND, OnAbort::Keep).await, Err(VfsError::Unsupported(_))));
    assert!(matches!(alice.symlink(b"f", &path("/l")).await, Err(VfsError::Unsupported(_))));
    assert_eq!(alice.properties(&path("/f")).await.unwrap(), []);
    alice.remove_tree(&path("/e")).await.unwrap();
    assert_eq!(
        (alice.names("/").await, house.used("alice")),
        (vec!["d".to_owned(), "f".to_owned(), "h".to_owned()], 13)
    );
}

#[tokio::test]
async fn a_file_moves_between_two_kinds_of_store_and_a_folder_does_not() {
    let house = House::new();
    let local = Arc::new(LocalRoot::open(&house.root(), false).unwrap().backend(Durability::Full));
    let mounts = vec![house.mount("/", "root"), house.mount("/cloud", "unused")];
    let tree = TreeSpec { mounts, ..house.tree("alice") };
    let alice = house.storage.open_on(tree, vec![local, Arc::new(MemoryStore::default())], "s".into()).await.unwrap();
    alice.store("/f", b"12345").await.unwrap();
    alice.make_folder(&path("/d")).await.unwrap();
    alice.rename(&path("/f"), &path("/cloud/f"), Overwrite::Refuse).await.unwrap();
    assert_eq!((alice.fetch("/cloud/f").await.unwrap(), house.bytes("f")), (b"12345".to_vec(), None));
    alice.store("/g", b"old").await.unwrap();
    assert!(matches!(alice.rename(&path("/cloud/f"), &path("/g"), Overwrite::Refuse).await, Err(VfsError::Exists(_))));
    alice.rename(&path("/cloud/f"), &path("/g"), Overwrite::Replace).await.unwrap();
    assert_eq!(house.bytes("g").unwrap(), b"12345");
    assert!(matches!(
        alice.rename(&path("/d"), &path("/cloud/d"), Overwrite::Refuse).await,
        Err(VfsError::Impossible { .. })
    ));
    assert_eq!(house.used_or_zero("alice"), 5);
}

#[tokio::test]
async fn large_files_and_cold_ones_come_and_go_byte_for_byte() {
    let house = House::new();
    let whole = LocalRoot::open(&house.root(), false).unwrap();
    for root in [whole, LocalRoot::open_slow(&house.root()).unwrap()] {
        let backend = Arc::new(root.backend(Durability::Full));
        let alice = house.storage.open_on(house.tree("alice"), vec![backend], "s".into()).await.unwrap();
        let bytes: Vec<u8> = (0..20_000_000_u32).map(|number| (number / 3) as u8).collect();
        let mut upload = alice.create(&path("/f"), CREATE, OnAbort::Discard).await.unwrap();
        for (place, piece) in bytes.chunks(1_500_000).enumerate() {
            upload.write_at(place as u64 * 1_500_000, piece).await.unwrap();
        }
        upload.commit().await.unwrap();
        let reader = alice.open(&path("/f")).await.unwrap();
        let cold = rustix::fs::fadvise(reader.descriptor().unwrap(), 0, None, rustix::fs::Advice::DontNeed);
        cold.unwrap();
        let mut back = vec![0; bytes.len() + 10];
        assert_eq!(reader.read_at(0, &mut back).await.unwrap(), bytes.len());
        assert!(back[..bytes.len()] == bytes);
        alice.copy(&path("/f"), &path("/g"), Overwrite::Replace).await.unwrap();
        assert!(house.bytes("g").unwrap() == bytes);
    }
}

#[tokio::test]
async fn bytes_spliced_into_an_upload_are_announced_before_and_after() {
    let house = House::new();
    let alice = house.with_quota("alice", 10).await;
    let mut upload = alice.create(&path("/f"), CREATE, OnAbort::Keep).await.unwrap();
    upload.grow(0, 10).unwrap();
    rustix::io::pwrite(upload.descriptor().unwrap(), b"12345", 0).unwrap();
    upload.wrote(0, 5);
    assert_eq!((upload.len(), house.used("alice")), (5, 10));
    assert!(matches!(upload.grow(5, 6), Err(VfsError::OverQuota { .. })));
    drop(upload);
    assert_eq!((alice.size("/f").await.unwrap(), house.used("alice")), (5, 5));
}

/// What doors do in tasks of their own must be able to move between threads; that it can is checked by the compiler.
#[test]
fn all_values_and_futures_move_between_threads() {
    fn sent<T: Send>(_: T) {}
    fn shared<T: Send + Sync + 'static>() {}
    shared::<(Storage, Vfs, Upload, FileReader)>();
    fn futures(vfs: &Vfs, listing: &mut Listing, mut upload: Upload, reader: &FileReader) {
        let name = path("/f");
        sent(vfs.stat(&name));
        sent(vfs.list(&name));
        sent(vfs.open(&name));
        sent(vfs.create(&name, CREATE, OnAbort::Keep));
        sent(vfs.make_folder(&name));
        sent(vfs.remove_file(&name));
        sent(vfs.remove_folder(&name));
        sent(vfs.remove_tree(&name));
        sent(vfs.rename(&name, &name, Overwrite::Refuse));
        sent(vfs.copy(&name, &name, Overwrite::Refuse));
        sent(vfs.copy_tree(&name, &name, Overwrite::Refuse));
        sent(vfs.set_facts(&name, at(1)));
        sent(vfs.read_link(&name));
        sent(vfs.symlink(b"x", &name));
        sent(vfs.hard_link(&name, &name));
        sent(vfs.space(&name));
        sent(vfs.set_properties(&name, &[]));
        sent(listing.next_batch(1));
        sent(reader.read_at(0, &mut []));
        sent(upload.write_at(0, b"x"));
        sent(upload.sync());
        sent(upload.commit());
    }
    let _ = futures;
}
