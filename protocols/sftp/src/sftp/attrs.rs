//! The attributes of a file, as version 3 writes them.

use super::fields::{Fields, Malformed, Packet};
use lockgate_vfs::{Facts, Kind, Metadata};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// What a client sends: each part may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attrs {
    /// Length in bytes.
    pub(crate) size: Option<u64>,
    /// Numeric user and group.
    pub(crate) owner: Option<(u32, u32)>,
    /// Permission bits, the kind of file cut off.
    pub(crate) mode: Option<u32>,
    /// Access and modification time, Unix seconds.
    pub(crate) times: Option<(u32, u32)>,
}

impl Attrs {
    /// Reads them; extended pairs are skipped.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let flags = fields.u32()?;
        let mut attrs = Self::default();
        if flags & SIZE != 0 {
            attrs.size = Some(fields.u64()?);
        }
        if flags & OWNER != 0 {
            attrs.owner = Some((fields.u32()?, fields.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            attrs.mode = Some(fields.u32()? & 0o7777);
        }
        if flags & TIMES != 0 {
            attrs.times = Some((fields.u32()?, fields.u32()?));
        }
        if flags & EXTENDED != 0 {
            // Each pair takes eight bytes at least, so a false count ends with the packet.
            for _ in 0..fields.u32()? {
                fields.string()?;
                fields.string()?;
            }
        }
        Ok(attrs)
    }

    /// Times and mode as facts to set.
    pub(crate) fn facts(&self) -> Facts {
        let time = |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into());
        Facts {
            accessed: self.times.map(|(accessed, _)| time(accessed)),
            modified: self.times.map(|(_, modified)| time(modified)),
            mode: self.mode,
        }
    }
}

/// Lays `over` over `under`: what it says counts.
pub(crate) fn merge(under: Facts, over: Facts) -> Facts {
    Facts {
        modified: over.modified.or(under.modified),
        accessed: over.accessed.or(under.accessed),
        mode: over.mode.or(under.mode),
    }
}

/// The mode with the kind of file, as `stat` of the C library has it.
pub(crate) fn full_mode(metadata: &Metadata) -> u32 {
    let kind = match metadata.kind {
        Kind::File => 0o100_000,
        Kind::Folder => 0o040_000,
        Kind::Link => 0o120_000,
    };
    kind | (metadata.mode & 0o7777)
}

/// Unix seconds in the four bytes that version 3 has: times before 1970 and after 2106 are told as the nearest.
pub(crate) fn seconds(time: SystemTime) -> u32 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}

impl Packet {
    /// Appends the attributes of a file.
    pub(crate) fn attrs(self, metadata: &Metadata) -> Self {
        self.u32(SIZE | OWNER | PERMISSIONS | TIMES)
            .u64(metadata.size)
            .u32(metadata.uid)
            .u32(metadata.gid)
            .u32(full_mode(metadata))
            .u32(seconds(metadata.accessed))
            .u32(seconds(metadata.modified))
    }

    /// Appends attributes that say nothing.
    pub(crate) fn no_attrs(self) -> Self {
        self.u32(0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Attrs {
        /// As a client writes them.
        pub(crate) fn write(&self, packet: Packet) -> Packet {
            let flag = |there: bool, flag: u32| if there { flag } else { 0 };
            let mut packet = packet.u32(
                flag(self.size.is_some(), SIZE)
                    | flag(self.owner.is_some(), OWNER)
                    | flag(self.mode.is_some(), PERMISSIONS)
                    | flag(self.times.is_some(), TIMES),
            );
            if let Some(size) = self.size {
                packet = packet.u64(size);
            }
            if let Some((a, b)) = self.owner {
                packet = packet.u32(a).u32(b);
            }
            if let Some(mode) = self.mode {
                packet = packet.u32(mode);
            }
            if let Some((a, b)) = self.times {
                packet = packet.u32(a).u32(b);
            }
            packet
        }
    }

    proptest! {
        #[test]
        fn attributes_round_trip(
            size: Option<u64>, owner: Option<(u32, u32)>, mode in proptest::option::of(0u32..=0o7777), times: Option<(u32, u32)>,
        ) {
            let attrs = Attrs { size, owner, mode, times };
            let bytes = attrs.write(Packet::of(0)).finish();
            prop_assert_eq!(Attrs::read(&mut Fields::of(&bytes[5..])).unwrap(), attrs);
        }

        #[test]
        fn any_bytes_are_attributes_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Attrs::read(&mut Fields::of(&bytes));
        }
    }

    #[test]
    fn a_false_count_of_extended_pairs_is_malformed_at_once() {
        let bytes = Packet::of(0).u32(EXTENDED).u32(u32::MAX).finish();
        assert_eq!(Attrs::read(&mut Fields::of(&bytes[5..])), Err(Malformed));
    }
}
