//! Random bytes of the operating system, and letters made of them without bias.
//!
//! One place, so that no secret is ever made from anything else.

use zeroize::Zeroizing;

/// The operating system gave no random bytes. Whatever was to be made is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct RandomError;

/// Digits and lower-case letters without those that look like others (`i`, `l`, `o`) or make words (`u`): five bits each.
pub(crate) const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, RandomError> {
    let mut bytes = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

/// `N` random characters of [`ALPHABET`].
pub(crate) fn letters<const N: usize>() -> Result<Zeroizing<[char; N]>, RandomError> {
    let random = bytes::<N>()?;
    let mut letters = Zeroizing::new(['0'; N]);
    for (letter, byte) in letters.iter_mut().zip(random.iter()) {
        // 256 is a multiple of 32, so that the remainder favours no letter.
        *letter = ALPHABET.get(usize::from(byte % 32)).copied().map_or('0', char::from);
    }
    Ok(letters)
}

/// The value of a character of [`ALPHABET`] as it may be typed: upper case and the look-alikes are forgiven.
pub(crate) fn typed(c: char) -> Option<char> {
    let plain = match c.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    u8::try_from(plain).ok().filter(|byte| ALPHABET.contains(byte)).map(char::from)
}

/// The characters in groups of `size`, joined with dashes. The text never grows past its capacity, so no copy of it stays behind.
pub(crate) fn grouped(letters: &[char], size: usize) -> String {
    let mut text = String::with_capacity(letters.len() * 2);
    for (place, letter) in letters.iter().enumerate() {
        if place > 0 && place % size == 0 {
            text.push('-');
        }
        text.push(*letter);
    }
    text
}
