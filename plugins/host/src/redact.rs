//! Keeps secrets out of what a plugin says for the log.
//!
//! A plugin is told not to log a code or a password. This is for the one that does: what was handed to it as a secret is
//! blotted out of its log lines and error texts, as it stands and in the common encodings (percent, base64, hexadecimal).
//!
//! Never: a guarantee. A plugin that means to can spell a secret in a way that nobody finds.

use lockgate_plugin::exchange::Fields;
use zeroize::Zeroizing;

/// What to blot out. Wiped when dropped.
#[derive(Default, Clone)]
pub(crate) struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    /// The secrets among a call's fields.
    pub(crate) fn of_call(fields: &Fields) -> Self {
        let secret = |name: &str| matches!(name, "code" | "answer" | "password" | "user.secret" | "state");
        Self::among(fields, secret)
    }

    /// The secrets among a plugin's settings (fields `setting.KEY`).
    pub(crate) fn of_settings(fields: &Fields) -> Self {
        let mut secrets = Self::among(fields, |name| {
            let name = name.to_ascii_lowercase();
            ["pass", "secret", "token", "key", "credential", "_user", "extra"].iter().any(|word| name.contains(word))
        });
        // Credentials in front of a host, as in https://user:password@host/.
        for (_, value) in fields {
            let Some((_, rest)) = std::str::from_utf8(value).ok().and_then(|text| text.split_once("://")) else {
                continue;
            };
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            if let Some((credentials, _)) = authority.rsplit_once('@') {
                credentials.split(':').for_each(|part| secrets.add(part.as_bytes()));
            }
        }
        secrets
    }

    fn among(fields: &Fields, secret: impl Fn(&str) -> bool) -> Self {
        let mut secrets = Self::default();
        for (name, value) in fields {
            if secret(name) {
                secrets.add(value);
            }
        }
        secrets
    }

    fn add(&mut self, value: &[u8]) {
        // Shorter ones would blot out half of every line, and tell little.
        if !(SHORTEST..=LONGEST).contains(&value.len()) {
            return;
        }
        let mut spellings = vec![hex(value), base64(value), percent(value)];
        spellings.extend(std::str::from_utf8(value).map(str::to_owned));
        spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        spellings.dedup();
        self.0.extend(spellings.into_iter().map(Zeroizing::new));
    }

    /// `text` with the secrets blotted out, control characters escaped, and cut at 1,024 bytes.
    pub(crate) fn blot<'a>(&self, text: &str, also: impl Iterator<Item = &'a Self>) -> String {
        let mut text = text.to_owned();
        for secret in self.0.iter().chain(also.flat_map(|secrets| &secrets.0)) {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "***");
            }
        }
        let mut shown = String::with_capacity(text.len());
        for letter in text.chars() {
            if letter.is_control()
                || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            {
                shown.extend(letter.escape_default());
            } else {
                shown.push(letter);
            }
        }
        shown.truncate(shown.floor_char_boundary(LINE));
        shown
    }
}

fn hex(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn percent(value: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.iter().map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Without the padding, so that it is found in front of one too.
fn base64(value: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in value.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..=chunk.len() {
            let letter = LETTERS.get((bits >> (18 - 6 * at)) as usize & 63).copied().unwrap_or_default();
            out.push(char::from(letter));
        }
    }
    out
}

const SHORTEST: usize = 4;
const LONGEST: usize = 4096;
const LINE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let field = |(name, value): &(&str, &str)| ((*name).to_owned(), Zeroizing::new(value.as_bytes().to_vec()));
        pairs.iter().map(field).collect()
    }

    #[test]
    fn secrets_of_a_call_are_blotted_out_in_every_common_spelling() {
        let secrets = Secrets::of_call(&fields(&[("code", "12+456"), ("user.name", "alice")]));

        let shown = secrets.blot("12+456 12%2B456 MTIrNDU2 31322b343536 for alice", [].into_iter());

        assert_eq!(shown, "*** *** *** *** for alice");
    }

    #[test]
    fn secrets_of_the_settings_are_found_by_key_and_in_addresses() {
        let settings = fields(&[
            ("setting.smtp_pass", "open sesame"),
            ("setting.otp_url", "https://sid:tokentoken@host/x"),
            ("setting.smtp_server", "mail.example.com"),
        ]);

        let shown =
            Secrets::of_settings(&settings).blot("open sesame at tokentoken via mail.example.com", [].into_iter());

        assert_eq!(shown, "*** at *** via mail.example.com");
    }

    #[test]
    fn a_line_cannot_forge_another_line() {
        assert_eq!(Secrets::default().blot("a\nb\u{202e}c", [].into_iter()), "a\\nb\\u{202e}c");
        assert_eq!(Secrets::default().blot(&"x".repeat(9999), [].into_iter()).len(), LINE);
    }
}
