//! `prefs set` and `prefs unset`: a change is made on a copy, the copy is read as a whole, and only what would be accepted
//! at the next start comes out.
//!
//! Never: writes a file, or guesses a name.

use crate::{
    error::{PrefsError, Refusal, shorten},
    keypath::{KeyPath, KeyPathError, Selector},
    keys::{self, KEYS, PrefKey, closest},
    locate::{self, Found},
    prefs::{Prefs, Reading, entry_label, is_entry, is_secret_setting, setting_label},
    secret::{SealError, Sealer, store},
    tree::{Element, InnerComments, Layout, Tree, Unwritable},
    values::{Kind, is_plain_name},
};
use zeroize::Zeroizing;

/// Why a change was not made, or a key not shown. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The text is no path.
    #[error(transparent)]
    Path(#[from] KeyPathError),
    /// There is no key of this name.
    #[error("{path} is no key that is known here; {advice}")]
    Unknown {
        /// The path.
        path: String,
        /// What was probably meant, or where the names are listed.
        advice: String,
    },
    /// There is no such item.
    #[error("{path}: there is no such item ({there_are} are there, counted from 0)")]
    NoItem {
        /// The path.
        path: String,
        /// How many items there are.
        there_are: usize,
    },
    /// Several items have this name.
    #[error("{path}: several items are called so; write {vector}[{first}] or {vector}[{second}]")]
    Ambiguous {
        /// The path.
        path: String,
        /// The vector.
        vector: &'static str,
        /// The first of them.
        first: usize,
        /// The second.
        second: usize,
    },
    /// The path leads to something that has no value of its own.
    #[error("{path} has no value of its own; {advice}")]
    NoValue {
        /// The path.
        path: String,
        /// What to write instead.
        advice: String,
    },
    /// XML cannot hold the value.
    #[error("{path}: {source}")]
    Unwritable {
        /// The path.
        path: String,
        /// Why.
        source: Unwritable,
    },
    /// The secret could not be encrypted.
    #[error("{path} is a secret and cannot be encrypted: {source}")]
    Seal {
        /// The path.
        path: String,
        /// Why.
        source: SealError,
    },
    /// The file would be refused with this change.
    #[error("{0}")]
    Refused(Refusal),
}

impl From<PrefsError> for EditError {
    fn from(error: PrefsError) -> Self {
        Self::Refused(error.into())
    }
}

/// A document with changes made, and what it says.
#[derive(Debug)]
pub struct Edited {
    /// The document.
    pub tree: Tree,
    /// What it says.
    pub reading: Reading,
}

/// Sets one key. Elements and items that are not there are made: an index equal to the number of items appends one, a
/// template or plugin that is named and not there likewise. A listener or plugin made so is switched off until `enabled`
/// is set.
///
/// A secret is sealed, unless the value is `env:NAME` or `file:PATH`.
///
/// # Errors
/// [`EditError`] where the resulting document would be refused, or the path leads nowhere.
pub fn set(tree: &Tree, path: &KeyPath, value: &str, sealer: &dyn Sealer) -> Result<Edited, EditError> {
    set_all(tree, &[(path.clone(), value)], sealer)
}

/// Sets several keys; what counts is the document with all of them.
///
/// # Errors
/// As [`set`]; none is set then.
pub fn set_all(tree: &Tree, changes: &[(KeyPath, &str)], sealer: &dyn Sealer) -> Result<Edited, EditError> {
    let mut draft = tree.clone();
    for (path, value) in changes {
        apply(&mut draft, path, value, sealer)?;
    }
    settle(&draft)
}

/// Removes a key, so that its default holds, or an item with all that is in it.
///
/// # Errors
/// As [`set`]; also where there is no such item.
pub fn unset(tree: &Tree, path: &KeyPath) -> Result<Edited, EditError> {
    let mut draft = tree.clone();
    let root = draft.root_mut();
    match (keys::vector(&path.top), &path.item) {
        (Some(vector), Some(selector)) => {
            let index = locate::existing(root, vector, selector, path)?;
            match (&path.leaf, locate::item_mut(root, vector, index)) {
                (Some(leaf), Some(item)) => remove_all(item, leaf),
                _ => drop(locate::remove(root, vector, index)),
            }
        }
        (None, None) if keys::find(None, &path.top).is_none() && root.child(&path.top).is_none() => {
            return Err(EditError::unknown(path, None));
        }
        (None, None) => remove_all(root, &path.top),
        (Some(_), None) => return Err(EditError::no_value(path)),
        (None, Some(_)) => return Err(EditError::no_vector(path)),
    }
    settle(&draft)
}

/// Reads the draft as it would be read from the disk.
fn settle(draft: &Tree) -> Result<Edited, EditError> {
    let tree = Tree::parse(draft.render().as_bytes()).map_err(|error| EditError::Refused(error.into()))?;
    let reading = Prefs::read(&tree).map_err(EditError::Refused)?;
    Ok(Edited { tree, reading })
}

fn apply(draft: &mut Tree, path: &KeyPath, value: &str, sealer: &dyn Sealer) -> Result<(), EditError> {
    let line_end = draft.line_end();
    let root = draft.root_mut();
    match (keys::vector(&path.top), &path.item) {
        (None, Some(_)) => Err(EditError::no_vector(path)),
        (Some(_), None) => Err(EditError::no_value(path)),
        (None, None) => {
            let key = keys::find(None, &path.top)
                .or_else(|| keys::find_by_alias(None, &path.top))
                .ok_or_else(|| EditError::unknown(path, None))?;
            if key.name() != path.top && root.child(key.name()).is_some() {
                let advice = format!("{} is set and wins: set that", key.name());
                return Err(EditError::NoValue { path: path.to_string(), advice });
            }
            write_key(root, key, &path.top, path, value, sealer, Layout { line_end, depth: 1 })
        }
        (Some(vector), Some(selector)) => {
            let leaf = path.leaf.as_ref().ok_or_else(|| EditError::no_value(path))?;
            let key = keys::find(Some(vector.name), leaf);
            let free = vector.name == "plugins" && Element::is_possible_name(leaf);
            if key.is_none() && !free {
                return Err(EditError::unknown(path, Some(vector.name)));
            }
            let index = find_or_make(root, vector, selector, path, line_end)?;
            let depth = if vector.name == "plugins" { 4 } else { 3 };
            let item = locate::item_mut(root, vector, index).ok_or_else(|| EditError::no_item(path))?;
            let layout = Layout { line_end, depth };
            match key {
                Some(key) => write_key(item, key, leaf, path, value, sealer, layout),
                None => write_setting(item, leaf, path, value, sealer, layout),
            }
        }
    }
}

fn write_key(
    scope: &mut Element,
    key: &'static PrefKey,
    name: &str,
    path: &KeyPath,
    value: &str,
    sealer: &dyn Sealer,
    layout: Layout<'_>,
) -> Result<(), EditError> {
    // Under another name a number may be in another unit; reading the whole document judges that.
    if name == key.name() {
        key.kind.parse(key.name(), value).map_err(|mistake| PrefsError::Value {
            place: None,
            key: path.to_string(),
            value: (!key.kind.may_hold_secret()).then(|| shorten(value)),
            expected: mistake.expected,
            advice: mistake.advice,
        })?;
    }
    let stored =
        if key.is_secret() { seal(value, key.name(), path, sealer)? } else { Zeroizing::new(value.to_owned()) };
    let comments = if key.kind == Kind::ExactSwitch { InnerComments::Drop } else { InnerComments::Keep };
    write(scope, name, &stored, comments, &neighbours(scope, key), layout)
        .map_err(|source| EditError::Unwritable { path: path.to_string(), source })
}

fn write_setting(
    entry: &mut Element,
    name: &str,
    path: &KeyPath,
    value: &str,
    sealer: &dyn Sealer,
    layout: Layout<'_>,
) -> Result<(), EditError> {
    let label = setting_label(&entry_label(entry), name);
    let stored =
        if is_secret_setting(name) { seal(value, &label, path, sealer)? } else { Zeroizing::new(value.to_owned()) };
    write(entry, name, &stored, InnerComments::Keep, &[], layout)
        .map_err(|source| EditError::Unwritable { path: path.to_string(), source })
}

fn seal(value: &str, label: &str, path: &KeyPath, sealer: &dyn Sealer) -> Result<Zeroizing<String>, EditError> {
    store(value, label, sealer).map_err(|source| EditError::Seal { path: path.to_string(), source })
}

fn write(
    scope: &mut Element,
    name: &str,
    text: &str,
    comments: InnerComments,
    neighbours: &[&str],
    layout: Layout<'_>,
) -> Result<(), Unwritable> {
    if let Some(element) = scope.child_mut(name) {
        return element.set_text(text, comments);
    }
    let mut element = Element::empty(name);
    element.set_text(text, comments)?;
    scope.insert(element, neighbours, layout);
    Ok(())
}

/// The key of the same chapter that is declared nearest before `key` and is there: a new one goes behind it.
fn neighbours(scope: &Element, key: &'static PrefKey) -> Vec<&'static str> {
    let before = KEYS.iter().take_while(|other| *other != key);
    let mut near: Vec<_> =
        before.filter(|other| other.section == key.section && other.vector() == key.vector()).collect();
    near.reverse();
    near.into_iter().map(PrefKey::name).find(|name| scope.child(name).is_some()).into_iter().collect()
}

fn find_or_make(
    root: &mut Element,
    vector: keys::Vector,
    selector: &Selector,
    path: &KeyPath,
    line_end: &str,
) -> Result<usize, EditError> {
    match locate::find(root, vector, selector, path)? {
        Found::At(index) => return Ok(index),
        Found::Behind => {}
        Found::None if vector.name == "server_list" => return Err(EditError::no_item(path)),
        Found::None => {}
    }
    let called = match selector {
        Selector::Name(name) => name.as_str(),
        Selector::Index(_) => "",
    };
    let index = locate::items(root, vector).len();
    if root.child(vector.name).is_none() {
        root.insert(Element::typed(vector.name, "vector"), &[], Layout { line_end, depth: 1 });
    }
    let list = root.child_mut(vector.name).ok_or_else(|| EditError::no_item(path))?;
    let layout = |depth| Layout { line_end, depth };
    match vector.name {
        "plugins" => {
            let (name, instance) = called.split_once(':').unwrap_or((called, ""));
            if !called.is_empty() && !is_plain_name(name) {
                return Err(EditError::unknown(path, None));
            }
            let flat = list.elements().any(is_entry);
            let fields = [("pluginName", name), ("enabled", "false"), ("subItem", instance)];
            if flat {
                list.insert(filled(vector.item, &fields, layout(3)), &[], layout(2));
            } else {
                let mut group = Element::typed(vector.item, "vector");
                group.insert(filled("plugin_subitem", &fields, layout(4)), &[], layout(3));
                list.insert(group, &[], layout(2));
            }
        }
        "server_list" => {
            let fields = [("serverType", "FTP"), ("port", "0"), ("enabled", "false")];
            list.insert(filled(vector.item, &fields, layout(3)), &[], layout(2));
        }
        _ => list.insert(filled(vector.item, &[(vector.chosen_by, called)], layout(3)), &[], layout(2)),
    }
    Ok(index)
}

/// A new item with the given fields; an empty one is left out.
fn filled(name: &str, fields: &[(&str, &str)], layout: Layout<'_>) -> Element {
    let mut item = Element::typed(name, "properties");
    for (field, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let mut element = Element::empty(field);
        // A name from the command line is free of control characters, which is all that could fail.
        if element.set_text(value, InnerComments::Keep).is_ok() {
            item.insert(element, &[], layout);
        }
    }
    item
}

fn remove_all(scope: &mut Element, name: &str) {
    loop {
        let found = scope.elements().position(|element| element.name() == name);
        let Some(index) = found else { return };
        scope.remove(index);
    }
}

impl EditError {
    pub(crate) fn unknown(path: &KeyPath, vector: Option<&'static str>) -> Self {
        let name = if vector.is_some() { path.leaf.as_deref().unwrap_or_default() } else { &path.top };
        let meant = closest(name, |known| keys::find(vector, known).is_some());
        let advice = match meant {
            Some(known) => format!("is {known} meant?"),
            None => "`lockgate prefs show` lists them".to_owned(),
        };
        Self::Unknown { path: path.to_string(), advice }
    }

    pub(crate) fn no_item(path: &KeyPath) -> Self {
        Self::NoItem { path: path.to_string(), there_are: 0 }
    }

    pub(crate) fn no_vector(path: &KeyPath) -> Self {
        let advice = "only server_list, email_templates and plugins have items".to_owned();
        Self::NoValue { path: path.to_string(), advice }
    }

    fn no_value(path: &KeyPath) -> Self {
        let advice = format!("name a key of an item, for example {}[0].enabled", path.top);
        Self::NoValue { path: path.to_string(), advice }
    }
}

#[cfg(test)]
mod tests;
