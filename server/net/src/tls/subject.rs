//! The subject of a certificate as one line of text, in the form of RFC 4514.
//!
//! Accounts name the subject that may open them, and the comparison is of whole texts; so two subjects that differ must never
//! have one text. Hence the escapes, and hence `#` and the bytes wherever a value is of a kind that has no one spelling.
//! The order is that of the standard, the most particular part first: `CN=alice,OU=Sales,O=Example`. `openssl x509
//! -subject -nameopt RFC2253,-esc_msb` prints the same.
//!
//! Never: decides whether a certificate is to be trusted. It reads what the verifier has read already.

use std::fmt::Write as _;

/// The subject; `None` where it is empty, longer than [`LONGEST`], or the bytes are no certificate.
pub(super) fn subject_of(certificate: &[u8]) -> Option<String> {
    let (outer, _) = Der(certificate).take(SEQUENCE)?;
    let (tbs, _) = outer.take(SEQUENCE)?;
    // RFC 5280 section 4.1: version (which may be absent), serial number, signature, issuer, validity, subject.
    let rest = tbs.take(VERSION).map_or(tbs, |(_, rest)| rest);
    let (_, rest) = rest.take(INTEGER)?;
    let (_, rest) = rest.take(SEQUENCE)?;
    let (_, rest) = rest.take(SEQUENCE)?;
    let (_, rest) = rest.take(SEQUENCE)?;
    let (name, _) = rest.take(SEQUENCE)?;
    let text = name_of(name)?;
    (!text.is_empty() && text.len() <= LONGEST).then_some(text)
}

/// Whether it is of version 1 or 2: those have no extensions, and TLS here takes only what says by them what it is for.
pub(super) fn is_of_an_old_version(certificate: &[u8]) -> bool {
    let Some((tbs, _)) = Der(certificate).take(SEQUENCE).and_then(|(outer, _)| outer.take(SEQUENCE)) else {
        return false;
    };
    // RFC 5280 section 4.1.2.1: version 3 is written as 2, and version 1 is not written.
    let version = tbs.take(VERSION).and_then(|(version, _)| version.take(INTEGER));
    version.is_none_or(|(number, _)| number.0 != [2])
}

/// The longest subject that counts, in bytes: as long as a property of a user may be.
const LONGEST: usize = 1024;
/// More parts than any certificate has.
const MOST_PARTS: usize = 64;

fn name_of(name: Der<'_>) -> Option<String> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.0.is_empty() {
        let (set, behind) = rest.take(SET)?;
        parts.push(part(set)?);
        rest = behind;
        if parts.len() > MOST_PARTS {
            return None;
        }
    }
    parts.reverse();
    Some(parts.join(","))
}

/// One part, which may have several values.
fn part(set: Der<'_>) -> Option<String> {
    let mut text = String::new();
    let mut rest = set;
    while !rest.0.is_empty() {
        let (pair, behind) = rest.take(SEQUENCE)?;
        let (kind, value) = pair.take(OID)?;
        if !text.is_empty() {
            text.push('+');
        }
        attribute(&mut text, kind.0, value.0)?;
        rest = behind;
    }
    (!text.is_empty()).then_some(text)
}

fn attribute(text: &mut String, kind: &[u8], value: &[u8]) -> Option<()> {
    let (tag, content, behind) = Der(value).any()?;
    if !behind.is_empty() {
        return None;
    }
    let known = KINDS.iter().find(|(bytes, _)| *bytes == kind);
    match known.and_then(|(_, name)| Some((name, decoded(tag, content)?))) {
        Some((name, value)) => {
            text.push_str(name);
            text.push('=');
            escape(text, &value);
        }
        // RFC 4514 section 2.4: the whole encoding.
        None => {
            match known {
                Some((_, name)) => text.push_str(name),
                None => dotted(text, kind)?,
            }
            text.push_str("=#");
            for byte in value {
                let _ = write!(text, "{byte:02X}");
            }
        }
    }
    Some(())
}

/// The text of a value, where its kind has only one reading.
fn decoded(tag: u8, content: &[u8]) -> Option<String> {
    match tag {
        UTF8_STRING => String::from_utf8(content.to_vec()).ok(),
        PRINTABLE_STRING | IA5_STRING | NUMERIC_STRING | VISIBLE_STRING => {
            content.is_ascii().then(|| String::from_utf8(content.to_vec()).ok()).flatten()
        }
        BMP_STRING => {
            let (units, odd) = content.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            odd.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
        }
        _ => None,
    }
}

/// RFC 4514 section 2.4, and control characters as their bytes.
fn escape(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (place, c) in value.chars().enumerate() {
        let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
            || (c == ' ' && (place == 0 || place == last))
            || (c == '#' && place == 0);
        if special {
            text.push('\\');
            text.push(c);
        } else if c.is_control() {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(text, "\\{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
}

/// An object identifier in numbers (X.690 section 8.19).
fn dotted(text: &mut String, bytes: &[u8]) -> Option<()> {
    let mut number: u64 = 0;
    let mut first = true;
    for byte in bytes {
        number = number.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 != 0 {
            continue;
        }
        if first {
            let root = (number / 40).min(2);
            let _ = write!(text, "{root}.{}", number - root * 40);
            first = false;
        } else {
            let _ = write!(text, ".{number}");
        }
        number = 0;
    }
    let whole = bytes.last().is_some_and(|byte| byte & 0x80 == 0);
    whole.then_some(())
}

/// What is left of an encoding.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next value, which must be of this kind, and what is behind it.
    fn take(self, wanted: u8) -> Option<(Self, Self)> {
        let (tag, content, behind) = self.any()?;
        (tag == wanted).then_some((Self(content), Self(behind)))
    }

    /// The next value: its kind, contents, and what is behind it.
    fn any(self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => {
                let (high, rest) = rest.split_first()?;
                (usize::from(*high), rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            // Nothing in a certificate that is taken is longer.
            _ => return None,
        };
        let (content, behind) = rest.split_at_checked(length)?;
        Some((tag, content, behind))
    }
}

const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const UTF8_STRING: u8 = 0x0c;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const VISIBLE_STRING: u8 = 0x1a;
const BMP_STRING: u8 = 0x1e;

/// The kinds of values that have a name: those of RFC 4514 section 3 and those that certificates of people have besides.
const KINDS: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "street"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 42], "GN"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    fn of(parts: &[(DnType, DnValue)]) -> Option<String> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            parameters.distinguished_name.push(kind.clone(), value.clone());
        }
        let key = KeyPair::generate().unwrap();
        subject_of(parameters.self_signed(&key).unwrap().der())
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.into())
    }

    #[test]
    fn a_subject_is_told_with_its_most_particular_part_first() {
        let subject = of(&[
            (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
            (DnType::OrganizationName, utf8("Example")),
            (DnType::CommonName, utf8("Zoë")),
        ]);
        assert_eq!(subject.as_deref(), Some("CN=Zoë,O=Example,C=DE"));
        let email = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        let address = DnValue::Ia5String("a@example.org".try_into().unwrap());
        assert_eq!(of(&[(email, address)]).as_deref(), Some("emailAddress=a@example.org"));
    }

    #[test]
    fn one_value_cannot_pass_for_two() {
        assert_eq!(of(&[(DnType::CommonName, utf8("alice,O=Example"))]).as_deref(), Some("CN=alice\\,O=Example"));
        assert_eq!(of(&[(DnType::CommonName, utf8("a+OU=b"))]).as_deref(), Some("CN=a\\+OU=b"));
        assert_eq!(
            of(&[(DnType::CommonName, utf8(" #\"\\;<>\n "))]).as_deref(),
            Some("CN=\\ #\\\"\\\\\\;\\<\\>\\0A\\ ")
        );
        assert_eq!(of(&[(DnType::CommonName, utf8("#41"))]).as_deref(), Some("CN=\\#41"));
        assert_eq!(of(&[(DnType::CommonName, utf8("a\0b"))]).as_deref(), Some("CN=a\\00b"));
    }

    #[test]
    fn what_has_no_name_or_no_one_reading_is_told_by_its_bytes() {
        let unknown = DnType::CustomDnType(vec![2, 5, 4, 65]);
        assert_eq!(of(&[(unknown, utf8("x"))]).as_deref(), Some("2.5.4.65=#0C0178"));
        let teletex = DnValue::TeletexString("a".try_into().unwrap());
        assert_eq!(of(&[(DnType::CommonName, teletex)]).as_deref(), Some("CN=#140161"));
    }

    #[test]
    fn a_subject_that_says_nothing_or_too_much_is_none() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(DnType::CommonName, utf8(&"a".repeat(LONGEST)))]), None);
        assert_eq!(subject_of(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_subject_or_none(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), spoil: u8, at: prop::sample::Index) {
            let _ = subject_of(&bytes);
            // Bytes that begin like a certificate go further in.
            let key = KeyPair::generate().unwrap();
            let mut whole = CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
            let place = at.index(whole.len());
            whole[place] = spoil;
            let _ = subject_of(&whole);
            bytes.splice(0..0, [0x30, 0x81, 0xc8, 0x30, 0x81, 0xc0]);
            let _ = subject_of(&bytes);
        }

        #[test]
        fn different_values_have_different_texts(a in "[a-c,+=# \\\\]{1,6}", b in "[a-c,+=# \\\\]{1,6}") {
            let text = |value: &str| { let mut text = String::new(); escape(&mut text, value); text };
            prop_assert_eq!(a == b, text(&a) == text(&b));
        }
    }
}
