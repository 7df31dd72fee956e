//! What a body must be before a parser sees it (N14): UTF-8, no DTD, bounded in depth, attributes and elements.
//!
//! The parser builds its tree by recursion and expands entities; both are stopped here, in one pass without memory, so that no body
//! can cost more than it weighs. Each element of that tree also carries every namespace that is in force where it stands, and what is
//! asked for is said again in the reply, for each resource: so the length of tags is bounded, alone and one inside the other.

use xmltree::{Element, EmitterConfig};

/// The largest body, in bytes.
pub(crate) const LIMIT: usize = 64 * 1024;
const DEPTH: usize = 64;
const ATTRIBUTES: usize = 64;
const ELEMENTS: usize = 1024;
/// The longest attribute value, which is also the longest namespace, in bytes.
const VALUE: usize = 1024;
/// The opening tags of an element and of those that it lies in, in bytes together.
const TAGS: usize = 4 * 1024;
/// Properties that one request names.
pub(crate) const PROPERTIES: usize = 100;

/// Whether the body may be parsed.
pub(crate) fn acceptable(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut elements = 0_usize;
    // The bytes of the opening tags of what is open now.
    let mut open_tags = [0_usize; DEPTH];
    let mut depth = 0_usize;
    while let Some(place) = rest.find('<') {
        rest = rest.get(place..).unwrap_or_default();
        let skipped = if let Some(tail) = rest.strip_prefix("<!--") {
            tail.split_once("-->").map(|(_, tail)| tail)
        } else if let Some(tail) = rest.strip_prefix("<![CDATA[") {
            tail.split_once("]]>").map(|(_, tail)| tail)
        } else if let Some(tail) = rest.strip_prefix("<?") {
            tail.split_once("?>").filter(|(inner, _)| fits(inner)).map(|(_, tail)| tail)
        } else if rest.starts_with("<!") {
            None
        } else if let Some(tail) = rest.strip_prefix("</") {
            depth = depth.saturating_sub(1);
            tail.split_once('>').map(|(_, tail)| tail)
        } else {
            elements += 1;
            let Some((empty, tail)) = open(rest) else { return false };
            let length = rest.len() - tail.len();
            let around: usize = open_tags.iter().take(depth).sum();
            if around + length > TAGS {
                return false;
            }
            if !empty {
                let Some(place) = open_tags.get_mut(depth) else { return false };
                *place = length;
                depth += 1;
            }
            Some(tail)
        };
        match skipped {
            Some(tail) if elements <= ELEMENTS => rest = tail,
            _ => return false,
        }
    }
    true
}

/// A name with its namespace; the empty one is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) local: String,
}

impl Name {
    pub(crate) fn new(namespace: &str, local: &str) -> Self {
        Self { namespace: namespace.to_owned(), local: local.to_owned() }
    }

    /// The opaque name under which a property is kept: `{namespace}local`, as others write it too.
    pub(crate) fn key(&self) -> String {
        format!("{{{}}}{}", self.namespace, self.local)
    }

    /// The name that [`Name::key`] made `key` of.
    pub(crate) fn from_key(key: &str) -> Option<Self> {
        let (namespace, local) = key.strip_prefix('{')?.rsplit_once('}')?;
        Some(Self::new(namespace, local))
    }

    /// An element of this name without content, to be put below one that binds `D` to `DAV:`.
    pub(crate) fn empty(&self) -> String {
        let Self { namespace, local } = self;
        match namespace.as_str() {
            "DAV:" => format!("<D:{local}/>"),
            "" => format!("<{local} xmlns=\"\"/>"),
            other => format!("<n:{local} xmlns:n=\"{}\"/>", escaped(other)),
        }
    }
}

/// Namespaces that a reply binds once, for all elements below: saying each with every element would make a small question a large
/// answer.
#[derive(Debug, Default)]
pub(crate) struct Bound(Vec<String>);

impl Bound {
    /// Those of `names`, except the ones that need no binding.
    pub(crate) fn of(names: &[Name]) -> Self {
        let mut spaces: Vec<String> = Vec::new();
        for Name { namespace, .. } in names {
            if !matches!(namespace.as_str(), "DAV:" | "") && !spaces.contains(namespace) {
                spaces.push(namespace.clone());
            }
        }
        Self(spaces)
    }

    /// The attributes that bind them.
    pub(crate) fn attributes(&self) -> String {
        let bind = |(place, space): (usize, &String)| format!(" xmlns:n{place}=\"{}\"", escaped(space));
        self.0.iter().enumerate().map(bind).collect()
    }

    /// As [`Name::empty`], below an element with [`Bound::attributes`].
    pub(crate) fn empty(&self, name: &Name) -> String {
        match self.0.iter().position(|space| *space == name.namespace) {
            Some(place) => format!("<n{place}:{}/>", name.local),
            None => name.empty(),
        }
    }
}

/// Parses a body that is [`acceptable`].
pub(crate) fn parse(body: &[u8]) -> Option<Element> {
    Element::parse(body).ok()
}

/// The name of an element.
pub(crate) fn name(element: &Element) -> Name {
    Name::new(element.namespace.as_deref().unwrap_or_default(), &element.name)
}

/// How many properties a `propertyupdate` sets and removes.
pub(crate) fn updates(body: &[u8]) -> usize {
    let Some(root) = parse(body) else { return 0 };
    children(&root).flat_map(children).map(|props| children(props).count()).sum()
}

/// The elements in an element.
pub(crate) fn children(element: &Element) -> impl Iterator<Item = &Element> {
    element.children.iter().filter_map(xmltree::XMLNode::as_element)
}

/// A kept element as it can stand in a reply: without a declaration. `None` where it is none.
pub(crate) fn embed(kept: &[u8]) -> Option<String> {
    if !acceptable(kept) {
        return None;
    }
    let mut text = Vec::new();
    let config = EmitterConfig::new().write_document_declaration(false);
    parse(kept)?.write_with_config(&mut text, config).ok()?;
    String::from_utf8(text).ok()
}

/// Text as it can stand in content and in attributes. Characters that XML cannot say are replaced.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// An XML declaration that says another encoding than the one that was checked is refused.
fn fits(instruction: &str) -> bool {
    let Some(declaration) = instruction.strip_prefix("xml ") else { return true };
    declaration.split_once("encoding").is_none_or(|(_, value)| {
        let value = value.trim_start().trim_start_matches('=').trim_start().trim_start_matches(['"', '\'']);
        ["utf-8", "utf8", "us-ascii"]
            .iter()
            .any(|known| value.get(..known.len()).is_some_and(|word| word.eq_ignore_ascii_case(known)))
    })
}

/// Walks over an opening tag: whether it is empty (`<a/>`), and what follows.
fn open(tag: &str) -> Option<(bool, &str)> {
    let mut attributes = 0;
    let mut rest = tag.get(1..)?;
    loop {
        let place = rest.find(['"', '\'', '>', '<'])?;
        let (before, found) = rest.split_at(place);
        let mut chars = found.chars();
        let mark = chars.next()?;
        let tail = chars.as_str();
        match mark {
            '>' => return Some((before.ends_with('/'), tail)),
            '<' => return None,
            quote => {
                attributes += 1;
                if attributes > ATTRIBUTES {
                    return None;
                }
                let (value, after) = tail.split_once(quote)?;
                if value.len() > VALUE {
                    return None;
                }
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_clients_send_is_accepted() {
        for body in [
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><D:propfind xmlns:D=\"DAV:\"><D:prop><D:getetag/></D:prop></D:propfind>",
            "\u{feff}<?xml version='1.0' encoding='UTF-8' ?>\n<propfind xmlns='DAV:'><allprop/></propfind>",
            "<a b=\"x > y\"><!-- < --><![CDATA[<<<]]></a>",
            "",
        ] {
            assert!(acceptable(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn entities_floods_and_odd_encodings_never_reach_the_parser() {
        for body in [
            "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>".to_owned(),
            "<?xml version=\"1.0\" encoding=\"utf-16\"?><a/>".to_owned(),
            "<a>".repeat(65),
            format!("<a {}/>", "b='c' ".repeat(65)),
            "<a/>".repeat(1025),
            format!("<a b=\"{}\"/>", "n".repeat(1025)),
            format!("<{}/>", "n".repeat(5000)),
            "<a".to_owned(),
            "<!-- ".to_owned(),
        ] {
            assert!(!acceptable(body.as_bytes()), "{}", body.get(..40).unwrap_or(&body));
        }
        assert!(!acceptable(b"\xff\xfe<\0a\0"));
    }

    #[test]
    fn no_element_of_an_accepted_body_carries_more_than_a_few_kib_of_namespaces() {
        let inner = "<a/>".repeat(900);
        let long = "n".repeat(1000);
        let around = |count: usize| {
            let spaces: String = (0..count).map(|place| format!(" xmlns:p{place}='{long}'")).collect();
            format!("<a{spaces}>{inner}</a>")
        };
        assert!(acceptable(around(3).as_bytes()));
        assert!(!acceptable(around(5).as_bytes()));
        let nested = format!("<a b='{long}'>").repeat(5) + &"</a>".repeat(5);
        assert!(!acceptable(nested.as_bytes()));
        let beside = format!("<a b='{long}'></a>").repeat(50);
        assert!(acceptable(beside.as_bytes()));
    }

    #[test]
    fn a_foreign_namespace_is_bound_once_however_many_names_are_in_it() {
        let names: Vec<Name> = ["a", "b", "c"].map(|local| Name::new("urn:x&y", local)).to_vec();
        let bound = Bound::of(&names);
        let said: String = names.iter().map(|name| bound.empty(name)).collect();
        let text = format!("<D:m xmlns:D=\"DAV:\"{}>{said}</D:m>", bound.attributes());
        assert_eq!(text.matches("urn:x").count(), 1, "{text}");
        assert_eq!(children(&parse(text.as_bytes()).unwrap()).map(name).collect::<Vec<_>>(), names);
    }

    #[test]
    fn the_properties_of_an_update_are_counted() {
        let body = "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><a><x/></a><b/></D:prop></D:set>\
                    <D:remove><D:prop><c/></D:prop></D:remove></D:propertyupdate>";
        assert_eq!(updates(body.as_bytes()), 3);
    }

    #[test]
    fn a_name_is_kept_and_shown_with_its_namespace() {
        for (namespace, local) in [("http://example.org/a}b", "colour"), ("", "plain"), ("DAV:", "displayname")] {
            let name = Name::new(namespace, local);
            assert_eq!(Name::from_key(&name.key()), Some(name.clone()));
            let shown = format!("<D:prop xmlns:D=\"DAV:\" xmlns=\"urn:other\">{}</D:prop>", name.empty());
            let parsed = parse(shown.as_bytes()).unwrap();
            assert_eq!(children(&parsed).map(super::name).collect::<Vec<_>>(), [name]);
        }
    }

    #[test]
    fn a_kept_element_is_shown_without_its_declaration() {
        let kept = b"<?xml version=\"1.0\"?><c:colour xmlns:c=\"urn:c\">a &lt; b</c:colour>";
        assert_eq!(embed(kept).unwrap(), "<c:colour xmlns:c=\"urn:c\">a &lt; b</c:colour>");
        assert_eq!(embed(b"<!DOCTYPE a><a/>"), None);
        assert_eq!(embed(b"no element"), None);
    }

    #[test]
    fn no_name_breaks_out_of_its_place() {
        assert_eq!(escaped("<a href=\"x\">&\u{1}\n"), "&lt;a href=&quot;x&quot;&gt;&amp;\u{fffd} ");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_no_deeper_than_it_may(body in "(<a>|</a>|<b/>|<!--x-->|x| ){0,200}") {
            if acceptable(body.as_bytes()) {
                let mut depth = 0_usize;
                let mut deepest = 0;
                for part in body.split('<').skip(1) {
                    if part.starts_with("a>") { depth += 1; }
                    if part.starts_with("/a>") { depth = depth.saturating_sub(1); }
                    deepest = deepest.max(depth);
                }
                prop_assert!(deepest <= DEPTH);
            }
        }

        #[test]
        fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = acceptable(&body);
        }
    }
}
