//! Names: what can be a name, which are reserved, and which file a path means.

use super::house::*;
use crate::{Intent, Kind, OnAbort, Overwrite, VfsError, local::LocalRoot};
use lockgate_model::VPath;
use proptest::prelude::*;
use std::sync::Arc;

#[tokio::test]
async fn staging_files_and_partials_are_in_no_listing_and_unreachable_by_name() {
    let house = House::new();
    let alice = house.alice().await;
    drop(alice.begin_upload("/kept", CREATE, b"12").await);
    let live = alice.begin_upload("/live", CREATE, b"12").await;
    let litter = house.litter("");
    assert_eq!(litter.len(), 2);
    assert_eq!(alice.names("/").await, Vec::<String>::new());
    for name in &litter {
        let name = path(name);
        assert!(matches!(alice.stat(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(alice.lstat(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(alice.open(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(alice.list(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(alice.remove_file(&name).await, Err(VfsError::NotFound(_))));
        assert!(matches!(alice.rename(&name, &path("/x"), Overwrite::Replace).await, Err(VfsError::Forbidden { .. })));
        assert!(matches!(alice.rename(&path("/x"), &name, Overwrite::Replace).await, Err(VfsError::Forbidden { .. })));
        assert!(matches!(alice.copy(&name, &path("/x"), Overwrite::Replace).await, Err(VfsError::NotFound(_))));
        assert!(matches!(alice.create(&name, CREATE, OnAbort::Keep).await, Err(VfsError::Forbidden { .. })));
        assert!(matches!(alice.set_facts(&name, at(1)).await, Err(VfsError::NotFound(_))));
    }
    for name in ["/.lockgate-up-1", "/.LOCKGATE-x", "/a/.lockgate-part-1/b"] {
        assert!(matches!(alice.create(&path(name), CREATE, OnAbort::Keep).await, Err(VfsError::Forbidden { .. })));
        assert!(matches!(alice.make_folder(&path(name)).await, Err(VfsError::Forbidden { .. })));
    }
    drop(live);
}

#[tokio::test]
async fn names_are_bytes_and_are_not_normalised() {
    let house = House::new();
    let alice = house.alice().await;
    let names: [&[u8]; 4] = [b"\xff\xfe", "Jos\u{e9}".as_bytes(), "Jose\u{301}".as_bytes(), b"a\\b\n"];
    for name in names {
        let name = VPath::root().child(name).unwrap();
        let mut upload = alice.create(&name, CREATE, OnAbort::Discard).await.unwrap();
        upload.write_at(0, name.as_bytes()).await.unwrap();
        upload.commit().await.unwrap();
    }
    let mut listing = alice.list(&VPath::root()).await.unwrap();
    let mut rows: Vec<Vec<u8>> = listing.next_batch(10).await.unwrap().into_iter().map(|row| row.name).collect();
    rows.sort();
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn pipes_and_sockets_are_neither_listed_nor_found_nor_waited_for() {
    let house = House::new();
    let alice = house.alice().await;
    let pipe = house.on_disk("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(house.on_disk("socket")).unwrap();
    assert_eq!(alice.names("/").await, Vec::<String>::new());
    for name in ["/pipe", "/socket"] {
        assert!(matches!(alice.open(&path(name)).await, Err(VfsError::NotFound(_))), "{name}");
        assert!(matches!(alice.stat(&path(name)).await, Err(VfsError::NotFound(_))), "{name}");
        assert!(matches!(alice.store(name, b"x").await, Err(VfsError::Exists(_))), "{name}");
        assert!(matches!(alice.remove_file(&path(name)).await, Err(VfsError::NotFound(_))), "{name}");
        assert!(
            matches!(alice.rename(&path(name), &path("/x"), Overwrite::Replace).await, Err(VfsError::NotFound(_))),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_folder_of_a_hundred_thousand_names_is_listed_in_batches_each_name_once() {
    let house = House::new();
    let alice = house.alice().await;
    for number in 0..100_000 {
        // Links to one file: quick to make, and as many names.
        let name = house.on_disk(&format!("{number:06}"));
        if number == 0 {
            std::fs::write(name, b"x").unwrap();
        } else if number % 30_000 == 0 {
            std::fs::write(&name, b"x").unwrap();
        } else {
            std::fs::hard_link(house.on_disk(&format!("{:06}", number - number % 30_000)), name).unwrap();
        }
    }
    let mut listing = alice.list(&VPath::root()).await.unwrap();
    let mut seen = std::collections::HashSet::new();
    loop {
        let batch = listing.next_batch(1000).await.unwrap();
        assert!(batch.len() <= 1000);
        if batch.is_empty() {
            break;
        }
        for row in batch {
            assert_eq!((row.metadata.kind, row.metadata.size), (Kind::File, 1));
            assert!(seen.insert(row.name));
        }
    }
    assert_eq!(seen.len(), 100_000);
}

#[tokio::test]
async fn what_stands_below_a_file_is_not_found_and_a_file_is_no_folder() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("f", b"x");
    assert!(matches!(alice.stat(&path("/f/x")).await, Err(VfsError::NotFound(_))));
    assert!(matches!(alice.open(&path("/f/x")).await, Err(VfsError::NotFound(_))));
    assert!(matches!(alice.list(&path("/f")).await, Err(VfsError::NotFolder(_))));
    assert!(matches!(alice.list(&path("/f/x")).await, Err(VfsError::NotFound(_))));
    assert!(matches!(alice.remove_folder(&path("/f")).await, Err(VfsError::NotFolder(_))));
    assert!(matches!(alice.open(&VPath::root()).await, Err(VfsError::IsFolder(_))));
}

/// One step of a random walk over names.
#[derive(Clone, Debug)]
enum Step {
    Store(Vec<u8>),
    Fetch(Vec<u8>),
    Folder(Vec<u8>),
    Link(Vec<u8>, Vec<u8>),
    Rename(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    List(Vec<u8>),
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "link"]).prop_map(|part| part.as_bytes().to_vec()),
        2 => Just(b"..".to_vec()),
        1 => prop::sample::select(vec!["outside", "canary", ".", "", "root", "~", "%2e%2e", "..\\"]).prop_map(|part| part.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..5),
    ];
    (any::<bool>(), proptest::collection::vec(part, 1..6)).prop_map(|(absolute, parts)| {
        let mut path = if absolute { b"/".to_vec() } else { Vec::new() };
        path.extend(parts.join(&b'/'));
        path
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        words().prop_map(Step::Store),
        words().prop_map(Step::Fetch),
        words().prop_map(Step::Folder),
        (words(), words()).prop_map(|(target, name)| Step::Link(target, name)),
        (words(), words()).prop_map(|(from, to)| Step::Rename(from, to)),
        words().prop_map(Step::Remove),
        words().prop_map(Step::List),
    ];
    proptest::collection::vec(step, 1..25)
}

async fn walk(vfs: &crate::Vfs, step: Step) {
    match step {
        Step::Store(name) => {
            let Ok(name) = VPath::parse(name) else { return };
            if let Ok(mut upload) = vfs.create(&name, Intent::Create, OnAbort::Discard).await {
                upload.write_at(0, b"inside").await.unwrap();
                let _ = upload.commit().await;
            }
        }
        Step::Fetch(name) => {
            let Ok(name) = VPath::parse(name) else { return };
            if let Ok(bytes) = vfs.fetch(&String::from_utf8_lossy(name.as_bytes())).await {
                assert_eq!(bytes, b"inside");
            }
        }
        Step::Folder(name) => {
            let Ok(name) = VPath::parse(name) else { return };
            let _ = vfs.make_folder(&name).await;
        }
        Step::Link(target, name) => {
            let Ok(name) = VPath::parse(name) else { return };
            let _ = vfs.symlink(&target, &name).await;
        }
        Step::Rename(from, to) => {
            let (Ok(from), Ok(to)) = (VPath::parse(from), VPath::parse(to)) else { return };
            let _ = vfs.rename(&from, &to, Overwrite::Replace).await;
        }
        Step::Remove(name) => {
            let Ok(name) = VPath::parse(name) else { return };
            let _ = vfs.remove_tree(&name).await;
        }
        Step::List(name) => {
            let Ok(name) = VPath::parse(name) else { return };
            if let Ok(mut listing) = vfs.list(&name).await {
                let rows = listing.next_batch(100).await.unwrap();
                assert!(
                    rows.iter()
                        .all(|row| row.name != b"canary" || row.metadata.kind != Kind::File || row.metadata.size == 6)
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The tree begins with links that lead out, as an administrator or another program may have left them.
    #[test]
    fn no_path_and_no_link_reaches_outside_the_mount(steps in steps(), whole in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let house = House::with(crate::Durability::Rename, DAY);
            std::os::unix::fs::symlink("../outside", house.on_disk("link")).unwrap();
            std::fs::create_dir(house.on_disk("a")).unwrap();
            std::os::unix::fs::symlink(house.dir.path().join("outside"), house.on_disk("a/b")).unwrap();
            let root = if whole { LocalRoot::open(&house.root(), false) } else { LocalRoot::open_without_openat2(&house.root()) };
            let backend = Arc::new(root.unwrap().backend(crate::Durability::Rename));
            let tree = crate::TreeSpec { otherwise: all(), ..house.tree("alice") };
            let alice = house.storage.open_on(tree, vec![backend], "s".into()).await.unwrap();
            for step in steps {
                walk(&alice, step).await;
            }
            house.canary_is_untouched();
        });
    }
}
