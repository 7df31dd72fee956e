//! `MODE Z` (draft-preston-ftpext-deflate-04): the bytes of a data connection as one zlib stream (RFC 1950).
//!
//! Both directions are taken in steps: a step looks at a bounded piece and makes a bounded piece, whatever the ratio, so that
//! neither a bomb nor a high level holds a thread or grows memory; between two steps the caller gives others a turn. What a
//! stream becomes is charged like any upload. A stream that is damaged, or that has anything behind its end, is no upload;
//! one that stops before its end is one that was cut.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::io;

/// What one step takes at most, and makes at most.
pub(crate) const STEP: usize = 64 * 1024;

/// `OPTS MODE Z LEVEL`: from fast to small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(u8);

impl Level {
    /// From 1 to 9; others are no level here.
    pub(crate) fn new(level: u64) -> Option<Self> {
        u8::try_from(level).ok().filter(|level| (1..=9).contains(level)).map(Self)
    }

    pub(crate) const fn as_number(self) -> u8 {
        self.0
    }
}

impl Default for Level {
    /// The usual middle.
    fn default() -> Self {
        Self(6)
    }
}

/// How far a step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes that were taken.
    pub(crate) taken: usize,
    /// Bytes that were made.
    pub(crate) made: usize,
    /// Whether that was the last of the stream.
    pub(crate) ended: bool,
}

/// Towards the client.
pub(crate) struct Packer {
    state: Compress,
    out: Vec<u8>,
}

impl Packer {
    pub(crate) fn new(level: Level) -> Self {
        Self { state: Compress::new(Compression::new(level.0.into()), true), out: vec![0; STEP] }
    }

    /// Packs the first of `bytes`. With none of them it ends the stream; called until it has ended.
    ///
    /// # Errors
    /// What cannot happen to a stream that is used in this order.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> io::Result<(Step, &[u8])> {
        let bytes = bytes.get(..STEP).unwrap_or(bytes);
        let flush = if bytes.is_empty() { FlushCompress::Finish } else { FlushCompress::None };
        let (took, made) = (self.state.total_in(), self.state.total_out());
        let status = self.state.compress(bytes, &mut self.out, flush).map_err(io::Error::other)?;
        let step = Step {
            taken: difference(took, self.state.total_in()),
            made: difference(made, self.state.total_out()),
            ended: status == Status::StreamEnd,
        };
        if step.taken == 0 && step.made == 0 && !step.ended {
            return Err(io::Error::other("the compressor stands still"));
        }
        Ok((step, self.out.get(..step.made).unwrap_or_default()))
    }
}

/// What came is no stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

/// From the client.
pub(crate) struct Unpacker {
    state: Decompress,
    ended: bool,
}

impl Unpacker {
    pub(crate) fn new() -> Self {
        Self { state: Decompress::new(true), ended: false }
    }

    /// Whether the stream came to its end, its checksum right.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Unpacks the first of `bytes`, of which there must be some, into the beginning of `room`, which must have some.
    ///
    /// # Errors
    /// [`Damaged`]: also for anything behind the end.
    pub(crate) fn step(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<Step, Damaged> {
        if self.ended {
            return Err(Damaged);
        }
        let room = if room.len() > STEP { room.get_mut(..STEP).unwrap_or_default() } else { room };
        let (took, made) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(bytes, room, FlushDecompress::None).map_err(|_| Damaged)?;
        self.ended = status == Status::StreamEnd;
        let step = Step {
            taken: difference(took, self.state.total_in()),
            made: difference(made, self.state.total_out()),
            ended: self.ended,
        };
        if step.taken == 0 && step.made == 0 && !step.ended { Err(Damaged) } else { Ok(step) }
    }
}

fn difference(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All of it packed, in pieces.
    pub(crate) fn packed(bytes: &[u8], level: u64) -> Vec<u8> {
        let (mut packer, mut stream, mut rest) = (Packer::new(Level::new(level).unwrap()), Vec::new(), bytes);
        loop {
            let (step, out) = packer.step(rest).unwrap();
            stream.extend_from_slice(out);
            rest = &rest[step.taken..];
            if step.ended {
                return stream;
            }
        }
    }

    fn unpacked(stream: &[u8], piece: usize) -> Result<(Vec<u8>, bool), Damaged> {
        let (mut unpacker, mut bytes, mut room) = (Unpacker::new(), Vec::new(), vec![0; 3 * STEP]);
        for mut piece in stream.chunks(piece) {
            while !piece.is_empty() {
                let step = unpacker.step(piece, &mut room)?;
                assert!(step.made <= STEP);
                bytes.extend_from_slice(&room[..step.made]);
                piece = &piece[step.taken..];
            }
        }
        Ok((bytes, unpacker.has_ended()))
    }

    #[test]
    fn a_bomb_is_unpacked_in_steps_of_a_bounded_size() {
        let bomb = packed(&vec![0; 64 << 20], 9);
        assert!(bomb.len() < 128 * 1024);
        let (bytes, ended) = unpacked(&bomb, bomb.len()).unwrap();
        assert!(ended && bytes.len() == 64 << 20);
    }

    #[test]
    fn what_is_behind_the_end_and_what_is_damaged_is_refused_and_a_cut_stream_has_not_ended() {
        let stream = packed(b"some bytes that are worth it", 6);
        assert_eq!(unpacked(&[&stream[..], b"x"].concat(), 7), Err(Damaged));
        assert!(!unpacked(&stream[..stream.len() - 1], 7).unwrap().1);
        let mut wrong_sum = stream.clone();
        *wrong_sum.last_mut().unwrap() ^= 1;
        assert_eq!(unpacked(&wrong_sum, 7), Err(Damaged));
        assert_eq!(unpacked(b"GET / HTTP/1.1\r\n", 7), Err(Damaged));
        assert_eq!(unpacked(&packed(b"", 6), 7).unwrap(), (Vec::new(), true));
    }

    #[test]
    fn only_the_levels_from_1_to_9_are_levels() {
        let levels: Vec<_> = [0, 1, 9, 10, 256, u64::MAX].map(|level| Level::new(level).is_some()).into();
        assert_eq!(levels, [false, true, true, false, false, false]);
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(seed in proptest::collection::vec(any::<u8>(), 1..300), length in 0_usize..200_000, level in 1_u64..10, piece in 1_usize..5000) {
            let bytes: Vec<u8> = seed.iter().cycle().take(length).copied().collect();
            let stream = packed(&bytes, level);
            prop_assert_eq!(unpacked(&stream, piece).unwrap(), (bytes, true));
        }

        #[test]
        fn any_bytes_are_a_stream_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3000), piece in 1_usize..100) {
            let _ = unpacked(&bytes, piece);
            let _ = unpacked(&[b"\x78\x9c", &bytes[..]].concat(), piece);
        }
    }
}
