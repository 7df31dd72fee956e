//! What stands in the document besides what is read: keys given twice, near-names, keys that nobody knows.
//!
//! A misspelt `otp_validated_logins` must not read as an absent one, and a key in the namespace of security that is not
//! known here may be a demand that would go unmet: both refuse the file. Everything else that is unknown is kept and
//! named once.

use super::reader::Findings;
use crate::{
    error::PrefsError,
    keys::{self, closest, find, find_by_alias, is_strict_name},
    tree::{Element, Place},
};
use std::collections::BTreeMap;

/// Looks through the children of the root (`vector` is `None`) or of an item.
pub(super) fn survey(scope: &Element, vector: Option<&'static str>, prefix: &str, findings: &mut Findings) {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for child in scope.elements() {
        let name = child.name();
        let path = format!("{prefix}{name}");
        if !is_declared(vector, name) {
            unknown(child, vector, path, findings);
            continue;
        }
        match seen.get(name) {
            Some(&first) => findings.errors.push(PrefsError::Repeated { place: child.place(), first, key: path }),
            None => {
                seen.insert(name, child.place());
            }
        }
    }
}

fn is_declared(vector: Option<&str>, name: &str) -> bool {
    find(vector, name).is_some()
        || find_by_alias(vector, name).is_some()
        || (vector.is_none() && keys::vector(name).is_some())
}

fn unknown(child: &Element, vector: Option<&'static str>, path: String, findings: &mut Findings) {
    let name = child.name();
    let place = child.place();
    if let Some(advice) = refusal(name, vector) {
        findings.errors.push(PrefsError::Unknown { place, key: path, advice });
        return;
    }
    let pattern = vector.map_or_else(|| name.to_owned(), |vector| format!("{vector}[].{name}"));
    if !findings.reported.insert(pattern) {
        return;
    }
    let meant = closest(name, |known| find(vector, known).is_some());
    let hint = meant.map(|known| format!(" (is {known} meant?)")).unwrap_or_default();
    findings.warn(Some(place), path, format!("is not known here: it is kept and has no effect{hint}"));
}

/// Why an unknown name refuses the file, if it does.
fn refusal(name: &str, vector: Option<&str>) -> Option<String> {
    if let Some(near) = closest(name, is_strict_name) {
        let declared = keys::KEYS.iter().find(|key| key.name() == near);
        return Some(match declared.and_then(|key| key.vector()) {
            home if home == vector => format!("{near} is near: correct or remove it"),
            Some(home) => format!("{near} belongs into an item of {home}: move or remove it"),
            None => format!("{near} belongs to the top of the file: move or remove it"),
        });
    }
    is_strict_name(&name.to_ascii_lowercase()).then(|| {
        "names beginning otp_, twofactor_ or require_ decide about security and are never guessed: remove it".to_owned()
    })
}
