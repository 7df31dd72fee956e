//! The registry: every key of prefs.xml, declared once.
//!
//! Reader, writer, `prefs show`, `prefs check`, the admin forms and the reference page all follow from [`KEYS`], so that
//! none of them can say something else than the others. To add a key: one row in `table.rs`, one field in the typed view.
//!
//! Never: reads a file, or knows what is done with a value.

mod near;
mod table;

pub use table::KEYS;

use crate::{prefs::ListenerKind, values::Kind};
use std::fmt;

pub(crate) use near::closest;

/// One key: its name, type, default, and one sentence about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefKey {
    /// The path, with `[]` where the items of a vector stand: `otp_url`, `server_list[].port`.
    pub path: &'static str,
    /// The type.
    pub kind: Kind,
    /// What holds where the key is absent.
    pub default: Fallback,
    /// The chapter of the reference.
    pub section: Section,
    /// When a change takes effect.
    pub takes: Takes,
    /// Whether a change can make the server less safe; shown in forms, and named in the audit record of the change.
    pub security: bool,
    /// Whose name it is.
    pub owner: Owner,
    /// Other names that are read where this one is absent.
    pub also: &'static [Alias],
    /// The kinds of listener that look at it; empty where all do, or where it is no listener's.
    pub only_for: &'static [ListenerKind],
    /// One sentence, with the unit.
    pub doc: &'static str,
}

/// What holds where a key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Absence refuses the file.
    Required,
    /// Nothing: the thing is not there, or the list is empty.
    Nothing,
    /// This text.
    Text(&'static str),
    /// This number.
    Number(u64),
    /// This switch.
    Switch(bool),
    /// It depends on other keys, in these words.
    Depends(&'static str),
}

impl Fallback {
    /// The default as it would stand in the file; `None` where there is none.
    #[must_use]
    pub fn text(self) -> Option<String> {
        match self {
            Self::Required | Self::Nothing | Self::Depends(_) => None,
            Self::Text(text) => Some(text.to_owned()),
            Self::Number(number) => Some(number.to_string()),
            Self::Switch(on) => Some(on.to_string()),
        }
    }
}

impl fmt::Display for Fallback {
    /// The default as the reference shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required => f.write_str("(must be there)"),
            Self::Nothing => f.write_str("(none)"),
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Switch(on) => on.fmt(f),
            Self::Depends(how) => write!(f, "({how})"),
        }
    }
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Within 2 s, without dropping a session.
    Live,
    /// At the next start.
    Restart,
    /// Not in this version: declared, so that it is checked and kept, and warned about where it is set.
    NotYet,
}

/// Whose name a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A name of CrushFTP's, with CrushFTP's meaning.
    CrushFtp,
    /// A name of our own.
    Lockgate,
}

/// Another name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: &'static str,
    /// What a number under this name is multiplied by: 1000 where it counts seconds and the key milliseconds.
    pub scale: u64,
    /// The unit of the number under this name.
    pub unit: &'static str,
}

/// A chapter of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the titles are the documentation")]
pub enum Section {
    SecondFactor,
    Sending,
    Mail,
    Templates,
    Listeners,
    Login,
    Bans,
    Passwords,
    Doors,
    Files,
    Server,
    Audit,
    Plugins,
}

impl Section {
    /// Every chapter, in the order of the reference.
    pub const ALL: [Self; 13] = [
        Self::SecondFactor,
        Self::Sending,
        Self::Mail,
        Self::Templates,
        Self::Listeners,
        Self::Login,
        Self::Bans,
        Self::Passwords,
        Self::Doors,
        Self::Files,
        Self::Server,
        Self::Audit,
        Self::Plugins,
    ];

    /// The heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::SecondFactor => "The second factor",
            Self::Sending => "Sending codes by a web request",
            Self::Mail => "The mail server",
            Self::Templates => "Email templates",
            Self::Listeners => "Listeners",
            Self::Login => "Logging in: limits and pauses",
            Self::Bans => "Bans of addresses",
            Self::Passwords => "Passwords",
            Self::Doors => "FTP, SSH, HTTP and WebDAV",
            Self::Files => "Files",
            Self::Server => "The server and its stores",
            Self::Audit => "Audit log and metrics",
            Self::Plugins => "Plugins",
        }
    }
}

impl PrefKey {
    /// The vector whose items hold this key; `None` at the top.
    #[must_use]
    pub fn vector(&self) -> Option<&'static str> {
        self.path.split_once("[].").map(|(vector, _)| vector)
    }

    /// The name of the element.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.split_once("[].").map_or(self.path, |(_, name)| name)
    }

    /// Whether the value is a secret: masked everywhere, stored encrypted when put in by a command.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.kind.is_secret()
    }

    /// Whether the key decides about security in the sense that near-names are refused.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        is_strict_name(self.name())
    }

    /// Whether a listener of this kind looks at it.
    #[must_use]
    pub fn concerns(&self, kind: ListenerKind) -> bool {
        self.only_for.is_empty() || self.only_for.contains(&kind)
    }

    /// The unit of the value.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Millis { .. } => "ms",
            Kind::Size { .. } => "bytes",
            _ => "",
        }
    }
}

/// Names that begin like this decide about security; none of them is ever guessed.
const STRICT_PREFIXES: [&str; 3] = ["otp_", "twofactor_", "require_"];

/// Whether an element of this name would be taken for one that decides about security.
pub(crate) fn is_strict_name(name: &str) -> bool {
    STRICT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The row of `name` among the keys of `vector` (`None`: the top).
#[must_use]
pub fn find(vector: Option<&str>, name: &str) -> Option<&'static PrefKey> {
    KEYS.iter().find(|key| key.vector() == vector && key.name() == name)
}

/// The row that reads `name` as another name of its own.
pub(crate) fn find_by_alias(vector: Option<&str>, name: &str) -> Option<&'static PrefKey> {
    KEYS.iter().find(|key| key.vector() == vector && key.also.iter().any(|alias| alias.name == name))
}

/// The vectors, each with the element name of its items and the child by which an item is chosen by name.
pub(crate) const VECTORS: [Vector; 3] = [
    Vector { name: "server_list", item: "server_list_subitem", chosen_by: "serverType" },
    Vector { name: "email_templates", item: "email_templates_subitem", chosen_by: "name" },
    Vector { name: "plugins", item: "plugins_subitem", chosen_by: "pluginName" },
];

/// A key that holds items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) item: &'static str,
    pub(crate) chosen_by: &'static str,
}

/// The vector of this name.
pub(crate) fn vector(name: &str) -> Option<Vector> {
    VECTORS.into_iter().find(|vector| vector.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_declared_once() {
        let mut seen = BTreeSet::new();
        for key in KEYS {
            assert!(seen.insert(key.path), "{} twice", key.path);
            for alias in key.also {
                assert!(find(key.vector(), alias.name).is_none(), "{} is a key and another name", alias.name);
            }
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_own_type() {
        for key in KEYS {
            if let Some(text) = key.default.text() {
                assert!(key.kind.parse(key.name(), &text).is_ok(), "{}: {text}", key.path);
            }
        }
    }

    #[test]
    fn every_item_key_is_of_a_known_vector_and_every_doc_is_one_sentence() {
        for key in KEYS {
            assert!(key.vector().is_none_or(|name| vector(name).is_some()), "{}", key.path);
            assert!(key.doc.ends_with('.') && !key.doc.contains('\n'), "{}: {}", key.path, key.doc);
        }
    }

    #[test]
    fn sections_stand_together_and_in_order() {
        assert!(KEYS.iter().map(|key| key.section).is_sorted());
        assert!(Section::ALL.iter().all(|section| KEYS.iter().any(|key| key.section == *section)));
    }
}
