//! Changes to a [`Tree`] that leave everything around them as it was: indentation, comments, order, quotes.

use super::{Element, Node, Place, Raw, RawKind, Tree, parse};
use zeroize::Zeroizing;

/// A text that XML cannot hold: control characters other than tab and line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value holds a control character, which an XML file cannot; leave it out")]
pub struct Unwritable;

/// What to do with comments inside an element whose text is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InnerComments {
    Keep,
    Drop,
}

impl Tree {
    /// The line end this document uses.
    pub(crate) fn line_end(&self) -> &'static str {
        if self.render().contains("\r\n") { "\r\n" } else { "\n" }
    }
}

impl Element {
    /// An element of this name with nothing inside. `name` is one of the registry's, or was checked by
    /// [`Element::is_possible_name`].
    pub(crate) fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            open: Zeroizing::new(format!("<{name}>")),
            kids: Vec::new(),
            close: format!("</{name}>"),
            place: Place { line: 0, column: 0 },
        }
    }

    /// The same with a `type` attribute: `properties` or `vector`.
    pub(crate) fn typed(name: &str, kind: &str) -> Self {
        let mut element = Self::empty(name);
        element.open = Zeroizing::new(format!("<{name} type=\"{kind}\">"));
        element
    }

    /// Whether an element can be called this.
    pub(crate) fn is_possible_name(name: &str) -> bool {
        parse::is_name(name)
    }

    /// Replaces the text inside. Elements inside go; comments are treated as told.
    ///
    /// # Errors
    /// [`Unwritable`] where XML cannot hold the text.
    pub(crate) fn set_text(&mut self, text: &str, comments: InnerComments) -> Result<(), Unwritable> {
        let escaped = escape(text)?;
        self.open_up();
        self.kids.retain(|kid| {
            comments == InnerComments::Keep && matches!(kid, Node::Raw(raw) if raw.kind == RawKind::Silent)
        });
        if !escaped.is_empty() {
            self.kids.insert(0, Node::Raw(Raw { kind: RawKind::Text, source: escaped }));
        }
        Ok(())
    }

    /// Puts `new` behind the last of `neighbours` that is there, else behind the last element, else alone. The white
    /// space in front of its neighbour is copied; an element that had none inside is laid out by `layout`.
    pub(crate) fn insert(&mut self, new: Self, neighbours: &[&str], layout: Layout<'_>) {
        self.open_up();
        let near = self.kids.iter().rposition(|kid| matches!(kid, Node::Element(e) if neighbours.contains(&e.name())));
        let any = || self.kids.iter().rposition(|kid| matches!(kid, Node::Element(_)));
        match near.or_else(any) {
            Some(at) => {
                let gap = self.gap_before(at);
                let mut put = at + 1;
                if let Some(gap) = gap {
                    self.kids.insert(put, Node::Raw(Raw { kind: RawKind::Text, source: Zeroizing::new(gap) }));
                    put += 1;
                }
                self.kids.insert(put, Node::Element(new));
            }
            None => {
                if let Some(Node::Raw(last)) = self.kids.last()
                    && last.kind == RawKind::Text
                    && last.source.trim().is_empty()
                {
                    self.kids.pop();
                }
                let white = |depth: usize| {
                    let source = Zeroizing::new(format!("{}{}", layout.line_end, "  ".repeat(depth)));
                    Node::Raw(Raw { kind: RawKind::Text, source })
                };
                self.kids.push(white(layout.depth));
                self.kids.push(Node::Element(new));
                self.kids.push(white(layout.depth.saturating_sub(1)));
            }
        }
    }

    /// Removes the element at `index` among the elements inside, with the white space in front of it.
    pub(crate) fn remove(&mut self, index: usize) -> bool {
        let Some((at, _)) = self.kids.iter().enumerate().filter(|(_, kid)| matches!(kid, Node::Element(_))).nth(index)
        else {
            return false;
        };
        self.kids.remove(at);
        if let Some(before) = at.checked_sub(1)
            && let Some(Node::Raw(raw)) = self.kids.get(before)
            && raw.kind == RawKind::Text
            && raw.source.trim().is_empty()
        {
            self.kids.remove(before);
        }
        true
    }

    /// The white space from the last line end in front of the node at `at`; none where it follows on the same line.
    fn gap_before(&self, at: usize) -> Option<String> {
        let Some(Node::Raw(raw)) = self.kids.get(at.checked_sub(1)?) else { return None };
        if raw.kind != RawKind::Text || !raw.source.trim().is_empty() {
            return None;
        }
        let line_end = raw.source.rfind('\n').map(|end| {
            let carriage = raw.source.get(..end).is_some_and(|head| head.ends_with('\r'));
            end - usize::from(carriage)
        });
        raw.source.get(line_end.unwrap_or(0)..).map(str::to_owned)
    }

    /// Turns `<x/>` into `<x></x>`.
    fn open_up(&mut self) {
        if !self.close.is_empty() {
            return;
        }
        let start = self.open.trim_end_matches('>').trim_end_matches('/').trim_end().to_owned();
        self.open = Zeroizing::new(format!("{start}>"));
        self.close = format!("</{}>", self.name);
    }
}

/// How to lay out the first element put inside another.
#[derive(Clone, Copy)]
pub(crate) struct Layout<'l> {
    /// `\n` or `\r\n`.
    pub(crate) line_end: &'l str,
    /// Levels of two blanks in front of the new element.
    pub(crate) depth: usize,
}

fn escape(text: &str) -> Result<Zeroizing<String>, Unwritable> {
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A bare one would come back as a line feed.
            '\r' => out.push_str("&#13;"),
            c if parse::is_allowed(c) => out.push(c),
            _ => return Err(Unwritable),
        }
    }
    Ok(out)
}
