//! Where a path of the user's tree lies, and what may be done there.
//!
//! Two tables, both by whole components and case-exact: mounts say which store a path is in, rules say with which rights. The
//! longest match wins in each, and a mount's rights are a ceiling over the rule's. Folders that only lead to a mount exist
//! though no store has them. Nothing here asks a store.

use crate::{Action, Backend, VfsError, reserved};
use lockgate_model::{Permission, Permissions, UserName, VPath};
use std::{collections::BTreeSet, sync::Arc};

/// A store in the tree.
pub(crate) struct Mount {
    pub(crate) at: VPath,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) permissions: Permissions,
    pub(crate) counts: bool,
}

/// A path of the tree and where it lies.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) mount: Arc<Mount>,
    /// The path in the store.
    pub(crate) inner: VPath,
    /// The path in the tree.
    pub(crate) path: VPath,
}

impl Place {
    /// Names what lies here in all the process: equal for two users' paths to one file.
    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = self.mount.backend.identity().to_vec();
        if !self.inner.is_root() {
            key.extend_from_slice(self.inner.as_bytes());
        }
        key
    }

    /// Puts the mount's place before the paths of an error.
    pub(crate) fn said(&self, error: VfsError) -> VfsError {
        error.below(&self.mount.at)
    }

    pub(crate) fn same_store(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount)
    }
}

/// A user's tree.
pub(crate) struct Tree {
    owner: UserName,
    mounts: Vec<Arc<Mount>>,
    rules: Vec<(VPath, Permissions)>,
    otherwise: Permissions,
}

impl Tree {
    pub(crate) fn new(
        owner: UserName,
        mounts: Vec<Mount>,
        mut rules: Vec<(VPath, Permissions)>,
        otherwise: Permissions,
    ) -> Self {
        let mut mounts: Vec<Arc<Mount>> = mounts.into_iter().map(Arc::new).collect();
        // The longest first; of two for one path the later stands.
        mounts.reverse();
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.at.components().count()));
        rules.reverse();
        rules.sort_by_key(|(folder, _)| std::cmp::Reverse(folder.components().count()));
        Self { owner, mounts, rules, otherwise }
    }

    pub(crate) fn owner(&self) -> &UserName {
        &self.owner
    }

    pub(crate) fn mounts(&self) -> &[Arc<Mount>] {
        &self.mounts
    }

    fn mount(&self, path: &VPath) -> Option<&Arc<Mount>> {
        self.mounts.iter().find(|mount| path.is_within(&mount.at))
    }

    /// The rights on `path`.
    pub(crate) fn permissions(&self, path: &VPath) -> Permissions {
        let rule = self.rules.iter().find(|(folder, _)| path.is_within(folder));
        let rule = rule.map_or(self.otherwise, |(_, rights)| *rights);
        match self.mount(path) {
            Some(mount) => rule.intersect(mount.permissions),
            None => rule.intersect(std::iter::once(Permission::List).collect()),
        }
    }

    /// Where `path` lies; `None` for a folder above all mounts.
    ///
    /// # Errors
    /// For a reserved name: nothing has it where something is looked for, and nobody may make it.
    pub(crate) fn place(&self, path: &VPath, action: Action) -> Result<Option<Place>, VfsError> {
        if reserved::reaches_reserved(path) {
            return Err(match action {
                Action::Read | Action::List | Action::Delete | Action::SetFacts => VfsError::NotFound(path.clone()),
                Action::Write | Action::Rename | Action::MakeFolder | Action::Link => {
                    VfsError::Forbidden { action, path: path.clone() }
                }
            });
        }
        let Some(mount) = self.mount(path) else { return Ok(None) };
        let inner = VPath::parse(path.strip(&mount.at).unwrap_or_default()).map_err(|_| VfsError::BadName)?;
        Ok(Some(Place { mount: Arc::clone(mount), inner, path: path.clone() }))
    }

    /// The place of a path of the store that `place` is in; an error where the tree shows another store there.
    pub(crate) fn place_in(&self, place: &Place, inner: &VPath, action: Action) -> Result<Place, VfsError> {
        let path = place.mount.at.join(inner.as_bytes().get(1..).unwrap_or_default()).map_err(|_| VfsError::BadName)?;
        match self.place(&path, action)? {
            Some(found) if found.same_store(place) => Ok(found),
            _ => Err(VfsError::NotFound(place.path.clone())),
        }
    }

    /// Checks one right on a path.
    pub(crate) fn require(&self, path: &VPath, right: Permission, action: Action) -> Result<(), VfsError> {
        if self.permissions(path).allows(right) {
            return Ok(());
        }
        Err(self.refusal(path, action))
    }

    /// Checks one right on a path and on whatever has rules of its own below it.
    pub(crate) fn require_below(&self, path: &VPath, right: Permission, action: Action) -> Result<(), VfsError> {
        self.require(path, right, action)?;
        self.rules
            .iter()
            .filter(|(folder, _)| folder.is_within(path))
            .try_for_each(|(folder, _)| self.require(folder, right, action))
    }

    /// Checks that a move opens nothing: for a folder as for a file, the target may grant no right on what is there that the
    /// source, or any folder with rules of its own below it, does not. Where the rights differ at all it is a write at the
    /// target too. Both paths are without links, and moving as such is allowed.
    pub(crate) fn moves(&self, from: &VPath, to: &VPath) -> Result<(), VfsError> {
        let ruled = |top: &VPath| {
            let top = top.clone();
            let below = self.rules.iter().filter(move |(folder, _)| folder.is_within(&top));
            below.map(|(folder, _)| self.permissions(folder))
        };
        let before = ruled(from).fold(self.permissions(from), Permissions::intersect);
        let after: Permissions =
            std::iter::once(self.permissions(to)).chain(ruled(to)).flat_map(Permissions::iter).collect();
        if before == after {
            return Ok(());
        }
        let kept = [Permission::Read, Permission::List, Permission::Delete, Permission::SetFacts];
        if kept.into_iter().any(|right| after.allows(right) && !before.allows(right)) {
            return Err(self.refusal(from, Action::Rename));
        }
        self.require(to, Permission::Write, Action::Write)
    }

    /// Why something may not be done: the mount is for reading, or the right is missing.
    pub(crate) fn refusal(&self, path: &VPath, action: Action) -> VfsError {
        let writes = [
            Permission::Write,
            Permission::Delete,
            Permission::Rename,
            Permission::MakeFolder,
            Permission::SetFacts,
            Permission::Link,
        ];
        match self.mount(path) {
            Some(mount)
                if !matches!(action, Action::Read | Action::List)
                    && !writes.into_iter().any(|right| mount.permissions.allows(right)) =>
            {
                VfsError::ReadOnly(path.clone())
            }
            _ => VfsError::Forbidden { action, path: path.clone() },
        }
    }

    /// Whether `path` is the root, a mount, or on the way to one: part of the tree's shape, which no operation changes.
    pub(crate) fn is_fixed(&self, path: &VPath) -> bool {
        path.is_root() || self.mounts.iter().any(|mount| mount.at.is_within(path))
    }

    /// Names in the folder `path` that are mounts or lead to one.
    pub(crate) fn mounted_names(&self, path: &VPath) -> BTreeSet<Vec<u8>> {
        let below = self.mounts.iter().filter_map(|mount| first_below(&mount.at, path));
        below.map(<[u8]>::to_vec).collect()
    }

    /// Whether a folder without store behind it stands at `path`.
    pub(crate) fn is_virtual(&self, path: &VPath) -> bool {
        path.is_root() || self.mounts.iter().any(|mount| mount.at != *path && mount.at.is_within(path))
    }

    /// Names in the folder `path` that have rights of their own, or lead to such; the ones that a user without the right to
    /// list it sees all the same, because nobody finds the way otherwise.
    pub(crate) fn signposts(&self, path: &VPath) -> BTreeSet<Vec<u8>> {
        let rules = self.rules.iter().map(|(folder, _)| folder).chain(self.mounts.iter().map(|mount| &mount.at));
        let seen = rules.filter(|folder| self.permissions(folder) != Permissions::NONE);
        seen.filter_map(|folder| first_below(folder, path)).map(<[u8]>::to_vec).collect()
    }

    /// Whether `path` has any right, or leads to something that has.
    pub(crate) fn is_visible(&self, path: &VPath) -> bool {
        self.permissions(path) != Permissions::NONE || !self.signposts(path).is_empty()
    }

    /// Whether rows of `folder` need a look at their own rights: some name in it has a rule.
    pub(crate) fn has_own_rights(&self, folder: &VPath) -> bool {
        self.rules.iter().any(|(rule, _)| rule.parent().as_ref() == Some(folder))
    }
}

/// The component that follows `folder` on the way to `path`.
fn first_below<'p>(path: &'p VPath, folder: &VPath) -> Option<&'p [u8]> {
    let rest = path.strip(folder)?;
    rest.split(|byte| *byte == b'/').next().filter(|name| !name.is_empty())
}
