//! Bytes of the control connection taken apart into lines.
//!
//! A line ends with LF, with or without CR before it, and is bounded (N2): what is longer is a fault, told before more is
//! read. The Telnet layer of RFC 959 is taken off here: `IAC` commands, which come with an `ABOR` that was sent as urgent
//! data, vanish; `IAC IAC` is the byte 0xFF. A 0xFF before anything that is no Telnet command is taken as part of a name.
//!
//! A line may hold a password, so lines and what they came out of are wiped.

use zeroize::{Zeroize as _, Zeroizing};

/// A line without its end. Wiped when dropped.
pub(crate) type Line = Zeroizing<Vec<u8>>;

/// The line has no end within the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// What came and was not taken yet: one unfinished line, or the lines of one piece.
pub(crate) struct Lines {
    buffer: Zeroizing<Vec<u8>>,
    /// No LF is before this place.
    searched: usize,
    limit: usize,
}

impl Lines {
    /// Nothing came yet.
    pub(crate) fn new(limit: usize) -> Self {
        Self { buffer: Zeroizing::default(), searched: 0, limit: limit.max(512) }
    }

    /// Takes a piece of what came. Called only when [`Lines::next`] had nothing, so that it never holds more than a line
    /// and a piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        let wanted = self.buffer.len() + piece.len();
        if wanted > self.buffer.capacity() {
            // Not grown in place, so that no copy is left behind unwiped.
            let mut larger = Zeroizing::new(Vec::with_capacity(wanted.next_power_of_two()));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole line.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, TooLong> {
        let found = self.buffer.get(self.searched..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'));
        let Some(end) = found.map(|place| self.searched + place) else {
            self.searched = self.buffer.len();
            return if self.searched > self.limit { Err(TooLong) } else { Ok(None) };
        };
        if end > self.limit {
            return Err(TooLong);
        }
        let line = plain(self.buffer.get(..end).unwrap_or_default());
        let rest = self.buffer.len() - end - 1;
        self.searched = 0;
        if rest == 0 {
            // An idle session holds no buffer.
            self.buffer = Zeroizing::default();
        } else {
            self.buffer.copy_within(end + 1.., 0);
            if let Some(behind) = self.buffer.get_mut(rest..) {
                behind.zeroize();
            }
            self.buffer.truncate(rest);
        }
        Ok(Some(line))
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Forgets what is left.
    pub(crate) fn clear(&mut self) {
        self.buffer = Zeroizing::default();
        self.searched = 0;
    }

    /// Whether what came begins with a TLS record: a client that wants implicit TLS from a door that has none.
    pub(crate) fn looks_like_tls(&self) -> bool {
        self.buffer.starts_with(&[0x16, 0x03])
    }
}

const IAC: u8 = 0xff;
/// `WILL`, `WONT`, `DO`, `DONT`: an option follows.
const WITH_OPTION: std::ops::RangeInclusive<u8> = 0xfb..=0xfe;
/// The other commands, from `SE` on.
const COMMANDS: std::ops::RangeInclusive<u8> = 0xf0..=0xfa;

/// The line without its CR and without the Telnet layer.
fn plain(raw: &[u8]) -> Line {
    let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
    let mut line = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut rest = raw;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (*first, tail.first()) {
            (IAC, Some(&IAC)) => {
                line.push(IAC);
                rest = tail.get(1..).unwrap_or_default();
            }
            (IAC, Some(command)) if WITH_OPTION.contains(command) => rest = tail.get(2..).unwrap_or_default(),
            (IAC, Some(command)) if COMMANDS.contains(command) => rest = tail.get(1..).unwrap_or_default(),
            // CR NUL is a CR inside a line (RFC 2640 section 3.1).
            (b'\r', Some(0)) => {
                line.push(b'\r');
                rest = tail.get(1..).unwrap_or_default();
            }
            (byte, _) => line.push(byte),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(4096);
        let mut found = Vec::new();
        for piece in pieces {
            lines.feed(piece);
            while let Ok(Some(line)) = lines.next() {
                found.push(line.to_vec());
            }
        }
        found
    }

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        assert_eq!(all(&[b"US", b"ER a\r", b"\nPASS b\nNO", b"OP\r\n"]), [&b"USER a"[..], b"PASS b", b"NOOP"]);
    }

    #[test]
    fn the_telnet_layer_around_an_urgent_abor_is_taken_off() {
        assert_eq!(all(&[b"\xff\xf4\xff\xf2ABOR\r\n"]), [b"ABOR"]);
        assert_eq!(all(&[b"\xff\xfb\x01RETR a\xff\xffb\xff \r\n"]), [&b"RETR a\xffb\xff "[..]]);
        assert_eq!(all(&[b"DELE a\r\0b\r\n"]), [b"DELE a\rb"]);
    }

    #[test]
    fn a_line_without_an_end_is_a_fault_at_the_limit() {
        let mut lines = Lines::new(4096);
        lines.feed(&[b'A'; 4096]);
        assert_eq!(lines.next(), Ok(None));
        lines.feed(b"A");
        assert_eq!(lines.next(), Err(TooLong));
        let mut lines = Lines::new(4096);
        lines.feed(&[&[b'A'; 5000][..], b"\r\n"].concat());
        assert_eq!(lines.next(), Err(TooLong));
    }

    #[test]
    fn nothing_is_held_between_lines() {
        let mut lines = Lines::new(4096);
        lines.feed(b"NOOP\r\n");
        assert!(lines.next().unwrap().is_some());
        assert!(lines.is_empty() && lines.buffer.capacity() == 0);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_lines_or_a_fault(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..30)) {
            let mut lines = Lines::new(512);
            'all: for piece in &pieces {
                lines.feed(piece);
                loop {
                    match lines.next() {
                        Ok(Some(line)) => prop_assert!(line.len() <= 512 && !line.contains(&b'\n')),
                        Ok(None) => break,
                        Err(TooLong) => break 'all,
                    }
                }
                prop_assert!(lines.buffer.len() <= 512);
            }
        }
    }
}
