//! What keeps a plugin's processes together, so that they can be ended together.
//!
//! The server ends a worker by a signal to its process group. A process leaves its group by `setsid` or `setpgid`, so a
//! filter of system calls refuses these two to the worker and to all that comes of it; nothing can take the filter off.
//! Neither a limit of processes (threads count too, over the whole user) nor a signal at the parent's death (what a plugin
//! forks does not inherit it) would do.
//!
//! Never: a filter of anything else. What a plugin may reach is Landlock's part.

use std::ffi::{c_int, c_ulong};
use std::io;

/// Shuts the way out of the process group, for this thread and all that it starts. Needs `no_new_privs`.
///
/// # Errors
/// Where the kernel has no filters, or this is a machine whose numbers are not known here.
pub(super) fn keep() -> io::Result<()> {
    let Some(native) = NATIVE else { return Err(io::ErrorKind::Unsupported.into()) };
    let filter = filter(&native);
    let program = Program { length: FILTER_LENGTH as u16, filter: filter.as_ptr() };
    // SAFETY: the call reads the program, whose length is that of the array it points to, and both outlive it.
    let result = unsafe { prctl(SET_SECCOMP, MODE_FILTER, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The numbers of one machine.
struct Machine {
    /// As `linux/audit.h` has it.
    machine: u32,
    set_group: u32,
    set_session: u32,
}

#[cfg(target_arch = "x86_64")]
const NATIVE: Option<Machine> = Some(Machine { machine: 0xc000_003e, set_group: 109, set_session: 112 });
#[cfg(target_arch = "aarch64")]
const NATIVE: Option<Machine> = Some(Machine { machine: 0xc000_00b7, set_group: 154, set_session: 157 });
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NATIVE: Option<Machine> = None;

const FILTER_LENGTH: usize = 8;

/// Refuses the two calls, and every call in the numbers of another machine (32-bit ones, x32), which could be the same two.
fn filter(native: &Machine) -> [Instruction; FILTER_LENGTH] {
    let at = |offset| Instruction { code: LOAD, yes: 0, no: 0, value: offset };
    let when = |code, value, yes, no| Instruction { code, yes, no, value };
    let give = |value| Instruction { code: RETURN, yes: 0, no: 0, value };
    [
        at(MACHINE_AT),
        when(EQUALS, native.machine, 0, 5),
        at(NUMBER_AT),
        when(HAS_BITS, X32, 3, 0),
        when(EQUALS, native.set_group, 2, 0),
        when(EQUALS, native.set_session, 1, 0),
        give(ALLOW),
        give(REFUSE),
    ]
}

/// `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    value: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    filter: *const Instruction,
}

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
}

const SET_SECCOMP: c_int = 22;
const MODE_FILTER: c_ulong = 2;
/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const MACHINE_AT: u32 = 4;
/// `BPF_LD | BPF_W | BPF_ABS`.
const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
const EQUALS: u16 = 0x15;
/// `BPF_JMP | BPF_JSET | BPF_K`.
const HAS_BITS: u16 = 0x45;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7fff_0000;
/// The call fails with `EPERM`.
const REFUSE: u32 = 0x0005_0001;
/// Marks the numbers of x32; on other machines no call has so high a number.
const X32: u32 = 0x4000_0000;
