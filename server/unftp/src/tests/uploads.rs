//! Uploads by way of the spool: whole in the store, or nowhere in it.

use super::{
    house::{DAY, House, alice, bytes, names, path, read, store, tree_over, until},
    objects::Objects,
};
use crate::{Settings, Unftp};
use lockgate_vfs::{
    Action, Backend as _, Durability, Intent, OnAbort, Overwrite, PartialKey, StagedFile, VfsError, staged_name,
};
use std::time::Duration;
use unftp_core::auth::DefaultUser;

async fn staged(store: &Unftp, name: &str, bytes: &[u8]) -> Box<dyn StagedFile> {
    let mut staged = store.stage(&path(name)).await.unwrap();
    staged.write_at(0, bytes).await.unwrap();
    staged
}

#[tokio::test]
async fn uploads_of_any_size_arrive_byte_for_byte() {
    let house = House::new();
    let objects = Objects::default();
    for mounted in [house.files().await, house.objects(&objects).await] {
        let (_, alice) = tree_over(&mounted, None).await;
        for whole in [0, 1, 5_000_000].map(bytes) {
            let mut upload = alice.create(&path("/f"), Intent::Create, OnAbort::Discard).await.unwrap();
            // The last piece first, as a client with many hands does.
            for (place, piece) in whole.chunks(700_000).enumerate().collect::<Vec<_>>().into_iter().rev() {
                upload.write_at(place as u64 * 700_000, piece).await.unwrap();
            }
            upload.commit().await.unwrap();
            assert!(read(&mounted, "/f").await.unwrap() == whole);
        }
    }
}

#[tokio::test]
async fn nothing_of_an_upload_is_in_the_store_before_its_end() {
    let house = House::new();
    let mounted = house.files().await;
    let mut upload = staged(&mounted, "/f", b"12345").await;
    assert_eq!(house.on_disk(), Vec::<String>::new());
    upload.settle().await.unwrap();
    assert_eq!(house.on_disk().len(), 1);
    assert!(names(&mounted, "/").await.is_empty(), "what is beside a name is in no listing");
    drop(upload);
    until(|| house.on_disk().is_empty()).await;
}

#[tokio::test]
async fn an_interrupted_upload_is_gone_on_with_after_a_restart_and_counts_meanwhile() {
    let house = House::new();
    let (storage, vfs) = tree_over(&house.files().await, Some(100)).await;
    vfs.make_folder(&path("/d")).await.unwrap();
    let mut upload = vfs.create(&path("/d/f"), Intent::Create, OnAbort::Keep).await.unwrap();
    upload.write_at(0, b"123").await.unwrap();
    drop(upload);
    assert_eq!((vfs.stat(&path("/d/f")).await.unwrap().size, storage.usage(&alice()).unwrap().0), (3, 3));
    vfs.rename(&path("/d"), &path("/e"), Overwrite::Refuse).await.unwrap();
    drop(vfs);

    let mounted = house.files().await;
    let (storage, vfs) = tree_over(&mounted, Some(100)).await;
    assert_eq!(storage.usage(&alice()).unwrap().0, 3);
    let onward = Intent::Patch { offset: Some(3), append: false };
    let mut upload = vfs.create(&path("/e/f"), onward, OnAbort::Keep).await.unwrap();
    upload.write_at(3, b"45").await.unwrap();
    upload.commit().await.unwrap();
    assert_eq!((read(&mounted, "/e/f").await.unwrap(), storage.usage(&alice()).unwrap().0), (b"12345".to_vec(), 5));
}

#[tokio::test]
async fn an_upload_interrupted_in_one_store_is_not_gone_on_with_in_another() {
    let house = House::new();
    let key = PartialKey::of_name(&alice(), &path("/f"));
    staged(&house.files().await, "/f", b"123").await.keep(&key, 3).unwrap();
    let other = house.objects(&Objects::default()).await;
    assert!(other.partial(&path("/f"), &key).await.unwrap().is_none());
    assert!(house.files().await.partial(&path("/f"), &key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_put_that_breaks_off_leaves_no_cut_object_that_looks_whole() {
    let house = House::new();
    let objects = Objects::default();
    let (_, vfs) = tree_over(&house.objects(&objects).await, Some(100)).await;
    objects.break_puts(true);
    assert!(matches!(store(&vfs, "/f", b"12345678").await, Err(VfsError::Backend { .. })));
    assert!(objects.keys().is_empty());
    objects.break_puts(false);
    store(&vfs, "/f", b"12345678").await.unwrap();
    assert_eq!(objects.keys(), ["f"]);
}

#[tokio::test]
async fn a_back_end_that_cannot_rename_commits_nothing_as_files() {
    let house = House::new();
    let objects = Objects::default();
    let mounted = Unftp::mount(objects.clone(), DefaultUser, house.file_settings()).await.unwrap();
    let (_, vfs) = tree_over(&mounted, None).await;
    assert!(matches!(store(&vfs, "/f", b"1").await, Err(VfsError::Unsupported(Action::Rename))));
    until(|| objects.keys().is_empty()).await;
}

#[tokio::test]
async fn commits_of_new_names_at_once_are_one_success_and_one_refusal() {
    let house = House::new();
    let objects = Objects::default();
    // Two mounts of one store, as two users have them.
    let files = (house.files().await, house.files().await);
    let objects = (house.objects(&objects).await, house.objects(&objects).await);
    for (mounted, twin) in [files, objects] {
        let (one, two) = (staged(&mounted, "/new", b"one").await, staged(&twin, "/new", b"two").await);
        let (one, two) = tokio::join!(one.publish(Overwrite::Refuse), two.publish(Overwrite::Refuse));
        let refused = [one, two].into_iter().filter(|end| matches!(end, Err(VfsError::Exists(_)))).count();
        assert_eq!(refused, 1);
    }
}

#[tokio::test]
async fn what_a_crash_left_in_the_store_is_swept_by_age_and_live_uploads_are_not() {
    let house = House::new();
    let mounted = house.files().await;
    mounted.make_folder(&path("/d")).await.unwrap();
    let litter = house.host("d").join(staged_name().unwrap());
    std::fs::write(&litter, b"12").unwrap();
    std::fs::write(house.host("d/.lockgate-old-1"), b"the only copy").unwrap();
    let mut live = staged(&mounted, "/d/f", b"123").await;
    live.settle().await.unwrap();
    mounted.sweep(DAY).await;
    assert!(litter.exists());
    mounted.sweep(Duration::ZERO).await;
    assert!(!litter.exists() && house.host("d/.lockgate-old-1").exists());
    live.publish(Overwrite::Refuse).await.unwrap();
    assert_eq!(read(&mounted, "/d/f").await.unwrap(), b"123");
}

#[tokio::test]
async fn the_spool_keeps_no_folders_that_nothing_is_in() {
    let house = House::new();
    let mounted = house.files().await;
    for folder in ["/a", "/a/b"] {
        mounted.make_folder(&path(folder)).await.unwrap();
    }
    staged(&mounted, "/a/b/f", b"123").await.discard();
    let store = std::fs::read_dir(house.spool()).unwrap().next().unwrap().unwrap().path();
    assert!(store.join("a/b").exists());
    mounted.sweep(DAY).await;
    assert!(!store.join("a").exists());
    staged(&mounted, "/a/b/f", b"123").await.publish(Overwrite::Refuse).await.unwrap();
}

#[tokio::test]
async fn only_what_the_operator_knows_is_said_of_durability() {
    let house = House::new();
    assert_eq!(house.files().await.durability(), Durability::Rename);
    let settings = Settings { durability: Durability::Full, ..house.object_settings() };
    let mounted = Unftp::mount(Objects::default(), DefaultUser, settings).await.unwrap();
    assert_eq!(mounted.durability(), Durability::Full);
}
