//! How a key is named on the command line and in the REST interface: `otp_validated_logins`, `server_list[0].port`,
//! `email_templates[Two Factor Auth].emailBody`, `plugins[sms:backup].enabled`.

use crate::keys;
use std::{fmt, str::FromStr};

/// The path of a key, of an item, or of a whole vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath {
    /// The element below the root.
    pub(crate) top: String,
    /// Which item, where `top` is a vector.
    pub(crate) item: Option<Selector>,
    /// The key inside the item.
    pub(crate) leaf: Option<String>,
}

/// Which item of a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// By place, from 0.
    Index(usize),
    /// By `serverType`, template name, or `pluginName` with `:subItem`.
    Name(String),
}

/// A text that is no path of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no path of a key: {problem}")]
pub struct KeyPathError {
    /// The text.
    pub path: String,
    /// What is wrong, and what to write.
    pub problem: String,
}

impl FromStr for KeyPath {
    type Err = KeyPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = |problem: &str| KeyPathError { path: crate::error::shorten(text), problem: problem.to_owned() };
        let text_is_fit = !text.is_empty() && text.len() <= 1_024 && !text.chars().any(char::is_control);
        if !text_is_fit {
            return Err(fault("write a key such as otp_validated_logins or server_list[0].port"));
        }
        let Some((top, rest)) = text.split_once('[') else {
            let in_item = text.split_once('.').filter(|(top, _)| keys::vector(top).is_some());
            return match in_item {
                Some((top, leaf)) => Err(fault(&format!("say which item, for example {top}[0].{leaf}"))),
                None => Ok(Self { top: text.to_owned(), item: None, leaf: None }),
            };
        };
        let (selector, tail) = rest.rsplit_once(']').ok_or_else(|| fault("a closing ] is missing"))?;
        let leaf = match tail.strip_prefix('.') {
            Some(leaf) if !leaf.is_empty() => Some(leaf.to_owned()),
            None if tail.is_empty() => None,
            _ => return Err(fault("after ] comes a dot and a key, or nothing")),
        };
        if selector.is_empty() {
            return Err(fault("between [ and ] stands the number of an item, from 0, or its name"));
        }
        let item = match selector.parse() {
            Ok(index) => Selector::Index(index),
            Err(_) => Selector::Name(selector.to_owned()),
        };
        Ok(Self { top: top.to_owned(), item: Some(item), leaf })
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.top)?;
        match &self.item {
            Some(Selector::Index(index)) => write!(f, "[{index}]")?,
            Some(Selector::Name(name)) => write!(f, "[{name}]")?,
            None => {}
        }
        self.leaf.iter().try_for_each(|leaf| write!(f, ".{leaf}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_the_contract_are_read_and_written_alike() {
        for text in [
            "otp_validated_logins",
            "server_list[0].port",
            "email_templates[Two Factor Auth].emailBody",
            "plugins[sms:backup].enabled",
            "plugins[0]",
            "email_templates[a[b].c].name",
        ] {
            assert_eq!(text.parse::<KeyPath>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_broken_path_says_what_to_write() {
        for text in
            ["", "server_list[0", "server_list[]", "server_list[0]port", "server_list[0].", "server_list.port", "a\nb"]
        {
            let error = text.parse::<KeyPath>().unwrap_err();
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
