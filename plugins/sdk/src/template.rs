//! Texts of an operator with places for values: `Your code is {auth_token}`.
//!
//! A template is taken apart once, before any value is known, and split at its own characters only. So a value can never
//! move a boundary, become a placeholder itself, or be looked at twice; what it turns into at its place is for whoever fills
//! the template to say.
//!
//! Never: a value without an encoder.

use crate::Failure;

/// A template, or a part of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// What a template is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text of the operator's.
    Text(String),
    /// The place of a value, by name.
    Place(String),
}

impl Template {
    /// Takes a text apart. A place is a name of `known` in braces, or `user_x_` and a name of letters, digits, `_` and `-`.
    ///
    /// Other braces are text, so that JSON needs no escapes; but a name in braces that begins as a known one does and is
    /// none is taken for a mistake.
    ///
    /// # Errors
    /// Names the mistaken place.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, Failure> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, from_open) = rest.split_at(open);
            template.push_text(before);
            let inside = from_open.get(1..).unwrap_or_default();
            let name = inside.split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            match name {
                Some(name) if known.contains(&name) || is_text_of_user(name) => {
                    template.pieces.push(Piece::Place(name.to_owned()));
                    rest = inside.get(name.len() + 1..).unwrap_or_default();
                }
                Some(name) if like_ours(name, known) => {
                    let known = known.join("}, {");
                    return Err(Failure::error(format!(
                        "{{{name}}} is no placeholder; there are {{{known}}} and {{user_x_NAME}}"
                    )));
                }
                _ => {
                    template.push_text("{");
                    rest = inside;
                }
            }
        }
        template.push_text(rest);
        Ok(template)
    }

    /// The pieces in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The text of a template without places; `None` where there is a place.
    #[must_use]
    pub fn fixed(&self) -> Option<String> {
        self.pieces.iter().map(|piece| if let Piece::Text(text) = piece { Some(text.as_str()) } else { None }).collect()
    }

    /// Whether the value of that name has a place in it.
    #[must_use]
    pub fn mentions(&self, name: &str) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Place(known) if known == name))
    }

    /// Before and after the first character of the operator's text that is one of `separators`, and which it was.
    #[must_use]
    pub fn split_once(&self, separators: &[char]) -> Option<(Self, char, Self)> {
        self.split(separators, false)
    }

    /// Before and after the last such character.
    #[must_use]
    pub fn rsplit_once(&self, separators: &[char]) -> Option<(Self, char, Self)> {
        self.split(separators, true)
    }

    /// The rest of a template that begins with this text.
    #[must_use]
    pub fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        let Some(Piece::Text(text)) = self.pieces.first() else { return None };
        let mut rest = Self::default();
        rest.push_text(text.strip_prefix(prefix)?);
        rest.pieces.extend(self.pieces.iter().skip(1).cloned());
        Some(rest)
    }

    /// Puts another template behind this one.
    pub fn append(&mut self, other: &Self) {
        for piece in &other.pieces {
            match piece {
                Piece::Text(text) => self.push_text(text),
                place @ Piece::Place(_) => self.pieces.push(place.clone()),
            }
        }
    }

    /// The text with every value in its place: `text` and `value` say how each turns out. In one pass: what they put in is
    /// not looked at again.
    pub fn fill(&self, text: impl Fn(&str) -> String, value: impl Fn(&str) -> String) -> String {
        let shown = |piece: &Piece| match piece {
            Piece::Text(piece) => text(piece),
            Piece::Place(name) => value(name),
        };
        self.pieces.iter().map(shown).collect()
    }

    fn split(&self, separators: &[char], last: bool) -> Option<(Self, char, Self)> {
        let mut order: Vec<usize> = (0..self.pieces.len()).collect();
        if last {
            order.reverse();
        }
        let (at, before, separator, after) = order.into_iter().find_map(|at| self.split_piece(at, separators, last))?;
        let mut left = Self { pieces: self.pieces.get(..at).unwrap_or_default().to_vec() };
        left.push_text(before);
        let mut right = Self::default();
        right.push_text(after);
        right.pieces.extend(self.pieces.iter().skip(at + 1).cloned());
        Some((left, separator, right))
    }

    fn split_piece(&self, at: usize, separators: &[char], last: bool) -> Option<(usize, &str, char, &str)> {
        let Some(Piece::Text(text)) = self.pieces.get(at) else { return None };
        let place = if last { text.rfind(separators) } else { text.find(separators) }?;
        let (before, from) = text.split_at(place);
        let separator = from.chars().next()?;
        Some((at, before, separator, from.get(separator.len_utf8()..).unwrap_or_default()))
    }

    fn push_text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn is_text_of_user(name: &str) -> bool {
    name.strip_prefix("user_x_").is_some_and(|name| !name.is_empty())
}

/// `{otp_tokn}` where `{otp_token}` is known: the part up to the first `_` is the same, in whatever case.
fn like_ours(name: &str, known: &[&str]) -> bool {
    let family = |name: &str| name.split_once('_').map(|(family, _)| family.to_ascii_lowercase());
    let own = family(name);
    own.is_some() && (own.as_deref() == Some("user") || known.iter().any(|known| family(known) == own))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["otp_to", "otp_token"];

    fn parse(text: &str) -> Template {
        Template::parse(text, &KNOWN).unwrap()
    }

    fn filled(template: &Template) -> String {
        template.fill(str::to_owned, |name| format!("<{name}>"))
    }

    #[test]
    fn known_names_in_braces_are_places_and_other_braces_are_text() {
        let template = parse(r#"{"to":"{otp_to}","x":{y},"z":"{user_x_nick-1}{otp_token}{"#);

        assert_eq!(filled(&template), r#"{"to":"<otp_to>","x":{y},"z":"<user_x_nick-1><otp_token>{"#);
    }

    #[test]
    fn a_misspelt_place_is_an_error_that_names_it() {
        for wrong in ["{otp_tokn}", "{OTP_TOKEN}", "{user_x_}", "{user_email}"] {
            assert!(Template::parse(wrong, &KNOWN).unwrap_err().why().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn values_are_not_looked_at_again() {
        let template = parse("{otp_to}{otp_token}");

        let twice =
            template.fill(str::to_owned, |name| if name == "otp_to" { "{otp_token}".into() } else { "9".into() });

        assert_eq!(twice, "{otp_token}9");
    }

    #[test]
    fn a_template_is_split_at_its_own_characters_only() {
        let template = parse("a{otp_to}b@c@{otp_token}/d");

        let (before, separator, after) = template.rsplit_once(&['@']).unwrap();
        assert_eq!(
            (filled(&before).as_str(), separator, filled(&after).as_str()),
            ("a<otp_to>b@c", '@', "<otp_token>/d")
        );
        let (before, separator, after) = template.split_once(&['/', '@']).unwrap();
        assert_eq!(
            (filled(&before).as_str(), separator, filled(&after).as_str()),
            ("a<otp_to>b", '@', "c@<otp_token>/d")
        );
        assert!(template.split_once(&['<']).is_none());
        assert_eq!(template.fixed(), None);
        assert_eq!(before.strip_prefix("a").unwrap().fixed(), None);
        assert_eq!(parse("plain").fixed().as_deref(), Some("plain"));
    }
}
