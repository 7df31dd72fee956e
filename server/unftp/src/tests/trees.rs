//! Folders, names and rights over a mounted back-end.

use super::{
    house::{House, alice, names, path, read, store, tree_over},
    objects::Objects,
};
use crate::{MountError, Settings, Unftp};
use lockgate_vfs::{Action, Backend as _, Facts, Intent, Kind, OnAbort, Overwrite, VfsError};
use std::{
    fmt,
    path::{Path, PathBuf},
};
use unftp_core::auth::{DefaultUser, UserDetail};

#[derive(Debug)]
struct Somebody {
    enabled: bool,
    home: PathBuf,
}

impl UserDetail for Somebody {
    fn account_enabled(&self) -> bool {
        self.enabled
    }

    fn home(&self) -> Option<&Path> {
        Some(&self.home)
    }
}

impl fmt::Display for Somebody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("somebody")
    }
}

#[tokio::test]
async fn a_user_enters_the_back_end_and_one_who_may_not_has_no_store() {
    let house = House::new();
    std::fs::create_dir(house.host("home")).unwrap();
    std::fs::write(house.host("outside"), b"canary").unwrap();
    let mount = |enabled, home: &str| {
        let back_end = unftp_sbe_fs::Filesystem::new(house.host("")).unwrap();
        Unftp::mount(back_end, Somebody { enabled, home: house.host(home) }, house.file_settings())
    };
    let mounted = mount(true, "home").await.unwrap();
    assert!(names(&mounted, "/").await.is_empty());
    assert!(matches!(mounted.open(&path("/outside")).await, Err(VfsError::NotFound(_))));
    assert!(matches!(mount(false, "home").await, Err(MountError::Disabled)));
    assert!(matches!(mount(true, "none").await, Err(MountError::Enter(_))));
    for identity in ["", "store/"] {
        let settings = Settings::files(identity, house.spool());
        let mounted = Unftp::mount(Objects::default(), DefaultUser, settings).await;
        assert!(matches!(mounted, Err(MountError::Identity)));
    }
}

#[tokio::test]
async fn a_store_inside_another_is_counted_once() {
    let house = House::new();
    std::fs::create_dir(house.host("alice")).unwrap();
    std::fs::write(house.host("alice/f"), b"12345").unwrap();
    let whole = house.files().await;
    let settings = Settings { identity: format!("{}/alice", house.file_settings().identity), ..house.file_settings() };
    let back_end = unftp_sbe_fs::Filesystem::new(house.host("alice")).unwrap();
    let own = Unftp::mount(back_end, DefaultUser, settings).await.unwrap();
    let own_root = own.metadata(&path("/")).await.unwrap().unique;
    assert_eq!(own_root, whole.metadata(&path("/alice")).await.unwrap().unique);
    assert_eq!(whole.usage(0, &[own_root]).await.unwrap().bytes, 0);
    assert_eq!(own.usage(0, &[own_root]).await.unwrap().bytes, 5, "a store's own root is never left out");
}

#[tokio::test]
async fn nothing_is_reached_through_a_link_of_the_store() {
    let house = House::new();
    std::fs::create_dir(house.host("secret")).unwrap();
    std::fs::write(house.host("secret/f"), b"canary").unwrap();
    std::os::unix::fs::symlink("secret", house.host("way")).unwrap();
    std::os::unix::fs::symlink("secret/f", house.host("link")).unwrap();
    let mounted = house.files().await;
    assert_eq!(mounted.metadata(&path("/link")).await.unwrap().kind, Kind::Link);
    assert_eq!(mounted.read_link(&path("/link")).await.unwrap(), b"secret/f");
    assert!(matches!(mounted.open(&path("/link")).await, Err(VfsError::NotFound(_))));
    assert!(matches!(mounted.list(&path("/way")).await, Err(VfsError::NotFound(_))));
    for name in ["/way/f", "/way/new"] {
        let name = path(name);
        assert!(matches!(mounted.metadata(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(mounted.open(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(mounted.stage(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(mounted.make_folder(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(mounted.remove_file(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(mounted.rename(&name, &path("/x"), Overwrite::Replace).await, Err(VfsError::NotFound(_))));
        assert!(matches!(mounted.rename(&path("/link"), &name, Overwrite::Replace).await, Err(VfsError::NotFound(_))));
    }
    let (_, vfs) = tree_over(&mounted, None).await;
    assert!(matches!(vfs.open(&path("/link")).await, Err(VfsError::NotFound(_))));
    assert!(matches!(vfs.create(&path("/link"), Intent::Create, OnAbort::Keep).await, Err(VfsError::NotFound(_))));
    // A folder is removed with the links in it, and not with what they lead to.
    mounted.make_folder(&path("/d")).await.unwrap();
    std::os::unix::fs::symlink("../secret", house.host("d/way")).unwrap();
    mounted.remove_tree(&path("/d"), &lockgate_vfs::Ended::default()).await.outcome.unwrap();
    assert_eq!(std::fs::read(house.host("secret/f")).unwrap(), b"canary");
}

#[tokio::test]
async fn a_folder_that_is_not_empty_is_not_removed_though_the_back_end_would() {
    let house = House::new();
    let objects = Objects::default();
    for key in ["a/", "a/f", "ab/", "ab/f"] {
        objects.put_now(key, b"");
    }
    let mounted = house.objects(&objects).await;
    assert!(matches!(mounted.remove_folder(&path("/a")).await.outcome, Err(VfsError::NotEmpty(_))));
    mounted.remove_file(&path("/a/f")).await.unwrap();
    // Nor where what is in it has a name that no path can hold.
    objects.put_now(&format!("long/{}", "x".repeat(300)), b"");
    assert!(names(&mounted, "/long").await.is_empty());
    assert!(matches!(mounted.remove_folder(&path("/long")).await.outcome, Err(VfsError::NotEmpty(_))));
    let removal = mounted.remove_tree(&path("/long"), &lockgate_vfs::Ended::default()).await;
    assert!(matches!(removal.outcome, Err(VfsError::NotEmpty(_))));
    mounted.remove_folder(&path("/a")).await.outcome.unwrap();
    assert_eq!(objects.keys()[..2], ["ab/", "ab/f"], "a neighbour with the same beginning stays");
}

#[tokio::test]
async fn folders_of_objects_are_there_without_a_marker() {
    let house = House::new();
    let objects = Objects::default();
    objects.put_now("a/b/f", b"12345");
    let mounted = house.objects(&objects).await;
    assert_eq!(names(&mounted, "/").await, ["a"]);
    assert_eq!((names(&mounted, "/a").await, names(&mounted, "/a/b").await), (vec!["b".into()], vec!["f".into()]));
    assert_eq!(mounted.metadata(&path("/a/b")).await.unwrap().kind, Kind::Folder);
    assert_eq!(read(&mounted, "/a/b/f").await.unwrap(), b"12345");
    assert!(matches!(mounted.metadata(&path("/a/c")).await, Err(VfsError::NotFound(_))));
    let removal = mounted.remove_tree(&path("/a"), &lockgate_vfs::Ended::default()).await;
    removal.outcome.unwrap();
    assert_eq!((removal.bytes, objects.keys().len()), (5, 0));
}

#[tokio::test]
async fn a_file_of_a_store_without_renames_is_moved_as_a_copy_and_a_folder_is_refused() {
    let house = House::new();
    let objects = Objects::default();
    let (storage, vfs) = tree_over(&house.objects(&objects).await, Some(100)).await;
    store(&vfs, "/f", b"12345").await.unwrap();
    vfs.make_folder(&path("/d")).await.unwrap();
    vfs.rename(&path("/f"), &path("/d/g"), Overwrite::Refuse).await.unwrap();
    assert_eq!(objects.keys(), ["d/", "d/g"]);
    assert_eq!(storage.usage(&alice()).unwrap().0, 5);
    let moved = vfs.rename(&path("/d"), &path("/e"), Overwrite::Refuse).await;
    assert!(matches!(moved, Err(VfsError::Impossible { .. })));
}

#[tokio::test]
async fn what_a_back_end_has_no_call_for_is_refused_as_unsupported() {
    let house = House::new();
    let mounted = house.files().await;
    let (_, vfs) = tree_over(&mounted, None).await;
    store(&vfs, "/f", b"x").await.unwrap();
    let f = path("/f");
    let facts = Facts { mode: Some(0o600), ..Facts::default() };
    assert!(matches!(vfs.set_facts(&f, facts).await, Err(VfsError::Unsupported(Action::SetFacts))));
    let onward = Intent::Patch { offset: Some(1), append: false };
    assert!(matches!(vfs.create(&f, onward, OnAbort::Keep).await, Err(VfsError::Unsupported(_))));
    assert!(matches!(vfs.symlink(b"f", &path("/l")).await, Err(VfsError::Unsupported(_))));
    assert!(matches!(vfs.hard_link(&f, &path("/l")).await, Err(VfsError::Unsupported(_))));
    assert!(matches!(mounted.set_properties(&f, b"x").await, Err(VfsError::Unsupported(_))));
    assert!(matches!(vfs.read_link(&f).await, Err(VfsError::Unsupported(_))));
}

#[tokio::test]
async fn names_of_any_bytes_reach_the_store_as_they_are() {
    let house = House::new();
    let (_, vfs) = tree_over(&house.files().await, None).await;
    for name in [b"/ \n\\*?".as_slice(), b"/\xff\xfe", b"/-rf", "/ü".as_bytes()] {
        let name = lockgate_model::VPath::parse(name).unwrap();
        let mut upload = vfs.create(&name, Intent::CreateNew, OnAbort::Discard).await.unwrap();
        upload.write_at(0, b"x").await.unwrap();
        upload.commit().await.unwrap();
        assert_eq!(vfs.stat(&name).await.unwrap().size, 1);
        vfs.remove_file(&name).await.unwrap();
    }
    assert!(house.on_disk().is_empty());
}

#[tokio::test]
async fn replacing_a_folder_puts_the_old_aside_until_the_new_is_there() {
    let house = House::new();
    let mounted = house.files().await;
    let (_, vfs) = tree_over(&mounted, None).await;
    for folder in ["/new", "/old"] {
        vfs.make_folder(&path(folder)).await.unwrap();
        store(&vfs, &format!("{folder}/f"), folder.as_bytes()).await.unwrap();
    }
    vfs.replace(&path("/new"), &path("/old"), lockgate_vfs::Replacement::Copy).await.unwrap();
    assert_eq!(read(&mounted, "/old/f").await.unwrap(), b"/new");
    assert_eq!(house.on_disk(), ["new", "old"]);
}
