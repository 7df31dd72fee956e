//! Links: followed only where they stay below the mount's root, made only with the right to.

use super::house::*;
use crate::{Kind, OnAbort, Overwrite, TreeSpec, Vfs, VfsError, local::LocalRoot};
use lockgate_model::Permissions;
use std::{
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

async fn both_ways(house: &House, tree: &TreeSpec) -> [Vfs; 2] {
    let durability = crate::Durability::Rename;
    let whole = LocalRoot::open(&house.root(), false).unwrap().backend(durability);
    let walked = LocalRoot::open_without_openat2(&house.root()).unwrap().backend(durability);
    [
        house.storage.open_on(tree.clone(), vec![Arc::new(whole)], "whole".into()).await.unwrap(),
        house.storage.open_on(tree.clone(), vec![Arc::new(walked)], "walked".into()).await.unwrap(),
    ]
}

#[tokio::test]
async fn a_link_inside_the_mount_is_followed_and_one_that_leaves_it_is_refused() {
    let house = House::new();
    house.put("d/f", b"inside");
    symlink("d/f", house.on_disk("file")).unwrap();
    symlink("../d", house.on_disk("d/up")).unwrap();
    symlink("../outside/canary", house.on_disk("relative")).unwrap();
    symlink(house.dir.path().join("outside"), house.on_disk("absolute")).unwrap();
    symlink(house.on_disk("d"), house.on_disk("absolute-inside")).unwrap();
    symlink("nowhere", house.on_disk("dangling")).unwrap();
    symlink("circle", house.on_disk("circle")).unwrap();
    for vfs in both_ways(&house, &house.tree("alice")).await {
        assert_eq!(vfs.fetch("/file").await.unwrap(), b"inside");
        assert_eq!(vfs.fetch("/d/up/up/f").await.unwrap(), b"inside");
        assert_eq!(vfs.names("/d/up").await, ["f", "up"]);
        for name in ["/relative", "/absolute/canary", "/absolute/no-such", "/absolute-inside/f", "/circle"] {
            assert!(matches!(vfs.fetch(name).await, Err(VfsError::Forbidden { .. })), "{name}");
            assert!(matches!(vfs.size(name).await, Err(VfsError::Forbidden { .. })), "{name}");
            assert!(vfs.store(name, b"x").await.is_err(), "{name}");
        }
        assert!(matches!(vfs.size("/dangling").await, Err(VfsError::NotFound(_))));
        assert_eq!(vfs.lstat(&path("/absolute")).await.unwrap().kind, Kind::Link);
        assert_eq!(vfs.read_link(&path("/file")).await.unwrap(), b"d/f");
        assert!(vfs.read_link(&path("/absolute")).await.is_err(), "the target is a path of the host");
    }
    house.canary_is_untouched();
}

#[tokio::test]
async fn links_are_listed_as_links() {
    let house = House::new();
    symlink("../outside", house.on_disk("link")).unwrap();
    let rows = house.alice().await.list(&path("/")).await.unwrap().next_batch(9).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.metadata.kind).collect::<Vec<_>>(), [Kind::Link]);
}

#[tokio::test]
async fn a_link_has_times_of_its_own_and_no_mode() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("f", b"x");
    symlink("f", house.on_disk("link")).unwrap();
    let before = alice.stat(&path("/f")).await.unwrap();
    alice.set_link_facts(&path("/link"), at(1_234_567)).await.unwrap();
    assert_eq!(alice.lstat(&path("/link")).await.unwrap().modified, at(1_234_567).modified.unwrap());
    assert_eq!(alice.stat(&path("/f")).await.unwrap(), before);
    let mode = crate::Facts { mode: Some(0o600), ..at(1) };
    assert!(matches!(alice.set_link_facts(&path("/link"), mode).await, Err(VfsError::Unsupported(_))));
    assert!(matches!(alice.set_link_facts(&path("/f"), at(1)).await, Err(VfsError::NotFound(_))), "no link");
}

#[tokio::test]
async fn an_upload_through_a_link_replaces_the_file_and_keeps_the_link() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("d/f", b"old");
    symlink("d/f", house.on_disk("link")).unwrap();
    symlink("d/new", house.on_disk("dangling")).unwrap();
    alice.store("/link", b"new").await.unwrap();
    alice.store("/dangling", b"made").await.unwrap();
    assert_eq!((house.bytes("d/f").unwrap(), house.bytes("d/new").unwrap()), (b"new".to_vec(), b"made".to_vec()));
    assert!(house.on_disk("link").is_symlink() && house.on_disk("dangling").is_symlink());
}

#[tokio::test]
async fn removing_or_renaming_a_link_touches_the_link_and_not_what_it_points_to() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("d/f", b"x");
    symlink("d", house.on_disk("one")).unwrap();
    symlink("../outside", house.on_disk("two")).unwrap();
    alice.rename(&path("/one"), &path("/uno"), Overwrite::Refuse).await.unwrap();
    assert!(house.on_disk("uno").is_symlink());
    assert!(matches!(alice.remove_folder(&path("/uno")).await, Err(VfsError::NotFolder(_))));
    alice.remove_tree(&path("/uno")).await.unwrap();
    alice.remove_file(&path("/two")).await.unwrap();
    assert_eq!(house.bytes("d/f").unwrap(), b"x");
    house.canary_is_untouched();
}

#[tokio::test]
async fn links_are_made_only_with_the_right_to_and_never_out_of_the_mount() {
    let house = House::new();
    house.put("f", b"x");
    let plain = house.alice().await;
    assert!(matches!(plain.symlink(b"f", &path("/l")).await, Err(VfsError::Forbidden { .. })));
    assert!(matches!(plain.hard_link(&path("/f"), &path("/h")).await, Err(VfsError::Forbidden { .. })));
    let linker = house.open(TreeSpec { otherwise: all(), ..house.tree("linker") }).await;
    for target in ["/etc/passwd", "..", "../outside", "a/../../outside", ".lockgate-up-1"] {
        assert!(
            matches!(linker.symlink(target.as_bytes(), &path("/l")).await, Err(VfsError::Forbidden { .. })),
            "{target}"
        );
    }
    linker.make_folder(&path("/d")).await.unwrap();
    linker.symlink(b"../f", &path("/d/l")).await.unwrap();
    assert_eq!(linker.fetch("/d/l").await.unwrap(), b"x");
    assert!(matches!(linker.symlink(b"f", &path("/d/l")).await, Err(VfsError::Exists(_))));
    linker.hard_link(&path("/f"), &path("/h")).await.unwrap();
    assert_eq!(linker.stat(&path("/h")).await.unwrap().unique, linker.stat(&path("/f")).await.unwrap().unique);
    assert!(matches!(linker.hard_link(&path("/d"), &path("/dd")).await, Err(VfsError::IsFolder(_))));
}

#[tokio::test]
async fn a_hard_link_grants_nothing_that_the_old_name_does_not() {
    let house = House::new();
    house.put("safe/f", b"x");
    house.put("free/g", b"x");
    let rules = vec![(path("/safe"), Permissions::read_only())];
    let alice = house.open(TreeSpec { rules, otherwise: all(), ..house.tree("alice") }).await;
    assert!(matches!(alice.hard_link(&path("/safe/f"), &path("/free/f")).await, Err(VfsError::Forbidden { .. })));
}

#[tokio::test]
async fn a_rule_about_a_folder_holds_when_a_link_leads_there() {
    let house = House::new();
    house.put("secret/f", b"secret");
    house.put("look/f", b"look");
    symlink("secret", house.on_disk("way")).unwrap();
    symlink("../secret/f", house.on_disk("look/file")).unwrap();
    symlink("look", house.on_disk("to-look")).unwrap();
    let rules = vec![(path("/secret"), Permissions::NONE), (path("/look"), Permissions::read_only())];
    let tree = TreeSpec { rules, ..house.tree("alice") };
    for vfs in both_ways(&house, &tree).await {
        for name in ["/secret/f", "/way/f", "/look/file", "/way/no-such"] {
            assert!(matches!(vfs.fetch(name).await, Err(VfsError::Forbidden { .. })), "{name}");
            assert!(matches!(vfs.size(name).await, Err(VfsError::Forbidden { .. })), "{name}");
            assert!(vfs.store(name, b"x").await.is_err(), "{name}");
        }
        assert!(matches!(vfs.list(&path("/way")).await, Err(VfsError::Forbidden { .. })));
        assert_eq!(vfs.fetch("/to-look/f").await.unwrap(), b"look");
        assert!(matches!(vfs.store("/to-look/f", b"x").await, Err(VfsError::Forbidden { .. })));
        assert!(matches!(vfs.remove_file(&path("/to-look/f")).await, Err(VfsError::Forbidden { .. })));
        assert!(matches!(
            vfs.rename(&path("/to-look/f"), &path("/x"), Overwrite::Replace).await,
            Err(VfsError::Forbidden { .. })
        ));
        assert!(matches!(vfs.set_facts(&path("/to-look/f"), at(1)).await, Err(VfsError::Forbidden { .. })));
        assert!(matches!(vfs.make_folder(&path("/to-look/d")).await, Err(VfsError::Forbidden { .. })));
        assert!(matches!(vfs.remove_tree(&path("/to-look/f")).await, Err(VfsError::Forbidden { .. })));
    }
    assert_eq!(house.bytes("secret/f").unwrap(), b"secret");
}

/// Swaps a folder for a link to the outside and back, as fast as it can, until told to stop.
fn swapper(house: &House, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let (stop, root) = (Arc::clone(stop), house.root());
    std::thread::spawn(move || {
        let (place, spare, link) = (root.join("d"), root.join("spare"), root.join("swap"));
        symlink("../outside", &link).unwrap();
        let mut rounds = 0;
        while !stop.load(Ordering::Relaxed) {
            std::fs::rename(&place, &spare).unwrap();
            std::fs::rename(&link, &place).unwrap();
            std::fs::rename(&place, &link).unwrap();
            std::fs::rename(&spare, &place).unwrap();
            rounds += 1;
        }
        rounds
    })
}

#[tokio::test]
async fn a_link_swapped_in_between_check_and_use_never_leads_outside() {
    let house = House::with(crate::Durability::Rename, DAY);
    house.put("d/canary", b"inside");
    let stop = Arc::new(AtomicBool::new(false));
    let vfs = both_ways(&house, &house.tree("alice")).await;
    let swapper = swapper(&house, &stop);
    for _ in 0..1000 {
        for vfs in &vfs {
            if let Ok(bytes) = vfs.fetch("/d/canary").await {
                assert_eq!(bytes, b"inside");
            }
            let _ = vfs.store("/d/canary", b"inside").await;
            let _ = vfs.store("/d/new", b"inside").await;
            let _ = vfs.make_folder(&path("/d/folder")).await;
            let _ = vfs.set_facts(&path("/d/canary"), at(77)).await;
            let _ = vfs.rename(&path("/d/new"), &path("/d/newer"), Overwrite::Replace).await;
            let _ = vfs.remove_file(&path("/d/newer")).await;
            let _ = vfs.remove_tree(&path("/d/folder")).await;
            let _ = vfs.create(&path("/d/canary"), APPEND, OnAbort::Keep).await;
            if let Ok(mut listing) = vfs.list(&path("/d")).await {
                let _ = listing.next_batch(10).await;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(swapper.join().unwrap() > 0);
    house.canary_is_untouched();
    let canary = std::fs::metadata(house.dir.path().join("outside/canary")).unwrap();
    assert_ne!(canary.modified().unwrap(), at(77).modified.unwrap());
}

#[tokio::test]
async fn a_folder_named_by_a_link_is_not_copied_into_itself() {
    let house = House::new();
    house.put("d/f", b"x");
    std::os::unix::fs::symlink("d", house.on_disk("link")).unwrap();
    let alice = house.alice().await;
    for to in ["/d/copy", "/link/copy", "/d"] {
        let copied = alice.copy_tree(&path("/link"), &path(to), Overwrite::Replace).await;
        assert!(matches!(copied, Err(VfsError::Impossible { .. })), "{to}: {copied:?}");
    }
    alice.copy_tree(&path("/link"), &path("/e"), Overwrite::Refuse).await.unwrap();
    assert_eq!((house.bytes("e/f").unwrap(), exists(&house.on_disk("d/copy"))), (b"x".to_vec(), false));
}
