//! Line ends of TYPE A: LF in files here, CR LF on the wire (RFC 959 section 3.1.1.1), whatever the pieces they come in.

/// From a file to the wire: an LF without a CR before it gets one.
#[derive(Debug, Default)]
pub(crate) struct ToWire {
    after_cr: bool,
}

impl ToWire {
    /// Appends a piece to `out`.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for byte in piece {
            if *byte == b'\n' && !self.after_cr {
                out.push(b'\r');
            }
            self.after_cr = *byte == b'\r';
            out.push(*byte);
        }
    }

    /// How long the piece is on the wire.
    pub(crate) fn measure(&mut self, piece: &[u8]) -> u64 {
        let mut more = 0;
        for byte in piece {
            more += u64::from(*byte == b'\n' && !self.after_cr);
            self.after_cr = *byte == b'\r';
        }
        piece.len() as u64 + more
    }
}

/// From the wire to a file: CR LF becomes LF, a CR by itself stays.
#[derive(Debug, Default)]
pub(crate) struct ToFile {
    held_cr: bool,
}

impl ToFile {
    /// Appends a piece to `out`.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for byte in piece {
            if self.held_cr && *byte != b'\n' {
                out.push(b'\r');
            }
            self.held_cr = *byte == b'\r';
            if !self.held_cr {
                out.push(*byte);
            }
        }
    }

    /// What was held back at the end.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut to, mut out) = (ToWire::default(), Vec::new());
        pieces.iter().for_each(|piece| to.push(piece, &mut out));
        out
    }

    fn file(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut to, mut out) = (ToFile::default(), Vec::new());
        pieces.iter().for_each(|piece| to.push(piece, &mut out));
        to.finish(&mut out);
        out
    }

    #[test]
    fn line_ends_are_right_across_pieces() {
        assert_eq!(wire(&[b"a\nb\r", b"\nc\n"]), b"a\r\nb\r\nc\r\n");
        assert_eq!(file(&[b"a\r", b"\nb\rc\r\n\r"]), b"a\nb\rc\n\r");
    }

    proptest! {
        #[test]
        fn a_text_comes_back_as_it_went(text in "[ab\n]{0,60}", cut in 0_usize..60) {
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            let sent = wire(&[first, second]);
            let mut measure = ToWire::default();
            prop_assert_eq!(measure.measure(first) + measure.measure(second), sent.len() as u64);
            let (first, second) = sent.split_at(cut.min(sent.len()));
            prop_assert_eq!(file(&[first, second]), text.as_bytes());
        }
    }
}
