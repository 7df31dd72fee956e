//! Digests in headers: what a client wants told of a file (`Want-Repr-Digest` of RFC 9530, `Want-Digest` of RFC 3230), and what one
//! says of the body that it sends (`Repr-Digest`, `Content-Digest`, `Digest`, `Content-MD5`).
//!
//! A digest is told only to who asks, since it costs a reading of the whole file. A field that cannot be read is no field, and an
//! algorithm that is not known says nothing, as RFC 9530 has it; what is known must hold. Whole bodies only are held to what is said
//! of the file; a part of one is held to what is said of its content.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use lockgate_vfs::{Digest, FileReader, Readable, Sum, VfsError, summed};
use std::ops::ControlFlow;

const WANT_REPR_DIGEST: HeaderName = HeaderName::from_static("want-repr-digest");
const WANT_DIGEST: HeaderName = HeaderName::from_static("want-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// An algorithm, its names in the two registries, and whether RFC 9530 still has it told.
struct Known {
    digest: Digest,
    key: &'static str,
    old: &'static str,
    active: bool,
}

/// Where a client has no preference, the first is taken.
const KNOWN: [Known; 4] = [
    Known { digest: Digest::Sha256, key: "sha-256", old: "SHA-256", active: true },
    Known { digest: Digest::Sha512, key: "sha-512", old: "SHA-512", active: true },
    Known { digest: Digest::Sha1, key: "sha", old: "SHA", active: false },
    Known { digest: Digest::Md5, key: "md5", old: "MD5", active: false },
];

/// Base64 whose padding may be missing (RFC 8941 section 4.2.7).
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The digests that a request wants told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// By `Repr-Digest`.
    current: Option<&'static str>,
    /// By `Digest`.
    old: Option<&'static str>,
}

impl Wishes {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        Self { current: wanted(headers).map(|known| known.key), old: wanted_of_old(headers).map(|known| known.key) }
    }

    /// Whether anything is to be told.
    pub(crate) fn any(self) -> bool {
        self.current.is_some() || self.old.is_some()
    }

    /// What is told of the whole of an open file; nothing where it is being changed. One reading, whatever is wanted.
    ///
    /// # Errors
    /// [`VfsError::Backend`]; [`VfsError::Interrupted`] where `goes_on` says no, or the file became shorter.
    pub(crate) async fn told(
        self,
        file: &FileReader,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, VfsError> {
        let facts = file.metadata();
        let wanted: Vec<&Known> =
            KNOWN.iter().filter(|known| [self.current, self.old].contains(&Some(known.key))).collect();
        let sums = wanted.iter().map(|known| Sum::new(known.digest)).collect();
        let step = |_| if goes_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        let (sums, end) = summed(Readable::File(file), 0..facts.size, sums, step).await?;
        if end < facts.size {
            return Err(VfsError::Interrupted);
        }
        if file.metadata_now()?.etag != facts.etag {
            return Ok(Vec::new());
        }
        let mut told = Vec::new();
        for (known, sum) in wanted.into_iter().zip(sums) {
            let text = STANDARD.encode(sum.finish());
            if self.current == Some(known.key) {
                told.push((REPR_DIGEST, format!("{}=:{text}:", known.key)));
            }
            if self.old == Some(known.key) {
                told.push((DIGEST, format!("{}={text}", known.old)));
            }
        }
        Ok(told.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))).collect())
    }
}

/// The algorithm that `Want-Repr-Digest` likes best of those that are told (RFC 9530 section 4).
fn wanted(headers: &HeaderMap) -> Option<&'static Known> {
    let wishes = dictionary(headers, &WANT_REPR_DIGEST, |text| text.parse().ok().filter(|weight: &u8| *weight <= 10))?;
    let weight = |known: &Known| wishes.iter().find(|(key, _)| key == known.key).map_or(0, |(_, weight)| *weight);
    best(KNOWN.iter().filter(|known| known.active), weight)
}

/// The same for `Want-Digest` (RFC 3230 section 4.3.1): a list with weights, in which an element that cannot be read is none.
fn wanted_of_old(headers: &HeaderMap) -> Option<&'static Known> {
    let text = joined(headers, &WANT_DIGEST)?;
    let wishes: Vec<(&str, u16)> = text.split(',').filter_map(old_wish).collect();
    let weight = |known: &Known| {
        let wish = wishes.iter().find(|(name, _)| name.eq_ignore_ascii_case(known.old));
        wish.map_or(0, |(_, weight)| *weight)
    };
    best(KNOWN.iter(), weight)
}

/// The first of those that weigh most, and more than nothing.
fn best<W: Ord + Default>(
    known: impl Iterator<Item = &'static Known>,
    weight: impl Fn(&Known) -> W,
) -> Option<&'static Known> {
    let mut best = (W::default(), None);
    for known in known {
        let weight = weight(known);
        if weight > best.0 {
            best = (weight, Some(known));
        }
    }
    best.1
}

/// One element of `Want-Digest`, with its weight in thousandths.
fn old_wish(text: &str) -> Option<(&str, u16)> {
    let (name, weight) = match text.split_once(';') {
        None => (text, 1000),
        Some((name, weight)) => {
            let weight = weight.trim().strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('=')?;
            let weight: f32 = weight.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
            let thousandths = (weight * 1000.0) as u16;
            (name, thousandths)
        }
    };
    Some((name.trim(), weight))
}

/// What a request says of the bytes that it brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Of the file.
    whole: Vec<Claim>,
    /// Of the body, which may be a part of the file.
    content: Vec<Claim>,
}

type Claim = (Digest, Vec<u8>);

impl Claims {
    /// Reads the headers. What says nothing that can be checked is no claim.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut whole = current(headers, &REPR_DIGEST);
        whole.extend(old(headers));
        let mut content = current(headers, &CONTENT_DIGEST);
        content.extend(content_md5(headers));
        Self { whole, content }
    }

    /// What a whole file has to be held to.
    pub(crate) fn of_whole(self) -> Check {
        Check::new(self.whole.into_iter().chain(self.content))
    }

    /// What a part of one has to be held to.
    pub(crate) fn of_part(self) -> Check {
        Check::new(self.content)
    }
}

/// Bytes that must add up to something.
#[derive(Debug)]
pub struct Check(Vec<Sought>);

/// One algorithm: taken once, whatever is said how often.
#[derive(Debug)]
struct Sought {
    digest: Digest,
    sum: Sum,
    expected: Vec<Vec<u8>>,
}

impl Check {
    /// Bytes that must have all these digests.
    pub fn new(claims: impl IntoIterator<Item = (Digest, Vec<u8>)>) -> Self {
        let mut all: Vec<Sought> = Vec::new();
        for (digest, expected) in claims {
            match all.iter_mut().find(|sought| sought.digest == digest) {
                Some(sought) => sought.expected.push(expected),
                None => all.push(Sought { digest, sum: Sum::new(digest), expected: vec![expected] }),
            }
        }
        Self(all)
    }

    /// Takes note of bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|sought| sought.sum.add(bytes));
    }

    /// Whether the bytes were the right ones; any are where nothing was said.
    #[must_use]
    pub fn holds(self) -> bool {
        self.0.into_iter().all(|Sought { sum, expected, .. }| {
            let sum = sum.finish();
            expected.into_iter().all(|expected| expected == sum)
        })
    }
}

/// The claims of a field of RFC 9530.
fn current(headers: &HeaderMap, name: &HeaderName) -> Vec<Claim> {
    let bytes = |text: &str| LENIENT.decode(text.strip_prefix(':')?.strip_suffix(':')?).ok();
    let members = dictionary(headers, name, bytes).unwrap_or_default();
    let known = members.into_iter().filter_map(|(key, sum)| {
        let known = KNOWN.iter().find(|known| known.key == key)?;
        Some((known.digest, sum))
    });
    known.collect()
}

/// The claims of `Digest` (RFC 3230 section 4.3.2): a list, in which an element that cannot be read is none.
fn old(headers: &HeaderMap) -> Vec<Claim> {
    let text = joined(headers, &DIGEST).unwrap_or_default();
    let known = text.split(',').filter_map(|element| {
        let (name, sum) = element.split_once('=')?;
        let known = KNOWN.iter().find(|known| known.old.eq_ignore_ascii_case(name.trim()))?;
        Some((known.digest, LENIENT.decode(sum.trim()).ok()?))
    });
    known.collect()
}

/// The claim of `Content-MD5` (RFC 1864).
fn content_md5(headers: &HeaderMap) -> Option<Claim> {
    let text = headers.get(CONTENT_MD5)?.to_str().ok()?;
    Some((Digest::Md5, LENIENT.decode(text.trim()).ok()?))
}

/// All lines of a field as one list; `None` where there is none, or one with anything but ASCII in it.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Result<Vec<&str>, _> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
    lines.ok().filter(|lines| !lines.is_empty()).map(|lines| lines.join(","))
}

/// The members of a dictionary (RFC 8941 section 3.2) whose values are all of one kind, the last of each key. `None` where anything
/// in it is something else: then the whole field says nothing. Parameters mean nothing here.
fn dictionary<V>(
    headers: &HeaderMap,
    name: &HeaderName,
    value: impl Fn(&str) -> Option<V>,
) -> Option<Vec<(String, V)>> {
    let text = joined(headers, name)?;
    let mut members: Vec<(String, V)> = Vec::new();
    for member in text.trim_matches(' ').split(',') {
        let member = member.trim_matches([' ', '\t']);
        let member = member.split_once(';').map_or(member, |(member, _)| member);
        let (key, text) = member.split_once('=').filter(|(key, _)| is_key(key))?;
        let value = value(text)?;
        match members.iter_mut().find(|(known, _)| known == key) {
            Some(member) => member.1 = value,
            // What is not known is read for its form alone.
            None if KNOWN.iter().any(|known| known.key == key) => members.push((key.to_owned(), value)),
            None => {}
        }
    }
    Some(members)
}

fn is_key(text: &str) -> bool {
    let begins = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'*';
    let goes_on = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
    text.as_bytes().first().is_some_and(begins) && text.bytes().all(goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let read = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        pairs.iter().map(read).collect()
    }

    fn sum(digest: Digest, bytes: &[u8]) -> Vec<u8> {
        let mut sum = Sum::new(digest);
        sum.add(bytes);
        sum.finish()
    }

    /// Whether `abc` may come with these headers.
    fn admits(pairs: &[(&'static str, &str)]) -> bool {
        let mut check = Claims::of(&headers(pairs)).of_whole();
        check.add(b"a");
        check.add(b"bc");
        check.holds()
    }

    const SHA_256: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
    const MD5: &str = "kAFQmDzST7DWlj99KOF/cg==";

    #[test]
    fn what_is_wanted_most_is_told_and_what_is_not_wanted_is_not() {
        for (value, key) in [
            ("sha-256=1", Some("sha-256")),
            ("sha-256=3, sha-512=10", Some("sha-512")),
            ("sha-512=1,sha-256=1;x=y", Some("sha-256")),
            ("sha-256=0, sha-512=0", None),
            ("unixsum=10, sha-256=1", Some("sha-256")),
            ("md5=10", None),
            ("sha-256=1, sha-256=0", None),
            // What is malformed says nothing at all.
            ("sha-256", None),
            ("SHA-256=1", None),
            ("sha-256=11", None),
            ("sha-256=1, x=:YQ==:", None),
            ("sha-256=1,", None),
            ("", None),
            ("sha-256=1, \u{e4}=1", None),
        ] {
            assert_eq!(Wishes::read(&headers(&[("want-repr-digest", value)])).current, key, "{value}");
        }
    }

    #[test]
    fn the_old_wish_has_names_in_any_case_and_weights() {
        for (value, key) in [
            ("sha-256", Some("sha-256")),
            ("MD5;q=0.3, sha;q=1", Some("sha")),
            ("adler32, md5", Some("md5")),
            ("SHA-512;q=0.5, SHA-256;q=0.5", Some("sha-256")),
            ("SHA-256;q=0", None),
            ("SHA-256;q=2, MD5; q = 0.1", Some("md5")),
            ("adler32", None),
            ("", None),
        ] {
            assert_eq!(Wishes::read(&headers(&[("want-digest", value)])).old, key, "{value}");
        }
    }

    #[test]
    fn a_body_is_held_to_every_digest_that_is_known() {
        let good = format!("sha-256=:{SHA_256}:");
        for name in ["repr-digest", "content-digest"] {
            assert!(admits(&[(name, &good)]));
            assert!(!admits(&[(name, &format!("sha-256=:{}:", STANDARD.encode(sum(Digest::Sha256, b"abd"))))]));
            assert!(!admits(&[(name, &format!("{good}, md5=:{}:", STANDARD.encode([0; 16])))]));
            assert!(admits(&[(name, &format!("sha-256=:AA==:, {good};x"))]), "the last of a key counts");
            assert!(!admits(&[(name, "sha-256=:YQ==:")]), "a sum of another length is none of these bytes");
        }
        for (name, value) in [("digest", &format!("sha-256={SHA_256},MD5={MD5}")[..]), ("content-md5", MD5)] {
            assert!(admits(&[(name, value)]), "{name}");
        }
        let wrong = STANDARD.encode([0; 16]);
        assert!(!admits(&[("digest", &format!("MD5={MD5},md5={wrong}"))]), "both are claimed");
        assert!(!admits(&[("content-md5", &wrong)]) && !admits(&[("digest", &format!("md5={wrong}"))]));
        assert!(!admits(&[("repr-digest", &good), ("content-md5", &wrong)]));
    }

    #[test]
    fn what_is_malformed_or_not_known_says_nothing() {
        for value in ["", "sha-256", "sha-256=YQ==", "sha-256=:Y!:", "unixsum=:AAA=:", "sha-256=:AA==:,,", "sha-256=1"]
        {
            assert!(admits(&[("repr-digest", value), ("content-digest", value)]), "{value}");
        }
        assert!(admits(&[("digest", "crc32c=AAAA, sha-256, sha-256=!"), ("content-md5", "!")]));
    }

    #[test]
    fn a_part_is_held_to_what_is_said_of_its_content_alone() {
        let zero = format!("sha-256=:{}:", STANDARD.encode([0; 32]));
        let claims = Claims::of(&headers(&[("repr-digest", &zero), ("content-md5", MD5)]));
        let mut check = claims.of_part();
        check.add(b"abc");
        assert!(check.holds());
    }

    proptest! {
        #[test]
        fn any_value_is_survived(text in "[ -~]{0,60}") {
            let all = ["want-repr-digest", "want-digest", "repr-digest", "content-digest", "digest", "content-md5"];
            let headers = headers(&all.map(|name| (name, &text[..])));
            let _ = Wishes::read(&headers);
            prop_assert!(Claims::of(&headers).of_whole().0.len() <= KNOWN.len());
        }

        #[test]
        fn what_is_written_is_read_back(bytes in vec(any::<u8>(), 0..100), other in vec(any::<u8>(), 0..100), n in 0_usize..4) {
            let Known { digest, key, old, .. } = KNOWN[n];
            let text = STANDARD.encode(sum(digest, &bytes));
            for (name, value) in [
                ("repr-digest", format!("{key}=:{text}:")),
                ("content-digest", format!("x=:YQ==:, {key}=:{}:", text.trim_end_matches('='))),
                ("digest", format!("x=y, {old}={text}")),
            ] {
                let check = |bytes: &[u8]| {
                    let mut check = Claims::of(&headers(&[(name, &value)])).of_whole();
                    check.add(bytes);
                    check.holds()
                };
                prop_assert!(check(&bytes));
                prop_assert_eq!(check(&other), other == bytes);
            }
        }
    }
}
