//! The stream of a channel, cut into packets.
//!
//! Everything but WRITE is gathered whole, and is small by law. The payload of a WRITE is never gathered: each piece goes on
//! to the file as it arrives, so an upload costs no memory and no copy.

use super::fields::{Fields, Malformed};

/// The longest packet that a client may send, its length field not counted: what OpenSSH takes.
pub(crate) const MOST: usize = 256 << 10;
/// The longest packet other than WRITE: two of the longest paths and some attributes, several times over.
const MOST_GATHERED: usize = 64 << 10;
/// The longest handle that the draft allows.
const MOST_HANDLE: usize = 256;
/// SSH_FXP_WRITE.
pub(crate) const WRITE: u8 = 6;

/// One step of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A whole packet: its type and its body after the type.
    Packet {
        /// The type.
        kind: u8,
        /// The body.
        body: Vec<u8>,
    },
    /// A WRITE begins; `length` bytes of payload follow as [`Piece::Payload`], at least one piece, the last one marked.
    Write {
        /// The request.
        id: u32,
        /// The handle as it was sent.
        handle: Vec<u8>,
        /// Where to.
        offset: u64,
        /// How much.
        length: usize,
    },
    /// A part of the payload.
    Payload {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether the WRITE is complete with it.
        last: bool,
    },
}

/// Cuts the stream. Holds at most one packet other than WRITE.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    held: Vec<u8>,
    /// Payload bytes of the present WRITE that are still to come; `None` outside a payload.
    payload: Option<usize>,
    /// Bytes of the present WRITE behind its payload.
    surplus: usize,
}

impl Splitter {
    /// The next piece of `rest`, which is shortened by what was used; `None` when it is used up.
    pub(crate) fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
        if let Some(left) = self.payload {
            return Ok(self.next_payload(rest, left));
        }
        let (_, after) = rest.split_at(self.surplus.min(rest.len()));
        self.surplus -= rest.len() - after.len();
        *rest = after;
        if !self.gather(rest, 4) {
            return Ok(None);
        }
        let length = self.length()?;
        if !self.gather(rest, 5) {
            return Ok(None);
        }
        let kind = *self.held.get(4).ok_or(Malformed)?;
        if kind == WRITE { self.next_write(rest, length) } else { self.next_packet(rest, length, kind) }
    }

    /// Bytes held back, waiting for the rest of their packet.
    pub(crate) fn held(&self) -> usize {
        self.held.capacity()
    }

    fn next_payload<'a>(&mut self, rest: &mut &'a [u8], left: usize) -> Option<Piece<'a>> {
        if left > 0 && rest.is_empty() {
            return None;
        }
        let (bytes, after) = rest.split_at(left.min(rest.len()));
        *rest = after;
        let last = bytes.len() == left;
        self.payload = (!last).then_some(left - bytes.len());
        Some(Piece::Payload { bytes, last })
    }

    fn next_packet<'a>(
        &mut self,
        rest: &mut &'a [u8],
        length: usize,
        kind: u8,
    ) -> Result<Option<Piece<'a>>, Malformed> {
        if length > MOST_GATHERED {
            return Err(Malformed);
        }
        if !self.gather(rest, 4 + length) {
            return Ok(None);
        }
        let mut body = std::mem::take(&mut self.held);
        body.drain(..5.min(body.len()));
        Ok(Some(Piece::Packet { kind, body }))
    }

    fn next_write<'a>(&mut self, rest: &mut &'a [u8], length: usize) -> Result<Option<Piece<'a>>, Malformed> {
        // Length, type, id, length of the handle.
        if !self.gather(rest, 13) {
            return Ok(None);
        }
        let mut fields = Fields::of(self.held.get(5..).ok_or(Malformed)?);
        let id = fields.u32()?;
        let handle_length = usize::try_from(fields.u32()?).map_err(|_| Malformed)?;
        if handle_length > MOST_HANDLE {
            return Err(Malformed);
        }
        // Further: the handle, the offset, the length of the payload.
        if !self.gather(rest, 13 + handle_length + 12) {
            return Ok(None);
        }
        let mut fields = Fields::of(self.held.get(9..).ok_or(Malformed)?);
        let handle = fields.string()?.to_vec();
        let offset = fields.u64()?;
        let payload = usize::try_from(fields.u32()?).map_err(|_| Malformed)?;
        // A widespread library sends its whole buffer and says how much of it counts; OpenSSH ignores the rest, and so must
        // whoever wants files from it.
        let used = 1 + 4 + 4 + handle_length + 8 + 4 + payload;
        self.surplus = length.checked_sub(used).ok_or(Malformed)?;
        self.held.clear();
        self.payload = Some(payload);
        Ok(Some(Piece::Write { id, handle, offset, length: payload }))
    }

    /// Moves bytes of `rest` into what is held until there are `wanted`; whether there are.
    fn gather(&mut self, rest: &mut &[u8], wanted: usize) -> bool {
        let missing = wanted.saturating_sub(self.held.len());
        let (taken, after) = rest.split_at(missing.min(rest.len()));
        self.held.extend_from_slice(taken);
        *rest = after;
        self.held.len() >= wanted
    }

    /// The length of the packet, refused before anything of it is waited for.
    fn length(&self) -> Result<usize, Malformed> {
        let length = usize::try_from(Fields::of(&self.held).u32()?).map_err(|_| Malformed)?;
        if length == 0 || length > MOST { Err(Malformed) } else { Ok(length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sftp::fields::Packet;
    use proptest::prelude::*;

    /// All pieces of `stream`, delivered in parts of `cut` bytes; payloads joined.
    fn split(stream: &[u8], cut: usize) -> Result<Vec<(u8, Vec<u8>)>, Malformed> {
        let mut splitter = Splitter::default();
        let mut found: Vec<(u8, Vec<u8>)> = Vec::new();
        for mut part in stream.chunks(cut.max(1)) {
            while let Some(piece) = splitter.next(&mut part)? {
                match piece {
                    Piece::Packet { kind, body } => found.push((kind, body)),
                    Piece::Write { .. } => found.push((WRITE, Vec::new())),
                    Piece::Payload { bytes, .. } => found.last_mut().unwrap().1.extend_from_slice(bytes),
                }
            }
            assert!(splitter.held() <= 2 * (MOST_GATHERED + 4));
        }
        Ok(found)
    }

    fn write(payload: &[u8]) -> Vec<u8> {
        Packet::answer(WRITE, 7).string(b"h").u64(0).string(payload).finish()
    }

    #[test]
    fn an_empty_write_is_a_write_and_the_stream_goes_on() {
        let stream = [write(b""), Packet::answer(4, 9).string(b"h").finish()].concat();
        let pieces = split(&stream, 3).unwrap();
        assert_eq!(pieces.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [WRITE, 4]);
    }

    #[test]
    fn lengths_that_no_packet_has_end_the_stream() {
        assert!(split(&[0, 0, 0, 0], 9).is_err(), "empty");
        assert!(split(&[0, 4, 0, 1], 9).is_err(), "over 256 KiB");
        assert!(split(&[0, 2, 0, 0, 3], 9).is_err(), "a long packet that is no WRITE");
        let mut lying = write(b"abc");
        lying[3] -= 1;
        assert!(split(&lying, 9).is_err(), "a payload longer than its packet");
    }

    #[test]
    fn what_stands_behind_the_payload_of_a_write_is_not_written() {
        let mut surplus = write(b"abc");
        surplus[3] += 4;
        surplus.extend(b"junk");
        let stream = [surplus, write(b"def")].concat();
        for cut in 1..stream.len() {
            assert_eq!(split(&stream, cut).unwrap(), [(WRITE, b"abc".to_vec()), (WRITE, b"def".to_vec())]);
        }
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_depend_on_how_the_stream_arrives(
            bodies in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..8),
            cut in 1usize..50,
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|(is_write, body)| {
                if *is_write { write(body) } else { Packet::of(200).raw(body).finish() }
            }).collect();
            let expected: Vec<(u8, Vec<u8>)> =
                bodies.into_iter().map(|(is_write, body)| (if is_write { WRITE } else { 200 }, body)).collect();
            prop_assert_eq!(split(&stream, cut).unwrap(), expected);
        }

        #[test]
        fn any_bytes_are_split_or_refused(stream in proptest::collection::vec(any::<u8>(), 0..3000), cut in 1usize..3000) {
            let _ = split(&stream, cut);
        }

        #[test]
        fn small_lengths_before_any_bytes_are_split_or_refused(
            parts in proptest::collection::vec((0u32..40, proptest::collection::vec(any::<u8>(), 0..60)), 0..30),
        ) {
            let stream: Vec<u8> = parts.iter().flat_map(|(length, bytes)| {
                length.to_be_bytes().into_iter().chain(bytes.iter().copied())
            }).collect();
            let _ = split(&stream, 1000);
        }
    }
}
