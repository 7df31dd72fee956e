//! Any bytes as a path: it never climbs above the root, its names are plain, and it is the same when it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_model::VPath;

fuzz_target!(|bytes: &[u8]| {
    // Two paths, the second from the first.
    let cut = bytes.iter().position(|byte| *byte == b'|').unwrap_or(bytes.len());
    let (first, second) = bytes.split_at(cut);
    let Ok(folder) = VPath::parse(first) else { return };
    check(&folder);
    let Ok(path) = folder.join(second.get(1..).unwrap_or_default()) else { return };
    check(&path);
    if let Some(below) = path.strip(&folder) {
        assert!(path.is_within(&folder));
        assert_eq!(folder.join(below).as_ref(), Ok(&path), "what is below a folder leads back");
    }
});

fn check(path: &VPath) {
    let bytes = path.as_bytes();
    assert!(bytes.starts_with(b"/") && bytes.len() <= VPath::MAX_BYTES && !bytes.contains(&0));
    for name in path.components() {
        assert!(!name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/'));
        assert!(name.len() <= VPath::MAX_COMPONENT);
    }
    assert_eq!(VPath::parse(bytes).as_ref(), Ok(path));
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        assert_eq!(parent.child(name).as_ref(), Ok(path));
    }
}
