//! What is said when prefs.xml is refused: one clear line each, with the place, the key, the value, what was expected and
//! what to do.
//!
//! Never: the value of a secret, in whole or in part.

use crate::tree::{Place, XmlError};
use std::fmt;

/// One reason why a prefs.xml is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefsError {
    /// The file is no document that is read here.
    Xml(XmlError),
    /// A value is of the wrong type or out of its range.
    Value {
        /// Where the key stands; `None` for a value that is not in the file (yet).
        place: Option<Place>,
        /// The key's path, as `prefs set` takes it.
        key: String,
        /// The value as it stands, shortened; `None` where it may hold a secret.
        value: Option<String>,
        /// What was expected.
        expected: String,
        /// What to do.
        advice: Option<String>,
    },
    /// A key that must be there is not.
    Missing {
        /// The key's path.
        key: String,
        /// What was expected.
        expected: String,
    },
    /// A key is given twice, and nobody can tell which one is meant.
    Repeated {
        /// Where the second one stands.
        place: Place,
        /// Where the first one stands.
        first: Place,
        /// The key's path.
        key: String,
    },
    /// A key looks as if it decided about security, but there is none of this name here.
    Unknown {
        /// Where it stands.
        place: Place,
        /// Its path.
        key: String,
        /// What was probably meant, and what to do.
        advice: String,
    },
    /// Values that are right each for itself but not together.
    Conflict {
        /// Where the key stands that has to change.
        place: Option<Place>,
        /// Its path.
        key: String,
        /// What does not fit.
        problem: String,
        /// What to do.
        advice: String,
    },
}

impl PrefsError {
    /// Where in the file, as far as there is a place.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        match self {
            Self::Xml(error) => Some(error.place),
            Self::Value { place, .. } | Self::Conflict { place, .. } => *place,
            Self::Missing { .. } => None,
            Self::Repeated { place, .. } | Self::Unknown { place, .. } => Some(*place),
        }
    }

    /// The path of the key it is about; `None` where the document itself is the matter.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Xml(_) => None,
            Self::Value { key, .. }
            | Self::Missing { key, .. }
            | Self::Repeated { key, .. }
            | Self::Unknown { key, .. }
            | Self::Conflict { key, .. } => Some(key),
        }
    }
}

impl fmt::Display for PrefsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(place), false) = (self.place(), matches!(self, Self::Xml(_))) {
            write!(f, "{place}: ")?;
        }
        match self {
            Self::Xml(error) => error.fmt(f),
            Self::Value { key, value, expected, advice, .. } => {
                match value {
                    Some(value) if value.is_empty() => write!(f, "{key} is empty, expected {expected}")?,
                    Some(value) => write!(f, "{key} is {value:?}, expected {expected}")?,
                    None => write!(f, "{key} (value not shown) is not {expected}")?,
                }
                match advice {
                    Some(advice) => write!(f, "; {advice}"),
                    None => Ok(()),
                }
            }
            Self::Missing { key, expected } => write!(f, "{key} is missing; put it in as {expected}"),
            Self::Repeated { first, key, .. } => {
                write!(f, "{key} is given twice, the first time at {first}; remove one of them")
            }
            Self::Unknown { key, advice, .. } => write!(f, "{key} is no key that is known here; {advice}"),
            Self::Conflict { key, problem, advice, .. } => write!(f, "{key} {problem}; {advice}"),
        }
    }
}

impl std::error::Error for PrefsError {}

impl From<XmlError> for PrefsError {
    fn from(error: XmlError) -> Self {
        Self::Xml(error)
    }
}

/// Something that works but is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where, as far as there is a place.
    pub place: Option<Place>,
    /// The key's path.
    pub key: String,
    /// What, and what to do.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{} {}", self.key, self.text)
    }
}

/// A prefs.xml that is refused as a whole, with every reason that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reasons; never empty.
    pub errors: Vec<PrefsError>,
    /// What else was noticed.
    pub warnings: Vec<Warning>,
}

impl From<PrefsError> for Refusal {
    fn from(error: PrefsError) -> Self {
        Self { errors: vec![error], warnings: Vec::new() }
    }
}

impl From<XmlError> for Refusal {
    fn from(error: XmlError) -> Self {
        PrefsError::from(error).into()
    }
}

impl fmt::Display for Refusal {
    /// The first reason, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.split_first() {
            None => f.write_str("refused"),
            Some((first, [])) => first.fmt(f),
            Some((first, more)) => write!(f, "{first} (and {} more: see `lockgate prefs check`)", more.len()),
        }
    }
}

impl std::error::Error for Refusal {}

/// A value as an error may show it: one line, not longer than a line should be.
pub(crate) fn shorten(value: &str) -> String {
    const SHOWN: usize = 60;
    if value.chars().count() <= SHOWN {
        return value.to_owned();
    }
    let mut short: String = value.chars().take(SHOWN).collect();
    short.push('…');
    short
}
