//! Any bytes as prefs.xml: a document is written back byte for byte, and what a value is set to is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_config::{Prefs, tree::Tree};

fuzz_target!(|bytes: &[u8]| {
    let Ok(tree) = Tree::parse(bytes) else { return };
    assert_eq!(tree.render().as_bytes(), bytes, "what was not edited is written back as it was");
    // Right or refused, but never a panic; and never a switched-off second factor that nobody wrote.
    if let Ok(reading) = Prefs::read(&tree)
        && !reading.prefs.second_factor.switched_on
    {
        assert!(tree.render().contains("false"), "the second factor is off and nothing says so");
    }
});
