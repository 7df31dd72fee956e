//! The letter: the operator's template with the user's values in it.
//!
//! A template is taken apart before a value is known: a list of recipients is split at the operator's own commas, a name is
//! told from an address by the operator's own brackets. So a value can be the text of a name or one whole address, and
//! never a second recipient or a header. What a header may not hold (line ends, other control characters) is a blank by
//! then; the library encodes the rest.
//!
//! Never: an address that is not plainly one.

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::{Address, Message};
use lockgate_plugin::template::Template;
use lockgate_plugin::{Failure, Settings};

/// What stands in braces in a template.
const PLACES: [&str; 3] = ["auth_token", "user_name", "user_email"];

/// The operator's template, taken apart.
pub(crate) struct Letter {
    from: Correspondent,
    reply_to: Vec<Correspondent>,
    cc: Vec<Correspondent>,
    bcc: Vec<Correspondent>,
    subject: Template,
    body: Template,
    html: bool,
}

/// `Name <address>` or `address`.
struct Correspondent {
    name: Option<Template>,
    address: Template,
}

impl Letter {
    /// Reads `template.*`, `smtp_from`, `smtp_user` and `smtp_html`.
    ///
    /// # Errors
    /// Names the key and what is wrong with it.
    pub(crate) fn parse(settings: &Settings<'_>) -> Result<Self, Failure> {
        let sender = ["template.emailFrom", "smtp_from", "smtp_user"].into_iter();
        let sender = sender.filter_map(|key| Some((key, settings.text(key)?))).find(|(_, text)| text.contains('@'));
        let (key, sender) =
            sender.ok_or_else(|| Failure::error("smtp_from is missing; nobody could answer or complain"))?;
        let from = Correspondent::parse(&parse(key, sender)?);
        // One that has no values in it can be judged now.
        if from.address.fixed().is_some_and(|address| plain_address(&address).is_none()) {
            return Err(Failure::error(format!("{key} is no address")));
        }
        let list = |key| settings.text(key).map_or(Ok(Vec::new()), |text| Ok(correspondents(parse(key, text)?)));
        let body = settings.text("template.emailBody");
        let subject = settings.text("template.emailSubject").unwrap_or(SUBJECT);
        let letter = Self {
            from,
            reply_to: list("template.emailReplyTo")?,
            cc: list("template.emailCC")?,
            bcc: list("template.emailBCC")?,
            subject: parse("template.emailSubject", subject)?,
            html: settings.flag("smtp_html", false)? && body.is_some(),
            body: parse("template.emailBody", body.unwrap_or(BODY))?,
        };
        if !letter.body.mentions("auth_token") && !letter.subject.mentions("auth_token") {
            return Err(Failure::error("template.emailBody has no place for {auth_token}"));
        }
        Ok(letter)
    }

    /// The letter to one user.
    ///
    /// # Errors
    /// Where an address that comes of a value is not plainly one.
    pub(crate) fn write(&self, to: &str, value: impl Fn(&str) -> String) -> Result<Message, Failure> {
        let to = plain_address(to).ok_or_else(|| Failure::unavailable("the user's mail address is not plainly one"))?;
        let from = self.from.fill(&value)?.ok_or_else(|| Failure::unavailable("the sender's address is empty"))?;
        let mut letter = Message::builder()
            .from(from)
            .to(Mailbox::new(None, to))
            .message_id(None)
            .subject(cut(&one_line(&self.subject.fill(str::to_owned, |name| value(name)))))
            // RFC 3834: no out-of-office answers to a code.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for one in filled(&self.reply_to, &value)? {
            letter = letter.reply_to(one);
        }
        for one in filled(&self.cc, &value)? {
            letter = letter.cc(one);
        }
        for one in filled(&self.bcc, &value)? {
            letter = letter.bcc(one);
        }
        let part = if self.html {
            let text = self.body.fill(str::to_owned, |name| in_html(&lines(&value(name))));
            SinglePart::builder().header(ContentType::TEXT_HTML).body(line_feeds(&text))
        } else {
            let text = self.body.fill(str::to_owned, |name| lines(&value(name)));
            SinglePart::builder().header(ContentType::TEXT_PLAIN).body(line_feeds(&text))
        };
        letter.singlepart(part).map_err(|_| Failure::error("the template makes no letter"))
    }
}

impl Correspondent {
    fn parse(text: &Template) -> Self {
        match text.split_once(&['<']) {
            Some((name, _, rest)) => {
                let address = rest.rsplit_once(&['>']).map_or(rest.clone(), |(address, _, _)| address);
                Self { name: Some(name), address }
            }
            None => Self { name: None, address: text.clone() },
        }
    }

    /// `None` where the address is empty: a user who lacks the text that it comes from.
    fn fill(&self, value: &impl Fn(&str) -> String) -> Result<Option<Mailbox>, Failure> {
        let filled = |template: &Template| template.fill(str::to_owned, value);
        let address = filled(&self.address);
        if address.trim().is_empty() {
            return Ok(None);
        }
        let address = plain_address(&address)
            .ok_or_else(|| Failure::unavailable("an address of the template is not plainly one"))?;
        let name = self.name.as_ref().map(|name| one_line(&filled(name)));
        let name = name.map(|name| cut(name.trim().trim_matches('"').trim())).filter(|name| !name.is_empty());
        Ok(Some(Mailbox::new(name, address)))
    }
}

fn parse(key: &str, text: &str) -> Result<Template, Failure> {
    Template::parse(text, &PLACES).map_err(|error| Failure::error(format!("{key}: {}", error.why())))
}

fn correspondents(mut list: Template) -> Vec<Correspondent> {
    let mut all = Vec::new();
    while let Some((first, _, rest)) = list.split_once(&[',', ';']) {
        all.push(Correspondent::parse(&first));
        list = rest;
    }
    all.push(Correspondent::parse(&list));
    all
}

fn filled(all: &[Correspondent], value: &impl Fn(&str) -> String) -> Result<Vec<Mailbox>, Failure> {
    all.iter().filter_map(|one| one.fill(value).transpose()).collect()
}

/// An address without quotes, comments, brackets or blanks: no server reads it as something else.
fn plain_address(text: &str) -> Option<Address> {
    let text = text.trim();
    let odd = |letter: char| letter.is_control() || letter.is_whitespace() || r#""\<>()[],;:%!"#.contains(letter);
    if text.len() > 254 || text.contains(odd) || text.matches('@').count() != 1 {
        return None;
    }
    text.parse().ok()
}

/// Fit for a header.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if unseen(letter) { ' ' } else { letter }).collect()
}

/// Fit for a body: line ends and tabs stay.
fn lines(text: &str) -> String {
    let keep = |letter: &char| matches!(letter, '\n' | '\r' | '\t') || !unseen(*letter);
    text.chars().filter(keep).collect()
}

/// The library makes CR LF of a line feed and leaves a carriage return alone, which some servers take for a line end.
fn line_feeds(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn unseen(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn in_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

const SUBJECT: &str = "Your verification code";
const BODY: &str = "Your verification code is {auth_token}\n\nIt was asked for to log in as {user_name}. If that was not you, somebody knows \
your password: change it, and do not give the code to anybody.\n";
/// Characters of a subject or a name.
const LONGEST: usize = 200;
