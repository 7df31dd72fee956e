//! Any bytes as the lines of a control connection: never a panic, never more held than the limit, the same lines however
//! they were cut, and a well-formed reply to what is refused. Names come back as they were shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_ftp::fuzzing::{Understood, fits, lines, path, shown, understand};
use lockgate_fuzz::replies::Replies;
use lockgate_model::VPath;

/// As short as the door allows, so that long lines are found soon.
const LIMIT: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how the rest is cut.
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(*cut) + 1;
    let (found, too_long) = lines(LIMIT, bytes.chunks(piece));
    for line in &found {
        assert!(line.len() <= LIMIT && !line.contains(&b'\n'));
        check(line);
    }
    let (at_once, too_long_at_once) = lines(LIMIT, bytes.chunks(1));
    assert_eq!((found, too_long), (at_once, too_long_at_once), "lines depend on how they were cut");
});

fn check(line: &[u8]) {
    if let Understood::Refused(_, reply) = understand(line) {
        let mut replies = Replies::default();
        replies.feed(&reply);
        assert!(replies.next_reply().is_some_and(|reply| reply.code >= 400));
        assert!(replies.is_empty(), "more than one reply");
    }
    let folder = VPath::parse("/some/folder").unwrap();
    if let Ok(path) = path(&folder, line) {
        let text = shown(path.as_bytes());
        assert!(!text.contains(char::is_control));
        assert_eq!(lockgate_ftp::fuzzing::path(&folder, text.as_bytes()), Ok(path), "{text:?} opens something else");
    }
    if let Some(blank) = line.iter().position(|byte| *byte == b' ') {
        let _ = fits(&line[..blank], &line[blank + 1..]);
    }
}
