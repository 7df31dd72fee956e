//! Any bytes as an SFTP client's stream, in pieces of any size, and as a command line of scp: never a panic, and never more
//! held than the longest packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_sftp::parsers;

/// The longest packet that the door takes, and what stands before it.
const MOST: usize = 256 * 1024 + 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let held = parsers::sftp(bytes, usize::from(*cut) + 1);
    assert!(held <= MOST, "{held} bytes are held");
    let _ = parsers::scp_command(bytes);
});
