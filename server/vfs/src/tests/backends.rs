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
async fn a_source_that_a_store_is_registered_under_is_that_store() {
    let house = House::new();
    house.storage.register("cloud".into(), Arc::new(MemoryStore::default()));
    let registered = crate::MountSpec { source: "cloud".into(), ..house.mount("/cloud", "unused") };
    let tree = TreeSpec { mounts: vec![house.mount("/", "root"), registered], ..house.tree("alice") };
    let alice = house.storage.open(tree.clone(), "one".into()).await.unwrap();
    alice.store("/cloud/f", b"12345").await.unwrap();
    drop(alice.begin_upload("/cloud/g", CREATE, b"12").await);
    house.storage.sweep(&["cloud".into()]).await;
    let again = house.storage.open(tree, "two".into()).await.unwrap();
    assert_eq!((again.fetch("/cloud/f").await.unwrap(), house.bytes("f")), (b"12345".to_vec(), None));
    assert_eq!(again.size("/cloud/g").await.unwrap(), 2, "what is young is not swept");
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
async fn what_is_kept_is_cut_and_on_the_disk_with_its_name_before_anybody_is_told_so() {
    let house = House::new();
    let store = MemoryStore::default();
    let alice = house.storage.open_on(house.tree("alice"), vec![Arc::new(store.clone())], "s".into()).await.unwrap();
    let mut upload = alice.create_ticketed(&path("/f"), "url-1", OnAbort::Discard).await.unwrap();
    upload.write_at(0, b"123").await.unwrap();
    upload.write_at(100, b"far ahead").await.unwrap();
    assert_eq!(upload.keep().await.unwrap(), 3);
    assert_eq!(store.done(), ["cut", "sync", "keep", "sync folder"]);
    let mut upload = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
    upload.write_at(3, b"4").await.unwrap();
    assert_eq!(upload.keep().await.unwrap(), 4);
    assert_eq!(store.done(), ["sync", "keep", "sync folder"]);
}

#[tokio::test]
async fn of_bytes_whose_sync_failed_nothing_is_kept_but_what_was_synced_before() {
    let house = House::new();
    let store = MemoryStore::default();
    let alice = house.storage.open_on(house.tree("alice"), vec![Arc::new(store.clone())], "s".into()).await.unwrap();
    let named = alice.begin_upload("/named", CREATE, b"123").await;
    let mut ticketed = alice.create_ticketed(&path("/f"), "url-1", OnAbort::Discard).await.unwrap();
    ticketed.write_at(0, b"123").await.unwrap();
    ticketed.keep().await.unwrap();
    let mut ticketed = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
    ticketed.write_at(3, b"456").await.unwrap();
    store.fail(true);
    for ended in [named.commit().await.map(|_| ()), ticketed.keep().await.map(|_| ())] {
        assert!(matches!(ended, Err(VfsError::Backend { .. })));
    }
    store.fail(false);
    assert!(matches!(alice.size("/named").await, Err(VfsError::NotFound(_))));
    assert_eq!(alice.ticketed(&path("/f"), "url-1").await.unwrap().unwrap().size, 3);
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

#[tokio::test]
async fn a_door_gets_a_descriptor_only_where_using_it_waits_for_nothing() {
    const MIB: u64 = 1 << 20;
    let house = House::new();
    for (root, quick) in
        [(LocalRoot::open(&house.root(), false).unwrap(), true), (LocalRoot::open_slow(&house.root()).unwrap(), false)]
    {
        let backend = Arc::new(root.backend(Durability::Full));
        let alice = house.storage.open_on(house.tree("alice"), vec![backend], "s".into()).await.unwrap();
        let mut upload = alice.create(&path("/f"), CREATE, OnAbort::Discard).await.unwrap();
        assert_eq!(upload.descriptor().is_some(), quick);
        upload.write_at(0, &vec![7; 3 << 20]).await.unwrap();
        upload.commit().await.unwrap();
        let reader = alice.open(&path("/f")).await.unwrap();
        assert_eq!(reader.ready(0, 4 * MIB).is_some(), quick);
        if !quick {
            continue;
        }
        // A hole in the page cache, where the file system under the tests lets one be made and tells of it.
        let file = reader.descriptor().unwrap();
        rustix::fs::fadvise(file, MIB, std::num::NonZeroU64::new(MIB), rustix::fs::Advice::DontNeed).unwrap();
        let mut byte = [0];
        let mut place = [std::io::IoSliceMut::new(&mut byte)];
        let middle = rustix::io::preadv2(file, &mut place, MIB + MIB / 2, rustix::io::ReadWriteFlags::NOWAIT);
        if middle == Err(rustix::io::Errno::AGAIN) {
            assert!(reader.ready(0, 3 * MIB).is_none());
        }
        assert!(reader.ready(0, MIB).is_some() && reader.ready(2 * MIB, 2 * MIB).is_some());
    }
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
