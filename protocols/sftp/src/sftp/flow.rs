//! How much the client can still take: the send window, as far as russh lets it be known.
//!
//! russh tells the window only when the client enlarges it. Until then all that can be asked is whether something is
//! waiting to be sent; and during a new key exchange something always is, though the window may be open. So the first
//! answers go by that question with a little on credit, and from the first enlargement on the window is counted here.

/// The send window of one channel.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Bytes of window left; `None` until the client has enlarged it once.
    window: Option<usize>,
    /// Bytes sent on credit while the window is not known.
    credit: usize,
    /// Bytes of short replies sent while the client had no room.
    owed: usize,
}

impl Flow {
    /// Whether a long reply may be sent now; `waiting`: russh holds something back.
    pub(crate) fn is_open(&self, waiting: bool) -> bool {
        match self.window {
            Some(left) => left > 0,
            None => !waiting || self.credit < CREDIT,
        }
    }

    /// Whether the window has never been used up nor enlarged: nothing shows that the client will ever enlarge it.
    pub(crate) fn is_endless(&self, waiting: bool) -> bool {
        self.window.is_none() && !waiting
    }

    /// Whether a short reply may be sent although there is no room: so many bytes, and then the client is not reading.
    pub(crate) fn may_owe(&mut self, length: usize, waiting: bool) -> bool {
        if !self.is_open(waiting) || waiting {
            self.owed += length;
        }
        self.owed <= OWED
    }

    /// A reply of `length` bytes goes out; `waiting`: russh held something back before it.
    pub(crate) fn sent(&mut self, length: usize, waiting: bool) {
        match &mut self.window {
            Some(left) => *left = left.saturating_sub(length),
            None if waiting => self.credit = self.credit.saturating_add(length),
            None => {}
        }
    }

    /// The client has enlarged its window to `window` bytes, what waited already taken off.
    pub(crate) fn adjusted(&mut self, window: u32) {
        self.window = Some(usize::try_from(window).unwrap_or(usize::MAX));
        if window > 0 {
            self.owed = 0;
        }
    }
}

/// Two of the longest reads.
const CREDIT: usize = 512 << 10;
/// Tens of thousands of outstanding requests.
const OWED: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_stops_reading_is_sent_its_window_and_little_more() {
        let mut flow = Flow::default();
        let mut sent = 0;
        let window = 2 << 20;
        while flow.is_open(sent > window) {
            flow.sent(261_120, sent > window);
            sent += 261_120;
        }
        assert!(sent <= window + CREDIT + 2 * 261_120, "{sent}");
        flow.adjusted(100_000);
        assert!(flow.is_open(true));
        flow.sent(261_120, true);
        assert!(!flow.is_open(true));
    }

    #[test]
    fn short_replies_to_a_client_that_does_not_read_end_some_time() {
        let mut flow = Flow::default();
        flow.adjusted(0);
        let replies = (0..1_000_000).take_while(|_| flow.may_owe(40, true)).count();
        assert_eq!(replies, OWED / 40);
        flow.adjusted(1);
        assert!(flow.may_owe(40, false));
    }

    #[test]
    fn an_open_window_that_is_known_does_not_close_because_keys_are_exchanged() {
        let mut flow = Flow::default();
        flow.adjusted(1 << 20);
        assert!(flow.is_open(true));
    }
}
