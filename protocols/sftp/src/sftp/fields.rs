//! The fields of SFTP packets: big-endian numbers and counted strings, read with every length checked, written in order.

/// The rest of a packet's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

/// A packet that is not what its type says. Nothing sensible can follow it on the same channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet is cut short or malformed")]
pub(crate) struct Malformed;

impl<'a> Fields<'a> {
    /// Reads from the beginning of `body`.
    pub(crate) fn of(body: &'a [u8]) -> Self {
        Self(body)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    /// A number of four bytes.
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of eight bytes.
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A string: its length in four bytes, and so many bytes.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| Malformed)?)
    }

    /// Whether nothing is left.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A packet being written; its length is put in front at the end.
#[derive(Debug)]
pub(crate) struct Packet(Vec<u8>);

impl Packet {
    /// Begins a packet of `kind` that answers request `id`.
    pub(crate) fn answer(kind: u8, id: u32) -> Self {
        Self::of(kind).u32(id)
    }

    /// Begins a packet of `kind`.
    pub(crate) fn of(kind: u8) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&[0, 0, 0, 0, kind]);
        Self(bytes)
    }

    /// Appends a number of four bytes.
    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a number of eight bytes.
    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends a string. What is longer than a length can say is not of this protocol and is cut.
    pub(crate) fn string(mut self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self = self.u32(length);
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The whole packet.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len().saturating_sub(4)).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(..4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_string_longer_than_the_packet_is_malformed() {
        assert_eq!(Fields::of(&[0, 0, 0, 5, 1, 2]).string(), Err(Malformed));
        assert_eq!(Fields::of(&[255, 255, 255, 255]).string(), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(a: u32, b: u64, text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let bytes = Packet::answer(101, a).u64(b).string(&text).finish();
            let mut fields = Fields::of(&bytes);
            prop_assert_eq!(fields.u32().unwrap() as usize, bytes.len() - 4);
            prop_assert_eq!(fields.take(1).unwrap(), &[101u8][..]);
            prop_assert_eq!(fields.u32().unwrap(), a);
            prop_assert_eq!(fields.u64().unwrap(), b);
            prop_assert_eq!(fields.string().unwrap(), &text[..]);
            prop_assert!(fields.is_empty());
        }
    }
}
