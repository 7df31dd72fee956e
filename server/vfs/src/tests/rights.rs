//! Rights by path, mounts, and what a user without a right may learn.

use super::house::*;
use crate::{Kind, MountSpec, OnAbort, Overwrite, TreeSpec, VfsError};
use lockgate_model::Permissions;

#[tokio::test]
async fn the_longest_folder_with_a_rule_wins_case_exact_and_by_whole_names() {
    let house = House::new();
    for name in ["pay/slips/f", "payroll/f", "PAY/f", "pay/f"] {
        house.put(name, b"x");
    }
    let rules = vec![(path("/pay"), Permissions::NONE), (path("/pay/slips"), Permissions::read_only())];
    let alice = house.open(TreeSpec { rules, ..house.tree("alice") }).await;
    assert!(matches!(alice.fetch("/pay/f").await, Err(VfsError::Forbidden { .. })));
    for name in ["/pay/slips/f", "/payroll/f", "/PAY/f"] {
        assert_eq!(alice.fetch(name).await.unwrap(), b"x", "{name}");
    }
    assert!(matches!(alice.store("/pay/slips/f", b"y").await, Err(VfsError::Forbidden { .. })));
    assert_eq!(alice.names("/pay").await, ["slips"], "only the way to what has rights is shown");
}

#[tokio::test]
async fn a_folder_without_rights_is_not_listed_and_hides_what_exists_in_it() {
    let house = House::new();
    house.put("secret/f", b"x");
    house.put("open/f", b"x");
    let alice = house.open(TreeSpec { rules: vec![(path("/secret"), Permissions::NONE)], ..house.tree("alice") }).await;
    assert_eq!(alice.names("/").await, ["open"]);
    let (there, absent) = (path("/secret/f"), path("/secret/g"));
    for (one, other) in [
        (alice.stat(&there).await.unwrap_err(), alice.stat(&absent).await.unwrap_err()),
        (alice.open(&there).await.err().unwrap(), alice.open(&absent).await.err().unwrap()),
        (alice.remove_file(&there).await.unwrap_err(), alice.remove_file(&absent).await.unwrap_err()),
    ] {
        assert_eq!(one.to_string().replace("/f", ""), other.to_string().replace("/g", ""));
    }
}

#[tokio::test]
async fn a_drop_box_takes_files_and_shows_none() {
    let house = House::new();
    house.put("in/theirs", b"x");
    let rules = vec![(path("/in"), rights("write"))];
    let alice = house.open(TreeSpec { rules, otherwise: Permissions::NONE, ..house.tree("alice") }).await;
    assert_eq!(alice.names("/").await, ["in"]);
    assert_eq!(alice.stat(&path("/in")).await.unwrap().kind, Kind::Folder);
    assert!(matches!(alice.list(&path("/in")).await, Err(VfsError::Forbidden { .. })));
    assert!(matches!(alice.size("/in/theirs").await, Err(VfsError::NotFound(_))));
    assert!(matches!(alice.size("/in/none").await, Err(VfsError::NotFound(_))));
    alice.store("/in/mine", b"y").await.unwrap();
    assert!(matches!(alice.fetch("/in/mine").await, Err(VfsError::Forbidden { .. })));
    let upload = alice.begin_upload("/in/big", CREATE, b"yy").await;
    assert_eq!(alice.size("/in/big").await.unwrap(), 2, "one's own open upload answers");
    drop(upload);
    alice.begin_upload("/in/big", patch(2), b"y").await.commit().await.unwrap();
    assert_eq!(house.bytes("in/big").unwrap(), b"yyy");
}

#[tokio::test]
async fn without_the_right_to_delete_nothing_is_written_over() {
    let house = House::new();
    house.put("f", b"old");
    house.put("g", b"g");
    let alice = house.open(TreeSpec { otherwise: rights("read,write,view,rename"), ..house.tree("alice") }).await;
    assert!(matches!(alice.store("/f", b"x").await, Err(VfsError::Forbidden { .. })));
    for intent in [APPEND, patch(0)] {
        assert!(matches!(alice.create(&path("/f"), intent, OnAbort::Keep).await, Err(VfsError::Forbidden { .. })));
    }
    assert!(matches!(
        alice.rename(&path("/g"), &path("/f"), Overwrite::Replace).await,
        Err(VfsError::Forbidden { .. })
    ));
    assert!(matches!(alice.copy(&path("/g"), &path("/f"), Overwrite::Replace).await, Err(VfsError::Forbidden { .. })));
    let late = alice.begin_upload("/late", CREATE, b"mine").await;
    house.put("late", b"theirs");
    assert!(matches!(late.commit().await, Err(VfsError::Exists(_))));
    alice.rename(&path("/g"), &path("/h"), Overwrite::Replace).await.unwrap();
    assert_eq!((house.bytes("f").unwrap(), house.bytes("late").unwrap()), (b"old".to_vec(), b"theirs".to_vec()));
}

#[tokio::test]
async fn every_operation_needs_its_right() {
    let house = House::new();
    house.put("f", b"x");
    house.put("d/g", b"x");
    let without = async |missing: &str| {
        let words = "read,write,delete,rename,view,makedir,setfacts,link";
        let words: Vec<&str> = words.split(',').filter(|word| *word != missing).collect();
        house.open(TreeSpec { otherwise: rights(&words.join(",")), ..house.tree("alice") }).await
    };
    let (f, g) = (path("/f"), path("/g"));
    let refused = [
        without("read").await.open(&f).await.err(),
        without("read").await.copy(&f, &g, Overwrite::Refuse).await.err(),
        without("write").await.create(&g, CREATE, OnAbort::Keep).await.err(),
        without("write").await.copy(&f, &g, Overwrite::Refuse).await.err(),
        without("delete").await.remove_file(&f).await.err(),
        without("delete").await.remove_tree(&path("/d")).await.err(),
        without("delete").await.remove_folder(&path("/d")).await.err(),
        without("rename").await.rename(&f, &g, Overwrite::Refuse).await.err(),
        without("view").await.list(&path("/d")).await.err(),
        without("makedir").await.make_folder(&g).await.err(),
        without("setfacts").await.set_facts(&f, at(1)).await.err(),
        without("setfacts").await.set_properties(&f, &[]).await.err(),
        without("link").await.symlink(b"f", &g).await.err(),
    ];
    for (place, error) in refused.into_iter().enumerate() {
        assert!(matches!(error, Some(VfsError::Forbidden { .. })), "{place}: {error:?}");
    }
    assert_eq!(house.actions(), [], "nothing was done");
}

#[tokio::test]
async fn a_rule_below_a_folder_binds_what_is_done_to_the_whole_of_it() {
    let house = House::new();
    house.put("d/keep/f", b"x");
    let alice =
        house.open(TreeSpec { rules: vec![(path("/d/keep"), Permissions::read_only())], ..house.tree("alice") }).await;
    assert!(matches!(alice.remove_tree(&path("/d")).await, Err(VfsError::Forbidden { .. })));
    assert!(matches!(alice.rename(&path("/d"), &path("/e"), Overwrite::Refuse).await, Err(VfsError::Forbidden { .. })));
    let blind = house.open(TreeSpec { rules: vec![(path("/d/keep"), Permissions::NONE)], ..house.tree("alice") }).await;
    assert!(matches!(
        blind.copy_tree(&path("/d"), &path("/e"), Overwrite::Refuse).await,
        Err(VfsError::Forbidden { .. })
    ));
    assert_eq!(house.bytes("d/keep/f").unwrap(), b"x");
}

#[tokio::test]
async fn a_move_opens_nothing_that_was_closed_where_it_came_from() {
    let house = House::new();
    for name in ["in/secret", "in/d/f", "bin/x", "mixed/open/f", "mixed/shut/f"] {
        house.put(name, b"x");
    }
    for folder in ["out", "shown"] {
        std::fs::create_dir(house.on_disk(folder)).unwrap();
    }
    let rules = [
        ("/in", "write,view,rename"),
        ("/out", "read,write,view,rename"),
        ("/bin", "read,write,view,rename,delete"),
        ("/mixed", "read,write,view,rename"),
        ("/mixed/shut", "write,view,rename"),
        ("/shown", "read,view,rename"),
    ];
    let rules = rules.map(|(folder, words)| (path(folder), rights(words))).to_vec();
    let alice = house.open(TreeSpec { rules, otherwise: rights("view"), ..house.tree("alice") }).await;
    let rename = async |from: &str, to: &str| alice.rename(&path(from), &path(to), Overwrite::Refuse).await;
    for (from, to) in [
        ("/in/secret", "/out/secret"),
        ("/in/d", "/out/d"),
        ("/out", "/bin/out"),
        ("/mixed", "/out/mixed"),
        ("/bin/x", "/shown/x"),
    ] {
        assert!(matches!(rename(from, to).await, Err(VfsError::Forbidden { .. })), "{from} {to}");
    }
    assert_eq!(house.bytes("in/secret").unwrap(), b"x");
    rename("/in/secret", "/in/still").await.unwrap();
    rename("/bin/x", "/in/x").await.unwrap();
    rename("/mixed/open", "/out/open").await.unwrap();
}

#[tokio::test]
async fn a_move_to_another_mount_reads_the_source() {
    let house = House::new();
    house.put("f", b"x");
    let mounts = vec![house.mount("/", "root"), house.mount("/other", "other")];
    let alice = house.open(TreeSpec { mounts, otherwise: rights("write,view,rename"), ..house.tree("alice") }).await;
    let moved = alice.rename(&path("/f"), &path("/other/f"), Overwrite::Refuse).await;
    assert!(matches!(moved, Err(VfsError::Forbidden { .. })));
    assert_eq!(house.bytes("f").unwrap(), b"x");
}

#[tokio::test]
async fn mounts_show_in_listings_cover_what_is_below_and_cannot_be_removed_or_renamed() {
    let house = House::new();
    house.put("pub/hidden", b"of the root's store");
    house.put("own", b"x");
    let mounts = vec![house.mount("/", "root"), house.mount("/pub", "public"), house.mount("/far/away", "away")];
    let alice = house.open(TreeSpec { mounts, otherwise: all(), ..house.tree("alice") }).await;
    alice.store("/pub/f", b"in public").await.unwrap();
    assert_eq!(alice.names("/").await, ["far", "own", "pub"]);
    assert_eq!((alice.names("/pub").await, alice.names("/far").await), (vec!["f".to_owned()], vec!["away".to_owned()]));
    assert_eq!(std::fs::read(house.dir.path().join("public/f")).unwrap(), b"in public");
    assert_eq!(alice.stat(&path("/far")).await.unwrap().kind, Kind::Folder);
    for name in ["/", "/pub", "/far", "/far/away"] {
        let name = path(name);
        assert!(alice.remove_folder(&name).await.is_err(), "{name}");
        assert!(alice.remove_tree(&name).await.is_err(), "{name}");
        assert!(alice.remove_file(&name).await.is_err(), "{name}");
        assert!(alice.rename(&name, &path("/x"), Overwrite::Replace).await.is_err(), "{name}");
        assert!(alice.rename(&path("/own"), &name, Overwrite::Replace).await.is_err(), "{name}");
        assert!(matches!(alice.make_folder(&name).await, Err(VfsError::Exists(_))), "{name}");
        assert!(alice.create(&name, CREATE, OnAbort::Keep).await.is_err(), "{name}");
    }
    assert!(matches!(alice.store("/far/f", b"x").await, Err(VfsError::NotFound(_))));
    // A link in one store never leads to what a mount covers.
    std::os::unix::fs::symlink("pub/hidden", house.on_disk("peep")).unwrap();
    assert!(alice.fetch("/peep").await.is_err());
}

#[tokio::test]
async fn a_mount_for_reading_takes_no_writes_whatever_the_rules_say() {
    let house = House::new();
    house.put("f", b"x");
    let mounts = vec![MountSpec { permissions: Permissions::read_only(), ..house.mount("/", "root") }];
    let alice = house.open(TreeSpec { mounts, otherwise: all(), ..house.tree("alice") }).await;
    assert_eq!(alice.fetch("/f").await.unwrap(), b"x");
    assert!(matches!(alice.store("/f", b"y").await, Err(VfsError::ReadOnly(_))));
    assert!(matches!(alice.remove_file(&path("/f")).await, Err(VfsError::ReadOnly(_))));
    assert!(matches!(alice.make_folder(&path("/d")).await, Err(VfsError::ReadOnly(_))));
    assert!(matches!(alice.rename(&path("/f"), &path("/g"), Overwrite::Refuse).await, Err(VfsError::ReadOnly(_))));
    assert!(matches!(alice.symlink(b"f", &path("/g")).await, Err(VfsError::ReadOnly(_))));
}

#[tokio::test]
async fn a_missing_folder_of_the_host_denies_the_session_unless_it_is_to_be_made() {
    let house = House::new();
    let mounts = vec![MountSpec { make: false, ..house.mount("/", "missing") }];
    let tree = TreeSpec { mounts, ..house.tree("alice") };
    assert!(matches!(house.storage.open(tree, "s".into()).await.err(), Some(VfsError::Backend { .. })));
    let mounts = vec![house.mount("/", "made/for/alice")];
    house.open(TreeSpec { mounts, ..house.tree("alice") }).await.store("/f", b"x").await.unwrap();
}
