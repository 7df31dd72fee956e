//! What holds, for people: `prefs get` and `prefs show`, and which keys differ between two documents.
//!
//! Never: the value of a secret. What is shown of one is where it comes from.

use crate::{
    edit::EditError,
    keypath::KeyPath,
    keys::{self, KEYS, PrefKey, VECTORS},
    locate,
    prefs::{ListenerKind, Words as _, given, is_secret_setting},
    secret::{MASK, SecretText, sounds_secret},
    tree::{Element, Tree},
    url::ServiceUrl,
    values::Kind,
};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// One key and what holds for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its path.
    pub path: String,
    /// Its value, masked where it is a secret; `None` where nothing is set and there is no default.
    pub value: Option<String>,
    /// Whether the value is the default, because the file says nothing.
    pub is_default: bool,
    /// Its declaration; `None` for a plugin's setting and for keys that are not known here.
    pub key: Option<&'static PrefKey>,
}

/// A key with its value before anything is masked.
struct Effective {
    path: String,
    raw: Option<Zeroizing<String>>,
    given: bool,
    key: Option<&'static PrefKey>,
    hidden: bool,
}

/// Every key that is declared or given, in the order of the reference, then what is not known here.
#[must_use]
pub fn show(tree: &Tree) -> Vec<Shown> {
    effective(tree).into_iter().map(Effective::masked).collect()
}

/// What holds for `path`: one key, or all keys of an item or a vector.
///
/// # Errors
/// [`EditError`] where there is no such key or item.
pub fn get(tree: &Tree, path: &KeyPath) -> Result<Vec<Shown>, EditError> {
    let root = tree.root();
    let Some(vector) = keys::vector(&path.top) else {
        if path.item.is_some() || path.leaf.is_some() {
            return Err(EditError::no_vector(path));
        }
        let declared = keys::find(None, &path.top).or_else(|| keys::find_by_alias(None, &path.top));
        return match (declared, root.child(&path.top)) {
            (Some(key), _) => Ok(vec![declared_key(root, key, "").masked()]),
            (None, Some(element)) => Ok(vec![undeclared(element, &path.top, sounds_secret(&path.top)).masked()]),
            (None, None) => Err(EditError::unknown(path, None)),
        };
    };
    let Some(selector) = &path.item else {
        return Ok(items(root, vector).into_iter().map(Effective::masked).collect());
    };
    let index = locate::existing(root, vector, selector, path)?;
    let Some(item) = locate::items(root, vector).get(index).copied() else { return Err(EditError::no_item(path)) };
    let prefix = format!("{}[{index}].", vector.name);
    let all = item_keys(item, vector.name, &prefix);
    let Some(leaf) = &path.leaf else { return Ok(all.into_iter().map(Effective::masked).collect()) };
    let wanted = format!("{prefix}{leaf}");
    let found = all.into_iter().find(|shown| shown.path == wanted);
    found.map(|shown| vec![shown.masked()]).ok_or_else(|| EditError::unknown(path, Some(vector.name)))
}

/// The declared keys whose value differs between two documents, each once; and the vectors whose items differ, as their
/// first key. For telling which changes need a restart, and for the audit record of a change.
#[must_use]
pub fn changed(old: &Tree, new: &Tree) -> Vec<&'static PrefKey> {
    let (old, new) = (effective(old), effective(new));
    let known: [BTreeSet<_>; 2] = [&old, &new].map(|list| list.iter().map(Effective::identity).collect());
    let [in_old, in_new] = &known;
    let added = new.iter().filter(|entry| !in_old.contains(&entry.identity()));
    let differing = added.chain(old.iter().filter(|entry| !in_new.contains(&entry.identity())));
    let mut changed: Vec<&'static PrefKey> = Vec::new();
    for entry in differing {
        // A plugin's setting has no row of its own; the entry it stands in does.
        let key = entry.key.or_else(|| {
            entry.path.starts_with("plugins[").then(|| keys::find(Some("plugins"), "pluginName")).flatten()
        });
        if let Some(key) = key
            && !changed.contains(&key)
        {
            changed.push(key);
        }
    }
    changed
}

fn effective(tree: &Tree) -> Vec<Effective> {
    let root = tree.root();
    let mut all: Vec<Effective> = Vec::new();
    for key in KEYS {
        match key.vector() {
            None => all.push(declared_key(root, key, "")),
            Some(name) => {
                let begins = KEYS.iter().find(|other| other.vector() == Some(name)) == Some(key);
                if let (true, Some(vector)) = (begins, keys::vector(name)) {
                    all.extend(items(root, vector));
                }
            }
        }
    }
    let known = |name: &str| {
        keys::find(None, name).is_some()
            || keys::find_by_alias(None, name).is_some()
            || VECTORS.iter().any(|vector| vector.name == name)
    };
    let unknown = root.elements().filter(|element| !known(element.name()));
    all.extend(unknown.map(|element| undeclared(element, element.name(), sounds_secret(element.name()))));
    all
}

/// The keys of every item, without those that are not given and would not be looked at.
fn items(root: &Element, vector: keys::Vector) -> Vec<Effective> {
    let mut all = Vec::new();
    for (index, item) in locate::items(root, vector).into_iter().enumerate() {
        let kind = listener_kind(item);
        let concerns = |key: &PrefKey| kind.is_none_or(|kind| key.concerns(kind));
        let keys = item_keys(item, vector.name, &format!("{}[{index}].", vector.name));
        all.extend(keys.into_iter().filter(|entry| entry.given || entry.key.is_none_or(concerns)));
    }
    all
}

fn listener_kind(item: &Element) -> Option<ListenerKind> {
    let word = item.child("serverType")?.text().ok()?;
    let place = ListenerKind::WORDS.iter().position(|known| known.eq_ignore_ascii_case(word.trim()))?;
    ListenerKind::VALUES.get(place).copied()
}

fn item_keys(item: &Element, vector: &'static str, prefix: &str) -> Vec<Effective> {
    let declared = KEYS.iter().filter(|key| key.vector() == Some(vector));
    let mut all: Vec<_> = declared.map(|key| declared_key(item, key, prefix)).collect();
    let others = item.elements().filter(|element| keys::find(Some(vector), element.name()).is_none());
    all.extend(others.map(|element| {
        let name = element.name();
        undeclared(element, &format!("{prefix}{name}"), is_secret_setting(name))
    }));
    all
}

fn declared_key(scope: &Element, key: &'static PrefKey, prefix: &str) -> Effective {
    let found = given(scope, key);
    let raw = match &found {
        Some(found) => found.text(key).ok(),
        None => key.default.text().map(Zeroizing::new),
    };
    Effective { path: format!("{prefix}{}", key.name()), raw, given: found.is_some(), key: Some(key), hidden: false }
}

fn undeclared(element: &Element, path: &str, hidden: bool) -> Effective {
    let inside = || Zeroizing::new(format!("({} elements inside)", element.elements().count()));
    let raw = element.text().unwrap_or_else(|_| inside());
    Effective { path: path.to_owned(), raw: Some(raw), given: true, key: None, hidden }
}

impl Effective {
    fn identity(&self) -> (&str, Option<&str>) {
        (&self.path, self.raw.as_ref().map(|raw| raw.as_str()))
    }

    fn masked(self) -> Shown {
        let value = self.raw.map(|raw| match self.key {
            Some(key) => mask(key, &raw),
            None if raw.trim().is_empty() => String::new(),
            None if self.hidden || raw.trim_start().starts_with("enc:") => {
                SecretText::parse("", &raw).ok().flatten().map_or_else(|| MASK.to_owned(), |secret| secret.masked())
            }
            None => raw.trim().to_owned(),
        });
        Shown { path: self.path, value, is_default: !self.given, key: self.key }
    }
}

/// A value as it may be shown.
fn mask(key: &PrefKey, raw: &str) -> String {
    let trimmed = raw.trim();
    if trimmed.is_empty() {
        return String::new();
    }
    match key.kind {
        Kind::Secret => match SecretText::parse(key.name(), raw) {
            Ok(Some(secret)) => secret.masked(),
            Ok(None) | Err(_) => MASK.to_owned(),
        },
        Kind::Store(_) => match SecretText::parse(key.name(), raw) {
            Ok(Some(secret)) if !secret.is_plain() => secret.masked(),
            _ if trimmed.contains(['@', '?', '=']) => {
                trimmed.split_once(':').map_or_else(|| MASK.to_owned(), |(scheme, _)| format!("{scheme}:…"))
            }
            _ => trimmed.to_owned(),
        },
        Kind::SendTarget if trimmed == "SMTP" => trimmed.to_owned(),
        Kind::SendTarget => redact_url(trimmed, &["https", "http"]),
        Kind::Url(schemes) => redact_url(trimmed, schemes),
        Kind::SendBody if may_hold_secret(raw) => "(may hold a secret, not shown)".to_owned(),
        Kind::Text | Kind::SendBody => raw.to_owned(),
        _ => trimmed.to_owned(),
    }
}

fn redact_url(text: &str, schemes: &[&str]) -> String {
    ServiceUrl::parse(text, schemes).map_or_else(|_| MASK.to_owned(), |url| url.redacted())
}

/// Whether a body names something secret outside its variables.
fn may_hold_secret(body: &str) -> bool {
    let plain = crate::values::SEND_VARIABLES
        .iter()
        .fold(body.to_ascii_lowercase(), |text, variable| text.replace(&format!("{{{variable}}}"), ""));
    ["pass", "secret", "token", "key", "auth", "pwd", "sid"].iter().any(|word| plain.contains(word))
}
