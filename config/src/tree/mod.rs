//! The document as it is: every byte of prefs.xml, held so that what is not edited is written back unchanged.
//!
//! Administrators comment and arrange this file by hand, and bring keys from another product that mean nothing here. A
//! parser that keeps only the data would throw their work away at the first `prefs set`. So each piece keeps its source
//! text, and writing is joining the pieces.
//!
//! Never: knows a key, expands an entity, reads a DTD, or shows content in `Debug` (passwords stand in this file).

mod edit;
mod parse;

pub use edit::Unwritable;
pub(crate) use edit::{InnerComments, Layout};
pub use parse::XmlError;

use std::fmt;
use zeroize::Zeroizing;

/// The largest document, in bytes.
pub const MAX_BYTES: usize = 8 << 20;
/// The deepest nesting of elements; the root is the first level.
pub const MAX_DEPTH: usize = 32;
/// The most pieces (elements, runs of text, comments) in a document.
pub const MAX_NODES: usize = 500_000;
/// The most attributes of one element.
pub const MAX_ATTRIBUTES: usize = 64;

/// A place in the file as an editor shows it: both count from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A whole document: what stands before the root, the root, what stands after it.
#[derive(Clone)]
pub struct Tree {
    byte_order_mark: bool,
    before: Vec<Raw>,
    root: Element,
    after: Vec<Raw>,
}

impl Tree {
    /// The root element.
    #[must_use]
    pub const fn root(&self) -> &Element {
        &self.root
    }

    /// The root element, to be edited.
    pub const fn root_mut(&mut self) -> &mut Element {
        &mut self.root
    }

    /// The document as text: the bytes it was parsed from, wherever nothing was edited.
    #[must_use]
    pub fn render(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::new());
        if self.byte_order_mark {
            out.push('\u{feff}');
        }
        self.before.iter().for_each(|raw| out.push_str(&raw.source));
        self.root.render_into(&mut out);
        self.after.iter().for_each(|raw| out.push_str(&raw.source));
        out
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("root", &self.root).finish_non_exhaustive()
    }
}

/// One element, with its tags as they were written.
#[derive(Clone)]
pub struct Element {
    name: String,
    open: Zeroizing<String>,
    kids: Vec<Node>,
    /// Empty where the element was written `<like this/>`.
    close: String,
    place: Place,
}

/// A piece of an element's content.
#[derive(Clone)]
pub(crate) enum Node {
    Element(Element),
    Raw(Raw),
}

/// Anything that is not an element, kept as it was written.
#[derive(Clone)]
pub(crate) struct Raw {
    kind: RawKind,
    source: Zeroizing<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawKind {
    Text,
    /// `<![CDATA[…]]>`
    Verbatim,
    /// `&amp;`, `&#10;`
    Reference,
    /// Comments, processing instructions, the declaration.
    Silent,
}

/// Why an element has no text value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText;

impl Element {
    /// The name, with its prefix where it has one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the element begins in the file it was parsed from. Elements made since say line 0.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// The elements directly inside, in order.
    pub fn elements(&self) -> impl Iterator<Item = &Self> {
        self.kids.iter().filter_map(|kid| match kid {
            Node::Element(element) => Some(element),
            Node::Raw(_) => None,
        })
    }

    /// The elements directly inside, in order, to be edited.
    pub fn elements_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        self.kids.iter_mut().filter_map(|kid| match kid {
            Node::Element(element) => Some(element),
            Node::Raw(_) => None,
        })
    }

    /// The first element of this name directly inside.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.elements().find(|kid| kid.name == name)
    }

    /// The first element of this name directly inside, to be edited.
    pub fn child_mut(&mut self, name: &str) -> Option<&mut Self> {
        self.elements_mut().find(|kid| kid.name == name)
    }

    /// Whether comments or processing instructions stand inside.
    #[must_use]
    pub fn has_comment(&self) -> bool {
        self.kids.iter().any(|kid| matches!(kid, Node::Raw(raw) if raw.kind == RawKind::Silent))
    }

    /// The text inside, with references resolved, comments left out and line ends as `\n`.
    ///
    /// # Errors
    /// [`NotText`] where elements stand inside.
    pub fn text(&self) -> Result<Zeroizing<String>, NotText> {
        let mut out = Zeroizing::new(String::new());
        for kid in &self.kids {
            match kid {
                Node::Element(_) => return Err(NotText),
                Node::Raw(raw) => raw.append_text(&mut out),
            }
        }
        Ok(out)
    }

    /// The value of an attribute, as written between its quotes.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<String> {
        parse::attribute(&self.open, self.name.len(), name)
    }

    fn render_into(&self, out: &mut String) {
        out.push_str(&self.open);
        for kid in &self.kids {
            match kid {
                Node::Element(element) => element.render_into(out),
                Node::Raw(raw) => out.push_str(&raw.source),
            }
        }
        out.push_str(&self.close);
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}> at {}", self.name, self.place)
    }
}

impl Raw {
    fn append_text(&self, out: &mut String) {
        match self.kind {
            RawKind::Silent => {}
            RawKind::Text => push_with_plain_line_ends(out, &self.source),
            RawKind::Verbatim => {
                let inner = self.source.strip_prefix("<![CDATA[").and_then(|rest| rest.strip_suffix("]]>"));
                push_with_plain_line_ends(out, inner.unwrap_or_default());
            }
            RawKind::Reference => out.extend(parse::referenced(&self.source)),
        }
    }
}

/// XML 1.0 section 2.11: a parser passes `\r\n` and a lone `\r` on as `\n`.
fn push_with_plain_line_ends(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some((line, after)) = rest.split_once('\r') {
        out.push_str(line);
        out.push('\n');
        rest = after.strip_prefix('\n').unwrap_or(after);
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests;
