//! Whole sessions with the FTP door, over real sockets: see `session` for what the bytes mean and what must hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_fuzz::session;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a session may hold at once, its client included: two buffers of a transfer and TLS are 3 MiB.
const MOST: usize = 8 << 20;

fuzz_target!(|bytes: &[u8]| {
    session::prepare();
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    session::run(bytes);
    let held = MEMORY.peak_usage().saturating_sub(before);
    assert!(held < MOST, "a session held {held} bytes");
});
