//! Addresses, numbers and free texts of a user, judged when they are saved.
//!
//! Codes are sent to what stands here, and free texts stand in the requests that send them. A value that could add a
//! recipient, a header line or a second request is refused on its way in, so that no channel has to be careful enough later.

use std::borrow::Cow;

/// Why a value is refused: what is wrong, and what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ContactError(Cow<'static, str>);

/// The longest value of a free text, in bytes.
pub const MAX_TEXT: usize = 1024;

/// One mail address, without blanks around it.
///
/// What RFC 5321 calls a dot-string at a domain name: no quoted names, no address literals, no `%` or `!` routing, no braces.
/// ASCII only; an international domain is given in its `xn--` form.
///
/// # Errors
/// [`ContactError`] where the text is anything else.
pub fn email(text: &str) -> Result<String, ContactError> {
    let text = text.trim_matches(' ');
    let refuse = |why: &'static str| Err(ContactError(why.into()));
    if text.is_empty() || text.len() > 254 {
        return refuse("a mail address has 1 to 254 characters");
    }
    if text.contains([',', ';', '\r', '\n', ' ', '\t', '<', '>']) {
        return refuse("one plain mail address is wanted, like name@example.org");
    }
    if !text.is_ascii() {
        return refuse("a mail address has ASCII characters only; give an international domain in its xn-- form");
    }
    let Some((local, domain)) = text.split_once('@') else {
        return refuse("a mail address has an @");
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "#$&'*+-/=?^_~".contains(c);
    if local.len() > 64 || !local.split('.').all(|part| !part.is_empty() && part.chars().all(fits)) {
        return refuse("the part of the mail address before the @ has characters or dots where none may be");
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if !domain.split('.').all(label) {
        return refuse("the part of the mail address after the @ is no domain name");
    }
    Ok(text.to_owned())
}

/// One phone number: `+` (where given) and 5 to 15 digits. Blanks, dashes, dots and brackets are dropped.
///
/// # Errors
/// [`ContactError`] where anything else is in it, and for `(0)`, which is dialled in some countries only.
pub fn phone(text: &str) -> Result<String, ContactError> {
    let refuse = || Err(ContactError("a phone number is + and 5 to 15 digits, like +15550100200".into()));
    if text.contains("(0)") || text.len() > 64 {
        return refuse();
    }
    let number: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    if !(5..=15).contains(&digits.len()) || !digits.chars().all(|c| c.is_ascii_digit()) {
        return refuse();
    }
    Ok(number)
}

/// The subject of a certificate in the form in which it is compared, that of RFC 4514: no blanks around `,` and `=`, which the
/// usual print of a certificate has and which no subject would ever equal.
///
/// # Errors
/// [`ContactError`] where it cannot be one.
pub fn subject(text: &str) -> Result<(), ContactError> {
    let mut escaped = false;
    let mut begins = vec![0];
    for (place, c) in text.char_indices() {
        if !escaped && matches!(c, ',' | '+') {
            begins.push(place + 1);
        }
        escaped = c == '\\' && !escaped;
    }
    let kind = |begin: usize| text.get(begin..).unwrap_or_default().split_once('=').map(|(kind, _)| kind);
    let named = |kind: &str| !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    let parts = begins.iter().all(|begin| kind(*begin).is_some_and(named));
    if parts && text.len() <= MAX_TEXT && !escaped && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(ContactError(
            "a subject is written like CN=alice,O=Example: openssl x509 -noout -subject -nameopt RFC2253,-esc_msb prints it".into(),
        ))
    }
}

/// The NAME of an `x_NAME`, given without `x_`: 1 to 64 letters, digits, `_`, `-` or `.`, ASCII.
///
/// # Errors
/// [`ContactError`] where it is anything else.
pub fn text_name(name: &str) -> Result<(), ContactError> {
    let fits = (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if fits {
        Ok(())
    } else {
        Err(ContactError(
            "the name of a text, after x_, has 1 to 64 ASCII letters, digits, underscores, dashes or dots".into(),
        ))
    }
}

/// The value of an `x_NAME`: at most [`MAX_TEXT`] bytes, no control characters.
///
/// # Errors
/// [`ContactError`] where it is longer or has line ends or other control characters.
pub fn text_value(value: &str) -> Result<(), ContactError> {
    if value.len() > MAX_TEXT {
        return Err(ContactError(format!("a text has at most {MAX_TEXT} bytes").into()));
    }
    if value.chars().any(char::is_control) {
        return Err(ContactError("a text has no line ends or other control characters".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_mail_address_is_kept_without_the_blanks_around_it() {
        for address in ["a@b", "alice.b+files@mail.example.org", "o'neil_1@xn--bcher-kva.example"] {
            assert_eq!(email(&format!(" {address} ")).unwrap(), address);
        }
    }

    #[test]
    fn what_could_reach_a_second_recipient_or_header_is_no_mail_address() {
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "a@b,c@d",
            "a@b;c@d",
            "a@b\r\nBcc: c@d",
            "a@b\n",
            "a\0@b",
            "\"a b\"@c",
            "<a@b>",
            "Alice <a@b>",
            "a@[127.0.0.1]",
            "a%b@c",
            "a!b@c",
            "{auth_token}@c",
            "a..b@c",
            ".a@c",
            "a@b..c",
            "a@-b",
            "a@b-",
            "a@b_c",
            "a\u{e9}@b",
            "a@b\u{3002}c",
        ] {
            assert!(email(text).is_err(), "{text:?}");
        }
        assert!(email(&format!("{}@b", "a".repeat(65))).is_err() && email(&format!("a@{}", "b.".repeat(200))).is_err());
    }

    #[test]
    fn a_phone_number_is_kept_as_plus_and_digits() {
        for (typed, kept) in
            [("+1 555-010-0200", "+15550100200"), ("+49 (30) 1234.567", "+49301234567"), ("5550100", "5550100")]
        {
            assert_eq!(phone(typed).unwrap(), kept);
        }
    }

    #[test]
    fn what_could_change_the_request_to_the_carrier_is_no_phone_number() {
        for text in [
            "",
            "+",
            "1234",
            "+1234567890123456",
            "+1555&to=+1666",
            "+1555#",
            "+1555@x",
            "+1555\r\n",
            "1+555010",
            "++15550100",
            "+49 (0)30 1234567",
            "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}",
        ] {
            assert!(phone(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_subject_is_written_as_it_is_compared() {
        for text in ["CN=alice", "CN=Zo\u{eb} A,OU=a\\,b,O=Example+UID=7", "2.5.4.65=#0C0178", "CN=a=b"] {
            assert!(subject(text).is_ok(), "{text:?}");
        }
        for text in ["", "alice", "CN = alice", "CN=alice, O=b", "CN=a,", "/CN=alice/O=b", "CN=a\n", "CN=a\\", "=a"] {
            assert!(subject(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_free_text_has_a_plain_name_and_one_line() {
        assert!(text_name("cost_centre-2.b").is_ok() && text_value("Zo\u{eb} {auth_token} & Co").is_ok());
        for name in ["", "a b", "a}b", "\u{e9}", &"a".repeat(65)] {
            assert!(text_name(name).is_err(), "{name:?}");
        }
        for value in ["a\r\nb", "a\u{1b}[31m", &"a".repeat(MAX_TEXT + 1)] {
            assert!(text_value(value).is_err(), "{value:?}");
        }
    }
}
