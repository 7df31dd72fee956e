//! What a request is answered when it fails: the one table from the words of files and paths to the codes of SFTP.
//!
//! Version 3 has few codes; what has none of its own is FAILURE with a text for the person. The text never names a path of
//! the host: it is the virtual one or none.

use super::fields::Packet;
use lockgate_model::PathError;
use lockgate_vfs::VfsError;

/// The codes of version 3 (draft-ietf-secsh-filexfer-02 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Code {
    /// Done.
    Ok = 0,
    /// Nothing is left.
    Eof = 1,
    /// Nothing has this name.
    NoSuchFile = 2,
    /// The right is missing.
    PermissionDenied = 3,
    /// Anything else; see the text.
    Failure = 4,
    /// Not done here.
    Unsupported = 8,
}

/// SSH_FXP_STATUS.
const STATUS: u8 = 101;
/// The longest text of a status. A path in it may have 4,095 bytes, most of them escaped.
const LONGEST_TEXT: usize = 1024;

/// Why a request is not done, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code.
    pub(crate) code: Code,
    /// For the person.
    pub(crate) text: String,
}

impl Failure {
    /// Says so with these words.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// FAILURE, because of what the words say.
    pub(crate) fn because(text: impl Into<String>) -> Self {
        Self::new(Code::Failure, text)
    }

    /// What has no place here.
    pub(crate) fn unsupported() -> Self {
        Self::new(Code::Unsupported, "not supported")
    }

    /// A handle that is not open, or not of the kind that the request needs.
    pub(crate) fn bad_handle() -> Self {
        Self::because("no such handle, or not of this kind")
    }

    /// The reply.
    pub(crate) fn packet(&self, id: u32) -> Vec<u8> {
        status(id, self.code, &self.text)
    }
}

/// A status reply.
pub(crate) fn status(id: u32, code: Code, text: &str) -> Vec<u8> {
    let cut = text.floor_char_boundary(LONGEST_TEXT);
    let text = text.get(..cut).unwrap_or_default();
    Packet::answer(STATUS, id).u32(code as u32).string(text.as_bytes()).string(b"").finish()
}

/// Done, and nothing else to say.
pub(crate) fn done(id: u32) -> Vec<u8> {
    status(id, Code::Ok, "")
}

impl From<VfsError> for Failure {
    fn from(error: VfsError) -> Self {
        if let VfsError::Backend { action, source } = &error {
            // The cause is the operator's; the client learns that it was the storage.
            tracing::warn!(%action, error = %source, "the storage failed");
        }
        let code = match &error {
            VfsError::NotFound(_) | VfsError::BadName => Code::NoSuchFile,
            VfsError::Forbidden { .. } | VfsError::ReadOnly(_) => Code::PermissionDenied,
            VfsError::Unsupported(_) => Code::Unsupported,
            _ => Code::Failure,
        };
        Self::new(code, error.to_string())
    }
}

impl From<PathError> for Failure {
    /// Bytes that are no path get what a name that nothing has gets: a path outside the tree is not even hinted at.
    fn from(_: PathError) -> Self {
        Self::new(Code::NoSuchFile, "no such file or folder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_model::{ByteSize, VPath};
    use lockgate_vfs::Action;

    #[test]
    fn each_failure_has_the_code_of_the_table() {
        let path = || VPath::parse("/a").unwrap();
        let table = [
            (VfsError::NotFound(path()), Code::NoSuchFile),
            (VfsError::Forbidden { action: Action::Read, path: path() }, Code::PermissionDenied),
            (VfsError::ReadOnly(path()), Code::PermissionDenied),
            (VfsError::Exists(path()), Code::Failure),
            (VfsError::NotEmpty(path()), Code::Failure),
            (VfsError::IsFolder(path()), Code::Failure),
            (VfsError::Locked(path()), Code::Failure),
            (VfsError::OverQuota { used: ByteSize(1), limit: ByteSize(1) }, Code::Failure),
            (VfsError::NoSpace, Code::Failure),
            (VfsError::Interrupted, Code::Failure),
        ];
        for (error, code) in table {
            let text = error.to_string();
            let failure = Failure::from(error);
            assert_eq!((failure.code, failure.text.as_str()), (code, text.as_str()));
        }
    }

    #[test]
    fn what_the_storage_says_of_itself_is_not_told_to_the_client() {
        let source = std::io::Error::other("/srv/secret/place is broken");
        let failure = Failure::from(VfsError::Backend { action: Action::Read, source });
        assert_eq!(failure, Failure::because("storage error"));
    }

    #[test]
    fn a_path_above_the_root_answers_like_a_name_that_nothing_has() {
        let above = VPath::parse("/../etc/passwd").unwrap_err();
        assert_eq!(Failure::from(above).code, Code::NoSuchFile);
    }
}
