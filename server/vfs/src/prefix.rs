//! What of an interrupted upload can be gone on with: the bytes that are there without a hole from the first one on. Pieces
//! that came ahead are remembered within a bound; it never counts a byte that was not written.

/// Pieces that may lie ahead of the whole beginning and are still remembered.
const MOST_AHEAD: usize = 64;

/// How far an upload is whole from its beginning, where writes come out of order: only so much of it can be gone on with.
#[derive(Default)]
pub(crate) struct Prefix {
    end: u64,
    /// Pieces ahead of the end, in order, apart from each other.
    ahead: Vec<(u64, u64)>,
}

impl Prefix {
    pub(crate) fn new(end: u64) -> Self {
        Self { end, ahead: Vec::new() }
    }

    pub(crate) fn whole(&self) -> u64 {
        self.end
    }

    pub(crate) fn add(&mut self, from: u64, to: u64) {
        if from <= self.end {
            self.end = self.end.max(to);
        } else {
            let place = self.ahead.partition_point(|(start, _)| *start < from);
            self.ahead.insert(place, (from, to));
            self.merge();
            // A piece that is forgotten only makes the resumed upload begin earlier.
            self.ahead.truncate(MOST_AHEAD);
        }
        while let Some((_, to)) = self.ahead.first().copied().filter(|(from, _)| *from <= self.end) {
            self.end = self.end.max(to);
            self.ahead.remove(0);
        }
    }

    fn merge(&mut self) {
        self.ahead.dedup_by(|next, kept| {
            let meets = next.0 <= kept.1;
            if meets {
                kept.1 = kept.1.max(next.1);
            }
            meets
        });
    }

    pub(crate) fn cut(&mut self, length: u64) {
        self.end = self.end.min(length);
        self.ahead.retain(|(from, _)| *from < length);
        if let Some(last) = self.ahead.last_mut() {
            last.1 = last.1.min(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_whole_beginning_never_reaches_past_a_hole(writes in proptest::collection::vec((0_u64..200, 1_u64..40), 0..40)) {
            let mut prefix = Prefix::default();
            let mut bytes = [false; 256];
            for (from, length) in writes {
                prefix.add(from, from + length);
                for at in from..from + length {
                    bytes[usize::try_from(at).unwrap()] = true;
                }
            }
            let whole = bytes.iter().take_while(|there| **there).count();
            prop_assert_eq!(prefix.whole(), whole as u64);
        }
    }
}
