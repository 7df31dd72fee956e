//! The SFTP door: russh, an SFTP version 3 packet engine, and (behind a switch) legacy scp.
//!
//! It translates: SSH login messages into evidence for the gate, SFTP requests into calls on the session's files, and the
//! answers back. russh does transport, key exchange and signatures; the packet engine is our own, because names are bytes
//! here, uploads are written as they arrive, and reads wait for the client's window.
//!
//! Never: looks a user up, decides whether a factor is due, counts failures of an account, checks a right, opens a file of
//! the host other than its own keys. What the door does beyond or beside the standards is in docs/protocols.md.

mod algorithms;
mod door;
mod frontend;
mod host_keys;
mod login;
mod scp;
mod sftp;
#[cfg(test)]
mod testing;
mod wire;
mod work;

pub use frontend::{SftpFrontend, SftpSettings};
pub use host_keys::{HostKeyError, HostKeys};

/// The parsers that meet bytes of strangers, for the fuzzing of the whole house; nothing else calls them from outside.
#[doc(hidden)]
pub mod parsers {
    /// Splits and decodes `bytes` as a client's SFTP stream, cut into pieces of `cut` bytes; returns the most bytes held.
    #[must_use]
    pub fn sftp(bytes: &[u8], cut: usize) -> usize {
        crate::sftp::exercise(bytes, cut)
    }

    /// Splits `bytes` as a command line of scp.
    #[must_use]
    pub fn scp_command(bytes: &[u8]) -> bool {
        crate::scp::exercise(bytes)
    }
}
