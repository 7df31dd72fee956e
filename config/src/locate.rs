//! From a selector to an item: by place or by name.

use crate::{
    edit::EditError,
    keypath::{KeyPath, Selector},
    keys::Vector,
    prefs::{entries, entry_label, is_entry},
    tree::Element,
};

/// The items of a vector, in order.
pub(crate) fn items(root: &Element, vector: Vector) -> Vec<&Element> {
    match root.child(vector.name) {
        None => Vec::new(),
        Some(list) if vector.name == "plugins" => entries(list),
        Some(list) => list.elements().collect(),
    }
}

/// The item at `index`, to be edited.
pub(crate) fn item_mut(root: &mut Element, vector: Vector, index: usize) -> Option<&mut Element> {
    let list = root.child_mut(vector.name)?;
    if vector.name != "plugins" {
        return list.elements_mut().nth(index);
    }
    let mut left = index;
    for item in list.elements_mut() {
        let inside = if is_entry(item) { 1 } else { item.elements().count() };
        if left < inside {
            return if is_entry(item) { Some(item) } else { item.elements_mut().nth(left) };
        }
        left -= inside;
    }
    None
}

/// Removes the item at `index`; a group that held only it goes too.
pub(crate) fn remove(root: &mut Element, vector: Vector, index: usize) -> bool {
    let Some(list) = root.child_mut(vector.name) else { return false };
    if vector.name != "plugins" {
        return list.remove(index);
    }
    let mut left = index;
    let sizes: Vec<_> = list.elements().map(|item| (is_entry(item), item.elements().count())).collect();
    for (place, (entry, children)) in sizes.into_iter().enumerate() {
        let inside = if entry { 1 } else { children };
        if left < inside {
            if inside == 1 {
                return list.remove(place);
            }
            return list.elements_mut().nth(place).is_some_and(|group| group.remove(left));
        }
        left -= inside;
    }
    false
}

/// Where a selector leads.
pub(crate) enum Found {
    /// To an item that is there.
    At(usize),
    /// To the place behind the last.
    Behind,
    /// To none of this name.
    None,
}

/// Looks a selector up.
pub(crate) fn find(root: &Element, vector: Vector, selector: &Selector, path: &KeyPath) -> Result<Found, EditError> {
    let items = items(root, vector);
    match selector {
        Selector::Index(index) if *index < items.len() => Ok(Found::At(*index)),
        Selector::Index(index) if *index == items.len() => Ok(Found::Behind),
        Selector::Index(_) => Err(EditError::NoItem { path: path.to_string(), there_are: items.len() }),
        Selector::Name(name) => {
            let mut found =
                items.iter().enumerate().filter(|(_, item)| is_called(item, vector, name)).map(|(at, _)| at);
            match (found.next(), found.next()) {
                (Some(first), Some(second)) => {
                    Err(EditError::Ambiguous { path: path.to_string(), vector: vector.name, first, second })
                }
                (Some(only), None) => Ok(Found::At(only)),
                (None, _) => Ok(Found::None),
            }
        }
    }
}

/// The index of an item that must be there.
pub(crate) fn existing(
    root: &Element,
    vector: Vector,
    selector: &Selector,
    path: &KeyPath,
) -> Result<usize, EditError> {
    match find(root, vector, selector, path)? {
        Found::At(index) => Ok(index),
        Found::Behind | Found::None => {
            Err(EditError::NoItem { path: path.to_string(), there_are: items(root, vector).len() })
        }
    }
}

fn is_called(item: &Element, vector: Vector, name: &str) -> bool {
    let text = |child: &str| item.child(child).and_then(|child| child.text().ok()).map(|text| text.trim().to_owned());
    match vector.name {
        "plugins" => entry_label(item) == name,
        "server_list" => text(vector.chosen_by).is_some_and(|word| word.eq_ignore_ascii_case(name)),
        _ => text(vector.chosen_by).as_deref() == Some(name),
    }
}
