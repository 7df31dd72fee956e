//! Replies whose words an operator chooses: the greeting, the welcome, the goodbye, and the denial.
//!
//! Each is one reply of one line or several, whatever stands in it: variables are put in once and never looked at again, and
//! what could end a line is not let through ([`Reply::lines`]). The denial is one text for all reasons, and knows no more than
//! a stranger does.

use crate::reply::{Reply, say};
use lockgate_model::Protocol;
use std::net::IpAddr;

/// The texts of one listener; `None`: the door's own. `{client_ip}` and `{protocol}` stand for what they say, `{user_name}` in
/// `logged_in` and `goodbye` for the name. Lines end with a line feed; only the first 40 of each are said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FtpTexts {
    /// The greeting (220).
    pub greeting: Option<String>,
    /// To a user who has logged in (230, or 232).
    pub logged_in: Option<String>,
    /// At the end (221).
    pub goodbye: Option<String>,
    /// To whoever is not let in (530), whatever the reason.
    pub denied: Option<String>,
}

/// Who is spoken to.
#[derive(Clone, Copy)]
pub(crate) struct Whom<'a> {
    pub(crate) peer: IpAddr,
    pub(crate) protocol: Protocol,
    /// Nobody before a login.
    pub(crate) user: &'a str,
}

impl FtpTexts {
    /// The greeting; `hint`: with a word on how to give a code.
    pub(crate) fn greeting(&self, whom: Whom<'_>, hint: bool) -> Reply {
        match &self.greeting {
            None if hint => say::GREETING_WITH_CODE,
            None => say::GREETING,
            Some(text) => {
                let mut lines = lines(text, whom);
                lines.extend(hint.then(|| HINT.to_owned()));
                Reply::lines(220, lines)
            }
        }
    }

    /// The welcome of a user, under the code for how they came in.
    pub(crate) fn logged_in(&self, code: u16, whom: Whom<'_>) -> Reply {
        match &self.logged_in {
            None => Reply::new(code, "Logged in"),
            Some(text) => Reply::lines(code, lines(text, whom)),
        }
    }

    pub(crate) fn goodbye(&self, whom: Whom<'_>) -> Reply {
        self.goodbye.as_deref().map_or(say::GOODBYE, |text| Reply::lines(221, lines(text, whom)))
    }

    pub(crate) fn denied(&self, whom: Whom<'_>) -> Reply {
        self.denied.as_deref().map_or(say::DENIED, |text| Reply::lines(530, lines(text, Whom { user: "", ..whom })))
    }
}

fn lines(text: &str, whom: Whom<'_>) -> Vec<String> {
    text.lines().take(MOST_LINES).map(|line| filled(line, whom)).collect()
}

/// The line with its variables put in: from the left to the right, so that what is put in is never taken for one.
fn filled(line: &str, whom: Whom<'_>) -> String {
    let mut text = String::with_capacity(line.len() + 32);
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(before);
        let variable = behind.split_once('}').and_then(|(name, after)| {
            let value = match name {
                "client_ip" => whom.peer.to_canonical().to_string(),
                "protocol" => whom.protocol.to_string(),
                "user_name" => whom.user.to_owned(),
                _ => return None,
            };
            Some((value, after))
        });
        match variable {
            Some((value, after)) => {
                text.push_str(&value);
                rest = after;
            }
            None => {
                text.push('{');
                rest = behind;
            }
        }
    }
    text.push_str(rest);
    text
}

/// Lines of one text.
const MOST_LINES: usize = 40;
/// As in the greeting of our own.
const HINT: &str = "With a second factor, give PASSWORD:CODE as the password";

#[cfg(test)]
mod tests {
    use super::*;

    const WHOM: Whom<'static> = Whom {
        peer: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        protocol: Protocol::Ftps,
        user: "{client_ip}\r\n230 x",
    };

    fn wire(reply: &Reply) -> String {
        String::from_utf8(reply.encode()).unwrap()
    }

    #[test]
    fn a_text_of_several_lines_is_one_reply() {
        let texts = FtpTexts {
            greeting: Some("Hello {client_ip}\n220 not the end\n\nby {protocol}".into()),
            ..FtpTexts::default()
        };
        let said = "220-Hello 127.0.0.1\r\n220-220 not the end\r\n220-\r\n220 by ftps\r\n";
        assert_eq!(wire(&texts.greeting(WHOM, false)), said);
        assert!(wire(&texts.greeting(WHOM, true)).ends_with(&format!("220-by ftps\r\n220 {HINT}\r\n")));
        assert_eq!(wire(&FtpTexts::default().goodbye(WHOM)), "221 Goodbye\r\n");
    }

    #[test]
    fn a_name_in_a_text_is_neither_a_variable_nor_a_line() {
        let texts = FtpTexts { logged_in: Some("{user_name} {x} {{user_name}".into()), ..FtpTexts::default() };
        let name = "{client_ip}??230 x";
        assert_eq!(wire(&texts.logged_in(230, WHOM)), format!("230 {name} {{x}} {{{name}\r\n"));
    }

    #[test]
    fn a_denial_knows_no_name_and_an_endless_text_has_an_end() {
        let texts = FtpTexts { denied: Some("No, {user_name}.\n".repeat(100)), ..FtpTexts::default() };
        let said = wire(&texts.denied(WHOM));
        assert_eq!(said.lines().count(), MOST_LINES);
        assert!(said.lines().all(|line| line.ends_with("No, .")));
        let empty = FtpTexts { denied: Some(String::new()), ..FtpTexts::default() };
        assert_eq!(wire(&empty.denied(WHOM)), "530 \r\n");
    }
}
