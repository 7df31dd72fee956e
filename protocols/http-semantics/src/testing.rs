//! For tests of the doors: a folder of the host with a tree over it, bodies that behave as clients do, and the rule on addresses that
//! each door runs with its own reading of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use crate::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use lockgate_events::EventBus;
use lockgate_model::{Permissions, UserName, VPath};
use lockgate_vfs::{
    Durability, Intent, Kind, Metadata, MountSpec, OnAbort, Overwrite, Storage, StorageSettings, TreeSpec, Vfs,
};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};
use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// One user's files, in a folder that has a neighbour.
pub struct House {
    dir: tempfile::TempDir,
    /// The tree.
    pub vfs: Vfs,
}

/// A path that is one.
///
/// # Panics
/// Where it is none.
#[must_use]
pub fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

/// Facts of a file of 10 bytes, changed somewhat after `seconds`.
#[must_use]
pub fn facts(etag: &str, seconds: u64) -> Metadata {
    let time: SystemTime = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 250);
    Metadata {
        kind: Kind::File,
        size: 10,
        modified: time,
        accessed: time,
        mode: 0o644,
        uid: 0,
        gid: 0,
        links: 1,
        unique: (0, 0),
        etag: etag.into(),
    }
}

/// A body of these pieces; `None` is a cut.
#[must_use]
pub fn body(pieces: &[Option<&'static [u8]>]) -> Body {
    let pieces: Vec<io::Result<Frame<Bytes>>> = pieces
        .iter()
        .map(|piece| piece.map(|bytes| Frame::data(bytes.into())).ok_or(io::ErrorKind::UnexpectedEof.into()))
        .collect();
    StreamBody::new(stream::iter(pieces)).boxed_unsync()
}

/// A body of one piece, with which something else happens.
pub fn body_while(piece: &'static [u8], mut happens: impl FnMut() + Send + 'static) -> Body {
    let pieces = stream::iter([piece]).map(move |piece| {
        happens();
        Ok(Frame::data(Bytes::from_static(piece)))
    });
    StreamBody::new(pieces).boxed_unsync()
}

impl House {
    /// An empty one, with all rights.
    ///
    /// # Panics
    /// Where the host gives no folder.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["files", "outside"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let settings = StorageSettings { durability: Durability::Rename, upload_keep: Duration::from_secs(3600) };
        let tree = TreeSpec {
            owner: UserName::new("alice").unwrap(),
            mounts: vec![MountSpec {
                at: VPath::root(),
                source: dir.path().join("files"),
                make: false,
                permissions: Permissions::full(),
                counts: true,
            }],
            rules: Vec::new(),
            otherwise: Permissions::full(),
            quota: None,
        };
        let vfs = Storage::new(settings, EventBus::new([])).open(tree, "1".to_owned()).await.unwrap();
        Self { dir, vfs }
    }

    /// Where a name lies on the host.
    #[must_use]
    pub fn on_disk(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }

    /// The bytes under a name.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.on_disk(name)).ok()
    }

    /// Writes past the tree.
    ///
    /// # Panics
    /// Where that fails.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.on_disk(name), bytes).unwrap();
    }

    /// An upload of `name` that was cut after `bytes`.
    ///
    /// # Panics
    /// Where it cannot begin.
    pub async fn interrupted(&self, name: &str, bytes: &[u8]) {
        let mut upload = self.vfs.create(&path(name), Intent::Create, OnAbort::Keep).await.unwrap();
        upload.write_at(0, bytes).await.unwrap();
    }

    /// How much of an upload that was cut is there.
    pub async fn kept(&self, name: &str) -> Option<u64> {
        self.bytes(name).is_none().then_some(())?;
        self.vfs.stat(&path(name)).await.ok().map(|facts| facts.size)
    }
}

/// What lies where no request may reach.
const CANARY: &[u8] = b"canary";
/// A name that the tree keeps to itself.
const RESERVED: &str = ".lockgate-up-0123";

/// Names as hostile clients write them, before any percent-encoding.
const HOSTILE: [&str; 20] = [
    "..",
    ".",
    "",
    "a",
    "link",
    "outside",
    "canary",
    "/",
    "\\",
    "\\..\\",
    "../",
    "\0",
    "\\x2e\\x2e",
    "\\x2f",
    "\\xff",
    "\u{ff0e}\u{ff0e}",
    "\u{2215}",
    RESERVED,
    ".LOCKGATE-up-0123",
    ".lockgate-part-0-0",
];

/// Checks that no address that `read` takes leads out of the tree or to a name that the tree keeps to itself, whatever is done with
/// it: `read` is a door's way from the still encoded rest of a URL's path to a path, `None` for a refusal.
///
/// # Panics
/// With the smallest address that breaks the rule.
pub fn no_address_leaves_the_tree(read: impl Fn(&str) -> Option<VPath>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = runtime.block_on(House::new());
    let outside = house.dir.path().join("outside");
    fs::write(outside.join("canary"), CANARY).unwrap();
    std::os::unix::fs::symlink(&outside, house.on_disk("link")).unwrap();
    fs::create_dir(house.on_disk("a")).unwrap();
    for folder in ["", "a/"] {
        house.put(&format!("{folder}{RESERVED}"), CANARY);
    }
    TestRunner::default()
        .run(&address(), |raw| {
            let Some(path) = read(&raw) else { return Ok(()) };
            for part in path.components() {
                prop_assert!(!matches!(part, b"" | b"." | b"..") && !part.iter().any(|byte| matches!(byte, 0 | b'/')));
            }
            let reached = runtime.block_on(touched(&house.vfs, &path));
            let reserved = path.components().any(|part| part.to_ascii_lowercase().starts_with(b".lockgate-"));
            prop_assert!(!(reserved && reached), "a reserved name was reached as {}", path);
            prop_assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{} reached a neighbour", path);
            for canary in [outside.join("canary"), house.on_disk(RESERVED), house.on_disk(&format!("a/{RESERVED}"))] {
                prop_assert!(fs::read(canary).is_ok_and(|bytes| bytes == CANARY), "{} reached a canary", path);
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The rest of a URL's path: hostile names and odd bytes, each byte encoded or not.
fn address() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => select(&HOSTILE[..]).prop_map(|name| name.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    let spelled = (vec(name, 0..3), vec(any::<[bool; 2]>(), 64)).prop_map(|(names, marks)| {
        let spell = |(byte, [encode, upper]): (u8, [bool; 2])| match (encode || !byte.is_ascii(), upper) {
            (false, _) => char::from(byte).to_string(),
            (true, false) => format!("%{byte:02x}"),
            (true, true) => format!("%{byte:02X}"),
        };
        names.concat().into_iter().zip(marks.into_iter().cycle()).map(spell).collect::<String>()
    });
    vec(spelled, 0..6).prop_map(|names| names.join("/"))
}

/// Does with a path what requests do. Whether anything of it succeeded.
async fn touched(vfs: &Vfs, path: &VPath) -> bool {
    let mut reached = vfs.stat(path).await.is_ok() | vfs.lstat(path).await.is_ok() | vfs.list(path).await.is_ok();
    if let Ok(file) = vfs.open(path).await {
        let mut bytes = [0; CANARY.len()];
        let count = file.read_at(0, &mut bytes).await.unwrap_or_default();
        assert!(bytes.get(..count) != Some(CANARY), "{path} was read");
        reached = true;
    }
    reached |= vfs.make_folder(path).await.is_ok();
    for intent in [Intent::Create, Intent::CreateNew, Intent::Patch { offset: Some(0), append: false }] {
        if let Ok(mut upload) = vfs.create(path, intent, OnAbort::Discard).await {
            reached |= upload.write_at(0, b"x").await.is_ok() && upload.commit().await.is_ok();
        }
    }
    let beside = VPath::parse("/beside").unwrap();
    for (from, to) in [(path, &beside), (&beside, path)] {
        reached |= vfs.rename(from, to, Overwrite::Replace).await.is_ok();
    }
    reached
}
