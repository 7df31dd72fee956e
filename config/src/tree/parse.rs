//! Bytes to [`Tree`]: what is read, and what is refused before anything is believed.
//!
//! quick-xml finds the pieces; the rules about them (no DTD, no entity of one's own, limits, one root, nothing left
//! open) are here, because an event stream does not know them. Messages name places, never content: a stray `<` in a
//! password would otherwise put half of it into an error.

use super::{Element, MAX_ATTRIBUTES, MAX_BYTES, MAX_DEPTH, MAX_NODES, Node, Place, Raw, RawKind, Tree};
use quick_xml::{
    XmlVersion,
    errors::{Error as QuickError, IllFormedError},
    events::{BytesDecl, BytesRef, BytesStart, Event, attributes::Attributes},
    reader::Reader,
};
use zeroize::Zeroizing;

/// Why bytes are no document that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct XmlError {
    /// Where.
    pub place: Place,
    /// What is wrong, and what to do where that is not plain.
    pub what: String,
}

impl Tree {
    /// Parses a document.
    ///
    /// # Errors
    /// [`XmlError`] where the bytes are not UTF-8, not one well-formed element, too large or too deep, or hold a DOCTYPE
    /// or an entity other than XML's own five.
    pub fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        let source = admit(bytes)?;
        let (byte_order_mark, text) = match source.strip_prefix('\u{feff}') {
            Some(rest) => (true, rest),
            None => (false, source),
        };
        let mut tree = Parser::new(text).run()?;
        tree.byte_order_mark = byte_order_mark;
        // What cannot be written back as it was must not be taken in.
        if tree.render().as_str() != source {
            return Err(fault(FIRST, "this document cannot be kept byte for byte; write it as plain UTF-8 XML 1.0"));
        }
        Ok(tree)
    }
}

const FIRST: Place = Place { line: 1, column: 1 };

fn fault(place: Place, what: impl Into<String>) -> XmlError {
    XmlError { place, what: what.into() }
}

fn admit(bytes: &[u8]) -> Result<&str, XmlError> {
    if bytes.len() > MAX_BYTES {
        return Err(fault(FIRST, format!("the file has {} bytes; at most {MAX_BYTES} are read", bytes.len())));
    }
    if matches!(bytes, [0xfe, 0xff, ..] | [0xff, 0xfe, ..]) {
        return Err(fault(FIRST, "the file is in UTF-16; save it as UTF-8"));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let place = place_of(&String::from_utf8_lossy(good), good.len());
            return Err(fault(place, "the file is not UTF-8 here; save it as UTF-8"));
        }
    };
    if let Some((at, _)) = text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        return Err(fault(place_of(text, at), "a control character stands here; XML has none but tab and line end"));
    }
    Ok(text)
}

/// XML 1.0 section 2.2.
pub(super) const fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

fn place_of(text: &str, at: usize) -> Place {
    let mut cursor = Cursor::new(text);
    cursor.forward_to(at)
}

/// Follows a byte offset through the text and knows line and column there.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
    place: Place,
}

impl<'t> Cursor<'t> {
    const fn new(text: &'t str) -> Self {
        Self { text, at: 0, place: FIRST }
    }

    fn forward_to(&mut self, to: usize) -> Place {
        for c in self.text.get(self.at..to).unwrap_or_default().chars() {
            if c == '\n' {
                self.place.line = self.place.line.saturating_add(1);
                self.place.column = 1;
            } else {
                self.place.column = self.place.column.saturating_add(1);
            }
        }
        self.at = self.at.max(to);
        self.place
    }
}

struct Parser<'t> {
    text: &'t str,
    reader: Reader<&'t [u8]>,
    cursor: Cursor<'t>,
    nodes: usize,
    before: Vec<Raw>,
    open: Vec<Element>,
    root: Option<Element>,
    after: Vec<Raw>,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().enable_all_checks(true);
        Self {
            text,
            reader,
            cursor: Cursor::new(text),
            nodes: 0,
            before: Vec::new(),
            open: Vec::new(),
            root: None,
            after: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Tree, XmlError> {
        loop {
            let from = self.offset();
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(error) => return Err(self.explain(&error)),
            };
            let raw = self.text.get(from..self.offset()).unwrap_or_default();
            let place = self.cursor.forward_to(from);
            if matches!(event, Event::Eof) {
                return self.finish(place);
            }
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                return Err(fault(place, format!("the file has more than {MAX_NODES} pieces")));
            }
            self.take(event, raw, place)?;
        }
    }

    fn take(&mut self, event: Event<'_>, raw: &str, place: Place) -> Result<(), XmlError> {
        match event {
            Event::Start(tag) => {
                let element = self.element(&tag, raw, place)?;
                self.open.push(element);
                Ok(())
            }
            Event::Empty(tag) => {
                let element = self.element(&tag, raw, place)?;
                self.attach(element);
                Ok(())
            }
            Event::End(_) => {
                let mut element = self.open.pop().ok_or_else(|| fault(place, "this end tag closes nothing"))?;
                raw.clone_into(&mut element.close);
                self.attach(element);
                Ok(())
            }
            Event::DocType(_) => Err(fault(place, "a DOCTYPE is not read here; remove it")),
            Event::GeneralRef(reference) => {
                if resolve(&reference).is_none() {
                    return Err(fault(
                        place,
                        "only &lt; &gt; &amp; &apos; &quot; and character numbers may follow an ampersand; \
                         write &amp; for an ampersand itself",
                    ));
                }
                self.keep(RawKind::Reference, raw, place)
            }
            Event::Text(_) => self.keep(RawKind::Text, raw, place),
            Event::CData(_) => self.keep(RawKind::Verbatim, raw, place),
            Event::Decl(declaration) => {
                self.check_declaration(&declaration, place)?;
                self.keep(RawKind::Silent, raw, place)
            }
            Event::Comment(_) | Event::PI(_) => self.keep(RawKind::Silent, raw, place),
            Event::Eof => Ok(()),
        }
    }

    fn element(&self, tag: &BytesStart<'_>, raw: &str, place: Place) -> Result<Element, XmlError> {
        if self.root.is_some() {
            return Err(fault(place, "a second root element; the file holds one, and everything stands inside it"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(fault(place, format!("elements are nested deeper than {MAX_DEPTH} levels")));
        }
        let name = tag.name().0.to_owned();
        if !is_name(&name) {
            return Err(fault(place, "this tag has no proper name; write &lt; for a less-than sign itself"));
        }
        for (count, attribute) in tag.attributes().enumerate() {
            if count >= MAX_ATTRIBUTES {
                return Err(fault(place, format!("this element has more than {MAX_ATTRIBUTES} attributes")));
            }
            let sound = attribute.is_ok_and(|found| found.normalized_value(XmlVersion::Implicit1_0).is_ok());
            if !sound {
                return Err(fault(place, "an attribute of this element is malformed or given twice"));
            }
        }
        Ok(Element { name, open: Zeroizing::new(raw.to_owned()), kids: Vec::new(), close: String::new(), place })
    }

    fn attach(&mut self, element: Element) {
        match self.open.last_mut() {
            Some(parent) => parent.kids.push(Node::Element(element)),
            None => self.root = Some(element),
        }
    }

    fn keep(&mut self, kind: RawKind, source: &str, place: Place) -> Result<(), XmlError> {
        let raw = Raw { kind, source: Zeroizing::new(source.to_owned()) };
        if let Some(parent) = self.open.last_mut() {
            parent.kids.push(Node::Raw(raw));
            return Ok(());
        }
        let blank = kind == RawKind::Text && source.trim_matches([' ', '\t', '\r', '\n']).is_empty();
        if kind != RawKind::Silent && !blank {
            return Err(fault(place, "text stands outside the root element"));
        }
        if self.root.is_some() {
            self.after.push(raw)
        } else {
            self.before.push(raw)
        }
        Ok(())
    }

    fn check_declaration(&self, declaration: &BytesDecl<'_>, place: Place) -> Result<(), XmlError> {
        if place != FIRST {
            return Err(fault(place, "an XML declaration stands at the very beginning or not at all"));
        }
        if declaration.version().is_ok_and(|version| version != "1.0") {
            return Err(fault(place, "only XML 1.0 is read; write version=\"1.0\""));
        }
        match declaration.encoding() {
            None => Ok(()),
            Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("us-ascii") => Ok(()),
            Some(_) => Err(fault(place, "only UTF-8 is read; save the file as UTF-8 and write encoding=\"UTF-8\"")),
        }
    }

    fn finish(self, place: Place) -> Result<Tree, XmlError> {
        if let Some(open) = self.open.last() {
            return Err(fault(open.place, "this element is never closed; the file may be cut off"));
        }
        let root = self.root.ok_or_else(|| fault(place, "the file holds no element"))?;
        Ok(Tree { byte_order_mark: false, before: self.before, root, after: self.after })
    }

    fn explain(&mut self, error: &QuickError) -> XmlError {
        let at = usize::try_from(self.reader.error_position()).unwrap_or(0);
        let place = place_of(self.text, at.min(self.text.len()));
        let what = match error {
            QuickError::IllFormed(IllFormedError::MismatchedEndTag { .. }) => match self.open.last() {
                Some(open) => format!("this end tag does not match the element opened at {}", open.place),
                None => "this end tag closes nothing".to_owned(),
            },
            QuickError::IllFormed(IllFormedError::UnmatchedEndTag(_)) => "this end tag closes nothing".to_owned(),
            QuickError::IllFormed(IllFormedError::DoubleHyphenInComment) => {
                "two hyphens stand inside a comment, which XML does not allow".to_owned()
            }
            QuickError::IllFormed(IllFormedError::UnclosedReference) => {
                "an ampersand stands alone; write &amp; for an ampersand itself".to_owned()
            }
            QuickError::Syntax(syntax) => format!("not XML: {syntax}"),
            _ => "not well-formed XML".to_owned(),
        };
        fault(place, what)
    }

    fn offset(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }
}

/// XML 1.0 section 2.3 in the form that matters here: what a key can be called.
pub(super) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_' || c == ':');
    starts_well && name.len() <= 256 && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    if reference.is_char_ref() {
        return reference.resolve_char_ref().ok().flatten().filter(|c| is_allowed(*c));
    }
    match &**reference {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

/// The character that a reference (`&…;`) stands for; it was checked when the document was parsed.
pub(super) fn referenced(source: &str) -> Option<char> {
    let inner = source.strip_prefix('&')?.strip_suffix(';')?;
    resolve(&BytesRef::new(inner))
}

/// The value of an attribute in the text of a start tag.
pub(super) fn attribute(open: &str, name_length: usize, name: &str) -> Option<String> {
    let inner = open.strip_prefix('<')?.trim_end_matches('>').trim_end_matches('/');
    Attributes::new(inner, name_length).flatten().find(|attribute| attribute.key.0 == name).and_then(|attribute| {
        attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned)
    })
}
