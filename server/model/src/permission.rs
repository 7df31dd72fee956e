//! What a user may do with a path, in the words of the field.

use std::{fmt, str::FromStr};

/// One right on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Read the bytes of files.
    Read,
    /// Write new files, and over old ones where [`Permission::Delete`] is there too or the path is new.
    Write,
    /// Remove files and folders, and replace what a name stands for.
    Delete,
    /// Rename and move.
    Rename,
    /// See names and facts.
    List,
    /// Make folders.
    MakeFolder,
    /// Change times and modes.
    SetFacts,
    /// Make symbolic and hard links. Not part of [`Permissions::full`].
    Link,
}

impl Permission {
    /// Every right.
    pub const ALL: [Self; 8] =
        [Self::Read, Self::Write, Self::Delete, Self::Rename, Self::List, Self::MakeFolder, Self::SetFacts, Self::Link];

    /// The word in permission lists: CrushFTP's where it has one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::List => "view",
            Self::MakeFolder => "makedir",
            Self::SetFacts => "setfacts",
            Self::Link => "link",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of rights.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u16);

impl Permissions {
    /// No right at all.
    pub const NONE: Self = Self(0);

    /// Everything but making links.
    #[must_use]
    pub fn full() -> Self {
        Permission::ALL.into_iter().filter(|right| *right != Permission::Link).collect()
    }

    /// Read and list.
    #[must_use]
    pub fn read_only() -> Self {
        [Permission::Read, Permission::List].into_iter().collect()
    }

    /// Whether `right` is in the set.
    #[must_use]
    pub const fn allows(self, right: Permission) -> bool {
        self.0 & right.bit() != 0
    }

    /// The rights in both sets.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |right| self.allows(*right))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<T: IntoIterator<Item = Permission>>(rights: T) -> Self {
        Self(rights.into_iter().fold(0, |bits, right| bits | right.bit()))
    }
}

/// A word that names no right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown permission {0:?}; known are read, write, delete, rename, view, makedir, setfacts, link")]
pub struct UnknownPermission(pub String);

impl FromStr for Permissions {
    type Err = UnknownPermission;

    /// A comma-separated list; an unknown word refuses it whole.
    fn from_str(list: &str) -> Result<Self, Self::Err> {
        list.split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(|word| {
                Permission::ALL
                    .into_iter()
                    .find(|right| right.as_str() == word)
                    .ok_or_else(|| UnknownPermission(word.to_owned()))
            })
            .collect()
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, right) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(right.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permissions({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_rights_do_not_include_links_and_lists_round_trip() {
        assert!(!Permissions::full().allows(Permission::Link));
        let text = Permissions::full().to_string();
        assert_eq!(text.parse::<Permissions>().unwrap(), Permissions::full());
        assert!("read,fly".parse::<Permissions>().is_err());
    }
}
