//! What can be wrong with the words of a request, before anything is asked of the tree.

use http::StatusCode;
use lockgate_model::PathError;

/// A request that cannot be read. The text is for the person who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A header that stands once stands twice: which of them counts would be for the client to choose.
    #[error("two {0} headers")]
    Doubled(&'static str),
    /// `Content-Range` is not of the one form that is known.
    #[error("Content-Range is not of the form bytes FIRST-LAST/TOTAL")]
    ContentRange,
    /// A header that tells a length does not.
    #[error("{0} is not a number of bytes")]
    Length(&'static str),
    /// The two ways of telling a length tell two.
    #[error("Content-Range and Content-Length disagree")]
    Lengths,
    /// The bytes that would be stored are not those of the file.
    #[error("send the file as it is, without Content-Encoding")]
    Encoded,
    /// A `%` without two hex digits behind it.
    #[error("the address has a broken %-escape")]
    Escape,
    /// A name with a slash in it.
    #[error("a name has no slash, not even an encoded one")]
    Slash,
    /// The address is no path in the tree.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl Malformed {
    /// The status that says so. A path above the root is as absent as any other, and nothing is said about what lies there.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Path(PathError::Above) => StatusCode::NOT_FOUND,
            Self::Path(PathError::TooLong) => StatusCode::URI_TOO_LONG,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
